// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"net/netip"
	"testing"
	"time"

	"bpf60/collectors"
)

// counts are counters of TCP's connections by name.
type counts map[collectors.FlowCounter]uint64

func (c counts) of() (out collectors.FlowCounts) {
	for k, n := range c {
		out[k] = n
	}
	return out
}

func TestLossy(t *testing.T) {
	addr := netip.MustParseAddrPort("10.0.3.7:443")
	again := func(timeouts, probes, segments, spurious uint64, rtt time.Duration) *History {
		var h collectors.Hist
		if rtt > 0 {
			h.Add(uint64(rtt))
		}
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			c := counts{collectors.FlowRetransmitsTimeout: timeouts, collectors.FlowRetransmitsProbe: probes, collectors.FlowRetransmits: timeouts + probes}.of()
			s.Flow = &collectors.Flow{
				Span: span, Peers: []collectors.FlowPeer{{Addr: addr, Role: collectors.FlowActive, Counts: c, RTT: h.Hist32()}},
				Processes: []collectors.FlowProcess{{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("curl"), Counts: c}},
			}
			s.Flow.Host.Counts = c
			s.TCP = &collectors.TCP{Span: span}
			s.TCP.Delta[collectors.TCPOutSegs], s.TCP.Delta[collectors.TCPSpuriousRTOs] = segments, spurious
		})
	}
	checkCases(t, "net.retransmits", map[string]ruleCase{
		"loss":                        {h: again(30, 0, 1000, 0, 50*time.Millisecond), want: "warning 3 % by 10.0.3.7:443 hits curl[8]", in: "30/s"},
		"an internet edge":            {h: again(30, 0, 2000, 0, 50*time.Millisecond)},
		"a peer nearby":               {h: again(30, 0, 10000, 0, time.Millisecond), want: "warning 0.3 % by 10.0.3.7:443 hits curl[8]"},
		"nearby, and next to nothing": {h: again(30, 0, 20000, 0, time.Millisecond)},
		"few":                         {h: again(19, 0, 100, 0, 50*time.Millisecond)},
		"tail-loss probes":            {h: again(0, 300, 1000, 0, 50*time.Millisecond)},
		"needless timeouts":           {h: again(30, 0, 1000, 15, 50*time.Millisecond)},
	})
	if f := judged(t, "net.retransmits", again(30, 0, 1000, 0, time.Second)); f.Row != "services/1 10.0.3.7:443" {
		t.Errorf("leads to %q", f.Row)
	}
}

