// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCollector is a collector whose source makes one event a millisecond since the run began.
type fakeCollector struct {
	meta      Meta
	startTime time.Duration
	cost      func(n int) time.Duration // of the n-th Collect
	startErr  func(n int) error
	err       func(n int) error
	closeErr  error
	sample    func(Span, uint64) Sample // a *CPU if nil
	rows      []Probe

	mu       sync.Mutex
	starts   int
	collects int
	closes   int
	narrowed [][]Target
	audited  []Probe
	began    []time.Duration // of each Collect

	prev   time.Duration
	events uint64 // at prev
}

func (f *fakeCollector) Meta() Meta { return f.meta }

func (f *fakeCollector) Start(ctx context.Context) error {
	f.mu.Lock()
	f.starts++
	n := f.starts
	f.prev = -1
	f.mu.Unlock()
	time.Sleep(f.startTime)
	if f.startErr != nil {
		return f.startErr(n)
	}
	return nil
}

func (f *fakeCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	f.mu.Lock()
	f.collects++
	n := f.collects
	f.began = append(f.began, now)
	f.mu.Unlock()
	read := uint64(now / time.Millisecond)
	if f.cost != nil {
		time.Sleep(f.cost(n))
	}
	if f.err != nil {
		if err := f.err(n); err != nil {
			return nil, err
		}
	}
	span := Span{f.prev, now}
	if f.prev < 0 {
		span.From, f.events = now, read
	}
	delta := read - f.events
	f.prev, f.events = now, read
	if f.sample != nil {
		return f.sample(span, delta), nil
	}
	return &CPU{Span: span, Switches: delta}, nil
}

func (f *fakeCollector) Probes() []Probe {
	if f.rows != nil {
		return f.rows
	}
	return []Probe{{Name: string(f.meta.ID), State: On, Hook: "fake"}}
}

func (f *fakeCollector) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closes++
	return f.closeErr
}

// counts are starts, collects and closes so far.
func (f *fakeCollector) counts() [3]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [3]int{f.starts, f.collects, f.closes}
}

type narrowFake struct{ fakeCollector }

func (f *narrowFake) Narrow(targets []Target) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.narrowed = append(f.narrowed, slices.Clone(targets))
	return nil
}

type auditFake struct{ fakeCollector }

func (f *auditFake) Audit(rows []Probe) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audited = rows
}

func hostSample(s Span, _ uint64) Sample { return &Host{Span: s} }
func selfSample(s Span, _ uint64) Sample { return &Self{Span: s} }

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// emitted is a snapshot and when it came.
type emitted struct {
	*Snapshot
	when time.Duration
}

// trial is a Run under fake time.
type trial struct {
	r     *Runner
	began time.Time
	end   context.CancelFunc
	done  chan error
	mu    sync.Mutex
	snaps []emitted
}

// runTrial starts a run. It must be called in a synctest bubble.
func runTrial(t *testing.T, cfg RunnerConfig) *trial {
	t.Helper()
	if cfg.Asleep == nil {
		cfg.Asleep = func() time.Duration { return 0 }
	}
	ctx, end := context.WithCancel(t.Context())
	x := &trial{r: NewRunner(cfg), began: time.Now(), end: end, done: make(chan error, 1)}
	go func() {
		x.done <- x.r.Run(ctx, func(s *Snapshot) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.snaps = append(x.snaps, emitted{s, time.Since(x.began)})
		})
	}()
	return x
}

// at waits until the run is d old and all is quiet, and returns what was emitted so far.
func (x *trial) at(d time.Duration) []emitted {
	time.Sleep(d - time.Since(x.began))
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.snaps)
}

func (x *trial) stop() error {
	x.end()
	return <-x.done
}
