// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"time"
)

// When half as many ticks are enough: what we take ourselves, of one CPU, and how long somebody waits for a
// CPU (PSI cpu some), as parts of the time. The first minute is the one that counts: it has all its ticks.
const (
	easeOwn, easeOwnEnd     = 0.05, 0.02 // the end is below half: half as many ticks cost half as much
	easeStall, easeStallEnd = 0.60, 0.40
	easeAfter               = 5 * time.Second  // above, without a break
	easeFor                 = 10 * time.Second // below, before all ticks come again
	easeMost                = 4 * time.Second  // the rules look at ten seconds
)

// ease decides how often is often enough.
type ease struct {
	on    bool
	why   string
	above time.Duration
	below time.Duration
}

// judge takes what the last tick told: the share of one CPU that is ours, and that of PSI cpu some, of the
// time that it covers. Unknown is 0.
func (e *ease) judge(now, span time.Duration, own, stall float64) {
	if now < triageTime || span <= 0 {
		return
	}
	why := ""
	switch {
	case own > easeOwn:
		why = fmt.Sprintf("bpf60 took %.0f %% of a CPU", 100*own)
	case stall > easeStall:
		why = fmt.Sprintf("PSI cpu some %.0f %%", 100*stall)
	}
	e.above, e.below = e.above+span, e.below+span
	if why == "" {
		e.above = 0
	}
	if own > easeOwnEnd || stall > easeStallEnd {
		e.below = 0
	}
	switch {
	case !e.on && e.above >= easeAfter:
		e.on, e.why = true, why
	case e.on && e.below >= easeFor:
		*e = ease{}
	}
}

// slower judges a snapshot, notes in it what comes of that, and sets the time to the next tick.
func (l *loop) slower(s *Snapshot) {
	var own, stall float64
	var span time.Duration
	if x := s.Self; x != nil && x.Seconds() > 0 {
		own, span = x.CPU.Seconds()/x.Seconds(), x.To-x.From
	}
	if x := s.Host; x != nil && x.Seconds() > 0 && x.PSI.CPU.Known {
		stall, span = x.PSI.CPU.Some.Seconds()/x.Seconds(), max(span, x.To-x.From)
	}
	l.ease.judge(l.now(), span, own, stall)
	l.reschedule()
	if l.interval > l.r.Interval() {
		s.Eased, s.EasedBy = l.interval, l.ease.why
	}
}
