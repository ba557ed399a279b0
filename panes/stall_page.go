// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// stallPage is the threads of one row of the stalls, with their stacks.
type stallPage struct {
	row      string
	sleeper  string // the process whose threads sleep; empty: they are in D
	sleepers bool
	list     list
}

func newStallPage(r Row, sleepers bool) *stallPage {
	p := &stallPage{row: r.ID, sleepers: sleepers, list: newList("")}
	if sleepers {
		p.sleeper = cmp.Or(r.Target.Name, "?") + "[" + strconv.Itoa(int(r.Target.Process.TGID)) + "]"
	}
	return p
}

// Info implements Pane.
func (p *stallPage) Info() Info {
	name := clean2(p.row)
	if p.sleepers {
		name = p.sleeper + " asleep"
	}
	return Info{ID: "stall", Title: name, Short: "stacks", Help: "stall"}
}

// Wants implements Pane: a page of sleepers keeps its probe.
func (p *stallPage) Wants(Scope) []collectors.Want {
	if !p.sleepers {
		return nil
	}
	return []collectors.Want{{ID: collectors.WaitsID}}
}

// Keys implements Pane.
func (p *stallPage) Keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process; the stack of the row is below the table"),
	}, p.list.keys()...)
}

// Update implements Pane.
func (p *stallPage) Update(msg tea.Msg) Answer {
	if press, ok := msg.(Press); ok {
		t := p.Table(press.Frame)
		if r, ok := p.list.row(t); ok && press.ID == keymap.Open {
			return openPID(press.Frame, t, r)
		}
		p.list.press(press.ID, t)
	}
	return nil
}

// stallTask is a line of the page with the stack beneath.
type stallTask struct {
	row   Row
	stack *collectors.Stack
}

// tasks are the page's lines, in the table's own order.
func (p *stallPage) tasks(f Frame) []stallTask {
	var out []stallTask
	if p.sleepers {
		for _, s := range sleepersOf(f) {
			if sleeperRow(s.task) != p.row {
				continue
			}
			for _, r := range s.rows {
				out = append(out, stallTask{Row{ID: r.Class + " " + r.Function, Target: aboutProcess(r.Task, r.Comm), Cells: []Cell{
					Number(float64(r.Task.TGID)), Number(float64(r.Threads)), Missing("they wake up by themselves"), Missing("they wake up by themselves"),
					Say(r.Class), Say(cmp.Or(clean2(r.Function), unnamed)), Name(collectors.Clean(r.Comm)),
				}}, r.Stack})
			}
		}
		return out
	}
	s := newest(f, stallsOf)
	if s == nil {
		return nil
	}
	for _, r := range s.Rows {
		if stallRow(collectors.StallGroup{Class: r.Class, Function: r.Function, Device: r.Device}) != p.row {
			continue
		}
		most := Missing("nothing says when it last had a CPU")
		if r.AtMost >= 0 {
			most = Number(r.AtMost.Seconds())
		}
		out = append(out, stallTask{Row{ID: strconv.Itoa(int(r.TID)), Target: aboutProcess(r.Task, r.Comm), Cells: []Cell{
			Number(float64(r.Task.TGID)), Number(float64(r.TID)), Number(r.Seen.Seconds()), most,
			Say(r.Class), Say(cmp.Or(clean2(r.Function), unnamed)), Name(collectors.Clean(r.Comm)),
		}}, r.Stack})
	}
	return out
}

// Table implements Pane.
func (p *stallPage) Table(f Frame) Table {
	second := Column{ID: "TID", Title: "TID", Width: 7}
	if p.sleepers {
		second = Column{ID: "THREADS", Title: "THREADS", Unit: "tasks", Width: 7}
	}
	t := Table{Title: p.Info().Title, Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7},
		second,
		{ID: "LONGEST", Title: "LONGEST", Unit: "s", Width: 8, Decimals: 1, Hidden: p.sleepers},
		{ID: "LASTCPU", Title: "LASTCPU", Unit: "s", Width: 8, Decimals: 1, Rank: 1, Hidden: p.sleepers},
		{ID: "CLASS", Title: "CLASS", Width: 11, Left: true, Hidden: !p.sleepers},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 26, Left: true, Hidden: !p.sleepers},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
	}}
	for _, x := range p.tasks(f) {
		t.Rows = append(t.Rows, x.row)
	}
	p.list.arrange(f, &t)
	return t
}

// View implements Pane: the threads, then the stack of the selected one.
func (p *stallPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	lines := []string{widget.Title(c.Theme, c.Width, t.Title, fmt.Sprintf("%d row%s", len(t.Rows), plural(len(t.Rows))))}
	if len(t.Rows) == 0 {
		return fit(append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "nobody waits here any more").String()), c.Height)
	}
	selected, _ := p.list.row(t)
	var stack *collectors.Stack
	for _, x := range p.tasks(f) {
		if x.row.ID == selected.ID {
			stack = x.stack
		}
	}
	frames := []string{}
	if stack != nil {
		frames = stack.Frames
	}
	room := max(c.Height-len(lines)-len(frames)-1, (c.Height-len(lines))/2)
	lines = append(lines, p.list.draw(c, t, min(room, len(t.Rows)+1), listOptions{})...)
	lines = append(lines, widget.Title(c.Theme, c.Width, "kernel stack", "innermost first, without the scheduler's own functions"))
	if len(frames) == 0 {
		lines = append(lines, wrap(c, "", "- "+noFunction(f))...)
	}
	for _, fn := range frames {
		lines = append(lines, widget.NewLine(c.Width).Skip(2).Plain(clean2(fn)).String())
	}
	return fit(lines, c.Height)
}
