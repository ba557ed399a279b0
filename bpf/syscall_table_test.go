// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestSyscallRest takes rows out of the table that rested, and loses nothing of what they counted.
func TestSyscallRest(t *testing.T) {
	s := openAllSyscalls(t, need(t), SyscallCount)
	for range 23 {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	if err := s.Pause(true); err != nil {
		t.Fatal(err)
	}
	sum := func(now time.Duration) (rows int, n uint64) {
		if err := s.ReadCalls(now, func(r *CallRow) {
			if r.TGID > 0 {
				rows++
			}
			if r.TGID >= 0 && r.Call == unix.SYS_GETPPID {
				n += r.N
			}
		}); err != nil {
			t.Fatal(err)
		}
		return rows, n
	}
	rows, n := sum(0)
	if rows == 0 || n < 23 {
		t.Fatalf("%d rows, %d calls of getppid, want at least 23", rows, n)
	}
	// As if the CPUs had needed their places for others.
	for i := range s.cpus {
		s.cpus[i].Slots = [callSlots]callSlot{}
	}
	key, calls := CallKey{TGID: 1 << 30, Call: unix.SYS_GETPPID, Start: 1}, s.obj.maps["calls"]
	if err := errors.Join(s.obj.maps["call_cpus"].Put(uint32(0), s.cpus), calls.Put(&key, make([]callRow, len(s.cpus)))); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{keyIdle - 1, keyIdle, keyIdle + 1} {
		if _, again := sum(at); again != n {
			t.Errorf("at %v: %d calls of getppid, want %d", at, again, n)
		}
	}
	sum(2*keyIdle + 1)
	if left, again := sum(2*keyIdle + 2); left != 0 || again != n {
		t.Errorf("%d rows left with %d calls of getppid, want none with %d", left, again, n)
	}
	var none []callRow
	if err := calls.Lookup(&key, &none); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the row is still in the table: %v", err)
	}
}

// TestSyscallNarrow counts a process apart, and with only nothing else.
func TestSyscallNarrow(t *testing.T) {
	s := openAllSyscalls(t, need(t), SyscallCount)
	slots, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}, false)
	if err != nil || slots[1].ID != uint64(os.Getpid()) {
		t.Fatalf("Narrow = %v, %v", slots, err)
	}
	for range 23 {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	if c := callsOf(t, s, -1)[unix.SYS_GETPPID]; c != (CallCounts{N: 23}) {
		t.Errorf("of the target: %+v, want 23", c)
	}
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: 1 << 30}}, true); err != nil { // nobody
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if c := callsOf(t, s, os.Getpid())[unix.SYS_GETPPID]; c != (CallCounts{N: 23}) {
		t.Errorf("while only somebody else counts: %+v, want 23 as before", c)
	}
	if _, err := s.Narrow(nil, false); err != nil {
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if c := callsOf(t, s, os.Getpid())[unix.SYS_GETPPID]; c != (CallCounts{N: 24}) {
		t.Errorf("of the whole host again: %+v, want 24", c)
	}
}

// sleepCall makes this thread sleep n times by a call that Go's runtime does not make.
func sleepCall(n int, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	for range n {
		_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	}
}

// startSleeper starts a process that sleeps 23 times for 20 ms once the returned function is called, which
// waits for its end.
func startSleeper(t *testing.T) (pid int, run func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestSyscallSleeper$")
	cmd.Env = append(os.Environ(), compatEnv+"=sleeps")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the sleeper: %v", err)
		}
	}
}

