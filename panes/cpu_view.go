// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Sizes from which a screen gains panels instead of gaps.
const (
	wideWidth   = 140
	wideHeight  = 36
	smallHeight = 12
)

// View implements Pane.
func (p *CPU) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	switch p.irqs.view {
	case offView:
		return p.off.view(f, c)
	case softirqView, irqView:
		return p.irqs.draw(f, c)
	case timesView, cpuViews:
	}
	t := cpuTable(f)
	lines := []string{cpuTitle(c, t)}
	wide := c.Width >= wideWidth && c.Height >= wideHeight
	room := 6
	switch {
	case c.Height < smallHeight:
		room = max(c.Height-5, 1)
	case c.Height >= wideHeight:
		room = max(c.Height/3, 6)
	}
	if wide {
		lines = append(lines, vmstatLines(f, c)...)
	}
	table := p.tableLines(f, c, t, room)
	if wide {
		table = pad(besideTable(f, c, table, room), room)
	}
	lines = append(lines, table...)
	sched := newest(f, schedOf)
	switch rest := c.Height - len(lines); {
	case rest < 2:
	case c.Height < smallHeight:
		lines = append(lines, smallLatency(c, t, f)...)
	case sched == nil:
		lines = append(lines, p.title(c, f))
		lines = append(lines, p.causes(f, c)...)
		lines = append(lines, missingPart(f, c, collectors.SchedID, "runqlat", "run-queue latency")...)
		lines = append(lines, whoLines(f, c, c.Height-len(lines))...) // what /proc can say of it
	case wide:
		lines = append(lines, p.wideView(f, c, t, rest)...)
	default:
		lines = append(lines, p.title(c, f))
		lines = append(lines, p.causes(f, c)...)
		lines = append(lines, p.latency(f, c, t, c.Width, c.Height-len(lines))...)
	}
	return fit(lines, c.Height)
}

// pad adds empty lines up to height. What is below then stays where it is from second to second,
// also on the line to the terminal: a heat map that moves by a row is sent whole.
func pad(lines []string, height int) []string {
	for len(lines) < height {
		lines = append(lines, "")
	}
	return lines
}

// fit joins at most height lines.
func fit(lines []string, height int) string {
	return strings.Join(lines[:min(len(lines), max(height, 0))], "\n")
}

