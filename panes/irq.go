// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

func softirqOf(s *collectors.Snapshot) *collectors.SoftIRQ { return s.SoftIRQ }
func irqOf(s *collectors.Snapshot) *collectors.IRQ         { return s.IRQ }

// cpuView is what the CPU pane shows of the processors.
type cpuView uint8

const (
	timesView cpuView = iota // mpstat's table and run-queue latency
	softirqView
	irqView
	offView // off the CPU: why, and where
	cpuViews
)

func (v cpuView) String() string {
	switch v {
	case softirqView:
		return "softirqs"
	case irqView:
		return "interrupts"
	case offView:
		return "off-cpu"
	case timesView, cpuViews:
	}
	return "times"
}

// IDs of keys of the views of the CPU pane.
const (
	keyCPUView  = "cpu.view"
	keyIRQSplit = "cpu.irq-split"
)

func cpuViewKey(now cpuView) keymap.Key {
	return keymap.New(keyCPUView, "t", ((now + 1) % cpuViews).String(), "t").In("show times of the CPUs, softirqs by vector, interrupts by line, where tasks are off the CPU")
}

// irqState is the part of the CPU pane that shows softirqs and interrupts.
type irqState struct {
	view            cpuView
	softirqs, lines list
	drawing         drawing
	all             bool // the distributions of the lines that take most time, not of the selected one
}

func newIRQState() irqState { return irqState{softirqs: newList("rate"), lines: newList("rate")} }

// wants are the collectors that the view needs: interrupts by line are read while looked at, and
// handlers are timed.
func (s *irqState) wants() []collectors.Want {
	switch s.view {
	case softirqView:
		return []collectors.Want{{ID: collectors.SoftIRQTimeID}}
	case irqView:
		return []collectors.Want{{ID: collectors.IRQID}, {ID: collectors.HardIRQTimeID}}
	case timesView, offView, cpuViews:
	}
	return nil
}

// list is the table of the view.
func (s *irqState) list() *list {
	if s.view == irqView {
		return &s.lines
	}
	return &s.softirqs
}

// keys are the pane's keys in the views of this file.
func (s *irqState) keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below a line of interrupts")
	split := "all lines"
	if s.all {
		split = "one line"
	}
	keys := []keymap.Key{
		open, drawKey(s.drawing), cpuViewKey(s.view),
		keymap.New(keyIRQSplit, "i", split, "i").In("times of the selected line, or of those that take most"), resetKey(),
	}
	return slices.Concat(keys, zoomKeys(), s.list().keys())
}

// over sums the samples of the frame, line by line. Lines are the same when name and device are.
func irqsOver(samples []*collectors.IRQs) *collectors.IRQs {
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	sum.Span, sum.Rows, sum.Count, sum.Unlisted = collectors.Span{}, nil, 0, 0
	at := make(map[[2]string]int)
	type topCPU struct{ row, cpu int }
	tops := make(map[topCPU]uint64) // what each CPU took in the samples that it took most in
	for _, s := range samples {
		if s.Seconds() == 0 {
			continue
		}
		sum.Span = join(sum.Span, s.Span)
		sum.Count += s.Count
		sum.Unlisted += s.Unlisted
		for _, r := range s.Rows {
			k := [2]string{r.Name.Bytes(), r.Device.Bytes()}
			i, ok := at[k]
			if !ok {
				i = len(sum.Rows)
				at[k], tops[topCPU{i, r.Top}] = i, r.TopN
				sum.Rows = append(sum.Rows, r)
				continue
			}
			x := &sum.Rows[i]
			x.Count += r.Count
			x.New = x.New && r.New
			n := tops[topCPU{i, r.Top}] + r.TopN
			tops[topCPU{i, r.Top}] = n
			if n > x.TopN {
				x.Top, x.TopN = r.Top, n
			}
		}
	}
	return &sum
}

func softirqsOver(f Frame) *collectors.IRQs {
	var all []*collectors.IRQs
	for _, s := range within(f, softirqOf) {
		all = append(all, &s.IRQs)
	}
	return irqsOver(all)
}

