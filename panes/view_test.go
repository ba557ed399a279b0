// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
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

// states are the panes, and what their keys make of them.
func states() map[string][]string {
	return map[string][]string{
		"overview":        {"1"},
		"overview vmstat": {"1", "row vmstat"},
		"overview mpstat": {"1", "row mpstat"},
		"overview runq":   {"1", "row runqlat"},
		"cpu":             {"2"},
		"cpu percentiles": {"2", "v"},
		"cpu heat map":    {"2", "v", "v"},
		"cpu by cpu":      {"2", "j", "i"},
		"cpu by cause":    {"2", "i", "i"},
		"cpu page":        {"2", "j", "j", "enter"},
		"help":            {"2", "?"},

		"overview iostat":   {"1", "row iostat"},
		"disk":              {"5"},
		"disk all":          {"5", "a", "G"},
		"disk files":        {"5", "v"},
		"disk page":         {"5", "enter"},
		"processes":         {"3"},
		"processes tree":    {"3", "K", "t", "j", "j"},
		"processes by mem":  {"3", "M"},
		"processes threads": {"3", "H"},
		"process page":      {"3", "enter"},

		"overview free":  {"1", "row free"},
		"memory":         {"4"},
		"memory where":   {"4", "v"},
		"memory limits":  {"4", "v", "v"},
		"memory cache":   {"4", "j", "enter"},
		"cpu softirqs":   {"2", "t"},
		"cpu interrupts": {"2", "t", "t"},
		"log":            {":", "l", "o", "g", "enter"},
		"log warnings":   {":", "l", "o", "g", "enter", "w"},
		"log page":       {":", "l", "o", "g", "enter", "w", "enter"},
		"stalls":         {":", "s", "t", "a", "l", "l", "s", "enter"},
		"stalls asleep":  {":", "s", "t", "a", "l", "l", "s", "enter", "t", "j"},
		"stalls page":    {":", "s", "t", "a", "l", "l", "s", "enter", "enter"},

		"overview tcp":   {"1", "row sar TCP"},
		"tcp":            {"7"},
		"tcp listeners":  {"7", "v"},
		"tcp peers":      {"7", "v", "v"},
		"tcp counters":   {"7", "v", "v", "v"},
		"tcp connection": {"7", "enter"},

		"overview cgroup":    {"1", "row cgroup"},
		"cgroups":            {":", "c", "g", "r", "enter"},
		"cgroups tree":       {":", "c", "g", "r", "enter", "t"},
		"cgroups memory":     {"2", "c", "c"},
		"cgroups io":         {"2", "c", "c", "c"},
		"cgroup page":        {"2", "c", "enter"},
		"overview sar DEV":   {"1", "row sar DEV"},
		"network":            {"6"},
		"network errors":     {"6", "v"},
		"network softnet":    {"6", "v", "v"},
		"network namespaces": {"6", "v", "v", "v"},
		"network idle":       {"6", "z", "G"},
		"network page":       {"6", "enter"},
		"network pod":        {"6", "v", "v", "v", "j", "enter"},
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
		_, next := r.Update(msg)
		run(r, next)
	}
}

func keyMsg(k string) tea.KeyMsg {
	named := map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"left": tea.KeyLeft, "right": tea.KeyRight, "end": tea.KeyEnd, "home": tea.KeyHome, " ": tea.KeySpace,
		"ctrl+c": tea.KeyCtrlC, "ctrl+l": tea.KeyCtrlL, "ctrl+z": tea.KeyCtrlZ, "backspace": tea.KeyBackspace,
	}
	if t, ok := named[k]; ok {
		return tea.KeyMsg{Type: t, Runes: []rune(strings.TrimLeft(k, "abcdefghijklmnopqrstuvwxyz+"))}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
}

func TestScreens(t *testing.T) {
	for frame, f := range frames() {
		h := root(f).cfg.History // the screens only read it
		for state, keys := range states() {
			if state == "help" && frame != "busy" { // it does not depend on the frame
				continue
			}
			for _, size := range sizes {
				t.Run(fmt.Sprintf("%s/%s/%dx%d", state, frame, size[0], size[1]), func(t *testing.T) {
					r := resize(rootOver(h, f), size[0], size[1])
					press(r, keys...)
					out := r.View()
					fits(t, out, size[0], size[1])
					if n := strings.Count(out, "\n") + 1; n != size[1] {
						t.Errorf("the screen has %d lines, want %d", n, size[1])
					}
					if out != ansi.Strip(out) {
						t.Errorf("the plain theme wrote an escape sequence")
					}
					golden.RequireEqual(t, out)
				})
			}
		}
	}
}

