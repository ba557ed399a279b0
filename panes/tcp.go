// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// TCPPane is the id of the TCP pane.
const TCPPane ID = "tcp"

// tcpView is which table the pane shows.
type tcpView uint8

const (
	asSockets tcpView = iota
	asListeners
	asPeers
	asCounters
	tcpViews
)

func (v tcpView) String() string {
	switch v {
	case asListeners:
		return "listeners"
	case asPeers:
		return "peers"
	case asCounters:
		return "counters"
	case asSockets, tcpViews:
	}
	return "sockets"
}

// tcpPart is what the pane shows below sar's numbers.
type tcpPart uint8

const (
	tcpTables  tcpPart = iota // what there is
	tcpHappens                // what happened to connections
	tcpDelays                 // how long things took
	tcpParts
)

func (p tcpPart) String() string {
	switch p {
	case tcpHappens:
		return "events"
	case tcpDelays:
		return "latency"
	case tcpTables, tcpParts:
	}
	return "tables"
}

// TCP is the pane of TCP: sar's counters above one of four tables, one of five about what happened to
// connections, or the distributions of how long things took.
type TCP struct {
	part  tcpPart
	view  tcpView
	lists [tcpViews]list

	sections []flowSection
	at       int // of sections
	happened []list
	delays   flowDraw
}

// NewTCP returns the pane, with the busiest sockets first.
func NewTCP() *TCP {
	p := &TCP{sections: flowSections()}
	p.lists[asSockets] = newList("kB/s")
	p.happened = make([]list, len(p.sections))
	for i, x := range p.sections {
		if x.id == "states" {
			p.happened[i] = newList("rate")
		}
	}
	return p
}

// Info implements Pane.
func (p *TCP) Info() Info {
	return Info{ID: TCPPane, Title: "TCP", Short: "TCP", Digit: "7", Help: "tcp", Command: "sar -n TCP,ETCP 1; ss -tinp; tcpretrans; tcplife"}
}

// Wants implements Pane: sockets are read only while somebody looks at them; a scope is counted
// apart.
func (p *TCP) Wants(s Scope) []collectors.Want {
	wants := s.wants(collectors.FlowID)
	if p.view == asCounters || p.part != tcpTables {
		return wants
	}
	return append(wants, collectors.Want{ID: collectors.SocketsID})
}

// IDs of the keys of this pane.
const (
	keyTCPView    = "tcp.view"
	keyTCPBack    = "tcp.back"
	keyTCPPart    = "tcp.part"
	keyTCPSplit   = "tcp.split"
	keyTCPMeasure = "tcp.measure"
)

func (p *TCP) partKey() keymap.Key {
	return keymap.New(keyTCPPart, "t", ((p.part + 1) % tcpParts).String(), "t").In("tables of what there is, what happened to connections, how long things took")
}

// Keys implements Pane.
func (p *TCP) Keys() []keymap.Key {
	switch p.part {
	case tcpHappens:
		return p.happenKeys()
	case tcpDelays:
		return p.delayKeys()
	case tcpTables, tcpParts:
	}
	open := keymap.New(keymap.Open, "Enter", "connection", "enter").In("open the page of the connection")
	switch p.view {
	case asPeers:
		open = keymap.New(keymap.Open, "Enter", "peer", "enter").In("open the page of the peer")
	case asListeners:
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that listens")
	case asCounters:
		open = open.Off("a counter has no page: v goes to the connections")
	case asSockets, tcpViews:
	}
	next := (p.view + 1) % tcpViews
	return append([]keymap.Key{
		open,
		keymap.New(keyTCPView, "v", next.String(), "v").In("sockets, listeners, peers, counters"),
		dnsKey(),
		p.partKey(),
	}, p.lists[p.view].keys()...)
}

