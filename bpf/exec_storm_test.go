// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestExecStorm starts as many programs as two processes can: every one is counted, and every event is
// listed, unlisted or lost. Every fork of the host is in /proc/stat.
func TestExecStorm(t *testing.T) {
	w := watchExec(t)
	const workers = 2
	each := uint64(2000)
	if os.Getenv("BPF60_TEST_GUEST") != "" {
		each = 300 // an emulated machine
	}
	path := tinyIn(t, "bpf60-storm", 3)
	kinds := []EventKind{EventExec, EventExit, EventReap}
	sum := func() map[EventKind]EventCounts {
		out := make(map[EventKind]EventCounts)
		for _, kind := range kinds {
			c, err := w.events.Counts(kind)
			if err != nil {
				t.Fatal(err)
			}
			out[kind] = c
		}
		return out
	}
	if err := w.Scanned(bootNow(t)); err != nil {
		t.Fatal(err)
	}
	// The kernel's count is read on both sides of ours.
	kernel := statProcesses(t)
	outer := sum()
	before := w.counts(t)
	events, inner := sum(), statProcesses(t)
	began := time.Now()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				reap(t, spawn(t, path, []string{"x"}))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	innerAfter, listed := statProcesses(t), sum()
	after := w.counts(t)
	outerAfter := sum()
	kernelAfter := statProcesses(t)
	dead := w.settled(t, "bpf60-storm", each*workers)
	rate := float64(each*workers) / took.Seconds()
	t.Logf("%.0f execs/s", rate)

	a, b := after.Totals[0], before.Totals[0]
	forks := a.Forks + a.Threads - b.Forks - b.Threads
	if least, most := innerAfter-inner, kernelAfter-kernel; forks < least || forks > most {
		t.Errorf("%d forks of processes and threads, the kernel says %d to %d", forks, least, most)
	}
	mine := after.Totals[1].Execs - before.Totals[1].Execs
	if mine != each*workers {
		t.Errorf("%d execs of this process's children, want %d", mine, each*workers)
	}
	var byFile uint64
	for _, c := range after.Execs {
		if c.Name == path {
			byFile += c.Execs
		}
	}
	if byFile != each*workers {
		t.Errorf("%d execs of %s, want %d", byFile, path, each*workers)
	}
	if dead.Exits != each*workers || dead.Failed != each*workers || dead.Unseen != each*workers || dead.CPU == 0 {
		t.Errorf("sums %+v, want %d that failed and that no scan has seen", dead, each*workers)
	}
	for kind, n := range map[EventKind]uint64{EventExec: a.Execs - b.Execs, EventExit: a.Exits - b.Exits} {
		x, y := listed[kind], events[kind]
		all := func(to, from EventCounts) uint64 {
			return to.Sent + to.Unlisted + to.Lost - from.Sent - from.Unlisted - from.Lost
		}
		// Events are read on both sides of the counts, too. What is under way on another CPU at a reading
		// may be on one side only.
		slack := uint64(2 * len(onlineCPUs(t)))
		if least, most := all(x, y), all(outerAfter[kind], outer[kind]); least > n+slack || most+slack < n {
			t.Errorf("kind %d: %d to %d events sent, unlisted or lost of %d", kind, least, most, n)
		}
		if rate > 4000 && x.Unlisted == y.Unlisted {
			t.Errorf("kind %d: everything of a storm was listed: %+v", kind, x)
		}
	}
	mineNow := w.counts(t).Totals[1]
	// The kernel frees some without the hook, see TestExits, a batch at a time, when somebody attaches programs
	// or detaches them meanwhile; and those that were freed last may come later.
	if n := mineNow.Reaped - before.Totals[1].Reaped; n < each*workers*3/4 {
		t.Errorf("%d of %d processes were seen when they were waited for", n, each*workers)
	}
	t.Logf("%d of them without their last time slice, %d late; %d counts without room by key", each*workers-mineNow.Reaped, w.counts(t).Totals[0].Late-b.Late, a.Unkeyed-b.Unkeyed)
}

// statProcesses is the kernel's count of forks of processes and threads since boot.
func statProcesses(t testing.TB) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\nprocesses ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseUint(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestExecPause: what happens while the programs are detached is not counted, and they come back.
func TestExecPause(t *testing.T) {
	w := watchExec(t)
	path := tinyIn(t, "bpf60-pause", 0)
	run := func() uint64 {
		before := w.counts(t).Totals[1].Execs
		reap(t, spawn(t, path, []string{"x"}))
		return w.counts(t).Totals[1].Execs - before
	}
	for i, on := range []bool{false, true, false} {
		if err := w.Pause(on); err != nil {
			t.Fatal(err)
		}
		want := uint64(1)
		if on {
			want = 0
		}
		if n := run(); n != want {
			t.Errorf("step %d: %d execs counted with pause %v, want %d", i, n, on, want)
		}
	}
}
