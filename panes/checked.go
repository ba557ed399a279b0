// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/panes/widget"
	"bpf60/triage"
)

// Checked are the resources that were ruled out, and those that were not checked, at a moment.
func Checked(m triage.Moment) (healthy []Healthy, unchecked []Unchecked) {
	if m.Checks == nil {
		return nil, nil
	}
	for _, x := range m.Checks.Healthy {
		healthy = append(healthy, Healthy{Resource: x.Resource, Evidence: x.Evidence})
	}
	for _, x := range m.Checks.Unchecked {
		unchecked = append(unchecked, Unchecked{Resource: x.Resource, Reason: x.Reason, Remedy: x.Remedy})
	}
	return healthy, unchecked
}

// checkedLines say what was ruled out and what was not checked, and why, in at most room lines: half of
// triage is to know what it is not.
func checkedLines(f Frame, c Canvas, room int) []string {
	if f.Now.Checks == nil || room < 1 {
		return nil
	}
	healthy, unchecked := Checked(f.Now)
	var well, not []string
	for _, x := range healthy {
		well = append(well, x.Resource)
	}
	for _, x := range unchecked {
		if s := x.Resource + " (" + clean2(x.Reason) + ")"; len(not) == 0 || not[len(not)-1] != s {
			not = append(not, s)
		}
	}
	var out []string
	line := func(word string, list []string) {
		if len(list) > 0 && len(out) < room {
			text := word + strings.Join(list, ", ")
			out = append(out, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, widget.ClipWords(text, c.Width-2)).String())
		}
	}
	line("ruled out: ", well)
	line("not checked: ", not)
	return out
}

// serviceLines say where the busiest services wait, in at most room lines: the answer where no resource is
// short.
func serviceLines(f Frame, c Canvas, room int) []string {
	var out []string
	healthy, _ := Checked(f.Now)
	for _, x := range healthy {
		if x.Resource != triage.Services {
			continue
		}
		for _, s := range x.Evidence[:min(len(x.Evidence), max(room, 0))] {
			out = append(out, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, widget.ClipWords("waits  "+s, c.Width-2)).String())
		}
	}
	return out
}

// nothingFound says that nothing is short, as far as that is known.
func nothingFound(f Frame) string {
	healthy, unchecked := Checked(f.Now)
	switch {
	case len(healthy) == 0:
		return fmt.Sprintf("nothing found by %d rules so far", f.Rules)
	case len(unchecked) > 0:
		return fmt.Sprintf("No resource is short, of those that were checked: %d rules found nothing", f.Rules)
	}
	return fmt.Sprintf("No resource is short: %d rules found nothing", f.Rules)
}
