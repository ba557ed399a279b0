// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// rowAllIO is the row of all requests.
const rowAllIO = "io all"

// noRequests is the reason of a cell without requests.
const noRequests = "no request ended in the interval"

const requestsWord = "requests"

// blockTable is the latency of each disk and class: biolatency -D -F in numbers.
func blockTable(f Frame, disks *diskSum, s *blockSum, show func(collectors.DevID) bool) Table {
	bucket := func(id string, rank int) Column { return Column{ID: id, Title: id, Width: 9, Rank: rank} }
	t := Table{Title: "block I/O", Columns: []Column{
		{ID: "Device", Title: "Device", Width: 8, Left: true},
		{ID: "what", Title: "what", Width: 10, Left: true},
		{ID: "io/s", Title: "io/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "avgkB", Title: "avgkB", Unit: "KiB", Width: 6, Decimals: 1, Rank: 3},
		bucket("p50", 1), bucket("p99", 0), bucket("max", 2), bucket("que_p99", 1),
		{ID: "mean", Title: "mean ms", Unit: "ms", Width: 8, Decimals: 3, Rank: 5},
		{ID: "que_mean", Title: "que ms", Unit: "ms", Width: 8, Decimals: 3, Rank: 5},
		{ID: "%seq", Title: "%seq", Unit: "%", Width: 5, Decimals: 1, Rank: 4},
		{ID: "kB/s", Title: "kB/s", Unit: "KiB/s", Width: 9, Decimals: 1, Rank: 6},
		{ID: "err", Title: "err", Unit: "requests", Width: 5, Rank: 6},
		{ID: "requeue", Title: "requeue", Unit: "requests", Width: 7, Rank: 7},
	}}
	if s == nil {
		why, remedy := whyNot(f, collectors.BlockID, "biolatency")
		t.Notes = append(t.Notes, note("biolatency", why, remedy))
		return t
	}
	sum, _ := s.picked(allRequests)
	t.Rows = append(t.Rows, blockRow(rowAllIO, "all", "all", s, sum))
	for _, k := range s.hot {
		if !show(k.dev) {
			continue
		}
		c := s.rows[k]
		if c == nil {
			c = &blockCounts{}
		}
		name := diskName(disks, k.dev)
		row := blockRow(blockRowID(k), name, k.class.String(), s, *c)
		row.Target = aboutDisk(k.dev, name)
		t.Rows = append(t.Rows, row)
	}
	if s.unstamped > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d requests without a time of issue: in no histogram", s.unstamped))
	}
	if s.missed > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d ends were missed: the kernel showed them to no program", s.missed))
	}
	if s.folded > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d requests are counted as others: there are more disks than are told apart", s.folded))
	}
	return t
}

func blockRowID(k blockKey) string { return "io " + k.dev.String() + " " + k.class.String() }

func blockRow(id, disk, what string, s *blockSum, c blockCounts) Row {
	n := c.Completed
	bucket := func(h *collectors.Hist, q float64) Cell {
		if n == 0 {
			return Missing(noRequests)
		}
		text := quantile(h, q)
		if text == "-" {
			return Missing("fewer than 100 requests: see max")
		}
		return Say(text)
	}
	mean := func(h *collectors.Hist) Cell {
		if h.Count() == 0 {
			return Missing(noRequests)
		}
		return Number(float64(h.Mean()) / 1e6)
	}
	moving := movingRequests(&c)
	share := func(part uint64) Cell {
		if moving == 0 {
			return Missing(noRequests)
		}
		return Number(100 * float64(part) / float64(moving))
	}
	return Row{ID: id, Sum: id == rowAllIO, Cells: []Cell{
		Say(disk), Say(what), perSecond(n, s.Span), perRequest(float64(c.Bytes)/1024, n, requestsWord),
		bucket(&c.Device, 0.5), bucket(&c.Device, 0.99), bucket(&c.Device, 1), bucket(&c.Queued, 0.99),
		mean(&c.Device), mean(&c.Queued), share(c.Sequential),
		perSecond(c.Bytes/1024, s.Span), Number(float64(c.Errors)), Number(float64(c.Requeues)),
	}}
}

// movingRequests are those that moved something: flushes do not.
func movingRequests(c *blockCounts) (n uint64) {
	for _, x := range c.Sizes {
		n += x
	}
	return n
}

