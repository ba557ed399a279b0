// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// palette is the line of ":". It takes the name of a pane, or of anything that a key does here.
type palette struct{ text string }

// choice is one thing that the palette can do.
type choice struct {
	name, does string
	pane       ID          // opens it, or
	key        *keymap.Key // does what the key does
}

// choices are what begins with the text, panes first; then what holds it.
func (p *palette) choices(r *Root) []choice {
	var all []choice
	for _, pane := range r.cfg.Panes {
		i := pane.Info()
		all = append(all, choice{name: string(i.ID), does: "open " + i.Title, pane: i.ID})
	}
	for _, k := range r.bindings() {
		if k.Enabled() && k.ID != keymap.Command && !strings.HasPrefix(k.ID, goKey) {
			all = append(all, choice{name: k.ID, does: k.Does(), key: &k})
		}
	}
	want := strings.ToLower(strings.TrimSpace(p.text))
	var begins, holds []choice
	for _, c := range all {
		switch {
		case strings.HasPrefix(c.name, want):
			begins = append(begins, c)
		case strings.Contains(c.name, want) || strings.Contains(strings.ToLower(c.does), want):
			holds = append(holds, c)
		}
	}
	return append(begins, holds...)
}

// key implements overlay.
func (p *palette) key(r *Root, msg tea.KeyMsg) (cmd tea.Cmd, routed bool) {
	switch msg.Type {
	case tea.KeyEsc:
		r.over = nil
	case tea.KeyBackspace:
		if p.text == "" {
			r.over = nil
		} else {
			runes := []rune(p.text)
			p.text = string(runes[:len(runes)-1])
		}
	case tea.KeyTab:
		if c := p.choices(r); len(c) > 0 {
			p.text = c[0].name
		}
	case tea.KeyEnter:
		c := p.choices(r)
		r.over = nil
		switch {
		case strings.TrimSpace(p.text) == "":
		case len(c) == 0:
			r.status = status{text: "there is no " + p.text + " here; : and Tab show what there is", alert: true}
		case c[0].pane != "":
			return send(GoMsg{Pane: c[0].pane}), false
		default:
			return r.act(*c[0].key)
		}
	case tea.KeyRunes, tea.KeySpace:
		if c := clean2(msg.String()); len(p.text) < 64 && c == msg.String() {
			p.text += c
		}
	default:
	}
	return nil, false
}

// view implements overlay: the pane stays on the screen.
func (p *palette) view(Canvas) string { return "" }

// prompt is the footer while the palette is open: what is typed, what Enter would do, what else
// there is.
func (p *palette) prompt(r *Root, t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	l.Put(t.Accent, ":").Plain(p.text).Put(t.Accent, "▏").Skip(1)
	list := p.choices(r)
	if len(list) == 0 {
		return l.Put(t.Warn, "nothing is called so").String()
	}
	for i, c := range list {
		style := t.Dim
		if i == 0 {
			style = t.Focus
		}
		if l.Left() < widget.Width(c.name)+2 {
			break
		}
		l.Put(style, c.name).Skip(2)
	}
	return l.String()
}
