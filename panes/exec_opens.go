// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func opensOf(s *collectors.Snapshot) *collectors.Opens         { return s.Opens }
func execFailsOf(s *collectors.Snapshot) *collectors.ExecFails { return s.ExecFails }
func slowFilesOf(s *collectors.Snapshot) *collectors.SlowFiles { return s.SlowFiles }

// openSections are the tables of opens, failed execs and slow calls on files.
func openSections() []execSection {
	opens := []collectors.Want{{ID: collectors.OpensID}}
	return []execSection{
		{id: "opens", title: "opens", wants: opens, table: openTable, open: openWho},
		{id: "openers", title: "opens by directory", wants: opens, table: openerTable, open: openWho},
		{id: "openfails", title: "failed opens", wants: opens, table: openFailTable, open: openWho},
		{id: "execfails", title: "failed execs", wants: []collectors.Want{{ID: collectors.ExecFailsID}}, table: execFailTable, open: openWho},
		{id: "slowfiles", title: "slow files", wants: []collectors.Want{{ID: collectors.SlowFilesID}}, table: slowFileTable, open: openWho},
	}
}

// errnoOf names the errno of a return value below 0.
func errnoOf(ret int64) Cell {
	if ret >= 0 {
		return Say("")
	}
	return Say(collectors.ErrnoName(uint32(-ret)))
}

// pathText is a path as it was given; … stands for what was cut off.
func pathText(path collectors.Raw, cut bool) Cell {
	c := Name(collectors.Clean(path))
	if path.Bytes() == "" {
		return Missing("the path could not be read any more")
	}
	if cut {
		c.Badge = "…"
	}
	return c
}

// unlistedNotes say what is counted and not in a list of events.
func unlistedNotes(t *Table, unlisted, lost uint64) {
	if unlisted > 0 {
		t.Notes = append(t.Notes, widget.Count(unlisted)+" more are counted and not listed")
	}
	if lost > 0 {
		t.Notes = append(t.Notes, widget.Count(lost)+" of them were lost: the ring of events was full")
	}
}

// openFacts are what stands in the title of the tables of opens; nil without a sample. They
// return the samples that have their rows.
func openFacts(f Frame, t *Table) []*collectors.Opens {
	get := ofHost(opensOf, func(s *collectors.Opens) bool { return s.Partial })
	list := within(f, get)
	if len(list) == 0 {
		why, remedy := whyNot(f, collectors.OpensID, "opensnoop")
		t.Notes = append(t.Notes, note("opensnoop", why, remedy))
		return nil
	}
	missedNote(f, t, collectors.OpensID, "opensnoop")
	var span collectors.Span
	var n, failed uint64
	for _, s := range list {
		span = join(span, s.Span)
		n, failed = n+s.N, failed+s.Failed
	}
	t.Facts = append(t.Facts,
		Fact{ID: "opens", Title: "files opened", Unit: "/s", Cell: perSecond(n, span), Decimals: 1},
		Fact{ID: "failed", Title: "opens that failed", Unit: "/s", Cell: perSecond(failed, span), Decimals: 1})
	rowsNote(f, t)
	if kept := within(f.rowed(), get); len(kept) > 0 {
		return kept
	}
	return list
}

// openTable lists opens, newest first: opensnoop.
func openTable(f Frame) Table {
	t := Table{Title: "opens", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 12, Left: true, Rank: 2},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "FD", Title: "FD", Width: 4, Rank: 1},
		{ID: "ERR", Title: "ERR", Width: 8, Left: true},
		{ID: "PATH", Title: "PATH", Width: 26, Left: true},
	}}
	list := openFacts(f, &t)
	if list == nil {
		return t
	}
	ids := eventIDs{}
	for _, e := range eventsOf(f, opensOf, func(s *collectors.Opens) []collectors.PathEvent { return s.Events }) {
		fd := Missing("it failed")
		if e.Ret >= 0 {
			fd = Number(float64(e.Ret))
		}
		t.Rows = append(t.Rows, Row{ID: ids.of(whoRow(e.Process, int64(e.At))), Target: aboutProcess(e.Process, e.Comm), Cells: []Cell{
			Say(clock(f, e.At)), Number(float64(e.Process.TGID)), Name(collectors.Clean(e.Comm)), fd, errnoOf(int64(e.Ret)), pathText(e.Path, e.Cut),
		}})
	}
	var unlisted, lost uint64
	for _, s := range list {
		unlisted, lost = unlisted+s.Unlisted, lost+s.Lost
	}
	unlistedNotes(&t, unlisted, lost)
	return t
}

