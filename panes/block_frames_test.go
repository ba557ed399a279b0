// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// blockStory keeps what the probes have counted since they attached.
type blockStory struct {
	device, queued map[blockKey]*collectors.Hist
	stalls         *collectors.BlockStalls
}

// addBlock adds the requests behind the disks' second: as many as /proc/diskstats counts.
func addBlock(s *story, _ load, snap *collectors.Snapshot) {
	if len(s.moments) == 0 {
		s.block = blockStory{device: map[blockKey]*collectors.Hist{}, queued: map[blockKey]*collectors.Hist{}, stalls: &collectors.BlockStalls{}}
		for _, name := range []string{"biolatency", "bitesize", "biosnoop", "biotop"} {
			p := collectors.Probe{Name: name, State: collectors.On, Hook: "tp_btf block_rq_complete, block_io_start"}
			switch {
			case s.kind == "denied":
				p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
			case s.kind == "lossy" && name == "biosnoop":
				p.State, p.Reason, p.Remedy = collectors.Degraded, "needs permission for this kind of program", "some kernels are built without the hook"
			}
			s.probes[collectors.BlockID] = append(s.probes[collectors.BlockID], p)
		}
		snap.Probes[collectors.BlockID] = s.probes[collectors.BlockID]
		return
	}
	if s.kind == "denied" || snap.Disk == nil {
		return
	}
	b := &collectors.Block{Span: snap.Disk.Span, Stalls: s.block.stalls}
	snap.Block = b
	for i := range snap.Disk.Rows {
		r := &snap.Disk.Rows[i]
		if r.Kind != collectors.WholeDisk || r.New {
			continue
		}
		s.requests(b, r, collectors.ReadSync, r.Read)
		s.requests(b, r, collectors.WriteBack, r.Write)
		s.requests(b, r, collectors.Discard, r.Discard)
		s.requests(b, r, collectors.Flush, collectors.IOCounts{IOs: r.Flushes, Ms: r.FlushMs})
	}
	s.askers(b, snap)
	if s.kind == "lossy" {
		b.Missed, b.Unowned, b.Unlisted, b.Merged = 12, 40, 300, 7
	}
	if s.kind == "extreme" {
		b.Unlisted, b.Folded, b.Requeued = math.MaxUint32, 1<<40, 1<<33
	}
}

// requests spreads one direction's requests over three buckets around their await, a fifth of it in the
// queue.
func (s *story) requests(b *collectors.Block, d *collectors.DiskRow, class collectors.BlockClass, io collectors.IOCounts) {
	if io.IOs == 0 {
		return
	}
	key := blockKey{d.Dev, class}
	if s.block.device[key] == nil {
		s.block.device[key], s.block.queued[key] = &collectors.Hist{}, &collectors.Hist{}
	}
	spread := func(total *collectors.Hist, ns float64) collectors.Hist32 {
		var h collectors.Hist
		slot := collectors.Slot(uint64(ns))
		late := io.IOs / 25
		h.Slots[slot] = io.IOs - 2*late
		h.Slots[max(slot-1, 0)] += late
		h.Slots[min(slot+2, collectors.HistSlots-1)] += late
		h.Sum = uint64(ns * float64(io.IOs))
		total.Plus(&h)
		return h.Hist32()
	}
	each := max(float64(io.Ms)*1e6/float64(io.IOs), 30e3)
	row := collectors.BlockRow{Dev: d.Dev, Class: class}
	row.Device, row.Queued = spread(s.block.device[key], 0.8*each), spread(s.block.queued[key], 0.2*each)
	row.DeviceTotal, row.QueuedTotal = *s.block.device[key], *s.block.queued[key]
	row.Completed, row.Bytes, row.Sequential = io.IOs, io.Sectors*512, io.IOs*3/4
	if io.Sectors > 0 {
		slot := min(collectors.Slot(io.Sectors*512/io.IOs), collectors.BlockSizes-1)
		row.Sizes[slot] = uint32(min(io.IOs, math.MaxUint32))
	}
	if s.kind == "extreme" {
		row.Errors, row.Requeues = 3, 17
	}
	b.Rows = append(b.Rows, row)
}

