// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"reflect"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/theme"
	"bpf60/triage"
)

// sizes are the smallest screen, the one that must be perfect, and a large one.
var sizes = [][2]int{{40, 10}, {80, 24}, {200, 60}}

// plain is a theme without a single sequence.
func plain() theme.Theme { return theme.New("dark", colorprofile.NoTTY) }

// root returns the screen over a frame's moments.
func root(f Frame, change ...func(*Config)) *Root {
	h := &triage.History{}
	for _, m := range f.Past {
		h.Append(m)
	}
	return rootOver(h, f, change...)
}

// rootOver returns the screen over the history of a frame's moments.
func rootOver(h *triage.History, f Frame, change ...func(*Config)) *Root {
	cfg := Config{Panes: All(), History: h, Theme: plain(), Version: "0.1.0", Rules: f.Rules}
	for _, c := range change {
		c(&cfg)
	}
	r := New(cfg)
	r.frame.Verdict = f.Verdict
	r.Update(NewMsg{})
	return r
}

// resize gives the screen a size.
func resize(r *Root, width, height int) *Root {
	r.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return r
}

// fits fails unless the screen is exactly height lines of at most width cells.
func fits(t *testing.T, out string, width, height int) {
	t.Helper()
	lines := strings.Split(out, "\n")
	if len(lines) > height {
		t.Errorf("the view has %d lines, want at most %d", len(lines), height)
	}
	for i, l := range lines {
		if w := ansi.StringWidth(l); w > width {
			t.Errorf("line %d is %d cells wide, want at most %d: %q", i, w, width, l)
		}
		if strings.HasSuffix(l, " ") && strings.TrimSpace(l) != "" && !strings.Contains(l, "PAUSED") {
			t.Errorf("line %d ends in blanks: %q", i, l)
		}
	}
}

// press sends keys and runs what they ask for, as Bubble Tea does. "row x" puts the cursor on row x
// of the pane that is shown.
func press(r *Root, keys ...string) {
	for _, k := range keys {
		if row, ok := strings.CutPrefix(k, "row "); ok {
			run(r, func() tea.Msg { return GoMsg{r.top().Info().ID, row} })
			continue
		}
		run(r, func() tea.Msg { return keyMsg(k) })
	}
}

// run delivers what a command says, and what follows from it.
func run(r *Root, cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil, tea.QuitMsg, tea.SuspendMsg:
	case tea.BatchMsg:
		for _, c := range msg {
			run(r, c)
		}
	default:
		if v := reflect.ValueOf(msg); v.Kind() == reflect.Slice && v.Type().Elem() == reflect.TypeFor[tea.Cmd]() { // tea.Sequence's
			for i := range v.Len() {
				run(r, v.Index(i).Interface().(tea.Cmd))
			}
			return
		}
		_, next := r.Update(msg)
		run(r, next)
	}
}

func keyMsg(k string) tea.KeyMsg {
	named := map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"left": tea.KeyLeft, "right": tea.KeyRight, "end": tea.KeyEnd, "home": tea.KeyHome, " ": tea.KeySpace,
		"ctrl+c": tea.KeyCtrlC, "ctrl+l": tea.KeyCtrlL, "ctrl+z": tea.KeyCtrlZ, "backspace": tea.KeyBackspace,
	}
	if t, ok := named[k]; ok {
		return tea.KeyMsg{Type: t, Runes: []rune(strings.TrimLeft(k, "abcdefghijklmnopqrstuvwxyz+"))}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
}
