// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/collectors"
)

// sections are the tables of a cgroup.
func (p *cgroupPage) sections() []section {
	return []section{
		{
			id: "processes", title: "processes", opens: "process", table: p.inside, none: "no process",
			open: func(f Frame, _ collectors.Target, r Row) Answer {
				set := processesOver(f)
				for i := range set.list {
					if rowOf(&set.list[i]) == r.ID {
						return OpenMsg{newProcessPage(set.list[i].ProcInfo)}
					}
				}
				return SayMsg{"this process has ended"}
			},
		},
		{
			id: "latency", title: "latency", wants: []collectors.ID{collectors.LatencyID}, table: targetLatencyTable,
			why: "a distribution has no page: the processes are in the table before", none: "none of its tasks ran in the last interval",
		},
		{
			id: "disks", title: "disks", table: targetDiskTable,
			open: openDiskOf, opens: "disk", none: "it has asked no disk for anything in the last interval",
		},
		{
			id: "slow", title: "slowest I/O", table: targetSlowTable,
			open: openSlowDisk, opens: "disk", none: "none of its requests is among the slowest of the last minute",
		},
		{
			id: "io", title: "block I/O", wants: []collectors.ID{collectors.BlockID}, table: targetBlockTable,
			why: "an operation has no page: disks is a table of its own", none: noRequests,
		},
		{
			id: "opens", title: "opens", wants: []collectors.ID{collectors.OpensID}, table: targetOpenTable,
			open: func(f Frame, _ collectors.Target, r Row) Answer { return openWho(f, r) }, opens: "process", none: "it has opened nothing in the last seconds",
		},
		{
			id: "files", title: "slow calls", wants: []collectors.ID{collectors.SlowFilesID}, table: targetSlowFileTable,
			open: func(f Frame, _ collectors.Target, r Row) Answer { return openWho(f, r) }, opens: "process", none: "none of its calls on files took 10 ms",
		},
		{
			id: "tcp", title: "tcp", wants: []collectors.ID{collectors.FlowID}, table: targetFlowTable,
			why: "a number has no page", none: "no connection did anything in the last seconds",
		},
		flameSection(),
		{
			id: "calls", title: "calls", wants: []collectors.ID{collectors.SyscallsID, collectors.SyscallTimesID}, table: targetCallTable,
			open: openCall, opens: "who else", none: "no system call returned in the last interval",
		},
		{
			id: "memory", title: "slab", wants: []collectors.ID{collectors.KmemID, collectors.ReclaimID}, table: targetMemoryTable,
			open: openCache, opens: "cache", none: "it has taken nothing from the kernel's caches in the last interval",
		},
	}
}

// targetLatencyTable is how long a target waits for a CPU, runs and sleeps, in numbers.
func targetLatencyTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "what", Title: "what", Width: 15, Left: true},
		{ID: "n", Title: "n", Width: 8},
		{ID: "/s", Title: "/s", Unit: "/s", Width: 8, Decimals: 1, Rank: 1},
		{ID: "mean", Title: "mean", Width: 8},
		{ID: "p50", Title: "p50", Width: 10},
		{ID: "p99", Title: "p99", Width: 10},
		{ID: "max", Title: "max", Width: 10},
	}}
	x, span := latencyOf(f, target)
	if x == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.LatencyID, "runqlat-pid", target))
		return t
	}
	for _, h := range latencyHistograms(f, target) {
		t.Rows = append(t.Rows, Row{ID: h.ID, Cells: []Cell{
			Say(h.Title), Number(float64(h.Now.Count())), perSecond(h.Now.Count(), span),
			sayOr(mean(h.Now)), sayOr(quantile(h.Now, 0.5)), sayOr(quantile(h.Now, 0.99)), sayOr(quantile(h.Now, 1)),
		}})
	}
	t.Histograms = latencyHistograms(f, target)
	return t
}

// targetFlowTable is what a target's TCP connections did over the last seconds.
func targetFlowTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "value", Title: "/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "field", Title: "what", Width: 24, Left: true},
	}}
	var facts []Fact
	facts, t.Histograms = flowFacts(f, target)
	if facts == nil {
		t.Notes = append(t.Notes, unrecorded(f, collectors.FlowID, "tcpconnect", target))
		return t
	}
	for _, x := range facts {
		t.Rows = append(t.Rows, Row{ID: x.ID, Cells: []Cell{x.Cell, Say(x.Title)}})
	}
	return t
}
