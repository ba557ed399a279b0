// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAgainst(t *testing.T) {
	tests := map[string]struct {
		ours, theirs, limit, noise float64
		want                       verdict
	}{
		"within":               {ours: 25, theirs: 100, limit: 0.25, want: kept},
		"beyond, hardly":       {ours: 27, theirs: 100, limit: 0.25, want: over},
		"beyond":               {ours: 28, theirs: 100, limit: 0.25, want: missed},
		"beyond, in the noise": {ours: 28, theirs: 100, limit: 0.25, noise: 0.2, want: over},
		"beyond all noise":     {ours: 31, theirs: 100, limit: 0.25, noise: 0.2, want: missed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := (row{}).against(tt.ours, tt.theirs, tt.limit, tt.noise).ok; got != tt.want {
				t.Errorf("against(%v, %v, %v, %v) says %q, want %q", tt.ours, tt.theirs, tt.limit, tt.noise, got, tt.want)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	rows := []row{
		row{what: "late", ours: "60 ms"}.below(60, 50, "50 ms"),
		row{what: "µs", ours: "1 µs", note: "A/A 1 %"}.against(1, 10, 0.25, 0),
	}
	var b strings.Builder
	if !print(&b, rows) {
		t.Error("an absolute time fails the run")
	}
	want := `what  ours   peer  ratio  budget   ok
late  60 ms               ≤ 50 ms  over
µs    1 µs         0.10   ≤ 0.25   ok    A/A 1 %
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("print (-want +got):\n%s", diff)
	}
	rows = append(rows, row{what: "ratio"}.against(5, 10, 0.25, 0))
	if print(&b, rows) {
		t.Error("a missed ratio does not fail the run")
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2, 5}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.9: 4.6, 1: 5} {
		if got := quantile(values, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", values, q, got, want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestPerSwitch(t *testing.T) {
	before := counters{"switch": {runs: 100, ns: 1000}, "wake": {runs: 50, ns: 500}, "scan": {runs: 1, ns: 1e6}}
	after := counters{"switch": {runs: 300, ns: 21_000}, "wake": {runs: 150, ns: 10_500}, "scan": {runs: 2, ns: 2e6}}
	d := after.minus(before).without("scan")
	if got, want := d.perSwitch(), 150.0; got != want { // (20,000 + 10,000) / 200
		t.Errorf("perSwitch = %v, want %v", got, want)
	}
	if got, want := d.plus(nil).list(), "switch 100, wake 100"; got != want {
		t.Errorf("list = %q, want %q", got, want)
	}
}
