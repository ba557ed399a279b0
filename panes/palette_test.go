// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"

	"bpf60/keymap"
	"bpf60/theme"
)

func TestPalette(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want ID
		says string
	}{
		"a pane":             {[]string{":", "c", "p", "u", "enter"}, CPUPane, ""},
		"completion":         {[]string{":", "c", "p", "tab", "enter"}, CPUPane, ""},
		"a correction":       {[]string{":", "o", "v", "x", "backspace", "enter"}, OverviewPane, ""},
		"given up":           {[]string{":", "c", "p", "esc"}, OverviewPane, ""},
		"nothing typed":      {[]string{":", "enter"}, OverviewPane, ""},
		"erased":             {[]string{":", "c", "backspace", "backspace", "2"}, CPUPane, ""},
		"a name of nothing":  {[]string{":", "z", "z", "enter"}, OverviewPane, "there is no zz here"},
		"digits are typed":   {[]string{":", "2", "esc"}, OverviewPane, ""},
		"what a key does":    {[]string{":", "n", "e", "x", "t", "-", "t", "enter"}, CPUPane, ""},
		"back after a visit": {[]string{":", "c", "p", "u", "enter", "esc"}, OverviewPane, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(busyStory(5).frame()), 80, 24)
			press(r, tt.keys...)
			if got := r.top().Info().ID; got != tt.want {
				t.Errorf("%q leads to %s, want %s", tt.keys, got, tt.want)
			}
			if !strings.Contains(r.View(), tt.says) {
				t.Errorf("%q does not say %q:\n%s", tt.keys, tt.says, r.View())
			}
			fits(t, r.View(), 80, 24)
		})
	}
}

func TestPaletteWords(t *testing.T) {
	var pace []string
	setup := func() *Root {
		pace = nil
		r := resize(root(frames()["busy"], func(c *Config) {
			c.Themes = func(name string) theme.Theme { return theme.New(name, colorprofile.ANSI256) }
			c.Interval = func(s string) error {
				if s == "1ns" {
					return errors.New("1ns is no interval")
				}
				pace = append(pace, s)
				return nil
			}
		}), 80, 24)
		press(r, "3")
		r.View()
		return r
	}
	tests := map[string]struct {
		typed string
		keys  []string
		check func(r *Root) bool
		says  string
	}{
		"sort":                {"sort rss", []string{"enter"}, nil, "↓RSS"},
		"sort twice":          {"sort rss", []string{"enter", ":", "up", "enter"}, nil, "↑RSS"},
		"sort by letters":     {"sort kwr", []string{"enter"}, nil, "↓kB_wr/s"},
		"sort by no column":   {"sort zzz", []string{"enter"}, nil, "there is no sort zzz here"},
		"pane":                {"pane dis", []string{"enter"}, nil, "[5 Disk]"},
		"theme":               {"theme mono", []string{"enter"}, func(r *Root) bool { return r.cfg.Theme.Name == "mono" }, "[3 Proc]"},
		"interval":            {"interval 2s", []string{"enter"}, func(*Root) bool { return slices.Equal(pace, []string{"2s"}) }, "measuring every 2s"},
		"interval of its own": {"interval 750ms", []string{"enter"}, func(*Root) bool { return slices.Equal(pace, []string{"750ms"}) }, "measuring every 750ms"},
		"bad interval":        {"interval 1ns", []string{"enter"}, nil, "1ns is no interval"},
		"a verb alone waits":  {"theme", []string{"enter"}, nil, ":theme ▏ theme dark  theme light"},
		"Tab completes it":    {"them", []string{"tab"}, nil, ":theme ▏ theme dark"},
		"Tab goes on":         {"theme ", []string{"tab", "tab"}, nil, ":theme light▏"},
		"S-Tab goes back":     {"theme ", []string{"tab", "shift+tab"}, nil, ":theme mono▏"},
		"letters in order":    {"ovw", nil, nil, ":ovw▏ overview"},
		"the list":            {"p", nil, nil, "── Tab completes ──"},
		"no history yet":      {"", []string{"up"}, nil, ":▏"},
		"history and back":    {"theme mono", []string{"enter", ":", "up", "down"}, nil, ":▏ "},
		"what failed is gone": {"zzzz", []string{"enter", ":", "up"}, nil, ":▏"},
	}
	for name, tt := range tests {
		r := setup()
		press(r, ":")
		for _, c := range tt.typed {
			press(r, string(c))
		}
		press(r, tt.keys...)
		sees(t, r, name, tt.says)
		if tt.check != nil && !tt.check(r) {
			t.Errorf("%s: %q did nothing", name, tt.typed)
		}
		fits(t, r.View(), 80, 24)
	}
}

