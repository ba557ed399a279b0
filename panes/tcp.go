// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"

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

// TCP is the pane of TCP: sar's counters above one of four tables.
type TCP struct {
	view  tcpView
	lists [tcpViews]list
}

// NewTCP returns the pane, with the busiest sockets first.
func NewTCP() *TCP {
	p := &TCP{}
	p.lists[asSockets] = newList("kB/s")
	return p
}

// Info implements Pane.
func (p *TCP) Info() Info {
	return Info{ID: TCPPane, Title: "TCP", Short: "TCP", Digit: "7", Help: "tcp", Command: "sar -n TCP,ETCP 1; ss -tinp"}
}

// Wants implements Pane: sockets are read only while somebody looks at them.
func (p *TCP) Wants(Scope) []collectors.Want {
	if p.view == asCounters {
		return nil
	}
	return []collectors.Want{{ID: collectors.SocketsID}}
}

const keyTCPView = "tcp.view"

// Keys implements Pane.
func (p *TCP) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "connection", "enter").In("open the page of the connection")
	if p.view != asSockets {
		open = open.Off("only connections have a page: v goes to them")
	}
	next := (p.view + 1) % tcpViews
	return append([]keymap.Key{
		open,
		keymap.New(keyTCPView, "v", next.String(), "v").In("sockets, listeners, peers, counters"),
	}, p.lists[p.view].keys()...)
}

// Update implements Pane.
func (p *TCP) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.lists[p.view].choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *TCP) press(msg Press) tea.Cmd {
	l := &p.lists[p.view]
	switch msg.ID {
	case keyTCPView:
		p.view = (p.view + 1) % tcpViews
		return send(WantMsg{})
	case keymap.Open:
		if p.view != asSockets {
			return nil
		}
		if r, ok := l.row(p.Table(msg.Frame)); ok {
			if cookie, err := strconv.ParseUint(r.ID, 16, 64); err == nil {
				return send(OpenMsg{newSocketPage(cookie, msg.Frame)})
			}
		}
	default:
		l.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *TCP) Describe(f Frame) string { return p.lists[p.view].why(p.Table(f)) }

// Table implements Pane: sar's numbers as facts, and the rows of the view.
func (p *TCP) Table(f Frame) Table {
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
	p.lists[p.view].order(&t)
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
	t.Notes = append(t.Notes, "sockets and counters are those of bpf60's own network namespace; mem, alloc and orphan are the host's")
}

// sarColumn is a number of sar -n TCP,ETCP.
type sarColumn struct {
	id      string
	counter collectors.TCPCounter
	title   string
}

// sarColumns are sar's, in its order: TCP, then ETCP.
func sarColumns() (tcp, etcp []sarColumn) {
	tcp = []sarColumn{
		{"active/s", collectors.TCPActiveOpens, "connects"},
		{"passive/s", collectors.TCPPassiveOpens, "connections taken up"},
		{"iseg/s", collectors.TCPInSegs, "segments received"},
		{"oseg/s", collectors.TCPOutSegs, "segments sent, without those sent again"},
	}
	etcp = []sarColumn{
		{"atmptf/s", collectors.TCPAttemptFails, "connects and handshakes that failed"},
		{"estres/s", collectors.TCPEstabResets, "established connections that were reset"},
		{"retrseg/s", collectors.TCPRetransSegs, "segments sent again"},
		{"isegerr/s", collectors.TCPInErrs, "segments received with an error"},
		{"orsts/s", collectors.TCPOutRsts, "resets sent"},
	}
	return tcp, etcp
}

// tcpCell is a counter's rate over the sample, or why there is none.
func tcpCell(t *collectors.TCP, c collectors.TCPCounter) Cell {
	if !t.Has.Has(c) {
		return Missing("this kernel does not count it, or /proc/net cannot be read")
	}
	return perSecond(t.Delta[c], t.Span)
}

// retransShare is the share of segments sent again, in percent. The kernel counts those apart from
// OutSegs, so it may be above 100.
func retransShare(t *collectors.TCP) Cell {
	switch out := t.Delta[collectors.TCPOutSegs]; {
	case !t.Has.Has(collectors.TCPRetransSegs) || !t.Has.Has(collectors.TCPOutSegs):
		return tcpCell(t, collectors.TCPRetransSegs)
	case out == 0:
		return Missing("nothing was sent")
	default:
		return Number(100 * float64(t.Delta[collectors.TCPRetransSegs]) / float64(out))
	}
}

// tcpFacts are the numbers of sar -n TCP,ETCP and SOCK.
func tcpFacts(f Frame) []Fact {
	t := tcpOver(f)
	if t == nil {
		return nil
	}
	var out []Fact
	tcp, etcp := sarColumns()
	for _, c := range append(tcp, etcp...) {
		out = append(out, Fact{ID: c.id, Title: c.title, Unit: "/s", Cell: tcpCell(t, c.counter), Decimals: 2})
	}
	out = append(out, Fact{ID: "retrans%", Title: "of the segments sent", Unit: "%", Cell: retransShare(t), Decimals: 2})
	gauge := func(id, title, unit string, known bool, v float64) {
		cell := Missing("/proc/net/sockstat cannot be read")
		if known {
			cell = Number(v)
		}
		out = append(out, Fact{ID: id, Title: title, Unit: unit, Cell: cell})
	}
	s := t.Stat
	gauge("established", "connections (CurrEstab)", "", t.EstablishedKnown, float64(t.Established))
	gauge("totsck", "sockets of every kind", "", s.Known, float64(s.Used))
	gauge("tcpsck", "TCP sockets, IPv4", "", s.Known, float64(s.TCP))
	gauge("tcp6sck", "TCP sockets, IPv6", "", s.Known && s.SixKnown, float64(s.TCP6))
	gauge("tcp-tw", "in TIME-WAIT", "", s.Known, float64(s.TimeWait))
	gauge("orphan", "closed by their process, host-wide", "", s.Known, float64(s.Orphans))
	gauge("alloc", "TCP sockets, host-wide", "", s.Known, float64(s.Allocated))
	gauge("tcp_mem", "in TCP's queues, host-wide", "bytes", s.Known, float64(s.TCPMem))
	gauge("udp_mem", "in UDP's queues, host-wide", "bytes", s.Known, float64(s.UDPMem))
	return out
}
