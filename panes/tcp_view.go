// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// View implements Pane: sar's lines, what else the kernel counted, sockets by state, and a table.
func (p *TCP) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	lines := []string{tcpTitle(c, f)}
	s := tcpOver(f)
	switch {
	case s == nil:
		lines = append(lines, missingPart(f, c, collectors.TCPID, "sar TCP", "TCP")...)
	case c.Height < smallHeight:
		lines = append(lines, sarSmall(c, s))
	default:
		lines = append(lines, sarLines(f, c, s)...)
		lines = append(lines, eventLine(f, c, s))
	}
	if p.view != asCounters && c.Height >= smallHeight {
		lines = append(lines, stateLine(f, c))
	}
	lines = append(lines, p.title(f, c, t))
	rest := c.Height - len(lines)
	if p.view == asSockets && c.Width >= wideWidth && c.Height >= wideHeight && socketsOver(f) != nil {
		room := min(rest/3, 16)
		body := p.body(f, c, t, rest-room)
		for len(body) < rest-room { // the panels stay where they are
			body = append(body, "")
		}
		return fit(append(append(lines, body...), panels(f, c, room)...), c.Height)
	}
	return fit(append(lines, p.body(f, c, t, rest)...), c.Height)
}

// panels are the listeners and the peers, side by side.
func panels(f Frame, c Canvas, height int) []string {
	half := (c.Width - 2) / 2
	left, right := c, c
	left.Width, right.Width = half, c.Width-half-2
	s := socketsOver(f)
	var listeners, peers Table
	listenTable(f, &listeners)
	peerTable(f, &peers)
	return widget.Join(
		append([]string{widget.Title(c.Theme, half, "listeners", widget.Count(uint64(len(s.Listeners)+s.UnlistedListeners)))}, still(left, listeners, height-1)...), half,
		append([]string{widget.Title(c.Theme, right.Width, "peers", widget.Count(uint64(len(s.Peers)+s.UnlistedPeers)))}, still(right, peers, height-1)...), 2)
}

// still draws a table that has no cursor.
func still(c Canvas, t Table, height int) []string {
	var l list
	columns := l.layout(t, c.Width, listOptions{})
	heads := make([]widget.Column, len(columns))
	for i, col := range columns {
		heads[i] = widget.Column{Title: col.Title, Width: col.Width, Left: col.Left}
	}
	out := []string{widget.Heads(c.Theme, heads, c.Width)}
	for _, r := range t.Rows[:min(len(t.Rows), max(height-1, 0))] {
		cells := make([]string, len(columns))
		for i, col := range columns {
			cells[i] = r.Cells[col.index].fit(col.Column)
		}
		out = append(out, widget.Cells(c.Theme, heads, cells, false, c.Width))
	}
	return out
}

