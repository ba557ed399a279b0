// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"bpf60/bpf"
)

// profileLiveHz is how often a second each CPU is sampled while somebody looks: half as often as by the
// command, as it may go on for hours. It is odd, as every number of ProfileHz.
const profileLiveHz = 49

// profileCollector samples while somebody looks. The samples are taken in and named on a goroutine of their
// own, several times a tick: the ring is small, and who ended is not to be asked any more.
type profileCollector struct {
	fs   FS
	open func(cpus int) (liveReader, error)

	targets []Target
	host    bool

	asks  chan profileAsk
	stop  context.CancelFunc
	ended chan struct{} // closed when the goroutine has ended
	r     liveReader

	begun  bool
	last   time.Duration
	events uint64
	others uint64 // samples of idle CPUs, and of who is not wanted
	lost   uint64
	told   profileState
	err    error
}

// profileAsk asks for what came since the last one, and narrows from then on.
type profileAsk struct {
	span    Span
	targets []Target
	host    bool
	answer  chan profileAnswer // with room for it
}

type profileAnswer struct {
	sample *CPUProfile
	state  profileState
	err    error
}

// profileState is how well the profile works.
type profileState struct {
	refused, tooMany error
	nameless         *NeedError
	events, others   uint64
}

// NewProfile returns the collector of CPUProfile, with the BPF program of package bpf.
func NewProfile(k *bpf.Kernel, fs FS) Collector {
	return newProfileCollector(fs, func(int) (liveReader, error) {
		r, err := bpf.OpenProfile(k, profileLiveHz, nil)
		if err != nil {
			return nil, err
		}
		return r, nil
	})
}

func newProfileCollector(fs FS, open func(cpus int) (liveReader, error)) *profileCollector {
	return &profileCollector{fs: fs, open: open}
}

func (c *profileCollector) Meta() Meta { return Meta{ID: ProfileID, OnDemand: true, Slow: true} }

// Host implements HostNarrower.
func (c *profileCollector) Host(wanted bool) { c.host = wanted }

// Narrow implements Narrower: processes and cgroups are told apart, and alone are sampled while nobody looks
// at the host. Collect does the work.
func (c *profileCollector) Narrow(targets []Target) error {
	c.targets = slices.Clone(targets)
	return nil
}

func (c *profileCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.events, c.others, c.lost, c.told = false, nil, 0, 0, 0, profileState{}
	c.targets, c.host = nil, false
	online, err := readOnline(ctx, c.fs)
	if err != nil {
		return err
	}
	if c.r, err = c.open(len(online)); err != nil {
		return fmt.Errorf("opening the profile: %w", err)
	}
	fs := c.fs
	live := newLiveProfile(fs, c.r, func(ctx context.Context) ([]int, error) { return readOnline(ctx, fs) })
	if err := c.r.SampleCPUs(online); err != nil {
		return fmt.Errorf("starting the profile: %w", err)
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.asks, c.ended = make(chan profileAsk), make(chan struct{})
	go live.run(ctx, c.asks, c.ended)
	return nil
}

// run takes in samples and answers what is asked until the context ends.
func (l *liveProfile) run(ctx context.Context, asks <-chan profileAsk, ended chan<- struct{}) {
	defer close(ended)
	tick := time.NewTicker(profileTick)
	defer tick.Stop()
	var err error // what ended the sampling
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err == nil {
				_, err = l.safely(func() (*CPUProfile, error) { return nil, l.tick(ctx) })
			}
		case q := <-asks:
			a := profileAnswer{err: err}
			if err == nil {
				a.sample, err = l.safely(func() (*CPUProfile, error) { return l.answer(ctx, &q) })
				a.err = err
				a.state = profileState{refused: l.refused, tooMany: l.tooMany, nameless: l.symbols.need(), events: l.prev.Sampled + l.prev.Lost, others: l.prev.Passed + l.prev.Idle}
			}
			q.answer <- a
		}
	}
}

// safely turns a panic, which would end the program with the terminal as it is, into an error.
func (l *liveProfile) safely(do func() (*CPUProfile, error)) (s *CPUProfile, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

func (l *liveProfile) answer(ctx context.Context, q *profileAsk) (*CPUProfile, error) {
	s, err := l.collect(ctx, q.span, l.steady(q.targets, q.host)) // with other targets the slots mean others
	return s, errors.Join(err, l.narrow(q.targets, q.host, q.span.To))
}

// Collect asks for what was sampled since the last time. The first answer is the baseline.
func (c *profileCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if !c.begun {
		c.last = now
	}
	q := profileAsk{span: Span{c.last, now}, targets: c.targets, host: c.host, answer: make(chan profileAnswer, 1)}
	select {
	case c.asks <- q:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var a profileAnswer
	select {
	case a = <-q.answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err = a.err; a.err != nil {
		return nil, a.err
	}
	first := !c.begun
	c.begun, c.last, c.told = true, now, a.state
	if first {
		return nil, ErrWarming
	}
	c.lost += a.sample.Lost
	c.events, c.others = a.state.events, a.state.others
	return a.sample, nil
}

// Probes is profile. Events are samples, those of idle CPUs and of others than the targets too: they lack the
// stacks, and most of what a sample costs is the timer's interrupt.
func (c *profileCollector) Probes() []Probe {
	p := Probe{Name: "profile", State: Idle, Hook: "perf_event cpu-clock", Reason: "attaches while somebody looks"}
	if c.r == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Events, p.Lost, p.NsPerEvent = c.events+c.others, c.lost, bpf.CostProfileSample
	if p.Events > 0 {
		p.NsPerEvent = (bpf.CostProfileSample*float64(c.events) + bpf.CostQueueSample*float64(c.others)) / float64(p.Events)
	}
	if p.State != On {
		return []Probe{p}
	}
	switch {
	case c.told.refused != nil:
		p.State = Degraded
		p.explain(c.told.refused)
		p.Reason = "not all CPUs are sampled: " + p.Reason
	case c.told.nameless != nil:
		need := c.told.nameless
		p.State, p.Reason, p.Remedy = Degraded, "no names of kernel functions: needs "+need.Need, need.Remedy
	case c.told.tooMany != nil:
		p.State = Degraded
		p.explain(c.told.tooMany)
	}
	return []Probe{p}
}

func (c *profileCollector) Close() error {
	if c.stop != nil {
		c.stop()
		<-c.ended
		c.stop = nil
	}
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}
