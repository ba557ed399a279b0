// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

const (
	// checkWindow is what is ruled out: the last 60 s, or the run if it is younger.
	checkWindow = 60 * time.Second
	// checkAfter is how long a resource is watched before it can be ruled out.
	checkAfter = 10 * time.Second
	// attachSlack is how long probes may take to attach and still count as there from the start.
	attachSlack = 5 * time.Second
)

// track is since when a probe works without a gap.
type track struct {
	on, able     bool             // now: On; On or Degraded
	onAt, ableAt time.Duration    // since when
	badOn        collectors.Probe // as it was when it last was not On
	badAble      collectors.Probe // as it was when it last was neither On nor Degraded
}

func (t *track) observe(p collectors.Probe, now time.Duration) {
	on := p.State == collectors.On
	able := on || p.State == collectors.Degraded
	if on && !t.on {
		t.onAt = now
	}
	if able && !t.able {
		t.ableAt = now
	}
	if !on {
		t.badOn = p
	}
	if !able {
		t.badAble = p
	}
	t.on, t.able = on, able
}

// gap says why a probe did not work all the time since from; fallback takes a degraded one.
func (t *track) gap(name string, from time.Duration, fallback bool) (Unchecked, bool) {
	if t == nil {
		return Unchecked{Reason: name + " is not there"}, true
	}
	works, since, bad := t.on, t.onAt, t.badOn
	if fallback {
		works, since, bad = t.able, t.ableAt, t.badAble
	}
	switch {
	case !works:
		u := Unchecked{Reason: fmt.Sprintf("%s is %v", name, bad.State), Remedy: bad.Remedy}
		if bad.Reason != "" {
			u.Reason += ": " + bad.Reason
		}
		if bad.State == collectors.Idle && u.Remedy == "" {
			u.Remedy = "bpf60 --probes +" + name
		}
		return u, true
	case since > from:
		return Unchecked{Reason: fmt.Sprintf("%s works since %v", name, since.Round(time.Second))}, true
	}
	return Unchecked{}, false
}

// watchProbes notes the state of every probe at this tick. One that is no longer listed is off.
func (e *Engine) watchProbes(s *collectors.Snapshot) {
	seen := make(map[string]bool, len(e.probes))
	for _, rows := range s.Probes {
		for _, p := range rows {
			t := e.probes[p.Name]
			if t == nil {
				t = &track{}
				e.probes[p.Name] = t
			}
			t.observe(p, s.At)
			seen[p.Name] = true
		}
	}
	for name, t := range e.probes {
		if !seen[name] {
			t.observe(collectors.Probe{Name: name, State: collectors.Off}, s.At)
		}
	}
}

// check builds the lists of what is ruled out and what is not, at now.
func (e *Engine) check(h *History, now time.Duration) *Checks {
	if len(e.watches) == 0 {
		return nil
	}
	from := max(now-checkWindow, e.start)
	attached := max(from, e.start+attachSlack)
	c := &Checks{}
	for _, resource := range e.resources {
		healthy := true
		var facts []string
		for _, w := range e.watches {
			if w.resource() != resource {
				continue
			}
			gaps := e.gaps(w, h, now, attached)
			if w.quiet(from) && len(gaps) == 0 {
				more, crash := w.evidence(h, now)
				facts = append(facts, more...)
				if crash != nil {
					e.crashed(crash)
					gaps = e.gaps(w, h, now, attached)
				}
			}
			healthy = healthy && w.quiet(from) && len(gaps) == 0
			for _, u := range gaps {
				u.Resource = resource
				if !slices.Contains(c.Unchecked, u) {
					c.Unchecked = append(c.Unchecked, u)
				}
			}
		}
		if healthy {
			c.Healthy = append(c.Healthy, Healthy{resource, facts})
		}
	}
	return c
}

// gaps are the reasons why w cannot rule its resource out.
func (e *Engine) gaps(w *watch, h *History, now, attached time.Duration) []Unchecked {
	if w.broken != "" {
		return []Unchecked{{
			Reason: fmt.Sprintf("rule %s was stopped by a bug: %s", w.rule.ID, w.broken),
			Remedy: "report it with the stack that bpf60 prints when it ends",
		}}
	}
	var gaps []Unchecked
	for _, need := range w.rule.Needs {
		if u, ok := e.probes[need].gap(need, attached, w.rule.Fallback); ok {
			gaps = append(gaps, u)
		}
	}
	if watched := now - e.start; len(gaps) == 0 && watched < checkAfter {
		gaps = append(gaps, Unchecked{Reason: fmt.Sprintf("watched for %d of %d s", int(watched.Seconds()), int(checkAfter.Seconds()))})
	}
	if len(gaps) == 0 && w.rule.Blind != nil {
		reason, remedy, crash := w.blind(h)
		if crash != nil {
			e.crashed(crash)
			return e.gaps(w, h, now, attached)
		}
		if reason != "" {
			gaps = append(gaps, Unchecked{Reason: reason, Remedy: remedy})
		}
	}
	return gaps
}
