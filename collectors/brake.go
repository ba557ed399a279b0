// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"fmt"
	"time"
)

// Pauser is a collector whose programs can be detached for a while and kept: Pause(true) detaches,
// Pause(false) attaches again. It is called on the collector's goroutine, before or after Collect.
// Such a collector has a brake.
type Pauser interface {
	Pause(on bool) error
}

// What a collector's programs may take of the host's CPU time, all CPUs together, by the estimate of its
// rows: events × ns. What takes more is slowed, to a third of the time; what takes more than three times as
// much is stopped, as a third of it is too much as well. A flag in a map would be no brake, as entering the program is most of its cost.
const (
	brakeSoft = 0.01 // above: slowed, but not while the first triage runs
	brakeHard = 0.04 // above: slowed at any time
	// brakeWindows is how many windows in a row must be above before anything is done.
	brakeWindows = 2
	// brakeOneIn is how rarely a slowed collector looks: one tick in so many. A pane shows a sample for as
	// many moments.
	brakeOneIn = 3
	// brakeRest is how long a stopped collector rests, at first; then twice as long each time.
	brakeRest = 30 * time.Second
	// brakeEase is the part of a threshold that the cost must fall under before a collector is let go.
	brakeEase = 0.5
	// triageTime is the first minute, in which only what is very dear is slowed.
	triageTime = time.Minute
)

type brakeStage uint8

const (
	brakeFree brakeStage = iota
	brakeSlowed
	brakeStopped
)

// brakePhase is where a slowed collector is between two looks.
type brakePhase uint8

const (
	brakeLooks  brakePhase = iota // attached: the next tick reads, and detaches
	brakeSleeps                   // detached
	brakeWakes                    // the next tick attaches, and drops what it reads
)

// brake keeps one collector within its budget. Its methods are called in the order of the ticks, by the
// loop.
type brake struct {
	stage brakeStage
	phase brakePhase
	above int // windows in a row
	below int

	until time.Duration
	rest  time.Duration

	meter
	shared bool // pressed because of what all probes took together: see sumBrake

	watch watching
	times brakeTimes
}

// brakeTimes are what a test may shorten or lower; those of the constants where 0.
type brakeTimes struct {
	soft   float64       // what may be taken
	triage time.Duration // in which only what is very dear is slowed
	rest   time.Duration // of what is stopped for the first time
}

// plan says what a tick asks for: nothing, or a reading, which is dropped if it covers a time when the
// collector was detached.
func (b *brake) plan() (ask bool, q request) {
	if b.stage != brakeSlowed {
		drop := b.phase != brakeLooks // it was let go while detached
		b.phase = brakeLooks
		return true, request{collect: true, drop: drop}
	}
	switch b.phase {
	case brakeLooks:
		b.phase = brakeSleeps
		return true, request{collect: true, pause: true}
	case brakeSleeps:
		b.phase = brakeWakes
		return false, request{}
	case brakeWakes:
	}
	b.phase = brakeLooks
	return true, request{collect: true, drop: true}
}

// window judges what was counted since the last call of base or window.
func (b *brake) window(rows []Probe, now time.Duration, cpus int) {
	if b.measure(rows, now, cpus) {
		b.judge(now)
	}
}

// brakeLimit is what the cost of a collector that runs freely is judged by.
func brakeLimit(times brakeTimes, now time.Duration) float64 {
	if now < cmp.Or(times.triage, triageTime) {
		return brakeHard
	}
	return cmp.Or(times.soft, brakeSoft)
}

// limit is what the cost of a window is judged by.
func (b *brake) limit(now time.Duration) float64 {
	limit := brakeLimit(b.times, now)
	if b.stage == brakeSlowed {
		limit *= brakeOneIn
	}
	return limit
}

func (b *brake) judge(now time.Duration) {
	limit := b.limit(now)
	b.above, b.below = b.above+1, b.below+1
	if b.cost <= limit {
		b.above = 0
	}
	if b.cost > brakeSoft*brakeEase {
		b.below = 0
	}
	switch {
	case b.above >= brakeWindows && b.stage == brakeFree:
		b.stage, b.phase, b.above = brakeSlowed, brakeLooks, 0
	case b.above >= brakeWindows:
		b.rest = max(2*b.rest, cmp.Or(b.times.rest, brakeRest))
		b.stage, b.until, b.above = brakeStopped, now+b.rest, 0
	case b.stage == brakeSlowed && b.below >= brakeWindows && !b.shared:
		b.stage, b.rest = brakeFree, 0
	}
}

// stopped says whether the collector has to stay closed. Once it has rested, it begins anew, slowed.
func (b *brake) stopped(now time.Duration) bool {
	if b.stage == brakeStopped && now >= b.until {
		b.stage, b.phase, b.last, b.watch = brakeSlowed, brakeLooks, nil, watching{}
	}
	return b.stage == brakeStopped
}

// free lets go: somebody new looks.
func (b *brake) free() { *b = brake{times: b.times} }

// says is what the rows show of it; empty while the collector runs freely.
func (b *brake) says(now time.Duration) string {
	cost := fmt.Sprintf("%s events a second took %.1f %% of the host's CPU time", thousands(b.rate), 100*b.cost)
	if b.shared {
		cost += fmt.Sprintf(", all probes more than %.0f %%", 100*brakeSum)
	}
	switch b.stage {
	case brakeSlowed:
		return fmt.Sprintf("slowed to 1 s in %d: %s", brakeOneIn, cost)
	case brakeStopped:
		return fmt.Sprintf("stopped: %s; tries again in %d s", cost, int((b.until-now).Seconds())+1)
	case brakeFree:
	}
	return ""
}

// thousands prints a rate as 310k.
func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}
