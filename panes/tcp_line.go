// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

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
	at := func(c collectors.TCPCounter) string { return rate(tcpCell(t, c)) + "/s" }
	retrans := tcpCell(t, collectors.TCPRetransSegs)
	if v, ok := retrans.Num(); ok {
		l.value = v
	} else {
		l.why = retrans.Why
	}
	l.parts = []part{
		{fmt.Sprintf("active %s passive %s", at(collectors.TCPActiveOpens), at(collectors.TCPPassiveOpens)), 1},
		{"retrseg " + rate(retrans) + "/s", 0},
	}
	if v, ok := retransShare(t).Num(); ok && v > 0 {
		l.parts = append(l.parts, part{percent(retransShare(t)), 2})
	}
	if t.Delta[collectors.TCPListenOverflows] > 0 {
		l.parts = append(l.parts, part{"listen overflow " + at(collectors.TCPListenOverflows), 0})
	}
	if t.EstablishedKnown {
		l.parts = append(l.parts, part{"estab " + widget.Count(uint64(t.Established)), 3})
	}
	l.series = counterSeries(f, collectors.TCPRetransSegs)
	l.hi = most(l.series)
	return l
}
