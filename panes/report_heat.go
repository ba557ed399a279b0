// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// Bounds of the heat maps of the HTML report.
const (
	heatColumns = 60
	heatShades  = 5
)

// htmlHeatMap is time × latency: a row a bucket, the slowest on top; a column a part of the run.
type htmlHeatMap struct {
	Columns  int
	Rows     []htmlHeatRow
	Legend   []htmlHeatStep
	From, To string
	Each     string // how long a column is
}

// htmlHeatRow is a bucket: for each shade the cells that have it, and how many events there were.
type htmlHeatRow struct {
	Range, Count string
	Shades       []htmlHeatShade
}

type htmlHeatShade struct {
	Shade int // 1 to heatShades; 0: nothing was measured then
	Path  string
}

// htmlHeatStep says up to how many events a cell of a shade holds.
type htmlHeatStep struct {
	Shade int
	Most  string
}

// heatMaps draws every histogram of a pane over the time of the frame, by the histogram's ID. It asks
// the pane for the tables of parts of the time, so that it needs to know none of them.
func heatMaps(p Pane, whole Table, f Frame) map[string]*htmlHeatMap {
	seen := make(map[string]bool)
	for _, h := range reportHistograms(whole) {
		if h.Now != nil && h.Now.Count() > 0 {
			seen[h.ID] = true
		}
	}
	frames := slices60(f)
	if len(seen) == 0 || len(frames) < 2 {
		return nil
	}
	series := make(map[string][]*collectors.Hist)
	for i, part := range frames {
		for _, h := range reportHistograms(p.Table(part)) {
			if !seen[h.ID] {
				continue
			}
			if series[h.ID] == nil {
				series[h.ID] = make([]*collectors.Hist, len(frames))
			}
			series[h.ID][i] = h.Now
		}
	}
	out := make(map[string]*htmlHeatMap)
	for id, columns := range series {
		if m := heatMap(columns); m != nil {
			m.From, m.To = frames[0].At.Format("15:04:05"), f.At.Format("15:04:05")
			m.Each = (f.Now.At - frames[0].Now.At).Truncate(time.Second).String()
			if n := len(frames) - 1; n > 0 {
				m.Each = ((f.Now.At - frames[0].Now.At) / time.Duration(n)).Round(100 * time.Millisecond).String()
			}
			out[id] = m
		}
	}
	return out
}

// reportHistograms are those of a table and of the tables behind it.
func reportHistograms(t Table) []Histogram {
	out := t.Histograms
	for _, more := range t.More {
		out = append(out[:len(out):len(out)], more.Histograms...)
	}
	return out
}

// slices60 divides the span of a frame into at most heatColumns frames. Together they hold each of its
// moments once.
func slices60(f Frame) []Frame {
	first := 0
	for first < len(f.Past) && f.Span > 0 && f.Past[first].At <= f.Now.At-f.Span && f.Span < f.Now.At {
		first++
	}
	moments := f.Past[first:]
	if len(moments) < 2 || f.Span == 0 {
		return nil
	}
	n := min(heatColumns, len(moments))
	begin := moments[0].At
	width := (f.Now.At-begin)/time.Duration(n) + 1
	var out []Frame
	last := begin - 1
	for i, m := range moments {
		if m.Snapshot == nil || i+1 < len(moments) && (moments[i+1].At-begin)/width == (m.At-begin)/width {
			continue
		}
		part := f
		part.Now, part.Past, part.At, part.Span = m, f.Past[:first+i+1], m.Taken, m.At-last
		part.Verdict, part.Mark = nil, (*triage.Moment)(nil)
		out = append(out, part)
		last = m.At
	}
	return out
}

// heatMap draws columns; nil is one without a measurement.
func heatMap(columns []*collectors.Hist) *htmlHeatMap {
	lo, hi, most := collectors.HistSlots, -1, uint64(0)
	for _, h := range columns {
		if h == nil {
			continue
		}
		for slot, n := range h.Slots {
			if n > 0 {
				lo, hi, most = min(lo, slot), max(hi, slot), max(most, n)
			}
		}
	}
	if hi < 0 {
		return nil
	}
	m := &htmlHeatMap{Columns: len(columns)}
	for s := 1; s <= heatShades; s++ {
		m.Legend = append(m.Legend, htmlHeatStep{s, widget.Count(heatMost(s, most))})
	}
	for slot := hi; slot >= lo; slot-- {
		var paths [heatShades + 1]strings.Builder
		var total uint64
		for i, h := range columns {
			shade := 0
			if h != nil {
				n := h.Slots[slot]
				if n == 0 {
					continue
				}
				total += n
				shade = heatShade(n, most)
			}
			paths[shade].WriteString("M" + strconv.Itoa(i) + " 0h1v1h-1z")
		}
		row := htmlHeatRow{Range: widget.Range(collectors.SlotBucket(slot)), Count: strconv.FormatUint(total, 10)}
		for shade := range paths {
			if paths[shade].Len() > 0 {
				row.Shades = append(row.Shades, htmlHeatShade{shade, paths[shade].String()})
			}
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

// heatMost is the most events that a cell of a shade holds, on a log scale: the few slow ones matter.
func heatMost(shade int, most uint64) uint64 {
	if shade == heatShades {
		return most
	}
	return uint64(math.Expm1(math.Log1p(float64(most)) * float64(shade) / heatShades))
}

// heatShade is the shade of n events, 1 to heatShades.
func heatShade(n, most uint64) int {
	for s := 1; s < heatShades; s++ {
		if n <= heatMost(s, most) {
			return s
		}
	}
	return heatShades
}
