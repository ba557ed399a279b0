// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"bpf60/collectors"
)

// traffic is what a host does over TCP in a second.
type traffic struct {
	clients, perSec int     // connections that stay, and that come and go a second
	reqs            float64 // requests a second and client
	retrans         uint64
	overflow        uint64
	refused         uint64 // connects to the cache, of those a second
	queue           uint32 // accept queue of the server
	synSent         int
	rtt             uint32 // µs
	stuck           uint32 // bytes in the receive queue of the slowest process
	name            string
	pid             int32
	interfaceV6     bool
	extra           map[collectors.TCPCounter]uint64
}

// trafficOf follows from what kind of story it is and how busy its second is.
func trafficOf(s *story, l load, i int) traffic {
	n := i * 7 % 5
	switch {
	case s.kind == "idle":
		return traffic{clients: 2, reqs: 0.2, rtt: 31_400, name: "sshd", pid: 641}
	case s.kind == "extreme":
		return traffic{
			clients: 50_000, perSec: 90_000, reqs: 4000, retrans: 4_000_000_000, overflow: 1_000_000_000, refused: 40_000, queue: 65_536, synSent: 40_000,
			rtt: 4_294_967_000, stuck: 4_294_967_295, name: "\x1b[31mroot\x1b[0m", pid: 4_194_303, interfaceV6: true,
			extra: map[collectors.TCPCounter]uint64{collectors.TCPMemoryPressures: 12, collectors.TCPTimeouts: 1 << 40, collectors.TCPSynRetrans: 9999, collectors.TCPOFOQueue: 1 << 50},
		}
	case l.usr > 0.5: // php-fpm waits for a CPU, so nginx' requests wait for php-fpm
		return traffic{
			clients: 42, perSec: 40 + n, reqs: 11, retrans: uint64(n / 3), overflow: uint64(3 + n), refused: uint64(n / 2), queue: 129, rtt: 1200, stuck: 61_440, name: "nginx", pid: 640,
			extra: map[collectors.TCPCounter]uint64{collectors.TCPAbortOnTimeout: uint64(n / 4), collectors.TCPToZeroWindowAdv: uint64(n % 2), collectors.TCPTimeouts: uint64(n / 3)},
		}
	}
	return traffic{clients: 38, perSec: 12 + n, reqs: 14, rtt: 900, name: "nginx", pid: 640}
}

// addTCP makes the samples of TCP and of the sockets of a second.
func addTCP(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	tr := trafficOf(s, l, i)
	span := snap.Host.Span
	probes := []collectors.Probe{
		{Name: "sar TCP", State: collectors.On, Hook: "/proc/net/snmp"},
		{Name: "nstat", State: collectors.On, Hook: "/proc/net/netstat"},
		{Name: "sockstat", State: collectors.On, Hook: "/proc/net/sockstat, sockstat6"},
	}
	ss := []collectors.Probe{
		{Name: "ss", State: collectors.On, Hook: "sock_diag"},
		{Name: "ss owner", State: collectors.On, Hook: "iter/task_file"},
	}
	sockets := socketsOfSecond(s, tr, i, span)
	var was *collectors.TCP
	if i > 0 {
		was = s.moments[i-1].TCP
	}
	snap.TCP = tcpOfSecond(tr, was, span, sockets)
	switch s.kind {
	case "lossy":
		snap.TCP.Has &^= 1<<collectors.TCPListenOverflows | 1<<collectors.TCPReqQFullDrop
		snap.TCP.Delta[collectors.TCPListenOverflows], snap.TCP.Total[collectors.TCPListenOverflows] = 0, 0
		if i > 0 && i%4 != 1 { // read every 4 s
			sockets = nil
		} else {
			sockets.Every, sockets.Cost = 4*time.Second, 212*time.Millisecond
			sockets.NoOwner = "processes of other users: run as root, or with cap_sys_ptrace"
		}
		ss[0].State, ss[0].Reason = collectors.Degraded, "every 4 s: one reading of so many sockets takes too long"
		ss[1].State, ss[1].Reason = collectors.Degraded, "no owner of 180 processes of other users"
	case "denied":
		sockets = nil
		ss[0].State, ss[0].Reason, ss[0].Remedy = collectors.Off, "needs a netlink socket: operation not permitted",
			"allow AF_NETLINK where bpf60 runs (seccomp, RestrictAddressFamilies)"
		ss[1].State, ss[1].Reason = collectors.Idle, "attaches while looked at"
	}
	snap.Sockets = sockets
	snap.Probes[collectors.TCPID], snap.Probes[collectors.SocketsID] = probes, ss
}

