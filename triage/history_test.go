// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// ages are the times of moments in seconds.
func ages(ms []Moment) []int {
	var out []int
	for _, m := range ms {
		out = append(out, int(m.At/time.Second))
	}
	return out
}

// seconds appends empty moments at the given seconds.
func seconds(h *History, at ...int) *History {
	for _, s := range at {
		h.Append(Moment{Snapshot: &collectors.Snapshot{At: time.Duration(s) * time.Second}})
	}
	return h
}

func TestHistoryFinds(t *testing.T) {
	h := seconds(&History{}, 0, 1, 2, 4, 5)
	windows := map[string]struct {
		from, to time.Duration
		want     []int
	}{
		"all after zero": {0, time.Hour, []int{1, 2, 4, 5}},
		"all":            {-1, time.Hour, []int{0, 1, 2, 4, 5}},
		"half open":      {time.Second, 4 * time.Second, []int{2, 4}},
		"in a gap":       {2 * time.Second, 3 * time.Second, nil},
		"between":        {1500 * time.Millisecond, 4500 * time.Millisecond, []int{2, 4}},
		"backwards":      {4 * time.Second, time.Second, nil},
		"later":          {5 * time.Second, time.Hour, nil},
	}
	for name, tt := range windows {
		if diff := cmp.Diff(tt.want, ages(h.Window(tt.from, tt.to))); diff != "" {
			t.Errorf("%s: Window(%v, %v) (-want +got):\n%s", name, tt.from, tt.to, diff)
		}
	}
	if diff := cmp.Diff([]int{4, 5}, ages(h.Since(2*time.Second))); diff != "" {
		t.Errorf("Since(2s) (-want +got):\n%s", diff)
	}
	for at, want := range map[time.Duration]int{0: 0, 2 * time.Second: 2, 3999 * time.Millisecond: 2, time.Hour: 5} {
		if m, ok := h.At(at); !ok || m.At != time.Duration(want)*time.Second {
			t.Errorf("At(%v) = %v, %v, want %d s", at, m, ok, want)
		}
	}
	if m, ok := h.At(-1); ok {
		t.Errorf("At(-1) = %v, true, want none", m)
	}
	first, ok1 := h.First()
	last, ok2 := h.Last()
	if !ok1 || !ok2 || first.At != 0 || last.At != 5*time.Second || h.Len() != 5 {
		t.Errorf("First, Last, Len = %v, %v, %d, want 0 s, 5 s, 5", first.At, last.At, h.Len())
	}

	var empty History
	_, ok1 = empty.First()
	_, ok2 = empty.Last()
	if ok1 || ok2 || empty.Len() != 0 || empty.Window(-1, time.Hour) != nil || len(empty.Since(-1)) != 0 || empty.RowsSince() != 0 || empty.CPUsSince() != 0 {
		t.Error("an empty history has something")
	}
}

func TestHistoryKeepsOrder(t *testing.T) {
	h := seconds(&History{}, 0, 2, 2, 1, 3)
	if diff := cmp.Diff([]int{0, 2, 3}, ages(h.Since(-1))); diff != "" {
		t.Errorf("moments (-want +got):\n%s", diff)
	}
}

// host makes the snapshots of a synthetic host.
type host struct {
	cpus, processes, moving, newcomers int

	infos []*collectors.ProcInfo
	tick  int
}

func (x *host) info(i int) *collectors.ProcInfo {
	return &collectors.ProcInfo{
		Process: collectors.Process{TGID: int32(i), Start: uint64(x.tick)},
		Comm:    collectors.RawString(fmt.Sprintf("worker/%d", i)),
	}
}

