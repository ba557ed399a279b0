// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestWaiting(t *testing.T) {
	p := app(8)
	target := collectors.Target{Kind: collectors.ProcessTarget, Process: p.Process}
	idle := ticksOf(1, idleCPU(), idleCPU())
	h := func(switches, threads uint32, ticks fill, psi float64, rows ...collectors.SleepRow) *History {
		return ticking(10, ticks, hostWith(collectors.PSI{IO: some(psi)}), func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, Run: ms(50), Voluntary: switches, Threads: threads}}}
			if rows != nil {
				s.Sleeps = &collectors.Sleeps{Span: span, Narrowed: []collectors.Targeted[collectors.SleepCounts]{{Target: target, Sample: collectors.SleepCounts{Comm: p.Comm, Rows: rows}}}}
			}
		})
	}
	convoy := []collectors.SleepRow{{Class: collectors.WaitFutex, Function: "futex_wait_queue", Threads: 29}, {Class: collectors.WaitReceive, Function: "sk_wait_data", Threads: 2}, {Threads: 1}}
	checkCases(t, "proc.waiting", map[string]ruleCase{
		"hands a lock on":  {h: h(5000, 32, idle, 0, convoy...), want: "info 90.62 % by app[8]", in: "91 % of 32 threads wait for a futex, 5000 switches/s"},
		"an idle pool":     {h: h(50, 32, idle, 0, convoy...)},
		"few threads":      {h: h(5000, 4, idle, 0, convoy...)},
		"waits for events": {h: h(5000, 32, idle, 0, collectors.SleepRow{Class: collectors.WaitPoll, Threads: 32})},
		"CPUs are short":   {h: h(5000, 32, ticksOf(1, busyCPU(), busyCPU()), 0, convoy...)},
		"a disk is":        {h: h(5000, 32, idle, 20, convoy...)},
		"nobody looked":    {h: h(5000, 32, idle, 0)},
	})
	if _, wants := judge(t, "proc.waiting", h(50, 32, idle, 0)); len(wants) != 1 || wants[0] != (collectors.Want{ID: collectors.SleepsID, Target: target}) {
		t.Errorf("asks for %v, want the sleeps of the busiest", wants)
	}
	if _, wants := judge(t, "proc.waiting", h(50, 32, ticksOf(1, busyCPU(), busyCPU()), 0)); wants != nil {
		t.Errorf("asks for %v where CPUs are short", wants)
	}
	got := All(nil)[indexOf(t, "proc.waiting")].Evidence(h(50, 32, idle, 0, convoy...))
	if diff := cmp.Diff([]string{"app[8]: 91 % futex, 6 % recv, 3 % runs"}, got); diff != "" {
		t.Errorf("where services wait (-want +got):\n%s", diff)
	}
}

func TestCompacting(t *testing.T) {
	h := func(n int, each uint64) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			now := &collectors.ReclaimCounts{}
			w := collectors.MemoryWaiter{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("java")}
			for range n {
				now.Compact.Add(each)
				w.Count[collectors.CompactStall]++
				w.For[collectors.CompactStall] += ms(int(each / 1e6))
			}
			s.Reclaim = &collectors.Reclaim{Span: span, Now: now, Compacts: true, Rows: []collectors.MemoryWaiter{w}}
		})
	}
	checkCases(t, "mem.compaction", map[string]ruleCase{
		"all the time": {h: h(20, 10e6), want: "warning 20 % by java[8]", in: "20 times a second"},
		"quick":        {h: h(20, 1e6)},
		"seldom":       {h: h(5, 100e6)},
	})
}

func TestOneNode(t *testing.T) {
	h := func(a, b, miss uint64) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Memory = &collectors.Memory{Span: span, Rare: &collectors.MemoryRare{Nodes: []collectors.NUMANode{{Node: 0, Total: 100 * gib, Free: a * gib}, {Node: 1, Total: 100 * gib, File: b * gib}, {Node: 2}}}}
			s.Memory.VM.Set(collectors.VMNUMAMiss, miss)
		})
	}
	checkCases(t, "mem.numa", map[string]ruleCase{
		"one is full":              {h: h(2, 60, 5000), want: "warning 2 % by node 0", in: "memory node 0 has 2.0 GiB left to give, node 1 60.0 GiB"},
		"both are":                 {h: h(2, 3, 5000)},
		"files fill it":            {h: h(20, 60, 5000)},
		"nobody is sent elsewhere": {h: h(2, 60, 10)},
	})
}