// retransSince is what the newest sample that has a socket says of its retransmits.
func (s *story) retransSince(cookie uint64) uint32 {
	for i := len(s.moments) - 1; i >= 0; i-- {
		if t := s.moments[i].Sockets; t != nil {
			for _, r := range t.Rows {
				if r.Cookie == cookie {
					return r.RetransTotal
				}
			}
		}
	}
	return 0
}

// tcpOfSecond has counters that agree with the sockets.
func tcpOfSecond(tr traffic, was *collectors.TCP, span collectors.Span, s *collectors.Sockets) *collectors.TCP {
	t := &collectors.TCP{Span: span, Has: 1<<collectors.TCPCounters - 1, EstablishedKnown: true}
	segs := uint64(tr.reqs*float64(tr.clients)) * 3
	rates := map[collectors.TCPCounter]uint64{
		collectors.TCPPassiveOpens: uint64(tr.perSec), collectors.TCPActiveOpens: uint64(tr.perSec / 2),
		collectors.TCPInSegs: segs + 9*uint64(tr.perSec), collectors.TCPOutSegs: segs + 8*uint64(tr.perSec),
		collectors.TCPRetransSegs: tr.retrans, collectors.TCPListenOverflows: tr.overflow, collectors.TCPListenDrops: tr.overflow,
		collectors.TCPTW: uint64(tr.perSec / 2), collectors.TCPAttemptFails: tr.refused,
	}
	for c, n := range tr.extra {
		rates[c] = n
	}
	t.Total[collectors.TCPActiveOpens] = 412_007
	if was != nil {
		t.Total = was.Total
		for c, n := range rates {
			t.Delta[c] = n
			t.Total[c] += n
		}
	}
	t.Established = s.States[collectors.Established] + s.States[collectors.CloseWait]
	tw := 30 * tr.perSec // 60 s each, for the half that we close
	t.Stat = collectors.SockStat{
		Known: true, SixKnown: true, Used: 181 + s.Total, TCP: s.Total, TimeWait: tw, Allocated: s.Total + 3,
		TCPMem: uint64(s.Total)*6144/4096*4096 + uint64(tr.stuck), UDP: 4,
	}
	t.Limits = collectors.TCPLimits{TCPMem: [3]uint64{1 << 30, 3 << 29, 2 << 30}, MaxOrphans: 131_072, MaxTimeWait: 131_072, MaxSynQueue: 512, MaxListen: 4096}
	return t
}

