// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"

	"bpf60/collectors"
)

// sections are the tables of a peer.
func (p *peerPage) sections() []section {
	return []section{
		{
			id: "numbers", title: "numbers", table: p.numbers, spark: p.history, look: humanNumbers,
			why:  "a number of a peer has no page: its connections are in the next table",
			none: "no connection with it began, ended or failed while the probe watched",
		},
		{
			id: "connections", title: "connections", table: p.connections, open: openSocket, opens: "connection",
			none: "no TCP socket is connected with it",
		},
		{
			id: "owners", title: "who", table: p.owners, opens: "process",
			open: func(f Frame, _ collectors.Target, r Row) Answer { return openWho(f, r) },
			none: "no process is known that has a connection with it",
		},
		{
			id: "states", title: "states", table: p.states, why: "a state has no page: its connections are in the table before",
			none: "no TCP socket is connected with it",
		},
		{
			id: "events", title: "events", table: p.events, why: "all that is known of an event is in its row",
			none: "nothing was sent again, refused, reset or ended while the probe watched",
		},
	}
}

// numbers has a line for every number that was ever above zero.
func (p *peerPage) numbers(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "field", Title: "field", Width: 15, Left: true},
		{ID: "value", Title: "value", Width: 10, Decimals: 1},
		{ID: "unit", Title: "unit", Width: 7, Left: true},
		{ID: "total", Title: "in sight", Width: 9},
		{ID: "says", Title: "says", Width: 20, Left: true},
	}}
	s := flowOver(f)
	if s == nil {
		why, remedy := whyNot(f, collectors.FlowID, "tcpconnect")
		t.Notes = append(t.Notes, note("tcpconnect", why, remedy))
		return t
	}
	now, all, span := p.sum(f), p.all(f), p.over(f, s)
	t.Facts = []Fact{{ID: "mean of", Title: "the seconds that the rates are the mean of", Unit: "s", Cell: Number(span.Seconds())}}
	for _, x := range peerFields() {
		if x.of(&all.Counts) == 0 {
			continue
		}
		t.Rows = append(t.Rows, Row{ID: x.name, Cells: []Cell{
			Say(x.name), perSecond(x.of(&now.Counts), span), Say(x.unit), Number(float64(x.of(&all.Counts))), Say(x.says),
		}})
	}
	return t
}

// humanNumbers are the numbers as people read them.
func humanNumbers(t Table) Table { return humanRows(t, 2, 1, 3) }

// history is one of the numbers over time.
func (p *peerPage) history(f Frame, row string) []float64 {
	for _, x := range peerFields() {
		if x.name == row {
			return flowSeries(f, mostSpark, func(s *collectors.Flow) uint64 { return x.of(&p.of(s).Counts) })
		}
	}
	return nil
}

// has says whether a socket is connected with the peer.
func (p *peerPage) has(r *collectors.SocketRow) bool { return r.Remote.Addr().Unmap() == p.addr }

// unlisted is what the tables of sockets say of those that the sample does not list.
func (p *peerPage) unlisted(f Frame, listed int) []string {
	s := socketsOver(f)
	if s == nil {
		why, remedy := whyNot(f, collectors.SocketsID, "ss")
		return []string{note("ss", why, remedy)}
	}
	for i := range s.Peers {
		if o := &s.Peers[i]; o.Addr.Unmap() == p.addr && o.Sockets > listed {
			return []string{fmt.Sprintf("%d of its %d connections are listed: the host lists %d", listed, o.Sockets, mostSocketRows)}
		}
	}
	return nil
}

// connections are the sockets that are connected with the peer.
func (p *peerPage) connections(f Frame, _ collectors.Target) Table {
	var t Table
	socketTable(f, &t)
	rows := t.Rows
	t.Rows = nil
	if s := socketsOver(f); s != nil {
		for i := range s.Rows {
			if p.has(&s.Rows[i]) {
				t.Rows = append(t.Rows, rows[i])
			}
		}
	}
	t.Notes = p.unlisted(f, len(t.Rows))
	return t
}

// peerOwner is what the connections of one process with a peer sum up to.
type peerOwner struct {
	owner                    *collectors.SocketOwner
	sockets, established     int
	received, acked, retrans uint64
	recvQ, sendQ, rtt, rttN  uint64
}

