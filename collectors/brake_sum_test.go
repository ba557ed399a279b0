// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// oneOfMany is one of several dear collectors.
type oneOfMany struct {
	dear
	id ID
}

func (d *oneOfMany) Meta() Meta { return Meta{ID: d.id} }

// TestBrakeSum: collectors that are each within their budget are not more than twice that together.
func TestBrakeSum(t *testing.T) {
	tests := map[string]struct {
		parts      []float64        // of the host's CPU time, until two minutes have passed
		slowed     int              // at the end of the second minute
		most       float64          // that they then take together
		firstSlows bool             // the first of them is slowed
		minute     [2]time.Duration // that the first is attached in the second half of the first minute: least, most
	}{
		"two":                       {parts: []float64{0.009, 0.009}, slowed: 0, most: 0.019, minute: [2]time.Duration{30 * time.Second, 30 * time.Second}},
		"five":                      {parts: []float64{0.009, 0.009, 0.009, 0.009, 0.009}, slowed: 5, most: 0.02, firstSlows: true, minute: [2]time.Duration{30 * time.Second, 30 * time.Second}},
		"the dearest first":         {parts: []float64{0.0095, 0.006, 0.006}, slowed: 1, most: 0.02, firstSlows: true, minute: [2]time.Duration{30 * time.Second, 30 * time.Second}},
		"too much even in a minute": {parts: []float64{0.035, 0.030, 0.030}, slowed: 3, most: 0.05, firstSlows: true, minute: [2]time.Duration{9 * time.Second, 11 * time.Second}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var all []*oneOfMany
				var list []Collector
				for i, part := range tt.parts {
					d := &oneOfMany{dear{ns: 100, begun: time.Now(), rate: func(now time.Duration) float64 {
						if now < 2*time.Minute {
							return taking(part)
						}
						return taking(0.001)
					}}, ID(fmt.Sprintf("dear%d", i))}
					all, list = append(all, d), append(list, d)
				}
				x := runTrial(t, RunnerConfig{Collectors: list})
				x.at(time.Minute)
				if got := all[0].during(30*time.Second, time.Minute); got < tt.minute[0] || got > tt.minute[1] {
					t.Errorf("the first was attached for %v of the second half of the first minute, want %v to %v", got, tt.minute[0], tt.minute[1])
				}
				snaps := x.at(119*time.Second + 700*time.Millisecond)
				slowed, takes := 0, 0.0
				for i, d := range all {
					takes += tt.parts[i] * d.during(90*time.Second, 118*time.Second).Seconds() / 28
					row := snaps[len(snaps)-1].Probes[d.id][0]
					if row.State == On {
						continue
					}
					if slowed++; tt.parts[i] < brakeSoft && !strings.Contains(row.Reason, "all probes more than 2 %") {
						t.Errorf("%s is %v: %q", d.id, row.State, row.Reason)
					}
				}
				if first := snaps[len(snaps)-1].Probes["dear0"][0]; (first.State != On) != tt.firstSlows || slowed != tt.slowed {
					t.Errorf("%d are slowed, the first %v: want %d, %v", slowed, first.State != On, tt.slowed, tt.firstSlows)
				}
				if takes > tt.most {
					t.Errorf("they take %.2f %% together, want at most %.2f %%", 100*takes, 100*tt.most)
				}
				snaps = x.at(3*time.Minute + 700*time.Millisecond)
				for _, d := range all {
					if row := snaps[len(snaps)-1].Probes[d.id][0]; row.State != On {
						t.Errorf("%s is %v a minute after it is over: %q", d.id, row.State, row.Reason)
					}
				}
				if err := x.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
