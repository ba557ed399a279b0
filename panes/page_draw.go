// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// pageDraw is how a page draws its distributions: all that fit side by side, or one alone.
type pageDraw struct {
	how drawing
	one int // which one alone, from 1 on; 0: side by side

	whole bool // histograms are of all that the history has, not of the last interval
}

// keyPagePart chooses among the distributions of a page.
const keyPagePart = "page.distribution"

// keys are those of a page that draws distributions.
func (d *pageDraw) keys() []keymap.Key {
	words := "one alone"
	if d.one > 0 {
		words = "the next"
	}
	return append([]keymap.Key{drawKey(d.how), pageKey(keyPagePart, words)}, zoomKeys()...)
}

// press does what a key says on a page of n distributions; false if it is another's.
func (d *pageDraw) press(id string, n int) bool {
	switch id {
	case keyDraw:
		d.how = (d.how + 1) % drawings
	case keyPagePart:
		d.one = (d.one + 1) % (n + 1)
	default:
		return false
	}
	return true
}

// Least widths of a distribution beside others.
const (
	leastPanelWidth = 26
	leastPlotWidth  = 39
)

// shown are the distributions that there is room for.
func (d *pageDraw) shown(parts []distribution, width int) []distribution {
	if d.one > 0 && len(parts) > 0 {
		at := min(d.one, len(parts)) - 1
		return parts[at : at+1]
	}
	fits := width / leastPlotWidth
	if d.how == asHistogram {
		fits = max(fits, min(width/leastPanelWidth, 3))
	}
	return parts[:min(len(parts), max(fits, 1))]
}

// draw shows the distributions in at most height lines. The keys of a comparison are their titles.
func (d *pageDraw) draw(c Canvas, parts []distribution, height int) []string {
	const leastHeight = 3
	if height < leastHeight || len(parts) == 0 {
		return nil
	}
	if d.how == asHistogram && d.one == 0 && c.Width < 60 {
		return distributionLines(c, parts)[:min(len(parts), height)]
	}
	parts = d.shown(parts, c.Width)
	known := false
	for _, p := range parts {
		known = known || p.Now != nil
	}
	first, span := parts[0], "last interval"
	if d.whole {
		span = "all in sight"
	}
	switch {
	case !known:
		lines := append([]string{widget.Title(c.Theme, c.Width, titlesOf(parts)...)}, wrap(c, "", first.Why)...)
		return lines[:min(len(lines), height)]
	case d.how != asHistogram:
		return d.plots(c, parts, height)
	case d.one > 0:
		return append([]string{widget.Title(c.Theme, c.Width, first.Title, span)}, withStats(c, first.Histogram, c.Width, height-1)...)
	}
	hists := make([]Histogram, len(parts))
	for i, p := range parts {
		hists[i] = p.Histogram
		if d.whole {
			hists[i].Title += ", " + span
		}
	}
	return sideBySide(c, hists, height)
}

// plots draws distributions over time beside each other.
func (d *pageDraw) plots(c Canvas, parts []distribution, height int) []string {
	const gap = 2
	var lines []string
	width := (c.Width - gap*(len(parts)-1)) / len(parts)
	for i, p := range parts {
		part, at := c, i*(width+gap)
		part.Width = width
		if i == len(parts)-1 {
			part.Width = c.Width - at
		}
		head := []string{p.Title, c.columnIs()}
		if d.how == asPercentiles {
			head = []string{p.Title, widget.PercentilesKey, c.columnIs()}
		}
		block := []string{widget.Title(c.Theme, part.Width, head...)}
		if p.Now == nil {
			block = append(block, wrap(part, "- ", p.Why)...)
		} else {
			block = append(block, drawPlot(part, plot{p.Title, p.over(2 * widget.PlotColumns(part.Width))}, d.how, part.Width, height-1)...)
		}
		if block = pad(block, height)[:height]; lines == nil {
			lines = block
			continue
		}
		lines = widget.Join(lines, at-gap, block, gap)
	}
	return lines
}

