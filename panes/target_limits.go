// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/collectors"
)

func limitsOf(s *collectors.Snapshot) *collectors.Limits { return s.Limits }

// targetLimitTable is the resource limits of a process and what it uses of them: prlimit.
func targetLimitTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "limit", Title: "limit", Width: 10, Left: true},
		{ID: "used", Title: "used", Width: 9},
		{ID: "soft", Title: "soft", Width: 9},
		{ID: "hard", Title: "hard", Width: 9, Rank: 1},
		{ID: "%", Title: "%soft", Unit: "%", Width: 5, Decimals: 1},
		{ID: "unit", Title: "unit", Width: 8, Left: true},
	}}
	s := newest(f, limitsOf)
	one, _ := narrowedIn(s, target)
	if one == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.LimitsID, "prlimit", target))
		return t
	}
	if why := one.Sample.Why; why != "" {
		t.Notes = append(t.Notes, why)
		return t
	}
	if one.Sample.FilesKnown {
		t.Facts = append(t.Facts, Fact{ID: "files", Title: "open files", Cell: Number(float64(one.Sample.Files))})
	}
	for i := range one.Sample.Rows {
		r := one.Sample.Rows[i]
		derivedUse(f, target.Process, &r)
		t.Rows = append(t.Rows, limitRow(&r))
	}
	sortStably(t.Rows, func(a, b Row) int { // what is nearest to its limit first
		return a.Cells[limitShare].compare(b.Cells[limitShare], false)
	})
	return t
}

// limitShare is the column of how much of a limit is used.
const limitShare = 4

// derivedUse fills in what the scan of all tasks tells: a process's time, and its user's threads.
func derivedUse(f Frame, id collectors.Process, r *collectors.ResourceLimit) {
	if r.Name != "cpu" && r.Name != "nproc" {
		return
	}
	set := processesOver(f)
	if set == nil {
		return
	}
	i := set.find(id)
	if i < 0 || set.list[i].ProcInfo == nil {
		return
	}
	x := &set.list[i]
	if r.Name == "cpu" {
		r.Used, r.Known = uint64(x.time.Seconds()), x.timed
		return
	}
	if !set.all || set.last.Source != "iter/task" {
		return
	}
	for k := range set.list {
		if y := &set.list[k]; y.ProcInfo != nil && y.UID == x.UID && !y.ended {
			r.Used += uint64(y.threads)
		}
	}
	r.Known = true
}

func limitRow(r *collectors.ResourceLimit) Row {
	limit := func(n uint64) Cell {
		if n == collectors.NoLimit {
			return Say("unlimited")
		}
		return Number(float64(n))
	}
	used, share := Missing("the kernel tells nobody how much of it is used"), Missing("no limit")
	if r.Known {
		used = Number(float64(r.Used))
	}
	switch {
	case r.Soft == collectors.NoLimit:
	case !r.Known:
		share = used
	case r.Soft > 0:
		share = Number(100 * float64(r.Used) / float64(r.Soft))
	default:
		share = Missing("the limit is 0")
	}
	unit := r.Unit
	switch r.Name {
	case "nproc":
		unit = "threads of the user"
	case "rttime":
		unit = "µs"
	case "nice":
		unit = "20 less the nice value" // getrlimit(2)
	case "rtprio":
		unit = "real-time priority"
	}
	return Row{ID: r.Name, Cells: []Cell{Say(r.Name), used, limit(r.Soft), limit(r.Hard), share, Say(unit)}}
}

// humanLimits are the limits as people read them.
func humanLimits(t Table) Table { return humanRows(t, 5, 1, 2, 3) }
