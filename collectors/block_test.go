// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// blockFake is a bpf.Block whose readings are given.
type blockFake struct {
	reads   []bpf.BlockReading // the last one stays
	flights []bpf.BlockFlight
	owners  error
	certain bool
	ended   uint64
	slow    []time.Duration
	closed  int
}

func (f *blockFake) Hook() string                           { return "tp_btf block_rq_complete" }
func (f *blockFake) OwnersErr() error                       { return f.owners }
func (f *blockFake) StampErr() error                        { return nil }
func (f *blockFake) Ended() (uint64, error)                 { return f.ended, nil }
func (f *blockFake) RequeuesErr() error                     { return nil }
func (f *blockFake) SetSlow(d time.Duration) error          { f.slow = append(f.slow, d); return nil }
func (f *blockFake) Narrow([]bpf.Filter) (bpf.Slots, error) { return bpf.Slots{}, nil }
func (f *blockFake) Certain() bool                          { return f.certain }
func (f *blockFake) Pause(bool) error                       { return nil }
func (f *blockFake) Close() error                           { f.closed++; return nil }
func (f *blockFake) Event(rec []byte) (bpf.BlockEvent, error) {
	ms := time.Duration(rec[0]) * 10 * time.Millisecond
	return bpf.BlockEvent{Total: ms, Device: ms, BlockRequest: bpf.BlockRequest{Dev: 7, Op: bpf.OpWrite, Bytes: 4096}}, nil
}

func (f *blockFake) InFlight(_, _ time.Duration, dst []bpf.BlockFlight) ([]bpf.BlockFlight, error) {
	return append(dst, f.flights...), nil
}

func (f *blockFake) Read(_ time.Duration, dst *bpf.BlockReading) error {
	*dst = f.reads[0]
	if len(f.reads) > 1 {
		f.reads = f.reads[1:]
	}
	return nil
}

// feedFake hands out records of one byte: the duration in 10 ms.
type feedFake struct {
	records map[bpf.EventKind][][]byte
	counts  map[bpf.EventKind]bpf.EventCounts
	users   int
}

func (f *feedFake) open(...bpf.EventKind) error  { f.users++; return nil }
func (f *feedFake) close(...bpf.EventKind) error { f.users--; return nil }
func (f *feedFake) take(kind bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for _, r := range f.records[kind] {
		each(r)
	}
	delete(f.records, kind)
	return f.counts[kind], nil
}

// blockReads is a reading of n reads of 4 KiB that took 200 µs, by one process and one that rests.
func blockReads(n uint64, owners ...bpf.BlockOwner) bpf.BlockReading {
	c := &bpf.BlockCounts{Completed: n, Bytes: n * 4096, Sequential: n / 2}
	c.Device.Slots[7], c.Device.Sum = n, n*200_000
	c.Queued.Slots[0] = n
	c.Sizes[2] = n
	return bpf.BlockReading{Disks: map[bpf.BlockKey]*bpf.BlockCounts{{Dev: 7, Class: bpf.ReadSync}: c}, Owners: owners}
}

func blockOwner(tgid int32, reads uint64) bpf.BlockOwner {
	return bpf.BlockOwner{
		TGID: tgid, Dev: 7, Start: 5, Comm: [16]int8{'f', 'i', 'o'},
		BlockOwnerCounts: bpf.BlockOwnerCounts{Reads: reads, ReadBytes: reads * 4096, IONs: reads * 200_000},
	}
}

// testBlock is a collector with fakes; stats are the reads that the kernel has counted of disk 7.
func testBlock(t *testing.T, r *blockFake, events *feedFake, stats *uint64, inFlight *uint32) *blockCollector {
	t.Helper()
	c := &blockCollector{
		open: func() (blockReader, error) { return r, nil }, feed: events, boot: func() int64 { return 0 },
		mq: func(DevID) bool { return true },
		stats: func(context.Context) ([]diskLine, error) {
			return []diskLine{{Dev: 7, DiskCounts: DiskCounts{Read: IOCounts{IOs: *stats}}, InFlight: *inFlight}}, nil
		},
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if events.users != 0 {
			t.Errorf("%d users of the feed are left", events.users)
		}
	})
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	return c
}