// askers are the processes behind the requests, and the slowest of those.
func (s *story) askers(b *collectors.Block, snap *collectors.Snapshot) {
	raw := collectors.RawString
	for i := range b.Rows {
		r := &b.Rows[i]
		o := collectors.BlockOwner{Dev: r.Dev, Process: collectors.Process{TGID: 3312, Start: 7}, Comm: raw("postgres"), Cgroup: 4242}
		mean := time.Duration(r.Device.Sum+r.Queued.Sum) / time.Duration(r.Completed)
		x := collectors.BlockIO{
			At: snap.At - 300*time.Millisecond, Total: 5 * mean, Queued: mean, Device: 4 * mean, Dev: r.Dev, Sector: 8_650_752 + uint64(snap.At/1e6)*8,
			Bytes: uint32(r.Bytes / r.Completed),
		}
		switch r.Class {
		case collectors.ReadSync:
			o.Reads, o.ReadBytes, o.IOTime = r.Completed, r.Bytes, time.Duration(r.Completed)*mean
		case collectors.WriteBack:
			o.Process.TGID, o.Comm, o.Kernel = 118, raw("kworker/u16:3"), true
			o.Writes, o.WriteBytes, o.IOTime = r.Completed, r.Bytes, time.Duration(r.Completed)*mean
			x.Op = collectors.OpWrite
		case collectors.Flush:
			o.Flushes, o.FlushTime = r.Completed, time.Duration(r.Completed)*mean
			x.Op, x.Queued, x.Device = collectors.OpFlush, -1, -1
		case collectors.ReadAhead, collectors.WriteSync, collectors.Discard, collectors.OtherIO:
			continue
		}
		if s.kind == "extreme" {
			o.Comm = raw("\x1b[2J日本語\u202e-name")
			x.Errno, x.Bytes = 5, math.MaxUint32
			x.Sector = math.MaxUint64
		}
		x.Process, x.Comm, x.Kernel = o.Process, o.Comm, o.Kernel
		if s.kind == "lossy" && i == 0 {
			o.Process, x.Process = collectors.Process{}, collectors.Process{}
		}
		b.Owners, b.Slow = append(b.Owners, o), append(b.Slow, x)
	}
	if second := int(snap.At / time.Second); s.kind == "busy" && second%30 == 17 {
		stall := collectors.BlockIO{
			At: snap.At, Total: 1870 * time.Millisecond, Queued: 12 * time.Millisecond, Device: 1858 * time.Millisecond, Dev: collectors.MakeDev(8, 16),
			Op: collectors.OpWrite, Sector: 99_008, Bytes: 1 << 18, Process: collectors.Process{TGID: 4121, Start: 9}, Comm: raw("tar"),
		}
		next := &collectors.BlockStalls{Count: s.block.stalls.Count + 1, List: append(append([]collectors.BlockIO(nil), s.block.stalls.List...), stall)}
		s.block.stalls, b.Stalls = next, next
		b.Slow = append(b.Slow, stall)
	}
	if s.kind == "extreme" {
		b.Hung = []collectors.BlockIO{{
			At: snap.At, Total: 400 * time.Hour, Queued: -1, Device: -1, Dev: b.Rows[0].Dev, Op: collectors.OpWrite, Sector: 1 << 60, Bytes: 1 << 30,
			Process: collectors.Process{TGID: math.MaxInt32, Start: 1}, Comm: raw("a\x07b"),
		}}
	}
}

// TestBlockStart holds that what is counted since the mark, and since the probe attached, outlives the
// samples of then.
func TestBlockStart(t *testing.T) {
	row := func(dev collectors.DevID, n uint64) collectors.BlockRow {
		r := collectors.BlockRow{Dev: dev, Class: collectors.ReadSync}
		r.DeviceTotal.Slots[7], r.QueuedTotal.Slots[0] = n, n
		return r
	}
	frame := func(from time.Duration, blocks ...*collectors.Block) (f Frame) {
		for i, b := range blocks {
			snap := &collectors.Snapshot{At: from + time.Duration(i)*time.Second, Block: b}
			f.Past = append(f.Past, triage.Moment{Snapshot: snap})
		}
		f.Now = f.Past[len(f.Past)-1]
		return f
	}
	r := root(frame(time.Second, &collectors.Block{Rows: []collectors.BlockRow{row(1, 100), row(2, 10)}}, nil, &collectors.Block{Rows: []collectors.BlockRow{row(1, 130)}}))
	r.mark()
	// The samples of the mark are forgotten.
	later := frame(time.Hour, &collectors.Block{Resting: []collectors.BlockRow{row(2, 10)}}, &collectors.Block{Rows: []collectors.BlockRow{row(1, 135)}})
	all := ofClasses(readClasses)
	if got := blockTotalsOf(later, all).device.Count(); got != 145 {
		t.Errorf("%d requests since the probe attached, want 145", got)
	}
	later.Mark = r.frame.Mark
	if got := blockTotalsOf(later, all); got.device.Count() != 5 || got.queued.Count() != 5 {
		t.Errorf("%d requests since the mark, want 5", got.device.Count())
	}
	if later.Mark.At > later.Now.At {
		t.Error("the mark is later than the frame")
	}
}
