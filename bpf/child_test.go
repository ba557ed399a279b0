// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary do one thing and end.
const childEnv = "BPF60_TEST_CHILD"

// child is what a process of a test does; it does not return.
func child(what string) {
	name, arg, _ := strings.Cut(what, " ")
	switch name {
	case "exit":
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "spin":
		d, _ := time.ParseDuration(arg)
		other := make(chan struct{})
		go func() {
			defer close(other)
			use(d)
		}()
		use(d)
		<-other
	case "together": // that many threads end at the same time
		n, _ := strconv.Atoi(arg)
		for range n {
			go func() {
				runtime.LockOSThread()
				burn(2 * time.Millisecond)
			}()
		}
		burn(time.Millisecond)
	case "crowd": // keeps a CPU until it is killed
		cpu, _ := strconv.Atoi(arg)
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, "ready")
		burn(time.Hour)
	case "thread-exec": // by a thread that is not the first
		runtime.LockOSThread()
		go func() {
			runtime.LockOSThread()
			if err := syscall.Exec(arg, []string{arg, "from", "thread"}, nil); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
		select {}
	case "leader-first": // the first thread ends before the process does
		code, _ := strconv.Atoi(arg)
		runtime.LockOSThread()
		go func() {
			time.Sleep(200 * time.Millisecond)
			unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(code), 0, 0)
		}()
		unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	case "handle": // the signals are for nothing
		for _, s := range strings.Fields(arg) {
			n, _ := strconv.Atoi(s)
			signal.Notify(make(chan os.Signal, 1), syscall.Signal(n))
		}
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Hour)
	case "ignore":
		for _, s := range strings.Fields(arg) {
			n, _ := strconv.Atoi(s)
			signal.Ignore(syscall.Signal(n))
		}
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Hour)
	case "hold": // all facades, sampling on those CPUs
		if err := hold(arg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "touch": // so many pages on each CPU
		n, _ := strconv.Atoi(arg)
		touchOnEach(n)
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Hour)
	case "kill":
		pid, rest, _ := strings.Cut(arg, " ")
		p, _ := strconv.Atoi(pid)
		n, _ := strconv.Atoi(rest)
		if err := syscall.Kill(p, syscall.Signal(n)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "no such child:", what)
		os.Exit(2)
	}
	os.Exit(0)
}

func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// use takes CPU time for a thread of its own.
func use(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ts unix.Timespec
	for time.Duration(ts.Nano()) < d && unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) == nil {
		burn(100 * time.Microsecond)
	}
}

// tinyCode is what a program does, by machine: the code of exit_group lies in its first bytes.
func tinyCode(t testing.TB, exit byte, fault bool) (machine uint16, code []byte) {
	t.Helper()
	switch {
	case runtime.GOARCH == "amd64" && fault:
		return 62, []byte{0x0f, 0x0b} // ud2
	case runtime.GOARCH == "amd64": // mov edi, exit; mov eax, 231; syscall
		return 62, []byte{0xbf, exit, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05}
	case runtime.GOARCH == "arm64" && fault:
		return 183, []byte{0, 0, 0, 0} // udf
	case runtime.GOARCH == "arm64": // mov w0, exit; mov w8, 94; svc 0
		return 183, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil,
			0x52800000|uint32(exit)<<5), 0x52800000|94<<5|8), 0xd4000001)
	}
	t.Skip("no machine code for this architecture")
	return 0, nil
}

// tiny writes a program of a few instructions, which the kernel starts in microseconds.
func tiny(t testing.TB, path string, exit byte, fault bool) {
	t.Helper()
	machine, code := tinyCode(t, exit, fault)
	le := binary.LittleEndian
	const base, head = 0x400000, 64 + 56
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // executable
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+head) // entry
	b = le.AppendUint64(b, 64)        // program header
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, uint64(head + len(code)), uint64(head + len(code)), 0x1000} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, code...)
	// Written by a process that forks nobody meanwhile, or the file would be busy.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, b, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
}

// tinyIn is tiny in a directory of the test.
func tinyIn(t testing.TB, name string, exit byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	tiny(t, path, exit, false)
	return path
}

// spawn starts a program with these arguments, the first one included, and no environment.
func spawn(t testing.TB, path string, args []string, env ...string) int {
	t.Helper()
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		t.Fatalf("starting %.80q: %v", path, err)
	}
	return pid
}

// reap waits for a process.
func reap(t testing.TB, pid int) (syscall.WaitStatus, syscall.Rusage) {
	t.Helper()
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	for {
		_, err := syscall.Wait4(pid, &ws, 0, &ru)
		if err == nil {
			return ws, ru
		}
		if err != syscall.EINTR {
			t.Fatal(err)
		}
	}
}

// startChild starts the test binary to do one thing.
func startChild(t testing.TB, what string) int {
	t.Helper()
	return spawn(t, "/proc/self/exe", []string{"bpf60-child"}, childEnv+"="+what, "GODEBUG=asyncpreemptoff=1")
}

// startReady starts the test binary to do one thing, and returns when it says that it is.
func startReady(t testing.TB, what string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"bpf60-child"}, &syscall.ProcAttr{
		Env: []string{childEnv + "=" + what, "GODEBUG=asyncpreemptoff=1"}, Files: []uintptr{0, w.Fd(), 2},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	})
	var b [6]byte
	if _, err := r.Read(b[:]); err != nil {
		t.Fatalf("waiting for the child: %v", err)
	}
	return pid
}

// bootNow is the boot time, ns.
func bootNow(t testing.TB) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}
