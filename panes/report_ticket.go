// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// ticket is the part of the report that goes into a ticket. What has no room is counted: of the
// findings the last, of what was not checked and of the remarks on quality a few lines each.
func ticket(r Report) []string {
	part := func(print func(*writer)) []string {
		w := &writer{}
		print(w)
		return w.lines
	}
	const few = 7 // lines of a part that gives way, its title included
	top := part(func(w *writer) { w.wrapped("", verdict(r)); textHost(w, r) })
	list := part(func(w *writer) { textChecklist(w, r) })
	verify := verifyLines(r)
	checks := part(func(w *writer) { textChecks(w, r) })
	quality := qualityLines(r)
	room := ticketLines - len(top) - len(list) - len(verify)
	findings := part(func(w *writer) { textFindings(w, r, max(room-min(len(checks), few)-min(len(quality), few), few)) })
	room -= len(findings)
	quality = atMost(quality, max(room-min(len(checks), few), few))
	checks = atMost(checks, max(room-len(quality), 0))
	room -= len(checks) + len(quality)
	cause := part(func(w *writer) { textCause(w, r, room) })
	return slices.Concat(top, findings, checks, list, cause, verify, quality)
}

// atMost is the first lines of a part, and how many more there are.
func atMost(lines []string, n int) []string {
	if len(lines) <= n || n < 1 {
		return lines[:min(len(lines), max(n, 0))]
	}
	return append(slices.Clone(lines[:n-1]), fmt.Sprintf("  and %d more lines: bpf60 doctor says all", len(lines)-n+1))
}

// verdict is the one sentence that says it all.
func verdict(r Report) string {
	host := hostname(r.Frame)
	list := listed(r.Frame)
	for _, l := range list {
		if l.gone {
			continue
		}
		s := fmt.Sprintf("%s on %s: %s", strings.ToUpper(l.finding.Severity.String()), host, l.finding.Title)
		if len(l.finding.Culprits) > 0 {
			s += ", by " + culprit(l.finding.Culprits[0])
		}
		return s + "."
	}
	switch {
	case r.Frame.Now.Snapshot == nil:
		return "Nothing was measured."
	case r.Frame.Rules == 0:
		return fmt.Sprintf("Nothing was judged on %s: there are no rules yet. This is what %.0f s measured.", host, r.Duration.Seconds())
	case len(r.Unchecked) > 0:
		return fmt.Sprintf("Nothing found on %s by %d rules in %.0f s; %d things were not checked.", host, r.Frame.Rules, r.Duration.Seconds(), len(r.Unchecked))
	}
	return fmt.Sprintf("No resource is short on %s: %d rules found nothing in %.0f s.", host, r.Frame.Rules, r.Duration.Seconds())
}

func hostname(f Frame) string {
	if h := lastHost(f); h != nil && h.Facts != nil {
		return clean(h.Facts.Hostname)
	}
	return "this host"
}

// lastHost is the newest name plate, however old: it does not change.
func lastHost(f Frame) *collectors.Host {
	for i := len(f.Past) - 1; i >= 0; i-- {
		if s := f.Past[i].Snapshot; s != nil && s.Host != nil {
			return s.Host
		}
	}
	return nil
}

func textHost(w *writer, r Report) {
	w.head("host")
	if h := lastHost(r.Frame); h != nil && h.Facts != nil {
		x := h.Facts
		virtual := ""
		if x.Virtual != "" {
			virtual = " · " + clean2(x.Virtual)
		}
		w.line("  %s · Linux %s %s%s · %d CPUs · %s memory, %s available · up %s", clean(x.Hostname), clean2(x.Kernel), clean2(x.Arch),
			virtual, x.CPUs, widget.Bytes(h.Mem.Total), widget.Bytes(h.Mem.Available), widget.Age(h.Uptime))
	}
	end := r.Started.Add(r.Duration)
	const day, hour = "2006-01-02 15:04:05", "15:04:05"
	w.line("  %s to %s UTC · %s to %s", r.Started.UTC().Format(day), end.UTC().Format(hour), r.Started.Format(day), end.Format(hour+" -07:00"))
	interval := ""
	if r.Interval > 0 {
		interval = fmt.Sprintf(" at %s", r.Interval)
	}
	w.line("  bpf60 %s · %d samples%s in %.1f s", r.Version, samples(r.Frame), interval, r.Duration.Seconds())
}