func (x *host) next() *collectors.Snapshot {
	for i := len(x.infos); i < x.processes; i++ {
		x.infos = append(x.infos, x.info(i))
	}
	for i := range x.newcomers {
		at := (x.tick*x.newcomers + i) % x.processes
		x.infos[at] = x.info(at)
	}
	span := collectors.Span{From: time.Duration(x.tick-1) * time.Second, To: time.Duration(x.tick) * time.Second}
	s := &collectors.Snapshot{
		Seq:    uint64(x.tick),
		At:     span.To,
		Host:   &collectors.Host{Span: span},
		CPU:    &collectors.CPU{Span: span, CPUs: make([]collectors.CPUTime, x.cpus)},
		Sched:  &collectors.Sched{Span: span, CPUs: make([]collectors.SchedCPU, x.cpus)},
		Tasks:  &collectors.Tasks{Span: span, Processes: x.processes, Rows: make([]collectors.TaskRow, x.moving)},
		Self:   &collectors.Self{Span: span},
		Probes: map[collectors.ID][]collectors.Probe{},
	}
	for i := range 6 {
		s.Probes[collectors.ID(fmt.Sprint(i))] = make([]collectors.Probe, 4)
	}
	for i := range s.Tasks.Rows {
		s.Tasks.Rows[i] = collectors.TaskRow{ProcInfo: x.infos[(x.tick*7+i)%x.processes], Run: time.Millisecond}
	}
	if x.tick%60 == 0 {
		for _, info := range x.infos {
			s.Tasks.Key = append(s.Tasks.Key, collectors.TaskState{ProcInfo: info, RSS: 1})
		}
	}
	x.tick++
	return s
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestHistoryStaysWithinItsBudget measures the heap of ten minutes at 1 s on hosts of all sizes.
func TestHistoryStaysWithinItsBudget(t *testing.T) {
	tests := map[string]struct {
		host              host
		wantRows, wantCPU int // seconds of detail kept, at least
		wantLen           int
	}{
		"small":                  {host{cpus: 2, processes: 120, moving: 20}, 600, 60, 601},
		"8 CPUs, 600 tasks":      {host{cpus: 8, processes: 600, moving: 60}, 600, 60, 601},
		"256 CPUs":               {host{cpus: 256, processes: 2000, moving: 200}, 60, 45, 601},
		"5,000, one of 20 moves": {host{cpus: 8, processes: 5000, moving: 250}, 330, 60, 601},
		"5,000, a tenth moves":   {host{cpus: 8, processes: 5000, moving: 500}, 180, 60, 601},
		"5,000, all move":        {host{cpus: 8, processes: 5000, moving: 5000}, 10, 10, 601},
		"both":                   {host{cpus: 256, processes: 5000, moving: 5000}, 10, 10, 601},
		"exec storm":             {host{cpus: 8, processes: 5000, moving: 1000, newcomers: 1000}, 60, 60, 601},
		"beyond reason":          {host{cpus: 1024, processes: 12000, moving: 12000}, 0, 0, 300},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if raceDetector && tt.host.processes > 600 {
				t.Skip("one goroutine, and minutes with the race detector: make test runs it without")
			}
			before := heap()
			budget := max(DefaultBudget-tt.host.processes<<10, 11<<20) // as the whole program's leaves it
			h := &History{}
			h.Limit(budget)
			var peak int
			for range 601 {
				h.Append(Moment{Snapshot: tt.host.next()})
				if used := h.size + h.books(); used > budget && tt.host.cpus <= 256 {
					t.Fatalf("the books say %d bytes, want at most %d", used, budget)
				}
				if h.Len()%200 == 0 {
					peak = max(peak, heap()-before)
				}
			}
			last, _ := h.Last()
			lastSize := last.Size()
			infos := len(tt.host.infos)
			tt.host.infos = nil // the collector's own share
			peak = heap() - before
			books := h.size + h.books()
			t.Logf("heap %.2f MiB, books %.2f MiB, %d moments, rows %v, cpus %v, newest %d KiB, %d processes",
				float64(peak)/(1<<20), float64(books)/(1<<20), h.Len(), last.At-h.RowsSince(), last.At-h.CPUsSince(), lastSize>>10, infos)
			if tt.host.cpus <= 256 && peak > budget {
				t.Errorf("heap is %d bytes, want at most %d", peak, budget)
			}
			if off := float64(peak-books) / float64(books); off < -0.2 || off > 0.05 {
				t.Errorf("heap is %d, the books say %d: %.0f %% off", peak, books, 100*off)
			}
			if h.Len() < tt.wantLen {
				t.Errorf("%d moments, want %d", h.Len(), tt.wantLen)
			}
			if got := int((last.At - h.RowsSince()) / time.Second); got < tt.wantRows-1 {
				t.Errorf("rows of %d s, want at least %d", got, tt.wantRows-1)
			}
			if got := int((last.At - h.CPUsSince()) / time.Second); got < tt.wantCPU-1 {
				t.Errorf("single CPUs of %d s, want at least %d", got, tt.wantCPU-1)
			}
			if kept := last.At - h.CPUsSince(); kept >= time.Minute {
				t.Errorf("single CPUs of %v, want less than a minute", kept)
			}
			for _, m := range h.Since(-1) {
				if got, want := m.Tasks.Rows != nil, m.At >= h.RowsSince(); got != want {
					t.Fatalf("rows at %v: %v, want %v: RowsSince is %v", m.At, got, want, h.RowsSince())
				}
				if got, want := m.Sched.CPUs != nil && m.CPU.CPUs != nil, m.At >= h.CPUsSince(); got != want {
					t.Fatalf("single CPUs at %v: %v, want %v: CPUsSince is %v", m.At, got, want, h.CPUsSince())
				}
			}
			runtime.KeepAlive(h)
		})
	}
}