func TestFailing(t *testing.T) {
	type failure struct {
		n     int // listed each second
		more  uint64
		kind  collectors.FlowCounter
		to    string
		good  uint64 // connects that succeed, to the same service
		else4 uint64 // of the same process over IPv4, elsewhere
	}
	h := func(x failure, from, to int) *History {
		addr, me := netip.MustParseAddrPort(x.to), collectors.Process{TGID: 8, Start: 8}
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Flow = &collectors.Flow{Span: span}
			if i < from || i > to {
				return
			}
			n := uint64(x.n) + x.more
			c := counts{collectors.FlowConnects: n + x.good, x.kind: n, collectors.FlowEstablished: x.good}.of()
			mine := counts{collectors.FlowConnects: n + x.good + x.else4, x.kind: n, collectors.FlowEstablished: x.good + x.else4}.of()
			s.Flow.Host.Counts = mine
			s.Flow.Peers = []collectors.FlowPeer{{Addr: addr, Role: collectors.FlowActive, Counts: c}}
			s.Flow.Processes = []collectors.FlowProcess{{Process: me, Comm: collectors.RawString("app"), Counts: mine}}
			s.Flow.Failures.Unlisted = x.more
			for range x.n {
				s.Flow.Failures.Rows = append(s.Flow.Failures.Rows, collectors.FlowEvent{Kind: x.kind, Process: me, Comm: collectors.RawString("app"), Remote: addr})
			}
		})
	}
	const v4, v6 = "10.0.3.7:5432", "[2001:db8::1]:443"
	found := "warning 100 % by " + v4 + " hits app[8]"
	checkCases(t, "net.connect_failures", map[string]ruleCase{
		"refused":                   {h: h(failure{n: 6, kind: collectors.FlowRefused, to: v4}, 1, 10), want: found, in: "refused"},
		"nobody answers":            {h: h(failure{n: 6, kind: collectors.FlowTimedOut, to: v4}, 1, 10), want: found, in: "nobody answers"},
		"more than can be listed":   {h: h(failure{n: 200, more: 9800, kind: collectors.FlowRefused, to: v4}, 1, 10), want: found},
		"more succeed":              {h: h(failure{n: 6, kind: collectors.FlowRefused, to: v4, good: 7}, 1, 10)},
		"a health check":            {h: h(failure{n: 1, kind: collectors.FlowRefused, to: v4}, 1, 10)},
		"for three seconds":         {h: h(failure{n: 60, kind: collectors.FlowRefused, to: v4}, 3, 5)},
		"given up: happy eyeballs":  {h: h(failure{n: 6, kind: collectors.FlowGivenUp, to: v6}, 1, 10)},
		"IPv6 no way, IPv4 works":   {h: h(failure{n: 6, kind: collectors.FlowUnreachable, to: v6, else4: 6}, 1, 10)},
		"IPv6 no way, nor anything": {h: h(failure{n: 6, kind: collectors.FlowUnreachable, to: v6}, 1, 10), want: "warning 100 % by " + v6 + " hits app[8]", in: "no way"},
	})
	checkCases(t, "net.ports_exhausted", map[string]ruleCase{
		"no port":    {h: h(failure{n: 2, kind: collectors.FlowNoPort, to: v4}, 1, 10), want: "warning 2 a second by app[8]"},
		"once":       {h: h(failure{n: 2, kind: collectors.FlowNoPort, to: v4}, 3, 3)},
		"is refused": {h: h(failure{n: 6, kind: collectors.FlowRefused, to: v4}, 1, 10)},
	})
	// A scan: as many connects that fail, each to another service.
	scan := ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Flow = &collectors.Flow{Span: span}
		s.Flow.Host.Counts = counts{collectors.FlowConnects: 100, collectors.FlowRefused: 100}.of()
		for k := range 100 {
			s.Flow.Failures.Rows = append(s.Flow.Failures.Rows, collectors.FlowEvent{Kind: collectors.FlowRefused, Process: collectors.Process{TGID: 8}, Remote: netip.AddrPortFrom(netip.MustParseAddr("10.0.3.7"), uint16(i*100+k))})
		}
	})
	if f := judged(t, "net.connect_failures", scan); f.ID != "" {
		t.Errorf("a scan is found: %s", f.Title)
	}
}

func TestOverflowing(t *testing.T) {
	over := func(own, other uint64) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.TCP = &collectors.TCP{Span: span}
			s.TCP.Delta[collectors.TCPListenOverflows] = own
			s.Network = &collectors.Network{Span: span, Spaces: []collectors.NetSpace{{Span: span, NetPlace: &collectors.NetPlace{Name: collectors.RawString("pod1")}}}}
			s.Network.Spaces[0].TCPListenOverflows = other
			s.Flow = &collectors.Flow{Span: span, Listen: collectors.FlowListens{Rows: []collectors.FlowListen{{
				SocketID: &collectors.SocketID{Local: netip.MustParseAddrPort("0.0.0.0:80"), Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("nginx")}}, Queue: 129, Backlog: 128, Drops: own,
			}}}}
		})
	}
	checkCases(t, "net.listen_overflow", map[string]ruleCase{
		"a queue is full":      {h: over(3, 0), want: "warning 3 a second by nginx[8]"},
		"in another namespace": {h: over(0, 3), want: "warning 3 a second by nginx[8]"},
		"nothing is":           {h: over(0, 0)},
	})
}

