// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// blockSplit is what latency is divided by.
type blockSplit uint8

const (
	wholeIO blockSplit = iota
	byPhase
	byDisk
	byOperation
	byWaiter
	byAsker // the cgroups that ask most, each counted apart
	blockSplits
)

func (s blockSplit) String() string {
	switch s {
	case byPhase:
		return "device and queue"
	case byDisk:
		return "by disk"
	case byOperation:
		return "by operation"
	case byWaiter:
		return "by who waits"
	case byAsker:
		return "by cgroup"
	case wholeIO, blockSplits:
	}
	return "time on the device"
}

// blockPart is one of the distributions of a split.
type blockPart struct {
	title  string
	queued bool
	pick   blockPick
}

// parts are those of the split, of the requests that the selected row is about.
func (p *Disk) parts(disks *diskSum, s *blockSum, row string) []blockPart {
	within := allRequests
	for _, k := range s.hot {
		if blockRowID(k) == row {
			within = func(dev collectors.DevID, class collectors.BlockClass) bool { return dev == k.dev && class == k.class }
		}
	}
	of := func(title string, classes uint) blockPart {
		return blockPart{title, false, func(dev collectors.DevID, class collectors.BlockClass) bool {
			return classes&classBit(class) != 0 && within(dev, class)
		}}
	}
	switch p.split {
	case byPhase:
		return []blockPart{{"device", false, within}, {"queue", true, within}}
	case byDisk:
		return partsByDisk(disks, s)
	case byOperation:
		return []blockPart{of("reads", readClasses), of("writes", writeClasses), of("flushes", 1<<collectors.Flush), of("others", 1<<collectors.Discard|1<<collectors.OtherIO)}
	case byWaiter:
		return []blockPart{of("waited for", awaitedClasses), of("background", 1<<collectors.ReadAhead|1<<collectors.WriteBack|1<<collectors.Discard|1<<collectors.OtherIO)}
	case wholeIO, byAsker, blockSplits:
	}
	return []blockPart{{"", false, within}}
}

// partsByDisk has one part for each of the disks with the most requests.
func partsByDisk(disks *diskSum, s *blockSum) []blockPart {
	n := map[collectors.DevID]uint64{}
	for _, k := range s.hot {
		n[k.dev] += 0
		if c := s.rows[k]; c != nil {
			n[k.dev] += c.Completed
		}
	}
	devs := make([]collectors.DevID, 0, len(n))
	for dev := range n {
		devs = append(devs, dev)
	}
	sortBy(devs, func(a, b collectors.DevID) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	var out []blockPart
	for _, dev := range devs {
		out = append(out, blockPart{diskName(disks, dev), false, ofClasses(^uint(0), dev)})
	}
	return out
}

// latencyView is biolatency: a line a disk and class, and the distribution of the selected one.
func (p *Disk) latencyView(f Frame, c Canvas, disks *diskSum) []string {
	s := blockOver(f)
	if s == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "block I/O")}
		return append(lines, missingPart(f, c, collectors.BlockID, "biolatency", "the latency of the disks")...)
	}
	t := blockTable(f, disks, s, p.shows(disks))
	p.list().arrange(f, &t)
	lines := []string{blockTitle(c, s)}
	room := max(c.Height/3, 3)
	if c.Height >= wideHeight {
		room = max(c.Height/4, 8)
	}
	lines = append(lines, p.list().draw(c, t, min(room, len(t.Rows)+1), listOptions{})...)
	row, _ := p.list().row(t)
	what := "all"
	if row.ID != rowAllIO && len(row.Cells) > 1 {
		what = row.Cells[0].Format(0) + " " + row.Cells[1].Format(0)
	}
	if p.split == byAsker {
		what = "every disk, no flushes" // what is counted apart is not by disk; a flush is waited for as a whole
		if len(p.single) == 1 {
			what = p.single[0].name + " on " + what
		}
	}
	if c.Height-len(lines) < 3 {
		return lines
	}
	how := "last interval"
	switch p.draw {
	case asHistogram, drawings:
	case asPercentiles:
		how = widget.PercentilesKey
	case asHeatMap:
		how = c.columnIs()
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, p.split.String(), what, how))
	return append(lines, p.drawLatency(f, c, disks, s, row.ID, c.Height-len(lines))...)
}

