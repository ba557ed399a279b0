// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// WaitsID is the collector of where threads of user space sleep, on demand.
const WaitsID ID = "waits"

// maxWaits bounds the rows of Waits.
const maxWaits = 256

// WaitRow is the threads of one process that sleep in one function.
type WaitRow struct {
	*Stack  `record:"must"` // of one of them
	Task    Process
	Comm    Raw // of one of them
	Threads int
}

// Waits is where threads sleep (state S) that had a CPU in the last ten seconds: one look, all
// gauges. Threads that run or wait for a CPU are not in it.
type Waits struct {
	Span
	Rows     []WaitRow // most threads first, at most 256
	Threads  int       // all of them
	Unlisted int       // of them, those that Rows lacks
}

func (w *Waits) put(s *Snapshot) { s.Waits = w }

func (w *Waits) size() int { return allocSize(unsafe.Sizeof(*w)) + sliceSize(w.Rows) }

type waitCollector struct {
	scan  *iterStalls
	recs  []stallRec
	last  time.Duration
	begun bool
	err   error
}

// NewWaits returns the collector of Waits. It needs BPF: to read the stack of every thread from
// /proc would cost a tenth of a millisecond for each.
func NewWaits(k *bpf.Kernel, fs FS) Collector {
	return &waitCollector{scan: &iterStalls{stacks: newStackTable(fs), open: func() (stallReader, error) {
		s, err := bpf.OpenStalls(k, true)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}}
}

func (c *waitCollector) Meta() Meta { return Meta{ID: WaitsID, OnDemand: true, Slow: true} }

func (c *waitCollector) Start(ctx context.Context) error {
	c.begun, c.err = false, nil
	return c.scan.Open(ctx)
}

func (c *waitCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	recs, _, err := c.scan.Scan(ctx, now, c.recs[:0])
	c.recs = recs
	if c.err = err; err != nil {
		return nil, fmt.Errorf("reading sleeping threads: %w", err)
	}
	if !c.begun {
		c.begun, c.last = true, now
	}
	w := deriveWaits(recs, Span{c.last, now})
	c.last = now
	clear(recs)
	return w, nil
}

// deriveWaits counts threads by process and function.
func deriveWaits(recs []stallRec, span Span) *Waits {
	type key struct {
		task            Process
		class, function string
	}
	w := &Waits{Span: span, Threads: len(recs)}
	at := make(map[key]int)
	for _, r := range recs {
		k := key{r.Task, r.Stack.Class, r.Stack.Function}
		i, ok := at[k]
		if !ok {
			i = len(w.Rows)
			at[k] = i
			w.Rows = append(w.Rows, WaitRow{Stack: r.Stack, Task: r.Task, Comm: r.Comm})
		}
		if r.TID == r.Task.TGID { // the leader's name is the process's
			w.Rows[i].Comm = r.Comm
		}
		w.Rows[i].Threads++
	}
	sortBy(w.Rows, func(a, b WaitRow) int {
		return cmp.Or(cmp.Compare(b.Threads, a.Threads), cmp.Compare(a.Task.TGID, b.Task.TGID), cmp.Compare(a.Function, b.Function))
	})
	if len(w.Rows) > maxWaits {
		for _, r := range w.Rows[maxWaits:] {
			w.Unlisted += r.Threads
		}
		w.Rows = slices.Clone(w.Rows[:maxWaits])
	}
	return w
}

func (c *waitCollector) Probes() []Probe {
	p := c.scan.Probe()
	p.Name = "waits"
	switch {
	case c.err != nil:
		p.State, p.Reason = Failed, plain(c.err.Error())
	case !c.begun:
		p.State, p.Reason = Idle, "attaches while somebody looks"
	}
	return []Probe{p}
}

func (c *waitCollector) Close() error {
	c.begun = false
	return errors.Join(c.scan.Close())
}
