// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestInKernel(t *testing.T) {
	tests := map[string]struct{ run, user, sys, want uint64 }{
		"nothing":             {0, 0, 0, 0},
		"no tick yet":         {3, 0, 0, 0},
		"user only":           {100, 40, 0, 0},
		"kernel only":         {100, 0, 40, 100},
		"by ratio":            {100, 30, 10, 25},
		"ticks beyond":        {100, 300, 100, 25},
		"a century":           {3e18, 1e18, 2e18, 2e18},
		"a sum that overflew": {7, math.MaxUint64, 2, 7},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := taskCounts{Run: tt.run, User: tt.user, Sys: tt.sys}
			if got := c.inKernel(); got != tt.want {
				t.Errorf("inKernel(%+v) = %d, want %d", c, got, tt.want)
			}
		})
	}
}

// scans derives one sample after the other, as the collector does.
type scans struct {
	prev []taskRec
	n    int
	want threadWant
	book *nameBook
}

func (s *scans) next(cur ...taskRec) *Tasks {
	t := deriveTasks(s.prev, cur, scanOptions{prevBoot: 10_000 * ms, key: s.n == 0, threads: s.want, names: s.book})
	s.prev = cur
	s.n++
	return t
}

func TestDeriveCounts(t *testing.T) {
	base := rec(5, 5, 100, 0).with(func(r *taskRec) {
		r.User, r.Sys, r.MinFlt, r.MajFlt = 60*ms, 40*ms, 1000, 10
		r.Read, r.Write, r.CancelledW = 1<<20, 1<<21, 1<<10
		r.RSS, r.Swap, r.VSZ, r.Delay = 5000, 0, 9000, 7
	})
	thread := rec(6, 5, 50, 0).with(func(r *taskRec) { r.MinFlt, r.Read, r.User = 500, 4096, 50*ms })
	tests := map[string]struct {
		prev, cur []taskRec
		row       TaskRow // times in ns, Sys in µs
		more      TaskMore
	}{
		"counts": {
			[]taskRec{base},
			[]taskRec{base.with(func(r *taskRec) {
				r.Run, r.User, r.Sys = 200*ms, 80*ms, 120*ms
				r.MinFlt, r.MajFlt, r.Read, r.Write, r.CancelledW = 1007, 13, 1<<20+512, 1<<21+4096, 1<<10+9
				r.Vol, r.Invol, r.Swap, r.Delay = 3, 4, 12, 107
			})},
			TaskRow{Run: 100e6, Sys: 80_000, MinFlt: 7, RSS: 5000, Threads: 1, Voluntary: 3, Involuntary: 4, State: 'S'},
			TaskMore{MajFlt: 3, Swap: 12, Read: 512, Write: 4096, Cancelled: 9, BlockDelay: 100},
		},
		"switches of the leader and of the others": {
			[]taskRec{base, thread},
			[]taskRec{
				base.with(func(r *taskRec) { r.Run, r.User, r.Vol, r.Invol = 110*ms, 70*ms, 3, 4 }),
				thread.with(func(r *taskRec) { r.Vol, r.Invol = 20, 30 }),
			},
			TaskRow{Run: 10e6, RSS: 5000, Threads: 2, Voluntary: 23, Involuntary: 34, State: 'S'},
			TaskMore{OthersVoluntary: 20, OthersInvoluntary: 30},
		},
		"the kernel's share never exceeds what ran": {
			[]taskRec{base},
			[]taskRec{base.with(func(r *taskRec) { r.Run, r.Sys = 101*ms, 400*ms })},
			TaskRow{Run: 1e6, Sys: 1000, RSS: 5000, Threads: 1, State: 'S'},
			TaskMore{},
		},
		"the kernel's share does not go back": {
			[]taskRec{base},
			[]taskRec{base.with(func(r *taskRec) { r.Run, r.User = 101*ms, 400*ms })},
			TaskRow{Run: 1e6, RSS: 5000, Threads: 1, State: 'S'},
			TaskMore{},
		},
		"a thread's faults and bytes are in the dead share": {
			[]taskRec{base, thread},
			[]taskRec{base.with(func(r *taskRec) {
				r.Run += ms
				r.Dead = &taskCounts{Run: 50 * ms, User: 50 * ms, MinFlt: 504, Read: 8192}
			})},
			TaskRow{Run: 1e6, Sys: 266, MinFlt: 4, RSS: 5000, Threads: 1, State: 'S'},
			TaskMore{Read: 4096},
		},
		"bytes were closed to us": {
			[]taskRec{base.with(func(r *taskRec) { r.Read, r.Write, r.CancelledW, r.Lacks = 0, 0, 0, LackIO })},
			[]taskRec{base.with(func(r *taskRec) { r.Run += ms })},
			TaskRow{Run: 1e6, Sys: 400, RSS: 5000, Threads: 1, State: 'S'},
			TaskMore{},
		},
		"memory was mapped": {
			[]taskRec{base},
			[]taskRec{base.with(func(r *taskRec) { r.Run, r.VSZ, r.RSS = r.Run+ms, 12_000, 6000 })},
			TaskRow{Run: 1e6, Sys: 400, RSS: 6000, Threads: 1, State: 'S'},
			TaskMore{VSZ: 12_000},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s scans
			s.next(tt.prev...)
			got := s.next(tt.cur...).Rows
			if len(got) != 1 {
				t.Fatalf("%d rows, want 1: %+v", len(got), got)
			}
			more := TaskMore{}
			if got[0].More != nil {
				more = *got[0].More
			}
			got[0].ProcInfo, got[0].More = nil, nil
			if diff := cmp.Diff(tt.row, got[0]); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.more, more); diff != "" {
				t.Errorf("more (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeyAndRowsTellAll follows a host over scans: the last Key with the rows and the ends since is
// what a scan of everything would tell.
func TestKeyAndRowsTellAll(t *testing.T) {
	var s scans
	type told struct {
		State byte
		RSS   uint32
		Comm  string
	}
	known := make(map[Process]told)
	host := map[int32]taskRec{}
	for i := int32(1); i <= 40; i++ {
		host[i] = rec(i, i, uint64(i), 0).with(func(r *taskRec) { r.RSS = uint64(1000 * i) })
	}
	list := func() []taskRec {
		var out []taskRec
		for i := int32(1); i <= 60; i++ {
			if r, ok := host[i]; ok {
				out = append(out, r)
			}
		}
		return out
	}
	change := func(i int32, f func(*taskRec)) {
		r := host[i]
		f(&r)
		host[i] = r
	}
	for step := range int32(20) {
		switch {
		case step > 15: // nothing happens
		case step > 0:
			change(step, func(r *taskRec) { r.Run += ms; r.RSS += 10_000 })
			change(step+20, func(r *taskRec) { r.State = 'T' })
			delete(host, 17+step)
			host[40+step] = rec(40+step, 40+step, 1, 0).with(func(r *taskRec) { r.Start = uint64(10_000+step) * ms })
			change(2, func(r *taskRec) { r.Comm = comm("renamed" + string(rune('a'+step))) })
		}
		cur := list()
		got := s.next(cur...)
		if (got.Key != nil) != (step == 0) {
			t.Fatalf("step %d: %d processes in the key", step, len(got.Key))
		}
		for _, p := range got.Gone {
			delete(known, p)
		}
		for _, k := range got.Key {
			known[k.Process] = told{k.State, k.RSS, k.Comm.Bytes()}
		}
		for _, r := range got.Rows {
			known[r.Process] = told{r.State, r.RSS, r.Comm.Bytes()}
		}
		if step > 15 && len(got.Rows)+len(got.Gone) > 0 {
			t.Errorf("step %d: %d rows and %d ends of an idle host", step, len(got.Rows), len(got.Gone))
		}
		want := make(map[Process]told)
		for _, r := range cur {
			want[Process{r.TGID, r.Start}] = told{r.State, uint32(r.RSS), string(r.name())}
		}
		if diff := cmp.Diff(want, known); diff != "" {
			t.Fatalf("step %d (-scan +told):\n%s", step, diff)
		}
	}
}

func TestThreadsOnDemand(t *testing.T) {
	idle := rec(7, 5, 5, 5)
	before := []taskRec{rec(5, 5, 10, 0), rec(6, 5, 5, 5), idle, rec(9, 9, 1, 1)}
	after := []taskRec{rec(5, 5, 12, 0), rec(6, 5, 35, 6).with(func(r *taskRec) { r.Comm, r.Vol, r.Sys = comm("worker"), 9, 35*ms }), idle, rec(9, 9, 8, 1)}
	tests := map[string]struct {
		want threadWant
		tids []int32
	}{
		"nobody looks": {threadWant{}, nil},
		"all that ran": {threadWant{all: true}, []int32{6, 9, 5}},
		"one process":  {threadWant{processes: []Process{{5, 1000 * ms}}}, []int32{6, 5, 7}},
		"both":         {threadWant{true, []Process{{5, 1000 * ms}}}, []int32{6, 9, 5, 7}},
		"another's ID": {threadWant{processes: []Process{{5, 999 * ms}}}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := scans{want: tt.want}
			clone := func(r []taskRec) []taskRec { return append([]taskRec{}, r...) }
			s.next(clone(before)...)
			got := s.next(clone(after)...)
			var tids []int32
			for _, r := range got.Busy {
				tids = append(tids, r.TID)
				if r.TID == 6 && (r.Run != 30*time.Millisecond || r.Wait != time.Millisecond || r.Sys != 30_000 || r.Voluntary != 9 ||
					r.Comm.Bytes() != "worker" || r.ProcInfo.Comm.Bytes() != "x") {
					t.Errorf("thread 6 = %+v of %+v", r, r.ProcInfo)
				}
			}
			if diff := cmp.Diff(tt.tids, tids); diff != "" {
				t.Errorf("threads (-want +got):\n%s", diff)
			}
		})
	}
}

// TestThreadsAreBounded makes more threads than a sample lists.
func TestThreadsAreBounded(t *testing.T) {
	var before, after []taskRec
	for i := int32(1); i <= 3*MaxThreads; i++ {
		before = append(before, rec(i, 1, 1, 0))
		after = append(after, rec(i, 1, 1+uint64(i), 0))
	}
	s := scans{want: threadWant{all: true}}
	s.next(before...)
	got := s.next(after...)
	if len(got.Busy) != MaxThreads || got.BusyUnlisted != 2*MaxThreads || got.Busy[0].TID != 3*MaxThreads {
		t.Errorf("%d threads, %d unlisted, first %d", len(got.Busy), got.BusyUnlisted, got.Busy[0].TID)
	}
}
