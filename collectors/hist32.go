// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"time"
)

// Hist32 is a Hist of one CPU over one span, in half the room. A slot stops at the highest count
// it can hold; a CPU that does one event every 10 ns needs 43 s for that.
type Hist32 struct {
	Slots [HistSlots]uint32
	Sum   uint64 // ns, exact
}

// Hist32 returns h in half the room.
func (h *Hist) Hist32() Hist32 {
	c := Hist32{Sum: h.Sum}
	for i, n := range h.Slots {
		c.Slots[i] = uint32(min(n, math.MaxUint32))
	}
	return c
}

// Hist returns h at full width.
func (h *Hist32) Hist() Hist {
	w := Hist{Sum: h.Sum}
	for i, n := range h.Slots {
		w.Slots[i] = uint64(n)
	}
	return w
}

// Count is Hist.Count.
func (h *Hist32) Count() uint64 {
	var n uint64
	for _, c := range h.Slots {
		n += uint64(c)
	}
	return n
}

// Mean is Hist.Mean.
func (h *Hist32) Mean() time.Duration {
	w := h.Hist()
	return w.Mean()
}

// Quantile is Hist.Quantile.
func (h *Hist32) Quantile(q float64) (Bucket, bool) {
	w := h.Hist()
	return w.Quantile(q)
}

// Max is Hist.Max.
func (h *Hist32) Max() (Bucket, bool) {
	w := h.Hist()
	return w.Max()
}
