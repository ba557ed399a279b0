// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// ProcessesPane is the id of the pane of processes.
const ProcessesPane ID = "processes"

// Processes is the pane of processes: pidstat -u -r -d -w and top in one table.
type Processes struct {
	byProcess, byThread list
	tree, threads       bool
	kernel              bool // kernel threads that did nothing are listed too
}

// NewProcesses returns the pane, sorted by CPU.
func NewProcesses() *Processes {
	return &Processes{byProcess: newList("%CPU"), byThread: newList("%CPU")}
}

// Info implements Pane.
func (p *Processes) Info() Info {
	return Info{ID: ProcessesPane, Title: "Processes", Short: "Proc", Digit: "3", Help: "processes", Command: "pidstat -urdw 1; top"}
}

// Wants implements Pane: threads are listed while they are looked at.
func (p *Processes) Wants(Scope) []collectors.Want {
	if !p.threads {
		return nil
	}
	return []collectors.Want{{ID: collectors.TasksID, Target: collectors.ThreadsTarget()}}
}

// IDs of the keys of this pane.
const (
	keyByCPU    = "processes.by-cpu"
	keyByMemory = "processes.by-memory"
	keyByTime   = "processes.by-time"
	keyByPID    = "processes.by-pid"
	keyTree     = "processes.tree"
	keyThreads  = "processes.threads"
	keyKernel   = "processes.kernel"
)

// Keys implements Pane.
func (p *Processes) Keys() []keymap.Key {
	tree := keymap.New(keyTree, "t", "tree", "t", "f5").In("children below their parents")
	if p.tree {
		tree = keymap.New(keyTree, "t", "flat", "t", "f5").In("no tree")
	}
	threads := keymap.New(keyThreads, "H", "threads", "H").In("threads instead of processes")
	if p.threads {
		threads = keymap.New(keyThreads, "H", "processes", "H").In("processes instead of threads")
		tree = tree.Off("threads have no tree: H shows processes")
	}
	out := []keymap.Key{
		keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process"),
		threads, tree,
		keymap.New(keyByCPU, "P", "by CPU", "P"),
		keymap.New(keyByMemory, "M", "by memory", "M"),
		keymap.New(keyByTime, "T", "by time", "T").In("sort by CPU time since the process began"),
		keymap.New(keyByPID, "N", "by PID", "N"),
		keymap.New(keyKernel, "K", "kernel", "K").In("kernel threads: all, or those that did something"),
		cgroupsKey(),
	}
	return append(out, p.list().keys()...)
}

// list is the cursor of the table that is shown.
func (p *Processes) list() *list {
	if p.threads {
		return &p.byThread
	}
	return &p.byProcess
}

// Update implements Pane.
func (p *Processes) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		if p.threads {
			p.threads = false
			p.byProcess.choose(msg.Row)
			return WantMsg{}
		}
		p.byProcess.choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Processes) press(msg Press) Answer {
	l := p.list()
	switch msg.ID {
	case keyCgroups:
		return openCgroups(cpuResource)
	case keyThreads:
		p.threads = !p.threads
		return WantMsg{}
	case keyTree:
		p.tree = !p.tree
	case keyKernel:
		p.kernel = !p.kernel
	case keyByCPU:
		l.sortBy("%CPU")
	case keyByMemory:
		l.sortBy("RSS")
	case keyByTime:
		l.sortBy("TIME+")
	case keyByPID:
		l.sortBy("PID")
		l.up = true
	case keymap.Open:
		return p.open(msg.Frame)
	default:
		l.press(msg.ID, p.table(msg.Frame, shown))
	}
	return nil
}

// open pushes the page of the selected process.
func (p *Processes) open(f Frame) Answer {
	r, ok := p.list().row(p.table(f, shown))
	set := processesOver(f)
	if !ok || set == nil {
		return nil
	}
	id, _, _ := strings.Cut(r.ID, "/")
	for i := range set.list {
		if rowOf(&set.list[i]) == id {
			return OpenMsg{newProcessPage(set.list[i].ProcInfo)}
		}
	}
	return nil
}

// rowOf is a process's row ID: its PID, which other panes know as well.
func rowOf(x *process) string { return strconv.Itoa(int(x.PID)) }

// Describe implements Describer.
func (p *Processes) Describe(f Frame) string { return p.list().why(p.table(f, shown)) }

// Table implements Pane.
func (p *Processes) Table(f Frame) Table { return p.table(f, math.MaxInt) }

// shown is how many rows above and below the cursor can be on a screen.
const shown = 300