// titlesOf are the names of distributions.
func titlesOf(parts []distribution) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.Title
	}
	return out
}

// distributionLines are distributions in numbers, for a narrow screen.
func distributionLines(c Canvas, parts []distribution) []string {
	var lines []string
	for _, p := range parts {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, widget.Clip(p.Title, 15)+" ").To(17)
		if p.Now == nil {
			l.Plain("- " + p.Why)
		} else {
			l.Plain("n " + count(p.Now)).To(26).Plain("p50 " + quantile(p.Now, 0.5))
		}
		lines = append(lines, l.String())
	}
	return lines
}

// targetDistributions are those of a process or a cgroup: how long it waits for a CPU, runs and sleeps, how
// long its requests take, and the call that is named.
func targetDistributions(f Frame, t collectors.Target, call string) []distribution {
	return append(append(latencyDistributions(f, t), blockDistributions(f, t)...), callDistribution(f, t, call))
}

// latencyDistributions are how long a target waits for a CPU, runs, and sleeps.
func latencyDistributions(f Frame, t collectors.Target) []distribution {
	get := []func(*collectors.OffCounts) *collectors.Hist{
		func(c *collectors.OffCounts) *collectors.Hist { return &c.Wait },
		func(c *collectors.OffCounts) *collectors.Hist { return &c.OnCPU },
		slept,
	}
	hists := latencyHistograms(f, t)
	if hists == nil {
		why := unrecorded(f, collectors.LatencyID, "runqlat-pid", t)
		hists = []Histogram{{Title: "waits for a CPU", Why: why}, {Title: "runs", Why: why}, {Title: "sleeps", Why: why}}
	}
	out := make([]distribution, len(hists))
	for i, h := range hists {
		out[i] = distribution{h, func(n int) []*collectors.Hist {
			return columns(f, n, latencySample, func(l *collectors.Latency) collectors.Span { return l.Span }, func(l *collectors.Latency) *collectors.Hist {
				if x := narrowedOf(l.Narrowed, t); x != nil {
					return get[i](&x.Sample.OffCounts)
				}
				return nil
			})
		}}
	}
	return out
}

func latencySample(s *collectors.Snapshot) *collectors.Latency { return s.Latency }

// blockDistributions are how long a target's requests take: reads and writes on the device, and all of them
// before in the queue.
func blockDistributions(f Frame, t collectors.Target) []distribution {
	every := func(b *collectors.BlockTarget) *collectors.Hist {
		var sum collectors.Hist
		for op := range b.Queued {
			h := b.Queued[op].Hist()
			sum.Plus(&h)
		}
		return &sum
	}
	device := func(op int) func(*collectors.BlockTarget) *collectors.Hist {
		return func(b *collectors.BlockTarget) *collectors.Hist { h := b.Device[op].Hist(); return &h }
	}
	list, _ := narrowedOver(within(f, blockOf), t)
	var out []distribution
	for _, x := range []struct {
		id, title string
		get       func(*collectors.BlockTarget) *collectors.Hist
	}{
		{"biolatency.reads", "reads on the device", device(0)},
		{"biolatency.writes", "writes on the device", device(1)},
		{"biolatency.queued", "I/O in the queue", every},
	} {
		h := Histogram{ID: x.id, Title: x.title}
		if len(list) == 0 {
			h.Why = unrecorded(f, collectors.BlockID, "biolatency", t)
		} else {
			h.Now = &collectors.Hist{}
			for _, one := range list {
				h.Now.Plus(x.get(&one.Sample))
			}
		}
		out = append(out, distribution{h, func(n int) []*collectors.Hist {
			return columns(f, n, blockOf, blockSpan, func(b *collectors.Block) *collectors.Hist {
				if one := narrowedOf(b.Narrowed, t); one != nil {
					return x.get(&one.Sample)
				}
				return nil
			})
		}})
	}
	return out
}
