// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
)

// click presses the left button at a place of the screen.
func click(r *Root, x, y int) {
	run(r, func() tea.Msg {
		return tea.MouseMsg{X: x, Y: y, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress}
	})
}

// spot finds a text on the screen, its first cell.
func spot(t *testing.T, r *Root, text string) (x, y int) {
	t.Helper()
	for y, l := range look(r) {
		if i := strings.Index(ansi.Strip(l), text); i >= 0 {
			return ansi.StringWidth(ansi.Strip(l)[:i]), y
		}
	}
	t.Fatalf("the screen does not show %q:\n%s", text, r.View())
	return 0, 0
}

// Every head that is drawn sorts by its column, every row that is drawn is selected: in every state
// of every pane, over fixtures that have rows, at both sizes. Where they are is read off the screen.
func TestClicksHitWhatIsDrawn(t *testing.T) {
	t.Parallel()
	tables := 0
	fixtures, least := []string{"idle", "busy", "extreme", "lossy"}, 300
	if raceDetector { // as for everyFixture
		fixtures, least = fixtures[1:2], 75
	}
	for _, name := range fixtures {
		for state, keys := range states() {
			if state == "help" {
				continue
			}
			for _, size := range [][2]int{{80, 24}, {200, 60}} {
				r := resize(fixture(name), size[0], size[1])
				press(r, keys...)
				tables += clickAll(t, r, fmt.Sprintf("%s of %s at %dx%d", state, name, size[0], size[1]))
			}
		}
	}
	if tables < least {
		t.Errorf("only %d tables were clicked at", tables)
	}
}

// clickAll clicks at everything that can be pointed at, and says how many tables that was.
func clickAll(t *testing.T, r *Root, where string) (tables int) {
	t.Helper()
	screen := look(r)
	for _, b := range r.hand.seen.blocks {
		for i, l := range b.lines {
			if y := b.y + bodyLine + i; y < len(screen)-1 && !strings.Contains(screen[y], strings.TrimLeft(l, " ")) {
				t.Errorf("%s: line %d is %q, want it to hold %q", where, y, screen[y], l)
			}
		}
		if b.list == nil {
			continue
		}
		tables++
		x := b.x
		for _, c := range b.cols {
			title := strings.TrimSuffix(ansi.Truncate(c.Title, c.Width, "…"), "…")
			head := ansi.Cut(screen[b.y+bodyLine], x, x+c.Width+1)
			if !strings.Contains(head, title) {
				t.Errorf("%s: the head at %d is %q, want it to hold %q", where, x, head, title)
			}
			if !c.spark {
				before := *b.list
				click(r, x+c.Width/2, b.y+bodyLine)
				r.View()
				if i := slices.IndexFunc(r.hand.seen.blocks, func(x block) bool { return x.y == b.y && x.x == b.x }); i < 0 || r.hand.seen.blocks[i].list.sort != c.ID {
					t.Errorf("%s: after a click on %s it is not sorted by that", where, c.ID)
				}
				*b.list = before
				if slices.ContainsFunc(b.cols, func(c drawn) bool { return c.delta > 0 }) {
					r.Update(NewMsg{})
					r.View() // compared columns are as wide as the order leaves them
				}
			}
			x += c.Width + 1
		}
		r.Update(NewMsg{})
		r.View() // in the order it was in
		if n := len(b.lines) - 1; n > 0 && b.y+bodyLine+n < len(screen)-1 {
			click(r, b.x+1, b.y+bodyLine+n)
			if got := b.list.selected; got != b.rows[n] && b.table.Title != "cpu" {
				t.Errorf("%s: a click on row %s selects %q", where, b.rows[n], got)
			}
			r.hand.clicked = ""
		}
	}
	return tables
}

func TestMouseSorts(t *testing.T) {
	r := resize(root(frames()["busy"]), 80, 24)
	press(r, "3")
	x, y := spot(t, r, "RSS")
	click(r, x, y)
	sees(t, r, "a click on a head", "↓RSS")
	click(r, x, y)
	sees(t, r, "the second one", "↑RSS")
	x, y = spot(t, r, "%usr")
	click(r, x, y)
	sees(t, r, "another head", "↓%usr")
}

func TestMouseOpens(t *testing.T) {
	now := time.Second
	r := resize(root(frames()["busy"], func(c *Config) { c.Uptime = func() time.Duration { return now } }), 80, 24)
	press(r, "3")
	r.View()
	x, y := spot(t, r, "mariadbd")
	click(r, x, y)
	if !strings.HasPrefix(look(r)[y], ">") {
		t.Fatalf("a click on a row does not select it:\n%s", r.View())
	}
	now += doubleClick + 1
	click(r, x, y)
	sees(t, r, "two clicks that are no double click", "[3 Proc]")
	now += doubleClick
	click(r, x, y)
	sees(t, r, "a double click", "3 Proc › mariadbd")
	click(r, 70, tabsLine)
	sees(t, r, "a click on Esc back", "[3 Proc]")

	press(r, "1")
	x, y = spot(t, r, "iostat")
	click(r, x, y)
	if !strings.HasPrefix(look(r)[y], ">") {
		t.Errorf("a click on a line of the checklist does not select it:\n%s", r.View())
	}
	click(r, x, y)
	sees(t, r, "a double click on it", "[5 Disk]")
	before := r.View()
	click(r, 0, 0)
	click(r, 79, 23)
	if r.View() != before {
		t.Error("a click on nothing does something")
	}
	press(r, "?")
	r.Update(tea.MouseMsg{Button: tea.MouseButtonWheelDown})
	if h, ok := r.over.(*help); !ok || h.at != 1 {
		t.Error("the wheel does not scroll the help")
	}
}

