// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func reclaimOf(s *collectors.Snapshot) *collectors.Reclaim { return s.Reclaim }

// waitsSpan is what the screen sums: stalls are rare, and one second shows none of them.
const waitsSpan = time.Minute

// memoryWaits is who waited for memory over a time.
type memoryWaits struct {
	collectors.Span
	now    collectors.ReclaimCounts
	total  *collectors.ReclaimCounts // since the probes attached
	rows   []collectors.MemoryWaiter // the longest first
	others collectors.MemoryWaiter
	stalls []collectors.MemoryStall // the longest first
	// unlisted stalls were passed over, lost ones found no room.
	unlisted, lost uint64
	kills          []collectors.OOMKill
	fresh          int // of them in the time
	newest         *collectors.Reclaim
}

// waitsOver sums the frame's span, on the screen the last minute. Nil without a sample.
func waitsOver(f Frame) *memoryWaits {
	last := newest(f, reclaimOf)
	if last == nil && f.Span == 0 {
		return nil
	}
	span := cmp.Or(f.Span, waitsSpan)
	sum := &memoryWaits{}
	at := map[collectors.Process]int{}
	for _, m := range f.Past {
		if m.Snapshot == nil || m.Reclaim == nil || m.At <= f.Now.At-span && span < f.Now.At {
			continue
		}
		r := m.Reclaim
		sum.newest, sum.total = r, r.Total
		sum.Span = join(sum.Span, r.Span)
		if r.Now != nil {
			sum.now.Plus(r.Now)
		}
		for i := range r.Rows {
			w := r.Rows[i]
			k, ok := at[w.Process]
			if !ok {
				at[w.Process] = len(sum.rows)
				sum.rows = append(sum.rows, w)
				continue
			}
			addWaiter(&sum.rows[k], &w)
		}
		addWaiter(&sum.others, &r.Others)
		sum.stalls = append(sum.stalls, r.Stalls...)
		sum.unlisted += r.Unlisted
		sum.lost += r.StallsLost
		sum.fresh += r.Fresh
		if r.Kills != nil {
			sum.kills = r.Kills.List
		}
	}
	if sum.newest == nil {
		return nil
	}
	sortStably(sum.rows, func(a, b collectors.MemoryWaiter) int { return cmp.Compare(b.Waited(), a.Waited()) })
	sortStably(sum.stalls, func(a, b collectors.MemoryStall) int { return cmp.Compare(b.Took, a.Took) })
	return sum
}

func addWaiter(to, w *collectors.MemoryWaiter) {
	for i := range to.Count {
		to.Count[i] += w.Count[i]
		to.For[i] += w.For[i]
	}
	to.Pages += w.Pages
	to.Throttled += w.Throttled
	for i, n := range w.Reclaim.Slots {
		to.Reclaim.Slots[i] += n
	}
	to.Reclaim.Sum += w.Reclaim.Sum
}

// reclaimHist is direct reclaim and that at a cgroup's limit together.
func reclaimHist(c *collectors.ReclaimCounts) *collectors.Hist {
	h := c.Direct
	h.Plus(&c.Memcg)
	return &h
}

// waitsHistograms are the stalls of reclaim and of compaction.
func waitsHistograms(f Frame, w *memoryWaits) []Histogram {
	reclaim := Histogram{ID: "drsnoop", Title: "waits to reclaim memory"}
	compact := Histogram{ID: "compactsnoop", Title: "waits to compact a zone"}
	if w == nil {
		reclaim.Why, _ = whyNot(f, collectors.ReclaimID, "drsnoop")
		compact.Why, _ = whyNot(f, collectors.ReclaimID, "compactsnoop")
		return []Histogram{reclaim, compact}
	}
	var then collectors.ReclaimCounts
	if m := marked(f, reclaimOf); m != nil && m.Total != nil {
		then = *m.Total
	}
	if w.newest.Reclaims {
		reclaim.Now, reclaim.Start = reclaimHist(&w.now), since(reclaimHist(w.total), reclaimHist(&then))
		if w.now.Missed > 0 {
			reclaim.Badge = "L" + widget.Count(w.now.Missed)
		}
	} else {
		reclaim.Why, _ = whyNot(f, collectors.ReclaimID, "drsnoop")
	}
	if w.newest.Compacts {
		compact.Now, compact.Start = &w.now.Compact, since(&w.total.Compact, &then.Compact)
	} else {
		compact.Why, _ = whyNot(f, collectors.ReclaimID, "compactsnoop")
	}
	return []Histogram{reclaim, compact}
}

