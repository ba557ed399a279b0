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
	const (
		few   = 7  // lines of a part that gives way, its title included
		proof = 20 // lines that the first cause wants
		least = 10 // lines that it gets also where there are many findings
		news  = 4  // lines that what changed gets then
		first = 13 // lines that the first findings get in any case
	)
	forFindings := func(room int) int { return max(room-least-news, min(room, first), few) }
	top := part(func(w *writer) { w.wrapped("", verdict(r)); textHost(w, r) })
	list := part(func(w *writer) { textChecklist(w, r) })
	checks := part(func(w *writer) { textChecks(w, r) })
	quality := qualityLines(r)
	room := ticketLines - len(top) - len(list)
	var findings, verify []string
	for n, printed := 0, 1; n < printed; n++ { // room for the commands of all findings that are printed
		left := room - len(verifyLines(r, n))
		findings = part(func(w *writer) {
			printed = textFindings(w, r, forFindings(left-min(len(checks), few)-min(len(quality), few)))
		})
		verify = verifyLines(r, printed)
	}
	room -= len(findings) + len(verify)
	changed := part(func(w *writer) {
		textChanges(w, r.Frame, max(min(changesMost, room-min(len(checks), few)-min(len(quality), few)-least), news))
	})
	room -= len(changed)
	quality = atMost(quality, max(room-min(len(checks), few)-proof, few))
	checks = atMost(checks, max(room-len(quality)-proof, min(room-len(quality), few), 0))
	room -= len(checks) + len(quality)
	cause := part(func(w *writer) { textCause(w, r, room) })
	return slices.Concat(top, findings, checks, changed, list, cause, verify, quality)
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
	for _, l := range hostNotes(r) {
		w.line("  %s", l)
	}
}

