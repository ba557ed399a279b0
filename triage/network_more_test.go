// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"net/netip"
	"testing"
	"time"

	"bpf60/collectors"
)

func TestFullLink(t *testing.T) {
	link := func(mbit uint64, out, drops, backlog uint64, half bool) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			l := &collectors.NetLink{Name: collectors.RawString("eth0"), Kind: collectors.LinkDevice, LinkFacts: collectors.LinkFacts{Speed: mbit, Backlog: backlog, Half: half}}
			n := collectors.NetIface{NetLink: l, QdiscDrops: drops}
			n.TxBytes, n.RxBytes = out, out/2
			s.Network = &collectors.Network{Span: span, Ifaces: []collectors.NetIface{n}}
		})
	}
	const full = 115e6 // bytes: 92 % of a gigabit
	checkCases(t, "net.saturated", map[string]ruleCase{
		"packets wait":         {h: link(1000, full, 0, 1e6, false), want: "warning 92 % by eth0", in: "eth0 carries 92 %"},
		"packets are dropped":  {h: link(1000, full, 3, 0, false), want: "warning 92 % by eth0"},
		"nothing waits":        {h: link(1000, full, 0, 1500, false)},
		"at 84 %":              {h: link(1000, 105e6, 3, 1e6, false)},
		"half duplex":          {h: link(1000, 80e6, 3, 0, true), want: "warning 96 % by eth0"},
		"its speed is unknown": {h: link(0, full, 3, 1e6, false)},
	})
	r := All(nil)[indexOf(t, "net.saturated")]
	if why, _ := r.Blind(link(0, full, 0, 0, false)); why == "" {
		t.Error("links are ruled out where none tells its speed")
	}
	if why, _ := r.Blind(link(1000, 1, 0, 0, false)); why != "" {
		t.Errorf("links are not ruled out: %s", why)
	}
}

func TestStalledReceive(t *testing.T) {
	peer := netip.MustParseAddrPort("10.0.3.7:5432")
	type queue struct {
		closed    uint64
		mem       uint64
		recv, buf uint32
		used      uint32
		last      time.Duration
		looked    bool
	}
	h := func(q queue) *History {
		return ticking(3, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.TCP = &collectors.TCP{Span: span}
			s.TCP.Delta[collectors.TCPToZeroWindowAdv] = q.closed
			s.TCP.Stat.TCPMem = q.mem
			if q.looked && i == 3 {
				id := &collectors.SocketID{Remote: peer, Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("app")}}
				s.Sockets = &collectors.Sockets{Span: span, Rows: []collectors.SocketRow{{SocketID: id, RecvQ: q.recv, RcvBuf: q.buf, RcvUsed: q.used, LastRecv: uint32(q.last.Milliseconds())}}}
			}
		})
	}
	const found = "warning 90 % by app[8] hits 10.0.3.7:5432"
	checkCases(t, "net.receive_stalled", map[string]ruleCase{
		"windows close":         {h: h(queue{closed: 1, recv: 90000, buf: 100000, looked: true}), want: found, in: "app[8] does not read 87.9 KiB from 10.0.3.7:5432"},
		"full for long":         {h: h(queue{mem: 1 << 20, recv: 90000, buf: 100000, last: 12 * time.Second, looked: true}), want: found},
		"full with overhead":    {h: h(queue{closed: 1, recv: 50000, used: 90000, buf: 100000, looked: true}), want: found},
		"a moment ago":          {h: h(queue{mem: 1 << 20, recv: 90000, buf: 100000, last: time.Second, looked: true})},
		"half full":             {h: h(queue{closed: 1, recv: 50000, buf: 100000, looked: true})},
		"a consumer that waits": {h: h(queue{closed: 1, recv: 0, buf: 100000, looked: true})},
		"nobody has looked":     {h: h(queue{closed: 1})},
		"nothing points there":  {h: h(queue{recv: 90000, buf: 100000, last: 12 * time.Second, looked: true})},
	})
	for name, tt := range map[string]struct {
		q    queue
		want int
	}{"windows close": {queue{closed: 1}, 1}, "bytes stand": {queue{mem: queuedLeast}, 1}, "neither": {queue{mem: queuedLeast - 1}, 0}} {
		if _, wants := judge(t, "net.receive_stalled", h(tt.q)); len(wants) != tt.want {
			t.Errorf("%s: asks for %v, want %d", name, wants, tt.want)
		}
	}
}

