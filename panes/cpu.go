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

// split is what a distribution is divided by.
type split uint8

const (
	whole split = iota
	byCPU
	byCause
	byProcess
	byCgroup
	splits
)

func (s split) String() string {
	switch s {
	case byCPU:
		return "by cpu"
	case byCause:
		return "by cause"
	case byProcess:
		return "by process"
	case byCgroup:
		return "by cgroup"
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
	off      offState
	single   []single // what waits are counted apart for, in the splits by process and cgroup
	order    list     // how CPUs are sorted; by number, the hottest shown, until a column is chosen
}

// NewCPU returns the pane, its cursor on the line of all CPUs.
func NewCPU() *CPU { return &CPU{selected: rowAll, irqs: newIRQState(), off: newOffState()} }

// rowAll is the ID of the line of all CPUs; the others are CPU numbers.
const rowAll = "all"

// Info implements Pane.
func (p *CPU) Info() Info {
	return Info{ID: CPUPane, Title: "CPU", Short: "CPU", Digit: "2", Help: "cpu", Command: "mpstat -P ALL 1; vmstat 1; runqlat 1"}
}

// Wants implements Pane: most splits need a probe of their own.
func (p *CPU) Wants(s Scope) []collectors.Want {
	return append(p.viewWants(), s.wants(collectors.LatencyID)...)
}

func (p *CPU) viewWants() []collectors.Want {
	switch {
	case p.irqs.view == offView:
		return p.off.wants()
	case p.irqs.view != timesView:
		return p.irqs.wants()
	case p.split == byCause:
		return []collectors.Want{{ID: collectors.WakeID}}
	case p.split == byProcess, p.split == byCgroup:
		return singleWants(p.single)
	}
	return nil
}

// IDs of the keys of this pane.
const (
	keyDraw  = "cpu.draw"
	keySplit = "cpu.split"
	keyReset = "cpu.reset"
)

// Keys implements Pane.
func (p *CPU) Keys() []keymap.Key {
	switch p.irqs.view {
	case offView:
		return p.off.keys()
	case softirqView, irqView:
		return p.irqs.keys()
	case timesView, cpuViews:
	}
	open := keymap.New(keymap.Open, "Enter", "cpu", "enter").In("open the page of the CPU")
	if p.selected == rowAll {
		open = open.Off("select a CPU first: this line is all of them")
	}
	return append([]keymap.Key{
		open,
		drawKey(p.draw),
		cpuViewKey(p.irqs.view),
		keymap.New(keySplit, "i", "split", "i").In("split latency: all, by CPU, by cause (woken or preempted), by the processes or cgroups that wait most"),
		resetKey(),
		cgroupsKey(),
	}, append(zoomKeys(), p.order.keys()...)...)
}

func resetKey() keymap.Key {
	return keymap.New(keyReset, "x", "reset", "x").In("count \"start\" from now on; nothing is cleared")
}

// Update implements Pane.
func (p *CPU) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.selected, p.irqs.view = msg.Row, timesView
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *CPU) press(msg Press) Answer {
	switch msg.ID {
	case keyCPUView:
		p.irqs.view = (p.irqs.view + 1) % cpuViews
		return WantMsg{}
	}
	switch p.irqs.view {
	case offView:
		return p.off.press(msg)
	case softirqView, irqView:
		return p.irqs.press(msg)
	case timesView, cpuViews:
	}
	switch msg.ID {
	case keyDraw:
		p.draw = (p.draw + 1) % drawings
	case keySplit:
		p.split = (p.split + 1) % splits
		p.single = singles(msg.Frame, p.split)
		return WantMsg{}
	case keyReset:
		return MarkMsg{}
	case keyCgroups:
		return openCgroups(cpuResource)
	case keymap.Open:
		if cpu, err := strconv.Atoi(p.selected); err == nil {
			return OpenMsg{newCPUPage(cpu)}
		}
	case keySort, keySortLeft, keySortRight, keyReverse, keymap.Earlier, keymap.Later:
		p.order.press(msg.ID, drawnTable(msg.Frame))
	default:
		if row, ok := strings.CutPrefix(msg.ID, keyChoose); ok {
			p.selected = row
			return nil
		}
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
	var out []string
	for _, r := range p.kept(f, cpuTable(f)).Rows {
		if r.None == "" {
			out = append(out, r.ID)
		}
	}
	return out
}

// kept is the table as it is drawn: the line of all, then the CPUs that pass, in the order of the chosen
// column or by number.
func (p *CPU) kept(f Frame, t Table) Table {
	l := p.order
	l.selected, l.up = p.selected, l.up && l.sort != ""
	t.Rows = slices.Clone(t.Rows)
	l.arrange(f, &t)
	return t
}

// move returns the row that a global key leads to from the selected one.
func move(id string, rows []string, selected string) string {
	if len(rows) == 0 {
		return selected
	}
	return rows[moveTo(id, max(slices.Index(rows, selected), 0), len(rows))]
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

// Describe implements Describer: why a cell of the selected row is missing.
func (p *CPU) Describe(f Frame) string {
	switch p.irqs.view {
	case offView:
		return p.off.stacks.why(p.off.stackTable(f))
	case softirqView, irqView:
		return p.irqs.describe(f)
	case timesView, cpuViews:
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
	sortStably(cpus, func(a, b Row) int { return cmp.Compare(busy[b.ID], busy[a.ID]) })
	keep := max(n-2, 1) // the line of all and the strip take one each
	if i := slices.IndexFunc(cpus, func(r Row) bool { return r.ID == selected }); i >= keep {
		cpus[i], cpus[keep-1] = cpus[keep-1], cpus[i]
	}
	rest = cpus[keep:]
	sortBy(rest, func(a, b Row) int { return cmp.Compare(atoi(a.ID), atoi(b.ID)) })
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
