// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// addrWidth is what an address with its port may take on the screen: every IPv4 one fits.
const addrWidth = 21

// endpoint writes an address with its port in at most addrWidth cells. A long one, of IPv6, is cut in
// its middle: both the network and the host stay recognisable, and the port is whole.
func endpoint(a netip.AddrPort) string {
	addr := a.Addr().Unmap()
	port := ":" + strconv.Itoa(int(a.Port()))
	if a.Port() == 0 {
		port = ":*"
	}
	text := addr.String()
	if addr.IsUnspecified() {
		text = "*"
	}
	if !addr.Is6() || text == "*" {
		return text + port
	}
	return "[" + middle(text, addrWidth-len(port)-2) + "]" + port
}

// middle cuts the middle out of a text of one byte a character.
func middle(s string, width int) string {
	if len(s) <= width || width < 3 {
		return s
	}
	tail := (width - 1) / 2
	return s[:width-1-tail] + "…" + s[len(s)-tail:]
}

// ownerCell is the process that holds a socket: its name, its PID, and how many more hold it.
func ownerCell(id *collectors.SocketID, state collectors.SocketState, s *collectors.Sockets) Cell {
	if o := id.Owner; o != nil {
		text := fmt.Sprintf("%s[%d]", clean(o.Comm), o.TGID)
		if o.Others > 0 {
			text += fmt.Sprintf("+%d", o.Others)
		}
		return Say(text)
	}
	switch {
	case id.Inode == 0 && (state == collectors.Established || state == collectors.SynRecv || state == collectors.CloseWait):
		return Missing("no process has accepted it yet, or its process has closed it")
	case id.Inode == 0:
		return Missing("its process has closed it; the kernel finishes it")
	case s.NoOwner != "":
		return Missing(clean2(s.NoOwner))
	}
	return Missing("not found among the open files of the processes that show here, or not looked for yet")
}

// micros is a time of tcp_info in milliseconds; 0 is not measured yet.
func micros(us uint32, info bool) Cell {
	if !info || us == 0 || us == 1<<32-1 {
		return Missing("not measured yet")
	}
	return Number(float64(us) / 1000)
}

// ofInfo is a number that a socket without tcp_info does not have.
func ofInfo(v float64, info bool) Cell {
	if !info {
		return Missing("a handshake under way has no such number")
	}
	return Number(v)
}

// partOf is a time of the span, in percent.
func partOf(us uint64, span collectors.Span) Cell {
	if span.Seconds() <= 0 {
		return Missing("waiting for a second reading")
	}
	return Number(min(float64(us)/1e4/span.Seconds(), 100))
}

func cookieID(cookie uint64) string { return strconv.FormatUint(cookie, 16) }

// socketTable is ss -tin: the classic columns, and what moved.
func socketTable(f Frame, t *Table) {
	t.Columns = []Column{
		{ID: "state", Title: "State", Width: 10, Left: true, Rank: 3},
		{ID: "recv-q", Title: "Recv-Q", Unit: "bytes", Width: 6, Rank: 1},
		{ID: "send-q", Title: "Send-Q", Unit: "bytes", Width: 6, Rank: 1},
		{ID: "kB/s", Title: "kB/s", Unit: "KiB/s", Width: 6, Decimals: 1},
		{ID: "rx", Title: "rx", Unit: "KiB/s", Width: 6, Decimals: 1, Rank: 5},
		{ID: "tx", Title: "tx", Unit: "KiB/s", Width: 6, Decimals: 1, Rank: 5},
		{ID: "rtt", Title: "rtt", Unit: "ms", Width: 6, Decimals: 2, Rank: 2},
		{ID: "rttvar", Title: "var", Unit: "ms", Width: 6, Decimals: 1, Rank: 8},
		{ID: "retr", Title: "retr", Unit: "segments", Width: 4, Rank: 2},
		{ID: "retrans", Title: "all", Unit: "segments", Width: 6, Rank: 9},
		{ID: "cwnd", Title: "cwnd", Unit: "segments", Width: 5, Rank: 6},
		{ID: "unacked", Title: "unack", Unit: "segments", Width: 5, Rank: 11},
		{ID: "lost", Title: "lost", Unit: "segments", Width: 5, Rank: 12},
		{ID: "busy", Title: "busy", Unit: "%", Width: 5, Decimals: 1, Rank: 7},
		{ID: "rwnd", Title: "rwnd", Unit: "%", Width: 5, Decimals: 1, Rank: 7},
		{ID: "sndbuf", Title: "sndbf", Unit: "%", Width: 5, Decimals: 1, Rank: 7},
		{ID: "delivery", Title: "deliv", Unit: "KiB/s", Width: 7, Decimals: 1, Rank: 10},
		{ID: "mss", Title: "mss", Unit: "bytes", Width: 5, Hidden: true},
		{ID: "rto", Title: "rto", Unit: "ms", Width: 6, Hidden: true},
		{ID: "minrtt", Title: "minrtt", Unit: "ms", Width: 6, Decimals: 3, Hidden: true},
		{ID: "cong", Title: "cong", Width: 6, Left: true, Rank: 15},
		{ID: "uid", Title: "uid", Width: 6, Hidden: true},
		{ID: "local", Title: "Local", Width: addrWidth, Left: true, Rank: 4},
		{ID: "peer", Title: "Peer", Width: addrWidth, Left: true},
		{ID: "process", Title: "Process", Width: 13, Left: true},
		{ID: "local_address", Title: "local address", Width: 21, Left: true, Hidden: true},
		{ID: "peer_address", Title: "peer address", Width: 21, Left: true, Hidden: true},
	}
	s := socketsOver(f)
	if s == nil {
		return
	}
	rowsNote(f, t)
	t.Rows = make([]Row, 0, len(s.Rows))
	for i := range s.Rows {
		t.Rows = append(t.Rows, socketRow(s, &s.Rows[i]))
	}
}

