// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// view draws the pane's part about times off the CPU: by reason, how long, and in which functions.
func (s *offState) view(f Frame, c Canvas) string {
	sum := offcpuOver(f)
	if sum == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "off-cpu")}
		return fit(append(lines, missingPart(f, c, collectors.OffCPUID, "offcputime", "time off the CPU")...), c.Height)
	}
	parts := []string{"off-cpu"}
	if sum.Seconds() > 0 {
		parts = append(parts, widget.Short(float64(sum.host.Arrivals)/sum.Seconds())+" switches to a task/s", "each time counts when it ends")
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	reasons := reasonTable(&sum.host, sum.Span)
	bare := list{}
	lines = append(lines, bare.draw(c, reasons, len(reasons.Rows)+1, listOptions{Bare: true})...)
	rest := c.Height - len(lines)
	if rest < 4 {
		return fit(lines, c.Height)
	}
	t := s.stackTable(f)
	table := max(rest*3/10, 5)
	if c.Height < smallHeight { // no room for both
		table = rest
	}
	if high := rest - table; high >= 4 {
		lines = append(lines, s.title(c, f))
		lines = append(lines, s.drawn(f, c, high-1)...)
	}
	head := []string{"sleeps of 1 ms and more", "by kernel stack"}
	if len(t.Notes) > 0 {
		head = append(head, t.Notes[0])
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, head...))
	if len(t.Rows) == 0 {
		why := "none has ended since the probe attached"
		if p, ok := probeNamed(f, collectors.OffCPUID, "offcputime"); ok && p.State == collectors.Degraded {
			why = p.Reason
		}
		return fit(append(lines, wrap(c, "", "- "+why)...), c.Height)
	}
	return fit(append(lines, s.stacks.draw(c, t, c.Height-len(lines), listOptions{})...), c.Height)
}

