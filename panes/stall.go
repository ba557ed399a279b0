// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// StallsPane is the id of the pane of waiting threads.
const StallsPane ID = "stalls"

func stallsOf(s *collectors.Snapshot) *collectors.Stalls { return s.Stalls }
func waitsOf(s *collectors.Snapshot) *collectors.Waits   { return s.Waits }

// Stalls is the pane of threads that wait: those in D by wait function, and where the threads of
// the busiest processes sleep.
type Stalls struct {
	blocked, asleep list
	sleepers        bool // the cursor is in the table of sleepers
}

// NewStalls returns the pane.
func NewStalls() *Stalls { return &Stalls{blocked: newList("TASKS"), asleep: newList("")} }

// Info implements Pane.
func (p *Stalls) Info() Info {
	return Info{ID: StallsPane, Title: "Stalls", Short: "Stalls", Help: "stall", Command: "ps -eo state,pid,wchan:30,comm"}
}

// Wants implements Pane: sleeping threads are looked at while somebody looks at them.
func (p *Stalls) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.WaitsID}}
}

const keySleepers = "stalls.asleep"

// Keys implements Pane.
func (p *Stalls) Keys() []keymap.Key {
	to := "asleep"
	if p.sleepers {
		to = "in D"
	}
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "stacks", "enter").In("open the threads of the row with their stacks"),
		keymap.New(keySleepers, "t", to, "t").In("move between threads in D and threads that sleep"),
	}, p.list().keys()...)
}

// list is the table the cursor is in.
func (p *Stalls) list() *list {
	if p.sleepers {
		return &p.asleep
	}
	return &p.blocked
}

func (p *Stalls) table(f Frame) Table {
	if p.sleepers {
		return p.sleeping(f)
	}
	return p.Table(f)
}

// Update implements Pane.
func (p *Stalls) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.sleepers = false
		p.blocked.choose(msg.Row)
	case Press:
		t := p.table(msg.Frame)
		switch msg.ID {
		case keySleepers:
			p.sleepers = !p.sleepers
		case keymap.Open:
			if r, ok := p.list().row(t); ok {
				return OpenMsg{newStallPage(r, p.sleepers)}
			}
			if !p.sleepers {
				return SayMsg{"no task in D to open; t moves to those that sleep"}
			}
		default:
			p.list().press(msg.ID, t)
		}
	}
	return nil
}

// stallRow names a group of threads in D.
func stallRow(g collectors.StallGroup) string {
	return strings.TrimRight(g.Class+" "+g.Function+" "+g.Device.Name.Bytes(), " ")
}

// deviceCell is what is known of the device of threads in D: ~ marks that of the file of their system
// call, which they need not wait for themselves.
func deviceCell(d collectors.StallDevice, kernel bool) Cell {
	if d.Name == (collectors.Raw{}) {
		if kernel {
			return Missing("its name does not say what this kernel thread serves")
		}
		return Missing("it waits in no system call that names an open file of a file system: a page fault, a path")
	}
	c := Name(collectors.Clean(d.Name))
	if d.OfFile {
		c.Badge = "~"
	}
	return c
}

// unnamed stands for a wait function that could not be named.
const unnamed = "-"

// Table implements Pane: the threads in D, by wait function.
func (p *Stalls) Table(f Frame) Table {
	t := Table{Title: "in D", Columns: []Column{
		{ID: "TASKS", Title: "TASKS", Unit: "tasks", Width: 5},
		{ID: "LONGEST", Title: "LONGEST", Unit: "s", Width: 8, Decimals: 1},
		{ID: "LASTCPU", Title: "LASTCPU", Unit: "s", Width: 8, Decimals: 1, Rank: 3},
		{ID: "KERNEL", Title: "KERNEL", Unit: "tasks", Width: 6, Rank: 4},
		{ID: "CLASS", Title: "CLASS", Width: 11, Left: true},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 24, Left: true, Rank: 1},
		{ID: "DEVICE", Title: "DEVICE", Width: 10, Left: true, Rank: 2},
		{ID: "WHO", Title: "WHO", Width: 15, Left: true},
	}}
	s := newest(f, stallsOf)
	if s == nil {
		why, remedy := whyNot(f, collectors.StallsID, "stalls")
		t.Notes = append(t.Notes, note("stalls", why, remedy))
		return t
	}
	t.Facts = append(t.Facts, Fact{ID: "D", Title: "tasks in D", Unit: "tasks", Cell: Number(float64(s.Tasks))})
	for _, g := range s.Groups {
		most := Missing("nothing says when they last had a CPU")
		if g.AtMost >= 0 {
			most = Number(g.AtMost.Seconds())
		}
		fn := Say(cmp.Or(g.Function, unnamed))
		if g.Function == "" {
			fn = Missing(noFunction(f))
		}
		t.Rows = append(t.Rows, Row{ID: stallRow(g), Cells: []Cell{
			Number(float64(g.Tasks)), Number(g.Seen.Seconds()), most, Number(float64(g.Kernel)),
			Say(g.Class), fn, deviceCell(g.Device, g.Kernel == g.Tasks), Name(collectors.Clean(g.Who)),
		}})
	}
	listed := 0
	for _, g := range s.Groups {
		listed += g.Tasks
	}
	if n := s.Tasks - listed; n > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d tasks wait in further functions", n))
	}
	if pr, ok := probeNamed(f, collectors.StallsID, "stalls"); ok && pr.State == collectors.Degraded {
		t.Notes = append(t.Notes, note("stalls", pr.Reason, pr.Remedy))
	}
	if pr, ok := probeNamed(f, collectors.StallsID, "stalls device"); ok && pr.State == collectors.Degraded {
		t.Notes = append(t.Notes, note("devices", pr.Reason, pr.Remedy))
	}
	p.blocked.arrange(f, &t)
	return t
}

