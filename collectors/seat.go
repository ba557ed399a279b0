// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// seat is what the loop knows of one collector.
type seat struct {
	meta   Meta
	worker *worker
	off    string // switched off by the user: the reason

	wanted   bool
	targets  []Target // all holders'
	narrowed []Target // what was last requested
	host     bool     // some holder looks at the whole host
	hosted   bool     // what was last requested of that

	running  bool
	busy     bool // a request is not answered
	starting bool // that request is a start
	idle     bool // detached, while the runner holds on
	again    bool // its next sample would cover a time when the runner held on
	glancing bool // it is a look at the cost
	owed     bool // a tick came meanwhile
	awaited  bool // the open round waits for the answer
	asked    time.Duration
	due      time.Duration // no collection before the tick at this time

	ready Sample // answered, not emitted

	err       error
	narrowErr error
	crash     string
	tries     int           // starts that failed since somebody wanted it
	failed    time.Duration // when the last one did

	rows []Probe // the collector's own words

	brake *brake  // nil: the collector cannot be paused
	meter meter   // of one without a brake
	sent  request // the last one
}

// mayStart says whether a start is worth trying: a missing feature does not come by waiting, any
// other error gets one more chance.
func (s *seat) mayStart(now time.Duration) bool {
	var need *NeedError
	switch {
	case s.tries == 0:
		return true
	case errors.As(s.err, &need):
		return false
	}
	return s.tries == 1 && now >= s.failed+retryAfter
}

// plan makes the request of a tick; false if nothing is to be done at this one.
func (s *seat) plan(q *request) bool {
	if s.brake == nil {
		q.collect = true
		return true
	}
	ask, p := s.brake.plan()
	q.collect, q.drop, q.pause = p.collect, p.drop, p.pause
	return ask
}

// weigh tells the brake what came of the last request.
func (s *seat) weigh(now time.Duration) {
	s.meterOf(now)
	switch {
	case s.brake == nil || !s.sent.collect:
		return
	case !s.running:
		s.brake.last = nil
	case s.sent.drop || s.sent.urgent: // it has been judged
		s.brake.base(s.rows, now)
	default:
		s.brake.window(s.rows, now, runtime.NumCPU())
	}
	if !s.running || s.sent.drop || s.sent.pause {
		s.brake.watch = watching{} // a window never covers a time when it was detached
	}
}

// undelivered says that something waits to be emitted that the next sample does not bring: events, or
// what only some samples hold. A sample that covers no time has gauges only, as a rule.
func (s *seat) undelivered() bool {
	if s.ready == nil {
		return false
	}
	rare, ok := s.ready.(interface{ rare() bool })
	return ok && rare.rare() || s.ready.span().Seconds() > 0
}

// shown are the collector's rows with what the runner knows on top. A row that is off or failed
// for a reason of its own keeps it.
func (s *seat) shown(now, interval time.Duration) []Probe {
	state, reason, remedy := s.verdict(now, interval)
	if state == On {
		return s.rows
	}
	rows := slices.Clone(s.rows)
	for i := range rows {
		p := &rows[i]
		own := p.Reason != "" && (p.State == Off || p.State == Failed)
		switch {
		case own && s.off == "" && s.crash == "":
		case state == Idle && p.State == Idle && p.Reason != "":
		case s.running && (state == Warming || state == Degraded) && p.State != On:
		default:
			p.State, p.Reason, p.Remedy = state, reason, remedy
		}
	}
	return rows
}

const noAnswer = "no answer for "

// Silent says that the collector has been asked and has not answered yet: it may still.
func (p Probe) Silent() bool { return p.State == Failed && strings.HasPrefix(p.Reason, noAnswer) }

// verdict is the runner's view of the collector: On if it has nothing to say.
func (s *seat) verdict(now, interval time.Duration) (state State, reason, remedy string) {
	var need *NeedError
	silent := now - s.asked
	switch {
	case s.off != "":
		return Off, s.off, ""
	case s.crash != "":
		return Failed, "stopped by a bug: " + s.crash, "report it with the stack that bpf60 prints when it ends"
	case s.busy && s.starting && silent >= retryAfter:
		return Warming, fmt.Sprintf("starting for %d s", int(silent.Seconds())), ""
	case s.busy && !s.starting && silent >= max(2*interval, retryAfter):
		return Failed, fmt.Sprintf("%s%d s", noAnswer, int(silent.Seconds())), ""
	case s.busy && s.starting, s.wanted && !s.running && s.err == nil: // or it waits for the first snapshot
		return Warming, "starting", ""
	case s.brake != nil && s.brake.stage == brakeStopped:
		return Off, s.brake.says(now), ""
	case !s.wanted && !s.running && s.err == nil:
		return Idle, "attaches while somebody looks", ""
	case errors.As(s.err, &need):
		return Off, plain(need.Error()), plain(need.Remedy)
	case errors.Is(s.err, ErrWarming):
		return Warming, ErrWarming.Error(), ""
	case s.err != nil:
		return Failed, plain(s.err.Error()), ""
	case s.brake != nil && s.brake.stage == brakeSlowed:
		return Degraded, s.brake.says(now), ""
	case s.narrowErr != nil:
		return Degraded, plain(s.narrowErr.Error()), ""
	}
	return On, "", ""
}
