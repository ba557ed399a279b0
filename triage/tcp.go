// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"bpf60/collectors"
)

// connectionRules are the rules about TCP connections.
func connectionRules(chosen Limits) []Rule {
	return []Rule{lossy(chosen), failing(chosen), churning(chosen), overflowing(chosen), portless(chosen), stalledReceive(chosen), flooded(chosen), slowPeer(chosen)}
}

// service is a peer's address and port, and which end is ours.
type service struct {
	addr netip.AddrPort
	role collectors.FlowRole
}

// String is the row of the service in the pane of TCP.
func (s service) String() string { return fmt.Sprintf("services/%d %s", s.role, s.addr) }

// flow is what TCP connections did in the window.
type flow struct {
	whole     bool // it tells of ten seconds
	seconds   float64
	samples   int
	host      collectors.FlowCounts
	peers     map[service]*flowPeer
	processes map[collectors.Process]*collectors.FlowProcess
}

// flowPeer is one service.
type flowPeer struct {
	counts collectors.FlowCounts
	rtt    collectors.Hist
}

func (r *recent) flow() *flow {
	f := &flow{whole: r.covers(flowSpan), peers: map[service]*flowPeer{}, processes: map[collectors.Process]*collectors.FlowProcess{}}
	for _, m := range r.moments {
		s := m.Flow
		if s == nil || s.Seconds() == 0 {
			continue
		}
		f.samples++
		f.seconds += s.Seconds()
		f.host.Plus(&s.Host.Counts)
		for i := range s.Peers {
			x := &s.Peers[i]
			k := service{x.Addr, x.Role}
			if f.peers[k] == nil {
				f.peers[k] = &flowPeer{}
			}
			f.peers[k].counts.Plus(&x.Counts)
			rtt := x.RTT.Hist()
			f.peers[k].rtt.Plus(&rtt)
		}
		for i := range s.Processes {
			x := s.Processes[i]
			if p := f.processes[x.Process]; p != nil {
				p.Counts.Plus(&x.Counts)
			} else {
				f.processes[x.Process] = &x
			}
		}
	}
	return f
}

// most are the services with the highest count, at most n of those that have any.
func (f *flow) most(n int, count func(*collectors.FlowCounts) uint64) []service {
	list := slices.SortedFunc(maps.Keys(f.peers), func(a, b service) int {
		return cmp.Or(cmp.Compare(count(&f.peers[b].counts), count(&f.peers[a].counts)), a.addr.Compare(b.addr), cmp.Compare(a.role, b.role))
	})
	list = list[:min(len(list), n)]
	for len(list) > 0 && count(&f.peers[list[len(list)-1]].counts) == 0 {
		list = list[:len(list)-1]
	}
	return list
}

// busiest are the processes with the highest count, at most few of those that have any.
func (f *flow) busiest(count func(*collectors.FlowCounts) uint64) []*collectors.FlowProcess {
	list := slices.SortedFunc(maps.Values(f.processes), func(a, b *collectors.FlowProcess) int {
		return cmp.Or(cmp.Compare(count(&b.Counts), count(&a.Counts)), cmp.Compare(a.TGID, b.TGID))
	})
	list = list[:min(len(list), few)]
	for len(list) > 0 && count(&list[len(list)-1].Counts) == 0 {
		list = list[:len(list)-1]
	}
	return list
}

// peer is a service as culprit. Where we did not connect the port may be ours: that is none of the peer's.
func peer(s service, share float64) Culprit {
	at := s.addr
	if s.role != collectors.FlowActive {
		at = netip.AddrPortFrom(at.Addr(), 0)
	}
	return Culprit{Kind: "peer", Name: collectors.Clean(collectors.RawString(s.addr.String())), Share: share, Target: collectors.Target{Kind: collectors.PeerTarget, Addr: at}}
}

