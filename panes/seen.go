// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"bpf60/panes/widget"
)

// seen is what a view has drawn that one can point at. Only the root asks for it.
type seen struct{ blocks []block }

// block is some lines of a view that stand below each other: the heads of a table and its rows, or
// rows that a pane draws by hand.
type block struct {
	lines  []string // as drawn
	rows   []string // the row that each line is of; "" for heads and what is no row
	at     int      // the line of the cursor; -1 without one
	choose func(row string)

	list  *list // whose first line is heads; nil: rows drawn by hand
	table Table
	cols  []drawn

	x, y int // where it is in the view
}

// saw tells what was drawn to who asks for it.
func (c Canvas) saw(b block) {
	if c.seen != nil && len(b.lines) > 0 {
		c.seen.blocks = append(c.seen.blocks, b)
	}
}

// cursorLine is the line of a table that has n lines with its heads and begins with the row first,
// when the cursor is on the row at; -1 if that is none of them.
func cursorLine(at, first, n int) int {
	if line := at - first + 1; at >= 0 && line > 0 && line < n {
		return line
	}
	return -1
}

// find keeps the blocks that are in the view, and where. A pane puts lines below and beside each
// other as it likes and drops what does not fit, so they are looked for in what came of it.
func (s *seen) find(view []string) {
	taken := make(map[[2]int]bool)
	kept := s.blocks[:0]
	for _, b := range s.blocks {
		if b.find(view, taken) {
			kept = append(kept, b)
		}
	}
	s.blocks = kept
}

// find looks for the block's lines; those that were dropped at its end are forgotten. Two blocks that look alike are in the order in which they
// were drawn; taken holds the places of those before.
func (b *block) find(view []string, taken map[[2]int]bool) bool {
	first := strings.TrimLeft(b.lines[0], " ")
	indent := len(b.lines[0]) - len(first)
	for y, l := range view {
		i := strings.Index(l, first)
		if i < 0 || first == "" {
			continue
		}
		x, n := widget.Width(l[:i])-indent, 1
		for n < len(b.lines) && y+n < len(view) && strings.Contains(view[y+n], strings.TrimLeft(b.lines[n], " ")) {
			n++
		}
		if x < 0 || taken[[2]int{x, y}] || n == 1 && len(b.lines) > 1 && b.list == nil {
			continue
		}
		b.x, b.y, b.lines, b.rows = x, y, b.lines[:n], b.rows[:n]
		if b.at >= n {
			b.at = -1
		}
		taken[[2]int{x, y}] = true
		return true
	}
	return false
}

// blockAt is the block at a place of the view, and the line of it. Of blocks beside each other it
// is the last that begins before x.
func (s *seen) blockAt(x, y int) (b *block, line int, ok bool) {
	for i := range s.blocks {
		c := &s.blocks[i]
		if d := y - c.y; d >= 0 && d < len(c.lines) && x >= c.x && (b == nil || c.x > b.x) {
			b, line, ok = c, d, true
		}
	}
	return b, line, ok
}

// cursor is the block that the cursor is in; false where there is none.
func (s *seen) cursor() (*block, bool) {
	for i := range s.blocks {
		if s.blocks[i].at >= 0 {
			return &s.blocks[i], true
		}
	}
	return nil, false
}

// heads is the table that the keys of columns work on: the one with the cursor, or one that has
// no rows yet.
func (s *seen) heads() (*block, bool) {
	for i := range s.blocks {
		if s.blocks[i].list != nil {
			return &s.blocks[i], true
		}
	}
	return nil, false
}

// columnAt is the column whose title or cells are at x of the block.
func (b *block) columnAt(x int) (drawn, bool) {
	from := b.x
	for _, c := range b.cols {
		if x >= from && x <= from+c.Width {
			return c, !c.spark
		}
		from += c.Width + 1
	}
	return drawn{}, false
}

// text is the selected row in one line of names and values, or as it is drawn where it has no
// columns. A line feed would run what is pasted into a shell; so there is none.
func (b *block) text() string {
	row := b.rows[b.at]
	i := slices.IndexFunc(b.table.Rows, func(r Row) bool { return r.ID == row })
	if b.list == nil || i < 0 {
		return strings.TrimSpace(strings.TrimPrefix(ansi.Strip(b.lines[b.at]), ">"))
	}
	var out []string
	for _, c := range b.cols {
		if cells := b.table.Rows[i].Cells; !c.spark && c.index < len(cells) {
			out = append(out, c.Title+" "+strings.TrimSpace(cells[c.index].fit(c.Column)))
		}
	}
	return strings.Join(out, "  ")
}

// look is what can be pointed at as the screen is now: as it was last drawn, unless a key was handled since.
func (r *Root) look() *seen {
	if r.hand.stale {
		r.View()
		r.drawn = "" // the key that asks changes it
	}
	return &r.hand.seen
}

// remember keeps what can be pointed at in the view; nil while an overlay is in its place.
func (r *Root) remember(s *seen, view []string) {
	r.hand.seen, r.hand.stale = seen{}, false
	if s != nil {
		s.find(view)
		r.hand.seen = *s
	}
}
