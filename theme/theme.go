// SPDX-License-Identifier: Apache-2.0

// Package theme holds styles by meaning, never by colour.
package theme

import (
	"slices"

	"github.com/charmbracelet/colorprofile"
)

// Style is a prebuilt SGR prefix. The zero Style leaves text as it is.
//
// Rows are built by hand from these: a Lip Gloss render of one cell costs as much as a whole row
// built this way.
type Style struct{ on string }

// reset ends every style. It is one sequence for all of them, so that lines compare equal.
const reset = "\x1b[0m"

// On is the sequence that begins the style; empty for plain text.
func (s Style) On() string { return s.on }

// Off is the sequence that ends it; empty for plain text.
func (s Style) Off() string {
	if s.on == "" {
		return ""
	}
	return reset
}

// Theme is one style for each meaning. Severity is never told by colour alone: the marks !! ! and
// i say it again.
type Theme struct {
	Name string

	Title  Style    // of a pane's part
	Dim    Style    // rules, units, what explains
	Focus  Style    // the row the cursor is on, the tab that is open
	OK     Style    // informational findings; all is well
	Warn   Style    // warnings
	Crit   Style    // critical findings
	Accent Style    // keys, bars, graphs: the one colour that is no severity
	Alert  Style    // PAUSED, errors on the status line
	Heat   [4]Style // the accent from little to much
}

// Names lists what New accepts.
func Names() []string { return []string{"dark", "light", "terminal", "mono"} }

// Known says whether New has a theme of that name.
func Known(name string) bool { return slices.Contains(Names(), name) }

// New returns the theme of that name for what the terminal can show; an unknown name is dark.
//
// Without colours (NO_COLOR) every theme is mono, which keeps bold and reverse: the wish is about
// colour only, and a selection that cannot be seen helps nobody. Without a terminal nothing is
// styled. With 16 colours every theme is terminal, which uses the user's own palette.
func New(name string, profile colorprofile.Profile) Theme {
	if !Known(name) {
		name = "dark"
	}
	switch profile {
	case colorprofile.NoTTY, colorprofile.Unknown:
		return Theme{Name: "plain"}
	case colorprofile.ASCII:
		return mono()
	case colorprofile.ANSI:
		if name != "mono" {
			return terminal()
		}
	case colorprofile.ANSI256, colorprofile.TrueColor:
	}
	rich := profile == colorprofile.TrueColor
	switch name {
	case "light":
		return light(rich)
	case "terminal":
		return terminal()
	case "mono":
		return mono()
	}
	return dark(rich)
}

// sgr builds a style from SGR parameters.
func sgr(parameters string) Style { return Style{"\x1b[" + parameters + "m"} }

// The severities are blue, gold and red: of the palettes that were compared they stay furthest
// apart for protanopes, deuteranopes and tritanopes.
func dark(rich bool) Theme {
	t := Theme{
		Name:  "dark",
		Title: sgr("1"), Dim: sgr("38;5;245"), Focus: sgr("1"),
		OK: sgr("38;5;39"), Warn: sgr("38;5;220"), Crit: sgr("1;38;5;203"),
		Accent: sgr("38;5;80"), Alert: sgr("1;7;38;5;220"),
		Heat: [4]Style{sgr("38;5;23"), sgr("38;5;30"), sgr("38;5;37"), sgr("38;5;80")},
	}
	if rich {
		t.Dim = sgr("38;2;138;143;152")
		t.OK, t.Warn, t.Crit = sgr("38;2;61;165;255"), sgr("38;2;255;208;64"), sgr("1;38;2;255;95;87")
		t.Accent, t.Alert = sgr("38;2;94;200;200"), sgr("1;7;38;2;255;208;64")
		t.Heat = [4]Style{sgr("38;2;32;84;92"), sgr("38;2;44;124;132"), sgr("38;2;62;164;170"), sgr("38;2;110;220;218")}
	}
	return t
}

func light(rich bool) Theme {
	t := Theme{
		Name:  "light",
		Title: sgr("1"), Dim: sgr("38;5;242"), Focus: sgr("1"),
		OK: sgr("38;5;25"), Warn: sgr("1;38;5;130"), Crit: sgr("1;38;5;160"),
		Accent: sgr("38;5;30"), Alert: sgr("1;7;38;5;130"),
		Heat: [4]Style{sgr("38;5;152"), sgr("38;5;73"), sgr("38;5;30"), sgr("38;5;23")},
	}
	if rich {
		t.Dim = sgr("38;2;100;104;112")
		t.OK, t.Warn, t.Crit = sgr("38;2;0;90;181"), sgr("1;38;2;158;91;0"), sgr("1;38;2;200;22;29")
		t.Accent, t.Alert = sgr("38;2;0;118;122"), sgr("1;7;38;2;158;91;0")
		t.Heat = [4]Style{sgr("38;2;168;212;212"), sgr("38;2;92;168;170"), sgr("38;2;20;124;128"), sgr("38;2;0;72;78")}
	}
	return t
}

// terminal uses the sixteen colours of the terminal itself, which suit its background whatever
// that is. Bright black is avoided: popular palettes make it the background.
func terminal() Theme {
	return Theme{
		Name:  "terminal",
		Title: sgr("1"), Dim: sgr("2"), Focus: sgr("1"),
		OK: sgr("94"), Warn: sgr("33"), Crit: sgr("1;31"),
		Accent: sgr("36"), Alert: sgr("1;7"),
		Heat: [4]Style{sgr("2;36"), sgr("36"), sgr("36"), sgr("1;36")},
	}
}

func mono() Theme {
	return Theme{
		Name:  "mono",
		Title: sgr("1"), Dim: sgr("2"), Focus: sgr("1"),
		OK: Style{}, Warn: sgr("1"), Crit: sgr("1;7"),
		Accent: Style{}, Alert: sgr("1;7"),
	}
}
