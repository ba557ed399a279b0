// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// softnetTable is sar -n SOFT: a line of all CPUs and one for each.
func softnetTable(f Frame, v *netView) Table {
	t := Table{Title: "softnet", Columns: []Column{
		{ID: "CPU", Title: "CPU", Width: 4},
		{ID: "total/s", Title: "total/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "dropd/s", Title: "dropd/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "squeezd/s", Title: "squeezd/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "rx_rps/s", Title: "rx_rps/s", Unit: "/s", Width: 8, Decimals: 1, Rank: 2},
		{ID: "flw_lim/s", Title: "flw_lim/s", Unit: "/s", Width: 9, Decimals: 1, Rank: 1},
		{ID: "blg_len", Title: "blg_len", Unit: "packets", Width: 7, Rank: 3},
	}}
	if v == nil || !v.softOK || v.own() == nil {
		return t
	}
	row := func(id string, c softCPU, seconds float64) Row {
		r := Row{ID: id, Cells: []Cell{Say(id)}, Sum: id == rowAll}
		if n, err := strconv.Atoi(id); err == nil {
			r.Cells[0] = Number(float64(n))
		}
		for _, n := range []uint64{c.processed, c.dropped, c.squeezed, c.rps, c.limit} {
			switch {
			case c.isNew:
				r.Cells = append(r.Cells, Missing("it came online a moment ago"))
			case seconds <= 0:
				r.Cells = append(r.Cells, Missing("waiting for a second reading"))
			default:
				r.Cells = append(r.Cells, Number(float64(n)/seconds))
			}
		}
		r.Cells = append(r.Cells, Number(float64(c.backlog)))
		return r
	}
	t.Rows = append(t.Rows, row(rowAll, v.soft, v.own().seconds)) // both are read at each tick
	for _, c := range v.softnet {
		t.Rows = append(t.Rows, row(strconv.Itoa(int(c.cpu)), c, v.apart))
	}
	cpusNote(f, &t, func(s *collectors.Snapshot) bool {
		return s.Network != nil && s.Network.SoftnetKnown && s.Network.Softnet == nil
	})
	return t
}

// stackColumn is a protocol's counter. Names are those of sar -n UDP, IP, EIP, TCP and ETCP, where
// it has one.
type stackColumn struct {
	id   string
	rank int
	ext  bool // of TcpExt
	get  func(*collectors.StackCounts) uint64
}

func stackColumns() []stackColumn {
	type C = collectors.StackCounts
	return []stackColumn{
		{"idgm/s", 4, false, func(c *C) uint64 { return c.UDPIn }},
		{"odgm/s", 4, false, func(c *C) uint64 { return c.UDPOut }},
		{"noport/s", 6, false, func(c *C) uint64 { return c.UDPNoPort }},
		{"idgmerr/s", 3, false, func(c *C) uint64 { return c.UDPInErrors }},
		{"rcvbuf/s", 2, false, func(c *C) uint64 { return c.UDPReceiveFull }},
		{"sndbuf/s", 7, false, func(c *C) uint64 { return c.UDPSendFull }},
		{"active/s", 7, false, func(c *C) uint64 { return c.TCPActive }},
		{"passive/s", 7, false, func(c *C) uint64 { return c.TCPPassive }},
		{"iseg/s", 8, false, func(c *C) uint64 { return c.TCPIn }},
		{"oseg/s", 8, false, func(c *C) uint64 { return c.TCPOut }},
		{"retrseg/s", 1, false, func(c *C) uint64 { return c.TCPRetrans }},
		{"atmptf/s", 7, false, func(c *C) uint64 { return c.TCPAttemptFails }},
		{"estres/s", 8, false, func(c *C) uint64 { return c.TCPEstabResets }},
		{"orsts/s", 8, false, func(c *C) uint64 { return c.TCPOutResets }},
		{"lsndrop/s", 2, true, func(c *C) uint64 { return c.TCPListenDrops }},
		{"bklgdrp/s", 8, true, func(c *C) uint64 { return c.TCPReceiveDrops + c.TCPBacklogDrops }},
		{"irec/s", 8, false, func(c *C) uint64 { return c.IPIn }},
		{"fwddgm/s", 8, false, func(c *C) uint64 { return c.IPForwarded }},
		{"idisc/s", 8, false, func(c *C) uint64 { return c.IPInDiscards }},
		{"ihdrerr/s", 8, false, func(c *C) uint64 { return c.IPInHeader }},
		{"odisc/s", 8, false, func(c *C) uint64 { return c.IPOutDiscards }},
		{"onort/s", 8, false, func(c *C) uint64 { return c.IPNoRoutes }},
		{"asmf/s", 8, false, func(c *C) uint64 { return c.IPReasmFails }},
		{"fragf/s", 8, false, func(c *C) uint64 { return c.IPFragFails }},
	}
}

// stackCell is a protocol's counter a second in a namespace.
func stackCell(s *netSpace, c stackColumn) Cell {
	switch {
	case !s.known:
		return Missing("/proc/net/snmp could not be read")
	case c.ext && s.Own:
		return Missing("the TCP pane has our own namespace's")
	case c.ext && !s.ext:
		return Missing("/proc/net/netstat could not be read")
	case s.seconds <= 0:
		return Missing("waiting for a second reading")
	}
	return Number(float64(c.get(&s.stack)) / s.seconds)
}

// total sums a protocol's counter over the namespaces that tell it. Each counts for as much of the frame
// as it was there.
func (v *netView) total(c stackColumn) Cell {
	sum, known, why := 0.0, false, "no namespace was read"
	for _, s := range v.spaces {
		cell := stackCell(s, c)
		if n, ok := cell.Num(); ok {
			sum, known = sum+n*s.share, true
		} else {
			why = cell.Why
		}
	}
	if !known {
		return Missing(why)
	}
	return Number(sum)
}

// spacesTable has a line for each namespace.
func spacesTable(v *netView) Table {
	t := Table{Title: "network namespaces", Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7, Rank: 5},
		{ID: "rxkB/s", Title: "rxkB/s", Unit: "KiB/s", Width: 8, Decimals: 1},
		{ID: "txkB/s", Title: "txkB/s", Unit: "KiB/s", Width: 8, Decimals: 1},
		{ID: "drop/s", Title: "drop/s", Unit: "/s", Width: 6, Decimals: 1},
	}}
	cols := stackColumns()
	for _, c := range cols {
		t.Columns = append(t.Columns, Column{ID: c.id, Title: c.id, Unit: "/s", Width: max(len(c.id), 7), Decimals: 1, Rank: c.rank})
	}
	t.Columns = append(t.Columns,
		Column{ID: "track", Title: "track", Unit: "connections", Width: 6, Rank: 3},
		Column{ID: "NETNS", Title: "NETNS", Width: 12, Left: true})
	if v == nil {
		return t
	}
	name := &t.Columns[len(t.Columns)-1]
	for _, s := range v.spaces {
		name.Width = max(name.Width, min(widget.Width(s.name()), 20))
	}
	for _, s := range v.spaces {
		sum := s.sum()
		drops := 0.0
		for _, x := range s.ifaces {
			drops += ratePer(x.counts.RxDropped+x.counts.TxDropped+x.counts.RxErrors+x.counts.TxErrors, x.seconds) + x.qdrops
		}
		pid := Missing("it is ours")
		if !s.Own {
			pid = Number(float64(s.PID))
		}
		r := Row{ID: spaceRow(s), Cells: []Cell{pid}}
		for _, n := range []float64{ratePer(sum.RxBytes, s.seconds) / 1024, ratePer(sum.TxBytes, s.seconds) / 1024, drops} {
			if s.seconds <= 0 {
				r.Cells = append(r.Cells, Missing("waiting for a second reading"))
				continue
			}
			r.Cells = append(r.Cells, Number(n))
		}
		for _, c := range cols {
			r.Cells = append(r.Cells, stackCell(s, c))
		}
		track := Missing("no connection tracking")
		if s.conntrack.Known {
			track = Number(float64(s.conntrack.Entries))
		}
		name := Name(collectors.Clean(s.Name))
		if s.Own {
			name = Say("our own")
		}
		t.Rows = append(t.Rows, Row{ID: r.ID, Cells: append(r.Cells, track, name)})
	}
	return t
}

