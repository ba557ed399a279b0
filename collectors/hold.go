// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"time"
)

// Beginner is a collector whose samples tell only what changed, so that none can be left out. BeginAnew
// makes the next one a first one, as after Start. It is called on the collector's goroutine.
type Beginner interface {
	BeginAnew()
}

// BeginAnew implements Beginner.
func (c *taskCollector) BeginAnew() { c.begun = false }

// held is the loop's side of Hold.
type held struct {
	on       bool
	since    time.Duration
	detached chan struct{} // to be closed; nil once it is
}

// holdOn takes over what the last Hold said.
func (l *loop) holdOn() {
	on, detached := l.r.hold()
	switch {
	case on && !l.held.on:
		l.flush()
		l.tick.Stop()
		l.held = held{on: true, since: l.now(), detached: detached}
	case on && l.held.detached != detached && !isClosed(detached):
		l.held.detached = detached // asked once more
	case !on && l.held.on:
		l.goOn()
	}
}

// letGo makes s let go of the kernel: it closes what is not wanted now and pauses the rest.
func (l *loop) letGo(s *seat) {
	q := request{on: s.wanted, idle: s.wanted, targets: s.narrowed, host: s.hosted}
	if !s.running || s.idle || s.wanted && s.brake == nil {
		return
	}
	s.busy, s.asked, s.sent = true, l.now(), q
	s.worker.requests <- q
}

// detached tells who waits in Hold when all have let go.
func (l *loop) detached() {
	if l.held.detached == nil || slices.ContainsFunc(l.seats, (*seat).attached) {
		return
	}
	close(l.held.detached)
	l.held.detached = nil
}

// attached says that, while the runner holds on, s may still have programs attached.
func (s *seat) attached() bool {
	if s.crash != "" {
		return false
	}
	return s.busy || s.running && !s.idle && (s.brake != nil || !s.wanted)
}

// goOn begins a round at once, as if the run began: everybody attaches again and takes a new baseline.
func (l *loop) goOn() {
	now, slept := l.now(), l.r.cfg.Asleep()
	late := now - l.held.since + slept - l.asleep
	if late <= 2*l.interval {
		late = 0
	}
	l.asleep, l.held = slept, held{}
	for _, s := range l.seats {
		s.again, s.idle = s.running || s.busy, false
		if s.brake != nil {
			s.brake.phase, s.brake.watch = brakeLooks, watching{}
		}
	}
	l.due = now + l.interval
	l.tick.Reset(l.interval)
	l.bound.Reset(l.interval / 2)
	l.open(now, late)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
