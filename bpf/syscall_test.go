// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"os/exec"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSyscallRecords holds the Go types of records and rows against the program's.
func TestSyscallRecords(t *testing.T) {
	sizes := map[string][2]uintptr{
		"open_event":  {unsafe.Sizeof(syscallOpenEvent{}), unsafe.Sizeof(OpenEvent{}) + unsafe.Sizeof(PathCounts{}.Path)},
		"slow_event":  {unsafe.Sizeof(syscallSlowEvent{}), unsafe.Sizeof(SlowEvent{})},
		"call_key":    {unsafe.Sizeof(syscallCallKey{}), unsafe.Sizeof(CallKey{})},
		"call_row":    {unsafe.Sizeof(syscallCallRow{}), unsafe.Sizeof(callRow{})},
		"target_call": {unsafe.Sizeof(syscallTargetCall{}), unsafe.Sizeof(targetCall{})},
		"call_error":  {unsafe.Sizeof(syscallErrorKey{}), unsafe.Sizeof(CallError{})},
		"call_cpu":    {unsafe.Sizeof(syscallCallCpu{}), unsafe.Sizeof(callCPU{})},
		"path_key":    {unsafe.Sizeof(syscallPathKey{}), unsafe.Sizeof(PathKey{})},
		"path_counts": {unsafe.Sizeof(syscallPathCounts{}), unsafe.Sizeof(PathCounts{})},
		"totals":      {unsafe.Sizeof(syscallTotals{}), unsafe.Sizeof(SyscallTotals{})},
		"comm":        {unsafe.Offsetof(syscallOpenEvent{}.Named) + unsafe.Offsetof(syscallPathCounts{}.Comm), unsafe.Offsetof(OpenEvent{}.Comm)},
		"names":       {unsafe.Offsetof(syscallSlowEvent{}.Names), unsafe.Offsetof(SlowEvent{}.Names)},
	}
	for name, s := range sizes {
		if s[0] != s[1] {
			t.Errorf("%s: the program has %d, Go %d", name, s[0], s[1])
		}
	}
}

// openAllSyscalls attaches the parts, and sees this process too.
func openAllSyscalls(t testing.TB, k *Kernel, parts SyscallParts) *Syscalls {
	t.Helper()
	s, err := openSyscalls(k, 0)
	if err != nil {
		t.Fatalf("openSyscalls: %v", err)
	}
	closing(t, s)
	for part := SyscallCount; part <= SyscallSlow; part <<= 1 {
		if err := s.Err(part); err != nil {
			t.Errorf("part %d: %v", part, err)
		}
	}
	if err := s.Want(parts); err != nil {
		t.Fatalf("Want(%d): %v", parts, err)
	}
	return s
}

// callsOf are the rows of one process, by call.
func callsOf(t testing.TB, s *Syscalls, tgid int) map[uint32]CallCounts {
	t.Helper()
	out := map[uint32]CallCounts{}
	if err := s.ReadCalls(0, func(r *CallRow) {
		if int(r.TGID) == tgid {
			if _, twice := out[r.Call]; twice {
				t.Errorf("two rows of call %d of process %d", r.Call, tgid)
			}
			out[r.Call] = r.CallCounts
		}
	}); err != nil {
		t.Fatalf("ReadCalls: %v", err)
	}
	return out
}

func errorsOf(t testing.TB, s *Syscalls) map[CallError]uint64 {
	t.Helper()
	out := map[CallError]uint64{}
	if err := s.ReadErrors(func(k CallError, n uint64) { out[k] = n }); err != nil {
		t.Fatalf("ReadErrors: %v", err)
	}
	return out
}

// startOf is the start of this process, as the task iterator tells it.
func startOf(t testing.TB, k *Kernel) (start uint64) {
	t.Helper()
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, tasks)
	if err := tasks.Read(func(x *Task) {
		if int(x.Pid) == os.Getpid() {
			start = x.Start
		}
	}); err != nil {
		t.Fatal(err)
	}
	return start
}

