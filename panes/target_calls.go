// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"

	"bpf60/collectors"
)

// targetCallTable is the system calls of a target: syscount of it alone.
func targetCallTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "calls/s", Title: "calls/s", Unit: "calls/s", Width: 9, Decimals: 1},
		{ID: "err/s", Title: "err/s", Unit: "calls/s", Width: 8, Decimals: 1},
		{ID: "calls", Title: "calls", Unit: "calls", Width: 8, Rank: 1},
	}}
	list, span := narrowedOver(within(f, syscallsOf), target)
	var calls []collectors.SyscallCall
	var sum collectors.SyscallCounts
	at := map[uint32]int{}
	for _, x := range list {
		sum.Plus(&x.Sample.SyscallCounts)
		for i := range x.Sample.Calls {
			c := &x.Sample.Calls[i]
			place(at, &calls, c.Call, collectors.SyscallCall{Call: c.Call, Name: c.Name}).Plus(&c.SyscallCounts)
		}
	}
	t.Columns = append(t.Columns, targetTimeColumns()...)
	t.Columns = append(t.Columns, Column{ID: "CALL", Title: "CALL", Width: 16, Left: true})
	if len(list) == 0 {
		t.Notes = append(t.Notes, unrecorded(f, collectors.SyscallsID, "syscount", target))
		return t
	}
	sortStably(calls, func(a, b collectors.SyscallCall) int { return cmp.Compare(b.N, a.N) })
	times, why := targetTimesOver(f, target), untimed(f, target)
	for i := range calls {
		c := &calls[i]
		cells := []Cell{perSecond(c.N, span), perSecond(c.Errors, span), Number(float64(c.N))}
		cells = append(cells, targetTimeCells(&c.SyscallCounts, times[c.Name], span, why)...)
		if x := times[c.Name]; x != nil && len(t.Histograms) < 5 { // of the calls made most
			t.Histograms = append(t.Histograms, callHistogramOf(f, c.Name, x))
		}
		t.Rows = append(t.Rows, Row{ID: c.Name, Cells: append(cells, Say(c.Name))})
	}
	t.Facts = []Fact{
		{ID: "calls", Title: "system calls", Unit: "/s", Decimals: 1, Cell: perSecond(sum.N, span)},
		{ID: "failed", Title: "calls that failed", Unit: "/s", Decimals: 1, Cell: perSecond(sum.Errors, span)},
	}
	if sum.Timed > 0 {
		t.Facts = append(t.Facts, Fact{ID: "in calls", Title: "time in calls", Unit: "ms/s", Decimals: 1, Cell: timeCells(&sum, span)[0]})
	}
	return t
}

// openCall opens the page of who makes a call.
func openCall(_ Frame, _ collectors.Target, r Row) Answer {
	return OpenMsg{newCallPage(r.ID, false, false)}
}

// targetMemoryTable is what a target takes from the kernel's caches, and how it waits for memory.
func targetMemoryTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "allocs/s", Title: "allocs/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "KiB/s", Title: "KiB/s", Unit: "KiB/s", Width: 9, Decimals: 1},
		{ID: "OBJ SIZE", Title: "OBJ SIZE", Unit: "bytes", Width: 8, Rank: 1},
		{ID: "CACHE", Title: "CACHE", Width: 20, Left: true},
	}}
	waits, span := narrowedOver(within(f, reclaimOf), target)
	if len(waits) > 0 {
		var sum collectors.ReclaimCounts
		for _, x := range waits {
			sum.Plus(&x.Sample)
		}
		all := sum.Direct
		all.Plus(&sum.Memcg)
		all.Plus(&sum.Compact)
		t.Facts = append(t.Facts, Fact{ID: "stalls", Title: "waits for memory", Unit: "/s", Decimals: 1, Cell: perSecond(sum.Stalls(), span)})
		if all.Count() > 0 {
			t.Facts = append(t.Facts, Fact{ID: "longest", Title: "longest wait for memory", Cell: Say(quantile(&all, 1))})
			t.Histograms = append(t.Histograms, Histogram{ID: "drsnoop", Title: "waits for memory", Now: &all})
		}
	}
	list, span := narrowedOver(within(f, kmemAny), target)
	if len(list) == 0 {
		t.Notes = append(t.Notes, unrecorded(f, collectors.KmemID, "slabratetop", target))
		return t
	}
	var caches []collectors.KmemCount
	at := map[collectors.Raw]int{}
	var n, bytes uint64
	for _, x := range list {
		for _, c := range x.Sample.Caches {
			place(at, &caches, c.Name, collectors.KmemCount{Name: c.Name, Size: c.Size}).Allocs += c.Allocs
			n, bytes = n+c.Allocs, bytes+c.Allocs*uint64(c.Size)
		}
	}
	sortStably(caches, func(a, b collectors.KmemCount) int {
		return cmp.Or(cmp.Compare(b.Allocs, a.Allocs), cmp.Compare(a.Name.Bytes(), b.Name.Bytes()))
	})
	for _, c := range caches {
		t.Rows = append(t.Rows, Row{ID: clean(c.Name), Cells: []Cell{
			perSecond(c.Allocs, span), kibRate(c.Allocs*uint64(c.Size), span), Number(float64(c.Size)), Name(collectors.Clean(c.Name)),
		}})
	}
	t.Facts = append(t.Facts,
		Fact{ID: "allocs", Title: "objects taken from slab caches", Unit: "/s", Decimals: 1, Cell: perSecond(n, span)},
		Fact{ID: "slab", Title: "KiB taken from slab caches", Unit: "KiB/s", Decimals: 1, Cell: kibRate(bytes, span)})
	return t
}

// openCache opens the page of a slab cache.
func openCache(_ Frame, _ collectors.Target, r Row) Answer {
	return OpenMsg{newSlabPage(r.ID)}
}
