// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// tcpLine is sar -n TCP,ETCP in one line of the checklist.
func tcpLine(f Frame) line {
	l := line{id: "sar TCP", pane: TCPPane, value: math.NaN(), unit: "retrseg/s"}
	t := tcpOver(f)
	if t == nil {
		l.why, _ = whyNot(f, collectors.TCPID, "sar TCP")
		l.parts = []part{{"active - passive - retrseg -", 0}}
		return l
	}
	at := func(c collectors.TCPCounter) string { return rateText(tcpCell(t, c)) + "/s" }
	retrans := tcpCell(t, collectors.TCPRetransSegs)
	if v, ok := retrans.Num(); ok {
		l.value = v
	} else {
		l.why = retrans.Why
	}
	worst, full := flowWorst(flowOver(f))
	rank := 0
	if worst != "" { // who it is says more than how much there is
		rank = 1
	}
	l.parts = []part{
		{"active " + at(collectors.TCPActiveOpens), 3},
		{"passive " + at(collectors.TCPPassiveOpens), 2},
		{"retrseg " + rateText(retrans) + "/s", rank},
	}
	if v, ok := retransShare(t).Num(); ok && v > 0 {
		l.parts = append(l.parts, part{percentText(retransShare(t)), 4})
	}
	overflow := "overflow " + at(collectors.TCPListenOverflows)
	if !t.Has.Has(collectors.TCPListenOverflows) {
		overflow = "overflow"
	}
	if worst != "" && !full {
		l.row = "events/" // there they are, by peer and process
	}
	if full {
		worst = overflow + " " + worst
	} else if t.Delta[collectors.TCPListenOverflows] > 0 {
		l.parts = append(l.parts, part{overflow, 0})
	}
	if t.EstablishedKnown {
		l.parts = append(l.parts, part{"estab " + widget.Count(uint64(t.Established)), 5})
	}
	if worst != "" {
		l.parts = append(l.parts, part{worst, 0})
	}
	l.series = counterSeries(f, collectors.TCPRetransSegs)
	l.hi = most(l.series)
	return l
}

// flowWorst is the worst that connections met in the last seconds, with the peer and the process that
// met it most; empty when nothing went wrong. Full says that a listening socket's queue was. A connect that its process gave up is no fault: where
// there are two families the slower one is given up.
func flowWorst(s *flowSum) (words string, full bool) {
	if s == nil {
		return "", false
	}
	if len(s.Listen.Rows) > 0 && s.Listen.Overflows > 0 {
		r := &s.Listen.Rows[0]
		return fmt.Sprintf(":%d %s", r.Local.Port(), ownerText(r.SocketID)), true
	}
	failed := func(c *collectors.FlowCounts) uint64 { return c.Failures() - c[collectors.FlowGivenUp] }
	retrans := func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowRetransmits] }
	for _, of := range []func(*collectors.FlowCounts) uint64{failed, retrans} {
		if of(&s.Host.Counts) == 0 {
			continue
		}
		words = worstWords(&s.Host.Counts)
		if peer := mostOf(s.Peers, func(p *flowPeer) uint64 { return of(&p.Counts) }); peer != nil {
			words = worstWords(&peer.Counts) + " " + endpoint(peer.Addr)
			if peer.Role == collectors.FlowPassive {
				words = worstWords(&peer.Counts) + " " + middle(peer.Addr.Addr().String(), addrWidth)
			}
		}
		if p := mostOf(s.Processes, func(p *collectors.FlowProcess) uint64 { return of(&p.Counts) }); p != nil {
			words += fmt.Sprintf(" %s[%d]", clean(p.Comm), p.TGID)
		}
		return words, false
	}
	return "", false
}

// mostOf is the row of which there is most, nil if there is none of it.
func mostOf[T any](rows []T, n func(*T) uint64) *T {
	var best *T
	for i := range rows {
		if r := &rows[i]; n(r) > 0 && (best == nil || n(r) > n(best)) {
			best = r
		}
	}
	return best
}

// tcpDetail is what the classic command prints, and the counters that moved most lately.
func tcpDetail(f Frame, c Canvas, height int) []string {
	lines := []string{widget.Title(c.Theme, c.Width, "sar -n TCP,ETCP")}
	t := tcpOver(f)
	if t == nil {
		return append(lines, missingPart(f, c, collectors.TCPID, "sar TCP", "TCP")...)
	}
	lines = append(append(lines, sarLines(f, c, t)...), eventLine(f, c, t), stateLine(f, c))
	var counters Table
	counterTable(f, &counters)
	counters.Rows = slices.DeleteFunc(counters.Rows, func(r Row) bool {
		v, ok := r.Cells[0].Num()
		return !ok || v == 0
	})
	if s := flowOver(f); s != nil {
		lines = append(lines, listenLines(c, s)...)
	}
	if events := flowEventTable(f, nil); len(events.Rows) > 0 && height-len(lines) > 4 {
		lines = append(lines, still(c, events, (height-len(lines))/2)...)
	}
	by := newList("rate")
	by.order(&counters)
	if len(counters.Rows) > 0 {
		lines = append(lines, still(c, counters, height-len(lines))...)
	}
	return lines[:min(len(lines), height)]
}
