// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// histograms draws series over one axis, each beside itself at the baseline where there is one. The
// keys of the comparison are their titles.
func histograms(c Canvas, series []widget.Series, width, height int) []string {
	series = c.withBaseline(series)
	return widget.Histogram(c.Theme, series, width, height, c.floorOf(series))
}

// floorOf is the lowest bucket that is shown of series.
func (c Canvas) floorOf(series []widget.Series) int {
	var hists []*collectors.Hist
	for _, s := range series {
		hists = append(hists, s.Hist)
	}
	return c.zoom.floor(hists)
}

// withBaseline puts behind each series what it was.
func (c Canvas) withBaseline(series []widget.Series) []widget.Series {
	if c.against == nil {
		return series
	}
	var out []widget.Series
	for _, s := range series {
		out = append(out, s)
		if base, ok := c.against.hist("series "+s.Title, s.Hist); ok {
			out = append(out, widget.Series{Title: "then", Hist: base})
		}
	}
	return out
}

// withStats draws a histogram and its numbers side by side: now and since start, or now and at the
// baseline.
func withStats(c Canvas, h Histogram, width, height int) []string {
	t := c.Theme
	if base, ok := c.against.hist(h.ID+" "+h.Title, h.Now); ok {
		return besideBaseline(c, h, base, width, height)
	}
	series := []widget.Series{{Title: "count", Hist: h.Now}}
	floor := c.floorOf(series)
	if width < 60 {
		lines := []string{
			widget.NewLine(width).Skip(1).Put(t.Dim, "n ").Plain(count(h.Now)+h.Badge).Put(t.Dim, "  mean ").Plain(mean(h.Now)).
				Put(t.Dim, "  p50 ").Plain(quantile(h.Now, 0.5)).String(),
			widget.NewLine(width).Skip(1).Put(t.Dim, "p99 ").Plain(quantile(h.Now, 0.99)).
				Put(t.Dim, "  max ").Plain(quantile(h.Now, 1)).String(),
		}
		return append(lines, widget.Histogram(t, series, width, height-2, floor)...)
	}
	left := widget.Histogram(t, series, width-statsWidth-2, height, floor)
	if floor == 0 && 2*widget.Hidden(series, height, floor) > h.Now.Count() { // better coarse than dots for most of it
		left = coarseHistogram(c, series, width-statsWidth-2, height)
	}
	return widget.Join(left, width-statsWidth-2, stats(t, h), 2)
}

// besideBaseline draws a histogram now and at the baseline: bars of one scale, and both numbers.
func besideBaseline(c Canvas, h Histogram, base *collectors.Hist, width, height int) []string {
	at := c.against.at.Format(time.TimeOnly)
	series := []widget.Series{{Title: "now", Hist: h.Now}, {Title: at, Hist: base}}
	rows := statsRows(c.Theme, at, h.Now, base, h.Badge)
	if width < 60 {
		short := []string{rows[0], rows[1], rows[3], rows[5], rows[6]} // n, p50, p99, max
		if room := height - len(short); room >= 4 {
			return append(short, widget.Histogram(c.Theme, series, width, room, c.floorOf(series))...)
		}
		return short[:min(len(short), max(height, 0))]
	}
	left := widget.Histogram(c.Theme, series, width-statsWidth-2, height, c.floorOf(series))
	return widget.Join(left, width-statsWidth-2, rows[:min(len(rows), max(height, 0))], 2)
}

// stats is the block beside a histogram: now, and since start or what the histogram says.
func stats(t theme.Theme, h Histogram) []string {
	return statsRows(t, cmp.Or(h.Since, "start"), h.Now, h.Start, h.Badge)
}

const statsWidth = 24

// statsRows are two distributions in numbers: count, mean, p50, p90, p99, max.
func statsRows(t theme.Theme, title string, now, other *collectors.Hist, badge string) []string {
	row := func(style theme.Style, name, a, b string) string {
		return widget.NewLine(statsWidth).Put(t.Dim, name).Right(style, a, 14).Right(style, b, statsWidth).String()
	}
	return []string{
		row(t.Dim, "", "now", title),
		row(theme.Style{}, "n", count(now)+badge, count(other)),
		row(theme.Style{}, "mean", mean(now), mean(other)),
		row(theme.Style{}, "p50", quantile(now, 0.5), quantile(other, 0.5)),
		row(theme.Style{}, "p90", quantile(now, 0.9), quantile(other, 0.9)),
		row(theme.Style{}, "p99", quantile(now, 0.99), quantile(other, 0.99)),
		row(theme.Style{}, "max", quantile(now, 1), quantile(other, 1)),
	}
}
