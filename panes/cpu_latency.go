// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// latency draws run-queue latency as the keys ask, in at most height lines.
func (p *CPU) latency(f Frame, c Canvas, t Table, width, height int) []string {
	if p.split == byCause && wakeOver(f) == nil {
		part := c
		part.Width = width
		return missingPart(f, part, collectors.WakeID, "runqlat by cause", "the split by cause")
	}
	if p.split == byProcess || p.split == byCgroup {
		if why := p.noSingles(f); why != nil {
			part := c
			part.Width = width
			return why(part)
		}
	}
	switch p.draw {
	case asPercentiles, asHeatMap:
		return drawPlots(c, p.plots(f, width), p.draw, width, height)
	case asHistogram, drawings:
	}
	switch p.split {
	case byCPU:
		return histograms(c, p.perCPU(f, widget.Fits(width)), width, height)
	case byProcess, byCgroup:
		return histograms(c, p.singleSeries(f), width, height)
	case byCause:
		if w := wakeOver(f); w != nil {
			return histograms(c, []widget.Series{{Title: "woken", Hist: &w.Woken}, {Title: "preempted", Hist: &w.Preempted}}, width, height)
		}
	case whole, splits:
	}
	return withStats(c, t.Histograms[0], width, height)
}

// perCPU returns the waits of as many CPUs as fit: the selected one first, then by number.
func (p *CPU) perCPU(f Frame, n int) []widget.Series {
	var out []widget.Series
	sched := schedOver(f)
	for _, id := range p.cpusToShow(f, n) {
		s := widget.Series{Title: "cpu" + strconv.Itoa(id)}
		if c := schedCPU(sched, id); c != nil {
			s.Hist = &c.Wait
		}
		out = append(out, s)
	}
	return out
}

// cpusToShow returns n CPUs by number, the selected one among them.
func (p *CPU) cpusToShow(f Frame, n int) []int {
	sched := newest(f, schedOf)
	if sched == nil {
		return nil
	}
	var ids []int
	for i := range sched.CPUs {
		ids = append(ids, sched.CPUs[i].CPU)
	}
	n = max(n, 1)
	if len(ids) <= n {
		return ids
	}
	first := 0
	if i := slices.Index(ids, atoi(p.selected)); i >= 0 {
		first = min(i, len(ids)-n)
	}
	return ids[first : first+n]
}

// plots returns what is drawn over time: one plot, or one for each part of the split.
func (p *CPU) plots(f Frame, width int) []plot {
	n := 2 * widget.PlotColumns(width) // what has just left the screen still steadies the axis
	switch p.split {
	case byCPU:
		var out []plot
		for _, id := range p.cpusToShow(f, 4) {
			out = append(out, plot{"cpu" + strconv.Itoa(id), columns(f, n, schedOf, schedSpan, cpuWait(id))})
		}
		return out
	case byCause:
		return []plot{
			{"woken", columns(f, n, wakeOf, wakeSpan, wakeWoken)},
			{"preempted", columns(f, n, wakeOf, wakeSpan, wakePreempted)},
		}
	case byProcess, byCgroup:
		return p.singlePlots(f, n)
	case whole, splits:
	}
	return []plot{{"", columns(f, n, schedOf, schedSpan, schedWait)}}
}

// wideView shows who, both histograms and the picture over time at once.
func (p *CPU) wideView(f Frame, c Canvas, t Table, height int) []string {
	lines := p.causes(f, c)
	half := (c.Width - 2) / 2
	if p.draw != asHeatMap {
		rows := (height - 3) * 3 / 5
		left := append([]string{widget.Title(c.Theme, half, "run-queue latency", p.split.String(), "last interval")},
			p.histogram(f, c, t, half, rows-1)...)
		right := append([]string{widget.Title(c.Theme, c.Width-half-2, "time on a CPU", "last interval")},
			withStats(c, t.Histograms[1], c.Width-half-2, rows-1)...)
		lines = append(lines, pad(widget.Join(left, half, right, 2), rows)...)
	}
	how, parts := asHeatMap, []string{"run-queue latency over time", p.split.String(), c.columnIs()}
	if p.draw == asPercentiles {
		how, parts = asPercentiles, []string{parts[0], parts[1], widget.PercentilesKey, parts[2]}
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, parts...))
	if p.split == byCause && wakeOver(f) == nil {
		return append(lines, missingPart(f, c, collectors.WakeID, "runqlat by cause", "the split by cause")...)
	}
	if p.split == byProcess || p.split == byCgroup {
		if why := p.noSingles(f); why != nil {
			return append(lines, why(c)...)
		}
	}
	plots := p.plots(f, c.Width)
	lines = append(lines, drawPlots(c, plots, how, c.Width, height-len(lines))...)
	if room := height - len(lines); how == asHeatMap && room > leastPlot {
		lines = append(lines, widget.Title(c.Theme, c.Width, "percentiles over time", p.split.String(), widget.PercentilesKey))
		lines = append(lines, drawPlots(c, plots, asPercentiles, c.Width, room-1)...)
	}
	return lines
}

// histogram draws the histogram of the split, whatever is drawn over time.
func (p *CPU) histogram(f Frame, c Canvas, t Table, width, height int) []string {
	q := *p
	q.draw = asHistogram
	return q.latency(f, c, t, width, height)
}
