// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// dropTab is which of the page's tables the cursor is in.
type dropTab uint8

const (
	dropPlaces dropTab = iota
	dropFull
	dropPackets
	dropTabs
)

func (t dropTab) String() string {
	switch t {
	case dropFull:
		return "sockets"
	case dropPackets:
		return "packets"
	case dropPlaces, dropTabs:
	}
	return "places"
}

// dropPage is everything about one reason: where in the kernel, whose sockets, which packets.
type dropPage struct {
	reason string
	tab    dropTab
	lists  [dropTabs]list
}

func newDropPage(reason string) *dropPage { return &dropPage{reason: reason} }

// Info implements Pane.
func (p *dropPage) Info() Info {
	name := clean2(p.reason)
	return Info{ID: ID("drops " + name), Title: name, Short: "drops", Help: "drops"}
}

// Wants implements Pane: drops are always counted.
func (p *dropPage) Wants(Scope) []collectors.Want { return nil }

const keyDropTab = "drops.tab"

// Keys implements Pane.
func (p *dropPage) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that has the socket")
	switch p.tab {
	case dropPlaces, dropTabs:
		open = open.Off("a place in the kernel has no page")
	case dropPackets:
		open = open.Off("all that is known of a packet is in its row")
	case dropFull:
	}
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		open,
		keymap.New(keyDropTab, "i", p.next().String(), "i").In("move between places in the kernel, full sockets, single packets"),
	}, p.lists[p.tab].keys()...)
}

// next is the table that follows; sockets only where the reason is about them.
func (p *dropPage) next() dropTab {
	next := (p.tab + 1) % dropTabs
	if next == dropFull && !ofSockets(p.reason) {
		next++
	}
	return next
}

// ofSockets says whether packets of that reason were refused by a socket. Where the kernel tells no
// reason they are among the others.
func ofSockets(reason string) bool {
	switch reason {
	case "SOCKET_RCVBUFF", "PROTO_MEM", "NOT_SPECIFIED":
		return true
	}
	return false
}

// Update implements Pane.
func (p *dropPage) Update(msg tea.Msg) Answer {
	if press, ok := msg.(Press); ok {
		if press.ID == keyDropTab {
			p.tab = p.next()
			return nil
		}
		t := p.table(press.Frame, dropsOver(press.Frame), p.tab)
		if r, ok := p.lists[p.tab].row(t); ok && press.ID == keymap.Open && p.tab == dropFull {
			return openPID(press.Frame, t, r)
		}
		p.lists[p.tab].press(press.ID, t)
	}
	return nil
}

func (p *dropPage) table(f Frame, v *dropsView, tab dropTab) Table {
	var t Table
	switch tab {
	case dropFull:
		t = dropSockets(f, v)
	case dropPackets:
		t = p.packets(f, v)
	case dropPlaces, dropTabs:
		t = p.places(f, v)
	}
	p.lists[tab].arrange(f, &t)
	return t
}

// places has a line for each place in the kernel, interface and protocol.
func (p *dropPage) places(f Frame, v *dropsView) Table {
	t := Table{Title: "places", Columns: []Column{
		{ID: "drop/s", Title: "drop/s", Unit: "packets/s", Width: 8, Decimals: 1},
		{ID: "PROTO", Title: "PROTO", Width: 6, Left: true},
		{ID: "IFACE", Title: "IFACE", Width: 10, Left: true},
		{ID: "NETNS", Title: "NETNS", Width: 12, Left: true, Rank: 1},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 24, Left: true},
	}}
	if v == nil {
		return t
	}
	spaces := netnsNames(f)
	for i := range v.places {
		x := &v.places[i]
		if x.Reason != p.reason {
			continue
		}
		t.Rows = append(t.Rows, Row{
			ID: strconv.FormatUint(x.Address, 16) + " " + strconv.Itoa(int(x.Netns)) + " " + strconv.Itoa(int(x.Ifindex)) + " " + strconv.Itoa(int(x.Protocol)) + " " + strconv.Itoa(int(x.Transport)),
			Cells: []Cell{
				v.rate(x.Packets), Say(protocolName(x.Protocol, x.Transport)), ifaceCell(f, x.Ifindex, x.Own), spaceCell(spaces, x.Netns, x.Own), v.function(x),
			},
		})
	}
	return t
}

