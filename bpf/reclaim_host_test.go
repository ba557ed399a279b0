// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Settings of the kernel's memory management.
const (
	minFree   = "/proc/sys/vm/min_free_kbytes"               // KiB: who asks for memory while less is free reclaims
	keptByCPU = "/proc/sys/vm/percpu_pagelist_high_fraction" // of free memory that does not count as free; 5.14
)

// inShortHost is inWorld for tests that make the whole host short of memory: they need a guest of their own.
// They set minFree. It is put back here, whatever becomes of the other process.
func inShortHost(t *testing.T, world string) bool {
	t.Helper()
	if !emulated() {
		t.Skip("needs a guest of its own: it makes the host short of memory")
	}
	if os.Getenv(worldEnv) == "" {
		setting(t, minFree, settingOf(t, minFree))
		// A CPU may keep much of the memory, once it was freed there, and of what is asked for by minFree most:
		// the kernel would kill one process after the other, as it does not see what each leaves.
		if _, err := os.Stat(keptByCPU); err == nil {
			setting(t, keptByCPU, 1000)
		}
	}
	return inWorld(t, world)
}

func settingOf(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func set(t *testing.T, file string, value int) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strconv.Itoa(value)), 0); err != nil {
		t.Error(err)
	}
}

// setting is set until the test ends.
func setting(t *testing.T, file string, value int) {
	t.Helper()
	was := settingOf(t, file)
	t.Cleanup(func() { set(t, file, was) })
	set(t, file, value)
}

// freeMemory is what nobody uses, in KiB.
func freeMemory(t *testing.T) int {
	t.Helper()
	n, ok := vmCounter(t, "nr_free_pages")
	if !ok {
		t.Fatal("no nr_free_pages in /proc/vmstat")
	}
	return int(n) * os.Getpagesize() >> 10
}

// touched is memory that is there, in pages of the usual size.
func touched(t *testing.T, mib int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	return b
}

// allocStalls is how often the kernel says that somebody had to reclaim, whatever the zone.
func allocStalls(t *testing.T) (n uint64) {
	t.Helper()
	for _, zone := range []string{"dma", "dma32", "normal", "movable", "device"} {
		stalls, _ := vmCounter(t, "allocstall_"+zone)
		n += stalls
	}
	return n
}

// reclaimed is what the kernel counted, in /proc/vmstat and by its tracepoints.
type reclaimed struct {
	stalls, kswapd, pages, kills uint64
	passed                       [3]uint64 // tracepoints: begin, kswapd, throttled
}

// reclaimCounters reads them; the tracepoints count from now on.
func reclaimCounters(t *testing.T, r *Reclaim) (read func() reclaimed) {
	t.Helper()
	perf := [3]hits{
		countHits(t, "vmscan/mm_vmscan_direct_reclaim_begin"),
		countHits(t, "vmscan/mm_vmscan_kswapd_wake"),
	}
	if r.Err(ReclaimThrottled) == nil {
		perf[2] = countHits(t, "vmscan/mm_vmscan_throttled")
	}
	return func() (k reclaimed) {
		k.stalls, k.kills = allocStalls(t), oomKills(t)
		k.kswapd, _ = vmCounter(t, "pageoutrun")
		k.pages, _ = vmCounter(t, "pgsteal_direct")
		for i := range perf {
			k.passed[i] = perf[i].read(t)
		}
		return k
	}
}

// TestDirectReclaim has the host run short 23 times and more, with memory that may be taken back.
func TestDirectReclaim(t *testing.T) {
	if inShortHost(t, "tracefs") {
		return
	}
	r := openReclaim(t, need(t))
	kernel := reclaimCounters(t, r)
	mine := countHitsOf(t, "vmscan/mm_vmscan_direct_reclaim_begin", os.Getpid())
	undisturbed(t, func() (wrong []string) { return directReclaim(t, r, kernel, mine) })
}

