// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// drawing is how a distribution is drawn.
type drawing uint8

const (
	asHistogram drawing = iota
	asPercentiles
	asHeatMap
	drawings
)

func (d drawing) String() string {
	switch d {
	case asPercentiles:
		return "percentiles"
	case asHeatMap:
		return "heat map"
	case asHistogram, drawings:
	}
	return "histogram"
}

func drawKey(now drawing) keymap.Key {
	return keymap.New(keyDraw, "v", ((now + 1) % drawings).String(), "v").In("draw latency as histogram, percentiles over time, heat map")
}

// zoom is how distributions are looked at, in every pane alike.
type zoom struct {
	column time.Duration // what a column over time covers; 0: one sample
	from   float64       // the quantile from which latency is shown; 0: all of it
	each   time.Duration // between two samples
}

// IDs of the keys that zoom. The root does them, in panes that list them.
const (
	keyZoomIn  = "draw.zoom-in"
	keyZoomOut = "draw.zoom-out"
	keyRange   = "draw.range"
)

// zoomKeys are the keys of a pane that draws distributions.
func zoomKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keyZoomIn, "+", "zoom in", "+", "=").In("over time: a column covers less, down to one sample"),
		keymap.New(keyZoomOut, "-", "zoom out", "-").In("over time: a column covers more: 5 s, 10 s, 30 s, 60 s"),
		keymap.New(keyRange, "Z", "range", "Z").In("show the latency from p50 up, from p90, from p99, all of it"),
	}
}

// zoomKey does what one of them stands for; false if it is none.
func (r *Root) zoomKey(id string) bool {
	z := &r.tape.zoom
	steps := []time.Duration{0, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}
	at := slices.Index(steps, z.column)
	switch id {
	case keyZoomIn:
		z.column = steps[max(at-1, 0)]
	case keyZoomOut:
		z.column = steps[min(at+1, len(steps)-1)]
	case keyRange:
		ranges := []float64{0, 0.5, 0.9, 0.99}
		z.from = ranges[(slices.Index(ranges, z.from)+1)%len(ranges)]
	default:
		return false
	}
	r.frame.zoom.column, r.frame.zoom.from = z.column, z.from
	r.status = status{text: z.columnIs() + ", " + z.rangeIs()}
	return true
}

// columnIs says what a column over time is.
func (z zoom) columnIs() string {
	if z.column == 0 {
		return "one column a sample"
	}
	return fmt.Sprintf("one column %.0f s", z.column.Seconds())
}

// columnIs says what a column over time is.
func (c Canvas) columnIs() string { return c.zoom.columnIs() }

// rangeIs says which latency is shown.
func (z zoom) rangeIs() string {
	if z.from == 0 {
		return "all latency"
	}
	return fmt.Sprintf("latency from p%.0f up", 100*z.from)
}

// floor is the lowest bucket that is shown of distributions: that of the quantile from which on they
// are, over all of them.
func (z zoom) floor(hists []*collectors.Hist) int {
	if z.from == 0 {
		return 0
	}
	var sum collectors.Hist
	for _, h := range hists {
		if h != nil {
			sum.Plus(h)
		}
	}
	b, ok := sum.Quantile(z.from)
	if !ok {
		return 0
	}
	return collectors.Slot(b.Lo * 1000)
}

// plot is one distribution over time.
type plot struct {
	title   string
	columns []*collectors.Hist
}

// distribution is one of those that a pane draws together, over the frame and over time.
type distribution struct {
	Histogram
	over func(n int) []*collectors.Hist // at most n columns, the newest last
}

// drawDistributions draws one or several distributions in at most height lines.
func drawDistributions(c Canvas, parts []distribution, how drawing, width, height int) []string {
	if how == asHistogram {
		if len(parts) == 1 {
			return withStats(c, parts[0].Histogram, width, height)
		}
		var series []widget.Series
		for _, p := range parts {
			series = append(series, widget.Series{Title: p.Title, Hist: p.Now})
		}
		return histograms(c, series, width, height)
	}
	var plots []plot
	for _, p := range parts {
		plots = append(plots, plot{p.Title, p.over(2 * widget.PlotColumns(width))})
	}
	if len(plots) == 1 {
		plots[0].title = ""
	}
	return drawPlots(c, plots, how, width, height)
}

// leastPlot is the fewest lines a plot among several is worth drawing in.
const leastPlot = 6

