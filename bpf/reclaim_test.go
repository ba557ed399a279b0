// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestEveryReclaimProgramAttaches is for the variants, too.
func TestEveryReclaimProgramAttaches(t *testing.T) {
	r := openReclaim(t, need(t))
	for p := range ReclaimParts {
		if p == ReclaimThrottled {
			if _, err := traceArgs(kernelTypes(t, r.obj.kernel), "mm_vmscan_throttled"); err != nil {
				continue // 6.1
			}
		}
		if err := r.Err(p); err != nil {
			t.Errorf("part %d: %v", p, err)
		}
	}
	// The variants that this kernel does not need load too, but for that of another argument list.
	obj, err := newObject(need(t), loadReclaim)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	if err := obj.attachTracing("oom_killed_atomic"); err != nil {
		t.Error(err)
	}
}

func openReclaim(t testing.TB, k *Kernel) *Reclaim {
	t.Helper()
	r, err := OpenReclaim(k, nil)
	if err != nil {
		t.Fatalf("OpenReclaim: %v", err)
	}
	closing(t, r)
	return r
}

func openMemoryEvents(t testing.TB, k *Kernel) *Events {
	t.Helper()
	e, err := OpenEvents(k)
	if err != nil {
		t.Fatalf("OpenEvents: %v", err)
	}
	closing(t, e)
	return e
}

func readReclaim(t testing.TB, r *Reclaim, slot int) ReclaimCounts {
	t.Helper()
	c, err := r.Read(slot)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return c
}

func stallRows(t testing.TB, r *Reclaim) map[int32]StallRow {
	t.Helper()
	rows := map[int32]StallRow{}
	if err := r.Rows(0, func(k *StallKey, v *StallRow) { rows[k.Tgid] = *v }); err != nil {
		t.Fatalf("Rows: %v", err)
	}
	return rows
}

// oomEvents drains the kills and stalls of processes whose name begins so.
func oomEvents(t testing.TB, e *Events, prefix string) (kills []OOMEvent, stalls []ReclaimEvent) {
	t.Helper()
	if err := e.Drain(func(kind EventKind, rec []byte) {
		if kind == EventOOM {
			if k, ok := OOMEventOf(rec); !ok {
				t.Errorf("a kill of %d bytes", len(rec))
			} else if strings.HasPrefix(nameOf16(k.Comm), prefix) {
				kills = append(kills, k)
			}
		}
		if kind == EventReclaim || kind == EventCompact {
			if s, ok := ReclaimEventOf(rec); !ok {
				t.Errorf("a stall of %d bytes", len(rec))
			} else if strings.HasPrefix(nameOf16(s.Comm), prefix) {
				stalls = append(stalls, s)
			}
		}
	}); err != nil {
		t.Fatalf("Drain: %v", err)
	}
	return kills, stalls
}