// opener is a process in a directory.
type opener struct {
	by        collectors.Process
	directory string
}

// openerTable counts opens by process and directory. What has no row of a path in the kernel is in the
// row of its process without a directory, so that the rows of a process add up.
func openerTable(f Frame) Table {
	t := Table{Title: "opens by directory", Columns: []Column{
		{ID: "OPENS/s", Title: "OPENS/s", Unit: "opens/s", Width: 8, Decimals: 1},
		{ID: "FAIL/s", Title: "FAIL/s", Unit: "opens/s", Width: 8, Decimals: 1},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "DIRECTORY", Title: "DIRECTORY", Width: 26, Left: true},
	}}
	list := openFacts(f, &t)
	if list == nil {
		return t
	}
	type sum struct {
		opener
		comm      collectors.Raw
		n, failed uint64
	}
	at := map[opener]*sum{}
	var rows []*sum
	add := func(k opener, comm collectors.Raw) *sum {
		x := at[k]
		if x == nil {
			x = &sum{opener: k, comm: comm}
			at[k] = x
			rows = append(rows, x)
		}
		return x
	}
	var span collectors.Span
	left := uint64(0)
	for _, s := range list {
		span = join(span, s.Span)
		n, failed := map[collectors.Process]uint64{}, map[collectors.Process]uint64{}
		for _, r := range s.Paths {
			x := add(opener{r.Process, directoryOf(r.Path.Bytes())}, r.Comm)
			x.n += r.N
			n[r.Process] += r.N
			if r.Errno != 0 {
				x.failed += r.N
				failed[r.Process] += r.N
			}
		}
		own := s.N
		for _, r := range s.Processes {
			own -= min(own, r.N)
			if r.N > n[r.Process] {
				x := add(opener{r.Process, ""}, r.Comm)
				x.n += r.N - n[r.Process]
				x.failed += r.Failed - min(r.Failed, failed[r.Process])
			}
		}
		left += own
	}
	sortStably(rows, func(a, b *sum) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.by.TGID, b.by.TGID), strings.Compare(a.directory, b.directory))
	})
	names := processNames(f)
	for _, x := range rows {
		directory := Name(collectors.Clean(collectors.RawString(x.directory)))
		if x.directory == "" {
			directory = Missing("the kernel's table of paths was full")
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(x.by, strconv.Quote(x.directory)), Target: aboutProcess(x.by, x.comm), Cells: []Cell{
			perSecond(x.n, span), perSecond(x.failed, span), Number(float64(x.by.TGID)), names(x.by, x.comm), directory,
		}})
	}
	if left > 0 {
		t.Notes = append(t.Notes, widget.Count(left)+" opens of processes that are not listed")
	}
	return t
}

// directoryOf is a path up to its last name: "." for a name alone.
func directoryOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return path[:i]
}

// failure is a path that could not be opened, over several samples.
type failure struct {
	comm, path collectors.Raw
	errno      uint32
}

