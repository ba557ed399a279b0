// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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
func (p *Processes) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		if p.threads {
			p.threads = false
			p.byProcess.choose(msg.Row)
			return send(WantMsg{})
		}
		p.byProcess.choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Processes) press(msg Press) tea.Cmd {
	l := p.list()
	switch msg.ID {
	case keyCgroups:
		return openCgroups(cpuResource)
	case keyThreads:
		p.threads = !p.threads
		return send(WantMsg{})
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
func (p *Processes) open(f Frame) tea.Cmd {
	r, ok := p.list().row(p.table(f, shown))
	set := processesOver(f)
	if !ok || set == nil {
		return nil
	}
	id, _, _ := strings.Cut(r.ID, "/")
	for i := range set.list {
		if rowOf(&set.list[i]) == id {
			return send(OpenMsg{newProcessPage(set.list[i].ProcInfo)})
		}
	}
	return nil
}

// rowOf is a process's row ID: its PID, which other panes know as well.
func rowOf(x *process) string { return strconv.Itoa(int(x.PID)) }

// Describe implements Describer.
func (p *Processes) Describe(f Frame) string { return p.list().why(p.table(f, shown)) }

// processColumn is one column and what stands in it.
type processColumn struct {
	Column
	cell func(x *process, s collectors.Span) Cell
}

const (
	waiting  = "waiting for a second reading"
	noIO     = "needs a kernel with CONFIG_TASK_IO_ACCOUNTING, or the right to read /proc/PID/io: run as root"
	noSwitch = "/proc does not tell of whole processes: needs the task iterator, see the probe pidstat"
	noDelay  = "off: sysctl kernel.task_delayacct=1 counts it for what starts afterwards"
)

// percent is a time as a share of the span, of one CPU.
func percent(d time.Duration, s collectors.Span) Cell {
	if s.Seconds() == 0 {
		return Missing(waiting)
	}
	return Number(100 * d.Seconds() / s.Seconds())
}

func rate(n uint64, s collectors.Span) Cell {
	if s.Seconds() == 0 {
		return Missing(waiting)
	}
	return Number(float64(n) / s.Seconds())
}

// unless is the cell, or missing where the source does not tell.
func unless(lacks, l collectors.Lack, why string, cell Cell) Cell {
	if lacks&l != 0 {
		return Missing(why)
	}
	return cell
}

func kib(bytes uint64) Cell { return Number(float64(bytes) / 1024) }

// processColumns are pidstat's and top's, in an order that keeps what belongs together beside each
// other on a screen of 80 columns.
func processColumns() []processColumn {
	type S = collectors.Span
	col := func(id, unit string, width, decimals, rank int, cell func(x *process, s S) Cell) processColumn {
		return processColumn{Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Rank: rank}, cell}
	}
	name := func(id string, width, rank int, cell func(x *process) string) processColumn {
		return processColumn{
			Column{ID: id, Title: id, Width: width, Rank: rank, Left: true},
			func(x *process, _ S) Cell { return Say(cell(x)) },
		}
	}
	size := func(c processColumn) processColumn { c.Form = KiB; return c }
	hidden := func(c processColumn) processColumn { c.Hidden = true; return c }
	const l = collectors.LackIO
	return []processColumn{
		col("PID", "", 7, 0, 0, func(x *process, _ S) Cell { return Number(float64(x.PID)) }),
		name("USER", 8, 5, func(x *process) string { return userOf(x.ProcInfo) }),
		col("%usr", "%", 5, 1, 3, func(x *process, s S) Cell { return percent(x.run-x.sys, s) }),
		col("%sys", "%", 5, 1, 3, func(x *process, s S) Cell { return percent(x.sys, s) }),
		col("%wait", "%", 5, 1, 2, func(x *process, s S) Cell { return percent(x.leadWait, s) }),
		col("%CPU", "%", 5, 1, 0, func(x *process, s S) Cell { return percent(x.run, s) }),
		size(col("RSS", "kB", 5, 0, 1, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackRSS, "this kernel counts memory in a way that bpf60 does not know", kib(x.rss))
		})),
		col("kB_rd/s", "kB/s", 7, 1, 4, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.read, s).over(1024)) }),
		col("kB_wr/s", "kB/s", 7, 1, 4, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.write, s).over(1024)) }),
		{Column{ID: "S", Title: "S", Width: 1, Rank: 1, Left: true}, func(x *process, _ S) Cell {
			if x.ended {
				return Missing("it has ended")
			}
			return Say(string(rune(x.state)))
		}},
		col("THR", "", 5, 0, 6, func(x *process, _ S) Cell { return Number(float64(x.threads)) }),
		col("minflt/s", "/s", 8, 1, 8, func(x *process, s S) Cell { return rate(x.minflt, s) }),
		col("majflt/s", "/s", 8, 1, 7, func(x *process, s S) Cell { return rate(x.majflt, s) }),
		col("cswch/s", "/s", 7, 1, 7, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.vol, s))
		}),
		col("nvcswch/s", "/s", 9, 1, 7, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.invol, s))
		}),
		hidden(col("cswall/s", "/s", 8, 1, 9, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.switches, s))
		})),
		col("%waitall", "%", 8, 1, 8, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackThreads, noSwitch, percent(x.wait, s))
		}),
		size(col("VSZ", "kB", 5, 0, 10, func(x *process, _ S) Cell {
			if x.vsz == 0 && !x.Kernel && x.state != 'Z' {
				return Missing("not read since rows were given up")
			}
			return kib(x.vsz)
		})),
		size(col("swap", "kB", 5, 0, 11, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackSwap, "/proc/PID/stat does not tell", kib(x.swap))
		})),
		col("kB_ccwr/s", "kB/s", 9, 1, 13, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.cancels, s).over(1024)) }),
		col("iodelay", "ms", 7, 0, 13, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackDelay, noDelay, Number(float64(x.delay.Milliseconds())))
		}),
		{Column{ID: "TIME+", Title: "TIME+", Unit: "s", Width: 8, Decimals: 2, Rank: 9, Form: CPUTime}, func(x *process, _ S) Cell {
			return Number(x.time.Seconds())
		}},
		col("PPID", "", 7, 0, 12, func(x *process, _ S) Cell { return Number(float64(x.PPID)) }),
		col("PR", "", 4, 0, 12, func(x *process, _ S) Cell { return Number(float64(x.Prio)) }),
		col("NI", "", 3, 0, 11, func(x *process, _ S) Cell { return Number(float64(x.Nice)) }),
		name("cgroup", 20, 9, func(x *process) string { return clean(x.CgroupName()) }),
		name("COMMAND", 13, 0, func(x *process) string { return x.command() }),
	}
}

