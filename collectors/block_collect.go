// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"bpf60/bpf"
)

const (
	maxSlowIO      = 40  // of a span
	maxHungIO      = 40  // of those in flight
	maxBlockStalls = 100 // since start
	maxBlockOwners = 100

	// stallTime is from when on a request is a stall: STALL in block.bpf.c.
	stallTime = time.Second
	// hungTime is from when on a request in flight is taken for one that hangs: seen by a look and by the
	// one before, which may be a little less than a second apart.
	hungTime = 900 * time.Millisecond

	// blockQuiet is how long the kernel's own counts may move without ours before the probe is taken for
	// dead, blockRetries how often it is attached again.
	blockQuiet   = 3 * time.Second
	blockRetries = 2
)

// blockReader is what the collector needs of bpf.Block.
type blockReader interface {
	Hook() string
	OwnersErr() error
	StampErr() error
	RequeuesErr() error
	Read(now time.Duration, dst *bpf.BlockReading) error
	Ended() (uint64, error)
	Certain() bool
	InFlight(now, age time.Duration, dst []bpf.BlockFlight) ([]bpf.BlockFlight, error)
	Event(record []byte) (bpf.BlockEvent, error)
	SetSlow(d time.Duration) error
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

type blockCollector struct {
	open  func() (blockReader, error)
	feed  feed
	boot  func() int64
	stats func(ctx context.Context) ([]diskLine, error)
	mq    func(DevID) bool // whether a device has requests of its own
	off   map[string]bool

	r       blockReader
	err     error
	use     error // why it was attached again
	again   int
	begun   bool
	last    time.Duration
	reading bpf.BlockReading
	flights []bpf.BlockFlight
	base    map[bpf.BlockKey]bpf.BlockCounts
	prev    map[bpf.BlockKey]bpf.BlockCounts
	owners  map[blockOwnerKey]bpf.BlockOwnerCounts
	sums    bpf.BlockSums
	targets [bpf.FilterSlots]bpf.BlockTarget
	slots   narrowing
	slow    time.Duration
	stalls  *BlockStalls
	events  [2]bpf.EventCounts // of the slow ones and of the stalls
	kernel  map[DevID]uint64   // requests that ended, by /proc/diskstats
	direct  map[DevID]bool
	moved   time.Duration
	rested  time.Duration // when the rows at rest were last listed
	ended   uint64        // since start
	lost    uint64
	listed  uint64
}

type blockOwnerKey struct {
	tgid  int32
	dev   uint32
	start uint64
}

// NewBlock returns the collector of Block, with the BPF programs of package bpf. Probes named in off are
// not shown; nothing is attached if all are off.
func NewBlock(k *bpf.Kernel, fs FS, events feed, off map[string]bool) Collector {
	file := fs.file("diskstats")
	var lines []diskLine
	return &blockCollector{
		feed: events, boot: bootTime, off: off,
		open: func() (blockReader, error) {
			b, err := bpf.OpenBlock(k)
			if err != nil {
				return nil, err
			}
			return b, nil
		},
		stats: func(ctx context.Context) ([]diskLine, error) {
			b, err := file.read(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading /proc/diskstats: %w", err)
			}
			lines, err = parseDiskstats(b, lines[:0])
			return lines, err
		},
		mq: func(d DevID) bool {
			_, err := os.Stat(fs.sysPath("dev/block/" + d.String() + "/mq"))
			return err == nil
		},
	}
}

// blockProbes are the names of the rows.
func blockProbes() []string { return []string{"biolatency", "bitesize", "biosnoop", "biotop"} }

// Meta implements Collector.
func (c *blockCollector) Meta() Meta { return Meta{ID: BlockID, Slow: true, Switched: true} }

// Start attaches the programs.
func (c *blockCollector) Start(context.Context) error {
	c.err, c.use, c.again = nil, nil, 0
	c.ended, c.lost, c.listed, c.stalls, c.slots = 0, 0, 0, &BlockStalls{}, narrowing{}
	if !slices.ContainsFunc(blockProbes(), func(name string) bool { return !c.off[name] }) {
		return errSwitchedOff
	}
	if err := c.feed.open(bpf.EventBlock, bpf.EventBlockStall); err != nil {
		return err
	}
	c.events = [2]bpf.EventCounts{}
	if err := c.attach(); err != nil {
		return errors.Join(err, c.feed.close(bpf.EventBlock, bpf.EventBlockStall))
	}
	return nil
}

func (c *blockCollector) attach() error {
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the probes of block I/O: %w", err)
	}
	c.r, c.begun, c.slow = r, false, -1
	c.reading = bpf.BlockReading{}
	c.prev, c.base = map[bpf.BlockKey]bpf.BlockCounts{}, map[bpf.BlockKey]bpf.BlockCounts{}
	c.owners, c.kernel, c.direct = nil, map[DevID]uint64{}, map[DevID]bool{}
	c.targets = [bpf.FilterSlots]bpf.BlockTarget{}
	return nil
}

