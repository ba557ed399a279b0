// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// SyscallParts says what of the system calls to measure; parts are ored.
type SyscallParts uint32

// The parts: PART_* in syscall.bpf.c.
const (
	SyscallCount SyscallParts = 1 << iota // calls and errors by process and call
	SyscallTime                           // how long they took; a second hook
	SyscallOpen                           // opens by process and path
	SyscallExec                           // exec calls that failed
	SyscallSlow                           // calls on files that took long; a second hook

	syscallAll SyscallParts = 1<<iota - 1
)

// Rows of calls that have no number of their own, above those that have: CALL_* in syscall.bpf.c.
const (
	CallCompat uint32 = 512 + iota // made by 32-bit programs, whose numbers mean other calls
	CallNone                       // number −1: what a return from a signal handler leaves
	CallHigh                       // numbers that no kernel of today has
	CallRows
)

// Classes of a path's row: CLASS_OPEN0 and CLASS_EXEC0 in syscall.bpf.c.
const (
	PathOpen = 5
	PathExec = 7
)

// Sizes of the tables, for those who show how full they are.
const (
	callTable = 2048
	pathTable = 768
)

// CallKey is one process's row of one call. TGID is above 0; 0 is a row of calls without a process: with
// Start 0 those that found no room in the table, with CallsRested those of rows that were taken out of
// it. −i counts what belongs to the target of slot i.
type CallKey struct {
	TGID  int32
	Call  uint32
	Start uint64
}

// CallCounts are cumulative since the row was made.
type CallCounts struct {
	N, Errors uint64
	Timed     uint64 // of N: those whose time is known
	Ns        uint64 // of the timed
	Max       uint64 // ns, of the timed
}

// CallsRested is the Start of a row of TGID 0: what rows had counted that rested and were taken out.
const CallsRested = 1

// callRow is struct call_row.
type callRow struct {
	Counts CallCounts
	Comm   [16]byte
}

// callSlots is the number of rows that a CPU keeps for itself: SLOTS in syscall.bpf.c.
const callSlots = 256

// callCPU is struct call_cpu.
type callCPU struct {
	Totals SyscallTotals
	Slots  [callSlots]callSlot
}

type callSlot struct {
	Key CallKey
	callRow
}

func (c *CallCounts) plus(o *CallCounts) {
	c.N += o.N
	c.Errors += o.Errors
	c.Timed += o.Timed
	c.Ns += o.Ns
	c.Max = max(c.Max, o.Max)
}

// CallError names an errno of a call.
type CallError struct{ Call, Errno uint32 }

// PathKey is one process's row of one path.
type PathKey struct {
	TGID  int32
	What  uint32 // errno, and from bit 16 on PathOpen or PathExec
	Start uint64
	Hash  uint64
}

// PathCounts is what a row of a path holds. N is cumulative since the row was made.
type PathCounts struct {
	N    uint64
	Len  uint32 // of Path in use
	Cut  uint32 // not 0: the path goes on
	Comm [16]byte
	Path [320]byte
}

// SyscallTotals are cumulative since load.
type SyscallTotals struct {
	Calls    uint64 // seen, whatever was wanted of them
	Own      uint64 // of the process that looks
	Others   uint64 // counted without a row of their own
	Collided uint64 // times not measured: another thread's start was in the same place
	Paths    uint64 // opens and failed execs without a row of their own
	Slow     uint64 // slow calls on files
	Unread   uint64 // paths that could not be read
	Unkept   uint64 // times of targets without a histogram, the table being full
}

// Nanoseconds that system calls cost, as measured in a 6.18 guest: what an attached hook adds to every
// call of every task, and what a part adds to the calls that it counts.
const (
	CostSysExit     = 85
	CostSysEnter    = 55
	CostSyscall     = 5 // in place: to the table only when another row wants the place
	CostSyscallTime = 60
	CostOpen        = 700
	CostSlowFile    = 2000
)

// Syscalls is the facade of syscall.bpf.c. Open loads its programs and attaches none; Want attaches
// what the parts need, and an attached hook costs every system call of every task. All methods may be
// called by several goroutines.
type Syscalls struct {
	mu     sync.Mutex
	obj    *object
	exit   *ebpf.Program
	enter  *ebpf.Program
	links  [2]link.Link // sys_exit, sys_enter
	errs   map[SyscallParts]error
	parts  SyscallParts
	only   bool
	paused bool
	slow   time.Duration
	timed  timedCalls
	since  uint64 // timed is as it is; monotonic

	rows    map[CallKey]*callState
	round   uint64
	cpus    []callCPU
	paths   keyed[PathKey, uint64]
	retired []CallCounts // of rows that rested and were forgotten, by call
	hists   map[uint32]*callHist
	apart   map[targetCall]*callHist // of the targets
}

// timedCalls are those whose starts are kept and taken.
type timedCalls struct {
	parts SyscallParts
	only  Slots // zero: everybody's
}

// callHist adds up a histogram whose slots of 32 bits wrap.
type callHist struct {
	prev []syscallCallHist
	sum  Hist
}

// grow takes a reading over, which it does not keep, and returns the sum.
func (h *callHist) grow(cpus []syscallCallHist) Hist {
	if h.prev == nil {
		h.prev = make([]syscallCallHist, len(cpus))
	}
	for i := range cpus {
		for slot, n := range cpus[i].Slots {
			h.sum.Slots[slot] += uint64(n - h.prev[i].Slots[slot]) // of 32 bits: it may have wrapped
		}
		h.sum.Sum += cpus[i].Sum - h.prev[i].Sum
	}
	copy(h.prev, cpus)
	return h.sum
}

