// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// stopped is a process that has touched pages on each CPU it may use, and does nothing any more.
func stopped(t testing.TB, pages int) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=touch "+strconv.Itoa(pages))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	pid := cmd.Process.Pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("waiting for the child to stop: %v, status %x", err, status)
	}
	return pid
}

// exactRSS is the RSS in pages of a process that stands still, by the iterator. It fails if that is not
// what the page tables of the process say. Below 6.2 each thread holds some pages back, which nobody sums.
func exactRSS(t testing.TB, tasks *Tasks, pid int) int64 {
	t.Helper()
	if err := tasks.Lagging(); err != nil {
		t.Fatalf("RSS lacks what CPUs hold back: %v", err)
	}
	slack := int64(0)
	if tasks.held.turns == nil {
		slack = 3 * 64 * int64(procOf(pid)["Threads"])
	}
	for try := 0; ; try++ { // the kernel may take pages away
		before := pagesMapped(t, pid)
		got := byTID(t, tasks)[pid]
		after := pagesMapped(t, pid)
		rss := got.Rss + int64(got.Held)
		if rss >= min(before, after)-slack && rss <= max(before, after)+slack {
			return rss
		}
		if try == 23 {
			t.Fatalf("RSS = %d pages, %d of them held back, its page tables say %d before and %d after", rss, got.Held, before, after)
		}
	}
}

// pagesMapped is how many pages the page tables of a process have.
func pagesMapped(t testing.TB, pid int) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "Rss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10 / int64(os.Getpagesize())
		}
	}
	t.Fatalf("/proc/%d/smaps_rollup has no Rss", pid)
	return 0
}

// sleepers starts n processes that do nothing, and returns their IDs.
func sleepers(t testing.TB, n int) []int {
	t.Helper()
	var pids []int
	for range n {
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

// TestTasksMemory holds that memory in use is exact to the page, and that it is what a process touched.
func TestTasksMemory(t *testing.T) {
	// The last 23 of them are less than what a CPU adds to the count at once.
	const few, many = 23, 4096 + 23
	tasks := openTasks(t)
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	more := int64((many - few) * allowed.Count())
	small, big := stopped(t, few), stopped(t, many)
	if d := exactRSS(t, tasks, big) - exactRSS(t, tasks, small); d < more-2048 || d > more+2048 {
		t.Errorf("RSS differs by %d pages, want %d, give or take what Go has", d, more)
	}
	all := byTID(t, tasks)
	if got, proc := all[big], procOf(big); got.Vsz != proc["vsz"] {
		t.Errorf("VSZ = %d pages, /proc says %d", got.Vsz, proc["vsz"])
	}
	for tid, x := range all {
		if x.Flags&0x00200000 != 0 && (x.Rss != 0 || x.Vsz != 0) && !strings.HasPrefix(commOf(x), "io_wqe") {
			t.Errorf("kernel thread %d %s has %d and %d pages", tid, commOf(x), x.Rss, x.Vsz)
		}
	}
}

// TestTasksTurns has processes take turns, and holds that each has its own within a round, that new ones
// have it at once, and that all have when they are few again.
func TestTasksTurns(t *testing.T) {
	tasks := openTasks(t)
	if tasks.held.turns == nil {
		t.Skip("this kernel counts pages at once (below 6.2)")
	}
	had := func(pids []int) (n int) {
		all := byTID(t, tasks)
		for _, pid := range pids {
			if all[pid].Has&TaskHasHeld != 0 {
				n++
			}
		}
		return n
	}
	old := sleepers(t, 23)
	if n := had(old); n != len(old) || tasks.TakeTurns() {
		t.Fatalf("%d of %d have had their turn, want all while they are cheap", n, len(old))
	}
	had(old) // none of them is new any more
	tasks.held.lines = max(1, tasks.held.processes*tasks.held.cpus/7)
	turns := make(map[int]int)
	readings := 0
	for ; len(turns) < len(old) && readings < 100; readings++ {
		young := sleepers(t, 1)[0]
		all := byTID(t, tasks)
		for _, pid := range old {
			if all[pid].Has&TaskHasHeld != 0 {
				turns[pid]++
			}
		}
		if all[young].Has&TaskHasHeld == 0 {
			t.Errorf("a process that began since the last reading has not had its turn: %+v", tasks.held.next)
		}
	}
	if every := tasks.held.next.Every; !tasks.TakeTurns() || every < 4 {
		t.Errorf("one of %d has its turn, want 8 or so; that processes take turns: %t", every, tasks.TakeTurns())
	}
	if len(turns) < len(old) {
		t.Errorf("%d of %d have had a turn in %d readings", len(turns), len(old), readings)
	}
	for pid, n := range turns {
		if readings > 2 && n == readings {
			t.Errorf("process %d has had its turn in each of %d readings", pid, n)
		}
	}
	tasks.held.lines = heldLines
	if n := had(old); n != len(old) {
		t.Errorf("%d of %d have had their turn, want all when it is cheap again", n, len(old))
	}
}

// touchOnEach writes to n new pages on each CPU that the process may use.
func touchOnEach(n int) {
	runtime.LockOSThread()
	var allowed unix.CPUSet
	err := unix.SchedGetaffinity(0, &allowed)
	for cpu := 0; err == nil && cpu < heldCPUs; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err = unix.SchedSetaffinity(0, &one); err == nil {
			_, err = newPages(n)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// newPages maps n pages, none of them huge, and writes to them.
func newPages(n int) ([]byte, error) {
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, n*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
	return b, nil
}

// countedTasks is the facade without what CPUs hold back.
func countedTasks(t testing.TB) *Tasks {
	t.Helper()
	obj, err := newObject(need(t), loadTasks)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	p, err := obj.load("tasks_listed")
	if err != nil {
		t.Fatal(err)
	}
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		t.Fatal(err)
	}
	obj.links = append(obj.links, it)
	return &Tasks{obj: obj, iter: it, buf: make([]byte, taskBuf)}
}

// TestTasksHeldCPUs holds that the verifier takes the program for as many CPUs as it is for.
func TestTasksHeldCPUs(t *testing.T) {
	if openTasks(t).held.turns == nil {
		t.Skip("this kernel counts pages at once (below 6.2)")
	}
	obj, err := newObject(need(t), loadTasks)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	if err := obj.set("possible_cpus", uint32(heldCPUs)); err != nil {
		t.Fatal(err)
	}
	p, err := obj.load("tasks_listed_summed")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the verifier went through %d instructions", verified(t, p))
}
