// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// diskColumn is one of iostat's columns, or a fact of a device.
type diskColumn struct {
	Column
	cell func(*diskSum, *diskIO) Cell
}

// diskColumns are those of iostat -x in its order, then what reports have besides.
func diskColumns() []diskColumn {
	cols := []diskColumn{{
		Column{ID: "Device", Title: "Device", Width: 13, Left: true},
		func(_ *diskSum, d *diskIO) Cell { return Say(d.title()) },
	}}
	cols = append(cols, direction("r", "reads", 4, func(d *diskIO) collectors.IOCounts { return d.Read })...)
	cols = append(cols, direction("w", "writes", 4, func(d *diskIO) collectors.IOCounts { return d.Write })...)
	cols = append(cols, direction("d", "discards", 8, func(d *diskIO) collectors.IOCounts { return d.Discard })...)
	rate := func(id string, rank int, value func(*diskIO) float64) diskColumn {
		return diskColumn{Column{ID: id, Title: id, Unit: "/s", Width: 6, Decimals: 1, Rank: rank}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, "flushes"); ok {
				return c
			}
			return Number(value(d) / d.Seconds)
		}}
	}
	cols = append(
		cols,
		rate("f/s", 6, func(d *diskIO) float64 { return float64(d.Flushes) }),
		diskColumn{Column{ID: "f_await", Title: "f_await", Unit: "ms", Width: 7, Decimals: 2, Rank: 6}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, "flushes"); ok {
				return c
			}
			return perRequest(float64(d.FlushMs), d.Flushes, "flushes")
		}},
		diskColumn{Column{ID: "aqu-sz", Title: "aqu-sz", Unit: "requests", Width: 6, Decimals: 2, Rank: 2}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, ""); ok {
				return c
			}
			return Number(d.queue())
		}},
		diskColumn{Column{ID: "%util", Title: "%util", Unit: "%", Width: 8, Decimals: 1, Rank: 3}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, ""); ok {
				return c
			}
			c := Number(d.util())
			c.Badge = d.parBadge()
			return c
		}},
	)
	// Of all requests together, as iostat without -x has them.
	all := func(id, unit string, width, decimals int, of func(collectors.IOCounts) float64) diskColumn {
		return diskColumn{Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Hidden: true, Rank: 20}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, ""); ok {
				return c
			}
			return perRequest(of(d.Read)+of(d.Write)+of(d.Discard), d.Read.IOs+d.Write.IOs+d.Discard.IOs, "requests")
		}}
	}
	cols = append(
		cols,
		all("await", "ms", 7, 2, func(c collectors.IOCounts) float64 { return float64(c.Ms) }),
		all("areq-sz", "KiB", 8, 1, func(c collectors.IOCounts) float64 { return float64(c.Sectors) / 2 }),
	)
	return append(cols, deviceColumns()...)
}

// direction is the six columns of reads, writes or discards.
func direction(id, what string, rank int, of func(*diskIO) collectors.IOCounts) []diskColumn {
	column := func(name, unit string, width, decimals, rank int, value func(*diskIO, collectors.IOCounts) Cell) diskColumn {
		return diskColumn{Column{ID: name, Title: name, Unit: unit, Width: width, Decimals: decimals, Rank: rank}, func(s *diskSum, d *diskIO) Cell {
			if c, ok := uncounted(s, d, what); ok {
				return c
			}
			return value(d, of(d))
		}}
	}
	type C = collectors.IOCounts
	awaitRank := 1
	if rank > 4 {
		awaitRank = rank
	}
	return []diskColumn{
		column(id+"/s", "/s", 7, 1, rank, func(d *diskIO, c C) Cell { return Number(float64(c.IOs) / d.Seconds) }),
		column(id+"kB/s", "KiB/s", 8, 1, rank+1, func(d *diskIO, c C) Cell { return Number(float64(c.Sectors) / 2 / d.Seconds) }),
		column(id+"rqm/s", "/s", 7, 1, rank+7, func(d *diskIO, c C) Cell { return Number(float64(c.Merged) / d.Seconds) }),
		column("%"+id+"rqm", "%", 6, 1, rank+6, func(_ *diskIO, c C) Cell {
			if c.Merged+c.IOs == 0 {
				return Missing("no " + what + " in the interval")
			}
			return Number(100 * float64(c.Merged) / float64(c.Merged+c.IOs))
		}),
		column(id+"_await", "ms", 7, 2, awaitRank, func(_ *diskIO, c C) Cell { return perRequest(float64(c.Ms), c.IOs, what) }),
		column(id+"areq-sz", "KiB", 8, 1, rank+5, func(_ *diskIO, c C) Cell { return perRequest(float64(c.Sectors)/2, c.IOs, what) }),
	}
}