// samples is how many moments the frame sums.
func samples(f Frame) int {
	n := 0
	for _, m := range f.Past {
		if m.Snapshot != nil && (f.Span == 0 || m.At > f.Now.At-f.Span || f.Span >= f.Now.At) {
			n++
		}
	}
	return n
}

// textFindings prints as many findings as have room.
func textFindings(w *writer, r Report, room int) {
	w.head("findings")
	list := listed(r.Frame)
	if len(list) == 0 {
		w.line("  %s", silence(r.Frame))
	}
	for i, l := range list {
		one := &writer{}
		textFinding(one, l)
		last := 0 // the line that counts the others
		if i < len(list)-1 {
			last = 1
		}
		if len(w.lines)+len(one.lines)+last > room {
			w.line("  and %d more", len(list)-i)
			return
		}
		w.lines = append(w.lines, one.lines...)
	}
}

func textFinding(w *writer, l listedFinding) {
	x := l.finding
	indent := strings.Repeat("  ", l.depth)
	over := ""
	if l.gone {
		over = " (over)"
	}
	w.line("  %s%s%s %s%s%s", indent, mark(x.Severity), x.ID, x.Title, x.Quality, over)
	w.line("  %s     %s", indent, measured(x))
	if len(x.Evidence) > 0 {
		w.wrapped("  "+indent+"     ", strings.Join(x.Evidence, " · "))
	}
	if who := people("by", x.Culprits) + people("hits", x.Victims); who != "" {
		w.wrapped("  "+indent+"     ", who)
	}
}

// measured is a finding's value against its threshold, its weight and its age.
func measured(x triage.Finding) string {
	s := fmt.Sprintf("%s %s, threshold %s", widget.Short(x.Value), x.Unit, widget.Short(x.Threshold))
	if x.N > 0 {
		s += fmt.Sprintf(", n %s", widget.Count(x.N))
	}
	if x.Window > 0 {
		s += fmt.Sprintf(" in %.0f s", x.Window.Seconds())
	}
	sign := ""
	if x.AtStart {
		sign = "≤"
	}
	s += ", since " + sign + widget.Clock(x.Since)
	if x.Until > 0 {
		s += " to " + widget.Clock(x.Until)
	}
	return s
}

