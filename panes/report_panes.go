// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Rows of a table that a report prints at most: the first ones in the pane's order. What is left
// out is counted.
const (
	textRowsMost = 40
	jsonRowsMost = 512
)

// textPane prints one pane in full, under the name of the command that it stands for.
func textPane(w *writer, p Pane, f Frame) {
	info := p.Info()
	title := "── " + cmp.Or(info.Command, strings.ToLower(info.Title)) + " ──"
	if info.Command != "" {
		title += " " + strings.ToLower(info.Title) + " ──"
	}
	w.line("")
	w.line("%s", title+strings.Repeat("─", max(reportWidth-widget.Width(title), 0)))
	t := p.Table(f)
	textTable(w, t)
	for _, more := range t.More {
		w.head(more.Title)
		textTable(w, more)
	}
}

// textTable prints all that a table knows.
func textTable(w *writer, t Table) {
	ids := 13
	for _, x := range t.Facts {
		ids = max(ids, len(x.ID))
	}
	for _, x := range t.Facts {
		title := x.Title
		if !x.Cell.Known() {
			title += " (" + x.Cell.Why + ")"
		}
		w.line("  %-*s %14s %-6s %s", ids, x.ID, x.Cell.Format(x.Decimals), x.Unit, title)
	}
	if len(t.Rows) > 0 {
		if len(t.Facts) > 0 {
			w.line("")
		}
		textRows(w, t, textRowsMost)
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
		w.wrapped("  ", n)
	}
}

// textRows prints the first n rows of a table, and how many more there are. What is wider than the
// report is printed in blocks, one below the other, each with the first column: nothing is cut.
func textRows(w *writer, t Table, n int) {
	rows := t.Rows[:min(n, len(t.Rows))]
	for i, b := range textBlocks(t.Columns, rows) {
		if i > 0 {
			w.line("")
		}
		b.print(w, rows)
	}
	if more := len(t.Rows) - len(rows); more > 0 {
		w.line("  and %d more", more)
	}
}

// cell is the i-th cell of a row, missing where the row has none.
func (r Row) cell(i int) Cell {
	if i < 0 || i >= len(r.Cells) {
		return Missing("this row has none")
	}
	return r.Cells[i]
}

// textColumn is a column at its place in a report.
type textColumn struct {
	Column
	index int // in the table
}

// textBlock holds columns that fit beside each other.
type textBlock []textColumn

// textMargin is before the first column of a report; a blank is before each column.
const textMargin = 1

// textBlocks divides columns into blocks that fit, in the order of the table. What goes to a later
// block is what would leave a narrow screen first: the columns of the highest rank, of one rank the
// last. A name at the end stays in the first block.
func textBlocks(columns []Column, rows []Row) []textBlock {
	var all textBlock
	for i, c := range columns {
		c.Width = max(c.Width, widget.Width(c.Title))
		all = append(all, textColumn{c, i})
	}
	var out []textBlock
	for len(all) > 0 {
		block, rest := all.divide()
		block.widen(rows)
		out = append(out, block)
		if len(rest) == 0 {
			break
		}
		all = append(textBlock{all[0]}, rest...)
	}
	return out
}

// divide takes the columns that fit into one block, and leaves the others.
func (b textBlock) divide() (block, rest textBlock) {
	block = slices.Clone(b)
	need := block.width()
	for need > reportWidth && len(block) > 2 {
		worst := len(block) - 1
		if block[worst].Left {
			worst--
		}
		for i := worst - 1; i > 0; i-- {
			if block[i].Rank > block[worst].Rank {
				worst = i
			}
		}
		need -= block[worst].Width + 1
		rest = append(rest, block[worst])
		block = slices.Delete(block, worst, worst+1)
	}
	sortBy(rest, func(a, b textColumn) int { return cmp.Compare(a.index, b.index) })
	return block, rest
}

// width is what the block takes of a line.
func (b textBlock) width() int {
	need := textMargin
	for _, c := range b {
		need += c.Width + 1
	}
	return need
}

// widen gives what is left of the line to the texts that need it.
func (b textBlock) widen(rows []Row) {
	left := reportWidth - b.width()
	for i := range b {
		if !b[i].Left {
			continue
		}
		most := b[i].Width
		for _, r := range rows {
			most = max(most, widget.Width(r.cell(b[i].index).Format(0)))
		}
		more := max(min(most-b[i].Width, left), 0)
		b[i].Width += more
		left -= more
	}
}

// print prints the head of a block and its rows.
func (b textBlock) print(w *writer, rows []Row) {
	b.line(w, func(c textColumn) string { return c.Title })
	for _, r := range rows {
		b.line(w, func(c textColumn) string { return r.cell(c.index).fit(c.Column) })
	}
}

// line prints one line of a block.
func (b textBlock) line(w *writer, cell func(textColumn) string) {
	var s strings.Builder
	s.WriteString(strings.Repeat(" ", textMargin))
	for i, c := range b {
		s.WriteByte(' ')
		text := cell(c)
		if c.Left && i < len(b)-1 {
			text = widget.Clip(text, c.Width)
		}
		pad := strings.Repeat(" ", max(c.Width-widget.Width(text), 0))
		if c.Left {
			s.WriteString(text + pad)
		} else {
			s.WriteString(pad + text)
		}
	}
	w.line("%s", s.String())
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
