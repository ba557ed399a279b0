// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strings"

	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// list is the cursor of a pane whose body is a table: the row, the column, the order.
type list struct {
	selected string   // row ID; empty: whatever is first, so that the eye stays with the worst
	column   string   // column ID the cursor is on; empty: the one that sorts
	sort     string   // column ID; empty: the table's own order
	up       bool     // smallest first
	show     []string // column IDs in the order they are drawn; nil: as the table has them

	// tail is the column in whose order the table is by itself, if its newest row is the last: there the
	// cursor stays at the end, where others stay at the top. Empty: the first row is what matters.
	tail string
}

// follows says whether the cursor stays at the end of the table until it is moved.
func (l *list) follows() bool {
	return l.tail != "" && !l.up && (l.sort == "" || l.sort == l.tail)
}

// home is the row that the cursor stays with until it is moved.
func (l *list) home(rows int) int {
	if l.follows() {
		return rows - 1
	}
	return 0
}

// newList returns a list that is sorted by a column, largest first; "" keeps the table's order.
func newList(sort string) list { return list{sort: sort} }

// IDs of the keys of every table.
const (
	keySort      = "table.sort"
	keySortLeft  = "table.sort-left"
	keySortRight = "table.sort-right"
	keyReverse   = "table.reverse"

	keyChoose = "table.choose " // no key: the root's word for a row of the table that is shown, whose ID follows
)

// keys are the keys of the table, for the pane's Keys.
func (l *list) keys() []keymap.Key { return TableKeys() }

// TableKeys are the keys that every table has.
func TableKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keySort, "s", "sort", "s", "f6").In("sort by the column of the cursor; again: the other way round"),
		keymap.New(keySortLeft, "<", "sort left", "<").In("sort by the column to the left"),
		keymap.New(keySortRight, ">", "sort right", ">").In("sort by the column to the right"),
		keymap.New(keyReverse, "r", "reverse", "r", "I").In("sort the other way round"),
		keymap.New(keymap.Earlier, "←", "column", "left", "h").In("column to the left; paused: one sample back"),
		keymap.New(keymap.Later, "→", "column", "right", "l").In("column to the right; paused: one sample on"),
	}
}

// press does what a key of the list says; false if it is none.
func (l *list) press(id string, t Table) bool {
	if row, ok := strings.CutPrefix(id, keyChoose); ok {
		l.choose(row)
		return true
	}
	switch id {
	case keySort:
		if l.column == "" || l.column == l.sort {
			l.up = !l.up
		} else {
			l.sortBy(l.column)
		}
	case keySortLeft:
		l.sortBy(l.beside(t, l.sort, -1))
	case keySortRight:
		l.sortBy(l.beside(t, l.sort, 1))
	case keyReverse:
		l.up = !l.up
	case keymap.Earlier:
		l.column = l.beside(t, cmp.Or(l.column, l.sort), -1)
	case keymap.Later:
		l.column = l.beside(t, cmp.Or(l.column, l.sort), 1)
	case keymap.Up, keymap.Down, keymap.PageUp, keymap.PageDown, keymap.Top, keymap.Bottom:
		rows := make([]string, len(t.Rows))
		for i, r := range t.Rows {
			rows[i] = r.ID
		}
		at := ""
		if i := l.index(t); i >= 0 {
			at = rows[i]
		}
		away := map[bool]string{false: keymap.Down, true: keymap.Up}[l.follows()]
		if l.selected = move(id, rows, at); len(rows) > 0 && l.selected == rows[l.home(len(rows))] && id != away {
			l.selected = "" // back at the top: stay there, whichever row that is
		}
	default:
		return false
	}
	return true
}

// sortBy orders by a column: numbers with the largest first, names from A.
func (l *list) sortBy(column string) {
	if column != l.sort {
		l.up = false
	}
	l.sort, l.column = column, column
}

// beside is the column next to another among those that are drawn, the same at the end.
func (l *list) beside(t Table, column string, step int) string {
	at := -1
	var ids []string
	for _, c := range l.arranged(t) {
		if c.ID == column {
			at = len(ids)
		}
		ids = append(ids, c.ID)
	}
	if len(ids) == 0 {
		return column
	}
	if at < 0 && step < 0 {
		at = len(ids)
	}
	return ids[max(0, min(at+step, len(ids)-1))]
}

// choose moves the cursor to a row.
func (l *list) choose(row string) { l.selected = row }

// index is where the cursor is, -1 in an empty table.
func (l *list) index(t Table) int {
	if len(t.Rows) == 0 {
		return -1
	}
	if i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.ID == l.selected }); i >= 0 {
		return i
	}
	return l.home(len(t.Rows))
}

// row is the one the cursor is on; false in an empty table.
func (l *list) row(t Table) (Row, bool) {
	i := l.index(t)
	if i < 0 || t.Rows[i].None != "" {
		return Row{}, false
	}
	return t.Rows[i], true
}

// why says why a cell of the selected row is missing: the one under the cursor, else the first. It
// is what the pane's Describe returns.
func (l *list) why(t Table) string {
	r, ok := l.row(t)
	if !ok {
		return ""
	}
	first := ""
	for i, c := range t.Columns {
		if i >= len(r.Cells) || r.Cells[i].Known() || r.Cells[i].Why == "" {
			continue
		}
		s := c.Title + " -: " + r.Cells[i].Why
		if c.ID == l.column {
			return s
		}
		first = cmp.Or(first, s)
	}
	return first
}

// order sorts the rows by the list's column, sums before all. What is missing comes last both ways
// round; rows that are equal stay in the table's order.
func (l *list) order(t *Table) {
	sums := sumsFirst(t.Rows)
	rest := *t
	rest.Rows = t.Rows[sums:]
	l.orderRest(&rest)
}

