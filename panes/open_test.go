// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// mostTried bounds how many rows of one table the test below tries.
const mostTried = 6

// TestEnter holds that on every row of every screen Enter opens something, or says why it does not.
func TestEnter(t *testing.T) {
	t.Parallel()
	opened := 0
	for _, name := range []string{"busy", "extreme", "denied", "idle"} {
		if raceDetector && name != "busy" { // as for everyFixture
			continue
		}
		for state, keys := range states() {
			r := resize(fixture(name), 80, 24)
			press(r, keys...)
			if r.over != nil {
				continue
			}
			p := r.top()
			open := openKey(t, p)
			if !open.Enabled() {
				if open.Why == "" {
					t.Errorf("%s of %s: Enter is off and does not say why", state, name)
				}
				continue
			}
			var seen []string
			for range mostTried {
				at := selectedOf(r)
				if slices.Contains(seen, at) || at == "" {
					break
				}
				seen = append(seen, at)
				got := p.Update(Press{ID: keymap.Open, Frame: r.frame})
				if got == nil {
					t.Errorf("%s of %s: Enter on row %q does nothing and says nothing", state, name, at)
					break
				}
				switch msg := got.(type) {
				case OpenMsg:
					opened++
					if len(seen) == 1 { // the pages of a table are alike
						usable(t, state+" of "+name, msg.Pane, r.frame)
					}
				case GoMsg:
				case SayMsg:
					if msg.Text == "" {
						t.Errorf("%s of %s: Enter on row %q says nothing", state, name, at)
					}
				default:
					t.Errorf("%s of %s: Enter on row %q sends %T", state, name, at, msg)
				}
				p.Update(Press{ID: keymap.Down, Frame: r.frame})
			}
		}
	}
	if opened < 200 {
		t.Errorf("%d pages were opened: the test has lost its rows", opened)
	}
}

// selectedOf is the line of the screen that the cursor is on.
func selectedOf(r *Root) string {
	r.drawn = ""
	for _, l := range look(r) {
		if len(l) > 0 && l[0] == '>' {
			return l
		}
	}
	return ""
}

func openKey(t *testing.T, p Pane) keymap.Key {
	t.Helper()
	keys := keymap.Merge(GlobalKeys(All()), p.Keys())
	i := slices.IndexFunc(keys, func(k keymap.Key) bool { return k.ID == keymap.Open })
	if i < 0 {
		t.Fatalf("%s has no Enter", p.Info().ID)
	}
	return keys[i]
}

// usable holds that a page draws, has help, and can be left.
func usable(t *testing.T, from string, p Pane, f Frame) {
	t.Helper()
	if out := p.View(f, Canvas{Width: 80, Height: 21, Theme: plain()}); out == "" {
		t.Errorf("%s: page %s is empty", from, p.Info().ID)
	}
	if Help(p.Info().Help) == "" {
		t.Errorf("%s: page %s has no help", from, p.Info().ID)
	}
	if tb := p.Table(f); tb.Title == "" {
		t.Errorf("%s: page %s has a table without a title", from, p.Info().ID)
	}
}

// TestPagesLetGo holds that what a page wants for its target is wanted by nobody after Esc.
func TestPagesLetGo(t *testing.T) {
	f := busyStory(91).frame()
	for state, keys := range states() {
		var got []collectors.Want
		r := resize(root(f, func(c *Config) { c.Want = func(_ string, w []collectors.Want) { got = w } }), 80, 24)
		press(r, keys...)
		if r.over != nil || len(r.stacks[r.tab]) > 1 || !openKey(t, r.top()).Enabled() {
			continue
		}
		before := slices.Clone(got)
		press(r, "enter")
		if len(r.stacks[r.tab]) < 2 {
			continue
		}
		press(r, "esc")
		if !slices.Equal(before, got) {
			t.Errorf("%s: after Esc %v is wanted, before Enter %v", state, got, before)
		}
	}
}

// TestSayMsg holds that the reason for doing nothing is on the screen until the next key.
func TestSayMsg(t *testing.T) {
	r := resize(root(busyStory(10).frame()), 80, 24)
	run(r, func() tea.Msg { return SayMsg{"no process is known for this row"} })
	const want = " no process is known for this row "
	if l := look(r); !strings.HasPrefix(l[23], want) {
		t.Errorf("the status line is %q", l[23])
	}
	press(r, "2")
	if l := look(r); strings.HasPrefix(l[23], want) {
		t.Error("the reason stays after the next key")
	}
	press(resize(r, 80, 24), "3")
	r.frame = Frame{}
	press(r, "enter")
	if l := look(r); !strings.HasPrefix(l[23], " there is no row to open") {
		t.Errorf("Enter on an empty table: the status line is %q", l[23])
	}
}

// pagesOf are the pages that rows open.
func pagesOf(t *testing.T) []Pane {
	t.Helper()
	f := busyStory(30).frame()
	return []Pane{
		newCPUPage(0), newStallPage(Row{ID: "x"}, false), newStallPage(Row{ID: "x"}, true), newLogPage(&collectors.LogRecord{}), newDiskPage("sdb"), newSlabPage("dentry"),
		pageOf(t, f, 4121), newCgroupPage(f, "/system.slice/nginx.service"), newOffPage("x"), newCallPage("read", false, false), newDropPage("NO_SOCKET"),
		newSocketPage(1, f), &commandPage{}, &commandPage{who: collectors.Process{TGID: 1, Start: 1}},
	}
}
