// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// wordColumn and countColumn are columns of text and of numbers.
func wordColumn(id string, width, rank int) Column {
	return Column{ID: id, Title: id, Width: width, Rank: rank, Left: true}
}

func countColumn(id, unit string, width, decimals, rank int) Column {
	return Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Rank: rank}
}

// execFacts are what every table of execs, exits and forks has in its title. They are missing where the
// probe is.
func execFacts(f Frame, t *Table, probe string, facts func(s *execSum) []Fact) *execSum {
	s := sumExec(within(f, execOf))
	p, known := probeNamed(f, collectors.ExecID, probe)
	if s == nil || known && (p.State == collectors.Off || p.State == collectors.Failed) {
		why, remedy := whyNot(f, collectors.ExecID, probe)
		t.Notes = append(t.Notes, note(probe, why, remedy))
		return nil
	}
	if p.Reason != "" {
		t.Notes = append(t.Notes, note(probe, p.Reason, p.Remedy))
	}
	missedNote(f, t, collectors.ExecID, probe)
	t.Facts = append(t.Facts, facts(s)...)
	return s
}

func rateFact(s *execSum, id, title string, n uint64) Fact {
	return Fact{ID: id, Title: title, Unit: "/s", Cell: Number(s.perSecond(n)), Decimals: 1}
}

// leftOut notes what a list does not have.
func leftOut(t *Table, n uint64) {
	if n > 0 {
		t.Notes = append(t.Notes, widget.Count(n)+" more are counted and not listed")
	}
}

// execLine is a line of execs, at a time.
type execLine struct {
	at time.Duration
	Row
}

// execTable lists what was started, newest first; and what could not be, while calls of exec are looked at.
func execTable(f Frame) Table {
	t := Table{Title: "execs", Columns: []Column{
		wordColumn("TIME", 8, 4), countColumn("PID", "", 7, 0, 0), countColumn("PPID", "", 7, 0, 3),
		wordColumn("PARENT", 11, 1), wordColumn("USER", 8, 2), wordColumn("RET", 7, 5),
		wordColumn("PCOMM", 15, 6), countColumn("THREAD", "", 7, 0, 7), wordColumn("FILE", 24, 8), wordColumn("ARGS", 20, 0),
	}}
	s := execFacts(f, &t, "execsnoop", func(s *execSum) []Fact {
		return []Fact{
			rateFact(s, "execs", "programs started", s.Execs),
			rateFact(s, "forks", "processes made", s.Forks),
			rateFact(s, "threads", "threads made", s.Threads),
		}
	})
	if s == nil {
		return t
	}
	var lines []execLine
	for _, r := range eventsOf(f, execOf, func(x *collectors.Exec) []collectors.ExecRow { return x.Execs }) {
		lines = append(lines, execLine{r.At, execRow(f, &r)})
	}
	failed := ofHost(execFailsOf, func(x *collectors.ExecFails) bool { return x.Partial })
	ids := eventIDs{}
	for _, e := range eventsOf(f, failed, func(x *collectors.ExecFails) []collectors.PathEvent { return x.Events }) {
		r := failedExecRow(f, &e)
		r.ID = ids.of(r.ID)
		lines = append(lines, execLine{e.At, r})
	}
	sortStably(lines, func(a, b execLine) int { return cmp.Compare(b.at, a.at) })
	for _, l := range lines[:min(len(lines), mostEvents)] {
		t.Rows = append(t.Rows, l.Row)
	}
	var unlisted uint64
	for _, x := range within(f, execOf) {
		unlisted += x.ExecsUnlisted
	}
	leftOut(&t, unlisted)
	trimExecs(&t)
	return t
}

// trimExecs hides errors and threads where there are none, and gives a user that has no name the place for
// its number.
func trimExecs(t *Table) {
	const user, ret, thread = 4, 5, 7
	failed, threads := false, false
	for _, r := range t.Rows {
		failed = failed || r.Cells[ret].Format(0) != "0"
		threads = threads || r.Cells[thread].Known()
		name := r.Cells[user].Format(0)
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			t.Columns[user].Width = max(t.Columns[user].Width, len(name))
		}
	}
	t.Columns[ret].Hidden, t.Columns[thread].Hidden = !failed, !threads
}

// execRow is a line of execs.
func execRow(f Frame, r *collectors.ExecRow) Row {
	thread := Missing("")
	if r.Thread != 0 {
		thread = Number(float64(r.Thread))
	}
	return Row{ID: whoRow(r.Process, int64(r.At)), Target: aboutProcess(r.Process, r.Comm), Cells: []Cell{
		Say(clock(f, r.At)[:8]), Number(float64(r.Process.TGID)), Number(float64(r.Parent.TGID)),
		Name(collectors.Clean(r.ParentComm)), Say(userName(r.User, r.UID)), Say("0"),
		Name(collectors.Clean(r.Comm)), thread, Name(collectors.Clean(r.File)), Say(argsText(r)),
	}}
}

