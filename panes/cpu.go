// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// CPUPane is the id of the CPU pane.
const CPUPane ID = "cpu"

// drawing is how a distribution is drawn.
type drawing uint8

const (
	asHistogram drawing = iota
	asPercentiles
	asHeatMap
	drawings
)

func (d drawing) String() string {
	switch d {
	case asPercentiles:
		return "percentiles"
	case asHeatMap:
		return "heat map"
	case asHistogram, drawings:
	}
	return "histogram"
}

// split is what a distribution is divided by.
type split uint8

const (
	whole split = iota
	byCPU
	byCause
	splits
)

func (s split) String() string {
	switch s {
	case byCPU:
		return "by cpu"
	case byCause:
		return "by cause"
	case whole, splits:
	}
	return "all"
}

// CPU is the pane of the processors: mpstat's table, pressure, and run-queue latency.
type CPU struct {
	selected string // row ID
	draw     drawing
	split    split
	irqs     irqState
	order    list // how CPUs are sorted; by number, the hottest shown, until a column is chosen
}

// NewCPU returns the pane, its cursor on the line of all CPUs.
func NewCPU() *CPU { return &CPU{selected: rowAll, irqs: newIRQState()} }

// rowAll is the ID of the line of all CPUs; the others are CPU numbers.
const rowAll = "all"

// Info implements Pane.
func (p *CPU) Info() Info {
	return Info{ID: CPUPane, Title: "CPU", Short: "CPU", Digit: "2", Help: "cpu", Command: "mpstat -P ALL 1; vmstat 1; runqlat 1"}
}

// Wants implements Pane: the split by cause needs a probe of its own.
func (p *CPU) Wants(Scope) []collectors.Want {
	if p.split != byCause || p.irqs.view != timesView {
		return p.irqs.wants()
	}
	return []collectors.Want{{ID: collectors.WakeID}}
}

// IDs of the keys of this pane.
const (
	keyDraw  = "cpu.draw"
	keySplit = "cpu.split"
	keyReset = "cpu.reset"
)

// Keys implements Pane.
func (p *CPU) Keys() []keymap.Key {
	if p.irqs.view != timesView {
		return p.irqs.keys()
	}
	open := keymap.New(keymap.Open, "Enter", "cpu", "enter").In("open the page of the CPU")
	if p.selected == rowAll {
		open = open.Off("select a CPU first: this line is all of them")
	}
	return append([]keymap.Key{
		open,
		drawKey(p.draw),
		cpuViewKey(p.irqs.view),
		keymap.New(keySplit, "i", "split", "i").In("split latency: all, by CPU, by cause (woken or preempted)"),
		resetKey(),
		cgroupsKey(),
	}, p.order.keys()...)
}

func drawKey(now drawing) keymap.Key {
	return keymap.New(keyDraw, "v", ((now + 1) % drawings).String(), "v").In("draw latency as histogram, percentiles over time, heat map")
}

func resetKey() keymap.Key {
	return keymap.New(keyReset, "x", "reset", "x").In("count \"start\" from now on; nothing is cleared")
}

// Update implements Pane.
func (p *CPU) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.selected, p.irqs.view = msg.Row, timesView
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *CPU) press(msg Press) tea.Cmd {
	switch msg.ID {
	case keyCPUView:
		p.irqs.view = (p.irqs.view + 1) % cpuViews
		return send(WantMsg{})
	}
	if p.irqs.view != timesView {
		p.irqs.list().press(msg.ID, p.irqs.table(msg.Frame))
		return nil
	}
	switch msg.ID {
	case keyDraw:
		p.draw = (p.draw + 1) % drawings
	case keySplit:
		p.split = (p.split + 1) % splits
		return send(WantMsg{})
	case keyReset:
		return send(MarkMsg{})
	case keyCgroups:
		return openCgroups(cpuResource)
	case keymap.Open:
		if cpu, err := strconv.Atoi(p.selected); err == nil {
			return send(OpenMsg{newCPUPage(cpu)})
		}
	case keySort, keySortLeft, keySortRight, keyReverse, keymap.Earlier, keymap.Later:
		p.order.press(msg.ID, drawnTable(msg.Frame))
	default:
		p.selected = move(msg.ID, p.rows(msg.Frame), p.selected)
	}
	return nil
}

