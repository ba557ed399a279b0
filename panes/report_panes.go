// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

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
	row := func(cell func(i int, c Column) string) {
		var b strings.Builder
		for i, c := range t.Columns {
			b.WriteByte(' ')
			s := cell(i, c)
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
