// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"sort"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// tape is how time is being looked at.
type tape struct {
	paused  bool
	touched bool // a recording: the user has moved, what is still being loaded does not move the cursor
	plays   bool // a recording
	turn    int  // how often it was started

	mark    *triage.Moment // of the frames from there on
	base    baseline
	zoom    zoom
	screen  string // as last drawn
	resting bool   // a step was drawn a moment ago: the next ones wait for restedMsg
	held    bool   // the cursor stands where screen does not show it yet
}

// farStep is how many samples the keys for big steps go.
const farStep = 10

// stepRest is how long keys have the loop for themselves after a step was drawn. A key is a few
// microseconds, so a held key is never behind by more than one drawing, however long that takes.
const stepRest = 10 * time.Millisecond

// restedMsg says that stepRest is over.
type restedMsg struct{}

// tapeKey does what a key of time stands for; false if it is none.
func (r *Root) tapeKey(id string) (tea.Cmd, bool) {
	switch id {
	case keymap.FarEarlier:
		return r.stepped(func() { r.step(-farStep) }), true
	case keymap.FarLater:
		return r.stepped(func() { r.step(farStep) }), true
	case keymap.EarlierMark:
		return r.stepped(func() { r.toMark(-1) }), true
	case keymap.LaterMark:
		return r.stepped(func() { r.toMark(1) }), true
	case keymap.Baseline:
		r.setBaseline()
		return nil, true
	case keymap.Compare:
		r.tape.base.on = !r.tape.base.on
		return nil, true
	case keymap.Earlier, keymap.Later:
		if !r.tape.paused {
			return nil, false // they choose a column
		}
		n := 1
		if id == keymap.Earlier {
			n = -1
		}
		return r.stepped(func() { r.step(n) }), true
	}
	return nil, false
}

// stepped moves the time cursor, and lets the screen follow: at once, or after the keys that are
// already there.
func (r *Root) stepped(move func()) tea.Cmd {
	r.tape.touched, r.tape.plays = true, false
	move()
	if r.tape.resting {
		r.tape.held, r.drawn = true, r.tape.screen
		return nil
	}
	return r.drawStep()
}

// drawStep draws, then rests.
func (r *Root) drawStep() tea.Cmd {
	r.tape.resting, r.tape.held = true, false
	r.View()
	return tea.Tick(stepRest, func(time.Time) tea.Msg { return restedMsg{} })
}

// rested draws the steps that were held back.
func (r *Root) rested() tea.Cmd {
	r.tape.resting = false
	if r.tape.held {
		return r.drawStep()
	}
	r.drawn = r.tape.screen
	return nil
}

// pause stops the time, or returns to the present.
func (r *Root) pause(on bool) {
	r.tape.paused, r.frame.Still = on, on
	if !on {
		r.show(r.live)
	}
}

// past are the moments that can be stepped through, oldest first: of a recording all.
func (r *Root) past() []triage.Moment {
	if r.cfg.Recorded != "" {
		return r.cfg.History.Window(-1, r.live)
	}
	return r.cfg.History.Window(r.live-keepFor-1, r.live)
}

// step moves the time cursor by n samples, or as far as there are any.
func (r *Root) step(n int) {
	past := r.past()
	if r.frame.Now.Snapshot == nil || len(past) == 0 {
		return
	}
	at := r.frame.Now.At
	from := sort.Search(len(past), func(i int) bool { return past[i].At >= at })
	if from < len(past) && past[from].At > at && n > 0 { // the moment itself is no longer kept
		n--
	}
	to := max(0, min(from+n, len(past)-1))
	if past[to].At == at || n < 0 && past[to].At > at || n > 0 && past[to].At < at {
		r.status = status{text: "this is the " + map[bool]string{true: "newest", false: "oldest"}[n > 0] + " sample"}
		return
	}
	r.show(past[to].At)
}

// toMark moves the time cursor to the moment before or after it at which something happened.
func (r *Root) toMark(way int) {
	if r.frame.Now.Snapshot == nil {
		r.status = status{text: "nothing is marked yet"}
		return
	}
	at := r.frame.Now.At
	best := time.Duration(-1)
	for _, e := range happenings(r.past()) {
		switch {
		case way < 0 && e.at < at:
			best = e.at
		case way > 0 && e.at > at && best < 0:
			best = e.at
		}
	}
	if best < 0 {
		r.status = status{text: "nothing is marked " + map[bool]string{true: "after this", false: "before this"}[way > 0]}
		return
	}
	r.show(best)
}

// dated fits the frame to the moment under the cursor: before the mark there is none, and what the
// history has given up is named.
func (r *Root) dated() {
	f := &r.frame
	f.zoom = r.tape.zoom
	if n := len(f.Past); n > 1 {
		f.zoom.each = (f.Now.At - f.Past[0].At) / time.Duration(n-1)
	}
	f.Mark = nil
	if m := r.tape.mark; m != nil && m.At <= f.Now.At {
		f.Mark = m
	}
	f.RowsSince, f.CPUsSince = time.Time{}, time.Time{}
	if s := f.Now.Snapshot; s != nil {
		if t := r.cfg.History.RowsSince(); s.At < t && s.WithoutRows() == s {
			f.RowsSince = f.At.Add(t - s.At)
		}
		if t := r.cfg.History.CPUsSince(); s.At < t && s.WithoutCPUs() == s {
			f.CPUsSince = f.At.Add(t - s.At)
		}
	}
}

// stillAge is what a snapshot says of the moment that it shows: nothing of the present.
func (r *Root) stillAge() string {
	if !r.tape.paused || r.cfg.Recorded != "" || r.frame.Now.Snapshot == nil {
		return ""
	}
	return fmt.Sprintf(" of %s, %s ago", r.frame.At.Format(time.TimeOnly), widget.Age(r.now()-r.frame.Now.At))
}
