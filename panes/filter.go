// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// arrange is what every table of a pane goes through before it is drawn or walked over: it keeps the
// rows that the scope and the filter of the frame let pass, and orders them.
func (l *list) arrange(f Frame, t *Table) {
	s := newSieve(f, t.Columns)
	if t.scoped {
		s.in = nil
	}
	if s.idle() {
		l.order(t)
		s.report(l, t)
		return
	}
	s.owned = f.Scope.tells(t.Rows)
	t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool {
		return !r.Sum && !s.keeps(r.Target, func() []Cell { return r.Cells })
	})
	l.order(t)
	s.report(l, t)
}

// sieve lets the rows of one table pass that a frame's scope and filter keep.
type sieve struct {
	f     Frame
	in    func(collectors.Target) bool // nil: everything is in scope
	owned bool                         // the rows say what they belong to
	test  test                         // nil: none
	of    int                          // rows seen that are no sums
	kept  int
	fault string   // why the filter says nothing of this table
	needs *binding // what the filter reads
}

func newSieve(f Frame, columns []Column) *sieve {
	s := &sieve{f: f, in: f.Scope.holds(f)}
	var err error
	s.test, s.needs, err = f.Filter.bind(columns)
	if wrong := (*fault)(nil); errors.As(err, &wrong) {
		s.test, s.fault = nil, wrong.says
	}
	return s
}

// idle says whether every row passes.
func (s *sieve) idle() bool { return s.in == nil && s.test == nil }

// keeps says whether a row passes; its cells are asked for only if they decide.
func (s *sieve) keeps(t collectors.Target, cells func() []Cell) bool {
	s.of++
	if s.in != nil && s.owned && !s.in(t) {
		return false
	}
	if s.test != nil && !s.test(cells()) {
		return false
	}
	s.kept++
	return true
}

// report notes what was kept, and says so in the table if that is nothing: else the pane would say that
// there is nothing.
func (s *sieve) report(l *list, t *Table) {
	if s.f.sight == nil {
		return
	}
	if s.idle() {
		s.of = 0
		for i := range t.Rows {
			if !t.Rows[i].Sum {
				s.of++
			}
		}
		s.kept = s.of
	}
	if s.of > 0 && s.kept == 0 && len(t.Rows) == 0 {
		t.Rows = []Row{{None: "none of " + strconv.Itoa(s.of) + " row" + plural(s.of) + " passes: " + s.names(), Cells: make([]Cell, len(t.Columns))}}
	}
	t.passed = passed{sight: s.f.sight, of: s.of, kept: s.kept, whole: s.in != nil && !s.owned, scoped: t.scoped, fault: s.fault}
	s.f.sight.look(l, t, false)
}

// names is what keeps rows away.
func (s *sieve) names() string {
	switch {
	case s.in != nil && s.test != nil:
		return "scope " + s.f.Scope.Name + ", filter " + s.f.Filter.String()
	case s.in != nil:
		return s.f.Scope.why() + "; f drops it"
	}
	return "filter " + s.f.Filter.String() + "; / and Enter removes it"
}

// noneLine stands where rows would.
func noneLine(c Canvas, r Row) string {
	return widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, widget.ClipWords(r.None, c.Width-2)).String()
}

// sight is what the pane on the screen showed when it was last drawn: the root asks it what the cursor
// is on, without knowing the pane.
type sight struct {
	seek
	found   string   // ID of the row that is looked for; empty: it is not in the table
	columns []Column // of the table with the cursor
	row     Row      // under the cursor; ID empty: none
	passed
	drawn bool // columns, row and passed are of the table that was drawn with a cursor
}

// seek is what is looked for in a table: a row by its ID, or the first one about something. Zero: nothing.
type seek struct {
	row   string
	about collectors.Target
}

// is says whether it is a row.
func (s *seek) is(r *Row) bool {
	if s.row != "" {
		return r.ID == s.row
	}
	return sameTarget(r.Target, s.about)
}

// passed is how much of a table the scope and the filter let through.
type passed struct {
	sight *sight
	of    int // rows that are no sums
	kept  int
	whole bool   // nothing in the table says what it belongs to, so that the scope does not narrow it
	fault string // why the filter says nothing of the table

	scoped bool // the scope alone is counted
}

// look notes a table. One that is drawn with a cursor counts more than one that is only arranged, of
// which a pane may have several.
func (s *sight) look(l *list, t *Table, drawn bool) {
	if s == nil || s.drawn && !drawn {
		return
	}
	s.columns, s.passed, s.drawn = t.Columns, t.passed, drawn
	s.row, _ = l.row(*t)
	s.found = ""
	if s.seek == (seek{}) {
		return
	}
	if i := slices.IndexFunc(t.Rows, func(r Row) bool { return s.is(&r) }); i >= 0 {
		s.found = t.Rows[i].ID
	}
}

// badge says at the end of a pane's title, in at most room cells, what its filter and the scope leave.
func (s *sight) badge(f Frame, room int) string {
	text := ""
	if f.Scope.On() {
		text = " in " + f.Scope.Name
		if !s.scoped && (s.of == 0 || s.whole) {
			text = " whole host"
		}
	}
	if f.Filter != nil {
		text += " /" + f.Filter.String()
	}
	tail := " "
	switch {
	case text == "":
		return ""
	case f.Filter != nil && s.fault != "":
		tail = ": not for this table "
	case s.of > 0 && (f.Filter != nil || !s.whole && !s.scoped):
		tail = "  " + strconv.Itoa(s.kept) + " of " + strconv.Itoa(s.of) + " row" + plural(s.of) + " "
	}
	return widget.Clip(text, room-widget.Width(tail)) + tail
}

// titled puts a badge over the end of the title of a pane that has been drawn. What it covers goes part
// by part.
func titled(t theme.Theme, width int, first, badge string) string {
	if badge == "" {
		return first
	}
	const rule = "── "
	room := max(width-widget.Width(badge)-1, 0)
	if text := strings.TrimRight(ansi.Strip(first), "─"); widget.Width(text) > room {
		for widget.Width(text) > room && text != "" {
			text = text[:max(strings.LastIndex(strings.TrimSuffix(text, rule), rule), 0)]
		}
		first = ansi.Truncate(first, widget.Width(text), "")
	} else {
		first = ansi.Truncate(first, room, "")
	}
	l := widget.NewLine(width)
	l.Raw(first, widget.Width(first))
	for l.Width() < room {
		l.Put(t.Dim, "─")
	}
	return l.Put(t.Accent, badge).Rule(t.Dim).String()
}
