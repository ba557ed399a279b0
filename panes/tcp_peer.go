// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"slices"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// peerPage is everything about one address: what connections with it did, how long they took, and
// what went wrong.
type peerPage struct {
	addr  netip.Addr
	parts sections
	draw  pageDraw
}

func newPeerPage(addr netip.Addr) *peerPage {
	p := &peerPage{addr: addr.Unmap(), draw: pageDraw{whole: true}}
	p.parts = newSections(aboutPeer(addr), p.sections())
	p.parts.lists[1] = newList("kB/s")
	return p
}

// Info implements Pane.
func (p *peerPage) Info() Info {
	return Info{ID: "peer", Title: p.addr.String(), Short: p.addr.String(), Help: "tcp"}
}

// Wants implements Pane: the peer counted apart, and what connections there are.
func (p *peerPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.FlowID, Target: p.parts.target}, {ID: collectors.SocketsID}}
}

// Keys implements Pane.
func (p *peerPage) Keys() []keymap.Key { return p.parts.keysWith(p.draw.keys()) }

// Update implements Pane. Select takes a section, or a section and a row: "connections/1f".
func (p *peerPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		if !p.draw.press(msg.ID, len(p.distributions(msg.Frame))) {
			return p.parts.press(msg)
		}
	}
	return nil
}

// Describe implements Describer.
func (p *peerPage) Describe(f Frame) string { return p.parts.describe(f) }

// peerField is one number of a peer.
type peerField struct {
	name, unit, says string
	of               func(*collectors.FlowCounts) uint64
}

func peerFields() []peerField {
	one := func(name, unit, says string, c collectors.FlowCounter) peerField {
		return peerField{name, unit, says, func(n *collectors.FlowCounts) uint64 { return n[c] }}
	}
	return []peerField{
		one("connects", "/s", "begun from here", collectors.FlowConnects),
		one("accepts", "/s", "begun from there", collectors.FlowAccepts),
		one("refused", "/s", "nobody listens there", collectors.FlowRefused),
		one("timed out", "/s", "no answer to connects", collectors.FlowTimedOut),
		one("unreachable", "/s", "a router or host says", collectors.FlowUnreachable),
		one("no port", "/s", "no local port is free", collectors.FlowNoPort),
		one("given up", "/s", "closed before answered", collectors.FlowGivenUp),
		one("handshakes", "/s", "from there, broken off", collectors.FlowHandshakes),
		one("retransmits", "/s", "segments sent again", collectors.FlowRetransmits),
		one("timeouts", "/s", "of them after timeouts", collectors.FlowRetransmitsTimeout),
		one("resets sent", "/s", "broken off from here", collectors.FlowResetsSent),
		one("resets received", "/s", "broken off from there", collectors.FlowResetsReceived),
		one("ended", "/s", "connections", collectors.FlowEnded),
		one("expired", "/s", "no answer any more", collectors.FlowExpired),
		one("sent", "bytes/s", "on those that ended", collectors.FlowSent),
		one("received", "bytes/s", "on those that ended", collectors.FlowReceived),
	}
}

// peerSum is what connections with the peer did.
type peerSum struct {
	Counts             collectors.FlowCounts
	Latency, RTT, Life collectors.Hist
}

// of is what one sample has of the address: counted apart in the kernel, or else the sum of its services,
// of which the busiest are listed, and none with life spans.
func (p *peerPage) of(s *collectors.Flow) *peerSum {
	out := &peerSum{}
	if x := narrowedOf(s.Narrowed, p.parts.target); x != nil {
		set := x.Sample.Set()
		out.Counts = set.Counts
		out.Latency, out.RTT, out.Life = *flowHist(&set, collectors.FlowLatency), *flowHist(&set, collectors.FlowRTT), *flowHist(&set, collectors.FlowLife)
		return out
	}
	for i := range s.Peers {
		if o := &s.Peers[i]; o.Addr.Addr() == p.addr {
			latency, rtt := o.Latency.Hist(), o.RTT.Hist()
			out.Counts.Plus(&o.Counts)
			out.Latency.Plus(&latency)
			out.RTT.Plus(&rtt)
		}
	}
	return out
}

