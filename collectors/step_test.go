// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestStep: a wall clock that is set is told of once, and moves neither At nor spans. Corrections are not,
// and a host that slept is late and nothing else.
func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		since := func(d time.Duration) bool { return time.Since(began) >= d-100*time.Millisecond }
		asleep := func() time.Duration {
			if since(30 * time.Second) {
				return 2 * time.Hour
			}
			return 0
		}
		wall := func() time.Time {
			at := time.Now()
			if since(10 * time.Second) {
				at = at.Add(time.Hour)
			}
			if since(20 * time.Second) {
				at = at.Add(-24 * time.Hour)
			}
			slewed := min(time.Since(began)/100, 400*time.Millisecond)
			return at.Add(asleep() + slewed)
		}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{&fakeCollector{meta: Meta{ID: CPUID}}}, Wall: wall, Asleep: asleep})
		snaps := x.at(40500 * time.Millisecond)
		if err := x.stop(); err != nil {
			t.Error(err)
		}
		steps := map[time.Duration]time.Duration{}
		for i, s := range snaps {
			if s.Step != 0 {
				steps[s.At] = s.Step.Round(time.Second)
			}
			if i > 1 && s.At-snaps[i-1].At != time.Second {
				t.Errorf("a tick at %v after one at %v", s.At, snaps[i-1].At)
			}
			if s.CPU != nil && s.CPU.Seconds() > 1.1 {
				t.Errorf("at %v a sample covers %v", s.At, s.CPU.Seconds())
			}
		}
		want := map[time.Duration]time.Duration{10 * time.Second: time.Hour, 20 * time.Second: -24 * time.Hour}
		if diff := cmp.Diff(want, steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}
