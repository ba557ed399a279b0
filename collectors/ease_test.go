// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestEase: when bpf60 itself or the host has too little CPU time, half as many ticks are enough, and the
// snapshots say so.
func TestEase(t *testing.T) {
	between := func(from, to time.Duration, v float64) func(time.Duration) float64 {
		return func(now time.Duration) float64 {
			if now >= from && now < to {
				return v
			}
			return 0
		}
	}
	none := between(0, 0, 0)
	tests := map[string]struct {
		own, stall func(time.Duration) float64
		chosen     bool
		key        bool // the user chooses the interval at 90 s
		says       string
		every      map[time.Duration]time.Duration // between the ticks around a time
	}{
		"idle": {own: none, stall: none, every: map[time.Duration]time.Duration{50 * time.Second: time.Second, 80 * time.Second: time.Second}},
		"our own CPU": {
			own: between(0, 2*time.Minute, 0.07), stall: none, says: "bpf60 took 7 % of a CPU",
			every: map[time.Duration]time.Duration{50 * time.Second: time.Second, 80 * time.Second: 2 * time.Second, 118 * time.Second: 2 * time.Second, 150 * time.Second: time.Second},
		},
		"a moment": {
			own: between(70*time.Second, 74*time.Second, 0.5), stall: none,
			every: map[time.Duration]time.Duration{80 * time.Second: time.Second},
		},
		"the host's": {
			own: none, stall: between(0, 2*time.Minute, 0.8), says: "PSI cpu some 80 %",
			every: map[time.Duration]time.Duration{50 * time.Second: time.Second, 80 * time.Second: 2 * time.Second, 150 * time.Second: time.Second},
		},
		"half of it is no end": {
			own: func(now time.Duration) float64 {
				if now > 80*time.Second {
					return 0.035
				}
				return 0.07
			}, stall: none, says: "bpf60 took 7 % of a CPU",
			every: map[time.Duration]time.Duration{78 * time.Second: 2 * time.Second, 150 * time.Second: 2 * time.Second},
		},
		"chosen by a flag": {
			own: between(0, 2*time.Minute, 0.07), stall: none, chosen: true,
			every: map[time.Duration]time.Duration{80 * time.Second: time.Second},
		},
		"chosen by a key": {
			own: between(0, 4*time.Minute, 0.07), stall: none, key: true, says: "bpf60 took 7 % of a CPU",
			every: map[time.Duration]time.Duration{80 * time.Second: 2 * time.Second, 110 * time.Second: time.Second},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				part := func(s Span, of func(time.Duration) float64) time.Duration {
					return time.Duration(of(s.From) * float64(s.To-s.From))
				}
				self := &fakeCollector{meta: Meta{ID: SelfID}, sample: func(s Span, _ uint64) Sample { return &Self{Span: s, CPU: part(s, tt.own)} }}
				host := &fakeCollector{meta: Meta{ID: HostID}, sample: func(s Span, _ uint64) Sample {
					return &Host{Span: s, PSI: PSI{CPU: Pressure{Known: true, Some: part(s, tt.stall)}}}
				}}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{self, host}, Chosen: tt.chosen})
				if x.at(90 * time.Second); tt.key {
					x.r.SetInterval(time.Second)
				}
				snaps := x.at(3 * time.Minute)
				if err := x.stop(); err != nil {
					t.Error(err)
				}
				said := false
				for i, s := range snaps {
					if s.Eased != 0 {
						said = said || strings.Contains(s.EasedBy, tt.says)
						if s.Eased != 2*time.Second || tt.says == "" {
							t.Fatalf("at %v: every %v, %q", s.At, s.Eased, s.EasedBy)
						}
					}
					for at, want := range tt.every {
						if i > 1 && s.At >= at && snaps[i-1].At < at {
							if got := s.At - snaps[i-1].At; got != want {
								t.Errorf("around %v a tick every %v, want %v", at, got, want)
							}
						}
					}
				}
				if tt.says != "" && !said {
					t.Errorf("no snapshot says %q", tt.says)
				}
			})
		})
	}
}
