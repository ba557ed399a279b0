// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

// compacting: tasks stand still while they move pages to make large ones.
func compacting(chosen Limits) Rule {
	r := Rule{ID: "mem.compaction", Says: "tasks move pages themselves to make large ones, and stand still meanwhile", Resource: "memory", Needs: []string{"vmstat", "reclaim"}}
	share := r.limit(chosen, Limit{"share", 10, "%", 0.1, 1e5, "of 10 s that tasks stood in compaction, all together"})
	rate := r.limit(chosen, Limit{"rate", 10, "a second", 0.1, 1e6, "times that one did"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		var sum collectors.ReclaimCounts
		seconds := 0.0
		for _, m := range w.moments {
			if m.Reclaim == nil || !m.Reclaim.Compacts {
				continue
			}
			seconds += m.Reclaim.Seconds()
			if m.Reclaim.Now != nil {
				sum.Plus(m.Reclaim.Now)
			}
		}
		part := percent(time.Duration(sum.Compact.Sum).Seconds(), seconds)
		if !w.covers(compactSpan) || part < share || float64(sum.Compact.Count()) < rate*seconds {
			return Finding{}, nil
		}
		f := Finding{
			ID: "mem.compaction", Severity: Warning, Resource: "memory", Line: "free", Value: part, Threshold: share, Unit: "%", N: sum.Compact.Count(), Window: recentFor,
			Title:    fmt.Sprintf("tasks move pages to make large ones %.0f times a second, %.0f %% of the time in all", float64(sum.Compact.Count())/seconds, part),
			Evidence: []string{"the longest " + between(&sum.Compact, 1)}, Pane: "memory", Command: "grep -E 'compact_|thp_fault' /proc/vmstat",
		}
		x := w.reclaim()
		slices.SortStableFunc(x.waiters, func(a, b collectors.MemoryWaiter) int {
			return int(min(max(b.For[collectors.CompactStall]-a.For[collectors.CompactStall], -1), 1))
		})
		for i := range x.waiters[:min(len(x.waiters), few)] {
			v := &x.waiters[i]
			if v.For[collectors.CompactStall] == 0 {
				break
			}
			who := w.stranger(v.Process, v.Comm, min(v.For[collectors.CompactStall].Seconds()/recentFor.Seconds(), 1))
			if i == 0 { // who stands in it most asks for most large pages
				f.Culprits = []Culprit{who}
				continue
			}
			f.Victims = append(f.Victims, who)
		}
		return f, nil
	})
	return r
}

// oneNode: one node of memory has nothing left that could be given up, while another has plenty.
func oneNode(chosen Limits) Rule {
	r := Rule{
		ID: "mem.numa", Says: "one node of the memory has nothing left to give while another has plenty, and allocations go elsewhere than they should",
		Resource: "memory", Needs: []string{"vmstat", "meminfo"},
	}
	full := r.limit(chosen, Limit{"full", 5, "%", 0.1, 50, "of a node's memory that is free or holds files"})
	spare := r.limit(chosen, Limit{"spare", 30, "%", 1, 100, "the same of another node"})
	rate := r.limit(chosen, Limit{"rate", 1000, "pages a second", 1, 1e9, "that were taken from another node than was wished"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		m := lastOf(w.moments, memoryOf)
		if m == nil || m.Rare == nil || len(m.Rare.Nodes) < 2 {
			return Finding{}, nil
		}
		misses, seconds := uint64(0), 0.0
		for _, x := range w.moments {
			if x.Memory != nil {
				n, _ := x.Memory.VM.Get(collectors.VMNUMAMiss)
				misses += n
				seconds += x.Memory.Seconds()
			}
		}
		var low, high *collectors.NUMANode
		left := func(n *collectors.NUMANode) float64 { return percent(n.Free+n.File, n.Total) }
		for i := range m.Rare.Nodes {
			n := &m.Rare.Nodes[i]
			if n.Total == 0 { // CPUs alone
				continue
			}
			if low == nil || left(n) < left(low) {
				low = n
			}
			if high == nil || left(n) > left(high) {
				high = n
			}
		}
		if low == nil || seconds < covered || float64(misses) < rate*seconds || left(low) > full || left(high) < spare {
			return Finding{}, nil
		}
		return Finding{
			ID: "mem.numa", Severity: Warning, Resource: fmt.Sprintf("node %d", low.Node), Line: "free", Value: left(low), Threshold: full, Unit: "%", N: misses, Window: recentFor,
			Title:    fmt.Sprintf("memory node %d has %s left to give, node %d %s", low.Node, bytesText(low.Free+low.File), high.Node, bytesText(high.Free+high.File)),
			Evidence: []string{fmt.Sprintf("%.0f pages/s taken from another node than was wished", float64(misses)/seconds)},
			Culprits: []Culprit{{Kind: "node", Name: collectors.Clean(collectors.RawString(fmt.Sprintf("node %d", low.Node)))}},
			Explains: []string{"mem.oom_kill", "mem.pressure"}, Pane: "memory", Command: "numastat -m",
		}, nil
	})
	return r
}
