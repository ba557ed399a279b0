// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
)

// socketField is one number of a connection.
type socketField struct {
	name, unit, says string
	cell             Cell
	history          func(*collectors.Sockets, *collectors.SocketRow) float64 // nil: none is kept
}

// movingFields are the numbers of a connection that move, with their history.
func movingFields(s *collectors.Sockets, r *collectors.SocketRow) []socketField {
	type R = collectors.SocketRow
	var out []socketField
	gauge := func(name, unit, says string, get func(*R) float64) {
		out = append(out, socketField{name, unit, says, ofInfo(get(r), r.HasInfo), func(_ *collectors.Sockets, r *R) float64 { return get(r) }})
	}
	span := func(name, unit, says string, cell Cell, get func(*R) float64) {
		out = append(out, socketField{name, unit, says, cell, func(s *collectors.Sockets, r *R) float64 {
			if s.Seconds() == 0 {
				return 0
			}
			return get(r) / s.Seconds()
		}})
	}
	span("tx", "bytes/s", "acknowledged by the peer", perSecond(r.Acked, s.Span), func(r *R) float64 { return float64(r.Acked) })
	span("rx", "bytes/s", "received", perSecond(r.Received, s.Span), func(r *R) float64 { return float64(r.Received) })
	gauge("Recv-Q", "bytes", "not read by the process", func(r *R) float64 { return float64(r.RecvQ) })
	gauge("Send-Q", "bytes", "not acknowledged by the peer", func(r *R) float64 { return float64(r.SendQ) })
	gauge("notsent", "bytes", "of them, not sent yet", func(r *R) float64 { return float64(r.NotSent) })
	gauge("rtt", "µs", "round trip, smoothed", func(r *R) float64 { return float64(r.RTT) })
	gauge("rttvar", "µs", "its variation", func(r *R) float64 { return float64(r.RTTVar) })
	gauge("retrans", "segments", "sent again in the interval", func(r *R) float64 { return float64(r.Retrans) })
	gauge("retrans total", "segments", "since the connection began", func(r *R) float64 { return float64(r.RetransTotal) })
	gauge("cwnd", "segments", "congestion window", func(r *R) float64 { return float64(r.Cwnd) })
	gauge("unacked", "segments", "in flight", func(r *R) float64 { return float64(r.Unacked) })
	gauge("lost", "segments", "of them, thought lost", func(r *R) float64 { return float64(r.Lost) })
	gauge("retrans out", "segments", "of them, sent again", func(r *R) float64 { return float64(r.RetransOut) })
	span("busy", "%", "of the time, data was under way", partOf(r.Busy, s.Span), func(r *R) float64 { return float64(r.Busy) })
	span("rwnd limited", "%", "held by the peer's window", partOf(r.RwndLimited, s.Span), func(r *R) float64 { return float64(r.RwndLimited) })
	span("sndbuf limited", "%", "held by our send buffer", partOf(r.SndbufLimited, s.Span), func(r *R) float64 { return float64(r.SndbufLimited) })
	gauge("delivery rate", "bytes/s", "newest measurement", func(r *R) float64 { return float64(r.DeliveryRate) })
	gauge("drops", "segments", "dropped here in the interval", func(r *R) float64 { return float64(r.Drops) })
	return out
}

