// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// DiskID is the collector of /proc/diskstats and of what /sys knows of block devices.
const DiskID ID = "disk"

// DevID is a device's number as the kernel keeps it: 12 bits of major, 20 of minor.
type DevID uint32

// MakeDev puts a device's number together.
func MakeDev(major, minor uint32) DevID { return DevID(major<<20 | minor&(1<<20-1)) }

// Major is the driver's number.
func (d DevID) Major() uint32 { return uint32(d) >> 20 }

// Minor is the device's number within its driver.
func (d DevID) Minor() uint32 { return uint32(d) & (1<<20 - 1) }

// String returns "254:0".
func (d DevID) String() string {
	return strconv.Itoa(int(d.Major())) + ":" + strconv.Itoa(int(d.Minor()))
}

// IOCounts are one direction's counters of a block device (block/genhd.c, diskstats_show).
type IOCounts struct {
	IOs     uint64 // completed
	Merged  uint64 // joined to one that waited; not in IOs
	Sectors uint64 // of 512 bytes, whatever the device's own are
	Ms      uint64 // time of the completed, from entering the queue to completion, milliseconds
}

// DiskCounts are the counters of a block device.
type DiskCounts struct {
	Read, Write, Discard IOCounts
	Flushes, FlushMs     uint64 // of whole devices; the kernel counts none for partitions
	BusyMs               uint64 // time with at least one request under way, milliseconds
	QueueMs              uint64 // sum over requests of their time under way, milliseconds
}

// Disk is the I/O of the span. In the first sample, whose span is empty, deltas are zero and the
// gauges stand.
type Disk struct {
	Span
	Table *DiskTable `record:"must"` // every block device; the samples share one as long as it holds

	// Rows are the devices that did I/O in the span, have some under way or just appeared, in
	// the table's order. Nil, not empty, when the history has let go of them.
	Rows   []DiskRow
	Arrays []Array // of md, as of the table's reading; shared

	Discards, Flushes bool // this kernel counts them: 4.18, 5.5
}

// DiskRow is the I/O of one block device.
type DiskRow struct {
	*BlockDevice `record:"must"`
	New          bool   // no baseline: it appeared, or was replaced, in this span
	InFlight     uint32 // requests under way at the end of the span
	DiskCounts
}

func (d *Disk) put(s *Snapshot) { s.Disk = d }

// size counts rows and arrays; the table is shared.
func (d *Disk) size() int { return sliceSize(d.Rows) + sliceSize(d.Arrays) }

const (
	// maxDevices bounds how many devices are told apart; what is beyond is counted.
	maxDevices = 4096
	maxArrays  = 256

	tableInterval = 30 * time.Second       // how often /sys is read anew
	arrayInterval = 10 * time.Second       // the same where md has arrays, whose progress matters
	tablePatience = 100 * time.Millisecond // how long the first sample waits for it
)

// trackedDisk is a line of the last reading and what it was compared with.
type trackedDisk struct {
	dev   DevID
	name  string
	prev  DiskCounts
	begun bool // prev is set
}

type diskCollector struct {
	stats *procFile
	scan  func([]deviceName) (*DiskTable, error)

	lines   []diskLine    // of the last reading; names alias the buffer of stats
	devices []trackedDisk // in the order of the file
	table   *DiskTable
	arrays  []Array
	looking aside[*DiskTable] // the question to /sys
	looked  time.Duration     // when the last answer was asked for
	stale   bool              // the devices have changed since then

	begun    bool
	last     time.Duration
	err      error // of the last Collect
	tableErr error // of the last reading of /sys
	now      time.Duration
}

// NewDisk returns the collector of Disk. It needs no privilege.
func NewDisk(fs FS) Collector {
	return &diskCollector{
		stats: fs.file("diskstats"),
		scan:  func(names []deviceName) (*DiskTable, error) { return scanDevices(fs, names) },
	}
}

func (c *diskCollector) Meta() Meta { return Meta{ID: DiskID} }

func (c *diskCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.tableErr, c.devices, c.stale = false, nil, nil, nil, true
	c.table = &DiskTable{}
	return ctx.Err()
}