func linesOver(f Frame) *collectors.IRQs {
	var all []*collectors.IRQs
	for _, s := range within(f, irqOf) {
		all = append(all, &s.IRQs)
	}
	return irqsOver(all)
}

// table is softirqs by vector, or interrupts by line.
func (s *irqState) table(f Frame) Table {
	t := Table{Title: s.view.String(), Columns: []Column{
		{ID: "rate", Title: "/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "share", Title: "%", Unit: "%", Width: 5, Decimals: 1, Rank: 3},
	}}
	t.Columns = append(append(t.Columns, irqTimeColumns()...),
		Column{ID: "cpu", Title: "CPU", Width: 4, Rank: 1},
		Column{ID: "topshare", Title: "%CPU", Unit: "%", Width: 6, Decimals: 1, Rank: 2},
		Column{ID: "line", Title: "LINE", Width: 8, Left: true})
	sum, id, probe := softirqsOver(f), collectors.SoftIRQID, "softirq"
	if s.view == irqView {
		sum, id, probe = linesOver(f), collectors.IRQID, "interrupts"
		t.Columns = append(t.Columns, Column{ID: "chip", Title: "CONTROLLER", Width: 28, Left: true, Rank: 4}, Column{ID: "device", Title: "DEVICE", Width: 20, Left: true})
	}
	if sum == nil {
		why, remedy := whyNot(f, id, probe)
		t.Notes = append(t.Notes, note(probe, why, remedy))
		return t
	}
	times := s.timesOver(f)
	for _, r := range sum.Rows {
		t.Rows = append(t.Rows, irqRow(sum, r, s.timeCells(f, times, r.Name.Bytes()), s.view == irqView))
	}
	if sum.Unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s interrupts on lines that are not listed", widget.Count(sum.Unlisted)))
	}
	s.list().arrange(f, &t)
	return t
}

func irqRow(sum *collectors.IRQs, r collectors.IRQRow, times []Cell, device bool) Row {
	rate, part, top, topShare := perSecond(r.Count, sum.Span), Missing("none counted"), Missing("none counted"), Missing("none counted")
	if r.New {
		rate = Missing("it appeared a moment ago")
		if sum.Seconds() == 0 {
			rate = Missing("waiting for a second reading")
		}
	}
	if sum.Count > 0 {
		part = Number(100 * float64(r.Count) / float64(sum.Count))
	}
	if r.Top >= 0 && r.Count > 0 {
		top, topShare = Number(float64(r.Top)), Number(100*float64(r.TopN)/float64(r.Count))
	}
	row := Row{ID: r.Name.Bytes() + " " + r.Device.Bytes(), Cells: append([]Cell{rate, part}, times...)}
	row.Cells = append(row.Cells, top, topShare, Name(collectors.Clean(r.Name)))
	if device {
		who := Name(collectors.Clean(r.Device))
		if r.Device.Bytes() == "" {
			who = Missing("nobody asked for this line")
		}
		row.Cells = append(row.Cells, Name(collectors.Clean(r.Chip)), who)
	}
	return row
}

// draw is the pane in the views of this file.
func (s *irqState) draw(f Frame, c Canvas) string {
	t := s.table(f)
	sum, id, probe, what := softirqsOver(f), collectors.SoftIRQID, "softirq", "softirqs"
	if s.view == irqView {
		sum, id, probe, what = linesOver(f), collectors.IRQID, "interrupts", "interrupts by line"
	}
	parts := []string{t.Title}
	if sum != nil && sum.Seconds() > 0 {
		parts = append(parts, widget.Short(float64(sum.Count)/sum.Seconds())+"/s", fmt.Sprintf("%d lines on %d CPU%s", sum.Lines, sum.CPUs, plural(sum.CPUs)),
			"%BUSY is of one CPU")
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	lines = append(lines, s.times(f, c)...)
	switch {
	case sum == nil:
		lines = append(lines, missingPart(f, c, id, probe, what)...)
	case len(t.Rows) == 0:
		none := "no line counted in the last interval"
		if sum.Seconds() == 0 {
			none = "waiting for a second reading"
		}
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, none).String())
	default:
		room := c.Height - len(lines)
		if c.Height >= irqHistHeight {
			room = max(min(len(t.Rows)+1, room-irqHistRows), room/3)
		}
		lines = append(lines, s.list().draw(c, t, room, s.options(f))...)
		if rest := c.Height - len(lines); c.Height >= irqHistHeight && rest >= 4 {
			lines = append(lines, s.below(f, c, t, rest)...)
		}
	}
	return fit(lines, c.Height)
}