// SlowFile is how long a call on a file takes to be listed as slow.
const SlowFile = 10 * time.Millisecond

// OpenSyscalls loads the programs. Parts that this kernel refuses are left out: see Err. The caller
// owns the result and closes it.
func OpenSyscalls(k *Kernel) (*Syscalls, error) {
	self, err := k.Self()
	if err != nil {
		return nil, err
	}
	return openSyscalls(k, int(self))
}

// openSyscalls sees all processes but self.
func openSyscalls(k *Kernel, self int) (*Syscalls, error) {
	obj, err := newObject(k, loadSyscall)
	if err != nil {
		return nil, err
	}
	s := &Syscalls{
		obj: obj, slow: SlowFile, errs: map[SyscallParts]error{},
		rows: map[CallKey]*callState{}, paths: newKeyed[PathKey, uint64](),
		retired: make([]CallCounts, CallRows), hists: map[uint32]*callHist{},
		apart: map[targetCall]*callHist{},
	}
	if err := s.load(self); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	return s, nil
}

func (s *Syscalls) load(self int) error {
	if err := s.obj.kernel.needBTF(); err != nil {
		return err
	}
	for name, value := range map[string]any{"self": int32(self), "call_class": callClasses()} {
		if err := s.obj.set(name, value); err != nil {
			return err
		}
	}
	// Under lockdown=confidentiality kernel memory cannot be read by the helper, which slow files need; nor
	// can that of user space, as the library takes one helper for both where the other is refused.
	var refused error
	for _, able := range []SyscallParts{syscallAll, syscallAll &^ SyscallSlow, SyscallCount | SyscallTime} {
		exit, err := s.loadExit(able)
		if err != nil {
			if refused = err; s.obj.kernel.lockdown == "confidentiality" {
				refused = s.obj.kernel.explain("loading syscall_left", unix.EPERM)
			}
			continue
		}
		s.exit = exit
		for part := SyscallCount; part <= SyscallSlow; part <<= 1 {
			if able&part == 0 {
				s.errs[part] = refused
			}
		}
		break
	}
	if s.exit == nil {
		return refused
	}
	var err error
	if s.enter, err = s.obj.load("syscall_entered"); err != nil {
		s.errs[SyscallTime], s.errs[SyscallSlow] = err, errors.Join(s.errs[SyscallSlow], err)
	}
	return nil
}

func (s *Syscalls) loadExit(able SyscallParts) (*ebpf.Program, error) {
	if err := s.obj.set("able", uint32(able)); err != nil {
		return nil, err
	}
	return s.obj.load("syscall_left")
}

// Err says why a part cannot be had on this kernel; nil if it can.
func (s *Syscalls) Err(part SyscallParts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs[part]
}

// Want attaches what the parts need, and detaches what they do not. Parts that cannot be had are left
// out.
func (s *Syscalls) Want(parts SyscallParts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part := range s.errs {
		parts &^= part
	}
	s.parts = parts
	return s.apply()
}

// Hooks says what is attached, in the words of the Probes pane.
func (s *Syscalls) Hooks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts&(SyscallTime|SyscallSlow) != 0 {
		return "tp_btf sys_exit, sys_enter"
	}
	return "tp_btf sys_exit"
}

// Pause detaches the hooks and keeps what is wanted and counted, or attaches them again.
func (s *Syscalls) Pause(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = on
	return s.apply()
}

// settle notes the time if other calls are timed than before: a start that is older may be that of a call
// whose end was passed over, and its thread may be in the same call again.
func (s *Syscalls) settle() (err error) {
	var t timedCalls
	switch parts := s.parts & (SyscallTime | SyscallSlow); {
	case s.paused:
	case parts&SyscallTime != 0:
		t.parts = SyscallTime // which keeps all starts
	default:
		t.parts = parts
	}
	if s.only {
		t.only = s.obj.slots
	}
	if t == s.timed {
		return nil
	}
	if s.since, err = monotonic(); err == nil {
		s.timed = t
	}
	return err
}

// control tells the programs what is wanted.
func (s *Syscalls) control() error {
	if err := s.settle(); err != nil {
		return err
	}
	m, err := s.obj.createMap("syscall_control")
	if err != nil {
		return err
	}
	c := syscallControl{Parts: uint32(s.parts), Slow: uint64(s.slow), Since: s.since}
	if s.obj.slots != (Slots{}) {
		c.Targets = 1
	}
	if s.only {
		c.Narrow, c.Tgid = 1, onlyProcess(s.obj.slots)
	}
	if err := m.Put(uint32(0), &c); err != nil {
		return fmt.Errorf("writing map syscall_control: %w", err)
	}
	return nil
}

// apply makes the links those that the wanted parts need.
func (s *Syscalls) apply() error {
	err := s.control()
	need := [2]bool{s.parts != 0 && !s.paused, s.parts&(SyscallTime|SyscallSlow) != 0 && !s.paused}
	for i, p := range []*ebpf.Program{s.exit, s.enter} {
		switch {
		case need[i] && s.links[i] == nil && p != nil:
			l, e := link.AttachTracing(link.TracingOptions{Program: p})
			if e != nil {
				err = errors.Join(err, s.obj.kernel.explain("attaching to system calls", e))
				continue
			}
			s.links[i] = l
		case !need[i] && s.links[i] != nil:
			err = errors.Join(err, s.links[i].Close())
			s.links[i] = nil
		}
	}
	return err
}

// Close detaches the programs and frees the maps.
func (s *Syscalls) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts, s.paused = 0, false
	var errs []error
	for i, l := range s.links {
		if l != nil {
			errs = append(errs, l.Close())
			s.links[i] = nil
		}
	}
	return errors.Join(append(errs, s.obj.Close())...)
}