// steadyFields are the numbers that a connection keeps no history of.
func steadyFields(r *collectors.SocketRow) []socketField {
	var out []socketField
	add := func(name, unit, says string, v float64) {
		out = append(out, socketField{name: name, unit: unit, says: says, cell: ofInfo(v, r.HasInfo)})
	}
	say := func(name, says, text string) {
		out = append(out, socketField{name: name, says: says, cell: Say(text)})
	}
	timer := "none"
	if names := []string{"none", "retransmit", "keepalive", "time-wait", "zero window"}; int(r.Timer) < len(names) {
		timer = names[r.Timer]
	}
	fires := "what runs now"
	if r.Timer != 0 {
		fires = fmt.Sprintf("fires in %d ms, fired %d times in a row", r.TimerMs, r.TimerRetrans)
	}
	say("timer", fires, timer)
	minRTT := socketField{name: "min rtt", unit: "µs", says: "the least so far", cell: ofInfo(float64(r.MinRTT), r.HasInfo)}
	if r.MinRTT == 1<<32-1 {
		minRTT.cell = Missing("not measured yet")
	}
	out = append(out, minRTT)
	add("rto", "µs", "retransmission timeout", float64(r.RTO))
	ssthresh := socketField{name: "ssthresh", unit: "segments", says: "slow start ends here", cell: ofInfo(float64(r.Ssthresh), r.HasInfo)}
	if r.Ssthresh >= 1<<31-1 {
		ssthresh.cell = Missing("no loss yet: slow start has no end")
	}
	pacing := socketField{name: "pacing rate", unit: "bytes/s", says: "sends no faster", cell: ofInfo(float64(r.PacingRate), r.HasInfo)}
	if r.PacingRate == 1<<64-1 {
		pacing.cell = Missing("no limit")
	}
	out = append(out, ssthresh, pacing)
	add("mss", "bytes", "segments sent", float64(r.MSS))
	add("last send", "ms", "ago", float64(r.LastSend))
	add("last receive", "ms", "ago", float64(r.LastRecv))
	add("receive buffer", "bytes", "may hold", float64(r.RcvBuf))
	add("send buffer", "bytes", "may hold", float64(r.SndBuf))
	say("uid", "of who made it", fmt.Sprint(r.UID))
	say("inode", "0: not accepted, or closed", fmt.Sprint(r.Inode))
	if r.Cgroup != 0 {
		say("cgroup id", "of the unified hierarchy", fmt.Sprint(r.Cgroup))
	}
	d := r.Detail
	if d == nil {
		return out
	}
	say("options", tcpOptions(d), fmt.Sprintf("%#x", d.Options))
	say("congestion state", "recovery and loss: something is sent again", congestionState(d.CAState))
	n := func(v uint32) float64 { return float64(v) }
	for _, x := range []struct {
		name, unit, says string
		v                float64
	}{
		{"bytes sent", "bytes", "total, those sent again included", float64(d.BytesSent)},
		{"bytes acked", "bytes", "total, SYN and FIN count", float64(d.BytesAcked)},
		{"bytes received", "bytes", "total", float64(d.BytesReceived)},
		{"bytes retrans", "bytes", "total", float64(d.BytesRetrans)},
		{"segs out", "segments", "total", n(d.SegsOut)},
		{"segs in", "segments", "total", n(d.SegsIn)},
		{"data segs out", "segments", "total", n(d.DataSegsOut)},
		{"data segs in", "segments", "total", n(d.DataSegsIn)},
		{"delivered", "segments", "total", n(d.Delivered)},
		{"delivered ce", "segments", "marked as congested", n(d.DeliveredCE)},
		{"busy time", "µs", "total", float64(d.BusyTime)},
		{"rwnd time", "µs", "total", float64(d.RwndTime)},
		{"sndbuf time", "µs", "total", float64(d.SndbufTime)},
		{"timeouts in a row", "", "now", float64(d.Retransmits)},
		{"probes in a row", "", "of a closed window", float64(d.Probes)},
		{"backoff", "", "doublings of the timeout", float64(d.Backoff)},
		{"total rto", "", "timeouts", float64(d.TotalRTO)},
		{"rto time", "ms", "spent in recovery from timeouts", n(d.TotalRTOTime)},
		{"dsack dups", "segments", "the peer had already", n(d.DSACKDups)},
		{"reorder seen", "", "times", n(d.ReordSeen)},
		{"reordering", "segments", "taken as normal", n(d.Reordering)},
		{"out of order in", "segments", "received", n(d.RcvOOO)},
		{"sacked", "segments", "", n(d.Sacked)},
		{"snd wnd", "bytes", "the peer's window", n(d.SndWnd)},
		{"rcv wnd", "bytes", "our window", n(d.RcvWnd)},
		{"rcv ssthresh", "bytes", "", n(d.RcvSsthresh)},
		{"rcv space", "bytes", "", n(d.RcvSpace)},
		{"rcv rtt", "µs", "as the receiver sees it", n(d.RcvRTT)},
		{"rcv mss", "bytes", "segments received", n(d.RcvMSS)},
		{"adv mss", "bytes", "", n(d.AdvMSS)},
		{"pmtu", "bytes", "of the path", n(d.PMTU)},
		{"ato", "µs", "delayed acknowledgement", n(d.ATO)},
		{"last ack", "ms", "received, ago", n(d.LastAckRecv)},
		{"rehash", "", "paths changed", n(d.Rehash)},
		{"rmem", "bytes", "memory of the receive queue", n(d.RmemAlloc)},
		{"wmem queued", "bytes", "memory of the send queue", n(d.WmemQueued)},
		{"wmem", "bytes", "handed to the device", n(d.WmemAlloc)},
		{"forward alloc", "bytes", "reserved", n(d.FwdAlloc)},
		{"backlog", "bytes", "came while the process held the socket", n(d.Backlog)},
		{"drops total", "segments", "", n(d.DropsTotal)},
	} {
		add(x.name, x.unit, x.says, x.v)
	}
	return out
}

// congestionState names what the sender takes the path for (include/uapi/linux/tcp.h, tcp_ca_state).
func congestionState(n uint8) string {
	if states := []string{"open", "disorder", "cwr", "recovery", "loss"}; int(n) < len(states) {
		return states[n]
	}
	return fmt.Sprintf("state %d", n)
}

// tcpOptions are the bits of tcpi_options, with the window scales.
func tcpOptions(d *collectors.TCPInfo) string {
	var out []string
	for i, name := range []string{"ts", "sack", "wscale", "ecn", "ecnseen", "fastopen", "usec"} {
		if d.Options>>i&1 == 0 {
			continue
		}
		if name == "wscale" {
			name = fmt.Sprintf("wscale:%d,%d", d.SndWscale, d.RcvWscale)
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}
