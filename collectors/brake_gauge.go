// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"runtime"
	"time"

	"bpf60/bpf"
)

// Gauger is a Pauser whose programs a storm makes dear at once: by millions of events a second. Gauge
// is a single look into a map, of some microseconds, on the collector's goroutine between Start and
// Close: events since load, and what each takes. BPF statistics would tell as much and cost every
// program of the host as much again.
type Gauger interface {
	Pauser
	Gauge() (events uint64, ns float64, err error)
}

const (
	// gaugeEvery is the window of a brake that is watched. Two are over the limit before it acts, so that
	// a storm is acted on within half a second.
	gaugeEvery = 100 * time.Millisecond
	// gaugeFrom is the cost that a collector is watched from, as a part of brakeSoft. Below it a tick is
	// soon enough, and a host that does little is not woken ten times a second. What is attached on demand
	// is watched always: somebody is looking.
	gaugeFrom = 0.1
)

// gauge is what one look told.
type gauge struct {
	events uint64
	ns     float64
}

// watching is the state of the windows between two ticks.
type watching struct {
	begun bool // last and at are of a time since when the programs have been attached
	last  uint64
	at    time.Duration
	over  int // windows in a row
}

// attached says whether the collector's programs are, while no request is open.
func (b *brake) attached() bool { return b.stage != brakeStopped && b.phase == brakeLooks }

// watched says whether to look between ticks.
func (b *brake) watched(onDemand bool) bool {
	return b.attached() && (onDemand || b.stage == brakeSlowed || b.cost >= gaugeFrom*brakeSoft)
}

// glance judges the window since the last look. It returns true when the collector has to be detached at
// once: it is slowed from now on, or stopped.
func (b *brake) glance(g gauge, now time.Duration, cpus int) bool {
	w := &b.watch
	events, span := grown(w.last, g.events), (now - w.at).Seconds()
	begun := w.begun && g.events >= w.last && span > 0
	w.begun, w.last, w.at = true, g.events, now
	if !begun {
		return false
	}
	cost := float64(events) * g.ns / 1e9 / span / float64(max(cpus, 1))
	if cost <= b.limit(now) {
		w.over = 0
		return false
	}
	if w.over++; w.over < brakeWindows {
		return false
	}
	b.cost, b.rate = cost, float64(events)/span
	b.press(now)
	b.watch = watching{}
	return true
}

// press goes one stage on.
func (b *brake) press(now time.Duration) {
	b.above, b.below = 0, 0
	if b.stage == brakeFree {
		b.stage, b.phase = brakeSlowed, brakeSleeps // it is detached at once, whoever asked for it
		return
	}
	b.rest = max(2*b.rest, cmp.Or(b.times.rest, brakeRest))
	b.stage, b.until = brakeStopped, now+b.rest
}

// armGauge sets the timer if somebody has to be watched. An idle host has nobody.
func (l *loop) armGauge() {
	if l.gauging || l.held.on {
		return
	}
	for _, s := range l.seats {
		if s.gauged() {
			l.gauging = true
			l.gauge.Reset(gaugeEvery)
			return
		}
	}
}

// gauged says whether the seat is to be watched between ticks.
func (s *seat) gauged() bool {
	if s.brake == nil || !s.running || !s.wanted || s.crash != "" {
		return false
	}
	_, ok := s.worker.c.(Gauger)
	return ok && s.brake.watched(s.meta.OnDemand)
}

// look asks who is watched what it took. A collector that is busy answers for that soon.
func (l *loop) look() {
	l.gauging = false
	if l.held.on {
		return
	}
	for _, s := range l.seats {
		if s.busy || !s.gauged() {
			continue
		}
		s.busy, s.glancing = true, true
		s.worker.requests <- request{on: true, gauge: true}
	}
	l.armGauge()
}

// glanced takes the answer to a look.
func (l *loop) glanced(s *seat, a answer) {
	s.busy, s.glancing = false, false
	tick := s.owed
	s.owed, s.awaited = false, false
	switch {
	case a.crash != nil:
		s.running = a.running
		l.crashed(s, a.crash)
		l.flushIfAnswered()
		return
	case a.gauge == nil:
	case s.brake.attached() && s.brake.glance(*a.gauge, l.now(), runtime.NumCPU()):
		l.detach(s, tick)
		return
	}
	l.ask(s, tick)
	l.flushIfAnswered()
}

// detach reads a collector for the last time and pauses it, at once. If it is stopped it closes when it
// has answered.
func (l *loop) detach(s *seat, tick bool) {
	s.awaited = tick
	s.busy, s.asked = true, l.now()
	s.sent = request{on: true, collect: true, pause: true, urgent: true, targets: s.narrowed, host: s.hosted}
	s.worker.requests <- s.sent
}

// glance serves a look. What cannot be read now is the next collection's to tell.
func (w *worker) glance(a *answer) {
	c, ok := w.c.(Gauger)
	if !ok || !w.running || w.paused {
		return
	}
	if n, ns, err := c.Gauge(); err == nil {
		a.gauge = &gauge{n, ns}
	}
}

// Gauge implements Gauger.
func (c *schedCollector) Gauge() (uint64, float64, error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	all, err := c.r.Read(c.gauged)
	if err != nil {
		return 0, 0, err
	}
	c.gauged = all
	var n uint64
	for i := range all {
		n += all[i].Switches
	}
	return n, costOf(c.r.Method()), nil
}

// Gauge implements Gauger.
func (c *wakeCollector) Gauge() (uint64, float64, error) {
	all, err := c.r.Read(c.gauged)
	if err != nil {
		return 0, 0, err
	}
	c.gauged = all
	var n uint64
	for i := range all {
		n += all[i].Switches
	}
	return n, costOf(c.r.Method()), nil
}

// Gauge implements Gauger: what a part takes of all calls, by its share of the hooks.
func (p *syscallPart) Gauge() (uint64, float64, error) {
	if p.r == nil {
		return 0, 0, nil // given up
	}
	t, err := p.r.Totals()
	ns := p.hooks() * p.src.share()
	if p.part&(bpf.SyscallCount|bpf.SyscallTime) != 0 { // every call is an event of theirs
		ns += p.ns
	}
	return t.Calls, ns, err
}

// Gauge implements Gauger.
func (c *kmemCollector) Gauge() (uint64, float64, error) {
	t, err := c.r.Read()
	return t.Allocs + t.Frees, bpf.CostAlloc, err
}

// Gauge implements Gauger.
func (c *cachestatCollector) Gauge() (uint64, float64, error) {
	t, err := c.r.Read()
	return t.Asked + t.Added + t.Dirtied, bpf.CostCache, err
}
