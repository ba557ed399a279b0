// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSlot(t *testing.T) {
	const us = 1000
	tests := map[string]struct {
		ns   uint64
		slot int
		in   Bucket
	}{
		"nothing":          {0, 0, Bucket{0, 1}},
		"below a µs":       {999, 0, Bucket{0, 1}},
		"1 µs":             {1 * us, 0, Bucket{0, 1}},
		"almost 2 µs":      {2*us - 1, 0, Bucket{0, 1}},
		"2 µs":             {2 * us, 1, Bucket{2, 3}},
		"3.999 µs":         {4*us - 1, 1, Bucket{2, 3}},
		"4 µs":             {4 * us, 2, Bucket{4, 7}},
		"1 ms":             {1000 * us, 9, Bucket{512, 1023}},
		"last whole slot":  {(1<<26)*us - 1, 25, Bucket{1 << 25, 1<<26 - 1}},
		"first of the top": {(1 << 26) * us, 26, Bucket{1 << 26, 1<<27 - 1}},
		"beyond the top":   {(1 << 30) * us, 26, Bucket{1 << 26, 1<<27 - 1}},
		"the most":         {math.MaxUint64, 26, Bucket{1 << 26, 1<<27 - 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Slot(tt.ns); got != tt.slot {
				t.Errorf("Slot(%d) = %d, want %d", tt.ns, got, tt.slot)
			}
			if got := SlotBucket(tt.slot); got != tt.in {
				t.Errorf("SlotBucket(%d) = %v, want %v", tt.slot, got, tt.in)
			}
		})
	}
	for i := 1; i < HistSlots; i++ {
		if lo, before := SlotBucket(i).Lo, SlotBucket(i-1).Hi; lo != before+1 {
			t.Errorf("SlotBucket(%d).Lo = %d, want %d: no gap and no overlap", i, lo, before+1)
		}
	}
}

// hist makes a histogram of pairs: slot, count.
func hist(sum uint64, pairs ...uint64) Hist {
	h := Hist{Sum: sum}
	for i := 0; i < len(pairs); i += 2 {
		h.Slots[pairs[i]] = pairs[i+1]
	}
	return h
}

func TestHistQuantile(t *testing.T) {
	tests := map[string]struct {
		h    Hist
		q    float64
		want int // slot; -1 for none
		max  int
	}{
		"empty":                 {hist(0), 0.5, -1, -1},
		"one":                   {hist(0, 4, 1), 0.5, 4, 4},
		"one, all":              {hist(0, 4, 1), 1, 4, 4},
		"one, next to nothing":  {hist(0, 4, 1), 1e-12, 4, 4},
		"one, no share":         {hist(0, 4, 1), 0, 4, 4},
		"two, the middle":       {hist(0, 2, 1, 7, 1), 0.5, 2, 7},
		"two, past it":          {hist(0, 2, 1, 7, 1), 0.51, 7, 7},
		"p99 of 100":            {hist(0, 3, 99, 20, 1), 0.99, 3, 20},
		"p99 of 101":            {hist(0, 3, 99, 20, 2), 0.99, 20, 20},
		"p90 on an edge":        {hist(0, 0, 9, 5, 1), 0.9, 0, 5},
		"max of all":            {hist(0, 0, 9, 5, 1), 1, 5, 5},
		"many":                  {hist(0, 1, 1<<50, 2, 1<<50), 0.5, 1, 2},
		"last slot":             {hist(0, 26, 3), 0.99, 26, 26},
		"rank rounds up to all": {hist(0, 1, 999, 9, 1), 0.9999, 9, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check := func(what string, got Bucket, ok bool, slot int) {
				t.Helper()
				want := Bucket{}
				if slot >= 0 {
					want = SlotBucket(slot)
				}
				if got != want || ok != (slot >= 0) {
					t.Errorf("%s = %v, %v, want %v", what, got, ok, want)
				}
			}
			q, ok := tt.h.Quantile(tt.q)
			check("Quantile", q, ok, tt.want)
			m, ok := tt.h.Max()
			check("Max", m, ok, tt.max)
		})
	}
}

func TestHistSum(t *testing.T) {
	var h Hist
	if got := h.Mean(); got != 0 {
		t.Errorf("Mean of nothing = %v, want 0", got)
	}
	for _, ns := range []uint64{1500, 2500, 5000} {
		h.Add(ns)
	}
	if diff := cmp.Diff(hist(9000, 0, 1, 1, 1, 2, 1), h); diff != "" {
		t.Errorf("Add (-want +got):\n%s", diff)
	}
	if got, want := h.Count(), uint64(3); got != want {
		t.Errorf("Count = %d, want %d", got, want)
	}
	if got, want := h.Mean(), 3*time.Microsecond; got != want {
		t.Errorf("Mean = %v, want %v", got, want)
	}
	more := hist(1000, 0, 2, 26, 1)
	h.Plus(&more)
	if diff := cmp.Diff(hist(10000, 0, 3, 1, 1, 2, 1, 26, 1), h); diff != "" {
		t.Errorf("Plus (-want +got):\n%s", diff)
	}
}

func TestHistSince(t *testing.T) {
	tests := map[string]struct{ prev, cur, want Hist }{
		"grows":           {hist(10, 1, 5), hist(30, 1, 7, 2, 1), hist(20, 1, 2, 2, 1)},
		"stands":          {hist(10, 1, 5), hist(10, 1, 5), hist(0)},
		"from nothing":    {hist(0), hist(10, 1, 5), hist(10, 1, 5)},
		"restarted":       {hist(90, 1, 9, 2, 9), hist(10, 1, 9, 2, 1), hist(10, 1, 9, 2, 1)},
		"only the sum is": {hist(90, 1, 9), hist(10, 1, 10), hist(10, 1, 10)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.cur.Since(&tt.prev)); diff != "" {
				t.Errorf("Since (-want +got):\n%s", diff)
			}
		})
	}
}
