// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net/netip"
	"time"
	"unsafe"
)

// SocketsID is the on-demand collector of the table of TCP sockets.
const SocketsID ID = "sockets"

// SocketState is a TCP socket's state: the kernel's number (include/net/tcp_states.h).
type SocketState uint8

// The states of a TCP socket.
const (
	Established SocketState = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen
	Closing
	SocketStates // one more than the largest
)

// String is the state's name as ss prints it.
func (s SocketState) String() string {
	switch s {
	case Established:
		return "ESTAB"
	case SynSent:
		return "SYN-SENT"
	case SynRecv:
		return "SYN-RECV"
	case FinWait1:
		return "FIN-WAIT-1"
	case FinWait2:
		return "FIN-WAIT-2"
	case TimeWait:
		return "TIME-WAIT"
	case Closed:
		return "UNCONN"
	case CloseWait:
		return "CLOSE-WAIT"
	case LastAck:
		return "LAST-ACK"
	case Listen:
		return "LISTEN"
	case Closing:
		return "CLOSING"
	case SocketStates:
	}
	return "UNKNOWN"
}

// Sockets is what sock_diag tells of the TCP sockets of our network namespace. Deltas are over the
// span; in the first sample, whose span is empty, they are zero and the gauges stand.
type Sockets struct {
	Span
	States [SocketStates]int // how many there are, exactly; TIME-WAIT is not dumped and 0 here
	Total  int               // the sum of States

	Rows      []SocketRow // at most socketRows, those that moved most first, and those asked for
	Listeners []ListenRow // at most listenRows, the fullest accept queue first
	Peers     []PeerRow   // at most peerRows, those that moved most first

	UnlistedRows, UnlistedListeners, UnlistedPeers int // counted above and not listed

	Cost    time.Duration // of our own CPU time that this reading took
	Every   time.Duration // readings are stretched to this, to keep within the budget; 0: every tick
	NoIPv6  string        // why there are no IPv6 sockets; empty when there are, or may be
	NoOwner string        // why owners are missing; empty when all were looked for
}

// SocketRow is one socket that is not listening. Numbers are of struct tcp_info
// (include/uapi/linux/tcp.h) where not said otherwise; HasInfo is false for a request that waits
// for the end of its handshake, which has none.
type SocketRow struct {
	*SocketID `record:"must"`
	State     SocketState
	HasInfo   bool
	New       bool // it was not there at the last reading: its deltas are its whole life

	Timer        uint8  // what runs: 1 retransmission, 2 keepalive or FIN, 3 TIME-WAIT, 4 zero-window probe
	TimerRetrans uint8  // how often it has fired in a row
	TimerMs      uint32 // until it fires

	RecvQ, SendQ uint32 // bytes not read by the process, bytes not acknowledged by the peer (as ss)
	RTT, RTTVar  uint32 // smoothed, µs
	MinRTT       uint32 // µs; ^0 when not measured
	RTO          uint32 // µs
	Cwnd         uint32 // segments
	Ssthresh     uint32 // segments; ^0>>1 while in slow start from the beginning
	MSS          uint32 // bytes, of segments sent
	Unacked      uint32 // segments in flight
	Lost         uint32 // of them, thought lost
	RetransOut   uint32 // of them, sent again
	NotSent      uint32 // bytes that wait for the window
	LastSend     uint32 // ms ago
	LastRecv     uint32 // ms ago

	Acked, Received uint64 // bytes, delta
	Retrans         uint32 // segments sent again, delta
	RetransTotal    uint32
	DeliveryRate    uint64 // bytes/s, newest measurement
	PacingRate      uint64 // bytes/s; ^0 when there is no limit

	// Of the span, µs: sending or waiting for acknowledgement; of that, held by the peer's window;
	// of that, held by our send buffer.
	Busy, RwndLimited, SndbufLimited uint64 // wide: sums over a span have them too, and 32 bits are 71 minutes

	RcvBuf, SndBuf uint32 // bytes that the buffers may hold (SK_MEMINFO)
	RcvUsed        uint32 // bytes of RcvBuf in use: RecvQ with what holds it, which the kernel counts
	Drops          uint32 // segments dropped at this socket, delta

	Detail *TCPInfo // everything, for sockets asked for; else nil
}