// The colours are part of the look: one golden of each theme keeps them.
func TestColours(t *testing.T) {
	for name, profile := range map[string]colorprofile.Profile{
		"dark": colorprofile.ANSI256, "light": colorprofile.TrueColor, "terminal": colorprofile.ANSI, "mono": colorprofile.ASCII,
	} {
		t.Run(name, func(t *testing.T) {
			r := resize(root(judgedFrame(), func(c *Config) { c.Theme = theme.New(name, profile) }), 80, 24)
			out := r.View()
			fits(t, out, 80, 24)
			golden.RequireEqual(t, strings.ReplaceAll(out, "\x1b", "␛"))
		})
	}
}

// NO_COLOR is about colour: bold and reverse must stay.
func TestMonoKeepsBold(t *testing.T) {
	out := resize(root(judgedFrame(), func(c *Config) { c.Theme = theme.New("dark", colorprofile.ASCII) }), 80, 24).View()
	for _, want := range []string{"\x1b[1m", "\x1b[1;7m"} {
		if !strings.Contains(out, want) {
			t.Errorf("the mono screen lacks %q", want)
		}
	}
	for _, colour := range []string{"\x1b[38", "\x1b[3", "\x1b[9"} {
		if strings.Contains(out, colour) {
			t.Errorf("the mono screen holds the colour %q", colour)
		}
	}
}

func TestASCII(t *testing.T) {
	for frame, f := range frames() {
		for state, keys := range states() {
			r := resize(root(f, func(c *Config) { c.Glyphs = theme.ASCII }), 80, 24)
			utf := resize(root(f), 80, 24)
			press(r, keys...)
			press(utf, keys...)
			out := r.View()
			for i, c := range []byte(out) {
				if c >= 0x80 {
					t.Fatalf("%s of %s: byte %d is %#x, want ASCII", state, frame, i, c)
				}
			}
			a, b := strings.Split(out, "\n"), strings.Split(utf.View(), "\n")
			for i := range a {
				if ansi.StringWidth(a[i]) != ansi.StringWidth(b[i]) {
					t.Errorf("%s of %s: line %d changes its width:\n%q\n%q", state, frame, i, a[i], b[i])
				}
			}
		}
	}
}

// What others chose must reach no screen and no report as more than text.
func TestHostileNames(t *testing.T) {
	f := extremeFrame()
	for state, keys := range states() {
		r := resize(root(f), 200, 60)
		press(r, keys...)
		for i, c := range r.View() {
			if c < 0x20 && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' || c == '\ufffd' {
				t.Fatalf("%s: character %d is %#x", state, i, c)
			}
		}
	}
	if out := resize(root(f), 200, 60).View(); !strings.Contains(out, `\x1b[31mroot`) {
		t.Errorf("a hostile name is not shown escaped")
	}
}

// A cut number is a wrong number: it is shortened or missing, never cut.
func TestNoCutNumbers(t *testing.T) {
	cut := regexp.MustCompile(`(^|\s)[0-9][0-9.]*…(\s|$)`)
	for name, f := range frames() {
		for state, keys := range states() {
			for _, size := range sizes {
				r := resize(root(f), size[0], size[1])
				press(r, keys...)
				for _, l := range look(r) {
					if cut.MatchString(l) {
						t.Errorf("%s of %s at %dx%d: %q", state, name, size[0], size[1], l)
					}
				}
			}
		}
	}
}