// failedMark is in the row ID of an exec that failed.
const failedMark = " failed"

// failedExecRow is a line of an exec that failed: PCOMM is who called it. Of that, parent and user are
// not asked for.
func failedExecRow(f Frame, e *collectors.PathEvent) Row {
	const why = "not read of a call that failed: Enter opens the process"
	args := collectors.RawString(strings.ReplaceAll(e.Args.Bytes(), "\x00", " "))
	if args.Bytes() == "" {
		args = collectors.RawString("[" + e.Path.Bytes() + "]")
	}
	return Row{ID: whoRow(e.Process, int64(e.At), failedMark), Target: aboutProcess(e.Process, e.Comm), Cells: []Cell{
		Say(clock(f, e.At)[:8]), Number(float64(e.Process.TGID)), Missing(why), Missing(why), Missing(why), Say(strconv.Itoa(int(e.Ret))),
		Name(collectors.Clean(e.Comm)), Missing(""), pathText(e.Path, e.Cut), Name(collectors.Clean(args)),
	}}
}

// userName is a user's name, or its number.
func userName(name collectors.Raw, uid uint32) string {
	if text := clean(name); text != "" {
		return text
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// argsText is the command line, with how much of it is missing; of an exec without arguments the file.
func argsText(r *collectors.ExecRow) string {
	text := clean(r.Args)
	if text == "" {
		text = "[" + clean(r.File) + "]"
	}
	if r.ArgsWhole > r.ArgsKept {
		text += fmt.Sprintf(" …+%s", widget.Bytes(uint64(r.ArgsWhole-r.ArgsKept)))
	}
	return text
}

// exitTable lists what ended, newest first.
func exitTable(f Frame) Table {
	t := Table{Title: "exits", Columns: []Column{
		wordColumn("TIME", 8, 3), countColumn("PID", "", 7, 0, 0), countColumn("PPID", "", 7, 0, 4),
		countColumn("AGE(s)", "s", 8, 3, 0), countColumn("CPU(ms)", "ms", 8, 1, 1), countColumn("SYS(ms)", "ms", 8, 1, 5),
		{ID: "RD", Title: "RD", Unit: "bytes", Width: 6, Rank: 6, Form: Bytes},
		{ID: "WR", Title: "WR", Unit: "bytes", Width: 6, Rank: 6, Form: Bytes},
		wordColumn("END", 9, 0), wordColumn("PARENT", 11, 2), wordColumn("PCOMM", 15, 0),
	}}
	s := execFacts(f, &t, "exitsnoop", func(s *execSum) []Fact {
		return []Fact{
			rateFact(s, "exits", "processes that ended", s.Exits),
			rateFact(s, "failed", "of those: with an exit code that is not 0", s.Failed),
			rateFact(s, "killed", "of those: by a signal", s.Killed),
			rateFact(s, "dumped", "of those: with a core dump", s.Dumped),
		}
	})
	if s == nil {
		return t
	}
	for _, r := range eventsOf(f, execOf, func(x *collectors.Exec) []collectors.ExitRow { return x.Exits }) {
		t.Rows = append(t.Rows, exitRow(f, &r))
	}
	var unlisted uint64
	for _, x := range within(f, execOf) {
		unlisted += x.ExitsUnlisted
	}
	leftOut(&t, unlisted)
	return t
}

func exitRow(f Frame, r *collectors.ExitRow) Row {
	const notWaited = "nobody has waited for it yet: the kernel adds it up then"
	cpu, sys, read, written := Number(ms(r.CPU)), Missing(notWaited), Missing(notWaited), Missing(notWaited)
	if r.Reaped {
		sys, read, written = Number(ms(r.Sys.Duration())), Number(float64(r.Read)), Number(float64(r.Write))
	} else {
		cpu.Badge = "~"
	}
	return Row{ID: whoRow(r.Process, int64(r.At)), Target: aboutProcess(r.Process, r.Comm), Cells: []Cell{
		Say(clock(f, r.At)[:8]), Number(float64(r.Process.TGID)), Number(float64(r.Parent.TGID)),
		Number(r.Age.Seconds()), cpu, sys, read, written, Say(endText(r)), Name(collectors.Clean(r.ParentComm)), Name(collectors.Clean(r.Comm)),
	}}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// endText is how a process ended: its exit code, or the signal.
func endText(r *collectors.ExitRow) string {
	switch {
	case r.Signal == 0:
		return strconv.Itoa(int(r.Code))
	case r.Core:
		return signalName(r.Signal) + " core"
	}
	return signalName(r.Signal)
}

// shortTable lists what lived and died between two scans of the processes, by command and origin.
func shortTable(f Frame) Table {
	t := Table{Title: "short-lived", Columns: []Column{
		countColumn("/s", "/s", 8, 1, 0), countColumn("%CPU", "%", 6, 1, 0), countColumn("AGE(ms)", "ms", 9, 1, 1),
		countColumn("CPU(ms)", "ms", 9, 1, 2), countColumn("fail/s", "/s", 7, 1, 3), countColumn("kill/s", "/s", 7, 1, 4),
		countColumn("ended/s", "/s", 8, 1, 5),
		wordColumn("PCOMM", 15, 0), wordColumn("FROM", 18, 0),
	}}
	s := execFacts(f, &t, "exitsnoop", func(s *execSum) []Fact {
		return []Fact{
			rateFact(s, "unseen", "processes that no scan of the tasks has seen", s.Unseen),
			{ID: "%CPU", Title: "their CPU time, of one CPU", Unit: "%", Cell: Number(s.percent(s.UnseenCPU)), Decimals: 1},
			{ID: "mean-age", Title: "their mean age", Unit: "ms", Cell: meanMs(s.UnseenAge, s.Unseen), Decimals: 1},
		}
	})
	if s == nil {
		return t
	}
	sum := rowsOfExec(f, s)
	rest := sum.UnseenCPU
	restN := sum.Unseen
	for i := range sum.short {
		r := &sum.short[i]
		rest -= r.UnseenCPU
		restN -= min(r.Unseen, restN)
		if r.Unseen == 0 && r.UnseenCPU == 0 {
			continue
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(r.Parent, clean(r.Comm)), Target: aboutProcess(r.Parent, r.ParentComm), Cells: []Cell{
			Number(sum.perSecond(r.Unseen)), Number(sum.percent(r.UnseenCPU)), meanMs(r.UnseenAge, r.Unseen), meanMs(r.UnseenCPU, r.Unseen),
			Number(sum.perSecond(r.Failed)), Number(sum.perSecond(r.Killed)), Number(sum.perSecond(r.Exits)),
			Name(collectors.Clean(r.Comm)), Say(from(r.ParentComm, r.Parent)),
		}})
	}
	rowsNote(f, &t)
	if restN > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s more with %.1f %% of a CPU are counted and not listed", widget.Count(restN), sum.percent(max(rest, 0))))
	}
	if f.Span == 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("rows: the mean of %.0f s; title: of the last sample", sum.Seconds()))
	}
	return t
}

