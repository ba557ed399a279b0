// SPDX-License-Identifier: Apache-2.0

package theme

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Glyphs says which characters the terminal can draw. Everything is drawn with block elements and
// box rules first; Fold makes the ASCII form of a finished screen, cell for cell.
type Glyphs uint8

// The glyph sets.
const (
	Blocks Glyphs = iota // UTF-8
	ASCII
)

// Fold returns s in the glyph set. The width does not change: every character we draw with is one
// cell and has a stand-in of one cell. What others chose to name themselves becomes ?.
func (g Glyphs) Fold(s string) string {
	if g == Blocks {
		return s
	}
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for _, r := range s[i:] {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case standIn(r) != '?':
			b.WriteByte(standIn(r))
		default:
			b.WriteString(strings.Repeat("?", ansi.StringWidth(string(r))))
		}
	}
	return b.String()
}

func standIn(r rune) byte {
	switch r {
	case '▁':
		return '_'
	case '▂', '░', '▏', '▎':
		return '.'
	case '▃', '▒', '▍', '▌':
		return ':'
	case '▄', '─', '–', '—', '·', '╌':
		return '-'
	case '▅', '▋', '▊':
		return '='
	case '▆', '▓':
		return '+'
	case '▇', '▉', '◆', '●':
		return '*'
	case '█':
		return '#'
	case '│', '┤':
		return '|'
	case '└', '├':
		return '`'
	case '…':
		return '~'
	case 'µ':
		return 'u'
	case '›', '→':
		return '>'
	case '≤', '←':
		return '<'
	case '▲', '↑':
		return '^'
	case '↓':
		return 'v'
	case '±':
		return '+'
	case 'Δ':
		return 'd'
	case '×':
		return 'x'
	}
	return '?'
}
