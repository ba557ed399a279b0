// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func syscallsOf(s *collectors.Snapshot) *collectors.Syscalls      { return s.Syscalls }
func callTimesOf(s *collectors.Snapshot) *collectors.SyscallTimes { return s.SyscallTimes }

// callTimesSum is one call's times over a frame.
type callTimesSum struct{ now, total collectors.Hist }

// callSum is what the samples of a frame hold together.
type callSum struct {
	collectors.Syscalls
	hists map[uint32]*callTimesSum
}

// callsOver sums the samples of the frame; nil without any. In scope of a process or a cgroup it holds
// that target's calls, and no processes.
func callsOver(f Frame) *callSum { return sumCalls(f.rowed()) }

// sumCalls is the same with the totals of samples whose rows were given up.
func sumCalls(f Frame) *callSum {
	target, get := callScope(f.Scope), syscallsOf
	if target == (collectors.Target{}) {
		get = ofHost(syscallsOf, func(s *collectors.Syscalls) bool { return s.Partial })
	}
	samples := within(f, get)
	if len(samples) == 0 {
		return nil
	}
	sum := &callSum{hists: map[uint32]*callTimesSum{}}
	calls, procs := map[uint32]int{}, map[collectors.Process]int{}
	pairs, tops := map[pairKey]int{}, map[topCall]uint64{}
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		sum.Unlisted = max(sum.Unlisted, s.Unlisted)
		sum.Collided += s.Collided
		list, total := s.Calls, s.SyscallCounts
		if target != (collectors.Target{}) {
			list, total = narrowedCalls(s, target)
		} else {
			sum.Others += s.Others
			addProcs(sum, procs, tops, s.Processes)
			addPairs(sum, pairs, s.Pairs)
		}
		sum.Plus(&total)
		addCalls(sum, calls, list)
	}
	for i := range sum.Pairs { // they know of more samples than those in which the call was the most
		p := &sum.Pairs[i]
		if k, ok := procs[p.Process]; ok && p.N > sum.Processes[k].TopN {
			sum.Processes[k].Top, sum.Processes[k].TopN = p.Name, p.N
		}
	}
	sortStably(sum.Calls, func(a, b collectors.SyscallCall) int { return cmp.Compare(b.N, a.N) })
	sortStably(sum.Processes, func(a, b collectors.SyscallProcess) int { return cmp.Compare(b.N, a.N) })
	sortStably(sum.Pairs, func(a, b collectors.SyscallPair) int { return cmp.Compare(b.N, a.N) })
	for _, s := range within(f, callTimesOf) {
		for i := range s.Calls {
			c := &s.Calls[i]
			h := sum.hists[c.Call]
			if h == nil {
				h = &callTimesSum{}
				sum.hists[c.Call] = h
			}
			d := c.Hist.Hist()
			h.now.Plus(&d)
			h.total = c.Total
		}
	}
	return sum
}

type pairKey struct {
	collectors.Process
	call uint32
}

func narrowedCalls(s *collectors.Syscalls, target collectors.Target) ([]collectors.SyscallCall, collectors.SyscallCounts) {
	if n, _ := narrowedIn(s, target); n != nil {
		return n.Sample.Calls, n.Sample.SyscallCounts
	}
	return nil, collectors.SyscallCounts{}
}

func addCalls(sum *callSum, at map[uint32]int, list []collectors.SyscallCall) {
	for _, c := range list {
		i, ok := at[c.Call]
		if !ok {
			at[c.Call] = len(sum.Calls)
			c.Errnos = slices.Clone(c.Errnos)
			sum.Calls = append(sum.Calls, c)
			continue
		}
		x := &sum.Calls[i]
		x.Plus(&c.SyscallCounts)
		for _, e := range c.Errnos {
			if k := slices.IndexFunc(x.Errnos, func(o collectors.ErrnoCount) bool { return o.Errno == e.Errno }); k >= 0 {
				x.Errnos[k].N += e.N
			} else {
				x.Errnos = append(x.Errnos, e)
			}
		}
		sortStably(x.Errnos, func(a, b collectors.ErrnoCount) int { return cmp.Compare(b.N, a.N) })
	}
}

// topCall is the call that a process made most in a sample.
type topCall struct {
	collectors.Process
	call string
}

// addProcs sums processes; tops is what the calls they made most add up to.
func addProcs(sum *callSum, at map[collectors.Process]int, tops map[topCall]uint64, list []collectors.SyscallProcess) {
	for _, p := range list {
		i, ok := at[p.Process]
		if !ok {
			at[p.Process], tops[topCall{p.Process, p.Top}] = len(sum.Processes), p.TopN
			sum.Processes = append(sum.Processes, p)
			continue
		}
		x := &sum.Processes[i]
		x.Plus(&p.SyscallCounts)
		x.Longest = cmp.Or(p.Longest, x.Longest) // of the newest sample
		n := tops[topCall{p.Process, p.Top}] + p.TopN
		tops[topCall{p.Process, p.Top}] = n
		if n > x.TopN {
			x.Top, x.TopN = p.Top, n
		}
	}
}

func addPairs(sum *callSum, at map[pairKey]int, list []collectors.SyscallPair) {
	for _, p := range list {
		k := pairKey{p.Process, p.Call}
		i, ok := at[k]
		if !ok {
			at[k] = len(sum.Pairs)
			sum.Pairs = append(sum.Pairs, p)
			continue
		}
		x := &sum.Pairs[i]
		x.Plus(&p.SyscallCounts)
		x.Max = max(x.Max, p.Max)
	}
}

// callNotes say what is not in the rows.
func callNotes(f Frame, sum *callSum) (out []string) {
	var t Table
	rowsNote(f, &t)
	out = t.Notes
	if sum.Others > 0 {
		out = append(out, fmt.Sprintf("%s calls of processes without a row: the kernel's table was full", widget.Count(sum.Others)))
	}
	if sum.Unlisted > 0 {
		out = append(out, fmt.Sprintf("%d more processes made calls", sum.Unlisted))
	}
	if sum.Collided > 0 {
		out = append(out, fmt.Sprintf("%s calls were not timed: their threads shared a place", widget.Count(sum.Collided)))
	}
	for _, x := range []struct {
		id   collectors.ID
		name string
	}{{collectors.SyscallsID, "syscount"}, {collectors.SyscallTimesID, "syscount-time"}} {
		p, ok := probeNamed(f, x.id, x.name)
		if ok && (p.State == collectors.Failed || p.State == collectors.Off || p.State == collectors.Degraded) {
			out = append(out, note(x.name, p.Reason, p.Remedy))
		}
	}
	return out
}
