// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"

	"bpf60/panes/widget"
	"bpf60/theme"
)

// icicle is a flame graph laid out in cells: the root is at the top, and what a frame calls stands below it,
// as wide as its part.
type icicle struct {
	rows [][]flameCell // by depth below the top, from left to right
}

// flameCell is a frame at its place: cells from x up to end.
type flameCell struct {
	*flame
	x, end int
}

// layOut gives the frames from top on their cells. What is narrower than a cell, or beyond the last row, has
// none.
func layOut(top *flame, width, height int) icicle {
	g := icicle{}
	if top.count == 0 || width <= 0 || height <= 0 {
		return g
	}
	g.rows = [][]flameCell{{{top, 0, width}}}
	cell := func(n uint64) int {
		return int((float64(n)*float64(width) + float64(top.count)/2) / float64(top.count))
	}
	starts := []uint64{0} // of the last row's frames, in the unit of the counts
	for len(g.rows) < height {
		var next []flameCell
		var at []uint64
		for i, c := range g.rows[len(g.rows)-1] {
			x := starts[i]
			for _, below := range c.below {
				if from, end := cell(x), cell(x+below.count); end > from {
					next, at = append(next, flameCell{below, from, end}), append(at, x)
				}
				x += below.count
			}
		}
		if len(next) == 0 {
			break
		}
		g.rows, starts = append(g.rows, next), at
	}
	return g
}

// find is where a frame stands; false if it has no cell.
func (g icicle) find(f *flame) (row, i int, ok bool) {
	for row := range g.rows {
		for i := range g.rows[row] {
			if g.rows[row][i].flame == f {
				return row, i, true
			}
		}
	}
	return 0, 0, false
}

// flameDraw is how a graph is drawn.
type flameDraw struct {
	selected *flame              // nil: none
	marked   func(function) bool // nil: nothing is looked for
}

// draw draws the rows that are around the selected frame, in at most height lines.
func (g icicle) draw(c Canvas, d flameDraw, height int) []string {
	first := 0
	if row, _, ok := g.find(d.selected); ok && row >= height {
		first = row - height + 1
	}
	var out []string
	for _, row := range g.rows[min(first, len(g.rows)):min(first+max(height, 0), len(g.rows))] {
		line := widget.NewLine(c.Width)
		for _, cell := range row {
			line.To(cell.x)
			d.cell(c.Theme, line, &cell)
		}
		out = append(out, line.String())
	}
	return out
}

// cell draws one frame: where it begins, what of its name fits, and a rule up to its end. The signs tell what
// the styles tell: > is the selected one, ▒ is behind those that are looked for.
func (d flameDraw) cell(t theme.Theme, line *widget.Line, c *flameCell) {
	begin, fill, style := "│", "─", frameStyle(t, c.kind)
	rule := t.Dim
	if d.marked != nil && c.kind != flameCommand && d.marked(c.function) {
		fill, rule, style = "▒", t.Heat[2], t.Title
	}
	if c.flame == d.selected {
		begin, style = ">", t.Focus
		line.Put(t.Accent, begin)
	} else {
		line.Put(t.Dim, begin)
	}
	room := c.end - c.x - 1
	text := flameLabel(c.name, c.kind, room)
	line.Put(style, text)
	if rest := room - widget.Width(text); rest > 0 {
		line.Put(rule, strings.Repeat(fill, rest))
	}
}

// flameLabel is what of a name fits into a frame. Where there is room the kernel's are marked, as the
// colours say it otherwise.
func flameLabel(name, kind string, room int) string {
	const least = 3
	if widget.Width(name) > room { // bpf60/panes.(*Profile).View: its own name is at the end
		before, _, _ := strings.Cut(name, "(")
		name = name[strings.LastIndexByte(before, '/')+1:]
	}
	switch w := widget.Width(name); {
	case room < least && w > room:
		return ""
	case w > room:
		return widget.Clip(name, room)
	case kind == flameKernel && w+4 <= room:
		return name + "_[k]"
	}
	return name
}

// frameStyle is that of a kind of frame. Severities have their colours: none of them is used.
func frameStyle(t theme.Theme, kind string) theme.Style {
	switch kind {
	case flameKernel:
		return t.Accent
	case flameUnknown:
		return t.Dim
	case flameCommand:
		return t.Title
	}
	return theme.Style{}
}