func TestDropping(t *testing.T) {
	type lost struct{ missed, packets, softnet, udp, policy uint64 }
	h := func(x lost, kind collectors.LinkKind) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			n := collectors.NetIface{NetLink: &collectors.NetLink{Name: collectors.RawString("eth0"), Kind: kind}, Missed: x.missed}
			n.RxPackets, n.RxDropped = x.packets, x.missed+x.policy
			space := collectors.NetSpace{Span: span, NetPlace: &collectors.NetPlace{Own: true}, StackKnown: true}
			space.UDPReceiveFull, space.UDPIn = x.udp, 1000
			s.Network = &collectors.Network{Span: span, SoftnetKnown: true, Ifaces: []collectors.NetIface{n}, Spaces: []collectors.NetSpace{space}}
			s.Network.SoftnetAll.Dropped, s.Network.SoftnetAll.Processed = uint32(x.softnet), 1000
			s.Drops = &collectors.Drops{Span: span, Sockets: []collectors.DropSocket{{DropSocketCounts: collectors.DropSocketCounts{Full: x.udp}, Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("dnsmasq")}}}}
		})
	}
	checkCases(t, "net.drops", map[string]ruleCase{
		"the device":             {h: h(lost{missed: 10, packets: 9990}, collectors.LinkDevice), want: "warning 0.1 % by eth0"},
		"one in a million":       {h: h(lost{missed: 10, packets: 1000000}, collectors.LinkDevice)},
		"a backlog":              {h: h(lost{softnet: 10}, collectors.LinkDevice), want: "warning 0.9901 %"},
		"a socket":               {h: h(lost{udp: 111}, collectors.LinkDevice), want: "warning 9.991 % by dnsmasq[8]", in: "UDP sockets"},
		"LLDP, VLANs, a filter":  {h: h(lost{policy: 500, packets: 9990}, collectors.LinkDevice)},
		"a bridge counts it too": {h: h(lost{missed: 10, packets: 9990}, collectors.LinkStacked)},
	})
}

func TestTracked(t *testing.T) {
	h := func(entries, drop uint64) *History {
		return ticking(2, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Network = &collectors.Network{Span: span, ConntrackMax: 1000, Spaces: []collectors.NetSpace{{
				Span: span, NetPlace: &collectors.NetPlace{Own: true}, Conntrack: collectors.Conntrack{Known: true, Entries: entries, Drop: drop},
			}}}
		})
	}
	checkCases(t, "net.conntrack_full", map[string]ruleCase{
		"nearly":       {h: h(900, 0), want: "warning 90 %"},
		"full":         {h: h(1000, 5), want: "critical 100 %"},
		"half":         {h: h(500, 0)},
		"drops, empty": {h: h(5, 5)},
	})
}