// waitsFacts are rates of waits, by what they were for.
func waitsFacts(f Frame) []Fact {
	w := waitsOver(f)
	fact := func(id, title, unit string, decimals int, measured bool, probe string, cell func() Cell) Fact {
		x := Fact{ID: id, Title: title, Unit: unit, Decimals: decimals}
		if w == nil || !measured {
			why, _ := whyNot(f, collectors.ReclaimID, probe)
			x.Cell = Missing(why)
			return x
		}
		x.Cell = cell()
		return x
	}
	var r collectors.Reclaim
	if w != nil {
		r = *w.newest
	}
	rate := func(n func() uint64) func() Cell { return func() Cell { return perSecond(n(), w.Span) } }
	return []Fact{
		fact("reclaim_host/s", "waits because the host is short", "/s", 2, r.Reclaims, "drsnoop", rate(func() uint64 { return w.now.Direct.Count() })),
		fact("reclaim_cgroup/s", "waits because a cgroup is at its limit", "/s", 2, r.Reclaims, "drsnoop", rate(func() uint64 { return w.now.Memcg.Count() })),
		fact("compact_zone/s", "waits to compact a zone", "/s", 2, r.Compacts, "compactsnoop", rate(func() uint64 { return w.now.Compact.Count() })),
		fact("throttled/s", "tasks stopped while they reclaimed", "/s", 2, r.Reclaims, "drsnoop", rate(func() uint64 { return w.now.Throttled })),
		fact("kswapd/s", "times kswapd began to work", "/s", 2, r.Reclaims, "drsnoop", rate(func() uint64 { return w.now.Kswapd })),
		fact("oomkills", "OOM kills seen in this run", "", 0, r.OOM, "oomkill", func() Cell { return Number(float64(w.total.Kills)) }),
	}
}

// waitsSplit is what the table of the waits is by.
type waitsSplit uint8

const (
	waitsByProcess waitsSplit = iota
	waitsByCgroup
	waitsSingly
	waitsSplits
)

func (s waitsSplit) String() string {
	switch s {
	case waitsByCgroup:
		return "by cgroup"
	case waitsSingly:
		return "one by one"
	case waitsByProcess, waitsSplits:
	}
	return "by process"
}

// waitColumns are those of the tables by process and by cgroup, without the name.
func waitColumns() []Column {
	return []Column{
		{ID: "WAITS", Title: "WAITS", Width: 6},
		{ID: "TOTAL", Title: "TOTAL", Unit: "ms", Width: 8, Decimals: 1},
		{ID: "MEAN", Title: "MEAN", Unit: "ms", Width: 6, Decimals: 1, Rank: 2},
		{ID: "MAX", Title: "MAX", Width: 9, Rank: 1},
		{ID: "HOST", Title: "HOST", Width: 6, Rank: 3},
		{ID: "CGRP", Title: "CGROUP", Width: 6, Rank: 3},
		{ID: "COMPACT", Title: "COMPACT", Width: 7, Rank: 3},
		{ID: "PAGES", Title: "PAGES", Width: 7, Rank: 4},
		{ID: "THROTTLED", Title: "STOPPED", Unit: "ms", Width: 8, Decimals: 1, Rank: 5},
	}
}

func inMs(d time.Duration) Cell { return Number(float64(d) / 1e6) }

func waitCells(w *collectors.MemoryWaiter) []Cell {
	mean := Missing("it did not wait, it was stopped")
	if n := w.Stalls(); n > 0 {
		mean = inMs(w.Waited() / time.Duration(n))
	}
	longest := Missing("only compaction, whose times are not kept by process")
	h := w.Reclaim.Hist()
	if b, ok := h.Max(); ok {
		longest = Say(widget.Range(b))
	}
	return []Cell{
		Number(float64(w.Stalls())), inMs(w.Waited()), mean, longest, Number(float64(w.Count[collectors.DirectStall])),
		Number(float64(w.Count[collectors.MemcgStall])), Number(float64(w.Count[collectors.CompactStall])), Number(float64(w.Pages)), inMs(w.Throttled),
	}
}

