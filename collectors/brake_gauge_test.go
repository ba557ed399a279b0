// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gaugedDear is a dear collector that can be looked at between ticks.
type gaugedDear struct {
	dear
	onDemand bool
	looks    []time.Duration
}

func (d *gaugedDear) Meta() Meta { return Meta{ID: CPUID, OnDemand: d.onDemand} }

func (d *gaugedDear) Gauge() (uint64, float64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count(d.now())
	d.looks = append(d.looks, d.now())
	return uint64(d.events), d.ns, nil
}

// looked is how often it was looked at within a time.
func (d *gaugedDear) looked(from, to time.Duration) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.looks {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

// TestBrakeBetweenTicks lets a storm break out at any moment of a tick: it is acted on within half a
// second, and no sample covers time when nobody counted.
func TestBrakeBetweenTicks(t *testing.T) {
	const calm = 0.002
	for name, onset := range map[string]time.Duration{
		"on the tick": 70 * time.Second, "after it": 70*time.Second + 50*time.Millisecond,
		"amid": 70*time.Second + 550*time.Millisecond, "before the next": 70*time.Second + 930*time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &gaugedDear{dear: dear{ns: 100, begun: time.Now()}, onDemand: true}
				d.rate = func(now time.Duration) float64 {
					if now > onset && now <= onset+5*time.Second {
						return taking(0.1)
					}
					return taking(calm)
				}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{d}, brake: brakeTimes{rest: 10 * time.Second}})
				x.r.Want("pane", []Want{{ID: CPUID}})
				snaps := x.at(onset + 1200*time.Millisecond)
				if got := d.during(onset, onset+time.Second); got > 500*time.Millisecond || got < 100*time.Millisecond {
					t.Errorf("attached for %v of the storm's first second, want half at the most", got)
				}
				row := snaps[len(snaps)-1].Probes[CPUID][0]
				if row.State != Degraded || !strings.Contains(row.Reason, "took 10.0 % of the host's CPU time") {
					t.Errorf("the row is %v, %q; want it slowed", row.State, row.Reason)
				}
				snaps = x.at(onset + 4500*time.Millisecond)
				row = snaps[len(snaps)-1].Probes[CPUID][0]
				if row.State != Off || !strings.Contains(row.Reason, "tries again in") {
					t.Errorf("the row is %v, %q; want it stopped", row.State, row.Reason)
				}
				snaps = x.at(onset + 25*time.Second)
				if row := snaps[len(snaps)-1].Probes[CPUID][0]; row.State != On {
					t.Errorf("after the storm the row is %v, %q; want it on", row.State, row.Reason)
				}
				samples := 0
				for _, s := range snaps {
					if s.CPU == nil {
						continue
					}
					samples++
					if on := d.during(s.CPU.From, s.CPU.To); on != s.CPU.To-s.CPU.From {
						t.Errorf("the sample of %v was attached for %v", s.CPU.Span, on)
					}
				}
				if samples < 70 {
					t.Errorf("%d samples, want one a second until the storm", samples)
				}
				if err := x.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestBrakeLooks: who looks on demand is watched, and of the rest only what costs something already. No
// look takes a tick's reading away.
func TestBrakeLooks(t *testing.T) {
	tests := map[string]struct {
		part     float64
		onDemand bool
		min, max int // looks in 10 s
	}{
		"an idle host is not woken": {part: 0.0005, max: 0},
		"a host that works":         {part: 0.005, min: 90, max: 110},
		"somebody looks":            {part: 0.0005, onDemand: true, min: 90, max: 110},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate := func(time.Duration) float64 { return taking(tt.part) }
				d := &gaugedDear{dear: dear{ns: 100, rate: rate, begun: time.Now()}, onDemand: tt.onDemand}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{d}})
				x.r.Want("pane", []Want{{ID: CPUID}})
				snaps := x.at(30*time.Second + 700*time.Millisecond)
				if n := d.looked(20*time.Second, 30*time.Second); n < tt.min || n > tt.max {
					t.Errorf("%d looks in 10 s, want %d to %d", n, tt.min, tt.max)
				}
				for _, s := range snaps[2:] {
					if s.CPU == nil || s.CPU.To-s.CPU.From > 1050*time.Millisecond {
						t.Errorf("the tick at %v has the sample %+v, want one of a second", s.At, s.CPU)
					}
				}
				if err := x.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
