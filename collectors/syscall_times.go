// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// SyscallTimesID is the on-demand collector of how long system calls take. While it runs, Syscalls holds
// times, too.
const SyscallTimesID ID = "syscalltimes"

// SyscallTimes are the times of the calls that returned over the span, by call.
type SyscallTimes struct {
	Span
	Partial bool        // only targets were timed: see Narrowed
	Calls   []CallTimes // those that returned, most time first
	Unkept  uint64      // times of targets that are in no histogram: the kernel's table was full

	Narrowed []Targeted[TargetTimes]
}

// TargetTimes are the times of a target's calls, most time first. Total counts since the target is looked
// at.
type TargetTimes struct{ Calls []CallTimes }

// CallTimes is how long one call took, from its entry to its return, sleep included.
type CallTimes struct {
	Call  uint32
	Name  string
	Hist  Hist32 // delta
	Total Hist   // since the probes were loaded
}

func (s *SyscallTimes) put(snap *Snapshot) { snap.SyscallTimes = s }

// withoutRows keeps the span.
func (s *SyscallTimes) withoutRows() *SyscallTimes { return &SyscallTimes{Span: s.Span} }

func (s *SyscallTimes) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Calls) + sliceSize(s.Narrowed)
	for i := range s.Narrowed {
		n += sliceSize(s.Narrowed[i].Sample.Calls)
	}
	return n
}

type syscallTimes struct {
	syscallPart
	namer   callNamer
	timed   map[uint32]uint64 // by call, as last read
	hists   map[uint32]bpf.Hist
	apart   map[targetCall]bpf.Hist // of the targets, as last read
	base    map[targetCall]bpf.Hist // as read when their targets were chosen
	unkept  uint64
	targets callTargets
}

// targetCall is a call of what a slot of the kernel's counts.
type targetCall struct {
	slot int32
	call uint32
}

// NewSyscallTimes returns the collector of SyscallTimes.
func NewSyscallTimes(src *syscallSource) Collector {
	return &syscallTimes{
		syscallPart: syscallPart{src: src, part: bpf.SyscallTime, name: "syscount-time", ns: bpf.CostSyscallTime},
		namer:       newCallNamer(),
	}
}

func (c *syscallTimes) Meta() Meta { return Meta{ID: SyscallTimesID, OnDemand: true, Slow: true} }

func (c *syscallTimes) Start(context.Context) error {
	c.timed, c.hists = map[uint32]uint64{}, map[uint32]bpf.Hist{}
	c.apart, c.base = map[targetCall]bpf.Hist{}, map[targetCall]bpf.Hist{}
	c.targets = callTargets{}
	return c.start()
}

// Host implements HostNarrower.
func (c *syscallTimes) Host(wanted bool) { c.targets.host = wanted }

// Narrow implements Narrower. While nobody looks at the host, no other calls are timed.
func (c *syscallTimes) Narrow(targets []Target) error {
	if c.r == nil {
		return nil
	}
	filters := c.targets.filters(targets) // which settles only, too
	old := c.targets.list
	slots, err := c.src.narrow(c.part, filters, c.targets.only)
	c.targets.set(targets, slots, c.last)
	if err != nil {
		return err
	}
	// What the kernel kept for the slots that are new to a target is not the target's.
	fresh := func(slot int32) bool {
		return !slices.ContainsFunc(old, func(o callTarget) bool { return o.slot == slot && slices.Contains(c.targets.list, o) })
	}
	for _, all := range []map[targetCall]bpf.Hist{c.apart, c.base} {
		maps.DeleteFunc(all, func(k targetCall, _ bpf.Hist) bool { return fresh(k.slot) })
	}
	return c.r.ReadTargetHists(func(slot int32, call uint32, h bpf.Hist) {
		if k := (targetCall{slot, call}); fresh(slot) {
			c.apart[k], c.base[k] = h, h
		}
	})
}

// Collect reads the histograms of the calls that were timed since the last reading.
func (c *syscallTimes) Collect(_ context.Context, now time.Duration) (Sample, error) {
	span, ok, err := c.span(now)
	s := &SyscallTimes{Span: span, Partial: c.targets.only}
	var n uint64
	if err == nil {
		n, err = c.host(s, now)
	}
	if err == nil {
		err = c.narrowed(s)
	}
	if c.err = err; err != nil {
		return nil, err
	}
	if s.Unkept = since(c.unkept, c.totals.Unkept); !ok {
		s.Unkept = 0
	}
	c.unkept = c.totals.Unkept
	if !ok {
		return nil, ErrWarming
	}
	c.counted(n, s.Unkept)
	return s, nil
}

// host fills in the times of all that was timed, and returns how many calls that were.
func (c *syscallTimes) host(s *SyscallTimes, now time.Duration) (n uint64, err error) {
	timed := map[uint32]uint64{}
	if err := c.r.ReadCalls(now, func(row *bpf.CallRow) {
		if row.TGID >= 0 {
			timed[row.Call] += row.Timed
		}
	}); err != nil {
		return 0, err
	}
	for call, t := range timed {
		d := grown(c.timed[call], t)
		if d == 0 {
			continue
		}
		h, err := c.r.ReadHist(call)
		if err != nil {
			return 0, err
		}
		prev := c.hists[call]
		delta := histSince(&h, &prev)
		c.hists[call] = h
		n += d
		s.Calls = append(s.Calls, CallTimes{Call: call, Name: c.namer.name(call), Hist: delta.Hist32(), Total: Hist(h)})
	}
	c.timed = timed
	sortTimes(s.Calls)
	return n, nil
}

// narrowed fills in the times of the targets.
func (c *syscallTimes) narrowed(s *SyscallTimes) error {
	if len(c.targets.list) == 0 {
		return nil
	}
	for _, t := range c.targets.list {
		s.Narrowed = append(s.Narrowed, Targeted[TargetTimes]{Target: t.target, Since: t.since})
	}
	err := c.r.ReadTargetHists(func(slot int32, call uint32, h bpf.Hist) {
		k := targetCall{slot, call}
		i := slices.IndexFunc(c.targets.list, func(t callTarget) bool { return t.slot == slot })
		if i < 0 {
			return
		}
		prev, base := c.apart[k], c.base[k]
		c.apart[k] = h
		if delta := histSince(&h, &prev); delta.Count() > 0 {
			out := &s.Narrowed[i].Sample.Calls
			*out = append(*out, CallTimes{Call: call, Name: c.namer.name(call), Hist: delta.Hist32(), Total: histSince(&h, &base)})
		}
	})
	for i := range s.Narrowed {
		sortTimes(s.Narrowed[i].Sample.Calls)
	}
	return err
}

func sortTimes(calls []CallTimes) {
	sortBy(calls, func(a, b CallTimes) int {
		return cmp.Or(cmp.Compare(b.Hist.Sum, a.Hist.Sum), cmp.Compare(a.Call, b.Call))
	})
}

func (c *syscallTimes) Probes() []Probe { return []Probe{c.probe()} }

func (c *syscallTimes) Close() error { return c.stop() }
