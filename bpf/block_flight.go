// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BlockFlight is a request that has not ended.
type BlockFlight struct {
	Slot int // with Life it tells the request from all others
	Life uint32
	Age  time.Duration // at least
	BlockRequest
}

// BlockRequest is what a request asked for, and who asked.
type BlockRequest struct {
	Dev    uint32
	Sector uint64 // of 512 bytes, on the whole disk
	Bytes  uint32
	Op     uint8  // REQ_OP_READ …
	Flags  uint32 // enum req_flag_bits, which moves

	TGID   int32 // 0: not known
	Start  uint64
	Comm   [16]int8
	Cgroup uint64
	Kernel bool
}

// Operations, include/linux/blk_types.h.
const (
	OpRead        = 0
	OpWrite       = 1
	OpFlush       = 2
	OpDiscard     = 3
	OpErase       = 5
	OpZoneAppend  = 7
	OpWriteZeroes = 9
)

// InFlight appends to dst the requests that have not ended and were in flight at an earlier call `age`
// ago too. What is in flight is known by looking, so that ages are at least what they say and short by
// no more than the time between two calls. now is as in Read.
//
// Some ends are shown to no program, and what ended so would look as if it hung until the kernel uses
// its place again. Where Certain, the request itself tells, and those are left out; Read counts them.
func (b *Block) InFlight(now, age time.Duration, dst []BlockFlight) ([]BlockFlight, error) {
	if b.ownersErr != nil {
		return dst, nil
	}
	if err := b.readFlights(); err != nil {
		return dst, err
	}
	m := b.obj.maps["block_requests"]
	for i := range b.flights {
		f, l := &b.flights[i], &b.lives[i]
		if f.Flying == 0 {
			l.seen = false
			continue
		}
		if !l.seen || l.number != f.Life {
			*l = life{number: f.Life, since: now, seen: true}
		}
		if l.unseen || now-l.since < age {
			continue
		}
		if age > 0 && b.endedUnseen(m, uint32(i), f) {
			l.unseen = true
			b.unseen++
			continue
		}
		x := BlockFlight{Slot: i, Life: f.Life, Age: now - l.since, BlockRequest: requestOf(f.Dev, f.Flags, f.Bytes, f.Sector)}
		if f.Owned != 0 {
			x.own(f.Owner.Tgid, f.Owner.Kernel, f.Owner.Start, f.Owner.Cgroup, &f.Owner.Comm)
		}
		dst = append(dst, x)
	}
	return dst, nil
}

// readFlights reads what is in flight.
func (b *Block) readFlights() error {
	m, err := b.obj.createMap("block_requests")
	if err != nil {
		return err
	}
	if b.flying == nil {
		if b.flying, err = mapArray[blockInflight](m); err != nil {
			return err
		}
		b.flights, b.lives = make([]blockInflight, m.MaxEntries()), make([]life, m.MaxEntries())
	}
	for i := range b.flights {
		if atomic.LoadUint32(&b.flying.values[i].Flying) != 0 {
			b.flying.read(i, &b.flights[i])
		} else {
			b.flights[i].Flying = 0
		}
	}
	return nil
}

// life is when the request that has a slot was first seen there.
type life struct {
	number uint32
	seen   bool
	unseen bool // it has ended, and no program was shown its end
	since  time.Duration
}

// Certain says whether InFlight knows of each request that it is still there.
func (b *Block) Certain() bool { return b.fate != nil }

// What block_fate_of returns: enum block_fate.
const (
	fateUnknown = 0
	fateEnded   = 2
)

// endedUnseen asks the kernel whether a request has been freed although its entry says that it flies. A
// request ends before it is freed: whoever ends now has said so in its entry.
func (b *Block) endedUnseen(m *ebpf.Map, slot uint32, f *blockInflight) bool {
	if b.fate == nil {
		return false
	}
	var ctx [8]byte
	binary.NativeEndian.PutUint64(ctx[:], f.Request)
	verdict, err := b.fate.Run(&ebpf.RunOptions{Context: ctx[:]})
	if err != nil || verdict == fateUnknown {
		b.fate = nil // not to be told on this kernel
		return false
	}
	var now blockInflight
	return verdict == fateEnded && m.Lookup(slot, &now) == nil && now.Flying != 0 && now.Life == f.Life
}

func requestOf(dev, flags, size uint32, sector uint64) BlockRequest {
	return BlockRequest{Dev: dev, Bytes: size, Sector: sector, Op: uint8(flags), Flags: flags}
}

func (r *BlockRequest) own(tgid int32, kernel uint32, start, cgroup uint64, comm *[16]int8) {
	if start == 0 {
		return
	}
	r.TGID, r.Start, r.Cgroup, r.Kernel = tgid, start, cgroup, kernel != 0
	r.Comm = *comm
}

// BlockEvent is a request that has ended and took long.
type BlockEvent struct {
	At     uint64 // of its end: boot time, ns
	Total  time.Duration
	Queued time.Duration // -1: not known, or never issued
	Device time.Duration // -1: the same
	Flush  bool          // it waited for a flush, and moved nothing
	Errno  unix.Errno    // 0: it succeeded
	Class  BlockClass
	BlockRequest
}

// Event decodes a record of kind EventBlock or EventBlockStall.
func (b *Block) Event(record []byte) (BlockEvent, error) {
	var r blockBlockEvent
	if err := binary.Read(bytes.NewReader(record), binary.NativeEndian, &r); err != nil {
		return BlockEvent{}, fmt.Errorf("decoding an event of block I/O: %w", err)
	}
	e := BlockEvent{
		At: r.Head.At, Total: time.Duration(r.Total), Queued: time.Duration(r.Queued), Device: time.Duration(r.Device),
		Errno: b.errnoOf(r.Error), Class: BlockClass(r.Class), BlockRequest: requestOf(r.Dev, r.Flags, r.Bytes, r.Sector),
	}
	e.Flush = e.Op == OpWrite && e.Bytes == 0
	e.own(r.Owner.Tgid, r.Owner.Kernel, r.Owner.Start, r.Owner.Cgroup, &r.Owner.Comm)
	return e, nil
}

// errnoOf is what a program would be told: blk_errors in block/blk-core.c.
func (b *Block) errnoOf(raw uint32) unix.Errno {
	if b.errno {
		return unix.Errno(-int32(raw))
	}
	table := [...]unix.Errno{
		0, unix.EOPNOTSUPP, unix.ETIMEDOUT, unix.ENOSPC, unix.ENOLINK, unix.EREMOTEIO, unix.EBADE, unix.ENODATA,
		unix.EILSEQ, unix.ENOMEM, unix.EIO,
	}
	if int(raw) < len(table) {
		return table[raw]
	}
	return unix.EIO
}
