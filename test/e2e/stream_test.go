// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// csi is a control sequence as the terminal parses it.
var csi = regexp.MustCompile(`^\x1b\[([0-?]*)([ -/]*)([@-~])`)

// allowed are the control sequences that a screen is drawn with: colours, cursor, erasing, and
// the private modes that are put back at the end. None of them asks the terminal for anything.
var allowed = regexp.MustCompile(`^\x1b\[([0-9;]*[mABCDGHJKLP]|\?(25|1002|1003|1006|1049|2004|2026)(;\d+)*[hl])$`)

// foreign returns what in a stream is neither plain text nor drawn with.
func foreign(stream []byte) (out []string) {
	add := func(b []byte) {
		if s := fmt.Sprintf("%q", b); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for b := stream; len(b) > 0; {
		if b[0] == 0x1b {
			seq := csi.Find(b)
			if !allowed.Match(seq) {
				add(b[:min(len(b), 12)])
			}
			b = b[max(len(seq), 1):]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || r != '\r' && r != '\n' && r != ' ' && !unicode.IsPrint(r) || unicode.In(r, unicode.Cf, unicode.Bidi_Control) {
			add(b[:n])
		}
		b = b[n:]
	}
	return out
}

func TestForeign(t *testing.T) {
	for name, tt := range map[string]struct {
		stream string
		want   []string
	}{
		"frame":      {"\x1b[?1049h\x1b[2;1H\x1b[1;31mcpu µs █\x1b[0m\x1b[K\r\n\x1b[?25l", nil},
		"colour":     {"\x1b]11;?\x07", []string{`"\x1b]11;?\a"`, `"\a"`}},
		"attributes": {"\x1b[c", []string{`"\x1b[c"`}},
		"version":    {"\x1b[>0q", []string{`"\x1b[>0q"`}},
		"cursor":     {"\x1b[6n", []string{`"\x1b[6n"`}},
		"mode":       {"\x1b[?2026$p", []string{`"\x1b[?2026$p"`}},
		"keyboard":   {"\x1b[?u", []string{`"\x1b[?u"`}},
		"C1":         {"a\u009b2J", []string{`"\u009b"`}},
		"bidi":       {"\u202e", []string{`"\u202e"`}},
		"broken":     {"a\xff", []string{`"\xff"`}},
		"string":     {"\x1bPq", []string{`"\x1bPq"`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, foreign([]byte(tt.stream))); diff != "" {
				t.Errorf("foreign(%q) (-want +got):\n%s", tt.stream, diff)
			}
		})
	}
}

// On a terminal that answers nothing the program asks nothing, and its screen is there at once:
// waiting for an answer to the question after the background colour alone would take 5 s.
func TestSilentTerminal(t *testing.T) {
	const bound = 4500 * time.Millisecond // an idle machine takes 60 ms
	fastest := patience
	for _, term := range []string{"xterm-256color", "linux", "vt100", "tmux-256color"} {
		t.Run(term, func(t *testing.T) {
			p := play{term: term}.start(t, binary())
			p.see("60 seconds", "uptime", "vmstat", "mpstat", wholeScreen)
			first := p.firstScreen()
			t.Logf("first screen after %v, %d bytes", first.Round(time.Millisecond), len(p.bytes()))
			fastest = min(fastest, first)
			p.send("2v")
			p.see("[2 CPU]", "v heat map")
			p.send("?")
			p.see("Esc close")
			p.send("\x1b")
			p.see("v heat map")
			p.send("q")
			if code := p.exit(); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
			if f := foreign(p.bytes()); len(f) > 0 {
				t.Errorf("written to the terminal: %s", strings.Join(f, " "))
			}
		})
	}
	if fastest > bound { // the fastest: a busy machine delays some, a question delays all
		t.Errorf("the fastest first screen took %v, want at most %v", fastest, bound)
	}
}

// Names that others choose can do nothing to the terminal, and their bytes can be read on it.
func TestHostileNames(t *testing.T) {
	names := map[string]string{ // as the kernel keeps it, 15 bytes at most: as the screen shows it
		"\x1b]0;owned\x07":   `\x1b]0;owned\x07`,
		"\x1b[2J\x1b[Hgone":  `\x1b[2J\x1b[Hgone`,
		"\x9d0;raw\x9c":      `\x9d0;raw\x9c`,
		"\xc2\x9b31mutf8":    `\x9b31mutf8`,
		"\xe2\x80\xaegnp.sh": `\u202egnp.sh`,
		"broken\xff\xc3(":    `broken\xff\xc3(`,
	}
	var shown []string
	for name, want := range names {
		startLoad(t, name, 1, 4)
		shown = append(shown, want)
	}
	p := play{w: 200, h: 60}.start(t, binary())
	p.see("60 seconds", wholeScreen)
	p.send("2")
	p.see(append(shown, "[2 CPU]")...)
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	if f := foreign(p.bytes()); len(f) > 0 {
		t.Errorf("written to the terminal: %s", strings.Join(f, " "))
	}
}
