// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// SyscallsPane is the id of the pane of system calls.
const SyscallsPane ID = "syscalls"

// Syscalls is the pane of system calls, by call or by process. Calls are counted while it is open, and
// timed only when asked for: each costs every task of the host.
type Syscalls struct {
	byCall, byProcess list
	processes         bool // the table shown is by process
	times             bool
	draw              drawing // of the times of the selected call
}

// NewSyscalls returns the pane, by call, without times.
func NewSyscalls() *Syscalls {
	return &Syscalls{byCall: newList(""), byProcess: newList("")}
}

// Info implements Pane.
func (p *Syscalls) Info() Info {
	return Info{ID: SyscallsPane, Title: "System calls", Short: "Syscalls", Help: "syscalls", Command: "syscount", Dear: true}
}

// Wants implements Pane.
func (p *Syscalls) Wants(s Scope) []collectors.Want {
	target := callScope(s)
	wants := []collectors.Want{{ID: collectors.SyscallsID, Target: target}}
	if p.times {
		wants = append(wants, collectors.Want{ID: collectors.SyscallTimesID})
	}
	return wants
}

// callScope is the scope if the kernel can tell it by the task that makes a call, else the host.
func callScope(s Scope) collectors.Target {
	if k := s.Target.Kind; k == collectors.ProcessTarget || k == collectors.CgroupTarget {
		return s.Target
	}
	return collectors.Target{}
}

const (
	keyCallSplit = "syscalls.split"
	keyCallTimes = "syscalls.times"
)

// Keys implements Pane.
func (p *Syscalls) Keys() []keymap.Key {
	split, times := "by process", "times"
	if p.processes {
		split = "by call"
	}
	if p.times {
		times = "no times"
	}
	draw := drawKey(p.draw)
	switch {
	case !p.times:
		draw = draw.Off("time the calls first: t")
	case p.processes:
		draw = draw.Off("times are kept by call: i")
	}
	return slices.Concat([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "who", "enter").In("who makes the call; which calls the process makes"),
		keymap.New(keyCallSplit, "i", split, "i").In("by call or by process"),
		keymap.New(keyCallTimes, "t", times, "t").In("time the calls, which costs every call of every task about as much again; or stop"),
		draw,
	}, zoomKeys(), p.list().keys())
}

func (p *Syscalls) list() *list {
	if p.processes {
		return &p.byProcess
	}
	return &p.byCall
}

// Update implements Pane. Select takes the name of a call.
func (p *Syscalls) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.processes = false
		p.byCall.choose(msg.Row)
	case Press:
		t := p.current(msg.Frame)
		switch msg.ID {
		case keyCallSplit:
			p.processes = !p.processes
		case keyCallTimes:
			p.times = !p.times
			return WantMsg{}
		case keyDraw:
			p.draw = (p.draw + 1) % drawings
		case keymap.Open:
			if r, ok := p.list().row(t); ok {
				return OpenMsg{newCallPage(r.ID, p.processes, p.times)}
			}
		default:
			p.list().press(msg.ID, t)
		}
	}
	return nil
}

// current is the table that is shown.
func (p *Syscalls) current(f Frame) Table {
	if p.processes {
		return p.processTable(f)
	}
	return p.callTable(f)
}

// Table implements Pane: the table that is shown, and the other.
func (p *Syscalls) Table(f Frame) Table {
	t, more := p.callTable(f), p.processTable(f)
	if p.processes {
		t, more = more, t
	}
	t.Facts, more.Facts = callFacts(f), nil
	more.Notes, more.Histograms = nil, nil
	t.More = []Table{more}
	return t
}

// Describe implements Describer.
func (p *Syscalls) Describe(f Frame) string {
	t := p.current(f)
	return cmp.Or(p.list().why(t), strings.Join(t.Notes, "; "))
}

// timeColumns are the columns of times, of one width in all tables.
func timeColumns() []Column {
	return []Column{
		{ID: "ms/s", Title: "ms/s", Unit: "ms/s", Width: 7, Decimals: 1},
		{ID: "mean_us", Title: "mean µs", Unit: "us", Width: 7, Decimals: 1, Rank: 1},
	}
}

