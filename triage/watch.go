// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"bpf60/collectors"
)

const (
	// startSlack is how long after the run began, beside its own window, a rule may need to see
	// what was wrong from the start: probes attach, and a delta needs two readings.
	startSlack = 2 * time.Second
	// wantFor is how long a rule gets the evidence it asks for, wantEvery how often: ten seconds of a minute, as
	// long as it asks.
	wantFor   = 10 * time.Second
	wantEvery = 60 * time.Second
	// factsEvery is how often a rule is asked what shows its resource healthy.
	factsEvery = 10 * time.Second
	// maxTimes is how many times of an outlier are kept.
	maxTimes = 16
)

// watch follows one rule.
type watch struct {
	rule   Rule
	levels [Critical + 1]level // at[s]: a finding of severity s or worse
	found  Finding             // what is shown while it lasts
	since  time.Duration       // when it began
	start  bool                // it was so when the run began
	ended  Finding             // the last one that ended; ID "" without

	outlier bool // the last tick had one
	times   []time.Duration

	asked   bool // facts were asked for
	askedAt time.Duration
	facts   []string

	asking  bool          // the rule suspects something, and its probes were lent for that
	nextAsk time.Duration // when a new suspicion is served at once again

	broken string // why the rule was switched off
}

// level is the hysteresis of one severity.
type level struct {
	seen   bool
	from   time.Duration // while seen: since when, without a gap
	gone   time.Duration // while not seen: since when
	firing bool
}

func (l *level) observe(seen bool, now, hold, clear time.Duration) {
	if seen != l.seen {
		l.seen = seen
		if seen {
			l.from = now
		} else {
			l.gone = now
		}
	}
	if seen && now-l.from >= hold {
		l.firing = true
	}
	if !seen && now-l.gone >= clear {
		l.firing = false
	}
}

// resource is what the rule can rule out.
func (w *watch) resource() string {
	if w.rule.Resource != "" {
		return w.rule.Resource
	}
	resource, _, _ := strings.Cut(w.rule.ID, ".")
	return resource
}

// live says that the rule's finding is listed and has not ended.
func (w *watch) live() bool { return w.levels[Info].firing }

// quiet says that the rule has found nothing since from and suspects nothing.
func (w *watch) quiet(from time.Duration) bool {
	return !w.live() && !w.levels[Info].seen && (w.ended.ID == "" || w.ended.Until <= from)
}

// check asks the rule. One that panics is switched off.
func (w *watch) check(h *History) (f Finding, wants []collectors.Want, crash *collectors.Crash) {
	if w.broken != "" || w.rule.Check == nil {
		return Finding{}, nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			f, wants, crash = Finding{}, nil, w.switchOff(p)
		}
	}()
	f, wants = w.rule.Check(h)
	return f, wants, nil
}

// evidence asks the rule what shows that all is well, at most once in factsEvery: each answer that
// differs takes room in the history.
func (w *watch) evidence(h *History, now time.Duration) (facts []string, crash *collectors.Crash) {
	if w.rule.Evidence == nil {
		return nil, nil
	}
	if w.asked && now-w.askedAt < factsEvery {
		return w.facts, nil
	}
	defer func() {
		if p := recover(); p != nil {
			facts, crash = nil, w.switchOff(p)
		}
	}()
	w.facts = w.rule.Evidence(h)
	w.asked, w.askedAt = true, now
	return w.facts, nil
}

// blind asks the rule whether it sees enough to rule anything out.
func (w *watch) blind(h *History) (reason, remedy string, crash *collectors.Crash) {
	defer func() {
		if p := recover(); p != nil {
			reason, remedy, crash = "", "", w.switchOff(p)
		}
	}()
	reason, remedy = w.rule.Blind(h)
	return reason, remedy, nil
}

func (w *watch) switchOff(p any) *collectors.Crash {
	w.broken = collectors.Clean(collectors.RawString(fmt.Sprint(p))).String()
	return &collectors.Crash{Name: w.rule.ID, Message: w.broken, Stack: debug.Stack()}
}

// observe takes in what the rule says at now, in a run that began at start.
func (w *watch) observe(f Finding, now, start time.Duration) {
	seen := f.ID != ""
	hold, clear := orDefault(w.rule.Hold, DefaultHold), orDefault(w.rule.Clear, DefaultClear)
	if f.Outlier {
		hold = 0
	}
	if w.broken != "" {
		clear = 0
	}
	was := w.live()
	for s := range w.levels {
		w.levels[s].observe(seen && f.Severity >= Severity(s), now, hold, clear)
	}
	if was && !w.live() {
		w.ended = w.found
		w.ended.Until = w.levels[Info].gone
		w.found = Finding{}
	}
	if f.Outlier && !w.outlier {
		w.times = append(w.times, now) // what moments show of it is never written again
		w.times = w.times[max(0, len(w.times)-maxTimes):]
	}
	w.outlier = f.Outlier
	if !w.live() {
		return
	}
	if !was {
		w.since = w.levels[Info].from
		w.start = !f.Outlier && w.since-start <= f.Window+startSlack
		if f.Outlier && w.ended.Outlier {
			w.found, w.since = w.ended, w.ended.Since // one list entry for all of them
		}
	}
	if seen && !(w.found.Outlier && w.found.Value > f.Value) {
		f.Outlier = f.Outlier || w.found.Outlier
		if f.Since <= 0 || f.Since > w.since {
			f.Since = w.since
		}
		w.found = f
	}
	w.found.AtStart = w.start
	w.found.Until = 0
	if w.found.Outlier {
		w.found.Times = w.times
	}
	for s := range w.levels {
		if w.levels[s].firing {
			w.found.Severity = Severity(s)
		}
	}
}

// lent is a probe that rules were given: until when, and when it is next.
type lent struct{ until, next time.Duration }

// grants are the probes that were lent, by ID: whoever asks shares them, so that several rules that suspect
// something hold one no longer than one rule does.
type grants map[collectors.ID]*lent

// lend returns what the rule gets of its wants: at once for ten seconds when it begins to ask, if it did not
// do so in the last minute; then for ten seconds of each minute, while it asks. What is lent to another rule
// it gets as well.
func (g grants) lend(w *watch, wants []collectors.Want, now time.Duration) []collectors.Want {
	if len(wants) == 0 {
		w.asking = false
		return nil
	}
	fresh := !w.asking && now >= w.nextAsk
	if fresh {
		w.asking, w.nextAsk = true, now+wantEvery
	}
	var out []collectors.Want
	for _, x := range wants {
		p := g[x.ID]
		if p == nil {
			p = &lent{next: now}
			g[x.ID] = p
		}
		if fresh || now >= p.next {
			p.until, p.next = now+wantFor, now+wantEvery
		}
		if now < p.until {
			out = append(out, x)
		}
	}
	return out
}

// orDefault is d, the default for 0, and 0 for what is negative.
func orDefault(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return max(d, 0)
}