func cpuTitle(c Canvas, t Table) string {
	parts := []string{t.Title}
	for _, fact := range t.Facts {
		v, ok := fact.Cell.Num()
		switch {
		case !ok:
		case fact.ID == "cs" || fact.ID == "in":
			parts = append(parts, fmt.Sprintf("%s %s/s", fact.ID, widget.Short(v)))
		case fact.ID == "psi_cpu":
			parts = append(parts, fmt.Sprintf("psi some %2.0f %%", v))
		case fact.ID == "r" || fact.ID == "b":
			parts = append(parts, fmt.Sprintf("%s %.0f", fact.ID, v))
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// title heads the part of the distributions.
func (p *CPU) title(c Canvas, f Frame) string {
	span := "last interval"
	if p.draw != asHistogram {
		span = c.columnIs()
	}
	parts := []string{"run-queue latency", p.split.String(), span}
	if p.draw == asPercentiles { // the legend matters more than the step of the axis
		parts = []string{parts[0], parts[1], widget.PercentilesKey, span}
	}
	if f.Mark != nil && f.Mark.Snapshot != nil && p.draw == asHistogram {
		parts = append(parts, "start is "+f.Mark.Taken.Format("15:04:05"))
	}
	if s := newest(f, schedOf); s != nil && !firstChoice(f) {
		parts = append(parts, s.Method)
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// firstChoice says whether waits are measured the way they should be; if not the title says how.
func firstChoice(f Frame) bool {
	p, ok := probeNamed(f, collectors.SchedID, "runqlat")
	return ok && p.State == collectors.On
}

// tableLines draws the table in at most room lines.
func (p *CPU) tableLines(f Frame, c Canvas, t Table, room int) []string {
	if len(t.Rows) == 0 {
		return missingPart(f, c, collectors.CPUID, "mpstat", "the time of the CPUs")
	}
	t = c.compareTable(t)
	if p.order.show == nil {
		squeezeShown(f, c.Width, &t, p.order.sort)
	}
	keep := p.columns(f, c.Width, t)
	heads, cols := make([]widget.Column, len(keep)), make([]drawn, len(keep))
	for i, k := range keep {
		heads[i] = widget.Column{Title: t.Columns[k].head(), Width: t.Columns[k].Width, Left: t.Columns[k].Left}
		cols[i] = drawn{Column: t.Columns[k], index: k}
	}
	busy := make(map[string]float64, len(t.Rows))
	if cpu := cpuOver(f); cpu != nil {
		for _, one := range cpu.CPUs {
			busy[strconv.Itoa(one.CPU)] = ticksBusy(one.Ticks)
		}
	}
	rows, heat := p.kept(f, t).Rows, busy
	if p.order.sort != "" {
		heat = make(map[string]float64, len(rows))
		for i, r := range rows {
			heat[r.ID] = float64(-i) // those that come first are to be seen
		}
	}
	shown, rest := hottest(rows, room-1, heat, p.selected)
	if len(t.Rows) > 1 && room < 3 {
		shown, rest = shown[:1], nil
	}
	lines, ids, at := []string{p.order.heads(c, cols)}, []string{""}, -1
	for _, r := range shown {
		if r.None != "" {
			lines, ids = append(lines, noneLine(c, r)), append(ids, "")
			continue
		}
		if ids = append(ids, r.ID); r.ID == p.selected {
			at = len(lines)
		}
		cells := make([]string, len(keep))
		for i, k := range keep {
			cells[i] = r.cellText(k, t.Columns[k])
		}
		lines = append(lines, widget.Cells(c.Theme, heads, cells, r.ID == p.selected, c.Width))
	}
	if len(rest) > 0 {
		lines = append(lines, strip(c, rest, busy))
	}
	c.saw(block{lines: lines[:len(ids)], rows: ids, at: at, choose: func(row string) { p.selected = row }, list: &p.order, table: t, cols: cols})
	return lines
}

// squeezeShown makes compared columns narrower until those that are worth their place fit.
func squeezeShown(f Frame, width int, t *Table, sorted string) {
	var cols []*Column
	for _, k := range shownColumns(f, math.MaxInt32, *t) {
		cols = append(cols, &t.Columns[k])
	}
	squeeze(cols, sorted, width)
}

// columns are the indexes of the columns to draw: those that were chosen, as far as they fit, else
// those that say something.
func (p *CPU) columns(f Frame, width int, t Table) []int {
	if p.order.show == nil {
		return shownColumns(f, width, t)
	}
	var out []int
	for _, c := range p.order.layout(t, width, listOptions{}) {
		out = append(out, c.index)
	}
	return out
}

// besideTable puts the commands that run and wait to the right of the table.
func besideTable(f Frame, c Canvas, table []string, room int) []string {
	half := (c.Width - 2) / 2
	right := c
	right.Width = c.Width - half - 2
	for _, l := range table {
		if widget.Width(l) > half { // all of mpstat's columns, or a long strip: no room
			return table
		}
	}
	who := whoLines(f, right, room+1)
	if len(who) < 2 {
		return table
	}
	return widget.Join(table, half, who[1:], 2)
}

// strip draws the CPUs that have no row of their own, one character each.
func strip(c Canvas, rest []Row, busy map[string]float64) string {
	l := widget.NewLine(c.Width).Skip(1)
	l.Put(c.Theme.Dim, fmt.Sprintf("+%d", len(rest))).To(6)
	room := l.Left() - 17
	values := make([]float64, 0, len(rest))
	for _, r := range rest {
		values = append(values, busy[r.ID])
	}
	cut := max(len(values)-room, 0)
	values = values[:len(values)-cut]
	l.Put(c.Theme.Accent, widget.Spark(values, len(values), 0, 1))
	if cut > 0 {
		l.Put(c.Theme.Dim, "…")
	}
	return l.Put(c.Theme.Dim, " busy, by number").String()
}

// shownColumns returns the columns worth their place: those that are zero for all moments in
// sight are left out, then the least important ones until the rest fits.
func shownColumns(f Frame, width int, t Table) []int {
	cols := cpuColumns()
	type candidate struct{ index, rank int }
	keep := []candidate{{0, -2}}
	for i, c := range cols {
		if c.quiet && !everSeen(f, c) {
			continue
		}
		keep = append(keep, candidate{i + 1, c.rank})
	}
	keep = append(keep, candidate{len(t.Columns) - 1, 1})
	for {
		need, worst := 1, 0
		for i, k := range keep {
			need += t.Columns[k.index].Width + 1
			if k.rank >= keep[worst].rank {
				worst = i
			}
		}
		if need <= width+1 || len(keep) <= 2 {
			break
		}
		keep = append(keep[:worst], keep[worst+1:]...)
	}
	out := make([]int, len(keep))
	for i, k := range keep {
		out[i] = k.index
	}
	return out
}

// everSeen looks at a minute of moments, so that a column does not come and go with each second.
func everSeen(f Frame, c cpuColumn) bool {
	for i := len(f.Past) - 1; i >= 0 && i >= len(f.Past)-60; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.CPU == nil {
			continue
		}
		if c.part(s.CPU.All) > 0 {
			return true
		}
	}
	return false
}

// causes is the line that says who.
func (p *CPU) causes(f Frame, c Canvas) []string {
	n := 2
	if c.Width >= wideWidth {
		n = 4
	}
	waits, runs := causeLine(f, n)
	if p.split == byCgroup {
		waits, runs = cgroupCauses(f, n)
	}
	if waits == "" && runs == "" {
		why, _ := whyNot(f, collectors.TasksID, "pidstat")
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "waits most  -  "+why).String()}
	}
	if waits == "" {
		waits = "nobody"
	}
	l := widget.NewLine(c.Width).Skip(1)
	half := max(c.Width-len(" waits most    ran instead  ")-widget.Width(runs), c.Width/2-14)
	l.Put(c.Theme.Dim, "waits most  ").Plain(clipEntries(waits, half))
	l.To(max(l.Width()+2, c.Width/2)).Put(c.Theme.Dim, "ran instead  ")
	l.Plain(clipEntries(runs, l.Left()))
	return []string{l.String()}
}

// clipEntries leaves out what does not fit of a list with two blanks between its entries: a name without its
// number says less than nothing. The first is shown in any case, as far as it goes.
func clipEntries(text string, cells int) string {
	for widget.Width(text) > cells {
		i := strings.LastIndex(text, "  ")
		if i < 0 {
			return widget.ClipWords(text, cells)
		}
		text = text[:i]
	}
	return text
}

// missingPart says what is not there, why, and what would supply it.
func missingPart(f Frame, c Canvas, id collectors.ID, probe, what string) []string {
	why, remedy := whyNot(f, id, probe)
	p, ok := probeNamed(f, id, probe)
	head := "waiting for " + what + " …"
	switch {
	case ok && (p.State == collectors.Off || p.State == collectors.Failed):
		head = what + " is not measured here"
	case f.Still:
		head = what + " was not recorded at this moment"
	}
	lines := []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Title, head).String()}
	if why != "" && !strings.HasPrefix(why, "waiting for") {
		lines = append(lines, wrap(c, "why     ", why)...)
	}
	if remedy != "" {
		lines = append(lines, wrap(c, "remedy  ", remedy)...)
	}
	return lines
}

