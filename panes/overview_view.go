// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
	"bpf60/triage"
)

// View implements Pane: what is wrong, how it is known, and the selected line in full.
func (p *Overview) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	at := p.at(f)
	list := checklist(f)
	lines := p.findings(f, c, at, max(c.Height-len(list)-1, 2))
	lines = append(lines, widget.Title(c.Theme, c.Width, "60 seconds"))
	for _, l := range list {
		lines = append(lines, checkLine(f, c, l, l.id == at))
	}
	return fit(append(lines, p.details(f, c, list, at, c.Height-len(lines))...), c.Height)
}

// mark is how a severity is written, three cells wide.
func mark(s triage.Severity) string {
	switch s {
	case triage.Critical:
		return "!! "
	case triage.Warning:
		return "!  "
	case triage.Info:
	}
	return "i  "
}

func severityStyle(t theme.Theme, s triage.Severity) theme.Style {
	switch s {
	case triage.Critical:
		return t.Crit
	case triage.Warning:
		return t.Warn
	case triage.Info:
	}
	return t.OK
}

// findings draws the tree of causes and effects in at most height lines; the selected finding
// opens and shows its evidence.
func (p *Overview) findings(f Frame, c Canvas, at string, height int) []string {
	list := listed(f)
	lines := []string{widget.Title(c.Theme, c.Width, append([]string{"findings"}, findingsSummary(f, list)...)...)}
	if len(list) == 0 {
		return append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, silence(f)).String())
	}
	first, room := 0, height-1
	for i, l := range list { // the selected one and its evidence stay in sight
		if findingRow(l.finding.ID) == at {
			first = max(0, i+1+min(len(evidence(c, l)), room-1)-room)
		}
	}
	for _, l := range list[min(first, len(list)-1):] {
		selected := findingRow(l.finding.ID) == at
		lines = append(lines, findingLine(c, l, selected))
		if selected {
			lines = append(lines, evidence(c, l)...)
		}
	}
	return lines[:min(len(lines), max(height, 2))]
}

// silence says truthfully what it means that nothing is listed.
func silence(f Frame) string {
	switch {
	case f.Rules == 0:
		return "not judged yet: no rules"
	case f.Now.Snapshot == nil:
		return "waiting for the first sample …"
	}
	return fmt.Sprintf("none of %d rules found anything", f.Rules)
}

func findingsSummary(f Frame, list []listedFinding) []string {
	if len(list) == 0 {
		return nil
	}
	causes, effects, gone := 0, 0, 0
	for _, l := range list {
		switch {
		case l.gone:
			gone++
		case l.depth > 0:
			effects++
		default:
			causes++
		}
	}
	var parts []string
	for _, n := range []struct {
		n    int
		word string
	}{{causes, "cause"}, {effects, "effect"}} {
		if n.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s%s", n.n, n.word, plural(n.n)))
		}
	}
	if gone > 0 {
		parts = append(parts, fmt.Sprintf("%d over", gone))
	}
	out := []string{strings.Join(parts, ", ")}
	if f.Verdict != nil {
		out = append(out, fmt.Sprintf("at %.0f s: %d", f.Verdict.After.Seconds(), len(f.Verdict.Findings)))
	}
	return out
}

func findingLine(c Canvas, l listedFinding, selected bool) string {
	x := l.finding
	out := widget.NewLine(c.Width)
	style, text := severityStyle(c.Theme, x.Severity), theme.Style{}
	if selected {
		out.Put(c.Theme.Accent, ">")
		text = c.Theme.Focus
	} else {
		out.Skip(1)
	}
	if l.gone {
		style, text = c.Theme.Dim, c.Theme.Dim
	}
	out.Put(style, mark(x.Severity))
	if l.depth > 0 {
		out.Skip(2*l.depth-2).Put(c.Theme.Dim, "└ ")
	}
	what := x.Title
	if x.Resource != "" && !strings.Contains(what, x.Resource) && !strings.HasPrefix(x.ID, x.Resource+".") {
		what = x.Resource + " " + what
	}
	digit := digitOf(ID(x.Pane))
	end := c.Width - widget.Width(digit) - 1
	who := ""
	if len(x.Culprits) > 0 {
		who = culprit(x.Culprits[0])
	}
	out.Put(text, x.ID).Skip(1)
	if c.Width >= 60 {
		out.To(checkName + 17)
	}
	room := end - out.Width() - widget.Width(who) - 2
	if room < 12 {
		who, room = "", end-out.Width()-1
	}
	out.Put(text, widget.ClipWords(what+x.Quality, room))
	if who != "" {
		out.Right(text, who, end-1)
	}
	return out.Right(c.Theme.Dim, digit, c.Width-1).String()
}

// culprit is a name and its share of the resource.
func culprit(x triage.Culprit) string {
	s := widget.Clip(x.Name.String(), 20)
	if x.Share > 0 {
		s += fmt.Sprintf(" %.0f %%", 100*x.Share)
	}
	return s
}

