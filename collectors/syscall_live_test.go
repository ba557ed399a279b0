// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// callsEnv makes the test's process one that makes known calls, and says so on its output.
const callsEnv = "BPF60_TEST_CALLS"

const (
	liveCalls   = 23
	livePath    = "/nowhere/\x1b[31mfile"
	liveProgram = "/nowhere/\x1b[2Jprogram"
)

// TestSyscallsLive: a child makes 23 calls of each kind, and every collector says so, and who it was.
func TestSyscallsLive(t *testing.T) {
	if os.Getenv(callsEnv) != "" {
		makeCalls()
		return
	}
	k := bpf.Inspect()
	src, events := newSyscallSource(k), newFeed(k)
	syscalls, times := NewSyscalls(src), NewSyscallTimes(src)
	opens, execs, slow := NewOpens(src, events), NewExecFails(src, events), NewSlowFiles(k, src, events)
	began := time.Now()
	for _, c := range []Collector{syscalls, times, opens, execs, slow} {
		if err := c.Start(context.Background()); err != nil {
			lacking(t, "%s: %v", c.Meta().ID, err)
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Errorf("closing %s: %v", c.Meta().ID, err)
			}
		}()
		if s, err := c.Collect(context.Background(), time.Since(began)); !errors.Is(err, ErrWarming) {
			t.Errorf("%s: first Collect = %v, %v, want ErrWarming", c.Meta().ID, s, err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestSyscallsLive$")
	cmd.Env = append(os.Environ(), callsEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the child: %v\n%s", err, out)
	}
	tgid := int32(cmd.Process.Pid)
	get := func(c Collector) Sample {
		t.Helper()
		s, err := c.Collect(context.Background(), time.Since(began))
		if err != nil {
			t.Fatalf("%s: %v", c.Meta().ID, err)
		}
		for _, p := range c.Probes() {
			// Since 6.13 a program at a system call can be preempted, and the kernel passes over the calls
			// of who runs on the CPU meanwhile: a few on a busy host.
			if p.State != On || p.Lost > 10+p.Events/1000 {
				t.Errorf("%s: %+v, want on and nothing lost", c.Meta().ID, p)
			}
		}
		return s
	}

	s := get(syscalls).(*Syscalls)
	var pair SyscallPair
	for _, p := range s.Pairs {
		if p.Process.TGID == tgid && p.Name == "getppid" {
			pair = p
		}
	}
	if pair.N != 1000*liveCalls || pair.Timed != pair.N || pair.Errors != 0 || pair.Time <= 0 || pair.Process.Start == 0 {
		t.Errorf("getppid of the child: %+v, want 23,000, all timed", pair)
	}
	var sum, listed uint64
	for _, c := range s.Calls {
		sum += c.N
		if c.Name == "getpgid" && (len(c.Errnos) == 0 || c.Errnos[0].Errno != uint32(unix.ESRCH) || c.Errnos[0].N < liveCalls) {
			t.Errorf("getpgid: %+v, want at least 23 ESRCH", c)
		}
	}
	for _, p := range s.Processes {
		listed += p.N
		if p.Process.TGID == tgid && (p.Top != "getppid" || p.Comm.Bytes() == "") {
			t.Errorf("the child: %+v, want getppid on top, and a name", p)
		}
	}
	if sum != s.N || listed+s.Others > s.N {
		t.Errorf("%d calls, %d by call, %d by process and %d beside", s.N, sum, listed, s.Others)
	}
	hist := Hist{}
	for _, c := range get(times).(*SyscallTimes).Calls {
		if c.Name == "getppid" {
			hist = c.Hist.Hist()
		}
	}
	if hist.Count() < 1000*liveCalls {
		t.Errorf("times of getppid: %d, want at least 23,000", hist.Count())
	}

	o := get(opens).(*Opens)
	var rows, listedOpens uint64
	for _, r := range o.Paths {
		if r.Process.TGID == tgid && r.Path.Bytes() == livePath && r.Errno == uint32(unix.ENOENT) {
			rows += r.N
		}
	}
	for _, e := range o.Events {
		if e.Process == pair.Process && e.Path.Bytes() == livePath && e.Ret == -int32(unix.ENOENT) && e.Call == "openat" && e.At > 0 && e.At < time.Minute {
			listedOpens++
		}
	}
	if rows != liveCalls || o.Failed < liveCalls || o.N < o.Failed {
		t.Errorf("failed opens of the child: %d in its row, %d of %d in all, want 23", rows, o.Failed, o.N)
	}
	if listedOpens+o.Unlisted < liveCalls {
		t.Errorf("%d failed opens listed and %d not, want 23", listedOpens, o.Unlisted)
	}
	x := get(execs).(*ExecFails)
	var fails int
	for _, e := range x.Events {
		if e.Process == pair.Process && e.Path.Bytes() == liveProgram {
			fails++
			if args := strings.ReplaceAll(e.Args.Bytes(), "\x00", " "); args != "program --password=***" {
				t.Errorf("arguments of the failed exec: %q", args)
			}
		}
	}
	if fails != liveCalls || x.Failed < liveCalls {
		t.Errorf("failed execs of the child: %d listed, %d in all, want 23", fails, x.Failed)
	}
	if f := get(slow).(*SlowFiles); f.N < uint64(len(f.Events)) {
		t.Errorf("slow calls: %+v", f)
	}
}

// makeCalls is the child.
func makeCalls() {
	path, err := unix.BytePtrFromString(livePath)
	if err != nil {
		os.Exit(1)
	}
	program, err := unix.BytePtrFromString(liveProgram)
	if err != nil {
		os.Exit(1)
	}
	var argv [3]*byte
	for i, a := range []string{"program", "--password=hunter2"} {
		if argv[i], err = unix.BytePtrFromString(a); err != nil {
			os.Exit(1)
		}
	}
	at := unix.AT_FDCWD
	for range liveCalls {
		for range 1000 {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
		_, _, _ = unix.RawSyscall(unix.SYS_GETPGID, ^uintptr(0), 0, 0)
		_, _, _ = unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), 0, 0, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(program)), uintptr(unsafe.Pointer(&argv[0])), 0)
	}
}