// slowTable lists single requests with biosnoop's columns.
func slowTable(f Frame, disks *diskSum, s *blockSum, show func(collectors.DevID) bool) Table {
	t := Table{Title: "slowest I/O", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 8, Left: true, Rank: 3},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "PID", Title: "PID", Width: 7, Rank: 1},
		{ID: "DISK", Title: "DISK", Width: 8, Left: true, Rank: 1},
		{ID: "T", Title: "T", Width: 1, Left: true},
		{ID: "SECTOR", Title: "SECTOR", Width: 11, Rank: 4},
		{ID: "BYTES", Title: "BYTES", Unit: "bytes", Width: 6, Form: Bytes, Rank: 2},
		{ID: "QUE(ms)", Title: "QUE(ms)", Unit: "ms", Width: 8, Decimals: 2, Rank: 2},
		{ID: "LAT(ms)", Title: "LAT(ms)", Unit: "ms", Width: 8, Decimals: 2},
		{ID: "total", Title: "total", Unit: "ms", Width: 9, Decimals: 2, Rank: 5},
		{ID: "CGROUP", Title: "CGROUP", Width: 14, Left: true, Rank: 8},
		{ID: "state", Title: "state", Width: 7, Left: true, Rank: 3},
		{ID: "cgroup", Title: "cgroup", Unit: "id", Width: 9, Hidden: true},
	}}
	if s == nil {
		why, remedy := whyNot(f, collectors.BlockID, "biosnoop")
		t.Notes = append(t.Notes, note("biosnoop", why, remedy))
		return t
	}
	list, names := s.listed(f), newCgroupNames(f)
	for i := range list {
		if x := &list[i]; show(x.Dev) {
			t.Rows = append(t.Rows, slowRow(f, disks, names, x, i < len(s.hung)))
		}
	}
	if s.unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more took as long and found no room in the list", s.unlisted))
	}
	if s.stalls != nil && s.stalls.Unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d took a second and more since start, of which %d are not listed", s.stalls.Count, s.stalls.Unlisted))
	}
	return t
}

func slowRow(f Frame, disks *diskSum, names *cgroupNames, x *collectors.BlockIO, hangs bool) Row {
	const never = "it was never issued: it waited for a flush, or still waits"
	ms := func(d time.Duration) Cell {
		if d < 0 {
			return Missing(never)
		}
		return Number(float64(d) / 1e6)
	}
	when := f.At
	if f.Now.Snapshot != nil {
		when = f.At.Add(x.At - f.Now.At)
	}
	comm, pid := ownerCells(x.Process, x.Comm, x.Kernel)
	state := ""
	lat := ms(x.Device)
	switch {
	case hangs:
		state = "hangs"
	case x.Errno != 0:
		state = x.Failure()
	case x.Total >= time.Second:
		state = "stall"
	}
	if x.Device < 0 { // what waits has waited so long
		lat = Number(float64(x.Total) / 1e6)
	}
	bytes := Number(float64(x.Bytes))
	if x.Op == collectors.OpFlush {
		bytes = Missing("a flush moves nothing")
	}
	sector := Number(float64(x.Sector))
	if x.Op == collectors.OpFlush {
		sector = Missing("a flush is of the whole disk")
	}
	return Row{ID: ioRow(x), Target: inCgroup(onDisk(aboutProcess(x.Process, x.Comm), x.Dev), x.Cgroup), Cells: []Cell{
		Say(when.Format("15:04:05")), comm, pid, Say(diskName(disks, x.Dev)), Say(x.Op.String()),
		sector, bytes, ms(x.Queued), lat, Number(float64(x.Total) / 1e6), names.cell(x.Cgroup), Say(state), cgroupCell(x.Cgroup),
	}}
}

// ownerCells name who asked. A thread of the kernel may ask on behalf of another.
func ownerCells(p collectors.Process, comm collectors.Raw, kernel bool) (name, pid Cell) {
	if p.TGID == 0 {
		const why = "whoever asked was not seen"
		return Missing(why), Missing(why)
	}
	name, pid = Name(collectors.Clean(comm)), Number(float64(p.TGID))
	if kernel {
		name.Badge = "~"
	}
	return name, pid
}

func cgroupCell(id uint64) Cell {
	if id == 0 {
		return Missing("the kernel has no cgroups")
	}
	return Number(float64(id))
}

