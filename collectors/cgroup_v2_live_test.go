// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCgroupV2Quota burns CPU under a quota of a fifth of one.
func TestCgroupV2Quota(t *testing.T) {
	path, dir := v2Cgroup(t, "cpu")
	setLimit(t, dir, "cpu.max", "20000 100000")
	kernel := func() cgroupCPU {
		cpu, err := parseCgroupCPU(readHost(t, dir, "cpu.stat"))
		if err != nil {
			t.Fatal(err)
		}
		return cpu
	}
	before := kernel()
	r := collectRounds(t, path)
	after := kernel()
	var low, high cgroupCPU
	for range 3 {
		runJob(t, dir, "burn")
		low = kernel()
		r.collect()
		high = kernel() // a period may end between two readings
	}
	r.within("periods", r.sum.Periods, low.Periods-after.Periods, high.Periods-before.Periods)
	r.within("throttled", r.sum.Throttled, low.Throttled-after.Throttled, high.Throttled-before.Throttled)
	r.within("throttled for", uint64(r.sum.ThrottledFor), low.ThrottledNs-after.ThrottledNs, high.ThrottledNs-before.ThrottledNs)
	r.within("usage", uint64(r.sum.Usage), low.Usage-after.Usage, high.Usage-before.Usage)
	if low.Throttled < 3 || r.sum.Own.CPUs != 0.2 || r.sum.Period != 100*time.Millisecond {
		t.Errorf("throttled %d times under %v CPUs of %v", low.Throttled, r.sum.Own.CPUs, r.sum.Period)
	}
	t.Logf("periods %d, throttled %d for %v, used %v", r.sum.Periods, r.sum.Throttled, r.sum.ThrottledFor, r.sum.Usage)
}

// TestCgroupV2Memory fills a tmpfs with 20 MiB, goes over the high limit, and runs into the hard one.
func TestCgroupV2Memory(t *testing.T) {
	const mib = 1 << 20
	path, dir := v2Cgroup(t, "memory")
	setLimit(t, dir, "memory.max", fmt.Sprint(48*mib))
	if err := os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	file := filepath.Join(tmpfsDir(t), fmt.Sprintf("bpf60-test-%d", os.Getpid()))
	t.Cleanup(func() { os.Remove(file) })
	r := collectRounds(t, path)
	runJob(t, dir, "file "+file+" 20")
	r.collect()
	if r.sum.Memory < 20*mib || r.sum.Memory > 24*mib {
		t.Errorf("memory = %d, want the 20 MiB of the file and little else", r.sum.Memory)
	}
	if d := r.sum.Detail; d == nil || d.Shmem < 19*mib || d.Shmem > 21*mib { // before 5.15 each CPU keeps some back
		t.Errorf("detail = %+v, want about 20 MiB of shmem", d)
	}
	if r.sum.Own.Max != 48*mib || r.sum.Tight.Max != 48*mib {
		t.Errorf("limits = %+v", r.sum.CgroupInfo)
	}

	// Just above what is there: who is far beyond sleeps for seconds.
	j := startJob(t, dir, "file "+file+" 1")
	settledThreads(t, j.cmd.Process.Pid)
	now, err := parseCount(readHost(t, dir, "memory.current"))
	if err != nil {
		t.Fatal(err)
	}
	high := now + mib/2
	setLimit(t, dir, "memory.high", fmt.Sprint(high))
	j.wait()
	r.readLimits()
	r.collect()
	if r.sum.Own.High != high {
		t.Errorf("high = %d, want %d", r.sum.Own.High, high)
	}
	setLimit(t, dir, "memory.high", "max")

	if sig := runJob(t, dir, "memory 64"); sig != syscall.SIGKILL {
		t.Errorf("a job of 64 MiB under a limit of 48 MiB ended by signal %v, want to be killed", sig)
	}
	r.collect()
	events, err := parseMemEvents(readHost(t, dir, "memory.events"))
	if err != nil {
		t.Fatal(err)
	}
	if events.High == 0 || events.OOMKill != 1 {
		t.Errorf("the kernel has %+v, want events of high and one kill", events)
	}
	got := r.sum.Events
	if got.High != events.High || got.Max != events.Max || got.OOMKill != events.OOMKill {
		t.Errorf("events = %+v, the kernel has %+v", got, events)
	}
	if d := r.sum.Detail; d == nil || d.OOMKills != 1 {
		t.Errorf("detail = %+v, want one kill since it was made", d)
	}
}