// owners are the processes that have connections with the peer, those that move most first.
func (p *peerPage) owners(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "sockets", Title: "socks", Width: 6},
		{ID: "estab", Title: "ESTAB", Width: 6, Rank: 2},
		{ID: "recv-q", Title: "Recv-Q", Unit: "bytes", Width: 6, Rank: 1},
		{ID: "send-q", Title: "Send-Q", Unit: "bytes", Width: 6, Rank: 1},
		{ID: "rx", Title: "rx", Unit: "KiB/s", Width: 7, Decimals: 1},
		{ID: "tx", Title: "tx", Unit: "KiB/s", Width: 7, Decimals: 1},
		{ID: "rtt", Title: "rtt", Unit: "ms", Width: 6, Decimals: 2},
		{ID: "retr", Title: "retr/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
	}}
	s := socketsOver(f)
	if s == nil {
		t.Notes = p.unlisted(f, 0)
		return t
	}
	var list []peerOwner
	at := map[collectors.Process]int{}
	mine, unowned := 0, 0
	for i := range s.Rows {
		r := &s.Rows[i]
		if !p.has(r) {
			continue
		}
		if mine++; r.Owner == nil {
			unowned++
			continue
		}
		o := place(at, &list, r.Owner.Process, peerOwner{owner: r.Owner})
		o.sockets++
		if r.State == collectors.Established {
			o.established++
		}
		o.received, o.acked, o.retrans = o.received+r.Received, o.acked+r.Acked, o.retrans+uint64(r.Retrans)
		o.recvQ, o.sendQ = o.recvQ+uint64(r.RecvQ), o.sendQ+uint64(r.SendQ)
		if r.HasInfo && r.RTT > 0 {
			o.rtt, o.rttN = o.rtt+uint64(r.RTT), o.rttN+1
		}
	}
	sortStably(list, func(a, b peerOwner) int {
		return cmp.Or(cmp.Compare(b.received+b.acked, a.received+a.acked), cmp.Compare(b.sockets, a.sockets), cmp.Compare(a.owner.TGID, b.owner.TGID))
	})
	for _, o := range list {
		rtt := Missing("not measured yet")
		if o.rttN > 0 {
			rtt = Number(float64(o.rtt) / float64(o.rttN) / 1000)
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(o.owner.Process), Target: aboutProcess(o.owner.Process, o.owner.Comm), Cells: []Cell{
			Number(float64(o.sockets)), Number(float64(o.established)), Number(float64(o.recvQ)), Number(float64(o.sendQ)),
			kibRate(o.received, s.Span), kibRate(o.acked, s.Span), rtt, perSecond(o.retrans, s.Span),
			Number(float64(o.owner.TGID)), Name(collectors.Clean(o.owner.Comm)),
		}})
	}
	t.Notes = p.unlisted(f, mine)
	if unowned > 0 {
		why := cmp.Or(clean2(s.NoOwner), "not found among the open files, or closed by its process")
		t.Notes = append(t.Notes, strconv.Itoa(unowned)+" more connections without a process: "+why)
	}
	return t
}

// states are the states of the connections with the peer.
func (p *peerPage) states(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{{ID: "sockets", Title: "socks", Width: 6}, {ID: "state", Title: "State", Width: 12, Left: true}}}
	var n [collectors.SocketStates]int
	all := 0
	if s := socketsOver(f); s != nil {
		for i := range s.Rows {
			if r := &s.Rows[i]; p.has(r) && r.State < collectors.SocketStates {
				n[r.State]++
				all++
			}
		}
	}
	for state, count := range n {
		if count > 0 {
			name := collectors.SocketState(state).String()
			t.Rows = append(t.Rows, Row{ID: name, Cells: []Cell{Number(float64(count)), Say(name)}})
		}
	}
	t.Notes = p.unlisted(f, all)
	return t
}

// events are what went wrong with connections with the peer, and those that ended, newest first.
func (p *peerPage) events(f Frame, _ collectors.Target) Table {
	t := eventColumns()
	rows, _ := flowEvents(f, func(s *collectors.Flow) []*collectors.FlowEvents { return append(flowTrouble(s), &s.Ended) }, p.mine)
	eventRows(f, &t, rows)
	return t
}
