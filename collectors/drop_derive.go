// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

func stateOfDrops(r *bpf.DropReading) dropState {
	s := dropState{
		reasons: slices.Clone(r.Reasons[:]), missed: r.Missed, others: DropSocketCounts{r.Others.Full, r.Others.Memory},
		places:  make(map[bpf.DropPlace]uint64, len(r.Rows)),
		sockets: make(map[bpf.DropSocket]DropSocketCounts, len(r.Sockets)),
	}
	for i := range r.Rows {
		s.places[r.Rows[i].DropPlace] = r.Rows[i].Packets
	}
	for i := range r.Sockets {
		s.sockets[r.Sockets[i].DropSocket] = DropSocketCounts{r.Sockets[i].Full, r.Sockets[i].Memory}
	}
	return s
}

// reasonName is a reason's name; every reason of a kernel that tells none says nothing.
func reasonName(r *bpf.DropReasons, reason uint32) string {
	if !r.Known {
		return notSpecified
	}
	return r.Name(reason)
}

// subsystemReasons are all those that belong to a subsystem: mac80211, openvswitch.
const subsystemReasons = "SUBSYSTEM"

// deriveDrops subtracts two readings. base is the first one.
func deriveDrops(base []uint64, prev, cur *dropState, r *bpf.DropReading, names *bpf.DropReasons, span Span) *Drops {
	s := &Drops{Span: span, ReasonsKnown: names.Known, Missed: grown(prev.missed, cur.missed)}
	var all uint64
	for i := range cur.reasons {
		n := grown(prev.reasons[i], cur.reasons[i])
		if n == 0 {
			continue
		}
		all += n
		name := reasonName(names, uint32(i))
		if names.Known && i == len(cur.reasons)-1 {
			name = subsystemReasons
		}
		s.Reasons = append(s.Reasons, DropReason{name, classOfDrop(name), n, grown(base[i], cur.reasons[i])})
	}
	sortStably(s.Reasons, func(a, b DropReason) int { return cmp.Compare(b.Packets, a.Packets) })
	for i := range r.Rows {
		row := &r.Rows[i]
		n := grown(prev.places[row.DropPlace], row.Packets)
		if n == 0 {
			continue
		}
		name := reasonName(names, row.Reason)
		s.Places = append(s.Places, DropPlace{
			Reason: name, Class: classOfDrop(name), Address: row.Place, Netns: row.Netns, Ifindex: row.Ifindex,
			Protocol: row.Protocol, Transport: row.Transport, Packets: n,
		})
	}
	sortBy(s.Places, func(a, b DropPlace) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Netns, b.Netns), cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Protocol, b.Protocol))
	})
	if len(s.Places) > maxDropPlaces {
		s.Places = slices.Clone(s.Places[:maxDropPlaces])
	}
	var placed uint64
	for i := range s.Places {
		placed += s.Places[i].Packets
	}
	s.Unplaced = all - min(placed, all)
	s.deriveSockets(prev, cur, r)
	return s
}

func (s *Drops) deriveSockets(prev, cur *dropState, r *bpf.DropReading) {
	minus := func(p, c DropSocketCounts) DropSocketCounts {
		return DropSocketCounts{grown(p.Full, c.Full), grown(p.Memory, c.Memory)}
	}
	s.Others = minus(prev.others, cur.others)
	for i := range r.Sockets {
		row := &r.Sockets[i]
		now := cur.sockets[row.DropSocket]
		d := minus(prev.sockets[row.DropSocket], now)
		if d == (DropSocketCounts{}) {
			continue
		}
		s.Sockets = append(s.Sockets, DropSocket{
			Inode: row.Inode, Netns: row.Netns, Port: row.Port, IPv6: row.Family == unix.AF_INET6, Protocol: row.Protocol,
			Rcvbuf: row.Rcvbuf, DropSocketCounts: d, Total: now,
		})
	}
	sortBy(s.Sockets, func(a, b DropSocket) int {
		return cmp.Or(cmp.Compare(b.Full+b.Memory, a.Full+a.Memory), cmp.Compare(a.Inode, b.Inode))
	})
	if len(s.Sockets) > maxDropSockets {
		for _, x := range s.Sockets[maxDropSockets:] {
			s.Others.Full += x.Full
			s.Others.Memory += x.Memory
		}
		s.Sockets = slices.Clone(s.Sockets[:maxDropSockets])
	}
}
