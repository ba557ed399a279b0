// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// reclaimFake is a bpf.Reclaim whose readings are given.
type reclaimFake struct {
	errs   map[bpf.ReclaimPart]error
	counts [bpf.FilterSlots]bpf.ReclaimCounts
	rows   map[bpf.StallKey]bpf.StallRow
	slots  bpf.Slots
	paused bool
	closed bool
}

func (f *reclaimFake) Err(p bpf.ReclaimPart) error              { return f.errs[p] }
func (f *reclaimFake) Read(slot int) (bpf.ReclaimCounts, error) { return f.counts[slot], nil }
func (f *reclaimFake) Pause(on bool) error                      { f.paused = on; return nil }
func (f *reclaimFake) Close() error                             { f.closed = true; return nil }
func (f *reclaimFake) Rows(_ time.Duration, each func(*bpf.StallKey, *bpf.StallRow)) error {
	for k, v := range f.rows {
		each(&k, &v)
	}
	return nil
}

func (f *reclaimFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	f.slots = bpf.Slots{}
	copy(f.slots[1:], want)
	return f.slots, nil
}

// stall adds n stalls of 1 ms that reclaimed 32 pages each, to a slot and to a process.
func (f *reclaimFake) stall(slot int, kind bpf.StallKind, key bpf.StallKey, n uint64) {
	c := &f.counts[slot]
	c.Stalls[kind].Slots[9] += n
	c.Stalls[kind].Sum += n * 1e6
	row := f.rows[key]
	row.Count[kind] += n
	row.Ns[kind] += n * 1e6
	if kind != bpf.StallCompact {
		c.Pages[kind] += 32 * n
		row.Pages += 32 * n
		row.Slots[9] += uint32(n)
	}
	copy(row.Comm[:], []int8{'j', 'a', 'v', 'a'})
	row.Memcg = 42
	if slot == 0 {
		f.rows[key] = row
	}
}

// eventsFake is a feed whose records are given.
type eventsFake struct {
	records map[bpf.EventKind][][]byte
	counts  map[bpf.EventKind]bpf.EventCounts
	users   int
}

func (f *eventsFake) open(...bpf.EventKind) error  { f.users++; return nil }
func (f *eventsFake) close(...bpf.EventKind) error { f.users--; return nil }
func (f *eventsFake) take(kind bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for _, r := range f.records[kind] {
		each(r)
	}
	delete(f.records, kind)
	return f.counts[kind], nil
}

func recordOf[T any](e *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(e)), unsafe.Sizeof(*e))...)
}

