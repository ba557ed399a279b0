// SPDX-License-Identifier: Apache-2.0

package theme

import (
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// all returns every style of a theme.
func all(t Theme) map[string]Style {
	return map[string]Style{
		"Title": t.Title, "Dim": t.Dim, "Focus": t.Focus, "OK": t.OK, "Warn": t.Warn, "Crit": t.Crit,
		"Accent": t.Accent, "Alert": t.Alert, "Heat0": t.Heat[0], "Heat1": t.Heat[1], "Heat2": t.Heat[2], "Heat3": t.Heat[3],
	}
}

func TestNew(t *testing.T) {
	tests := map[string]struct {
		name    string
		profile colorprofile.Profile
		want    string
		allowed string // what a sequence may hold
	}{
		"dark true":       {"dark", colorprofile.TrueColor, "dark", `^\x1b\[[0-9;]*m$`},
		"dark 256":        {"dark", colorprofile.ANSI256, "dark", `^\x1b\[(1;7;|1;)?(38;5;\d+|1|7)m$`},
		"light 256":       {"light", colorprofile.ANSI256, "light", `^\x1b\[(1;7;|1;)?(38;5;\d+|1|7)m$`},
		"dark 16":         {"dark", colorprofile.ANSI, "terminal", `^\x1b\[([12];)?([1279]|3[0-7]|9[0-7])(;7)?m$`},
		"terminal 256":    {"terminal", colorprofile.ANSI256, "terminal", `^\x1b\[([12];)?([1279]|3[0-7]|9[0-7])(;7)?m$`},
		"no colour":       {"dark", colorprofile.ASCII, "mono", `^(|\x1b\[(1|2|1;7)m)$`},
		"light no colour": {"light", colorprofile.ASCII, "mono", `^(|\x1b\[(1|2|1;7)m)$`},
		"mono 16":         {"mono", colorprofile.ANSI, "mono", `^(|\x1b\[(1|2|1;7)m)$`},
		"no terminal":     {"dark", colorprofile.NoTTY, "plain", `^$`},
		"unknown name":    {"solarized", colorprofile.ANSI256, "dark", `^\x1b\[.*m$`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			th := New(tt.name, tt.profile)
			if th.Name != tt.want {
				t.Errorf("New(%q, %v) is %s, want %s", tt.name, tt.profile, th.Name, tt.want)
			}
			ok := regexp.MustCompile(tt.allowed)
			for id, s := range all(th) {
				if !ok.MatchString(s.On()) {
					t.Errorf("%s of %s is %q", id, th.Name, s.On())
				}
			}
		})
	}
}

// Severities differ from each other in every theme that has any styles.
func TestSeveritiesDiffer(t *testing.T) {
	for _, name := range Names() {
		th := New(name, colorprofile.ANSI256)
		if th.OK == th.Warn || th.Warn == th.Crit || th.OK == th.Crit {
			t.Errorf("%s: severities look alike: %q %q %q", name, th.OK.On(), th.Warn.On(), th.Crit.On())
		}
		if th.Focus.On() == "" || th.Alert.On() == "" {
			t.Errorf("%s: focus or alert cannot be seen", name)
		}
	}
}

func TestStyle(t *testing.T) {
	crit := New("dark", colorprofile.ANSI256).Crit
	if on, off := crit.On(), crit.Off(); on != "\x1b[1;38;5;203m" || off != "\x1b[0m" {
		t.Errorf("the style begins with %q and ends with %q", on, off)
	}
	if on, off := (Style{}).On(), (Style{}).Off(); on+off != "" {
		t.Errorf("the zero style begins with %q and ends with %q", on, off)
	}
}

func TestFold(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"ascii":  {"load 1.0 | x", "load 1.0 | x"},
		"spark":  {"▁▂▃▄▅▆▇█", "_.:-=+*#"},
		"rule":   {"── cpu ──", "-- cpu --"},
		"shades": {"░▒▓█", ".:+#"},
		"signs":  {"└ µ › ≤ ◆ ▲ … × ←→ ·", "` u > < * ^ ~ x <> -"},
		"names":  {"日本 é", "???? ?"},
	}
	for name, tt := range tests {
		if got := ASCII.Fold(tt.in); got != tt.want {
			t.Errorf("%s: Fold(%q) = %q, want %q", name, tt.in, got, tt.want)
		}
		if a, b := ansi.StringWidth(tt.in), ansi.StringWidth(ASCII.Fold(tt.in)); a != b {
			t.Errorf("%s: Fold changes the width from %d to %d", name, a, b)
		}
		if got := Blocks.Fold(tt.in); got != tt.in {
			t.Errorf("%s: Blocks.Fold(%q) = %q", name, tt.in, got)
		}
	}
}

// Every character of a scale stays different from its neighbours.
func TestFoldKeepsScales(t *testing.T) {
	for _, scale := range []string{"▁▂▃▄▅▆▇█", "░▒▓█"} {
		seen := make(map[rune]bool)
		for _, c := range ASCII.Fold(scale) {
			if seen[c] || strings.ContainsRune("? ", c) {
				t.Errorf("%s folds to %q", scale, ASCII.Fold(scale))
			}
			seen[c] = true
		}
	}
}
