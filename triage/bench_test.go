// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"testing"
	"time"

	"bpf60/collectors"
)

// BenchmarkRules is one tick of the engine with all rules, the history included: a host with 5,000 processes of which a tenth moves each
// second, at rest and short of CPUs.
func BenchmarkRules(b *testing.B) {
	for name, runnable := range map[string]int{"idle": 1, "saturated": 12} {
		for _, moving := range []int{500, 5000} {
			b.Run(fmt.Sprintf("%s/%d", name, moving), func(b *testing.B) {
				snaps := busyHost(5000, moving, runnable)
				h := &History{}
				e := NewEngine(All(nil), h, func(string, []collectors.Want) {})
				for _, s := range snaps[:60] {
					e.Tick(s)
				}
				at := snaps[59].At
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					s := *snaps[i%60]
					at += time.Second
					s.At = at
					e.Tick(&s)
				}
			})
		}
	}
}

// busyHost is a minute of a host with that many processes.
func busyHost(n, moving, runnable int) []*collectors.Snapshot {
	all := make([]proc, n)
	for i := range all {
		all[i] = proc{pid: int32(i + 100), parent: 1, comm: "worker", cgroup: fmt.Sprintf("/pod%d", i/10)}
	}
	infos := tasks(all...)
	first := &collectors.Snapshot{}
	infos(1, first, collectors.Span{})
	ticks := ticksOf(runnable, collectors.Ticks{User: 50, Idle: 50}, collectors.Ticks{User: 50, Idle: 50})
	if runnable > 2 {
		ticks = ticksOf(runnable, busyCPU(), busyCPU())
	}
	lat := waits(map[time.Duration]int{time.Millisecond: 2000, 20 * time.Millisecond: 200})
	host, io := hostWith(collectors.PSI{CPU: some(20), Memory: some(0), IO: some(20)}), disk(vda(), nil, ioOf{class: collectors.ReadSync, n: 500, device: ms(20), mostly: ms(1)})
	var out []*collectors.Snapshot
	for i := 1; i <= 60; i++ {
		at := time.Duration(i) * time.Second
		span := collectors.Span{From: at - time.Second, To: at}
		s := &collectors.Snapshot{At: at}
		for _, f := range []fill{ticks, lat, host, io, memory(nil, nil)} {
			f(i, s, span)
		}
		s.Tasks = &collectors.Tasks{Span: span, Source: "iter/task"}
		if i == 1 {
			s.Tasks.Key = first.Tasks.Key
		}
		for k := range moving {
			p := first.Tasks.Key[(i*moving+k)%n].ProcInfo
			s.Tasks.Rows = append(s.Tasks.Rows, collectors.TaskRow{ProcInfo: p, Run: ms(2), Wait: ms(8), Threads: 1})
		}
		out = append(out, s)
	}
	return out
}

// The sums that follow the window are those that would be made anew.
func TestUpkeepFollowsTheWindow(t *testing.T) {
	h := &History{}
	kept := &upkeep{}
	for n, s := range busyHost(60, 17, 1) {
		for i := range s.Tasks.Rows {
			s.Tasks.Rows[i].Run = ms(1 + (n*7+i*3)%11)
			s.Tasks.Rows[i].RSS = uint32(n*100 + i)
			s.Tasks.Rows[i].More = &collectors.TaskMore{Read: uint64(n + i), MajFlt: 1}
		}
		view, bare := h.with(s, kept), h.with(s, &upkeep{})
		got, want := recently(view).processes(), recently(bare).processes()
		if got.seconds != want.seconds {
			t.Fatalf("second %d: %v s, want %v", n, got.seconds, want.seconds)
		}
		left := len(want.list)
		for x := range got.each {
			left--
			i, ok := want.at[x.Process]
			if !ok {
				t.Fatalf("second %d: %d has left the window", n, x.PID)
			}
			w := want.list[i]
			if x.run != w.run || x.wait != w.wait || x.read != w.read || x.majflt != w.majflt || x.rss != w.rss || x.rows != w.rows {
				t.Fatalf("second %d: process %d: %+v, want %+v", n, x.PID, *x, w)
			}
		}
		if left != 0 {
			t.Fatalf("second %d: %d processes are missing", n, left)
		}
		recently(view).rivals()
		if a, b := recently(view).rivals(), recently(bare).rivals(); a.culprit.name != b.culprit.name || a.waited != b.waited {
			t.Fatalf("second %d: by %s %v, want %s %v", n, a.culprit.name, a.waited, b.culprit.name, b.waited)
		}
		h.Append(Moment{Snapshot: s})
	}
}
