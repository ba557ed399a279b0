// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/charmbracelet/colorprofile"
)

// profile decides how many colours there are, from the setting and the environment alone: the
// terminal is never asked. The order is setting, NO_COLOR, CLICOLOR_FORCE, CLICOLOR, then what
// COLORTERM and TERM say. Without colours bold and reverse remain.
func profile(setting string, env func(string) string) colorprofile.Profile {
	switch setting {
	case "never":
		return colorprofile.ASCII
	case "16":
		return colorprofile.ANSI
	case "256":
		return colorprofile.ANSI256
	case "true":
		return colorprofile.TrueColor
	}
	// Only these two are passed on: NO_COLOR and CLICOLOR_FORCE are read there with fewer spellings
	// than their authors allow.
	got := colorprofile.Env([]string{"TERM=" + env("TERM"), "COLORTERM=" + env("COLORTERM")})
	force := env("CLICOLOR_FORCE")
	switch {
	case setting == "always":
	case env("NO_COLOR") != "":
		return colorprofile.ASCII
	case force != "" && force != "0":
	case env("CLICOLOR") == "0":
		return colorprofile.ASCII
	default:
		return got
	}
	return max(got, colorprofile.ANSI)
}

// utf8Terminal says whether block and line characters can be drawn: a UTF-8 locale, and not the
// Linux console, whose fonts lack most of them.
func utf8Terminal(env func(string) string) bool {
	if env("TERM") == "linux" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