// sent is how many segments the host sent in the window, in all network namespaces, without those sent
// again; how many of our own timeouts turned out to be needless; and in how many seconds.
func (r *recent) sent() (segments, spurious uint64, seconds float64) {
	for _, m := range r.moments {
		if m.TCP != nil {
			seconds += m.TCP.Seconds()
			segments += m.TCP.Delta[collectors.TCPOutSegs]
			spurious += m.TCP.Delta[collectors.TCPSpuriousRTOs]
		}
		if m.Network != nil {
			for i := range m.Network.Spaces {
				if s := &m.Network.Spaces[i]; s.NetPlace != nil && !s.Own {
					segments += s.TCPOut
				}
			}
		}
	}
	return segments, spurious, seconds
}

// lossy: segments are sent again because no acknowledgement came in time.
func lossy(chosen Limits) Rule {
	r := Rule{
		ID: "net.retransmits", Says: "segments are sent again because no acknowledgement came in time; probes and needless timeouts do not count",
		Resource: "connections", Needs: []string{"tcpretrans", "sar TCP"},
	}
	share := r.limit(chosen, Limit{"share", 2, "%", 0.01, 100, "of the segments sent in 10 s"})
	rate := r.limit(chosen, Limit{"rate", 20, "a second", 0.1, 1e6, "segments sent again after a timeout"})
	lan := r.limit(chosen, Limit{"near", 0.2, "%", 0.01, 100, "of the segments, where the peer that has most is nearer than 5 ms"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.flow()
		segments, spurious, seconds := w.sent()
		// A slowed probe sees a part of what the kernel's counters have.
		seen := min(x.seconds/max(seconds, 1e-9), 1)
		segments, spurious = uint64(seen*float64(segments)), uint64(seen*float64(spurious))
		n := x.host[collectors.FlowRetransmitsTimeout]
		n -= min(n, spurious)
		if !x.whole || segments == 0 || float64(n) < rate*x.seconds {
			return Finding{}, nil
		}
		timeouts := func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowRetransmitsTimeout] }
		list, limit, part := x.most(few, timeouts), share, percent(n, segments)
		if len(list) > 0 {
			if rtt := &x.peers[list[0]].rtt; rtt.Count() > 0 && rtt.Mean() < 5*time.Millisecond {
				limit = lan
			}
		}
		if part < limit {
			return Finding{}, nil
		}
		f := Finding{
			ID: "net.retransmits", Severity: Warning, Resource: "connections", Line: "sar TCP", Value: part, Threshold: limit, Unit: "%", N: n, Window: recentFor,
			Title:    fmt.Sprintf("%.1f %% of segments sent again after a timeout, %.0f/s", part, float64(n)/x.seconds),
			Evidence: []string{fmt.Sprintf("%.0f segments/s sent", float64(segments)/x.seconds)}, Explains: []string{"net.connect_failures"},
			Pane: "tcp", Command: "tcpretrans; ss -ti; nstat -az TcpExtTCPTimeouts",
		}
		for _, s := range list {
			f.Culprits = append(f.Culprits, peer(s, percent(min(timeouts(&x.peers[s].counts), n), n)/100))
		}
		if len(list) > 0 {
			f.Row = list[0].String()
			if rtt := &x.peers[list[0]].rtt; rtt.Count() > 0 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%s: round trip %.1f ms", list[0].addr, rtt.Mean().Seconds()*1e3))
			}
		}
		for _, p := range x.busiest(timeouts) {
			f.Victims = append(f.Victims, w.stranger(p.Process, p.Comm, 0))
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		segments, _, seconds := w.sent()
		if x := w.flow(); x.seconds > 0 && segments > 0 {
			sent := float64(segments) * min(x.seconds/max(seconds, 1e-9), 1)
			return []string{fmt.Sprintf("%.2f %% of segments sent again", percent(float64(x.host[collectors.FlowRetransmits]), sent))}
		}
		return nil
	}
	return r
}

// try is a process and a service that it connects to.
type try struct {
	process collectors.Process
	to      service
}

