// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/panes/widget"
)

// View implements Pane: the sections by name, the facts of the one that is shown, its rows, and below
// them what is missing.
func (p *Exec) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.current(f)
	lines := []string{p.title(c, t)}
	if c.Height >= smallHeight {
		lines = append(lines, p.tabs(c))
	}
	if len(t.Rows) == 0 {
		return fit(append(lines, nothing(c, t, "none seen so far")...), c.Height)
	}
	var notes []string
	if c.Height >= smallHeight {
		notes = noteLines(c, t.Notes, min(3, c.Height/6))
	}
	room := c.Height - len(lines) - len(notes)
	var below []string
	if p.drawsTimes() {
		below = p.slow.below(f, c, room/2)
	}
	lines = append(lines, pad(p.lists[p.at].draw(c, t, room-len(below), listOptions{}), room-len(below))...)
	lines = append(lines, below...)
	for len(lines) < c.Height-len(notes) {
		lines = append(lines, "")
	}
	return fit(append(lines, notes...), c.Height)
}

// title heads the section with its facts.
func (p *Exec) title(c Canvas, t Table) string {
	parts := []string{t.Title}
	for _, x := range t.Facts {
		if x.Cell.Known() {
			parts = append(parts, headText(x))
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// headText writes a fact in a few cells: "forks 12.0/s".
func headText(x Fact) string {
	text := x.Cell.Format(x.Decimals)
	if v, ok := x.Cell.Num(); ok && v >= 1000 {
		text = widget.Short(v) + x.Cell.Badge
	}
	switch unit := x.Unit; unit {
	case "%":
		return x.ID + " " + text + " %"
	case "/s", "":
		return x.ID + " " + text + unit
	default:
		return x.ID + " " + text + " " + unit
	}
}

// tabs names the sections; the one that is shown stands out.
func (p *Exec) tabs(c Canvas) string {
	titles := make([]string, len(p.sections))
	for i := range p.sections {
		titles[i] = p.sections[i].title
	}
	return tabLine(c, titles, p.at)
}

// tabLine names tables of which one has the cursor: that one stands out, and is always in sight.
func tabLine(c Canvas, titles []string, at int) string {
	l := widget.NewLine(c.Width).Skip(1)
	first, width := 0, 1
	for i := 0; i <= at; i++ {
		for width += widget.Width(titles[i]) + 2; width > c.Width-2 && first < at; first++ {
			width -= widget.Width(titles[first]) + 2
		}
	}
	if first > 0 {
		l.Put(c.Theme.Dim, "…")
	}
	for i, title := range titles[first:] {
		if widget.Width(title)+2 > l.Left() {
			if l.Left() > 0 {
				l.Put(c.Theme.Dim, "…")
			}
			break
		}
		if first+i == at {
			l.Put(c.Theme.Focus, "["+title+"]")
			continue
		}
		l.Skip(1).Put(c.Theme.Dim, title).Skip(1)
	}
	return l.String()
}

// nothing says why a table has no rows.
func nothing(c Canvas, t Table, otherwise string) []string {
	if len(t.Notes) == 0 {
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, otherwise).String()}
	}
	var out []string
	for _, n := range t.Notes {
		out = append(out, wrap(c, "", n)...)
	}
	return out
}

// noteLines are at most that many lines of notes.
func noteLines(c Canvas, notes []string, most int) []string {
	var lines []string
	for _, n := range notes {
		lines = append(lines, wrapAt(n, c.Width-2)...)
	}
	if n := max(most, 0); len(lines) > n {
		if lines = lines[:n]; n > 0 {
			lines[n-1] = widget.ClipWords(lines[n-1]+" …", c.Width-2)
		}
	}
	var out []string
	for _, line := range lines {
		out = append(out, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, line).String())
	}
	return out
}
