// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/hinshun/vt10x"
)

// painter writes frames as Bubble Tea's renderer does in the alternate screen.
type painter struct {
	width int
	last  []string
}

func (p *painter) frame(rows ...string) []byte {
	var b bytes.Buffer
	b.WriteString(ansi.CursorHomePosition)
	for i, l := range rows {
		if i >= len(p.last) || p.last[i] != l {
			if i == 0 && p.last == nil {
				b.WriteByte('\r')
			}
			b.WriteString(l)
			if ansi.StringWidth(l) < p.width {
				b.WriteString(ansi.EraseLineRight)
			}
			if i < len(rows)-1 {
				b.WriteByte('\r')
			}
		}
		if i < len(rows)-1 {
			b.WriteByte('\n')
		}
	}
	if len(p.last) > len(rows) {
		b.WriteString(ansi.EraseScreenBelow)
	}
	b.WriteString(ansi.CursorPosition(0, len(rows)))
	p.last = rows
	return b.Bytes()
}

// cells are what a terminal shows, with its colours, and where its cursor is.
func cells(t vt10x.Terminal) string {
	var b strings.Builder
	cols, rows := t.Size()
	for y := range rows {
		for x := range cols {
			g := t.Cell(x, y)
			b.WriteRune(g.Char)
			for _, n := range []int64{int64(g.FG), int64(g.BG), int64(g.Mode)} {
				b.WriteString(strconv.FormatInt(n, 10) + "/")
			}
		}
		b.WriteByte('\n')
	}
	return b.String() + fmt.Sprint(t.Cursor().X, t.Cursor().Y)
}

const (
	bold = "\x1b[1m"
	red  = "\x1b[38;5;1m"
	back = "\x1b[48;5;4m"
	off  = "\x1b[0m"
)

// graph is a row of a graph whose every other column is bold.
func graph(columns string) string {
	var b strings.Builder
	for _, c := range columns {
		if c%2 == 0 {
			b.WriteString(red + string(c) + off)
		} else {
			b.WriteString(bold + string(c) + off)
		}
	}
	return "ab │" + b.String()
}

func TestFramesShrink(t *testing.T) {
	type step struct {
		rows   []string
		repeat bool   // Bubble Tea repaints
		write  string // not a frame
		want   string // "": what Bubble Tea wrote
	}
	tests := map[string][]step{
		"one number": {
			{rows: []string{"load 1.00 now", "footer"}},
			{rows: []string{"load 1.25 now", "footer"}, want: "\x1b[1;8H25\x1b[2;H"},
		},
		"two that are near and one that is far": {
			{rows: []string{"aXbbXcccccccccXd", "footer"}},
			{rows: []string{"aYbbYcccccccccYd", "footer"}, want: "\x1b[1;2HYbbY\x1b[1;15HY\x1b[2;H"},
		},
		"shorter": {
			{rows: []string{"idle and a long tail", "footer"}},
			{rows: []string{"idle", "footer"}, want: "\x1b[1;6H\x1b[K\x1b[2;H"},
		},
		"longer, as wide as the screen": {
			{rows: []string{"0123456789012345678", "footer"}},
			{rows: []string{"01234567890123456789", "footer"}, want: "\x1b[1;20H9\x1b[2;H"},
		},
		"blanks are no text": {
			{rows: []string{"a   ", "footer"}},
			{rows: []string{"a", "footer"}, want: "\x1b[2;H"},
		},
		"blanks with a background are": {
			{rows: []string{"a", "footer"}},
			{rows: []string{"a" + back + "  " + off, "footer"}, want: "\x1b[1;2H" + back + "  \x1b[m\x1b[2;H"},
		},
		"only the style": {
			{rows: []string{"load " + red + "9" + off + " and a long tail", "footer"}},
			{rows: []string{"load " + bold + red + "9" + off + " and a long tail", "footer"}, want: "\x1b[1;6H" + bold + red + "9\x1b[m\x1b[2;H"},
		},
		"the last row": {
			{rows: []string{"top", "footer with a 1"}},
			{rows: []string{"top", "footer with a 2"}, want: "\x1b[2;15H2\x1b[2;H"},
		},
		"wide characters go through": {
			{rows: []string{"日本 1", "b1"}},
			{rows: []string{"日本 2", "b1"}, want: "\x1b[1H日本 2\x1b[K\x1b[2;H"},
			{rows: []string{"plain text", "b1"}, want: "\x1b[1Hplain text\x1b[K\x1b[2;H"},
			{rows: []string{"plain tent", "b1"}, want: "\x1b[1;9Hn\x1b[2;H"},
		},
		"a repaint goes through": {
			{rows: []string{"some text", "footer"}},
			{rows: []string{"some tent", "footer"}, repeat: true},
			{rows: []string{"some teat", "footer"}, want: "\x1b[1;8Ha\x1b[2;H"},
		},
		"after anything else nothing is known": {
			{rows: []string{"some text", "footer"}},
			{write: "\x1b[2J"},
			{rows: []string{"some tent", "footer"}, want: "\x1b[1Hsome tent\x1b[K\x1b[2;H"},
		},
		"a style that is left on goes through": {
			{rows: []string{red + "some text", "footer"}},
			{rows: []string{red + "some tent", "footer"}, want: "\x1b[1H" + red + "some tent\x1b[K\x1b[2;H"},
		},
		"a style that is left on at the edge too": {
			{rows: []string{red + "01234567890123456789", "footer"}},
			{rows: []string{red + "01234567890123456788", "footer"}, want: "\x1b[1H" + red + "01234567890123456788\x1b[2;H"},
		},
		"padded": {
			{rows: []string{"idle with a longtail", "footer"}},
			{rows: []string{"idle                ", "footer"}, want: "\x1b[1;6H\x1b[K\x1b[2;H"},
		},
		"no shorter": {
			{rows: []string{"日", "月", "火", "水", "footer"}},
			{rows: []string{"火", "水", "日", "月", "footer"}},
		},
		"a part of a frame": {
			{rows: []string{"some text", "footer"}},
			{write: "\x1b[Hsome tent\r\n\x1b[5;H"},
			{rows: []string{"some teat", "footer"}, want: "\x1b[1Hsome teat\x1b[K\x1b[2;H"},
		},
		"a graph moves": {
			{rows: []string{graph("1357924680246135"), "footer"}},
			{rows: []string{graph("3579246802461357"), "footer"}, want: "\x1b[1;5H\x1b[1P\x1b[1;20H" + bold + "7\x1b[m\x1b[2;H"},
			{rows: []string{graph("7924680246135799"), "footer"}, want: "\x1b[1;5H\x1b[2P\x1b[1;19H" + bold + "99\x1b[m\x1b[2;H"},
		},
		"fewer rows": {
			{rows: []string{"some text", "footer", "more"}},
			{rows: []string{"some tent", "footer"}},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			var f frames
			p := &painter{width: 20}
			for i, s := range steps {
				if s.repeat {
					p.last = nil
				}
				in := []byte(s.write)
				if s.rows != nil {
					in = p.frame(s.rows...)
				}
				want := s.want
				if want == "" {
					want = string(in)
				}
				if got := string(f.shrink(in)); got != want {
					t.Fatalf("step %d: shrink(%q) =\n%q, want\n%q", i, in, got, want)
				}
			}
		})
	}
}

