// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// The collectors of softirqs, and of interrupts by line (on demand).
const (
	SoftIRQID ID = "softirq"
	IRQID     ID = "irq"
)

// maxIRQRows bounds the lines of one sample.
const maxIRQRows = 256

// shootdowns is a line of /proc/interrupts on x86 whose interrupts are in line CAL, too: without it the
// sum is that of /proc/stat (arch/x86/kernel/irq.c).
const shootdowns = "TLB"

// IRQRow is one line of /proc/softirqs or /proc/interrupts over the span.
type IRQRow struct {
	Name   Raw    // NET_RX, 24, LOC
	Device Raw    // who asked for the interrupt: "virtio0-input.0"; what it is for lines without a number
	Chip   Raw    // interrupt controller, line and trigger: "PCI-MSIX-0000:00:01.0 0-edge"
	Count  uint64 // on all CPUs
	New    bool   // no baseline: the line or its device appeared in this span
	Top    int    // the CPU that took most; -1 if none took any
	TopN   uint64 // how many it took
}

// IRQs are lines that count interrupts by CPU.
type IRQs struct {
	Span
	Rows     []IRQRow // those that counted, the most first, at most 256; every softirq
	Lines    int      // all of them
	CPUs     int
	Count    uint64 // on all lines, TLB shootdowns once: they are among the function calls, too
	Unlisted uint64 // of Count, on lines that Rows lacks

	Narrowed []Targeted[CPUIRQs] // what single CPUs took, while somebody looks at them
}

// CPUIRQs is what one CPU took over the span.
type CPUIRQs struct {
	Rows []CPUIRQ // the lines that it took something of, in the kernel's order, at most 256
}

// CPUIRQ is one line's share.
type CPUIRQ struct {
	Name, Device Raw // as in IRQRow
	Count        uint64
}

// SoftIRQ is /proc/softirqs over the span: how often each vector was run. Deltas are 0 in the
// first sample.
type SoftIRQ struct{ IRQs }

// IRQ is /proc/interrupts over the span.
type IRQ struct{ IRQs }

func (s *SoftIRQ) put(to *Snapshot) { to.SoftIRQ = s }
func (s *IRQ) put(to *Snapshot)     { to.IRQ = s }

func (s *IRQs) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Rows) + sliceSize(s.Narrowed)
	for i := range s.Narrowed {
		n += sliceSize(s.Narrowed[i].Sample.Rows)
	}
	return n // names are shared between samples
}

// irqCollector reads either file.
type irqCollector struct {
	meta  Meta
	probe Probe
	file  *procFile
	all   bool // rows that did not count too
	wrap  func(IRQs) Sample

	prev, cur irqTable // swapped at each Collect
	begun     bool
	last      time.Duration
	next      time.Duration // no reading before
	err       error
	targets   []Target // CPUs that are told apart
	since     map[Target]time.Duration
}

// NewSoftIRQ returns the collector of softirqs. It needs no privilege.
func NewSoftIRQ(fs FS) Collector {
	return &irqCollector{
		meta: Meta{ID: SoftIRQID}, probe: Probe{Name: "softirq", Hook: "/proc/softirqs"}, file: fs.file("softirqs"), all: true,
		wrap: func(s IRQs) Sample { return &SoftIRQ{s} },
	}
}

// NewIRQ returns the collector of interrupts by line. The kernel prints a number for each line and
// CPU, megabytes on a large host: it is read while somebody looks.
func NewIRQ(fs FS) Collector {
	return &irqCollector{
		meta: Meta{ID: IRQID, OnDemand: true}, probe: Probe{Name: "interrupts", Hook: "/proc/interrupts"}, file: fs.file("interrupts"),
		wrap: func(s IRQs) Sample { return &IRQ{s} },
	}
}

func (c *irqCollector) Meta() Meta { return c.meta }

func (c *irqCollector) Start(ctx context.Context) error {
	c.begun, c.next, c.err = false, 0, nil
	return ctx.Err()
}

// irqShare is how much longer than a reading the rest after it is: 1 % of a CPU at most.
const irqShare = 100

func (c *irqCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if now < c.next {
		return nil, nil
	}
	began := bootNs()
	b, err := c.file.read(ctx)
	if err == nil {
		err = c.cur.parse(b)
	}
	if c.err = err; err != nil {
		c.err = fmt.Errorf("reading %s: %w", c.probe.Hook, err)
		return nil, c.err
	}
	c.next = now + time.Duration(bootNs()-began)*irqShare - 20*time.Millisecond
	if !c.begun {
		c.last = now
	}
	s := deriveIRQs(&c.prev, &c.cur, Span{c.last, now}, c.begun, c.all)
	c.narrow(&s, now)
	c.prev, c.cur = c.cur, c.prev
	c.last, c.begun = now, true
	return c.wrap(s), nil
}

func (c *irqCollector) Probes() []Probe {
	p := c.probe
	p.State, p.Reason = stateOf(c.begun, c.err)
	if c.meta.OnDemand && !c.begun && c.err == nil {
		p.State, p.Reason = Idle, "read while somebody looks"
	}
	return []Probe{p}
}

func (c *irqCollector) Close() error {
	c.begun = false
	c.prev, c.cur = irqTable{}, irqTable{}
	return errors.Join(c.file.close())
}

// deriveIRQs subtracts two readings. Lines are matched by name and device, CPUs by number. The
// kernel's counters have 32 bits and wrap; one that seems to have counted more than half of that
// went back. A line or CPU that is new has no delta.
func deriveIRQs(prev, cur *irqTable, span Span, begun, all bool) IRQs {
	s := IRQs{Span: span, Lines: len(cur.lines), CPUs: len(cur.cpus)}
	if !begun {
		prev = cur
	}
	from := columnsBefore(prev, cur)
	for i := range cur.lines {
		x := &cur.lines[i]
		row := IRQRow{Name: x.name, Device: x.device, Chip: x.chip, Top: -1, New: true}
		if was := prev.find(i, x); was != nil {
			row.New = false
			for k, n := range x.counts {
				d := irqDelta(was, n, from, k)
				row.Count += d
				if d > row.TopN {
					row.Top, row.TopN = cur.cpus[k], d
				}
			}
		}
		if x.name.s != shootdowns {
			s.Count += row.Count
		}
		if all || row.Count > 0 {
			s.Rows = append(s.Rows, row)
		}
	}
	if !all {
		sortStably(s.Rows, func(a, b IRQRow) int { return cmp.Compare(b.Count, a.Count) })
	}
	if len(s.Rows) > maxIRQRows {
		for _, r := range s.Rows[maxIRQRows:] {
			s.Unlisted += r.Count
		}
		s.Rows = slices.Clone(s.Rows[:maxIRQRows])
	}
	return s
}
