// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// cpuPage is everything about one CPU: its row of mpstat, how fast it runs, how long tasks wait for it and
// run on it, who they are, its times, its interrupts, and how it idles.
type cpuPage struct {
	cpu   int
	draw  pageDraw
	parts sections
}

const offline = " is offline"

func newCPUPage(cpu int) *cpuPage {
	p := &cpuPage{cpu: cpu}
	p.parts = newSections(cpuTarget(cpu), p.sections())
	p.parts.lists[0] = newList("%CPU")
	return p
}

func cpuTarget(cpu int) collectors.Target {
	return collectors.Target{Kind: collectors.CPUTarget, CPU: int32(cpu)}
}

// Info implements Pane.
func (p *cpuPage) Info() Info {
	name := "cpu" + strconv.Itoa(p.cpu)
	return Info{ID: ID(name), Title: name, Short: name, Help: "cpu"}
}

// Wants implements Pane: the host's samples hold every CPU's times and waits; its threads, clock and
// interrupts are read while looked at. How long interrupts take is timed while their table has the cursor.
func (p *cpuPage) Wants(Scope) []collectors.Want {
	out := []collectors.Want{
		{ID: collectors.TasksID, Target: collectors.ThreadsTarget()},
		{ID: collectors.CPUClocksID, Target: p.parts.target},
		{ID: collectors.SoftIRQID, Target: p.parts.target},
		{ID: collectors.IRQID, Target: p.parts.target},
	}
	if p.parts.all[p.parts.at].id == cpuInterrupts {
		out = append(out, collectors.Want{ID: collectors.SoftIRQTimeID}, collectors.Want{ID: collectors.HardIRQTimeID})
	}
	return out
}

// Keys implements Pane.
func (p *cpuPage) Keys() []keymap.Key {
	return append(p.parts.keysWith(p.draw.keys()), pageKey(keyDiskNext, "next cpu"), pageKey(keyDiskPrev, "previous cpu"), resetKey())
}

// Update implements Pane: n and N walk over the CPUs.
func (p *cpuPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
		return WantMsg{}
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *cpuPage) press(msg Press) Answer {
	switch to := map[string]string{keyDiskNext: keymap.Down, keyDiskPrev: keymap.Up}[msg.ID]; {
	case to != "":
		if order := cpuOrder(msg.Frame); len(order) > 1 {
			if cpu, err := strconv.Atoi(move(to, order[1:], strconv.Itoa(p.cpu))); err == nil {
				p.cpu, p.parts.target = cpu, cpuTarget(cpu)
			}
		}
		return WantMsg{}
	case msg.ID == keyReset:
		return MarkMsg{}
	case p.draw.press(msg.ID, len(p.distributions(msg.Frame))):
		return nil
	}
	at := p.parts.at
	cmd := p.parts.press(msg)
	if at != p.parts.at {
		return WantMsg{}
	}
	return cmd
}

// Describe implements Describer.
func (p *cpuPage) Describe(f Frame) string { return p.parts.describe(f) }

// row is the CPU's row of mpstat beside that of all.
func (p *cpuPage) row(f Frame) Table {
	t := cpuTable(f)
	id := strconv.Itoa(p.cpu)
	t.Title = "cpu" + id
	rows := t.Rows
	t.Rows, t.Facts, t.Histograms = nil, nil, nil
	for _, r := range rows {
		if r.ID == rowAll || r.ID == id {
			t.Rows = append(t.Rows, r)
		}
	}
	if len(rows) > 1 && len(t.Rows) < 2 {
		t.Notes = append(t.Notes, t.Title+offline)
	}
	return t
}

// Table implements Pane: the CPU's row beside that of all, its own histograms, and its tables.
func (p *cpuPage) Table(f Frame) Table {
	t := p.row(f)
	t.Facts = p.facts(f)
	for _, d := range p.distributions(f) {
		t.Histograms = append(t.Histograms, d.Histogram)
	}
	for i := range p.parts.all {
		t.More = append(t.More, p.parts.table(f, i))
	}
	return t
}

// facts are the numbers beside the row: switches, who waits, and the clock.
func (p *cpuPage) facts(f Frame) []Fact {
	var out []Fact
	sched := schedOver(f)
	if c := schedCPU(sched, p.cpu); c != nil {
		out = append(out,
			Fact{ID: "cs", Title: "switches to a task", Unit: "/s", Cell: perSecond(c.Switches, sched.apart)},
			Fact{ID: "runq", Title: "tasks waiting", Unit: "tasks", Cell: queueOf(f, sched, p.cpu), Decimals: 1})
	}
	return append(out, p.clockFacts(f)...)
}

// distributions are how long tasks wait for this CPU, and how long they stay on it.
func (p *cpuPage) distributions(f Frame) []distribution {
	wait := Histogram{ID: "runqlat", Title: "waits for this CPU"}
	runs := Histogram{ID: "cpudist", Title: "time on this CPU"}
	if c := schedCPU(schedOver(f), p.cpu); c != nil {
		wait.Badge = lostBadge(&c.SchedCounts)
		wait.Now, wait.Start = &c.Wait, &c.WaitTotal
		runs.Now, runs.Start = &c.OnCPU, &c.OnCPUTotal
		if m := schedCPU(markedSched(f), p.cpu); m != nil {
			wait.Start, runs.Start = since(&c.WaitTotal, &m.WaitTotal), since(&c.OnCPUTotal, &m.OnCPUTotal)
		}
	} else {
		wait.Why, _ = whyNot(f, collectors.SchedID, "runqlat")
		runs.Why = wait.Why
	}
	over := func(get func(*collectors.Sched) *collectors.Hist) func(int) []*collectors.Hist {
		return func(n int) []*collectors.Hist { return columns(f, n, schedOf, schedSpan, get) }
	}
	return []distribution{{wait, over(cpuWait(p.cpu))}, {runs, over(cpuRun(p.cpu))}}
}

// View implements Pane.
func (p *cpuPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.row(f)
	parts := []string{t.Title}
	for _, fact := range p.facts(f) {
		switch v, ok := fact.Cell.Num(); {
		case !ok:
		case fact.ID == "cs":
			parts = append(parts, fmt.Sprintf("switches %s/s", widget.Short(v)))
		case fact.ID == "runq":
			parts = append(parts, fmt.Sprintf("%s %.1f", fact.ID, v))
		}
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	table, still := CPU{}, c // a picture: nothing in it can be chosen, and no row has the cursor
	still.seen = nil
	lines = append(lines, table.tableLines(f, still, t, 3)...)
	for _, n := range t.Notes {
		if n == t.Title+offline {
			lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(n).String())
		}
	}
	if c.Height >= smallHeight {
		lines = append(lines, p.clockLine(f, c))
	}
	dists := p.distributions(f)
	rest := c.Height - len(lines)
	if rest >= leastPanels {
		if dists[0].Now == nil {
			lines = append(lines, widget.Title(c.Theme, c.Width, "run-queue latency"))
			lines = append(lines, missingPart(f, c, collectors.SchedID, "runqlat", "run-queue latency")...)
		} else {
			lines = append(lines, p.drawn(c, dists, latencyCanvas(c, rest).Height)...)
		}
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// drawn are the distributions, and on a large screen below them the waits over time.
func (p *cpuPage) drawn(c Canvas, dists []distribution, height int) []string {
	lines := p.draw.draw(c, dists, height)
	if c.Height >= wideHeight && p.draw.how == asHistogram {
		over := pageDraw{how: asHeatMap}
		lines = append(lines, over.draw(c, dists, height)...)
	}
	return lines
}
