// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
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
	parts sections
}

func newIfacePage(s *netSpace, l *collectors.NetLink) *ifacePage {
	title := clean(l.Name)
	if !s.Own {
		title = s.name() + "/" + title
	}
	return ifacePageOf(keyOf(l), title)
}

func ifacePageOf(key netKey, title string) *ifacePage {
	p := &ifacePage{key: key, title: title}
	p.parts = newSections(collectors.Target{Kind: collectors.NamedTarget, Name: title}, p.sections())
	return p
}

// Info implements Pane.
func (p *ifacePage) Info() Info {
	return Info{ID: ID("interface " + p.title), Title: p.title, Short: p.title, Help: "network"}
}

// Wants implements Pane: also who has connections over it. Only our own namespace has a table of them.
func (p *ifacePage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.SocketsID}}
}

// Keys implements Pane.
func (p *ifacePage) Keys() []keymap.Key { return p.parts.keys() }

// pageKeys are the keys of a page whose body is a table with nothing below it.
func pageKeys(l *list) []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("a counter of a namespace has no page"),
	}, l.keys()...)
}

// Update implements Pane. Select takes a section, or a section and a row.
func (p *ifacePage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		return p.parts.press(msg)
	}
	return nil
}

// Describe implements Describer.
func (p *ifacePage) Describe(f Frame) string { return p.parts.describe(f) }

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

// Table implements Pane: what is known of the interface as facts, and its tables.
func (p *ifacePage) Table(f Frame) Table {
	t := Table{Title: p.title}
	p.parts.into(f, &t)
	if x := p.find(netOver(f)); x != nil {
		t.Facts = append(linkFacts(x), t.Facts...)
	}
	return t
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
		count("rx queues", "", uint64(l.RxQueues)), count("tx queues", "", uint64(l.TxQueues)), count("queued", "bytes", l.Backlog),
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
	var facts []string
	for _, fact := range linkFacts(x) {
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
	most := 10
	if c.Height >= wideHeight {
		most = 16
	}
	if graph := min((c.Height-len(lines))/4, most); graph >= 2 {
		lines = append(lines, p.graphs(f, c, x, graph)...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// factText writes a fact as "mtu 1500".
func factText(f Fact) string {
	s := f.Title + " " + f.Cell.Format(f.Decimals)
	switch f.ID {
	case "type", "driver", "state":
		s = f.Cell.Format(0)
	case "speed":
		s = f.Cell.Format(0) + " Mbit/s"
	case "queued":
		s += " bytes"
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
		if x.seconds > 0 && x.why == "" {
			now = byteRate(ratePer(n, x.seconds))
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
