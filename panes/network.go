// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// NetworkPane is the id of the network pane.
const NetworkPane ID = "network"

// netDraw is which of the tables has the screen.
type netDraw uint8

const (
	netDev netDraw = iota
	netErrors
	netSoft
	netSpaces
	netDraws
)

func (d netDraw) String() string {
	switch d {
	case netErrors:
		return "errors"
	case netSoft:
		return "softnet"
	case netSpaces:
		return "namespaces"
	case netDev, netDraws:
	}
	return "interfaces"
}

// Network is the pane of the interfaces of every network namespace: sar -n DEV and EDEV, softnet,
// and what the protocols above them drop.
type Network struct {
	draw  netDraw
	idle  bool // interfaces that do nothing are listed too
	lists [netDraws]list
}

// NewNetwork returns the pane, on the table of interfaces.
func NewNetwork() *Network { return &Network{} }

// Info implements Pane.
func (p *Network) Info() Info {
	return Info{ID: NetworkPane, Title: "Network", Short: "Net", Digit: "6", Help: "network", Command: "sar -n DEV,EDEV 1"}
}

// Wants implements Pane: everything here comes from the cheap set.
func (p *Network) Wants(Scope) []collectors.Want { return nil }

// IDs of the keys of this pane.
const (
	keyNetDraw = "network.draw"
	keyNetIdle = "network.idle"
)

// Keys implements Pane.
func (p *Network) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "interface", "enter").In("open the page of the interface")
	idle := keymap.New(keyNetIdle, "z", "idle", "z").In("list the interfaces that do nothing, or hide them")
	switch p.draw {
	case netSpaces:
		open = keymap.New(keymap.Open, "Enter", "namespace", "enter").In("open the page of the namespace")
		idle = idle.Off("this is the table of namespaces")
	case netSoft:
		open = open.Off("there is nothing below a CPU's softnet counters")
		idle = idle.Off("this is the table of CPUs")
	case netDev, netErrors, netDraws:
	}
	return append([]keymap.Key{
		open,
		keymap.New(keyNetDraw, "v", ((p.draw + 1) % netDraws).String(), "v").In("show interfaces, their errors, softnet by CPU, namespaces"),
		idle,
	}, p.lists[p.draw].keys()...)
}

// Update implements Pane.
func (p *Network) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.draw = netDev
		p.lists[netDev].choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Network) press(msg Press) tea.Cmd {
	switch msg.ID {
	case keyNetDraw:
		p.draw = (p.draw + 1) % netDraws
	case keyNetIdle:
		p.idle = !p.idle
	case keymap.Open:
		return p.open(msg.Frame)
	default:
		p.list().press(msg.ID, p.shown(msg.Frame, netOver(msg.Frame)))
	}
	return nil
}

// list is the cursor of the table that is shown. Errors are a view of the same rows.
func (p *Network) list() *list {
	if p.draw == netErrors {
		p.lists[netErrors].selected = p.lists[netDev].selected
	}
	return &p.lists[p.draw]
}

// open leads to the page of the selected row.
func (p *Network) open(f Frame) tea.Cmd {
	v := netOver(f)
	r, ok := p.lists[p.draw].row(p.shown(f, v))
	if !ok || v == nil {
		return nil
	}
	for _, s := range v.spaces {
		if p.draw == netSpaces {
			if spaceRow(s) == r.ID {
				return send(OpenMsg{newSpacePage(s)})
			}
			continue
		}
		for _, x := range s.ifaces {
			if ifaceRow(s, x.link) == r.ID {
				return send(OpenMsg{newIfacePage(s, x.link)})
			}
		}
	}
	return nil
}

// ifaceRow is the row ID of an interface: its name, and before it its namespace unless that is ours.
func ifaceRow(s *netSpace, l *collectors.NetLink) string {
	if s.Own {
		return l.Name.Bytes()
	}
	return strconv.FormatUint(s.ID, 10) + "/" + l.Name.Bytes()
}

func spaceRow(s *netSpace) string { return strconv.FormatUint(s.ID, 10) }

// Table implements Pane: the interfaces, with the sums of all else as facts.
func (p *Network) Table(f Frame) Table {
	v := netOver(f)
	t := p.interfaces(f, v, false)
	p.lists[netDev].order(&t)
	namesFirst(&t)
	t.Facts = netFacts(v)
	if v == nil {
		why, remedy := whyNot(f, collectors.NetworkID, "sar DEV")
		t.Notes = append(t.Notes, note("sar DEV", why, remedy))
		return t
	}
	for _, name := range []string{"sar UDP", "softnet", "ip link", "netns"} {
		if pr, ok := probeNamed(f, collectors.NetworkID, name); ok && pr.Name == name && pr.Reason != "" {
			t.Notes = append(t.Notes, note(name, pr.Reason, pr.Remedy))
		}
	}
	if n := hiddenIdle(v); n > 0 && !p.idle {
		t.Notes = append(t.Notes, fmt.Sprintf("%d idle interface%s not listed", n, pluralAre(n)))
	}
	return t
}

// namesFirst moves the last column, the namespace, behind the first: a report is read, and cut,
// from the left.
func namesFirst(t *Table) {
	last := len(t.Columns) - 1
	t.Columns = slices.Insert(t.Columns[:last], 1, t.Columns[last])
	for i := range t.Rows {
		c := t.Rows[i].Cells
		t.Rows[i].Cells = slices.Insert(c[:last], 1, c[last])
	}
}

func pluralAre(n int) string {
	if n == 1 {
		return " is"
	}
	return "s are"
}

// shown is the table that has the screen.
func (p *Network) shown(f Frame, v *netView) Table {
	var t Table
	switch p.draw {
	case netSoft:
		t = softnetTable(v)
	case netSpaces:
		t = spacesTable(v)
	case netDev, netErrors, netDraws:
		t = p.interfaces(f, v, p.draw == netErrors)
	}
	p.list().order(&t)
	return t
}

// Describe implements Describer.
func (p *Network) Describe(f Frame) string {
	return p.list().why(p.shown(f, netOver(f)))
}

// inSight says whether an interface has a row while the idle ones are hidden.
func inSight(x *netIface) bool {
	return x.recent || x.why != "" || x.link.Kind == collectors.LinkDevice && x.link.Up
}

func hiddenIdle(v *netView) int {
	n := 0
	for _, s := range v.spaces {
		for _, x := range s.ifaces {
			if !inSight(x) {
				n++
			}
		}
	}
	return n
}

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
	return t
}

// sortIfaces puts our own devices first, then what moves most. What is equal keeps the kernel's
// order.
func sortIfaces(rows []*netIface) {
	rank := func(x *netIface) float64 {
		if x.space.Own && x.link.Kind == collectors.LinkDevice {
			return math.Inf(1)
		}
		return ratePer(bothBytes(&x.counts), x.space.seconds)
	}
	slices.SortStableFunc(rows, func(a, b *netIface) int { return cmp.Compare(rank(b), rank(a)) })
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
		case x.space.seconds <= 0:
			return Missing("waiting for a second reading")
		}
		return Number(float64(n) * scale / x.space.seconds)
	}
	for _, c := range cols {
		r.Cells = append(r.Cells, per(c.value(&x.counts), c.scale))
	}
	util := per(0, 1)
	if util.Known() {
		if u := utilisation(x.link, &x.counts, x.space.seconds); math.IsNaN(u) {
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
