// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func openTasks(t testing.TB) *Tasks {
	t.Helper()
	tasks, err := OpenTasks(need(t))
	if err != nil {
		t.Fatalf("OpenTasks: %v", err)
	}
	closing(t, tasks)
	return tasks
}

// TestTasksAtomic loads the program for kernels below 6.2 here as well: their half of it is dead code.
func TestTasksAtomic(t *testing.T) {
	obj, err := newObject(need(t), loadTasks)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	if _, err := obj.load("tasks_listed_atomic"); err != nil {
		t.Error(err)
	}
}

// TestTasksLastCPU: whoever reads is found on the CPU that it is bound to.
func TestTasksLastCPU(t *testing.T) {
	tasks := openTasks(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &was); err != nil {
			t.Error(err)
		}
	}()
	for cpu := range 1024 {
		if !was.IsSet(cpu) {
			continue
		}
		one.Zero()
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		if got := byTID(t, tasks)[unix.Gettid()].LastCpu; got != uint32(cpu)+1 {
			t.Errorf("bound to CPU %d the iterator says %d, want one more than the CPU", cpu, got)
		}
	}
}

// byTID scans.
func byTID(t testing.TB, tasks *Tasks) map[int]Task {
	t.Helper()
	out := make(map[int]Task)
	if err := tasks.Read(func(x *Task) { out[int(x.Pid)] = *x }); err != nil {
		t.Fatal(err)
	}
	return out
}

// procTask is what /proc says of one thread of ours, by our names.
func procTask(tid int) map[string]uint64 {
	return procIn(fmt.Sprintf("/proc/%d/task/%d/", os.Getpid(), tid))
}

// procOf is the same of a process.
func procOf(pid int) map[string]uint64 { return procIn(fmt.Sprintf("/proc/%d/", pid)) }

func procIn(dir string) map[string]uint64 {
	out := make(map[string]uint64)
	b, _ := os.ReadFile(dir + "stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	for i, f := range strings.Fields(rest) {
		if name := map[int]string{10: "minflt", 12: "majflt", 18: "prio", 23: "vsz", 41: "policy"}[i+3]; name != "" {
			out[name], _ = strconv.ParseUint(f, 10, 64)
		}
	}
	out["vsz"] /= uint64(os.Getpagesize())
	for _, name := range []string{"status", "io"} {
		f, err := os.Open(dir + name)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) >= 2 {
				out[strings.TrimSuffix(f[0], ":")], _ = strconv.ParseUint(f[1], 10, 64)
			}
		}
		f.Close()
	}
	return out
}

// TestTasksAgainstProc holds that what is counted for a thread of ours lies between what /proc says
// before and after the scan.
func TestTasksAgainstProc(t *testing.T) {
	tasks := openTasks(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := syscall.Gettid()
	f, err := os.CreateTemp("", "bpf60-tasks-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	touch(t, 777)

	before := procTask(tid)
	got, ok := byTID(t, tasks)[tid]
	after := procTask(tid)
	if !ok {
		t.Fatalf("the scan misses thread %d", tid)
	}
	for name, v := range map[string]uint64{
		"minflt": got.Own.MinFlt, "majflt": got.Own.MajFlt,
		"voluntary_ctxt_switches": got.Own.Voluntary, "nonvoluntary_ctxt_switches": got.Own.Involuntary,
		"read_bytes": got.Own.ReadBytes, "write_bytes": got.Own.WriteBytes, "cancelled_write_bytes": got.Own.CancelledBytes,
		"prio": uint64(got.Prio - 100), "policy": uint64(got.Policy),
	} {
		lo, known := before[name]
		if !known {
			t.Errorf("/proc does not say %s", name)
		}
		if v < lo || v > after[name] {
			t.Errorf("%s = %d, /proc says %d before and %d after", name, v, lo, after[name])
		}
	}
	if got.Has&TaskHasIO == 0 || got.Has&TaskHasRSS == 0 {
		t.Errorf("has = %b, want bytes and memory: these kernels count them", got.Has)
	}
	if got.Own.MinFlt < 777 {
		t.Errorf("%d faults after touching 777 pages", got.Own.MinFlt)
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/net", tid))
	if want := fmt.Sprintf("net:[%d]", got.Netns); err != nil || link != want {
		t.Errorf("network namespace %s, /proc says %s, %v", want, link, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if run, err2 := strconv.ParseUint(strings.Fields(string(b) + " x")[0], 10, 64); err != nil || err2 != nil || got.Own.Run == 0 || got.Own.Run > run {
		t.Errorf("ran %d ns, /proc says %d afterwards, %v", got.Own.Run, run, errors.Join(err, err2))
	}
}

// touch writes to n new pages of memory; they stay until the test ends.
func touch(t testing.TB, n int) {
	t.Helper()
	b, err := newPages(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
}

func commOf(x Task) string {
	var b strings.Builder
	for _, c := range x.Comm {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// TestTasksCgroup compares the cgroups' IDs with the inodes of their directories.
func TestTasksCgroup(t *testing.T) {
	if os.Getenv(worldEnv) == "" {
		testCgroupV1(t)
	}
	if inWorld(t, "cgroup2") {
		return
	}
	const root = "/sys/fs/cgroup"
	dir := root + "/bpf60-test-" + strconv.Itoa(os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	move := func(to string) {
		if err := os.WriteFile(to+"/cgroup.procs", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile("/proc/self/cgroup")
	home := root
	for _, l := range strings.Split(string(b), "\n") {
		if path, ok := strings.CutPrefix(l, "0::"); ok {
			home += path
		}
	}
	move(dir)
	defer move(home)
	k := need(t)
	k.shown = Unified // as where the memory controller is in version 2
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, tasks)
	if got, want := byTID(t, tasks)[os.Getpid()].Cgroup, inode(t, dir); got != want {
		t.Errorf("cgroup = %d, want the inode of %s, %d", got, dir, want)
	}
}

// testCgroupV1 holds that the memory controller's hierarchy is told where it is another.
func testCgroupV1(t *testing.T) {
	if need(t).shown != MemoryV1 {
		return
	}
	home := homeIn(t, MemoryV1, "/sys/fs/cgroup/memory")
	if _, err := os.Stat(home); err != nil {
		return // of another mount: nothing to compare with
	}
	if got, want := byTID(t, openTasks(t))[os.Getpid()].Cgroup, inode(t, home); got != want {
		t.Errorf("cgroup of the memory controller = %d, want %d", got, want)
	}
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// BenchmarkTasks measures the scan of all tasks, with 1,000 processes that sleep: as it is, and without
// what CPUs hold back of their pages.
func BenchmarkTasks(b *testing.B) {
	sleepers(b, 1000)
	for _, name := range []string{"summed", "counted"} {
		b.Run(name, func(b *testing.B) {
			tasks := openTasks(b)
			if name == "counted" {
				tasks = countedTasks(b)
			}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n = 0
				if err := tasks.Read(func(*Task) { n++ }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/task")
			b.ReportMetric(float64(n), "tasks")
		})
	}
}