// TestWheelWhileTyping: the wheel moves in the pane and leaves what is being typed.
func TestWheelWhileTyping(t *testing.T) {
	r := resize(root(frames()["busy"]), 80, 24)
	press(r, ":cpu", "enter", "3", "/ng", "enter")
	wheel := func(b tea.MouseButton) { r.Update(tea.MouseMsg{Button: b}) }
	press(r, ":dis")
	wheel(tea.MouseButtonWheelUp)
	sees(t, r, "up in the palette", ":dis▏")
	press(r, "esc", "/zz")
	wheel(tea.MouseButtonWheelUp)
	sees(t, r, "up in the filter", "/zz▏")
	press(r, "esc", "esc")
	first := r.sightOf(r.top()).row.ID
	press(r, ":dis")
	wheel(tea.MouseButtonWheelDown)
	if r.sightOf(r.top()).row.ID == first {
		t.Errorf("down in the palette does not move the cursor of the pane:\n%s", r.View())
	}
}

// copies returns a screen and what it copies.
func copies(name string, err error) (*Root, *[]string) {
	var got []string
	r := resize(fixture(name, func(c *Config) {
		c.Copy = func(s collectors.Safe) error { got = append(got, s.String()); return err }
	}), 80, 24)
	return r, &got
}

func TestCopy(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want string // how it begins
		says string
	}{
		"process":   {[]string{"3", "G", "y"}, "PID ", "sent to the clipboard: PID "},
		"checklist": {[]string{"row vmstat", "y"}, "vmstat ", "sent to the clipboard: vmstat"},
		"CPU":       {[]string{"2", "j", "y"}, "CPU 0 %usr ", "sent to the clipboard: CPU 0"},
		"log":       {[]string{":", "l", "o", "g", "enter", "y"}, "", "sent to the clipboard"},
	}
	for name, tt := range tests {
		r, got := copies("busy", nil)
		for _, k := range tt.keys {
			press(r, k)
			r.View()
		}
		sees(t, r, name, tt.says)
		if len(*got) != 1 || !strings.HasPrefix((*got)[0], tt.want) || strings.ContainsAny((*got)[0], "\n\r\x1b") {
			t.Errorf("%s copied %q, want one line that begins with %q", name, *got, tt.want)
		}
	}
	r, _ := copies("busy", errors.New("it is gone"))
	press(r, "3")
	r.View()
	press(r, "y")
	sees(t, r, "a failure", "copying: it is gone")
}

// What others chose to call themselves is cleaned, and a long row is cut between two characters.
func TestCopyIsClean(t *testing.T) {
	r, got := copies("extreme", nil)
	for _, p := range All() {
		r.goTo(GoMsg{Pane: p.Info().ID})
		for range 5 {
			r.View()
			press(r, "j", "y")
		}
	}
	if len(*got) < 20 {
		t.Fatalf("only %d rows were copied", len(*got))
	}
	r.copy(strings.Repeat("日本", 2000) + "\x1b]0;x\a")()
	for _, s := range *got {
		if strings.ContainsAny(s, "\x1b\a\n\r\u202e\u009b") || len(s) > mostCopied || !json.Valid([]byte(`"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)+`"`)) {
			t.Errorf("copied %q", s)
		}
	}
	if last := (*got)[len(*got)-1]; len(last) > mostCopied || len(last) < mostCopied-3 {
		t.Errorf("a long text is cut to %d bytes, want %d", len(last), mostCopied)
	}
}

// Nothing but the key that says so copies: every other key, in every state.
func TestOnlyOneKeyCopies(t *testing.T) {
	t.Parallel()
	tried, all := 0, states()
	for _, state := range slices.Sorted(maps.Keys(all)) {
		if tried++; raceDetector && tried%16 != 1 { // as for everyFixture
			continue
		}
		r, got := copies("busy", nil)
		keys := all[state]
		press(r, keys...)
		r.View()
		for _, k := range r.bindings() {
			for _, name := range k.Keys() {
				if k.ID == "copy" || name == "ctrl+c" {
					continue
				}
				press(r, strings.Split(strings.ReplaceAll(name, " ", "space"), "space")...)
				r.View()
				press(r, "enter", "esc", "esc")
				r.View()
			}
		}
		for x := range 80 {
			click(r, x, x%24)
			r.View()
		}
		if len(*got) > 0 {
			t.Errorf("%s: something else than y copied %q", state, *got)
		}
	}
}
