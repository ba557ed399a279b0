// SPDX-License-Identifier: Apache-2.0

package panes

import "slices"

// layout picks the columns that fit: those of the highest rank leave first, of one rank the last.
// What is left over goes to a sparkline, and to a text at the end.
func (l *list) layout(t Table, width int, o listOptions) []drawn {
	cols := l.arranged(t)
	need := 0
	for _, c := range cols {
		need += c.Width + 1
	}
	if c := pointers(cols); need > width && c != nil {
		squeeze(c, l.sort, width)
		need = 0
		for i := range cols {
			need += cols[i].Width + 1
		}
	}
	for need > width && len(cols) > 1 {
		worst, rank := len(cols)-1, -1
		for i, c := range cols {
			name := i == len(cols)-1 && c.Left // what the row is about stays with it
			if c.ID != l.column && !name && c.Rank >= rank {
				worst, rank = i, c.Rank
			}
		}
		need -= cols[worst].Width + 1
		cols = slices.Delete(cols, worst, worst+1)
	}
	left := width - need
	for i := range cols {
		if slices.Contains(o.Wide, cols[i].ID) {
			more := min(max(longest(t, cols[i].index)-cols[i].Width, 0), max(left, 0))
			cols[i].Width, left = cols[i].Width+more, left-more
		}
	}
	last := len(cols) - 1
	stretch := last >= 0 && cols[last].Left
	if o.Spark != nil && left > leastSpark {
		room := left - 1
		if stretch {
			room = max(room/2, leastSpark)
		}
		w := min(room, mostSpark)
		s := drawn{Column: Column{ID: "history", Title: o.SparkTitle, Width: w, Left: true}, spark: true}
		if stretch {
			cols = slices.Insert(cols, last, s)
			last++
		} else {
			cols = append(cols, s)
		}
		left -= w + 1
	}
	if stretch && left > 0 {
		cols[last].Width += left
	}
	return cols
}

// pointers are the columns of a table that is drawn against the baseline; nil for another.
func pointers(cols []drawn) (out []*Column) {
	if !slices.ContainsFunc(cols, func(c drawn) bool { return c.delta > 0 }) {
		return nil
	}
	for i := range cols {
		out = append(out, &cols[i].Column)
	}
	return out
}
