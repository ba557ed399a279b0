// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"testing/synctest"
	"time"
)

// logFake has a sample that no other brings.
type logFake struct{ fakeCollector }

func logSample(s Span, n uint64) Sample { return &Log{Span: s, Unlisted: n} }

// TestHold: while the runner holds on nothing is attached and no tick comes, and no sample covers the time.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dear{rate: func(time.Duration) float64 { return 1000 }, ns: 100, begun: time.Now()}
		demanded := &fakeCollector{meta: Meta{ID: SlabID, OnDemand: true}, sample: func(s Span, _ uint64) Sample { return &Slab{Span: s} }}
		host := &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}
		log := &logFake{fakeCollector{meta: Meta{ID: LogID}, sample: logSample}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{d, demanded, host, log}})
		x.r.Want("pane", []Want{{ID: SlabID}})
		before := len(x.at(5300 * time.Millisecond))
		if !x.r.Hold(true, 100*time.Millisecond) {
			t.Error("Hold(true) = false: something stayed attached")
		}
		if got, want := demanded.counts(), [3]int{1, demanded.counts()[1], 1}; got != want {
			t.Errorf("starts, collects and closes on demand = %v, want %v", got, want)
		}
		held := x.at(time.Hour)
		if len(held) > before+1 { // the open round may go out at once
			t.Errorf("%d snapshots came meanwhile", len(held)-before)
		}
		if got := d.during(5301*time.Millisecond, time.Hour); got != 0 {
			t.Errorf("attached for %v meanwhile", got)
		}
		x.r.Hold(false, 0)
		snaps := x.at(time.Hour + 10*time.Second)[len(held):]
		if len(snaps) < 10 {
			t.Fatalf("%d snapshots in the 10 s after it", len(snaps))
		}
		if got := snaps[0].Late; got < 59*time.Minute || snaps[1].Late != 0 {
			t.Errorf("the first snapshots after it are late by %v and %v, want about an hour and 0", got, snaps[1].Late)
		}
		if snaps[0].Log == nil || snaps[0].Log.Unlisted < 3_000_000 {
			t.Errorf("what the log had meanwhile is lost: %+v", snaps[0].Log)
		}
		seen := map[string]int{}
		for _, s := range snaps {
			for name, sample := range map[string]interface{ Seconds() float64 }{"cpu": s.CPU, "host": s.Host, "slab": s.Slab} {
				if isNil(sample) {
					continue
				}
				seen[name]++
				if sec := sample.Seconds(); sec > 2 {
					t.Errorf("at %v a sample of %s covers %.0f s", s.At, name, sec)
				}
			}
		}
		for _, name := range []string{"cpu", "host", "slab"} {
			if seen[name] < 8 {
				t.Errorf("%d samples of %s in the 10 s after it", seen[name], name)
			}
		}
		if err := x.stop(); err != nil {
			t.Error(err)
		}
	})
}

func isNil(s interface{ Seconds() float64 }) bool {
	switch s := s.(type) {
	case *CPU:
		return s == nil
	case *Host:
		return s == nil
	case *Slab:
		return s == nil
	}
	return false
}

// TestHoldDoesNotWaitForOneThatHangs: the user waits for the shell.
func TestHoldDoesNotWaitForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dear{rate: func(time.Duration) float64 { return 1000 }, ns: 100, begun: time.Now()}
		slow := &stuckPause{dear: dear{rate: d.rate, ns: 100, begun: time.Now()}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{d, slow}})
		x.at(2300 * time.Millisecond)
		began := time.Now()
		if x.r.Hold(true, 100*time.Millisecond) {
			t.Error("Hold(true) = true, though one still detaches")
		}
		if got := time.Since(began); got != 100*time.Millisecond {
			t.Errorf("Hold(true) took %v, want 100ms", got)
		}
		x.r.Hold(false, 0)
		x.at(10 * time.Second)
		if got := d.during(5*time.Second, 9*time.Second); got != 4*time.Second {
			t.Errorf("attached for %v of 4 s after it", got)
		}
		if got := slow.during(5*time.Second, 9*time.Second); got != 4*time.Second {
			t.Errorf("the slow one is attached for %v of 4 s after it", got)
		}
		if err := x.stop(); err != nil {
			t.Error(err)
		}
	})
}

// stuckPause takes its time to detach.
type stuckPause struct{ dear }

func (s *stuckPause) Meta() Meta { return Meta{ID: SchedID} }

func (s *stuckPause) Pause(on bool) error {
	if on {
		time.Sleep(time.Second)
	}
	return s.dear.Pause(on)
}