// drawLatency draws the selected distributions in at most height lines. A wide screen shows them over
// time as well.
func (p *Disk) drawLatency(f Frame, c Canvas, disks *diskSum, s *blockSum, row string, height int) []string {
	if p.split == byAsker {
		return p.drawAskers(f, c, height)
	}
	parts := p.parts(disks, s, row)
	if p.draw != asHistogram {
		return drawPlots(c, blockPlots(f, parts, c.Width), p.draw, c.Width, height)
	}
	var lines []string
	half := height
	wide := c.Width >= wideWidth && height >= 2*leastPlot+2
	if wide {
		half = height / 2
	}
	if len(parts) == 1 {
		h := blockHistogram(f, s, "biolatency", "", parts[0].queued, parts[0].pick)
		lines = withStats(c, h, c.Width, half-1)
		if half >= smallHeight/2 {
			lines = append(lines[:min(len(lines), half-1)], sizeLine(c, s, parts[0].pick, c.Width))
		}
	} else {
		var series []widget.Series
		for _, x := range parts {
			h := blockHistogram(f, s, "", "", x.queued, x.pick)
			series = append(series, widget.Series{Title: x.title, Hist: h.Now})
		}
		lines = histograms(c, series, c.Width, half)
	}
	if wide {
		lines = append(pad(lines, half), widget.Title(c.Theme, c.Width, p.split.String()+" over time", c.columnIs()))
		lines = append(lines, drawPlots(c, blockPlots(f, parts, c.Width), asHeatMap, c.Width, height-len(lines))...)
	}
	return lines
}

func blockPlots(f Frame, parts []blockPart, width int) []plot {
	var out []plot
	for _, x := range parts {
		out = append(out, plot{x.title, blockColumns(f, 2*widget.PlotColumns(width), x.queued, x.pick)})
	}
	return out
}

func blockTitle(c Canvas, s *blockSum) string {
	sum, _ := s.picked(allRequests)
	parts := []string{"block I/O"}
	if s.Seconds() > 0 {
		parts = append(parts, widget.Short(float64(sum.Completed)/s.Seconds())+" requests/s",
			widget.Bytes(uint64(float64(sum.Bytes)/s.Seconds()))+"B/s")
	}
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{uint64(len(s.hung)), "hang"},
		{sum.Errors, "failed"},
		{s.merged, "joined another"},
		{s.requeued, "requeued"},
		{s.missed, "missed"},
	} {
		if x.n > 0 {
			parts = append(parts, widget.Count(x.n)+" "+x.what)
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// requestsView is biosnoop or biotop: a table, and below it what is behind the selected row.
func (p *Disk) requestsView(f Frame, c Canvas, disks *diskSum) []string {
	s := blockOver(f)
	probe, what := "biosnoop", "the slowest requests"
	if p.view == ownerView {
		probe, what = "biotop", "who asks for block I/O"
	}
	if s == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.view.String())}
		return append(lines, missingPart(f, c, collectors.BlockID, probe, what)...)
	}
	t := p.current(f)
	lines := []string{p.requestsTitle(c, s)}
	notes := t.Notes
	if why, remedy := whyNot(f, collectors.BlockID, probe); why != "" && degradedProbe(f, probe) {
		notes = append([]string{note(probe, why, remedy)}, notes...)
	}
	if c.Height < smallHeight {
		notes = nil
	}
	room := c.Height - 1 - min(len(notes), 2)
	if len(t.Rows) == 0 {
		none := "no request has ended in the last minute"
		if p.view == ownerView {
			none = "nobody has asked for block I/O in the last interval"
		}
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, none).String())
	} else {
		table := room
		if p.view == ownerView && c.Height >= smallHeight {
			table = max(room/2, 6)
		}
		lines = append(lines, p.list().draw(c, t, min(table, len(t.Rows)+1), listOptions{})...)
		if p.view == ownerView {
			lines = append(lines, p.slowestOf(f, c, disks, s, t, room+1-len(lines))...)
		}
	}
	for _, n := range notes[:min(len(notes), 2)] {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, widget.ClipWords(n, c.Width-2)).String())
	}
	return lines
}

// slowestOf lists the slowest requests of the selected process.
func (p *Disk) slowestOf(f Frame, c Canvas, disks *diskSum, s *blockSum, t Table, height int) []string {
	r, ok := p.list().row(t)
	if !ok || height < 3 {
		return nil
	}
	slow := slowTable(f, disks, s, p.shows(disks))
	slow.Rows = slices.DeleteFunc(slow.Rows, func(x Row) bool { return x.Cells[2].Format(0) != r.Cells[0].Format(0) })
	if len(slow.Rows) == 0 {
		return nil
	}
	var bare list
	lines := []string{widget.Title(c.Theme, c.Width, "its slowest", r.Cells[1].Format(0), "last minute")}
	return append(lines, bare.draw(c, slow, height-1, listOptions{Bare: true})...)
}

// degradedProbe says whether a probe works in part.
func degradedProbe(f Frame, name string) bool {
	p, ok := probeNamed(f, collectors.BlockID, name)
	return ok && p.State != collectors.On
}

func (p *Disk) requestsTitle(c Canvas, s *blockSum) string {
	if p.view == ownerView {
		return widget.Title(c.Theme, c.Width, "who asks", "last interval", "~ may ask for another", fmt.Sprintf("%d listed", len(s.owners)))
	}
	parts := []string{"slowest I/O", "last minute"}
	if n := len(s.hung); n > 0 {
		parts = append(parts, fmt.Sprintf("%d hang", n))
	}
	if s.stalls != nil && s.stalls.Count > 0 {
		parts = append(parts, widget.Count(s.stalls.Count)+" of 1 s and more since start")
	}
	return widget.Title(c.Theme, c.Width, append(parts, "~ may ask for another")...)
}
