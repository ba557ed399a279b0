// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	"bpf60/collectors"
)

// blockOps are the operations of a target's block I/O, in the order of the sample.
func blockOps() []string { return []string{"reads", "writes", "flushes", "others"} }

// targetBlock is what the kernel counted of a target's block I/O: by operation, sums of the frame.
type targetBlock struct {
	collectors.Span
	device, queued [4]collectors.Hist
	bytes          [4]uint64
}

// targetBlockOver is a target's block I/O over the frame; nil if nobody looked.
func targetBlockOver(f Frame, t collectors.Target) *targetBlock {
	list, span := narrowedOver(within(f, blockOf), t)
	if len(list) == 0 {
		return nil
	}
	sum := &targetBlock{Span: span}
	for _, x := range list {
		for op := range sum.device {
			device, queued := x.Sample.Device[op].Hist(), x.Sample.Queued[op].Hist()
			sum.device[op].Plus(&device)
			sum.queued[op].Plus(&queued)
			sum.bytes[op] += x.Sample.Bytes[op]
		}
	}
	return sum
}

// targetBlockTable is the latency of a target's requests by operation: biolatency of it alone.
func targetBlockTable(f Frame, target collectors.Target) Table {
	bucket := func(id string, rank int) Column { return Column{ID: id, Title: id, Width: 9, Rank: rank} }
	t := Table{Columns: []Column{
		{ID: "what", Title: "what", Width: 8, Left: true},
		{ID: "io", Title: "io", Unit: "requests", Width: 7},
		{ID: "io/s", Title: "io/s", Unit: "/s", Width: 8, Decimals: 1, Rank: 2},
		{ID: "kB/s", Title: "kB/s", Unit: "KiB/s", Width: 9, Decimals: 1},
		{ID: "avgkB", Title: "avgkB", Unit: "KiB", Width: 6, Decimals: 1, Rank: 3},
		bucket("p50", 1), bucket("p99", 0), bucket("max", 0), bucket("que_p99", 1),
		{ID: "mean", Title: "mean ms", Unit: "ms", Width: 8, Decimals: 3, Rank: 4},
		{ID: "que_mean", Title: "que ms", Unit: "ms", Width: 8, Decimals: 3, Rank: 4},
	}}
	s := targetBlockOver(f, target)
	if s == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.BlockID, "biolatency", target))
		return t
	}
	cell := func(h *collectors.Hist, q float64) Cell {
		text := quantile(h, q)
		switch {
		case h.Count() == 0:
			return Missing(noRequests)
		case text == "-":
			return Missing("fewer than 100 requests: see max")
		}
		return Say(text)
	}
	var n, bytes uint64
	for op, name := range blockOps() {
		h, queued := &s.device[op], &s.queued[op]
		count := h.Count()
		n, bytes = n+count, bytes+s.bytes[op]
		t.Histograms = append(t.Histograms, Histogram{ID: "biolatency." + name, Title: name + " on the device", Now: h})
		if op > 1 && count == 0 {
			continue
		}
		if op < 2 {
			t.Histograms = append(t.Histograms, Histogram{ID: "biolatency.queued." + name, Title: name + " in the queue", Now: queued})
		}
		mean := func(h *collectors.Hist) Cell {
			if h.Count() == 0 {
				return Missing(noRequests)
			}
			return Number(float64(h.Mean()) / 1e6)
		}
		t.Rows = append(t.Rows, Row{ID: name, Cells: []Cell{
			Say(name), Number(float64(count)), perSecond(count, s.Span), kibRate(s.bytes[op], s.Span), perRequest(float64(s.bytes[op])/1024, count, requestsWord),
			cell(h, 0.5), cell(h, 0.99), cell(h, 1), cell(queued, 0.99), mean(h), mean(queued),
		}})
	}
	t.Facts = []Fact{
		{ID: "io", Title: "requests", Unit: "/s", Decimals: 1, Cell: perSecond(n, s.Span)},
		{ID: "moved", Title: "read and written", Unit: "KiB/s", Decimals: 1, Cell: kibRate(bytes, s.Span)},
	}
	return t
}