// table is the Table in which only the rows near the cursor have cells: all of a host of 5,000
// processes are 10 MB.
func (p *Processes) table(f Frame, near int) (t Table) {
	if p.threads {
		return p.threadTable(f)
	}
	set := processesOver(f)
	t = Table{Title: "processes"}
	cols := processColumns(hostMemory(f))
	for _, c := range cols {
		t.Columns = append(t.Columns, c.Column)
	}
	if set == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("pidstat", why, remedy))
		return t
	}
	t.Facts = processFacts(f, set)
	s := newSieve(f, t.Columns)
	list, branches := p.order(set, cols, s)
	t.Rows = make([]Row, len(list))
	for i, x := range list {
		t.Rows[i].ID, t.Rows[i].Target = rowOf(x), targetOf(x.ProcInfo)
	}
	defer s.report(&p.byProcess, &t)
	at := max(p.byProcess.index(t), 0)
	first, end := max(at-min(near, at), 0), min(at+min(near, len(list)), len(list))
	cells := make([]Cell, 0, (end-first)*len(cols)) // one allocation for all rows
	for i := first; i < end; i++ {
		from := len(cells)
		for _, c := range cols {
			cells = append(cells, c.cell(list[i], set.Span))
		}
		row := cells[from:len(cells):len(cells)]
		if set.last.Source != "iter/task" {
			row[0].Badge = "≈" // its start is known to 10 ms only
		}
		if branches != nil {
			row[len(row)-1] = Name(safe(branches[i] + list[i].command()))
		}
		t.Rows[i].Cells = row
	}
	rowsNote(f, &t)
	if !set.all {
		t.Notes = append(t.Notes, "processes that did nothing are not listed: the last list of all is no longer kept")
	}
	if pr, ok := probeNamed(f, collectors.TasksID, "pidstat"); ok && pr.Reason != "" {
		t.Notes = append(t.Notes, note("pidstat", pr.Reason, pr.Remedy))
	}
	return t
}

// order returns the processes to list in the order of the cursor's column, and with a tree what is
// drawn before their names.
func (p *Processes) order(set *processes, cols []processColumn, s *sieve) (list []*process, branches []string) {
	s.owned = s.f.Scope.told(inCgroup(aboutProcess(collectors.Process{TGID: 1}, collectors.Raw{}), 1))
	cells := make([]Cell, len(cols)) // those that the filter reads, of one process after the other
	for i := range set.list {
		x := &set.list[i]
		if x.Kernel && !p.kernel && !x.moved && x.state != 'D' {
			continue
		}
		if s.idle() || s.keeps(targetOf(x.ProcInfo), func() []Cell {
			for k := range cols {
				if s.needs.needs[k] {
					cells[k] = cols[k].cell(x, set.Span)
				}
			}
			return cells
		}) {
			list = append(list, x)
		}
	}
	sortBy(list, byUse)
	if at := slices.IndexFunc(cols, func(c processColumn) bool { return c.ID == p.byProcess.sort }); at >= 0 {
		type keyed struct {
			cell Cell
			x    *process
		}
		keys := make([]keyed, len(list))
		for i, x := range list {
			keys[i] = keyed{cols[at].cell(x, set.Span), x}
		}
		sortStably(keys, func(a, b keyed) int { return a.cell.compare(b.cell, p.byProcess.up) })
		for i := range keys {
			list[i] = keys[i].x
		}
	}
	if p.tree {
		return growTree(list)
	}
	return list, nil
}

// growTree puts children below their parents, siblings in the order they are in.
func growTree(list []*process) (out []*process, branches []string) {
	known := make(map[int32]bool, len(list))
	for _, x := range list {
		known[x.PID] = true
	}
	var roots []*process
	children := make(map[int32][]*process)
	for _, x := range list {
		if known[x.PPID] && x.PPID != x.PID {
			children[x.PPID] = append(children[x.PPID], x)
		} else {
			roots = append(roots, x)
		}
	}
	seen := make(map[*process]bool, len(list))
	var add func(x *process, before, branch string)
	add = func(x *process, before, branch string) {
		if seen[x] {
			return
		}
		seen[x] = true
		out, branches = append(out, x), append(branches, before+branch)
		const deepest = 32 // a chain of parents may be as long as it likes
		switch {
		case len(before) > deepest*len("│ "):
		case branch == "├ ":
			before += "│ "
		case branch == "└ ":
			before += "  "
		}
		below := children[x.PID]
		for i, c := range below {
			if i == len(below)-1 {
				add(c, before, "└ ")
			} else {
				add(c, before, "├ ")
			}
		}
	}
	for _, x := range roots {
		add(x, "", "")
	}
	for _, x := range list { // nobody is its own ancestor; but should it be so, no row may vanish
		add(x, "", "")
	}
	return out, branches
}
