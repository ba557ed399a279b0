// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// View implements Pane.
func (p *Disk) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s := diskOver(f)
	switch p.view {
	case filesView:
		return fit(p.filesView(f, c, s), c.Height)
	case latencyView:
		return fit(p.latencyView(f, c, s), c.Height)
	case slowView, ownerView:
		return fit(p.requestsView(f, c, s), c.Height)
	case iostatView, diskViews:
	}
	t := p.diskTable(f, s)
	lines := []string{p.title(f, c, s)}
	if s == nil {
		lines = append(lines, missingPart(f, c, collectors.DiskID, "iostat", "the I/O of the disks")...)
		return fit(append(lines, p.filesPart(f, c, c.Width, c.Height-len(lines)-1)...), c.Height)
	}
	bad := troubleLines(c, troubles(f, s), 3, "press t, or see the report")
	if c.Height < smallHeight {
		bad = nil // the first screen and the report have it
	}
	room := c.Height - 1 - len(bad)
	table := room
	switch {
	case c.Height >= wideHeight:
		table = room / 2
	case c.Height >= smallHeight:
		table = max(room-1-len(diskTrends()), 3)
	}
	lines = append(lines, p.lists[iostatView].draw(c, t, min(table, len(t.Rows)+1), listOptions{})...)
	if len(t.Rows) == 0 {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "no disk has done anything for a minute").String())
	}
	lines = append(lines, bad...)
	var name string
	if r, ok := p.lists[iostatView].row(t); ok {
		name = r.ID
	}
	if c.Width >= wideWidth && c.Height >= wideHeight {
		return fit(append(lines, p.wideView(f, c, s, name, c.Height-len(lines))...), c.Height)
	}
	if rest := c.Height - len(lines); rest > 2 && name != "" {
		lines = append(lines, selectedDisk(f, c, s, name, c.Width, rest)...)
	}
	return fit(append(lines, p.belowDisks(f, c, s, c.Width, c.Height-len(lines))...), c.Height)
}

