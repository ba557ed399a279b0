// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// cpuInterrupts is the table of interrupts.
const cpuInterrupts = "interrupts"

// sections are the tables of a CPU.
func (p *cpuPage) sections() []section {
	return []section{
		{
			id: "threads", title: "ran here last", table: p.threads, open: openThread, opens: "process",
			none: "no thread that did something in the last interval ran here last",
		},
		{
			id: "times", title: "times", table: p.times, spark: p.timeHistory, why: "a share of the time has no page: who runs is in the table before",
			none: "waiting for a second reading",
		},
		{
			id: cpuInterrupts, title: "interrupts", table: p.interrupts, why: "2 and t show each line over all CPUs",
			none: "no interrupt and no softirq in the last interval",
		},
		{
			id: "idle", title: "idle states", table: p.idle, why: "an idle state has no page", none: "waiting for a second reading",
		},
	}
}

// openThread opens the page of a thread's process.
func openThread(f Frame, _ collectors.Target, r Row) Answer {
	if last := newest(f, tasksOf); last != nil {
		for i := range last.Busy {
			x := &last.Busy[i]
			if threadID(x) == r.ID && x.ProcInfo != nil {
				return openProcess(f, x.Process, x.ProcInfo.Comm)
			}
		}
	}
	return SayMsg{"this thread has ended, or does nothing any more"}
}

// threads are the threads that did something and were on this CPU when all were listed. Their shares are of
// the whole interval: one that came from another CPU ran there, too.
func (p *cpuPage) threads(f Frame, _ collectors.Target) Table {
	t := Table{Columns: threadColumns()}
	last := newest(f, tasksOf)
	switch {
	case last == nil:
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("pidstat", why, remedy))
		return t
	case last.Busy == nil && f.behind():
		t.Notes = append(t.Notes, "not recorded: nobody was looking")
		return t
	}
	unknown := 0
	for i := range last.Busy {
		switch r := &last.Busy[i]; int(r.LastCPU) {
		case 0:
			unknown++
		case p.cpu + 1:
			t.Rows = append(t.Rows, threadRow(r, last.Span))
		}
	}
	if unknown > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("of %d threads it is not known where they ran", unknown))
	}
	if last.Source != "iter/task" {
		t.Notes = append(t.Notes, "/proc is read by processes here: a process stands where its first thread ran last")
	}
	if last.BusyUnlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more threads did something on any CPU", last.BusyUnlisted))
	}
	return t
}

// part returns what share of a CPU's time in a sample a column of mpstat is, in per cent; false if the CPU
// is not in it, or has just come.
func (p *cpuPage) part(s *collectors.CPU, c cpuColumn) (float64, bool) {
	for i := range s.CPUs {
		if x := &s.CPUs[i]; x.CPU == p.cpu && !x.New && x.Total() > 0 {
			return 100 * float64(c.part(x.Ticks)) / float64(x.Total()), true
		}
	}
	return 0, false
}

// times is mpstat's row turned round: a line for each column, now and over all that is in sight.
func (p *cpuPage) times(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "time", Title: "time", Width: 8, Left: true},
		{ID: "now", Title: "now", Unit: "%", Width: 6, Decimals: 1},
		{ID: "mean", Title: "mean", Unit: "%", Width: 6, Decimals: 1},
		{ID: "most", Title: "most", Unit: "%", Width: 6, Decimals: 1},
	}}
	now := cpuOver(f)
	for _, c := range cpuColumns() {
		sum, most, n := 0.0, 0.0, 0
		for i := range f.Past {
			if s := f.Past[i].Snapshot; s != nil && s.CPU != nil {
				if v, ok := p.part(s.CPU, c); ok {
					sum, most, n = sum+v, max(most, v), n+1
				}
			}
		}
		why := Missing("waiting for a second reading")
		cells := []Cell{Say(c.ID), why, why, why}
		if now != nil {
			if v, ok := p.part(now, c); ok {
				cells[1] = Number(v)
			}
		}
		if n > 0 {
			cells[2], cells[3] = Number(sum/float64(n)), Number(most)
		}
		if !c.quiet || most > 0 {
			t.Rows = append(t.Rows, Row{ID: c.ID, Cells: cells})
		}
	}
	return t
}

// timeHistory is one of the times over time.
func (p *cpuPage) timeHistory(f Frame, row string) []float64 {
	for _, c := range cpuColumns() {
		if c.ID == row {
			return series(f, mostSpark, func(s *collectors.Snapshot) *collectors.CPU { return s.CPU }, func(s *collectors.CPU) float64 {
				v, ok := p.part(s, c)
				if !ok {
					return math.NaN() // single CPUs are not kept for as long as their sum
				}
				return v
			})
		}
	}
	return nil
}

