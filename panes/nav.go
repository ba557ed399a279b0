// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// nav is where the user has been, and what each pane was told to keep.
type nav struct {
	trail   []int            // the tabs that led to this one by Enter, for Esc
	filters map[Pane]*Filter // of each pane that has one
	visits  []visit          // views in the order they were seen, the one on the screen among them
	at      int              // in visits
	left    leftPane
	carried carried
}

// leftPane is the pane that a key is about to leave, and the row under its cursor.
type leftPane struct {
	pane Pane
	row  string
}

// mostVisits is how many views [ and ] remember.
const mostVisits = 50

// visit is one view: a tab with its drill-downs, and the row the cursor was on when it was left.
type visit struct {
	tab   int
	stack []Pane
	row   string
}

// arrived notes what is on the screen now: its filter, and the view in the history. A new view ends
// what lay ahead.
func (r *Root) arrived() {
	r.frame.Filter = r.filters[r.top()]
	now := visit{tab: r.tab, stack: slices.Clone(r.stacks[r.tab])}
	if r.at < len(r.visits) {
		was := &r.visits[r.at]
		if was.tab == now.tab && slices.Equal(was.stack, now.stack) {
			return
		}
		was.row = r.rowOf(was.stack[len(was.stack)-1])
		r.visits = r.visits[:r.at+1]
	}
	r.visits = append(r.visits, now)
	if n := len(r.visits) - mostVisits; n > 0 {
		r.visits = slices.Delete(r.visits, 0, n)
	}
	r.at = len(r.visits) - 1
}

// rowOf is the row under the cursor of a pane that is left: the key may have asked already.
func (r *Root) rowOf(p Pane) string {
	if left := r.left; left.pane == p {
		return left.row
	}
	return r.sightOf(p).row.ID
}

// travel goes back or forward through the views that were seen. Each comes back with its drill-downs
// and its row.
func (r *Root) travel(step int) {
	to := r.at + step
	if to < 0 || to >= len(r.visits) {
		return
	}
	r.visits[r.at].row = r.sightOf(r.top()).row.ID
	r.at, r.trail = to, nil
	v := r.visits[to]
	r.tab, r.stacks[v.tab] = v.tab, slices.Clone(v.stack)
	r.want()
	if r.lookFor(r.top(), seek{row: v.row}).found != "" { // else it has gone, or the pane shows another table now
		r.point(v.row)
	}
}

// point moves the cursor to a row of the table that is shown.
func (r *Root) point(row string) {
	if row != "" {
		r.answer(r.top().Update(Press{ID: keyChoose + row, Frame: r.frame}))
	}
}

// sightOf tells what is under the cursor of a pane.
func (r *Root) sightOf(p Pane) sight { return r.lookFor(p, seek{}) }

// lookFor draws a pane and tells what is under its cursor, and where the row is that is looked for. A
// screenful is drawn in 2 ms; all rows of a host may take longer.
func (r *Root) lookFor(p Pane, what seek) sight {
	s := &sight{seek: what}
	f := r.frame
	f.sight, f.Filter = s, r.filters[p]
	p.View(f, Canvas{Width: max(r.size.Width, leastWidth), Height: max(r.size.Height-3, leastHeight), Theme: r.cfg.Theme, Focused: true, unseen: true})
	return *s
}

// carryFor is how long the row of another pane is looked for where there is none yet: what a pane asks for is
// measured first.
const carryFor = 3 * time.Second

// carried is what the cursor is to go to as soon as there is a row about it.
type carried struct {
	about collectors.Target
	until time.Duration // on the run's clock
}

// carry selects in the pane on the screen the row that is about the same as one of the pane before.
func (r *Root) carry(about collectors.Target) {
	if r.carried = (carried{}); about.Kind == collectors.HostTarget {
		return
	}
	r.carried = carried{about, r.now() + carryFor}
	r.carryOn()
}

// carryOn looks for that row among those that have come.
func (r *Root) carryOn() {
	if r.now() > r.carried.until {
		r.carried = carried{}
	}
	if r.carried == (carried{}) {
		return
	}
	if row := r.lookFor(r.top(), seek{about: r.carried.about}).found; row != "" {
		r.carried = carried{}
		r.point(row)
	}
}

// under is what the row under the cursor is about, if that is one thing among others. With a scope every
// pane is about that already.
func (r *Root) under() collectors.Target {
	if r.frame.Scope.On() {
		return collectors.Target{}
	}
	row := r.sightOf(r.top()).row
	r.left = leftPane{r.top(), row.ID}
	return row.Target
}

// setScope makes a target what all panes are about; the zero Scope is the whole host.
func (r *Root) setScope(s Scope) {
	r.frame.Scope, r.tape.base.drawn = s, nil
	r.want()
}

