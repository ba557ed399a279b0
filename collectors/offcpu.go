// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// The on-demand collectors of where tasks are while they do not run: of the whole host, and of the
// targets that somebody looks at.
const (
	OffCPUID  ID = "offcpu"
	LatencyID ID = "latency"
)

// LongSleep is the shortest sleep that is told apart by its stack.
const LongSleep = time.Millisecond

// maxOffStacks bounds the rows of stacks of one sample, and of each target.
const (
	maxOffStacks    = 200
	maxTargetStacks = 32
)

// OffWhy is why a task is not on a CPU.
type OffWhy uint8

// The reasons.
const (
	OffSlept     OffWhy = iota // in S, stopped, or an idle thread of the kernel
	OffBlocked                 // in D: uninterruptible
	OffPreempted               // runnable; it gave way, or was made to
	OffWhys
)

// String is one word.
func (w OffWhy) String() string {
	switch w {
	case OffSlept:
		return "sleep"
	case OffBlocked:
		return "D"
	case OffPreempted:
		return "preempted"
	case OffWhys:
	}
	return "unknown"
}

// OffCounts are additive deltas, or totals since the probe attached. Each time is counted when it ends.
type OffCounts struct {
	Wait     Hist            // runnable, after a wake-up or a preemption, until it ran
	OnCPU    Hist            // ran at a stretch
	Off      [OffWhys]Hist   // from leaving its CPU until it ran again, the wait for a CPU included
	Queued   [OffWhys]uint64 // ns of Off that it was runnable
	Arrivals uint64          // tasks that got a CPU
	Unknown  uint64          // of them: not in Wait, as nobody saw since when they were runnable
	Collided uint64          // starts that were lost to another task's

	// Sleeps in S and in D of LongSleep and more that are in no row of stacks, and their ns: there was no
	// room, or there were more than a CPU has time for.
	Unlisted   [OffWhys]uint64
	UnlistedNs [OffWhys]uint64
}

// Plus adds the counts of another span.
func (c *OffCounts) Plus(d *OffCounts) {
	c.Wait.Plus(&d.Wait)
	c.OnCPU.Plus(&d.OnCPU)
	for w := range c.Off {
		c.Off[w].Plus(&d.Off[w])
		c.Queued[w] += d.Queued[w]
	}
	c.Arrivals += d.Arrivals
	c.Unknown += d.Unknown
	c.Collided += d.Collided
	for w := range c.Unlisted {
		c.Unlisted[w] += d.Unlisted[w]
		c.UnlistedNs[w] += d.UnlistedNs[w]
	}
}

// OffStack is the long sleeps of one process in one place of the kernel.
type OffStack struct {
	*Stack
	Task  Process
	Comm  Raw // of the thread that slept there first
	Why   OffWhy
	Count uint64 // over the span
	Ns    uint64

	TotalCount, TotalNs uint64 // since the probe attached, or since the row was last new
}

// OffCPU is where the tasks of the host were while they did not run.
type OffCPU struct {
	Span
	Host   OffCounts
	Total  OffCounts  // since the probe attached
	Stacks []OffStack // the most time of the span first, then the most of all; at most 200

	Unlisted   int    // rows of stacks that are left out
	UnlistedNs uint64 // their time of the span
}

// LatencyCounts is one target's part of Latency.
type LatencyCounts struct {
	OffCounts
	Total  OffCounts  // since Since
	Stacks []OffStack // of a process: the most time first, at most 32
	Hidden int        // rows of stacks that are left out
}

// Latency is how long targets wait for a CPU, run, and sleep, each counted alone in the kernel.
type Latency struct {
	Span
	Narrowed []Targeted[LatencyCounts]
}

func (o *OffCPU) put(s *Snapshot)  { s.OffCPU = o }
func (l *Latency) put(s *Snapshot) { s.Latency = l }

func (o *OffCPU) size() int {
	return allocSize(unsafe.Sizeof(*o)) + sliceSize(o.Stacks)
}

func (l *Latency) size() int {
	n := allocSize(unsafe.Sizeof(*l)) + sliceSize(l.Narrowed)
	for i := range l.Narrowed {
		n += sliceSize(l.Narrowed[i].Sample.Stacks)
	}
	return n
}

// withoutRows returns a copy without stacks; nil of nil.
func (o *OffCPU) withoutRows() *OffCPU {
	if o == nil || o.Stacks == nil {
		return o
	}
	c := *o
	c.Stacks = nil
	return &c
}

func (l *Latency) withoutRows() *Latency {
	if l == nil {
		return nil
	}
	c := *l
	c.Narrowed = slices.Clone(l.Narrowed)
	for i := range c.Narrowed {
		c.Narrowed[i].Sample.Stacks = nil
	}
	return &c
}

// offReader is what the collector needs of bpf.OffCPU.
type offReader interface {
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Read(slot int, dst []bpf.OffCounts) ([]bpf.OffCounts, error)
	Stacks(each func(*bpf.OffKey, *bpf.OffStack)) error
	StackErr() error
	Pause(on bool) error
	Close() error
}

