// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"time"

	"bpf60/collectors"
)

// dropPlan is what is dropped for one reason in a second.
type dropPlan struct {
	name     string
	class    collectors.DropClass
	packets  uint64
	function string
	ether    uint16
	proto    uint8
	iface    uint32
	from, to string
}

// dropPlans are the drops of a second. In the busy story a syslog server does not read, and something
// scans the host.
func dropPlans(s *story, i int) []dropPlan {
	n := uint64(i * 7 % 5)
	switch s.kind {
	case "idle":
		if i%30 != 7 {
			return nil
		}
		return []dropPlan{{"OTHERHOST", collectors.DropNobody, 1, "ip_rcv_core", 0x0800, 17, 2, "10.0.0.9:5353", "224.0.0.251:5353"}}
	case "extreme":
		return []dropPlan{
			{"SOCKET_RCVBUFF", collectors.DropFull, 98_765_432, "__udp_queue_rcv_skb", 0x86dd, 17, 70000, "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[2001:db8:ffff:ffff:ffff:ffff:ffff:fffe]:65535"},
			{"A_REASON_OF_A_KERNEL_TO_COME", collectors.DropOther, 12_345_678, "\x1b[31mred", 0xbeef, 0, 0, "", ""},
			{"NOT_SPECIFIED", collectors.DropUnspecified, 400_000_000, "unix_release_sock", 0, 0, 0, "", ""},
		}
	}
	return []dropPlan{
		{"SOCKET_RCVBUFF", collectors.DropFull, 118 + n, "__udp_queue_rcv_skb", 0x0800, 17, 2, "10.0.3.9:40112", "10.0.0.5:514"},
		{"NO_SOCKET", collectors.DropNobody, 3 + n%2, "tcp_v4_rcv", 0x0800, 6, 2, "198.51.100.7:41000", "10.0.0.5:23"},
		{"NETFILTER_DROP", collectors.DropPolicy, 1, "nft_do_chain", 0x0800, 6, 2, "198.51.100.7:41001", "10.0.0.5:3306"},
		{"NOT_SPECIFIED", collectors.DropUnspecified, 41, "unix_stream_read_generic", 0, 0, 0, "", ""},
	}
}

func addDrops(s *story, _ load, snap *collectors.Snapshot) {
	drop := collectors.Probe{Name: "dropsnoop", State: collectors.On, Hook: "tp_btf kfree_skb", NsPerEvent: 70}
	sock := collectors.Probe{Name: "dropsnoop-sockets", State: collectors.On, Hook: "tp_btf udp_fail_queue_rcv_skb", NsPerEvent: 70}
	defer func() { snap.Probes[collectors.DropsID] = []collectors.Probe{drop, sock} }()
	if s.kind == "denied" {
		for _, p := range []*collectors.Probe{&drop, &sock} {
			p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
		return
	}
	i := len(s.moments)
	if i == 0 {
		return
	}
	d := &collectors.Drops{Span: collectors.Span{From: snap.At - time.Second, To: snap.At}, ReasonsKnown: true}
	totals := make(map[string]uint64)
	for k := 1; k <= i; k++ {
		for _, p := range dropPlans(s, k) {
			totals[p.name] += p.packets
			drop.Events += p.packets
		}
	}
	for k, p := range dropPlans(s, i) {
		d.Reasons = append(d.Reasons, collectors.DropReason{Name: p.name, Class: p.class, Packets: p.packets, Total: totals[p.name]})
		place := collectors.DropPlace{
			Reason: p.name, Class: p.class, Address: 0xffffffff81000000 + uint64(k), Function: collectors.RawString(p.function), Netns: 4026531840, Own: true,
			Ifindex: p.iface, Protocol: p.ether, Transport: p.proto, Packets: p.packets,
		}
		if p.iface == 0 {
			place.Netns, place.Own = 0, false
		}
		d.Places = append(d.Places, place)
		if p.class != collectors.DropUnspecified {
			x := collectors.DroppedPacket{Ago: 200 * time.Millisecond, Reason: p.name, Class: p.class, Netns: place.Netns, Own: place.Own, Ifindex: p.iface, Protocol: p.ether, Transport: p.proto, Length: 128}
			if p.from != "" {
				x.Source, x.Dest = netip.MustParseAddrPort(p.from), netip.MustParseAddrPort(p.to)
			}
			d.Packets = append(d.Packets, x)
		}
		if p.name == "SOCKET_RCVBUFF" {
			owner := &collectors.SocketOwner{Process: collectors.Process{TGID: 702, Start: 702e9}, Comm: collectors.RawString("rsyslogd")}
			if s.kind == "lossy" {
				owner = nil
			}
			d.Sockets = append(d.Sockets, collectors.DropSocket{
				Inode: 30211, Netns: 4026531840, Own: true, Port: 514, Protocol: 17, Rcvbuf: 212992,
				DropSocketCounts: collectors.DropSocketCounts{Full: p.packets}, Total: collectors.DropSocketCounts{Full: totals[p.name]}, Owner: owner,
			})
			sock.Events = totals[p.name]
		}
	}
	if s.kind == "lossy" {
		d.NoNames = "needs addresses in /proc/kallsyms: run as root or with CAP_SYSLOG, and kernel.kptr_restrict at most 1"
		d.Missed, d.Unplaced, d.Others.Full = 5, 12, 30
		for k := range d.Places {
			d.Places[k].Function = collectors.Raw{}
		}
	}
	snap.Drops = d
}
