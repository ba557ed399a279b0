// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"time"

	"bpf60/bpf"
)

// WakeID is the on-demand collector that splits waits by their cause.
const WakeID ID = "wake"

// Wake splits run-queue latency by why the task was queued. It is measured from our own stamps
// at sched_wakeup and at preemption, and so also checks the kernel's.
type Wake struct {
	Span
	Woken, Preempted           Hist   // deltas
	WokenTotal, PreemptedTotal Hist   // since it attached
	Lost                       uint64 // delta: switches to a task whose start was not seen
	Collided                   uint64 // delta: starts overwritten by another task's
}

func (w *Wake) put(s *Snapshot) { s.Wake = w }

// wakeReader is what the collector needs of bpf.Wake.
type wakeReader interface {
	Method() bpf.Method
	Read(dst []bpf.WakeCounts) ([]bpf.WakeCounts, error)
	Pause(on bool) error
	Close() error
}

type wakeCollector struct {
	open func() (wakeReader, error)

	r        wakeReader
	buf      []bpf.WakeCounts
	gauged   []bpf.WakeCounts // scratch of Gauge
	prev     bpf.WakeCounts   // the host's sum
	begun    bool
	fresh    bool // the next sample is the first one with a span
	last     time.Duration
	err      error
	switches uint64
	lost     uint64
}

// NewWake returns the collector of Wake, with the BPF programs of package bpf.
func NewWake(k *bpf.Kernel) Collector {
	return newWake(func() (wakeReader, error) {
		w, err := bpf.OpenWake(k)
		if err != nil {
			return nil, err
		}
		return w, nil
	})
}

func newWake(open func() (wakeReader, error)) *wakeCollector { return &wakeCollector{open: open} }

func (c *wakeCollector) Meta() Meta { return Meta{ID: WakeID, OnDemand: true, Slow: true} }

func (c *wakeCollector) Start(context.Context) error {
	c.begun, c.err, c.switches, c.lost = false, nil, 0, 0
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the wake-up probes: %w", err)
	}
	c.r, c.prev = r, bpf.WakeCounts{}
	return nil
}

// Collect reads the map. Since the programs attach one after the other, what was counted before
// the first reading is the baseline and no part of any total.
func (c *wakeCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	buf, err := c.r.Read(c.buf)
	if c.err = err; err != nil {
		return nil, err
	}
	c.buf = buf
	cur := sumWake(buf)
	if !c.begun {
		c.prev, c.begun, c.fresh, c.last = cur, true, true, now
		return nil, ErrWarming
	}
	if c.fresh {
		// Most of those without a start were waiting when the programs attached: nothing is lost that
		// could have been had.
		c.prev.Lost, c.fresh = cur.Lost, false
	}
	w := deriveWake(&c.prev, &cur, Span{c.last, now})
	c.switches += since(c.prev.Switches, cur.Switches)
	c.lost += w.Lost + w.Collided + since(c.prev.Negative, cur.Negative)
	c.prev, c.last = cur, now
	return w, nil
}

func sumWake(cpus []bpf.WakeCounts) bpf.WakeCounts {
	var s bpf.WakeCounts
	for i := range cpus {
		c := &cpus[i]
		for slot := range c.Woken.Slots {
			s.Woken.Slots[slot] += c.Woken.Slots[slot]
			s.Preempted.Slots[slot] += c.Preempted.Slots[slot]
		}
		s.Woken.Sum += c.Woken.Sum
		s.Preempted.Sum += c.Preempted.Sum
		s.Switches += c.Switches
		s.Negative += c.Negative
		s.Lost += c.Lost
		s.Collided += c.Collided
	}
	return s
}

// deriveWake subtracts two readings of the host.
func deriveWake(prev, cur *bpf.WakeCounts, span Span) *Wake {
	return &Wake{
		Span:           span,
		Woken:          histSince(&cur.Woken, &prev.Woken),
		Preempted:      histSince(&cur.Preempted, &prev.Preempted),
		WokenTotal:     Hist(cur.Woken),
		PreemptedTotal: Hist(cur.Preempted),
		Lost:           since(prev.Lost, cur.Lost),
		Collided:       since(prev.Collided, cur.Collided),
	}
}

// Probes is one: it attaches while somebody looks.
func (c *wakeCollector) Probes() []Probe {
	p := Probe{Name: "runqlat-cause", State: Idle, Hook: bpf.ByWakeup.String(), Reason: "attaches while looked at"}
	if c.r == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Hook = c.r.Method().String()
	p.Events, p.Lost, p.NsPerEvent = c.switches, c.lost, costOf(c.r.Method())
	return []Probe{p}
}

// Pause implements Pauser.
func (c *wakeCollector) Pause(on bool) error { return c.r.Pause(on) }

func (c *wakeCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}
