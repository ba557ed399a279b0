// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// baseline is the moment that panes are compared with: a frame, so that every pane can draw it.
type baseline struct {
	frame Frame
	on    bool // panes are compared with it

	drawn *comparison // what the shown pane drew of the frame; nil: draw it again
	of    Pane
	size  [2]int
}

// baselinePast is how far back the baseline's frame reaches: panes sum a minute at most.
const baselinePast = time.Minute

// setBaseline makes what is shown the baseline.
func (r *Root) setBaseline() {
	f := r.frame
	from := 0
	for from < len(f.Past)-1 && f.Past[from].At < f.Now.At-baselinePast {
		from++
	}
	f.Past = slices.Clone(f.Past[min(from, keyMoment(f)):]) // the rest may go with the history
	f.Kept, f.Still = judgements(f.Kept), true
	r.tape.base = baseline{frame: f, on: r.tape.base.on}
	r.status = status{text: "the baseline is now " + f.At.Format(time.TimeOnly) + "; D shows every pane against it"}
}

// compared draws the shown pane against the baseline, if that was asked for.
func (r *Root) compared(c Canvas) (body string, x *comparison) {
	b := &r.tape.base
	if !b.on {
		return r.top().View(r.frame, c), nil
	}
	b.frame.Scope, b.frame.zoom, b.frame.Filter = r.frame.Scope, r.frame.zoom, r.frame.Filter
	if size := [2]int{c.Width, c.Height}; b.drawn == nil || b.of != r.top() || b.size != size {
		b.drawn, b.of, b.size = &comparison{recording: true, at: b.frame.At}, r.top(), size
		then := c
		then.against, then.seen = b.drawn, nil
		r.top().View(b.frame, then)
		b.drawn.recording = false
	}
	b.drawn.restart()
	c.against = b.drawn
	return r.top().View(r.frame, c), b.drawn
}

// comparison is what a pane drew at the baseline: its tables and distributions. The pane draws twice,
// first the baseline, of which only this is kept, then the present, which finds its like here. So no
// pane knows of it: tables and distributions are drawn in one place each.
type comparison struct {
	recording bool
	at        time.Time

	tables map[string][]Table
	hists  map[string][]*collectors.Hist
	turn   map[string]int // which of several that are named alike comes next

	found, missed int // of the last drawing: tables and distributions
	events        int // tables of events
	fresh, gone   int // rows
}

// near is how many rows beside the cursor need cells: to record the baseline all, since the present
// may show others.
func (c Canvas) near(n int) int {
	if c.against != nil && c.against.recording {
		return math.MaxInt
	}
	return n
}

// restart begins a drawing.
func (x *comparison) restart() {
	x.turn = map[string]int{}
	x.found, x.missed, x.events, x.fresh, x.gone = 0, 0, 0, 0, 0
}

// next is the place of what is drawn now among those of its name.
func (x *comparison) next(key string) int {
	if x.turn == nil {
		x.turn = map[string]int{}
	}
	n := x.turn[key]
	x.turn[key]++
	return n
}

// hist is the like of a distribution at the baseline; false without one. A nil distribution is one
// that was not measured.
func (x *comparison) hist(key string, now *collectors.Hist) (*collectors.Hist, bool) {
	if x == nil {
		return nil, false
	}
	n := x.next(key)
	if x.recording {
		if x.hists == nil {
			x.hists = map[string][]*collectors.Hist{}
		}
		x.hists[key] = append(x.hists[key], now)
		return nil, false
	}
	if n >= len(x.hists[key]) || x.hists[key][n] == nil {
		x.missed++
		return nil, false
	}
	x.found++
	return x.hists[key][n], true
}