// ofSocket is the target of a connection.
func ofSocket(s *collectors.SocketID) collectors.Target {
	p, comm := ownerOf(s)
	return toPeer(p, comm, s.Remote)
}

// ownerOf is the process of a socket, zero if it is not known.
func ownerOf(s *collectors.SocketID) (collectors.Process, collectors.Raw) {
	if s.Owner == nil {
		return collectors.Process{}, collectors.Raw{}
	}
	return s.Owner.Process, s.Owner.Comm
}

func socketRow(s *collectors.Sockets, r *collectors.SocketRow) Row {
	n := func(v uint32) Cell { return ofInfo(float64(v), r.HasInfo) }
	rate := Missing("not measured yet")
	if r.DeliveryRate > 0 {
		rate = Number(float64(r.DeliveryRate) / 1024)
	}
	return Row{ID: cookieID(r.Cookie), Target: ofSocket(r.SocketID), Cells: []Cell{
		Say(r.State.String()),
		Number(float64(r.RecvQ)), Number(float64(r.SendQ)),
		kibRate(r.Acked+r.Received, s.Span), kibRate(r.Received, s.Span), kibRate(r.Acked, s.Span),
		micros(r.RTT, r.HasInfo), micros(r.RTTVar, r.HasInfo && r.RTT > 0),
		n(r.Retrans), n(r.RetransTotal), n(r.Cwnd), n(r.Unacked), n(r.Lost),
		partOf(r.Busy, s.Span), partOf(r.RwndLimited, s.Span), partOf(r.SndbufLimited, s.Span),
		rate, n(r.MSS), micros(r.RTO, r.HasInfo), micros(r.MinRTT, r.HasInfo), Name(collectors.Clean(r.Congestion)), Number(float64(r.UID)),
		Say(endpoint(r.Local)), Say(endpoint(r.Remote)), ownerCell(r.SocketID, r.State, s),
		Say(r.Local.String()), Say(r.Remote.String()),
	}}
}

