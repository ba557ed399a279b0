// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// loop is the state of one Run. Only Run's goroutine touches it.
type loop struct {
	r       *Runner
	emit    func(*Snapshot)
	began   time.Time
	asleep  time.Duration
	seats   []*seat
	answers chan answer
	closed  chan closing

	tick, bound *time.Timer
	gauge       *time.Timer // of looks at the cost between ticks
	gauging     bool        // it is set
	interval    time.Duration
	due         time.Duration // of the next tick
	held        held
	epoch       time.Time // what the wall clock said when the run began, as of the last tick
	brake       sumBrake
	ease        ease

	round *Snapshot // open: asked and not emitted; nil between flush and tick
	at    time.Duration
	seq   uint64
}

func newLoop(r *Runner, emit func(*Snapshot)) *loop {
	n := len(r.cfg.Collectors)
	l := &loop{
		r:      r,
		emit:   emit,
		began:  time.Now(),
		asleep: r.cfg.Asleep(),
		// Room for one answer and one farewell of every worker, so that none ever waits for an
		// emit that takes its time, or for a Run that has given up on it.
		answers:  make(chan answer, n),
		closed:   make(chan closing, n),
		interval: r.Interval(),
	}
	for i, c := range r.cfg.Collectors {
		meta := c.Meta()
		l.seats = append(l.seats, &seat{
			meta: meta,
			off:  r.cfg.Off[meta.ID],
			rows: slices.Clone(c.Probes()),
			worker: &worker{
				seat: i, c: c, began: l.began,
				missed:   missedRuns{read: r.cfg.Missed},
				requests: make(chan request, 1), answers: l.answers, closed: l.closed,
			},
		})
		if _, ok := c.(Pauser); ok {
			l.seats[i].brake = &brake{times: r.cfg.brake}
		}
	}
	l.due = l.interval
	l.tick = time.NewTimer(l.interval)
	l.bound = time.NewTimer(min(firstBound, l.interval/2))
	l.gauge = time.NewTimer(time.Hour)
	l.gauge.Stop()
	return l
}

func (l *loop) now() time.Duration { return time.Since(l.began) }

// open begins a round: it asks who is due and notes whom the snapshot waits for.
func (l *loop) open(at, late time.Duration) {
	l.at = at
	taken := l.r.cfg.Wall()
	l.round = &Snapshot{Seq: l.seq, Taken: taken, At: at, Late: late, Step: l.stepped(taken)}
	l.seq++
	l.apply()
	for _, s := range l.seats {
		l.ask(s, true)
	}
	l.flushIfAnswered()
}

// leastStep is what a clock does not move by while it is corrected as it should be.
const leastStep = time.Second

// stepped is by how much the wall clock was set since the last call. A host that slept moves both.
func (l *loop) stepped(wall time.Time) (step time.Duration) {
	epoch := wall.Round(0).Add(-l.now() - l.r.cfg.Asleep()) // without its monotonic part, which no step moves
	if !l.epoch.IsZero() {
		step = epoch.Sub(l.epoch)
	}
	l.epoch = epoch
	if step.Abs() <= leastStep {
		return 0
	}
	return step
}

// next opens the round of the tick that is due. After a long pause it skips the ticks it missed.
func (l *loop) next() {
	if l.held.on {
		return
	}
	if l.round != nil {
		l.flush() // emit held us up past the bound
	}
	now := l.now()
	if now < l.due {
		l.tick.Reset(l.due - now)
		return
	}
	late := now - l.due
	at := l.due + late/l.interval*l.interval
	l.due = at + l.interval
	slept := l.r.cfg.Asleep()
	late = max(late, slept-l.asleep)
	l.asleep = slept
	if late <= 2*l.interval {
		late = 0
	}
	l.tick.Reset(l.due - now)
	l.bound.Reset(l.interval / 2)
	l.open(at, late)
}

// reschedule takes over a changed interval, counted from the last tick.
func (l *loop) reschedule() {
	interval := l.r.Interval()
	if l.ease.on && !l.r.chosen() {
		interval = max(interval, min(2*interval, easeMost))
	}
	if interval == l.interval {
		return
	}
	l.interval = interval
	now := l.now()
	l.due = max(l.at+interval, now)
	l.tick.Reset(l.due - now)
}

// apply takes over what is wanted.
func (l *loop) apply() {
	wanted, host := l.r.wanted()
	now := l.now()
	for _, s := range l.seats {
		targets, ok := wanted[s.meta.ID]
		ok = (ok || !s.meta.OnDemand) && s.off == ""
		if l.held.on {
			s.wanted = s.wanted && !s.meta.OnDemand // what its brake knows stays
			continue
		}
		if s.brake != nil {
			if !ok {
				s.brake.free() // whoever looks next gets a fresh attempt
			}
			ok = ok && !s.brake.stopped(now)
		}
		if ok && !s.wanted && !s.running {
			s.err, s.tries = nil, 0 // a new wish gets a fresh attempt
		}
		s.wanted, s.targets, s.host = ok, targets, host[s.meta.ID]
	}
}