// TestHistoryCountsSharedOnce gives rows up and finds the books empty of processes.
func TestHistoryCountsSharedOnce(t *testing.T) {
	info := &collectors.ProcInfo{Comm: collectors.RawString("x")}
	rows := []collectors.TaskRow{{ProcInfo: info}, {}}
	h := NewHistory(20_000)
	at := func(n int) Moment {
		return Moment{Snapshot: &collectors.Snapshot{At: time.Duration(n) * time.Minute, Tasks: &collectors.Tasks{Rows: rows}}}
	}
	h.Append(at(0))
	one := h.size
	h.Append(at(1))
	if got, want := h.size, 2*one-info.Size()-infoEntry; got != want {
		t.Errorf("two moments with one process take %d, want %d", got, want)
	}
	if got := h.infos[info]; got != 2 {
		t.Errorf("the process is in %d moments, want 2", got)
	}
	for i := 2; i < 100; i++ {
		h.Append(at(i))
	}
	if n := h.Len(); n == 100 || n < 5 {
		t.Errorf("%d moments in a small budget, want fewer than 100 and some", n)
	}
	// Drop everything that can be dropped.
	h.budget = 1
	h.Append(Moment{Snapshot: &collectors.Snapshot{At: time.Hour * 24}})
	if h.Len() != 1 || len(h.infos) != 0 || h.size != h.sizes[0] {
		t.Errorf("%d moments, %d processes, %d bytes, want only the newest moment's %d", h.Len(), len(h.infos), h.size, h.sizes[0])
	}
}

// TestHistoryFindingsCount keeps a moment with long evidence out of a small budget.
func TestHistoryFindingsCount(t *testing.T) {
	bare := momentSize(Moment{Snapshot: &collectors.Snapshot{}})
	with := momentSize(Moment{Snapshot: &collectors.Snapshot{}, Findings: []Finding{{
		Title:    "0123456789",
		Evidence: []string{"0123456789"},
		Culprits: []Culprit{{Name: collectors.Clean(collectors.RawString("0123456789"))}},
	}}})
	if with-bare < 300 {
		t.Errorf("a finding adds %d bytes, want its struct and its texts", with-bare)
	}
}

// TestHistoryReadersKeepWhatTheyHave reads a window while it is thinned.
func TestHistoryReadersKeepWhatTheyHave(t *testing.T) {
	x := host{cpus: 4, processes: 50, moving: 10}
	h := NewHistory(1 << 20)
	for range 50 {
		h.Append(Moment{Snapshot: x.next()})
	}
	held := h.Since(-1)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				for _, m := range held {
					if len(m.Sched.CPUs) != 4 || len(m.Tasks.Rows) != 10 {
						t.Errorf("the moment at %v has lost detail under a reader", m.At)
						return
					}
				}
				var last time.Duration
				for _, m := range h.Since(0) {
					if m.At <= last {
						t.Errorf("moment at %v after %v", m.At, last)
						return
					}
					last = m.At
				}
				h.Window(last-10*time.Second, last)
				h.At(last)
				h.RowsSince()
				h.CPUsSince()
			}
		})
	}
	for range 300 {
		h.Append(Moment{Snapshot: x.next()})
	}
	wg.Wait()
	if first, _ := h.First(); len(first.Sched.CPUs) != 0 {
		t.Error("nothing was thinned: the test proves nothing")
	}
}

func BenchmarkHistoryAppend(b *testing.B) {
	for name, x := range map[string]host{
		"8cpu600":    {cpus: 8, processes: 600, moving: 60},
		"256cpu5000": {cpus: 256, processes: 5000, moving: 5000},
	} {
		b.Run(name, func(b *testing.B) {
			h := &History{}
			snaps := make([]*collectors.Snapshot, 601)
			for i := range snaps {
				snaps[i] = x.next()
				h.Append(Moment{Snapshot: snaps[i]})
			}
			at := snaps[600].At
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := *snaps[i%601]
				at += time.Second
				s.At = at
				h.Append(Moment{Snapshot: &s})
			}
		})
	}
}

func BenchmarkHistoryWindow(b *testing.B) {
	x := host{cpus: 8, processes: 600, moving: 60}
	h := &History{}
	for range 601 {
		h.Append(Moment{Snapshot: x.next()})
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(h.Window(540*time.Second, 600*time.Second)); n != 60 {
			b.Fatalf("%d moments, want 60", n)
		}
	}
}
