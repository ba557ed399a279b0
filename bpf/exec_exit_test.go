// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCPUOfTheDead holds the CPU time of processes with several threads against what wait4(2) says.
func TestCPUOfTheDead(t *testing.T) {
	w := watchExec(t)
	if err := w.Scanned(bootNow(t)); err != nil { // or we would be too young to be a parent
		t.Fatal(err)
	}
	// The kernel may free one where no program sees it: see TestExits. Of five rounds one must be whole.
	for range 5 {
		first := w.counts(t)
		was, reaped := first.dead("exe"), first.Totals[1].Reaped
		var want time.Duration
		for range 3 {
			pid := startChild(t, "spin 30ms")
			_, ru := reap(t, pid)
			want += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
		}
		got := w.settled(t, "exe", reaped+3)
		exits, cpu := got.Exits-was.Exits, time.Duration(got.CPU-was.CPU)
		missed := w.missed(t, "exec_ended", "exec_reaped")
		if exits > 3 || exits+missed < 3 {
			t.Errorf("%d exits of 3 processes, and the kernel passed over %d", exits, missed)
		}
		// Each of six threads used 30 ms by its own clock; an emulated machine's clocks are not so even.
		if least := spinsFor(180 * time.Millisecond); want < least {
			t.Errorf("three children of two threads used %v, want %v", want, least)
		}
		if w.counts(t).Totals[1].Reaped-reaped < 3 {
			continue
		}
		// The kernel gives whole microseconds.
		if d := want - cpu; d > 10*time.Microsecond || d < -10*time.Microsecond {
			t.Errorf("%d processes used %v, wait4 says %v", exits, cpu, want)
		}
		return
	}
	t.Error("in no round all three processes were seen when they were waited for")
}

// spinsFor is the least that counts as CPU time of d: half of it in a guest.
func spinsFor(d time.Duration) time.Duration {
	if os.Getenv("BPF60_TEST_GUEST") != "" {
		return d / 2
	}
	return d
}

// TestThreadExec: another thread than the first one calls exec, and gets the PID of the process.
func TestThreadExec(t *testing.T) {
	w := watchExec(t)
	path := tinyIn(t, "bpf60-thread", 7)
	if err := w.Scanned(bootNow(t)); err != nil { // or we would be too young to be a parent
		t.Fatal(err)
	}
	var pids []int32
	reaped := 0
	for range 5 {
		pid := startChild(t, "thread-exec "+path)
		reap(t, pid)
		pids = append(pids, int32(pid))
	}
	w.settled(t, "bpf60-thread", 5)
	w.take(t)
	for _, pid := range pids {
		var files []string
		var exits, starts int
		for _, e := range w.execs {
			if e.TGID == pid {
				files = append(files, e.File)
				if e.File == path && (e.OldPID == pid || string(e.Args) != joined(path, "from", "thread")) {
					t.Errorf("exec by a thread: %+v", e)
				}
			}
		}
		for _, e := range w.exits {
			if e.TGID == pid {
				exits++
				if e.Code != 7<<8 || e.Comm != "bpf60-thread" {
					t.Errorf("exit after exec by a thread: %+v", e)
				}
			}
			for _, r := range w.reaps {
				if r.TGID == pid && r.Start == e.Start && e.TGID == pid {
					starts++
				}
			}
		}
		reaped += starts
		if diff := cmp.Diff([]string{"/proc/self/exe", path}, files); diff != "" || exits != 1 || starts > 1 {
			t.Errorf("process %d: %d exits, %d of them reaped; execs (-want +got):\n%s", pid, exits, starts, diff)
		}
	}
	if reaped == 0 { // one or another may be freed where no program sees it: see TestExits
		t.Error("none of 5 processes is listed as waited for under the PID and the start that it ended with")
	}
	if d := w.counts(t).dead("bpf60-thread"); d.Exits != 5 || d.Failed != 5 {
		t.Errorf("sums %+v, want 5 that failed", d)
	}
}

// TestLeaderFirst: the first thread ends before the process does, which is when the process exits.
func TestLeaderFirst(t *testing.T) {
	for name, args := range map[string]uint32{"as opened": 0, "before 6.16": 1} {
		t.Run(name, func(t *testing.T) {
			w := watchExec(t)
			if args != 0 {
				w.asBefore616(t)
			}
			pid := startChild(t, "leader-first 9")
			ws, _ := reap(t, pid)
			if ws.ExitStatus() != 9 {
				t.Fatalf("the child ended with %v, want 9", ws)
			}
			w.settled(t, "exe", 1)
			w.take(t)
			var exits []ExitEvent
			for _, e := range w.exits {
				if e.TGID == int32(pid) {
					exits = append(exits, e)
				}
			}
			if len(exits) != 1 || exits[0].Code != 9<<8 || exits[0].Age < 200e6 {
				t.Errorf("exits %+v, want one with code 9 after 200 ms", exits)
			}
		})
	}
}

