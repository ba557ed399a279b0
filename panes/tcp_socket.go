// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// socketPage is everything about one connection: its round trips, its numbers with their history, what
// happened to it, and the rest of tcp_info. It stays when the connection is gone, with what was seen of it.
type socketPage struct {
	cookie        uint64
	name          string // for the breadcrumb, also when the connection is gone
	local, remote netip.AddrPort
	parts         sections
	draw          pageDraw
}

// newSocketPage returns the page of the socket with a cookie.
func newSocketPage(cookie uint64, f Frame) *socketPage {
	p := &socketPage{cookie: cookie, name: "socket " + cookieID(cookie), draw: pageDraw{whole: true}}
	p.parts = newSections(collectors.Target{Kind: collectors.SocketTarget, Cookie: cookie}, p.sections())
	if _, r := p.find(f); r != nil {
		p.name = endpoint(r.Local) + " - " + endpoint(r.Remote)
		p.local, p.remote = unmapped(r.Local), unmapped(r.Remote)
	}
	return p
}

// find returns the socket's newest row that is still true; nil if it is gone, or not listed.
func (p *socketPage) find(f Frame) (*collectors.Sockets, *collectors.SocketRow) {
	s := socketsOver(f)
	if s == nil {
		return nil, nil
	}
	return s, p.row(s)
}

// row is the socket's row in a sample; nil if it lists none.
func (p *socketPage) row(s *collectors.Sockets) *collectors.SocketRow {
	for i := range s.Rows {
		if s.Rows[i].Cookie == p.cookie {
			return &s.Rows[i]
		}
	}
	return nil
}

// Info implements Pane.
func (p *socketPage) Info() Info {
	return Info{ID: "socket", Title: p.name, Short: p.name, Help: "tcp"}
}

// Wants implements Pane: this socket in full, and the table that it came from.
func (p *socketPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.SocketsID, Target: p.parts.target}}
}

// Keys implements Pane.
func (p *socketPage) Keys() []keymap.Key {
	return p.parts.keysWith(append([]keymap.Key{drawKey(p.draw.how)}, zoomKeys()...))
}

// Update implements Pane. Select takes a section, or a section and a row: "numbers/cwnd".
func (p *socketPage) Update(msg tea.Msg) Answer {
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

// openHolder opens the page of the process that has a socket.
func openHolder(f Frame, id *collectors.SocketID) Answer {
	if id.Owner == nil {
		return SayMsg{"no process is known that has this socket"}
	}
	return openProcess(f, id.Owner.Process, id.Owner.Comm)
}

// openListener opens the page of the process of a socket that listens.
func openListener(f Frame, r Row) Answer {
	if s := socketsOver(f); s != nil {
		for i := range s.Listeners {
			if cookieID(s.Listeners[i].Cookie) == r.ID {
				return openHolder(f, s.Listeners[i].SocketID)
			}
		}
	}
	return SayMsg{"nobody listens there any more"}
}

// Describe implements Describer.
func (p *socketPage) Describe(f Frame) string { return p.parts.describe(f) }

// Table implements Pane: a line for every number, and more what happened and the rest of tcp_info.
func (p *socketPage) Table(f Frame) Table {
	t := Table{Title: "connection " + p.name}
	for _, d := range p.distributions(f) {
		t.Histograms = append(t.Histograms, d.Histogram)
	}
	p.parts.into(f, &t)
	return t
}

// distributions are the round trips: smoothed as the kernel keeps it, one reading a tick in which the peer
// acknowledged something. In other ticks nothing was measured, and the old value would count again.
func (p *socketPage) distributions(f Frame) []distribution {
	h := Histogram{ID: "rtt", Title: "round trip"}
	sampled := func(s *collectors.Sockets) *collectors.Hist {
		var out collectors.Hist
		if r := p.row(s); r != nil && r.HasInfo && r.RTT > 0 && r.Acked > 0 {
			out.Add(uint64(r.RTT) * 1000)
		}
		return &out
	}
	var all collectors.Hist
	for i := range f.Past {
		if s := f.Past[i].Snapshot; s != nil && s.Sockets != nil {
			all.Plus(sampled(s.Sockets))
		}
	}
	if all.Count() == 0 {
		h.Why = "no round trip was measured: the peer has acknowledged nothing while the page was open"
	} else {
		var now collectors.Hist
		if s := newest(f, socketsOf); s != nil {
			now = *sampled(s)
		}
		h.Now, h.Start = &now, &all
	}
	return []distribution{{h, func(n int) []*collectors.Hist {
		return columns(f, n, socketsOf, func(s *collectors.Sockets) collectors.Span { return s.Span }, sampled)
	}}}
}

// View implements Pane.
func (p *socketPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s, r := p.find(f)
	lines := []string{widget.Title(c.Theme, c.Width, "connection", p.name, gone(s))}
	if r != nil {
		lines = p.plate(f, c, s, r)
	}
	rest := c.Height - len(lines)
	parts := wholeHistory(p.distributions(f))
	if rest >= leastPanels && parts[0].Now != nil {
		lines = append(lines, p.drawn(c, parts, latencyCanvas(c, rest).Height)...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// drawn is the distribution, and on a wide screen the same over time beside it.
func (p *socketPage) drawn(c Canvas, parts []distribution, height int) []string {
	if c.Width < wideWidth || p.draw.how != asHistogram {
		return p.draw.draw(c, parts, height)
	}
	const gap = 2
	left, right := c, c
	left.Width = (c.Width - gap) / 2
	right.Width = c.Width - left.Width - gap
	over := pageDraw{how: asHeatMap}
	return widget.Join(pad(p.draw.draw(left, parts, height), height), left.Width, over.draw(right, parts, height), gap)
}

// plate says what the connection is: state, algorithm, full addresses, and who has it.
func (p *socketPage) plate(f Frame, c Canvas, s *collectors.Sockets, r *collectors.SocketRow) []string {
	title := []string{r.State.String(), clean(r.Congestion)}
	if d := r.Detail; d != nil && r.State == collectors.Established {
		title = append(title, congestionState(d.CAState))
	}
	lines := []string{widget.Title(c.Theme, c.Width, append(title, stretched(s))...)}
	// Full addresses, on two lines if one is too narrow: in the breadcrumb long ones are cut.
	l := widget.NewLine(c.Width).Skip(1)
	l.Put(c.Theme.Dim, "local   ").Plain(r.Local.String())
	peer := r.Remote.String()
	if label := "  peer "; l.Left() >= widget.Width(label+peer) {
		l.Put(c.Theme.Dim, label).Plain(peer)
	} else {
		lines = append(lines, l.String())
		l = widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "peer    ").Plain(peer)
	}
	lines = append(lines, l.String())
	who := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "process ")
	owner := ownerCell(r.SocketID, r.State, s)
	if !owner.Known() {
		return append(lines, who.Plain("- "+owner.Why).String())
	}
	who.Plain(owner.Format(0)).Put(c.Theme.Dim, "  user ")
	info := infoOf(f, r.Owner.Process, r.Owner.Comm)
	if user := clean(info.User); user != "" {
		who.Plain(user)
	} else {
		who.Plain(strconv.FormatUint(uint64(r.UID), 10))
	}
	if group := clean(info.CgroupPath); group != "" {
		who.Put(c.Theme.Dim, "  cgroup ").Plain(group)
	}
	return append(lines, who.String())
}

// unmapped writes IPv4 in IPv6 as IPv4, as events have it.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
