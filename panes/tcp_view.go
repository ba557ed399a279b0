// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// View implements Pane: sar's lines, what else the kernel counted, sockets by state, and a table.
func (p *TCP) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.current(f)
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
	switch p.part {
	case tcpHappens:
		return fit(append(lines, p.happens(f, c, t, c.Height-len(lines))...), c.Height)
	case tcpDelays:
		if f.Scope.apart(collectors.FlowID) {
			seeScope(f)
		}
		return fit(append(lines, p.delays.view(f, c, c.Height-len(lines))...), c.Height)
	case tcpTables, tcpParts:
	}
	if p.view != asCounters && c.Height >= smallHeight {
		lines = append(lines, stateLine(f, c))
	}
	lines = append(lines, p.title(f, c))
	rest := c.Height - len(lines)
	if p.view == asSockets && c.Width >= wideWidth && c.Height >= wideHeight && socketsOver(f) != nil {
		room := min(rest/3, 16)
		body := p.body(f, c, t, rest-room)
		body = append(body, eventsBelow(f, c, rest-room-len(body))...)
		for len(body) < rest-room { // the panels stay where they are
			body = append(body, "")
		}
		return fit(append(append(lines, body...), panels(f, c, room)...), c.Height)
	}
	body := p.body(f, c, t, rest)
	if p.view == asSockets && socketsOver(f) != nil && rest-len(body) > 0 {
		body = append(body, eventsBelow(f, c, rest-len(body))...)
	}
	return fit(append(lines, body...), c.Height)
}

// eventsBelow draws what happened to connections where sockets leave room for it.
func eventsBelow(f Frame, c Canvas, height int) []string {
	const least = 5
	f.sight, f.Filter = nil, nil // the cursor is among the sockets, and the filter is of their columns
	t := flowEventTable(f, nil)
	(&list{}).arrange(f, &t)
	if height < least || len(t.Rows) == 0 {
		return nil
	}
	return append([]string{widget.Title(c.Theme, c.Width, "events", "newest first")}, still(c, t, height-1)...)
}

// happens draws a table of what happened: its name among the others, its rows, its notes.
func (p *TCP) happens(f Frame, c Canvas, t Table, height int) []string {
	x := p.sections[p.at]
	parts := []string{x.title}
	switch x.id {
	case "events", "ended":
		parts = append(parts, "newest first")
	default:
		parts = append(parts, "last 10 s")
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	if c.Height >= smallHeight {
		l := widget.NewLine(c.Width).Skip(1)
		for i, s := range p.sections {
			if i == p.at {
				l.Put(c.Theme.Focus, "["+s.title+"]")
				continue
			}
			l.Skip(1).Put(c.Theme.Dim, s.title).Skip(1)
		}
		lines = append(lines, l.String())
	}
	s := flowOver(f)
	if s == nil {
		return append(lines, missingPart(f, c, collectors.FlowID, x.probe, x.title)...)
	}
	if x.id == "events" {
		lines = append(lines, listenLines(c, s)...)
	}
	if len(t.Rows) == 0 {
		return append(lines, nothing(c, t, "none seen so far")...)
	}
	var notes []string
	if c.Height >= smallHeight {
		notes = noteLines(c, t.Notes, 2)
	}
	room := height - len(lines) - len(notes)
	lines = append(lines, p.happened[p.at].draw(c, t, room, listOptions{})...)
	return append(pad(lines, height-len(notes)), notes...)
}

// listenLines name the sockets that turned connections away, at most two.
func listenLines(c Canvas, s *flowSum) []string {
	var out []string
	for i := range s.Listen.Rows[:min(len(s.Listen.Rows), 2)] {
		r := &s.Listen.Rows[i]
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Warn, listenWords(s, r))
		l.Plain("  "+ownerText(r.SocketID)).Put(c.Theme.Dim, fmt.Sprintf("  queue %d of %d", r.Queue, r.Backlog))
		out = append(out, l.String())
	}
	return out
}

// listenWords say what a listening socket turned away. That all its drops were overflows is sure
// when all of the namespace's were.
func listenWords(s *flowSum, r *collectors.FlowListen) string {
	what := "drops"
	if s.Listen.Overflows == s.Listen.Drops {
		what = "overflows"
	}
	return fmt.Sprintf("%s %s in %.0f s at %s", widget.Count(r.Drops), what, s.Seconds(), endpoint(r.Local))
}

func ownerText(id *collectors.SocketID) string {
	if id.Owner == nil {
		return "-"
	}
	return fmt.Sprintf("%s[%d]", clean(id.Owner.Comm), id.Owner.TGID)
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

// eventSpan is how long an event is named after it was last seen, so that the line does not change from
// second to second.
const eventSpan = 10 * time.Second

// eventLine names what went wrong lately, with its rate now.
func eventLine(f Frame, c Canvas, t *collectors.TCP) string {
	var recent collectors.TCPCounts
	for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At < eventSpan; i-- {
		if s := f.Past[i].Snapshot; s != nil && s.TCP != nil {
			recent.Plus(&s.TCP.Delta)
		}
	}
	l := widget.NewLine(c.Width).Skip(1)
	l.Put(c.Theme.Dim, "ext").To(7)
	said := false
	if worst, full := flowWorst(flowOver(f)); worst != "" && !full {
		l.Put(c.Theme.Warn, worst).Put(c.Theme.Dim, " all netns")
		said = true
	}
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
		l.Put(c.Theme.Dim, fmt.Sprintf("no overflow, drop, timeout, closed window or pressure in %.0f s", eventSpan.Seconds()))
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

// timeWaits is how many sockets are in TIME-WAIT, 0 if nobody says.
func timeWaits(f Frame) int {
	if t := tcpOver(f); t != nil && t.Stat.Known {
		return t.Stat.TimeWait
	}
	return 0
}

// title heads the table.
func (p *TCP) title(f Frame, c Canvas) string {
	parts := []string{p.view.String()}
	s := socketsOver(f)
	if p.view == asCounters {
		return widget.Title(c.Theme, c.Width, append(parts, "this network namespace, since it was made")...)
	}
	if s != nil {
		listed := map[tcpView][2]int{
			asSockets: {len(s.Rows), s.UnlistedRows}, asListeners: {len(s.Listeners), s.UnlistedListeners}, asPeers: {len(s.Peers), s.UnlistedPeers},
		}[p.view]
		shown, rest := listed[0], listed[1] // whatever a filter leaves of them
		count := strconv.Itoa(shown)
		if rest > 0 {
			count = fmt.Sprintf("the busiest %d of %d", shown, shown+rest)
		}
		parts = append(parts, count, "own namespace only")
		if n := timeWaits(f); n > 0 && p.view == asSockets {
			parts = append(parts, fmt.Sprintf("TIME-WAIT: %s, not listed", widget.Count(uint64(n))))
		}
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