// SocketID is what stays of a socket. Samples share it.
type SocketID struct {
	Cookie        uint64         // the kernel's name for the socket, never used again
	Local, Remote netip.AddrPort // IPv4 in IPv6 stays as it came
	Interface     uint32         // index of the interface it is bound to; 0: none
	Inode         uint32         // 0: not accepted yet, or closed by its process
	UID           uint32
	Cgroup        uint64 // 0 where the kernel does not tell
	Congestion    Raw
	Owner         *SocketOwner // nil: not found yet; NoOwner of the sample says why
}

// SocketOwner is a process that holds a socket.
type SocketOwner struct {
	Process
	Comm   Raw
	Others int // further processes that hold the same socket

	last int32 // the last of them that was seen
}

// ListenRow is one listening socket.
type ListenRow struct {
	*SocketID      `record:"must"`
	Queue, Backlog uint32 // connections that wait for accept, and how many may (Recv-Q, Send-Q of ss)
	Drops          uint32 // handshakes and SYNs dropped here, delta
	DropsTotal     uint32 // since it listens; wraps at 32 bits
	Connections    int    // sockets of its port in other states, TIME-WAIT not counted
	SynRecv        int    // of them, handshakes under way
}

// PeerRow is all sockets to one address.
type PeerRow struct {
	Addr            netip.Addr // IPv4 in IPv6 counts as IPv4
	Sockets         int
	Established     int
	SynSent         int    // connects under way
	Acked, Received uint64 // bytes, delta
	Retrans         uint64 // segments, delta
	RecvQ, SendQ    uint64 // bytes
	RTTSum          uint64 // µs, over RTTCount sockets that have measured one
	RTTCount        int
}

// TCPInfo is the rest of struct tcp_info; a field that this kernel lacks is 0.
type TCPInfo struct {
	CAState, Retransmits, Probes, Backoff, Options       uint8
	SndWscale, RcvWscale                                 uint8
	AppLimited                                           bool // the newest delivery rate is of too little data
	ATO, RcvMSS, Sacked, LastAckRecv, PMTU               uint32
	RcvSsthresh, AdvMSS, Reordering, RcvRTT, RcvSpace    uint32
	MaxPacingRate, BytesAcked, BytesReceived             uint64
	SegsOut, SegsIn, DataSegsOut, DataSegsIn             uint32
	BusyTime, RwndTime, SndbufTime                       uint64 // µs, total
	Delivered, DeliveredCE                               uint32
	BytesSent, BytesRetrans                              uint64
	DSACKDups, ReordSeen, RcvOOO, SndWnd, RcvWnd, Rehash uint32
	TotalRTO, TotalRTORecoveries                         uint16
	TotalRTOTime                                         uint32 // ms
	RmemAlloc, WmemAlloc, FwdAlloc, WmemQueued, OptMem   uint32 // bytes (SK_MEMINFO)
	Backlog                                              uint32 // bytes, not yet in the receive queue
	DropsTotal                                           uint32
	Length                                               int // bytes of tcp_info that the kernel gave
}

func (s *Sockets) put(snap *Snapshot) { snap.Sockets = s }

func (s *Sockets) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Rows) + sliceSize(s.Listeners) + sliceSize(s.Peers)
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.Detail != nil {
			n += allocSize(unsafe.Sizeof(*r.Detail))
		}
		if r.New && r.SocketID != nil { // later samples share it, and it is counted once
			n += allocSize(unsafe.Sizeof(*r.SocketID)) + len(r.Congestion.s)
			if r.Owner != nil {
				n += allocSize(unsafe.Sizeof(*r.Owner)) + len(r.Owner.Comm.s)
			}
		}
	}
	return n
}

// withoutRows returns a copy that keeps the counts.
func (s *Sockets) withoutRows() *Sockets {
	c := *s
	c.UnlistedRows += len(c.Rows)
	c.UnlistedListeners += len(c.Listeners)
	c.UnlistedPeers += len(c.Peers)
	c.Rows, c.Listeners, c.Peers = nil, nil, nil
	return &c
}
