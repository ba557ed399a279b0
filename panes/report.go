// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// Healthy is a resource that was checked with every probe it needs, and ruled out.
type Healthy struct {
	Resource string   `json:"resource"`
	Evidence []string `json:"evidence"`
}

// Unchecked is a resource that was not checked, why, and what would make it so.
type Unchecked struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
	Remedy   string `json:"remedy"`
}

// Report is a frame whose span is the whole run, and what else a ticket needs. Times are given:
// this package knows no clock.
type Report struct {
	Frame     Frame
	Panes     []Pane // in the order of the report
	Version   string
	Started   time.Time // wall clock; its location is the local one
	Duration  time.Duration
	Interval  time.Duration // 0: not known
	Healthy   []Healthy
	Unchecked []Unchecked
	Brief     bool // text: only the part for a ticket
}

// The text report.
const (
	reportWidth = 100
	ticketLines = 60 // the part for a ticket
	starWidth   = 40 // bcc's
)

// writer prints lines of at most reportWidth cells and remembers the first error.
type writer struct {
	b     *bufio.Writer
	lines int
	err   error
}

func (w *writer) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	s = widget.Clip(strings.TrimRight(s, " "), reportWidth)
	w.lines++
	if _, err := w.b.WriteString(s + "\n"); err != nil && w.err == nil {
		w.err = err
	}
}

// wrapped prints text over as many lines as it takes, each behind the indent.
func (w *writer) wrapped(indent, text string) {
	for _, l := range wrapText(indent, text) {
		w.line("%s", l)
	}
}

// wrapText breaks text into lines of the report, each behind the indent.
func wrapText(indent, text string) []string {
	var out []string
	row := ""
	for _, word := range strings.Fields(text) {
		if row != "" && widget.Width(indent+row+word)+1 > reportWidth {
			out = append(out, indent+row)
			row = ""
		}
		if row != "" {
			row += " "
		}
		row += word
	}
	return append(out, indent+row)
}

// head begins a part.
func (w *writer) head(title string) {
	w.line("")
	w.line("%s", title)
}