func nameOf16(comm [16]int8) string {
	b := make([]byte, 0, len(comm))
	for _, c := range comm {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}

func kernelTypes(t testing.TB, k *Kernel) *btf.Spec {
	t.Helper()
	types, err := k.types().Kernel()
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// TestKnownKills makes the OOM killer kill 23 processes that eat up their cgroup, and two whose neighbour
// does.
func TestKnownKills(t *testing.T) {
	if inMemoryWorld(t) {
		return
	}
	const n, limit = 23, 24
	k := need(t)
	e, r := openMemoryEvents(t, k), openReclaim(t, k)
	dir := memcg(t, limit)
	id := inode(t, dir)
	before, first := readReclaim(t, r, 0), oomKills(t)
	var pids []int32
	for range n {
		x := startEater(t, dir, "bpf60-eater")
		pids = append(pids, x.pid())
		if x.take(2 * limit) {
			t.Fatalf("%d lived", x.pid())
		}
		x.kill()
	}
	after, last := readReclaim(t, r, 0), oomKills(t)
	if got := after.Kills - before.Kills; got != n || last-first != n {
		t.Errorf("%d kills, the kernel says %d, want %d", got, last-first, n)
	}
	kills, stalls := oomEvents(t, e, "bpf60-eater")
	var got []int32
	for _, x := range kills {
		got = append(got, x.Victim.Tgid)
		if x.Victim != x.Trigger || x.TriggerComm != x.Comm || x.Memcg != id || x.TriggerMemcg != id || OOMConstraint(x.Constraint) != OOMCgroup {
			t.Errorf("kill %+v, want one that the victim in cgroup %d brought upon itself", x, id)
		}
		if rss := (x.Pages[0] + x.Pages[1] + x.Pages[2]) * uint64(os.Getpagesize()) >> 20; x.Known != 0 && (rss < limit/2 || rss > limit+64) || x.Known == 0 && k.lockdown != "confidentiality" {
			t.Errorf("the victim had %d MiB, want about %d: %+v", rss, limit, x)
		}
	}
	if diff := cmp.Diff(pids, got); diff != "" {
		t.Errorf("killed (-want +got):\n%s", diff)
	}
	if len(stalls) < n {
		t.Errorf("%d stalls of the eaters listed, want at least one each", len(stalls))
	}
	for _, s := range stalls {
		if StallKind(s.Kind) != StallMemcg || s.Memcg != id || s.Ns == 0 {
			t.Errorf("stall %+v, want one at the limit of %d", s, id)
		}
	}

	t.Run("another's fault", func(t *testing.T) {
		for range 2 {
			big := startEater(t, dir, "bpf60-big")
			big.runAs(t, 0)
			if !big.take(limit * 2 / 3) {
				t.Fatal("the large one died early")
			}
			small := startEater(t, dir, "bpf60-small")
			small.runAs(t, unix.SCHED_IDLE)
			if !small.take(limit / 2) {
				t.Error("the small one died too")
			}
			kills, _ := oomEvents(t, e, "bpf60-big")
			if len(kills) != 1 || kills[0].Victim.Tgid != big.pid() || kills[0].Trigger.Tgid != small.pid() || nameOf16(kills[0].TriggerComm) != "bpf60-small" {
				t.Errorf("kills %+v, want %d by %d", kills, big.pid(), small.pid())
			}
			big.kill()
			small.kill()
		}
	})
}

func oomKills(t testing.TB) uint64 {
	t.Helper()
	n, ok := vmCounter(t, "oom_kill")
	if !ok {
		t.Fatal("no oom_kill in /proc/vmstat")
	}
	return n
}

// TestStallsAgreeWithPerf compares with the kernel's own count of the tracepoint: the stalls of a process
// that dies at its limit, and narrowed to it.
func TestStallsAgreeWithPerf(t *testing.T) {
	if inMemoryWorld(t) {
		return
	}
	k := need(t)
	e, r := openMemoryEvents(t, k), openReclaim(t, k)
	dir := memcg(t, 24)
	x := startEater(t, dir, "bpf60-stalls")
	perf := countHitsOf(t, "vmscan/mm_vmscan_memcg_reclaim_begin", int(x.pid()))
	slots, err := r.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(x.pid())}, {Kind: FilterCgroup, ID: inode(t, dir)}})
	if err != nil || slots[1].ID != uint64(x.pid()) || slots[2].Kind != FilterCgroup {
		t.Fatalf("Narrow = %v, %v", slots, err)
	}
	before, narrowed, seen := readReclaim(t, r, 0), readReclaim(t, r, 1), perf.read(t)
	x.take(48)
	x.kill()
	after, one, now, inside := readReclaim(t, r, 0), readReclaim(t, r, 1), perf.read(t), readReclaim(t, r, 2)
	for i := range after.Stalls {
		after.Stalls[i].minus(&before.Stalls[i])
		one.Stalls[i].minus(&narrowed.Stalls[i])
	}
	want := now - seen
	if got := after.Stalls[StallMemcg].count(); got < want || want == 0 { // other cgroups may be at their limits, too
		t.Errorf("%d stalls, perf counted %d of the eater's", got, want)
	}
	row := stallRows(t, r)[x.pid()]
	var slotSum uint64
	for _, n := range row.Slots {
		slotSum += uint64(n)
	}
	if row.Count[StallMemcg] != want || slotSum != want || one.Stalls[StallMemcg].count() != want || nameOf16(row.Comm) != "bpf60-stalls" {
		t.Errorf("its row has %d stalls, its histogram %d, its slot %d (%q), want %d",
			row.Count[StallMemcg], slotSum, one.Stalls[StallMemcg].count(), nameOf16(row.Comm), want)
	}
	if row.Ns[StallMemcg] > after.Stalls[StallMemcg].Sum || one.Stalls[StallMemcg].Sum != row.Ns[StallMemcg] || row.Ns[StallMemcg] == 0 {
		t.Errorf("its stalls took %d ns by its row, %d by its slot, %d by the host", row.Ns[StallMemcg], one.Stalls[StallMemcg].Sum, after.Stalls[StallMemcg].Sum)
	}
	if got := inside.Stalls[StallMemcg]; got != one.Stalls[StallMemcg] {
		t.Errorf("its cgroup's slot has %d stalls, its own %d", got.count(), one.Stalls[StallMemcg].count())
	}
	_, stalls := oomEvents(t, e, "bpf60-stalls")
	if counts, err := e.Counts(EventReclaim); err != nil || uint64(len(stalls)) > want || uint64(len(stalls))+counts.Unlisted+counts.Lost < want {
		t.Errorf("%d stalls listed, %+v (%v), want %d in all", len(stalls), counts, err, want)
	}
	if after.Unbegun != before.Unbegun || after.Collided != before.Collided {
		t.Errorf("%d unbegun and %d collided", after.Unbegun-before.Unbegun, after.Collided-before.Collided)
	}
}