func TestOneCell(t *testing.T) {
	for r, want := range map[rune]bool{
		'a': true, 'é': true, 'µ': true, '█': true, '─': true, '⣿': true, '…': true, '≤': true, '→': true,
		'\u0301': false, '\u00ad': false, '\u200d': false, '\u202e': false, '日': false, '⌚': false, '◾': false, '\t': false, 0x7f: false, 0x85: false,
	} {
		if got := oneCell(r); got != want {
			t.Errorf("oneCell(%q) = %v, want %v", r, got, want)
		}
	}
}

// TestFramesShow compares two terminals, one with and one without: whatever the frames, they show
// the same.
func TestFramesShow(t *testing.T) {
	const width, height = 30, 6
	words := []string{"cpu", "load", " ", "     ", "12.5", "█▇▆▅", "──", "日本", "é", "\u0301", "µs", "x"}
	styles := []string{"", "", bold, red, back, bold + back}
	rng := rand.New(rand.NewPCG(1, 2))
	line := func() string {
		var b strings.Builder
		for range rng.IntN(6) {
			s := styles[rng.IntN(len(styles))]
			b.WriteString(s + words[rng.IntN(len(words))])
			if s != "" {
				b.WriteString(off)
			}
		}
		return ansi.Truncate(b.String(), width, "")
	}
	plain, shrunk := vt10x.New(vt10x.WithSize(width, height)), vt10x.New(vt10x.WithSize(width, height))
	var f frames
	p := &painter{width: width}
	rows := make([]string, height)
	before, after, samples := 0, 0, strings.Repeat("0123456789", 1000)
	for i := range 3000 {
		rows = append([]string(nil), rows...)
		for y := range rows {
			if y%3 == 2 {
				samples = samples[1+rng.IntN(2):] + fmt.Sprintf("%02d", rng.IntN(100))
				rows[y] = graph(samples[:16]) + " max"
			} else if rng.IntN(3) == 0 {
				rows[y] = line()
			}
		}
		in := p.frame(rows...)
		if rng.IntN(50) == 0 {
			in = []byte("\x1b[2J\x1b[H")
			p.last = nil
		}
		_, _ = plain.Write(in)
		out := f.shrink(in)
		_, _ = shrunk.Write(out)
		before, after = before+len(in), after+len(out)
		if a, b := cells(plain), cells(shrunk); a != b {
			t.Fatalf("after frame %d, %q sent as %q (-plain +shrunk):\n%s", i, in, out, cmp.Diff(a, b))
		}
	}
	if after >= before {
		t.Errorf("%d bytes became %d", before, after)
	}
}

func FuzzFrames(f *testing.F) {
	p := &painter{width: 20}
	f.Add(p.frame("load 1.00", red+"x"+off, "footer"), p.frame("load 1.25", red+"y"+off, "footer"))
	f.Add([]byte("\x1b[H\n\x1b[2;H"), []byte("\x1b[H\x1b[\n\r\x1b[2;H"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var s frames
		for _, in := range [][]byte{a, b, a} {
			if out := s.shrink(bytes.Clone(in)); len(out) > len(in) {
				t.Fatalf("shrink(%q) = %q is longer", in, out)
			}
		}
	})
}
