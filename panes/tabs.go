// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	"bpf60/panes/widget"
	"bpf60/theme"
)

// tabTitle is the digit of a pane and its short name.
func tabTitle(p Pane) string { return strings.TrimSpace(p.Info().Digit + " " + p.Info().Short) }

// tabbed says whether a pane has a tab of its own also while it is not open.
func (r *Root) tabbed(p Pane) bool {
	if len(r.cfg.Tabs) > 0 {
		return slices.Contains(r.cfg.Tabs, string(p.Info().ID))
	}
	return p.Info().Digit != ""
}

// bar is the tabs that are shown, by index: those that stay, and before them the one that is open
// if it is none of them.
func (r *Root) bar() []int {
	var out []int
	for i, p := range r.cfg.Panes {
		switch {
		case r.tabbed(p):
			out = append(out, i)
		case i == r.tab:
			out = slices.Insert(out, 0, i)
		}
	}
	return out
}

// barTab is a tab in the bar: its pane, its name, in which cells it lies and how many of them are before the
// name.
type barTab struct {
	pane          int
	name          string
	from, to, pad int
}

// barTabs are the tabs from left to right. They stand closer where the bar is too narrow for them: a list
// has a name in it too, as long as it is open.
func (r *Root) barTabs() []barTab {
	var out []barTab
	for pad := 1; pad >= 0; pad-- {
		end := 0
		out = out[:0]
		for _, i := range r.bar() {
			tab := barTab{pane: i, name: tabTitle(r.cfg.Panes[i]), from: end, pad: pad}
			end += pad + widget.Width(tab.name) + 1
			if i == r.tab {
				end += 1 - pad // its brackets
			}
			if tab.to = end; i == r.tab && pad == 0 {
				end++
			}
			out = append(out, tab)
		}
		if end <= r.size.Width {
			break
		}
	}
	return out
}

// tabs is the tab bar, or where a drill-down is.
func (r *Root) tabs(t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	if len(r.stacks[r.tab]) > 1 || r.frame.Scope.On() {
		return r.crumbs(t)
	}
	for _, tab := range r.barTabs() {
		if tab.pane == r.tab {
			l.To(tab.from).Put(t.Focus, "["+tab.name+"]")
			continue
		}
		l.To(tab.from+tab.pad).Put(t.Dim, tab.name)
	}
	return l.String()
}