// happenKeys are those of the tables of what happened.
func (p *TCP) happenKeys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "peer", "enter").In("open the page of the peer")
	switch p.sections[p.at].id {
	case "processes":
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process")
	case "states":
		open = open.Off("a change of state has no page: events and ended name the peers")
	}
	return append([]keymap.Key{
		open,
		keymap.New(keyTCPView, "v", p.sections[p.beside(1)].title, "v").In("the next table: events, ended, services, processes, states"),
		keymap.New(keyTCPBack, "V", "back", "V").In("the table before"),
		p.partKey(),
	}, p.happened[p.at].keys()...)
}

// delayKeys are those of the distributions.
func (p *TCP) delayKeys() []keymap.Key {
	measures := flowMeasures()
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below a distribution"),
		keymap.New(keyTCPView, "v", ((p.delays.draw + 1) % drawings).String(), "v").In("draw as histogram, percentiles over time, heat map"),
		keymap.New(keyTCPSplit, "i", "split", "i").In("split by path: network and loopback"),
		keymap.New(keyTCPMeasure, "w", measures[(p.delays.measure+1)%len(measures)].title, "w").In("connect latency, round trip, life span"),
		p.partKey(),
		resetKey(),
	}, zoomKeys()...)
}

func (p *TCP) beside(step int) int { return (p.at + step + len(p.sections)) % len(p.sections) }

// Update implements Pane. Select takes a row of the tables, or a section of what happened: "events/".
func (p *TCP) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		return p.choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *TCP) choose(row string) Answer {
	if section, row, ok := strings.Cut(row, "/"); ok {
		if at := slices.IndexFunc(p.sections, func(x flowSection) bool { return x.id == section }); at >= 0 {
			p.part, p.at = tcpHappens, at
			p.happened[at].choose(row)
			return WantMsg{}
		}
	}
	p.part = tcpTables
	p.lists[p.view].choose(row)
	return nil
}

func (p *TCP) press(msg Press) Answer {
	switch {
	case msg.ID == keyTCPPart:
		p.part = (p.part + 1) % tcpParts
		return WantMsg{}
	case p.part == tcpHappens:
		return p.pressHappened(msg)
	case p.part == tcpDelays:
		return p.pressDelays(msg)
	}
	l := &p.lists[p.view]
	switch msg.ID {
	case keyTCPView:
		p.view = (p.view + 1) % tcpViews
		return WantMsg{}
	case keyDNS:
		return openDNS()
	case keymap.Open:
		r, ok := l.row(p.current(msg.Frame))
		switch {
		case !ok:
		case p.view == asSockets:
			if cookie, err := strconv.ParseUint(r.ID, 16, 64); err == nil {
				return OpenMsg{newSocketPage(cookie, msg.Frame)}
			}
		case p.view == asPeers:
			if addr, err := netip.ParseAddr(r.ID); err == nil {
				return OpenMsg{newPeerPage(addr)}
			}
		case p.view == asListeners:
			return openListener(msg.Frame, r)
		}
	default:
		l.press(msg.ID, p.current(msg.Frame))
	}
	return nil
}

func (p *TCP) pressHappened(msg Press) Answer {
	l := &p.happened[p.at]
	switch msg.ID {
	case keyTCPView:
		p.at = p.beside(1)
	case keyTCPBack:
		p.at = p.beside(-1)
	case keymap.Open:
		t := p.current(msg.Frame)
		if r, ok := l.row(t); ok {
			if p.sections[p.at].id == "processes" {
				return openWho(msg.Frame, Row{ID: strings.Replace(r.ID, "-", " ", 1), Cells: r.Cells})
			}
			if addr, ok := rowPeer(t, r); ok {
				return OpenMsg{newPeerPage(addr)}
			}
			return SayMsg{"no peer is known for this row"}
		}
	default:
		l.press(msg.ID, p.current(msg.Frame))
	}
	return nil
}

// rowPeer is the peer that a row is about.
func rowPeer(t Table, r Row) (netip.Addr, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == "peer_address" })
	if i < 0 || !r.Cells[i].Known() {
		return netip.Addr{}, false
	}
	at, err := netip.ParseAddrPort(r.Cells[i].Format(0))
	return at.Addr(), err == nil
}

