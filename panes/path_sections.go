// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"path"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// sections are the tables of a path. A directory has two more: its files, and who makes and deletes there.
func (p *pathPage) sections() []section {
	who := func(f Frame, _ collectors.Target, r Row) Answer { return openWho(f, r) }
	out := []section{
		{id: "who", title: "who", table: p.users, open: who, opens: "process", none: "nobody has opened or deleted it, or waited for it, while somebody looked"},
		{id: "results", title: "results", table: p.outcomes, open: p.openResult, opens: "process", none: "nobody has opened it while somebody looked"},
	}
	if p.directory {
		out = append(out,
			section{
				id: "files", title: "files", table: p.inside, opens: "path", none: "no file in it was opened while somebody looked",
				open: openPathOf,
			},
			section{id: "churn", title: "made and deleted", table: p.churn, open: who, opens: "process", none: "nothing is made or deleted in it"})
	}
	return append(out,
		section{id: "opens", title: "opens", table: p.opened, open: who, opens: "process", none: "no open of it is listed"},
		section{id: "lives", title: "short-lived", table: p.lived, open: who, opens: "process", none: "nothing that was made here while somebody looked has been deleted"},
		section{id: "slow", title: "slow calls", table: p.slowed, open: who, opens: "process", none: "no call on it took 10 ms"})
}

// lacking notes why there are no opens, where there is no sample of them.
func (p *pathPage) lacking(f Frame, t *Table) *pathSum {
	s := p.sum(f)
	if s.samples == 0 {
		why, remedy := whyNot(f, collectors.OpensID, "opensnoop")
		t.Notes = append(t.Notes, note("opensnoop", why, remedy))
	}
	return s
}

// openColumns are rates over the last seconds, and counts of all that is in sight.
func openColumns() []Column {
	return []Column{
		{ID: "OPENS/s", Title: "OPENS/s", Unit: "opens/s", Width: 8, Decimals: 1},
		{ID: "FAIL/s", Title: "FAIL/s", Unit: "opens/s", Width: 7, Decimals: 1},
		{ID: "opens", Title: "opens", Unit: "opens", Width: 7, Rank: 1},
		{ID: "failed", Title: "failed", Unit: "opens", Width: 7, Rank: 2},
	}
}

// users are the processes that have to do with the path, those that open it most first.
func (p *pathPage) users(f Frame, _ collectors.Target) Table {
	t := Table{Columns: append(openColumns(),
		Column{ID: "deleted", Title: "deleted", Unit: "files", Width: 7, Rank: 3},
		Column{ID: "slow", Title: "slow", Unit: "calls", Width: 5, Rank: 3},
		Column{ID: "PID", Title: "PID", Width: 7},
		Column{ID: "COMM", Title: "COMM", Width: 15, Left: true})}
	s := p.lacking(f, &t)
	names := processNames(f)
	for i := range s.who {
		u := &s.who[i]
		cells := []Cell{perSecond(u.n, s.Span), perSecond(u.failed, s.Span), Number(float64(u.total)), Number(float64(u.totalFailed))}
		t.Rows = append(t.Rows, Row{ID: whoRow(u.Process), Target: aboutProcess(u.Process, u.comm), Cells: append(cells,
			Number(float64(u.deleted)), Number(float64(u.slow)), Number(float64(u.TGID)), names(u.Process, u.comm))})
	}
	if s.total > s.listed {
		t.Notes = append(t.Notes, widget.Count(s.total-s.listed)+" failed opens of processes that are not listed")
	}
	p.guessed(&t, s)
	return t
}

// outcomes are the opens by what came of them.
func (p *pathPage) outcomes(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "ERR", Title: "ERR", Width: 8, Left: true},
		{ID: "OPENS/s", Title: "OPENS/s", Unit: "opens/s", Width: 8, Decimals: 1},
		{ID: "opens", Title: "opens", Unit: "opens", Width: 7},
		{ID: "PROCS", Title: "PROCS", Unit: "processes", Width: 5, Rank: 1},
		{ID: "PID", Title: "PID", Width: 7, Rank: 1},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "says", Title: "says", Width: 26, Left: true, Rank: 2},
	}}
	s := p.lacking(f, &t)
	names := processNames(f)
	for i := range s.results {
		x := &s.results[i]
		name, says := "ok", "a descriptor was returned"
		if x.errno != 0 {
			name, says = collectors.ErrnoName(x.errno), collectors.ErrnoText(x.errno)
		}
		t.Rows = append(t.Rows, Row{ID: name, Target: aboutProcess(x.most.Process, x.most.comm), Cells: []Cell{
			Say(name), perSecond(x.n, s.Span), Number(float64(x.total)), Number(float64(max(len(x.processes), 1))),
			Number(float64(x.most.TGID)), names(x.most.Process, x.most.comm), Say(says),
		}})
	}
	return t
}

