// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// details shows the selected line in full below the checklist, and on a wide screen all of them.
func (p *Overview) details(f Frame, c Canvas, list []line, at string, height int) []string {
	if height < 3 {
		return nil
	}
	f.sight = nil // pictures: the cursor is in the checklist
	if c.Width >= wideWidth && height >= 24 {
		return p.allDetails(f, c, list, height)
	}
	for _, l := range list {
		if l.id == at {
			return detail(f, c, l, height)
		}
	}
	return detail(f, c, list[0], height)
}

// allDetails shows every line's detail, two a row.
func (p *Overview) allDetails(f Frame, c Canvas, list []line, height int) []string {
	// What pidstat and top say is one table.
	list = slices.DeleteFunc(slices.Clone(list), func(l line) bool { return l.id == "top" })
	var lines []string
	half := (c.Width - 2) / 2
	rows := (len(list) + 1) / 2
	for i := 0; i < len(list); i += 2 {
		room := (height - len(lines)) / (rows - i/2)
		left, right := c, c
		left.Width, right.Width = half, c.Width-half-2
		block := detail(f, left, list[i], room)
		if i+1 < len(list) {
			block = widget.Join(block, half, detail(f, right, list[i+1], room), 2)
		}
		for len(block) < room && i+2 < len(list) {
			block = append(block, "")
		}
		lines = append(lines, block...)
	}
	return lines
}

// detail is what the line's classic command would print, in at most height lines.
func detail(f Frame, c Canvas, l line, height int) []string {
	switch l.id {
	case "vmstat":
		return vmstatDetail(f, c, height)
	case "mpstat":
		t := cpuTable(f)
		table := CPU{}
		c.seen = nil // a picture: nothing in it can be chosen
		lines := append([]string{widget.Title(c.Theme, c.Width, "mpstat -P ALL")}, table.tableLines(f, c, t, height-1)...)
		return lines[:min(len(lines), height)]
	case "runqlat":
		return runqlatDetail(f, c, height)
	case "pidstat", "top":
		return processDetail(f, c, l.id, height)
	case "free":
		return freeDetail(f, c, height)
	case "sar TCP":
		return tcpDetail(f, c, height)
	case "uptime":
		return uptimeDetail(f, c, l, height)
	}
	return paneDetail(f, c, l, height)
}

// paneDetail is the table of the line's pane: its first rows, of the log the last.
func paneDetail(f Frame, c Canvas, l line, height int) []string {
	lines := []string{widget.Title(c.Theme, c.Width, l.id)}
	say := func(text string) []string {
		return append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, text).String())
	}
	if l.why != "" {
		return say(l.why)
	}
	for _, p := range All() {
		if p.Info().ID != l.pane {
			continue
		}
		t := p.Table(f)
		rows := newList("")
		if l.pane == LogPane {
			t.Rows = t.Rows[max(len(t.Rows)-height+2, 0):]
		}
		if len(t.Rows) == 0 {
			return say("nothing to list")
		}
		return append(lines, rows.draw(c, t, height-1, listOptions{Bare: true})...)
	}
	return lines
}

// uptimeDetail draws the tasks that want a CPU over time, and who they are.
func uptimeDetail(f Frame, c Canvas, l line, height int) []string {
	title := widget.Title(c.Theme, c.Width, "running or runnable tasks", "one column a sample")
	h := newest(f, hostOf)
	if h == nil {
		return []string{title, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, l.why).String()}
	}
	const label = 7
	values := series(f, max(c.Width-label-1, 0), hostOf, func(h *collectors.Host) float64 { return float64(h.Runnable) })
	rows := min(height-2, max(4, height/3))
	top := max(most(values), float64(cores(f)), 1)
	lines := []string{title}
	area := widget.Area(c.Theme, values, top, c.Width-label-1, rows)
	for i, row := range area {
		out := widget.NewLine(c.Width)
		switch i {
		case 0:
			out.Right(c.Theme.Dim, fmt.Sprintf("%.0f", top), label-1)
		case len(area) - 1:
			out.Right(c.Theme.Dim, "0", label-1)
		}
		out.To(label-1).Put(c.Theme.Dim, "│")
		lines = append(lines, out.Raw(row, c.Width-label-1).String())
	}
	load := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "load average ").
		Plain(fmt.Sprintf("%.2f %.2f %.2f", h.Load[0], h.Load[1], h.Load[2]))
	if h.Threads > 0 {
		load.Put(c.Theme.Dim, "  threads ").Plain(fmt.Sprint(h.Threads))
	}
	if t := newest(f, tasksOf); t != nil {
		load.Put(c.Theme.Dim, "  processes ").Plain(fmt.Sprint(t.Processes)).
			Put(c.Theme.Dim, "  D ").Plain(fmt.Sprint(t.Uninterruptible)).
			Put(c.Theme.Dim, "  zombies ").Plain(fmt.Sprint(t.Zombies))
	}
	lines = append(lines, load.String())
	return append(lines, whoLines(f, c, height-len(lines))...)
}