// timeCells are the cells of timeColumns.
func timeCells(c *collectors.SyscallCounts, span collectors.Span) []Cell {
	mean, ok := c.Mean()
	if !ok {
		why := Missing("no call was timed: t")
		return []Cell{why, why}
	}
	return []Cell{Number(float64(c.Time.Nanoseconds()) / 1e6 / max(span.Seconds(), 1e-9)), Number(float64(mean) / 1e3)}
}

// callTable is by call: syscount.
func (p *Syscalls) callTable(f Frame) Table {
	sum := callsOver(f)
	timed := sum != nil && sum.Timed > 0
	t := Table{Title: "by call", Columns: []Column{
		{ID: "calls/s", Title: "calls/s", Unit: "calls/s", Width: 8, Decimals: 1},
		{ID: "err/s", Title: "err/s", Unit: "calls/s", Width: 7, Decimals: 1},
	}}
	if timed || p.times {
		t.Columns = append(t.Columns, timeColumns()...)
		t.Columns = append(t.Columns,
			Column{ID: "p99", Title: "p99", Width: 9, Rank: 2}, Column{ID: "max", Title: "max", Width: 9, Rank: 3})
	}
	t.Columns = append(t.Columns,
		Column{ID: "CALL", Title: "CALL", Width: 15, Left: true},
		Column{ID: "%errno", Title: "%errno", Unit: "%", Width: 6, Decimals: 1, Hidden: true},
		Column{ID: "ERRNO", Title: "ERRNO", Width: 10, Left: true})
	if sum == nil {
		t.Notes = append(t.Notes, notCounted(f))
		return t
	}
	for i := range sum.Calls {
		c := &sum.Calls[i]
		row := Row{ID: c.Name, Cells: []Cell{perSecond(c.N, sum.Span), perSecond(c.Errors, sum.Span)}}
		if timed || p.times {
			row.Cells = append(row.Cells, timeCells(&c.SyscallCounts, sum.Span)...)
			row.Cells = append(row.Cells, quantileCells(sum.hists[c.Call])...)
		}
		row.Cells = append(append(row.Cells, Say(c.Name)), errnoCells(c)...)
		t.Rows = append(t.Rows, row)
	}
	t.scoped = callScope(f.Scope) != (collectors.Target{})
	p.byCall.arrange(f, &t)
	t.Notes = append(t.Notes, callNotes(f, sum)...)
	missedNote(f, &t, collectors.SyscallsID, "syscount")
	if h, ok := p.histogram(f, t, sum); ok {
		t.Histograms = []Histogram{h}
	}
	return t
}

// notCounted says why there are no counts, and how to get them in a report, which does without.
func notCounted(f Frame) string {
	why, remedy := whyNot(f, collectors.SyscallsID, "syscount")
	if p, ok := probeNamed(f, collectors.SyscallsID, "syscount"); ok && p.State == collectors.Idle {
		why, remedy = "not counted unless asked for, as it slows every system call", "in a report: bpf60 report syscalls"
	}
	return note("syscount", why, remedy)
}

// quantileCells are p99 and the maximum, as buckets.
func quantileCells(h *callTimesSum) []Cell {
	if h == nil {
		why := Missing("no call was timed: t")
		return []Cell{why, why}
	}
	p99, most := Missing("it takes 100 calls"), Say(quantile(&h.now, 1))
	if q := quantile(&h.now, 0.99); q != "-" {
		p99 = Say(q)
	}
	return []Cell{p99, most}
}

// errnoCells name the most frequent errors of a call, and tell the share of the first in per cent.
func errnoCells(c *collectors.SyscallCall) []Cell {
	if c.Errors == 0 {
		return []Cell{Missing("it did not fail"), Say("")}
	}
	if len(c.Errnos) == 0 {
		why := Missing("the kernel's table of errors was full")
		return []Cell{why, why}
	}
	var names []string
	for _, e := range c.Errnos {
		names = append(names, collectors.ErrnoName(e.Errno))
	}
	return []Cell{Number(100 * float64(c.Errnos[0].N) / float64(c.Errors)), Say(strings.Join(names, " "))}
}

// callHistogram begins the ID of a call's histogram.
const callHistogram = "syscall."

