// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
)

// environ makes an environment of "A=b C=d".
func environ(list string) func(string) string {
	m := make(map[string]string)
	for kv := range strings.FieldsSeq(list) {
		k, v, _ := strings.Cut(kv, "=")
		m[k] = v
	}
	return func(k string) string { return m[k] }
}

func TestProfile(t *testing.T) {
	const (
		none = colorprofile.ASCII
		c16  = colorprofile.ANSI
		c256 = colorprofile.ANSI256
		full = colorprofile.TrueColor
	)
	for _, tt := range []struct {
		setting, env string
		want         colorprofile.Profile
	}{
		{"auto", "TERM=xterm-256color", c256},
		{"auto", "TERM=xterm-256color COLORTERM=truecolor", full},
		{"auto", "TERM=xterm", c16},
		{"auto", "TERM=linux", c16},
		{"auto", "TERM=screen", c256},
		{"auto", "TERM=tmux", c256},
		{"auto", "TERM=xterm-256color NO_COLOR=1", none},
		{"auto", "TERM=xterm-256color NO_COLOR=yes CLICOLOR_FORCE=1", none},
		{"auto", "TERM=xterm-256color NO_COLOR=", c256},
		{"auto", "TERM=xterm-256color CLICOLOR=0", none},
		{"auto", "TERM=xterm-256color CLICOLOR=0 CLICOLOR_FORCE=1", c256},
		{"auto", "TERM=xterm CLICOLOR_FORCE=0", c16},
		{"always", "TERM=vt220 NO_COLOR=1", c16},
		{"always", "TERM=xterm-256color NO_COLOR=1", c256},
		{"never", "TERM=xterm-256color CLICOLOR_FORCE=1", none},
		{"16", "TERM=xterm-256color", c16},
		{"256", "TERM=xterm NO_COLOR=1", c256},
		{"true", "TERM=xterm", full},
	} {
		if got := profile(tt.setting, environ(tt.env)); got != tt.want {
			t.Errorf("profile(%s, %s) = %v, want %v", tt.setting, tt.env, got, tt.want)
		}
	}
}

func TestUTF8Terminal(t *testing.T) {
	for env, want := range map[string]bool{
		"LANG=C.UTF-8":                         true,
		"LANG=de_DE.utf8":                      true,
		"LANG=C.UTF-8 LC_ALL=C":                false,
		"LANG=C LC_CTYPE=en_US.UTF-8":          true,
		"LC_ALL=en_US.UTF-8 LC_CTYPE=C LANG=C": true,
		"LANG=en_US.ISO-8859-1":                false,
		"":                                     false,
		"LANG=C.UTF-8 TERM=linux":              false,
		"LANG=C.UTF-8 LC_ALL= TERM=xterm":      true,
	} {
		if got := utf8Terminal(environ(env)); got != want {
			t.Errorf("utf8Terminal(%s) = %t, want %t", env, got, want)
		}
	}
}
