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
}
