// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunnerLosesNothing(t *testing.T) {
	tests := map[string]struct {
		cost      func(n int) time.Duration
		wantEvery time.Duration // between samples, in the long run
	}{
		"at once":     {cost: always(0), wantEvery: time.Second},
		"0.4 s":       {cost: always(400 * time.Millisecond), wantEvery: time.Second},
		"0.6 s":       {cost: always(600 * time.Millisecond), wantEvery: 2 * time.Second},
		"1.4 s":       {cost: always(1400 * time.Millisecond), wantEvery: 3 * time.Second},
		"every tenth": {cost: func(n int) time.Duration { return time.Duration(n%10/9) * 2600 * time.Millisecond }, wantEvery: 1300 * time.Millisecond},
		"0.99 s":      {cost: always(990 * time.Millisecond), wantEvery: 2 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := &fakeCollector{meta: Meta{ID: CPUID}, cost: tt.cost}
				fast := &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{slow, fast}})
				snaps := x.at(60*time.Second + 700*time.Millisecond)
				if err := x.stop(); err != nil {
					t.Fatalf("Run = %v, want nil", err)
				}
				var sum uint64
				var last time.Duration
				var samples int
				seen := map[Sample]bool{}
				for i, s := range snaps {
					if want := time.Duration(i) * time.Second; s.At != want || s.Seq != uint64(i) {
						t.Errorf("snapshot %d: At %v, Seq %d, want %v, %d", i, s.At, s.Seq, want, i)
					}
					if late := s.when - s.At; late > 500*time.Millisecond {
						t.Errorf("snapshot %d came %v after its tick, want at most half a tick", i, late)
					}
					if s.Host == nil {
						t.Errorf("snapshot %d has no sample of the fast collector", i)
					}
					if s.CPU == nil {
						continue
					}
					if seen[s.CPU] {
						t.Errorf("snapshot %d holds a sample a second time", i)
					}
					seen[s.CPU] = true
					if samples > 0 && s.CPU.From != last {
						t.Errorf("snapshot %d: span from %v, want %v where the last one ended", i, s.CPU.From, last)
					}
					if want := uint64((s.CPU.To - s.CPU.From) / time.Millisecond); s.CPU.Switches != want {
						t.Errorf("snapshot %d: %d events in %v, want %d", i, s.CPU.Switches, s.CPU.To-s.CPU.From, want)
					}
					sum, last = sum+s.CPU.Switches, s.CPU.To
					samples++
				}
				if len(snaps) != 61 {
					t.Errorf("%d snapshots in 60.7 s, want 61", len(snaps))
				}
				if want := uint64(last / time.Millisecond); sum != want {
					t.Errorf("%d events accounted for, want all %d", sum, want)
				}
				if last < 55*time.Second {
					t.Errorf("the last sample ends at %v, want near the end", last)
				}
				if want := int(60*time.Second/tt.wantEvery) + 1; samples < want-2 || samples > want+1 {
					t.Errorf("%d samples, want about %d", samples, want)
				}
			})
		})
	}
}

// TestRunnerSlowStart: what starts slowly begins when the first snapshot is out, and at once then.
func TestRunnerSlowStart(t *testing.T) {
	tests := map[string]struct{ first, want time.Duration }{
		"all answer":  {20 * time.Millisecond, 20 * time.Millisecond},
		"one is late": {10 * time.Second, firstBound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := &fakeCollector{meta: Meta{ID: CPUID, Slow: true}}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{slow, &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample, startTime: tt.first}}})
				x.at(500 * time.Millisecond)
				slow.mu.Lock()
				began := slow.began[0]
				slow.mu.Unlock()
				if began != tt.want {
					t.Errorf("began after %v, want %v", began, tt.want)
				}
				time.Sleep(10 * time.Second)
				if err := x.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRunnerFirstSnapshot(t *testing.T) {
	tests := map[string]struct {
		second   *fakeCollector
		want     time.Duration
		wantRow  Probe
		wantAt1  bool // the second one's sample is in the snapshot of the first tick, over a positive span
		wantTick int
	}{
		"all fast": {
			second:  &fakeCollector{meta: Meta{ID: CPUID}},
			want:    0,
			wantRow: Probe{Name: "cpu", State: On, Hook: "fake"},
			wantAt1: true,
		},
		"programs load": {
			second:  &fakeCollector{meta: Meta{ID: CPUID, Slow: true}, startTime: 400 * time.Millisecond},
			want:    0,
			wantRow: Probe{Name: "cpu", State: Warming, Hook: "fake", Reason: "starting"},
			wantAt1: true,
		},
		"unexpectedly slow": {
			second:  &fakeCollector{meta: Meta{ID: CPUID}, startTime: 400 * time.Millisecond},
			want:    50 * time.Millisecond,
			wantRow: Probe{Name: "cpu", State: Warming, Hook: "fake", Reason: "starting"},
			wantAt1: true,
		},
		"never": {
			second:  &fakeCollector{meta: Meta{ID: CPUID}, startTime: 400 * time.Second},
			want:    50 * time.Millisecond,
			wantRow: Probe{Name: "cpu", State: Warming, Hook: "fake", Reason: "starting"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wall := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
				x := runTrial(t, RunnerConfig{
					Collectors: []Collector{&fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}, tt.second},
					Wall:       func() time.Time { return wall },
				})
				snaps := x.at(999 * time.Millisecond)
				if len(snaps) != 1 {
					t.Fatalf("%d snapshots before the first tick, want 1", len(snaps))
				}
				if s := snaps[0]; s.when != tt.want || s.At != 0 || s.Host == nil || !s.Taken.Equal(wall) {
					t.Errorf("first snapshot came at %v with At %v, host %v, taken %v; want %v, 0, gauges, %v", s.when, s.At, s.Host, s.Taken, tt.want, wall)
				}
				if diff := cmp.Diff([]Probe{tt.wantRow}, snaps[0].Probes[CPUID]); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				snaps = x.at(1600 * time.Millisecond)
				if got := len(snaps) == 2 && snaps[1].CPU != nil && snaps[1].CPU.Seconds() > 0; got != tt.wantAt1 {
					t.Errorf("first tick has a sample that covers time: %v, want %v", got, tt.wantAt1)
				}
				if err := x.stop(); (err != nil) != (name == "never") {
					t.Errorf("Run = %v", err)
				}
				time.Sleep(400 * time.Second) // let the slow start end
			})
		})
	}
}