// tcpTitle has the gauges.
func tcpTitle(c Canvas, f Frame) string {
	parts := []string{"tcp"}
	if t := tcpOver(f); t != nil {
		if t.EstablishedKnown {
			parts = append(parts, fmt.Sprintf("established %d", t.Established))
		}
		if t.Stat.Known {
			parts = append(parts, "tw "+widget.Count(uint64(t.Stat.TimeWait)), "orphan "+widget.Count(uint64(t.Stat.Orphans)))
			mem := "mem " + widget.Bytes(t.Stat.TCPMem)
			if limit := t.Limits.TCPMem[2]; limit > 0 {
				mem += " of " + widget.Bytes(limit)
			}
			parts = append(parts, mem)
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
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

// event is a counter of something that goes wrong, by the name that the line gives it.
type event struct {
	name    string
	counter collectors.TCPCounter
}

// events are looked at in this order: the worst first.
func events() []event {
	return []event{
		{"listen overflow", collectors.TCPListenOverflows},
		{"listen drop", collectors.TCPListenDrops},
		{"syn queue full", collectors.TCPReqQFullDrop},
		{"syn cookies", collectors.TCPSyncookiesSent},
		{"memory pressure", collectors.TCPMemoryPressures},
		{"abort no memory", collectors.TCPAbortOnMemory},
		{"abort timeout", collectors.TCPAbortOnTimeout},
		{"syn retrans", collectors.TCPSynRetrans},
		{"timeouts", collectors.TCPTimeouts},
		{"zero window sent", collectors.TCPToZeroWindowAdv},
		{"zero window wanted", collectors.TCPWantZeroWindowAdv},
		{"backlog drop", collectors.TCPBacklogDrop},
		{"receive queue drop", collectors.TCPRcvQDrop},
		{"pruned", collectors.TCPPruneCalled},
		{"collapsed", collectors.TCPRcvCollapsed},
		{"retransmit lost", collectors.TCPLostRetransmit},
		{"tw overflow", collectors.TCPTimeWaitOverflow},
		{"stuck in our queue", collectors.TCPSpuriousRtxHostQueues},
		{"abort data", collectors.TCPAbortOnData},
		{"abort close", collectors.TCPAbortOnClose},
		{"out of order", collectors.TCPOFOQueue},
	}
}

// eventSpan is how many samples an event is named after it was last seen, so that the line does
// not change from second to second.
const eventSpan = 10

// eventLine names what went wrong lately, with its rate now.
func eventLine(f Frame, c Canvas, t *collectors.TCP) string {
	var recent collectors.TCPCounts
	for i := len(f.Past) - 1; i >= max(0, len(f.Past)-eventSpan); i-- {
		if s := f.Past[i].Snapshot; s != nil && s.TCP != nil {
			recent.Plus(&s.TCP.Delta)
		}
	}
	l := widget.NewLine(c.Width).Skip(1)
	l.Put(c.Theme.Dim, "ext").To(7)
	said := false
	for _, e := range events() {
		if recent[e.counter] == 0 && t.Delta[e.counter] == 0 {
			continue
		}
		text := e.name + " " + rateText(tcpCell(t, e.counter)) + "/s"
		if said {
			text = " · " + text
		}
		if widget.Width(text) > l.Left() {
			break
		}
		l.Plain(text)
		said = true
	}
	if !said {
		l.Put(c.Theme.Dim, fmt.Sprintf("no overflow, drop, timeout, closed window or pressure in %d s", eventSpan))
	}
	return l.String()
}

// stateLine counts the sockets by state.
func stateLine(f Frame, c Canvas) string {
	l := widget.NewLine(c.Width).Skip(1)
	l.Put(c.Theme.Dim, "state").To(7)
	t, s := tcpOver(f), socketsOver(f)
	put := func(name string, n int) {
		if text := name + " " + widget.Count(uint64(n)) + "  "; widget.Width(text) <= l.Left()+2 {
			l.Put(c.Theme.Dim, name+" ").Plain(widget.Count(uint64(n)) + "  ")
		}
	}
	switch {
	case s != nil:
		for _, state := range []collectors.SocketState{
			collectors.Established, collectors.SynSent, collectors.SynRecv, collectors.CloseWait, collectors.Listen,
			collectors.TimeWait, collectors.FinWait1, collectors.FinWait2, collectors.LastAck, collectors.Closing, 0,
		} {
			n := s.States[state]
			if state == collectors.TimeWait && t != nil {
				n = t.Stat.TimeWait
			}
			if n > 0 || state == collectors.Established || state == collectors.SynSent || state == collectors.SynRecv {
				put(state.String(), n)
			}
		}
	case t != nil && t.Stat.Known:
		put("TCP in use", t.Stat.TCP+t.Stat.TCP6)
		put("TIME-WAIT", t.Stat.TimeWait)
		put("orphan", t.Stat.Orphans)
	default:
		l.Put(c.Theme.Dim, "-")
	}
	return l.String()
}

// title heads the table.
func (p *TCP) title(f Frame, c Canvas, t Table) string {
	parts := []string{p.view.String()}
	s := socketsOver(f)
	if p.view == asCounters {
		return widget.Title(c.Theme, c.Width, append(parts, "this network namespace, since it was made")...)
	}
	if s != nil {
		shown, rest := len(t.Rows), map[tcpView]int{asSockets: s.UnlistedRows, asListeners: s.UnlistedListeners, asPeers: s.UnlistedPeers}[p.view]
		count := strconv.Itoa(shown)
		if rest > 0 {
			count = fmt.Sprintf("the busiest %d of %d", shown, shown+rest)
		}
		parts = append(parts, count)
		if age := stretched(s); age != "" {
			parts = append(parts, age)
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// body draws the table, or why there is none.
func (p *TCP) body(f Frame, c Canvas, t Table, height int) []string {
	l := &p.lists[p.view]
	if p.view == asCounters {
		if tcpOver(f) == nil {
			return nil
		}
		byName := make(map[string]collectors.TCPCounter)
		for i, name := range collectors.TCPNames() {
			byName[name] = collectors.TCPCounter(i)
		}
		return l.draw(c, t, height, listOptions{SparkTitle: "history", Spark: func(row string) []float64 { return counterSeries(f, byName[row]) }})
	}
	s := socketsOver(f)
	if s == nil {
		return missingPart(f, c, collectors.SocketsID, "ss", "the table of sockets")
	}
	if len(t.Rows) == 0 {
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "there are no "+strings.TrimSuffix(p.view.String(), "s")+"s").String()}
	}
	if p.view != asSockets {
		return l.draw(c, t, height, listOptions{})
	}
	return l.draw(c, t, height, listOptions{SparkTitle: "kB/s over time", Spark: func(row string) []float64 {
		cookie, err := strconv.ParseUint(row, 16, 64)
		if err != nil {
			return nil
		}
		return socketSeries(f, mostSpark, cookie, socketRate)
	}})
}
