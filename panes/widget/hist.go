// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/theme"
)

// Series is one histogram among those that share an axis.
type Series struct {
	Title string
	Hist  *collectors.Hist // nil: no data
}

// histLabel is the width of "    16384 -> 32767"; longer edges take some of the count's room.
const histLabel = 19

// shortLabel is the width of "16-33ms", for columns that are narrow.
const shortLabel = 9

// leastSeries is the least width of one series: its counts and some bar.
const leastSeries = 14

// Fits is how many series stand side by side in width cells.
func Fits(width int) int { return max((width-shortLabel)/leastSeries, 1) }

// Histogram draws series over one axis in at most height lines of at most width cells, the bucket
// of the shortest times first. What does not fit is gathered in rows of dots, with the sum of what
// they hide, where there is least to see.
//
// Buckets below floor are gathered as well, and the bars are of one scale above it.
func Histogram(t theme.Theme, series []Series, width, height, floor int) []string {
	if height < 2 || len(series) == 0 {
		return nil
	}
	series = series[:min(len(series), Fits(width))]
	wide := len(series) == 1 && width >= 52
	label := shortLabel
	if wide {
		label = histLabel
	}
	each := (width - label) / len(series)

	head := NewLine(width)
	if wide {
		head.Right(t.Dim, "usecs", 12)
	}
	for i, s := range series {
		end := label + i*each
		head.Right(t.Dim, Clip(s.Title, each-1), end+min(9, each))
	}
	rows := histRows(series, height-1, floor)
	out := make([]string, 0, len(rows)+1)
	out = append(out, head.String())
	var most uint64
	for _, r := range rows {
		for _, c := range r.counts {
			if r.from == r.to {
				most = max(most, c)
			}
		}
	}
	for _, r := range rows {
		out = append(out, histLine(t, r, most, width, label, each, wide))
	}
	return out
}

// Hidden is how many events Histogram gathers in rows of dots.
func Hidden(series []Series, height, floor int) (n uint64) {
	for _, r := range histRows(series, height-1, floor) {
		if r.from != r.to {
			n += r.weight
		}
	}
	return n
}

func histLine(t theme.Theme, r histRow, most uint64, width, label, each int, wide bool) string {
	l := NewLine(width)
	b := collectors.SlotBucket(r.from)
	switch {
	case r.from != r.to:
		dots := label
		if wide {
			dots = 12
		}
		l.Right(t.Dim, "...", dots)
	case wide && r.from == collectors.HistSlots-1:
		l.Right(theme.Style{}, strconv.FormatUint(b.Lo, 10), 9).Put(t.Dim, " -> more")
	case wide:
		l.Right(theme.Style{}, strconv.FormatUint(b.Lo, 10), 9).Put(t.Dim, " -> ").Plain(strconv.FormatUint(b.Hi, 10))
	default:
		l.Right(t.Dim, Range(b), label)
	}
	for i, c := range r.counts {
		start := label + i*each
		if r.from != r.to && c == 0 {
			continue
		}
		n := Count(c)
		l.To(min(start+min(9, each)-Width(n), l.Width()+1)).Right(theme.Style{}, n, start+min(9, each))
		if r.from == r.to {
			l.Skip(1).Put(t.Accent, Bar(float64(c), float64(most), each-11))
		}
	}
	return l.String()
}

// histRow is one line: a bucket, or the buckets from–to that it stands for.
type histRow struct {
	from, to int
	counts   []uint64
	weight   uint64
}

// histRows returns at most height rows from the first bucket to the last that holds an event.
func histRows(series []Series, height, floor int) []histRow {
	var rows []histRow
	last := 0
	for i := range collectors.HistSlots {
		r := histRow{from: i, to: i, counts: make([]uint64, len(series))}
		for k, s := range series {
			if s.Hist != nil {
				r.counts[k] = s.Hist.Slots[i]
				r.weight += r.counts[k]
			}
		}
		if r.weight > 0 {
			last = i
		}
		rows = append(rows, r)
	}
	rows = rows[:last+1]
	first := 0
	for first < last && rows[first].weight == 0 {
		first++
	}
	if first > 2 { // nothing that short: the axis begins where the events do
		rows = rows[first:]
	}
	if low := slices.IndexFunc(rows, func(r histRow) bool { return r.from >= floor }); low > 1 {
		rows = append([]histRow{merged(rows[:low])}, rows[low:]...)
	}
	rows = gather(rows, func(from, to int) bool { return to-from >= 2 && weigh(rows[from:to]) == 0 })
	if hide := len(rows) - height; hide > 0 && height >= 3 {
		rows = gatherLightest(rows, hide+1)
	}
	return rows[:min(len(rows), max(height, 0))]
}

