// SPDX-License-Identifier: Apache-2.0

// Package collectors turns what the kernel counts into samples.
//
// A collector owns one source: a BPF program behind its facade in package bpf, or a family of
// files under /proc and /sys. It reads cumulative values, subtracts the previous reading and
// returns an immutable sample. The Runner asks every collector on one clock and bundles what has
// answered into a Snapshot. Nothing here draws, judges or knows a terminal.
package collectors

import (
	"context"
	"errors"
	"time"

	"bpf60/bpf"
)

// ID names a collector. It is the key of Snapshot.Probes and the name a Want asks for.
type ID string

// Collector owns one source. Start, Collect and Close are called from one goroutine, never
// concurrently; Start and Close may alternate (on-demand collectors are started and closed as
// they are wanted).
type Collector interface {
	Meta() Meta

	// Start acquires the source: opens files, loads and attaches programs. An error makes the
	// collector's probes Off (NeedError) or Failed (any other error); the rest goes on.
	Start(ctx context.Context) error

	// Collect returns the sample for the span that ends at now, which is monotonic time since
	// the run began. It returns ErrWarming while it has no baseline and no gauge to show.
	// Between system calls it honours ctx.
	Collect(ctx context.Context, now time.Duration) (Sample, error)

	// Probes lists what a user can see through the collector, one entry a name; several names
	// where several share a program. It may be called at any time between two calls of the
	// above, also before Start and after Close.
	Probes() []Probe

	// Close releases what Start acquired. It is safe to call after a failed Start.
	Close() error
}

// Meta is what the Runner needs to know of a collector before it starts.
type Meta struct {
	ID       ID
	Interval time.Duration // least time between two collections; 0 means every tick
	OnDemand bool          // started only while somebody wants it
	Slow     bool          // Start loads programs or reads much: it begins when the first snapshot is out
	Switched bool          // it leaves out each of its probes that is switched off by name
}

// Narrower is a collector that can also look at single targets, with a filter in the kernel.
// Narrow replaces the set of targets; it is called on the collector's goroutine, before Collect.
type Narrower interface {
	Narrow(targets []Target) error
}

// HostNarrower is a Narrower that leaves the rest of the host alone while nobody looks at it: a program
// that passes over other tasks costs them little. Host says whether somebody does; it is called on the
// collector's goroutine, before Narrow.
type HostNarrower interface {
	Narrower
	Host(wanted bool)
}

// Auditor is a collector that sums up what the others cost. Audit hands it the newest probe rows
// of every collector; it is called on the collector's goroutine, before Collect.
type Auditor interface {
	Audit(rows []Probe)
}

// ErrWarming says that a collector needs one more reading before it has anything to say.
var ErrWarming = errors.New("waiting for a second reading")

// NeedError says that the host lacks one thing, and what would supply it.
type NeedError = bpf.NeedError

// State is how well a probe works.
type State uint8

// The states of a probe.
const (
	Off      State = iota // not running: see Reason
	Warming               // started, no reading yet
	Idle                  // attaches while somebody looks
	On                    // works with the hook of first choice
	Degraded              // works through a fallback or with a part missing: see Reason
	Failed                // broke: see Reason
)

// String returns the word the Probes pane shows.
func (s State) String() string {
	switch s {
	case Off:
		return "off"
	case Warming:
		return "warming"
	case Idle:
		return "idle"
	case On:
		return "on"
	case Degraded:
		return "degraded"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// MarshalText returns the word of the JSON report: on, degraded, off or failed.
// Idle and warming are off, with that as the reason.
func (s State) MarshalText() ([]byte, error) {
	switch s {
	case Idle, Warming:
		return []byte("off"), nil
	case Off, On, Degraded, Failed:
	}
	return []byte(s.String()), nil
}

// Probe is one row of the Probes pane and of doctor.
type Probe struct {
	Name       string // bcc's name where bcc has one
	State      State
	Hook       string  // "tp_btf sched_switch", "/proc/stat"
	Reason     string  // why not On; empty when On
	Remedy     string  // what would make it On; empty when On or when nothing would
	Events     uint64  // since start
	Lost       uint64  // since start: events seen and not counted, and Missed
	Missed     uint64  // since start: runs of its programs that the kernel passed over; of what rows share, in one of them
	NsPerEvent float64 // of this row alone: rows that share a program divide its cost, so that costs add up
}

// Span is the time a sample covers: monotonic, since the run began.
type Span struct{ From, To time.Duration }

// span makes every sample that embeds a Span a Sample.
func (s Span) span() Span { return s }

// Seconds is the length of the span in seconds, never negative.
func (s Span) Seconds() float64 {
	if s.To <= s.From {
		return 0
	}
	return (s.To - s.From).Seconds()
}

// Sample is what one Collect returns. It is not written after it is returned: screen, history
// and recorder read it at the same time.
type Sample interface {
	put(*Snapshot)
	span() Span
}