// TestSyscallSleeper is a child of TestSyscallNarrowTimes.
func TestSyscallSleeper(t *testing.T) {
	if os.Getenv(compatEnv) != "sleeps" {
		return
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	sleepCall(23, 20*time.Millisecond)
}

// targetHist is a target's histogram of one call.
func targetHist(t *testing.T, s *Syscalls, slot int32, call uint32) (out Hist) {
	t.Helper()
	if err := s.ReadTargetHists(func(at int32, c uint32, h Hist) {
		if at == slot && c == call {
			out = h
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSyscallNarrowTimes: 23 sleeps of 20 ms by one process are timed, and not those of 40 ms that its
// neighbour takes meanwhile.
func TestSyscallNarrowTimes(t *testing.T) {
	const n, d = 23, 20 * time.Millisecond
	s := openAllSyscalls(t, need(t), SyscallCount|SyscallTime)
	pid, run := startSleeper(t)
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(pid)}}, true); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { sleepCall(n, 2*d) })
	run()
	wg.Wait()
	c := callsOf(t, s, -1)[unix.SYS_CLOCK_NANOSLEEP]
	if c.N != n || c.Timed != n || c.Ns < uint64(n*d) || c.Max < uint64(d) {
		t.Errorf("of the target: %+v, want %d sleeps of %v", c, n, d)
	}
	if got := callsOf(t, s, os.Getpid())[unix.SYS_CLOCK_NANOSLEEP]; got != (CallCounts{}) {
		t.Errorf("of its neighbour: %+v, want nothing", got)
	}
	h := targetHist(t, s, 1, unix.SYS_CLOCK_NANOSLEEP)
	var all, long uint64
	for slot, x := range h.Slots {
		all += x
		if slot >= 14 { // 16 ms and more
			long += x
		}
	}
	if all != n || long != n || h.Sum != c.Ns {
		t.Errorf("histogram of the target: %v, want %d of 16 ms and more, %d ns", &h, n, c.Ns)
	}
	// Another target in the same slot begins without what was there.
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: 1 << 30}}, true); err != nil {
		t.Fatal(err)
	}
	if h := targetHist(t, s, 1, unix.SYS_CLOCK_NANOSLEEP); h != (Hist{}) {
		t.Errorf("another target has %v, want nothing", &h)
	}
	if sum, err := s.Totals(); err != nil || sum.Unkept != 0 {
		t.Errorf("Totals = %+v, %v, want all times kept", sum, err)
	}
}

// TestSyscallSlots makes calls under more numbers than a CPU has places for, again and again, and loses
// none of them but those for which the kernel does not run the program: since 6.13 it can be preempted, and
// then nobody else's calls on that CPU reach it until it goes on. The kernel counts them.
func TestSyscallSlots(t *testing.T) {
	const rounds = 23
	k := need(t)
	s := openAllSyscalls(t, k, SyscallCount)
	var calls []uint32
	for call := uint32(340); call < 403; call++ { // numbers that neither architecture uses
		calls = append(calls, call)
	}
	// Threads of other processes share the places: these are more than there are.
	const children = 4
	var wg sync.WaitGroup
	for range children {
		wg.Go(func() {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestSyscallSlotsChild$")
			cmd.Env = append(os.Environ(), compatEnv+"=slots")
			if err := cmd.Run(); err != nil {
				t.Errorf("a child: %v", err)
				return
			}
			got := callsOf(t, s, cmd.Process.Pid)
			for range 2 { // what was on its way to the table is seen by the next reading
				maps.Copy(got, callsOf(t, s, cmd.Process.Pid))
			}
			for _, call := range calls {
				n := got[call].N
				if want := (CallCounts{N: n, Errors: n}); n > rounds || got[call] != want {
					t.Errorf("call %d: %+v, want %d at most, all failed", call, got[call], rounds)
				}
			}
		})
	}
	wg.Wait()
	runs, err := k.Runs()
	if err != nil {
		t.Fatal(err)
	}
	var missed uint64
	for _, r := range runs {
		if r.Name == "syscall_left" {
			missed = r.Missed
		}
	}
	// A host that starts many processes fills the table: what finds no room in it counts by call alone.
	all, counted := uint64(children*rounds*len(calls)), uint64(0)
	for range 3 {
		var sum uint64
		if err := s.ReadCalls(0, func(r *CallRow) {
			if r.TGID >= 0 && slices.Contains(calls, r.Call) {
				sum += r.N
			}
		}); err != nil {
			t.Fatal(err)
		}
		counted = max(counted, sum)
	}
	if counted > all || counted+missed < all {
		t.Errorf("%d calls are counted of %d, and the kernel passed over %d", counted, all, missed)
	}
}

// TestSyscallSlotsChild is a child of TestSyscallSlots.
func TestSyscallSlotsChild(t *testing.T) {
	if os.Getenv(compatEnv) != "slots" {
		return
	}
	for range 23 {
		for call := uintptr(340); call < 403; call++ { // as many as the parent expects
			_, _, _ = unix.RawSyscall(call, 0, 0, 0)
		}
	}
}

// TestSyscallParts: what a kernel refuses costs its part alone, and what is left loads and counts.
func TestSyscallParts(t *testing.T) {
	k := need(t)
	for _, able := range []SyscallParts{syscallAll &^ SyscallSlow, SyscallCount | SyscallTime} {
		obj, err := newObject(k, loadSyscall)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, obj)
		s := &Syscalls{obj: obj}
		if _, err := s.loadExit(able); err != nil {
			t.Errorf("loading parts %d: %v", able, err)
		}
	}
}