func directReclaim(t *testing.T, r *Reclaim, kernel func() reclaimed, mine hits) (wrong []string) {
	t.Helper()
	const n = 23
	const lazy, lack, chunk = 192, 32, 8 // MiB
	usual := settingOf(t, minFree)
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	me := int32(os.Getpid())
	before, was, row, seen := readReclaim(t, r, 0), kernel(), stallRows(t, r)[me], mine.read(t)
	for range n {
		if mine.read(t)-seen >= n {
			break
		}
		// Without swap this is what can be taken back; its kernel thread takes some, and we the rest.
		b := touched(t, lazy)
		if err := unix.Madvise(b, unix.MADV_FREE); err != nil {
			t.Fatal(err)
		}
		set(t, minFree, freeMemory(t)+lack<<10)
		more := touched(t, chunk)
		set(t, minFree, usual)
		for _, b := range [][]byte{b, more} {
			if err := unix.Munmap(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, now := settled(t, r, &before, kernel, &was)
	got := d.Stalls[StallDirect].count()
	if stalls := now.stalls - was.stalls; got != stalls || got != now.passed[0]-was.passed[0] || got < n {
		complain("%d stalls, /proc/vmstat says %d, perf %d", got, stalls, now.passed[0]-was.passed[0])
	}
	// It does not wake any more once the kernel has given it up, as after a kill for want of memory.
	if runs := now.kswapd - was.kswapd; d.Kswapd != runs || d.Kswapd != now.passed[1]-was.passed[1] {
		complain("kswapd woke %d times, /proc/vmstat says %d, perf %d", d.Kswapd, runs, now.passed[1]-was.passed[1])
	}
	if d.Throttled != now.passed[2]-was.passed[2] {
		complain("%d throttled, perf counted %d", d.Throttled, now.passed[2]-was.passed[2])
	}
	// What is reclaimed of the kernel's own caches is not in its count.
	if pages := now.pages - was.pages; d.Pages[StallDirect] < pages || pages == 0 {
		complain("%d pages reclaimed, /proc/vmstat says %d", d.Pages[StallDirect], pages)
	}
	ours, want := stallRows(t, r)[me], mine.read(t)-seen
	if got := ours.Count[StallDirect] - row.Count[StallDirect]; got != want || want < n {
		complain("%d stalls of ours, perf counted %d", got, want)
	}
	if ns, sum := ours.Ns[StallDirect]-row.Ns[StallDirect], d.Stalls[StallDirect].Sum; ns == 0 || ns > sum {
		complain("our stalls took %d ns, all %d", ns, sum)
	}
	t.Logf("%d stalls of %d pages, %d of them ours; kswapd woke %d times, %d throttled", got, d.Pages[StallDirect], want, d.Kswapd, d.Throttled)
	return wrong
}

// settled waits until every stall that began has ended, and returns what was counted since before.
func settled(t *testing.T, r *Reclaim, before *ReclaimCounts, kernel func() reclaimed, was *reclaimed) (d ReclaimCounts, now reclaimed) {
	t.Helper()
	awaiting(t, "every stall to have ended", func() bool {
		d, now = readReclaim(t, r, 0), kernel()
		d.Stalls[StallDirect].minus(&before.Stalls[StallDirect])
		d.Unbegun -= before.Unbegun
		return d.Stalls[StallDirect].count()+d.Unbegun >= now.passed[0]-was.passed[0]
	})
	if d.Unbegun != 0 || d.Collided != before.Collided {
		t.Errorf("%d stalls unbegun and %d collided", d.Unbegun, d.Collided-before.Collided)
	}
	d.Kswapd -= before.Kswapd
	d.Throttled -= before.Throttled
	d.Pages[StallDirect] -= before.Pages[StallDirect]
	d.Kills -= before.Kills
	return d, now
}

// TestHostKill lets a process eat what the host has: it waits, and it is killed.
func TestHostKill(t *testing.T) {
	if inShortHost(t, "tracefs,cgroup2") {
		return
	}
	const left, eaten = 128, 512 // MiB
	k := need(t)
	e, r := openMemoryEvents(t, k), openReclaim(t, k)
	kernel := reclaimCounters(t, r)
	x := startEater(t, "/sys/fs/cgroup", "bpf60-glutton")
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", x.pid()), []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
	perf := countHitsOf(t, "vmscan/mm_vmscan_direct_reclaim_begin", int(x.pid()))
	before, was := readReclaim(t, r, 0), kernel()
	usual := settingOf(t, minFree)
	set(t, minFree, freeMemory(t)-left<<10)
	lived := x.take(eaten)
	set(t, minFree, usual)
	x.kill()
	if lived {
		t.Fatalf("it lived with %d MiB where %d were free", eaten, left)
	}
	d, now := settled(t, r, &before, kernel, &was)
	if got := now.kills - was.kills; d.Kills != 1 || got != 1 {
		t.Errorf("%d kills, the kernel says %d, want one", d.Kills, got)
	}
	// One stall that reclaims nothing is several to /proc/vmstat: it tries once more, with less regard.
	got, want := d.Stalls[StallDirect].count(), now.passed[0]-was.passed[0]
	if got != want || got > now.stalls-was.stalls {
		t.Errorf("%d stalls, perf counted %d, /proc/vmstat says %d", got, want, now.stalls-was.stalls)
	}
	if want := now.passed[2] - was.passed[2]; d.Throttled != want {
		t.Errorf("%d throttled, perf counted %d", d.Throttled, want)
	}
	row, want := stallRows(t, r)[x.pid()], perf.read(t)
	if row.Count[StallDirect] != want || want == 0 || nameOf16(row.Comm) != "bpf60-glutton" {
		t.Errorf("its row has %d stalls (%q), perf counted %d", row.Count[StallDirect], nameOf16(row.Comm), want)
	}
	kills, stalls := oomEvents(t, e, "bpf60-glutton")
	if len(kills) != 1 || kills[0].Victim.Tgid != x.pid() || OOMConstraint(kills[0].Constraint) != OOMHost || kills[0].Limit != 0 {
		t.Errorf("kills %+v, want one of %d for the host's lack", kills, x.pid())
	}
	if counts, err := e.Counts(EventReclaim); err != nil || uint64(len(stalls)) > want || uint64(len(stalls))+counts.Unlisted+counts.Lost < want {
		t.Errorf("%d stalls listed, %+v (%v), want %d in all", len(stalls), counts, err, want)
	}
	for _, s := range stalls {
		if StallKind(s.Kind) != StallDirect || s.Limit != 0 {
			t.Errorf("stall %+v, want one for the host's lack", s)
		}
	}
	t.Logf("%d stalls, %d of them its own; kswapd woke %d times, %d throttled", got, want, d.Kswapd, d.Throttled)
}
