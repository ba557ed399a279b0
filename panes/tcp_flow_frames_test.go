// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"bpf60/collectors"
)

// addFlow makes the connections of a second, which agree with what addTCP counts.
func addFlow(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	const state = "tp_btf inet_sock_set_state"
	probes := []collectors.Probe{
		{Name: "tcpretrans", State: collectors.On, Hook: "tp_btf tcp_retransmit_skb, tcp_retransmit_synack"},
		{Name: "tcpconnect", State: collectors.On, Hook: state},
		{Name: "tcpaccept", State: collectors.On, Hook: state + ", tcp_rcv_space_adjust"},
		{Name: "tcpconnlat", State: collectors.On, Hook: state},
		{Name: "tcplife", State: collectors.On, Hook: state},
		{Name: "tcpstates", State: collectors.On, Hook: state},
		{Name: "tcprtt", State: collectors.On, Hook: "tp_btf tcp_rcv_space_adjust"},
		{Name: "tcpreset", State: collectors.On, Hook: "tp_btf tcp_send_reset, tcp_receive_reset"},
		{Name: "listen drops", State: collectors.On, Hook: "sock_diag"},
	}
	snap.Probes[collectors.FlowID] = probes
	if s.kind == "denied" {
		for k := range probes {
			probes[k].State, probes[k].Reason = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON"
			probes[k].Remedy = "run sudo bpf60"
		}
		return
	}
	if i == 0 {
		for k := range probes {
			probes[k].State, probes[k].Reason = collectors.Warming, "not read yet"
		}
		return
	}
	tr := trafficOf(s, l, i)
	f := flowOfSecond(s, tr, i, snap)
	if s.kind == "lossy" {
		probes[2].State, probes[2].Reason = collectors.Degraded, "the process of a connection is known only when it closes: not supported by this kernel"
		f.Ended.Rows = f.Ended.Rows[:min(len(f.Ended.Rows), 5)]
		f.Ended.Unlisted, f.Ended.Lost, f.Untracked = 71, 12, 3
		for k := range f.Retransmits.Rows {
			e := &f.Retransmits.Rows[k]
			e.Guessed = true
		}
		for k := range f.Ended.Rows {
			if k%2 == 0 {
				f.Ended.Rows[k].Process, f.Ended.Rows[k].Comm = collectors.Process{}, collectors.Raw{}
			}
		}
	}
	for k := i - 1; k >= 0; k-- {
		if was := s.moments[k].Flow; was != nil {
			f.Total.Plus(&was.Total)
			break
		}
	}
	snap.Flow = f
}

