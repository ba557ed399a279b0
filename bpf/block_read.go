// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"time"
)

// BlockClass tells requests apart by operation and by whether somebody waits: enum block_class.
type BlockClass uint32

// The classes.
const (
	ReadSync  BlockClass = iota // not read-ahead
	ReadAhead                   // REQ_RAHEAD, REQ_BACKGROUND
	WriteSync                   // REQ_SYNC, REQ_META, REQ_PRIO
	WriteBack
	FlushClass // REQ_OP_FLUSH as the disk gets it: one may serve several that wait
	DiscardClass
	OtherClass // of zones; passthrough

	BlockClasses = 7
)

// BlockSizes is the number of slots of a histogram of sizes: 0–1 KiB, 2–3 KiB … 32 MiB and more.
const BlockSizes = 16

// BlockKey is a disk, by the kernel's dev_t, and a class. Disk 0 is what found no room of its own.
type BlockKey struct {
	Dev   uint32
	Class BlockClass
}

// BlockCounts are the requests of one disk and class, cumulative since load.
type BlockCounts struct {
	Device Hist // from the last issue to the end
	Queued Hist // from allocation to the last issue
	Sizes  [BlockSizes]uint64

	Completed               uint64
	Bytes, Errors, Requeues uint64
	Sequential              uint64 // began where the one before of the same CPU ended
}

// BlockOwner is what one process had of one disk, cumulative since it was first seen. TGID 0 is what
// is known of nobody; that of Dev 0 found no room of its own.
type BlockOwner struct {
	TGID   int32
	Dev    uint32
	Start  uint64 // of the process, boot time in ns
	Comm   [16]int8
	Cgroup uint64
	Kernel bool // a thread of the kernel, which may ask on behalf of another
	BlockOwnerCounts
}

// BlockOwnerCounts are what one process had of one disk.
type BlockOwnerCounts struct {
	Reads, Writes, Others uint64 // Others: discards and the like
	Flushes               uint64 // that it asked for: fsync and the like
	ReadBytes, WriteBytes uint64
	IONs                  uint64 // of reads, writes and others: from allocation to the end
	FlushNs               uint64 // that its flushes took
	Errors                uint64
}

// BlockSums are of all disks, cumulative since load.
type BlockSums struct {
	Collided  uint64 // requests whose owner was overwritten by another's
	Unowned   uint64 // completed without a known owner
	Unstamped uint64 // completed without a time of issue: neither in Device nor in Queued
	Negative  uint64 // counted with 0 ns, because a clock went back
	Folded    uint64 // counted for disk 0 or process 0, for want of room
	Merged    uint64 // requests that joined another
	Requeued  uint64

	// Missed are ends that the kernel did not run the program for, since it was running on that CPU
	// already: one device's interrupt within another's completion. Before 5.12 there are none. A few
	// more are shown to no program and counted nowhere: those that InFlight found out, if they are more.
	Missed uint64
}

// BlockOp is an operation of what is narrowed: enum block_op.
type BlockOp uint8

// The operations.
const (
	BlockRead BlockOp = iota
	BlockWrite
	BlockFlush // as it is waited for
	BlockOther

	BlockOps = 4
)

// BlockTarget is what one target had, cumulative since load. What the slot counted before it was the
// target's is in it too.
type BlockTarget struct {
	Device [BlockOps]Hist // of flushes: the whole wait
	Queued [BlockOps]Hist
	Bytes  [BlockOps]uint64
}

// BlockReading is one reading of the maps.
type BlockReading struct {
	Disks   map[BlockKey]*BlockCounts // written anew by the next reading
	Owners  []BlockOwner
	Sums    BlockSums
	Targets [FilterSlots]BlockTarget // zero while nobody narrows
}

// Read copies the maps into dst. now is any clock that goes on between readings; it tells which
// owners have done nothing for a minute, and those are let go of.
func (b *Block) Read(now time.Duration, dst *BlockReading) error {
	if err := b.readSums(&dst.Sums); err != nil {
		return err
	}
	b.stamp(dst.Sums.Unstamped)
	if stats, err := b.ended.Stats(); err == nil {
		dst.Sums.Missed = stats.RecursionMisses
	}
	dst.Sums.Missed = max(dst.Sums.Missed, b.unseen)
	if err := b.readDisks(); err != nil {
		return err
	}
	dst.Disks = b.disks
	owners, err := b.readOwners(now, dst.Owners[:0])
	if err != nil {
		return err
	}
	dst.Owners = owners
	return b.readTargets(&dst.Targets)
}

