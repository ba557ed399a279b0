// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"

	"bpf60/panes/widget"
)

// leastPart is the fewest lines of a table below the disks: its title, its heads and a row.
const leastPart = 3

// whoPart is who asks for what the disks do, in at most height lines; nothing where nobody does, and where
// it is not known: t leads to the reason.
func (p *Disk) whoPart(f Frame, c Canvas, s *diskSum, width, height int) []string {
	b := blockOver(f)
	if height < leastPart || b == nil {
		return nil
	}
	c.Width = width
	t := ownerTable(f, s, b, p.shows(s))
	p.lists[ownerView].order(&t)
	return besidePart(f, c, t, height, "who asks", "~ may ask for another")
}

// slowPart are the slowest requests, in at most height lines.
func (p *Disk) slowPart(f Frame, c Canvas, s *diskSum, width, height int) []string {
	b := blockOver(f)
	if height < leastPart || b == nil {
		return nil
	}
	c.Width = width
	return besidePart(f, c, slowTable(f, s, b, p.shows(s)), height, "slowest I/O", "last minute")
}

// besidePart is a table without a cursor below its title, as far as it is in scope; nothing if it has no rows.
func besidePart(f Frame, c Canvas, t Table, height int, title ...string) []string {
	if in := f.Scope.holds(f); in != nil && f.Scope.tells(t.Rows) {
		t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool { return !in(r.Target) })
	}
	if len(t.Rows) == 0 {
		return nil
	}
	var bare list
	return append([]string{widget.Title(c.Theme, c.Width, title...)}, bare.draw(c, t, min(height-1, len(t.Rows)+1), listOptions{Bare: true})...)
}

// belowDisks are who asks and the file systems, one below the other: a half to each, and what one leaves to
// the other.
func (p *Disk) belowDisks(f Frame, c Canvas, s *diskSum, width, height int) []string {
	files := len(p.fileTable(f).Rows) + leastPart - 1
	lines := p.whoPart(f, c, s, width, max(height-files, height/2))
	return append(lines, p.filesPart(f, c, width, height-len(lines))...)
}

// wideView draws at the left the history of the selected disk and the latency of all over time, at the right
// the file systems, who asks and the slowest.
func (p *Disk) wideView(f Frame, c Canvas, s *diskSum, name string, height int) []string {
	half := (c.Width - 2) / 2
	rest := c.Width - half - 2
	right := p.belowDisks(f, c, s, rest, height*2/3)
	right = append(right, p.slowPart(f, c, s, rest, height-len(right))...)
	drawn := 0
	if blockOver(f) != nil && height >= 3*leastPlot {
		drawn = height / 3
	}
	left := trendAreas(f, c, s, name, half, height-drawn)
	if drawn > 0 {
		left = append(left, widget.Title(c.Theme, half, "time on the device over time", "all", c.columnIs()))
		all := []blockPart{{pick: allRequests}}
		left = append(left, drawPlots(c, blockPlots(f, all, half), asHeatMap, half, drawn-1)...)
	}
	return widget.Join(left, half, right, 2)
}

// trendName is the number of a disk with its unit.
func (x diskTrend) name() string {
	if x.unit == "" || x.unit == "%" { // of %util the unit is in the name
		return x.id
	}
	return x.id + " " + x.unit
}
