// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"

	"bpf60/collectors"
)

// cpuColumn is one of mpstat's columns.
type cpuColumn struct {
	Column
	rank  int  // columns of higher rank go first when the screen is narrow
	quiet bool // left out while it is zero for every moment in sight
	part  func(collectors.Ticks) uint64
}

// noIRQTime is why %irq has no value, however many interrupts there are.
const noIRQTime = "this kernel does not account for interrupts' time; timed says it, with t"

// cell is one of the times of a CPU, or of all, in percent of its time.
func (c cpuColumn) cell(cpu *collectors.CPU, ticks collectors.Ticks, isNew bool) Cell {
	total := ticks.Total()
	switch {
	case isNew:
		return Missing("it came online a moment ago")
	case total == 0:
		return Missing("waiting for a second reading")
	case c.ID == irqColumn && cpu.NoIRQTime:
		return Missing(noIRQTime)
	}
	return Number(100 * float64(c.part(ticks)) / float64(total))
}

// irqColumn is the ID of the column that not every kernel fills.
const irqColumn = "%irq"

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
		c(irqColumn, 5, true, func(t T) uint64 { return t.IRQ }),
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

// Table implements Pane: mpstat's table, and more the softirqs by vector and the interrupts by line.
func (p *CPU) Table(f Frame) Table {
	t := cpuTable(f)
	for _, v := range []cpuView{softirqView, irqView} {
		s := p.irqs
		s.view = v
		t.More = append(t.More, s.table(f))
	}
	return t
}

// ReportWants implements Reporter: interrupts by line are read on demand. That their handlers are not
// timed is said in the cells: that costs every interrupt.
func (p *CPU) ReportWants() []collectors.Want { return []collectors.Want{{ID: collectors.IRQID}} }

func cpuTable(f Frame) Table {
	t := Table{Title: "cpu", Columns: []Column{{ID: "CPU", Title: "CPU", Width: 4}}}
	cols := cpuColumns()
	for _, c := range cols {
		t.Columns = append(t.Columns, c.Column)
	}
	t.Columns = append(t.Columns, Column{ID: "runq", Title: "runq", Unit: "tasks", Width: 6, Decimals: 1})

	cpu, sched := cpuOver(f), schedOver(f)
	if cpu != nil {
		t.Rows = append(t.Rows, cpuRow(rowAll, cpu, cpu.All, false, cols, queueAll(f, sched)))
		for _, one := range cpu.CPUs {
			t.Rows = append(t.Rows, cpuRow(strconv.Itoa(one.CPU), cpu, one.Ticks, one.New, cols, queueOf(f, sched, one.CPU)))
		}
		cpusNote(f, &t, func(s *collectors.Snapshot) bool { return s.CPU != nil && s.CPU.Seconds() > 0 && s.CPU.CPUs == nil })
		t.Facts = append(t.Facts,
			Fact{ID: "cs", Title: "context switches", Unit: "/s", Cell: perSecond(cpu.Switches, cpu.Span), Decimals: 0},
			Fact{ID: "in", Title: "interrupts", Unit: "/s", Cell: perSecond(cpu.Interrupts, cpu.Span), Decimals: 0},
			Fact{ID: "r", Title: "running or runnable", Unit: "tasks", Cell: Number(float64(cpu.Running))},
			Fact{ID: "b", Title: "blocked on I/O", Unit: "tasks", Cell: Number(float64(cpu.Blocked))},
		)
		t.More = append(t.More, vmstatTable(cpu, pageBytes(f)))
	} else {
		why, remedy := whyNot(f, collectors.CPUID, "mpstat")
		t.Notes = append(t.Notes, note("mpstat", why, remedy))
	}
	t.Facts = append(t.Facts, psiFact(f, "psi_cpu", "some task waits for a CPU", psiCPU))
	t.Facts = append(t.Facts, softirqFacts(f)...)
	if sum := offcpuOver(f); sum != nil {
		t.More = append(t.More, reasonTable(&sum.host, sum.Span), (&offState{}).stackTable(f))
	}
	h := waitHistogram(f, sched)
	t.Histograms = append(t.Histograms, h, onCPUHistogram(f, sched))
	t.Histograms = append(t.Histograms, offHistograms(f)...)
	t.Histograms = append(t.Histograms, irqHistograms(f, softirqView, "softirqs")...)
	t.Histograms = append(t.Histograms, irqHistograms(f, irqView, "hardirqs")...)
	if sched == nil {
		why, remedy := whyNot(f, collectors.SchedID, "runqlat")
		t.Notes = append(t.Notes, note("runqlat", why, remedy))
	}
	if w := wakeOver(f); w != nil {
		m := marked(f, wakeOf)
		if m == nil {
			m = &collectors.Wake{}
		}
		missed := lossBadge(missedOver(f, collectors.WakeID, "runqlat-cause"))
		t.Histograms = append(t.Histograms,
			Histogram{ID: "runqlat.woken", Title: "waits after a wake-up", Now: &w.Woken, Start: since(&w.WokenTotal, &m.WokenTotal), Badge: missed},
			Histogram{ID: "runqlat.preempted", Title: "waits after a preemption", Now: &w.Preempted, Start: since(&w.PreemptedTotal, &m.PreemptedTotal), Badge: missed})
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

func cpuRow(id string, cpu *collectors.CPU, ticks collectors.Ticks, isNew bool, cols []cpuColumn, queue Cell) Row {
	r := Row{ID: id, Cells: []Cell{Say(id)}, Sum: id == rowAll}
	for _, c := range cols {
		r.Cells = append(r.Cells, c.cell(cpu, ticks, isNew))
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
	h.Badge = lossBadge(lostWaits(&s.Host) + missedOver(f, collectors.SchedID, "runqlat", "cpudist"))
	if m := marked(f, schedOf); m != nil {
		h.Start = since(&s.WaitTotal, &m.WaitTotal)
	}
	return h
}

// lostBadge says how many waits were seen and could not be counted; empty for none.
func lostBadge(c *collectors.SchedCounts) string { return lossBadge(lostWaits(c)) }

func lostWaits(c *collectors.SchedCounts) uint64 { return c.Negative + c.Unstamped + c.Collided }

func onCPUHistogram(f Frame, s *schedSum) Histogram {
	h := Histogram{ID: "cpudist", Title: "time on a CPU"}
	if s == nil {
		h.Why, _ = whyNot(f, collectors.SchedID, "cpudist")
		return h
	}
	h.Now, h.Start = &s.Host.OnCPU, &s.OnCPUTotal
	h.Badge = lossBadge(missedOver(f, collectors.SchedID, "runqlat", "cpudist"))
	if m := marked(f, schedOf); m != nil {
		h.Start = since(&s.OnCPUTotal, &m.OnCPUTotal)
	}
	return h
}
