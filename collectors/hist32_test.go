// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHist32(t *testing.T) {
	tests := map[string]struct {
		in, want [3]uint64 // slots 0, 5 and the last
	}{
		"empty":     {},
		"kept":      {in: [3]uint64{7, 1, math.MaxUint32}, want: [3]uint64{7, 1, math.MaxUint32}},
		"saturated": {in: [3]uint64{math.MaxUint32 + 1, 0, math.MaxUint64}, want: [3]uint64{math.MaxUint32, 0, math.MaxUint32}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := Hist{Sum: math.MaxUint64 - 1}
			h.Slots[0], h.Slots[5], h.Slots[HistSlots-1] = tt.in[0], tt.in[1], tt.in[2]
			c := h.Hist32()
			got := c.Hist()
			want := Hist{Sum: math.MaxUint64 - 1}
			want.Slots[0], want.Slots[5], want.Slots[HistSlots-1] = tt.want[0], tt.want[1], tt.want[2]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Hist32().Hist() (-want +got):\n%s", diff)
			}
			if c.Count() != want.Count() || c.Mean() != want.Mean() {
				t.Errorf("Count, Mean = %d, %v, want %d, %v", c.Count(), c.Mean(), want.Count(), want.Mean())
			}
			gotQ, gotOK := c.Quantile(0.5)
			wantQ, wantOK := want.Quantile(0.5)
			if gotQ != wantQ || gotOK != wantOK {
				t.Errorf("Quantile(0.5) = %v, %v, want %v, %v", gotQ, gotOK, wantQ, wantOK)
			}
			gotM, gotOK := c.Max()
			wantM, wantOK := want.Max()
			if gotM != wantM || gotOK != wantOK {
				t.Errorf("Max() = %v, %v, want %v, %v", gotM, gotOK, wantM, wantOK)
			}
		})
	}
}

func TestSchedCPUCounts(t *testing.T) {
	d := SchedCounts{Switches: 5, Negative: 1, Unstamped: 2, Collided: 3, QueueSamples: 4, QueueSum: 6}
	d.Wait.Add(5000)
	d.OnCPU.Add(70000)
	wait, onCPU := d.Wait, d.OnCPU
	wait.Add(1)
	c := NewSchedCPU(9, &d, &wait, &onCPU)
	if diff := cmp.Diff(d, c.Counts()); diff != "" {
		t.Errorf("Counts() (-want +got):\n%s", diff)
	}
	if c.CPU != 9 || c.WaitTotal != wait || c.OnCPUTotal != onCPU {
		t.Errorf("NewSchedCPU(9, …) = %+v, want CPU 9 and the totals given", c)
	}
	if q, ok := c.Queue(); !ok || q != 1.5 {
		t.Errorf("Queue() = %v, %v, want 1.5, true", q, ok)
	}
	if q, ok := (&SchedCPU{}).Queue(); ok {
		t.Errorf("Queue() = %v, true without samples, want false", q)
	}
}