func collectBlock(t *testing.T, c *blockCollector, now time.Duration) *Block {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Block)
}

func TestBlockDeltas(t *testing.T) {
	var stats uint64
	var inFlight uint32
	r := &blockFake{reads: []bpf.BlockReading{
		blockReads(100, blockOwner(1, 60), blockOwner(2, 40)),
		blockReads(130, blockOwner(1, 80), blockOwner(2, 50)),
		blockReads(130, blockOwner(1, 80)), // 2 rested, and was let go of
		blockReads(133, blockOwner(1, 80), blockOwner(2, 3)),
	}}
	c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
	tests := []struct {
		completed uint64
		owners    map[int32]uint64
	}{
		{30, map[int32]uint64{1: 20, 2: 10}},
		{0, map[int32]uint64{}},
		{3, map[int32]uint64{2: 3}},
	}
	total := uint64(0)
	for i, tt := range tests {
		s := collectBlock(t, c, time.Duration(i+1)*time.Second)
		owners := map[int32]uint64{}
		for _, o := range s.Owners {
			owners[o.Process.TGID] = o.Reads
			if o.ReadBytes != o.Reads*4096 || o.IOTime != time.Duration(o.Reads)*200*time.Microsecond || o.Comm != RawString("fio") {
				t.Errorf("tick %d: owner %+v", i, o)
			}
		}
		if diff := cmp.Diff(tt.owners, owners); diff != "" {
			t.Errorf("tick %d: owners (-want +got):\n%s", i, diff)
		}
		total += tt.completed
		if tt.completed == 0 {
			if len(s.Rows) != 0 {
				t.Errorf("tick %d: rows %+v, want none", i, s.Rows)
			}
			continue
		}
		row := s.Rows[0]
		if row.Dev != 7 || row.Class != ReadSync || row.Completed != tt.completed || row.Device.Count() != tt.completed ||
			row.Queued.Count() != tt.completed || row.Bytes != 4096*tt.completed || row.DeviceTotal.Count() != total {
			t.Errorf("tick %d: row %+v, want %d reads, %d in all", i, row, tt.completed, total)
		}
	}
	for _, p := range c.Probes() {
		if p.Name != "biosnoop" && p.Events != total || p.State != On {
			t.Errorf("probe %+v, want %d events", p, total)
		}
	}
}

// TestBlockResting holds that a disk at rest is listed with its totals once a minute, and one that has done
// nothing since the start never.
func TestBlockResting(t *testing.T) {
	var stats uint64
	var inFlight uint32
	two := func(n uint64) bpf.BlockReading {
		out := blockReads(n)
		idle := blockReads(100).Disks[bpf.BlockKey{Dev: 7, Class: bpf.ReadSync}]
		out.Disks[bpf.BlockKey{Dev: 8, Class: bpf.ReadSync}] = idle
		return out
	}
	r := &blockFake{reads: []bpf.BlockReading{two(9), two(30)}}
	c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
	if s := collectBlock(t, c, time.Second); len(s.Rows) != 1 || len(s.Resting) != 0 {
		t.Errorf("%d rows and %d at rest, want 1 and none", len(s.Rows), len(s.Resting))
	}
	want := map[time.Duration]int{2: 0, 59: 0, 60: 1, 61: 0, 119: 0, 121: 1, 150: 0}
	for _, at := range slices.Sorted(maps.Keys(want)) {
		s := collectBlock(t, c, at*time.Second)
		if len(s.Rows) != 0 || len(s.Resting) != want[at] {
			t.Errorf("after %d s %d rows and %d at rest, want none and %d", at, len(s.Rows), len(s.Resting), want[at])
		}
		for _, x := range s.Resting {
			if x.Dev != 7 || x.DeviceTotal.Count() != 21 || x.Completed != 0 {
				t.Errorf("at rest is %+v, want disk 7 with 21 reads in all", x)
			}
		}
	}
}