func TestSlowDNS(t *testing.T) {
	type server struct {
		addr              string
		n, lost, nxdomain uint64
		took              time.Duration
	}
	h := func(list ...server) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.DNS = &collectors.DNS{Span: span}
			for _, x := range list {
				p := collectors.DNSPair{Process: collectors.Process{TGID: 8}, Comm: collectors.RawString("curl"), Server: netip.MustParseAddr(x.addr)}
				p.Queries, p.Answers, p.Unanswered = x.n+x.lost, x.n, x.lost
				p.Rcodes[collectors.RcodeOK], p.Rcodes[collectors.RcodeName] = x.n-x.nxdomain, x.nxdomain
				for range x.n {
					p.Latency.Add(uint64(x.took))
				}
				s.DNS.Pairs = append(s.DNS.Pairs, p)
			}
		})
	}
	checkCases(t, "net.dns_slow", map[string]ruleCase{
		"late":                  {h: h(server{"10.0.0.2", 5, 0, 0, 300 * time.Millisecond}), want: "warning 262.1 ms by 10.0.0.2 hits curl[8]", in: "p90 262-524 ms"},
		"in time":               {h: h(server{"10.0.0.2", 5, 0, 0, 150 * time.Millisecond})},
		"no answers":            {h: h(server{"10.0.0.2", 9, 1, 0, time.Millisecond}), want: "warning 10 % by 10.0.0.2 hits curl[8]"},
		"hardly any":            {h: h(server{"10.0.0.2", 99, 1, 0, time.Millisecond})},
		"the stub is not twice": {h: h(server{"127.0.0.53", 5, 0, 0, 300 * time.Millisecond}, server{"10.0.0.2", 5, 0, 0, time.Millisecond})},
		"a stub alone":          {h: h(server{"127.0.0.53", 5, 0, 0, 300 * time.Millisecond}), want: "warning 262.1 ms by 127.0.0.53 hits curl[8]"},
		"a list is searched":    {h: h(server{"10.0.0.2", 5, 0, 4, time.Millisecond}), want: "info 5 questions a name by curl[8]", in: "curl[8] asks 5.0 times for each name"},
		"half are no names":     {h: h(server{"10.0.0.2", 8, 0, 4, time.Millisecond})},
		"none of them is":       {h: h(server{"10.0.0.2", 5, 0, 5, time.Millisecond})},
	})
	one := h(server{"10.0.0.2", 1, 0, 0, 300 * time.Millisecond})
	if f, _ := All(Limits{"net.dns_slow.questions": 11})[indexOf(t, "net.dns_slow")].Check(one); f.ID != "" {
		t.Errorf("ten cold lookups are found: %s", f.Title)
	}
}

func indexOf(t *testing.T, id string) int {
	t.Helper()
	for i, r := range All(nil) {
		if r.ID == id {
			return i
		}
	}
	t.Fatalf("no rule %s", id)
	return 0
}

func TestComplained(t *testing.T) {
	base := hostWith(collectors.PSI{})
	h := func(list ...collectors.LogRecord) *History {
		return ticking(3, func(i int, s *collectors.Snapshot, span collectors.Span) {
			base(i, s, span)
			tail := &collectors.LogTail{}
			for k := range list {
				x := list[k]
				x.Since, x.Text = s.Host.Uptime-x.Since, collectors.RawString("a message")
				tail.Records = append(tail.Records, &x)
			}
			s.Log = &collectors.Log{Span: span, Tail: tail}
		})
	}
	at := func(age time.Duration, t collectors.Trouble) collectors.LogRecord {
		return collectors.LogRecord{Since: age, Trouble: t}
	}
	checkCases(t, "kernel.errors", map[string]ruleCase{
		"a disk fails":               {h: h(at(time.Minute, collectors.TroubleIO)), want: "warning 1 min ago"},
		"the machine fails":          {h: h(at(time.Minute, collectors.TroubleHardware), at(time.Second, collectors.TroubleIO)), want: "critical 1 min ago"},
		"eleven minutes ago":         {h: h(at(11*time.Minute, collectors.TroubleHardware)), want: "info 11 min ago"},
		"yesterday":                  {h: h(at(30*time.Hour, collectors.TroubleHardware))},
		"ACPI, apparmor, USB":        {h: h(at(time.Minute, ""))},
		"a program's fault, a cable": {h: h(at(time.Minute, collectors.TroubleSegfault), at(time.Minute, collectors.TroubleLink))},
		"kills are told elsewhere":   {h: h(at(time.Minute, collectors.TroubleOOM))},
		"the hardware corrected it":  {h: h(at(time.Minute, collectors.TroubleCorrected)), want: "info 1 min ago", in: "corrected hardware error"},
		"a disk fails before that":   {h: h(at(2*time.Minute, collectors.TroubleIO), at(time.Minute, collectors.TroubleCorrected)), want: "warning 2 min ago"},
	})
}
