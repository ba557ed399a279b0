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

// cpuPage is everything about one CPU.
type cpuPage struct {
	cpu  int
	draw drawing
}

const offline = " is offline"

func newCPUPage(cpu int) *cpuPage { return &cpuPage{cpu: cpu} }

// Info implements Pane.
func (p *cpuPage) Info() Info {
	name := "cpu" + strconv.Itoa(p.cpu)
	return Info{ID: ID(name), Title: name, Short: name, Help: "cpu"}
}

// Wants implements Pane: the host's samples hold every CPU.
func (p *cpuPage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *cpuPage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below one CPU yet"),
		keymap.New(keymap.Up, "k", "previous cpu", "k", "up"),
		keymap.New(keymap.Down, "j", "next cpu", "j", "down"),
		drawKey(p.draw),
		resetKey(),
	}
}

// Update implements Pane.
func (p *cpuPage) Update(msg tea.Msg) tea.Cmd {
	press, ok := msg.(Press)
	if !ok {
		return nil
	}
	switch press.ID {
	case keyDraw:
		p.draw = (p.draw + 1) % drawings
	case keyReset:
		return send(MarkMsg{})
	default:
		if order := cpuOrder(press.Frame); len(order) > 1 {
			if cpu, err := strconv.Atoi(move(press.ID, order[1:], strconv.Itoa(p.cpu))); err == nil {
				p.cpu = cpu
			}
		}
	}
	return nil
}

// Table implements Pane: the CPU's row beside that of all, and its own histograms.
func (p *cpuPage) Table(f Frame) Table {
	t := cpuTable(f)
	id := strconv.Itoa(p.cpu)
	t.Title = "cpu" + id
	rows := t.Rows
	t.Rows = nil
	for _, r := range rows {
		if r.ID == rowAll || r.ID == id {
			t.Rows = append(t.Rows, r)
		}
	}
	t.Facts, t.Histograms = nil, nil
	if len(rows) > 1 && len(t.Rows) < 2 {
		t.Notes = append(t.Notes, t.Title+offline)
	}
	wait := Histogram{ID: "runqlat", Title: "waits for this CPU"}
	runs := Histogram{ID: "cpudist", Title: "time on this CPU"}
	sched := schedOver(f)
	if c := schedCPU(sched, p.cpu); c != nil {
		t.Facts = append(t.Facts,
			Fact{ID: "cs", Title: "switches to a task", Unit: "/s", Cell: perSecond(c.Switches, sched.Span)},
			Fact{ID: "runq", Title: "tasks waiting", Unit: "tasks", Cell: queueOf(f, sched, p.cpu), Decimals: 1})
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
	t.Histograms = []Histogram{wait, runs}
	return t
}

// View implements Pane.
func (p *cpuPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	parts := []string{t.Title}
	for _, fact := range t.Facts {
		switch v, ok := fact.Cell.Num(); {
		case !ok:
		case fact.ID == "cs":
			parts = append(parts, fmt.Sprintf("switches %s/s", widget.Short(v)))
		default:
			parts = append(parts, fmt.Sprintf("%s %.1f", fact.ID, v))
		}
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	table := CPU{selected: strconv.Itoa(p.cpu)}
	lines = append(lines, table.tableLines(f, c, t, 3)...)
	for _, n := range t.Notes {
		if n == t.Title+offline {
			lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(n).String())
		}
	}
	rest := c.Height - len(lines)
	switch {
	case rest < 2:
	case t.Histograms[0].Now == nil:
		lines = append(lines, widget.Title(c.Theme, c.Width, "run-queue latency"))
		lines = append(lines, missingPart(f, c, collectors.SchedID, "runqlat", "run-queue latency")...)
	case c.Height < smallHeight:
		lines = append(lines, smallLatency(c, t, f)...)
	case p.draw != asHistogram:
		lines = append(lines, p.plotTitle(c))
		lines = append(lines, drawPlots(c, p.plots(f, c), p.draw, c.Width, c.Height-len(lines))...)
	default:
		lines = append(lines, p.histograms(f, c, t, rest)...)
	}
	return fit(lines, c.Height)
}

func (p *cpuPage) plots(f Frame, c Canvas) []plot {
	return []plot{{"", columns(f, widget.PlotColumns(c.Width), schedOf, schedSpan, cpuWait(p.cpu))}}
}

func (p *cpuPage) plotTitle(c Canvas) string {
	parts := []string{"waits for this CPU", "one column a sample"}
	if p.draw == asPercentiles {
		parts = []string{parts[0], widget.PercentilesKey, parts[1]}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// histograms draws waits and runs side by side, and on a tall screen the waits over time.
func (p *cpuPage) histograms(f Frame, c Canvas, t Table, height int) []string {
	rows := height
	if c.Height >= wideHeight {
		rows = height * 3 / 5
	}
	half := (c.Width - 2) / 2
	block := func(h Histogram, width int) []string {
		return append([]string{widget.Title(c.Theme, width, h.Title)}, withStats(c.Theme, h, width, rows-1)...)
	}
	lines := widget.Join(block(t.Histograms[0], half), half, block(t.Histograms[1], c.Width-half-2), 2)
	if c.Height >= wideHeight {
		lines = append(lines, widget.Title(c.Theme, c.Width, "waits for this CPU over time", "one column a sample"))
		lines = append(lines, drawPlots(c, p.plots(f, c), asHeatMap, c.Width, height-len(lines))...)
		if room := height - len(lines); room > leastPlot {
			lines = append(lines, widget.Title(c.Theme, c.Width, "percentiles over time", widget.PercentilesKey))
			lines = append(lines, drawPlots(c, p.plots(f, c), asPercentiles, c.Width, room-1)...)
		}
	}
	return lines
}