// whoLines lists the commands that run and wait most, in percent of one CPU's time.
func whoLines(f Frame, c Canvas, height int) []string {
	f = f.rowed()
	samples := within(f, tasksOf)
	if len(samples) == 0 || height < 3 {
		return nil
	}
	var span collectors.Span
	for _, t := range samples {
		span = join(span, t.Span)
	}
	if span.Seconds() == 0 {
		return nil
	}
	wait := make(map[string]time.Duration)
	for _, w := range topBy(f, math.MaxInt, waited) {
		wait[w.name.String()] = w.time
	}
	heads := []widget.Column{{Title: "%CPU", Width: 7}, {Title: "%wait", Width: 7}, {Title: "command", Width: max(c.Width-20, 8), Left: true}}
	lines := []string{widget.Title(c.Theme, c.Width, "who", "by command, last interval"), widget.Heads(c.Theme, heads, c.Width)}
	for _, r := range topBy(f, height-2, ran) {
		percent := func(d time.Duration) string {
			return Number(100 * d.Seconds() / span.Seconds()).fit(Column{Width: heads[0].Width, Decimals: 1})
		}
		lines = append(lines, widget.Cells(c.Theme, heads, []string{percent(r.time), percent(wait[r.name.String()]), r.name.String()}, false, c.Width))
	}
	return lines
}

// vmstatDetail scrolls as vmstat 1 does, the newest row last.
func vmstatDetail(f Frame, c Canvas, height int) []string {
	heads := []widget.Column{
		{Title: "r", Width: 6},
		{Title: "b", Width: 6},
		{Title: "si", Width: 5},
		{Title: "so", Width: 5},
		{Title: "bi", Width: 6},
		{Title: "bo", Width: 6},
		{Title: "in", Width: 6},
		{Title: "cs", Width: 6},
		{Title: "us", Width: 3},
		{Title: "sy", Width: 3},
		{Title: "id", Width: 3},
		{Title: "wa", Width: 3},
		{Title: "st", Width: 3},
	}
	lines := []string{widget.Title(c.Theme, c.Width, "vmstat 1", "si so bi bo in KiB/s"), widget.Heads(c.Theme, heads, c.Width)}
	var rows []string
	for i := len(f.Past) - 1; i >= 0 && len(rows) < height-2; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.CPU == nil {
			continue
		}
		v := vmstatOf(s.CPU, pageBytes(f))
		cells := []string{v.r, v.b, v.si, v.so, v.bi, v.bo, v.in, v.cs, v.us, v.sy, v.id, v.wa, v.st}
		rows = append(rows, widget.Cells(c.Theme, heads, cells, false, c.Width))
	}
	for i := len(rows) - 1; i >= 0; i-- {
		lines = append(lines, rows[i])
	}
	return lines
}

func runqlatDetail(f Frame, c Canvas, height int) []string {
	lines := []string{widget.Title(c.Theme, c.Width, "runqlat", "last interval")}
	h := waitHistogram(f, schedOver(f))
	if h.Now == nil {
		return append(lines, missingPart(f, c, collectors.SchedID, "runqlat", "run-queue latency")...)
	}
	return append(lines, withStats(c, h, c.Width, height-1)...)
}