// histogram is of the selected call.
func (p *Syscalls) histogram(f Frame, t Table, sum *callSum) (Histogram, bool) {
	r, ok := p.byCall.row(t)
	if !ok || len(sum.hists) == 0 {
		return Histogram{}, false
	}
	for i := range sum.Calls {
		c := &sum.Calls[i]
		if c.Name != r.ID {
			continue
		}
		h := Histogram{ID: callHistogram + c.Name, Title: "times of " + c.Name}
		if x := sum.hists[c.Call]; x != nil {
			h.Now, h.Start = &x.now, &x.total
			if m := marked(f, callTimesOf); m != nil {
				for k := range m.Calls {
					if m.Calls[k].Call == c.Call {
						h.Start = since(&x.total, &m.Calls[k].Total)
					}
				}
			}
		}
		h.Badge = lossBadge(sum.Collided + missedOver(f, collectors.SyscallTimesID, "syscount-time"))
		return h, true
	}
	return Histogram{}, false
}

// processTable is by process: syscount -P.
func (p *Syscalls) processTable(f Frame) Table {
	sum := callsOver(f)
	timed := sum != nil && sum.Timed > 0
	t := Table{Title: "by process", Columns: []Column{
		{ID: "calls/s", Title: "calls/s", Unit: "calls/s", Width: 8, Decimals: 1},
		{ID: "err/s", Title: "err/s", Unit: "calls/s", Width: 7, Decimals: 1},
	}}
	if timed || p.times {
		t.Columns = append(t.Columns, timeColumns()...)
	}
	t.Columns = append(t.Columns,
		Column{ID: "PID", Title: "PID", Width: 7}, Column{ID: "COMM", Title: "COMM", Width: 15, Left: true})
	if timed || p.times {
		t.Columns = append(t.Columns, Column{ID: "LONGEST", Title: "LONGEST", Width: 15, Left: true, Rank: 4})
	}
	t.Columns = append(t.Columns, Column{ID: "MOST", Title: "MOST", Width: 22, Left: true})
	if sum == nil {
		return t
	}
	names := processNames(f)
	for i := range sum.Processes {
		x := &sum.Processes[i]
		row := Row{ID: whoRow(x.Process), Target: aboutProcess(x.Process, x.Comm), Cells: []Cell{perSecond(x.N, sum.Span), perSecond(x.Errors, sum.Span)}}
		if timed || p.times {
			row.Cells = append(row.Cells, timeCells(&x.SyscallCounts, sum.Span)...)
		}
		most := x.Top
		if x.N > 0 {
			most += " " + strconv.FormatFloat(100*float64(x.TopN)/float64(x.N), 'f', 0, 64) + " %"
		}
		row.Cells = append(row.Cells, Number(float64(x.Process.TGID)), names(x.Process, x.Comm))
		if timed || p.times {
			longest := Say(x.Longest)
			if x.Longest == "" {
				longest = Missing("no call was timed: t")
			}
			row.Cells = append(row.Cells, longest)
		}
		row.Cells = append(row.Cells, Say(most))
		t.Rows = append(t.Rows, row)
	}
	if callScope(f.Scope) != (collectors.Target{}) {
		t.scoped = true
		t.Notes = append(t.Notes, "in a scope calls are counted by call, not by process: i")
	}
	p.byProcess.arrange(f, &t)
	t.Notes = append(t.Notes, callNotes(f, sum)...)
	return t
}

// processNames returns a function that names processes: as the newest scan does, else as the kernel's
// table did when it first saw them.
func processNames(f Frame) func(collectors.Process, collectors.Raw) Cell {
	set := processesOver(f)
	return func(id collectors.Process, seen collectors.Raw) Cell {
		if set != nil {
			if i := set.find(id); i >= 0 && set.list[i].ProcInfo != nil {
				return Name(collectors.Clean(set.list[i].Comm))
			}
		}
		if seen.Bytes() == "" {
			return Missing("it ended before it was named")
		}
		return Name(collectors.Clean(seen))
	}
}

func callFacts(f Frame) []Fact {
	sum := sumCalls(f)
	if callScope(f.Scope) != (collectors.Target{}) {
		sum = callsOver(f) // those of a target are rows
	}
	if sum == nil {
		return nil
	}
	return []Fact{
		{ID: "calls/s", Title: "system calls", Unit: "/s", Cell: perSecond(sum.N, sum.Span), Decimals: 1},
		{ID: "failed/s", Title: "calls that failed", Unit: "/s", Cell: perSecond(sum.Errors, sum.Span), Decimals: 1},
	}
}
