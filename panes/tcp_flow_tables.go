// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"

	"bpf60/collectors"
)

// flowColumns are what services and processes have in common.
func flowColumns() []Column {
	return []Column{
		{ID: "conn", Title: "conn/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "acc", Title: "acc/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "fail", Title: "fail/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "retr", Title: "retr/s", Unit: "/s", Width: 6, Decimals: 1},
		{ID: "rst", Title: "rst/s", Unit: "/s", Width: 6, Decimals: 1, Rank: 4},
		{ID: "end", Title: "end/s", Unit: "/s", Width: 6, Decimals: 1, Rank: 6},
		{ID: "tx", Title: "tx", Unit: "KiB/s", Width: 7, Decimals: 1, Rank: 3},
		{ID: "rx", Title: "rx", Unit: "KiB/s", Width: 7, Decimals: 1, Rank: 3},
	}
}

func flowCells(c *collectors.FlowCounts, span collectors.Span) []Cell {
	return []Cell{
		perSecond(c[collectors.FlowConnects], span), perSecond(c[collectors.FlowAccepts], span),
		perSecond(c.Failures(), span), perSecond(c[collectors.FlowRetransmits], span),
		perSecond(c[collectors.FlowResetsSent]+c[collectors.FlowResetsReceived], span),
		perSecond(c[collectors.FlowEnded], span), kibRate(c[collectors.FlowSent], span), kibRate(c[collectors.FlowReceived], span),
	}
}

// worstWords say in a few cells what went wrong most.
func worstWords(c *collectors.FlowCounts) string {
	type word struct {
		name string
		n    uint64
	}
	words := []word{
		{"refused", c[collectors.FlowRefused]},
		{"timed out", c[collectors.FlowTimedOut]},
		{"unreachable", c[collectors.FlowUnreachable]},
		{"no port", c[collectors.FlowNoPort]},
		{"given up", c[collectors.FlowGivenUp]},
		{"failed", c[collectors.FlowFailed]},
		{"retransmits", c[collectors.FlowRetransmits]},
		{"reset by peer", c[collectors.FlowPeerReset]},
		{"expired", c[collectors.FlowExpired]},
	}
	worst := slices.MaxFunc(words, func(a, b word) int { return cmp.Compare(a.n, b.n) })
	if worst.n == 0 {
		return ""
	}
	return worst.name
}

// flowServiceTable has a line for every address and service port.
func flowServiceTable(f Frame, s *flowSum) Table {
	t := Table{Columns: append(flowColumns(),
		Column{ID: "connect", Title: "connect", Unit: "ms", Width: 7, Decimals: 2, Rank: 1},
		Column{ID: "rtt", Title: "rtt", Unit: "ms", Width: 6, Decimals: 2, Rank: 2},
		Column{ID: "worst", Title: "Worst", Width: 13, Left: true, Rank: 5},
		Column{ID: "dir", Title: "", Width: 2, Left: true},
		Column{ID: "peer", Title: "Peer", Width: addrWidth, Left: true},
		Column{ID: "peer_address", Title: "peer address", Width: 21, Left: true, Hidden: true},
	)}
	if s == nil {
		return t
	}
	if kept := flowOver(windowed(f).rowed()); kept != nil {
		s = kept
	}
	rowsNote(f, &t)
	for i := range s.Peers {
		p := &s.Peers[i]
		name := p.Addr.String()
		text := endpoint(p.Addr)
		if p.Role == collectors.FlowPassive { // the port is ours
			text = middle(p.Addr.Addr().String(), addrWidth-7) + fmt.Sprintf(" :%d", p.Addr.Port())
		}
		t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("%d %s", p.Role, name), Target: aboutPeer(p.Addr.Addr()), Cells: append(flowCells(&p.Counts, s.Span),
			meanCell(&p.Latency, "no connect to it succeeded"), meanCell(&p.RTT, "not measured yet"),
			worstCell(&p.Counts), roleCell(p.Role), Say(text), Say(name))})
	}
	if s.UnlistedPeers > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d further services are counted, not listed", s.UnlistedPeers))
	}
	return t
}

func worstCell(c *collectors.FlowCounts) Cell {
	if w := worstWords(c); w != "" {
		return Say(w)
	}
	return Missing("nothing went wrong")
}

func meanCell(h *collectors.Hist, why string) Cell {
	if h.Count() == 0 {
		return Missing(why)
	}
	return Number(float64(h.Mean()) / 1e6)
}

// flowProcessTable has a line for every process.
func flowProcessTable(f Frame, s *flowSum) Table {
	t := Table{Columns: append(flowColumns(),
		Column{ID: "worst", Title: "Worst", Width: 13, Left: true, Rank: 5},
		Column{ID: "pid", Title: "PID", Width: 7},
		Column{ID: "process", Title: "Process", Width: 16, Left: true},
	)}
	if s == nil {
		return t
	}
	if kept := flowOver(windowed(f).rowed()); kept != nil {
		s = kept
	}
	rowsNote(f, &t)
	for i := range s.Processes {
		p := &s.Processes[i]
		t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("%d-%d", p.TGID, p.Start), Target: aboutProcess(p.Process, p.Comm), Cells: append(flowCells(&p.Counts, s.Span),
			worstCell(&p.Counts), Number(float64(p.TGID)), Name(collectors.Clean(p.Comm)))})
	}
	if s.Unowned != (collectors.FlowCounts{}) {
		t.Rows = append(t.Rows, Row{ID: "unowned", Cells: append(flowCells(&s.Unowned, s.Span),
			worstCell(&s.Unowned), Missing("these connections belong to no process that is known"), Say("(not known)"))})
	}
	if s.UnlistedProcesses > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d further processes are counted, not listed", s.UnlistedProcesses))
	}
	return t
}

// flowStateTable has a line for every change of state that happened: tcpstates, added up.
func flowStateTable(_ Frame, s *flowSum) Table {
	t := Table{Columns: []Column{
		{ID: "rate", Title: "/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "count", Title: "count", Width: 9},
		{ID: "ms", Title: "mean ms", Unit: "ms", Width: 10, Decimals: 2},
		{ID: "from", Title: "From", Width: 10, Left: true},
		{ID: "to", Title: "To", Width: 10, Left: true},
	}}
	if s == nil {
		return t
	}
	for from := range s.Moves {
		for to, n := range s.Moves[from] {
			if n == 0 {
				continue
			}
			stay := Missing("it left this state, and the probe did not see when it came")
			if left := s.Left[from]; left > 0 {
				stay = Number(float64(s.Stayed[from]) / 1e6 / float64(left))
			}
			t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("%d-%d", from, to), Cells: []Cell{
				perSecond(n, s.Span), Number(float64(n)), stay,
				Say(collectors.SocketState(from).String()), Say(collectors.SocketState(to).String()),
			}})
		}
	}
	return t
}
