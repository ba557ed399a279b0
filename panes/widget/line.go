// SPDX-License-Identifier: Apache-2.0

// Package widget draws the parts that panes share: lines, bars, sparklines, histograms, heat maps
// and tables. Everything is built by hand with the theme's prebuilt sequences, because that costs
// a tenth of laying cells out with a library, and fewer than half the bytes.
package widget

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"bpf60/theme"
)

// Line builds one line of at most max cells. Blanks are held back until something follows, so a
// line never ends in them: the terminal clears the rest of a line by itself.
type Line struct {
	b       strings.Builder
	at, max int // cells written, blanks held back included
	blanks  int
}

// NewLine returns an empty line of at most max cells.
func NewLine(maxCells int) *Line { return &Line{max: max(maxCells, 0)} }

// Width is how many cells are taken.
func (l *Line) Width() int { return l.at }

// Left is how many cells are free.
func (l *Line) Left() int { return l.max - l.at }

// Put writes text in a style, cut to what is free. Blanks at its end are held back.
func (l *Line) Put(style theme.Style, text string) *Line {
	w := Width(text)
	if w > l.Left() {
		text = Clip(text, l.Left())
		w = Width(text)
	}
	shown := strings.TrimRight(text, " ")
	if n := len(text) - len(shown); n > 0 {
		return l.write(style, shown, Width(shown)).Skip(n)
	}
	return l.write(style, shown, w)
}

// Block writes text in a style with the blanks at its end, where the style shows them.
func (l *Line) Block(style theme.Style, text string) *Line {
	text = Clip(text, l.Left())
	return l.write(style, text, Width(text))
}

// write writes text, which is cells wide and fits.
func (l *Line) write(style theme.Style, text string, cells int) *Line {
	if text == "" {
		return l
	}
	l.flush()
	l.b.WriteString(style.On())
	l.b.WriteString(text)
	l.b.WriteString(style.Off())
	l.at += cells
	return l
}

// Plain writes text without a style.
func (l *Line) Plain(text string) *Line { return l.Put(theme.Style{}, text) }

// Raw writes text that holds its own styles and is cells wide. It is left out if it does not fit.
func (l *Line) Raw(text string, cells int) *Line {
	if cells > l.Left() {
		return l
	}
	l.flush()
	l.b.WriteString(text)
	l.at += cells
	return l
}

// To leaves blanks up to column col.
func (l *Line) To(col int) *Line {
	if n := min(col, l.max) - l.at; n > 0 {
		l.blanks += n
		l.at += n
	}
	return l
}

// Skip leaves n blanks.
func (l *Line) Skip(n int) *Line { return l.To(l.at + n) }

// Right writes text so that it ends before column end.
func (l *Line) Right(style theme.Style, text string, end int) *Line {
	return l.To(end-Width(text)).Put(style, text)
}

// Rule fills the rest of the line with a rule.
func (l *Line) Rule(style theme.Style) *Line {
	if l.Left() <= 0 {
		return l
	}
	l.flush()
	l.b.WriteString(style.On())
	for l.Left() > 0 {
		n := min(l.Left(), len(rules)/len("─"))
		l.b.WriteString(rules[:n*len("─")])
		l.at += n
	}
	l.b.WriteString(style.Off())
	return l
}

// String returns the line.
func (l *Line) String() string { return l.b.String() }

func (l *Line) flush() {
	if l.b.Cap() == 0 {
		l.b.Grow(l.max)
	}
	for l.blanks > 0 {
		n := min(l.blanks, len(spaces))
		l.b.WriteString(spaces[:n])
		l.blanks -= n
	}
}

const (
	spaces = "                                                                "
	rules  = "────────────────────────────────────────────────────────────────"
)

// Width is the number of cells text takes; text holds no newline. Styles in it take none.
func Width(text string) int {
	cells := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c >= 0x20 && c < 0x80:
			i, cells = i+1, cells+1
		case c == esc:
			n := styleLen(text[i:])
			if n == 0 {
				return ansi.StringWidth(text)
			}
			i += n
		default:
			r, n := utf8.DecodeRuneInString(text[i:])
			if !narrow(r) {
				return ansi.StringWidth(text)
			}
			i, cells = i+n, cells+1
		}
	}
	return cells
}

const esc = 0x1b

// styleLen is how many bytes the style takes that text begins with, 0 if it is another sequence.
func styleLen(text string) int {
	for i := len("\x1b["); i < len(text) && text[1] == '['; i++ {
		switch c := text[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}

// narrow says of the characters outside of ASCII that we draw with that they take a cell each, whatever
// stands beside them. Of all others the library knows, which takes fifty times as long.
func narrow(r rune) bool {
	switch {
	case r < 0xa1:
		return false
	case r <= 0xff:
		return r != 0xad // a hyphen that may not show
	case r >= 0x2010 && r <= 0x2027, r >= 0x2030 && r <= 0x205e: // – … ›
		return true
	case r >= 0x2190 && r <= 0x21ff: // arrows
		return true
	case r >= 0x2500 && r <= 0x25fc: // lines, blocks, shapes
		return true
	}
	return r >= 0x391 && r <= 0x3a1 || r >= 0x3a3 && r <= 0x3c9 // Δ
}

// Clip cuts text to at most cells, and says so with an ellipsis.
func Clip(text string, cells int) string {
	if cells <= 0 {
		return ""
	}
	if len(text) <= cells && plain(text) {
		return text
	}
	if Width(text) <= cells {
		return text
	}
	if plain(text) {
		return text[:cells-1] + "…"
	}
	return ansi.Truncate(text, cells, "…")
}

// plain says whether every byte is a character of one cell.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// ClipWords cuts text to at most cells between two words, so that no number is cut into another.
func ClipWords(text string, cells int) string {
	cut := Clip(text, cells)
	if cut == text {
		return text
	}
	if i := strings.LastIndexByte(cut, ' '); i > 0 {
		return cut[:i] + " …"
	}
	return cut
}

// Title is a rule with titles in it: ── cpu ── cs 41.2k/s ────. The first part is the title, the
// rest what explains it. Parts that do not fit are left out whole.
func Title(t theme.Theme, width int, parts ...string) string {
	l := NewLine(width)
	style := t.Title
	for _, p := range parts {
		if p == "" {
			continue
		}
		if need := 3 + Width(p) + 1; l.Width() > 0 && need > l.Left() {
			break
		}
		l.Put(t.Dim, "── ").Put(style, p).Skip(1)
		style = theme.Style{}
	}
	return l.Rule(t.Dim).String()
}

// Join sets two blocks of lines side by side; left is padded to its width.
func Join(left []string, width int, right []string, gap int) []string {
	out := make([]string, 0, max(len(left), len(right)))
	for i := range max(len(left), len(right)) {
		var a, b string
		if i < len(left) {
			a = left[i]
		}
		if i < len(right) {
			b = right[i]
		}
		if b != "" {
			a += strings.Repeat(" ", max(width+gap-Width(a), 0)) + b
		}
		out = append(out, a)
	}
	return out
}