// fakeVMStat is a /proc with nothing but vmstat.
func fakeVMStat(t *testing.T) (FS, func(allocstall, kills int)) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "proc")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	set := func(allocstall, kills int) {
		text := "allocstall_normal " + strconv.Itoa(allocstall) + "\noom_kill " + strconv.Itoa(kills) + "\n"
		if err := os.WriteFile(filepath.Join(root, "vmstat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(0, 0)
	return NewFS(root), set
}

func startReclaim(t *testing.T, readers ...*reclaimFake) (*reclaimCollector, *eventsFake, func(allocstall, kills int)) {
	t.Helper()
	fs, set := fakeVMStat(t)
	events := &eventsFake{records: map[bpf.EventKind][][]byte{}, counts: map[bpf.EventKind]bpf.EventCounts{}}
	opened := 0
	c := newReclaim(func(map[bpf.ReclaimPart]bool) (reclaimReader, error) {
		if opened == len(readers) {
			return nil, errors.New("no reader left")
		}
		opened++
		return readers[opened-1], nil
	}, events, fs)
	c.boot = func() uint64 { return 100e9 }
	start(t, c)
	return c, events, set
}

func newReclaimFake() *reclaimFake { return &reclaimFake{rows: map[bpf.StallKey]bpf.StallRow{}} }

func TestReclaimDeltas(t *testing.T) {
	f := newReclaimFake()
	java, others := bpf.StallKey{Tgid: 812, Start: 7}, bpf.StallKey{}
	f.stall(0, bpf.StallMemcg, java, 5) // before the baseline
	c, events, _ := startReclaim(t, f)
	if _, err := c.Collect(t.Context(), time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	if err := c.Narrow([]Target{{Kind: ProcessTarget, Process: Process{812, 7}}, {Kind: DiskTarget, Dev: 8}}); err != nil {
		t.Fatal(err)
	}
	f.stall(0, bpf.StallMemcg, java, 23)
	f.stall(1, bpf.StallMemcg, java, 23)
	f.stall(0, bpf.StallDirect, bpf.StallKey{Tgid: 9, Start: 1}, 2)
	f.stall(0, bpf.StallCompact, others, 1)
	f.counts[0].Kills, f.counts[0].Unbegun = 1, 3
	events.records[bpf.EventOOM] = [][]byte{recordOf(&bpf.OOMEvent{
		Victim: bpf.StallKey{Tgid: 812, Start: 7}, Trigger: bpf.StallKey{Tgid: 9, Start: 1}, Constraint: 2, Known: 1, Pages: [4]uint64{256, 1, 0, 0},
		Comm: [16]int8{'j', 'a', 'v', 'a'}, TriggerComm: [16]int8{'s', 'h'},
	})}
	events.records[bpf.EventReclaim] = [][]byte{
		recordOf(&bpf.ReclaimEvent{Ns: 1e6, Who: java, Kind: 1}), recordOf(&bpf.ReclaimEvent{Ns: 3e6, Who: java, Kind: 1}), {1, 2},
	}
	events.counts[bpf.EventReclaim] = bpf.EventCounts{Sent: 2, Unlisted: 22, Lost: 1}
	s := collectAs[*Reclaim](t, c, 2*time.Second)
	if got := s.Now; got == nil || got.Memcg.Count() != 23 || got.Direct.Count() != 2 || got.Compact.Count() != 1 || got.PagesMemcg != 23*32 || got.Kills != 1 || got.Missed != 3 {
		t.Errorf("now %+v, want 23 stalls at a limit, 2 of the host, 1 compaction, a kill, 3 missed", got)
	}
	want := []MemoryWaiter{
		{Process: Process{812, 7}, Count: [StallKinds]uint64{0, 23, 0}, For: [StallKinds]time.Duration{0, 23e6, 0}, Pages: 23 * 32, Memcg: 42, Comm: RawString("java")},
		{Process: Process{9, 1}, Count: [StallKinds]uint64{2, 0, 0}, For: [StallKinds]time.Duration{2e6, 0, 0}, Pages: 64, Memcg: 42, Comm: RawString("java")},
	}
	want[0].Reclaim.Slots[9], want[0].Reclaim.Sum = 23, 23e6
	want[1].Reclaim.Slots[9], want[1].Reclaim.Sum = 2, 2e6
	if diff := cmp.Diff(want, s.Rows, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if s.Others.Count[CompactStall] != 1 {
		t.Errorf("others %+v, want one compaction", s.Others)
	}
	if len(s.Stalls) != 2 || s.Stalls[0].Took != 3*time.Millisecond || s.Unlisted != 22 || s.StallsLost != 1 {
		t.Errorf("%d stalls listed, %d not, %d lost, want 2, the longer first, 22, 1: %+v", len(s.Stalls), s.Unlisted, s.StallsLost, s.Stalls)
	}
	wantKill := OOMKill{
		At: 2*time.Second - 100*time.Second, Victim: Process{812, 7}, Comm: RawString("java"), Trigger: Process{9, 1}, By: RawString("sh"), For: OOMCgroup,
		Known: true, Anon: 256 * c.page, File: c.page,
	}
	if diff := cmp.Diff([]OOMKill{wantKill}, s.Kills.List, cmp.AllowUnexported(Raw{})); diff != "" || s.Fresh != 1 {
		t.Errorf("kills (-want +got), %d fresh:\n%s", s.Fresh, diff)
	}
	if len(s.Narrowed) != 1 || s.Narrowed[0].Sample.Memcg.Count() != 23 || s.Narrowed[0].Since != time.Second {
		t.Errorf("narrowed to %+v, want the process's 23 since 1 s", s.Narrowed)
	}

	quiet := collectAs[*Reclaim](t, c, 3*time.Second)
	if quiet.Now != nil || quiet.Rows != nil || quiet.Fresh != 0 || len(quiet.Kills.List) != 1 || quiet.Total != s.Total || quiet.rare() {
		t.Errorf("a quiet second is %+v, want nothing but the kept kill and total", quiet)
	}
	if quiet.Total.Memcg.Count() != 23 {
		t.Errorf("%d in all, want 23: what was before the baseline does not count", quiet.Total.Memcg.Count())
	}
	p := c.Probes()
	if p[0].Events != 25 || p[0].Lost != 4 || p[1].Events != 1 || p[2].Events != 1 || p[0].State != On {
		t.Errorf("probes %+v, want 25, 1 and 1 events, 4 lost", p)
	}
}

func TestWaitersAreBounded(t *testing.T) {
	cur := map[Process]MemoryWaiter{}
	for i := range int32(maxListed + 50) {
		w := MemoryWaiter{Process: Process{i + 1, 1}}
		w.Count[DirectStall], w.For[DirectStall] = 1, time.Duration(i)
		cur[w.Process] = w
	}
	rows, others := waiters(nil, cur)
	if len(rows) != maxListed || others.Count[DirectStall] != 50 || rows[0].TGID != maxListed+50 {
		t.Errorf("%d rows from %d on, %d others, want %d from the longest, 50", len(rows), rows[0].TGID, others.Count[DirectStall], maxListed)
	}
}

func TestKillsAreKept(t *testing.T) {
	c, events, _ := startReclaim(t, newReclaimFake())
	_, _ = c.Collect(t.Context(), 0)
	var first *Reclaim
	for i := range maxKills + 7 {
		events.records[bpf.EventOOM] = [][]byte{recordOf(&bpf.OOMEvent{Victim: bpf.StallKey{Tgid: int32(i)}, Comm: [16]int8{'x'}})}
		s := collectAs[*Reclaim](t, c, time.Duration(i+1)*time.Second)
		if first == nil {
			first = s
		}
	}
	if len(c.kills.List) != maxKills || c.kills.List[0].Victim.TGID != 7 || len(first.Kills.List) != 1 || first.Kills.List[0].Victim.TGID != 0 {
		t.Errorf("%d kills kept from %d on; the first sample has %v", len(c.kills.List), c.kills.List[0].Victim.TGID, first.Kills)
	}
}

// TestVictimIsNamedFromProc is for kernels whose tracepoint has the ID alone.
func TestVictimIsNamedFromProc(t *testing.T) {
	c, events, _ := startReclaim(t, newReclaimFake())
	c.comm = func(pid int32) Raw { return RawString("victim-" + strconv.Itoa(int(pid))) }
	_, _ = c.Collect(t.Context(), 0)
	events.records[bpf.EventOOM] = [][]byte{recordOf(&bpf.OOMEvent{Victim: bpf.StallKey{Tgid: 77}})}
	if s := collectAs[*Reclaim](t, c, time.Second); len(s.Kills.List) != 1 || s.Kills.List[0].Comm != RawString("victim-77") {
		t.Errorf("kills %+v, want one of victim-77", s.Kills.List)
	}
}

func TestReclaimReopensASilentLink(t *testing.T) {
	dead, alive := newReclaimFake(), newReclaimFake()
	c, events, set := startReclaim(t, dead, alive)
	var err error
	collect := func(at int) { _, err = c.Collect(t.Context(), time.Duration(at)*time.Second) }
	collect(0)
	collect(1) // looks at the kernel's counters first
	set(50, 0)
	collect(12) // the kernel counts and we do not: perhaps it falls into the next window
	if err != nil || dead.closed {
		t.Fatalf("reopened after one window: %v", err)
	}
	collect(23)
	if !errors.Is(err, ErrWarming) || !dead.closed || events.users != 1 {
		t.Fatalf("Collect after two silent windows = %v, closed %v, %d feeds", err, dead.closed, events.users)
	}
	collect(24)
	alive.stall(0, bpf.StallDirect, bpf.StallKey{Tgid: 1}, 3)
	s := collectAs[*Reclaim](t, c, 25*time.Second)
	if s.Now == nil || s.Now.Direct.Count() != 3 {
		t.Errorf("after reopening %+v, want 3 stalls", s.Now)
	}
	if p := c.Probes()[0]; p.State != Degraded || !strings.Contains(p.Reason, "drsnoop was silent") {
		t.Errorf("drsnoop = %+v, want degraded and why", p)
	}
}

// TestPausedReclaimIsNotSilent is for what the kernel counts while the brake is on.
func TestPausedReclaimIsNotSilent(t *testing.T) {
	f := newReclaimFake()
	c, _, set := startReclaim(t, f)
	_, _ = c.Collect(t.Context(), 0)
	for i := range 6 {
		if err := c.Pause(true); err != nil {
			t.Fatal(err)
		}
		set(50*(i+1), i)
		if err := c.Pause(false); err != nil {
			t.Fatal(err)
		}
		collectAs[*Reclaim](t, c, time.Duration(11*(i+1))*time.Second)
	}
	if f.closed {
		t.Error("given up for what it could not see")
	}
}

func TestReclaimParts(t *testing.T) {
	lacks := &NeedError{Need: "another kernel", Remedy: "boot it"}
	f := newReclaimFake()
	f.errs = map[bpf.ReclaimPart]error{bpf.ReclaimCompact: lacks}
	c, _, _ := startReclaim(t, f)
	_, _ = c.Collect(t.Context(), 0)
	s := collectAs[*Reclaim](t, c, time.Second)
	if !s.Reclaims || s.Compacts || !s.OOM {
		t.Errorf("measured %v %v %v, want all but compaction", s.Reclaims, s.Compacts, s.OOM)
	}
	want := []Probe{
		{Name: "drsnoop", State: On, Hook: "tp_btf mm_vmscan_*_reclaim_begin/end", NsPerEvent: bpf.CostMemoryStall},
		{Name: "compactsnoop", State: Off, Hook: "tp_btf mm_compaction_begin/end", Reason: "needs another kernel", Remedy: "boot it", NsPerEvent: bpf.CostMemoryStall},
		{Name: "oomkill", State: On, Hook: "tp_btf mark_victim", NsPerEvent: bpf.CostKill},
	}
	if diff := cmp.Diff(want, c.Probes()); diff != "" {
		t.Errorf("Probes (-want +got):\n%s", diff)
	}
	c.off = map[string]bool{"drsnoop": true, "compactsnoop": true, "oomkill": true}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); !errors.Is(err, errSwitchedOff) {
		t.Errorf("Start with everything off = %v", err)
	}
	for _, p := range c.Probes() {
		if p.State != Off || p.Reason != switchedOff {
			t.Errorf("%s is %v: %s", p.Name, p.State, p.Reason)
		}
	}
}

// TestLiveCompaction is all the way from the kernel.
func TestLiveCompaction(t *testing.T) {
	k := bpf.Inspect()
	c := NewReclaim(k, NewFS(""), newFeed(k), nil)
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "%v", err)
	}
	defer c.Close()
	_, _ = c.Collect(t.Context(), 0)
	const n = 3
	for range n {
		if err := os.WriteFile("/proc/sys/vm/compact_memory", []byte("1"), 0); err != nil {
			lacking(t, "no compaction: %v", err)
		}
	}
	s := collectAs[*Reclaim](t, c, time.Second)
	for _, w := range s.Rows {
		if int(w.TGID) != os.Getpid() {
			continue
		}
		if w.Count[CompactStall] < n || w.Waited() == 0 {
			t.Errorf("this process compacted %d times, for %v, want at least %d", w.Count[CompactStall], w.Waited(), n)
		}
		listed := 0
		for _, x := range s.Stalls {
			if x.Process == w.Process && x.Kind == CompactStall && x.Comm == w.Comm {
				listed++
			}
		}
		if uint64(listed)+s.Unlisted+s.StallsLost < w.Count[CompactStall] {
			t.Errorf("%d of %d compactions listed, %d not, %d lost", listed, w.Count[CompactStall], s.Unlisted, s.StallsLost)
		}
		return
	}
	t.Errorf("no row of this process: %+v", s.Rows)
}
