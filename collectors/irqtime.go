// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// The on-demand collectors of the time that softirqs take, and hardware interrupts.
const (
	SoftIRQTimeID ID = "softirqs"
	HardIRQTimeID ID = "hardirqs"
)

// maxIRQTimes bounds the rows of one sample.
const maxIRQTimes = 128

// IRQTimeRow is the time of one vector or line over the span.
type IRQTimeRow struct {
	Name  string // as in /proc/softirqs and /proc/interrupts: NET_RX, 24, LOC; OtherLines
	Time  Hist   // from the handler's entry to its exit; what interrupted a softirq is in it
	Total Hist   // since the probe attached
	Top   int    // the CPU that it took most time of; -1 if none
	TopNs uint64 // how much
}

// OtherLines is the name of the row of all lines that have none of their own: of more than a CPU can
// tell apart, or of a number above 1023.
const OtherLines = "others"

// IRQCPUTime is what interrupts took of one CPU over the span.
type IRQCPUTime struct {
	CPU   int
	Ns    uint64
	Count uint64
}

// IRQTimes is the time that interrupts took over the span.
type IRQTimes struct {
	Span
	Rows []IRQTimeRow // those that were counted since the probe attached, the most time first, at most 128
	CPUs []IRQCPUTime // those that were interrupted since, ascending

	Count, Ns  uint64 // over the span, of all
	Unlisted   uint64 // of Count, in rows that are left out
	UnlistedNs uint64
}

// SoftIRQTime is the time of softirqs by vector.
type SoftIRQTime struct{ IRQTimes }

// HardIRQTime is that of interrupts by line and, on x86, of the local timer and of those between CPUs.
type HardIRQTime struct{ IRQTimes }

func (s *SoftIRQTime) put(to *Snapshot) { to.SoftIRQTime = s }
func (s *HardIRQTime) put(to *Snapshot) { to.HardIRQTime = s }

func (s *IRQTimes) size() int {
	return allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Rows) + sliceSize(s.CPUs)
}

// irqTimeReader is what the collector needs of bpf.IRQTime.
type irqTimeReader interface {
	Read(each func(cpu int, irq bpf.IRQ, h *bpf.Hist)) error
	LineErr() error
	VectorErr() error
	Pause(on bool) error
	Close() error
}

// irqTotals are cumulative readings by what interrupted, and by CPU.
type irqTotals map[bpf.IRQ]*irqTotal

type irqTotal struct {
	Hist
	cpus []IRQCPUTime // by CPU number
}

type irqTimeCollector struct {
	pulsed[irqTimeReader]
	id   ID
	name func(bpf.IRQ) string
	wrap func(IRQTimes) Sample

	prev   irqTotals
	begun  bool
	last   time.Duration
	events uint64
}

// NewSoftIRQTime returns the collector of SoftIRQTime, with the BPF programs of package bpf.
func NewSoftIRQTime(k *bpf.Kernel, fs FS) Collector {
	return &irqTimeCollector{
		pulsed: pulsed[irqTimeReader]{
			probe: Probe{Name: "softirqs", Hook: "tp_btf softirq_entry, softirq_exit", NsPerEvent: bpf.CostSoftirq},
			open: func() (irqTimeReader, error) {
				r, err := bpf.OpenSoftirqs(k)
				if err != nil {
					return nil, err
				}
				return r, nil
			},
			pulse: newPulse(fs, "softirq"),
		},
		id: SoftIRQTimeID, name: softirqName, wrap: func(t IRQTimes) Sample { return &SoftIRQTime{t} },
	}
}

// NewHardIRQTime returns the collector of HardIRQTime, with the BPF programs of package bpf.
func NewHardIRQTime(k *bpf.Kernel, fs FS) Collector {
	return &irqTimeCollector{
		pulsed: pulsed[irqTimeReader]{
			probe: Probe{Name: "hardirqs", Hook: "tp_btf irq_handler_entry, exit", NsPerEvent: bpf.CostHardirq},
			open: func() (irqTimeReader, error) {
				r, err := bpf.OpenHardirqs(k)
				if err != nil {
					return nil, err
				}
				return r, nil
			},
			pulse: newPulse(fs, "intr"),
		},
		id: HardIRQTimeID, name: hardirqName, wrap: func(t IRQTimes) Sample { return &HardIRQTime{t} },
	}
}

// softirqName is the kernel's (softirq_to_name, kernel/softirq.c).
func softirqName(vec bpf.IRQ) string {
	names := [bpf.SoftirqCount]string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"}
	if vec >= 0 && int(vec) < len(names) {
		return names[vec]
	}
	return strconv.Itoa(int(vec))
}