// drawnTable is the table without the columns that are left out because they are zero.
func drawnTable(f Frame) Table {
	t := cpuTable(f)
	keep := shownColumns(f, math.MaxInt32, t)
	for i := range t.Columns {
		t.Columns[i].Hidden = !slices.Contains(keep, i)
	}
	return t
}

// rows is the order in which the cursor walks.
func (p *CPU) rows(f Frame) []string {
	if p.order.sort == "" {
		return cpuOrder(f)
	}
	var out []string
	for _, r := range p.sorted(cpuTable(f).Rows, cpuTable(f)) {
		out = append(out, r.ID)
	}
	return out
}

// sorted returns the line of all, then the CPUs in the order of the chosen column.
func (p *CPU) sorted(rows []Row, t Table) []Row {
	t.Rows = slices.Clone(rows[min(1, len(rows)):])
	p.order.order(&t)
	return append(slices.Clone(rows[:min(1, len(rows))]), t.Rows...)
}

// move returns the row that a global key leads to from the selected one.
func move(id string, rows []string, selected string) string {
	if len(rows) == 0 {
		return selected
	}
	i := max(slices.Index(rows, selected), 0)
	const page = 10
	switch id {
	case keymap.Up:
		i--
	case keymap.Down:
		i++
	case keymap.PageUp:
		i -= page
	case keymap.PageDown:
		i += page
	case keymap.Top:
		i = 0
	case keymap.Bottom:
		i = len(rows) - 1
	}
	return rows[max(0, min(i, len(rows)-1))]
}

// cpuOrder is the order in which the cursor walks: all, then by number. It is not the order of
// heat, which would move rows away under the cursor.
func cpuOrder(f Frame) []string {
	out := []string{rowAll}
	if c := cpuOver(f); c != nil {
		for _, t := range c.CPUs {
			out = append(out, strconv.Itoa(t.CPU))
		}
	}
	return out
}

// cpuColumn is one of mpstat's columns.
type cpuColumn struct {
	Column
	rank  int  // columns of higher rank go first when the screen is narrow
	quiet bool // left out while it is zero for every moment in sight
	part  func(collectors.Ticks) uint64
}

// cpuColumns are mpstat's. Guest time is inside user and guest nice inside nice: it is taken out
// there, and never added to the total.
func cpuColumns() []cpuColumn {
	type T = collectors.Ticks
	c := func(id string, rank int, quiet bool, part func(T) uint64) cpuColumn {
		return cpuColumn{Column{ID: id, Title: id, Unit: "%", Width: max(len(id), 5), Decimals: 1}, rank, quiet, part}
	}
	return []cpuColumn{
		c("%usr", 0, false, func(t T) uint64 { return less(t.User, t.Guest) }),
		c("%nice", 6, true, func(t T) uint64 { return less(t.Nice, t.GuestNice) }),
		c("%sys", 0, false, func(t T) uint64 { return t.System }),
		c("%iowait", 3, false, func(t T) uint64 { return t.IOWait }),
		c("%irq", 5, true, func(t T) uint64 { return t.IRQ }),
		c("%soft", 2, false, func(t T) uint64 { return t.SoftIRQ }),
		c("%steal", 4, false, func(t T) uint64 { return t.Steal }),
		c("%guest", 7, true, func(t T) uint64 { return t.Guest }),
		c("%gnice", 8, true, func(t T) uint64 { return t.GuestNice }),
		c("%idle", 1, false, func(t T) uint64 { return t.Idle }),
	}
}

func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// Table implements Pane.
func (p *CPU) Table(f Frame) Table { return cpuTable(f) }