// TestCompactionAgreesWithPerf compacts all memory by hand.
func TestCompactionAgreesWithPerf(t *testing.T) {
	if inWorld(t, "tracefs") {
		return
	}
	r := openReclaim(t, need(t))
	perf := countHits(t, "compaction/mm_compaction_begin")
	// Perf's count is read on both sides of ours: others may compact, too. What is under way on another CPU
	// at a reading may be on one side only.
	slack := uint64(len(onlineCPUs(t)))
	outer := perf.read(t)
	before, mine, seen := readReclaim(t, r, 0), stallRows(t, r)[int32(os.Getpid())], perf.read(t)
	const n = 3
	for range n {
		if err := os.WriteFile("/proc/sys/vm/compact_memory", []byte("1"), 0); err != nil {
			lacksHere(t, "no compaction: %v", err)
		}
	}
	now := perf.read(t)
	after, row := readReclaim(t, r, 0), stallRows(t, r)[int32(os.Getpid())]
	last := perf.read(t)
	after.Stalls[StallCompact].minus(&before.Stalls[StallCompact])
	stalls, background := after.Stalls[StallCompact].count(), after.Background-before.Background
	if least, most := now-seen, last-outer; stalls+background+slack < least || stalls+background > most+slack {
		t.Errorf("%d stalls and %d by the kernel, perf counted %d to %d", stalls, background, least, most)
	}
	if got := row.Count[StallCompact] - mine.Count[StallCompact]; got < n || got > stalls {
		t.Errorf("%d compactions are ours, want at least one a zone: %d and more of %d", got, n, stalls)
	}
}

// TestReclaimPauses detaches and attaches again.
func TestReclaimPauses(t *testing.T) {
	r := openReclaim(t, need(t))
	compact := func() uint64 {
		if err := os.WriteFile("/proc/sys/vm/compact_memory", []byte("1"), 0); err != nil {
			lacksHere(t, "no compaction: %v", err)
		}
		return stallRows(t, r)[int32(os.Getpid())].Count[StallCompact]
	}
	one := compact()
	if err := r.Pause(true); err != nil {
		t.Fatal(err)
	}
	if paused := compact(); one == 0 || paused != one {
		t.Errorf("%d stalls counted, %d after a pause, want the same", one, paused)
	}
	if err := r.Pause(false); err != nil {
		t.Fatal(err)
	}
	if again := compact(); again <= one {
		t.Errorf("%d stalls counted after the pause, want more than %d", again, one)
	}
}

func TestIdleKeysForget(t *testing.T) {
	var m idleKeys[uint64]
	m.begin(0)
	m.see(1, 5)
	m.see(2, 5)
	m.begin(30 * time.Second)
	m.see(1, 6)
	m.see(2, 5)
	m.begin(keyedIdle)
	m.see(1, 6)
	m.see(2, 5)
	var stale []uint64
	for k, was := range m.keys {
		if m.now-was.at >= keyedIdle {
			stale = append(stale, k)
		}
	}
	if diff := cmp.Diff([]uint64{2}, stale); diff != "" {
		t.Errorf("stood still (-want +got):\n%s", diff)
	}
}