// hardirqName is that of /proc/interrupts (arch/x86/kernel/irq.c).
func hardirqName(irq bpf.IRQ) string {
	switch irq {
	case bpf.IRQLocalTimer:
		return "LOC"
	case bpf.IRQReschedule:
		return "RES"
	case bpf.IRQCallFunction:
		return "CAL"
	case bpf.IRQWork:
		return "IWI"
	case bpf.IRQOtherLines:
		return OtherLines
	}
	return strconv.Itoa(int(irq))
}

func (c *irqTimeCollector) Meta() Meta { return Meta{ID: c.id, OnDemand: true, Slow: true} }

func (c *irqTimeCollector) Start(context.Context) error {
	c.prev, c.begun, c.events = irqTotals{}, false, 0
	return c.start()
}

// Collect reads the maps. The first reading is the baseline.
func (c *irqTimeCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	cur := make(irqTotals, len(c.prev)+4)
	if c.err = c.r.Read(cur.add); c.err != nil {
		return nil, c.err
	}
	if !c.begun {
		c.prev, c.begun, c.last = cur, true, now
		c.pulse.beat(ctx, now, true)
		return nil, ErrWarming
	}
	s := deriveIRQTimes(c.prev, cur, Span{c.last, now}, c.name)
	c.prev, c.last = cur, now
	c.events += s.Count
	if c.pulse.beat(ctx, now, s.Count > 0) {
		if err := c.again(); err != nil {
			return nil, err
		}
		c.prev, c.begun = irqTotals{}, false
		return nil, ErrWarming
	}
	return c.wrap(s), nil
}

func (t irqTotals) add(cpu int, irq bpf.IRQ, h *bpf.Hist) {
	x := t[irq]
	if x == nil {
		x = &irqTotal{}
		t[irq] = x
	}
	add := Hist(*h)
	x.Plus(&add)
	for len(x.cpus) <= cpu {
		x.cpus = append(x.cpus, IRQCPUTime{CPU: len(x.cpus)})
	}
	x.cpus[cpu].Ns += add.Sum
	x.cpus[cpu].Count += add.Count()
}

// deriveIRQTimes subtracts two readings. A counter that went back was made anew, and all of it is new.
func deriveIRQTimes(prev, cur irqTotals, span Span, name func(bpf.IRQ) string) IRQTimes {
	s := IRQTimes{Span: span}
	cpus := map[int]IRQCPUTime{}
	for irq, x := range cur {
		p := prev[irq]
		if p == nil {
			p = &irqTotal{}
		}
		row := IRQTimeRow{Name: name(irq), Time: x.Since(&p.Hist), Total: x.Hist, Top: -1}
		for i, c := range x.cpus {
			var was IRQCPUTime
			if i < len(p.cpus) {
				was = p.cpus[i]
			}
			if c.Count == 0 {
				continue
			}
			ns, n := grown(was.Ns, c.Ns), grown(was.Count, c.Count)
			sum := cpus[c.CPU]
			cpus[c.CPU] = IRQCPUTime{c.CPU, sum.Ns + ns, sum.Count + n}
			if n > 0 && (row.Top < 0 || ns > row.TopNs) {
				row.Top, row.TopNs = c.CPU, ns
			}
		}
		s.Count += row.Time.Count()
		s.Ns += row.Time.Sum
		s.Rows = append(s.Rows, row)
	}
	sortBy(s.Rows, func(a, b IRQTimeRow) int {
		return cmp.Or(cmp.Compare(b.Time.Sum, a.Time.Sum), cmp.Compare(b.Total.Sum, a.Total.Sum), cmp.Compare(a.Name, b.Name))
	})
	if len(s.Rows) > maxIRQTimes {
		for _, r := range s.Rows[maxIRQTimes:] {
			s.Unlisted += r.Time.Count()
			s.UnlistedNs += r.Time.Sum
		}
		s.Rows = slices.Clone(s.Rows[:maxIRQTimes])
	}
	for _, c := range cpus {
		s.CPUs = append(s.CPUs, c)
	}
	sortBy(s.CPUs, func(a, b IRQCPUTime) int { return cmp.Compare(a.CPU, b.CPU) })
	return s
}

// Probes is one row.
func (c *irqTimeCollector) Probes() []Probe {
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
	p.Events = c.events
	if err := errors.Join(c.r.LineErr(), c.r.VectorErr()); err != nil && p.State == On {
		p.State = Degraded
		p.explain(err)
	}
	return []Probe{p}
}
