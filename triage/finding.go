// SPDX-License-Identifier: Apache-2.0

// Package triage keeps the history of moments and judges it. Rules are pure functions over the
// history; they read no clock and no kernel, so a recording gains from better rules.
package triage

import (
	"time"

	"bpf60/collectors"
)

// Severity ranks findings. The order is that of urgency.
type Severity uint8

// The severities.
const (
	Info Severity = iota
	Warning
	Critical
)

// String is the word of the JSON report.
func (s Severity) String() string {
	switch s {
	case Critical:
		return "critical"
	case Warning:
		return "warning"
	case Info:
	}
	return "info"
}

// MarshalText is String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Culprit is who causes a finding, or suffers from it.
type Culprit struct {
	Kind   string // process, cgroup, disk, interface, peer, file, slab, cpu, node
	Name   collectors.Safe
	Target collectors.Target
	Cgroup collectors.Safe
	Share  float64 // of the resource, 0 to 1
}

// Finding is one thing that is wrong, with what proves it.
type Finding struct {
	ID       string // stable: "cpu.saturated"
	Severity Severity
	Title    string
	Resource string // what is short: "cpu", "vda"
	Line     string // id of the checklist line it marks: "runqlat"

	Value, Threshold float64
	Unit             string
	N                uint64        // events behind Value
	Window           time.Duration // that Value is taken over

	Evidence []string // one measured fact per line
	Culprits []Culprit
	Victims  []Culprit
	CausedBy string   // ID of the finding that explains this one
	Explains []string // IDs this one can explain, where both concern the same; see explains
	Quality  string   // badge: "~", "L12"
	Outlier  bool     // one bad event: fires at once, without hysteresis, and stays listed
	Pane     string
	Row      string
	Command  string // classic command that shows the same

	Times   []time.Duration // of an outlier: when it was seen, the last 16; set by the engine
	Since   time.Duration   // when it began, monotonic since the run began
	Until   time.Duration   // when it ended; 0 while it lasts
	AtStart bool            // it was already so when the run began: since ≤ Since
}

// Rule judges the history, which ends with the snapshot of this tick. It reads no clock and keeps
// no state. Check returns a zero Finding (ID "") when nothing is wrong, and the wants are evidence
// it asks for while it suspects something: it gets them for ten seconds of each minute, so that what they
// say must last until the next.
//
// The engine sets Since, Until, AtStart, Times and CausedBy; a rule that knows better when its
// finding began sets Since.
type Rule struct {
	ID       string
	Says     string   // what its finding means, in one line
	Limits   []Limit  // what it compares with, in the order of their weight
	Resource string   // what is ruled out when all its rules find nothing: "cpu"; if empty, ID up to its dot
	Needs    []string // names of the probes without which it cannot rule its resource out
	Fallback bool     // a degraded probe is good enough to rule the resource out

	// Blind says why the rule cannot rule its resource out although its probes work, and what would
	// help; both empty: it can. It may be nil.
	Blind func(h *History) (reason, remedy string)

	Hold  time.Duration // how long it is seen before it is listed; DefaultHold if 0, at once if negative
	Clear time.Duration // how long it is gone before it ends; DefaultClear if 0, at once if negative

	Check    func(h *History) (Finding, []collectors.Want)
	Evidence func(h *History) []string // measured facts that show the resource healthy; may be nil
}

// How long a finding is seen before it is listed, and gone before it ends. Thresholds have windows
// of their own; these only keep what wavers from flickering.
const (
	DefaultHold  = 3 * time.Second
	DefaultClear = 10 * time.Second
)

// Healthy is a resource that was checked with every probe it needs, for the whole window, and
// ruled out.
type Healthy struct {
	Resource string
	Evidence []string
}

// Unchecked is a resource that could not be ruled out.
type Unchecked struct {
	Resource string
	Reason   string
	Remedy   string
}

// Checks is what was ruled out and what was not, over the last 60 s or since the run began. A
// resource with a finding in that time is not healthy.
type Checks struct {
	Healthy   []Healthy
	Unchecked []Unchecked
}

// Moment is one snapshot and what was wrong then.
type Moment struct {
	*collectors.Snapshot
	Findings []Finding // live ones as a tree, each effect after its cause; then those that ended, latest first
	Checks   *Checks   // nil: there were no rules; shared while it does not change
}
