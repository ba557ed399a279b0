// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
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
	netDrops
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
	case netDrops:
		return "drops"
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
		open = keymap.New(keymap.Open, "Enter", "cpu", "enter").In("open the page of the CPU")
		idle = idle.Off("this is the table of CPUs")
	case netDrops:
		open = keymap.New(keymap.Open, "Enter", "reason", "enter").In("open the page of the reason: where in the kernel, whose socket, which packets")
		idle = idle.Off("this is the table of dropped packets")
	case netDev, netErrors, netDraws:
	}
	return append([]keymap.Key{
		open,
		keymap.New(keyNetDraw, "v", ((p.draw + 1) % netDraws).String(), "v").In("show interfaces, their errors, softnet by CPU, namespaces, dropped packets by reason"),
		dnsKey(),
		idle,
	}, p.lists[p.draw].keys()...)
}

// Update implements Pane.
func (p *Network) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		reason, ok := strings.CutPrefix(msg.Row, "drops/")
		if ok || msg.Row == "drops" {
			p.draw = netDrops
			p.lists[netDrops].choose(reason)
			return nil
		}
		p.draw = netDev
		p.lists[netDev].choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Network) press(msg Press) Answer {
	switch msg.ID {
	case keyNetDraw:
		p.draw = (p.draw + 1) % netDraws
		if p.draw == netErrors { // a view of the same rows
			p.lists[netErrors].choose(p.lists[netDev].selected)
		}
	case keyNetIdle:
		p.idle = !p.idle
	case keyDNS:
		return openDNS()
	case keymap.Open:
		return p.open(msg.Frame)
	default:
		p.list().press(msg.ID, p.shown(msg.Frame, netOver(msg.Frame)))
	}
	return nil
}

// list is the cursor of the table that is shown.
func (p *Network) list() *list { return &p.lists[p.draw] }

// open leads to the page of the selected row.
func (p *Network) open(f Frame) Answer {
	v := netOver(f)
	r, ok := p.lists[p.draw].row(p.shown(f, v))
	if ok && p.draw == netSoft {
		cpu, err := strconv.Atoi(r.ID)
		if err != nil {
			return SayMsg{"this row is about all CPUs"}
		}
		return OpenMsg{newCPUPage(cpu)}
	}
	if ok && p.draw == netDrops {
		return OpenMsg{newDropPage(r.ID)}
	}
	if !ok || v == nil {
		return nil
	}
	for _, s := range v.spaces {
		if p.draw == netSpaces {
			if spaceRow(s) == r.ID {
				return OpenMsg{newSpacePage(s)}
			}
			continue
		}
		for _, x := range s.ifaces {
			if ifaceRow(s, x.link) == r.ID {
				return OpenMsg{newIfacePage(s, x.link)}
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
	p.lists[netDev].arrange(f, &t)
	namesFirst(&t)
	t.Facts = netFacts(v)
	dropped := dropsOver(f)
	t.More = []Table{dropTable(f, dropped), dropSockets(f, dropped)}
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
		t = softnetTable(f, v)
	case netSpaces:
		t = spacesTable(v)
	case netDrops:
		t = dropTable(f, dropsOver(f))
	case netDev, netErrors, netDraws:
		t = p.interfaces(f, v, p.draw == netErrors)
	}
	p.list().arrange(f, &t)
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
