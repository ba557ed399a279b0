// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
)

// sections are the tables of an interface.
func (p *ifacePage) sections() []section {
	return []section{
		{
			id: "counters", title: "counters", table: p.counters, spark: p.history,
			why: "a counter of one interface has no page", none: "waiting for the counters",
		},
		{
			id: "drops", title: "drops", table: p.drops, opens: "reason",
			open: func(_ Frame, _ collectors.Target, r Row) Answer {
				return OpenMsg{newDropPage(strings.Fields(r.ID)[1])}
			},
			none: "the kernel dropped none of its packets in the last ten seconds",
		},
		{
			id: "connections", title: "connections", table: p.connections, open: openSocket, opens: "connection",
			none: "no TCP connection is known to go over it",
		},
		{
			id: "softnet", title: "softnet", table: p.softnet, opens: "cpu", none: "/proc/net/softnet_stat cannot be read",
			open: func(_ Frame, _ collectors.Target, r Row) Answer {
				cpu, err := strconv.Atoi(r.ID)
				if err != nil {
					return SayMsg{"all CPUs together have no page: choose one below"}
				}
				return OpenMsg{newCPUPage(cpu)}
			},
		},
	}
}

// counterName is one of the columns of /proc/net/dev and what it means.
type counterName struct {
	name, means string
	get         func(*collectors.IfaceCounts) uint64
}

func counterNames() []counterName {
	type C = collectors.IfaceCounts
	return []counterName{
		{"rx_bytes", "received", rxBytes},
		{"rx_packets", "received", func(c *C) uint64 { return c.RxPackets }},
		{"tx_bytes", "sent", txBytes},
		{"tx_packets", "sent", func(c *C) uint64 { return c.TxPackets }},
		{"rx_errs", "bad packets received", func(c *C) uint64 { return c.RxErrors }},
		{"rx_drop", "dropped by the kernel or the device", func(c *C) uint64 { return c.RxDropped }},
		{"rx_fifo", "the device's queue was full", func(c *C) uint64 { return c.RxFIFO }},
		{"rx_frame", "frame alignment errors", func(c *C) uint64 { return c.RxFrame }},
		{"rx_compressed", "", func(c *C) uint64 { return c.RxCompressed }},
		{"multicast", "multicast packets received", func(c *C) uint64 { return c.Multicast }},
		{"tx_errs", "could not be sent", func(c *C) uint64 { return c.TxErrors }},
		{"tx_drop", "dropped by the driver", func(c *C) uint64 { return c.TxDropped }},
		{"tx_fifo", "the device's queue was full", func(c *C) uint64 { return c.TxFIFO }},
		{"colls", "collisions", func(c *C) uint64 { return c.Collisions }},
		{"tx_carrier", "the carrier was lost meanwhile", func(c *C) uint64 { return c.TxCarrier }},
		{"tx_compressed", "", func(c *C) uint64 { return c.TxCompressed }},
	}
}

// counters has a line for each counter of the interface.
func (p *ifacePage) counters(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "counter", Title: "counter", Width: 13, Left: true},
		{ID: "now/s", Title: "now/s", Unit: "/s", Width: 10, Decimals: 1},
		{ID: "total", Title: "total", Width: 16},
		{ID: "means", Title: "", Width: 24, Left: true},
	}}
	x := p.find(netOver(f))
	if x == nil {
		t.Notes = append(t.Notes, p.title+hasGone)
		return t
	}
	row := func(name, means string, now, total Cell) {
		t.Rows = append(t.Rows, Row{ID: name, Cells: []Cell{Say(name), now, total, Say(means)}})
	}
	whyNow := x.why + x.unlisted
	if whyNow == "" && x.seconds <= 0 {
		whyNow = "waiting for a second reading"
	}
	for _, c := range counterNames() {
		now, total := Missing(whyNow), Missing("it has not moved in what is kept, ten minutes at most")
		if whyNow == "" {
			now = Number(ratePer(c.get(&x.counts), x.seconds))
		}
		if sum, ok := lastTotal(f, p.key); ok {
			total = Number(float64(c.get(&sum)))
		}
		row(c.name, c.means, now, total)
	}
	for _, extra := range []struct {
		name, means string
		v           float64
	}{{"rx_missed", "of rx_drop: the device had no room", x.missed}, {"qdisc_drops", "dropped by the queue above it", x.qdrops}} {
		now := Missing(whyNoFacts(f, x))
		if x.link.Index != 0 {
			now = Number(extra.v)
		}
		row(extra.name, extra.means, now, Missing("its rate over ten seconds is what is kept"))
	}
	return t
}

// history is a counter's rate over time; the two that are read every ten seconds keep none.
func (p *ifacePage) history(f Frame, row string) []float64 {
	for _, c := range counterNames() {
		if c.name == row {
			return ifaceSeries(f, mostSpark, []netKey{p.key}, c.get)(p.key)
		}
	}
	return nil
}

