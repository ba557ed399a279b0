// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// callPage is who makes one call, or which calls one process makes.
type callPage struct {
	row     string // the name of a call, or whoRow of a process
	process bool
	times   bool
	rows    list
}

func newCallPage(row string, process, times bool) *callPage {
	return &callPage{row: row, process: process, times: times, rows: newList("")}
}

// name is what the page is about: "openat", "process 812".
func (p *callPage) name() string {
	if p.process {
		pid, _, _ := strings.Cut(p.row, " ")
		return "process " + pid
	}
	return p.row
}

// Info implements Pane.
func (p *callPage) Info() Info {
	return Info{ID: ID("syscalls " + p.name()), Title: p.name(), Short: widget.Clip(p.name(), 16), Help: "syscalls"}
}

// Wants implements Pane: what the pane above wants.
func (p *callPage) Wants(s Scope) []collectors.Want { return (&Syscalls{times: p.times}).Wants(s) }

// Keys implements Pane.
func (p *callPage) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process")
	return append([]keymap.Key{keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"), open}, p.rows.keys()...)
}

// Update implements Pane.
func (p *callPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.rows.choose(msg.Row)
	case Press:
		t := p.Table(msg.Frame)
		if msg.ID != keymap.Open {
			p.rows.press(msg.ID, t)
			return nil
		}
		if p.process {
			return openWho(msg.Frame, Row{ID: p.row})
		}
		if r, ok := p.rows.row(t); ok {
			return openWho(msg.Frame, r)
		}
	}
	return nil
}

// Table implements Pane.
func (p *callPage) Table(f Frame) Table {
	t := Table{Title: p.name(), Columns: []Column{
		{ID: "calls/s", Title: "calls/s", Unit: "calls/s", Width: 8, Decimals: 1},
		{ID: "err/s", Title: "err/s", Unit: "calls/s", Width: 7, Decimals: 1},
	}}
	t.Columns = append(t.Columns, timeColumns()...)
	t.Columns = append(t.Columns, Column{ID: "max_us", Title: "max µs", Unit: "us", Width: 9, Decimals: 1, Rank: 2})
	if p.process {
		t.Columns = append(t.Columns, Column{ID: "CALL", Title: "CALL", Width: 20, Left: true})
	} else {
		t.Columns = append(t.Columns, Column{ID: "PID", Title: "PID", Width: 7}, Column{ID: "COMM", Title: "COMM", Width: 15, Left: true})
	}
	sum := callsOver(f)
	if sum == nil {
		why, remedy := whyNot(f, collectors.SyscallsID, "syscount")
		t.Notes = append(t.Notes, note("syscount", why, remedy))
		return t
	}
	names, listed := processNames(f), uint64(0)
	for i := range sum.Pairs {
		x := &sum.Pairs[i]
		if p.process && whoRow(x.Process) != p.row || !p.process && x.Name != p.row {
			continue
		}
		listed += x.N
		most := Missing("no call was timed: t in the pane above")
		if x.Max > 0 {
			most = Number(float64(x.Max) / 1e3)
		}
		row := Row{ID: whoRow(x.Process), Target: aboutProcess(x.Process, collectors.Raw{}), Cells: append([]Cell{perSecond(x.N, sum.Span), perSecond(x.Errors, sum.Span)}, timeCells(&x.SyscallCounts, sum.Span)...)}
		row.Cells = append(row.Cells, most)
		if p.process {
			row.ID = x.Name
			row.Cells = append(row.Cells, Say(x.Name))
		} else {
			row.Cells = append(row.Cells, Number(float64(x.Process.TGID)), names(x.Process, commSeen(sum, x.Process)))
		}
		t.Rows = append(t.Rows, row)
	}
	if all := p.total(sum); all > listed {
		t.Notes = append(t.Notes, widget.Count(all-listed)+" more calls are not among the 200 busiest pairs of process and call")
	}
	p.rows.arrange(f, &t)
	return t
}

// total is what the rows would add up to if none were left out.
func (p *callPage) total(sum *callSum) uint64 {
	for i := range sum.Calls {
		if !p.process && sum.Calls[i].Name == p.row {
			return sum.Calls[i].N
		}
	}
	for i := range sum.Processes {
		if p.process && whoRow(sum.Processes[i].Process) == p.row {
			return sum.Processes[i].N
		}
	}
	return 0
}

// commSeen is the name of a process in the kernel's table.
func commSeen(sum *callSum, id collectors.Process) collectors.Raw {
	for i := range sum.Processes {
		if sum.Processes[i].Process == id {
			return sum.Processes[i].Comm
		}
	}
	return collectors.Raw{}
}

// View implements Pane.
func (p *callPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	head := []string{"who calls " + p.row}
	if p.process {
		head = []string{"calls of " + p.who(f)}
	}
	lines := []string{widget.Title(c.Theme, c.Width, append(head, strconv.Itoa(len(t.Rows))+" row"+plural(len(t.Rows)))...)}
	if len(t.Rows) == 0 {
		return fit(append(lines, nothing(c, t, "none in the last interval")...), c.Height)
	}
	notes := noteLines(c, t.Notes, 2)
	room := c.Height - len(lines) - len(notes)
	lines = append(lines, pad(p.rows.draw(c, t, room, listOptions{}), room)...)
	return fit(append(lines, notes...), c.Height)
}

// who is the process with its name.
func (p *callPage) who(f Frame) string {
	sum := callsOver(f)
	if sum != nil {
		names := processNames(f)
		for i := range sum.Processes {
			x := &sum.Processes[i]
			if whoRow(x.Process) == p.row {
				return names(x.Process, x.Comm).Format(0) + "[" + strconv.Itoa(int(x.Process.TGID)) + "]"
			}
		}
	}
	return p.name()
}
