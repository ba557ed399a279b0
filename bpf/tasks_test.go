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

// byTID scans.
func byTID(t testing.TB, tasks *Tasks) map[int]Task {
	t.Helper()
	out := make(map[int]Task)
	if err := tasks.Read(func(x *Task) { out[int(x.Pid)] = *x }); err != nil {
		t.Fatal(err)
	}
	return out
}

// procTask is what /proc says of one thread, by our names.
func procTask(tid int) map[string]uint64 {
	dir := fmt.Sprintf("/proc/%d/task/%d/", os.Getpid(), tid)
	out := make(map[string]uint64)
	b, _ := os.ReadFile(dir + "stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	for i, f := range strings.Fields(rest) {
		if name := map[int]string{10: "minflt", 12: "majflt", 18: "prio", 23: "vsz", 24: "rss", 41: "policy"}[i+3]; name != "" {
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
	link, err := os.Readlink("/proc/self/ns/net")
	if want := fmt.Sprintf("net:[%d]", got.Netns); err != nil || link != want {
		t.Errorf("network namespace %s, /proc says %s, %v", want, link, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if run, err2 := strconv.ParseUint(strings.Fields(string(b) + " x")[0], 10, 64); err != nil || err2 != nil || got.Own.Run == 0 || got.Own.Run > run {
		t.Errorf("ran %d ns, /proc says %d afterwards, %v", got.Own.Run, run, errors.Join(err, err2))
	}
}

// touch writes to n new pages of memory and returns them; they stay until the test ends.
func touch(t testing.TB, n int) {
	t.Helper()
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, n*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
}

// TestTasksMemory compares memory with /proc before and after it grew. The kernel's counts lag by what
// each CPU holds back.
func TestTasksMemory(t *testing.T) {
	const grown = 16384
	slack := uint64(3 * 64 * runtime.NumCPU() * runtime.NumCPU())
	tasks := openTasks(t)
	self := os.Getpid()
	small := byTID(t, tasks)[self]
	touch(t, grown)
	big := byTID(t, tasks)[self]
	proc := procTask(self)
	if d := big.Rss - small.Rss; d+slack < grown || d > grown+slack+4096 {
		t.Errorf("RSS grew by %d pages from %d, want %d and at most %d off", d, small.Rss, grown, slack)
	}
	if d := max(big.Rss, proc["rss"]) - min(big.Rss, proc["rss"]); d > slack {
		t.Errorf("RSS = %d pages, /proc says %d", big.Rss, proc["rss"])
	}
	if big.Vsz < small.Vsz+grown || big.Vsz > proc["vsz"]+1<<16 || big.Vsz+1<<16 < proc["vsz"] {
		t.Errorf("VSZ = %d pages after %d, /proc says %d", big.Vsz, small.Vsz, proc["vsz"])
	}
	for tid, x := range byTID(t, tasks) {
		if x.Flags&0x00200000 != 0 && x.Rss+x.Vsz != 0 && !strings.HasPrefix(commOf(x), "io_wqe") {
			t.Errorf("kernel thread %d %s has %d and %d pages", tid, commOf(x), x.Rss, x.Vsz)
		}
	}
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
	if got, want := byTID(t, openTasks(t))[os.Getpid()].Cgroup, inode(t, dir); got != want {
		t.Errorf("cgroup = %d, want the inode of %s, %d", got, dir, want)
	}
}

// testCgroupV1 holds that the memory controller's hierarchy is told where it is another.
func testCgroupV1(t *testing.T) {
	got := byTID(t, openTasks(t))[os.Getpid()].CgroupV1
	b, _ := os.ReadFile("/proc/self/cgroup")
	var want uint64
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.SplitN(l, ":", 3)
		if len(f) == 3 && f[0] != "0" && strings.Contains(f[1], "memory") {
			if _, err := os.Stat("/sys/fs/cgroup/memory" + f[2]); err != nil {
				return // of another mount: nothing to compare with
			}
			want = inode(t, "/sys/fs/cgroup/memory"+f[2])
		}
	}
	if got != want {
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

// BenchmarkTasks measures the scan of all tasks.
func BenchmarkTasks(b *testing.B) {
	tasks := openTasks(b)
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
}
