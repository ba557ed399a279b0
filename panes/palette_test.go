// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
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
