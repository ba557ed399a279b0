// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func softTimeOf(s *collectors.Snapshot) *collectors.SoftIRQTime { return s.SoftIRQTime }
func hardTimeOf(s *collectors.Snapshot) *collectors.HardIRQTime { return s.HardIRQTime }

// irqTimes is the time of interrupts over a frame.
type irqTimes struct {
	collectors.Span
	rows map[string]*irqTime // by vector or line
	cpus map[int]uint64      // ns
	ns   uint64
}

// irqTime is one vector's or line's: over the frame, and since start.
type irqTime struct{ now, start collectors.Hist }

// timesOver sums the samples of the view; nil without one.
func (s *irqState) timesOver(f Frame) *irqTimes {
	var all []*collectors.IRQTimes
	if s.view == irqView {
		for _, x := range within(f, hardTimeOf) {
			all = append(all, &x.IRQTimes)
		}
	} else {
		for _, x := range within(f, softTimeOf) {
			all = append(all, &x.IRQTimes)
		}
	}
	if len(all) == 0 {
		return nil
	}
	sum := &irqTimes{rows: map[string]*irqTime{}, cpus: map[int]uint64{}}
	for _, x := range all {
		sum.Span = join(sum.Span, x.Span)
		sum.ns += x.Ns
		for i := range x.Rows {
			r := &x.Rows[i]
			t := sum.rows[r.Name]
			if t == nil {
				t = &irqTime{}
				sum.rows[r.Name] = t
			}
			t.now.Plus(&r.Time)
			t.start = r.Total
		}
		for _, c := range x.CPUs {
			sum.cpus[c.CPU] += c.Ns
		}
	}
	s.afterMark(f, sum)
	return sum
}

// afterMark takes off what had been counted at the mark.
func (s *irqState) afterMark(f Frame, sum *irqTimes) {
	var mark *collectors.IRQTimes
	if s.view == irqView {
		if m := marked(f, hardTimeOf); m != nil {
			mark = &m.IRQTimes
		}
	} else if m := marked(f, softTimeOf); m != nil {
		mark = &m.IRQTimes
	}
	if mark == nil {
		return
	}
	for i := range mark.Rows {
		if t := sum.rows[mark.Rows[i].Name]; t != nil {
			t.start = t.start.Since(&mark.Rows[i].Total)
		}
	}
}

// timeProbe is the collector of the view's times, and its probe.
func (s *irqState) timeProbe() (collectors.ID, string) {
	if s.view == irqView {
		return collectors.HardIRQTimeID, "hardirqs"
	}
	return collectors.SoftIRQTimeID, "softirqs"
}

// badge says how many of all vectors or lines the kernel passed over.
func (s *irqState) badge(f Frame) string {
	id, probe := s.timeProbe()
	return lossBadge(missedOver(f, id, probe))
}

// irqTimeColumns are those of the time of a row.
func irqTimeColumns() []Column {
	return []Column{
		{ID: "busy", Title: "%BUSY", Unit: "%", Width: 6, Decimals: 2},
		{ID: "mean_us", Title: "MEANus", Unit: "us", Width: 7, Decimals: 1},
		{ID: "p99_us", Title: "P99us", Unit: "us", Width: 6, Rank: 2},
	}
}

// timeCells are one row's: its share of one CPU's time, its exact mean, and the end of the bucket that
// holds its 99th percentile.
func (s *irqState) timeCells(f Frame, times *irqTimes, name string) []Cell {
	if times == nil {
		id, probe := s.timeProbe()
		why, _ := whyNot(f, id, probe)
		return []Cell{Missing(why), Missing(why), Missing(why)}
	}
	x := times.rows[name]
	switch {
	case x == nil:
		why := "none since the probe attached, or the kernel has no tracepoint for it"
		return []Cell{Missing(why), Missing(why), Missing(why)}
	case times.Seconds() <= 0:
		why := "waiting for a second reading"
		return []Cell{Missing(why), Missing(why), Missing(why)}
	}
	out := []Cell{Number(100 * float64(x.now.Sum) / 1e9 / times.Seconds()), Missing("none in the last interval"), Missing("fewer than 100 in the last interval")}
	n := x.now.Count()
	if n > 0 {
		out[1] = Number(float64(x.now.Sum) / 1000 / float64(n))
	}
	if b, ok := x.now.Quantile(0.99); ok && n >= leastForP99 {
		out[2] = Number(float64(b.Hi))
	}
	return out
}

// measured is what interrupts took of all CPUs' time, as their handlers were timed.
func (s *irqState) measured(f Frame, l *widget.Line, c Canvas) {
	times := s.timesOver(f)
	n := cores(f)
	if times == nil || times.Seconds() <= 0 || n == 0 {
		return
	}
	l.Put(c.Theme.Dim, "timed ").Plain(fmt.Sprintf("%.2f %%", 100*float64(times.ns)/1e9/times.Seconds()/float64(n)))
	top, most := -1, uint64(0)
	for cpu, ns := range times.cpus {
		if ns > most || ns == most && ns > 0 && cpu < top {
			top, most = cpu, ns
		}
	}
	if top >= 0 {
		l.Skip(2).Put(c.Theme.Dim, fmt.Sprintf("most on cpu%d ", top)).Plain(fmt.Sprintf("%.2f %%", 100*float64(most)/1e9/times.Seconds()))
	}
}

