// SPDX-License-Identifier: Apache-2.0

package panes

import (
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
	l.parts = []part{
		{"active " + at(collectors.TCPActiveOpens), 2},
		{"passive " + at(collectors.TCPPassiveOpens), 1},
		{"retrseg " + rateText(retrans) + "/s", 0},
	}
	if v, ok := retransShare(t).Num(); ok && v > 0 {
		l.parts = append(l.parts, part{percentText(retransShare(t)), 3})
	}
	if t.Delta[collectors.TCPListenOverflows] > 0 {
		l.parts = append(l.parts, part{"overflow " + at(collectors.TCPListenOverflows), 0})
	}
	if t.EstablishedKnown {
		l.parts = append(l.parts, part{"estab " + widget.Count(uint64(t.Established)), 4})
	}
	l.series = counterSeries(f, collectors.TCPRetransSegs)
	l.hi = most(l.series)
	return l
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
	by := newList("rate")
	by.order(&counters)
	if len(counters.Rows) > 0 {
		lines = append(lines, still(c, counters, height-len(lines))...)
	}
	return lines[:min(len(lines), height)]
}