func (p *TCP) pressDelays(msg Press) Answer {
	switch msg.ID {
	case keyTCPView:
		p.delays.draw = (p.delays.draw + 1) % drawings
	case keyTCPSplit:
		p.delays.split = (p.delays.split + 1) % flowPaths
	case keyTCPMeasure:
		p.delays.measure = (p.delays.measure + 1) % len(flowMeasures())
	case keyReset:
		return MarkMsg{}
	}
	return nil
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *TCP) Describe(f Frame) string {
	switch p.part {
	case tcpHappens:
		return p.happened[p.at].why(p.current(f))
	case tcpDelays:
		return ""
	case tcpTables, tcpParts:
	}
	return p.lists[p.view].why(p.current(f))
}

// Table implements Pane: sar's numbers as facts and the rows of the view, what connections did as
// distributions and further tables.
func (p *TCP) Table(f Frame) Table {
	q := *p
	q.part = tcpTables
	t := q.current(f)
	s := flowOver(f)
	for _, m := range flowMeasures() {
		t.Histograms = append(t.Histograms, m.histogram(f, s))
	}
	for i, x := range p.sections {
		more := x.of(f)
		p.happened[i].arrange(f, &more)
		t.More = append(t.More, more)
	}
	return t
}

// current is the table that is shown, in the order of its cursor.
func (p *TCP) current(f Frame) Table {
	if p.part == tcpHappens {
		t := p.sections[p.at].of(f)
		p.happened[p.at].arrange(f, &t)
		return t
	}
	t := Table{Title: "tcp", Facts: tcpFacts(f)}
	switch p.view {
	case asListeners:
		listenTable(f, &t)
	case asPeers:
		peerTable(f, &t)
	case asCounters:
		counterTable(f, &t)
	case asSockets, tcpViews:
		socketTable(f, &t)
	}
	tcpNotes(f, &t, p.view)
	p.lists[p.view].arrange(f, &t)
	return t
}

// tcpNotes say what is missing.
func tcpNotes(f Frame, t *Table, view tcpView) {
	if tcpOver(f) == nil {
		why, remedy := whyNot(f, collectors.TCPID, "sar TCP")
		t.Notes = append(t.Notes, note("sar TCP", why, remedy))
	}
	if view == asCounters {
		return
	}
	s := socketsOver(f)
	if s == nil {
		why, remedy := whyNot(f, collectors.SocketsID, "ss")
		t.Notes = append(t.Notes, note("ss", why, remedy))
		return
	}
	for _, x := range []struct {
		n    int
		what string
		on   bool
	}{
		{s.UnlistedRows, "sockets that did less", view == asSockets},
		{s.UnlistedListeners, "listeners", view == asListeners},
		{s.UnlistedPeers, "peers that did less", view == asPeers},
	} {
		if x.on && x.n > 0 {
			t.Notes = append(t.Notes, fmt.Sprintf("%d further %s are counted, not listed", x.n, x.what))
		}
	}
	if s.Every > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("read every %.0f s: one reading of %d sockets takes %d ms of CPU", s.Every.Seconds(), s.Total, s.Cost.Milliseconds()))
	}
	if s.NoIPv6 != "" {
		t.Notes = append(t.Notes, "no IPv6 sockets: "+clean2(s.NoIPv6))
	}
	if s.NoOwner != "" {
		t.Notes = append(t.Notes, "owners are missing: "+clean2(s.NoOwner))
	}
	if n := timeWaits(f); n > 0 && view == asSockets {
		t.Notes = append(t.Notes, fmt.Sprintf("%d sockets in TIME-WAIT are counted, not listed: they move no byte and no process holds them; ss -tan state time-wait lists them", n))
	}
	t.Notes = append(t.Notes, "sockets and counters are those of bpf60's own network namespace; mem, alloc and orphan are the host's")
}
