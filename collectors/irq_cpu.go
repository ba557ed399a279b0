// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"time"
)

// Apart is what s counts of single CPUs, and over which span.
func (s *IRQs) Apart() ([]Targeted[CPUIRQs], Span) { return s.Narrowed, s.Span }

// Narrow implements Narrower: single CPUs are told apart, at no reading more.
func (c *irqCollector) Narrow(targets []Target) error {
	c.targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != CPUTarget })
	return nil
}

// narrow adds to a sample what the CPUs took that somebody looks at. A CPU that was not there before has no
// delta.
func (c *irqCollector) narrow(s *IRQs, now time.Duration) {
	since := make(map[Target]time.Duration, len(c.targets))
	prev := &c.prev
	if !c.begun {
		prev = &c.cur
	}
	from := columnsBefore(prev, &c.cur)
	for _, t := range c.targets {
		k := slices.Index(c.cur.cpus, int(t.CPU))
		if k < 0 {
			continue
		}
		since[t] = now
		if at, ok := c.since[t]; ok {
			since[t] = at
		}
		one := Targeted[CPUIRQs]{Target: t, Since: since[t]}
		for i := range c.cur.lines {
			x := &c.cur.lines[i]
			was := prev.find(i, x)
			if was == nil || k >= len(x.counts) || len(one.Sample.Rows) == maxIRQRows {
				continue
			}
			if d := irqDelta(was, x.counts[k], from, k); d > 0 {
				one.Sample.Rows = append(one.Sample.Rows, CPUIRQ{Name: x.name, Device: x.device, Count: d})
			}
		}
		s.Narrowed = append(s.Narrowed, one)
	}
	c.since = since
}

// columnsBefore are the columns in prev of cur's CPUs, by their order; -1 for a CPU that is new.
func columnsBefore(prev, cur *irqTable) []int {
	from := make([]int, len(cur.cpus))
	for i, cpu := range cur.cpus {
		from[i] = slices.Index(prev.cpus, cpu)
		if i < len(prev.cpus) && prev.cpus[i] == cpu {
			from[i] = i
		}
	}
	return from
}

// irqDelta is by how much the count n in column k went up, 0 if that is not known or it went back.
func irqDelta(was *irqLine, n uint32, from []int, k int) uint64 {
	if k >= len(from) || from[k] < 0 || from[k] >= len(was.counts) {
		return 0
	}
	d := uint64(n - was.counts[from[k]]) // modulo 2^32
	if d >= 1<<31 {
		return 0
	}
	return d
}
