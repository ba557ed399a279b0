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
	"maps"
	"slices"
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
	Chosen     bool          // the user named the interval: it does not change by itself
	Collectors []Collector
	Off        map[ID]string        // collectors that stay off, with the reason to show
	Wall       func() time.Time     // the wall clock, for display only; time.Now if nil
	Missed     func(string) uint64  // runs of a program that the kernel passed over, cumulative: bpf.Kernel.Missed; nil: not known
	Asleep     func() time.Duration // how long the host has been suspended since boot; read from the kernel if nil

	brake brakeTimes // of what is too dear
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
	held     bool
	detached chan struct{} // closed by Run once nothing is attached any more; of the last Hold(true)
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

// SetInterval changes the time between ticks, from the last tick on; it is then the user's choice. Any goroutine may call it.
func (r *Runner) SetInterval(d time.Duration) {
	r.mu.Lock()
	r.interval, r.cfg.Chosen = max(d, minInterval), true
	r.mu.Unlock()
	r.poke()
}

// Interval is the time between ticks.
func (r *Runner) Interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// chosen says that the user named the interval.
func (r *Runner) chosen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.Chosen
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

// Hold lets go of the kernel, for a time in which nobody will read what is counted: the process is
// about to be stopped. Every Pauser is paused, on-demand collectors are closed, and no tick comes until
// Hold(false), which attaches everything again in the background. The snapshot after it says how Late it
// is, and holds first samples: no rate covers the time between. Hold(true) waits for the collectors, at
// most that long, and says whether all have let go. Any goroutine but emit's may call it.
func (r *Runner) Hold(on bool, atMost time.Duration) bool {
	r.mu.Lock()
	r.held = on
	if on {
		r.detached = make(chan struct{})
	}
	detached := r.detached
	r.mu.Unlock()
	r.poke()
	if !on {
		return true
	}
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-detached:
		return true
	case <-t.C:
		return false
	}
}

// hold returns what the last Hold said.
func (r *Runner) hold() (on bool, detached chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held, r.detached
}

// wanted returns who is wanted, with the targets of all holders, each once and in a stable order; and of
// whom the whole host is wanted.
func (r *Runner) wanted() (all map[ID][]Target, host map[ID]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, host = map[ID][]Target{}, map[ID]bool{}
	for _, holder := range slices.Sorted(maps.Keys(r.holders)) {
		for _, w := range r.holders[holder] {
			targets := all[w.ID]
			host[w.ID] = host[w.ID] || w.Target == (Target{})
			if w.Target != (Target{}) && !slices.Contains(targets, w.Target) {
				targets = append(targets, w.Target)
			}
			all[w.ID] = targets
		}
	}
	return all, host
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
		case <-l.gauge.C:
			l.look()
		case <-r.wake:
			l.reschedule()
			l.holdOn()
			l.reconcile()
		}
	}
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