// offCollector is of the host or, with narrow set, of targets.
type offCollector struct {
	pulsed[offReader]
	id     ID
	names  *stackTable
	narrow bool

	begun  bool
	last   time.Duration
	events uint64
	lost   uint64

	raw        []bpf.OffCounts
	gauged     []bpf.OffCounts // of the last look of the brake
	prev, base []bpf.OffCounts // of the host, by CPU
	stacks     offStacks

	targets  []Target
	fresh    bool // targets has changed
	slots    [bpf.FilterSlots]*offSlot
	tooMany  error
	unlisted uint64
}

// offSlot is what is known of one target.
type offSlot struct {
	target     Target
	since      time.Duration
	prev, base OffCounts
}

// NewOffCPU returns the collector of OffCPU, with the BPF programs of package bpf.
func NewOffCPU(k *bpf.Kernel, fs FS) Collector {
	return newOffCollector(k, fs, bpf.OffParts{Host: true, Stacks: LongSleep})
}

// NewLatency returns the collector of Latency, which looks at the targets of Narrow alone: processes
// and cgroups.
func NewLatency(k *bpf.Kernel, fs FS) Collector {
	return &latencyCollector{*newOffCollector(k, fs, bpf.OffParts{Stacks: LongSleep})}
}

// latencyCollector is the one that has a Narrow.
type latencyCollector struct{ offCollector }

func newOffCollector(k *bpf.Kernel, fs FS, parts bpf.OffParts) *offCollector {
	c := &offCollector{
		pulsed: pulsed[offReader]{
			probe: Probe{Name: "offcputime", Hook: "tp_btf sched_switch, sched_wakeup", NsPerEvent: bpf.CostOffCPU},
			open: func() (offReader, error) {
				r, err := bpf.OpenOffCPU(k, parts)
				if err != nil {
					return nil, err
				}
				return r, nil
			},
			pulse: newPulse(fs, "ctxt"),
		},
		id: OffCPUID, names: newStackTable(fs), narrow: !parts.Host,
	}
	if c.narrow {
		c.id = LatencyID
		c.probe.Name, c.probe.NsPerEvent = "runqlat-pid", bpf.CostOffCPUTarget
	}
	return c
}

func (c *offCollector) Meta() Meta { return Meta{ID: c.id, OnDemand: true, Slow: true} }

func (c *offCollector) Start(context.Context) error {
	c.events, c.lost, c.unlisted = 0, 0, 0
	c.anew()
	return c.start()
}

// anew forgets what was read: the programs are new, or will be.
func (c *offCollector) anew() {
	c.begun, c.fresh, c.tooMany = false, true, nil
	c.prev, c.base = nil, nil
	c.stacks = offStacks{}
	c.slots = [bpf.FilterSlots]*offSlot{}
}

// Collect reads the maps. The first reading of the host is the baseline; that of a target is emitted,
// with nothing counted, so that it is known since when somebody looks.
func (c *offCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	var s Sample
	var moved bool
	if c.narrow {
		s, moved, c.err = c.collectTargets(now)
	} else {
		s, moved, c.err = c.collectHost(now)
	}
	if c.err != nil {
		return nil, c.err
	}
	first := !c.begun
	c.begun, c.last = true, now
	if c.pulse.beat(ctx, now, moved || first) {
		if err := c.again(); err != nil {
			return nil, err
		}
		c.anew()
		return nil, ErrWarming
	}
	if c.narrow {
		c.events = c.pulse.kernel() // each switch of the host passes the filter
	}
	if s == nil {
		return nil, ErrWarming
	}
	return s, nil
}

func (c *offCollector) collectHost(now time.Duration) (Sample, bool, error) {
	cur, err := c.r.Read(0, nil)
	if err != nil {
		return nil, false, err
	}
	rows, err := c.stacks.read(c.r, c.names, now)
	if err != nil {
		return nil, false, err
	}
	if !c.begun {
		c.prev, c.base = cur, cur
		return nil, true, nil
	}
	s := deriveOffCPU(c.base, c.prev, cur, Span{c.last, now})
	s.Stacks, s.Unlisted, s.UnlistedNs = topStacks(rows, maxOffStacks)
	c.prev = cur
	c.events += s.Host.Arrivals
	c.lost += s.Host.Collided
	c.unlisted += s.Host.Unlisted[OffSlept] + s.Host.Unlisted[OffBlocked]
	return s, s.Host.Arrivals > 0, nil
}

// Probes is one row.
func (c *offCollector) Probes() []Probe {
	p := c.probe
	switch {
	case c.r == nil && c.err != nil:
		p.State, p.Reason = Failed, clean(c.err.Error())
		return []Probe{p}
	case c.r == nil:
		p.State, p.Reason = Idle, "attaches while looked at"
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Events, p.Lost = c.events, c.lost
	if p.State != On {
		return []Probe{p}
	}
	need := c.names.need()
	switch err := c.r.StackErr(); {
	case err != nil:
		p.State = Degraded
		p.explain(err)
		p.Reason = "no stacks: " + p.Reason
	case need != nil:
		p.State, p.Reason, p.Remedy = Degraded, "stacks without names: needs "+need.Need, need.Remedy
	case c.tooMany != nil:
		p.State = Degraded
		p.explain(c.tooMany)
	case c.unlisted > 0:
		p.Reason = fmt.Sprintf("%d long sleeps have no stack: there were too many", c.unlisted)
	}
	return []Probe{p}
}
