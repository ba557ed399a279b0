// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"math"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// netColumn is one column of the tables of interfaces.
type netColumn struct {
	Column
	errors bool // of EDEV
	quiet  bool // not drawn while it is zero in every row
	value  func(*collectors.IfaceCounts) uint64
	scale  float64 // of value: 1/1024 for kB
}

// netColumns are sar's, in its order. rxdrop holds what the device had no room for (rxmiss), as in
// /proc/net/dev; missed and qdrop are ours.
func netColumns() []netColumn {
	type C = collectors.IfaceCounts
	col := func(id string, width, rank int, quiet, errors bool, scale float64, value func(*C) uint64) netColumn {
		return netColumn{Column{ID: id, Title: id, Unit: id[len(id)-min(len(id), 4):], Width: width, Decimals: 1, Rank: rank}, errors, quiet, value, scale}
	}
	const kb = 1.0 / 1024
	cols := []netColumn{
		col("rxpck/s", 8, 3, false, false, 1, func(c *C) uint64 { return c.RxPackets }),
		col("txpck/s", 8, 3, false, false, 1, func(c *C) uint64 { return c.TxPackets }),
		col("rxkB/s", 8, 0, false, false, kb, rxBytes),
		col("txkB/s", 8, 0, false, false, kb, txBytes),
		col("rxcmp/s", 7, 8, true, false, 1, func(c *C) uint64 { return c.RxCompressed }),
		col("txcmp/s", 7, 8, true, false, 1, func(c *C) uint64 { return c.TxCompressed }),
		col("rxmcst/s", 8, 7, true, false, 1, func(c *C) uint64 { return c.Multicast }),
		col("rxerr/s", 7, 1, false, true, 1, func(c *C) uint64 { return c.RxErrors }),
		col("txerr/s", 7, 2, false, true, 1, func(c *C) uint64 { return c.TxErrors }),
		col("coll/s", 6, 7, false, true, 1, func(c *C) uint64 { return c.Collisions }),
		col("rxdrop/s", 8, 0, false, true, 1, func(c *C) uint64 { return c.RxDropped }),
		col("txdrop/s", 8, 0, false, true, 1, func(c *C) uint64 { return c.TxDropped }),
		col("txcarr/s", 8, 6, false, true, 1, func(c *C) uint64 { return c.TxCarrier }),
		col("rxfram/s", 8, 5, false, true, 1, func(c *C) uint64 { return c.RxFrame }),
		col("rxfifo/s", 8, 3, false, true, 1, func(c *C) uint64 { return c.RxFIFO }),
		col("txfifo/s", 8, 4, false, true, 1, func(c *C) uint64 { return c.TxFIFO }),
	}
	for i := range cols {
		cols[i].Unit = "/s"
		if cols[i].scale != 1 {
			cols[i].Unit = "KiB/s"
		}
	}
	return cols
}

// interfaces is the table of sar -n DEV, or that of EDEV. Columns of the other one are hidden, not
// left out: reports have both.
func (p *Network) interfaces(f Frame, v *netView, errors bool) Table {
	t := Table{Title: "network", Columns: []Column{{ID: "IFACE", Title: "IFACE", Width: 6, Left: true}}}
	cols := netColumns()
	var rows []*netIface
	if v != nil {
		for _, s := range v.spaces {
			for _, x := range s.ifaces {
				if p.idle || inSight(x) {
					rows = append(rows, x)
				}
			}
		}
	}
	sortIfaces(rows)
	names, spaces, trouble := 6, 0, [2]bool{}
	for _, x := range rows {
		names = max(names, min(widget.Width(clean(x.link.Name)), 15))
		if !x.space.Own {
			spaces = max(spaces, len("NETNS"), min(widget.Width(clean(x.space.Name)), 12))
		}
		trouble[0] = trouble[0] || x.counts.RxErrors+x.counts.TxErrors > 0
		trouble[1] = trouble[1] || x.qdrops > 0 || x.counts.RxDropped+x.counts.TxDropped > 0
	}
	t.Columns[0].Width = names
	for _, c := range cols {
		c.Hidden = c.errors != errors || c.quiet && !anyIface(rows, c.value)
		t.Columns = append(t.Columns, c.Column)
	}
	t.Columns = append(t.Columns,
		Column{ID: "%ifutil", Title: "%ifutil", Unit: "%", Width: 7, Decimals: 1, Rank: 1, Hidden: errors},
		Column{ID: "err/s", Title: "err/s", Unit: "/s", Width: 6, Decimals: 1, Rank: 2, Hidden: errors || !trouble[0]},
		Column{ID: "drop/s", Title: "drop/s", Unit: "/s", Width: 6, Decimals: 1, Rank: 1, Hidden: errors || !trouble[1]},
		Column{ID: "rxmiss/s", Title: "rxmiss/s", Unit: "/s", Width: 8, Decimals: 1, Rank: 2, Hidden: !errors},
		Column{ID: "qdrop/s", Title: "qdrop/s", Unit: "/s", Width: 7, Decimals: 1, Rank: 2, Hidden: !errors},
		Column{ID: "Mb/s", Title: "Mb/s", Unit: "Mbit/s", Width: 6, Rank: 6, Hidden: errors},
		Column{ID: "NETNS", Title: "NETNS", Width: spaces, Left: true, Hidden: spaces == 0})
	for _, x := range rows {
		t.Rows = append(t.Rows, ifaceCells(f, x, cols))
	}
	if slices.ContainsFunc(rows, func(x *netIface) bool { return x.link.Kind != collectors.LinkDevice }) {
		rowsNote(f, &t)
	}
	return t
}