// histogram is the selected row's.
func (s *irqState) histogram(f Frame, t Table) Histogram {
	r, ok := s.list().row(t)
	if !ok {
		return Histogram{}
	}
	name := lineOf(t, r)
	h := Histogram{ID: name, Title: name}
	id, probe := s.timeProbe()
	times := s.timesOver(f)
	if times == nil {
		h.Why, _ = whyNot(f, id, probe)
		return h
	}
	if x := times.rows[name]; x != nil {
		h.Now, h.Start, h.Badge = &x.now, &x.start, s.badge(f)
		return h
	}
	h.Why = "none of " + name + " since the probe attached, or the kernel has no tracepoint for it"
	return h
}

// lineOf is the vector or line that a row is about.
func lineOf(t Table, r Row) string {
	for i, c := range t.Columns {
		if c.ID == "line" && i < len(r.Cells) {
			return r.Cells[i].Format(0)
		}
	}
	return ""
}

// Heights from which the selected row's histogram is drawn below the table.
const (
	irqHistHeight = 16 // of the pane
	irqHistRows   = 8  // title included
)

// press does what a key of the views says.
func (s *irqState) press(msg Press) Answer {
	switch msg.ID {
	case keyReset:
		return MarkMsg{}
	case keyDraw:
		s.drawing = (s.drawing + 1) % drawings
	case keyIRQSplit:
		s.all = !s.all
	default:
		s.list().press(msg.ID, s.table(msg.Frame))
	}
	return nil
}

// mostIRQParts is how many vectors or lines are drawn side by side.
const mostIRQParts = 4

// parts are the distributions that are drawn: the selected row's, or those of the rows that took most
// time.
func (s *irqState) parts(f Frame, t Table) []distribution {
	h := s.histogram(f, t)
	if h.Title == "" {
		return nil
	}
	over := func(name string) func(int) []*collectors.Hist {
		return func(n int) []*collectors.Hist { return s.timeColumns(f, n, name) }
	}
	if times := s.timesOver(f); s.all && times != nil {
		names := sortedKeys(times.rows)
		sortStably(names, func(a, b string) int { return cmp.Compare(times.rows[b].now.Sum, times.rows[a].now.Sum) })
		var out []distribution
		for _, name := range names[:min(len(names), mostIRQParts)] {
			x := times.rows[name]
			title := clean(collectors.RawString(name))
			out = append(out, distribution{Histogram{ID: title, Title: title, Now: &x.now, Start: &x.start, Badge: s.badge(f)}, over(name)})
		}
		return out
	}
	return []distribution{{h, over(h.ID)}}
}

// timeColumns is one vector's or line's distribution over time.
func (s *irqState) timeColumns(f Frame, n int, name string) []*collectors.Hist {
	get := func(x *collectors.IRQTimes) *collectors.Hist {
		for i := range x.Rows {
			if x.Rows[i].Name == name {
				return &x.Rows[i].Time
			}
		}
		return &collectors.Hist{}
	}
	if s.view == irqView {
		return columns(f, n, hardTimeOf, func(x *collectors.HardIRQTime) collectors.Span { return x.Span },
			func(x *collectors.HardIRQTime) *collectors.Hist { return get(&x.IRQTimes) })
	}
	return columns(f, n, softTimeOf, func(x *collectors.SoftIRQTime) collectors.Span { return x.Span },
		func(x *collectors.SoftIRQTime) *collectors.Hist { return get(&x.IRQTimes) })
}

// below draws the distribution of the selected row, or several.
func (s *irqState) below(f Frame, c Canvas, t Table, height int) []string {
	drawn := s.parts(f, t)
	if len(drawn) == 0 {
		return nil
	}
	parts := []string{"time of " + drawn[0].Title, "last interval"}
	if len(drawn) > 1 {
		parts[0] = "times of the lines that take most"
	}
	switch s.drawing {
	case asPercentiles:
		parts = []string{parts[0], widget.PercentilesKey}
	case asHeatMap:
		parts[1] = c.columnIs()
	case asHistogram, drawings:
		if f.Mark != nil && f.Mark.Snapshot != nil {
			parts = append(parts, "start is "+f.Mark.Taken.Format("15:04:05"))
		}
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	if h := drawn[0].Histogram; h.Now == nil {
		return append(lines, wrap(c, "", "- "+h.Why)...)
	}
	return append(lines, drawDistributions(c, drawn, s.drawing, c.Width, height-1)...)
}

// irqHistograms are those of all vectors or lines, for reports.
func irqHistograms(f Frame, view cpuView, prefix string) (out []Histogram) {
	s := irqState{view: view}
	times := s.timesOver(f)
	if times == nil {
		return nil
	}
	for _, name := range sortedKeys(times.rows) {
		x := times.rows[name]
		out = append(out, Histogram{ID: prefix + "." + name, Title: prefix + " " + name, Now: &x.now, Start: &x.start, Badge: s.badge(f)})
	}
	return out
}
