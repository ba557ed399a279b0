// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// ifacePage is everything about one interface.
type ifacePage struct {
	key   netKey
	title string
	list  list
}

func newIfacePage(s *netSpace, l *collectors.NetLink) *ifacePage {
	title := clean(l.Name)
	if !s.Own {
		title = s.name() + "/" + title
	}
	return &ifacePage{key: keyOf(l), title: title}
}

// Info implements Pane.
func (p *ifacePage) Info() Info {
	return Info{ID: ID("interface " + p.title), Title: p.title, Short: p.title, Help: "network"}
}

// Wants implements Pane.
func (p *ifacePage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *ifacePage) Keys() []keymap.Key { return pageKeys(&p.list, "interface") }

// pageKeys are the keys of a page whose body is a table with nothing below it.
func pageKeys(l *list, of string) []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below one " + of + " yet"),
	}, l.keys()...)
}

// Update implements Pane.
func (p *ifacePage) Update(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(Press); ok {
		p.list.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
}

// find returns the interface as it is in the frame, nil if it is gone.
func (p *ifacePage) find(v *netView) *netIface {
	if v == nil {
		return nil
	}
	for _, s := range v.spaces {
		if s.ID != p.key.space {
			continue
		}
		for _, x := range s.ifaces {
			if x.link.Name.Bytes() == p.key.name {
				return x
			}
		}
	}
	return nil
}

// hasGone says that what a page is about is not there.
const hasGone = " is gone, or was not read at this time"

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

// Table implements Pane.
func (p *ifacePage) Table(f Frame) Table {
	t := Table{Title: p.title, Columns: []Column{
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
	if whyNow == "" && x.space.seconds <= 0 {
		whyNow = "waiting for a second reading"
	}
	for _, c := range counterNames() {
		now, total := Missing(whyNow), Missing("it has not moved since bpf60 began to look")
		if whyNow == "" {
			now = Number(ratePer(c.get(&x.counts), x.space.seconds))
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
	p.list.order(&t)
	t.Facts = linkFacts(x)
	return t
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

// linkFacts are what is known of an interface beside its counters.
func linkFacts(x *netIface) []Fact {
	l := x.link
	text := func(id, v string) Fact {
		c := Missing("not known")
		if v != "" {
			c = Say(v)
		}
		return Fact{ID: id, Title: id, Cell: c}
	}
	count := func(id, unit string, n uint64) Fact {
		c := Missing("not known")
		if n > 0 || id == "carrier changes" && l.Index != 0 {
			c = Number(float64(n))
		}
		return Fact{ID: id, Title: id, Unit: unit, Cell: c}
	}
	duplex := ""
	if l.Speed > 0 {
		duplex = "full"
		if l.Half {
			duplex = "half"
		}
	}
	return []Fact{
		text("type", kindName(l)), text("driver", l.Driver), text("state", l.State),
		count("speed", "Mbit/s", l.Speed), text("duplex", duplex), count("mtu", "bytes", uint64(l.MTU)),
		count("rx queues", "", uint64(l.RxQueues)), count("tx queues", "", uint64(l.TxQueues)),
		count("carrier changes", "", l.Carriers), text("address", l.Address),
	}
}

// kindName says what an interface is.
func kindName(l *collectors.NetLink) string {
	switch {
	case l.Type != "":
		return clean2(l.Type)
	case l.Kind == collectors.LinkLoopback:
		return "loopback"
	case l.Kind == collectors.LinkDevice:
		return "device"
	}
	return ""
}

// View implements Pane.
func (p *ifacePage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	v := netOver(f)
	x := p.find(v)
	if x == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.title), widget.NewLine(c.Width).Skip(1).Plain(p.title + hasGone).String()}
		return fit(lines, c.Height)
	}
	t := p.Table(f)
	var facts []string
	for _, fact := range t.Facts {
		if fact.Cell.Known() {
			facts = append(facts, factText(fact))
		}
	}
	if peer := peerText(v, x); peer != "" {
		facts = append([]string{peer}, facts...)
	}
	lines := []string{widget.Title(c.Theme, c.Width, p.title)}
	if len(facts) > 0 {
		lines = append(lines, wrap(c, "", strings.Join(facts, ", "))...)
	} else {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, whyNoFacts(f, x)).String())
	}
	if graph := min((c.Height-len(lines))/4, 10); graph >= 2 {
		lines = append(lines, p.graphs(f, c, x, graph)...)
	}
	lines = append(lines, p.list.draw(c, t, c.Height-len(lines), listOptions{})...)
	return fit(lines, c.Height)
}

// factText writes a fact as "mtu 1500".
func factText(f Fact) string {
	s := f.Title + " " + f.Cell.Format(f.Decimals)
	switch f.ID {
	case "type", "driver", "state":
		s = f.Cell.Format(0)
	case "speed":
		s = f.Cell.Format(0) + " Mbit/s"
	case "duplex":
		s = f.Cell.Format(0) + " duplex"
	}
	return s
}

// graphs draw what was received and sent over time, side by side, on one scale.
func (p *ifacePage) graphs(f Frame, c Canvas, x *netIface, height int) []string {
	half := (c.Width - 2) / 2
	keys := []netKey{p.key}
	rx, tx := ifaceSeries(f, half, keys, rxBytes)(p.key), ifaceSeries(f, half, keys, txBytes)(p.key)
	top := max(most(rx), most(tx))
	block := func(name string, values []float64, n uint64, width int) []string {
		now := "-"
		if x.space.seconds > 0 && x.why == "" {
			now = byteRate(ratePer(n, x.space.seconds))
		}
		part := c
		part.Width = width
		lines := []string{widget.Title(c.Theme, width, p.title+" "+name, now, "top "+byteRate(top))}
		return append(lines, widget.Area(c.Theme, values, top, width, height-1)...)
	}
	return widget.Join(block("rx", rx, x.counts.RxBytes, half), half, block("tx", tx, x.counts.TxBytes, c.Width-half-2), 2)
}

// peerText names the other end of a pair, or what it is part of; empty if it has none.
func peerText(v *netView, x *netIface) string {
	var parts []string
	for _, s := range v.spaces {
		if s.ID == x.space.ID {
			for _, y := range s.ifaces {
				switch {
				case y.link.Index == 0 || y == x:
				case x.link.Master == y.link.Index:
					parts = append(parts, "in "+clean(y.link.Name))
				case x.link.Kind == collectors.LinkStacked && x.link.Lower == y.link.Index:
					parts = append(parts, "on "+clean(y.link.Name))
				case x.link.Kind == collectors.LinkVeth && x.link.Peer == 0 && x.link.Lower == y.link.Index && y.link.Lower == x.link.Index:
					parts = append(parts, "other end "+clean(y.link.Name))
				}
			}
		}
		for _, y := range s.ifaces {
			switch {
			case x.link.Peer != 0 && s.ID == x.link.Peer && onlyEnd(s) == y:
				parts = append(parts, "other end "+s.name()+"/"+clean(y.link.Name))
			case !x.space.Own && s.Own && y.link.Peer == x.space.ID && onlyEnd(x.space) == x:
				parts = append(parts, "other end "+clean(y.link.Name))
			}
		}
		if x.link.Peer != 0 && s.ID == x.link.Peer && onlyEnd(s) == nil {
			parts = append(parts, fmt.Sprintf("other end in %s, index %d", s.name(), x.link.Lower))
		}
	}
	return strings.Join(parts, ", ")
}

// onlyEnd is the interface of a namespace that is not its loopback, nil if there are several: which
// one a pair leads to cannot be told from outside.
func onlyEnd(s *netSpace) *netIface {
	var only *netIface
	for _, x := range s.ifaces {
		if x.link.Kind == collectors.LinkLoopback {
			continue
		}
		if only != nil {
			return nil
		}
		only = x
	}
	return only
}

// spacePage is a network namespace's protocol counters.
type spacePage struct {
	id    uint64
	title string
	list  list
}

func newSpacePage(s *netSpace) *spacePage {
	title := s.name()
	if s.Own {
		title = "our namespace"
	}
	return &spacePage{id: s.ID, title: title}
}

// Info implements Pane.
func (p *spacePage) Info() Info {
	return Info{ID: ID("netns " + p.title), Title: p.title, Short: p.title, Help: "network"}
}

// Wants implements Pane.
func (p *spacePage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *spacePage) Keys() []keymap.Key { return pageKeys(&p.list, "counter") }

// Update implements Pane.
func (p *spacePage) Update(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(Press); ok {
		p.list.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
}

func (p *spacePage) find(v *netView) *netSpace {
	if v == nil {
		return nil
	}
	for _, s := range v.spaces {
		if s.ID == p.id {
			return s
		}
	}
	return nil
}

// Table implements Pane: interfaces, then protocols.
func (p *spacePage) Table(f Frame) Table {
	t := Table{Title: p.title, Columns: []Column{
		{ID: "counter", Title: "counter", Width: 15, Left: true},
		{ID: "now", Title: "now/s", Unit: "/s", Width: 10, Decimals: 1},
	}}
	s := p.find(netOver(f))
	if s == nil {
		t.Notes = append(t.Notes, p.title+hasGone)
		return t
	}
	for _, c := range stackColumns() {
		t.Rows = append(t.Rows, Row{ID: c.id, Cells: []Cell{Say(strings.TrimSuffix(c.id, "/s")), stackCell(s, c)}})
	}
	p.list.order(&t)
	return t
}

// View implements Pane.
func (p *spacePage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s := p.find(netOver(f))
	if s == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.title), widget.NewLine(c.Width).Skip(1).Plain(p.title + hasGone).String()}
		return fit(lines, c.Height)
	}
	parts := []string{p.title}
	if !s.Own {
		parts = append(parts, fmt.Sprintf("pid %d", s.PID))
	}
	if s.Inode != 0 {
		parts = append(parts, fmt.Sprintf("net:[%d]", s.Inode))
	}
	parts = append(parts, fmt.Sprintf("%d interfaces", len(s.ifaces)))
	if s.seconds > 0 && f.Span == 0 {
		parts = append(parts, fmt.Sprintf("over %.0f s", math.Round(s.seconds)))
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	for _, x := range s.ifaces {
		if len(lines) > c.Height/3 {
			break
		}
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(widget.Clip(clean(x.link.Name), 15)).To(17).
			Put(c.Theme.Dim, "rx ").Plain(fmt.Sprintf("%-10s ", byteRate(ratePer(x.counts.RxBytes, s.seconds)))).
			Put(c.Theme.Dim, "tx ").Plain(byteRate(ratePer(x.counts.TxBytes, s.seconds))).String())
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, "protocols"))
	lines = append(lines, p.list.draw(c, p.Table(f), c.Height-len(lines), listOptions{})...)
	return fit(lines, c.Height)
}