// netFacts are the sums of the pane: what the host moves, and everything that was dropped.
func netFacts(v *netView) []Fact {
	if v == nil {
		return nil
	}
	own := v.own()
	sum, seconds := collectors.IfaceCounts{}, 0.0
	if own != nil {
		sum, seconds = own.sum(), own.seconds
	}
	rate := func(n uint64, scale float64) Cell {
		if seconds <= 0 {
			return Missing("waiting for a second reading")
		}
		return Number(float64(n) * scale / seconds)
	}
	facts := []Fact{
		{ID: "netns_covered", Title: "network namespaces read", Cell: Number(float64(v.coverage.Covered))},
		{ID: "netns", Title: "network namespaces", Cell: Number(float64(v.coverage.Known))},
		{ID: "rx", Title: "received by the host's devices", Unit: "KiB/s", Cell: rate(sum.RxBytes, 1.0/1024), Decimals: 1},
		{ID: "tx", Title: "sent by the host's devices", Unit: "KiB/s", Cell: rate(sum.TxBytes, 1.0/1024), Decimals: 1},
	}
	soft := func(id, title string, n uint64) {
		c := rate(n, 1)
		if !v.softOK {
			c = Missing("/proc/net/softnet_stat could not be read")
		}
		facts = append(facts, Fact{ID: id, Title: title, Unit: "/s", Cell: c, Decimals: 1})
	}
	soft("softnet_total", "packets by softirq", v.soft.processed)
	soft("softnet_dropped", "dropped, a CPU's backlog being full", v.soft.dropped)
	soft("softnet_squeezed", "polls that ran out of budget", v.soft.squeezed)
	for _, c := range stackColumns() {
		if c.rank > 6 && c.id[0] != 'i' && c.id[0] != 'o' {
			continue
		}
		cell := v.total(c)
		facts = append(facts, Fact{ID: c.id, Title: c.id + " of all namespaces", Unit: "/s", Cell: cell, Decimals: 1})
	}
	track, limit := Missing("no connection tracking"), Missing("no connection tracking")
	if own != nil && own.conntrack.Known {
		track = Number(float64(own.conntrack.Entries))
		if v.max > 0 {
			limit = Number(float64(v.max))
		}
	}
	return append(facts,
		Fact{ID: "conntrack", Title: "connections tracked", Cell: track},
		Fact{ID: "conntrack_max", Title: "connections that may be tracked", Cell: limit})
}
