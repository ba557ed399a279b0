// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onCPU runs f on a thread of its own that is pinned to one CPU, and returns when it ends.
func onCPU(t testing.TB, cpu int, fifo bool, f func()) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	ready := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread dies with its settings
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		if err == nil && fifo {
			err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: 1, Priority: 1}, 0)
		}
		ready <- err
		if err == nil {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("pinning to CPU %d: %v", cpu, err)
	}
	return done
}

type pipe struct{ r, w int }

func newPipe(t testing.TB) pipe {
	t.Helper()
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd[0]); unix.Close(fd[1]) })
	return pipe{fd[0], fd[1]}
}

// put and get move one byte; get blocks the thread in the kernel. Outside Go's poller, each get of
// an empty pipe is exactly one sleep.
func (p pipe) put() { rw(unix.SYS_WRITE, p.w) }
func (p pipe) get() { rw(unix.SYS_READ, p.r) }

func rw(call uintptr, fd int) {
	var b [1]byte
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1)
		if n == 1 || errno != unix.EINTR {
			return
		}
	}
}

// storm makes two threads on one CPU wake each other n times.
func storm(t testing.TB, cpu, n int) {
	t.Helper()
	ping, pong := newPipe(t), newPipe(t)
	a := onCPU(t, cpu, false, func() {
		for range n {
			ping.put()
			pong.get()
		}
	})
	b := onCPU(t, cpu, false, func() {
		for range n {
			ping.get()
			pong.put()
		}
	})
	<-a
	<-b
}

// nap sleeps in the kernel, not in Go's timers.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// spin keeps the CPU, also from Go's scheduler: it takes the processor of a thread that runs for 10 ms
// at the next function's entry, and a nosplit function has none.
//
//go:nosplit
func spin(d time.Duration) {
	var ts unix.Timespec
	end := int64(0)
	for {
		syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ts)), 0)
		now := ts.Sec*1e9 + ts.Nsec
		if end == 0 {
			end = now + int64(d)
		}
		if now >= end {
			return
		}
	}
}

// timers makes n threads sleep a millisecond at a time.
func timers(t testing.TB, n int, d time.Duration) {
	t.Helper()
	cpus := onlineCPUs(t)
	var done []<-chan struct{}
	for i := range n {
		done = append(done, onCPU(t, cpus[i%len(cpus)], false, func() {
			for end := time.Now().Add(d); time.Now().Before(end); {
				nap(time.Millisecond)
			}
		}))
	}
	for _, c := range done {
		<-c
	}
}