// failing: a process connects to a service again and again, and in vain.
func failing(chosen Limits) Rule {
	r := Rule{
		ID: "net.connect_failures", Says: "connects of one process to one service are refused, time out or find no way",
		Resource: "connections", Needs: []string{"tcpconnect"},
	}
	share := r.limit(chosen, Limit{"share", 50, "%", 1, 100, "of the connects of one process to one address and port that fail"})
	rate := r.limit(chosen, Limit{"rate", 5, "a second", 0.1, 1e6, "connects that fail, for 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.flow()
		broken := x.host[collectors.FlowRefused] + x.host[collectors.FlowTimedOut] + x.host[collectors.FlowUnreachable] + x.host[collectors.FlowFailed]
		if !x.whole || float64(broken) < rate*x.seconds {
			return Finding{}, nil
		}
		counts, in, comms, why := map[try]float64{}, map[try]int{}, map[collectors.Process]collectors.Raw{}, map[try]collectors.FlowCounter{}
		for _, m := range w.moments {
			if m.Flow == nil {
				continue
			}
			rows := m.Flow.Failures.Rows
			// Each listed one stands for its part of those that are not.
			each := 1.0
			if len(rows) > 0 {
				each = 1 + float64(m.Flow.Failures.Unlisted)/float64(len(rows))
			}
			seen := map[try]bool{}
			for i := range rows {
				e := &rows[i]
				k := try{e.Process, service{e.Remote, collectors.FlowActive}}
				if !hopeless(e, x) {
					continue
				}
				counts[k] += each
				comms[e.Process], why[k] = e.Comm, e.Kind
				if !seen[k] {
					seen[k] = true
					in[k]++
				}
			}
		}
		tries := slices.SortedFunc(maps.Keys(counts), func(a, b try) int {
			return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.process.TGID, b.process.TGID), a.to.addr.Compare(b.to.addr))
		})
		for _, k := range tries {
			n := counts[k]
			// How often it tried is at most how often the process connected, and the service was connected to.
			tried := x.tried(k)
			if n < rate*x.seconds || in[k]*10 < x.samples*8 || tried == 0 || percent(n, float64(tried)) < share {
				continue
			}
			part := min(percent(n, float64(tried)), 100)
			who := w.stranger(k.process, comms[k.process], 0)
			f := Finding{
				ID: "net.connect_failures", Severity: Warning, Resource: k.to.addr.String(), Line: "sar TCP", Value: part, Threshold: share, Unit: "%", N: tried, Window: recentFor,
				Title:    fmt.Sprintf("%.0f %% of connects to %s fail: %s", part, k.to.addr, reason(why[k])),
				Evidence: []string{fmt.Sprintf("%.0f/s fail", n/x.seconds)},
				Culprits: []Culprit{peer(k.to, 0)}, Victims: []Culprit{who}, Pane: "tcp", Row: k.to.String(), Command: "tcpconnect; ss -tn state syn-sent",
			}
			return f, nil
		}
		return Finding{}, nil
	})
	r.Evidence = func(h *History) []string {
		x := recently(h).flow()
		if x.seconds == 0 {
			return nil
		}
		return []string{fmt.Sprintf("%.1f connects/s, %.1f fail", float64(x.host[collectors.FlowConnects])/x.seconds, float64(x.host.Failures())/x.seconds)}
	}
	return r
}

// hopeless says that a connect failed because of the service or the way to it: not because its process
// gave up or had no port, nor over IPv6 where the same process has IPv4 that works.
func hopeless(e *collectors.FlowEvent, x *flow) bool {
	switch e.Kind {
	case collectors.FlowRefused, collectors.FlowTimedOut, collectors.FlowFailed:
		return true
	case collectors.FlowUnreachable:
		p := x.processes[e.Process]
		return e.Remote.Addr().Unmap().Is4() || p == nil || p.Counts[collectors.FlowEstablished] == 0
	}
	return false
}

// tried is the most connects there can have been of a process to a service.
func (f *flow) tried(k try) uint64 {
	n := f.host[collectors.FlowConnects]
	if p := f.peers[k.to]; p != nil {
		n = min(n, p.counts[collectors.FlowConnects])
	}
	if p := f.processes[k.process]; p != nil {
		n = min(n, p.Counts[collectors.FlowConnects])
	}
	return n
}

