// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func dropsOf(s *collectors.Snapshot) *collectors.Drops { return s.Drops }

// dropsOverLast is what rates of drops are the mean of: they come in bursts.
const dropsOverLast = 10 * time.Second

// dropReason is one reason over a frame.
type dropReason struct {
	name    string
	class   collectors.DropClass
	packets uint64 // over the frame
	total   uint64 // since the probe attached
}

// droppedPacket is one packet, with the wall clock of its end.
type droppedPacket struct {
	*collectors.DroppedPacket
	at time.Time
}

// dropsView is what was dropped over a frame.
type dropsView struct {
	seconds float64
	known   bool         // the kernel tells reasons
	reasons []dropReason // all that ever dropped something, those without a reason last
	places  []collectors.DropPlace
	sockets []collectors.DropSocket
	others  collectors.DropSocketCounts
	packets []droppedPacket // newest first
	dropped uint64          // over the frame, with a reason
	missed  uint64
	unnamed string
}

// dropsOver sums the drops over the frame, at least over ten seconds. Nil without a sample.
func dropsOver(f Frame) *dropsView {
	if newest(f, dropsOf) == nil && f.Span == 0 {
		return nil
	}
	wide := f
	wide.Span = max(f.Span, dropsOverLast)
	samples := within(wide, dropsOf)
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	v := &dropsView{known: last.ReasonsKnown, unnamed: last.NoNames}
	at := make(map[string]int)
	for i := range f.Past {
		if s := f.Past[i].Snapshot; s != nil && s.Drops != nil {
			for _, r := range s.Drops.Reasons {
				k, ok := at[r.Name]
				if !ok {
					k = len(v.reasons)
					at[r.Name] = k
					v.reasons = append(v.reasons, dropReason{name: r.Name, class: r.Class})
				}
				v.reasons[k].total = r.Total
			}
		}
	}
	var span collectors.Span
	for _, d := range samples {
		span = join(span, d.Span)
		v.missed += d.Missed
		v.others.Full += d.Others.Full
		v.others.Memory += d.Others.Memory
		v.dropped += d.Dropped()
		for _, r := range d.Reasons {
			if k, ok := at[r.Name]; ok {
				v.reasons[k].packets += r.Packets
			}
		}
	}
	v.seconds = span.Seconds()
	sortStably(v.reasons, func(a, b dropReason) int {
		said := func(r dropReason) int {
			if r.class == collectors.DropUnspecified {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(said(a), said(b)), cmp.Compare(b.packets, a.packets), cmp.Compare(b.total, a.total), cmp.Compare(a.name, b.name))
	})
	v.takePlaces(samples)
	v.takePackets(f)
	return v
}

func (v *dropsView) takePlaces(samples []*collectors.Drops) {
	type placeKey struct {
		reason    string
		addr      uint64
		netns     uint32
		ifindex   uint32
		protocol  uint16
		transport uint8
	}
	type socketKey struct {
		inode, netns, protocol uint32
		port                   uint16
	}
	places, sockets := make(map[placeKey]int), make(map[socketKey]int)
	for i := len(samples) - 1; i >= 0; i-- { // newest first: names come late
		for _, p := range samples[i].Places {
			id := placeKey{p.Reason, p.Address, p.Netns, p.Ifindex, p.Protocol, p.Transport}
			if k, ok := places[id]; ok {
				v.places[k].Packets += p.Packets
				continue
			}
			places[id] = len(v.places)
			v.places = append(v.places, p)
		}
		for _, s := range samples[i].Sockets {
			id := socketKey{s.Inode, s.Netns, s.Protocol, s.Port}
			if k, ok := sockets[id]; ok {
				v.sockets[k].Full += s.Full
				v.sockets[k].Memory += s.Memory
				v.sockets[k].Owner = cmp.Or(v.sockets[k].Owner, s.Owner)
				continue
			}
			sockets[id] = len(v.sockets)
			v.sockets = append(v.sockets, s)
		}
	}
	sortStably(v.places, func(a, b collectors.DropPlace) int { return cmp.Compare(b.Packets, a.Packets) })
	sortStably(v.sockets, func(a, b collectors.DropSocket) int {
		return cmp.Compare(b.Full+b.Memory, a.Full+a.Memory)
	})
}

// maxDropped is how many packets are listed.
const maxDropped = 200

func (v *dropsView) takePackets(f Frame) {
	for i := len(f.Past) - 1; i >= 0 && len(v.packets) < maxDropped; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Drops == nil {
			continue
		}
		for k := len(s.Drops.Packets) - 1; k >= 0 && len(v.packets) < maxDropped; k-- {
			p := &s.Drops.Packets[k]
			v.packets = append(v.packets, droppedPacket{p, s.Taken.Add(-p.Ago)})
		}
	}
}