// openResult opens the process that got a result most.
func (p *pathPage) openResult(f Frame, _ collectors.Target, r Row) Answer {
	return openProcess(f, r.Target.Process, collectors.RawString(r.Target.Name))
}

// inside are the files of a directory, those that are opened most first.
func (p *pathPage) inside(f Frame, _ collectors.Target) Table {
	t := Table{Columns: append(openColumns(), Column{ID: "PATH", Title: "PATH", Width: 26, Left: true})}
	s := p.lacking(f, &t)
	for i := range s.files {
		x := &s.files[i]
		t.Rows = append(t.Rows, Row{ID: clean(x.path), Cells: []Cell{
			perSecond(x.n, s.Span), perSecond(x.failed, s.Span), Number(float64(x.total)), Number(float64(x.totalFailed)), pathText(x.path, x.cut),
		}})
	}
	return t
}

// churn are the processes that make and delete files in a directory. The kernel's table has the last name
// of a directory alone.
func (p *pathPage) churn(f Frame, _ collectors.Target) Table {
	t := fileChurnTable(f)
	t.Facts = nil
	last := path.Base(p.path)
	t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool { return lastText(r) != last })
	if len(t.Rows) > 0 && last != p.path {
		t.Notes = append(t.Notes, "made and deleted files are counted by the last name of a directory: others of this name are among them")
	}
	return t
}

// opened are the single opens that are listed, newest first.
func (p *pathPage) opened(f Frame, _ collectors.Target) Table {
	t := openTable(f)
	t.Facts, t.Rows = nil, nil
	s := p.sum(f)
	for _, e := range slices.Backward(s.opens[max(0, len(s.opens)-mostEvents):]) {
		fd := Missing("it failed")
		if e.Ret >= 0 {
			fd = Number(float64(e.Ret))
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(e.Process, int64(e.At), e.TID), Target: aboutProcess(e.Process, e.Comm), Cells: []Cell{
			Say(clock(f, e.At)), Number(float64(e.Process.TGID)), Name(collectors.Clean(e.Comm)), fd, errnoOf(int64(e.Ret)), pathText(e.Path, e.Cut),
		}})
	}
	if !p.directory {
		t.without("PATH")
	}
	return t
}

// lived are files of this path that were made and deleted, newest first.
func (p *pathPage) lived(f Frame, _ collectors.Target) Table {
	t := fileLifeTable(f)
	t.Facts, t.Rows, t.Histograms = nil, nil, nil
	s := p.sum(f)
	for _, l := range slices.Backward(s.lives[max(0, len(s.lives)-mostEvents):]) {
		t.Rows = append(t.Rows, fileLifeRow(f, &l))
	}
	p.guessed(&t, s)
	return t
}

// slowed are calls on the path of 10 ms and more, newest first.
func (p *pathPage) slowed(f Frame, _ collectors.Target) Table {
	t := slowFileTable(f)
	t.Facts, t.Rows = nil, nil
	s := p.sum(f)
	for _, e := range slices.Backward(s.slow[max(0, len(s.slow)-mostEvents):]) {
		t.Rows = append(t.Rows, Row{ID: whoRow(e.Process, int64(e.At), e.TID), Target: aboutProcess(e.Process, e.Comm), Cells: slowFileCells(f, &e)})
	}
	p.guessed(&t, s)
	return t
}

// guessed notes that rows were found by a part of their path.
func (p *pathPage) guessed(t *Table, s *pathSum) {
	if s.endings && len(t.Rows) > 0 {
		t.Notes = append(t.Notes, "~ some are found by how their paths end: given relative to a directory, on their file system, or by their last names")
	}
}