// meanMs is a mean in milliseconds.
func meanMs(sum time.Duration, n uint64) Cell {
	if n == 0 {
		return Missing("none ended")
	}
	return Number(ms(sum) / float64(n))
}

// programTable lists what was started, by file and who started it, most often first.
func programTable(f Frame) Table {
	t := Table{Title: "programs", Columns: []Column{
		countColumn("execs/s", "/s", 8, 1, 0), countColumn("execs", "", 7, 0, 1), wordColumn("PARENT", 15, 0), wordColumn("FILE", 30, 0),
	}}
	s := execFacts(f, &t, "execsnoop", func(s *execSum) []Fact { return []Fact{rateFact(s, "execs", "programs started", s.Execs)} })
	if s == nil {
		return t
	}
	sum := rowsOfExec(f, s)
	for i := range sum.files {
		r := &sum.files[i]
		t.Rows = append(t.Rows, Row{ID: clean(r.ParentComm) + " " + clean(r.File), Cells: []Cell{
			Number(sum.perSecond(r.Execs)), Number(float64(r.Execs)), Name(collectors.Clean(r.ParentComm)), Name(collectors.Clean(r.File)),
		}})
	}
	countNotes(f, &t, sum, 1)
	return t
}

// rowsOfExec is what the rows of a table are of; all there is without any.
func rowsOfExec(f Frame, all *execSum) *execSum {
	if s := sumExec(recently(f, execOf, shortSpan)); s != nil {
		return s
	}
	return all
}

// countNotes say what tables of counts leave out.
func countNotes(f Frame, t *Table, s *execSum, of int) {
	rowsNote(f, t)
	if n := s.more[of]; n > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more rows are counted and not listed", n))
	}
	if s.Unkeyed > 0 {
		t.Notes = append(t.Notes, widget.Count(s.Unkeyed)+" counts had no room in a table: the title has them")
	}
	if f.Span == 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("rows: the mean of %.0f s; title: of the last sample", s.Seconds()))
	}
}