// waitsTable is who waited for memory, by process, by cgroup or one by one as drsnoop lists them.
func waitsTable(f Frame, by waitsSplit) Table {
	t := Table{Title: "waits for memory"}
	switch by {
	case waitsByCgroup:
		t.Title = "waits for memory by cgroup"
		t.Columns = append(waitColumns(), Column{ID: "CGROUP", Title: "OF CGROUP", Width: 14, Left: true})
	case waitsSingly:
		t.Title = "single waits for memory"
		t.Columns = []Column{
			{ID: "ago", Title: "ago", Unit: "s", Width: 5, Decimals: 1},
			{ID: "PID", Title: "PID", Width: 7},
			{ID: "TID", Title: "TID", Width: 7, Rank: 3},
			{ID: "LAT", Title: "LAT(ms)", Unit: "ms", Width: 9, Decimals: 3},
			{ID: "PAGES", Title: "PAGES", Width: 6},
			{ID: "ORDER", Title: "ORDER", Width: 5, Rank: 2},
			{ID: "FOR", Title: "FOR", Width: 7, Left: true},
			{ID: "CGROUP", Title: "CGROUP", Width: 14, Left: true, Rank: 1},
			{ID: "COMM", Title: "COMM", Width: 14, Left: true},
		}
	case waitsByProcess, waitsSplits:
		t.Columns = append([]Column{{ID: "PID", Title: "PID", Width: 7}}, waitColumns()...)
		t.Columns = append(t.Columns, Column{ID: "CGROUP", Title: "OF CGROUP", Width: 14, Left: true, Rank: 6}, Column{ID: "COMM", Title: "COMM", Width: 14, Left: true})
	}
	w := waitsOver(f)
	if w == nil {
		why, remedy := whyNot(f, collectors.ReclaimID, "drsnoop")
		t.Notes = append(t.Notes, note("drsnoop", why, remedy))
		return t
	}
	t.Notes = append(t.Notes, waitsNotes(f, w, by)...)
	names := newCgroupNames(f)
	switch by {
	case waitsByCgroup:
		t.Rows = waitsOfCgroups(w, names)
	case waitsSingly:
		for _, s := range w.stalls {
			t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("stall %d %d", s.TID, s.At), Target: inCgroup(aboutProcess(s.Process, s.Comm), s.Memcg), Cells: []Cell{
				Number((f.Now.At - s.At).Seconds()), Number(float64(s.TGID)), Number(float64(s.TID)), Number(float64(s.Took) / 1e6), Number(float64(s.Pages)),
				Number(float64(s.Order)), Say(s.Kind.String()), names.cell(cmp.Or(s.Limit, s.Memcg)), Name(collectors.Clean(s.Comm)),
			}})
		}
	case waitsByProcess, waitsSplits:
		for i := range w.rows {
			r := &w.rows[i]
			cells := append([]Cell{Number(float64(r.TGID))}, waitCells(r)...)
			t.Rows = append(t.Rows, Row{ID: waitRow(r.Process), Target: inCgroup(aboutProcess(r.Process, r.Comm), r.Memcg), Cells: append(cells, names.cell(r.Memcg), Name(collectors.Clean(r.Comm)))})
		}
	}
	return t
}

func waitRow(p collectors.Process) string {
	return "wait " + strconv.Itoa(int(p.TGID)) + " " + strconv.FormatUint(p.Start, 10)
}

// waitsNotes say what is missing.
func waitsNotes(f Frame, w *memoryWaits, by waitsSplit) []string {
	var out []string
	for _, x := range []struct {
		name     string
		measured bool
	}{{"drsnoop", w.newest.Reclaims}, {"compactsnoop", w.newest.Compacts}} {
		if !x.measured {
			why, remedy := whyNot(f, collectors.ReclaimID, x.name)
			out = append(out, note(x.name, why, remedy))
		}
	}
	if n := w.unlisted + w.lost; by == waitsSingly && n > 0 {
		out = append(out, fmt.Sprintf("%d more are counted and not listed, of them %d found no room", n, w.lost))
	}
	if n := w.others.Stalls(); by != waitsSingly && n > 0 {
		out = append(out, fmt.Sprintf("%d waits of other processes, %.1f ms", n, float64(w.others.Waited())/1e6))
	}
	return out
}

// waitsOfCgroups sums processes by the cgroup that their memory is charged to.
func waitsOfCgroups(w *memoryWaits, names *cgroupNames) []Row {
	var order []uint64
	sums := map[uint64]*collectors.MemoryWaiter{}
	for i := range w.rows {
		r := &w.rows[i]
		sum := sums[r.Memcg]
		if sum == nil {
			sum = &collectors.MemoryWaiter{}
			sums[r.Memcg] = sum
			order = append(order, r.Memcg)
		}
		addWaiter(sum, r)
	}
	sortStably(order, func(a, b uint64) int { return cmp.Compare(sums[b].Waited(), sums[a].Waited()) })
	var out []Row
	for _, id := range order {
		out = append(out, Row{
			ID: "waitcg " + strconv.FormatUint(id, 10), Target: aboutCgroup(id, names.cell(id).Format(0)),
			Cells: append(waitCells(sums[id]), names.cell(id)),
		})
	}
	return out
}