// namesLater says why a stack that is new has no names: what looking them up may cost is bounded.
const namesLater = "unnamed: functions that are new are looked up soon, in half a percent of a CPU at most"

// noFunction says why a wait function has no name.
func noFunction(f Frame) string {
	if p, ok := probeNamed(f, collectors.StallsID, "stalls"); ok && p.Reason != "" {
		return note("stalls", p.Reason, p.Remedy)
	}
	return "the kernel gave no stack, or its functions have not been looked up yet"
}

// Describe implements Describer.
func (p *Stalls) Describe(f Frame) string {
	t := p.table(f)
	return cmp.Or(p.list().why(t), strings.Join(t.Notes, "; "))
}

// View implements Pane: the table with the cursor first, the other beneath it.
func (p *Stalls) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	blocked, asleep := p.part(f, c, false), p.part(f, c, true)
	first, second := blocked, asleep
	if p.sleepers {
		first, second = asleep, blocked
	}
	// The first may have all that the second does not need, and at least two thirds.
	room := max(c.Height-second.need, c.Height*2/3)
	lines := first.draw(min(room, first.need))
	if rest := c.Height - len(lines); rest >= 3 {
		lines = append(lines, second.draw(rest)...)
	}
	return fit(lines, c.Height)
}

// stallPart is one of the two tables as it will be drawn.
type stallPart struct {
	need int
	draw func(height int) []string
}

func (p *Stalls) part(f Frame, c Canvas, sleepers bool) stallPart {
	t, l := Table{}, &p.blocked
	id, probe, what := collectors.StallsID, "stalls", "the wait of tasks in D"
	known := newest(f, stallsOf) != nil
	if sleepers {
		t, l = p.sleeping(f), &p.asleep
		id, probe, what = collectors.WaitsID, "waits", "the sleep of threads"
		known = newest(f, waitsOf) != nil
	} else {
		t = p.Table(f)
	}
	title := widget.Title(c.Theme, c.Width, p.heading(f, sleepers)...)
	if !known {
		lines := append([]string{title}, missingPart(f, c, id, probe, what)...)
		return stallPart{len(lines), func(h int) []string { return lines[:min(h, len(lines))] }}
	}
	if len(t.Rows) == 0 {
		none := "no task is in D"
		if sleepers {
			none = "no thread of user space had a CPU in the last 10 s and sleeps"
		}
		lines := []string{title, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, none).String()}
		return stallPart{2, func(h int) []string { return lines[:min(h, 2)] }}
	}
	o := p.options(f, sleepers)
	o.Bare = sleepers != p.sleepers
	return stallPart{len(t.Rows) + 2, func(h int) []string {
		if h <= 0 {
			return nil
		}
		return append([]string{title}, l.draw(c, t, h-1, o)...)
	}}
}

// options are the sparkline of a group: how many tasks waited there.
func (p *Stalls) options(f Frame, sleepers bool) listOptions {
	if sleepers {
		return listOptions{}
	}
	return listOptions{SparkTitle: "tasks over time", Spark: func(row string) []float64 {
		return series(f, mostSpark, stallsOf, func(s *collectors.Stalls) float64 {
			for _, g := range s.Groups {
				if stallRow(g) == row {
					return float64(g.Tasks)
				}
			}
			return 0
		})
	}}
}

func (p *Stalls) heading(f Frame, sleepers bool) []string {
	if sleepers {
		parts := []string{"asleep", "busiest processes first", "had a CPU in the last 10 s"}
		if w := newest(f, waitsOf); w != nil {
			parts = append(parts, fmt.Sprintf("%d threads", w.Threads))
			if w.Unlisted > 0 {
				parts = append(parts, fmt.Sprintf("%d not listed", w.Unlisted))
			}
		}
		return parts
	}
	parts := []string{"in D"}
	if s := newest(f, stallsOf); s != nil {
		parts = append(parts, fmt.Sprintf("%d task%s", s.Tasks, plural(s.Tasks)), "by wait function and device", "LONGEST is the least it has lasted")
		if s.Source != "iter/task" {
			parts = slices.Insert(parts, 2, "processes only")
		}
	}
	return parts
}