// flowOfSecond lets the server take up tr.perSec connections and make half as many to its database;
// of those to its cache some are refused.
func flowOfSecond(s *story, tr traffic, i int, snap *collectors.Snapshot) *collectors.Flow {
	f := &collectors.Flow{Span: snap.Host.Span}
	accepts, connects := uint64(tr.perSec), uint64(tr.perSec/2)
	server := collectors.FlowProcess{Process: collectors.Process{TGID: tr.pid, Start: uint64(tr.pid) * 1e9}, Comm: collectors.RawString(tr.name)}
	worker := collectors.FlowProcess{Process: collectors.Process{TGID: 812, Start: 812e9}, Comm: collectors.RawString("php-fpm")}
	local := netip.MustParseAddr("10.0.3.7")
	if tr.interfaceV6 {
		local = netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:fff1")
	}
	database, cache := netip.MustParseAddrPort("10.0.4.2:3306"), netip.MustParseAddrPort("10.0.4.9:6379")
	good := connects - min(connects, tr.refused)

	in := collectors.FlowCounts{
		collectors.FlowAccepts: accepts, collectors.FlowEnded: accepts,
		collectors.FlowSent: accepts * 4100, collectors.FlowReceived: accepts * 310, collectors.FlowRetransmits: tr.retrans,
		collectors.FlowRetransmitsTimeout: tr.retrans / 2, collectors.FlowRetransmitsProbe: tr.retrans - tr.retrans/2,
	}
	out := collectors.FlowCounts{
		collectors.FlowConnects: connects, collectors.FlowEstablished: good, collectors.FlowRefused: connects - good,
		collectors.FlowResetsReceived: connects - good, collectors.FlowEnded: good,
		collectors.FlowSent: good * 90, collectors.FlowReceived: good * 700,
	}
	server.Counts, worker.Counts = in, out
	var host collectors.FlowSet
	host.Counts.Plus(&in)
	host.Counts.Plus(&out)
	slot := min(collectors.Slot(uint64(tr.rtt)*1000), collectors.HistSlots-2)
	fill := func(which, path int, h collectors.Hist) { host.Hists[which][path].Plus(&h) }
	fill(collectors.FlowLatency, collectors.FlowNetwork, spread(map[int]uint64{8: good - good/8, 9: good / 8}))
	fill(collectors.FlowLife, collectors.FlowNetwork, spread(map[int]uint64{13: accepts / 2, 14: accepts - accepts/2, 10: good}))
	fill(collectors.FlowRTT, collectors.FlowNetwork, spread(map[int]uint64{slot: accepts, slot + 1: accepts / 9, 8: good}))
	if s.kind != "idle" {
		fill(collectors.FlowRTT, collectors.FlowLoopback, spread(map[int]uint64{4: 3, 5: 1}))
	}
	f.Host, f.Total = host.Delta(), host

	move := func(n uint64, states ...collectors.SocketState) {
		for k := range states[1:] {
			f.Moves[states[k]][states[k+1]] += uint32(min(n, math.MaxUint32))
			if states[k] != collectors.Closed && states[k] != collectors.Listen {
				f.Left[states[k]] += uint32(min(n, math.MaxUint32))
				f.Stayed[states[k]] += time.Duration(min(n, 1<<20)) * 3 * time.Millisecond
			}
		}
	}
	move(connects-good, collectors.Closed, collectors.SynSent, collectors.Closed)
	move(good, collectors.Closed, collectors.SynSent, collectors.Established, collectors.FinWait1, collectors.FinWait2, collectors.Closed)
	move(accepts, collectors.Listen, collectors.SynRecv, collectors.Established, collectors.CloseWait, collectors.LastAck, collectors.Closed)

	if accepts > 0 {
		f.Processes = append(f.Processes, server)
	}
	if connects > 0 {
		f.Processes = append(f.Processes, worker)
	}
	peer := func(addr netip.AddrPort, role collectors.FlowRole, c collectors.FlowCounts, latency, rtt collectors.Hist) {
		if c != (collectors.FlowCounts{}) {
			f.Peers = append(f.Peers, collectors.FlowPeer{Addr: addr, Role: role, Counts: c, Latency: latency.Hist32(), RTT: rtt.Hist32()})
		}
	}
	refused := collectors.FlowCounts{collectors.FlowConnects: connects - good, collectors.FlowRefused: connects - good, collectors.FlowResetsReceived: connects - good}
	peer(cache, collectors.FlowActive, refused, collectors.Hist{}, collectors.Hist{})
	toDatabase := out
	toDatabase[collectors.FlowConnects], toDatabase[collectors.FlowRefused], toDatabase[collectors.FlowResetsReceived] = good, 0, 0
	peer(database, collectors.FlowActive, toDatabase, spread(map[int]uint64{8: good - good/8, 9: good / 8}), spread(map[int]uint64{8: good}))
	for k := range 7 {
		share := in
		for n := range share {
			share[n] /= 7
			if k == 0 {
				share[n] = in[n] - 6*(in[n]/7)
			}
		}
		addr := netip.MustParseAddr(fmt.Sprintf("10.1.0.%d", 10+k))
		if tr.interfaceV6 && k%2 == 0 {
			addr = netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:ffff:ffff:ffff:ffff:%x", 0xa000+k, 0xff00+k))
		}
		peer(netip.AddrPortFrom(addr, 443), collectors.FlowPassive, share, collectors.Hist{}, spread(map[int]uint64{slot: share[collectors.FlowAccepts]}))
	}
	if s.kind == "extreme" {
		f.UnlistedPeers, f.UnlistedProcesses = 49_000, 4_900
		f.Unowned = collectors.FlowCounts{collectors.FlowRetransmits: 1 << 40}
	}
	flowRecords(f, tr, i, snap, server, worker, local, database, cache)
	if tr.overflow > 0 {
		id := snap.Sockets
		f.Listen = collectors.FlowListens{Overflows: tr.overflow, Drops: tr.overflow}
		if id != nil {
			first := id.Listeners[0]
			f.Listen.Rows = []collectors.FlowListen{{SocketID: first.SocketID, Queue: first.Queue, Backlog: first.Backlog, Drops: tr.overflow}}
		}
	}
	return f
}