func TestBlockLists(t *testing.T) {
	var stats uint64
	var inFlight uint32
	events := &feedFake{records: map[bpf.EventKind][][]byte{}, counts: map[bpf.EventKind]bpf.EventCounts{}}
	r := &blockFake{reads: []bpf.BlockReading{{}}}
	c := testBlock(t, r, events, &stats, &inFlight)
	for i := range maxSlowIO + 3 {
		events.records[bpf.EventBlock] = append(events.records[bpf.EventBlock], []byte{byte(i % 50)})
	}
	events.counts[bpf.EventBlock] = bpf.EventCounts{Sent: maxSlowIO + 3, Unlisted: 5, Lost: 2}
	events.records[bpf.EventBlockStall] = [][]byte{{150}, {200}}
	s := collectBlock(t, c, time.Second)
	if len(s.Slow) != maxSlowIO || s.Slow[0].Total != 2*time.Second || s.Slow[1].Total != 1500*time.Millisecond || s.Unlisted != 5+2+5 {
		t.Errorf("%d listed, first %v, %d unlisted; want %d, 2s and 12", len(s.Slow), s.Slow[0].Total, s.Unlisted, maxSlowIO)
	}
	if s.Stalls.Count != 2 || len(s.Stalls.List) != 2 {
		t.Errorf("stalls %+v, want 2", s.Stalls)
	}
	first := s.Stalls
	for range maxBlockStalls {
		events.records[bpf.EventBlockStall] = append(events.records[bpf.EventBlockStall], []byte{101})
	}
	events.counts[bpf.EventBlockStall] = bpf.EventCounts{Unlisted: 7}
	s = collectBlock(t, c, 2*time.Second)
	if s.Stalls.Count != maxBlockStalls+2+7 || len(s.Stalls.List) != maxBlockStalls || s.Stalls.Unlisted != 2+7 {
		t.Errorf("%d stalls, %d listed, %d unlisted", s.Stalls.Count, len(s.Stalls.List), s.Stalls.Unlisted)
	}
	if first.Count != 2 || len(first.List) != 2 {
		t.Error("the list that the first sample holds was written to")
	}
	if got := collectBlock(t, c, 3*time.Second); got.Stalls != s.Stalls || len(got.Slow) != 0 {
		t.Error("the stalls are not shared, or the slow ones came twice")
	}
}

func TestBlockHung(t *testing.T) {
	write := bpf.BlockFlight{Age: 3 * time.Second, BlockRequest: bpf.BlockRequest{Dev: 7, Op: bpf.OpWrite, Bytes: 4096, TGID: 4, Start: 9}}
	tests := map[string]struct {
		inFlight uint32
		certain  bool // the request itself said that it is there
		moves    bool // the disk ended requests in the span
		want     int
	}{
		"in flight":                          {inFlight: 1, want: 1},
		"in flight among others":             {inFlight: 1, moves: true, want: 1},
		"its end was missed":                 {moves: true},
		"its end was missed, the disk rests": {},
		"there, and not issued":              {certain: true, want: 1},
		"there, not issued, and others move": {certain: true, moves: true, want: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stats, inFlight := uint64(0), tt.inFlight
			r := &blockFake{
				reads: []bpf.BlockReading{blockReads(1), blockReads(1)}, flights: []bpf.BlockFlight{write}, certain: tt.certain,
			}
			if tt.moves {
				r.reads[1] = blockReads(2)
			}
			c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
			s := collectBlock(t, c, time.Second)
			if len(s.Hung) != tt.want {
				t.Fatalf("%d requests hang, want %d", len(s.Hung), tt.want)
			}
			if tt.want > 0 && (s.Hung[0].Total != 3*time.Second || s.Hung[0].Op != OpWrite || s.Hung[0].Process.TGID != 4) {
				t.Errorf("hung %+v", s.Hung[0])
			}
		})
	}
}

