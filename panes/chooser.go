// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
	"bpf60/panes/widget"
)

// chooser is the overlay of C: the columns of a table in their order, those that are shown marked.
// What it does is seen when it closes, and stays until bpf60 ends.
type chooser struct {
	title string
	list  *list
	table Table
	ids   []string // every column of the table, in the order in which they would be drawn
	on    map[string]bool
	at    int
	help  string // page of help
}

// newChooser returns the chooser for the table on the screen; nil if there is none.
func (r *Root) newChooser() *chooser {
	b, ok := r.look().heads()
	if !ok {
		return nil
	}
	info := r.top().Info()
	o := &chooser{on: make(map[string]bool), title: info.Title, list: b.list, table: b.table, help: info.Help}
	if b.table.Title != "" && !strings.EqualFold(b.table.Title, info.Title) {
		o.title += ", " + b.table.Title
	}
	o.read(b.cols)
	for i, id := range o.ids {
		if id == b.list.column {
			o.at = i
		}
	}
	return o
}

// read takes the columns from what is drawn: those that were chosen, else those that had room. The
// others have the place that the table gives them, or come after those that were chosen.
func (o *chooser) read(cols []drawn) {
	o.ids = nil
	clear(o.on)
	for _, c := range cols {
		if o.list.show == nil && !c.spark {
			o.on[c.ID] = true
		}
	}
	for _, id := range o.list.show {
		o.ids, o.on[id] = append(o.ids, id), true
	}
	for _, c := range o.table.Columns {
		if !slices.Contains(o.ids, c.ID) {
			o.ids = append(o.ids, c.ID)
		}
	}
}

// chooserKeys are the keys of the overlay.
func chooserKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Open, "Enter", "show, hide", "enter"),
		keymap.New(keymap.Pause, "space", "show, hide", " ", "p"),
		keymap.New(keymap.Earlier, "←", "before", "left", "h").In("move the column to the left"),
		keymap.New(keymap.Later, "→", "behind", "right", "l").In("move the column to the right"),
		keymap.New(keySort, "s", "sort", "s", "f6").In("sort by the column"),
		keymap.New(keyReset, "x", "default", "x").In("the columns as they were"),
		keymap.New(keymap.Back, "Esc", "close", "esc", "backspace"),
	}
}

// key implements overlay.
func (o *chooser) key(r *Root, msg tea.KeyMsg) tea.Cmd {
	k, ok := r.overlayKey(msg, chooserKeys())
	if !ok {
		return nil
	}
	switch k.ID {
	case keymap.Back, keymap.Quit, keymap.Columns:
		r.over = nil
	case keymap.Open, keymap.Pause:
		id := o.ids[o.at]
		o.on[id] = !o.on[id]
		o.apply(r)
	case keymap.Earlier, keymap.Later:
		to := max(0, min(o.at+map[bool]int{false: -1, true: 1}[k.ID == keymap.Later], len(o.ids)-1))
		o.ids[o.at], o.ids[to] = o.ids[to], o.ids[o.at]
		o.at = to
		o.apply(r)
	case keySort:
		o.list.clickHead(o.ids[o.at])
	case keyReset:
		o.list.show = nil
		r.choose(o.table, nil)
		o.read(o.list.layout(o.table, r.size.Width, listOptions{}))
	default:
		o.at = moveTo(k.ID, o.at, len(o.ids))
		return terminalKey(k.ID)
	}
	return nil
}

// apply gives the list what is chosen. The last column that is shown stays.
func (o *chooser) apply(r *Root) {
	var show []string
	for _, id := range o.ids {
		if o.on[id] {
			show = append(show, id)
		}
	}
	if len(show) == 0 {
		o.on[o.ids[o.at]] = true
		r.status = status{text: "one column has to stay"}
		return
	}
	o.list.show = show
	r.choose(o.table, show)
}

// choose keeps the columns of a table for the pages that are made anew each time they are opened.
func (r *Root) choose(t Table, show []string) {
	if r.hand.chosen == nil {
		r.hand.chosen = make(map[string][]string)
	}
	r.hand.chosen[signature(t)] = show
}

// signature names a table by what it has: the same for the page of each process.
func signature(t Table) string {
	ids := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		ids[i] = c.ID
	}
	return strings.Join(ids, " ")
}

// recall gives a table that is new on the screen the columns that were chosen for its like, and says
// whether it has to be drawn again.
func (r *Root) recall(s *seen) (changed bool) {
	for _, b := range s.blocks {
		if b.list == nil || b.list.show != nil {
			continue
		}
		if show := r.hand.chosen[signature(b.table)]; show != nil {
			b.list.show, changed = show, true
		}
	}
	return changed
}

// view implements overlay.
func (o *chooser) view(c Canvas) string {
	n := 0
	for _, on := range o.on {
		if on {
			n++
		}
	}
	out := []string{widget.Title(c.Theme, c.Width, "columns: "+o.title, fmt.Sprintf("%d of %d shown", n, len(o.ids)), "those on the right give way where it is narrow")}
	room := c.Height - 1
	first := max(0, min(o.at-room/2, len(o.ids)-room))
	for i := first; i < len(o.ids) && len(out) <= room; i++ {
		out = append(out, o.row(c, i))
	}
	return fit(out, c.Height)
}

func (o *chooser) row(c Canvas, i int) string {
	l, style := widget.NewLine(c.Width), c.Theme.Dim
	col := o.table.Columns[slices.IndexFunc(o.table.Columns, func(x Column) bool { return x.ID == o.ids[i] })]
	mark := "[ ]"
	if o.on[col.ID] {
		mark, style = "[x]", c.Theme.Accent
	}
	if i == o.at {
		l.Put(c.Theme.Accent, ">")
		style = c.Theme.Focus
	}
	name := col.Title
	if !strings.EqualFold(col.ID, col.Title) {
		name += " (" + col.ID + ")"
	}
	if o.list.sort == col.ID {
		name += map[bool]string{false: " ↓", true: " ↑"}[o.list.up]
	}
	l.To(1).Put(style, mark+" "+name).To(max(l.Width()+1, 22))
	return l.Put(c.Theme.Dim, widget.ClipWords(brief(o.help, o.table.Title, col), l.Left())).String()
}
