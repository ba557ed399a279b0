// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eaterEnv makes the test's binary a process that eats memory; see eat.
const eaterEnv = "BPF60_TEST_EAT"

// eat is the life of such a process: "DIR NAME" is the cgroup it joins and what it calls itself. Each
// line of its input is a number of MiB to take; it answers with a line when it has them.
func eat(job string) {
	dir, name, _ := strings.Cut(job, " ")
	err := os.WriteFile("/proc/self/comm", []byte(name), 0)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0)
	}
	fmt.Fprintln(os.Stdout, err)
	in := bufio.NewScanner(os.Stdin)
	for err == nil && in.Scan() {
		var mib int
		if mib, err = strconv.Atoi(in.Text()); err != nil {
			break
		}
		var b []byte
		if b, err = unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
			break
		}
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Fprintln(os.Stdout, mib)
	}
	os.Exit(0)
}

type eater struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startEater(t testing.TB, dir, name string) *eater {
	t.Helper()
	e := &eater{cmd: exec.Command("/proc/self/exe")}
	e.cmd.Env = append(os.Environ(), eaterEnv+"="+dir+" "+name, "GOMAXPROCS=1")
	e.cmd.Stderr = os.Stderr
	in, err := e.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.in, e.out = in, bufio.NewReader(out)
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.kill() })
	if line, err := e.out.ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Fatalf("starting the eater: %q, %v", line, err)
	}
	return e
}

func (e *eater) pid() int32 { return int32(e.cmd.Process.Pid) }

// take eats, and says whether it lived.
func (e *eater) take(mib int) bool {
	fmt.Fprintln(e.in, mib)
	_, err := e.out.ReadString('\n')
	return err == nil
}

// runAs puts the eater on the first CPU and under a policy. A victim counts as gone before its pages are
// free (MMF_OOM_SKIP in exit_mmap), and who asks again meanwhile is killed as well: a SCHED_IDLE asker on the
// victim's CPU does not run before the victim has left.
func (e *eater) runAs(t testing.TB, policy uint32) {
	t.Helper()
	cpus := unix.CPUSet{}
	cpus.Set(0)
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", e.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedSetaffinity(tid, &cpus); err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *eater) kill() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

// memcg is a cgroup with a limit on memory, and no swap.
func memcg(t *testing.T, mib int) (dir string) {
	t.Helper()
	root, limit, swap := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if _, err := os.Stat(root + "/" + limit); err != nil {
		root, limit, swap = "/sys/fs/cgroup", "memory.max", "memory.swap.max"
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
			lacksHere(t, "no memory controller: %v", err)
		}
	}
	dir = fmt.Sprintf("%s/bpf60-test-%d-%s", root, os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.Remove(dir)
		for i := 0; i < 3000 && errors.Is(err, unix.EBUSY); i++ {
			time.Sleep(20 * time.Millisecond) // who was killed is still leaving
			err = os.Remove(dir)
		}
		if err != nil {
			t.Error(err)
		}
	})
	bytes := []byte(strconv.Itoa(mib << 20))
	if err := os.WriteFile(filepath.Join(dir, limit), bytes, 0); err != nil {
		t.Fatal(err)
	}
	if swap == "memory.swap.max" {
		bytes = []byte("0")
	}
	if err := os.WriteFile(filepath.Join(dir, swap), bytes, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return dir
}

// inMemoryWorld is inWorld for who needs the memory controller and tracefs.
func inMemoryWorld(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil && !strings.Contains(os.Getenv(worldEnv), "cgroup2") {
		return inWorld(t, "tracefs")
	}
	return inWorld(t, "tracefs,cgroup2")
}

// lacksHere skips for what the kernel does not have; where CI runs on the host, that is a failure.
func lacksHere(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// vmCounter is one counter of /proc/vmstat; false if the kernel does not have it.
func vmCounter(t testing.TB, name string) (uint64, bool) {
	t.Helper()
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n, true
		}
	}
	return 0, false
}

// hits counts how often a tracepoint is passed, on all CPUs, by perf: by other means than ours.
type hits []int

func countHits(t testing.TB, tracepoint string) (h hits) {
	t.Helper()
	for _, cpu := range onlineCPUs(t) {
		h = append(h, openHits(t, tracepoint, -1, cpu, 0))
	}
	return h
}

// countHitsOf counts for the threads that a process has, and those that they make.
func countHitsOf(t testing.TB, tracepoint string, pid int) (h hits) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		h = append(h, openHits(t, tracepoint, tid, -1, unix.PerfBitInherit))
	}
	return h
}

func openHits(t testing.TB, tracepoint string, pid, cpu int, bits uint64) int {
	t.Helper()
	b, err := os.ReadFile("/sys/kernel/tracing/events/" + tracepoint + "/id")
	if err != nil {
		lacksHere(t, "no text tracepoint to compare with: %v", err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: unix.PERF_ATTR_SIZE_VER5, Bits: bits}
	fd, err := unix.PerfEventOpen(&attr, pid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		t.Fatalf("counting %s: %v", tracepoint, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func (h hits) read(t testing.TB) (n uint64) {
	t.Helper()
	for _, fd := range h {
		var b [8]byte
		if _, err := unix.Read(fd, b[:]); err != nil {
			t.Fatal(err)
		}
		n += binary.NativeEndian.Uint64(b[:])
	}
	return n
}