// over divides a number.
func (c Cell) over(by float64) Cell {
	c.num /= by
	return c
}

// Table implements Pane.
func (p *Processes) Table(f Frame) Table { return p.table(f, math.MaxInt) }

// shown is how many rows above and below the cursor can be on a screen.
const shown = 300

// table is the Table in which only the rows near the cursor have cells: all of a host of 5,000
// processes are 10 MB.
func (p *Processes) table(f Frame, near int) Table {
	if p.threads {
		return p.threadTable(f)
	}
	set := processesOver(f)
	t := Table{Title: "processes"}
	cols := processColumns()
	for _, c := range cols {
		t.Columns = append(t.Columns, c.Column)
	}
	if set == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("pidstat", why, remedy))
		return t
	}
	t.Facts = processFacts(f, set)
	list, branches := p.order(set, cols)
	t.Rows = make([]Row, len(list))
	for i, x := range list {
		t.Rows[i].ID = rowOf(x)
	}
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
func (p *Processes) order(set *processes, cols []processColumn) (list []*process, branches []string) {
	for i := range set.list {
		if x := &set.list[i]; !x.Kernel || p.kernel || x.moved || x.state == 'D' {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, byUse)
	if at := slices.IndexFunc(cols, func(c processColumn) bool { return c.ID == p.byProcess.sort }); at >= 0 {
		type keyed struct {
			cell Cell
			x    *process
		}
		keys := make([]keyed, len(list))
		for i, x := range list {
			keys[i] = keyed{cols[at].cell(x, set.Span), x}
		}
		slices.SortStableFunc(keys, func(a, b keyed) int { return a.cell.compare(b.cell, p.byProcess.up) })
		for i := range keys {
			list[i] = keys[i].x
		}
	}
	if p.tree {
		return growTree(list)
	}
	return list, nil
}

// processFacts are the numbers of top's head.
func processFacts(f Frame, set *processes) []Fact {
	l := set.last
	gone := Missing(waiting)
	if d, ok := set.gone(f); ok {
		gone = percent(d, set.Span)
		gone.Badge = "~"
	}
	n := func(id, title string, v int) Fact { return Fact{ID: id, Title: title, Cell: Number(float64(v))} }
	return []Fact{
		n("processes", "processes", l.Processes),
		n("threads", "threads", l.Threads),
		n("R", "threads running or runnable", l.Running),
		n("D", "threads in uninterruptible sleep", l.Uninterruptible),
		n("Z", "zombies", l.Zombies),
		n("kernel", "kernel threads", l.KernelThreads),
		{ID: "gone", Title: "CPU time of processes that ended, of one CPU", Unit: "%", Cell: gone, Decimals: 1},
	}
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
