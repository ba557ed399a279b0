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

// Wants implements Pane: also what connections there are.
func (p *peerPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.SocketsID}}
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

// sum adds up all services of the address over the window.
func (p *peerPage) sum(s *flowSum) flowPeer {
	var out flowPeer
	if s == nil {
		return out
	}
	for i := range s.Peers {
		if o := &s.Peers[i]; o.Addr.Addr() == p.addr {
			out.Counts.Plus(&o.Counts)
			out.Latency.Plus(&o.Latency)
			out.RTT.Plus(&o.RTT)
		}
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
func (p *peerPage) all(f Frame) flowPeer {
	f.Span = max(f.Now.At, flowWindow)
	return p.sum(flowOver(f))
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

// distributions are how long connects took and segments were under way. They hold all that is in sight: a
// minute says more of a distribution than ten seconds.
func (p *peerPage) distributions(f Frame) []distribution {
	s := flowOver(f)
	if s == nil {
		why, _ := whyNot(f, collectors.FlowID, "tcpconnect")
		return []distribution{{Histogram: Histogram{ID: "connect", Title: "connect latency", Why: why}}, {Histogram: Histogram{ID: "rtt", Title: "round trip", Why: why}}}
	}
	now, all := p.sum(s), p.all(f)
	over := func(get func(*collectors.FlowPeer) *collectors.Hist32) func(int) []*collectors.Hist {
		return func(n int) []*collectors.Hist {
			return columns(f, n, flowOf, flowSpan, func(s *collectors.Flow) *collectors.Hist {
				var sum collectors.Hist
				for i := range s.Peers {
					if o := &s.Peers[i]; o.Addr.Addr() == p.addr {
						h := get(o).Hist()
						sum.Plus(&h)
					}
				}
				return &sum
			})
		}
	}
	return []distribution{
		{Histogram{ID: "connect", Title: "connect latency", Now: &now.Latency, Start: &all.Latency}, over(func(o *collectors.FlowPeer) *collectors.Hist32 { return &o.Latency })},
		{Histogram{ID: "rtt", Title: "round trip", Now: &now.RTT, Start: &all.RTT}, over(func(o *collectors.FlowPeer) *collectors.Hist32 { return &o.RTT })},
	}
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

func (p *peerPage) moved(s *collectors.Flow, of func(*collectors.FlowCounts) uint64) (n uint64) {
	for i := range s.Peers {
		if o := &s.Peers[i]; o.Addr.Addr() == p.addr {
			n += of(&o.Counts)
		}
	}
	return n
}
