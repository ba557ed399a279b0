// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"

	"bpf60/panes/widget"
)

// textCause shows the rows, the histogram and the last minute of the first cause's pane and line of the
// checklist; with nothing found, of the CPU, which every host has. It takes at most room lines.
func textCause(w *writer, r Report, room int) {
	pane, named := CPUPane, "runqlat"
	if list := listed(r.Frame); len(list) > 0 && list[0].finding.Pane != "" {
		pane, named = ID(list[0].finding.Pane), list[0].finding.Line
	}
	i := slices.IndexFunc(r.Panes, func(p Pane) bool { return p.Info().ID == pane })
	if i < 0 || room < 8 {
		return
	}
	t := r.Panes[i].Table(r.Frame)
	w.head(t.Title)
	if rows := t.Rows[:min(len(t.Rows), 3)]; len(rows) > 0 {
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
	if l, ok := checked(r.Frame, named); ok && len(w.lines) < room {
		w.overTime(l)
	}
}

// overTime draws the last minute of a line of the checklist, as much of it as has room on one line.
func (w *writer) overTime(l line) {
	if !slices.ContainsFunc(l.series, func(v float64) bool { return v == v }) {
		return
	}
	what, scale := cmp.Or(l.drawn, l.unit), cmp.Or(l.scale, widget.Short(l.lo)+" to "+widget.Short(l.hi))
	says := func(n int) string { return fmt.Sprintf("  %s, %d samples, %s: ", what, n, scale) }
	n := min(len(l.series), reportWidth-widget.Width(says(len(l.series))))
	w.line("%s%s", says(n), widget.Spark(l.series[len(l.series)-n:], n, l.lo, l.hi))
}

// verifyLines are the commands that verify the first n findings.
func verifyLines(r Report, n int) []string {
	notes := verifyNotes(r, n)
	if len(notes) == 0 {
		return nil
	}
	out := []string{"", "to verify"}
	for _, l := range notes {
		out = append(out, widget.Clip("  "+l, reportWidth))
	}
	return out
}

// verifyNotes are the classic commands that show what the first n findings say, each once.
func verifyNotes(r Report, n int) []string {
	var out []string
	list := listed(r.Frame)
	for _, l := range list[:min(n, len(list))] {
		if c := l.finding.Command; c != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