// sumsFirst moves the sums before the other rows, and counts them.
func sumsFirst(rows []Row) int {
	n := 0
	for i := range rows {
		if rows[i].Sum {
			sum := rows[i]
			copy(rows[n+1:i+1], rows[n:i])
			rows[n] = sum
			n++
		}
	}
	return n
}

func (l *list) orderRest(t *Table) {
	at := slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == l.sort })
	if at < 0 {
		if l.up {
			slices.Reverse(t.Rows)
		}
		return
	}
	sortStably(t.Rows, func(a, b Row) int {
		if at >= len(a.Cells) || at >= len(b.Cells) {
			return cmp.Compare(len(b.Cells), len(a.Cells))
		}
		return a.Cells[at].compare(b.Cells[at], l.up)
	})
}

// compare orders two cells of a column: numbers from large to small and texts from A to Z, or the
// other way round; what is missing comes last.
func (c Cell) compare(d Cell, up bool) int {
	if c.kind != d.kind || c.kind == missing {
		return cmp.Compare(d.kind, c.kind)
	}
	n := 0
	switch c.kind {
	case number:
		n = cmp.Compare(d.num, c.num)
	case text:
		n = cmp.Or(cmp.Compare(d.num, c.num), cmp.Compare(c.text.String(), d.text.String()))
	case missing:
	}
	if up {
		return -n
	}
	return n
}

// listOptions are the parts of a drawn table that not every pane has.
type listOptions struct {
	Spark      func(row string) []float64 // history of a row's main number, oldest first; nil: none
	SparkTitle string
	SparkMax   float64 // top of the scale; 0: the most in sight

	Style func(r Row) theme.Style // of a row without the cursor; nil: plain

	Wide []string // columns of texts that stay as they are: they take what room is left, as far as they need it

	Bare bool // a second table beside the pane's own: no cursor, and no mark of the order
}

// Widths of a column of sparklines.
const (
	leastSpark = 10
	mostSpark  = 40
)

// drawn is a column at its place on the screen.
type drawn struct {
	Column
	index int // in the table
	spark bool
}

// draw draws the table in at most height lines: its heads, then the rows around the cursor.
func (l *list) draw(c Canvas, t Table, height int, o listOptions) []string {
	if height <= 0 {
		return nil
	}
	if !o.Bare {
		t.passed.sight.look(l, &t, true)
	}
	t = c.compareTable(t)
	cols := l.layout(t, c.Width, o)
	gone := t.gone[:min(len(t.gone), height/4)]
	at, room := l.index(t), height-1-len(gone)
	if o.Bare {
		l, at = &list{}, -1
	}
	out := []string{l.heads(c, cols)}
	first := 0
	if room > 0 && at >= room {
		first = min(at-room/2, len(t.Rows)-room)
	}
	rows := []string{""}
	for i := first; i < len(t.Rows) && len(out) <= room; i++ {
		out, rows = append(out, l.line(c, t.Rows[i], cols, i == at, o)), append(rows, t.Rows[i].ID)
	}
	if !o.Bare {
		c.saw(block{lines: out, rows: rows, at: cursorLine(at, first, len(rows)), choose: l.choose, list: l, table: t, cols: cols})
	}
	for _, r := range gone {
		out = append(out, l.line(c, r, cols, false, listOptions{}))
	}
	return out
}

// heads draws the titles. The one that sorts is marked in the blank before it.
func (l *list) heads(c Canvas, cols []drawn) string {
	line := widget.NewLine(c.Width)
	at := 0
	for _, col := range cols {
		style := c.Theme.Dim
		mark := ""
		if col.ID == l.sort && !col.spark {
			style, mark = c.Theme.Accent, "↓"
			if l.up {
				mark = "↑"
			}
		}
		if col.ID == l.column && !col.spark {
			style = c.Theme.Focus
			if mark == "" {
				mark = "·"
			}
		}
		title := col.head()
		start := at + 1
		if !col.Left {
			start = at + 1 + col.Width - widget.Width(title)
		}
		line.To(start-widget.Width(mark)).Put(style, mark+title)
		at += col.Width + 1
	}
	return line.String()
}

func (l *list) line(c Canvas, r Row, cols []drawn, selected bool, o listOptions) string {
	line := widget.NewLine(c.Width)
	style := theme.Style{}
	if r.None != "" {
		return noneLine(c, r)
	}
	if o.Style != nil {
		style = o.Style(r)
	}
	switch {
	case selected:
		style = c.Theme.Focus
		line.Put(c.Theme.Accent, ">")
	case r.then == newRow:
		line.Put(c.Theme.Accent, "+")
	case r.then == goneRow:
		style = c.Theme.Dim
		line.Put(style, "-")
	}
	at, first := 0, true
	for _, col := range cols {
		start := at + 1
		at += col.Width + 1
		switch {
		case col.spark && o.Spark == nil: // gone
		case col.spark:
			values := o.Spark(r.ID)
			values = values[max(len(values)-col.Width, 0):]
			top := o.SparkMax
			if top == 0 {
				top = most(values)
			}
			line.To(start).Put(c.Theme.Accent, widget.Spark(values, col.Width, 0, top))
		case col.delta > 0:
			number, difference := r.parts(col.index, col.Column, first)
			putCompared(line, c, style, number, difference, col.Column, at)
			first = false
		case col.index >= len(r.Cells):
		case col.Left:
			line.To(start).Put(style, widget.Clip(r.Cells[col.index].fit(col.Column), col.Width))
		default:
			line.Right(style, widget.Clip(r.Cells[col.index].fit(col.Column), col.Width), at)
		}
	}
	return line.String()
}
