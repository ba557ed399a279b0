// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/theme"
	"bpf60/triage"
)

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
	t.Parallel()
	for _, frame := range everyFixture("extreme") {
		for state, keys := range states() {
			r := resize(fixture(frame, func(c *Config) { c.Glyphs = theme.ASCII }), 80, 24)
			utf := resize(fixture(frame), 80, 24)
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
	t.Parallel()
	for state, keys := range states() {
		r := resize(fixture("extreme"), 200, 60)
		press(r, keys...)
		for i, c := range r.View() {
			if c < 0x20 && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' || c == '\ufffd' {
				t.Fatalf("%s: character %d is %#x", state, i, c)
			}
		}
	}
	if out := resize(fixture("extreme"), 200, 60).View(); !strings.Contains(out, `\x1b[31mroot`) {
		t.Errorf("a hostile name is not shown escaped")
	}
}

// A cut number is a wrong number: it is shortened or missing, never cut.
func TestNoCutNumbers(t *testing.T) {
	t.Parallel()
	cut := regexp.MustCompile(`(^|\s)[0-9][0-9.]*…(\s|$)`)
	for _, name := range everyFixture() {
		for state, keys := range states() {
			for _, size := range sizes {
				r := resize(fixture(name), size[0], size[1])
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
	t.Parallel()
	dw, dh := 13, 7
	if raceDetector { // as for everyFixture
		dw, dh = 52, 28
	}
	for w := 0; w <= 300; w += dw {
		for h := 0; h <= 100; h += dh {
			for name := range frames() {
				for _, keys := range [][]string{{"1"}, {"2"}, {"2", "v"}, {"2", "j", "i", "v", "v"}, {"2", "j", "enter"}, {"?"}, {"7"}, {"7", "v", "l", "s"}, {"7", "j", "enter"}} {

					if (w*h+len(name)+len(keys))%5 != 0 && w > 60 { // a fifth of the large ones is enough
						continue
					}
					r := resize(fixture(name), w, h)
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
	for _, p := range append(All(), pagesOf(t)...) {

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
	for _, p := range append(All(), pagesOf(t)...) {

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
		want []collectors.ID
	}{
		{"2", nil},
		{"i", nil},
		{"i", []collectors.ID{collectors.WakeID}},
		{"1", nil},
		{"2", []collectors.ID{collectors.WakeID}},
		{"j", []collectors.ID{collectors.WakeID}},
		{"enter", []collectors.ID{collectors.TasksID, collectors.CPUClocksID, collectors.SoftIRQID, collectors.IRQID}},
		{"esc", []collectors.ID{collectors.WakeID}},
		{"i", slices.Repeat([]collectors.ID{collectors.LatencyID}, mostSingles)},
		{"t", []collectors.ID{collectors.SoftIRQTimeID}},
		{"t", []collectors.ID{collectors.IRQID, collectors.HardIRQTimeID}},
		{"t", []collectors.ID{collectors.OffCPUID}},
		{"enter", []collectors.ID{collectors.OffCPUID}},
		{"esc", []collectors.ID{collectors.OffCPUID}},
		{"3", nil},
		{"enter", processWants()},
		{"esc", nil},
	}
	for i, s := range steps {
		press(r, s.key)
		var ids []collectors.ID
		for _, w := range got {
			ids = append(ids, w.ID)
		}
		if !slices.Equal(ids, s.want) {
			t.Errorf("after step %d (%s) the screen wants %v, want %v", i, s.key, ids, s.want)
		}
	}
}
