// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// stallsLine is the stalls' line of the checklist: how many tasks are in D, and where.
func stallsLine(f Frame) line {
	l := line{id: "stalls", pane: StallsPane, value: math.NaN(), unit: "tasks in D"}
	s := newest(f, stallsOf)
	if s == nil {
		l.why, _ = whyNot(f, collectors.StallsID, "stalls")
		l.parts = []part{{"D -", 0}, {l.why, 1}}
		return l
	}
	l.value = float64(s.Tasks)
	l.parts = []part{{fmt.Sprintf("D %d", s.Tasks), 0}}
	for i, g := range s.Groups[:min(len(s.Groups), 4)] {
		about := g.Class
		if d := deviceCell(g.Device, false); d.Known() {
			about = d.Format(0)
		}
		name := clean2(g.Function)
		if name == "" {
			name = unnamed
		}
		l.parts = append(l.parts, part{fmt.Sprintf("%s %d (%s)", widget.Clip(name, 26), g.Tasks, about), 1 + i})
		if i == 0 {
			l.row = stallRow(g)
			if g.Function == "" {
				l.why = "wait function: " + noFunction(f)
			}
		}
	}
	l.series = series(f, sparkSamples, stallsOf, func(s *collectors.Stalls) float64 { return float64(s.Tasks) })
	l.hi = max(most(l.series), 1)
	return l
}