// Text writes the report as text: the part for a ticket, at most 60 lines of 100 columns, then
// every pane in full unless r.Brief.
func Text(out io.Writer, r Report) error {
	w := &writer{b: bufio.NewWriter(out)}
	w.wrapped("", verdict(r))
	textHost(w, r)
	textFindings(w, r)
	textChecks(w, r)
	textChecklist(w, r)
	verify, quality := verifyLines(r), qualityLines(r)
	textCause(w, r, ticketLines-w.lines-len(verify)-len(quality))
	for _, l := range slices.Concat(verify, quality) {
		w.line("%s", l)
	}
	if !r.Brief {
		for _, p := range r.Panes {
			textPane(w, p, r.Frame)
		}
	}
	if err := w.b.Flush(); err != nil && w.err == nil {
		w.err = err
	}
	if w.err != nil {
		return fmt.Errorf("writing the report: %w", w.err)
	}
	return nil
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

func textFindings(w *writer, r Report) {
	w.head("findings")
	list := listed(r.Frame)
	if len(list) == 0 {
		w.line("  %s", silence(r.Frame))
	}
	const most = 8 // of a ticket; the rest is counted
	for i, l := range list {
		if i == most {
			w.line("  and %d more", len(list)-most)
			break
		}
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
	begin := w.lines
	w.head(t.Title)
	rows := min(len(t.Rows), 4)
	textRows(w, t, rows)
	if waits, runs := causeLine(r.Frame, 4); pane == CPUPane && waits+runs != "" {
		w.line("  waits most  %s", waits)
		w.line("  ran instead %s", runs)
	}
	for _, h := range t.Histograms {
		if h.Now != nil && h.Now.Count() > 0 {
			w.head(h.Title + ": " + histogramSummary(h))
			textHistogram(w, h, room-(w.lines-begin)-3)
			break
		}
	}
	if l := runqlatLine(r.Frame); pane == CPUPane && len(l.series) > 0 {
		w.line("  p99, last %d samples, 0-1µs to >1s: %s", len(l.series), widget.Spark(l.series, len(l.series), l.lo, l.hi))
	}
}

func histogramSummary(h Histogram) string {
	return fmt.Sprintf("n %s%s, mean %s, p50 %s, p90 %s, p99 %s, max %s", count(h.Now), h.Badge, mean(h.Now),
		quantile(h.Now, 0.5), quantile(h.Now, 0.9), quantile(h.Now, 0.99), quantile(h.Now, 1))
}

// textHistogram prints a histogram as bcc does, in at most room lines: where they do not suffice
// the rows with the fewest events in between are left out.
func textHistogram(w *writer, h Histogram, room int) {
	last := -1
	var most uint64
	for i, n := range h.Now.Slots {
		if n > 0 {
			last, most = i, max(most, n)
		}
	}
	skip := make(map[int]bool)
	for over := last + 1 - max(room-1, 4); over > 0; over-- {
		least := -1
		for i := 1; i < last; i++ {
			if !skip[i] && (least < 0 || h.Now.Slots[i] < h.Now.Slots[least]) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		skip[least] = true
	}
	w.line("     usecs               : count    distribution")
	gap := false
	for i := 0; i <= last; i++ {
		if skip[i] {
			gap = true
			continue
		}
		tag := " "
		if gap { // rows above this one are left out
			tag, gap = "^", false
		}
		b := collectors.SlotBucket(i)
		n := h.Now.Slots[i]
		stars := int(uint64(starWidth) * n / max(most, 1))
		w.line("%s%9d -> %-10d : %-8d |%-*s|", tag, b.Lo, b.Hi, n, starWidth, strings.Repeat("*", stars))
	}
	if len(skip) > 0 {
		w.line("^ stands for rows that are left out above it, %d in all", len(skip))
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

// textPane prints one pane's table in full.
func textPane(w *writer, p Pane, f Frame) {
	t := p.Table(f)
	w.line("")
	w.line("%s", "── "+strings.ToLower(p.Info().Title)+" "+strings.Repeat("─", max(reportWidth-4-widget.Width(p.Info().Title), 0)))
	for _, x := range t.Facts {
		title := x.Title
		if !x.Cell.Known() {
			title += " (" + x.Cell.Why + ")"
		}
		w.line("  %-13s %14s %-6s %s", x.ID, x.Cell.Format(x.Decimals), x.Unit, title)
	}
	if len(t.Rows) > 0 {
		w.line("")
		textRows(w, t, len(t.Rows))
	}
	for _, h := range t.Histograms {
		if h.Now == nil {
			w.head(h.Title + ": - (" + h.Why + ")")
			continue
		}
		w.head(h.Title + ": " + histogramSummary(h))
		textHistogram(w, h, collectors.HistSlots+1)
	}
	if len(t.Notes) > 0 {
		w.line("")
	}
	for _, n := range t.Notes {
		w.line("  %s", n)
	}
}

// textRows prints the head of a table and its first n rows.
func textRows(w *writer, t Table, n int) {
	var order list
	columns := order.layout(t, reportWidth-2, listOptions{}) // as on a screen of that width
	row := func(cell func(i int, c Column) string) {
		var b strings.Builder
		for _, col := range columns {
			c := col.Column
			b.WriteByte(' ')
			s := cell(col.index, c)
			pad := strings.Repeat(" ", max(c.Width-widget.Width(s), 0))
			if c.Left {
				b.WriteString(s + pad)
			} else {
				b.WriteString(pad + s)
			}
		}
		w.line(" %s", b.String())
	}
	row(func(_ int, c Column) string { return c.Title })
	for _, r := range t.Rows[:min(n, len(t.Rows))] {
		row(func(i int, c Column) string { return r.Cells[i].fit(c) })
	}
}

// clean is the text to show of what others chose.
func clean(r collectors.Raw) string { return collectors.Clean(r).String() }

// clean2 is clean for text whose type does not say that others chose it.
func clean2(s string) string { return clean(collectors.RawString(s)) }