// reason is why connects fail, in a word.
func reason(c collectors.FlowCounter) string {
	switch c {
	case collectors.FlowRefused:
		return "refused"
	case collectors.FlowTimedOut:
		return "nobody answers"
	case collectors.FlowUnreachable:
		return "no way there"
	}
	return "for other reasons"
}

// overflowing: connections come faster than a process accepts them.
func overflowing(chosen Limits) Rule {
	r := Rule{
		ID: "net.listen_overflow", Says: "connections come faster than a process accepts them, and are turned away",
		Resource: "connections", Needs: []string{"nstat"},
	}
	rate := r.limit(chosen, Limit{"rate", 1, "a second", 0.01, 1e6, "connections turned away because an accept queue was full, in 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		n, seconds, elsewhere := uint64(0), 0.0, map[string]uint64{}
		var worst *collectors.FlowListen
		for _, m := range w.moments {
			if m.TCP != nil {
				n += m.TCP.Delta[collectors.TCPListenOverflows]
				seconds += m.TCP.Seconds()
			}
			if m.Network != nil {
				for i := range m.Network.Spaces {
					if s := &m.Network.Spaces[i]; s.NetPlace != nil && !s.Own && s.TCPListenOverflows > 0 {
						n += s.TCPListenOverflows
						elsewhere[s.Name.Bytes()] += s.TCPListenOverflows
					}
				}
			}
			if m.Flow != nil {
				for i := range m.Flow.Listen.Rows {
					if x := &m.Flow.Listen.Rows[i]; x.SocketID != nil && (worst == nil || x.Drops > worst.Drops) {
						worst = x
					}
				}
			}
		}
		if seconds < covered || float64(n) < rate*seconds {
			return Finding{}, nil
		}
		f := Finding{
			ID: "net.listen_overflow", Severity: Warning, Resource: "connections", Line: "sar TCP", Value: float64(n) / seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
			Title: fmt.Sprintf("an accept queue is full: %.1f connections a second turned away", float64(n)/seconds), Pane: "tcp", Command: "nstat -az TcpExtListenOverflows; ss -ltn",
		}
		if worst != nil {
			f.Evidence = []string{fmt.Sprintf("%s: %d of %d wait to be accepted", worst.Local, worst.Queue, worst.Backlog)}
			if worst.Owner != nil {
				f.Culprits = []Culprit{w.stranger(worst.Owner.Process, worst.Owner.Comm, 0)}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(elsewhere)) {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%d of them in the network namespace of %s", elsewhere[name], collectors.Clean(collectors.RawString(name))))
		}
		return f, nil
	})
	return r
}

// portless: connects fail because no local port is free.
func portless(chosen Limits) Rule {
	r := Rule{ID: "net.ports_exhausted", Says: "connects fail because no local port is free for that destination", Resource: "connections", Needs: []string{"tcpconnect"}}
	rate := r.limit(chosen, Limit{"rate", 1, "a second", 0.01, 1e6, "connects that find no port, in 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.flow()
		n := x.host[collectors.FlowNoPort]
		if !x.whole || float64(n) < rate*x.seconds {
			return Finding{}, nil
		}
		without := func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowNoPort] }
		f := Finding{
			ID: "net.ports_exhausted", Severity: Warning, Resource: "connections", Line: "sar TCP", Value: float64(n) / x.seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
			Title:    fmt.Sprintf("no local port is free: %.1f connects a second fail", float64(n)/x.seconds),
			Explains: []string{"net.connect_failures"}, Pane: "tcp", Command: "ss -s; sysctl net.ipv4.ip_local_port_range",
		}
		for _, p := range x.busiest(without) {
			f.Culprits = append(f.Culprits, w.stranger(p.Process, p.Comm, percent(min(without(&p.Counts), n), n)/100))
		}
		for _, s := range x.most(1, without) {
			f.Row = s.String()
			f.Evidence = []string{"most of them to " + s.addr.String()}
		}
		return f, nil
	})
	return r
}
