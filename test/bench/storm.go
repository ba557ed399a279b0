// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stormArg makes this program a load: two threads on one CPU that wake each other. It is a process
// of its own, so that its CPU clock counts nothing else.
const stormArg = "-storm"

// trips is how often a storm's byte goes there and back: two switches each, about half a second.
const trips = 100_000

// storm runs the load on the last CPU and returns the CPU time of a switch in nanoseconds, what
// the programs on its way take included, and the share of the CPU that it had. CPU time, because
// others may use the CPU too.
func storm() (ns, share float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.Command(self, stormArg, strconv.Itoa(lastCPU()), strconv.Itoa(trips))
	// Go's scheduler must not signal the threads of the load, and must have room for them. Nor may it
	// stop them for a collection: one of them would wait for the other for ever.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=4", "GOGC=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("running a storm: %w", err)
	}
	if _, err := fmt.Sscan(string(out), &ns, &share); err != nil {
		return 0, 0, fmt.Errorf("reading what a storm says: %w", err)
	}
	return ns, share, nil
}

// stormMain is the process that storm starts.
func stormMain(args []string) error {
	if len(args) != 2 {
		return errors.New(stormArg + " takes a CPU and a number of round trips")
	}
	cpu, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	// Ahead of the other programs of a busy host; as root only.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	if err := pingPong(cpu, n/10); err != nil { // warms caches and the frequency
		return err
	}
	begun := time.Now()
	before, err := cpuTime(os.Getpid())
	if err != nil {
		return err
	}
	if err := pingPong(cpu, n); err != nil {
		return err
	}
	after, err := cpuTime(os.Getpid())
	if err != nil {
		return err
	}
	used := float64(after - before)
	fmt.Println(used/float64(2*n), used/float64(time.Since(begun)))
	return nil
}

func pingPong(cpu, n int) error {
	var ping, pong [2]int
	for _, p := range []*[2]int{&ping, &pong} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
	}
	ended := make(chan error, 2)
	pinned := func(f func()) {
		runtime.LockOSThread() // never unlocked: the thread dies with its settings
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
		f() // also unpinned: the other one waits for us
		ended <- err
	}
	go pinned(func() {
		for range n {
			move(unix.SYS_WRITE, ping[1])
			move(unix.SYS_READ, pong[0])
		}
	})
	go pinned(func() {
		for range n {
			move(unix.SYS_READ, ping[0])
			move(unix.SYS_WRITE, pong[1])
		}
	})
	return errors.Join(<-ended, <-ended)
}

// move moves one byte outside Go's poller, so that each read of an empty pipe is one sleep.
func move(call uintptr, fd int) {
	var b [1]byte
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1)
		if n == 1 || errno != unix.EINTR {
			return
		}
	}
}