func (b *Block) readSums(dst *BlockSums) error {
	m, err := b.obj.createMap("block_host")
	if err != nil {
		return err
	}
	if err := m.Lookup(uint32(0), &b.sums); err != nil {
		return fmt.Errorf("reading map block_host: %w", err)
	}
	*dst = BlockSums{}
	for i := range b.sums {
		c := &b.sums[i]
		dst.Collided += c.Collided
		dst.Unowned += c.Unowned
		dst.Unstamped += c.Unstamped
		dst.Negative += c.Negative
		dst.Folded += c.Folded
		dst.Merged += c.Merged
		dst.Requeued += c.Requeued
	}
	return nil
}

// add sums up CPUs.
func (h *Hist) add(slots *[HistSlots]uint64, sum uint64) {
	for i, n := range slots {
		h.Slots[i] += n
	}
	h.Sum += sum
}

func (b *Block) readDisks() error { return b.eachRow(b.countDisk) }

// Ended is how many requests have ended since load: cheaper than Read.
func (b *Block) Ended() (uint64, error) {
	var n uint64
	err := b.eachRow(func(BlockKey) {
		for i := range b.counts {
			n += b.counts[i].Completed
		}
	})
	return n, err
}

// eachRow reads each row of the disks that have a place into b.counts.
func (b *Block) eachRow(each func(BlockKey)) error {
	m, err := b.obj.createMap("block_places")
	if err != nil {
		return err
	}
	var places blockDiskTable
	if err := m.Lookup(uint32(0), &places); err != nil {
		return fmt.Errorf("reading map block_places: %w", err)
	}
	rows, err := b.obj.createMap("block_disks")
	if err != nil {
		return err
	}
	for place, dev := range places.Dev {
		if dev == 0 && place != 0 {
			continue
		}
		for class := range uint32(BlockClasses) {
			if err := rows.Lookup(uint32(place)*BlockClasses+class, &b.counts); err != nil {
				return fmt.Errorf("reading map block_disks: %w", err)
			}
			each(BlockKey{dev, BlockClass(class)})
		}
	}
	return nil
}

// countDisk sums up what was read of a row. A row where nothing was counted is none.
func (b *Block) countDisk(key BlockKey) {
	var sum BlockCounts
	for i := range b.counts {
		x := &b.counts[i]
		sum.Device.add(&x.Device, x.DeviceNs)
		sum.Queued.add(&x.Queued, x.QueuedNs)
		for slot, n := range x.Sizes {
			sum.Sizes[slot] += uint64(n)
		}
		sum.Completed += x.Completed
		sum.Bytes += x.Bytes
		sum.Errors += x.Errors
		sum.Requeues += x.Requeues
		sum.Sequential += x.Sequential
	}
	if c := b.disks[key]; c != nil {
		*c = sum
	} else if sum.Completed > 0 || sum.Requeues > 0 {
		b.disks[key] = &sum
	}
}

func (b *Block) readTargets(dst *[FilterSlots]BlockTarget) error {
	for slot, f := range b.obj.slots {
		dst[slot] = BlockTarget{}
		if f == (Filter{}) {
			continue
		}
		m, err := b.obj.createMap("block_narrowed")
		if err != nil {
			return err
		}
		if err := m.Lookup(uint32(slot), &b.targets); err != nil {
			return fmt.Errorf("reading map block_narrowed: %w", err)
		}
		for i := range b.targets {
			c, d := &b.targets[i], &dst[slot]
			for op := range BlockOps {
				d.Device[op].add(&c.Device[op].Slots, c.Device[op].Sum)
				d.Queued[op].add(&c.Queued[op].Slots, c.Queued[op].Sum)
				d.Bytes[op] += c.Bytes[op]
			}
		}
	}
	return nil
}
