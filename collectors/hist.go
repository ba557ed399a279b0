// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math/bits"
	"time"
)

// HistSlots is the number of buckets of a histogram: 1 µs to 67 s, and one for all above.
const HistSlots = 27

// Hist is a log2 histogram of durations, as the BPF programs count them: slot 0 holds 0–1 µs,
// slot i holds 2^i to 2^(i+1)−1 µs, the last slot everything longer.
type Hist struct {
	Slots [HistSlots]uint64
	Sum   uint64 // ns, exact
}

// Bucket is one slot's range in microseconds, both ends inclusive.
type Bucket struct{ Lo, Hi uint64 }

// SlotBucket returns the range of slot i.
func SlotBucket(i int) Bucket {
	if i == 0 {
		return Bucket{0, 1}
	}
	return Bucket{1 << i, 1<<(i+1) - 1}
}

// Slot returns the slot that a duration of ns nanoseconds is counted in.
func Slot(ns uint64) int {
	us := ns / 1000
	if us == 0 {
		return 0
	}
	return min(bits.Len64(us)-1, HistSlots-1)
}

// Add counts one duration.
func (h *Hist) Add(ns uint64) {
	h.Slots[Slot(ns)]++
	h.Sum += ns
}

// Count is the number of events.
func (h *Hist) Count() uint64 {
	var n uint64
	for _, c := range h.Slots {
		n += c
	}
	return n
}

// Mean is the exact mean, 0 without events.
func (h *Hist) Mean() time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	return time.Duration(h.Sum / n)
}

// Quantile returns the bucket that holds the q-th quantile (0 < q ≤ 1) by the nearest-rank rule:
// the bucket of the event that at least a share q of all events do not exceed. False without events.
func (h *Hist) Quantile(q float64) (Bucket, bool) {
	n := h.Count()
	if n == 0 {
		return Bucket{}, false
	}
	rank := uint64(q * float64(n))
	if float64(rank) < q*float64(n) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for i, c := range h.Slots {
		if seen += c; seen >= rank {
			return SlotBucket(i), true
		}
	}
	return SlotBucket(HistSlots - 1), true
}

// Max returns the highest bucket that holds an event. False without events.
func (h *Hist) Max() (Bucket, bool) {
	for i := HistSlots - 1; i >= 0; i-- {
		if h.Slots[i] > 0 {
			return SlotBucket(i), true
		}
	}
	return Bucket{}, false
}

// Plus adds other's events to h.
func (h *Hist) Plus(other *Hist) {
	for i := range h.Slots {
		h.Slots[i] += other.Slots[i]
	}
	h.Sum += other.Sum
}

// Since returns h less an earlier reading of the same cumulative histogram. If any slot went
// back the source was restarted, and all of h is new.
func (h *Hist) Since(prev *Hist) Hist {
	var d Hist
	for i := range h.Slots {
		if h.Slots[i] < prev.Slots[i] {
			return *h
		}
		d.Slots[i] = h.Slots[i] - prev.Slots[i]
	}
	if h.Sum < prev.Sum {
		return *h
	}
	d.Sum = h.Sum - prev.Sum
	return d
}