// Collect reads /proc/diskstats. What /sys says of the devices is read beside it: some of those
// files wait for a device that hangs.
func (c *diskCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	b, err := c.stats.read(ctx)
	if err == nil {
		c.lines, err = parseDiskstats(b, c.lines[:0])
	}
	c.now = now
	if err != nil {
		c.err = fmt.Errorf("reading /proc/diskstats: %w", err)
		return nil, c.err
	}
	c.err = nil
	unlisted := max(len(c.lines)-maxDevices, 0)
	c.lines = c.lines[:len(c.lines)-unlisted]
	c.match(unlisted)
	c.look(ctx, now)
	if !c.begun {
		c.last, c.begun = now, true
	}
	s := deriveDisk(c.devices, c.lines, c.table, Span{c.last, now})
	s.Arrays = c.arrays
	c.last = now
	return s, nil
}

// match makes c.devices follow the lines. While no device comes or goes that is a comparison.
func (c *diskCollector) match(unlisted int) {
	same := len(c.devices) == len(c.lines) && c.table.Unlisted == unlisted
	for i := 0; same && i < len(c.lines); i++ {
		same = c.devices[i].dev == c.lines[i].Dev && c.devices[i].name == string(c.lines[i].Name)
	}
	if same {
		return
	}
	type key struct {
		dev  DevID
		name string
	}
	was := make(map[key]trackedDisk, len(c.devices))
	for _, d := range c.devices {
		was[key{d.dev, d.name}] = d
	}
	known := make(map[key]*BlockDevice, len(c.table.Devices))
	for _, d := range c.table.Devices {
		known[key{d.Dev, d.Name.Bytes()}] = d
	}
	devices := make([]trackedDisk, len(c.lines))
	table := &DiskTable{Devices: make([]*BlockDevice, len(c.lines)), Unlisted: unlisted}
	for i := range c.lines {
		k := key{c.lines[i].Dev, string(c.lines[i].Name)}
		t, ok := was[k]
		if !ok {
			t = trackedDisk{dev: k.dev, name: k.name, begun: false}
		}
		devices[i] = t
		table.Devices[i] = known[k]
		if !ok || known[k] == nil {
			table.Devices[i] = newDevice(k.dev, k.name)
		}
	}
	c.devices, c.table, c.stale = devices, table, true
}

// look takes what /sys has answered and asks again when it is time.
func (c *diskCollector) look(ctx context.Context, now time.Duration) {
	c.answer(ctx, 0)
	interval := tableInterval
	if len(c.arrays) > 0 {
		interval = arrayInterval
	}
	if c.looking.open() || !c.stale && now-c.looked < interval {
		return
	}
	names := make([]deviceName, len(c.devices))
	for i, d := range c.devices {
		names[i] = deviceName{d.dev, d.name}
	}
	c.stale, c.looked = false, now
	scan := c.scan
	c.looking.ask(now, func() (*DiskTable, error) { return scan(names) })
	if !c.begun { // the first screen should know what is a disk and what a partition
		c.answer(ctx, tablePatience)
	}
}

// answer adopts a table that has come. One that says the same is dropped, so that the samples go
// on to share theirs.
func (c *diskCollector) answer(ctx context.Context, patience time.Duration) {
	t, err := c.looking.take(ctx, patience)
	if errors.Is(err, errNoAnswer) {
		return
	}
	if c.tableErr = err; t == nil {
		return
	}
	if len(t.Devices) != len(c.devices) {
		return // it answers an older question
	}
	for i := range t.Devices {
		if t.Devices[i].Dev != c.devices[i].dev || t.Devices[i].Name.Bytes() != c.devices[i].name {
			return
		}
	}
	c.arrays = t.arrays
	t.Unlisted, t.arrays = c.table.Unlisted, nil
	t.keepErrors(c.table)
	if !t.equal(c.table) {
		c.table = t
	}
}

func (c *diskCollector) Probes() []Probe {
	iostat := Probe{Name: "iostat", Hook: "/proc/diskstats"}
	iostat.State, iostat.Reason = stateOf(c.begun, c.err)
	lsblk := Probe{Name: "lsblk", Hook: "/sys/block, /proc/mdstat"}
	lsblk.State, lsblk.Reason = stateOf(c.begun, c.tableErr)
	if open := c.now - c.looking.began; c.looking.open() && open >= time.Second && lsblk.State == On {
		lsblk.State = Degraded
		lsblk.Reason = fmt.Sprintf("a file of a device has not answered for %.0f s", open.Seconds())
	}
	return []Probe{iostat, lsblk}
}

