// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// SyscallsID is the on-demand collector of system calls by process and call.
const SyscallsID ID = "syscalls"

// syscallRows bounds the processes, and the pairs of process and call, in a sample.
const syscallRows = 200

// Syscalls are the system calls that returned over the span, of all processes but this one. A call is
// counted when it returns; one that never does (exit_group) is not, and a fork once, in the parent.
type Syscalls struct {
	Span
	Partial bool // only targets were counted: see Narrowed

	SyscallCounts
	Calls     []SyscallCall    // every call that was made, most first
	Processes []SyscallProcess // the busiest, most first
	Pairs     []SyscallPair    // the busiest process and call, most first
	Others    uint64           // calls of processes without a row: the kernel's table was full
	Unlisted  int              // processes beyond those in Processes
	Collided  uint64           // calls whose time was not measured: two threads' starts in one place

	Narrowed []Targeted[SyscallTarget]
}

// SyscallCounts are additive deltas.
type SyscallCounts struct {
	N, Errors uint64
	Timed     uint64        // of N, those whose time is known: none unless times are wanted
	Time      time.Duration // of those
}

// Mean is how long a call took; false without any that was timed.
func (c *SyscallCounts) Mean() (time.Duration, bool) {
	if c.Timed == 0 {
		return 0, false
	}
	return c.Time / time.Duration(c.Timed), true
}

// Plus adds other's counts to c.
func (c *SyscallCounts) Plus(other *SyscallCounts) {
	c.N += other.N
	c.Errors += other.Errors
	c.Timed += other.Timed
	c.Time += other.Time
}

// SyscallCall is one call of all processes.
type SyscallCall struct {
	Call uint32 // number on this architecture; above 511 rows for calls without one
	Name string // "openat", "sys_471"
	SyscallCounts
	Errnos []ErrnoCount // most first, at most three
}

// SyscallProcess is what one process called.
type SyscallProcess struct {
	Process Process
	Comm    Raw // when its row was made, which may be before it ran a program
	SyscallCounts
	Top     string // the call it made most
	TopN    uint64
	Longest string // the call it spent most time in, if times are known
}

// SyscallPair is a call of one process.
type SyscallPair struct {
	Process Process
	Call    uint32
	Name    string
	SyscallCounts
	Max time.Duration // the longest since the row was made
}

// SyscallTarget is what a target called.
type SyscallTarget struct {
	SyscallCounts
	Calls []SyscallCall // without errnos
}

func (s *Syscalls) put(snap *Snapshot) { snap.Syscalls = s }

func (s *Syscalls) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Calls) + sliceSize(s.Processes) + sliceSize(s.Pairs) + sliceSize(s.Narrowed)
	for i := range s.Calls {
		n += sliceSize(s.Calls[i].Errnos)
	}
	for i := range s.Processes {
		n += allocSize(uintptr(len(s.Processes[i].Comm.s)))
	}
	for i := range s.Narrowed {
		n += sliceSize(s.Narrowed[i].Sample.Calls)
	}
	return n
}

// withoutRows keeps the sums.
func (s *Syscalls) withoutRows() *Syscalls {
	c := *s
	c.Calls, c.Processes, c.Pairs, c.Narrowed = nil, nil, nil, nil
	return &c
}

// syscallReading is one reading of the kernel's tables, cumulative.
type syscallReading struct {
	rows   map[bpf.CallKey]bpf.CallCounts
	calls  map[uint32]bpf.CallCounts // of all processes, and of none
	errors map[bpf.CallError]uint64
	comms  map[Process]Raw
	totals bpf.SyscallTotals
}

func newSyscallReading() *syscallReading {
	return &syscallReading{
		rows: map[bpf.CallKey]bpf.CallCounts{}, calls: map[uint32]bpf.CallCounts{},
		errors: map[bpf.CallError]uint64{}, comms: map[Process]Raw{},
	}
}

// read fills the reading anew, with the calls that want says.
func (x *syscallReading) read(r syscallReader, now time.Duration, want func(call uint32) bool) error {
	clear(x.rows)
	clear(x.calls)
	clear(x.errors)
	clear(x.comms)
	err := r.ReadCalls(now, func(row *bpf.CallRow) {
		if !want(row.Call) {
			return
		}
		x.rows[row.CallKey] = row.CallCounts
		if row.TGID < 0 {
			return
		}
		sum := x.calls[row.Call]
		sum.N += row.N
		sum.Errors += row.Errors
		sum.Timed += row.Timed
		sum.Ns += row.Ns
		x.calls[row.Call] = sum
		if row.TGID > 0 {
			x.comms[Process{row.TGID, row.Start}] = RawString(unix.ByteSliceToString(row.Comm[:]))
		}
	})
	if err != nil {
		return err
	}
	return r.ReadErrors(func(e bpf.CallError, n uint64) {
		if want(e.Call) {
			x.errors[e] = n
		}
	})
}

type syscallCollector struct {
	syscallPart
	namer     callNamer
	prev, cur *syscallReading
	targets   callTargets
}

// NewSyscalls returns the collector of Syscalls.
func NewSyscalls(src *syscallSource) Collector {
	return &syscallCollector{
		syscallPart: syscallPart{src: src, part: bpf.SyscallCount, name: "syscount", ns: bpf.CostSyscall},
		namer:       newCallNamer(), prev: newSyscallReading(), cur: newSyscallReading(),
	}
}

func (c *syscallCollector) Meta() Meta { return Meta{ID: SyscallsID, OnDemand: true, Slow: true} }

func (c *syscallCollector) Start(context.Context) error {
	c.targets = callTargets{}
	return c.start()
}

