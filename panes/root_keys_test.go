// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"reflect"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
)

func TestQuit(t *testing.T) {
	quits := func(cmd tea.Cmd) bool {
		if cmd == nil {
			return false
		}
		_, ok := cmd().(tea.QuitMsg)
		return ok
	}
	tests := map[string]struct {
		before []string
		key    string
		size   int
		want   bool
	}{
		"q":                          {nil, "q", 24, true},
		"ctrl+c":                     {nil, "ctrl+c", 24, true},
		"ctrl+c in help":             {[]string{"?"}, "ctrl+c", 24, true},
		"ctrl+c in search":           {[]string{"?", "/"}, "ctrl+c", 24, true},
		"q in help closes it":        {[]string{"?"}, "q", 24, false},
		"q in search is a letter":    {[]string{"?", "/"}, "q", 24, false},
		"q on a screen that is tiny": {nil, "q", 3, true},
		"another key":                {nil, "Q", 24, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(busyStory(61).frame()), 80, tt.size)
			press(r, tt.before...)
			_, cmd := r.Update(keyMsg(tt.key))
			if got := quits(cmd); got != tt.want {
				t.Errorf("quits = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestTerminalKeys(t *testing.T) {
	r := resize(root(busyStory(61).frame()), 80, 24)
	if _, cmd := r.Update(keyMsg("ctrl+z")); cmd == nil || cmd() != (tea.SuspendMsg{}) {
		t.Error("^Z does not suspend")
	}
	if _, cmd := r.Update(keyMsg("ctrl+l")); cmd == nil || reflect.TypeOf(cmd()) != reflect.TypeOf(tea.ClearScreen()) {
		t.Error("^L does not redraw")
	}
	before := r.View()
	r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q2"), Paste: true})
	if r.View() != before {
		t.Error("pasted text was taken for keys")
	}
	r.Update(tea.MouseMsg{X: 10, Y: 1, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
	sees(t, r, "a click on the tab", "[2 CPU]")
	r.Update(tea.MouseMsg{Button: tea.MouseButtonWheelDown})
	sees(t, r, "the wheel", ">   0")
}

// Esc and the key after it come in one read over a slow line, as Alt and that key do.
func TestEscAndAKeyInOneRead(t *testing.T) {
	alt := func(k string) tea.Cmd {
		msg := keyMsg(k)
		msg.Alt = true
		return func() tea.Msg { return msg }
	}
	r := resize(root(busyStory(91).frame()), 80, 24)
	press(r, "3", "/", "x")
	run(r, alt("2"))
	sees(t, r, "the filter is given up and its pane left", "[2 CPU]")
	press(r, "3", "/")
	run(r, alt("enter"))
	sees(t, r, "the page of the row", "3 Proc › ")

	keys, errs := keymap.Rebind(map[string][]string{"pause": {"alt+z"}}, GlobalKeys(All()))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	r = resize(root(busyStory(91).frame(), func(c *Config) { c.Keys = keys }), 80, 24)
	run(r, alt("z"))
	sees(t, r, "a key with Alt that is bound", "PAUSED")
}

func TestRebound(t *testing.T) {
	keys, errs := keymap.Rebind(map[string][]string{"pause": {"z"}, "cpu.draw": {"w"}, "go.cpu": {"u"}}, GlobalKeys(All()), NewCPU().Keys())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	r := resize(root(busyStory(91).frame(), func(c *Config) { c.Keys = keys }), 80, 24)
	press(r, "2")
	sees(t, r, "2 does nothing", "[1 Over]")
	press(r, "u", "v")
	sees(t, r, "v does nothing", "[2 CPU]", "w percentiles", "z pause")
	if _, errs := keymap.Rebind(map[string][]string{"pause": {"2"}}, GlobalKeys(All()), NewCPU().Keys()); len(errs) != 1 {
		t.Errorf("pause on the digit of a pane: %v, want one complaint", errs)
	}
	press(r, "w", "z")
	sees(t, r, "w and z do", "PAUSED", "◆ p99")
}

// Why a number is missing is said to who walks to it, only to him, and only while it is true.
func TestWhyIsOneKeyAway(t *testing.T) {
	const why = "runq -: needs CAP_BPF"
	r := resize(root(deniedFrame()), 80, 24)
	press(r, "2", "j")
	sees(t, r, "on the row", why)
	press(r, "v")
	sees(t, r, "another key", "v heat map")
	press(r, "k")
	sees(t, r, "back on it", why)
	for _, m := range busyStory(91).frame().Past {
		r.cfg.History.Append(m)
	}
	r.Update(NewMsg{})
	if strings.Contains(r.View(), why) {
		t.Errorf("the reason outlives what it explains:\n%s", r.View())
	}
}

// TestQuitWhileSaving: q waits for the snapshot, and says so; a second one does not.
func TestQuitWhileSaving(t *testing.T) {
	written := 0
	opened := func() *Root {
		return resize(root(busyStory(61).frame(), func(c *Config) {
			c.Save = saver(func(_, _ []byte, _ error) (string, error) { written++; return "x.txt", nil })
		}), 40, 10)
	}
	quits := func(r *Root, cmd tea.Cmd) bool {
		for cmd != nil {
			msg := cmd()
			if _, ok := msg.(tea.QuitMsg); ok {
				return true
			}
			_, cmd = r.Update(msg)
		}
		return false
	}
	r := opened()
	_, saves := r.Update(keyMsg("S"))
	if _, cmd := r.Update(keyMsg("q")); cmd != nil {
		t.Fatal("q ended before the snapshot was written")
	}
	if sees(t, r, "q", "then quit; q quits now"); !quits(r, saves) || written != 1 {
		t.Errorf("%d snapshots were written, want 1, and the end after it", written)
	}
	r = opened()
	r.Update(keyMsg("Sq"))
	if _, cmd := r.Update(keyMsg("q")); !quits(r, cmd) {
		t.Error("a second q waits")
	}
	r = opened()
	r.Update(keyMsg("S"))
	if _, cmd := r.Update(keyMsg("ctrl+c")); !quits(r, cmd) {
		t.Error("ctrl+c waits")
	}
}
