// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// request is the state a collector is to be in, and whether to collect.
type request struct {
	on      bool
	collect bool
	drop    bool // what is collected covers a time when it was paused
	pause   bool // pause it after the collection
	urgent  bool // the brake asks, between two ticks
	idle    bool // pause it and nothing else
	again   bool // what is dropped covers a time when nobody was to look; see Hold
	gauge   bool // of a Gauger: nothing but a look at its cost
	targets []Target
	host    bool    // for a HostNarrower
	rows    []Probe // for an Auditor
}

// answer is what came of a request.
type answer struct {
	seat      int
	running   bool
	sample    Sample
	err       error // of Start, Collect or Close
	narrowErr error
	rows      []Probe
	crash     *Crash
	gauge     *gauge
}

// closing is a worker's last word.
type closing struct {
	seat int
	err  error
}

// worker calls one collector, on one goroutine. Its fields but the channels are that goroutine's.
type worker struct {
	seat     int
	c        Collector
	began    time.Time
	requests chan request
	answers  chan<- answer
	closed   chan<- closing

	missed  missedRuns
	running bool
	paused  bool
	targets []Target // what the collector is narrowed to
	host    bool     // and whether it was told to see the host beside it
}

// run serves requests until there are no more, then closes the collector.
func (w *worker) run(ctx context.Context) {
	for q := range w.requests {
		w.answers <- w.serve(ctx, q)
	}
	w.closed <- closing{w.seat, w.close()}
}

func (w *worker) serve(ctx context.Context, q request) (a answer) {
	a.seat = w.seat
	defer func() {
		if crash := crashed(w.c, recover()); crash != nil {
			// What a panic leaves behind is not to be trusted: only let go of what is held.
			w.running = true
			a = answer{seat: w.seat, err: w.close(), crash: crash}
		}
		a.running = w.running
	}()
	if q.gauge {
		w.glance(&a)
		return a
	}
	switch {
	case q.on && !w.running:
		w.missed.begin(w.c.Probes())
		if a.err = w.c.Start(ctx); a.err != nil {
			if err := w.c.Close(); err != nil {
				a.err = fmt.Errorf("%w; closing: %w", a.err, err)
			}
			break
		}
		w.running = true
	case !q.on && w.running:
		a.err = w.close()
	}
	switch {
	case w.running && q.idle:
		a.err = w.pause(true)
	case w.running:
		a.narrowErr = w.narrow(q.targets, q.host)
		if q.collect {
			a.sample, a.err = w.look(ctx, q)
		}
	}
	a.rows = append([]Probe{}, w.c.Probes()...)
	w.missed.add(a.rows)
	return a
}

// look collects, and attaches before or detaches after it what is paused.
func (w *worker) look(ctx context.Context, q request) (Sample, error) {
	if err := w.pause(false); err != nil {
		return nil, err
	}
	if b, ok := w.c.(Beginner); ok && q.again {
		b.BeginAnew()
	}
	sample, err := w.collect(ctx, q.rows)
	if q.drop && err == nil && (!q.again || !w.keeps(sample)) {
		sample = nil
	}
	if q.pause {
		err = errors.Join(err, w.pause(true))
	}
	return sample, err
}

// keeps says that a sample of the time when nobody was to look is not dropped: it holds what no other one
// brings, such as lines of the kernel's log. What a Pauser has is of a time when it was detached.
func (w *worker) keeps(s Sample) bool {
	_, pauser := w.c.(Pauser)
	rare, ok := s.(interface{ rare() bool })
	return ok && !pauser && rare.rare()
}

func (w *worker) pause(on bool) error {
	p, ok := w.c.(Pauser)
	if !ok || w.paused == on {
		return nil
	}
	if err := p.Pause(on); err != nil {
		return fmt.Errorf("pausing the probes, or going on: %w", err)
	}
	w.paused = on
	return nil
}

func (w *worker) collect(ctx context.Context, rows []Probe) (Sample, error) {
	if auditor, ok := w.c.(Auditor); ok {
		auditor.Audit(rows)
	}
	return w.c.Collect(ctx, time.Since(w.began))
}

func (w *worker) narrow(targets []Target, host bool) error {
	n, ok := w.c.(Narrower)
	h, both := w.c.(HostNarrower)
	same := slices.Equal(targets, w.targets) && (!both || len(targets) == 0 || host == w.host)
	if !ok || same {
		return nil
	}
	if both {
		h.Host(host)
		w.host = host
	}
	if err := n.Narrow(targets); err != nil {
		return fmt.Errorf("narrowing: %w", err)
	}
	w.targets = targets
	return nil
}

// close closes a collector that runs. It does not panic.
func (w *worker) close() (err error) {
	if !w.running {
		return nil
	}
	w.running, w.paused, w.targets = false, false, nil
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("closing %s: panic: %v", w.c.Meta().ID, p)
		}
	}()
	if err := w.c.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", w.c.Meta().ID, err)
	}
	return nil
}

// crashed describes a recovered panic; nil if there was none.
func crashed(c Collector, p any) *Crash {
	if p == nil {
		return nil
	}
	return &Crash{Name: string(c.Meta().ID), Message: plain(fmt.Sprint(p)), Stack: debug.Stack()}
}

// plain makes an error's words safe to show: they may quote what others chose.
func plain(s string) string { return Clean(RawString(s)).String() }