// forkTable lists who makes processes and threads, most first.
func forkTable(f Frame) Table {
	t := Table{Title: "forks", Columns: []Column{
		countColumn("forks/s", "/s", 8, 1, 0), countColumn("threads/s", "/s", 9, 1, 0), countColumn("PID", "", 7, 0, 1), wordColumn("PCOMM", 20, 0),
	}}
	s := execFacts(f, &t, "forksnoop", func(s *execSum) []Fact {
		return []Fact{rateFact(s, "forks", "processes made", s.Forks), rateFact(s, "threads", "threads made", s.Threads)}
	})
	if s == nil {
		return t
	}
	sum := rowsOfExec(f, s)
	for i := range sum.forkers {
		r := &sum.forkers[i]
		t.Rows = append(t.Rows, Row{ID: whoRow(r.Process, clean(r.Comm)), Target: aboutProcess(r.Process, r.Comm), Cells: []Cell{
			Number(sum.perSecond(r.Forks)), Number(sum.perSecond(r.Threads)), Number(float64(r.Process.TGID)), Name(collectors.Clean(r.Comm)),
		}})
	}
	countNotes(f, &t, sum, 2)
	return t
}

// signalTable lists who signals whom, newest first.
func signalTable(f Frame) Table {
	t := Table{Title: "signals", Columns: []Column{
		wordColumn("TIME", 8, 2), wordColumn("SIG", 6, 0), wordColumn("FROM", 19, 0), wordColumn("TO", 19, 0),
		wordColumn("EFFECT", 10, 1), wordColumn("WHY", 10, 3), countColumn("UID", "", 10, 0, 5), countColumn("THREAD", "", 7, 0, 5),
	}}
	samples := within(f, signalsOf)
	if len(samples) == 0 {
		why, remedy := whyNot(f, collectors.SignalsID, "killsnoop")
		t.Notes = append(t.Notes, note("killsnoop", why, remedy))
		return t
	}
	var span collectors.Span
	var c collectors.SignalCounts
	var unlisted uint64
	by := make(map[uint8]uint64)
	for _, x := range samples {
		span = join(span, x.Span)
		c.Signals += x.Signals
		c.Fatal += x.Fatal
		unlisted += x.Unlisted
		for _, n := range x.Counts {
			by[n.Number] += n.Sent + n.Ignored + n.Lost
		}
	}
	t.Facts = []Fact{
		{ID: "signals", Title: "signals of all kinds", Unit: "/s", Cell: perSecond(c.Signals, span), Decimals: 1},
		{ID: "fatal", Title: "of those: that may end or stop a process", Unit: "/s", Cell: perSecond(c.Fatal, span), Decimals: 1},
	}
	for _, r := range eventsOf(f, signalsOf, func(x *collectors.Signals) []collectors.SignalRow { return x.Rows }) {
		t.Rows = append(t.Rows, signalRow(f, &r))
	}
	leftOut(&t, unlisted)
	missedNote(f, &t, collectors.SignalsID, "killsnoop")
	if text := bySignal(by, span); text != "" {
		t.Notes = append(t.Notes, "all kinds: "+text)
		if len(t.Rows) == 0 {
			t.Notes = append([]string{"none that may end or stop a process: those are listed, the others only counted"}, t.Notes...)
		}
	}
	return t
}

func signalRow(f Frame, r *collectors.SignalRow) Row {
	sender, user, thread := "kernel", Missing(""), Missing("")
	if r.Sender.TGID != 0 {
		sender, user = from(r.SenderComm, r.Sender), Number(float64(r.UID))
	}
	if r.Thread != 0 {
		thread = Number(float64(r.Thread))
	}
	return Row{ID: whoRow(r.Target, int64(r.At), r.Number), Target: aboutProcess(r.Target, r.TargetComm), Cells: []Cell{
		Say(clock(f, r.At)[:8]), Say(signalName(r.Number)), Say(sender), Say(from(r.TargetComm, r.Target)),
		Say(effect(r)), Say(signalCause(r)), user, thread,
	}}
}

// bySignal lists how many signals of each number there were, most first.
func bySignal(by map[uint8]uint64, span collectors.Span) string {
	type count struct {
		number uint8
		n      uint64
	}
	var list []count
	for number, n := range by {
		list = append(list, count{number, n})
	}
	if span.Seconds() <= 0 {
		return ""
	}
	orderBy(list, func(a, b count) bool { return a.n > b.n || a.n == b.n && a.number < b.number })
	var parts []string
	for _, x := range list {
		parts = append(parts, fmt.Sprintf("%s %s/s", signalName(x.number), widget.Short(float64(x.n)/span.Seconds())))
	}
	return strings.Join(parts, ", ")
}