// lastTotal is the newest total of an interface up to the frame; false if it never moved.
func lastTotal(f Frame, key netKey) (collectors.IfaceCounts, bool) {
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Network == nil {
			continue
		}
		for k := range s.Network.Ifaces {
			if r := &s.Network.Ifaces[k]; keyOf(r.NetLink) == key {
				return r.Total, true
			}
		}
	}
	return collectors.IfaceCounts{}, false
}

// drops are the packets of the interface that the kernel dropped, by reason and place, in ten seconds. The
// kernel tells the number of the interface alone, which is known of those in our own namespace.
func (p *ifacePage) drops(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "drop/s", Title: "drop/s", Unit: "packets/s", Width: 8, Decimals: 1},
		{ID: "CLASS", Title: "CLASS", Width: 8, Left: true},
		{ID: "REASON", Title: "REASON", Width: 24, Left: true},
		{ID: "PROTO", Title: "PROTO", Width: 6, Left: true, Rank: 1},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 20, Left: true, Rank: 2},
	}}
	v, x := dropsOver(f), p.find(netOver(f))
	switch {
	case v == nil:
		why, remedy := whyNot(f, collectors.DropsID, "dropsnoop")
		t.Notes = append(t.Notes, note("dropsnoop", why, remedy))
		return t
	case x == nil || !x.space.Own || x.link.Index == 0:
		t.Notes = append(t.Notes, "drops are told by the number of the interface, which is known in our own namespace alone: 6 v lists all reasons")
		return t
	}
	var n uint64
	for i := range v.places {
		o := &v.places[i]
		if !o.Own || o.Ifindex != uint32(x.link.Index) {
			continue
		}
		n += o.Packets
		t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("%x %s %d %d", o.Address, o.Reason, o.Protocol, o.Transport), Cells: []Cell{
			v.rate(o.Packets), Say(o.Class.String()), Say(o.Reason), Say(protocolName(o.Protocol, o.Transport)), v.function(o),
		}})
	}
	t.Facts = []Fact{{ID: "dropped", Title: "dropped packets", Unit: "/s", Decimals: 1, Cell: v.rate(n)}}
	return t
}

// connections are the TCP sockets that are known to use the interface, those that move most first.
func (p *ifacePage) connections(f Frame, _ collectors.Target) Table {
	var t Table
	socketTable(f, &t)
	rows := t.Rows
	t.Rows = nil
	s, v := socketsOver(f), netOver(f)
	x := p.find(v)
	switch {
	case s == nil:
		why, remedy := whyNot(f, collectors.SocketsID, "ss")
		t.Notes = append(t.Notes, note("ss", why, remedy))
		return t
	case x == nil || !x.space.Own:
		t.Notes = append(t.Notes, "the sockets of another namespace are not read")
		return t
	}
	uses, how := usesIface(x)
	for i := range s.Rows {
		if uses(&s.Rows[i]) {
			t.Rows = append(t.Rows, rows[i])
		}
	}
	t.Facts = []Fact{{ID: "n", Title: "connections", Cell: Number(float64(len(t.Rows)))}}
	t.Notes = append(t.Notes, how)
	if s.UnlistedRows > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more connections of the host are not listed", s.UnlistedRows))
	}
	return t
}

// usesIface says which sockets go over an interface, and how that is known: a socket does not tell, unless
// it is bound to one.
func usesIface(x *netIface) (uses func(*collectors.SocketRow) bool, how string) {
	within := func(r *collectors.SocketRow) bool {
		to := r.Remote.Addr().Unmap()
		return to.IsLoopback() || to == r.Local.Addr().Unmap()
	}
	index := uint32(x.link.Index)
	bound := func(r *collectors.SocketRow) bool { return r.Interface == index && index != 0 }
	if x.link.Kind == collectors.LinkLoopback {
		return func(r *collectors.SocketRow) bool { return bound(r) || r.Interface == 0 && within(r) },
			"over lo goes what this host sends to itself"
	}
	if others := slices.DeleteFunc(slices.Clone(x.space.ifaces), func(o *netIface) bool {
		return o == x || o.link.Kind == collectors.LinkLoopback || !o.link.Up
	}); len(others) == 0 {
		return func(r *collectors.SocketRow) bool { return bound(r) || r.Interface == 0 && !within(r) },
			"it is the only interface that is up beside lo: what leaves this host goes over it"
	}
	return bound, "listed are sockets that are bound to it: of others the kernel does not say which interface they use"
}

// softnet is how the CPUs take packets from the devices' queues. It is of all interfaces: the kernel does
// not divide it.
func (p *ifacePage) softnet(f Frame, _ collectors.Target) Table {
	v := netOver(f)
	t := softnetTable(f, v)
	if v != nil && v.own() != nil && v.softOK {
		t.Facts = []Fact{{ID: "dropped", Title: "packets dropped, of all interfaces", Unit: "/s", Decimals: 1, Cell: perSeconds(v.soft.dropped, v.own().seconds)}}
	}
	t.Notes = append(t.Notes, "softnet is of all interfaces together")
	return t
}

// perSeconds is a rate over so many seconds.
func perSeconds(n uint64, seconds float64) Cell {
	if seconds <= 0 {
		return Missing("waiting for a second reading")
	}
	return Number(float64(n) / seconds)
}