// rate is packets a second over the frame.
func (v *dropsView) rate(n uint64) Cell {
	if v.seconds <= 0 {
		return Missing("waiting for a second reading")
	}
	return Number(float64(n) / v.seconds)
}

// dropTable has a line for each reason.
func dropTable(f Frame, v *dropsView) Table {
	t := Table{Title: "drops", Columns: []Column{
		{ID: "drop/s", Title: "drop/s", Unit: "packets/s", Width: 8, Decimals: 1},
		{ID: "total", Title: "total", Unit: "packets", Width: 9},
		{ID: "CLASS", Title: "CLASS", Width: 8, Left: true},
		{ID: "REASON", Title: "REASON", Width: 24, Left: true},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 20, Left: true, Rank: 1},
	}}
	if v == nil {
		why, remedy := whyNot(f, collectors.DropsID, "dropsnoop")
		t.Notes = append(t.Notes, note("dropsnoop", why, remedy))
		return t
	}
	for _, r := range v.reasons {
		name := Say(r.name)
		if i := slices.IndexFunc(v.places, func(p collectors.DropPlace) bool { return p.Reason == r.name }); i >= 0 {
			t.Rows = append(t.Rows, Row{ID: r.name, Cells: []Cell{v.rate(r.packets), Number(float64(r.total)), Say(r.class.String()), name, v.function(&v.places[i])}})
			continue
		}
		t.Rows = append(t.Rows, Row{ID: r.name, Cells: []Cell{v.rate(r.packets), Number(float64(r.total)), Say(r.class.String()), name, Missing("nothing was dropped in the last ten seconds")}})
	}
	if !v.known {
		t.Notes = append(t.Notes, "this kernel does not say why it frees a packet; many of these had done their duty")
	}
	if v.missed > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s drops were not counted: they came inside the counting of another", widget.Count(v.missed)))
	}
	return t
}

// function is the kernel's function that a place lies in.
func (v *dropsView) function(p *collectors.DropPlace) Cell {
	if p.Function.Bytes() == "" {
		return Missing(cmp.Or(clean2(v.unnamed), "its name has not been looked up yet"))
	}
	return Name(collectors.Clean(p.Function))
}

