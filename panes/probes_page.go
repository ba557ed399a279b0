// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// probePage is one probe with its message in full.
type probePage struct{ name string }

func newProbePage(name string) *probePage { return &probePage{name: name} }

// Info implements Pane.
func (p *probePage) Info() Info {
	return Info{ID: ID("probe " + p.name), Title: p.name, Short: p.name, Help: "probes"}
}

// Wants implements Pane.
func (p *probePage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *probePage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("this is the whole probe"),
	}
}

// Update implements Pane.
func (p *probePage) Update(tea.Msg) Answer { return nil }

func (p *probePage) facts(f Frame) [][2]string {
	for _, r := range ratesOf(f) {
		if r.Name != p.name {
			continue
		}
		out := [][2]string{{"state", r.State.String()}, {"hook", r.Hook}}
		if r.Reason != "" {
			out = append(out, [2]string{"why", r.Reason})
		}
		if r.Remedy != "" {
			out = append(out, [2]string{"needs", r.Remedy})
		}
		out = append(out, [2]string{"events", widget.Count(r.Events) + " since it attached"})
		if r.known {
			out = append(out, [2]string{"", fmt.Sprintf("%.1f a second", r.perSecond)})
		}
		out = append(out, [2]string{"lost", widget.Count(r.Lost) + " seen and not counted"})
		if r.NsPerEvent > 0 {
			out = append(out, [2]string{"cost", fmt.Sprintf("%.0f ns an event, as measured once in a guest of kernel 6.18; %.2f %% of a CPU now", r.NsPerEvent, r.cost())})
		}
		return out
	}
	return [][2]string{{"state", "no such probe at this moment"}}
}

// Table implements Pane.
func (p *probePage) Table(f Frame) Table {
	t := Table{Title: p.name, Columns: []Column{
		{ID: "field", Title: "field", Width: 12, Left: true}, {ID: "value", Title: "value", Width: 60, Left: true},
	}}
	for i, x := range p.facts(f) {
		t.Rows = append(t.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{Say(x[0]), Say(x[1])}})
	}
	return t
}

// View implements Pane.
func (p *probePage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	lines := []string{widget.Title(c.Theme, c.Width, "probe", p.name)}
	for _, x := range p.facts(f) {
		lines = append(lines, wrapWide(c, fmt.Sprintf("%-9s", x[0]), x[1])...)
	}
	return fit(lines, c.Height)
}
