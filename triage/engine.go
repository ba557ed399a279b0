// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"reflect"
	"slices"
	"sync"
	"time"

	"bpf60/collectors"
)

// rulesHolder is who holds the wants of rules.
const rulesHolder = "rules"

// Engine judges each tick. It runs the rules over the history, lists what has held for long
// enough, says which finding explains which, and what is ruled out.
type Engine struct {
	h       *History
	want    func(holder string, wants []collectors.Want)
	watches []*watch

	resources []string // of the rules, in their order
	probes    map[string]*track
	begun     bool
	start     time.Duration // the first tick
	wanted    []collectors.Want
	grants    grants
	checks    *Checks
	upkeep    *upkeep

	mu      sync.Mutex
	crashes []collectors.Crash
}

// NewEngine returns an engine that judges by rules and appends to h. want takes the evidence the
// rules ask for, under the holder "rules"; it may be nil, as in a replay.
func NewEngine(rules []Rule, h *History, want func(holder string, wants []collectors.Want)) *Engine {
	e := &Engine{h: h, want: want, probes: map[string]*track{}, grants: grants{}, upkeep: &upkeep{}}
	for _, r := range rules {
		w := &watch{rule: r}
		e.watches = append(e.watches, w)
		if resource := w.resource(); !slices.Contains(e.resources, resource) {
			e.resources = append(e.resources, resource)
		}
	}
	return e
}

// Tick judges the history with s as its newest snapshot, appends the moment to the history and
// returns it. It is called from one goroutine, with snapshots in order.
func (e *Engine) Tick(s *collectors.Snapshot) Moment {
	if !e.begun {
		e.begun, e.start = true, s.At
	}
	m := Moment{Snapshot: s}
	if len(e.watches) > 0 {
		e.watchProbes(s)
		e.judge(&m)
	}
	e.h.Append(m)
	return m
}

// Crashes lists the panics of rules so far, with their stacks. Any goroutine may call it.
func (e *Engine) Crashes() []collectors.Crash {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.crashes)
}

func (e *Engine) crashed(c *collectors.Crash) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.crashes = append(e.crashes, *c)
}

func (e *Engine) judge(m *Moment) {
	now, h := m.At, e.h.with(m.Snapshot, e.upkeep)
	var live, ended []Finding
	var wanted []collectors.Want
	for _, w := range e.watches {
		f, wants, crash := w.check(h)
		if crash != nil {
			e.crashed(crash)
		}
		w.observe(f, now, e.start)
		for _, x := range e.grants.lend(w, wants, now) {
			if !slices.Contains(wanted, x) {
				wanted = append(wanted, x)
			}
		}
		switch {
		case w.live():
			live = append(live, w.found)
		case w.ended.ID != "":
			ended = append(ended, w.ended)
		}
	}
	slices.SortStableFunc(ended, func(a, b Finding) int { return cmp.Compare(b.Until, a.Until) })
	m.Findings = append(arrange(live), ended...)
	if checks := e.check(h, now); !reflect.DeepEqual(checks, e.checks) {
		e.checks = checks
	}
	m.Checks = e.checks
	if e.want != nil && !slices.Equal(wanted, e.wanted) {
		e.wanted = wanted
		e.want(rulesHolder, wanted)
	}
}