// A value is what was typed: the letters of another one are no reason to take that one.
func TestPaletteTakesTheValueItself(t *testing.T) {
	tests := map[string]struct {
		keys     []string
		pace     string // what was asked for
		says     string
		offering string // on the prompt, before Enter
	}{
		"50s":      {nil, "50s", "measuring every 50s", ":interval 50s▏ interval 50s"},
		"5":        {nil, "5s", "measuring every 5s", ":interval 5▏ interval 5  interval 5s  interval 500ms"},
		"0.5":      {nil, "0.5s", "measuring every 0.5s", ":interval 0.5▏ interval 0.5"},
		"50ms":     {nil, "50ms", "50ms is no interval", ":interval 50ms▏ interval 50ms"},
		"s":        {nil, "s", "s is no interval", ":interval s▏ interval s"},
		"500ms":    {nil, "500ms", "measuring every 500ms", ":interval 500ms▏ interval 500ms"},
		"5s":       {nil, "5s", "measuring every 5s", ":interval 5s▏ interval 5s"},
		"1m":       {nil, "1m", "measuring every 1m", ":interval 1m▏ interval 1m"},
		"2m":       {nil, "2m", "2m is no interval", ":interval 2m▏ interval 2m"},
		"5 Tab":    {[]string{"tab"}, "5s", "measuring every 5s", ":interval 5s▏ interval 5s  interval 500ms"},
		"50 Tab":   {[]string{"tab"}, "500ms", "measuring every 500ms", ":interval 500ms▏ interval 500ms"},
		"5 recall": {[]string{"enter", ":", "up"}, "5s", "measuring every 5s", ":interval 5▏ interval 5  interval 5s"},
	}
	for name, tt := range tests {
		var asked string
		r := resize(root(frames()["busy"], func(c *Config) {
			c.Interval = func(s string) error {
				asked = s
				if d, err := time.ParseDuration(s); err != nil || d < 100*time.Millisecond || d > time.Minute {
					return errors.New(s + " is no interval")
				}
				return nil
			}
		}), 80, 24)
		press(r, ":")
		value, _, _ := strings.Cut(name, " ")
		for _, c := range "interval " + value {
			press(r, string(c))
		}
		press(r, tt.keys...)
		sees(t, r, name, tt.offering)
		press(r, "enter")
		if asked != tt.pace {
			t.Errorf("%s: %q was asked for, want %q", name, asked, tt.pace)
		}
		sees(t, r, name, tt.says)
		fits(t, r.View(), 80, 24)
	}
}

// What cannot be changed here is not offered.
func TestPaletteOffersWhatWorks(t *testing.T) {
	r := resize(root(busyStory(5).frame()), 80, 24)
	press(r, ":", "i", "n", "t", "e", "r", "v", "a", "l")
	if view := r.View(); strings.Contains(view, "measure every") || strings.Contains(view, "time between") {
		t.Errorf("an interval is offered where there is none:\n%s", view)
	}
}

// What can be chosen shrinks with what the host does, also while somebody chooses: a CPU that goes
// offline takes the key away that opens it.
func TestPaletteWhoseChoicesGo(t *testing.T) {
	r := resize(root(busyStory(5).frame()), 80, 24)
	press(r, "2", "j")
	r.View()
	press(r, ":")
	p, _ := r.over.(*palette)
	all := len(p.choices(r))
	press(r, slices.Repeat([]string{"tab"}, all-1-len(verbs(r)))...) // the last but one that is a key
	r.top().Update(Press{ID: keymap.Top, Frame: r.frame})            // where the cursor goes when its row has gone
	if n := len(p.choices(r)); n >= all {
		t.Fatalf("%d choices are left of %d, want fewer", n, all)
	}
	r.Update(NewMsg{})
	sees(t, r, "the choice", ":"+p.text+"▏ "+p.text)
	want := p.text
	press(r, "enter")
	if said := r.hand.said; len(said) != 1 || said[0] != want {
		t.Errorf("Enter did %q, want %q, which was shown", said, want)
	}
}

func TestPaletteRemembersLittle(t *testing.T) {
	r := root(busyStory(5).frame())
	for i := range 3 * mostSaid {
		r.remind(strconv.Itoa(i % (2 * mostSaid)))
	}
	if n := len(r.hand.said); n != mostSaid || r.hand.said[n-1] != strconv.Itoa(mostSaid-1) {
		t.Errorf("%d are kept, the last is %q", n, r.hand.said[n-1])
	}
}

// What Enter would do stands first.
func TestPalettePrompt(t *testing.T) {
	r := resize(root(busyStory(5).frame()), 80, 24)
	press(r, ":", "p", "a")
	lines := strings.Split(r.View(), "\n")
	if got := lines[len(lines)-1]; !strings.HasPrefix(got, ":pa▏ pause") {
		t.Errorf("the prompt is %q, want pause as the first choice", got)
	}
	if !strings.Contains(r.View(), "60 seconds") {
		t.Error("the palette hides the pane")
	}
}
