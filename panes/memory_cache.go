// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func cachestatOf(s *collectors.Snapshot) *collectors.Cachestat { return s.Cachestat }

// cachestatOver is the page cache over the frame. Nil without a sample.
func cachestatOver(f Frame) *collectors.Cachestat {
	samples := within(f, cachestatOf)
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	sum.Span, sum.Host, sum.Rows, sum.Others = collectors.Span{}, collectors.PageCounts{}, nil, collectors.PageUser{}
	at := map[collectors.Process]int{}
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		sum.Host.Plus(&s.Host)
		sum.Others.Plus(&s.Others.PageCounts)
		for _, r := range s.Rows {
			i, ok := at[r.Process]
			if !ok {
				at[r.Process] = len(sum.Rows)
				sum.Rows = append(sum.Rows, r)
				continue
			}
			sum.Rows[i].Plus(&r.PageCounts)
		}
	}
	return &sum
}

// bestEffort marks a number of the page cache that readahead makes doubtful.
const bestEffort = "be"

func badged(c Cell, badge string) Cell {
	if c.Known() {
		c.Badge = badge
	}
	return c
}

// pageCells are hits, misses and what else is known, per second, as pagesTable has the columns.
func pageCells(c *collectors.PageCounts, s *collectors.Cachestat) []Cell {
	rate := func(n uint64) Cell { return perSecond(n, s.Span) }
	ratio := Missing("nothing was asked for")
	if r, ok := c.HitRatio(); ok {
		ratio = Number(100 * r)
	}
	hits, asked := rate(c.Hits()), rate(c.Asked)
	if s.Hook == "" {
		const why = "this kernel has no hook on accesses that we may use"
		hits, asked, ratio = Missing(why), Missing(why), Missing(why)
	}
	dirtied := rate(c.Dirtied)
	if !s.KnowsDirtied {
		dirtied = Missing("this kernel has no hook on pages made dirty that we may use")
	}
	faults := rate(c.Faults)
	if !s.KnowsFaults {
		faults = Missing("page faults are not told from reads here")
	}
	return []Cell{hits, rate(c.Misses()), badged(ratio, bestEffort), asked, rate(c.Added), rate(c.Ahead()), dirtied, faults}
}

// pagesTable is cachestat by process.
func pagesTable(f Frame) Table {
	t := Table{Title: "page cache", Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "HITS", Title: "HITS/s", Unit: "pages/s", Width: 8},
		{ID: "MISSES", Title: "MISSES/s", Unit: "pages/s", Width: 8},
		{ID: "HITRATIO", Title: "RATIO%", Unit: "%", Width: 7, Decimals: 1},
		{ID: "ASKED", Title: "ASKED/s", Unit: "pages/s", Width: 8, Rank: 3},
		{ID: "ADDED", Title: "ADDED/s", Unit: "pages/s", Width: 8, Rank: 3},
		{ID: "AHEAD", Title: "AHEAD/s", Unit: "pages/s", Width: 8, Rank: 2},
		{ID: "DIRTIES", Title: "DIRTIES/s", Unit: "pages/s", Width: 9, Rank: 1},
		{ID: "FAULTS", Title: "FAULTS/s", Unit: "pages/s", Width: 8, Rank: 4},
		{ID: "COMM", Title: "COMM", Width: 14, Left: true},
	}}
	s := cachestatOver(f.rowed())
	if s == nil {
		why, remedy := whyNot(f, collectors.CachestatID, "cachestat")
		t.Notes = append(t.Notes, note("cachestat", why, remedy))
		return t
	}
	for i := range s.Rows {
		r := &s.Rows[i]
		id := "pages " + strconv.Itoa(int(r.TGID)) + " " + strconv.FormatUint(r.Start, 10)
		cells := append([]Cell{Number(float64(r.TGID))}, pageCells(&r.PageCounts, s)...)
		t.Rows = append(t.Rows, Row{ID: id, Target: aboutProcess(r.Process, r.Comm), Cells: append(cells, Name(collectors.Clean(r.Comm)))})
	}
	rowsNote(f, &t)
	if n := s.Others.Asked + s.Others.Added; n > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d pages of other processes", n))
	}
	if s.Rows == nil && pagesMoved(s.Host) > 0 && len(t.Notes) == 0 {
		t.Notes = append(t.Notes, "cachestat: the rows of this time are no longer kept")
	}
	missedNote(f, &t, collectors.CachestatID, "cachestat")
	return t
}

func pagesMoved(c collectors.PageCounts) uint64 { return c.Asked + c.Added + c.Dirtied }

// pagesFacts are the host's numbers by bcc's names.
func pagesFacts(f Frame) []Fact {
	s := cachestatOver(f)
	if s == nil {
		return nil
	}
	cells := pageCells(&s.Host, s)
	facts := []Fact{
		{ID: "hits/s", Title: "pages asked for and there", Unit: "/s"},
		{ID: "misses/s", Title: "pages read for who asks, or ahead", Unit: "/s"},
		{ID: "hitratio", Title: "hits of the pages asked for", Unit: "%", Decimals: 1},
		{ID: "asked/s", Title: "pages that reads and faults asked for", Unit: "/s"},
		{ID: "added/s", Title: "pages brought into the cache", Unit: "/s"},
		{ID: "ahead/s", Title: "brought in and not asked for yet", Unit: "/s"},
		{ID: "dirties/s", Title: "pages made dirty", Unit: "/s"},
		{ID: "fault pages/s", Title: "pages that faults asked for", Unit: "/s"},
	}
	for i := range facts {
		facts[i].Cell = cells[i]
	}
	return facts
}

// pagesLines are the host's numbers on two lines.
func pagesLines(f Frame, c Canvas) []string {
	s := cachestatOver(f)
	if s == nil {
		return nil
	}
	cells := pageCells(&s.Host, s)
	l := widget.NewLine(c.Width).Skip(1)
	for i, name := range []string{"hits/s", "misses/s", "ratio", "asked/s", "added/s", "ahead/s", "dirties/s"} {
		value := memShort(cells[i])
		if name == "ratio" {
			value = "-"
			if v, ok := cells[i].Num(); ok {
				value = fmt.Sprintf("%.1f%% %s", v, bestEffort)
			}
		}
		if l.Width()+len(name)+len(value)+3 > c.Width {
			break
		}
		l.Put(c.Theme.Dim, name).Skip(1).Plain(value).Skip(2)
	}
	return []string{l.String()}
}

// pagesGraphs draws hits and misses over time, side by side.
func pagesGraphs(f Frame, c Canvas, height int) []string {
	if height < 3 {
		return nil
	}
	const gap = 2
	half := (c.Width - gap) / 2
	of := func(value func(*collectors.PageCounts) uint64) []float64 {
		return series(f, half, cachestatOf, func(s *collectors.Cachestat) float64 {
			if s.Seconds() <= 0 {
				return math.NaN()
			}
			return float64(value(&s.Host)) / s.Seconds()
		})
	}
	graph := func(title string, values []float64) []string {
		lines := []string{widget.Title(c.Theme, half, title, widget.Short(most(values))+"/s at most")}
		return append(lines, widget.Area(c.Theme, values, most(values), half, height-1)...)
	}
	return widget.Join(graph("hits", of((*collectors.PageCounts).Hits)), half, graph("misses", of((*collectors.PageCounts).Misses)), gap)
}
