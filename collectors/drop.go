// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net/netip"
	"strings"
	"time"
	"unsafe"
)

// DropsID is the collector of dropped packets and full sockets.
const DropsID ID = "drops"

// Drops are the packets that the kernel dropped over the span, in all network namespaces.
type Drops struct {
	Span
	ReasonsKnown bool // the kernel says why: from 5.17 on. Else every Reason is DropUnspecified

	Reasons []DropReason // those that dropped something in the span, most first

	// Places are where in the kernel, most first, at most maxDropPlaces. Unplaced is how many of Reasons
	// have no place here.
	Places   []DropPlace
	Unplaced uint64

	// Sockets are those whose receive queue was full, most first, at most maxDropSockets; Others is
	// what those left out dropped.
	Sockets []DropSocket
	Others  DropSocketCounts

	// Packets are single ones: the first that a place drops, then a sample. Newest last, at most
	// maxListed; nothing is said of the others but in Reasons and Places.
	Packets []DroppedPacket

	Missed  uint64 // delta: drops that happened inside the counting of another, on one CPU
	NoNames string // why places have no names; empty when they have
}

// DropClass says what a reason means for whoever looks for trouble.
type DropClass uint8

// Classes of reasons.
const (
	DropOther       DropClass = iota
	DropFull                  // a queue, a buffer or a limit was full: somebody does not keep up
	DropPolicy                // a filter, a firewall or a security hook said so
	DropNobody                // nobody here wants it: no socket, not our address, no route
	DropBad                   // the packet is damaged or makes no sense
	DropTCP                   // TCP has no use for it: old, repeated, out of window, reset
	DropUnspecified           // the kernel does not say; many of these had done their duty
)

// String is the word of the pane.
func (c DropClass) String() string {
	switch c {
	case DropFull:
		return "full"
	case DropPolicy:
		return "policy"
	case DropNobody:
		return "nobody"
	case DropBad:
		return "bad"
	case DropTCP:
		return "tcp"
	case DropUnspecified:
		return "not said"
	case DropOther:
	}
	return "other"
}

// DropReason is how often packets were dropped for one reason, exact.
type DropReason struct {
	Name    string // of enum skb_drop_reason, without its prefix; reasons of subsystems are one
	Class   DropClass
	Packets uint64 // delta
	Total   uint64 // since the probe attached
}

// DropPlace is a place in the kernel, with what was dropped there.
type DropPlace struct {
	Reason    string
	Class     DropClass
	Address   uint64 // in the kernel's text
	Function  Raw    // that holds it; empty if not known
	Netns     uint32 // inode of the namespace; 0: not known
	Own       bool   // Netns is the one bpf60 runs in
	Ifindex   uint32 // of the interface, in its namespace; 0: not known
	Protocol  uint16 // ETH_P_*
	Transport uint8  // IPPROTO_*; 0: not IP, or not known
	Packets   uint64 // delta
}

// DropSocketCounts are packets that a socket's queue did not take. Deltas.
type DropSocketCounts struct {
	Full   uint64 // its receive buffer was full
	Memory uint64 // all sockets of the protocol together held too much (net.ipv4.udp_mem)
}

// DropSocket is a socket whose receive queue was full.
type DropSocket struct {
	Inode    uint32 // 0: it is in no file any more
	Netns    uint32
	Own      bool   // Netns is the one bpf60 runs in
	Port     uint16 // local; of a raw socket its protocol
	IPv6     bool
	Protocol uint32 // IPPROTO_*
	Rcvbuf   uint32 // bytes, when it last happened
	DropSocketCounts
	Total DropSocketCounts // since it was first seen, or came back after a minute
	Owner *SocketOwner     // nil: not found yet
}

// DroppedPacket is one packet.
type DroppedPacket struct {
	Ago          time.Duration // before the end of the span
	Reason       string
	Class        DropClass
	Function     Raw
	Netns        uint32
	Own          bool
	Ifindex      uint32
	Protocol     uint16
	Transport    uint8
	Source, Dest netip.AddrPort // not valid unless it is IP; ports of TCP and UDP only
	Length       uint32         // bytes
}

func (d *Drops) put(s *Snapshot) { s.Drops = d }

// Dropped is the number of packets with a reason.
func (d *Drops) Dropped() uint64 {
	var n uint64
	for i := range d.Reasons {
		if d.Reasons[i].Class != DropUnspecified {
			n += d.Reasons[i].Packets
		}
	}
	return n
}

// Rows of a sample.
const (
	maxDropPlaces  = 200
	maxDropSockets = 50
)

