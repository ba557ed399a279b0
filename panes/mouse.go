// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
)

// hand is what the person at the keys and the mouse is in the middle of.
type hand struct {
	global []keymap.Key // that work everywhere
	prefix string       // first key of a two-key binding
	seen   seen         // what is on the screen as last drawn
	said   []string
	stale  bool                // seen is older than what was done last
	saves  int                 // snapshots under way
	leaves bool                // q was pressed meanwhile
	chosen map[string][]string // columns of pages, by what their tables have: a page is made anew each time

	clicked string        // row of the last click
	at      time.Duration // when that was
}

// doubleClick is how long after a click a second one on the same row opens it.
const doubleClick = 400 * time.Millisecond

// Lines of the screen above the view of a pane: the header and the tabs.
const (
	tabsLine = 1
	bodyLine = 2
)

// mouse moves with the wheel, opens the tab that is clicked, sorts by the head that is clicked, and
// selects the row; a double click opens it. Everything is where it was last drawn.
func (r *Root) mouse(msg tea.MouseMsg) tea.Cmd {
	r.carried = carried{}
	switch {
	case msg.Button == tea.MouseButtonWheelUp:
		return r.wheel(tea.KeyUp, keymap.Up)
	case msg.Button == tea.MouseButtonWheelDown:
		return r.wheel(tea.KeyDown, keymap.Down)
	case msg.Button != tea.MouseButtonLeft || msg.Action != tea.MouseActionPress || r.over != nil:
		return nil
	}
	r.status = status{}
	if msg.Y == tabsLine {
		return r.clickTab(msg.X)
	}
	return r.click(msg.X, msg.Y-bodyLine)
}

// wheel moves in what is shown: the overlay, or the pane. A line that is typed leaves the pane on the screen; what
// the arrows recall there would take the place of what is typed.
func (r *Root) wheel(key tea.KeyType, id string) tea.Cmd {
	if _, typed := r.over.(prompter); r.over != nil && !typed {
		return r.over.key(r, tea.KeyMsg{Type: key})
	}
	r.answer(r.top().Update(Press{ID: id, Frame: r.frame}))
	return nil
}

// clickTab opens the tab at x, with what is selected as the keys do, or goes back where the line says which
// drill-down is shown.
func (r *Root) clickTab(x int) tea.Cmd {
	switch {
	case len(r.stacks[r.tab]) > 1:
		r.back()
		return nil
	case r.frame.Scope.On():
		r.setScope(Scope{})
		return nil
	}
	for _, tab := range r.barTabs() {
		if x < tab.to {
			r.trail = nil
			about := r.under()
			r.openTab(tab.pane)
			r.carry(about)
			return nil
		}
	}
	return nil
}

// click sorts or selects at a place of the view.
func (r *Root) click(x, y int) tea.Cmd {
	b, line, ok := r.hand.seen.blockAt(x, y)
	if !ok {
		return nil
	}
	if line == 0 && b.list != nil {
		if col, ok := b.columnAt(x); ok {
			b.list.clickHead(col.ID)
		}
		return nil
	}
	row := b.rows[line]
	if row == "" {
		return nil
	}
	now, again := r.now(), r.hand.clicked == row
	if r.cfg.Uptime != nil {
		now = r.cfg.Uptime()
	}
	if again && now-r.hand.at <= doubleClick {
		r.hand.clicked = ""
		return r.open()
	}
	r.hand.clicked, r.hand.at = row, now
	b.choose(row)
	r.status.asked = true
	r.describe()
	return nil
}

// open does what Enter does here.
func (r *Root) open() tea.Cmd {
	for _, k := range r.bindings() {
		if k.ID == keymap.Open {
			return r.act(k)
		}
	}
	return nil
}

// clickHead sorts by a column, or the other way round if it sorts already.
func (l *list) clickHead(column string) {
	if column == l.sort {
		l.up, l.column = !l.up, column
		return
	}
	l.sortBy(column)
}