func (p *Disk) title(f Frame, c Canvas, s *diskSum) string {
	parts := []string{"disks"}
	for _, fact := range diskFacts(f, s) {
		v, ok := fact.Cell.Num()
		switch {
		case !ok:
		case fact.ID == "tps":
			parts = append(parts, widget.Short(v)+" tps")
		case fact.ID == "kB_read/s":
			parts = append(parts, "read "+widget.Bytes(uint64(v*1024))+"B/s")
		case fact.ID == "kB_wrtn/s":
			parts = append(parts, "write "+widget.Bytes(uint64(v*1024))+"B/s")
		case fact.ID == "psi_io":
			parts = append(parts, fmt.Sprintf("psi some %2.0f %%", v))
		}
	}
	if hidden := hiddenDisks(s, p.all); hidden != "" {
		parts = append(parts, "not listed: "+hidden)
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// troubleLines draws at most n lines of what is wrong; rest says where there is more.
func troubleLines(c Canvas, list []string, n int, rest string) []string {
	var out []string
	for i, s := range list {
		l := widget.NewLine(c.Width).Skip(1)
		if i == n-1 && len(list) > n {
			return append(out, l.Put(c.Theme.Dim, fmt.Sprintf("and %d more: %s", len(list)-i, rest)).String())
		}
		out = append(out, l.Put(c.Theme.Accent, "* ").Plain(s).String())
	}
	return out
}

// selectedDisk says what a disk is and draws its history, a line a number, in at most height lines.
func selectedDisk(f Frame, c Canvas, s *diskSum, name string, width, height int) []string {
	d := s.disk(name)
	if d == nil {
		return nil
	}
	lines := []string{widget.Title(c.Theme, width, diskParts(s, d)...)}
	for _, x := range diskTrends() {
		if len(lines) < height {
			lines = append(lines, trendLine(f, c, d, x, width))
		}
	}
	return lines
}

// diskParts is what a disk is, the most telling first.
func diskParts(s *diskSum, d *diskIO) []string {
	parts := []string{d.title()}
	if d.Alias != (collectors.Raw{}) {
		parts[0] += " (" + clean(d.Name) + ")"
	}
	if lower := s.below(d); len(lower) > 0 {
		parts = append(parts, "on "+strings.Join(lower, " "))
	}
	if d.Size > 0 {
		parts = append(parts, widget.Bytes(d.Size))
	}
	parts = append(parts, fmt.Sprintf("in flight %d", d.InFlight))
	if d.ReadOnly {
		parts = append(parts, "read-only")
	}
	if m := clean(d.Model); m != "" {
		parts = append(parts, m)
	}
	if sched := clean(d.Scheduler); sched != "" {
		parts = append(parts, "sched "+sched)
	}
	return parts
}

// Widths of a line of history: its name before, the present number and the most behind.
const (
	trendName  = 12
	trendNow   = 10
	trendMost  = 13
	trendSpark = 120
)

// trendLine is a disk's number over time in one line, with the newest and the most in sight.
func trendLine(f Frame, c Canvas, d *diskIO, x diskTrend, width int) string {
	l := widget.NewLine(width).Skip(1).Put(c.Theme.Dim, x.name()).To(trendName)
	room := min(width-trendName-trendNow-trendMost-1, trendSpark)
	values := diskSeries(f, max(room, 1), d.Name, x.value)
	if room > 0 {
		l.Put(c.Theme.Accent, widget.Spark(values, room, 0, x.scale(values)))
	}
	end := trendName + max(room, 0)
	l.Right(theme.Style{}, x.now(d), end+trendNow)
	if m := most(values); m > 0 {
		l.Right(c.Theme.Dim, "max "+x.print(m), end+trendNow+trendMost)
	}
	return l.String()
}

// trendAreas draws a disk's numbers over time, one below the other.
func trendAreas(f Frame, c Canvas, s *diskSum, name string, width, height int) []string {
	d := s.disk(name)
	if d == nil || height < 3 {
		return nil
	}
	lines := []string{widget.Title(c.Theme, width, append([]string{d.title()}, append(diskParts(s, d)[1:], "one column a sample")...)...)}
	list := diskTrends()
	each := (height - 1) / len(list)
	if each < 3 {
		for _, x := range list {
			lines = append(lines, trendLine(f, c, d, x, width))
		}
		return lines
	}
	for _, x := range list {
		const margin = 10
		values := diskSeries(f, max(width-margin, 1), d.Name, x.value)
		top := x.scale(values)
		area := widget.Area(c.Theme, values, top, width-margin, each-1)
		head := widget.NewLine(width).Skip(1).Plain(x.id).Put(c.Theme.Dim, strings.TrimRight(" "+x.unit, " "))
		head.Put(c.Theme.Dim, "  now ").Plain(x.now(d)).Put(c.Theme.Dim, "  max ").Plain(x.print(known(most(values), values)))
		lines = append(lines, head.String())
		for i, a := range area {
			axis := widget.NewLine(margin - 1)
			switch i {
			case 0:
				axis.Right(c.Theme.Dim, widget.Short(top), margin-2)
			case len(area) - 1:
				axis.Right(c.Theme.Dim, "0", margin-2)
			}
			lines = append(lines, widget.Join([]string{axis.String()}, margin-1, []string{a}, 1)[0])
		}
	}
	return lines
}

// known is v, not a number if no value is known.
func known(v float64, values []float64) float64 {
	for _, x := range values {
		if !math.IsNaN(x) {
			return v
		}
	}
	return math.NaN()
}

// filesPart is the table of file systems where there is room below the disks.
func (p *Disk) filesPart(f Frame, c Canvas, width, height int) []string {
	if height < 3 {
		return nil
	}
	c.Width = width
	return append([]string{fileTitle(f, c, p.all)}, drawFiles(c, p.fileTable(f), height-1, &list{}, true)...)
}

// filesView is the whole pane as a table of file systems.
func (p *Disk) filesView(f Frame, c Canvas, s *diskSum) []string {
	t := p.fileTable(f)
	lines := []string{fileTitle(f, c, p.all)}
	if filesOf(f) == nil {
		return append(lines, missingPart(f, c, collectors.FileSystemID, "df", "the file systems")...)
	}
	bad := troubleLines(c, troubles(f, s), 6, "see the report")
	if c.Height < smallHeight {
		bad = nil
	}
	return append(append(lines, drawFiles(c, t, max(c.Height-1-len(bad), 2), &p.lists[filesView], false)...), bad...)
}

// drawFiles draws a table of file systems with sizes as df -h writes them.
func drawFiles(c Canvas, t Table, height int, l *list, bare bool) []string {
	if len(t.Rows) == 0 {
		why := "nothing is mounted"
		if len(t.Notes) > 0 {
			why = t.Notes[0]
		}
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, why).String()}
	}
	return l.draw(c, humanSizes(t), height, listOptions{Bare: bare})
}

func fileTitle(f Frame, c Canvas, all bool) string {
	parts := []string{"file systems"}
	if files := filesOf(f); files != nil {
		left, silent := 0, 0
		for i := range files.Rows {
			if !worthRow(&files.Rows[i], all) {
				left++
			}
			if files.Rows[i].Silent > 0 {
				silent++
			}
		}
		parts = append(parts, "every 10 s")
		if silent > 0 {
			parts = append(parts, fmt.Sprintf("%d not answering", silent))
		}
		if left > 0 {
			parts = append(parts, fmt.Sprintf("not listed: %d in memory or read-only", left))
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}