// members says which processes a target is made of.
func members(f Frame, t collectors.Target) func(collectors.Process) bool {
	switch t.Kind {
	case collectors.ProcessTarget:
		return func(p collectors.Process) bool { return p == t.Process }
	case collectors.CgroupTarget:
		below, of := NewScope(t).cgroups(f)
		return func(p collectors.Process) bool { return below[of[p.TGID]] }
	default:
		return func(collectors.Process) bool { return false }
	}
}

// without drops columns, which all rows of a page would have the same of.
func (t *Table) without(ids ...string) {
	for i := len(t.Columns) - 1; i >= 0; i-- {
		if !slices.Contains(ids, t.Columns[i].ID) {
			continue
		}
		t.Columns = slices.Delete(t.Columns, i, i+1)
		for k := range t.Rows {
			if i < len(t.Rows[k].Cells) {
				t.Rows[k].Cells = slices.Delete(t.Rows[k].Cells, i, i+1)
			}
		}
	}
}

// targetDiskTable is which disks a target uses: biotop of it alone.
func targetDiskTable(f Frame, target collectors.Target) Table {
	s := blockOver(f.rowed())
	if s == nil {
		return ownerTable(f, diskOver(f), s, nil)
	}
	is := members(f, target)
	below, _ := NewScope(target).cgroups(f)
	one := *s
	one.owners = slices.DeleteFunc(slices.Clone(s.owners), func(o collectors.BlockOwner) bool {
		return !is(o.Process) && (target.Kind != collectors.CgroupTarget || !below[o.Cgroup]) // who ended has its cgroup still
	})
	one.more, one.unowned = 0, 0
	t := ownerTable(f, diskOver(f), &one, func(collectors.DevID) bool { return true })
	if s.more > 0 {
		t.Notes = append(t.Notes, "the host lists 200 pairs of a process and a disk: this one may have more")
	}
	if target.Kind == collectors.ProcessTarget {
		t.without("PID", "COMM")
	}
	return t
}

// openDiskOf opens the page of the disk of a row of ownerTable, whose ID ends with its number.
func openDiskOf(f Frame, _ collectors.Target, r Row) Answer {
	parts := strings.Fields(r.ID)
	if s := blockOver(f); s != nil && len(parts) > 0 {
		for i := range s.owners {
			if s.owners[i].Dev.String() == parts[len(parts)-1] {
				return openDev(f, s.owners[i].Dev)
			}
		}
	}
	return SayMsg{"this disk is not listed"}
}

// targetSlowTable is a target's slowest requests of the last minute: biosnoop of it alone.
func targetSlowTable(f Frame, target collectors.Target) Table {
	s, disks := blockOver(f), diskOver(f)
	t := slowTable(f, disks, s, func(collectors.DevID) bool { return false })
	if s == nil {
		return t
	}
	is := members(f, target)
	below, _ := NewScope(target).cgroups(f)
	list, names := s.listed(f), newCgroupNames(f)
	for i := range list {
		if x := &list[i]; is(x.Process) || target.Kind == collectors.CgroupTarget && below[x.Cgroup] {
			t.Rows = append(t.Rows, slowRow(f, disks, names, x, i < len(s.hung)))
		}
	}
	if target.Kind == collectors.ProcessTarget {
		t.without("COMM", "PID", "cgroup", "CGROUP")
	}
	return t
}

// openSlowDisk opens the disk of a request.
func openSlowDisk(f Frame, _ collectors.Target, r Row) Answer {
	s := blockOver(f)
	if s == nil {
		return SayMsg{"this disk is not listed"}
	}
	list := s.listed(f)
	for i := range list {
		if ioRow(&list[i]) == r.ID {
			return openDev(f, list[i].Dev)
		}
	}
	return SayMsg{"this request is not listed any more"}
}