// flowRecords lists the second's events: all of them where they are few.
func flowRecords(f *collectors.Flow, tr traffic, i int, snap *collectors.Snapshot, server, worker collectors.FlowProcess, local netip.Addr, database, cache netip.AddrPort) {
	when := func(k int) time.Duration { return snap.At - time.Second + time.Duration(k*37%1000)*time.Millisecond }
	list := func(l *collectors.FlowEvents, n uint64, of func(k int) collectors.FlowEvent) {
		for k := range int(min(n, 200)) {
			e := of(k)
			e.At, e.Namespace = when(k), 4_026_531_840
			l.Rows = append(l.Rows, e)
		}
		l.Unlisted = n - min(n, 200)
	}
	port := func(k int) uint16 { return uint16(40_000 + (i*331+k*17)%20_000) }
	client := func(k int) netip.AddrPort {
		if tr.interfaceV6 && k%2 == 0 {
			return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:a000:ffff:ffff:ffff:ffff:%x", 0xff00+k%7)), port(k))
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(10 + k%7)}), port(k))
	}
	of := func(p collectors.FlowProcess, e collectors.FlowEvent) collectors.FlowEvent {
		e.Process, e.Comm = p.Process, p.Comm
		return e
	}
	list(&f.Retransmits, tr.retrans, func(k int) collectors.FlowEvent {
		return of(server, collectors.FlowEvent{
			Kind: collectors.FlowRetransmits, Again: collectors.FlowAgain(1 + k%2), Local: netip.AddrPortFrom(local, 443), Remote: client(k),
			State: collectors.Established, Retrans: 1, Role: collectors.FlowPassive, RTT: tr.rtt, Lasted: 40 * time.Millisecond,
		})
	})
	list(&f.Failures, tr.refused, func(k int) collectors.FlowEvent {
		return of(worker, collectors.FlowEvent{
			Kind: collectors.FlowRefused, Errno: 111, Local: netip.AddrPortFrom(local, port(k)), Remote: cache, State: collectors.SynSent,
			Role: collectors.FlowActive, Lasted: 310 * time.Microsecond,
		})
	})
	list(&f.Ended, f.Host.Counts[collectors.FlowEnded], func(k int) collectors.FlowEvent {
		if k%3 == 2 {
			return of(worker, collectors.FlowEvent{
				Kind: collectors.FlowEnded, Local: netip.AddrPortFrom(local, port(k)), Remote: database, State: collectors.FinWait2,
				Role: collectors.FlowActive, Lasted: 1700 * time.Microsecond, Sent: 90, Received: 700, RTT: 410,
			})
		}
		return of(server, collectors.FlowEvent{
			Kind: collectors.FlowEnded, Local: netip.AddrPortFrom(local, 443), Remote: client(k), State: collectors.LastAck,
			Role: collectors.FlowPassive, Lasted: 14 * time.Millisecond, Sent: 4100, Received: 310, RTT: tr.rtt,
		})
	})
}