func (c *diskCollector) Close() error {
	c.begun = false
	return c.stats.close()
}

// deriveDisk subtracts the previous reading, kept in devices, from lines, and keeps lines there.
// The three lists are in one order.
func deriveDisk(devices []trackedDisk, lines []diskLine, table *DiskTable, span Span) *Disk {
	s := &Disk{Span: span, Table: table, Rows: make([]DiskRow, 0, activeDevices(devices, lines))}
	for i := range lines {
		cur, d := &lines[i], &devices[i]
		s.Discards = s.Discards || cur.Columns >= discardColumns
		s.Flushes = s.Flushes || cur.Columns >= flushColumns
		row := DiskRow{BlockDevice: table.Devices[i], InFlight: cur.InFlight, New: !d.begun}
		if d.begun {
			if cur.DiskCounts == d.prev && cur.InFlight == 0 {
				continue
			}
			var ok bool
			row.DiskCounts, ok = cur.DiskCounts.Since(d.prev)
			row.New = !ok
		}
		d.prev, d.begun = cur.DiskCounts, true
		s.Rows = append(s.Rows, row)
	}
	return s
}

// activeDevices is how many rows the sample will have.
func activeDevices(devices []trackedDisk, lines []diskLine) int {
	n := 0
	for i := range lines {
		if !devices[i].begun || lines[i].InFlight > 0 || lines[i].DiskCounts != devices[i].prev {
			n++
		}
	}
	return n
}

// Since returns c less an earlier reading. False if the device was replaced: one of the 64-bit
// counters went back, which the kernel never does to a device it keeps.
func (c DiskCounts) Since(prev DiskCounts) (d DiskCounts, ok bool) {
	d.Read, ok = c.Read.since(prev.Read)
	if !ok {
		return DiskCounts{}, false
	}
	if d.Write, ok = c.Write.since(prev.Write); !ok {
		return DiskCounts{}, false
	}
	if d.Discard, ok = c.Discard.since(prev.Discard); !ok || c.Flushes < prev.Flushes {
		return DiskCounts{}, false
	}
	d.Flushes = c.Flushes - prev.Flushes
	d.FlushMs = sinceMs(prev.FlushMs, c.FlushMs)
	d.BusyMs = sinceMs(prev.BusyMs, c.BusyMs)
	d.QueueMs = sinceMs(prev.QueueMs, c.QueueMs)
	return d, true
}

func (c IOCounts) since(prev IOCounts) (IOCounts, bool) {
	if c.IOs < prev.IOs || c.Merged < prev.Merged || c.Sectors < prev.Sectors {
		return IOCounts{}, false
	}
	return IOCounts{c.IOs - prev.IOs, c.Merged - prev.Merged, c.Sectors - prev.Sectors, sinceMs(prev.Ms, c.Ms)}, true
}

// sinceMs is the increase of a column of milliseconds. They are printed as 32 bits and wrap: the
// weighted one after 50 days of a queue of one, or half a day of a queue of a hundred. A step back
// that is no wrap gives 0.
func sinceMs(prev, cur uint64) uint64 {
	if cur >= prev {
		return cur - prev
	}
	if prev < 1<<32 {
		if d := cur + 1<<32 - prev; d < 1<<31 {
			return d
		}
	}
	return 0
}

// Plus adds another span's I/O.
func (c *DiskCounts) Plus(o *DiskCounts) {
	c.Read.plus(&o.Read)
	c.Write.plus(&o.Write)
	c.Discard.plus(&o.Discard)
	c.Flushes += o.Flushes
	c.FlushMs += o.FlushMs
	c.BusyMs += o.BusyMs
	c.QueueMs += o.QueueMs
}

func (c *IOCounts) plus(o *IOCounts) {
	c.IOs += o.IOs
	c.Merged += o.Merged
	c.Sectors += o.Sectors
	c.Ms += o.Ms
}

// withoutRows keeps what is known of the devices, and no counts of single ones.
func (d *Disk) withoutRows() *Disk {
	c := *d
	c.Rows = nil
	return &c
}