// tmpfsDir is a folder of a tmpfs.
func tmpfsDir(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/dev/shm", "/tmp"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
			return dir
		}
	}
	lacking(t, "no tmpfs at /dev/shm or /tmp")
	return ""
}

// TestCgroupV2Pids has 23 forks refused.
func TestCgroupV2Pids(t *testing.T) {
	path, dir := v2Cgroup(t, "pids")
	r := collectRounds(t, path)
	j := startJob(t, dir, "fork")
	threads := settledThreads(t, j.cmd.Process.Pid)
	setLimit(t, dir, "pids.max", fmt.Sprint(threads))
	r.readLimits()
	r.collect()
	if r.sum.Pids != uint64(threads) || r.sum.Own.Pids != uint64(threads) {
		t.Errorf("%d tasks of %d, want %d of as many", r.sum.Pids, r.sum.Own.Pids, threads)
	}
	j.wait()
	r.collect()
	if r.sum.PidsDenied != jobCount || r.sum.Pids != 0 {
		t.Errorf("%d forks refused and %d tasks left, want %d and none", r.sum.PidsDenied, r.sum.Pids, jobCount)
	}
}

// settledThreads waits until a job sleeps in its first read, and returns how many threads it has.
func settledThreads(t *testing.T, pid int) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, task.Name()))
			if err == nil && strings.HasPrefix(string(b), fmt.Sprintf("%d 0x0 ", unix.SYS_READ)) {
				return len(tasks)
			}
		}
	}
	t.Fatal("the job does not wait for its input")
	return 0
}

// TestCgroupV2Pressure has two jobs contend for a fifth of a CPU.
func TestCgroupV2Pressure(t *testing.T) {
	path, dir := v2Cgroup(t, "cpu")
	if _, err := os.ReadFile(filepath.Join(dir, "cpu.pressure")); err != nil {
		t.Skipf("no PSI in this kernel: %v", err)
	}
	setLimit(t, dir, "cpu.max", "20000 100000")
	stalled := func() uint64 {
		s, err := parseStalls(readHost(t, dir, "cpu.pressure"))
		if err != nil {
			t.Fatal(err)
		}
		return uint64(s.Some)
	}
	r := collectRounds(t, path)
	before := stalled()
	one, two := startJob(t, dir, "burn"), startJob(t, dir, "burn")
	one.wait()
	two.wait()
	low := stalled()
	r.collect()
	high := stalled()
	if low-before < uint64(100*time.Millisecond) {
		t.Errorf("the kernel counted %v of stall, want more", time.Duration(low-before))
	}
	if r.sum.PSI == nil {
		t.Fatalf("no PSI in %+v", r.sum)
	}
	r.within("cpu some", uint64(r.sum.PSI.CPU.Some), low, high)
}

// TestCgroupV2IO makes 23 writes past the cache to a disk of its own.
func TestCgroupV2IO(t *testing.T) {
	path, dir := v2Cgroup(t, "io")
	disk := loopDisk(t)
	setLimit(t, dir, "io.max", deviceNumber(t, disk)+" wiops=5000")
	r := collectRounds(t, path)
	r.onlyLoop()
	runJob(t, dir, "write "+disk)
	r.collect()
	if want := (CgroupIO{WIOs: jobCount, WBytes: jobCount * 4096}); r.sum.IO == nil || *r.sum.IO != want {
		t.Errorf("I/O = %+v, want %+v\n%s", r.sum.IO, want, readHost(t, dir, "io.stat"))
	}
	if d := r.sum.Detail; d == nil || len(d.IOMax) != 1 || d.IOMax[0].WIO != 5000 || d.IOMax[0].RBytes != NoLimit {
		t.Errorf("detail = %+v, want a limit of 5000 writes a second", d)
	}
}