// TestSyscallCounts makes 23,000 calls of a kind that nobody else in this process makes, and 23 that
// fail.
func TestSyscallCounts(t *testing.T) {
	const n, failed = 23_000, 23
	k := need(t)
	s := openAllSyscalls(t, k, SyscallCount)
	if s.links[1] != nil {
		t.Error("sys_enter is attached, and nobody times")
	}
	for range n {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	for range failed {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPGID, ^uintptr(0), 0, 0) // ESRCH
	}
	got := callsOf(t, s, os.Getpid())
	want := map[uint32]CallCounts{unix.SYS_GETPPID: {N: n}, unix.SYS_GETPGID: {N: failed, Errors: failed}}
	for call, w := range want {
		if got[call] != w {
			t.Errorf("call %d: %+v, want %+v", call, got[call], w)
		}
	}
	if e := errorsOf(t, s)[CallError{unix.SYS_GETPGID, uint32(unix.ESRCH)}]; e < failed {
		t.Errorf("getpgid failed %d times with ESRCH, want at least %d", e, failed)
	}
	var start uint64
	if err := s.ReadCalls(0, func(r *CallRow) {
		if int(r.TGID) == os.Getpid() {
			start = r.Start
			if name := unix.ByteSliceToString(r.Comm[:]); name == "" {
				t.Errorf("row %+v has no name", r)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if want := startOf(t, k); start != want {
		t.Errorf("the process began at %d, the task iterator says %d", start, want)
	}
	if err := s.Pause(true); err != nil {
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if c := callsOf(t, s, os.Getpid())[unix.SYS_GETPPID]; c.N != n {
		t.Errorf("paused: %d calls, want %d", c.N, n)
	}
	if err := s.Pause(false); err != nil {
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if c := callsOf(t, s, os.Getpid())[unix.SYS_GETPPID]; c.N != n+1 {
		t.Errorf("attached again: %d calls, want %d", c.N, n+1)
	}
}

// TestSyscallSelf is not seen by itself, and its own calls show that the hook is alive.
func TestSyscallSelf(t *testing.T) {
	s, err := OpenSyscalls(need(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	if err := s.Want(SyscallCount); err != nil {
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if got := callsOf(t, s, os.Getpid()); len(got) != 0 {
		t.Errorf("own calls: %v, want none", got)
	}
	if sum, err := s.Totals(); err != nil || sum.Own == 0 {
		t.Errorf("Totals = %+v, %v, want calls of its own", sum, err)
	}
}

// TestSyscallTimes times 23 calls that sleep 20 ms.
func TestSyscallTimes(t *testing.T) {
	const n, d = 23, 20 * time.Millisecond
	s := openAllSyscalls(t, need(t), SyscallCount|SyscallTime)
	before, err := s.ReadHist(unix.SYS_CLOCK_NANOSLEEP)
	if err != nil {
		t.Fatal(err)
	}
	ts := unix.NsecToTimespec(int64(d))
	for range n { // not nanosleep, which Go's runtime calls too
		_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	}
	got := callsOf(t, s, os.Getpid())[unix.SYS_CLOCK_NANOSLEEP]
	if got.N != n || got.Timed != n || got.Ns < uint64(n*d) || got.Max < uint64(d) || got.Max > got.Ns {
		t.Errorf("23 sleeps of 20 ms: %+v", got)
	}
	h, err := s.ReadHist(unix.SYS_CLOCK_NANOSLEEP)
	if err != nil {
		t.Fatal(err)
	}
	h.minus(&before)
	var long uint64
	for slot := 14; slot < HistSlots; slot++ { // 16 ms and more
		long += h.Slots[slot]
	}
	if long < n || h.Sum < got.Ns {
		t.Errorf("histogram of clock_nanosleep: %v, want at least %d of 16 ms and more", &h, n)
	}
	if sum, err := s.Totals(); err != nil || sum.Calls == 0 {
		t.Errorf("Totals = %+v, %v", sum, err)
	}
}

// TestSyscallHistWraps: slots of 32 bits are added up across their end.
func TestSyscallHistWraps(t *testing.T) {
	s := openAllSyscalls(t, need(t), 0)
	m, err := s.obj.createMap("call_hists")
	if err != nil {
		t.Fatal(err)
	}
	var cpus []syscallCallHist
	call := uint32(7)
	if err := m.Lookup(&call, &cpus); err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint32{1<<32 - 3, 2} {
		cpus[0].Slots[5] = at
		if err := m.Put(&call, cpus); err != nil {
			t.Fatal(err)
		}
		h, err := s.ReadHist(call)
		if want := uint64(at) + map[bool]uint64{true: 1 << 32}[at == 2]; err != nil || h.Slots[5] != want {
			t.Errorf("slot 5 = %d, %v, want %d", h.Slots[5], err, want)
		}
	}
}

// compatEnv makes the test's process one that makes 23 calls of 32-bit programs.
const compatEnv = "BPF60_TEST_COMPAT"

// TestSyscallCompat: calls by the 32-bit entry are one row, and none of them another call's.
func TestSyscallCompat(t *testing.T) {
	const n = 23
	if os.Getenv(compatEnv) != "" {
		callCompat(n)
		return
	}
	s := openAllSyscalls(t, need(t), SyscallCount)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), compatEnv+"=1", "GODEBUG=asyncpreemptoff=1")
	if err := cmd.Run(); err != nil {
		t.Skipf("needs 32-bit system calls (CONFIG_IA32_EMULATION): %v", err)
	}
	got := callsOf(t, s, cmd.Process.Pid)
	if c := got[CallCompat]; c != (CallCounts{N: n}) {
		t.Errorf("32-bit calls: %+v, want %d", c, n)
	}
	if c, ok := got[20]; ok { // getpid of 32 bits, writev of 64
		t.Errorf("counted as another call: %+v", c)
	}
}

// callCompat makes calls of getpid by the 32-bit entry: mov eax,20; int 0x80; ret.
func callCompat(n int) {
	code := []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil || unsafe.Sizeof(uintptr(0)) != 8 || !isAMD64() {
		os.Exit(1)
	}
	copy(mem, code)
	entry := unsafe.Pointer(&mem[0])
	closure := unsafe.Pointer(&entry) // what a function value points to begins with its code
	call := *(*func())(unsafe.Pointer(&closure))
	for range n {
		call()
	}
}

func isAMD64() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && unix.ByteSliceToString(u.Machine[:]) == "x86_64"
}
