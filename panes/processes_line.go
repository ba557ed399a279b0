// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// pidstatLine names the processes that use most CPU, and the one that waits most for it.
func pidstatLine(f Frame) line {
	l := line{id: "pidstat", pane: ProcessesPane, value: math.NaN(), unit: "%", hi: 100, drawn: "busiest process, % of a CPU"}
	set := rowsOver(f)
	if set == nil || set.Seconds() == 0 {
		l.why = waiting
		if set == nil {
			l.why, _ = whyNot(f, collectors.TasksID, "pidstat")
		}
		l.parts = []part{{"%CPU -", 0}}
		return l
	}
	top := largest(set, 2, func(x *process) time.Duration { return x.run })
	for i, x := range top {
		usr, sys := percentOf(max(x.run-x.sys-x.guest, 0), set), percentOf(x.sys, set)
		text := fmt.Sprintf("%s %%usr %.0f %%sys %.0f", nameAndPID(x), usr, sys)
		if guest := percentOf(x.guest, set); guest >= 0.5 {
			text += fmt.Sprintf(" %%guest %.0f", guest)
		}
		l.parts = append(l.parts, part{text, 2 * i})
	}
	if len(top) == 0 {
		l.parts = append(l.parts, part{"nobody ran", 0})
		l.value = 0
	} else {
		l.value = percentOf(top[0].run, set)
		l.row = rowOf(top[0])
	}
	if w := largest(set, 1, func(x *process) time.Duration { return x.leadWait }); len(w) > 0 && percentOf(w[0].leadWait, set) >= 0.1 {
		l.parts = append(l.parts, part{fmt.Sprintf("wait %s %.0f", nameAndPID(w[0]), percentOf(w[0].leadWait, set)), 1})
	}
	const worthy = 3 // percent of a CPU
	if s := sumExec(within(f, execOf)); s != nil && s.percent(s.UnseenCPU) >= worthy {
		l.parts = append(l.parts, part{fmt.Sprintf("short-lived %.0f %%", s.percent(s.UnseenCPU)), 0})
	}
	l.series = series(f, sparkSamples, tasksOf, func(t *collectors.Tasks) float64 {
		if t.Seconds() == 0 || t.Rows == nil && t.Running > 1 {
			return math.NaN()
		}
		most := time.Duration(0)
		for i := range t.Rows {
			most = max(most, t.Rows[i].Run)
		}
		return 100 * most.Seconds() / t.Seconds()
	})
	l.hi = max(100, most(l.series))
	return l
}

func percentOf(d time.Duration, set *processes) float64 { return 100 * d.Seconds() / set.Seconds() }

func nameAndPID(x *process) string {
	return fmt.Sprintf("%s[%d]", widget.Clip(clean(x.Comm), 15), x.PID)
}

// largest returns the processes with the most of a time, largest first; none without any.
func largest(set *processes, n int, value func(*process) time.Duration) []*process {
	var out []*process
	for i := range set.list {
		x := &set.list[i]
		if value(x) <= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(out, x, func(a, b *process) int {
			if value(a) != value(b) {
				if value(a) > value(b) {
					return -1
				}
				return 1
			}
			return int(a.PID - b.PID)
		})
		if at < n {
			out = slices.Insert(out, at, x)
			out = out[:min(len(out), n)]
		}
	}
	return out
}

// topLine has the counts of top's head, who uses most by command, and what the dead had.
func topLine(f Frame) line {
	l := line{id: "top", pane: ProcessesPane, value: math.NaN(), unit: "processes"}
	set := rowsOver(f)
	if set == nil {
		l.why, _ = whyNot(f, collectors.TasksID, "pidstat")
		l.parts = []part{{"processes -", 0}}
		return l
	}
	t := set.last
	l.value = float64(t.Processes)
	counts := fmt.Sprintf("%d procs R %d D %d", t.Processes, t.Running, t.Uninterruptible)
	if t.Zombies > 0 {
		counts += fmt.Sprintf(" Z %d", t.Zombies)
	}
	users := ""
	if set.Seconds() > 0 {
		for _, u := range topBy(f, 2, ran) {
			if v := percentOf(u.time, set); v >= 0.5 {
				if users != "" {
					users += ", "
				}
				users += fmt.Sprintf("%s %.0f %%", widget.Clip(u.name.String(), 15), v)
			}
		}
	}
	l.parts = append(l.parts, part{counts, 1})
	if users != "" {
		l.parts = append(l.parts, part{users, 0})
	}
	const worthy = 3 // percent: below, /proc/stat is too coarse to tell
	if d, ok := set.gone(f); ok && percentOf(d, set) >= worthy {
		l.parts = append(l.parts, part{fmt.Sprintf("gone %.0f %%~", percentOf(d, set)), 0})
	} else if !ok {
		l.why = "gone: " + waiting
	}
	l.series = series(f, sparkSamples, tasksOf, func(t *collectors.Tasks) float64 { return float64(t.Processes) })
	l.hi = most(l.series)
	return l
}

// processDetail is the table of processes, for the Overview.
func processDetail(f Frame, c Canvas, command string, height int) []string {
	p := NewProcesses()
	lines := []string{widget.Title(c.Theme, c.Width, command)}
	t := p.table(f, shown)
	if len(t.Rows) == 0 {
		return append(lines, missingPart(f, c, collectors.TasksID, "pidstat", "processes")...)
	}
	widen(&t, c.Width)
	return append(lines, p.byProcess.draw(c, t, height-1, listOptions{Bare: true})...)
}
