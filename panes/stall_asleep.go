// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
)

// sleeper is one process whose threads sleep.
type sleeper struct {
	task    collectors.Process
	comm    collectors.Raw
	threads int
	run     time.Duration // in the frame's history
	rows    []collectors.WaitRow
}

// sleepersOf returns the processes that sleep, those that ran most in the last minute first.
func sleepersOf(f Frame) []sleeper {
	w := newest(f, waitsOf)
	if w == nil {
		return nil
	}
	at := make(map[collectors.Process]int)
	var out []sleeper
	for _, r := range w.Rows {
		i, ok := at[r.Task]
		if !ok {
			i = len(out)
			at[r.Task] = i
			out = append(out, sleeper{task: r.Task, comm: r.Comm})
		}
		out[i].threads += r.Threads
		out[i].rows = append(out[i].rows, r)
	}
	for k := len(f.Past) - 1; k >= 0 && k >= len(f.Past)-60; k-- {
		if s := f.Past[k].Snapshot; s != nil && s.Tasks != nil {
			for _, r := range s.Tasks.Rows {
				if i, ok := at[identity(r)]; ok {
					out[i].run += r.Run
					out[i].comm = r.Comm
				}
			}
		}
	}
	sortStably(out, func(a, b sleeper) int {
		return cmp.Or(cmp.Compare(b.run, a.run), cmp.Compare(b.threads, a.threads), cmp.Compare(a.task.TGID, b.task.TGID))
	})
	return out
}

func identity(r collectors.TaskRow) collectors.Process {
	if r.ProcInfo == nil {
		return collectors.Process{}
	}
	return r.Process
}

// sleeping is the table of processes that sleep.
func (p *Stalls) sleeping(f Frame) Table {
	t := Table{Title: "asleep", Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "%CPU", Title: "%CPU", Unit: "%", Width: 6, Decimals: 1, Rank: 2},
		{ID: "THREADS", Title: "THREADS", Unit: "tasks", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "WAITS", Title: "WAITS", Width: 30, Left: true},
	}}
	w := newest(f, waitsOf)
	if w == nil {
		why, remedy := whyNot(f, collectors.WaitsID, "waits")
		t.Notes = append(t.Notes, note("waits", why, remedy))
		return t
	}
	span := lastMinute(f)
	for _, s := range sleepersOf(f) {
		cpu := Missing("no scan of the tasks")
		if span > 0 {
			cpu = Number(100 * float64(s.run) / float64(span))
		}
		t.Rows = append(t.Rows, Row{ID: sleeperRow(s.task), Target: aboutProcess(s.task, s.comm), Cells: []Cell{
			Number(float64(s.task.TGID)), cpu, Number(float64(s.threads)), Name(collectors.Clean(s.comm)), Say(waitsText(s)),
		}})
	}
	if slices.ContainsFunc(w.Rows, func(r collectors.WaitRow) bool { return r.Class == collectors.WaitUnnamed }) {
		t.Notes = append(t.Notes, namesLater)
	}
	p.asleep.arrange(f, &t)
	return t
}

// lastMinute is how much of the last minute the scans of the tasks cover whose rows are kept.
func lastMinute(f Frame) (d time.Duration) {
	for k := len(f.Past) - 1; k >= 0 && k >= len(f.Past)-60; k-- {
		if s := f.Past[k].Snapshot; s != nil && s.Tasks != nil && !s.Thin() {
			d += s.Tasks.To - s.Tasks.From
		}
	}
	return d
}

func sleeperRow(p collectors.Process) string {
	return strconv.Itoa(int(p.TGID)) + " " + strconv.FormatUint(p.Start, 10)
}

// waitsText says what the threads of a process wait for: "futex 91 %  recv 6 %".
func waitsText(s sleeper) string {
	sums := make(map[string]int)
	var classes []string
	for _, r := range s.rows {
		if sums[r.Class] == 0 {
			classes = append(classes, r.Class)
		}
		sums[r.Class] += r.Threads
	}
	sortStably(classes, func(a, b string) int { return cmp.Compare(sums[b], sums[a]) })
	var b strings.Builder
	for i, c := range classes {
		if i > 0 {
			b.WriteString("  ")
		}
		if b.WriteString(c); len(classes) > 1 {
			fmt.Fprintf(&b, " %.0f %%", 100*float64(sums[c])/float64(s.threads))
		}
	}
	if len(s.rows) == 1 && s.rows[0].Function != "" {
		b.WriteString("  " + clean2(s.rows[0].Function))
	}
	return b.String()
}