// sum adds up what the window has of the address.
func (p *peerPage) sum(f Frame) *peerSum {
	out := &peerSum{}
	for _, s := range within(windowed(f), flowOf) {
		one := p.of(s)
		out.Counts.Plus(&one.Counts)
		out.Latency.Plus(&one.Latency)
		out.RTT.Plus(&one.RTT)
		out.Life.Plus(&one.Life)
	}
	return out
}

// over is the time that the sums of a frame's window stand for: the window, or less where nothing was known
// of the address before.
func (p *peerPage) over(f Frame, s *flowSum) collectors.Span {
	for _, m := range f.Past {
		if m.Snapshot == nil || m.Flow == nil || m.At > f.Now.At {
			continue
		}
		if slices.ContainsFunc(m.Flow.Peers, func(o collectors.FlowPeer) bool { return o.Addr.Addr() == p.addr }) {
			var span collectors.Span
			for _, x := range within(windowed(f), flowOf) {
				if x.From >= m.Flow.From {
					span = join(span, x.Span)
				}
			}
			return span
		}
	}
	return s.Span
}

// all adds up what the whole history has of the address: a minute says more of a distribution.
func (p *peerPage) all(f Frame) *peerSum {
	f.Span = max(f.Now.At, flowWindow)
	return p.sum(f)
}

// mine says whether an event is of the address.
func (p *peerPage) mine(e *collectors.FlowEvent) bool { return e.Remote.Addr() == p.addr }

// Table implements Pane: a line for every number that was ever above zero, the two distributions,
// the connections, who has them, and the events.
func (p *peerPage) Table(f Frame) Table {
	t := Table{Title: "peer " + p.addr.String()}
	if flowOver(f) != nil {
		for _, d := range p.distributions(f) {
			t.Histograms = append(t.Histograms, d.Histogram)
		}
	}
	p.parts.into(f, &t)
	return t
}

// distributions are how long connects took, segments were under way and connections lived. They hold all
// that is in sight: a minute says more of a distribution than ten seconds. Life spans are those counted
// since the peer is counted apart.
func (p *peerPage) distributions(f Frame) []distribution {
	parts := []struct {
		id, title string
		get       func(*peerSum) *collectors.Hist
	}{
		{"connect", "connect latency", func(x *peerSum) *collectors.Hist { return &x.Latency }},
		{"rtt", "round trip", func(x *peerSum) *collectors.Hist { return &x.RTT }},
		{"life", "life span", func(x *peerSum) *collectors.Hist { return &x.Life }},
	}
	var now, all *peerSum
	why := ""
	if flowOver(f) == nil {
		why, _ = whyNot(f, collectors.FlowID, "tcpconnect")
	} else {
		now, all = p.sum(f), p.all(f)
	}
	var out []distribution
	for _, x := range parts {
		if x.id == "life" && (all == nil || all.Life.Count() == 0) {
			continue
		}
		h := Histogram{ID: x.id, Title: x.title, Why: why}
		if now != nil {
			h.Now, h.Start = x.get(now), x.get(all)
		}
		out = append(out, distribution{h, func(n int) []*collectors.Hist {
			return columns(f, n, flowOf, flowSpan, func(s *collectors.Flow) *collectors.Hist { return x.get(p.of(s)) })
		}})
	}
	return out
}

// wholeHistory are the distributions of all that the history has, for the drawing.
func wholeHistory(parts []distribution) []distribution {
	for i := range parts {
		if parts[i].Start != nil {
			parts[i].Now = parts[i].Start
		}
	}
	return parts
}

// View implements Pane.
func (p *peerPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	lines := []string{widget.Title(c.Theme, c.Width, p.titles(f)...)}
	if flowOver(f) == nil {
		return fit(append(lines, missingPart(f, c, collectors.FlowID, "tcpconnect", "what connections do")...), c.Height)
	}
	rest := c.Height - len(lines)
	parts, n := wholeHistory(p.distributions(f)), uint64(0)
	for _, d := range parts {
		n += d.Now.Count()
	}
	if rest >= leastPanels && n > 0 {
		lines = append(lines, p.draw.draw(c, parts, latencyCanvas(c, rest).Height)...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// titles are the address and what connections there are.
func (p *peerPage) titles(f Frame) []string {
	parts := []string{"peer", p.addr.String()}
	if s := socketsOver(f); s != nil {
		for i := range s.Peers {
			if s.Peers[i].Addr == p.addr {
				parts = append(parts, strconv.Itoa(s.Peers[i].Sockets)+" open")
			}
		}
	}
	return parts
}
