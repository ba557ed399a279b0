// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"bpf60/triage"
)

// recorded is a screen over a recording of some seconds, of which the last are still to be loaded.
func recorded(t *testing.T, seconds int) (r *Root, rest func()) {
	t.Helper()
	s := newStory("busy", "web-7", 2, time.Hour)
	for i := range seconds {
		s.second(idleLoad(i))
	}
	h := &triage.History{}
	half := seconds / 2
	for _, m := range s.moments[:half] {
		h.Append(m)
	}
	r = New(Config{Panes: All(), History: h, Recorded: "web-7", Theme: plain(), TriageFor: time.Minute})
	r = resize(r, 80, 24)
	r.Update(NewMsg{})
	return r, func() {
		for _, m := range s.moments[half:] {
			h.Append(m)
		}
		r.Update(NewMsg{})
	}
}

// header is the screen's first line.
func header(r *Root) string {
	first, _, _ := strings.Cut(ansi.Strip(r.View()), "\n")
	return strings.TrimSpace(first)
}

func TestReplayScreen(t *testing.T) {
	r, rest := recorded(t, 20)
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:09") {
		t.Errorf("header %q, want the end of what is loaded", h)
	}
	rest()
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:19") {
		t.Errorf("header %q, want the end", h)
	}
	press(r, "left", "left")
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:17") {
		t.Errorf("header %q after two steps back", h)
	}
	press(r, "end")
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:19") {
		t.Errorf("header %q after End", h)
	}
}

// TestReplayPlaysOnce: a recording that was stopped and plays again plays no faster.
func TestReplayPlaysOnce(t *testing.T) { synctest.Test(t, testReplayPlaysOnce) }

func testReplayPlaysOnce(t *testing.T) {
	r, rest := recorded(t, 20)
	rest()
	var cmds []tea.Cmd
	for range 3 {
		_, cmd := r.Update(tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}})
		cmds = append(cmds, cmd)
	}
	for range 3 { // each sample is a second later, whatever is on its way
		var next []tea.Cmd
		for _, cmd := range cmds {
			if cmd == nil {
				continue
			}
			_, cmd := r.Update(cmd())
			next = append(next, cmd)
		}
		cmds = next
	}
	if h := header(r); !strings.HasSuffix(h, "REPLAY ▶ 09:26:03") {
		t.Errorf("header %q three seconds after the start, want the fourth sample", h)
	}
}

// A cursor that the user has moved stays where it is while the rest is loaded.
func TestReplayKeepsTheCursor(t *testing.T) {
	r, rest := recorded(t, 20)
	press(r, "left")
	rest()
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:08") {
		t.Errorf("header %q, want where the user was", h)
	}
}

func TestReplayPlays(t *testing.T) {
	r, rest := recorded(t, 6)
	rest()
	// The keys without the time that passes between two samples.
	space := func() { r.Update(tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}) }
	space() // from the end: plays from the beginning
	if h := header(r); !strings.HasSuffix(h, "REPLAY ▶ 09:26:00") {
		t.Errorf("header %q, want it to play from the start", h)
	}
	for range 3 {
		r.Update(playMsg{r.tape.turn})
	}
	if h := header(r); !strings.HasSuffix(h, "REPLAY ▶ 09:26:03") {
		t.Errorf("header %q after three samples", h)
	}
	space()
	r.Update(playMsg{r.tape.turn}) // was on its way
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:03") {
		t.Errorf("header %q, want it stopped", h)
	}
	space()
	for range 9 {
		r.Update(playMsg{r.tape.turn})
	}
	if h := header(r); !strings.HasSuffix(h, "REPLAY 09:26:05") {
		t.Errorf("header %q, want it to stop at the end", h)
	}
}
