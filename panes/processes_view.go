// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// View implements Pane.
func (p *Processes) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	listed := *p
	listed.kernel = p.kernel || c.against != nil // a kernel thread that rested is not new
	t := listed.table(f, c.near(shown))
	lines := []string{p.title(c, t)}
	if c.Height >= smallHeight {
		lines = append(lines, shortLine(f, c)...)
	}
	widen(&t, c.Width)
	switch {
	case len(t.Rows) > 0:
		lines = append(lines, p.list().draw(c, t, c.Height-len(lines), p.spark(f))...)
	case p.threads && newest(f, tasksOf) != nil:
		text := "waiting for threads …"
		if len(t.Notes) > 0 {
			text = t.Notes[0]
		}
		lines = append(lines, wrap(c, "", text)...)
	default:
		lines = append(lines, missingPart(f, c, collectors.TasksID, "pidstat", "processes")...)
	}
	return fit(lines, c.Height)
}

// widen gives the command line room on a wide screen, before the columns that few look for, and a
// user that has no name the place for its number.
func widen(t *Table, width int) {
	if last := len(t.Columns) - 1; width >= 100 {
		t.Columns[last].Width = max(t.Columns[last].Width, width/5)
	}
	at := slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == "USER" })
	for _, r := range t.Rows {
		if at < 0 || at >= len(r.Cells) {
			continue
		}
		name := r.Cells[at].Format(0)
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			t.Columns[at].Width = max(t.Columns[at].Width, len(name))
		}
	}
}

// title heads the table with top's counts.
func (p *Processes) title(c Canvas, t Table) string {
	parts := []string{t.Title}
	facts := make(map[string]Cell, len(t.Facts))
	for _, x := range t.Facts {
		facts[x.ID] = x.Cell
	}
	say := func(format, id string) {
		if v, ok := facts[id].Num(); ok {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	say("%.0f", "processes")
	say("%.0f threads", "threads")
	say("R %.0f", "R")
	say("D %.0f", "D")
	if v, ok := facts["Z"].Num(); ok && v > 0 {
		say("zombies %.0f", "Z")
	}
	say("gone %.0f %%~", "gone")
	return widget.Title(c.Theme, c.Width, parts...)
}

// shortLine says what the processes used that no row can have, because they lived and died between two
// scans. Nothing if that is next to nothing.
func shortLine(f Frame, c Canvas) []string {
	s := sumExec(within(f.rowed(), execOf))
	if s == nil || s.Unseen == 0 || s.percent(s.UnseenCPU) < leastShort {
		return nil
	}
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "short-lived ").
		Plain(fmt.Sprintf("%.1f %% in %s/s", s.percent(s.UnseenCPU), widget.Short(s.perSecond(s.Unseen))))
	joint := ": "
	for i := range s.short {
		r := &s.short[i]
		text := fmt.Sprintf("%s%s from %s %.1f %%", joint, widget.Clip(clean(r.Comm), 15), widget.Clip(from(r.ParentComm, r.Parent), 24), s.percent(r.UnseenCPU))
		if r.UnseenCPU == 0 || widget.Width(text) > l.Left() {
			break
		}
		l.Plain(text)
		joint = ", "
	}
	return []string{l.String()}
}

// leastShort is how much of a CPU the short-lived must use to be named, in percent.
const leastShort = 0.5

// spark draws %CPU of each row over time, on screens that have room left.
func (p *Processes) spark(f Frame) listOptions {
	if p.threads {
		return listOptions{}
	}
	var history map[string][]float64
	return listOptions{SparkTitle: "%CPU over time", SparkMax: 100, Spark: func(row string) []float64 {
		if history == nil {
			history = cpuHistory(f)
		}
		return history[row]
	}}
}

// cpuHistory is %CPU of every process over the last moments, by row, oldest first.
func cpuHistory(f Frame) map[string][]float64 {
	var samples []*collectors.Tasks
	var blank []float64 // no numbers where the rows were given up
	for i := len(f.Past) - 1; i >= 0 && len(samples) < mostSpark; i-- {
		if s := f.Past[i].Snapshot; s != nil && s.Tasks != nil && s.Tasks.Seconds() > 0 {
			samples, blank = append(samples, s.Tasks), append(blank, 0)
			if s.Thin() {
				blank[len(blank)-1] = math.NaN()
			}
		}
	}
	slices.Reverse(blank)
	n := len(samples)
	out := make(map[string][]float64)
	for back, t := range samples {
		for i := range t.Rows {
			r := &t.Rows[i]
			if r.ProcInfo == nil || r.Run == 0 {
				continue
			}
			id := strconv.Itoa(int(r.PID))
			if out[id] == nil {
				out[id] = slices.Clone(blank)
			}
			out[id][n-1-back] = 100 * r.Run.Seconds() / t.Seconds()
		}
	}
	return out
}

// threadColumns are the columns of threads, as pidstat -t has them.
func threadColumns() []Column {
	number := func(id, unit string, width, decimals, rank int) Column {
		return Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Rank: rank}
	}
	return []Column{
		number("TGID", "", 7, 0, 4), number("TID", "", 7, 0, 0),
		number("%usr", "%", 5, 1, 3), number("%sys", "%", 5, 1, 3), number("%wait", "%", 5, 1, 1), number("%CPU", "%", 5, 1, 0),
		number("cswch/s", "/s", 7, 1, 5), number("nvcswch/s", "/s", 9, 1, 6),
		{ID: "S", Title: "S", Width: 1, Rank: 1, Left: true},
		number("minflt/s", "/s", 8, 1, 8), number("majflt/s", "/s", 8, 1, 8),
		number("kB_rd/s", "KiB/s", 7, 1, 7), number("kB_wr/s", "KiB/s", 7, 1, 7), number("PR", "", 4, 0, 9),
		{ID: "USER", Title: "USER", Width: 8, Rank: 9, Left: true},
		{ID: "thread", Title: "thread", Width: 15, Rank: 2, Left: true},
		{ID: "COMMAND", Title: "COMMAND", Width: 10, Left: true},
	}
}