// compareTable returns the table with what it was at the baseline, and room for the difference in
// each column of numbers. Without a like it comes back as it is.
func (c Canvas) compareTable(t Table) Table {
	x := c.against
	if x == nil {
		return t
	}
	if isEvents(t) {
		x.events++
		return t
	}
	var ids []string
	for _, col := range t.Columns {
		if !col.Hidden {
			ids = append(ids, col.ID)
		}
	}
	key := strings.Join(ids, " ")
	n := x.next(key)
	if x.recording {
		if x.tables == nil {
			x.tables = map[string][]Table{}
		}
		x.tables[key] = append(x.tables[key], t)
		return t
	}
	if n >= len(x.tables[key]) {
		x.missed++
		return t
	}
	base := x.tables[key][n]
	t.Columns, t.Rows = slices.Clone(t.Columns), slices.Clone(t.Rows)
	x.match(&t, base)
	some := false
	for i := range t.Columns {
		if canDiffer(t, i) {
			col := &t.Columns[i]
			col.delta = max(min(col.Width+1, mostDelta), leastDelta)
			col.value, col.Width = col.Width, col.Width+1+col.delta
			some = true
		}
	}
	if some {
		x.found++
	} else {
		x.missed++
	}
	return t
}

// isEvents says whether each row is something that happened once: its time comes first. There is no then
// for such a row.
func isEvents(t Table) bool {
	return len(t.Columns) > 0 && t.Columns[0].Left && strings.EqualFold(t.Columns[0].ID, "time")
}

// Widths of a difference: "+1.2k".
const (
	leastDelta = 5
	mostDelta  = 6
)

// match gives each row what it was, and adds the rows that are gone.
func (x *comparison) match(t *Table, base Table) {
	at := make(map[string]int, len(base.Rows))
	for i := range base.Rows {
		at[base.Rows[i].ID] = i
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		k, ok := at[r.ID]
		if !ok {
			r.then = newRow
			x.fresh++
			continue
		}
		r.then, r.base = oldRow, base.Rows[k].Cells
		delete(at, r.ID)
	}
	for i := range base.Rows {
		r := base.Rows[i]
		if _, ok := at[r.ID]; !ok || len(r.Cells) == 0 {
			continue
		}
		t.gone = append(t.gone, Row{ID: r.ID, Cells: r.Cells, base: r.Cells, then: goneRow})
	}
	x.gone += len(t.gone)
}

// then is what a row was at the baseline.
type then uint8

const (
	notCompared then = iota
	oldRow
	newRow
	goneRow
)

// canDiffer says whether a column holds numbers that can grow and shrink.
func canDiffer(t Table, i int) bool {
	col := t.Columns[i]
	if col.Left || isLabel(col.ID) {
		return false
	}
	number := func(r Row) bool {
		if i >= len(r.Cells) {
			return false
		}
		_, ok := r.Cells[i].Num()
		return ok
	}
	return slices.ContainsFunc(t.Rows, number) || slices.ContainsFunc(t.gone, number)
}

// isLabel says whether a column's numbers name something, or say when it was.
func isLabel(id string) bool {
	switch strings.ToLower(id) {
	case "pid", "tid", "ppid", "cpu", "uid", "pr", "ni", "fd", "port", "order", "sector", "ago", "age", "time", "adj", "level":
		return true
	}
	return false
}

// What stands for a difference.
const (
	same    = "="
	unknown = "-"
)

// difference is how much a cell is above or below what it was: = where it is the same to the digits
// that are shown, - where one of them is not known. Of a row that is new or gone it is all that there is or was.
func (r Row) difference(i int, col Column) string {
	var was, is Cell
	if i < len(r.base) {
		was = r.base[i]
	}
	if i < len(r.Cells) {
		is = r.Cells[i]
	}
	switch r.then {
	case goneRow:
		is = Number(0)
	case newRow:
		was = Number(0)
	case notCompared, oldRow:
	}
	a, okA := was.Num()
	b, okB := is.Num()
	if !okA || !okB {
		return unknown
	}
	sign, d := "+", b-a
	if d < 0 {
		sign, d = "-", -d
	}
	col.Width = col.delta - 1
	text := Number(d).fit(col)
	if strings.Trim(text, "0.:") == "" {
		return same
	}
	if i, j := strings.IndexByte(text, '.'), len(text)-1; widget.Width(text) > col.Width && i > 0 && text[j] > '9' {
		text = text[:i] + text[j:] // 123.5k is 123k
	}
	return sign + text
}