// perRequest divides by how many there were.
func perRequest(sum float64, n uint64, what string) Cell {
	if n == 0 {
		return Missing("no " + what + " in the interval")
	}
	return Number(sum / float64(n))
}

// uncounted is the cell of what the kernel does not count of a device; false if it does.
func uncounted(s *diskSum, d *diskIO, what string) (Cell, bool) {
	switch {
	case d.NoStats:
		return Missing("the kernel counts nothing of it: queue/iostats is 0"), true
	case what == "discards" && !s.Discards:
		return Missing("this kernel does not count discards: needs 4.18"), true
	case what == "flushes" && !s.Flushes:
		return Missing("this kernel does not count flushes: needs 5.5"), true
	case what == "flushes" && d.Kind == collectors.Partition:
		return Missing("flushes are counted for the whole disk only"), true
	case s.Seconds() <= 0:
		return Missing("waiting for a second reading"), true
	case d.Seconds <= 0:
		return Missing("it appeared a moment ago"), true
	}
	return Cell{}, false
}

// deviceColumns are facts: the page of a disk and reports show them.
func deviceColumns() []diskColumn {
	unknown := Missing("/sys does not say")
	fact := func(id, unit string, width int, cell func(*diskSum, *diskIO) Cell) diskColumn {
		return diskColumn{Column{ID: id, Title: id, Unit: unit, Width: width, Left: unit == "", Hidden: true, Rank: 20}, func(s *diskSum, d *diskIO) Cell {
			if !d.Known {
				return unknown
			}
			return cell(s, d)
		}}
	}
	word := func(s string) Cell {
		if s == "" {
			return Missing("it has none")
		}
		return Say(s)
	}
	positive := func(n int) Cell {
		if n <= 0 {
			return unknown
		}
		return Number(float64(n))
	}
	yes := func(b bool) Cell {
		if b {
			return Say("yes")
		}
		return Say("no")
	}
	cols := []diskColumn{
		{Column{ID: "in_flight", Title: "in_flight", Unit: "requests", Width: 9, Hidden: true, Rank: 20}, func(_ *diskSum, d *diskIO) Cell { return Number(float64(d.InFlight)) }},
		{Column{ID: "name", Title: "name", Width: 10, Left: true, Hidden: true, Rank: 20}, func(_ *diskSum, d *diskIO) Cell { return Say(clean(d.Name)) }},
		{Column{ID: "kind", Title: "kind", Width: 9, Left: true, Hidden: true, Rank: 20}, func(_ *diskSum, d *diskIO) Cell { return Say(d.Kind.String()) }},
	}
	return append(
		cols,
		fact("size", "bytes", 15, func(_ *diskSum, d *diskIO) Cell { return Number(float64(d.Size)) }),
		fact("on", "", 16, func(s *diskSum, d *diskIO) Cell { return word(strings.Join(s.below(d), " ")) }),
		fact("sched", "", 11, func(_ *diskSum, d *diskIO) Cell { return word(clean(d.Scheduler)) }),
		fact("nr_requests", "requests", 11, func(_ *diskSum, d *diskIO) Cell { return positive(d.Requests) }),
		fact("queue_depth", "requests", 11, func(_ *diskSum, d *diskIO) Cell { return positive(d.Depth) }),
		fact("hw_queues", "queues", 9, func(_ *diskSum, d *diskIO) Cell { return positive(d.Queues) }),
		fact("rotates", "", 7, func(_ *diskSum, d *diskIO) Cell { return yes(d.Rotates) }),
		fact("ro", "", 3, func(_ *diskSum, d *diskIO) Cell { return yes(d.ReadOnly) }),
		fact("removable", "", 9, func(_ *diskSum, d *diskIO) Cell { return yes(d.Removable) }),
		fact("state", "", 10, func(_ *diskSum, d *diskIO) Cell { return word(clean(d.State)) }),
		fact("ioerr", "commands", 7, func(_ *diskSum, d *diskIO) Cell {
			if !d.ErrorsKnown {
				return Missing("its driver counts none")
			}
			return Number(float64(d.Errors))
		}),
		fact("model", "", 20, func(_ *diskSum, d *diskIO) Cell { return word(clean(d.Model)) }),
	)
}

