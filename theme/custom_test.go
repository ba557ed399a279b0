// SPDX-License-Identifier: Apache-2.0

package theme

import (
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
)

func TestWith(t *testing.T) {
	tests := map[string]struct {
		look    string
		profile colorprofile.Profile
		want    string
	}{
		"true colour":         {"bold #ff5f57", colorprofile.TrueColor, "\x1b[1;38;2;255;95;87m"},
		"of 256":              {"bold #ff5f57", colorprofile.ANSI256, "\x1b[1;38;5;203m"},
		"of 16":               {"203", colorprofile.ANSI, "\x1b[91m"},
		"no colour":           {"bold #ff5f57", colorprofile.ASCII, "\x1b[1m"},
		"a number":            {"38", colorprofile.ANSI256, "\x1b[38;5;38m"},
		"the terminal's own":  {"3", colorprofile.TrueColor, "\x1b[33m"},
		"by name":             {"Bright-Red reverse", colorprofile.ANSI, "\x1b[7;91m"},
		"none":                {"none", colorprofile.TrueColor, ""},
		"nothing":             {"", colorprofile.TrueColor, ""},
		"what is no look":     {"pink", colorprofile.ANSI256, "\x1b[1;38;5;203m"},
		"only what is styled": {"bold", colorprofile.NoTTY, ""},
	}
	for name, tt := range tests {
		th := New("dark", tt.profile).With(map[string]string{"crit": tt.look, "nonsense": "bold"}, tt.profile)
		if got := th.Crit.On(); got != tt.want {
			t.Errorf("%s: crit = %q is %q, want %q", name, tt.look, got, tt.want)
		}
		if th.Warn != New("dark", tt.profile).Warn {
			t.Errorf("%s: warn changed too", name)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]struct{ style, look, err string }{
		"fine":         {"heat4", "dim #00ff00", ""},
		"no such":      {"critical", "bold", `no style is called "critical": use accent, alert, crit`},
		"no colour":    {"crit", "bold pink", `"pink" is neither a colour nor an attribute: use #rrggbb, 0 to 255, black, red`},
		"short colour": {"crit", "#fff", `"#fff" is neither`},
		"large number": {"crit", "256", `"256" is neither`},
		"two colours":  {"crit", "red 203", "has two colours"},
	}
	for name, tt := range tests {
		err := Check(tt.style, tt.look)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Check = %v, want %q", name, err, tt.err)
		}
	}
	if len(Meanings()) != len(all(Theme{})) {
		t.Errorf("%d styles can be changed, a theme has %d", len(Meanings()), len(all(Theme{})))
	}
}