func (s *offState) title(c Canvas, f Frame) string {
	parts := []string{"time off a CPU", s.part.String(), "last interval"}
	if s.part == offQueue {
		parts[0] = "of it runnable"
	}
	if s.draw != asHistogram {
		parts[2] = c.columnIs()
	}
	if s.draw == asPercentiles {
		parts = []string{parts[0], parts[1], widget.PercentilesKey}
	}
	if f.Mark != nil && f.Mark.Snapshot != nil && s.draw == asHistogram {
		parts = append(parts, "start is "+f.Mark.Taken.Format("15:04:05"))
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// drawn is the distribution as the keys ask, in at most height lines.
func (s *offState) drawn(f Frame, c Canvas, height int) []string {
	hists := offHistograms(f)
	if s.draw != asHistogram {
		n := 2 * widget.PlotColumns(c.Width)
		var plots []plot
		for part := offSleep; part < offParts; part++ {
			if s.part == offAll && part != offQueue || s.part == part {
				get := func(x *collectors.OffCPU) *collectors.Hist { return part.hist(&x.Host) }
				plots = append(plots, plot{part.String(), columns(f, n, offcpuOf, func(x *collectors.OffCPU) collectors.Span { return x.Span }, get)})
			}
		}
		if len(plots) == 1 {
			plots[0].title = ""
		}
		return drawPlots(c, plots, s.draw, c.Width, height)
	}
	if s.part != offAll {
		return withStats(c, hists[s.part-offSleep], c.Width, height)
	}
	var series []widget.Series
	for part := offSleep; part < offQueue; part++ {
		series = append(series, widget.Series{Title: part.String(), Hist: hists[part-offSleep].Now})
	}
	if c.Width < 60 {
		return histograms(c, series, c.Width, height)
	}
	series = c.withBaseline(series)
	head := widget.NewLine(c.Width)
	for k, x := range series {
		head.Right(c.Theme.Dim, x.Title, coarseLabel+k*((c.Width-coarseLabel)/len(series))+coarseCount)
	}
	return append([]string{head.String()}, coarseHistogram(c, series, c.Width, height-1)...)
}

// latencyOf is what is counted of one target alone, over the frame, and the time that it spans; nil if
// nobody looked.
func latencyOf(f Frame, t collectors.Target) (*collectors.Targeted[collectors.LatencyCounts], collectors.Span) {
	list, span := narrowedOver(within(f, func(s *collectors.Snapshot) *collectors.Latency { return s.Latency }), t)
	if len(list) == 0 {
		return nil, span
	}
	sum := *list[0]
	stacks := [][]collectors.OffStack{sum.Sample.Stacks}
	for _, one := range list[1:] {
		sum.Sample.Plus(&one.Sample.OffCounts)
		sum.Sample.Total, sum.Sample.Hidden = one.Sample.Total, max(sum.Sample.Hidden, one.Sample.Hidden)
		stacks = append(stacks, one.Sample.Stacks)
	}
	sum.Sample.Stacks = sumStacks(stacks)
	return &sum, span
}

// latencyWant is what latencyHistograms need.
func latencyWant(t collectors.Target) collectors.Want {
	return collectors.Want{ID: collectors.LatencyID, Target: t}
}

// latencyHistograms are how long one process or cgroup waits for a CPU, runs, and sleeps; nil where nobody
// looked.
func latencyHistograms(f Frame, t collectors.Target) []Histogram {
	x, _ := latencyOf(f, t)
	if x == nil {
		return nil
	}
	total := slept(&x.Sample.Total)
	return []Histogram{
		{ID: "runqlat", Title: "waits for a CPU", Now: &x.Sample.Wait, Start: &x.Sample.Total.Wait},
		{ID: "cpudist", Title: "runs", Now: &x.Sample.OnCPU, Start: &x.Sample.Total.OnCPU},
		{ID: "offcpu", Title: "sleeps", Now: slept(&x.Sample.OffCounts), Start: total},
	}
}

// slept is the time a target slept, in S or in D.
func slept(c *collectors.OffCounts) *collectors.Hist {
	h := c.Off[collectors.OffSlept]
	h.Plus(&c.Off[collectors.OffBlocked])
	return &h
}

// sideBySide draws distributions beside each other, each with its count and its 99th percentile, in at most
// height lines.
func sideBySide(c Canvas, hists []Histogram, height int) []string {
	const (
		gap         = 2
		roomForBoth = 35 // that there is no p99, and the maximum
	)
	width := (c.Width - gap*(len(hists)-1)) / len(hists)
	var lines []string
	for i, p := range hists {
		w := width
		if i == len(hists)-1 {
			w = c.Width - i*(width+gap)
		}
		block := []string{widget.Title(c.Theme, w, p.Title)}
		if p.Now == nil {
			block = append(block, wrap(Canvas{Width: w, Theme: c.Theme}, "- ", p.Why)...)
		} else {
			series := c.withBaseline([]widget.Series{{Title: p.Title, Hist: p.Now}})
			for i, s := range series {
				l := widget.NewLine(w).Skip(1)
				badge := p.Badge
				if len(series) > 1 {
					l.Put(c.Theme.Dim, []string{"now  ", "then "}[i])
				}
				if i > 0 {
					badge = ""
				}
				l.Put(c.Theme.Dim, "n ").Plain(fmt.Sprintf("%-6s ", count(s.Hist)+badge))
				if s.Hist.Count() < leastForP99 && w < roomForBoth {
					l.Put(c.Theme.Dim, "max ").Plain(quantile(s.Hist, 1))
				} else {
					l.Put(c.Theme.Dim, "p99 ").Plain(p99or(s.Hist))
				}
				block = append(block, l.String())
			}
			block = append(block, coarseHistogram(c, series, w, height-len(block))...)
		}
		block = pad(block, height)[:height]
		if lines == nil {
			lines = block
			continue
		}
		lines = widget.Join(lines, i*(width+gap)-gap, block, gap)
	}
	for len(lines) > 2 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Widths of "262ms-0.5s" and of a count.
const (
	coarseLabel = 11
	coarseCount = 10
	leastCoarse = 9 // of a series, counts and some bar
)

// coarseHistogram draws series over one axis in at most height lines, as many buckets to a line as it
// takes: no event is left out.
func coarseHistogram(c Canvas, series []widget.Series, width, height int) []string {
	if len(series) == 2 && (width-coarseLabel)/2 < leastCoarse { // no room for both: the numbers above tell
		series = series[:1]
	}
	lo, hi := collectors.HistSlots, -1
	for _, s := range series {
		for i, n := range s.Hist.Slots {
			if n > 0 {
				lo, hi = min(lo, i), max(hi, i)
			}
		}
	}
	if hi < 0 || height < 1 {
		return nil
	}
	each := (hi - lo + height) / height
	counts := make([][]uint64, (hi-lo+each)/each)
	top := uint64(0)
	for g := range counts {
		counts[g] = make([]uint64, len(series))
		for k, s := range series {
			for i := lo + g*each; i < min(lo+(g+1)*each, hi+1); i++ {
				counts[g][k] += s.Hist.Slots[i]
			}
			top = max(top, counts[g][k])
		}
	}
	const label = coarseLabel
	room := (width - label) / len(series)
	number := min(coarseCount, room-2)
	var out []string
	for g, row := range counts {
		first, last := lo+g*each, min(lo+(g+1)*each-1, hi)
		l := widget.NewLine(width).Right(c.Theme.Dim, wideRange(first, last), label)
		for k, n := range row {
			at := label + k*room
			l.To(at).Right(theme.Style{}, widget.Count(n), at+number).Skip(1).Put(c.Theme.Accent, widget.Bar(float64(n), float64(top), room-number-2))
		}
		out = append(out, l.String())
	}
	return out
}

// wideRange is the range of several buckets: "4-63µs", "64µs-2ms".
func wideRange(first, last int) string {
	from, to := widget.Range(collectors.SlotBucket(first)), widget.Range(collectors.SlotBucket(last))
	if first == last {
		return from
	}
	lo, _, _ := strings.Cut(from, "-")
	_, hi, _ := strings.Cut(to, "-")
	unit := func(s string) string { return strings.TrimLeft(s, "0123456789.-") }
	if hi == "" { // the last has no end
		return ">" + lo + unit(from)
	}
	if unit(from) != unit(hi) {
		lo += unit(from)
	}
	return lo + "-" + hi
}

// p99or is the 99th percentile, or the maximum of few.
func p99or(h *collectors.Hist) string {
	if h.Count() < leastForP99 {
		return "-  max " + quantile(h, 1)
	}
	return quantile(h, 0.99)
}
