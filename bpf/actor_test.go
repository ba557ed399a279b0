// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// actorEnv names what a process of its own does for a test: one of acts.
const actorEnv = "BPF60_TEST_ACTOR"

// What an actor does, and how often.
const (
	actTimes = 23
	actHold  = 36 * time.Millisecond // the bucket of 32.8 to 65.5 ms
	actGap   = time.Millisecond      // between two
)

// acts run on a thread of their own, once for each line that the actor is given. Each is a single
// function without a point where Go's scheduler could step in: it would wake other threads, which
// then sleep for as long.
func acts() map[string]func() {
	return map[string]func(){
		"sleeps": func() { sleepAndWait(actTimes, unix.NsecToTimespec(int64(actHold)), false) },
		"vforks": func() { sleepAndWait(actTimes, unix.NsecToTimespec(int64(actHold)), true) },
		// Runs until it is told something: the test takes its CPU away meanwhile.
		"runs": func() {
			fmt.Fprintln(os.Stdout, "running")
			spinUntilInput()
		},
		// Runs in two functions, three quarters of its time in one of them.
		"splits": func() {
			fmt.Fprintln(os.Stdout, "running")
			for n := int32(0); n == 0; {
				spinThrice(3 * time.Millisecond)
				spinOnce(time.Millisecond)
				syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
			}
		},
		"naps": func() { sleepAndWait(300, unix.NsecToTimespec(int64(2*time.Millisecond)), false) },
	}
}

// spinUntilInput keeps the CPU until there is something to read on standard input.
//
//go:nosplit
//go:norace
func spinUntilInput() {
	for n := int32(0); n == 0; {
		syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	}
}

// sleepAndWait sleeps n times, or has n children of vfork sleep that long and waits for them in D.
//
//go:nosplit
//go:norace
func sleepAndWait(n int, ts unix.Timespec, child bool) {
	for range n {
		if !child {
			syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		} else if pid := cloneVfork(ts, -1); pid > 0 {
			syscall.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), 0, unix.WALL, 0, 0, 0)
		}
	}
}

// act is the life of an actor: "CPU" on its standard input pins it, each line after that is a
// performance. It ends with its input.
func act(name string) {
	runtime.LockOSThread()
	in := bufio.NewReader(os.Stdin)
	line := func() string {
		s, err := in.ReadString('\n')
		if err != nil {
			os.Exit(0)
		}
		return s[:len(s)-1]
	}
	cpu, err := strconv.Atoi(line())
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	if err := realTime(); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	fmt.Fprintln(os.Stdout, "ready")
	for {
		line()
		acts()[name]()
		if name == "runs" || name == "splits" {
			line()
		}
		fmt.Fprintln(os.Stdout, "done")
	}
}

// realTime makes all threads of this process real-time, and those to come: none waits for a CPU after
// a sleep of its own, which would look like a longer one.
func realTime() error {
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range tids {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
			return err
		}
	}
	return nil
}

// actor is a process that plays for a test.
type actor struct {
	pid int
	in  io.WriteCloser
	out *bufio.Reader
}

// newActor starts one that waits, pinned to a CPU.
func newActor(t testing.TB, name string, cpu int) *actor {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actorEnv+"="+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	a := &actor{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
	fmt.Fprintln(in, cpu)
	a.hear(t, "ready")
	return a
}

func (a *actor) hear(t testing.TB, want string) {
	t.Helper()
	if line, err := a.out.ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("actor says %q, %v, want %q", line, err, want)
	}
}

// begin starts a performance, end waits for its end.
func (a *actor) begin()            { fmt.Fprintln(a.in) }
func (a *actor) end(t testing.TB)  { t.Helper(); a.hear(t, "done") }
func (a *actor) play(t testing.TB) { t.Helper(); a.begin(); a.end(t) }
