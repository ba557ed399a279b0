// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"math"
	"strings"

	"bpf60/theme"
)

// Column is the head of one column of a table.
type Column struct {
	Title string
	Width int // cells, without the blank before it
	Left  bool
}

// Heads draws the head of a table.
func Heads(t theme.Theme, columns []Column, width int) string {
	l := NewLine(width).Skip(1)
	for i, c := range columns {
		cell(l, t.Dim, c, c.Title, i)
	}
	return l.String()
}

// Cells draws one row; the selected one is marked, not only coloured.
func Cells(t theme.Theme, columns []Column, cells []string, selected bool, width int) string {
	l := NewLine(width)
	style := theme.Style{}
	if selected {
		style = t.Focus
		l.Put(t.Accent, ">")
	} else {
		l.Skip(1)
	}
	for i, c := range columns {
		if i < len(cells) {
			cell(l, style, c, cells[i], i)
		}
	}
	return l.String()
}

func cell(l *Line, style theme.Style, c Column, text string, i int) {
	if i > 0 {
		l.Skip(1)
	}
	text = Clip(text, c.Width)
	start := l.Width()
	if c.Left {
		l.Put(style, text).To(start + c.Width)
		return
	}
	l.Right(style, text, start+c.Width)
}

// Area draws values as columns of blocks, oldest first, the newest at the right, in exactly height
// lines. A value that is not a number is a gap. The scale is from 0 to hi.
func Area(t theme.Theme, values []float64, hi float64, width, height int) []string {
	if width <= 0 || height <= 0 {
		return nil
	}
	values = values[max(len(values)-width, 0):]
	out := make([]string, height)
	for row := range out {
		floor := float64(height - 1 - row)
		l := NewLine(width).To(width - len(values))
		var run strings.Builder
		flush := func() {
			l.Put(t.Accent, run.String())
			run.Reset()
		}
		for _, v := range values {
			fill := -1.0
			if !math.IsNaN(v) && hi > 0 {
				fill = math.Round(v/hi*float64(height)*8)/8 - floor
			}
			switch {
			case fill >= 1:
				run.WriteString("█")
			case fill > 0:
				run.WriteString(glyph(levels, int(fill*8)-1))
			case row == height-1 && !math.IsNaN(v):
				run.WriteString("▁")
			default:
				flush()
				l.Skip(1)
			}
		}
		flush()
		out[row] = l.String()
	}
	return out
}