func cpuTable(f Frame) Table {
	t := Table{Title: "cpu", Columns: []Column{{ID: "CPU", Title: "CPU", Width: 4}}}
	cols := cpuColumns()
	for _, c := range cols {
		t.Columns = append(t.Columns, c.Column)
	}
	t.Columns = append(t.Columns, Column{ID: "runq", Title: "runq", Unit: "tasks", Width: 6, Decimals: 1})

	cpu, sched := cpuOver(f), schedOver(f)
	if cpu != nil {
		t.Rows = append(t.Rows, cpuRow(rowAll, cpu.All, false, cols, queueAll(f, sched)))
		for _, one := range cpu.CPUs {
			t.Rows = append(t.Rows, cpuRow(strconv.Itoa(one.CPU), one.Ticks, one.New, cols, queueOf(f, sched, one.CPU)))
		}
		t.Facts = append(t.Facts,
			Fact{ID: "cs", Title: "context switches", Unit: "/s", Cell: perSecond(cpu.Switches, cpu.Span), Decimals: 0},
			Fact{ID: "in", Title: "interrupts", Unit: "/s", Cell: perSecond(cpu.Interrupts, cpu.Span), Decimals: 0},
			Fact{ID: "r", Title: "running or runnable", Unit: "tasks", Cell: Number(float64(cpu.Running))},
			Fact{ID: "b", Title: "blocked on I/O", Unit: "tasks", Cell: Number(float64(cpu.Blocked))},
		)
		t.More = append(t.More, vmstatTable(cpu))
	} else {
		why, remedy := whyNot(f, collectors.CPUID, "mpstat")
		t.Notes = append(t.Notes, note("mpstat", why, remedy))
	}
	t.Facts = append(t.Facts, psiFact(f, "psi_cpu", "some task waits for a CPU", psiCPU))
	t.Facts = append(t.Facts, softirqFacts(f)...)
	h := waitHistogram(f, sched)
	t.Histograms = append(t.Histograms, h, onCPUHistogram(f, sched))
	if sched == nil {
		why, remedy := whyNot(f, collectors.SchedID, "runqlat")
		t.Notes = append(t.Notes, note("runqlat", why, remedy))
	}
	if w := wakeOver(f); w != nil {
		m := marked(f, wakeOf)
		if m == nil {
			m = &collectors.Wake{}
		}
		t.Histograms = append(t.Histograms,
			Histogram{ID: "runqlat.woken", Title: "waits after a wake-up", Now: &w.Woken, Start: since(&w.WokenTotal, &m.WokenTotal)},
			Histogram{ID: "runqlat.preempted", Title: "waits after a preemption", Now: &w.Preempted, Start: since(&w.PreemptedTotal, &m.PreemptedTotal)})
	}
	return t
}

func note(name, why, remedy string) string {
	s := name + ": " + why
	if remedy != "" {
		s += "; " + remedy
	}
	return s
}

func psiFact(f Frame, id, title string, get func(*collectors.Host) collectors.Pressure) Fact {
	fact := Fact{ID: id, Title: title, Unit: "%", Decimals: 1, Cell: Missing("waiting for a second reading")}
	if v, ok := pressure(f, get); ok {
		fact.Cell = Number(100 * v)
	} else if h := newest(f, hostOf); h != nil && h.PSI.Err != "" {
		fact.Cell = Missing(h.PSI.Err)
	}
	return fact
}

func cpuRow(id string, ticks collectors.Ticks, isNew bool, cols []cpuColumn, queue Cell) Row {
	r := Row{ID: id, Cells: []Cell{Say(id)}}
	total := ticks.Total()
	for _, c := range cols {
		switch {
		case isNew:
			r.Cells = append(r.Cells, Missing("it came online a moment ago"))
		case total == 0:
			r.Cells = append(r.Cells, Missing("waiting for a second reading"))
		default:
			r.Cells = append(r.Cells, Number(100*float64(c.part(ticks))/float64(total)))
		}
	}
	r.Cells = append(r.Cells, queue)
	return r
}

