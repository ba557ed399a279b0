// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// pageNumber is one line of the page: a column of the table over time.
type pageNumber struct {
	id   string
	rank int                                                      // on a low screen those of higher rank leave first
	of   func(r *collectors.TaskRow, seconds float64) (v float64) // of a sample; nil: not drawn over time
	hold bool                                                     // a gauge: it stays where there is no row
}

func pageNumbers(page uint64) []pageNumber {
	type R = collectors.TaskRow
	kb := func(n uint64, s float64) float64 { return float64(n) / 1024 / s }
	more := func(r *R) collectors.TaskMore {
		if r.More == nil {
			return collectors.TaskMore{}
		}
		return *r.More
	}
	return []pageNumber{
		{"%CPU", 0, func(r *R, s float64) float64 { return 100 * r.Run.Seconds() / s }, false},
		{"%usr", 3, func(r *R, s float64) float64 {
			return 100 * (r.Run - min(r.Sys.Duration()+more(r).Guest.Duration(), r.Run)).Seconds() / s
		}, false},
		{"%sys", 3, func(r *R, s float64) float64 { return 100 * r.Sys.Duration().Seconds() / s }, false},
		{"%wait", 1, func(r *R, s float64) float64 { return 100 * r.LeadWait.Duration().Seconds() / s }, false},
		{"%waitall", 4, func(r *R, s float64) float64 { return 100 * r.Wait.Seconds() / s }, false},
		{"RSS", 0, func(r *R, _ float64) float64 { return float64(uint64(r.RSS)*page) / 1024 }, true},
		{"swap", 6, nil, true},
		{"VSZ", 7, nil, true},
		{"minflt/s", 5, func(r *R, s float64) float64 { return float64(r.MinFlt) / s }, false},
		{"majflt/s", 2, func(r *R, s float64) float64 { return float64(more(r).MajFlt) / s }, false},
		{"kB_rd/s", 1, func(r *R, s float64) float64 { return kb(more(r).Read, s) }, false},
		{"kB_wr/s", 1, func(r *R, s float64) float64 { return kb(more(r).Write, s) }, false},
		{"cswch/s", 2, func(r *R, s float64) float64 { vol, _ := leaderSwitches(r); return float64(vol) / s }, false},
		{"nvcswch/s", 2, func(r *R, s float64) float64 { _, invol := leaderSwitches(r); return float64(invol) / s }, false},
		{"iodelay", 6, nil, false},
	}
}

// numbers draws the numbers with their history, two a line.
func (p *processPage) numbers(f Frame, c Canvas, set *processes, x *process) []string {
	list := pageNumbers(pageBytes(f))
	columns := 2
	if c.Width < 60 {
		columns = 1
	}
	room := max((c.Height-6)/8, 2) * columns
	for rank := 9; rank > 0 && len(list) > room; rank-- {
		for i := len(list) - 1; i >= 0 && len(list) > room; i-- {
			if list[i].rank == rank {
				list = slices.Delete(list, i, i+1)
			}
		}
	}
	cols := processColumns(hostMemory(f))
	rows := p.rows(f)
	width := (c.Width - 2*(columns-1)) / columns
	var blocks []string
	for _, n := range list {
		i := slices.IndexFunc(cols, func(c processColumn) bool { return c.ID == n.id })
		if i < 0 {
			continue
		}
		l := widget.NewLine(width).Skip(1).Put(c.Theme.Dim, n.id)
		l.Right(c.Theme.Title, cols[i].cell(x, set.Span).fit(cols[i].Column), 20)
		if n.of != nil && width > 32 {
			values := rowSeries(rows, n)
			top := most(values)
			if cols[i].Unit == "%" {
				top = max(top, 100)
			}
			l.To(22).Put(c.Theme.Accent, widget.Spark(values, width-23, 0, top))
		}
		blocks = append(blocks, l.String())
	}
	half := (len(blocks) + columns - 1) / columns
	if columns == 1 || half == 0 {
		return blocks
	}
	return widget.Join(blocks[:half], width, blocks[half:], 2)
}

// sampleRow is the process in one sample; row is nil where it did nothing, or nobody knows.
type sampleRow struct {
	seconds float64
	row     *collectors.TaskRow
	unknown bool // its rows were given up
}

// rows are the samples of the last minutes, oldest first, none from before the process began.
func (p *processPage) rows(f Frame) []sampleRow {
	const most = 120
	var out []sampleRow
	began := time.Duration(-1 << 62)
	if h := newest(f, hostOf); h != nil {
		began = f.Now.At - max(h.Uptime-time.Duration(p.info.Start), 0)
	}
	for i := len(f.Past) - 1; i >= 0 && len(out) < most; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil || s.Tasks.Seconds() == 0 {
			continue
		}
		if s.Tasks.To < began {
			break
		}
		r := sampleRow{seconds: s.Tasks.Seconds(), unknown: s.Thin()}
		for k := range s.Tasks.Rows {
			if x := &s.Tasks.Rows[k]; x.ProcInfo != nil && x.Process == p.info.Process {
				r.row = x
				break
			}
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out
}

// rowSeries is one number over the samples.
func rowSeries(rows []sampleRow, n pageNumber) []float64 {
	out := make([]float64, len(rows))
	held := 0.0
	for i, r := range rows {
		switch {
		case r.row != nil:
			held = n.of(r.row, r.seconds)
			out[i] = held
		case r.unknown:
			out[i] = math.NaN()
		case n.hold:
			out[i] = held
		}
	}
	return out
}

// numberLine is the numbers on one line, for a low screen.
func (p *processPage) numberLine(c Canvas, set *processes, x *process) string {
	cols := processColumns(hostMemory(Frame{}))
	l := widget.NewLine(c.Width).Skip(1)
	for _, n := range []struct{ id, title string }{
		{"%CPU", "%CPU"},
		{"%usr", "%usr"},
		{"%sys", "%sys"},
		{"%wait", "%wait"},
		{"RSS", "RSS"},
		{"kB_rd/s", "rd kB/s"},
		{"kB_wr/s", "wr kB/s"},
		{"cswch/s", "cswch/s"},
		{"majflt/s", "majflt/s"},
	} {
		i := slices.IndexFunc(cols, func(c processColumn) bool { return c.ID == n.id })
		if i < 0 {
			continue
		}
		text := n.title + " " + cols[i].cell(x, set.Span).fit(cols[i].Column)
		if l.Left() < widget.Width(text)+2 {
			break
		}
		l.Put(c.Theme.Dim, n.title+" ").Plain(text[len(n.title)+1:]).Skip(2)
	}
	return strings.TrimRight(l.String(), " ")
}
