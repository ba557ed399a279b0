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
	Kind   string // process, cgroup, disk, interface, peer, file, slab, cpu
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
	Explains []string // IDs this one can explain
	Quality  string   // badge: "~", "L12"
	Outlier  bool     // fires at once, without hysteresis
	Pane     string
	Row      string
	Command  string // classic command that shows the same

	Since   time.Duration // when it began, monotonic since the run began
	Until   time.Duration // when it ended; 0 while it lasts
	AtStart bool          // it was already so when the run began: since ≤ Since
}

// Rule judges the history. A zero Finding (ID "") says nothing is wrong. The wants are evidence
// the rule asks for while it suspects something.
type Rule struct {
	ID    string
	Needs []string // names of the probes without which it cannot rule its resource out
	Check func(h *History) (Finding, []collectors.Want)
}

// Moment is one snapshot and what was wrong then.
type Moment struct {
	*collectors.Snapshot
	Findings []Finding
}
