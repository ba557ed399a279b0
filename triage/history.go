// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"sync"
	"time"
)

// History holds moments, oldest first, within one byte budget. One goroutine appends; any may read.
type History struct {
	mu      sync.RWMutex
	moments []Moment
}

// Append adds the newest moment.
func (h *History) Append(m Moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moments = append(h.moments, m)
}

// Last returns the newest moment, false before there is one.
func (h *History) Last() (Moment, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.moments) == 0 {
		return Moment{}, false
	}
	return h.moments[len(h.moments)-1], true
}

// Window returns the moments with from < At ≤ to, oldest first. The slice is the caller's; the
// moments are shared and must not be written.
func (h *History) Window(from, to time.Duration) []Moment {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out []Moment
	for _, m := range h.moments {
		if m.At > from && m.At <= to {
			out = append(out, m)
		}
	}
	return out
}
