// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"runtime"
	"time"
)

// brakeSum is what all probes together may take of the host's CPU time, all CPUs together: twice what one
// may. In the first minute it is more by as much as the limit of one is.
const brakeSum = 2 * brakeSoft

// sumBrake keeps all collectors together within their budget: each may be within its own and the sum of
// them not. It presses the dearest first, and lets go in turn once there is room.
type sumBrake struct {
	above int // ticks in a row
	below int
}

// meter is what a collector's rows cost in the last window: since the last call of measure or base.
type meter struct {
	cost float64 // of the host's CPU time
	rate float64 // events a second

	last map[string]uint64 // events, by row
	from time.Duration
}

// base forgets the last reading, as a window begins now.
func (m *meter) base(rows []Probe, now time.Duration) {
	m.last, m.from = make(map[string]uint64, len(rows)), now
	for _, p := range rows {
		m.last[p.Name] = p.Events
	}
}

// measure is false where there was no reading to begin with. The rows divide the cost of a program they
// share, so that it adds up.
func (m *meter) measure(rows []Probe, now time.Duration, cpus int) bool {
	if m.last == nil || now <= m.from {
		m.base(rows, now)
		return false
	}
	span := (now - m.from).Seconds()
	m.cost, m.rate = 0, 0
	for _, p := range rows {
		n := grown(m.last[p.Name], p.Events)
		m.cost += float64(n) * p.NsPerEvent / 1e9 / span / float64(max(cpus, 1))
		if p.NsPerEvent > 0 {
			m.rate += float64(n) / span
		}
	}
	m.base(rows, now)
	return true
}

// takes is what a collector costs as it is run now.
func (s *seat) takes() float64 {
	switch b := s.brake; {
	case !s.running:
		return 0
	case b == nil:
		return s.meter.cost
	case b.stage == brakeStopped:
		return 0
	case b.stage == brakeSlowed:
		return b.cost / brakeOneIn
	default:
		return b.cost
	}
}

// sum judges what all collectors took in the tick that was just answered.
func (l *loop) sum(now time.Duration) {
	limit := 2 * brakeLimit(l.r.cfg.brake, now)
	all := 0.0
	var dearest, cheapest *seat
	for _, s := range l.seats {
		takes := s.takes()
		all += takes
		if s.brake == nil || !s.running || s.brake.stage == brakeStopped {
			continue
		}
		if dearest == nil || takes > dearest.takes() {
			dearest = s
		}
		if s.brake.shared && s.brake.stage == brakeSlowed && (cheapest == nil || takes < cheapest.takes()) {
			cheapest = s
		}
	}
	l.brake.above, l.brake.below = l.brake.above+1, l.brake.below+1
	if all <= limit || dearest == nil || dearest.takes() == 0 {
		l.brake.above = 0
	}
	if cheapest == nil || all-cheapest.takes()+cheapest.brake.cost > limit*brakeEase {
		l.brake.below = 0
	}
	switch {
	case l.brake.above >= brakeWindows+1: // one more than a single one's, which acts first
		dearest.brake.pressShared(now)
		l.brake = sumBrake{}
	case l.brake.below >= brakeWindows:
		cheapest.brake.release()
		l.brake = sumBrake{}
	}
}

// pressShared goes one stage on, on behalf of all. It is detached at the next tick.
func (b *brake) pressShared(now time.Duration) {
	free := b.stage == brakeFree
	b.press(now)
	if b.shared = true; free {
		b.phase = brakeLooks
	}
}

// release lets go of what was slowed. If it is detached the next tick attaches it.
func (b *brake) release() {
	b.stage, b.rest, b.above, b.shared = brakeFree, 0, 0, false
}

// meterOf notes the cost of a collector that has no brake.
func (s *seat) meterOf(now time.Duration) {
	if s.brake != nil {
		return
	}
	if !s.running || s.sent.drop {
		s.meter = meter{}
		return
	}
	if s.sent.collect {
		s.meter.measure(s.rows, now, runtime.NumCPU())
	}
}