// gather replaces each longest run of rows that ok accepts by one row.
func gather(rows []histRow, ok func(from, to int) bool) []histRow {
	var out []histRow
	for i := 0; i < len(rows); {
		j := i
		for j < len(rows) && rows[j].weight == 0 {
			j++
		}
		if i > 0 && j < len(rows) && ok(i, j) {
			out = append(out, merged(rows[i:j]))
			i = j
			continue
		}
		out = append(out, rows[i])
		i++
	}
	return out
}

// gatherLightest replaces the n neighbouring inner rows that hold the fewest events by one.
func gatherLightest(rows []histRow, n int) []histRow {
	if n > len(rows)-2 {
		n = len(rows) - 2
	}
	best, least := 1, uint64(math.MaxUint64)
	for i := 1; i+n <= len(rows)-1; i++ {
		if w := weigh(rows[i : i+n]); w < least {
			best, least = i, w
		}
	}
	out := append([]histRow{}, rows[:best]...)
	out = append(out, merged(rows[best:best+n]))
	return append(out, rows[best+n:]...)
}

func merged(rows []histRow) histRow {
	m := histRow{from: rows[0].from, to: rows[len(rows)-1].to, counts: make([]uint64, len(rows[0].counts))}
	for _, r := range rows {
		m.weight += r.weight
		for i, c := range r.counts {
			m.counts[i] += c
		}
	}
	return m
}

func weigh(rows []histRow) uint64 {
	var n uint64
	for _, r := range rows {
		n += r.weight
	}
	return n
}

// axis is the range of buckets that any of the columns uses, at most height of them, the longest
// times kept, from floor up.
func axis(columns []*collectors.Hist, height, floor int) (lo, hi int) {
	lo, hi = collectors.HistSlots, -1
	for _, h := range columns {
		if h == nil {
			continue
		}
		for i, c := range h.Slots {
			if c > 0 {
				lo, hi = min(lo, i), max(hi, i)
			}
		}
	}
	if hi < 0 {
		return 0, min(height, 6) - 1
	}
	if floor > lo {
		lo = min(floor, hi)
	}
	for hi-lo+1 < min(height, 6) && hi < collectors.HistSlots-1 { // a steady axis for a quiet host
		hi++
	}
	for hi-lo+1 < min(height, 6) && lo > floor {
		lo--
	}
	// Where there is room the axis ends at every fourth bucket, so that it seldom changes: when it
	// does, every cell of the drawing moves.
	if top := min(hi|3, collectors.HistSlots-1); top-lo < height {
		hi = top
	}
	return max(lo, hi-height+1), hi
}

// scale is the count that is drawn as full: a power of two, so that the shades of what has been
// drawn seldom change.
func scale(columns []*collectors.Hist) uint64 {
	var most uint64
	for _, h := range columns {
		if h != nil {
			most = max(most, slices.Max(h.Slots[:]))
		}
	}
	if most == 0 {
		return 0
	}
	return 1<<bits.Len64(most) - 1
}

// shade is how strongly n of most is drawn, 0 to 4, on a log scale: the few slow ones matter.
func shade(n, most uint64) int {
	if n == 0 {
		return 0
	}
	return min(1+int(4*math.Log1p(float64(n))/math.Log1p(float64(most)+1)), 4)
}

const shades = "░▒▓█"

// PlotLabel is what the labels of a plot take: the width of "128-255µs │".
const PlotLabel = shortLabel + 2

// PlotColumns is how many samples a heat map or a plot of width cells shows.
func PlotColumns(width int) int { return max(width-PlotLabel, 0) }