// sortIfaces puts our own devices first, then what moves most. What is equal keeps the kernel's
// order.
func sortIfaces(rows []*netIface) {
	rank := func(x *netIface) float64 {
		if x.space.Own && x.link.Kind == collectors.LinkDevice {
			return math.Inf(1)
		}
		return ratePer(bothBytes(&x.counts), x.seconds)
	}
	sortStably(rows, func(a, b *netIface) int { return cmp.Compare(rank(b), rank(a)) })
}

func ratePer(n uint64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

func anyIface(rows []*netIface, value func(*collectors.IfaceCounts) uint64) bool {
	for _, x := range rows {
		if value(&x.counts) > 0 {
			return true
		}
	}
	return false
}

// ifaceCells is an interface's row.
func ifaceCells(f Frame, x *netIface, cols []netColumn) Row {
	r := Row{ID: ifaceRow(x.space, x.link), Cells: make([]Cell, 0, len(cols)+8)}
	r.Cells = append(r.Cells, Name(collectors.Clean(x.link.Name)))
	per := func(n uint64, scale float64) Cell {
		switch {
		case x.why+x.unlisted != "":
			return Missing(x.why + x.unlisted)
		case x.seconds <= 0:
			return Missing("waiting for a second reading")
		}
		return Number(float64(n) * scale / x.seconds)
	}
	for _, c := range cols {
		r.Cells = append(r.Cells, per(c.value(&x.counts), c.scale))
	}
	util := per(0, 1)
	if util.Known() {
		if u := utilisation(x.link, &x.counts, x.seconds); math.IsNaN(u) {
			util = Missing(whyNoSpeed(f, x))
			util.Badge = unknowable
		} else {
			util = Number(u)
		}
	}
	speed := Missing(whyNoSpeed(f, x))
	speed.Badge = unknowable
	if x.link.Speed > 0 {
		speed = Number(float64(x.link.Speed))
	}
	c := &x.counts
	r.Cells = append(r.Cells, util, per(c.RxErrors+c.TxErrors, 1), plusCell(per(c.RxDropped+c.TxDropped, 1), x.qdrops))
	for _, n := range []float64{x.missed, x.qdrops} {
		cell := per(0, 1)
		if cell.Known() {
			cell = Number(n)
		}
		if x.link.Index == 0 {
			cell = Missing(whyNoFacts(f, x))
		}
		r.Cells = append(r.Cells, cell)
	}
	space := Name(collectors.Clean(x.space.Name))
	if x.space.Own {
		space = Say("")
	}
	r.Cells = append(r.Cells, speed, space)
	return r
}

// plusCell adds to a number, if it is one.
func plusCell(c Cell, n float64) Cell {
	if v, ok := c.Num(); ok {
		return Number(v + n)
	}
	return c
}

// whyNoFacts says why rtnetlink tells nothing of an interface.
func whyNoFacts(f Frame, x *netIface) string {
	if !x.space.Own {
		return "rtnetlink tells of our own namespace only"
	}
	why, _ := whyNot(f, collectors.NetworkID, "ip link")
	return why
}

// whyNoSpeed says why an interface has no speed to compare with.
func whyNoSpeed(f Frame, x *netIface) string {
	switch {
	case x.link.Kind == collectors.LinkUnknown:
		return whyNoFacts(f, x)
	case x.link.Kind == collectors.LinkDevice && !x.link.Up:
		return "the link is down"
	case x.link.Kind == collectors.LinkDevice:
		return "its driver does not tell a speed"
	}
	return "it has no speed of its own"
}