func TestSlowFrom(t *testing.T) {
	hist := func(slots map[int]uint64) (h Hist) {
		for i, n := range slots {
			h.Slots[i] = n
		}
		return h
	}
	tests := map[string]struct {
		h    Hist
		want time.Duration
	}{
		"nothing":             {want: 0},
		"few are all listed":  {h: hist(map[int]uint64{3: 80}), want: 0},
		"the last bucket":     {h: hist(map[int]uint64{0: 5000, 7: 5000}), want: 512 * time.Microsecond},
		"the tail":            {h: hist(map[int]uint64{0: 5000, 7: 4980, 12: 20}), want: 512 * time.Microsecond},
		"a fat tail":          {h: hist(map[int]uint64{0: 5000, 7: 4900, 12: 100}), want: 16384 * time.Microsecond},
		"a disk that crawls":  {h: hist(map[int]uint64{22: 5000}), want: time.Second},
		"all in the first":    {h: hist(map[int]uint64{0: 5000}), want: 0},
		"many, all in the mi": {h: hist(map[int]uint64{1: 5000}), want: 8 * time.Microsecond},
	}
	for name, tt := range tests {
		if got := slowFrom(&tt.h, maxSlowIO); got != tt.want {
			t.Errorf("%s: slowFrom = %v, want %v", name, got, tt.want)
		}
	}
}

// TestBlockSilent attaches again what sees nothing while the kernel counts, and gives up in the end.
func TestBlockSilent(t *testing.T) {
	var stats uint64
	var inFlight uint32
	r := &blockFake{reads: []bpf.BlockReading{{}}}
	c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
	var last error
	for i := 1; i <= 20 && c.r != nil; i++ {
		stats += 10
		_, last = c.Collect(t.Context(), time.Duration(i)*time.Second)
	}
	if r.closed != blockRetries+1 || last == nil || !strings.Contains(last.Error(), "does not see it") {
		t.Errorf("closed %d times, last error %v; want %d and the reason", r.closed, last, blockRetries+1)
	}
	for _, p := range c.Probes() {
		if p.State != Failed || p.Reason == "" {
			t.Errorf("probe %+v, want failed with the reason", p)
		}
	}
}

// TestBlockPaused: requests that end while the probe is paused do not make it a dead one.
func TestBlockPaused(t *testing.T) {
	var stats uint64
	var inFlight uint32
	r := &blockFake{reads: []bpf.BlockReading{{}}}
	c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
	for i := 1; i <= 10; i++ {
		if err := c.Pause(true); err != nil {
			t.Fatal(err)
		}
		stats += 10
		if err := c.Pause(false); err != nil {
			t.Fatal(err)
		}
		collectBlock(t, c, time.Duration(i)*time.Second)
	}
	if r.closed != 0 {
		t.Errorf("closed %d times", r.closed)
	}
}

// TestBlockQuietHost is not taken for dead: neither without any I/O nor with that of devices without
// requests of their own.
func TestBlockQuietHost(t *testing.T) {
	for _, moves := range []uint64{0, 10} {
		t.Run(fmt.Sprint(moves), func(t *testing.T) {
			var stats uint64
			var inFlight uint32
			r := &blockFake{reads: []bpf.BlockReading{{}}}
			c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
			c.mq = func(DevID) bool { return false }
			for i := 1; i <= 10; i++ {
				stats += moves
				collectBlock(t, c, time.Duration(i)*time.Second)
			}
			if r.closed != 0 {
				t.Errorf("closed %d times", r.closed)
			}
		})
	}
}

func TestBlockWithoutOwners(t *testing.T) {
	var stats uint64
	var inFlight uint32
	need := &NeedError{Need: "a hook", Remedy: "another kernel"}
	r := &blockFake{reads: []bpf.BlockReading{{}}, owners: need}
	c := testBlock(t, r, &feedFake{}, &stats, &inFlight)
	states := map[string]State{}
	for _, p := range c.Probes() {
		states[p.Name] = p.State
		if p.State != On && (p.Reason == "" || p.Remedy != need.Remedy) {
			t.Errorf("%+v gives no reason and remedy", p)
		}
	}
	want := map[string]State{"biolatency": On, "bitesize": On, "biosnoop": Degraded, "biotop": Off}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}
