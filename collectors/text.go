// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Raw is text that others chose: process names, arguments, paths, cgroup and interface names,
// kernel messages. It cannot be shown; Clean makes the Safe text that views and reports accept.
type Raw struct{ s string }

// RawString marks s as chosen by others.
func RawString(s string) Raw { return Raw{s} }

// Bytes returns the bytes as they came, for matching and recording, never for showing.
func (r Raw) Bytes() string { return r.s }

// MarshalJSON writes the text as a string if it survives that, else as {"hex":"…"}.
func (r Raw) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(r.s) {
		return json.Marshal(r.s)
	}
	return json.Marshal(struct {
		Hex string `json:"hex"`
	}{hex.EncodeToString([]byte(r.s))})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Raw) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var h struct{ Hex string }
		if err := json.Unmarshal(b, &h); err != nil {
			return fmt.Errorf("reading raw text: %w", err)
		}
		s, err := hex.DecodeString(h.Hex)
		if err != nil {
			return fmt.Errorf("reading raw text: %w", err)
		}
		r.s = string(s)
		return nil
	}
	return json.Unmarshal(b, &r.s)
}

// Safe is text that can do nothing to a terminal. Only Clean makes it from what others chose. Its
// field is not called as that of Raw, or a plain conversion would turn one into the other.
type Safe struct{ text string }

// String returns the text.
func (s Safe) String() string { return s.text }

// MarshalText writes the text.
func (s Safe) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// Clean escapes everything in r that is not a printable character: control characters, C1,
// bidirectional controls, invisible and combining characters, and bytes that are not UTF-8.
// They are shown as \x1b or \u202e, not dropped: whoever looks must see that a name is hostile.
// A tab becomes a space. Clean is idempotent.
func Clean(r Raw) Safe {
	for i := 0; i < len(r.s); {
		if c := r.s[i]; c >= 0x20 && c < 0x7f {
			i++
			continue
		}
		c, n := utf8.DecodeRuneInString(r.s[i:])
		if c == utf8.RuneError && n == 1 || !printable(c) {
			return Safe{escape(r.s, i)}
		}
		i += n
	}
	return Safe{r.s}
}

// printable says whether a character is shown as it is. Of the ones that we draw with it knows at once.
func printable(c rune) bool {
	switch {
	case c <= 0xff:
		return unicode.IsPrint(c)
	case c >= 0x2010 && c <= 0x2027, c >= 0x2030 && c <= 0x205e, c >= 0x2190 && c <= 0x22ff, c >= 0x2500 && c <= 0x25ff:
		return true
	}
	return unicode.IsPrint(c) && !unicode.In(c, unicode.Cf, unicode.Mn, unicode.Me, unicode.Bidi_Control)
}

// escape copies s[:from], in which there is nothing to escape, and escapes the rest.
func escape(s string, from int) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:from])
	for i := from; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case c == '\t':
			b.WriteByte(' ')
		case c < 0x20, c >= 0x7f && c < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, c)
		case printable(c):
			b.WriteString(s[i : i+n])
		case c > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
		i += n
	}
	return b.String()
}