// hostNotes say where and when, and who measured.
func hostNotes(r Report) []string {
	var out []string
	if h := lastHost(r.Frame); h != nil && h.Facts != nil {
		x := h.Facts
		virtual := ""
		if x.Virtual != "" {
			virtual = " · " + clean2(x.Virtual)
		}
		out = append(out, fmt.Sprintf("%s · Linux %s %s%s · %d CPUs · %s memory, %s available · up %s", clean(x.Hostname), clean2(x.Kernel), clean2(x.Arch),
			virtual, x.CPUs, widget.Bytes(h.Mem.Total), widget.Bytes(h.Mem.Available), widget.Age(h.Uptime)))
	}
	end := r.Started.Add(r.Duration)
	const day, hour = "2006-01-02 15:04:05", "15:04:05"
	interval := ""
	if r.Interval > 0 {
		interval = fmt.Sprintf(" at %s", r.Interval)
	}
	return append(out,
		fmt.Sprintf("%s to %s UTC · %s to %s", r.Started.UTC().Format(day), end.UTC().Format(hour), r.Started.Format(day), end.Format(hour+" -07:00")),
		fmt.Sprintf("bpf60 %s · %d samples%s in %.1f s", r.Version, samples(r.Frame), interval, r.Duration.Seconds()))
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

// textFindings prints as many findings as have room, and says how many those are.
func textFindings(w *writer, r Report, room int) (printed int) {
	w.head("findings")
	list := listed(r.Frame)
	if len(list) == 0 {
		w.line("  %s", silence(r.Frame))
	}
	for i, l := range list {
		one := &writer{}
		textFinding(one, r.Frame, l)
		last := 0 // the line that counts the others
		if i < len(list)-1 {
			last = 1
		}
		if len(w.lines)+len(one.lines)+last > room {
			w.line("  and %d more: %s", len(list)-i, ids(list[i:], reportWidth-20))
			return i
		}
		w.lines = append(w.lines, one.lines...)
	}
	return len(list)
}

// ids are the names of findings, as many as fit.
func ids(list []listedFinding, cells int) string {
	var out []string
	for _, l := range list {
		out = append(out, l.finding.ID)
	}
	return widget.ClipWords(strings.Join(out, ", "), cells)
}

func textFinding(w *writer, f Frame, l listedFinding) {
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
	var who []string
	if by := people(f, x.Culprits); by != "" {
		who = append(who, "by "+by)
	}
	if hits := people(Frame{}, x.Victims); hits != "" {
		who = append(who, "hits "+hits)
	}
	if len(who) > 0 {
		w.wrapped("  "+indent+"     ", strings.Join(who, " "))
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

func textChecks(w *writer, r Report) {
	if len(r.Healthy)+len(r.Unchecked) == 0 {
		return
	}
	w.head("ruled out, and not checked")
	for _, l := range checkNotes(r) {
		w.wrapped("  ", l)
	}
}

// checkNotes say what was ruled out, and what was not checked.
func checkNotes(r Report) []string {
	var out []string
	for _, x := range r.Healthy {
		out = append(out, strings.TrimSuffix("ok  "+x.Resource+": "+strings.Join(x.Evidence, ", "), ": "))
	}
	for _, x := range r.Unchecked {
		out = append(out, "--  "+x.Resource+": "+strings.TrimSuffix(x.Reason+"; "+x.Remedy, "; "))
	}
	return out
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
	sortBy(out, func(a, b probeRow) int {
		return cmp.Or(cmp.Compare(a.collector, b.collector), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// maskingNote stands in every report: it is read by others than who made it.
const maskingNote = "arguments are masked by what looks like a secret: a best effort, read before you pass it on"

// qualityLines say how far the numbers can be trusted, and what they cost.
func qualityLines(r Report) []string {
	out := []string{"", "quality"}
	for _, l := range qualityNotes(r) {
		out = append(out, wrapText("  ", l)...)
	}
	return out
}

// qualityNotes say it in lines of any length, what matters most first.
func qualityNotes(r Report) []string {
	on, off, lost := probeCounts(r.Frame)
	head := fmt.Sprintf("%d probes on, %d off · events lost %d", on, off, lost)
	if s := newest(r.Frame, selfOf); s != nil {
		head += fmt.Sprintf(" · own cost %.2f s CPU, %s at most, bpf %.3f s~", s.CPUTotal.Seconds(), widget.Bytes(s.MaxRSS), s.BPFTotal.Seconds())
	}
	out := append([]string{head, maskingNote}, slices.Concat(lateNotes(r.Frame), stepNotes(r.Frame), easedNotes(r.Frame), pidNotes(r.Frame))...)
	groups := make(map[string][]string) // names of the probes that share state, reason and remedy
	var order, idle []string
	var costly []collectors.Probe
	for _, p := range probes(r.Frame) {
		if p.Lost > 0 {
			out = append(out, fmt.Sprintf("%s %s (%s) lost %d of %s events", p.Name, p.State, p.Hook, p.Lost, widget.Count(p.Events+p.Lost)))
		}
		if p.NsPerEvent > 0 && p.Events > 0 {
			costly = append(costly, p.Probe)
		}
		if p.Reason == "" {
			continue
		}
		why := fmt.Sprintf("%s: %s", p.State, strings.TrimSuffix(clean2(p.Reason)+"; "+clean2(p.Remedy), "; "))
		switch {
		case groups[why] != nil:
		case p.State == collectors.Idle:
			idle = append(idle, why)
		default:
			order = append(order, why)
		}
		groups[why] = append(groups[why], p.Name)
	}
	for _, why := range order {
		out = append(out, strings.Join(groups[why], ", ")+" "+why)
	}
	if len(costly) > 0 {
		out = append(out, probeCosts(costly))
	}
	for _, why := range idle {
		out = append(out, strings.Join(groups[why], ", ")+" "+why)
	}
	return out
}

// probeCosts names the probes that cost most, with what they counted and what an event costs.
func probeCosts(list []collectors.Probe) string {
	const most = 5
	cost := func(p collectors.Probe) float64 { return float64(p.Events) * p.NsPerEvent }
	sortStably(list, func(a, b collectors.Probe) int { return cmp.Compare(cost(b), cost(a)) })
	var out []string
	for _, p := range list[:min(len(list), most)] {
		out = append(out, fmt.Sprintf("%s %s × %.0f ns~", p.Name, widget.Count(p.Events), p.NsPerEvent))
	}
	return "cost most: " + strings.Join(out, " · ")
}