func anyCall(uint32) bool { return true }

// Collect reads the tables. The first reading is the baseline.
func (c *syscallCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	span, ok, err := c.span(now)
	if err == nil {
		err = c.cur.read(c.r, now, anyCall)
	}
	if c.err = err; err != nil {
		return nil, err
	}
	c.cur.totals = c.totals
	defer func() { c.prev, c.cur = c.cur, c.prev }()
	if !ok {
		return nil, ErrWarming
	}
	s := deriveSyscalls(c.prev, c.cur, span, c.namer)
	s.Partial = c.targets.only
	for _, t := range c.targets.list {
		s.Narrowed = append(s.Narrowed, Targeted[SyscallTarget]{
			Target: t.target, Since: t.since, Sample: deriveTarget(c.prev, c.cur, -t.slot, c.namer),
		})
	}
	c.counted(s.N, s.Collided)
	return s, nil
}

// deriveSyscalls subtracts two readings.
func deriveSyscalls(prev, cur *syscallReading, span Span, namer callNamer) *Syscalls {
	s := &Syscalls{Span: span, Collided: grown(prev.totals.Collided, cur.totals.Collided)}
	for call, c := range cur.calls {
		d := callDelta(prev.calls[call], c)
		if d.N == 0 {
			continue
		}
		s.Plus(&d)
		s.Calls = append(s.Calls, SyscallCall{Call: call, Name: namer.name(call), SyscallCounts: d})
	}
	sortCalls(s.Calls)
	errnos := map[uint32][]ErrnoCount{}
	for e, n := range cur.errors {
		if d := grown(prev.errors[e], n); d > 0 {
			errnos[e.Call] = append(errnos[e.Call], ErrnoCount{e.Errno, d})
		}
	}
	for i := range s.Calls {
		s.Calls[i].Errnos = topErrnos(errnos[s.Calls[i].Call], 3)
	}
	at := map[Process]int{}
	for key, c := range cur.rows {
		if key.TGID < 0 || key.TGID == 0 && key.Start == bpf.CallsRested {
			continue
		}
		d := callDelta(prev.rows[key], c)
		if d.N == 0 {
			continue
		}
		if key.TGID == 0 {
			s.Others += d.N
			continue
		}
		p := Process{key.TGID, key.Start}
		name := namer.name(key.Call)
		s.Pairs = append(s.Pairs, SyscallPair{Process: p, Call: key.Call, Name: name, SyscallCounts: d, Max: time.Duration(c.Max)})
		i, ok := at[p]
		if !ok {
			i = len(s.Processes)
			at[p] = i
			s.Processes = append(s.Processes, SyscallProcess{Process: p, Comm: cur.comms[p]})
		}
		s.Processes[i].Plus(&d)
	}
	sortPairs(s.Pairs)
	longest := make([]time.Duration, len(s.Processes))
	for i := range s.Pairs {
		pair := &s.Pairs[i]
		n := at[pair.Process]
		p := &s.Processes[n]
		if p.Top == "" { // the pairs are sorted
			p.Top, p.TopN = pair.Name, pair.N
		}
		if pair.Time > longest[n] {
			longest[n], p.Longest = pair.Time, pair.Name
		}
	}
	sortBy(s.Processes, func(a, b SyscallProcess) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Process.Start, b.Process.Start))
	})
	s.Unlisted = max(0, len(s.Processes)-syscallRows)
	s.Processes = slices.Clone(s.Processes[:len(s.Processes)-s.Unlisted])
	s.Pairs = slices.Clone(s.Pairs[:min(len(s.Pairs), syscallRows)])
	return s
}

// deriveTarget subtracts the rows of a target's slot.
func deriveTarget(prev, cur *syscallReading, tgid int32, namer callNamer) SyscallTarget {
	var t SyscallTarget
	for key, c := range cur.rows {
		if key.TGID != tgid {
			continue
		}
		if d := callDelta(prev.rows[key], c); d.N > 0 {
			t.Plus(&d)
			t.Calls = append(t.Calls, SyscallCall{Call: key.Call, Name: namer.name(key.Call), SyscallCounts: d})
		}
	}
	sortCalls(t.Calls)
	return t
}

// callDelta is how much a row grew. One that went back was made anew, and all of it is new.
func callDelta(prev, cur bpf.CallCounts) SyscallCounts {
	if cur.N < prev.N {
		prev = bpf.CallCounts{}
	}
	return SyscallCounts{
		N: cur.N - prev.N, Errors: since(prev.Errors, cur.Errors),
		Timed: since(prev.Timed, cur.Timed), Time: time.Duration(since(prev.Ns, cur.Ns)),
	}
}

func sortCalls(calls []SyscallCall) {
	sortBy(calls, func(a, b SyscallCall) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Call, b.Call))
	})
}

func sortPairs(pairs []SyscallPair) {
	sortBy(pairs, func(a, b SyscallPair) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Process.Start, b.Process.Start), cmp.Compare(a.Call, b.Call))
	})
}

// topErrnos are the n most frequent.
func topErrnos(all []ErrnoCount, n int) []ErrnoCount {
	sortBy(all, func(a, b ErrnoCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Errno, b.Errno))
	})
	return all[:min(len(all), n):min(len(all), n)]
}

func (c *syscallCollector) Probes() []Probe { return []Probe{c.probe()} }

func (c *syscallCollector) Close() error { return c.stop() }

// Host implements HostNarrower.
func (c *syscallCollector) Host(wanted bool) { c.targets.host = wanted }

// Narrow implements Narrower.
func (c *syscallCollector) Narrow(targets []Target) error {
	return c.narrowTo(&c.targets, targets, c.prev)
}
