// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// BlockID is the collector of block I/O: biolatency, bitesize, biosnoop and biotop.
const BlockID ID = "block"

// BlockClass tells requests apart by operation and by whether somebody waits for them.
type BlockClass uint8

// The classes.
const (
	ReadSync  = BlockClass(bpf.ReadSync)
	ReadAhead = BlockClass(bpf.ReadAhead) // also reads in the background
	WriteSync = BlockClass(bpf.WriteSync) // REQ_SYNC, REQ_META or REQ_PRIO
	WriteBack = BlockClass(bpf.WriteBack)
	Flush     = BlockClass(bpf.FlushClass) // as the disk gets it: one may serve several that wait
	Discard   = BlockClass(bpf.DiscardClass)
	OtherIO   = BlockClass(bpf.OtherClass) // of zones; passthrough

	BlockClasses = bpf.BlockClasses
)

// String names the class.
func (c BlockClass) String() string {
	switch c {
	case ReadSync:
		return "read"
	case ReadAhead:
		return "read-ahead"
	case WriteSync:
		return "sync write"
	case WriteBack:
		return "write-back"
	case Flush:
		return "flush"
	case Discard:
		return "discard"
	case OtherIO:
	}
	return "other"
}

// BlockSizes is the number of slots of a histogram of sizes: 0–1 KiB, 2–3 KiB … 32 MiB and more.
const BlockSizes = bpf.BlockSizes

// Block is what the disks' requests did over the span.
type Block struct {
	Span
	Rows []BlockRow // disk × class that ended requests in the span, by disk and class
	// Resting are those that ended none, once a minute: their totals outlive the samples that they moved in.
	Resting []BlockRow

	// Owners are who asked for what ended, by bytes; OwnersMore is how many are not listed.
	Owners     []BlockOwner
	OwnersMore int

	// Slow are the slowest requests that ended, the slowest first. Unlisted took as long as the least
	// of them and found no room.
	Slow     []BlockIO
	Unlisted uint64
	// Hung are requests that have been in flight for a second and more, the oldest first.
	Hung []BlockIO
	// Stalls are the requests that took a second and more since start. Samples share it.
	Stalls *BlockStalls

	Unowned   uint64 // ended without a known owner
	Unstamped uint64 // ended without a time of issue: neither in Device nor in Queued
	Merged    uint64 // requests that joined another
	Requeued  uint64
	Missed    uint64 // ends that the kernel did not show the program: not counted
	Folded    uint64 // counted as disk 0 or process 0, for want of room

	Narrowed []Targeted[BlockTarget]
}

// BlockRow is one disk's requests of one class: deltas, and totals since the probe attached.
type BlockRow struct {
	Dev   DevID // 0: disks beyond those that are told apart
	Class BlockClass
	BlockCounts
	DeviceTotal, QueuedTotal Hist
}

// BlockCounts are additive deltas of requests that ended.
type BlockCounts struct {
	Device Hist32 // from the last issue to the end
	Queued Hist32 // from allocation to the last issue
	Sizes  [BlockSizes]uint32

	Completed  uint64
	Bytes      uint64
	Errors     uint64
	Requeues   uint64
	Sequential uint64 // began where the one before of this class and CPU ended
}

// BlockOwner is what one process had of one disk, additive deltas. A process without a number is what
// is known of nobody.
type BlockOwner struct {
	Process Process
	Comm    Raw
	Cgroup  uint64 // as ProcInfo.Cgroup; of a thread of the kernel whose it asks for, where known
	Kernel  bool   // a thread of the kernel, which may ask on behalf of another
	Dev     DevID

	Reads, Writes, Others uint64
	Flushes               uint64 // that it waited for: fsync and the like
	ReadBytes, WriteBytes uint64
	IOTime                time.Duration // of reads, writes and others, from allocation to the end
	FlushTime             time.Duration
	Errors                uint64
}

// BlockIO is a single request.
type BlockIO struct {
	At      time.Duration // its end; of one in flight: now. Monotonic since the run began
	Total   time.Duration // from allocation to the end; of one in flight: at least so long
	Queued  time.Duration // -1: not known, or never issued
	Device  time.Duration // the same
	Dev     DevID
	Op      BlockOp
	Sync    bool // somebody waits for it
	Sector  uint64
	Bytes   uint32
	Errno   int32 // 0: it succeeded
	Process Process
	Comm    Raw
	Cgroup  uint64
	Kernel  bool
}

// Failure names why the request failed: EIO. Empty if it succeeded.
func (x *BlockIO) Failure() string {
	if x.Errno == 0 {
		return ""
	}
	return cmp.Or(unix.ErrnoName(unix.Errno(x.Errno)), "failed")
}

// BlockOp is biosnoop's T.
type BlockOp uint8

// The operations.
const (
	OpRead BlockOp = iota
	OpWrite
	OpFlush
	OpDiscard
	OpOther
)

// String is the letter of biosnoop.
func (o BlockOp) String() string {
	switch o {
	case OpRead:
		return "R"
	case OpWrite:
		return "W"
	case OpFlush:
		return "F"
	case OpDiscard:
		return "D"
	case OpOther:
	}
	return "?"
}

// BlockStalls are the requests that took a second and more. It is not written once a sample holds it.
type BlockStalls struct {
	Count    uint64    // since start
	Unlisted uint64    // of those: not in List, nor ever
	List     []BlockIO // the newest, the newest last
}

// BlockTarget is what one target had, additive deltas. By operation: reads, writes, flushes, others.
type BlockTarget struct {
	Device [bpf.BlockOps]Hist32 // of flushes: the whole wait
	Queued [bpf.BlockOps]Hist32
	Bytes  [bpf.BlockOps]uint64
}

func (b *Block) put(s *Snapshot) { s.Block = b }

// size is what b holds. Stalls are shared.
func (b *Block) size() int {
	n := allocSize(unsafe.Sizeof(*b)) + sliceSize(b.Rows) + sliceSize(b.Resting) + sliceSize(b.Owners) + sliceSize(b.Slow) +
		sliceSize(b.Hung) + sliceSize(b.Narrowed)
	for _, l := range [][]BlockIO{b.Slow, b.Hung} {
		for i := range l {
			n += allocSize(uintptr(len(l[i].Comm.s)))
		}
	}
	for i := range b.Owners {
		n += allocSize(uintptr(len(b.Owners[i].Comm.s)))
	}
	return n
}

// withoutRows returns a copy of b without owners and single requests.
func (b *Block) withoutRows() *Block {
	c := *b
	c.Owners, c.Slow, c.Hung, c.Narrowed = nil, nil, nil, nil
	return &c
}
