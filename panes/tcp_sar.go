// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

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

// rateText writes a rate in at most six cells.
func rateText(c Cell) string {
	if v, ok := c.Num(); ok {
		return widget.Short(v)
	}
	return "-"
}

// sarLines are the lines of sar -n TCP and ETCP, each number at a fixed place, and the history of
// the number that matters most.
func sarLines(f Frame, c Canvas, t *collectors.TCP) []string {
	tcp, etcp := sarColumns()
	row := func(name string, cols []sarColumn) *widget.Line {
		l := widget.NewLine(c.Width).Skip(1)
		l.Put(c.Theme.Dim, name)
		at := 7
		for _, col := range cols {
			width := max(len(col.id)+7, 14)
			if c.Width-at < width-1 {
				break
			}
			l.To(at).Put(c.Theme.Dim, col.id+" ").Right(theme.Style{}, rateText(tcpCell(t, col.counter)), at+width-1)
			at += width
		}
		return l.To(at)
	}
	top := row("TCP", tcp)
	low := row("ETCP", slices.Insert(slices.Clone(etcp[:2]), 0, etcp[2]))
	if c.Width >= 60 {
		low.Put(c.Theme.Dim, "of sent ").Right(theme.Style{}, percentText(retransShare(t)), low.Width()+7)
	}
	if c.Width >= wideWidth {
		for _, col := range etcp[3:] {
			at := low.Width() + 3
			low.To(at).Put(c.Theme.Dim, col.id+" ").Right(theme.Style{}, rateText(tcpCell(t, col.counter)), at+16)
		}
	}
	if w := min(c.Width-max(top.Width(), low.Width())-2, mostSpark); w >= leastSpark {
		for l, counter := range map[*widget.Line]collectors.TCPCounter{top: collectors.TCPOutSegs, low: collectors.TCPRetransSegs} {
			values := counterSeries(f, counter)
			l.To(c.Width-w).Put(c.Theme.Accent, widget.Spark(values, w, 0, most(values)))
		}
	}
	return []string{top.String(), low.String()}
}

// percentText writes a share in percent.
func percentText(c Cell) string {
	v, ok := c.Num()
	switch {
	case !ok:
		return "-"
	case v > 0 && v < 0.05:
		return "<0.1 %"
	}
	return widget.Short(v) + " %"
}

// sarSmall says in one line what sarLines says in two.
func sarSmall(c Canvas, t *collectors.TCP) string {
	l := widget.NewLine(c.Width).Skip(1)
	for _, x := range []struct {
		name    string
		counter collectors.TCPCounter
	}{{"act ", collectors.TCPActiveOpens}, {"pas ", collectors.TCPPassiveOpens}, {"retr ", collectors.TCPRetransSegs}} {
		l.Put(c.Theme.Dim, x.name).Plain(fmt.Sprintf("%-6s ", rateText(tcpCell(t, x.counter))))
	}
	return l.String()
}
