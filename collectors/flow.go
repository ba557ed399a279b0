// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net/netip"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// FlowID is the collector of TCP connections by their events.
const FlowID ID = "flow"

// FlowCounter names a count of FlowCounts.
type FlowCounter uint8

// The counters. Bytes are payload, without SYN and FIN, counted when the connection ends.
const (
	FlowConnects           FlowCounter = iota // begun, whatever came of them
	FlowAccepts                               // of connections that others began
	FlowEstablished                           // connects that succeeded
	FlowRefused                               // connects that failed: ECONNREFUSED
	FlowTimedOut                              // ETIMEDOUT: nobody answered
	FlowUnreachable                           // EHOSTUNREACH, ENETUNREACH and the like
	FlowNoPort                                // EADDRNOTAVAIL: no local port was free
	FlowGivenUp                               // closed by the process before there was an answer
	FlowFailed                                // for any other reason
	FlowHandshakes                            // others' connects that broke off before they were established
	FlowEnded                                 // connections that had been established
	FlowPeerReset                             // of them, by a reset that came
	FlowAborted                               // of them, by a reset that we sent
	FlowExpired                               // of them, because the peer did not answer any more
	FlowSent                                  // bytes, counted once
	FlowReceived                              // bytes
	FlowRetransmits                           // segments sent again, of every kind
	FlowRetransmitsSyn                        // of them, of a connect
	FlowRetransmitsSynack                     // of them, the answer to a connect
	FlowRetransmitsTimeout                    // of them, after a timeout
	FlowRetransmitsProbe                      // of them, tail loss probes
	FlowRetransmitsFailed                     // not among them: the network did not take it
	FlowResetsSent
	FlowResetsReceived
	FlowCounters
)

// FlowCounts are additive: connections, segments, bytes.
type FlowCounts [FlowCounters]uint64

// Plus adds other counts.
func (c *FlowCounts) Plus(o *FlowCounts) {
	for i, n := range o {
		c[i] += n
	}
}

// Failures are the connects that failed, for whatever reason. One that its process gave up counts:
// to it nobody had answered.
func (c *FlowCounts) Failures() uint64 {
	return c[FlowRefused] + c[FlowTimedOut] + c[FlowUnreachable] + c[FlowNoPort] + c[FlowGivenUp] + c[FlowFailed]
}

// Broken are the established connections that did not end in order.
func (c *FlowCounts) Broken() uint64 { return c[FlowPeerReset] + c[FlowAborted] + c[FlowExpired] }

// The histograms, and the paths that each is split by.
const (
	FlowLatency = iota // of connects: from the SYN until established
	FlowLife           // of connections that ended: from connect or accept on
	FlowRTT            // the kernel's smoothed round trip, at the end of a connection and at one of 16 reads
	FlowHists

	FlowNetwork  = 0
	FlowLoopback = 1
	FlowPaths    = 2
)

// FlowSet is all that is counted of the host, or of a target.
type FlowSet struct {
	Counts FlowCounts
	Hists  [FlowHists][FlowPaths]Hist
}

// Plus adds another set.
func (s *FlowSet) Plus(o *FlowSet) {
	s.Counts.Plus(&o.Counts)
	for h := range s.Hists {
		for p := range s.Hists[h] {
			s.Hists[h][p].Plus(&o.Hists[h][p])
		}
	}
}

// FlowDelta is a FlowSet of one span, in half the room.
type FlowDelta struct {
	Counts FlowCounts
	Hists  [FlowHists][FlowPaths]Hist32
}

// Set is the same at full width.
func (d *FlowDelta) Set() FlowSet {
	s := FlowSet{Counts: d.Counts}
	for h := range d.Hists {
		for p := range d.Hists[h] {
			s.Hists[h][p] = d.Hists[h][p].Hist()
		}
	}
	return s
}

// Delta is the same in half the room.
func (s *FlowSet) Delta() FlowDelta {
	d := FlowDelta{Counts: s.Counts}
	for h := range s.Hists {
		for p := range s.Hists[h] {
			d.Hists[h][p] = s.Hists[h][p].Hist32()
		}
	}
	return d
}

// Flow is what TCP connections of all network namespaces did over the span.
type Flow struct {
	Span
	Host  FlowDelta
	Total FlowSet // since the probe attached

	// Changes of state, from × to; and of connections that were seen from their beginning, the time
	// spent in states that were left, and how often one was.
	Moves  [SocketStates][SocketStates]uint32
	Stayed [SocketStates]time.Duration
	Left   [SocketStates]uint32

	Processes []FlowProcess // at most flowRows, those with most trouble and most connections first
	Peers     []FlowPeer    // likewise

	UnlistedProcesses, UnlistedPeers int // that counted, and are not listed

	Unowned        FlowCounts // of connections whose process is not known, and resets without one
	OtherProcesses FlowCounts // there was no room for
	OtherPeers     FlowCounts // likewise, and resets that no socket sent

	Retransmits, Failures, Resets, Ended FlowEvents

	Listen FlowListens

	Untracked uint64 // connections that began and found no room: they have no owner and no life span
	Unborn    uint64 // ended, and had begun before the probe attached
	Reads     uint64 // of processes, from sockets

	Narrowed []Targeted[FlowDelta]
}