func TestChurning(t *testing.T) {
	type churn struct {
		n, without, overflow uint64
		waiting, ports       int
		to                   string
	}
	h := func(x churn, seconds int) *History {
		return ticking(seconds, func(i int, s *collectors.Snapshot, span collectors.Span) {
			c := counts{collectors.FlowConnects: x.n, collectors.FlowNoPort: x.without}.of()
			s.Flow = &collectors.Flow{
				Span: span, Peers: []collectors.FlowPeer{{Addr: netip.MustParseAddrPort(x.to), Role: collectors.FlowActive, Counts: c}},
				Processes: []collectors.FlowProcess{{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("app"), Counts: c}},
			}
			s.Flow.Host.Counts = c
			s.TCP = &collectors.TCP{Span: span, Stat: collectors.SockStat{TimeWait: x.waiting}, Limits: collectors.TCPLimits{Ports: x.ports}}
			s.TCP.Delta[collectors.TCPTimeWaitOverflow] = x.overflow
		})
	}
	const to, local = "10.0.3.7:5432", "127.0.0.1:5432"
	checkCases(t, "net.connection_churn", map[string]ruleCase{
		"the ports run out":         {h: h(churn{n: 400, waiting: 22000, ports: 28000, to: to}, 60), want: "warning 78.57 % by app[8] hits " + to, in: "400 connects a second"},
		"to others, too":            {h: h(churn{n: 100, waiting: 22000, ports: 28000, to: to}, 60)},
		"on the loopback":           {h: h(churn{n: 400, waiting: 22000, ports: 28000, to: local}, 60)},
		"no more places":            {h: h(churn{n: 50, overflow: 1, to: to}, 10), want: "warning 50 a second by app[8] hits " + to, in: "no more places"},
		"no port":                   {h: h(churn{n: 50, without: 2, to: to}, 10), want: "warning 50 a second by app[8] hits " + to, in: "found no local port"},
		"a busy proxy":              {h: h(churn{n: 1200, waiting: 10000, ports: 28000, to: to}, 60), want: "info 1200 a second by app[8] hits " + to},
		"a proxy":                   {h: h(churn{n: 900, waiting: 10000, ports: 28000, to: to}, 60)},
		"so many for ten seconds":   {h: h(churn{n: 400, waiting: 22000, ports: 28000, to: to}, 10)},
		"the range is not known":    {h: h(churn{n: 400, waiting: 22000, to: to}, 60)},
		"nobody connects, no place": {h: h(churn{to: to}, 10)},
	})
}

func TestFlooded(t *testing.T) {
	h := func(full, sent, back uint64) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.TCP = &collectors.TCP{Span: span}
			s.TCP.Delta[collectors.TCPReqQFullDoCookies] = full
			s.TCP.Delta[collectors.TCPSyncookiesSent], s.TCP.Delta[collectors.TCPSyncookiesRecv] = sent, back
		})
	}
	checkCases(t, "net.syn_flood", map[string]ruleCase{
		"nobody goes on":           {h: h(100, 100, 1), want: "warning 100 a second"},
		"a rush":                   {h: h(100, 100, 90), want: "info 100 a second", in: "most were gone on with"},
		"without cookies, dropped": {h: h(100, 0, 0), want: "warning 100 a second"},
		"a few":                    {h: h(9, 9, 0)},
	})
}

func TestSlowPeer(t *testing.T) {
	h := func(role collectors.FlowRole, was, is time.Duration, n int) *History {
		return ticking(60, func(i int, s *collectors.Snapshot, span collectors.Span) {
			took := was
			if i > 50 {
				took = is
			}
			var rtt collectors.Hist
			for range n {
				rtt.Add(uint64(took))
			}
			c := counts{collectors.FlowConnects: 1}.of()
			s.Flow = &collectors.Flow{
				Span: span, Peers: []collectors.FlowPeer{{Addr: netip.MustParseAddrPort("10.0.3.7:5432"), Role: role, Counts: c, RTT: rtt.Hist32()}},
				Processes: []collectors.FlowProcess{{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("app"), Counts: c}},
			}
		})
	}
	far := 40 * time.Millisecond
	checkCases(t, "net.peer_slow", map[string]ruleCase{
		"it slowed down":       {h: h(collectors.FlowActive, 400*time.Microsecond, far, 5), want: "warning 32.77 ms by 10.0.3.7:5432 hits app[8]", in: "32-65 ms, 256-511 µs before"},
		"it is far away":       {h: h(collectors.FlowActive, far, far, 5)},
		"twice as far":         {h: h(collectors.FlowActive, far/2, far, 5)},
		"near still":           {h: h(collectors.FlowActive, 100*time.Microsecond, 4*time.Millisecond, 5)},
		"others connect to us": {h: h(collectors.FlowPassive, 400*time.Microsecond, far, 5)},
		"hardly any":           {h: h(collectors.FlowActive, 400*time.Microsecond, far, 0)},
	})
}