// Narrow implements Narrower.
func (c *blockCollector) Narrow(targets []Target) error {
	if c.r == nil {
		return nil
	}
	filters, err := c.slots.filters(targets)
	slots, more := c.r.Narrow(filters)
	c.slots.assign(slots)
	return errors.Join(err, more)
}

// Pause implements Pauser.
func (c *blockCollector) Pause(on bool) error {
	if c.r == nil {
		return nil // given up
	}
	c.kernel = map[DevID]uint64{} // what ends meanwhile is no silence of the probe
	return c.r.Pause(on)
}

// Collect reads the maps and the events.
func (c *blockCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	s, err := c.collect(ctx, now)
	c.err = err
	if errors.Is(err, ErrWarming) {
		c.err = nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *blockCollector) collect(ctx context.Context, now time.Duration) (*Block, error) {
	kernel, inFlight, err := c.readKernel(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.r.Read(now, &c.reading); err != nil {
		return nil, err
	}
	s := &Block{Span: Span{c.last, now}}
	first := !c.begun
	if err := c.readEvents(s, now); err != nil {
		return nil, err
	}
	s.Rows, s.Resting = c.rows(first)
	if now-c.rested >= restingEvery {
		c.rested = now
	} else {
		s.Resting = nil
	}
	c.readOwners(s)
	c.readSums(s)
	c.readTargets(s, now)
	if err := c.readFlights(s, now, inFlight); err != nil {
		return nil, err
	}
	s.Stalls = c.stalls
	if first {
		c.last, c.begun, c.moved, c.kernel = now, true, now, kernel
		c.ended, c.lost = 0, 0
		return nil, ErrWarming
	}
	c.last = now
	if err := c.retune(s); err != nil {
		return nil, err
	}
	return s, c.judge(s, kernel, now)
}

// restingEvery is how often rows that end no request are listed.
const restingEvery = time.Minute

// rows are the differences to the last reading, and those that ended nothing since then but something
// before. Where a slot went back everything is new.
func (c *blockCollector) rows(first bool) (out, resting []BlockRow) {
	for key, cur := range c.reading.Disks {
		prev := c.prev[key]
		if first {
			c.base[key] = *cur
		}
		c.prev[key] = *cur
		base := c.base[key]
		if first || prev == *cur && base == *cur {
			continue
		}
		row := BlockRow{Dev: DevID(key.Dev), Class: BlockClass(key.Class)}
		row.DeviceTotal, row.QueuedTotal = histSince(&cur.Device, &base.Device), histSince(&cur.Queued, &base.Queued)
		if prev == *cur {
			resting = append(resting, row)
			continue
		}
		device, queued := histSince(&cur.Device, &prev.Device), histSince(&cur.Queued, &prev.Queued)
		row.Device, row.Queued = device.Hist32(), queued.Hist32()
		for i := range row.Sizes {
			row.Sizes[i] = uint32(min(grown(prev.Sizes[i], cur.Sizes[i]), 1<<32-1))
		}
		row.Completed, row.Bytes = grown(prev.Completed, cur.Completed), grown(prev.Bytes, cur.Bytes)
		row.Errors, row.Requeues = grown(prev.Errors, cur.Errors), grown(prev.Requeues, cur.Requeues)
		row.Sequential = grown(prev.Sequential, cur.Sequential)
		out = append(out, row)
	}
	byDisk := func(a, b BlockRow) int { return cmp.Or(cmp.Compare(a.Dev, b.Dev), cmp.Compare(a.Class, b.Class)) }
	sortBy(out, byDisk)
	sortBy(resting, byDisk)
	return out, resting
}

// readOwners makes the rows of those who asked. An owner that is not in the reading has been let go of:
// should it come back, it begins at 0.
func (c *blockCollector) readOwners(s *Block) {
	next := make(map[blockOwnerKey]bpf.BlockOwnerCounts, len(c.reading.Owners))
	for i := range c.reading.Owners {
		o := &c.reading.Owners[i]
		key := blockOwnerKey{o.TGID, o.Dev, o.Start}
		prev := c.owners[key]
		next[key] = o.BlockOwnerCounts
		if !c.begun || prev == o.BlockOwnerCounts {
			continue
		}
		s.Owners = append(s.Owners, BlockOwner{
			Process: Process{o.TGID, o.Start}, Comm: rawText(o.Comm[:]), Cgroup: o.Cgroup, Kernel: o.Kernel, Dev: DevID(o.Dev),
			Reads: grown(prev.Reads, o.Reads), Writes: grown(prev.Writes, o.Writes), Others: grown(prev.Others, o.Others),
			Flushes:   grown(prev.Flushes, o.Flushes),
			ReadBytes: grown(prev.ReadBytes, o.ReadBytes), WriteBytes: grown(prev.WriteBytes, o.WriteBytes),
			IOTime: time.Duration(grown(prev.IONs, o.IONs)), FlushTime: time.Duration(grown(prev.FlushNs, o.FlushNs)),
			Errors: grown(prev.Errors, o.Errors),
		})
	}
	c.owners = next
	sortBy(s.Owners, func(a, b BlockOwner) int {
		return cmp.Or(cmp.Compare(b.ReadBytes+b.WriteBytes, a.ReadBytes+a.WriteBytes), cmp.Compare(b.requests(), a.requests()),
			cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Dev, b.Dev))
	})
	if len(s.Owners) > maxBlockOwners {
		s.OwnersMore, s.Owners = len(s.Owners)-maxBlockOwners, slices.Clone(s.Owners[:maxBlockOwners])
	}
}

func (o *BlockOwner) requests() uint64 { return o.Reads + o.Writes + o.Others + o.Flushes }

func (c *blockCollector) readSums(s *Block) {
	cur, prev := &c.reading.Sums, &c.sums
	s.Unowned, s.Unstamped = grown(prev.Unowned, cur.Unowned), grown(prev.Unstamped, cur.Unstamped)
	s.Merged, s.Requeued = grown(prev.Merged, cur.Merged), grown(prev.Requeued, cur.Requeued)
	s.Missed, s.Folded = grown(prev.Missed, cur.Missed), grown(prev.Folded, cur.Folded)
	c.lost += s.Missed + grown(prev.Collided, cur.Collided)
	c.sums = *cur
	for i := range s.Rows {
		c.ended += s.Rows[i].Completed
	}
}

func (c *blockCollector) readTargets(s *Block, now time.Duration) {
	c.slots.each(now, func(slot int, t Target, since time.Duration, fresh bool) {
		cur, prev := &c.reading.Targets[slot], &c.targets[slot]
		if !fresh { // else this reading is its base
			var d BlockTarget
			for op := range d.Device {
				device, queued := histSince(&cur.Device[op], &prev.Device[op]), histSince(&cur.Queued[op], &prev.Queued[op])
				d.Device[op], d.Queued[op] = device.Hist32(), queued.Hist32()
				d.Bytes[op] = grown(prev.Bytes[op], cur.Bytes[op])
			}
			s.Narrowed = append(s.Narrowed, Targeted[BlockTarget]{t, since, d})
		}
	})
	c.targets = c.reading.Targets
}

// Close detaches the programs.
func (c *blockCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := errors.Join(c.r.Close(), c.feed.close(bpf.EventBlock, bpf.EventBlockStall))
	c.r = nil
	return err
}