// asBefore616 goes by the count of threads alive also where the kernel says more.
func (w *execWatch) asBefore616(t testing.TB) {
	t.Helper()
	if err := w.obj.detach(); err != nil {
		t.Fatal(err)
	}
	if err := w.obj.set("exit_args", uint32(1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exec_reaped", "exec_forked", "exec_begun", "exec_ended"} {
		if err := w.obj.attachTracing(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExitOnce ends processes of several threads at once, by the count of threads alive: two may find
// themselves the last.
func TestExitOnce(t *testing.T) {
	w := watchExec(t)
	w.asBefore616(t)
	before := w.counts(t).Totals[1]
	const n = 50
	for range n {
		reap(t, startChild(t, "together 8"))
	}
	w.settled(t, "exe", n)
	after := w.counts(t).Totals[1]
	missed := w.missed(t, "exec_ended", "exec_reaped")
	if got := after.Exits - before.Exits; got > n || got+missed < n {
		t.Errorf("%d exits of %d processes of several threads, and the kernel passed over %d", got, n, missed)
	}
}

// TestExitMarked: the last thread but one found itself the last, and is gone: what comes after it is alone,
// and counts no more. A process that nobody marked is counted.
func TestExitMarked(t *testing.T) {
	const sleep = "/bin/sleep" // of one thread, which a program in Go is not
	if _, err := os.Stat(sleep); err != nil {
		if os.Getenv("BPF60_TEST_GUEST") != "" {
			t.Skipf("no %s in a guest", sleep)
		}
		lacking(t, sleep)
	}
	w := watchExec(t)
	w.asBefore616(t)
	marks, err := w.obj.createMap("ending")
	if err != nil {
		t.Fatal(err)
	}
	for name, marked := range map[string]bool{"alone from the start": false, "another was before it": true} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // the kernel may free one where no program sees it: see TestExits
				before := w.counts(t).Totals[1].Exits
				pid := spawn(t, sleep, []string{"sleep", "0.2"})
				self := execProcess{Tgid: int32(pid), Start: w.startOf(t, int32(pid))}
				want := uint64(1)
				if marked {
					want = 0
					if err := marks.Put(&self, uint32(1)); err != nil {
						t.Fatal(err)
					}
				}
				reap(t, pid)
				if n := w.counts(t).Totals[1].Exits - before; n != want {
					t.Errorf("%d exits, want %d", n, want)
				}
				var mark uint32
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); nap(10 * time.Millisecond) {
					if marks.Lookup(&self, &mark) != nil {
						return
					}
				}
			}
			t.Error("the mark stays when the process is gone")
		})
	}
}

// missed is how many runs of programs the kernel passed over: since 7.0 a program may be preempted, and what
// happens on its CPU meanwhile is not seen by the same one.
func (w *execWatch) missed(t testing.TB, names ...string) (n uint64) {
	t.Helper()
	runs, err := w.obj.kernel.Runs()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if slices.Contains(names, r.Name) {
			n += r.Missed
		}
	}
	return n
}

// startOf waits until the process has called exec, and returns its start.
func (w *execWatch) startOf(t testing.TB, pid int32) uint64 {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); nap(time.Millisecond) {
		w.take(t)
		for _, e := range w.execs {
			if e.TGID == pid {
				return e.Start
			}
		}
	}
	t.Fatalf("process %d has not called exec", pid)
	return 0
}

// TestExecBlind is how execs are counted where the memory of processes cannot be read.
func TestExecBlind(t *testing.T) {
	w := watchExec(t)
	if err := errors.Join(w.obj.detach(), blind(w.obj), w.obj.attachTracing("exec_begun")); err != nil {
		t.Fatal(err)
	}
	path := tinyIn(t, "bpf60-blind", 0)
	pids := make(map[int32]bool)
	for range 23 {
		pid := spawn(t, path, []string{"x", "y"})
		reap(t, pid)
		pids[int32(pid)] = true
	}
	w.take(t)
	listed := 0
	for _, e := range w.execs {
		if pids[e.TGID] {
			listed++
			if e.File != "bpf60-blind" || len(e.Args) != 0 || e.ArgsWhole != 4 || e.ParentTGID != int32(os.Getpid()) {
				t.Errorf("exec %+v", e)
			}
		}
	}
	var counted uint64
	for _, c := range w.counts(t).Execs {
		if c.Name == "bpf60-blind" {
			counted += c.Execs
		}
	}
	if listed != 23 || counted != 23 {
		t.Errorf("%d listed, %d counted, want 23", listed, counted)
	}
}
