// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// dear is a collector whose program counts rate events a second while it is attached.
type dear struct {
	mu       sync.Mutex
	rate     func(now time.Duration) float64
	ns       float64
	open     bool
	paused   bool
	from, at time.Duration // attached since, and counted up to
	begun    time.Time
	events   float64
	last     time.Duration
	attached []Span
}

func (d *dear) Meta() Meta { return Meta{ID: CPUID} }

func (d *dear) now() time.Duration { return time.Since(d.begun) }

// count brings events up to now.
func (d *dear) count(now time.Duration) {
	if d.open && !d.paused {
		d.events += d.rate(now) * (now - d.at).Seconds()
	}
	d.at = now
}

func (d *dear) attach(on bool) {
	now := d.now()
	d.count(now)
	if on {
		d.from = now
	} else {
		d.attached = append(d.attached, Span{d.from, now})
	}
}

func (d *dear) Start(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attach(true)
	d.open, d.last = true, -1
	return nil
}

func (d *dear) Collect(_ context.Context, now time.Duration) (Sample, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count(now)
	from := d.last
	d.last = now
	if from < 0 {
		return nil, ErrWarming
	}
	return &CPU{Span: Span{from, now}}, nil
}

func (d *dear) Pause(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attach(!on)
	d.paused = on
	return nil
}

func (d *dear) Probes() []Probe {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []Probe{{Name: "dear", State: On, Hook: "fake", Events: uint64(d.events), NsPerEvent: d.ns}}
}

func (d *dear) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open && !d.paused {
		d.attach(false)
	}
	d.open, d.paused = false, false
	return nil
}

// during is how long the programs were attached within a time.
func (d *dear) during(from, to time.Duration) (sum time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.attached
	if d.open && !d.paused {
		all = append(all[:len(all):len(all)], Span{d.from, d.now()})
	}
	for _, a := range all {
		if lo, hi := max(a.From, from), min(a.To, to); hi > lo {
			sum += hi - lo
		}
	}
	return sum
}

// taking is a rate that costs that part of the host's CPU time at 100 ns an event.
func taking(part float64) float64 { return part * 1e9 / 100 * float64(runtime.NumCPU()) }

func TestBrake(t *testing.T) {
	steady := func(part float64) func(time.Duration) float64 {
		return func(time.Duration) float64 { return taking(part) }
	}
	tests := map[string]struct {
		rate  func(time.Duration) float64
		at    time.Duration // when state is looked at
		state State
		says  string
		// of the second minute
		attached [2]time.Duration // at least, at most
	}{
		"cheap": {
			rate: steady(0.009), at: 119 * time.Second, state: On,
			attached: [2]time.Duration{time.Minute, time.Minute},
		},
		"not slowed in the first minute": {
			rate: steady(0.03), at: 59 * time.Second, state: On,
			attached: [2]time.Duration{18 * time.Second, 24 * time.Second},
		},
		"slowed after it": {
			rate: steady(0.025), at: 70 * time.Second, state: Degraded, says: "slowed to 1 s in 3",
			attached: [2]time.Duration{18 * time.Second, 24 * time.Second},
		},
		"slowed at once": {
			rate: steady(0.05), at: 5 * time.Second, state: Degraded, says: "took 5.0 % of the host's CPU time",
			attached: [2]time.Duration{time.Second, 6 * time.Second},
		},
		"stopped when the first minute is over": {
			rate: steady(0.05), at: 70 * time.Second, state: Off, says: "tries again in",
			attached: [2]time.Duration{time.Second, 6 * time.Second},
		},
		"stopped": {
			rate: steady(0.20), at: 15 * time.Second, state: Off, says: "tries again in",
			attached: [2]time.Duration{time.Second, 6 * time.Second},
		},
		"let go when the storm is over": {
			rate: func(now time.Duration) float64 {
				if now < 20*time.Second {
					return taking(0.05)
				}
				return taking(0.001)
			},
			at: 40 * time.Second, state: On,
			attached: [2]time.Duration{time.Minute, time.Minute},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dear{rate: tt.rate, ns: 100, begun: time.Now()}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{d}})
				snaps := x.at(tt.at + 700*time.Millisecond)
				row := snaps[len(snaps)-1].Probes[CPUID][0]
				if row.State != tt.state || !strings.Contains(row.Reason, tt.says) {
					t.Errorf("at %v the row is %v, %q; want %v, %q", tt.at, row.State, row.Reason, tt.state, tt.says)
				}
				snaps = x.at(2*time.Minute + 700*time.Millisecond)
				if got := d.during(time.Minute, 2*time.Minute); got < tt.attached[0] || got > tt.attached[1] {
					t.Errorf("attached for %v of the second minute, want %v to %v", got, tt.attached[0], tt.attached[1])
				}
				samples := 0
				for _, s := range snaps {
					if s.CPU == nil {
						continue
					}
					samples++
					// A sample that covers time when nobody counted would tell a rate that is too low.
					if on := d.during(s.CPU.From, s.CPU.To); on != s.CPU.To-s.CPU.From {
						t.Errorf("the sample of %v was attached for %v", s.CPU.Span, on)
					}
				}
				if samples < 3 {
					t.Errorf("%d samples, want some", samples)
				}
				if err := x.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestBrakeForgets: what was stopped begins anew when somebody looks again.
func TestBrakeForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dearOnDemand{dear{rate: func(time.Duration) float64 { return taking(0.2) }, ns: 100, begun: time.Now()}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{d}})
		x.r.Want("pane", []Want{{ID: CPUID}})
		snaps := x.at(20*time.Second + 700*time.Millisecond)
		if row := snaps[len(snaps)-1].Probes[CPUID][0]; row.State != Off {
			t.Fatalf("the row is %v, %q; want it stopped", row.State, row.Reason)
		}
		x.r.Want("pane", nil)
		x.at(21 * time.Second)
		x.r.Want("pane", []Want{{ID: CPUID}})
		x.at(23 * time.Second)
		if d.during(21*time.Second, 23*time.Second) == 0 {
			t.Error("not attached again for whoever looks next")
		}
		if err := x.stop(); err != nil {
			t.Error(err)
		}
	})
}

type dearOnDemand struct{ dear }

func (d *dearOnDemand) Meta() Meta { return Meta{ID: CPUID, OnDemand: true} }