func queueOf(f Frame, s *schedSum, cpu int) Cell {
	if c := schedCPU(s, cpu); c != nil {
		if q, ok := c.Queue(); ok {
			return Number(q)
		}
	}
	why, _ := whyNot(f, collectors.SchedID, "runqlen")
	return Missing(why)
}

// queueAll is how many tasks wait on all CPUs together.
func queueAll(f Frame, s *schedSum) Cell {
	sum, known := 0.0, false
	if s != nil {
		for i := range s.CPUs {
			if q, ok := s.CPUs[i].Queue(); ok {
				sum, known = sum+q, true
			}
		}
	}
	if !known {
		why, _ := whyNot(f, collectors.SchedID, "runqlen")
		return Missing(why)
	}
	return Number(sum)
}

func waitHistogram(f Frame, s *schedSum) Histogram {
	h := Histogram{ID: "runqlat", Title: "run-queue latency"}
	if s == nil {
		h.Why, _ = whyNot(f, collectors.SchedID, "runqlat")
		return h
	}
	h.Now, h.Start = &s.Host.Wait, &s.WaitTotal
	h.Badge = lostBadge(&s.Host)
	if m := marked(f, schedOf); m != nil {
		h.Start = since(&s.WaitTotal, &m.WaitTotal)
	}
	return h
}

// lostBadge says how many waits were seen and could not be counted; empty for none.
func lostBadge(c *collectors.SchedCounts) string {
	if n := c.Negative + c.Unstamped + c.Collided; n > 0 {
		return "L" + widget.Count(n)
	}
	return ""
}

func onCPUHistogram(f Frame, s *schedSum) Histogram {
	h := Histogram{ID: "cpudist", Title: "time on a CPU"}
	if s == nil {
		h.Why, _ = whyNot(f, collectors.SchedID, "cpudist")
		return h
	}
	h.Now, h.Start = &s.Host.OnCPU, &s.OnCPUTotal
	if m := marked(f, schedOf); m != nil {
		h.Start = since(&s.OnCPUTotal, &m.OnCPUTotal)
	}
	return h
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *CPU) Describe(f Frame) string {
	if p.irqs.view != timesView {
		return p.irqs.describe(f)
	}
	t := p.Table(f)
	for _, r := range t.Rows {
		if r.ID != p.selected {
			continue
		}
		for i, c := range r.Cells {
			if !c.Known() {
				return t.Columns[i].Title + " -: " + c.Why
			}
		}
	}
	return ""
}

// hottest returns the rows to show when there is room for n of them: all, then the busiest CPUs,
// the selected one among them; and the CPUs left out, for the strip.
func hottest(rows []Row, n int, busy map[string]float64, selected string) (shown, rest []Row) {
	if len(rows) <= n {
		return rows, nil
	}
	cpus := slices.Clone(rows[1:])
	slices.SortStableFunc(cpus, func(a, b Row) int { return cmp.Compare(busy[b.ID], busy[a.ID]) })
	keep := max(n-2, 1) // the line of all and the strip take one each
	if i := slices.IndexFunc(cpus, func(r Row) bool { return r.ID == selected }); i >= keep {
		cpus[i], cpus[keep-1] = cpus[keep-1], cpus[i]
	}
	rest = cpus[keep:]
	slices.SortFunc(rest, func(a, b Row) int { return cmp.Compare(atoi(a.ID), atoi(b.ID)) })
	return append([]Row{rows[0]}, cpus[:keep]...), rest
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return math.MaxInt
	}
	return n
}

// causeLine says who waits and who ran instead; empty without a scan of the tasks.
func causeLine(f Frame, n int) (waits, runs string) {
	for _, w := range topBy(f, n, waited) {
		waits += fmt.Sprintf("  %s %.0f %%", widget.Clip(w.name.String(), 14), 100*w.share)
	}
	for _, r := range topBy(f, n, ran) {
		runs += fmt.Sprintf("  %s %.0f %%", widget.Clip(r.name.String(), 14), 100*r.share)
	}
	return strings.TrimSpace(waits), strings.TrimSpace(runs)
}