// scopeKey makes the row under the cursor the scope, or drops the scope if there is one.
func (r *Root) scopeKey() {
	if r.frame.Scope.On() {
		r.status = status{text: "the whole host again, no longer " + r.frame.Scope.Name}
		r.setScope(Scope{})
		return
	}
	row := r.sightOf(r.top()).row
	about := row.Target
	if about.Kind == collectors.HostTarget {
		r.status = status{text: "this row names no process, cgroup, disk or peer; f takes the row of one"}
		return
	}
	r.point(row.ID) // so that the cursor is on it when the others are back
	r.setScope(NewScope(about))
	r.status = status{text: "every pane is about " + r.frame.Scope.Name + " now; f or Esc drops it"}
}

// fitNav says of the keys of this file what they do, or why they do nothing.
func (r *Root) fitNav(k *keymap.Key) {
	switch k.ID {
	case keymap.Scope:
		if r.frame.Scope.On() {
			k.SetHelp(k.Help().Key, "whole host")
		}
	case keymap.Older:
		if r.at == 0 {
			*k = k.Off("this is the first view")
		}
	case keymap.Newer:
		if r.at+1 >= len(r.visits) {
			*k = k.Off("this is the last view")
		}
	case keymap.Back:
		switch {
		case r.frame.Filter != nil:
			k.SetHelp(k.Help().Key, "no filter")
		case len(r.stacks[r.tab]) > 1 || len(r.trail) > 0:
		case r.frame.Scope.On():
			k.SetHelp(k.Help().Key, "whole host")
		default:
			*k = k.Off("this is the top")
		}
	}
}

// zoomer is a pane that Esc takes out of something of its own before it is left.
type zoomer interface{ zoomOut() bool }

// stepBack is what Esc does: it takes away the pane's filter, then its zoom, then a drill-down, then the way here, then
// the scope. Each pane keeps its cursor all the while.
func (r *Root) stepBack() {
	inner, ok := r.top().(zoomer)
	switch {
	case r.frame.Filter != nil:
		r.point(r.sightOf(r.top()).row.ID) // what was looked for stays selected
		r.setFilter(nil)
	case ok && inner.zoomOut():
	case len(r.stacks[r.tab]) > 1 || len(r.trail) > 0:
		r.back()
	case r.frame.Scope.On():
		r.scopeKey()
	}
}

// setFilter gives the pane on the screen a filter; nil takes it away.
func (r *Root) setFilter(f *Filter) {
	if r.filters == nil {
		r.filters = make(map[Pane]*Filter)
	}
	if f == nil {
		delete(r.filters, r.top())
	} else {
		r.filters[r.top()] = f
	}
	r.frame.Filter, r.tape.base.drawn = f, nil // the baseline too has what passes alone
}

// crumbs is where the screen is, in place of the tab bar: the tab, what the scope is, the drill-downs.
func (r *Root) crumbs(t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	s := r.stacks[r.tab]
	l.Put(theme.Style{}, " "+tabTitle(s[0]))
	put := func(text string) { l.Put(t.Dim, " › ").Put(t.Focus, text) }
	scope := r.frame.Scope
	if scope.On() {
		put(scope.Name)
	}
	for _, p := range s[1:] {
		if title := p.Info().Title; title != scope.Name {
			put(title)
		}
	}
	right := "Esc back"
	if scope.On() && len(s) == 1 && len(r.trail) == 0 {
		right = "Esc whole host"
	}
	if r.frame.Filter != nil {
		right = "Esc no filter"
	}
	return l.Right(t.Dim, right, r.size.Width-1).String()
}

// seenBody draws the pane on the screen: in its title what its filter and the scope leave, below that what
// the kernel counts of the scope alone.
func (r *Root) seenBody(c Canvas) (body string, x *comparison) {
	s, f := &sight{}, r.frame
	line := ""
	if f.Scope.On() && c.Height >= smallHeight && len(r.stacks[r.tab]) == 1 { // a page tells more
		line = scopeLine(f, c, r.top().Wants(f.Scope))
	}
	if line != "" {
		c.Height--
	}
	r.frame.sight = s
	if body, x = r.compared(c); r.recall(c.seen) {
		*c.seen, *s = seen{}, sight{}
		body, x = r.compared(c)
	}
	r.frame.sight = nil
	if badge := s.badge(f, c.Width-2); badge != "" {
		first, rest, _ := strings.Cut(body, "\n")
		body = titled(c.Theme, c.Width, first, badge) + "\n" + rest
	}
	if line != "" {
		first, rest, _ := strings.Cut(body, "\n")
		body = first + "\n" + line + "\n" + rest
	}
	return body, x
}
