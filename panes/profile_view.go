// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// leastName is the fewest cells in which the name of the selected frame is worth showing.
const leastName = 8

// Lines of the graph and of the table at the least, where both are drawn.
const (
	leastFlames    = 6
	leastFunctions = 5
)

// View implements Pane: the graph with a line about the selected frame, and the table below.
func (p *Profile) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	x := p.shown(f)
	lines := []string{p.title(f, c, x)}
	if x.sum == nil {
		id, probe := p.time.probe(p.about(f.Scope))
		return fit(append(lines, missingPart(f, c, id, probe, map[flameTime]string{onTime: "the profile", offTime: "time off the CPU"}[p.time])...), c.Height)
	}
	if x.sum.n == 0 {
		return fit(append(lines, nothing(c, Table{}, map[flameTime]string{onTime: "nothing ran: no samples", offTime: "no sleep of 1 ms has ended"}[p.time])...), c.Height)
	}
	lines = append(lines, p.selectedLine(c, x))
	room := c.Height - len(lines)
	switch {
	case room < leastFlames+leastFunctions+1 && p.listed:
		return fit(append(lines, p.list().draw(c, x.table, room, listOptions{})...), c.Height)
	case room < leastFlames+leastFunctions+1:
		return fit(append(lines, p.graph(c, x, room)...), c.Height)
	}
	high := max(room*3/5, leastFlames)
	graph := p.graph(c, x, high)
	lines = append(lines, graph...)
	lines = append(lines, widget.Title(c.Theme, c.Width, "functions", fmt.Sprintf("%d", len(x.functions)), "self and total: share of "+map[flameTime]string{onTime: "the samples", offTime: "the time"}[p.time]))
	notes := noteLines(c, x.table.Notes, min(2, c.Height/8))
	rows := c.Height - len(lines) - len(notes)
	lines = append(lines, pad(p.list().draw(c, x.table, rows, listOptions{Bare: !p.listed}), rows)...)
	return fit(append(lines, notes...), c.Height)
}

// title tells what the graph is of: which time, of whom, and how good.
func (p *Profile) title(f Frame, c Canvas, x *profileShown) string {
	parts := []string{"profile", p.time.String(), p.span(f)}
	if x.sum == nil {
		return widget.Title(c.Theme, c.Width, parts...)
	}
	parts = append(parts, p.time.amount(x.sum.n))
	if p.time == onTime {
		parts = append(parts, fmt.Sprintf("%d Hz", x.sum.hz))
	}
	for _, fact := range x.table.Facts {
		if v, ok := fact.Cell.Num(); ok && fact.ID == "unknown%" {
			parts = append(parts, fmt.Sprintf("%.0f %% of frames unknown", v))
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// span is the time that the pane is of, in words.
func (p *Profile) span(f Frame) string {
	if f.Span > 0 {
		return "over " + widget.Age(f.Span)
	}
	return "last " + widget.Age(profileWindows()[p.window])
}

// selectedLine is the line about the selected frame: its part of all, and the way there while there is room.
func (p *Profile) selectedLine(c Canvas, x *profileShown) string {
	s := x.selected
	line := widget.NewLine(c.Width).Skip(1)
	put := func(style theme.Style, format string, args ...any) { // whole or not at all: a cut number is a wrong one
		if text := fmt.Sprintf(format, args...); widget.Width(text) <= line.Left() {
			line.Put(style, text)
		}
	}
	if x.marked != nil {
		put(c.Theme.Title, "found in %.1f %%  ", 100*portion(x.found, x.sum.n))
	}
	put(c.Theme.Accent, "%.1f %%", 100*portion(s.count, x.sum.n))
	put(c.Theme.Dim, "  %s", p.time.amount(s.count))
	if s.above != nil {
		put(c.Theme.Dim, "  self %.1f %%", 100*portion(s.self, x.sum.n))
	}
	if x.top.above != nil && x.top.count > 0 {
		put(c.Theme.Dim, "  %.1f %% of the zoom", 100*portion(s.count, x.top.count))
	}
	line.Skip(2)
	name := s.name
	if s.module != "" {
		name += " (" + s.module + ")"
	}
	path := s.path()
	text := name
	for i := len(path) - 2; i >= 0; i-- { // from inside, as far as it fits
		more := path[i].name + " › " + text
		if widget.Width(more)+2 > line.Left() {
			text = "… › " + text
			break
		}
		text = more
	}
	if line.Left() < leastName {
		return line.String()
	}
	return line.Plain(widget.Clip(text, line.Left())).String()
}

// graph draws the frames in at most that many lines.
func (p *Profile) graph(c Canvas, x *profileShown, height int) []string {
	d := flameDraw{}
	if !p.listed {
		d.selected = x.selected
	}
	if x.marked != nil {
		d.marked = func(fn function) bool { return x.marked[fn] }
	}
	g := layOut(x.top, c.Width, maxFlameDepth+2)
	lines := g.draw(c, d, height)
	if left := len(g.rows) - len(lines); left > 0 && d.selected == nil && len(lines) > 1 {
		lines[len(lines)-1] = widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("… %d more rows below: Enter on a frame", left+1)).String()
	}
	return lines
}

// targetFunctionTable is the functions that a target runs, for the pages of processes and cgroups.
func targetFunctionTable(f Frame, target collectors.Target) Table {
	sum := sampledOver(profiled(f, profileWindow), target)
	t, _ := onTime.table(sum)
	if sum == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.ProfileID, "profile", target))
		return t
	}
	for _, fact := range onTime.facts(sum) {
		if fact.ID == "samples" {
			fact.Unit = ""
			t.Facts = append(t.Facts, fact)
		}
	}
	return t
}

// flameSection is the flame graph of a page: Enter opens it whole.
func flameSection() section {
	return section{
		id: "profile", title: "flame graph", wants: []collectors.ID{collectors.ProfileID}, table: targetFunctionTable, above: targetFlames,
		open: func(f Frame, t collectors.Target, r Row) Answer {
			p := newProfilePage(t, targetName(f, t))
			p.choose(f, r.ID)
			return OpenMsg{p}
		},
		opens: "flame graph", none: "nothing of it ran in the last minute",
	}
}

// targetName is what a page calls its target.
func targetName(f Frame, t collectors.Target) string {
	if t.Kind == collectors.ProcessTarget {
		if set := processesOver(f); set != nil {
			if i := set.find(t.Process); i >= 0 && set.list[i].ProcInfo != nil {
				t.Name = clean(set.list[i].Comm)
			}
		}
	}
	return NewScope(t).Name
}

// targetFlames draws the flame graph of a target above its functions, in at most that many lines.
func targetFlames(f Frame, c Canvas, target collectors.Target, height int) []string {
	sum := sampledOver(profiled(f, profileWindow), target)
	if sum == nil || sum.n == 0 {
		return nil
	}
	top := flamesOf(sum.stacks)
	if len(top.below) == 1 { // its name is in the title
		top = top.below[0]
	}
	return layOut(top, c.Width, height).draw(c, flameDraw{}, height)
}
