// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRunnerWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &narrowFake{fakeCollector{meta: Meta{ID: WakeID, OnDemand: true}}}
		a := Target{Kind: CPUTarget, CPU: 1}
		b := Target{Kind: NamedTarget, Name: "b"}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}})
		snaps := x.at(1500 * time.Millisecond)
		idle := Probe{Name: "wake", State: Idle, Hook: "fake", Reason: "attaches while somebody looks"}
		if diff := cmp.Diff([]Probe{idle}, snaps[1].Probes[WakeID]); diff != "" {
			t.Errorf("rows before (-want +got):\n%s", diff)
		}
		steps := []struct {
			name    string
			holder  string
			wants   []Want
			counts  [3]int // right after, between two ticks
			narrows [][]Target
		}{
			{"first holder", "screen", []Want{{ID: WakeID}}, [3]int{1, 1, 0}, nil},
			{"target", "rules", []Want{{WakeID, a}}, [3]int{1, 2, 0}, [][]Target{{a}}},
			{"two targets", "screen", []Want{{WakeID, b}, {WakeID, a}}, [3]int{1, 3, 0}, [][]Target{{a}, {a, b}}},
			{"one lets go", "rules", nil, [3]int{1, 4, 0}, [][]Target{{a}, {a, b}, {b, a}}},
			{"nobody", "screen", nil, [3]int{1, 5, 1}, [][]Target{{a}, {a, b}, {b, a}}},
			{"unknown", "screen", []Want{{ID: "nothing"}}, [3]int{1, 5, 1}, [][]Target{{a}, {a, b}, {b, a}}},
			{"again", "screen", []Want{{WakeID, b}, {WakeID, a}}, [3]int{2, 6, 1}, [][]Target{{a}, {a, b}, {b, a}, {b, a}}},
		}
		for i, s := range steps {
			x.r.Want(s.holder, s.wants)
			x.at(1500*time.Millisecond + time.Duration(i)*time.Second + time.Millisecond)
			if got := c.counts(); got != s.counts {
				t.Errorf("%s: starts, collects, closes = %v, want %v", s.name, got, s.counts)
			}
			c.mu.Lock()
			if diff := cmp.Diff(s.narrows, c.narrowed, cmpopts.EquateComparable(Target{})); diff != "" {
				t.Errorf("%s: narrowed (-want +got):\n%s", s.name, diff)
			}
			c.mu.Unlock()
			x.at(1500*time.Millisecond + time.Duration(i+1)*time.Second)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got := c.counts(); got[2] != 2 {
			t.Errorf("closed %d times in the end, want 2", got[2])
		}
	})
}

// TestRunnerWantChangesItsMind lets go while the start is under way.
func TestRunnerWantChangesItsMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCollector{meta: Meta{ID: WakeID, OnDemand: true}, startTime: 300 * time.Millisecond}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}})
		x.at(1100 * time.Millisecond)
		x.r.Want("screen", []Want{{ID: WakeID}})
		x.at(1200 * time.Millisecond)
		x.r.Want("screen", nil)
		x.at(1500 * time.Millisecond)
		if got := c.counts(); got != [3]int{1, 1, 1} {
			t.Errorf("starts, collects, closes = %v before the next tick, want 1, 1, 1", got)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestRunnerWantTriesAnew gives a wish that failed another chance.
func TestRunnerWantTriesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCollector{meta: Meta{ID: WakeID, OnDemand: true}, startErr: func(int) error { return errors.New("busy") }}
		x := runTrial(t, RunnerConfig{Interval: 200 * time.Millisecond, Collectors: []Collector{c}})
		x.r.Want("screen", []Want{{ID: WakeID}})
		x.at(900 * time.Millisecond)
		if got := c.counts()[0]; got != 1 {
			t.Errorf("started %d times within a second, want 1", got)
		}
		x.at(5 * time.Second)
		if got := c.counts()[0]; got != 2 {
			t.Errorf("started %d times in 5 s, want 2", got)
		}
		x.r.Want("screen", nil)
		x.at(5100 * time.Millisecond)
		x.r.Want("screen", []Want{{ID: WakeID}})
		x.at(9 * time.Second)
		if got := c.counts()[0]; got != 4 {
			t.Errorf("started %d times after a second wish, want 4", got)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunnerWantsWhatNeedsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCollector{meta: Meta{ID: WakeID, OnDemand: true}, startErr: func(int) error { return &NeedError{Need: "root"} }}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}})
		x.r.Want("screen", []Want{{ID: WakeID}})
		x.at(5500 * time.Millisecond)
		x.r.Want("screen", nil)
		snaps := x.at(6500 * time.Millisecond)
		if got := snaps[6].Probes[WakeID][0]; got.State != Off || got.Reason != "needs root" {
			t.Errorf("row after nobody looks = %+v, want still off: needs root", got)
		}
		x.r.Want("screen", []Want{{ID: WakeID}})
		x.at(7500 * time.Millisecond)
		if got := c.counts()[0]; got != 2 {
			t.Errorf("started %d times, want once a wish: 2", got)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestRunnerWantRace has many holders change their minds while the run goes on.
func TestRunnerWantRace(t *testing.T) {
	c := &narrowFake{fakeCollector{meta: Meta{ID: WakeID, OnDemand: true}}}
	ctx, end := context.WithCancel(t.Context())
	r := NewRunner(RunnerConfig{Interval: minInterval, Collectors: []Collector{c, &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}}})
	var snaps int
	done := make(chan error)
	go func() {
		done <- r.Run(ctx, func(s *Snapshot) {
			_ = s.Probes[WakeID][0]
			if snaps++; snaps == 10 {
				end()
			}
		})
	}()
	var wg sync.WaitGroup
	for h := range 4 {
		wg.Go(func() {
			for i := range int32(100) {
				r.Want(fmt.Sprint(h), []Want{{WakeID, Target{Kind: CPUTarget, CPU: i}}})
				r.SetInterval(minInterval + time.Duration(i%2)*time.Millisecond)
				r.Want(fmt.Sprint(h), nil)
				_ = r.Crashes()
			}
		})
	}
	wg.Wait()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if got := c.counts(); got[0] != got[2] {
		t.Errorf("%d starts and %d closes, want as many", got[0], got[2])
	}
}
