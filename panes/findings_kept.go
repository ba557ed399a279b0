// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// episode is one time that something was found, from when it began to when it ended.
type episode struct {
	now   *triage.Finding // as it was found last
	peak  *triage.Finding // as it was at its worst, the newest of such
	first time.Duration   // when it began, as that was first told: it names the episode
	until time.Duration   // when it ended; 0 while it lasts
	lost  bool            // it has ended, and no moment that is kept says when
}

// over says whether it has ended.
func (e *episode) over() bool { return e.until > 0 || e.lost }

// severity is the worst it reached.
func (e *episode) severity() triage.Severity { return e.peak.Severity }

// shown is the finding as it is while it lasts, and then as it was at its worst.
func (e *episode) shown() triage.Finding {
	if !e.over() {
		return *e.now
	}
	x := *e.peak
	x.Since, x.Until = e.now.Since, e.until
	return x
}

// takes says whether a finding of the same ID is of this episode, and takes it in then.
func (e *episode) takes(x *triage.Finding) bool {
	switch {
	case x.Until == 0 && (e.until == 0 || x.Since < e.until): // it lasts; an outlier that comes back is the same one
		e.until, e.now = 0, x
		if x.Severity >= e.peak.Severity {
			e.peak = x
		}
		return true
	case x.Until > 0 && (e.until == 0 || e.until >= x.Until):
		e.until = x.Until
		return true
	}
	return false
}

// chronicle makes episodes of moments that follow each other.
type chronicle struct {
	all        []episode
	last       map[string]int // the last episode of each ID
	prev, next []int          // the episode of each finding of a moment and of the one after it
}

// add takes in the next moment. Most have the findings of the one before, in its order.
func (c *chronicle) add(m triage.Moment) {
	same := len(m.Findings) == len(c.prev)
	c.next = c.next[:0]
	for i := range m.Findings {
		x := &m.Findings[i]
		k, known := 0, i < len(c.prev)
		if known {
			k = c.prev[i]
		}
		if !known || c.all[k].now.ID != x.ID {
			same = false
			k, known = c.last[x.ID]
		}
		if !known || !c.all[k].takes(x) {
			k = len(c.all)
			c.all, c.last[x.ID] = append(c.all, episode{now: x, peak: x, first: x.Since, until: x.Until}), k
		}
		c.next = append(c.next, k)
	}
	for _, k := range c.prev {
		if same {
			break
		}
		if e := &c.all[k]; e.until == 0 && !slices.Contains(c.next, k) { // it has gone without a word
			e.until = m.At
		}
	}
	c.prev, c.next = c.next, c.prev
}

// episodes are all times that something was found, of the moments that are kept up to the one shown:
// what lasts first, in the order of the Overview, then what is over, the newest end first.
func episodes(f Frame) []episode {
	kept := f.kept()
	c := chronicle{last: map[string]int{}}
	for _, m := range kept {
		if m.Snapshot != nil {
			c.add(m)
		}
	}
	if v := f.Verdict; v != nil && v.After <= f.Now.At {
		for i := range v.Findings { // what was found then may be older than what is kept
			x := &v.Findings[i]
			known := func(e episode) bool { return e.now.ID == x.ID && e.first <= v.After }
			if !slices.ContainsFunc(c.all, known) {
				c.all = append(c.all, episode{now: x, peak: x, first: x.Since, until: x.Until, lost: true})
			}
		}
	}
	place := make(map[string]int)
	for i, l := range listed(f) {
		place[l.finding.ID] = i
	}
	sortStably(c.all, func(a, b episode) int {
		switch {
		case a.over() != b.over():
			return cmp.Compare(over01(a), over01(b))
		case !a.over():
			return cmp.Compare(place[a.now.ID], place[b.now.ID])
		}
		return cmp.Or(cmp.Compare(b.until, a.until), cmp.Compare(b.first, a.first), cmp.Compare(a.now.ID, b.now.ID))
	})
	return c.all
}

// over01 is 1 for what is over.
func over01(e episode) int {
	if e.over() {
		return 1
	}
	return 0
}

// kept are the moments that the history keeps, up to the one shown.
func (f Frame) kept() []triage.Moment {
	all := f.Kept
	if all == nil {
		all = f.Past
	}
	if f.Now.Snapshot == nil {
		return nil
	}
	n := sort.Search(len(all), func(i int) bool { return all[i].Snapshot != nil && all[i].At > f.Now.At })
	return all[:n]
}

// judgements are moments with their findings alone, for who holds them longer than the history does.
func judgements(ms []triage.Moment) []triage.Moment {
	var out []triage.Moment
	for _, m := range ms {
		if m.Snapshot != nil && len(m.Findings) > 0 {
			out = append(out, triage.Moment{Snapshot: &collectors.Snapshot{At: m.At, Taken: m.Taken}, Findings: m.Findings})
		}
	}
	return out
}