// first says whether the first snapshot is not out yet. What starts slowly begins after it: the two
// would only take each other's time.
func (l *loop) first() bool { return l.at == 0 && l.round != nil }

// reconcile starts, closes and narrows at once, between ticks.
func (l *loop) reconcile() {
	l.apply()
	for _, s := range l.seats {
		l.ask(s, false)
	}
	l.detached()
}

// ask sends s what is to do, if anything; tick says that a collection is due as well.
func (l *loop) ask(s *seat, tick bool) {
	if s.busy && s.glancing && tick {
		s.owed, s.awaited = true, true
	}
	if s.busy || s.crash != "" {
		return
	}
	if l.held.on {
		l.letGo(s)
		return
	}
	now := l.now()
	q := request{on: s.wanted, targets: s.targets, host: s.host}
	switch {
	case s.wanted && !s.running:
		if l.first() && s.meta.Slow || !s.mayStart(now) {
			return
		}
		q.collect = true
		s.awaited = l.first()
	case !s.wanted && !s.running:
		return
	case s.wanted && s.again && !s.undelivered():
		q.collect, q.drop, q.again = true, true, true
		s.again, s.awaited = false, l.round != nil
	case s.wanted && tick && l.at >= s.due && !s.undelivered() && s.plan(&q):
		s.awaited = true
	case s.wanted && slices.Equal(s.targets, s.narrowed) && s.host == s.hosted:
		return
	}
	if q.collect {
		s.due = l.at + s.meta.Interval
		if q.again {
			s.due = 0
		}
		if _, ok := s.worker.c.(Auditor); ok {
			q.rows = l.rows(now)
		}
	}
	s.narrowed, s.hosted = s.targets, s.host
	s.busy, s.starting, s.asked, s.sent = true, !s.running, now, q
	s.worker.requests <- q // one slot, and s was not busy: there is room
}

// take notes an answer and sends the next request if the world has changed meanwhile.
func (l *loop) take(a answer) {
	s := l.seats[a.seat]
	if s.glancing {
		l.glanced(s, a)
		return
	}
	started := s.starting && a.running
	s.busy, s.starting, s.awaited = false, false, false
	s.running, s.err, s.narrowErr = a.running, a.err, a.narrowErr
	if a.rows != nil {
		s.rows = a.rows
	}
	if a.sample != nil {
		s.ready = a.sample
	}
	s.idle = s.sent.idle && a.running
	s.weigh(l.now())
	if s.brake != nil && s.brake.stage == brakeStopped {
		s.wanted = false // until it has rested: closed at once
	}
	switch {
	case a.crash != nil:
		l.crashed(s, a.crash)
	case started:
		s.tries = 0
	case !a.running && a.err != nil:
		s.tries++
		s.failed = l.now()
	}
	l.flushIfAnswered()
	l.ask(s, false)
	l.armGauge()
	l.detached()
}

// crashed notes a panic: the seat stays empty.
func (l *loop) crashed(s *seat, c *Crash) {
	s.crash = c.Message
	l.r.mu.Lock()
	l.r.crashes = append(l.r.crashes, *c)
	l.r.mu.Unlock()
}

func (l *loop) flushIfAnswered() {
	if l.round == nil || slices.ContainsFunc(l.seats, func(s *seat) bool { return s.awaited }) {
		return
	}
	l.flush()
}

// flush emits the open round with everything that has answered.
func (l *loop) flush() {
	l.bound.Stop()
	if l.round == nil {
		return
	}
	snap, now := l.round, l.now()
	l.round = nil
	snap.Probes = make(map[ID][]Probe, len(l.seats))
	for _, s := range l.seats {
		s.awaited = false
		if s.ready != nil {
			s.ready.put(snap)
			s.ready = nil
		}
		snap.Probes[s.meta.ID] = s.shown(now, l.interval)
	}
	l.sum(now)
	l.slower(snap)
	l.emit(snap)
	if snap.At == 0 {
		l.reconcile() // what waited for it
	}
}

// rows are the newest probe rows of all collectors.
func (l *loop) rows(now time.Duration) []Probe {
	var all []Probe
	for _, s := range l.seats {
		all = append(all, s.shown(now, l.interval)...)
	}
	return all
}

// close ends the workers and waits for them.
func (l *loop) close() error {
	l.tick.Stop()
	l.bound.Stop()
	l.gauge.Stop()
	hung := map[string]bool{}
	for _, s := range l.seats {
		close(s.worker.requests)
		hung[string(s.meta.ID)] = true
	}
	patience := time.NewTimer(closeBound)
	defer patience.Stop()
	var errs []error
	for len(errs) < len(l.seats) {
		select {
		case c := <-l.closed:
			errs = append(errs, c.err)
			delete(hung, string(l.seats[c.seat].meta.ID))
		case <-patience.C:
			names := strings.Join(slices.Sorted(maps.Keys(hung)), ", ")
			return errors.Join(append(errs, fmt.Errorf("closing %s: no answer for %v", names, closeBound))...)
		}
	}
	return errors.Join(errs...)
}
