// SPDX-License-Identifier: Apache-2.0

package panes

import (
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
	if p.sees(f); c.unseen {
		return ""
	}
	if p.digits == nil {
		p.digits = digits(All())
	}
	at := p.at(f)
	list := checklist(f)
	lines := p.findings(f, c, at, max(c.Height-len(list)-1, 2))
	lines = append(lines, widget.Title(c.Theme, c.Width, "60 seconds"))
	var differs map[string]string
	if c.against != nil {
		differs = c.differences(p.Table(f), "value")
	}
	top, ids := len(lines), make([]string, 0, len(list))
	for _, l := range list {
		lines, ids = append(lines, p.checkLine(f, c, l, l.id == at, differs)), append(ids, l.id)
	}
	c.saw(block{lines: lines[top:], rows: ids, at: slices.Index(ids, at), choose: p.choose})
	return fit(append(lines, p.details(f, c, list, at, c.Height-len(lines))...), c.Height)
}

// sees notes what the cursor is on: a finding is about the first that it blames. There is no table to filter.
func (p *Overview) sees(f Frame) {
	s := f.sight
	if s == nil {
		return
	}
	s.row = Row{ID: p.at(f)}
	for _, l := range listed(f) {
		if findingRow(l.finding.ID) == s.row.ID {
			s.row.Target = blamed(l.finding)
		}
	}
	if slices.Contains(overviewRows(f), s.seek.row) {
		s.found = s.seek.row
	}
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
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, silence(f)).String())
		lines = append(lines, serviceLines(f, c, height-len(lines)-2)...)
		return append(lines, checkedLines(f, c, height-len(lines))...)
	}
	first, room := 0, height-1
	for i, l := range list { // the selected one and its evidence stay in sight
		if findingRow(l.finding.ID) == at {
			first = max(0, i+1+min(len(evidence(f, c, l)), room-1)-room)
		}
	}
	ids := []string{""}
	for _, l := range list[min(first, len(list)-1):] {
		row := findingRow(l.finding.ID)
		lines, ids = append(lines, p.findingLine(c, l, row == at)), append(ids, row)
		if row == at {
			lines = append(lines, evidence(f, c, l)...)
		}
		for len(ids) < len(lines) { // its evidence belongs to it
			ids = append(ids, row)
		}
	}
	n := min(len(lines), max(height, 2))
	c.saw(block{lines: lines[:n], rows: ids[:n], at: slices.Index(ids[:n], at), choose: p.choose})
	return append(lines[:n:n], checkedLines(f, c, min(height-n, 1))...)
}

// silence says truthfully what it means that nothing is listed.
func silence(f Frame) string {
	switch {
	case f.Rules == 0:
		return "not judged yet: no rules"
	case f.Now.Snapshot == nil:
		return "waiting for the first sample …"
	}
	return nothingFound(f)
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
	if f.judged() {
		out = append(out, fmt.Sprintf("at %.0f s: %d", f.Verdict.After.Seconds(), len(f.Verdict.Findings)))
	}
	return out
}

func (p *Overview) findingLine(c Canvas, l listedFinding, selected bool) string {
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
	digit := p.digitOf(ID(x.Pane))
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
	s := clipName(x.Name.String(), 20)
	if x.Share > 0 {
		s += fmt.Sprintf(" %.0f %%", 100*x.Share)
	}
	return s
}

// clipName cuts a name to at most cells, and never the [PID] behind it: half a PID is another process.
func clipName(name string, cells int) string {
	at := strings.LastIndexByte(name, '[')
	if at < 0 || !strings.HasSuffix(name, "]") {
		return widget.Clip(name, cells)
	}
	return widget.Clip(name[:at], max(cells-len(name[at:]), 1)) + name[at:]
}

// evidence is what proves a finding, a few facts a line, and where the first process that is blamed
// comes from.
func evidence(f Frame, c Canvas, l listedFinding) []string {
	x := l.finding
	facts := append([]string{}, x.Evidence...)
	for _, who := range x.Culprits {
		if o := originOf(f, who.Target); o.String() != "" {
			facts = append(facts, clipName(who.Name.String(), 20)+": "+o.String())
			break
		}
	}
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

// keyWidth is what the longest of digits takes.
const keyWidth = 3

// digits are what opens each pane: its digit, or what to type of its name, as :cg.
func digits(all []Pane) map[ID]string {
	out := make(map[ID]string, len(all))
	for _, p := range all {
		i := p.Info()
		if out[i.ID] = i.Digit; i.Digit == "" {
			out[i.ID] = ":" + shortest(all, i.ID)
		}
	}
	return out
}

// shortest is how much of a pane's name is enough: of several that begin so the palette takes the first.
func shortest(all []Pane, id ID) string {
	for n := 1; n < len(id); n++ {
		i := slices.IndexFunc(all, func(p Pane) bool { return strings.HasPrefix(string(p.Info().ID), string(id[:n])) })
		if all[i].Info().ID == id {
			return string(id[:n])
		}
	}
	return string(id)
}

// digitOf is what opens a pane; of one that there is none of, its name.
func (p *Overview) digitOf(id ID) string {
	if d, ok := p.digits[id]; ok {
		return d
	}
	return string(id)
}

// Columns of the checklist.
const (
	checkName    = 4 // after the cursor and the mark
	checkSummary = 13
	checkSpark   = 10
)

// checkLine is a line of the checklist: with what its value differs by from the baseline in the place of
// its sparkline, where it is compared.
func (p *Overview) checkLine(f Frame, c Canvas, l line, selected bool, differs map[string]string) string {
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
	digit := p.digitOf(l.pane)
	spark := checkSpark
	switch {
	case c.Width >= wideWidth:
		spark = sparkSamples
	case c.Width < 60:
		spark = 0
	}
	end := c.Width - 1 - keyWidth
	room := end - out.Width() - 1
	if spark > 0 {
		room -= spark + 2
	}
	out.Put(name, widget.Clip(l.summary(room), room))
	switch {
	case spark > 0 && differs != nil:
		out.Right(c.Theme.Accent, differs[l.id], end-2-(spark-min(spark, checkSpark)))
	case spark > 0 && len(l.series) > 0:
		out.To(end-spark-2).Put(c.Theme.Accent, widget.Spark(l.series, spark, l.lo, l.hi))
	}
	return out.Right(c.Theme.Dim, digit, c.Width-1).String()
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
		v := vmstatOf(c, pageBytes(f))
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
