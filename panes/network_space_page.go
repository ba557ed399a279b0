// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// spacePage is a network namespace's protocol counters.
type spacePage struct {
	id    uint64
	title string
	list  list
}

func newSpacePage(s *netSpace) *spacePage {
	title := s.name()
	if s.Own {
		title = "our namespace"
	}
	return &spacePage{id: s.ID, title: title}
}

// Info implements Pane.
func (p *spacePage) Info() Info {
	return Info{ID: ID("netns " + p.title), Title: p.title, Short: p.title, Help: "network"}
}

// Wants implements Pane.
func (p *spacePage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *spacePage) Keys() []keymap.Key { return pageKeys(&p.list) }

// Update implements Pane.
func (p *spacePage) Update(msg tea.Msg) Answer {
	if msg, ok := msg.(Press); ok {
		p.list.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
}

func (p *spacePage) find(v *netView) *netSpace {
	if v == nil {
		return nil
	}
	for _, s := range v.spaces {
		if s.ID == p.id {
			return s
		}
	}
	return nil
}

// Table implements Pane: interfaces, then protocols.
func (p *spacePage) Table(f Frame) Table {
	t := Table{Title: p.title, Columns: []Column{
		{ID: "counter", Title: "counter", Width: 15, Left: true},
		{ID: "now", Title: "now/s", Unit: "/s", Width: 10, Decimals: 1},
	}}
	s := p.find(netOver(f))
	if s == nil {
		t.Notes = append(t.Notes, p.title+hasGone)
		return t
	}
	for _, c := range stackColumns() {
		t.Rows = append(t.Rows, Row{ID: c.id, Cells: []Cell{Say(strings.TrimSuffix(c.id, "/s")), stackCell(s, c)}})
	}
	p.list.arrange(f, &t)
	return t
}

// View implements Pane.
func (p *spacePage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s := p.find(netOver(f))
	if s == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.title), widget.NewLine(c.Width).Skip(1).Plain(p.title + hasGone).String()}
		return fit(lines, c.Height)
	}
	parts := []string{p.title}
	if !s.Own {
		parts = append(parts, fmt.Sprintf("pid %d", s.PID))
	}
	if s.Inode != 0 {
		parts = append(parts, fmt.Sprintf("net:[%d]", s.Inode))
	}
	parts = append(parts, fmt.Sprintf("%d interfaces", len(s.ifaces)))
	if s.seconds > 0 && f.Span == 0 {
		parts = append(parts, fmt.Sprintf("over %.0f s", math.Round(s.seconds)))
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	for _, x := range s.ifaces {
		if len(lines) > c.Height/3 {
			break
		}
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(widget.Clip(clean(x.link.Name), 15)).To(17).
			Put(c.Theme.Dim, "rx ").Plain(fmt.Sprintf("%-10s ", byteRate(ratePer(x.counts.RxBytes, x.seconds)))).
			Put(c.Theme.Dim, "tx ").Plain(byteRate(ratePer(x.counts.TxBytes, x.seconds))).String())
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, "protocols"))
	lines = append(lines, p.list.draw(c, p.Table(f), c.Height-len(lines), listOptions{})...)
	return fit(lines, c.Height)
}