// openFailTable counts the opens that failed, by command, path and errno.
func openFailTable(f Frame) Table {
	t := Table{Title: "failed opens", Columns: []Column{
		{ID: "FAIL/s", Title: "FAIL/s", Unit: "opens/s", Width: 8, Decimals: 1},
		{ID: "ERR", Title: "ERR", Width: 8, Left: true},
		{ID: "PROCS", Title: "PROCS", Unit: "processes", Width: 5},
		{ID: "PID", Title: "PID", Width: 7, Rank: 1},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "PATH", Title: "PATH", Width: 26, Left: true},
	}}
	list := openFacts(f, &t)
	if list == nil {
		return t
	}
	var span collectors.Span
	var errnos []collectors.ErrnoCount
	var failed, shown uint64
	at := map[failure]*collectors.PathFailure{}
	var rows []*collectors.PathFailure
	for _, s := range list {
		span = join(span, s.Span)
		errnos = append(errnos, s.Errnos...)
		failed += s.Failed
		for _, r := range s.Failures {
			shown += r.N
			k := failure{r.Comm, r.Path, r.Errno}
			if x := at[k]; x != nil {
				x.N += r.N
				x.Processes = max(x.Processes, r.Processes) // the most in any one sample
				continue
			}
			at[k] = &r
			rows = append(rows, &r)
		}
	}
	sortStably(rows, func(a, b *collectors.PathFailure) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Path.Bytes(), b.Path.Bytes()))
	})
	for _, r := range rows {
		t.Rows = append(t.Rows, Row{ID: whoRow(r.Process, r.Errno, strconv.Quote(r.Comm.Bytes()), strconv.Quote(r.Path.Bytes())), Target: aboutProcess(r.Process, r.Comm), Cells: []Cell{
			perSecond(r.N, span), Say(collectors.ErrnoName(r.Errno)), Number(float64(r.Processes)), Number(float64(r.Process.TGID)),
			Name(collectors.Clean(r.Comm)), pathText(r.Path, r.Cut),
		}})
	}
	errnoFacts(&t, errnos, span)
	if failed > shown {
		t.Notes = append(t.Notes, widget.Count(failed-shown)+" failed opens of paths that are not listed")
	}
	return t
}

// errnoFacts adds the errors by errno, the three most frequent first.
func errnoFacts(t *Table, list []collectors.ErrnoCount, span collectors.Span) {
	by := map[uint32]uint64{}
	var errnos []uint32
	for _, e := range list {
		if by[e.Errno] == 0 {
			errnos = append(errnos, e.Errno)
		}
		by[e.Errno] += e.N
	}
	sortStably(errnos, func(a, b uint32) int { return cmp.Compare(by[b], by[a]) })
	for _, e := range errnos[:min(len(errnos), 3)] {
		name := collectors.ErrnoName(e)
		t.Facts = append(t.Facts, Fact{ID: name, Title: name, Unit: "/s", Cell: perSecond(by[e], span), Decimals: 1})
	}
}

// execFailTable lists exec calls that failed, newest first: what execsnoop -x shows.
func execFailTable(f Frame) Table {
	t := Table{Title: "failed execs", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 12, Left: true, Rank: 2},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true, Rank: 1},
		{ID: "ERR", Title: "ERR", Width: 8, Left: true},
		{ID: "PROGRAM", Title: "PROGRAM", Width: 22, Left: true},
		{ID: "ARGS", Title: "ARGS", Width: 10, Left: true},
	}}
	list := within(f, ofHost(execFailsOf, func(s *collectors.ExecFails) bool { return s.Partial }))
	if len(list) == 0 {
		why, remedy := whyNot(f, collectors.ExecFailsID, "execfail")
		t.Notes = append(t.Notes, note("execfail", why, remedy))
		return t
	}
	var span collectors.Span
	var errnos []collectors.ErrnoCount
	var failed, unlisted, lost uint64
	for _, s := range list {
		span = join(span, s.Span)
		errnos = append(errnos, s.Errnos...)
		failed, unlisted, lost = failed+s.Failed, unlisted+s.Unlisted, lost+s.Lost
	}
	missedNote(f, &t, collectors.ExecFailsID, "execfail")
	t.Facts = append(t.Facts, Fact{ID: "failed", Title: "exec calls that failed", Unit: "/s", Cell: perSecond(failed, span), Decimals: 1})
	errnoFacts(&t, errnos, span)
	ids := eventIDs{}
	for _, e := range eventsOf(f, execFailsOf, func(s *collectors.ExecFails) []collectors.PathEvent { return s.Events }) {
		t.Rows = append(t.Rows, Row{ID: ids.of(whoRow(e.Process, int64(e.At))), Target: aboutProcess(e.Process, e.Comm), Cells: []Cell{
			Say(clock(f, e.At)), Number(float64(e.Process.TGID)), Name(collectors.Clean(e.Comm)), errnoOf(int64(e.Ret)), pathText(e.Path, e.Cut),
			Name(collectors.Clean(collectors.RawString(strings.ReplaceAll(e.Args.Bytes(), "\x00", " ")))),
		}})
	}
	unlistedNotes(&t, unlisted, lost)
	return t
}