// socketsOfSecond lists the connections of the story's server.
func socketsOfSecond(s *story, tr traffic, i int, span collectors.Span) *collectors.Sockets {
	out := &collectors.Sockets{Span: span, Cost: 400 * time.Microsecond}
	owner := func(pid int32, name string) *collectors.SocketOwner {
		return &collectors.SocketOwner{Process: collectors.Process{TGID: pid, Start: uint64(pid) * 1e9}, Comm: collectors.RawString(name)}
	}
	addr := func(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
	local := "10.0.3.7:443"
	if tr.interfaceV6 {
		local = "[2001:db8:ffff:ffff:ffff:ffff:ffff:fff1]:65535"
	}
	if s.kind == "idle" {
		local = "10.0.3.7:22"
	}
	add := func(r collectors.SocketRow) {
		out.States[r.State]++
		out.Rows = append(out.Rows, r)
	}
	shown := min(tr.clients, 60)
	for k := range shown {
		remote := fmt.Sprintf("10.1.%d.%d:%d", k/7, 10+k, 40_000+k*331)
		if tr.interfaceV6 && k%2 == 0 {
			remote = fmt.Sprintf("[2001:db8:%x:ffff:ffff:ffff:ffff:%x]:%d", 0xa000+k, 0xff00+k, 40_000+k*331)
		}
		share := 2 / float64(k+2)
		reqs := tr.reqs * share * (1 + 0.2*math.Sin(float64(i+k)))
		r := collectors.SocketRow{
			SocketID: &collectors.SocketID{
				Cookie: uint64(0x4000 + k), Local: addr(local), Remote: addr(remote), Inode: uint32(81_000 + k), UID: 33,
				Congestion: collectors.RawString("cubic"), Owner: owner(tr.pid, tr.name),
			},
			State: collectors.Established, HasInfo: true,
			RTT: tr.rtt + uint32(min(k, 7))*37, RTTVar: tr.rtt / 4, MinRTT: tr.rtt / 2, RTO: 204_000, Cwnd: uint32(10 + k%4), Ssthresh: 1<<31 - 1, MSS: 1448,
			LastSend: uint32(20 + k), LastRecv: uint32(24 + k), RcvBuf: 131_072, SndBuf: 87_040, DeliveryRate: 48_000_000, PacingRate: 24_000_000,
			TimerMs: 0,
		}
		if i > 0 {
			r.Received, r.Acked = uint64(reqs*310), uint64(reqs*4100)
			r.Busy = uint64(reqs * 1200)
		}
		if k == 0 {
			r.RecvQ, r.Retrans, r.RetransTotal = tr.stuck, uint32(min(tr.retrans, math.MaxUint32)), s.retransSince(r.Cookie)
			r.RetransTotal += r.Retrans
			if s.kind == "extreme" {
				r.Acked, r.Received, r.SendQ, r.DeliveryRate, r.PacingRate = 1<<63, 1<<62, math.MaxUint32, math.MaxUint64, math.MaxUint64
				r.Cwnd, r.Unacked, r.Lost, r.RetransTotal, r.UID = math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32
			}
		}
		if k == 3 && s.kind != "idle" { // nobody has accepted it
			r.SocketID.Inode, r.Owner = 0, nil
		}
		add(r)
	}
	if s.kind != "idle" && s.kind != "extreme" { // to the database
		for k := range 3 {
			r := collectors.SocketRow{
				SocketID: &collectors.SocketID{
					Cookie: uint64(0x9000 + k), Local: addr(fmt.Sprintf("[::ffff:10.0.3.7]:%d", 51_000+k)), Remote: addr("[::ffff:10.0.4.2]:3306"),
					Inode: uint32(91_000 + k), UID: 33, Congestion: collectors.RawString("bbr"), Owner: owner(812+int32(k), "php-fpm"),
				},
				State: collectors.Established, HasInfo: true, RTT: 410, RTTVar: 60, MinRTT: 300, RTO: 201_000, Cwnd: 10, Ssthresh: 24, MSS: 1448,
			}
			if i > 0 {
				r.Received, r.Acked = uint64(9100*(k+1)), uint64(700*(k+1))
			}
			add(r)
		}
	}
	if s.kind == "extreme" {
		add(collectors.SocketRow{SocketID: &collectors.SocketID{Cookie: math.MaxUint64, Local: addr("127.0.0.1:1"), Remote: addr("203.0.113.250:65535")}, State: collectors.SynRecv})
		out.States[collectors.Established] += tr.clients - shown
		out.States[collectors.SynSent] += tr.synSent
		out.UnlistedRows = tr.clients - shown + tr.synSent
		out.UnlistedPeers = 49_000
	}
	for k, x := range []struct {
		local string
		queue uint32
		drops uint64
		pid   int32
		name  string
	}{{local, tr.queue, tr.overflow, tr.pid, tr.name}, {"[::]:22", 0, 0, 401, "sshd"}, {"127.0.0.1:3306", 0, 0, 901, "mariadbd"}} {
		if s.kind == "idle" && k != 1 {
			continue
		}
		o := owner(x.pid, x.name)
		if k == 0 {
			o.Others = 4
		}
		row := collectors.ListenRow{
			SocketID: &collectors.SocketID{Cookie: uint64(0x100 + k), Local: addr(x.local), Remote: addr("0.0.0.0:0"), Inode: uint32(17_000 + k), Owner: o},
			Queue:    x.queue, Backlog: 128, DropsTotal: uint32(x.drops) * uint32(i),
		}
		if i > 0 {
			row.Drops = uint32(x.drops)
		}
		if k == 0 {
			row.Connections = tr.clients
		}
		out.Listeners = append(out.Listeners, row)
		out.States[collectors.Listen]++
	}
	peers := make(map[netip.Addr]int)
	for _, r := range out.Rows {
		a := r.Remote.Addr().Unmap()
		at, ok := peers[a]
		if !ok {
			at = len(out.Peers)
			peers[a] = at
			out.Peers = append(out.Peers, collectors.PeerRow{Addr: a})
		}
		p := &out.Peers[at]
		p.Sockets++
		if r.State == collectors.Established {
			p.Established++
		}
		p.Acked += r.Acked
		p.Received += r.Received
		p.Retrans += uint64(r.Retrans)
		p.RecvQ += uint64(r.RecvQ)
		p.SendQ += uint64(r.SendQ)
		if r.RTT > 0 {
			p.RTTSum += uint64(r.RTT)
			p.RTTCount++
		}
	}
	for _, n := range out.States {
		out.Total += n
	}
	return out
}
