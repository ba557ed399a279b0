// SPDX-License-Identifier: Apache-2.0

package collectors

// The runner's goroutines:
//
//	cli     → Run      the one loop: ticks, what is due, what is emitted
//	Run     → worker   request, one slot; the next only after the answer to the last
//	worker  → Run      answer: sample, error and probe rows; one goroutine a collector
//	Run     → emit     snapshots, one after the other, on Run's goroutine
//	anybody → Run      Want and SetInterval leave a note and wake the loop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultInterval = time.Second
	// minInterval keeps a mistyped interval from making the host worse.
	minInterval = 10 * time.Millisecond
	// firstBound is how long the first snapshot waits for the collectors that are not Slow. It
	// leaves half of the 100 ms that a first frame may take.
	firstBound = 50 * time.Millisecond
	// retryAfter is how long a collector that could not start rests before its one retry.
	retryAfter = time.Second
	// closeBound is how long Run waits for its workers once its context has ended.
	closeBound = 2 * time.Second
)

// RunnerConfig says what to run and how often.
type RunnerConfig struct {
	Interval   time.Duration // between ticks; 1 s if 0, at least 10 ms
	Collectors []Collector
	Off        map[ID]string        // collectors that stay off, with the reason to show
	Wall       func() time.Time     // the wall clock, for display only; time.Now if nil
	Asleep     func() time.Duration // how long the host has been suspended since boot; read from the kernel if nil
}

// Runner asks every collector on one clock and bundles the answers into snapshots. It is the
// Source of a live run.
//
// At each tick it asks every collector that is due and emits when all have answered, at the latest
// half an interval later; what answers later goes into the next snapshot with its true span. A
// collector that has not answered, or whose answer is not emitted yet, is not asked: one that
// needs more than half an interval is asked less often, and its samples cover more.
type Runner struct {
	cfg  RunnerConfig
	wake chan struct{} // one slot: holders or interval changed

	mu       sync.Mutex
	interval time.Duration
	holders  map[string][]Want
	crashes  []Crash
}

// Crash is a panic that was recovered.
type Crash struct {
	Name    string // of the collector or rule
	Message string
	Stack   []byte
}

// NewRunner returns a runner that does nothing until Run.
func NewRunner(cfg RunnerConfig) *Runner {
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Asleep == nil {
		cfg.Asleep = asleep
	}
	return &Runner{
		cfg:      cfg,
		wake:     make(chan struct{}, 1),
		interval: max(cfg.Interval, minInterval),
		holders:  map[string][]Want{},
	}
}

// Want replaces what holder wants. The runner starts an on-demand collector when its first holder
// wants it, closes it when the last one lets go, and narrows collectors to the targets of all
// holders. A want of the zero target is for the whole host. Any goroutine may call it; it does
// not wait for the collectors.
func (r *Runner) Want(holder string, wants []Want) {
	r.mu.Lock()
	if len(wants) == 0 {
		delete(r.holders, holder)
	} else {
		r.holders[holder] = slices.Clone(wants)
	}
	r.mu.Unlock()
	r.poke()
}

// SetInterval changes the time between ticks, from the last tick on. Any goroutine may call it.
func (r *Runner) SetInterval(d time.Duration) {
	r.mu.Lock()
	r.interval = max(d, minInterval)
	r.mu.Unlock()
	r.poke()
}

// Interval is the time between ticks.
func (r *Runner) Interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// Crashes lists the panics of collectors so far, with their stacks.
func (r *Runner) Crashes() []Crash {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.crashes)
}

func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it will see both changes
	}
}

// wanted returns who is wanted, with the targets of all holders, each once and in a stable order.
func (r *Runner) wanted() map[ID][]Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[ID][]Target{}
	for _, holder := range slices.Sorted(maps.Keys(r.holders)) {
		for _, w := range r.holders[holder] {
			targets := all[w.ID]
			if w.Target != (Target{}) && !slices.Contains(targets, w.Target) {
				targets = append(targets, w.Target)
			}
			all[w.ID] = targets
		}
	}
	return all
}