// A list that only some samples hold is not given up for the next sample, however late it comes.
func TestRunnerKeepsRareLists(t *testing.T) {
	for _, late := range []time.Duration{0, 40 * time.Millisecond, 400 * time.Millisecond, 1400 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			first := true
			tasks := &fakeCollector{meta: Meta{ID: TasksID}, startTime: late, sample: func(s Span, _ uint64) Sample {
				out := &Tasks{Span: s}
				if first {
					out.Key = []TaskState{{Threads: 1}}
				}
				first = false
				return out
			}}
			x := runTrial(t, RunnerConfig{Collectors: []Collector{tasks}})
			snaps := x.at(4*time.Second + 700*time.Millisecond)
			if err := x.stop(); err != nil {
				t.Fatalf("Run = %v, want nil", err)
			}
			lists := 0
			for _, s := range snaps {
				if s.Tasks != nil && s.Tasks.Key != nil {
					lists++
				}
			}
			if lists != 1 {
				t.Errorf("started after %v: %d snapshots hold the list of all processes, want 1", late, lists)
			}
		})
	}
}

func TestRunnerClock(t *testing.T) {
	sec := time.Second
	tests := map[string]struct {
		emitHolds time.Duration // in the snapshot of 2 s
		sleeps    time.Duration // of the host, between 2 s and 3 s
		interval  time.Duration // set at 2.3 s
		wantAt    []time.Duration
		wantLate  []time.Duration
	}{
		"steady":         {wantAt: []time.Duration{0, sec, 2 * sec, 3 * sec, 4 * sec}, wantLate: make([]time.Duration, 5)},
		"a little late":  {emitHolds: 2500 * time.Millisecond, wantAt: []time.Duration{0, sec, 2 * sec, 4 * sec, 5 * sec}, wantLate: make([]time.Duration, 5)},
		"starved":        {emitHolds: 5200 * time.Millisecond, wantAt: []time.Duration{0, sec, 2 * sec, 7 * sec, 8 * sec}, wantLate: []time.Duration{0, 0, 0, 4200 * time.Millisecond, 0}},
		"suspended":      {sleeps: time.Hour, wantAt: []time.Duration{0, sec, 2 * sec, 3 * sec, 4 * sec}, wantLate: []time.Duration{0, 0, 0, time.Hour, 0}},
		"faster":         {interval: sec / 2, wantAt: []time.Duration{0, sec, 2 * sec, 2500 * time.Millisecond, 3 * sec}, wantLate: make([]time.Duration, 5)},
		"faster at once": {interval: sec / 5, wantAt: []time.Duration{0, sec, 2 * sec, 2300 * time.Millisecond, 2500 * time.Millisecond}, wantLate: make([]time.Duration, 5)},
		"slower":         {interval: 3 * sec, wantAt: []time.Duration{0, sec, 2 * sec, 5 * sec, 8 * sec}, wantLate: make([]time.Duration, 5)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				r := NewRunner(RunnerConfig{
					Collectors: []Collector{&fakeCollector{meta: Meta{ID: CPUID}}},
					Asleep: func() time.Duration {
						if time.Since(began) > 2*sec {
							return tt.sleeps
						}
						return 0
					},
				})
				ctx, end := context.WithCancel(t.Context())
				done := make(chan error)
				var at, late []time.Duration
				go func() {
					done <- r.Run(ctx, func(s *Snapshot) {
						at, late = append(at, s.At), append(late, s.Late)
						if s.At == 2*sec {
							time.Sleep(tt.emitHolds)
						}
					})
				}()
				time.Sleep(2300 * time.Millisecond)
				if tt.interval > 0 {
					r.SetInterval(tt.interval)
					if got := r.Interval(); got != tt.interval {
						t.Errorf("Interval() = %v, want %v", got, tt.interval)
					}
				}
				time.Sleep(8 * sec)
				end()
				if err := <-done; err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
				if diff := cmp.Diff(tt.wantAt, at[:5]); diff != "" {
					t.Errorf("At (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.wantLate, late[:5]); diff != "" {
					t.Errorf("Late (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRunnerAsksSeldomCollectorsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCollector{meta: Meta{ID: CPUID, Interval: 5 * time.Second}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}})
		x.at(12 * time.Second)
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		want := []time.Duration{0, 5 * time.Second, 10 * time.Second}
		if diff := cmp.Diff(want, c.began); diff != "" {
			t.Errorf("collected at (-want +got):\n%s", diff)
		}
	})
}

func TestRunnerHandsRowsToTheAuditor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		self := &auditFake{fakeCollector{meta: Meta{ID: SelfID}, sample: selfSample}}
		cpu := &fakeCollector{meta: Meta{ID: CPUID}, rows: []Probe{{Name: "runqlat", State: On, Events: 7}}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{self, cpu}})
		x.at(1500 * time.Millisecond)
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		want := []Probe{{Name: "self", State: On, Hook: "fake"}, {Name: "runqlat", State: On, Events: 7}}
		if diff := cmp.Diff(want, self.audited); diff != "" {
			t.Errorf("audited (-want +got):\n%s", diff)
		}
	})
}
