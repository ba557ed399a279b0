// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// ExecFailsID is the on-demand collector of exec calls that failed.
const ExecFailsID ID = "execfails"

// ExecFails are the calls of execve and execveat that failed over the span. A shell that looks for a
// command fails once for each directory of PATH before it.
type ExecFails struct {
	Span
	Partial  bool // only targets were counted
	Failed   uint64
	Errnos   []ErrnoCount // most first
	Paths    []PathRow    // by process, path and errno, most first, at most 200
	Events   []PathEvent  // oldest first, the newest 200
	Unlisted uint64       // without one
	Lost     uint64       // of those: the ring was full
}

func (s *ExecFails) put(snap *Snapshot) { snap.ExecFails = s }

func (s *ExecFails) rare() bool { return len(s.Events) > 0 }

func (s *ExecFails) size() int {
	return allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Errnos) + pathsSize(s.Paths) + pathEventsSize(s.Events)
}

func (s *ExecFails) withoutRows() *ExecFails {
	c := *s
	c.Paths, c.Events = nil, nil
	return &c
}

type execFailCollector struct{ pathCollector }

// NewExecFails returns the collector of ExecFails.
func NewExecFails(src *syscallSource, events feed) Collector {
	return &execFailCollector{pathCollector{
		syscallPart: syscallPart{src: src, part: bpf.SyscallExec, name: "execfail", ns: bpf.CostOpen},
		events:      events, kinds: []bpf.EventKind{bpf.EventExecFail}, class: bpf.PathExec,
		wanted: bpf.ExecCalls(), boot: bootTime, namer: newCallNamer(),
	}}
}

func (c *execFailCollector) Meta() Meta { return Meta{ID: ExecFailsID, OnDemand: true, Slow: true} }

// Collect reads the tables and takes the events. The first reading is the baseline.
func (c *execFailCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	span, ok, err := c.read(now)
	if err != nil {
		return nil, err
	}
	events, lost, err := c.list(now)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrWarming
	}
	d := c.sum()
	s := &ExecFails{Span: span, Partial: c.targets.only, Failed: d.Errors, Errnos: c.errnos(), Events: events, Lost: lost}
	s.Unlisted = since(uint64(len(events)), d.Errors)
	s.Paths, _ = c.rows()
	c.counted(s.Failed, lost)
	return s, nil
}