// times is what interrupts cost, of all CPUs' time.
func (s *irqState) times(f Frame, c Canvas) []string {
	cpu := cpuOver(f)
	if cpu == nil || cpu.All.Total() == 0 {
		return nil
	}
	l := widget.NewLine(c.Width).Skip(1)
	for _, x := range cpuColumns() {
		if x.ID == irqColumn || x.ID == "%soft" || x.ID == "%steal" {
			l.Put(c.Theme.Dim, x.ID+" ").Plain(fmt.Sprintf("%-6s", x.cell(cpu, cpu.All, false).Format(1))).Skip(1)
		}
	}
	s.measured(f, l, c)
	return []string{l.String()}
}

func (s *irqState) options(f Frame) listOptions {
	view := s.view
	return listOptions{SparkTitle: "over time", Spark: func(row string) []float64 {
		of := func(x *collectors.IRQs) float64 {
			if x.Seconds() > 0 {
				for _, r := range x.Rows {
					if r.Name.Bytes()+" "+r.Device.Bytes() == row {
						return float64(r.Count) / x.Seconds()
					}
				}
			}
			return 0
		}
		if view == irqView {
			return series(f, mostSpark, irqOf, func(x *collectors.IRQ) float64 { return of(&x.IRQs) })
		}
		return series(f, mostSpark, softirqOf, func(x *collectors.SoftIRQ) float64 { return of(&x.IRQs) })
	}}
}

// describe says why a cell of the selected row is missing.
func (s *irqState) describe(f Frame) string {
	t := s.table(f)
	return cmp.Or(s.list().why(t), strings.Join(t.Notes, "; "))
}

// softirqFacts are the vectors for reports.
func softirqFacts(f Frame) (out []Fact) {
	s := softirqsOver(f)
	if s == nil {
		return nil
	}
	for _, r := range s.Rows {
		out = append(out, Fact{ID: "softirq_" + clean(r.Name), Title: "softirqs " + clean(r.Name), Unit: "/s", Cell: perSecond(r.Count, s.Span)})
	}
	return out
}

// vmstatLines is vmstat's part about processes and CPUs, as it prints it.
func vmstatLines(f Frame, c Canvas) []string {
	cpu := cpuOver(f)
	if cpu == nil {
		return nil
	}
	v, gu := vmstatOf(cpu, pageBytes(f)), "-"
	if total := cpu.All.Total(); total > 0 {
		gu = fmt.Sprintf("%.0f", 100*float64(cpu.All.Guest+cpu.All.GuestNice)/float64(total))
	}
	heads, values := widget.NewLine(c.Width), widget.NewLine(c.Width)
	heads.Skip(1).Put(c.Theme.Dim, "vmstat")
	end := 8
	for _, x := range [][2]string{
		{"r", v.r}, {"b", v.b}, {"in", v.in}, {"cs", v.cs}, {"us", v.us}, {"sy", v.sy}, {"id", v.id}, {"wa", v.wa}, {"st", v.st}, {"gu", gu},
	} {
		end += max(len(x[0])+2, 4)
		if x[0] == "in" || x[0] == "cs" || x[0] == "r" || x[0] == "b" {
			end += 3
		}
		heads.Right(c.Theme.Dim, x[0], end)
		values.Right(c.Theme.Title, x[1], end)
	}
	return []string{heads.String(), values.String()}
}
