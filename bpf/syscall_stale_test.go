// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reader is a thread in readv, which nothing else in this process calls.
type reader struct {
	t     *testing.T
	pipe  pipe
	tid   int
	begun atomic.Int32
	done  chan struct{}
}

// newReader makes a thread that reads n times.
func newReader(t *testing.T, n int) *reader {
	t.Helper()
	r := &reader{t: t, pipe: newPipe(t), done: make(chan struct{})}
	tid := make(chan int)
	go func() {
		defer close(r.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		var b [1]byte
		v := unix.Iovec{Base: &b[0], Len: 1}
		for range n {
			r.begun.Add(1)
			_, _, _ = unix.Syscall(unix.SYS_READV, uintptr(r.pipe.r), uintptr(unsafe.Pointer(&v)), 1)
		}
	}()
	r.tid = <-tid
	return r
}

// waits returns when the thread waits in its n-th call.
func (r *reader) waits(n int32) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", r.tid))
		if err != nil {
			r.t.Skipf("needs /proc/PID/syscall: %v", err)
		}
		if r.begun.Load() == n && strings.HasPrefix(string(b), fmt.Sprint(unix.SYS_READV, " ")) {
			return
		}
	}
	r.t.Fatalf("the thread is not in its call %d", n)
}

// TestSyscallTimesBegunBefore: a thread's call that ended unseen, and after which it is in the same call
// again, gives the later one no time.
func TestSyscallTimesBegunBefore(t *testing.T) {
	nobody := []Filter{{Kind: FilterProcess, ID: 1 << 30}}
	narrow := func(s *Syscalls, targets []Filter) error {
		_, err := s.Narrow(targets, targets != nil)
		return err
	}
	for _, tc := range []struct {
		name    string
		off, on func(*Syscalls) error
	}{
		{"not wanted", func(s *Syscalls) error { return s.Want(SyscallCount) }, func(s *Syscalls) error { return s.Want(SyscallCount | SyscallTime) }},
		{"only slow ones", func(s *Syscalls) error { return s.Want(SyscallCount | SyscallSlow) }, func(s *Syscalls) error { return s.Want(SyscallCount | SyscallTime | SyscallSlow) }},
		{"of others", func(s *Syscalls) error { return narrow(s, nobody) }, func(s *Syscalls) error { return narrow(s, nil) }},
		{"paused", func(s *Syscalls) error { return s.Pause(true) }, func(s *Syscalls) error { return s.Pause(false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openAllSyscalls(t, need(t), SyscallCount|SyscallTime)
			do := func(f func(*Syscalls) error) {
				t.Helper()
				if err := f(s); err != nil {
					t.Fatal(err)
				}
			}
			r := newReader(t, 3)
			r.waits(1)
			do(tc.off)
			r.pipe.put()
			r.waits(2)
			do(tc.on)
			r.pipe.put()
			r.waits(3)
			if c := callsOf(t, s, os.Getpid())[unix.SYS_READV]; c.Timed != 0 {
				t.Errorf("a call that began unseen: %+v, want no time", c)
			}
			r.pipe.put()
			<-r.done
			if c := callsOf(t, s, os.Getpid())[unix.SYS_READV]; c.Timed != 1 || c.Ns == 0 {
				t.Errorf("the next call: %+v, want its time", c)
			}
		})
	}
}

// TestSyscallTimesKept: what changes nothing for the calls that are timed leaves those their times that have
// not returned.
func TestSyscallTimesKept(t *testing.T) {
	s := openAllSyscalls(t, need(t), SyscallCount|SyscallTime)
	r := newReader(t, 1)
	r.waits(1)
	if err := s.Want(SyscallCount | SyscallTime | SyscallSlow | SyscallOpen); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: 1 << 30}}, false); err != nil {
		t.Fatal(err)
	}
	r.pipe.put()
	<-r.done
	if c := callsOf(t, s, os.Getpid())[unix.SYS_READV]; c.Timed != 1 {
		t.Errorf("%+v, want its time", c)
	}
}

// TestSyscallTimesAlone: calls are timed while nobody wants them counted, as when only that is paused.
func TestSyscallTimesAlone(t *testing.T) {
	s := openAllSyscalls(t, need(t), SyscallTime)
	sleepCall(3, time.Millisecond)
	c := callsOf(t, s, os.Getpid())[unix.SYS_CLOCK_NANOSLEEP]
	h, err := s.ReadHist(unix.SYS_CLOCK_NANOSLEEP)
	if c.Timed != 3 || err != nil || h.count() < 3 {
		t.Errorf("3 sleeps: %+v, histogram %v, %v", c, &h, err)
	}
}