func people(word string, list []triage.Culprit) string {
	var out []string
	for _, x := range list {
		s := culprit(x)
		if g := x.Cgroup.String(); g != "" {
			s += " in " + g
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return ""
	}
	return " " + word + " " + strings.Join(out, ", ")
}

func textChecks(w *writer, r Report) {
	if len(r.Healthy)+len(r.Unchecked) == 0 {
		return
	}
	w.head("ruled out, and not checked")
	for _, x := range r.Healthy {
		w.line("  ok  %s: %s", x.Resource, strings.Join(x.Evidence, ", "))
	}
	for _, x := range r.Unchecked {
		w.wrapped("  --  ", x.Resource+": "+strings.TrimSuffix(x.Reason+"; "+x.Remedy, "; "))
	}
}

func textChecklist(w *writer, r Report) {
	w.head("60 seconds")
	for _, l := range checklist(r.Frame) {
		status := "   "
		if sev, ok := worst(r.Frame.Now, l.id); ok {
			status = mark(sev)
		}
		w.line("  %s%-8s %-60s %s", status, l.id, l.summary(60), strings.TrimLeft(widget.Spark(l.series, 20, l.lo, l.hi), " "))
	}
}

// textCause shows the rows and the histogram of the first cause's pane; with nothing found, of the
// CPU, which every host has. It takes at most room lines.
func textCause(w *writer, r Report, room int) {
	pane := CPUPane
	if list := listed(r.Frame); len(list) > 0 && list[0].finding.Pane != "" {
		pane = ID(list[0].finding.Pane)
	}
	i := slices.IndexFunc(r.Panes, func(p Pane) bool { return p.Info().ID == pane })
	if i < 0 || room < 8 {
		return
	}
	t := r.Panes[i].Table(r.Frame)
	w.head(t.Title)
	if rows := t.Rows[:min(len(t.Rows), 4)]; len(rows) > 0 {
		textBlocks(t.Columns, rows)[0].print(w, rows)
	}
	if waits, runs := causeLine(r.Frame, 4); pane == CPUPane && waits+runs != "" && room-len(w.lines) >= 2 {
		w.line("  waits most  %s", waits)
		w.line("  ran instead %s", runs)
	}
	const least = 9 // lines of a histogram that says something, the line below it included
	for _, h := range t.Histograms {
		if h.Now != nil && h.Now.Count() > 0 && room-len(w.lines) >= least {
			w.head(h.Title + ": " + histogramSummary(h))
			textHistogram(w, h, room-len(w.lines)-3)
			break
		}
	}
	if l := runqlatLine(r.Frame); pane == CPUPane && len(l.series) > 0 && len(w.lines) < room {
		w.line("  p99, last %d samples, 0-1µs to >1s: %s", len(l.series), widget.Spark(l.series, len(l.series), l.lo, l.hi))
	}
}

func verifyLines(r Report) []string {
	var out []string
	for _, l := range listed(r.Frame) {
		if c := l.finding.Command; c != "" && !slices.Contains(out, "  "+c) && len(out) < 4 {
			out = append(out, "  "+c)
		}
	}
	if len(out) > 0 {
		out = append([]string{"", "to verify"}, out...)
	}
	return out
}

// probeRow is a probe with the collector that owns it.
type probeRow struct {
	collector collectors.ID
	collectors.Probe
}

// probes lists all probes, in a fixed order.
func probes(f Frame) []probeRow {
	if f.Now.Snapshot == nil {
		return nil
	}
	var out []probeRow
	for id, list := range f.Now.Probes {
		for _, p := range list {
			out = append(out, probeRow{id, p})
		}
	}
	slices.SortFunc(out, func(a, b probeRow) int {
		return cmp.Or(cmp.Compare(a.collector, b.collector), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// qualityLines say how far the numbers can be trusted, and what they cost.
func qualityLines(r Report) []string {
	on, off, lost := probeCounts(r.Frame)
	out := []string{"", "quality"}
	head := fmt.Sprintf("  %d probes on, %d off · events lost %d", on, off, lost)
	if s := newest(r.Frame, selfOf); s != nil {
		head += fmt.Sprintf(" · own cost %.2f s CPU, %s at most, bpf %.3f s~", s.CPUTotal.Seconds(), widget.Bytes(s.MaxRSS), s.BPFTotal.Seconds())
	}
	out = append(out, head)
	quiet := 0
	groups := make(map[string][]string) // names of the probes that share state, reason and remedy
	var order []string
	for _, p := range probes(r.Frame) {
		switch {
		case p.NsPerEvent > 0 || p.Lost > 0:
			out = append(out, fmt.Sprintf("  %-18s %-8s %s", p.Name, p.State, probeCost(p.Probe)))
		case p.Reason == "":
			quiet++
			continue
		}
		if p.Reason != "" {
			why := fmt.Sprintf("%s: %s", p.State, strings.TrimSuffix(clean2(p.Reason)+"; "+clean2(p.Remedy), "; "))
			if groups[why] == nil {
				order = append(order, why)
			}
			groups[why] = append(groups[why], p.Name)
		}
	}
	for _, why := range order {
		out = append(out, wrapText("  ", strings.Join(groups[why], ", ")+" "+why)...)
	}
	if quiet > 0 {
		out = append(out, fmt.Sprintf("  %d more without a remark", quiet))
	}
	return out
}

// probeCost is what a probe has counted and what that cost.
func probeCost(p collectors.Probe) string {
	s := p.Hook
	if p.NsPerEvent > 0 {
		s += fmt.Sprintf(", %s events × %.0f ns~", widget.Count(p.Events), p.NsPerEvent)
	}
	if p.Lost > 0 {
		s += fmt.Sprintf(", lost %d", p.Lost)
	}
	return s
}
