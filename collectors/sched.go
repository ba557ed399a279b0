// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bpf60/bpf"
)

// SchedID is the collector of the scheduler's histograms: runqlat, cpudist and runqlen.
const SchedID ID = "sched"

// Sched is what the scheduler did over the span, per CPU and for the host.
type Sched struct {
	Span
	Host SchedCounts
	CPUs []SchedCPU // possible CPUs that ever switched, ascending

	WaitTotal  Hist // since the probe attached
	OnCPUTotal Hist
	Method     string // the hook that waits are measured by
}

// SchedCounts are additive deltas.
type SchedCounts struct {
	// Wait is from the moment a task was queued (woken, or preempted) to the moment it ran. Of
	// a task that was moved while it waited only the time on the last queue is seen.
	Wait Hist
	// OnCPU is how long a task ran before it left the CPU. The idle task is not counted.
	OnCPU Hist

	Switches  uint64 // switches to a task that is not idle
	Negative  uint64 // waits dropped because the clocks gave less than nothing
	Unstamped uint64 // switches to a task without a queue stamp: not in Wait
	Collided  uint64 // wake-up method only: starts overwritten by another task's

	// Queue length, sampled at 99 Hz: tasks that wait, without the one that runs.
	QueueSamples uint64
	QueueSum     uint64
}

// Queue is the mean number of tasks waiting, and false without samples.
func (c *SchedCounts) Queue() (float64, bool) {
	if c.QueueSamples == 0 {
		return 0, false
	}
	return float64(c.QueueSum) / float64(c.QueueSamples), true
}

// SchedCPU is one CPU's share, with deltas in 32 bits: of 256 CPUs the history keeps 60 a minute.
type SchedCPU struct {
	CPU         int
	Wait, OnCPU Hist32 // as in SchedCounts

	Switches, Negative, Unstamped, Collided uint64
	QueueSamples, QueueSum                  uint64

	WaitTotal  Hist
	OnCPUTotal Hist
}

// NewSchedCPU packs one CPU's deltas.
func NewSchedCPU(cpu int, d *SchedCounts, waitTotal, onCPUTotal *Hist) SchedCPU {
	return SchedCPU{
		CPU:          cpu,
		Wait:         d.Wait.Hist32(),
		OnCPU:        d.OnCPU.Hist32(),
		Switches:     d.Switches,
		Negative:     d.Negative,
		Unstamped:    d.Unstamped,
		Collided:     d.Collided,
		QueueSamples: d.QueueSamples,
		QueueSum:     d.QueueSum,
		WaitTotal:    *waitTotal,
		OnCPUTotal:   *onCPUTotal,
	}
}

// Counts are the deltas at full width, in the shape of the host's.
func (c *SchedCPU) Counts() SchedCounts {
	return SchedCounts{
		Wait:         c.Wait.Hist(),
		OnCPU:        c.OnCPU.Hist(),
		Switches:     c.Switches,
		Negative:     c.Negative,
		Unstamped:    c.Unstamped,
		Collided:     c.Collided,
		QueueSamples: c.QueueSamples,
		QueueSum:     c.QueueSum,
	}
}

// Queue is the mean number of tasks waiting, and false without samples.
func (c *SchedCPU) Queue() (float64, bool) {
	if c.QueueSamples == 0 {
		return 0, false
	}
	return float64(c.QueueSum) / float64(c.QueueSamples), true
}

func (s *Sched) put(snap *Snapshot) { snap.Sched = s }

// schedReader is what the collector needs of bpf.Sched.
type schedReader interface {
	Method() bpf.Method
	Passed() []error
	QueueErr() error
	SampleQueues(online []int)
	Read(dst []bpf.SchedCounts) ([]bpf.SchedCounts, error)
	Pause(on bool) error
	Close() error
}

// schedQuiet is how long the host's own switches may go uncounted before the probe is taken for
// dead. Reading alone makes some each tick.
const schedQuiet = 3 * time.Second

// schedRetries is how often a silent probe is attached again before it is given up.
const schedRetries = 2

