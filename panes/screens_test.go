// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"

	"bpf60/theme"
)

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
		"cpu page tables": {"2", "j", "j", "enter", "t"},
		"help":            {"2", "?"},

		"overview iostat":   {"1", "row iostat"},
		"disk":              {"5"},
		"disk all":          {"5", "a", "G"},
		"disk files":        {"5", "t", "t", "t", "t"},
		"disk latency":      {"5", "t"},
		"disk split":        {"5", "t", "i"},
		"disk row heat":     {"5", "t", "j", "v", "v"},
		"disk by disk":      {"5", "t", "i", "i", "v"},
		"disk slowest":      {"5", "t", "t"},
		"disk processes":    {"5", "t", "t", "t"},
		"disk page":         {"5", "enter"},
		"processes":         {"3"},
		"processes tree":    {"3", "K", "t", "j", "j"},
		"processes by mem":  {"3", "M"},
		"processes threads": {"3", "H"},
		"process page":      {"3", "enter"},
		"process I/O":       {"3", "enter", "t", "t"},
		"process opens":     {"3", "enter", "t", "t", "t", "t", "t"},
		"process calls":     {"3", "enter", "T", "T", "T"},
		"process limits":    {"3", "enter", "T"},
		"process heat":      {"3", "enter", "v", "v", "+"},
		"process one":       {"3", "enter", "i", "i", "v"},
		"process call":      {"3", "enter", "T", "T", "T", "i", "i", "i", "i", "i", "i", "i"},
		"process call heat": {"3", "enter", "T", "T", "T", "i", "i", "i", "i", "i", "i", "i", "v", "v"},
		"disk page heat":    {"5", "enter", "v", "v"},
		"disk page reads":   {"5", "enter", "i", "i", "i", "-"},
		"disk page slowest": {"5", "enter", "t", "t"},

		"overview free":  {"1", "row free"},
		"memory":         {"4"},
		"memory waits":   {"4", "v"},
		"memory by cg":   {"4", "v", "i", "d", "d"},
		"memory singly":  {"4", "v", "i", "i"},
		"memory kills":   {"4", "v", "v"},
		"memory pages":   {"4", "v", "v", "v"},
		"memory where":   {"4", "V", "V"},
		"memory limits":  {"4", "V"},
		"memory cache":   {"4", "j", "enter"},
		"cpu softirqs":   {"2", "t"},
		"cpu interrupts": {"2", "t", "t"},
		"cpu timer line": {"2", "t", "t", "j", "j", "x"},
		"cpu off":        {"2", "t", "t", "t"},
		"cpu off sleeps": {"2", "t", "t", "t", "i", "j"},
		"cpu off heat":   {"2", "t", "t", "t", "v", "v", "i", "i"},
		"cpu off stack":  {"2", "t", "t", "t", "j", "enter"},
		"cpu by process": {"2", "i", "i", "i"},
		"cpu by cgroup":  {"2", "v", "v", "i", "i", "i", "i"},
		"findings":       {":", "f", "i", "n", "d", "enter"},
		"findings next":  {":", "f", "i", "n", "d", "enter", "j", "j"},
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
		"tcp events":     {"7", "t"},
		"tcp ended":      {"7", "t", "v"},
		"tcp services":   {"7", "t", "v", "v"},
		"tcp processes":  {"7", "t", "v", "v", "v"},
		"tcp states":     {"7", "t", "V"},
		"tcp latency":    {"7", "t", "t"},
		"tcp lives":      {"7", "t", "t", "w", "w", "i"},
		"tcp heat":       {"7", "t", "t", "w", "v", "v"},
		"tcp peer":       {"7", "t", "v", "v", "enter"},
		"tcp peer socks": {"7", "v", "v", "enter", "t", "v"},
		"tcp peer who":   {"7", "v", "v", "enter", "t", "t", "i", "i"},
		"tcp peer state": {"7", "v", "v", "enter", "t", "t", "t"},
		"tcp peer event": {"7", "t", "v", "v", "enter", "T"},

		"exec":             {"8"},
		"exec exits":       {"8", "v"},
		"exec short-lived": {"8", "v", "v"},
		"exec opens":       {"8", "v", "v", "v", "v", "v", "v"},
		"exec openers":     {"8", "v", "v", "v", "v", "v", "v", "v"},
		"exec openfails":   {"8", "v", "v", "v", "v", "v", "v", "v", "v"},
		"exec execfails":   {"8", "V", "V", "V", "V"},
		"exec slowfiles":   {"8", "V", "V", "V"},
		"exec programs":    {"8", "v", "v", "v"},
		"exec forks":       {"8", "v", "v", "v", "v"},
		"exec signals":     {"8", "v", "v", "v", "v", "v", "j"},
		"exec page":        {"8", "j", "enter"},
		"exec page ended":  {"8", "v", "j", "enter"},
		"exec page short":  {"8", "v", "v", "enter"},
		"exec page killed": {"8", "v", "v", "v", "v", "v", "enter"},
		"exec lives":       {"8", "V", "V"},
		"exec churn":       {"8", "V"},

		"probes": {"0"},

		"profile":         {"9"},
		"profile zoom":    {"9", "j", "j", "enter", "j", "j", "right"},
		"profile table":   {"9", "t", "j"},
		"profile find":    {"9", "/", "r", "e", "a", "d", "enter"},
		"profile off-cpu": {"9", "o", "j", "j"},
		"profile scope":   {"3", "f", "9", "w"},
		"process flames":  {"3", "enter", "T", "T", "T", "T"},
		"process profile": {"3", "enter", "T", "T", "T", "T", "enter"},

		"paused":             {"2", " ", "{", "left"},
		"compared overview":  {" ", "{", "{", "{", "{", "m", "end", "D"},
		"compared cpu":       {"2", " ", "{", "{", "{", "{", "m", "end", "D"},
		"compared processes": {"3", " ", "{", "{", "{", "{", "m", "end", "D"},
		"compared latency":   {"5", "t", " ", "{", "{", "{", "{", "m", "end", "D"},
		"compared process":   {"3", "enter", " ", "left", "m", "end", "D"},

		"syscalls":            {":", "s", "y", "s", "c", "enter"},
		"syscalls by process": {":", "s", "y", "s", "c", "enter", "i", "j"},
		"syscalls call":       {":", "s", "y", "s", "c", "enter", "enter"},
		"syscalls process":    {":", "s", "y", "s", "c", "enter", "i", "enter"},

		"overview cgroup":    {"1", "row cgroup"},
		"cgroups":            {":", "c", "g", "r", "enter"},
		"cgroups tree":       {":", "c", "g", "r", "enter", "t"},
		"cgroups memory":     {"2", "c", "c"},
		"cgroups io":         {"2", "c", "c", "c"},
		"cgroup page":        {"2", "c", "enter"},
		"cgroup latency":     {"2", "c", "enter", "v"},
		"overview sar DEV":   {"1", "row sar DEV"},
		"network":            {"6"},
		"network errors":     {"6", "v"},
		"network softnet":    {"6", "v", "v"},
		"network namespaces": {"6", "v", "v", "v"},
		"network idle":       {"6", "z", "G"},
		"network page":       {"6", "enter"},
		"network page drops": {"6", "enter", "t"},
		"network page socks": {"6", "enter", "t", "t"},
		"network page soft":  {"6", "enter", "T"},
		"network pod":        {"6", "v", "v", "v", "j", "enter"},
		"network drops":      {"6", "v", "v", "v", "v"},
		"network reason":     {"6", "v", "v", "v", "v", "enter"},
		"network packets":    {"6", "v", "v", "v", "v", "j", "enter", "i", "j"},
		"dns":                {":", "d", "n", "s", "enter"},
		"dns heat map":       {"6", "d", "v", "v"},
		"dns processes":      {"7", "d", "i", "j"},
		"dns questions":      {"6", "d", "i", "i", "j"},
		"dns server":         {"6", "d", "enter"},
		"dns process":        {"6", "d", "i", "j", "enter", "i"},
	}
}

func TestScreens(t *testing.T) {
	t.Parallel()
	for frame := range frames() {
		for state, keys := range states() {
			if state == "help" && frame != "busy" { // it does not depend on the frame
				continue
			}
			for _, size := range sizes {
				t.Run(fmt.Sprintf("%s/%s/%dx%d", state, frame, size[0], size[1]), func(t *testing.T) {
					r := resize(fixture(frame), size[0], size[1])
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

// What is drawn over or in place of a pane, over the busy host.
func TestOverlayScreens(t *testing.T) {
	for name, keys := range map[string][]string{
		"column help":  {"3", "right", "?"},
		"columns":      {"3", "C", "j"},
		"commands":     {"7", "e"},
		"palette":      {"3", ":", "s", "o"},
		"palette sort": {"5", ":", "s", "o", "r", "t", " ", "w"},
	} {
		for _, size := range [][2]int{{80, 24}, {200, 60}} {
			t.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(t *testing.T) {
				r := resize(fixture("busy"), size[0], size[1])
				for _, k := range keys {
					press(r, k)
					r.View()
				}
				fits(t, r.View(), size[0], size[1])
				golden.RequireEqual(t, []byte(r.View()))
			})
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