// size is about what d holds in memory, in bytes, without what samples share.
func (d *Drops) size() int {
	return allocSize(unsafe.Sizeof(*d)) + sliceSize(d.Reasons) + sliceSize(d.Places) + sliceSize(d.Sockets) + sliceSize(d.Packets)
}

// withoutRows returns a copy that keeps the reasons.
func (d *Drops) withoutRows() *Drops {
	c := *d
	for i := range d.Places {
		c.Unplaced += d.Places[i].Packets
	}
	for i := range d.Sockets {
		c.Others.Full += d.Sockets[i].Full
		c.Others.Memory += d.Sockets[i].Memory
	}
	c.Places, c.Sockets, c.Packets = nil, nil, nil
	return &c
}

// notSpecified is the reason that says nothing.
const notSpecified = "NOT_SPECIFIED"

// classOfDrop sorts the kernel's reasons (include/net/dropreason-core.h) by what they mean. One that is
// not known here, as of a kernel to come, is DropOther.
func classOfDrop(name string) DropClass {
	switch name {
	case notSpecified:
		return DropUnspecified
	case "SOCKET_RCVBUFF", "SOCKET_BACKLOG", "CPU_BACKLOG", "FULL_RING", "NOMEM", "PROTO_MEM", "TCP_LISTEN_OVERFLOW",
		"TCP_OFO_QUEUE_PRUNE", "TCP_OFO_DROP", "TCP_ZEROWINDOW", "NEIGH_QUEUEFULL", "QDISC_DROP", "QDISC_OVERLIMIT",
		"QDISC_CONGESTED", "CAKE_FLOOD", "FQ_BAND_LIMIT", "FQ_FLOW_LIMIT", "FQ_HORIZON_LIMIT", "PFMEMALLOC",
		"DUALPI2_STEP_DROP", "FRAG_REASM_TIMEOUT", "PACKET_SOCK_ERROR":
		return DropFull
	case "NETFILTER_DROP", "SOCKET_FILTER", "BPF_CGROUP_EGRESS", "XDP", "TC_EGRESS", "TC_INGRESS", "XFRM_POLICY",
		"SECURITY_HOOK", "TAP_FILTER", "TAP_TXFILTER", "TCP_MINTTL", "IP_RPFILTER", "ARP_PVLAN_DISABLE", "LOCAL_MAC",
		"BRIDGE_INGRESS_STP_STATE", "TC_COOKIE_ERROR", "TC_CHAIN_NOTFOUND", "TC_RECLASSIFY_LOOP":
		return DropPolicy
	case "NO_SOCKET", "SOCKET_CLOSE", "OTHERHOST", "IP_NOPROTO", "UNHANDLED_PROTO", "UNICAST_IN_L2_MULTICAST",
		"IP_OUTNOROUTES", "IP_INNOROUTES", "IPV6DISABLED", "IP_INADDRERRORS", "IP_LOCAL_SOURCE", "IP_INVALID_SOURCE",
		"IP_LOCALNET", "IP_INVALID_DEST", "NEIGH_CREATEFAIL", "NEIGH_FAILED", "NEIGH_DEAD", "UNIX_DISCONNECT",
		"UNIX_SKIP_OOB", "IPV6_NDISC_NS_OTHERHOST", "NO_TX_TARGET", "VXLAN_VNI_NOT_FOUND", "VXLAN_ENTRY_EXISTS",
		"QUEUE_PURGE", "DEV_READY", "MAC_IEEE_MAC_CONTROL":
		return DropNobody
	case "PKT_TOO_SMALL", "PKT_TOO_BIG", "UDP_CSUM", "IP_CSUM", "SKB_CSUM", "ICMP_CSUM", "TCP_CSUM", "IP_INHDR",
		"INVALID_PROTO", "SKB_GSO_SEG", "SKB_UCOPY_FAULT", "DEV_HDR", "HDR_TRUNC", "NEIGH_HH_FILLFAIL", "DUP_FRAG",
		"FRAG_TOO_FAR", "IPV6_BAD_EXTHDR", "IPV6_NDISC_FRAG", "IPV6_NDISC_HOP_LIMIT", "IPV6_NDISC_BAD_CODE",
		"IPV6_NDISC_BAD_OPTIONS", "VXLAN_INVALID_HDR", "MAC_INVALID_SOURCE", "IP_TUNNEL_ECN", "TUNNEL_TXINFO",
		"CAN_RX_INVALID_FRAME", "CANFD_RX_INVALID_FRAME", "CANXL_RX_INVALID_FRAME", "PSP_INPUT", "PSP_OUTPUT",
		"RECURSION_LIMIT":
		return DropBad
	}
	if strings.HasPrefix(name, "TCP_") {
		return DropTCP
	}
	return DropOther
}
