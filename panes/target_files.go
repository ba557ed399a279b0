// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// targetOpenTable is which files a target opens, and in vain: opensnoop of it alone, over the last
// seconds.
func targetOpenTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "opens", Title: "opens", Unit: "opens", Width: 7},
		{ID: "ERR", Title: "ERR", Width: 8, Left: true},
		{ID: "PID", Title: "PID", Width: 7, Rank: 1},
		{ID: "PATH", Title: "PATH", Width: 26, Left: true},
	}}
	w := windowed(f)
	list, span := narrowedOver(within(w, opensOf), target)
	if len(list) == 0 || newest(f, opensOf) == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.OpensID, "opensnoop", target))
		return t
	}
	var sum collectors.OpenCounts
	for _, x := range list {
		sum.N += x.Sample.N
		sum.Failed += x.Sample.Failed
	}
	t.Facts = []Fact{
		{ID: "opens", Title: "opens", Unit: "/s", Decimals: 1, Cell: perSecond(sum.N, span)},
		{ID: "failed", Title: "opens that failed", Unit: "/s", Decimals: 1, Cell: perSecond(sum.Failed, span)},
		{ID: "n", Title: "opens in the last seconds", Cell: Number(float64(sum.N))},
	}
	is := members(f, target)
	type key struct {
		by    collectors.Process
		path  collectors.Raw
		errno uint32
	}
	at := map[key]int{}
	var rows []collectors.PathRow
	shown := uint64(0)
	for _, s := range within(w, opensOf) {
		if one, _ := narrowedIn(s, target); one == nil {
			continue
		}
		for _, r := range s.Paths {
			if !is(r.Process) {
				continue
			}
			shown += r.N
			x := place(at, &rows, key{r.Process, r.Path, r.Errno}, collectors.PathRow{Process: r.Process, Path: r.Path, Cut: r.Cut, Errno: r.Errno})
			x.N += r.N
		}
	}
	sortStably(rows, func(a, b collectors.PathRow) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Path.Bytes(), b.Path.Bytes()))
	})
	for _, r := range rows {
		errno := Missing("it did not fail")
		if r.Errno != 0 {
			errno = Say(collectors.ErrnoName(r.Errno))
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(r.Process, r.Errno, strconv.Quote(r.Path.Bytes())), Cells: []Cell{
			Number(float64(r.N)), errno, Number(float64(r.Process.TGID)), pathText(r.Path, r.Cut),
		}})
	}
	if sum.N > shown {
		t.Notes = append(t.Notes, widget.Count(sum.N-shown)+" opens of paths that are not listed")
	}
	if target.Kind == collectors.ProcessTarget {
		t.without("PID")
	}
	return t
}

// targetSlowFileTable is a target's calls on files that took long: fileslower of it alone.
func targetSlowFileTable(f Frame, target collectors.Target) Table {
	t := slowFileTable(f)
	t.Facts = nil
	if len(t.Notes) > 0 && len(t.Rows) == 0 && f.behind() {
		t.Notes = []string{unrecorded(f, collectors.SlowFilesID, "fileslower", target)}
	}
	t.keepMembers(members(f, target))
	if target.Kind == collectors.ProcessTarget {
		t.without("PID", "COMM")
	}
	return t
}

// keepMembers keeps the rows of some processes, by their IDs as whoRow makes them.
func (t *Table) keepMembers(is func(collectors.Process) bool) {
	t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool {
		p, ok := rowProcess(r)
		return !ok || !is(p)
	})
}

// rowProcess is the process of a row's ID that whoRow made.
func rowProcess(r Row) (p collectors.Process, ok bool) {
	pid, rest, _ := strings.Cut(r.ID, " ")
	start, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(pid, 10, 32)
	at, err2 := strconv.ParseUint(start, 10, 64)
	return collectors.Process{TGID: int32(n), Start: at}, err == nil && err2 == nil
}