// HeatMap draws one column a histogram, oldest first, in at most height lines; latency goes up,
// the count is the shade. A nil histogram is a sample that is missing and shows as a dot.
//
// Buckets below floor are gathered in the lowest row.
func HeatMap(t theme.Theme, columns []*collectors.Hist, width, height, floor int) []string {
	lo, hi := axis(columns, height, floor) // of all columns: one that leaves the screen changes nothing
	most := scale(columns)
	columns = columns[max(len(columns)-PlotColumns(width), 0):]
	var out []string
	for slot := hi; slot >= lo && len(out) < height; slot-- {
		cells := make([]int, len(columns))
		for i, h := range columns {
			cells[i] = -1
			if h != nil {
				n := h.Slots[slot]
				if slot == lo { // what is below the axis is not hidden, it is in its lowest row
					for _, c := range h.Slots[:lo] {
						n += c
					}
				}
				cells[i] = shade(n, max(most, n))
			}
		}
		out = append(out, plotLine(t, slot, slot == lo && lo > 0, width, len(columns), func(i int) (theme.Style, string) {
			switch c := cells[i]; c {
			case -1:
				return t.Dim, "·"
			case 0:
				return theme.Style{}, " "
			default:
				return t.Heat[c-1], glyph(shades, c-1)
			}
		}))
	}
	return out
}

// Percentiles draws p50, p90, p99 and max of one histogram a column, on the axis of the heat map.
// A column with fewer than least events has no p99.
// What lies below floor is in the lowest row.
func Percentiles(t theme.Theme, columns []*collectors.Hist, width, height, floor int, least uint64) []string {
	lo, hi := axis(columns, height, floor)
	columns = columns[max(len(columns)-PlotColumns(width), 0):]
	type marks [4]int // slot of p50, p90, p99, max; -1 where there is none
	at := make([]marks, len(columns))
	for i, h := range columns {
		at[i] = marks{-1, -1, -1, -1}
		if h == nil {
			continue
		}
		for k, q := range []float64{0.5, 0.9, 0.99, 1} {
			if k == 2 && h.Count() < least {
				continue
			}
			if b, ok := h.Quantile(q); ok {
				at[i][k] = max(slotOf(b), lo)
			}
		}
	}
	var out []string
	for slot := hi; slot >= lo && len(out) < height; slot-- {
		out = append(out, plotLine(t, slot, slot == lo && lo > 0, width, len(columns), func(i int) (theme.Style, string) {
			switch m := at[i]; {
			case columns[i] == nil && slot == lo:
				return t.Dim, "·"
			case m[2] == slot:
				return t.Title, "◆"
			case m[3] == slot:
				return t.Accent, "▲"
			case m[1] == slot:
				return t.Accent, "9"
			case m[0] == slot:
				return t.Dim, "5"
			}
			return theme.Style{}, " "
		}))
	}
	return out
}

// PercentilesKey explains the marks of Percentiles.
const PercentilesKey = "5 p50  9 p90  ◆ p99  ▲ max"

func slotOf(b collectors.Bucket) int { return collectors.Slot(b.Lo * 1000) }

// plotLine draws one row of a plot; neighbours of one style share a sequence. open says that the
// row also holds everything below its bucket.
func plotLine(t theme.Theme, slot int, open bool, width, n int, cell func(i int) (theme.Style, string)) string {
	label := Range(collectors.SlotBucket(slot))
	if open {
		label = "≤" + label[strings.IndexByte(label, '-')+1:]
	}
	l := NewLine(width).Right(t.Dim, label, shortLabel).Put(t.Dim, " │")
	l.Skip(PlotColumns(width) - n) // the present is at the right, as in a sparkline
	var run strings.Builder
	for i := 0; i < n; {
		style, text := cell(i)
		if text == " " {
			l.Skip(1)
			i++
			continue
		}
		run.Reset()
		run.WriteString(style.On())
		run.WriteString(text)
		first := i
		for i++; i < n; i++ {
			s, more := cell(i)
			if s != style || more == " " {
				break
			}
			run.WriteString(more)
		}
		run.WriteString(style.Off())
		l.Raw(run.String(), i-first) // every mark of a plot is one cell
	}
	return l.String()
}
