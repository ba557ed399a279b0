// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"

	"bpf60/collectors"
)

// addInterrupts makes softirqs and interrupts by line, which add up to the second's.
func addInterrupts(s *story, l load, snap *collectors.Snapshot) {
	snap.Probes[collectors.SoftIRQID] = []collectors.Probe{{Name: "softirq", State: collectors.On, Hook: "/proc/softirqs"}}
	snap.Probes[collectors.IRQID] = []collectors.Probe{{Name: "interrupts", State: collectors.On, Hook: "/proc/interrupts"}}
	span := snap.Host.Span
	n := l.interrupts
	if len(s.moments) == 0 {
		n = 0
	}
	last := l.cpus - 1
	add := func(x *collectors.IRQs, name, device, chip string, count uint64, top int) {
		r := collectors.IRQRow{Name: collectors.RawString(name), Device: collectors.RawString(device), Chip: collectors.RawString(chip), Count: count, Top: -1}
		if count > 0 {
			r.Top, r.TopN = top, max(count*9/10, 1)
		}
		x.Rows = append(x.Rows, r)
		x.Count += count
	}
	soft := &collectors.SoftIRQ{IRQs: collectors.IRQs{Span: span, Lines: 10, CPUs: l.cpus}}
	for i, v := range []string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"} {
		add(&soft.IRQs, v, "", "", n*uint64([]int{0, 10, 0, 25, 2, 0, 0, 15, 0, 20}[i])/100, min(i%2, last))
	}
	snap.SoftIRQ = soft
	eth := "virtio0-input.0"
	if s.kind == "extreme" {
		eth = "\x1b[31m\u202eeth0"
	}
	irq := &collectors.IRQ{IRQs: collectors.IRQs{Span: span, Lines: 47, CPUs: l.cpus}}
	if n > 0 {
		add(&irq.IRQs, "31", eth, "PCI-MSI 49153-edge", n*6/10, 0)
		add(&irq.IRQs, "36", "virtio1-req.0", "PCI-MSI 65537-edge", n/10, last)
		add(&irq.IRQs, "RES", "Rescheduling interrupts", "", n/20, last)
		add(&irq.IRQs, "LOC", "Local timer interrupts", "", n-irq.Count, 0)
	}
	slices.SortStableFunc(irq.Rows, func(a, b collectors.IRQRow) int { return cmp.Compare(b.Count, a.Count) })
	if s.kind == "lossy" {
		irq.Unlisted, irq.Count = 300, irq.Count+300
		if len(irq.Rows) > 1 {
			irq.Rows[1].New = true
		}
	}
	snap.IRQ = irq
	addIRQTimes(s, snap)
}

// addIRQTimes makes how long they took: softirqs as much as the second says, of which a vector's share
// is that of its count; lines a microsecond or two, the timer ten.
func addIRQTimes(s *story, snap *collectors.Snapshot) {
	soft := collectors.Probe{Name: "softirqs", State: collectors.On, Hook: "tp_btf softirq_entry, softirq_exit", NsPerEvent: 320}
	hard := collectors.Probe{Name: "hardirqs", State: collectors.On, Hook: "tp_btf irq_handler_entry, exit", NsPerEvent: 400}
	defer func() {
		snap.Probes[collectors.SoftIRQTimeID] = []collectors.Probe{soft}
		snap.Probes[collectors.HardIRQTimeID] = []collectors.Probe{hard}
	}()
	if s.kind == "denied" {
		for _, p := range []*collectors.Probe{&soft, &hard} {
			p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
		return
	}
	if len(s.moments) == 0 {
		return
	}
	x := &collectors.SoftIRQTime{IRQTimes: collectors.IRQTimes{Span: snap.SoftIRQ.Span}}
	for _, r := range snap.SoftIRQ.Rows {
		if r.Count > 0 {
			s.timed(&x.IRQTimes, "soft ", r.Name.Bytes(), spread(map[int]uint64{1: r.Count / 2, 2: r.Count - r.Count/2 - r.Count/100, 5: r.Count / 100}), r.Top)
		}
	}
	snap.SoftIRQTime = x
	y := &collectors.HardIRQTime{IRQTimes: collectors.IRQTimes{Span: snap.IRQ.Span}}
	for _, r := range snap.IRQ.Rows {
		slot := map[string]int{"LOC": 3, "RES": 0}[r.Name.Bytes()]
		if r.Count > 0 {
			s.timed(&y.IRQTimes, "", r.Name.Bytes(), spread(map[int]uint64{slot: r.Count - r.Count/10, slot + 1: r.Count / 10}), r.Top)
		}
	}
	if s.kind == "lossy" {
		s.timed(&y.IRQTimes, "", collectors.OtherLines, spread(map[int]uint64{0: 300}), 0)
		hard.State, hard.Reason = collectors.Degraded, "tracepoint irq_work_entry is not in this kernel"
	}
	snap.HardIRQTime = y
}

// timed adds a row, most of it on one CPU.
func (s *story) timed(x *collectors.IRQTimes, kind, name string, h collectors.Hist, cpu int) {
	if s.irqTotals == nil {
		s.irqTotals = map[string]*collectors.Hist{}
	}
	total := s.irqTotals[kind+name]
	if total == nil {
		total = &collectors.Hist{}
		s.irqTotals[kind+name] = total
	}
	total.Plus(&h)
	x.Rows = append(x.Rows, collectors.IRQTimeRow{Name: name, Time: h, Total: *total, Top: cpu, TopNs: h.Sum * 9 / 10})
	x.Count += h.Count()
	x.Ns += h.Sum
	i := slices.IndexFunc(x.CPUs, func(c collectors.IRQCPUTime) bool { return c.CPU == cpu })
	if i < 0 {
		i = len(x.CPUs)
		x.CPUs = append(x.CPUs, collectors.IRQCPUTime{CPU: cpu})
	}
	x.CPUs[i].Ns += h.Sum
	x.CPUs[i].Count += h.Count()
}