// squeeze makes columns of numbers narrower until all fit: of those that matter least only the
// difference stays. need is what the columns take, their blanks included.
func squeeze(cols []*Column, keep string, width int) {
	need := 0
	for _, c := range cols {
		need += c.Width + 1
	}
	for need > width {
		worst := -1
		for i, c := range cols {
			if c.delta > 0 && c.value > 0 && c.ID != keep && (worst < 0 || c.Rank >= cols[worst].Rank) {
				worst = i
			}
		}
		if worst < 0 {
			return
		}
		c := cols[worst]
		need -= c.Width
		c.value, c.Width = 0, max(c.value, c.delta, min(widget.Width(c.Title)+1, c.value+1))
		need += c.Width
	}
}

// head is a column's title: with ± behind a number and its difference, with Δ before a difference
// alone.
func (c Column) head() string {
	switch {
	case c.delta == 0:
		return widget.Clip(c.Title, c.Width)
	case c.value == 0:
		return widget.Clip("Δ"+c.Title, c.Width)
	}
	return widget.Clip(c.Title, c.value) + fmt.Sprintf("%*s", c.delta+1, "±")
}

// parts are what a compared cell says: the number, and the difference or what the row is.
func (r Row) parts(i int, col Column, first bool) (number, difference string) {
	if col.value > 0 {
		plain := col
		plain.Width = col.value
		switch {
		case r.then == goneRow && first:
			number = "gone"
		case r.then == goneRow:
		case i < len(r.Cells):
			number = widget.Clip(r.Cells[i].fit(plain), col.value)
		}
	}
	difference = r.difference(i, col)
	switch {
	case r.then == newRow && first:
		difference = "new"
	case col.value > 0 && (r.then == newRow || difference == same || difference == unknown):
		difference = "" // the number says enough
	}
	return number, difference
}

// putCompared writes a compared cell that ends before column end.
func putCompared(l *widget.Line, c Canvas, style theme.Style, number, difference string, col Column, end int) {
	if col.value > 0 {
		l.Right(style, number, end-col.delta-1)
	}
	mark := c.Theme.Accent
	if difference == same || difference == unknown {
		mark = c.Theme.Dim
	}
	l.Right(mark, difference, end)
}

// cellText is a cell as one text, with its difference if it is compared.
func (r Row) cellText(i int, col Column) string {
	if col.delta == 0 {
		return r.Cells[i].fit(col)
	}
	number, difference := r.parts(i, col, false)
	if col.value == 0 {
		return difference
	}
	return number + fmt.Sprintf(" %*s", col.delta, difference)
}

// differences are what rows of a table differ by in one column, by row.
func (c Canvas) differences(t Table, column string) map[string]string {
	t = c.compareTable(t)
	at := slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == column })
	if at < 0 || t.Columns[at].delta == 0 {
		return nil
	}
	out := make(map[string]string, len(t.Rows))
	for _, r := range t.Rows {
		out[r.ID] = r.difference(at, t.Columns[at])
	}
	return out
}

// compareLine says what is compared on this screen, or why nothing is.
func (r *Root) compareLine(t theme.Theme, x *comparison) string {
	if x == nil {
		return ""
	}
	l := widget.NewLine(r.size.Width).Skip(1).Put(t.Accent, "Δ ").Put(t.Dim, "since ").Plain(x.at.Format(time.TimeOnly)).Skip(2)
	if x.found == 0 {
		why := "there is nothing here to compare: no table of numbers, no distribution"
		switch {
		case x.missed > 0:
			why = "nothing of this was there, or recorded, at the baseline"
		case x.events > 0:
			why = "events are not compared: each is there once, with its time"
		}
		return l.Plain(widget.Clip(why, l.Left())).String()
	}
	text := "now ±difference"
	if x.fresh+x.gone > 0 {
		text += fmt.Sprintf(", %d new, %d gone", x.fresh, x.gone)
	}
	if x.missed > 0 {
		text += fmt.Sprintf("; %d part%s not there then", x.missed, plural(x.missed))
	}
	return l.Plain(widget.Clip(text, l.Left())).String()
}
