// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"slices"
	"time"

	"bpf60/collectors"
)

func memoryOf(s *collectors.Snapshot) *collectors.Memory { return s.Memory }
func slabOf(s *collectors.Snapshot) *collectors.Slab     { return s.Slab }

// memoryOver is the memory over the frame: events summed, gauges of the newest. Nil without one.
func memoryOver(f Frame) *collectors.Memory {
	samples := within(f, memoryOf)
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	sum.Span = collectors.Span{}
	first := true
	for _, m := range samples {
		switch {
		case m.Seconds() == 0:
			continue
		case first:
			sum.VM, first = m.VM, false
		default:
			sum.VM.Add(&m.VM)
		}
		sum.Span = join(sum.Span, m.Span)
	}
	return &sum
}

// slabFresh is how old a sample of the caches may be and still be shown as now: they are read
// less often than the rest, and where that is dear at the first tick after 10 s.
const slabFresh = 15 * time.Second

// slabOver is the caches over the frame: growth summed, gauges of the newest sample. Nil without a
// sample that is still true.
func slabOver(f Frame) *collectors.Slab {
	var samples []*collectors.Slab
	for i, m := range slices.Backward(f.Past) {
		if m.Snapshot == nil || m.Slab == nil {
			continue
		}
		if len(samples) == 0 && i < len(f.Past)-staleAfter && f.Now.At-m.At > slabFresh {
			return nil
		}
		if len(samples) > 0 && (f.Span == 0 || m.At <= f.Now.At-f.Span && f.Span < f.Now.At) {
			break
		}
		samples = append(samples, m.Slab)
	}
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	type growth struct{ bytes, active int64 }
	grown := map[string]growth{}
	sum := *samples[0]
	sum.Span, sum.Total.Grown = collectors.Span{}, 0
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		sum.Total.Grown += s.Total.Grown
		for _, c := range s.Caches {
			g := grown[c.Name.Bytes()]
			grown[c.Name.Bytes()] = growth{g.bytes + c.Grown, g.active + c.GrownActive}
		}
	}
	sum.Caches = slices.Clone(sum.Caches)
	for i := range sum.Caches {
		c := &sum.Caches[i]
		g := grown[c.Name.Bytes()]
		c.Grown, c.GrownActive = g.bytes, g.active
	}
	return &sum
}

// memoryStall is the share of time that some task, and that all, waited for memory; not numbers
// where that is not known.
func memoryStall(f Frame) (some, full float64) {
	var s, a, whole time.Duration
	for _, h := range within(f, hostOf) {
		if p := h.PSI.Memory; p.Known {
			s, a, whole = s+p.Some, a+p.Full, whole+h.To-h.From
		}
	}
	some, ok := share(s, whole)
	if !ok {
		return math.NaN(), math.NaN()
	}
	full, _ = share(a, whole)
	return min(some, 1), min(full, 1)
}

// memCell is one line of /proc/meminfo in MiB.
func memCell(m *collectors.MemInfo, field collectors.MemField) Cell {
	if n, ok := m.Get(field); ok {
		return inMiB(n)
	}
	return Missing("this kernel or container does not print it")
}

// eventSum adds events of the span. Those that this kernel does not count are left out; false if
// it counts none.
func eventSum(m *collectors.Memory, events ...collectors.VMEvent) (sum uint64, ok bool) {
	for _, e := range events {
		if n, known := m.VM.Get(e); known {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

func whyNoEvent(f Frame) string {
	if p, ok := probeNamed(f, collectors.MemoryID, "reclaim"); ok && p.Name == "reclaim" && p.Reason != "" {
		return p.Reason
	}
	return "this kernel does not count it"
}

// rateOf is events a second.
func rateOf(f Frame, m *collectors.Memory, events ...collectors.VMEvent) Cell {
	n, ok := eventSum(m, events...)
	if !ok {
		return Missing(whyNoEvent(f))
	}
	return perSecond(n, m.Span)
}

// countOf is events of the span.
func countOf(f Frame, m *collectors.Memory, event collectors.VMEvent) Cell {
	n, ok := m.VM.Get(event)
	if !ok {
		return Missing(whyNoEvent(f))
	}
	return Number(float64(n))
}

// pagesRate is events that count pages, in KiB a second.
func pagesRate(m *collectors.Memory, event collectors.VMEvent) Cell {
	n, ok := m.VM.Get(event)
	if !ok {
		return Missing("this kernel does not count it, or /proc/vmstat cannot be read")
	}
	c := perSecond(n, m.Span)
	if c.Known() {
		c.num *= float64(m.PageSize) / 1024
	}
	return c
}

// efficiency is sar -B's %vmeff: pages won of those looked at.
func efficiency(m *collectors.Memory) Cell {
	scanned, ok := eventSum(m, collectors.VMScanKswapd, collectors.VMScanDirect, collectors.VMScanOther)
	if !ok || scanned == 0 {
		return Missing("no page was looked at")
	}
	won, _ := eventSum(m, collectors.VMStealKswapd, collectors.VMStealDirect, collectors.VMStealOther)
	return Number(100 * float64(won) / float64(scanned))
}

func tableCell(g collectors.TableGauge) Cell {
	if !g.Known {
		return Missing("its file cannot be read here")
	}
	return Number(float64(g.N))
}

// inodesUsed is sar's inode-nr.
func inodesUsed(t *collectors.KernelTables) Cell {
	c := tableCell(t.Inodes)
	if c.Known() {
		c.num = float64(less(t.Inodes.N, t.InodeFree.N))
	}
	return c
}

// perSecondOf is a series of rates of events.
func eventSeries(f Frame, n int, events ...collectors.VMEvent) []float64 {
	return series(f, n, memoryOf, func(m *collectors.Memory) float64 {
		sum, ok := eventSum(m, events...)
		if s := m.Seconds(); ok && s > 0 {
			return float64(sum) / s
		}
		return math.NaN()
	})
}

func availableSeries(f Frame, n int) []float64 {
	return series(f, n, memoryOf, func(m *collectors.Memory) float64 { return float64(m.Info.Available()) })
}
