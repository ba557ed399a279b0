// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func openStalls(t testing.TB, asleep bool) *Stalls {
	t.Helper()
	s, err := OpenStalls(need(t), asleep)
	if err != nil {
		t.Fatalf("OpenStalls(asleep %v): %v", asleep, err)
	}
	closing(t, s)
	return s
}

// vforked puts a thread in D: it makes a child with CLONE_VFORK that goes when there is something to read
// from the pipe, or after a minute. It returns the thread that waits, and a channel that is closed when it
// has.
func vforked(t testing.TB, until pipe) (tid int, done <-chan struct{}) {
	t.Helper()
	id, end := make(chan int, 1), make(chan struct{})
	go func() {
		defer close(end)
		runtime.LockOSThread()
		id <- unix.Gettid()
		if pid := cloneVfork(unix.Timespec{Sec: 60}, until.r); pid > 0 {
			var status unix.WaitStatus
			_, _ = unix.Wait4(pid, &status, unix.WALL, nil)
		}
	}()
	return <-id, end
}

// cloneVfork makes a child that waits for a file to be readable, no longer than ts; it only sleeps without
// one, -1. It is nosplit, and so is all it calls: the child is a copy with this thread alone.
//
//go:nosplit
//go:norace
func cloneVfork(ts unix.Timespec, fd int) int {
	poll := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} // a negative one is passed over
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return int(pid)
}

// symbol returns the address range of a function of the kernel, or skips where addresses are hidden.
func symbol(t testing.TB, name string) (from, to uint64) {
	t.Helper()
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		t.Skipf("needs /proc/kallsyms: %v", err)
	}
	defer f.Close()
	to = ^uint64(0)
	var all []uint64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Fields(lines.Text())
		addr, err := strconv.ParseUint(field[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, addr)
		if field[2] == name {
			from = addr
		}
	}
	if from == 0 {
		t.Skipf("needs addresses in /proc/kallsyms (kernel.kptr_restrict): none of %s", name)
	}
	for _, a := range all {
		if a > from && a < to {
			to = a
		}
	}
	return from, to
}

// TestStalled has 13 threads wait in D for their vforked children. Each keeps one of Go's
// processors, of which TestMain makes 16.
func TestStalled(t *testing.T) {
	const n = 13
	s := openStalls(t, false)
	from, to := symbol(t, "kernel_clone")
	waits := make(map[int]bool, n)
	var done []<-chan struct{}
	gone, began := newPipe(t), time.Now()
	for range n {
		tid, end := vforked(t, gone)
		waits[tid] = true
		done = append(done, end)
	}
	defer func() {
		gone.put()
		for _, d := range done {
			<-d
		}
	}()
	for tid := range waits {
		awaitState(t, tid, 'D')
	}
	seen := make(map[int]Stall)
	var reader uint64
	now, err := s.Read(func(x *Stall) {
		if waits[int(x.Pid)] {
			seen[int(x.Pid)] = *x
		}
		reader = max(reader, x.Arrival)
	})
	hold := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != n {
		t.Errorf("%d of our %d threads in D are listed", len(seen), n)
	}
	if now < reader {
		t.Errorf("now = %d, before an arrival at %d", now, reader)
	}
	for tid, x := range seen {
		if x.Tgid != int32(os.Getpid()) || x.Flags&StallKernel != 0 || x.Flags&StallIOWait != 0 || x.Switches == 0 {
			t.Errorf("thread %d is of %d, flags %#x, %d switches; want of %d, no flags, some switches", tid, x.Tgid, x.Flags, x.Switches, os.Getpid())
		}
		if age := time.Duration(now - x.Arrival); age > hold+time.Second { // the present is known to some milliseconds
			t.Errorf("thread %d has had no CPU for %v, want at most %v", tid, age, hold)
		}
		found := false
		for _, a := range x.Stack[:max(int(x.StackBytes), 0)/8] {
			found = found || a >= from && a < to
		}
		if !found {
			t.Errorf("thread %d: kernel_clone is not among the %d bytes of its stack %#x", tid, x.StackBytes, x.Stack[:4])
		}
	}
}

// awaitState waits until a thread of ours is in a state.
func awaitState(t *testing.T, tid int, want byte) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
		if _, rest, ok := strings.Cut(string(b), ") "); err == nil && ok && rest[0] == want {
			return
		}
	}
	t.Errorf("thread %d did not get into state %c", tid, want)
}

// TestSlept has 13 threads sleep in a read of an empty pipe.
func TestSlept(t *testing.T) {
	const n = 13
	s := openStalls(t, true)
	p := newPipe(t)
	tids := make(chan int, n)
	var done []<-chan struct{}
	cpus := onlineCPUs(t)
	for i := range n {
		done = append(done, onCPU(t, cpus[i%len(cpus)], false, func() {
			tids <- unix.Gettid()
			p.get()
		}))
	}
	waits := make(map[int]bool, n)
	for range n {
		waits[<-tids] = true
	}
	for tid := range waits {
		awaitState(t, tid, 'S')
	}
	seen := 0
	if _, err := s.Read(func(x *Stall) {
		if waits[int(x.Pid)] {
			seen++
			if x.StackBytes <= 0 {
				t.Errorf("thread %d has no stack: %d", x.Pid, x.StackBytes)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if seen != n {
		t.Errorf("%d of our %d sleeping threads are listed", seen, n)
	}
	for range n {
		p.put()
	}
	for _, d := range done {
		<-d
	}
}

func BenchmarkStalls(b *testing.B) {
	s := openStalls(b, false)
	for b.Loop() {
		if _, err := s.Read(func(*Stall) {}); err != nil {
			b.Fatal(err)
		}
	}
}
