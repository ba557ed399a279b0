// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"empty":              {"", ""},
		"plain":              {"nginx: worker", "nginx: worker"},
		"letters":            {"Größe 数据 привет", "Größe 数据 привет"},
		"tab":                {"a\tb", "a b"},
		"newline":            {"a\nb\r", `a\x0ab\x0d`},
		"title":              {"\x1b]0;PWN\x07", `\x1b]0;PWN\x07`},
		"forged stat":        {") S 1", ") S 1"},
		"delete":             {"a\x7f", `a\x7f`},
		"NUL":                {"a\x00b", `a\x00b`},
		"C1 CSI as a rune":   {"\u009b2J", `\x9b2J`},
		"C1 CSI as a byte":   {"\x9b2J", `\x9b2J`},
		"bidi override":      {"a\u202etxt.exe", `a\u202etxt.exe`},
		"bidi isolate":       {"\u2066x\u2069", `\u2066x\u2069`},
		"zero width":         {"a\u200bb\u200d\ufeff", `a\u200bb\u200d\ufeff`},
		"combining":          {"e\u0301", `e\u0301`},
		"enclosing":          {"a\u20dd", `a\u20dd`},
		"variation selector": {"\u2764\ufe0f", "\u2764" + `\ufe0f`},
		"line separator":     {"a\u2028b\u2029", `a\u2028b\u2029`},
		"no-break space":     {"a\u00a0b", `a\u00a0b`},
		"soft hyphen":        {"a\u00adb", `a\u00adb`},
		"private use":        {"\ue000", `\ue000`},
		"tag character":      {"\U000e0041", `\U000e0041`},
		"emoji":              {"🚀", "🚀"},
		"not UTF-8":          {"\xff\xfe", `\xff\xfe`},
		"cut off":            {"数"[:2], `\xe6\x95`},
		"overlong":           {"\xc0\xaf", `\xc0\xaf`},
		"surrogate":          {"\xed\xa0\x80", `\xed\xa0\x80`},
		"replacement itself": {"\ufffd", "\ufffd"},
		"an escape's look":   {`\x1b`, `\x1b`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Clean(RawString(tt.in)).String(); got != tt.want {
				t.Errorf("Clean(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// What is known at once to be printable is so by the tables of Unicode.
func TestPrintable(t *testing.T) {
	for c := range rune(0x3000) {
		want := unicode.IsPrint(c) && !unicode.In(c, unicode.Cf, unicode.Mn, unicode.Me, unicode.Bidi_Control)
		if got := printable(c); got != want {
			t.Errorf("printable(%U) = %t, want %t", c, got, want)
		}
	}
}

// TestRawIsNotSafe holds what the compiler is to refuse: Safe(raw).
func TestRawIsNotSafe(t *testing.T) {
	if reflect.TypeFor[Raw]().ConvertibleTo(reflect.TypeFor[Safe]()) {
		t.Error("a conversion turns Raw into Safe without Clean")
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{
		"", "bash", ") S 1)\n", "\x1b]52;c;AAAA\x07", "\x9b", "\u202e", "e\u0301", "\xff", "\xed\xa0\x80", "\U000e0041", "🚀\t数",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(RawString(s)).String()
		if !utf8.ValidString(got) {
			t.Fatalf("Clean(%q) = %q: not UTF-8", s, got)
		}
		for _, c := range got {
			if c != ' ' && !unicode.IsPrint(c) || unicode.In(c, unicode.C, unicode.M, unicode.Zl, unicode.Zp) && !unicode.Is(unicode.Mc, c) {
				t.Fatalf("Clean(%q) = %q: holds %U", s, got, c)
			}
		}
		if again := Clean(RawString(got)).String(); again != got {
			t.Fatalf("Clean(%q) = %q, cleaned again %q", s, got, again)
		}
	})
}

func TestRawJSON(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":       {"bash", `"bash"`},
		"escape":      {"\x1b[2J", `"\u001b[2J"`},
		"bidi":        {"\u202e", "\"\u202e\""},
		"not UTF-8":   {"a\xff", `{"hex":"61ff"}`},
		"like an hex": {`{"hex":"61"}`, `"{\"hex\":\"61\"}"`},
		"empty":       {"", `""`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(RawString(tt.in))
			if err != nil || string(b) != tt.want {
				t.Errorf("Marshal(%q) = %s, %v, want %s", tt.in, b, err, tt.want)
			}
			var back Raw
			if err := json.Unmarshal(b, &back); err != nil || back.Bytes() != tt.in {
				t.Errorf("Unmarshal(%s) = %q, %v, want %q", b, back.Bytes(), err, tt.in)
			}
		})
	}
	for _, bad := range []string{`{"hex":"6"}`, `{"hex":"zz"}`, `{"hex":1}`, `7`} {
		var r Raw
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("Unmarshal(%s) = %q, want an error", bad, r.Bytes())
		}
	}
}

func BenchmarkClean(b *testing.B) {
	for name, s := range map[string]string{
		"ascii":   strings.Repeat("/usr/lib/jvm/bin/java", 4),
		"hostile": strings.Repeat("\x1b]0;\u202e数\xff", 12),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Clean(RawString(s))
			}
		})
	}
}