// FlowProcess is what one process's connections did.
type FlowProcess struct {
	Process
	Comm   Raw
	Cgroup uint64
	Counts FlowCounts // deltas
}

// FlowRole is which end of a connection is ours.
type FlowRole uint8

// The roles.
const (
	FlowUnknown FlowRole = iota // the connection is older than the probe
	FlowActive                  // we connected
	FlowPassive                 // we were connected to
)

// FlowPeer is what was done with one address and port: the peer's port where we connected, ours where
// it did, and the lower of the two where nobody knows.
type FlowPeer struct {
	Addr         netip.AddrPort // IPv4 in IPv6 counts as IPv4
	Role         FlowRole
	Counts       FlowCounts // deltas
	Latency, RTT Hist32     // deltas
}

// FlowEvents are single events of one kind.
type FlowEvents struct {
	Rows     []FlowEvent // oldest first
	Unlisted uint64      // delta: further ones, counted and not listed
	Lost     uint64      // delta: of them, because there was no room
}

// FlowAgain says which segment was sent again.
type FlowAgain uint8

// The kinds of retransmit.
const (
	AgainFast    FlowAgain = iota // lost, by the acknowledgements
	AgainTimeout                  // no acknowledgement came in time
	AgainProbe                    // to find out whether the last segment was lost
	AgainSyn
	AgainSynack
	AgainFailed // not sent: the network did not take it
)

// FlowEvent is a connection that ended, a connect that failed, a segment sent again, or a reset.
type FlowEvent struct {
	At   time.Duration // monotonic, since the run began
	Kind FlowCounter   // FlowEnded and how, what failed, FlowRetransmits, FlowResetsSent or -Received

	Process Process // zero: not known
	Comm    Raw
	Guessed bool // the process holds the socket now: it may have been another's
	Cgroup  uint64

	Local, Remote netip.AddrPort // IPv4 in IPv6 as IPv4; not valid for what has no address
	Namespace     uint32         // of the network: its inode
	Cookie        uint64         // of the socket, 0 if nobody has asked for it yet
	Role          FlowRole
	State         SocketState // before
	Again         FlowAgain   // of a retransmit
	Lasted        time.Duration
	Sent          uint64 // bytes, by the whole connection
	Received      uint64
	RTT           uint32 // smoothed, µs; 0: not measured
	Retrans       uint32 // segments: of a retransmit its own, else of the whole connection
	Errno         int32  // of a failure or an end
	Reason        string // the kernel's, for a reset it sent; empty where it gives none
}

// FlowListens is what our own network namespace's listening sockets turned away.
type FlowListens struct {
	Overflows uint64       // delta of ListenOverflows: the accept queue was full
	Drops     uint64       // delta of ListenDrops: for that or any other reason
	Rows      []FlowListen // those that dropped
	Why       string       // why there are no rows; empty when there are none to see
}

// FlowListen is one listening socket that turned connections away.
type FlowListen struct {
	*SocketID      `record:"must"`
	Queue, Backlog uint32
	Drops          uint64 // delta
}

func (f *Flow) put(s *Snapshot) { s.Flow = f }

func (f *Flow) size() int {
	n := allocSize(unsafe.Sizeof(*f)) + sliceSize(f.Processes) + sliceSize(f.Peers) + sliceSize(f.Listen.Rows) + sliceSize(f.Narrowed)
	for _, e := range []*FlowEvents{&f.Retransmits, &f.Failures, &f.Resets, &f.Ended} {
		n += sliceSize(e.Rows) // names are shared
	}
	return n
}

// withoutRows returns a copy that keeps the counts.
func (f *Flow) withoutRows() *Flow {
	c := *f
	c.UnlistedProcesses += len(c.Processes)
	c.UnlistedPeers += len(c.Peers)
	c.Processes, c.Peers, c.Listen.Rows = nil, nil, nil
	for _, e := range []*FlowEvents{&c.Retransmits, &c.Failures, &c.Resets, &c.Ended} {
		e.Unlisted += uint64(len(e.Rows))
		e.Rows = nil
	}
	return &c
}

// flowSetSince subtracts two readings.
func flowSetSince(prev, cur *bpf.FlowSet) FlowSet {
	out := FlowSet{Counts: flowSince(&prev.Counts, &cur.Counts)}
	for h := range cur.Hists {
		for p := range cur.Hists[h] {
			out.Hists[h][p] = histSince(&cur.Hists[h][p], &prev.Hists[h][p])
		}
	}
	return out
}

// flowSince subtracts two readings; of an entry that went back, because it was taken out and made
// anew, all is new.
func flowSince(prev, cur *bpf.FlowCounts) FlowCounts {
	var d FlowCounts
	for i, n := range cur {
		if n < prev[i] {
			return FlowCounts(*cur)
		}
		d[i] = n - prev[i]
	}
	return d
}