// packets lists single ones, newest first.
func (p *dropPage) packets(f Frame, v *dropsView) Table {
	t := Table{Title: "packets", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 8},
		{ID: "PROTO", Title: "PROTO", Width: 6, Left: true},
		{ID: "IFACE", Title: "IFACE", Width: 8, Left: true, Rank: 2},
		{ID: "LEN", Title: "LEN", Unit: "bytes", Width: 6, Rank: 3},
		{ID: "SOURCE", Title: "SOURCE", Width: 21, Left: true},
		{ID: "DEST", Title: "DEST", Width: 21, Left: true},
	}}
	if v == nil {
		return t
	}
	ids := eventIDs{}
	for i := range v.packets {
		x := &v.packets[i]
		if x.Reason != p.reason {
			continue
		}
		t.Rows = append(t.Rows, Row{ID: ids.of(strconv.FormatInt(x.at.UnixNano(), 10)), Cells: []Cell{
			Say(x.at.Format("15:04:05")), Say(protocolName(x.Protocol, x.Transport)), ifaceCell(f, x.Ifindex, x.Own), Number(float64(x.Length)),
			packetEnd(x.Source), packetEnd(x.Dest),
		}})
	}
	return t
}

// Describe implements Describer.
func (p *dropPage) Describe(f Frame) string {
	return p.lists[p.tab].why(p.table(f, dropsOver(f), p.tab))
}

// Table implements Pane.
func (p *dropPage) Table(f Frame) Table {
	v := dropsOver(f)
	t := p.table(f, v, dropPlaces)
	t.Title = p.Info().Title
	t.More = []Table{p.table(f, v, dropPackets)}
	if ofSockets(p.reason) {
		t.More = append(t.More, p.table(f, v, dropFull))
	}
	return t
}

// View implements Pane: the places, the sockets if it is they that refuse, and single packets.
func (p *dropPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	v := dropsOver(f)
	if v == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.Info().Title)}
		return fit(append(lines, missingPart(f, c, collectors.DropsID, "dropsnoop", "dropped packets")...), c.Height)
	}
	lines := []string{p.title(c, v)}
	if words := dropWords(p.reason); words != "" && c.Height >= smallHeight {
		lines = append(lines, wrap(c, "", words)...)
	}
	tabs := []dropTab{dropPlaces, dropPackets}
	if ofSockets(p.reason) && (len(v.sockets) > 0 || p.reason != "NOT_SPECIFIED") {
		tabs = []dropTab{dropPlaces, dropFull, dropPackets}
	}
	for i, tab := range tabs {
		t := p.table(f, v, tab)
		room := (c.Height - len(lines)) / (len(tabs) - i)
		if i == len(tabs)-1 {
			room = c.Height - len(lines)
		}
		if room < 3 {
			continue
		}
		lines = append(lines, p.part(c, t, tab, min(room, max(len(t.Rows), 1)+2))...)
	}
	return fit(lines, c.Height)
}

func (p *dropPage) title(c Canvas, v *dropsView) string {
	parts := []string{p.Info().Title}
	for _, r := range v.reasons {
		if r.name == p.reason {
			parts = append(parts, r.class.String(), v.rate(r.packets).Format(1)+"/s", widget.Count(r.total)+" since start")
		}
	}
	return widget.Title(c.Theme, c.Width, append(parts, "mean of 10 s")...)
}

func (p *dropPage) part(c Canvas, t Table, tab dropTab, height int) []string {
	head := t.Title
	if tab == dropPackets {
		head = fmt.Sprintf("single packets, a sample: %d", len(t.Rows))
	}
	lines := []string{widget.Title(c.Theme, c.Width, head)}
	if len(t.Rows) == 0 {
		what := "nothing was dropped in the last ten seconds"
		switch tab {
		case dropPackets:
			what = "none listed"
		case dropFull:
			what = "no socket's queue was full in the last ten seconds"
		case dropPlaces, dropTabs:
		}
		return append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, what).String())
	}
	return append(lines, p.lists[tab].draw(c, t, height-1, listOptions{Bare: tab != p.tab})...)
}

// dropWords says what the commonest reasons mean, and where to look next.
func dropWords(reason string) string {
	switch reason {
	case "NO_SOCKET":
		return "Nobody listens at that port: a scan, a service that is down, or an answer to a program that has gone. TCP answers with a reset, UDP with an ICMP message."
	case "SOCKET_RCVBUFF":
		return "The program does not read as fast as packets come: its receive buffer (SO_RCVBUF, net.core.rmem_default) is full."
	case "PROTO_MEM":
		return "All sockets of the protocol together hold more than net.ipv4.udp_mem or tcp_mem allows."
	case "SOCKET_BACKLOG":
		return "Packets came while a process held the socket, and the queue for those was full: a busy sender on a slow reader."
	case "CPU_BACKLOG":
		return "A CPU's queue of received packets was full (net.core.netdev_max_backlog): look at softnet."
	case "NETFILTER_DROP":
		return "A rule of iptables or nftables says so."
	case "TCP_LISTEN_OVERFLOW":
		return "The accept queue of a listener was full: see the listeners in the TCP pane."
	case "QDISC_DROP", "QDISC_OVERLIMIT", "FQ_FLOW_LIMIT":
		return "The queue above a device was full, or its shaper wanted it so: tc -s qdisc."
	case "NOT_SPECIFIED":
		return "The kernel does not say why it freed these. Many had done their duty; a driver's are among them."
	}
	return ""
}
