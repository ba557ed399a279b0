// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/collectors"
	"bpf60/panes/widget"
)

// flowMeasure is one of the distributions of connections.
type flowMeasure struct {
	which     int // of FlowSet.Hists
	id, title string
}

// flowMeasures are looked at in this order.
func flowMeasures() []flowMeasure {
	return []flowMeasure{
		{collectors.FlowLatency, "tcpconnlat", "connect latency"},
		{collectors.FlowRTT, "tcprtt", "round trip"},
		{collectors.FlowLife, "tcplife", "life span"},
	}
}

// flowDraw is how distributions of connections are drawn.
type flowDraw struct {
	measure int // of flowMeasures
	draw    drawing
	split   flowPath
}

// histogram is a measure over the window, and since start or the mark.
func (m flowMeasure) histogram(f Frame, s *flowSum) Histogram {
	h := Histogram{ID: m.id, Title: m.title}
	if s == nil {
		h.Why, _ = whyNot(f, collectors.FlowID, m.id)
		return h
	}
	if f.Scope.apart(collectors.FlowID) {
		h.Title += " of " + f.Scope.Name
		now, all, why := flowScope(f)
		if now == nil {
			h.Why = why
			return h
		}
		h.Now, h.Start, h.Since = flowHist(now, m.which), flowHist(all, m.which), sinceScoped
		h.Badge = lossBadge(missedOver(windowed(f), collectors.FlowID, flowProbesOf(m.which)...))
		return h
	}
	h.Now, h.Start = flowHist(&s.Host, m.which), flowHist(&s.Total, m.which)
	h.Badge = lossBadge(missedOver(windowed(f), collectors.FlowID, flowProbesOf(m.which)...))
	if mark := marked(f, flowOf); mark != nil {
		h.Start = since(h.Start, flowHist(&mark.Total, m.which))
	}
	return h
}

// flowProbesOf are the probes whose rows tell what was missed of a measure: one program serves most.
func flowProbesOf(which int) []string {
	if which == collectors.FlowRTT {
		return []string{"tcprtt"}
	}
	return []string{"tcpconnect", "tcpaccept", "tcpconnlat", "tcplife", "tcpstates"}
}

// paths are a measure's series: network and loopback.
func (m flowMeasure) paths(set *collectors.FlowSet) []widget.Series {
	return []widget.Series{
		{Title: "network", Hist: flowHist(set, m.which, collectors.FlowNetwork)},
		{Title: "loopback", Hist: flowHist(set, m.which, collectors.FlowLoopback)},
	}
}

// plots are a measure over time.
func (m flowMeasure) plots(f Frame, split flowPath, width int) []plot {
	n := 2 * widget.PlotColumns(width)
	sample := flowOfScope(f)
	of := func(paths ...int) []*collectors.Hist {
		return columns(f, n, flowOf, flowSpan, func(s *collectors.Flow) *collectors.Hist {
			set := sample(s)
			if set == nil {
				return nil
			}
			return flowHist(set, m.which, paths...)
		})
	}
	if split == byPath {
		return []plot{{"network", of(collectors.FlowNetwork)}, {"loopback", of(collectors.FlowLoopback)}}
	}
	return []plot{{"", of()}}
}

// body draws one measure as the keys ask.
func (d flowDraw) body(f Frame, c Canvas, s *flowSum, m flowMeasure, width, height int) []string {
	if d.draw != asHistogram {
		return drawPlots(c, m.plots(f, d.split, width), d.draw, width, height)
	}
	h := m.histogram(f, s)
	if h.Now == nil {
		return wrap(Canvas{Width: width, Theme: c.Theme}, "- ", h.Why)
	}
	if d.split == byPath {
		set := &s.Host
		if f.Scope.apart(collectors.FlowID) {
			set, _, _ = flowScope(f)
		}
		return histograms(c, m.paths(set), width, height)
	}
	if h.Now.Count() == 0 && h.Start.Count() == 0 {
		return []string{widget.NewLine(width).Skip(1).Put(c.Theme.Dim, "none seen so far").String()}
	}
	return withStats(c, h, width, height)
}

// title heads a measure, and says whose it is where that is not the host's.
func (d flowDraw) title(f Frame, c Canvas, m flowMeasure, width int) string {
	parts := []string{m.title}
	if f.Scope.apart(collectors.FlowID) {
		parts[0] += " of " + f.Scope.Name
	}
	if d.split == byPath {
		parts = append(parts, d.split.String())
	}
	switch d.draw {
	case asPercentiles:
		parts = append(parts, widget.PercentilesKey)
	case asHeatMap:
		parts = append(parts, c.columnIs())
	case asHistogram, drawings:
		parts = append(parts, "last 10 s")
	}
	return widget.Title(c.Theme, width, parts...)
}

// view draws the chosen measure, on a wide screen all three with the chosen one over time.
func (d flowDraw) view(f Frame, c Canvas, height int) []string {
	s := flowOver(f)
	measures := flowMeasures()
	chosen := measures[d.measure]
	if s == nil {
		return append([]string{d.title(f, c, chosen, c.Width)}, missingPart(f, c, collectors.FlowID, chosen.id, chosen.title)...)
	}
	if c.Width < wideWidth || height < wideHeight-8 {
		return append([]string{d.title(f, c, chosen, c.Width)}, d.body(f, c, s, chosen, c.Width, height-1)...)
	}
	now := d
	now.draw = asHistogram
	each := (c.Width - 4) / len(measures)
	top := height / 2
	var lines []string
	for i, m := range measures {
		column := append([]string{now.title(f, c, m, each)}, now.body(f, c, s, m, each, top-1)...)
		column = pad(column, top)
		if i == 0 {
			lines = column
			continue
		}
		lines = widget.Join(lines, i*(each+2)-2, column, 2)
	}
	over := d
	if over.draw == asHistogram {
		over.draw = asHeatMap
	}
	lines = append(lines, over.title(f, c, chosen, c.Width))
	return append(lines, over.body(f, c, s, chosen, c.Width, height-len(lines))...)
}