// slowFileTable lists calls on files that took 10 ms and more, newest first: fileslower.
func slowFileTable(f Frame) Table {
	t := Table{Title: "slow files", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 12, Left: true, Rank: 4},
		{ID: "MS", Title: "MS", Unit: "ms", Width: 7, Decimals: 1},
		{ID: "CALL", Title: "CALL", Width: 9, Left: true},
		{ID: "BYTES", Title: "BYTES", Unit: "bytes", Width: 6, Form: Bytes, Rank: 2},
		{ID: "OFFSET", Title: "OFFSET", Unit: "bytes", Width: 7, Form: Bytes, Rank: 5},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 12, Left: true},
		{ID: "ERR", Title: "ERR", Width: 8, Left: true, Rank: 6},
		{ID: "FS", Title: "FS", Width: 6, Left: true, Rank: 3},
		{ID: "DEVICE", Title: "DEVICE", Width: 8, Left: true, Rank: 7},
		{ID: "FILE", Title: "FILE", Width: 20, Left: true},
	}}
	list := within(f, ofHost(slowFilesOf, func(s *collectors.SlowFiles) bool { return s.Partial }))
	if len(list) == 0 {
		why, remedy := whyNot(f, collectors.SlowFilesID, "fileslower")
		t.Notes = append(t.Notes, note("fileslower", why, remedy))
		return t
	}
	var span collectors.Span
	var n, unlisted, lost uint64
	for _, s := range list {
		span = join(span, s.Span)
		n, unlisted, lost = n+s.N, unlisted+s.Unlisted, lost+s.Lost
	}
	missedNote(f, &t, collectors.SlowFilesID, "fileslower")
	t.Facts = append(t.Facts, Fact{ID: "slow", Title: "calls on files of 10 ms and more", Unit: "/s", Cell: perSecond(n, span), Decimals: 1})
	ids := eventIDs{}
	for _, e := range eventsOf(f, slowFilesOf, func(s *collectors.SlowFiles) []collectors.SlowFile { return s.Events }) {
		t.Rows = append(t.Rows, Row{ID: ids.of(whoRow(e.Process, int64(e.At))), Target: aboutProcess(e.Process, e.Comm), Cells: slowFileCells(f, &e)})
	}
	unlistedNotes(&t, unlisted, lost)
	return t
}

func slowFileCells(f Frame, e *collectors.SlowFile) []Cell {
	size, offset := Missing("the call names no size"), Missing("the call has no offset")
	switch {
	case e.Asked > 0 && e.Ret >= 0:
		size = Number(float64(e.Ret)) // what came of it
	case e.Asked > 0:
		size = Missing("it failed")
	}
	if e.Offset >= 0 {
		offset = Number(float64(e.Offset))
	}
	var device Cell
	fs := Say(e.FS)
	if e.Given {
		why := "the call names a path: the file behind it is not looked up"
		fs, device = Missing(why), Missing(why)
	} else {
		device = deviceName(f, e.Dev)
	}
	return []Cell{
		Say(clock(f, e.At)), Number(float64(e.Took) / 1e6), Say(e.Call), size, offset, Number(float64(e.Process.TGID)),
		Name(collectors.Clean(e.Comm)), errnoOf(e.Ret), fs, device, pathText(e.Path, false),
	}
}