// ownerTable lists who asked for what ended: biotop's columns and those of its writes and flushes.
func ownerTable(f Frame, disks *diskSum, s *blockSum, show func(collectors.DevID) bool) Table {
	rate := func(id, unit string, rank int) Column {
		return Column{ID: id, Title: id, Unit: unit, Width: max(len(id), 6), Decimals: 1, Rank: rank}
	}
	t := Table{Title: "processes", Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7, Rank: 1},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "DISK", Title: "DISK", Width: 7, Left: true, Rank: 1},
		rate("r/s", "/s", 2), rate("rkB/s", "KiB/s", 0), rate("w/s", "/s", 2), rate("wkB/s", "KiB/s", 0), rate("f/s", "/s", 3),
		{ID: "AVGms", Title: "AVGms", Unit: "ms", Width: 6, Decimals: 2},
		{ID: "flush", Title: "flushms", Unit: "ms", Width: 7, Decimals: 2, Rank: 4},
		{ID: "err", Title: "err", Unit: "requests", Width: 4, Rank: 5},
		{ID: "load", Title: "load", Unit: "requests", Width: 5, Decimals: 2, Rank: 0},
	}}
	if s == nil {
		why, remedy := whyNot(f, collectors.BlockID, "biotop")
		t.Notes = append(t.Notes, note("biotop", why, remedy))
		return t
	}
	rowsNote(f, &t)
	for i := range s.owners {
		o := &s.owners[i]
		if !show(o.Dev) {
			continue
		}
		comm, pid := ownerCells(o.Process, o.Comm, o.Kernel)
		io := o.Reads + o.Writes + o.Others
		load := Missing("waiting for a second reading")
		if s.Seconds() > 0 {
			load = Number((o.IOTime + o.FlushTime).Seconds() / s.Seconds())
		}
		t.Rows = append(t.Rows, Row{ID: ownerRow(o), Target: onDisk(aboutProcess(o.Process, o.Comm), o.Dev), Cells: []Cell{
			pid, comm, Say(diskName(disks, o.Dev)),
			perSecond(o.Reads, s.Span), perSecond(o.ReadBytes/1024, s.Span), perSecond(o.Writes, s.Span), perSecond(o.WriteBytes/1024, s.Span),
			perSecond(o.Flushes, s.Span), perRequest(float64(o.IOTime)/1e6, io, requestsWord), perRequest(float64(o.FlushTime)/1e6, o.Flushes, "flushes"),
			Number(float64(o.Errors)), load,
		}})
	}
	if s.more > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more are not listed", s.more))
	}
	if s.unowned > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("of %d requests nobody knows who asked", s.unowned))
	}
	return t
}

func ownerRow(o *collectors.BlockOwner) string {
	return "own " + strconv.Itoa(int(o.Process.TGID)) + " " + strconv.FormatUint(o.Process.Start, 10) + " " + o.Dev.String()
}

// sizeTable is bitesize: how many requests there were of each size.
func sizeTable(s *blockSum, pick blockPick) Table {
	t := Table{Title: "I/O sizes", Columns: []Column{{ID: "KiB", Title: "KiB", Width: 16, Left: true}}}
	parts := []struct {
		title   string
		classes uint
	}{{"reads", readClasses}, {"writes", writeClasses}, {"discards", 1 << collectors.Discard}}
	for _, p := range parts {
		t.Columns = append(t.Columns, Column{ID: p.title, Title: p.title, Unit: "requests", Width: 9})
	}
	if s == nil {
		return t
	}
	var sums [3]blockCounts
	for i, p := range parts {
		in := ofClasses(p.classes)
		sums[i], _ = s.picked(func(dev collectors.DevID, class collectors.BlockClass) bool {
			return in(dev, class) && pick(dev, class)
		})
	}
	for slot := range collectors.BlockSizes {
		cells := []Cell{Say(sizeRange(slot))}
		any := false
		for i := range sums {
			n := sums[i].Sizes[slot]
			cells = append(cells, Number(float64(n)))
			any = any || n > 0
		}
		if any {
			t.Rows = append(t.Rows, Row{ID: "size " + strconv.Itoa(slot), Cells: cells})
		}
	}
	return t
}

// sizeRange is a slot of bitesize as bcc prints it, in KiB.
func sizeRange(slot int) string {
	b := collectors.SlotBucket(slot)
	if slot == collectors.BlockSizes-1 {
		return fmt.Sprintf("%d and more", b.Lo)
	}
	return fmt.Sprintf("%d -> %d", b.Lo, b.Hi)
}

// sizeLine is bitesize in one line: the sizes that make up most of the requests.
func sizeLine(c Canvas, s *blockSum, pick blockPick, width int) string {
	l := widget.NewLine(width).Skip(1).Put(c.Theme.Dim, "sizes  ")
	sum, ok := s.picked(pick)
	all := movingRequests(&sum)
	if !ok || all == 0 {
		return l.Put(c.Theme.Dim, "-").String()
	}
	for slot, n := range sum.Sizes {
		if share := float64(n) / float64(all); share >= 0.05 {
			b := collectors.SlotBucket(slot)
			l.Plain(fmt.Sprintf("%dK ", b.Lo)).Put(c.Theme.Dim, fmt.Sprintf("%.0f %%  ", 100*share))
		}
	}
	return l.Put(c.Theme.Dim, "sequential ").Plain(fmt.Sprintf("%.0f %%", 100*float64(sum.Sequential)/float64(all))).String()
}