// diskTable is what iostat -xz prints, of the devices that show is true for.
func diskTable(f Frame, s *diskSum, show func(*diskIO) bool) Table {
	t := Table{Title: "disks"}
	cols := diskColumns()
	for _, c := range cols {
		t.Columns = append(t.Columns, c.Column)
	}
	if s == nil {
		why, remedy := whyNot(f, collectors.DiskID, "iostat")
		t.Notes = append(t.Notes, note("iostat", why, remedy))
		return t
	}
	rowsNote(f, &t)
	for i := range s.Disks {
		d := &s.Disks[i]
		if !show(d) {
			continue
		}
		r := Row{ID: d.row(), Target: aboutDisk(d.Dev, d.title()), Cells: make([]Cell, len(cols))}
		for k, c := range cols {
			r.Cells[k] = c.cell(s, d)
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// diskFacts are sums over the hardware: a device that lies on another would count its I/O twice.
func diskFacts(f Frame, s *diskSum) []Fact {
	var out []Fact
	if s != nil {
		var sum collectors.DiskCounts
		inFlight := 0.0
		for i := range s.Disks {
			if d := &s.Disks[i]; d.lowest() {
				sum.Plus(&d.DiskCounts)
				inFlight += float64(d.InFlight)
			}
		}
		out = append(
			out,
			Fact{ID: "tps", Title: "requests of all disks", Unit: "/s", Cell: perSecond(sum.Read.IOs+sum.Write.IOs+sum.Discard.IOs, s.Span), Decimals: 1},
			Fact{ID: "kB_read/s", Title: "read from all disks", Unit: "KiB/s", Cell: perSecond(sum.Read.Sectors/2, s.Span), Decimals: 1},
			Fact{ID: "kB_wrtn/s", Title: "written to all disks", Unit: "KiB/s", Cell: perSecond(sum.Write.Sectors/2, s.Span), Decimals: 1},
			Fact{ID: "in_flight", Title: "requests under way", Unit: "requests", Cell: Number(inFlight)},
		)
	}
	return append(out, psiFact(f, "psi_io", "some task waits for I/O", psiIO))
}

// shown says whether a device has a row: whole devices that did something. A loop at work is one of them:
// its file system waits for it, and who asks is known there only.
func (d *diskIO) shown(all bool) bool {
	switch d.Kind {
	case collectors.Partition, collectors.Path:
		return all
	case collectors.Loop, collectors.RAMDisk:
		return all || d.Active
	case collectors.WholeDisk, collectors.Mapper, collectors.MDArray, collectors.ZRAM, collectors.Removable:
	}
	return all || d.Active || d.NoStats && d.Size > 0
}

// hiddenDisks counts what has no row: "8 loops, 1 idle"; empty if all have.
func hiddenDisks(s *diskSum, all bool) string {
	var out []string
	if s == nil {
		return ""
	}
	kinds := []string{"partition", "loop", "ram disk", "path", "idle"}
	n := make(map[string]int)
	for i := range s.Disks {
		d := &s.Disks[i]
		if d.shown(all) {
			continue
		}
		switch d.Kind {
		case collectors.Partition:
			n["partition"]++
		case collectors.Loop:
			n["loop"]++
		case collectors.RAMDisk:
			n["ram disk"]++
		case collectors.Path:
			n["path"]++
		case collectors.WholeDisk, collectors.Mapper, collectors.MDArray, collectors.ZRAM, collectors.Removable:
			n["idle"]++
		}
	}
	for _, k := range kinds {
		switch {
		case n[k] > 0 && k == "idle":
			out = append(out, fmt.Sprintf("%d idle", n[k]))
		case n[k] > 0:
			out = append(out, fmt.Sprintf("%d %s%s", n[k], k, plural(n[k])))
		}
	}
	if s.Table.Unlisted > 0 {
		out = append(out, fmt.Sprintf("%d beyond the first %d", s.Table.Unlisted, len(s.Table.Devices)))
	}
	return strings.Join(out, ", ")
}

// arrayTrouble says what an array lacks or does; empty if it is whole and at rest.
func arrayTrouble(a *collectors.Array) string {
	s := ""
	switch {
	case !a.Active:
		s = " is inactive"
	case a.Have < a.Want:
		s = fmt.Sprintf(" degraded: %d of %d members", a.Have, a.Want)
	case a.Failed > 0:
		s = fmt.Sprintf(": %d failed member%s", a.Failed, plural(a.Failed))
	}
	if a.Action != (collectors.Raw{}) {
		s += ", " + clean(a.Action)
		switch {
		case a.Waits:
			s += " waits"
		case a.All > 0:
			s += fmt.Sprintf(" %.1f %%", 100*float64(a.Done)/float64(a.All))
			if a.Speed > 0 {
				s += fmt.Sprintf(", %s left at %sB/s", widget.Age(a.Finish), widget.Bytes(a.Speed))
			}
		}
	}
	if s == "" {
		return ""
	}
	return strings.TrimSpace(clean(a.Name)+" "+clean(a.Level)) + s
}