// wrap breaks a text over lines behind a label.
func wrap(c Canvas, label, text string) []string {
	room := max(c.Width-widget.Width(label)-2, 10)
	var out []string
	line := ""
	flush := func() {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, label)
		out = append(out, l.Plain(line).String())
		label, line = strings.Repeat(" ", widget.Width(label)), ""
	}
	for _, word := range strings.Fields(text) {
		if line != "" && widget.Width(line)+1+widget.Width(word) > room {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
	return out
}

// smallLatency says in three lines what the histogram would show.
func smallLatency(c Canvas, t Table, f Frame) []string {
	h := t.Histograms[0]
	lines := []string{widget.Title(c.Theme, c.Width, "run-queue latency")}
	if h.Now == nil {
		return append(lines, missingPart(f, c, collectors.SchedID, "runqlat", "run-queue latency")...)
	}
	top := widget.NewLine(c.Width).Skip(1)
	top.Put(c.Theme.Dim, "n ").Plain(fmt.Sprintf("%-6s ", count(h.Now)+h.Badge)).Put(c.Theme.Dim, "p50 ").Plain(fmt.Sprintf("%-10s", quantile(h.Now, 0.5)))
	top.Put(c.Theme.Dim, "mean ").Plain(mean(h.Now))
	low := widget.NewLine(c.Width).Skip(1)
	low.Put(c.Theme.Dim, "p99 ").Plain(fmt.Sprintf("%-10s", quantile(h.Now, 0.99))).Put(c.Theme.Dim, "max ").Plain(quantile(h.Now, 1))
	return append(lines, top.String(), low.String())
}