// interrupts are the lines and the softirq vectors that this CPU took something of.
func (p *cpuPage) interrupts(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "rate", Title: "/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "KIND", Title: "KIND", Width: 8, Left: true},
		{ID: "line", Title: "LINE", Width: 8, Left: true},
		{ID: "device", Title: "DEVICE", Width: 24, Left: true},
	}}
	add := func(kind string, list []*collectors.Targeted[collectors.CPUIRQs], span collectors.Span, why string) {
		if len(list) == 0 {
			t.Notes = append(t.Notes, why)
			return
		}
		at := map[string]int{}
		var sum []collectors.CPUIRQ
		for _, one := range list {
			for _, r := range one.Sample.Rows {
				place(at, &sum, clean(r.Name)+" "+clean(r.Device), collectors.CPUIRQ{Name: r.Name, Device: r.Device}).Count += r.Count
			}
		}
		for _, r := range sum {
			who := Name(collectors.Clean(r.Device))
			if r.Device.Bytes() == "" {
				who = Missing("a softirq has no device, and nobody may have asked for a line")
			}
			t.Rows = append(t.Rows, Row{ID: kind + " " + clean(r.Name) + " " + clean(r.Device), Cells: []Cell{
				perSecond(r.Count, span), Say(kind), Name(collectors.Clean(r.Name)), who,
			}})
		}
	}
	soft, span := narrowedOver(within(f, func(s *collectors.Snapshot) *collectors.SoftIRQ { return s.SoftIRQ }), target)
	add("softirq", soft, span, unrecorded(f, collectors.SoftIRQID, "softirq", target))
	hard, span := narrowedOver(within(f, func(s *collectors.Snapshot) *collectors.IRQ { return s.IRQ }), target)
	add("irq", hard, span, unrecorded(f, collectors.IRQID, "interrupts", target))
	sortStably(t.Rows, func(a, b Row) int { return cmp.Compare(b.Cells[0].num, a.Cells[0].num) })
	for _, view := range []cpuView{softirqView, irqView} {
		s := irqState{view: view}
		id, probe := s.timeProbe()
		why, _ := whyNot(f, id, probe)
		cell := Missing(why)
		if sum := s.timesOver(f); sum != nil && sum.Seconds() > 0 {
			cell = Number(100 * float64(sum.cpus[p.cpu]) / 1e9 / sum.Seconds())
		}
		t.Facts = append(t.Facts, Fact{ID: probe + " timed", Title: probe + " timed", Unit: "%", Decimals: 2, Cell: cell})
	}
	return t
}

func clocksOf(s *collectors.Snapshot) *collectors.CPUClocks { return s.CPUClocks }

// idle are the idle states of the CPU, shallowest first.
func (p *cpuPage) idle(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "%time", Title: "%time", Unit: "%", Width: 6, Decimals: 1},
		{ID: "rate", Title: "/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "mean", Title: "mean µs", Unit: "us", Width: 8, Decimals: 1},
		{ID: "state", Title: "STATE", Width: 12, Left: true},
	}}
	list, span := narrowedOver(within(f, clocksOf), target)
	if len(list) == 0 {
		t.Notes = append(t.Notes, unrecorded(f, collectors.CPUClocksID, "cpufreq", target))
		return t
	}
	newest := list[len(list)-1]
	if newest.Sample.IdleWhy != "" {
		t.Notes = append(t.Notes, newest.Sample.IdleWhy)
	}
	if span.Seconds() == 0 {
		return t
	}
	for _, state := range newest.Sample.Idle {
		sum := collectors.IdleState{Name: state.Name}
		for _, one := range list {
			for _, x := range one.Sample.Idle {
				if x.Name == state.Name {
					sum.Time, sum.Entries = sum.Time+x.Time, sum.Entries+x.Entries
				}
			}
		}
		t.Rows = append(t.Rows, Row{ID: clean(state.Name), Cells: []Cell{
			Number(100 * sum.Time.Seconds() / span.Seconds()), perSecond(sum.Entries, span),
			perRequest(float64(sum.Time)/1e3, sum.Entries, "entries"), Name(collectors.Clean(state.Name)),
		}})
	}
	return t
}

// clock is what is known of the CPU's frequency; nil while nobody has read it.
func (p *cpuPage) clock(f Frame) *collectors.CPUClock {
	one, _ := narrowedIn(newest(f, clocksOf), p.parts.target)
	if one == nil {
		return nil
	}
	return &one.Sample
}

// clockFacts are the frequency now, the one that is allowed, and the highest, in MHz.
func (p *cpuPage) clockFacts(f Frame) []Fact {
	c := p.clock(f)
	why := "waiting for the first reading"
	var khz [3]uint64
	if c != nil {
		why, khz = cmp.Or(c.Why, "the kernel does not tell"), [3]uint64{c.Now, c.Limit, c.Max}
	}
	var out []Fact
	for i, x := range []struct{ id, title string }{{"MHz", "frequency"}, {"limit_MHz", "highest frequency allowed"}, {"max_MHz", "highest frequency"}} {
		cell := Missing(why)
		if khz[i] > 0 {
			cell = Number(float64(khz[i]) / 1000)
		}
		out = append(out, Fact{ID: x.id, Title: x.title, Unit: "MHz", Cell: cell})
	}
	return out
}

// clockLine is the frequency in a line, or why there is none.
func (p *cpuPage) clockLine(f Frame, c Canvas) string {
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "frequency ")
	clock := p.clock(f)
	switch {
	case clock == nil:
		return l.Plain("- ").Put(c.Theme.Dim, unrecorded(f, collectors.CPUClocksID, "cpufreq", p.parts.target)).String()
	case clock.Now == 0:
		return l.Plain("- ").Put(c.Theme.Dim, widget.ClipWords(clock.Why, l.Left()-1)).String()
	}
	mhz := func(khz uint64) string { return strconv.FormatUint(khz/1000, 10) + " MHz" }
	l.Plain(mhz(clock.Now))
	if clock.Max > 0 {
		l.Put(c.Theme.Dim, " of ").Plain(mhz(clock.Max))
	}
	if clock.Limit > 0 && clock.Limit < clock.Max {
		l.Put(c.Theme.Warn, " held to "+mhz(clock.Limit))
	}
	if g := clean(clock.Governor); g != "" {
		l.Put(c.Theme.Dim, "  governor ").Plain(g)
	}
	return l.String()
}