func TestEverySize(t *testing.T) {
	all := frames()
	for w := 0; w <= 300; w += 13 {
		for h := 0; h <= 100; h += 7 {
			for name, f := range all {
				for _, keys := range [][]string{{"1"}, {"2"}, {"2", "v"}, {"2", "j", "i", "v", "v"}, {"2", "j", "enter"}, {"?"}, {"7"}, {"7", "v", "l", "s"}, {"7", "j", "enter"}} {

					if (w*h+len(name)+len(keys))%5 != 0 && w > 60 { // a fifth of the large ones is enough
						continue
					}
					r := resize(root(f), w, h)
					press(r, keys...)
					out := r.View()
					if w == 0 || h == 0 {
						if out != "" {
							t.Fatalf("%dx%d: View() = %q, want nothing", w, h, out)
						}
						continue
					}
					fits(t, out, w, h)
					if t.Failed() {
						t.Fatalf("%s %v at %dx%d", name, keys, w, h)
					}
				}
			}
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add(80, 24, "2vij\r", uint8(1))
	f.Add(0, 0, "?q", uint8(0))
	f.Add(300, 100, "2iivv gg G", uint8(3))
	names := []string{"empty", "busy", "extreme", "lossy", "denied", "judged", "idle"}
	all := frames()
	f.Fuzz(func(t *testing.T, width, height int, keys string, which uint8) {
		if width < 0 || height < 0 || width > 300 || height > 100 || len(keys) > 40 {
			t.Skip("outside of what terminals do")
		}
		r := resize(root(all[names[int(which)%len(names)]]), width, height)
		for _, k := range keys {
			switch k {
			case '\r':
				press(r, "enter")
			case '\x1b':
				press(r, "esc")
			default:
				press(r, string(k))
			}
		}
		if width > 0 && height > 0 {
			fits(t, r.View(), width, height)
		}
	})
}

// A number that has not changed keeps its place: two seconds apart, most lines are the same bytes.
func TestSteadyLines(t *testing.T) {
	s := idleStory()
	a := resize(root(s.frame()), 80, 24)
	before := strings.Split(a.View(), "\n")
	last := *s.moments[len(s.moments)-1].Snapshot
	last.At += time.Second
	last.Taken = last.Taken.Add(time.Second)
	a.cfg.History.Append(triage.Moment{Snapshot: &last})
	a.Update(NewMsg{})
	after := strings.Split(a.View(), "\n")
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	if changed > 5 {
		t.Errorf("%d of %d lines changed although nothing did but the time", changed, len(before))
	}
}

func TestEveryPaneHasHelp(t *testing.T) {
	for _, p := range append(All(), newCPUPage(0), newStallPage("x", false), newLogPage(&collectors.LogRecord{})) {

		info := p.Info()
		page := Help(info.Help)
		if page == "" {
			t.Errorf("pane %s has no page of help %q", info.ID, info.Help)
		}
		for i, l := range strings.Split(page, "\n") {
			if w := ansi.StringWidth(l); w > 98 {
				t.Errorf("help/%s.md:%d is %d cells wide, want at most 98", info.Help, i+1, w)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	digits := make(map[string]ID)
	for _, p := range append(All(), newCPUPage(0), newStallPage("x", false), newStallPage("x", true), newLogPage(&collectors.LogRecord{})) {

		info := p.Info()
		if info.Digit != "" && digits[info.Digit] != "" {
			t.Errorf("%s and %s share the digit %s", info.ID, digits[info.Digit], info.Digit)
		}
		digits[info.Digit] = info.ID
		r := New(Config{Panes: All(), History: &triage.History{}})
		r.stacks[0] = append(r.stacks[0], p)
		keys := r.bindings()
		if c := keymap.Conflicts(keys); len(c) > 0 {
			t.Errorf("keys of %s collide: %v", info.ID, c)
		}
		for _, k := range keys {
			if k.Help().Desc == "" || k.ID == "" || len(k.Keys()) == 0 {
				t.Errorf("key %q of %s lacks an id, keys or a description", k.ID, info.ID)
			}
			if !k.Enabled() && k.Why == "" {
				t.Errorf("key %q of %s is disabled and does not say why", k.ID, info.ID)
			}
		}
	}
}

// Every want names a collector that is on demand.
func TestWants(t *testing.T) {
	var got []collectors.Want
	r := resize(root(busyStory(91).frame(), func(c *Config) {
		c.Want = func(holder string, w []collectors.Want) {
			if holder != "screen" {
				t.Errorf("holder = %q, want screen", holder)
			}
			got = w
		}
	}), 80, 24)
	steps := []struct {
		key  string
		want int
	}{{"2", 0}, {"i", 0}, {"i", 1}, {"1", 0}, {"2", 1}, {"j", 1}, {"enter", 0}, {"esc", 1}, {"i", 0}}
	for i, s := range steps {
		press(r, s.key)
		if len(got) != s.want || s.want == 1 && got[0].ID != collectors.WakeID {
			t.Errorf("after step %d (%s) the screen wants %v, want %d of %s", i, s.key, got, s.want, collectors.WakeID)
		}
	}
}