// threadID is the row ID of a thread.
func threadID(r *collectors.ThreadRow) string {
	return strconv.Itoa(int(r.TGID)) + "/" + strconv.Itoa(int(r.TID))
}

func threadRow(r *collectors.ThreadRow, s collectors.Span) Row {
	n := func(v float64) Cell { return Number(v) }
	run := r.Run
	sys := min(r.Sys.Duration(), run)
	io := func(b uint64) Cell { return rate(b, s).inKiB() }
	return Row{
		ID:     threadID(r),
		Target: targetOf(r.ProcInfo),
		Cells: []Cell{
			n(float64(r.TGID)), n(float64(r.TID)),
			percent(run-sys, s), percent(sys, s), percent(r.Wait, s), percent(run, s),
			rate(uint64(r.Voluntary), s), rate(uint64(r.Involuntary), s), Say(string(rune(r.State))),
			rate(uint64(r.MinFlt), s), rate(uint64(r.MajFlt), s), io(r.Read), io(r.Write), n(float64(r.Prio)),
			Say(userOf(r.ProcInfo)), Name(collectors.Clean(r.Comm)), Say(commandOf(r.ProcInfo)),
		},
	}
}

// threadTable lists the busiest threads of the last sample: of a longer span nobody kept them.
func (p *Processes) threadTable(f Frame) Table {
	t := Table{Title: "threads", Columns: threadColumns()}
	last := newest(f, tasksOf)
	if last == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("pidstat", why, remedy))
		return t
	}
	if set := processesOver(f); set != nil {
		t.Facts = processFacts(f, set)
	}
	for i := range last.Busy {
		t.Rows = append(t.Rows, threadRow(&last.Busy[i], last.Span))
	}
	p.byThread.arrange(f, &t)
	switch {
	case last.Source != "iter/task":
		_, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("threads", "/proc is read by processes here: needs the task iterator", remedy))
	case last.BusyUnlisted > 0:
		t.Notes = append(t.Notes, fmt.Sprintf("%d more threads did something", last.BusyUnlisted))
	}
	return t
}