type schedCollector struct {
	open   func(bpf.SchedParts) (schedReader, error)
	online func(ctx context.Context) ([]int, error)
	off    map[string]bool // probes that the user switched off

	r      schedReader
	from   bpf.Method // the best method not yet found to be useless here
	use    error      // why from is not the best there is
	prev   []bpf.SchedCounts
	cur    []bpf.SchedCounts
	gauged []bpf.SchedCounts // scratch of Gauge
	base   []bpf.SchedCounts // first reading: the maps count since load, which is a little earlier
	begun  bool
	last   time.Duration
	moved  time.Duration // when a switch was last counted
	again  int           // times attached again because it was silent
	err    error
	total  bpf.SchedCounts // host, since start
	lost   uint64
}

// switchedOff is the reason of a probe that is off because the user said so.
const switchedOff = "switched off by --probes"

// NewSched returns the collector of Sched, with the BPF programs of package bpf. Probes named in
// off are not shown; a program is not attached if all it serves is off.
func NewSched(k *bpf.Kernel, fs FS, off map[string]bool) Collector {
	sys := fs.sysFile("devices/system/cpu/online")
	c := newSched(
		func(parts bpf.SchedParts) (schedReader, error) {
			s, err := bpf.OpenSched(k, parts)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		func(ctx context.Context) ([]int, error) {
			b, err := sys.read(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading which CPUs are online: %w", err)
			}
			return parseCPUList(b)
		})
	c.off = off
	return c
}

func newSched(open func(bpf.SchedParts) (schedReader, error), online func(context.Context) ([]int, error)) *schedCollector {
	return &schedCollector{open: open, online: online}
}

func (c *schedCollector) Meta() Meta { return Meta{ID: SchedID, Slow: true, Switched: true} }

func (c *schedCollector) Start(context.Context) error {
	c.begun, c.err, c.again = false, nil, 0
	c.total, c.lost = bpf.SchedCounts{}, 0
	if c.off["runqlat"] && c.off["cpudist"] && c.off["runqlen"] {
		return errSwitchedOff
	}
	r, err := c.open(c.parts())
	if err != nil {
		return fmt.Errorf("opening the scheduler's probes: %w", err)
	}
	c.r = r
	return nil
}

// errSwitchedOff ends a Start that has nothing to do. The rows say why.
var errSwitchedOff = &NeedError{Need: "one of its probes", Remedy: "start without --probes"}

func (c *schedCollector) parts() bpf.SchedParts {
	return bpf.SchedParts{From: c.from, Switch: !c.off["runqlat"] || !c.off["cpudist"], Queue: !c.off["runqlen"]}
}

// Collect reads the maps. The first reading is the baseline, and is emitted as such: an empty span
// with nothing counted.
func (c *schedCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	online, err := c.online(ctx)
	if err != nil {
		return nil, err
	}
	if !c.off["runqlen"] {
		c.r.SampleQueues(online)
	}
	cur, err := c.r.Read(c.cur)
	if c.err = err; err != nil {
		return nil, err
	}
	if !c.begun {
		c.base = append(c.base[:0], cur...)
		c.prev, c.cur = append(c.prev[:0], cur...), cur
		c.begun, c.last, c.moved = true, now, now
		return nil, ErrWarming
	}
	s := deriveSched(c.base, c.prev, cur, Span{c.last, now}, c.r.Method())
	s.hide(c.off["runqlat"], c.off["cpudist"])
	c.prev, c.cur, c.last = cur, c.prev, now
	c.total.Switches += s.Host.Switches
	c.total.QueueSamples += s.Host.QueueSamples
	c.lost += s.Host.Negative + s.Host.Collided
	if s.Host.Switches > 0 {
		c.moved = now
	}
	if err := c.judge(s, now); err != nil {
		return nil, err
	}
	return s, nil
}

// judge gives up a method that does not work here although it attached: a kernel that stamps
// nothing, or a link that is silent while the host switches.
func (c *schedCollector) judge(s *Sched, now time.Duration) error {
	blind := s.Method == bpf.ByStamp.String() && s.Host.Switches >= 100 && s.Host.Unstamped == s.Host.Switches
	silent := c.parts().Switch && now-c.moved >= schedQuiet
	if !blind && !silent {
		return nil
	}
	if blind {
		c.from, c.use = bpf.ByWakeup, errors.New("this kernel does not stamp queued tasks (CONFIG_SCHED_INFO)")
	}
	if err := c.r.Close(); err != nil {
		return fmt.Errorf("closing the scheduler's probes: %w", err)
	}
	c.r = nil
	if silent && c.again == schedRetries {
		c.err = fmt.Errorf("the host switches tasks and the probe does not see it, though attached %d times", c.again+1)
		return c.err
	}
	r, err := c.open(c.parts())
	if err != nil {
		c.err = fmt.Errorf("opening the scheduler's probes again: %w", err)
		return c.err
	}
	c.r, c.begun = r, false
	if silent {
		c.again++
		c.use = fmt.Errorf("attached again: silent for %s", now-c.moved)
	}
	return ErrWarming
}

// hide empties what the user does not want of a program that serves more than one probe.
func (s *Sched) hide(wait, onCPU bool) {
	if wait {
		s.Host.Wait, s.WaitTotal = Hist{}, Hist{}
	}
	if onCPU {
		s.Host.OnCPU, s.OnCPUTotal = Hist{}, Hist{}
	}
	for i := range s.CPUs {
		c := &s.CPUs[i]
		if wait {
			c.Wait, c.WaitTotal = Hist32{}, Hist{}
		}
		if onCPU {
			c.OnCPU, c.OnCPUTotal = Hist32{}, Hist{}
		}
	}
}

// deriveSched subtracts two readings, CPU by CPU. A counter that went back was restarted, and all
// of it is new. base is the first reading.
func deriveSched(base, prev, cur []bpf.SchedCounts, span Span, method bpf.Method) *Sched {
	s := &Sched{Span: span, Method: method.String()}
	for cpu := range cur {
		var b, p bpf.SchedCounts
		if cpu < len(prev) {
			p = prev[cpu]
		}
		if cpu < len(base) {
			b = base[cpu]
		}
		c := &cur[cpu]
		if c.Switches == 0 && c.QueueSamples == 0 {
			continue // a CPU that is possible and was never online
		}
		d := SchedCounts{
			Wait: histSince(&c.Wait, &p.Wait), OnCPU: histSince(&c.OnCPU, &p.OnCPU),
			Switches: grown(p.Switches, c.Switches), Negative: grown(p.Negative, c.Negative),
			Unstamped: grown(p.Unstamped, c.Unstamped), Collided: grown(p.Collided, c.Collided),
			QueueSamples: grown(p.QueueSamples, c.QueueSamples), QueueSum: grown(p.QueueSum, c.QueueSum),
		}
		wait, onCPU := histSince(&c.Wait, &b.Wait), histSince(&c.OnCPU, &b.OnCPU)
		s.CPUs = append(s.CPUs, NewSchedCPU(cpu, &d, &wait, &onCPU))
		s.Host.Plus(&d)
		s.WaitTotal.Plus(&wait)
		s.OnCPUTotal.Plus(&onCPU)
	}
	return s
}

// grown is how much a map's counter grew; one that went back was made anew, and all of it is new.
func grown(prev, cur uint64) uint64 {
	if cur < prev {
		return cur
	}
	return cur - prev
}

func histSince(cur, prev *bpf.Hist) Hist {
	c, p := Hist(*cur), Hist(*prev)
	return c.Since(&p)
}

// Plus adds the counts of another span or CPU.
func (c *SchedCounts) Plus(d *SchedCounts) {
	c.Wait.Plus(&d.Wait)
	c.OnCPU.Plus(&d.OnCPU)
	c.Switches += d.Switches
	c.Negative += d.Negative
	c.Unstamped += d.Unstamped
	c.Collided += d.Collided
	c.QueueSamples += d.QueueSamples
	c.QueueSum += d.QueueSum
}