// dropSockets is the table of sockets whose queue is full.
func dropSockets(f Frame, v *dropsView) Table {
	t := Table{Title: "full sockets", Columns: []Column{
		{ID: "drop/s", Title: "drop/s", Unit: "packets/s", Width: 8, Decimals: 1},
		{ID: "total", Title: "total", Unit: "packets", Width: 9, Rank: 2},
		{ID: "mem/s", Title: "mem/s", Unit: "packets/s", Width: 6, Decimals: 1, Rank: 3},
		{ID: "RCVBUF", Title: "RCVBUF", Unit: "bytes", Width: 7, Form: Bytes, Rank: 1},
		{ID: "PROTO", Title: "PROTO", Width: 6, Left: true, Rank: 4},
		{ID: "PORT", Title: "PORT", Width: 6},
		{ID: "NETNS", Title: "NETNS", Width: 10, Left: true, Rank: 5},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
	}}
	if v == nil {
		why, remedy := whyNot(f, collectors.DropsID, "dropsnoop-sockets")
		t.Notes = append(t.Notes, note("dropsnoop-sockets", why, remedy))
		return t
	}
	spaces := netnsNames(f)
	for i := range v.sockets {
		s := &v.sockets[i]
		protocol := transportName(uint8(min(s.Protocol, 255)))
		if s.IPv6 {
			protocol += "6"
		}
		const why = "no process had it open when it was looked for"
		pid, comm := Missing(why), Missing(why)
		var about collectors.Target
		if s.Owner != nil {
			about = aboutProcess(s.Owner.Process, s.Owner.Comm)
			pid, comm = Number(float64(s.Owner.TGID)), Name(collectors.Clean(s.Owner.Comm))
		}
		t.Rows = append(t.Rows, Row{ID: strconv.Itoa(int(s.Inode)) + " " + strconv.Itoa(int(s.Netns)) + " " + strconv.Itoa(int(s.Port)), Target: about, Cells: []Cell{
			v.rate(s.Full + s.Memory), Number(float64(s.Total.Full + s.Total.Memory)), v.rate(s.Memory), Number(float64(s.Rcvbuf)),
			Say(protocol), Number(float64(s.Port)), spaceCell(spaces, s.Netns, s.Own), pid, comm,
		}})
	}
	if n := v.others.Full + v.others.Memory; n > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s more are of sockets without a row", widget.Count(n)))
	}
	return t
}

// netnsNames are the namespaces that the network's own collector knows, by inode.
func netnsNames(f Frame) map[uint32]string {
	out := make(map[uint32]string)
	if v := netOver(f); v != nil {
		for _, s := range v.spaces {
			if !s.Own {
				out[uint32(s.Inode)] = s.name()
			}
		}
	}
	return out
}

func spaceCell(names map[uint32]string, netns uint32, own bool) Cell {
	switch {
	case own:
		return Say("-")
	case netns == 0:
		return Missing("the packet belongs to no socket and no device any more")
	case names[netns] != "":
		return Say(names[netns])
	}
	return Say(strconv.FormatUint(uint64(netns), 10))
}

// ifaceCell names an interface by its number: exactly in our own namespace, by the number elsewhere.
func ifaceCell(f Frame, index uint32, own bool) Cell {
	switch index {
	case 0:
		return Missing("the packet was made here, or its device is not known")
	case 1:
		return Say("lo") // the first device of every namespace
	}
	if n := newest(f, networkOf); n != nil && own && len(n.Spaces) > 0 && n.Spaces[0].Own {
		for _, l := range n.Spaces[0].Links {
			if uint32(l.Index) == index {
				return Name(collectors.Clean(l.Name))
			}
		}
	}
	return Say("if" + strconv.FormatUint(uint64(index), 10))
}

// transportName is the name of an IP protocol, or its number.
func transportName(p uint8) string {
	switch p {
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmp6"
	}
	return "ip " + strconv.Itoa(int(p))
}

// protocolName is what a packet is: "udp", "arp", "0x88cc".
func protocolName(ether uint16, transport uint8) string {
	const ip4, arp, ip6, lldp = 0x0800, 0x0806, 0x86dd, 0x88cc
	switch {
	case ether == ip4 && transport == 0:
		return "ip"
	case ether == ip6 && transport == 0:
		return "ip6"
	case ether == ip6 && (transport == 6 || transport == 17):
		return transportName(transport) + "6"
	case ether == ip4 || ether == ip6:
		return transportName(transport)
	case ether == arp:
		return "arp"
	case ether == lldp:
		return "lldp"
	case ether == 0:
		return "-"
	}
	return fmt.Sprintf("0x%04x", ether)
}

// packetEnd is one end of a packet.
func packetEnd(a netip.AddrPort) Cell {
	switch {
	case !a.IsValid():
		return Missing("not an IP packet, or its header was not there yet")
	case a.Port() == 0:
		return Say(a.Addr().String())
	}
	return Say(a.String())
}