// evidence is what proves a finding, a few facts a line.
func evidence(c Canvas, l listedFinding) []string {
	x := l.finding
	facts := append([]string{}, x.Evidence...)
	since := "since " + widget.Clock(x.Since)
	if x.AtStart {
		since = "since ≤" + widget.Clock(x.Since)
	}
	if l.gone {
		since += ", over at " + widget.Clock(x.Until)
		if x.Until == 0 {
			since = "found at 60 s, over now"
		}
	}
	facts = append(facts, since)
	var out []string
	row := widget.NewLine(c.Width).Skip(6)
	for i, fact := range facts {
		if i > 0 && row.Left() < widget.Width(fact)+3 {
			out = append(out, row.String())
			row = widget.NewLine(c.Width).Skip(6)
		} else if i > 0 {
			row.Put(c.Theme.Dim, " · ")
		}
		row.Put(c.Theme.Dim, fact)
	}
	return append(out, row.String())
}

// digitOf is the key of a pane.
func digitOf(id ID) string {
	for _, p := range All() {
		if i := p.Info(); i.ID == id {
			return cmp.Or(i.Digit, ":") // by its name
		}
	}
	return string(id)
}

// Columns of the checklist.
const (
	checkName    = 4 // after the cursor and the mark
	checkSummary = 13
	checkSpark   = 10
)

func checkLine(f Frame, c Canvas, l line, selected bool) string {
	out := widget.NewLine(c.Width)
	name := theme.Style{}
	if selected {
		out.Put(c.Theme.Accent, ">")
		name = c.Theme.Focus
	} else {
		out.Skip(1)
	}
	if sev, ok := worst(f.Now, l.id); ok {
		out.Put(severityStyle(c.Theme, sev), mark(sev))
	}
	out.To(checkName).Put(name, l.id).To(checkSummary)
	digit := digitOf(l.pane)
	spark := checkSpark
	switch {
	case c.Width >= wideWidth:
		spark = sparkSamples
	case c.Width < 60:
		spark = 0
	}
	end := c.Width - 1 - widget.Width(digit)
	room := end - out.Width() - 1
	if spark > 0 {
		room -= spark + 2
	}
	out.Put(name, widget.Clip(l.summary(room), room))
	if spark > 0 && len(l.series) > 0 {
		out.To(end-spark-2).Put(c.Theme.Accent, widget.Spark(l.series, spark, l.lo, l.hi))
	}
	return out.Right(c.Theme.Dim, digit, c.Width-1).String()
}

// details shows the selected line in full below the checklist, and on a wide screen all of them.
func (p *Overview) details(f Frame, c Canvas, list []line, at string, height int) []string {
	if height < 3 {
		return nil
	}
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
		v := vmstatOf(s.CPU)
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
	return append(lines, withStats(c.Theme, h, c.Width, height-1)...)
}

// Line is one line of plain text a tick, for where the screen is no terminal.
func Line(f Frame) string {
	at := "-"
	if !f.At.IsZero() {
		at = f.At.UTC().Format(time.RFC3339)
	}
	out := []string{at}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if h := newest(f, hostOf); h != nil {
		add("load %.2f %.2f %.2f", h.Load[0], h.Load[1], h.Load[2])
	} else {
		add("load -")
	}
	if c := cpuOver(f); c != nil {
		v := vmstatOf(c)
		add("r %s b %s cs %s us %s sy %s id %s wa %s st %s", v.r, v.b, v.cs, v.us, v.sy, v.id, v.wa, v.st)
	} else {
		add("r - b -")
	}
	if s := schedOver(f); s != nil {
		h := &s.Host.Wait
		add("runqlat n %s p50 %s p99 %s max %s", count(h), quantile(h, 0.5), quantile(h, 0.99), quantile(h, 1))
	} else {
		why, _ := whyNot(f, collectors.SchedID, "runqlat")
		add("runqlat - (%s)", why)
	}
	if v, ok := pressure(f, psiCPU); ok && !math.IsNaN(v) {
		add("psi cpu %.0f%%", 100*v)
	}
	on, off, lost := probeCounts(f)
	add("probes %d on %d off", on, off)
	if lost > 0 {
		add("lost %d", lost)
	}
	return strings.Join(out, "  ")
}

// probeCounts sums the states of all probes.
func probeCounts(f Frame) (on, off int, lost uint64) {
	if f.Now.Snapshot == nil {
		return 0, 0, 0
	}
	for _, probes := range f.Now.Probes {
		for _, p := range probes {
			lost += p.Lost
			switch p.State {
			case collectors.On, collectors.Degraded:
				on++
			case collectors.Off, collectors.Failed:
				off++
			case collectors.Idle, collectors.Warming:
			}
		}
	}
	return on, off, lost
}
