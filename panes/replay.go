// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// playMsg moves a recording on by one sample, if it still plays since the same key.
type playMsg struct{ turn int }

// loading says whether the cursor follows the end of a recording that is being read.
func (r *Root) loading() bool { return r.cfg.Recorded != "" && !r.tape.touched }

// playOrStop plays from where the cursor is, from the first sample if that is the last one.
func (r *Root) playOrStop() tea.Cmd {
	if r.frame.Now.Snapshot == nil {
		r.status = status{text: "the recording is being read"}
		return nil
	}
	r.tape.touched = true
	if r.tape.plays = !r.tape.plays; !r.tape.plays {
		return nil
	}
	r.tape.turn++
	if first, ok := r.cfg.History.First(); ok && r.frame.Now.At >= r.live {
		r.show(first.At)
	}
	return r.nextPlay()
}

// nextPlay waits as long as the recorded host took to the next sample.
func (r *Root) nextPlay() tea.Cmd {
	w := r.cfg.History.Window(r.frame.Now.At, r.live)
	if len(w) == 0 {
		r.tape.plays = false
		return nil
	}
	wait := min(w[0].At-r.frame.Now.At, 10*time.Second) // a host that slept is not waited for
	msg := playMsg{r.tape.turn}
	return tea.Tick(wait, func(time.Time) tea.Msg { return msg })
}

// play shows the next sample. A message of before it was stopped has no part in it: there would be two at a time.
func (r *Root) play(msg playMsg) tea.Cmd {
	if !r.tape.plays || msg.turn != r.tape.turn {
		return nil
	}
	r.step(1)
	return r.nextPlay()
}

// toEnd moves the cursor to the newest sample: live, that is the present.
func (r *Root) toEnd() {
	if r.cfg.Recorded != "" {
		r.tape.touched, r.tape.plays = true, false
		r.show(r.live)
		return
	}
	r.pause(false)
}