// listenTable is ss -tl: how full the accept queues are, and what they dropped.
func listenTable(f Frame, t *Table) {
	t.Columns = []Column{
		{ID: "recv-q", Title: "Recv-Q", Unit: "connections", Width: 6},
		{ID: "send-q", Title: "Send-Q", Unit: "connections", Width: 6},
		{ID: "full", Title: "full%", Unit: "%", Width: 5, Rank: 2},
		{ID: "drops", Title: "drop/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "drops_total", Title: "drops", Width: 7, Rank: 4},
		{ID: "conns", Title: "conns", Width: 6, Rank: 1},
		{ID: "syn-recv", Title: "syn", Width: 5, Rank: 3},
		{ID: "local", Title: "Local", Width: addrWidth, Left: true},
		{ID: "process", Title: "Process", Width: 13, Left: true},
		{ID: "local_address", Title: "local address", Width: 21, Left: true, Hidden: true},
	}
	s := socketsOver(f)
	if s == nil {
		return
	}
	rowsNote(f, t)
	for i := range s.Listeners {
		l := &s.Listeners[i]
		full := Missing("no backlog")
		if l.Backlog > 0 {
			full = Number(100 * float64(l.Queue) / float64(l.Backlog))
		}
		t.Rows = append(t.Rows, Row{ID: cookieID(l.Cookie), Target: aboutProcess(ownerOf(l.SocketID)), Cells: []Cell{
			Number(float64(l.Queue)), Number(float64(l.Backlog)), full,
			perSecond(uint64(l.Drops), s.Span), Number(float64(l.DropsTotal)),
			Number(float64(l.Connections)), Number(float64(l.SynRecv)),
			Say(endpoint(l.Local)), ownerCell(l.SocketID, collectors.Listen, s), Say(l.Local.String()),
		}})
	}
}

// peerTable adds up the sockets to each address.
func peerTable(f Frame, t *Table) {
	t.Columns = []Column{
		{ID: "sockets", Title: "socks", Width: 6},
		{ID: "estab", Title: "ESTAB", Width: 6, Rank: 3},
		{ID: "syn-sent", Title: "SYN-SENT", Width: 8, Rank: 1},
		{ID: "recv-q", Title: "Recv-Q", Unit: "bytes", Width: 6, Rank: 2},
		{ID: "send-q", Title: "Send-Q", Unit: "bytes", Width: 6},
		{ID: "rx", Title: "rx", Unit: "KiB/s", Width: 7, Decimals: 1},
		{ID: "tx", Title: "tx", Unit: "KiB/s", Width: 7, Decimals: 1},
		{ID: "rtt", Title: "rtt", Unit: "ms", Width: 6, Decimals: 2},
		{ID: "retr", Title: "retr/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "peer", Title: "Peer", Width: addrWidth, Left: true},
		{ID: "peer_address", Title: "peer address", Width: 21, Left: true, Hidden: true},
	}
	s := socketsOver(f)
	if s == nil {
		return
	}
	rowsNote(f, t)
	for i := range s.Peers {
		p := &s.Peers[i]
		rtt := Missing("not measured yet")
		if p.RTTCount > 0 {
			rtt = Number(float64(p.RTTSum) / float64(p.RTTCount) / 1000)
		}
		t.Rows = append(t.Rows, Row{ID: p.Addr.String(), Target: aboutPeer(p.Addr), Cells: []Cell{
			Number(float64(p.Sockets)), Number(float64(p.Established)), Number(float64(p.SynSent)),
			Number(float64(p.RecvQ)), Number(float64(p.SendQ)), kibRate(p.Received, s.Span), kibRate(p.Acked, s.Span),
			rtt, perSecond(p.Retrans, s.Span), Say(middle(p.Addr.String(), addrWidth)), Say(p.Addr.String()),
		}})
	}
}

// counterTable has a line for every counter.
func counterTable(f Frame, t *Table) {
	t.Columns = []Column{
		{ID: "rate", Title: "/s", Unit: "/s", Width: 9, Decimals: 2},
		{ID: "total", Title: "total", Width: 10},
		{ID: "counter", Title: "counter", Width: 24, Left: true},
		{ID: "says", Title: "says", Width: 16, Left: true, Rank: 1},
	}
	s := tcpOver(f)
	if s == nil {
		return
	}
	says := counterWords()
	for i, name := range collectors.TCPNames() {
		c := collectors.TCPCounter(i)
		total := Missing("this kernel does not count it, or /proc/net cannot be read")
		if s.Has.Has(c) {
			total = Number(float64(s.Total[c]))
		}
		t.Rows = append(t.Rows, Row{ID: name, Cells: []Cell{tcpCell(s, c), total, Say(name), Say(says[c])}})
	}
}

// counterSeries is a counter's rate over time.
func counterSeries(f Frame, c collectors.TCPCounter) []float64 {
	return series(f, sparkSamples, tcpOf, func(t *collectors.TCP) float64 {
		if t.Seconds() == 0 {
			return 0
		}
		return float64(t.Delta[c]) / t.Seconds()
	})
}

// stretched says how old the table of sockets may be, where that is more than a tick.
func stretched(s *collectors.Sockets) string {
	if s == nil || s.Every == 0 {
		return ""
	}
	return "every " + widget.Age(s.Every.Round(time.Second))
}