// Run starts the collectors in the background and emits snapshots until ctx ends. Then it closes
// every collector; it waits 2 s for them and returns an error that names who hung. It may be
// called once. The first snapshot holds gauges and comes within 50 ms; its At is 0.
func (r *Runner) Run(ctx context.Context, emit func(*Snapshot)) error {
	workCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoop(r, emit)
	for _, s := range l.seats {
		go s.worker.run(workCtx)
	}
	l.open(0, 0)
	for {
		select {
		case <-ctx.Done():
			return l.close()
		case a := <-l.answers:
			l.take(a)
		case <-l.tick.C:
			l.next()
		case <-l.bound.C:
			l.flush()
		case <-r.wake:
			l.reschedule()
			l.reconcile()
		}
	}
}

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
	interval    time.Duration
	due         time.Duration // of the next tick

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
				requests: make(chan request, 1), answers: l.answers, closed: l.closed,
			},
		})
	}
	l.due = l.interval
	l.tick = time.NewTimer(l.interval)
	l.bound = time.NewTimer(min(firstBound, l.interval/2))
	return l
}

func (l *loop) now() time.Duration { return time.Since(l.began) }

// open begins a round: it asks who is due and notes whom the snapshot waits for.
func (l *loop) open(at, late time.Duration) {
	l.at = at
	l.round = &Snapshot{Seq: l.seq, Taken: l.r.cfg.Wall(), At: at, Late: late}
	l.seq++
	l.apply()
	for _, s := range l.seats {
		l.ask(s, true)
	}
	l.flushIfAnswered()
}

// next opens the round of the tick that is due. After a long pause it skips the ticks it missed.
func (l *loop) next() {
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
	wanted := l.r.wanted()
	for _, s := range l.seats {
		targets, ok := wanted[s.meta.ID]
		ok = (ok || !s.meta.OnDemand) && s.off == ""
		if ok && !s.wanted && !s.running {
			s.err, s.tries = nil, 0 // a new wish gets a fresh attempt
		}
		s.wanted, s.targets = ok, targets
	}
}

// reconcile starts, closes and narrows at once, between ticks.
func (l *loop) reconcile() {
	l.apply()
	for _, s := range l.seats {
		l.ask(s, false)
	}
}

// ask sends s what is to do, if anything; tick says that a collection is due as well.
func (l *loop) ask(s *seat, tick bool) {
	if s.busy || s.crash != "" {
		return
	}
	now := l.now()
	q := request{on: s.wanted, targets: s.targets}
	switch {
	case s.wanted && !s.running:
		if !s.mayStart(now) {
			return
		}
		q.collect = true
		s.awaited = l.at == 0 && l.round != nil && !s.meta.Slow
	case !s.wanted && !s.running:
		return
	case s.wanted && tick && l.at >= s.due && !s.undelivered():
		q.collect = true
		s.awaited = true
	case s.wanted && slices.Equal(s.targets, s.narrowed):
		return
	}
	if q.collect {
		s.due = l.at + s.meta.Interval
		if _, ok := s.worker.c.(Auditor); ok {
			q.rows = l.rows(now)
		}
	}
	s.narrowed = s.targets
	s.busy, s.starting, s.asked = true, !s.running, now
	s.worker.requests <- q // one slot, and s was not busy: there is room
}

// take notes an answer and sends the next request if the world has changed meanwhile.
func (l *loop) take(a answer) {
	s := l.seats[a.seat]
	started := s.starting && a.running
	s.busy, s.starting, s.awaited = false, false, false
	s.running, s.err, s.narrowErr = a.running, a.err, a.narrowErr
	if a.rows != nil {
		s.rows = a.rows
	}
	if a.sample != nil {
		s.ready = a.sample
	}
	switch {
	case a.crash != nil:
		s.crash = a.crash.Message
		l.r.mu.Lock()
		l.r.crashes = append(l.r.crashes, *a.crash)
		l.r.mu.Unlock()
	case started:
		s.tries = 0
	case !a.running && a.err != nil:
		s.tries++
		s.failed = l.now()
	}
	l.flushIfAnswered()
	l.ask(s, false)
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
	l.emit(snap)
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

// asleep is how long the host has been suspended since boot: CLOCK_BOOTTIME counts that time,
// CLOCK_MONOTONIC does not.
func asleep() time.Duration {
	var mono, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
