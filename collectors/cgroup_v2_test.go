// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tests of this file need the controllers in the hierarchy of version 2, which a host that has
// mounted those of version 1 keeps there. The guests of the kernel matrix have them.

// v2Cgroup makes a cgroup of v2 with these controllers, and takes back what it turned on.
func v2Cgroup(t *testing.T, controllers ...string) (path, dir string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		lacking(t, "no mountinfo: %v", err)
	}
	root := parseCgroupMounts(b)[unified]
	if root == "" {
		t.Skip("cgroup2 is not mounted here")
	}
	control := filepath.Join(root, "cgroup.subtree_control")
	have, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		t.Skipf("the cgroup2 mounted here is no root: %v", err)
	}
	on, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers {
		if !hasWord(have, c) {
			t.Skipf("the controller %s is not in cgroup2 here: version 1 has it, or nobody", c)
		}
		if hasWord(on, c) {
			continue
		}
		if err := os.WriteFile(control, []byte("+"+c), 0); err != nil {
			lacking(t, "turning the controller %s on: %v", c, err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(control, []byte("-"+c), 0); err != nil {
				t.Errorf("turning the controller %s off: %v", c, err)
			}
		})
	}
	path, dirs := hostCgroup(t, unified)
	return path, dirs[unified]
}

func hasWord(list []byte, word string) bool {
	for _, f := range strings.Fields(string(list)) {
		if f == word {
			return true
		}
	}
	return false
}

// jobEnv tells this test's binary to be a job in a cgroup instead.
const jobEnv = "BPF60_TEST_CGROUP_JOB"

// job is a process of this test in a cgroup. Guests have no other programs.
type job struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bytes.Buffer
}

func startJob(t *testing.T, dir, what string) *job {
	t.Helper()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	j := &job{t: t, cmd: exec.Command("/proc/self/exe"), out: new(bytes.Buffer)}
	j.cmd.Env = append(os.Environ(), jobEnv+"="+what, "GOMAXPROCS=1", "GOGC=off")
	j.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Pdeathsig: syscall.SIGKILL}
	j.cmd.Stdout, j.cmd.Stderr = j.out, j.out
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the death of the thread that started it would end the job
	if err := j.cmd.Start(); err != nil {
		lacking(t, "starting a process in a cgroup of v2 (Linux 5.7): %v", err)
	}
	return j
}

// wait lets the job begin, waits for its end and returns the signal that killed it, 0 for none.
func (j *job) wait() syscall.Signal {
	j.t.Helper()
	_ = j.in.Close()
	err := j.cmd.Wait()
	runtime.UnlockOSThread()
	if ws, ok := j.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	if err != nil {
		j.t.Fatalf("the job in the cgroup: %v\n%s", err, j.out)
	}
	return 0
}

func runJob(t *testing.T, dir, what string) syscall.Signal {
	t.Helper()
	return startJob(t, dir, what).wait()
}

// Forks and writes that a job tries.
const jobCount = 23

// cgroupJob is what runs in the cgroups of the tests. It waits for the end of its input first, so that
// the caller can see it wait.
func cgroupJob(job string) error {
	what, rest, _ := strings.Cut(job, " ")
	// A raw call: Go would start a thread for the others, where the number of threads is the matter.
	runtime.LockOSThread()
	var b [1]byte
	if n, _, _ := syscall.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&b[0])), 1); n != 0 {
		return errors.New("no end of input")
	}
	switch what {
	case "burn":
		// Before others, or a busy host would give it less than its quota.
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -10); err != nil {
			return err
		}
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		}
		return nil
	case "file":
		name, mib, _ := strings.Cut(rest, " ")
		return appendMiB(name, mib)
	case "memory":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		m, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		for i := 0; i < len(m); i += 4096 {
			m[i] = 1
		}
		return err
	case "fork":
		for range jobCount {
			if errno := refusedFork(); errno != unix.EAGAIN {
				return fmt.Errorf("a fork beyond the limit: %w", errno)
			}
		}
		return nil
	case "write":
		return writeDirect(rest, 0)
	}
	return fmt.Errorf("no job %q", what)
}

// appendMiB makes a file longer; in a tmpfs it is memory of who writes to it.
func appendMiB(name, mib string) error {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); n > 0; n-- {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// writeDirect writes to a disk past the cache, apart so that no two writes are merged.
func writeDirect(disk string, flags int) error {
	f, err := os.OpenFile(disk, os.O_WRONLY|unix.O_DIRECT|flags, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	for i := range jobCount {
		if _, err := f.WriteAt(block, int64(i)*8192); err != nil {
			return err
		}
	}
	return nil
}

// refusedFork tries a fork and says why there was none. A child, should there be one, goes at once.
//
//go:nosplit
//go:norace
func refusedFork() syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return errno
}

// rounds collects and sums the rows of one cgroup.
type rounds struct {
	t    *testing.T
	c    Collector
	path string
	now  time.Duration
	sum  CgroupRow
}

func collectRounds(t *testing.T, path string) *rounds {
	t.Helper()
	c := NewCgroups(NewFS(""), nil)
	start(t, c)
	r := &rounds{t: t, c: c, path: path}
	watchAll(t, c)
	r.collect()
	if r.sum.CgroupInfo == nil {
		t.Fatalf("%s is not seen", path)
	}
	watchAll(t, c, r.sum.ID)
	r.collect()
	return r
}

func (r *rounds) collect() {
	r.t.Helper()
	s := collectAs[*Cgroups](r.t, r.c, r.now)
	r.now += time.Second
	row := rowOf(s, r.path)
	if row == nil {
		r.t.Fatalf("no row of %s", r.path)
	}
	sumRows(&r.sum, s, r.path)
	r.sum.Events.High += row.Events.High
	r.sum.PidsDenied += row.PidsDenied
	r.sum.Has, r.sum.Pids, r.sum.Swap = row.Has, row.Pids, row.Swap
	if row.PSI != nil {
		if r.sum.PSI == nil {
			r.sum.PSI = new(CgroupPSI)
		}
		r.sum.PSI.CPU.Some += row.PSI.CPU.Some
		r.sum.PSI.Memory.Some += row.PSI.Memory.Some
	}
	if row.IO != nil {
		if r.sum.IO == nil {
			r.sum.IO = new(CgroupIO)
		}
		r.sum.IO.WIOs += row.IO.WIOs
		r.sum.IO.WBytes += row.IO.WBytes
	}
}

// readLimits lets so much time pass that limits are read again.
func (r *rounds) readLimits() { r.now += time.Minute }

// onlyLoop leaves out all disks but those of the loop driver, which else are left out: their I/O is
// that of another disk once more.
func (r *rounds) onlyLoop() {
	r.t.Helper()
	c, ok := r.c.(*cgroupCollector)
	if !ok {
		r.t.Fatalf("the collector of cgroups is a %T", r.c)
	}
	c.reader.skip = func(major, _ uint32) bool { return major != majorLoop }
}

func (r *rounds) within(name string, got, low, high uint64) {
	r.t.Helper()
	if got < low || got > high {
		r.t.Errorf("%s = %d, the kernel has %d before and %d after", name, got, low, high)
	}
}
