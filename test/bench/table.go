// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// verdict is what a row says of its budget.
type verdict string

const (
	told   verdict = ""       // a figure without a budget
	kept   verdict = "ok"     // within
	over   verdict = "over"   // beyond, but not clearly so: within the noise, or an absolute time
	missed verdict = "MISSED" // a ratio that is clearly beyond its budget: the run fails
	absent verdict = "-"      // not measured here
)

// row is one line of the table. Figures are text with their unit.
type row struct {
	what, ours, peer, ratio, budget string
	ok                              verdict
	note                            string
}

func (r *row) cells() []string {
	return []string{r.what, r.ours, r.peer, r.ratio, r.budget, string(r.ok), r.note}
}

// clearly is how far beyond a budget a ratio has to be, as a part of it, to fail the run: besides
// its own noise, what two runs on two virtual CPUs differ by.
const clearly = 0.10

// against judges ours/theirs by a budget. Noise is what the same thing measured twice differs by,
// as a part of it.
func (r row) against(ours, theirs, limit, noise float64) row {
	ratio := ours / theirs
	r.ratio = fmt.Sprintf("%.2f", ratio)
	r.budget = fmt.Sprintf("≤ %.2f", limit)
	switch {
	case ratio <= limit:
		r.ok = kept
	case ratio <= limit*(1+max(noise, clearly)):
		r.ok = over
	default:
		r.ok = missed
	}
	return r
}

// below judges an absolute figure, which never fails the run: the machine may be slow or busy.
func (r row) below(value, limit float64, budget string) row {
	r.budget = "≤ " + budget
	r.ok = kept
	if value > limit {
		r.ok = over
	}
	return r
}

// print writes the table and says whether the run is good.
func print(out io.Writer, rows []row) (good bool) {
	lines := [][]string{{"what", "ours", "peer", "ratio", "budget", "ok", ""}}
	good = true
	for i := range rows {
		lines = append(lines, rows[i].cells())
		good = good && rows[i].ok != missed
	}
	var widths [6]int
	for _, l := range lines {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(l[i]))
		}
	}
	for _, l := range lines {
		var b strings.Builder
		for i, cell := range l {
			b.WriteString(cell)
			if i < len(widths) {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
	}
	return good
}