// drawPlots stacks plots in at most height lines, each with its numbers below.
func drawPlots(c Canvas, plots []plot, how drawing, width, height int) []string {
	fits := max(height/leastPlot, 1)
	plots = plots[:min(len(plots), fits)]
	var out []string
	for i, p := range plots {
		room := (height - len(out)) / (len(plots) - i)
		if p.title != "" {
			out = append(out, widget.NewLine(width).Skip(1).Put(c.Theme.Title, p.title).String())
			room--
		}
		out = append(out, drawPlot(c, p, how, width, room)...)
	}
	return out
}

// drawPlot draws one plot in at most room lines, with its numbers below if there is room for them.
func drawPlot(c Canvas, p plot, how drawing, width, room int) []string {
	numbers := plotNumbers(c, p, width)
	if room <= leastPlot-2 {
		numbers = nil
	}
	floor := c.zoom.floor(p.columns)
	if how == asPercentiles {
		return append(widget.Percentiles(c.Theme, p.columns, width, room-len(numbers), floor, leastForP99), numbers...)
	}
	return append(widget.HeatMap(c.Theme, p.columns, width, room-len(numbers), floor), numbers...)
}

// plotNumbers stand below a plot: how far back it goes, and its newest column in numbers; a second
// line has those of the baseline.
func plotNumbers(c Canvas, p plot, width int) []string {
	n := min(len(p.columns), widget.PlotColumns(width))
	if n == 0 {
		return nil
	}
	l := widget.NewLine(width)
	if each := max(c.zoom.each, c.zoom.column); each > 0 {
		l.Right(c.Theme.Dim, "-"+widget.Clock(time.Duration(n)*each), widget.PlotLabel-2)
	}
	l.To(widget.PlotLabel)
	last := p.columns[len(p.columns)-1]
	out := []string{plotStats(c.Theme, l, last).String()}
	if base, ok := c.against.hist("plot "+p.title, last); ok {
		l := widget.NewLine(width).Right(c.Theme.Accent, c.against.at.Format(time.TimeOnly), widget.PlotLabel-2).Skip(2)
		out = append(out, plotStats(c.Theme, l, base).String())
	}
	return out
}

// plotStats writes a distribution in numbers.
func plotStats(t theme.Theme, l *widget.Line, h *collectors.Hist) *widget.Line {
	for _, x := range []struct{ name, value string }{
		{"n", count(h)}, {"mean", mean(h)}, {"p50", quantile(h, 0.5)}, {"p99", quantile(h, 0.99)}, {"max", quantile(h, 1)},
	} {
		if l.Left() < widget.Width(x.name)+11 {
			break
		}
		l.Put(t.Dim, x.name+" ").Plain(fmt.Sprintf("%-9s ", x.value))
	}
	return l
}

// columns returns one histogram a sample, or one for each span of the zoom, for heat maps: at most n,
// the newest last; nil stands where a sample is missing. get may return nil for a sample that lacks
// this histogram.
func columns[T any](f Frame, n int, of func(*collectors.Snapshot) *T, span func(*T) collectors.Span, get func(*T) *collectors.Hist) []*collectors.Hist {
	out := make([]*collectors.Hist, 0, n)
	var next collectors.Span // of the sample after the one in hand
	owned := false           // the column in hand is a sum
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil {
			continue
		}
		v := of(s)
		if v == nil {
			continue
		}
		at := span(v)
		step := f.zoom.column
		if step > 0 && next.Seconds() > 0 {
			// Columns begin at whole steps, so that they do not change once they are past.
			skipped := int(next.To/step) - int(at.To/step)
			if skipped == 0 {
				addColumn(out, &owned, get(v))
				next = at
				continue
			}
			for k := 1; k < skipped && len(out) < n; k++ {
				out = append(out, nil)
			}
		} else if next.Seconds() > 0 && (next.From-at.To).Seconds() > next.Seconds()/2 {
			out = append(out, nil)
		}
		if len(out) >= n {
			break
		}
		out, next, owned = append(out, get(v)), at, false
	}
	out = out[:min(len(out), n)]
	slices.Reverse(out)
	return out
}

// addColumn adds a sample to the column that came last, which becomes a sum of its own: samples are
// shared.
func addColumn(out []*collectors.Hist, owned *bool, h *collectors.Hist) {
	last := &out[len(out)-1]
	if h == nil {
		return
	}
	if !*owned {
		sum := collectors.Hist{}
		if *last != nil {
			sum = **last
		}
		*last, *owned = &sum, true
	}
	(*last).Plus(h)
}
