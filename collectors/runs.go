// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// RunsID is the on-demand collector of what our BPF programs take, as the kernel times them.
const RunsID ID = "runs"

// Runs is how often our programs ran over the span, and how long.
type Runs struct {
	Span
	Programs []ProgramRuns // by name
	Timed    bool          // false: only missed runs are known, see the probe's reason
}

// ProgramRuns are additive deltas of one loaded program.
type ProgramRuns struct {
	Name   string
	Count  uint64
	Time   time.Duration // some 60 ns of each run the timing's own
	Missed uint64        // runs left out, as the program was running on that CPU already
}

func (r *Runs) put(s *Snapshot) { s.Runs = r }

func (r *Runs) size() int { return allocSize(unsafe.Sizeof(*r)) + sliceSize(r.Programs) }

// runKernel is what the collector needs of bpf.Kernel.
type runKernel interface {
	CountRuns() (io.Closer, error)
	Runs() ([]bpf.Run, error)
}

// runsCollector has the kernel time all BPF programs of the host while somebody looks.
type runsCollector struct {
	k     runKernel
	count io.Closer // statistics are on while it is open
	err   error     // why they are not
	open  bool
	begun bool
	last  time.Duration
	prev  map[uint32]bpf.Run
}

// NewRuns returns the collector of Runs.
func NewRuns(k *bpf.Kernel) Collector { return &runsCollector{k: k} }

func (c *runsCollector) Meta() Meta { return Meta{ID: RunsID, OnDemand: true, Slow: true} }

func (c *runsCollector) Start(context.Context) error {
	c.begun, c.open, c.prev = false, true, nil
	c.count, c.err = c.k.CountRuns()
	var need *NeedError
	if c.err != nil && !errors.As(c.err, &need) {
		return fmt.Errorf("timing BPF programs: %w", c.err)
	}
	return nil
}

// Collect reads the programs that are loaded now. One that came since the last reading counts from its
// load.
func (c *runsCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	list, err := c.k.Runs()
	if err != nil {
		return nil, err
	}
	cur := make(map[uint32]bpf.Run, len(list))
	out := &Runs{Span: Span{c.last, now}, Timed: c.count != nil}
	for _, r := range list {
		p := c.prev[r.ID]
		cur[r.ID] = r
		d := ProgramRuns{Name: r.Name, Count: grown(p.Count, r.Count), Missed: grown(p.Missed, r.Missed)}
		d.Time = time.Duration(grown(uint64(p.Time), uint64(r.Time)))
		out.Programs = append(out.Programs, d)
	}
	first := !c.begun
	c.prev, c.last, c.begun = cur, now, true
	if first {
		return nil, ErrWarming
	}
	return out, nil
}

func (c *runsCollector) Probes() []Probe {
	p := Probe{Name: "bpf-stats", State: Idle, Hook: "BPF_ENABLE_STATS"}
	if c.open {
		p.State, p.Reason = stateOf(c.begun, nil)
		if c.err != nil {
			p.State = Degraded
			p.explain(c.err)
		}
	}
	return []Probe{p}
}

func (c *runsCollector) Close() error {
	c.open = false
	if c.count == nil {
		return nil
	}
	err := c.count.Close()
	c.count = nil
	return err
}
