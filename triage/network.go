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

// networkRules are the rules about interfaces, name servers and the kernel's tables.
func networkRules(chosen Limits) []Rule {
	return []Rule{dropping(chosen), fullLink(chosen), tracked(chosen), slowDNS(chosen), crowdedTable(chosen)}
}

// loss is packets that something had no room for, and how many there were in all.
type loss struct {
	where         string
	lost, packets uint64
	culprit       Culprit
	row           string
}

// dropping: packets are lost because somebody had no room for them.
func dropping(chosen Limits) Rule {
	r := Rule{
		ID: "net.drops", Says: "packets are lost because a device, a CPU's backlog or a socket had no room for them; what filters and nobody's ports drop does not count",
		Resource: "network", Needs: []string{"sar DEV", "sar UDP", "softnet", "nstat"},
	}
	share := r.limit(chosen, Limit{"share", 0.01, "%", 0.0001, 100, "of the packets there in 10 s"})
	rate := r.limit(chosen, Limit{"rate", 1, "a second", 0.01, 1e6, "packets lost there"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		list, seconds := w.losses()
		if seconds < covered {
			return Finding{}, nil
		}
		var worst *loss
		for i := range list {
			x := &list[i]
			if float64(x.lost) < rate*seconds || percent(x.lost, x.packets+x.lost) < share {
				continue
			}
			if worst == nil || percent(x.lost, x.packets+x.lost) > percent(worst.lost, worst.packets+worst.lost) {
				worst = x
			}
		}
		if worst == nil {
			return Finding{}, nil
		}
		f := Finding{
			ID: "net.drops", Severity: Warning, Resource: worst.where, Line: "sar DEV", Value: percent(worst.lost, worst.packets+worst.lost), Threshold: share, Unit: "%",
			N: worst.lost, Window: recentFor, Title: fmt.Sprintf("%s: %.0f packets a second lost for want of room", worst.where, float64(worst.lost)/seconds),
			Pane: "network", Row: cmp.Or(worst.row, "drops"), Command: "ip -s link; nstat -az; cat /proc/net/softnet_stat",
		}
		if worst.culprit.Kind != "" {
			f.Culprits = []Culprit{worst.culprit}
		}
		f.Culprits = append(f.Culprits, w.fullSockets()...)
		f.Culprits = f.Culprits[:min(len(f.Culprits), few)]
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		for _, m := range slices.Backward(w.moments) {
			if m.Network != nil {
				return []string{fmt.Sprintf("%d of %d network namespaces looked at", m.Network.Coverage.Covered, m.Network.Coverage.Known)}
			}
		}
		return nil
	}
	return r
}

// losses are the places where packets find no room, over the window.
func (r *recent) losses() (list []loss, seconds float64) {
	at := map[string]int{}
	of := func(where string) *loss {
		i, ok := at[where]
		if !ok {
			i = len(list)
			at[where] = i
			list = append(list, loss{where: where})
		}
		return &list[i]
	}
	in := func(s *collectors.NetSpace, what string) string {
		if s.NetPlace == nil || s.Own {
			return what
		}
		return what + " of " + collectors.Clean(s.Name).String()
	}
	for _, m := range r.moments {
		if m.TCP != nil {
			x := of("TCP receive queues")
			x.lost += m.TCP.Delta[collectors.TCPBacklogDrop] + m.TCP.Delta[collectors.TCPRcvQDrop]
			x.packets += m.TCP.Delta[collectors.TCPInSegs]
		}
		s := m.Network
		if s == nil || s.Seconds() == 0 {
			continue
		}
		seconds += s.Seconds()
		if s.SoftnetKnown {
			x := of("the backlog of the CPUs")
			x.lost += uint64(s.SoftnetAll.Dropped)
			x.packets += uint64(s.SoftnetAll.Processed)
		}
		for i := range s.Ifaces {
			n := &s.Ifaces[i]
			if n.NetLink == nil || n.Kind != collectors.LinkDevice || n.Restarted || n.New {
				continue
			}
			x := of(collectors.Clean(n.Name).String())
			x.lost += n.Missed + n.RxFIFO
			x.packets += n.RxPackets
			x.row = n.Name.Bytes()
			x.culprit = Culprit{Kind: "interface", Name: collectors.Clean(n.Name), Target: collectors.Target{Kind: collectors.NamedTarget, Name: n.Name.Bytes()}}
		}
		for i := range s.Spaces {
			n := &s.Spaces[i]
			if n.StackKnown {
				x := of(in(n, "UDP sockets"))
				x.lost += n.UDPReceiveFull
				x.packets += n.UDPIn
			}
			if n.TCPExt && n.NetPlace != nil && !n.Own {
				x := of(in(n, "TCP receive queues"))
				x.lost += n.TCPBacklogDrops + n.TCPReceiveDrops
				x.packets += n.TCPIn
			}
		}
	}
	return list, seconds
}

// fullSockets are the owners of sockets whose receive queue was full, the most packets first.
func (r *recent) fullSockets() []Culprit {
	type full struct {
		owner *collectors.SocketOwner
		n     uint64
	}
	by := map[collectors.Process]*full{}
	all := uint64(0)
	for _, m := range r.moments {
		if m.Drops == nil {
			continue
		}
		for i := range m.Drops.Sockets {
			x := &m.Drops.Sockets[i]
			all += x.Full
			if x.Owner == nil || x.Full == 0 {
				continue
			}
			if by[x.Owner.Process] == nil {
				by[x.Owner.Process] = &full{owner: x.Owner}
			}
			by[x.Owner.Process].n += x.Full
		}
	}
	var out []Culprit
	for _, x := range slices.SortedFunc(maps.Values(by), func(a, b *full) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.owner.TGID, b.owner.TGID))
	}) {
		out = append(out, r.stranger(x.owner.Process, x.owner.Comm, percent(x.n, all)/100))
	}
	return out
}

// tracked: the table of tracked connections is full, so that new ones are dropped.
func tracked(chosen Limits) Rule {
	r := Rule{
		ID: "net.conntrack_full", Says: "the table of tracked connections is nearly full; critical when packets are dropped for that",
		Resource: "connection tracking", Needs: []string{"conntrack"},
	}
	share := r.limit(chosen, Limit{"share", 90, "%", 1, 100, "of the entries that the table may have"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		var worst *collectors.NetSpace
		most, used, dropped := uint64(0), 0.0, map[uint64]uint64{}
		for _, m := range w.moments {
			if m.Network == nil || m.Network.ConntrackMax == 0 {
				continue
			}
			for i := range m.Network.Spaces {
				s := &m.Network.Spaces[i]
				if !s.Conntrack.Known || s.NetPlace == nil {
					continue
				}
				dropped[s.ID] += s.Conntrack.Drop + s.Conntrack.EarlyDrop
				if n := percent(s.Conntrack.Entries, m.Network.ConntrackMax); n >= used {
					worst, used, most = s, n, m.Network.ConntrackMax
				}
			}
		}
		if worst == nil || used < share {
			return Finding{}, nil
		}
		f := Finding{
			ID: "net.conntrack_full", Severity: Warning, Resource: "connection tracking", Line: "sar DEV", Value: used, Threshold: share, Unit: "%", N: worst.Conntrack.Entries, Window: recentFor,
			Title:    fmt.Sprintf("%d of %d tracked connections", worst.Conntrack.Entries, most),
			Explains: []string{"net.connect_failures", "net.dns_slow", "net.retransmits"}, Pane: "network", Command: "sysctl net.netfilter.nf_conntrack_count; conntrack -S",
		}
		f.Explains = append(f.Explains, w.inLog(collectors.TroubleConntrack)...)
		// The table does not tell whose its entries are: those who open and take enough connections here may
		// have filled it. What is only forwarded has no process.
		opens := func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowConnects] + c[collectors.FlowAccepts] }
		x := w.flow()
		all := opens(&x.host)
		if all*10 >= worst.Conntrack.Entries && all > 0 {
			f.Quality = "~"
			for _, p := range x.busiest(opens) {
				f.Culprits = append(f.Culprits, w.stranger(p.Process, p.Comm, percent(min(opens(&p.Counts), all), all)/100))
			}
		}
		if n := dropped[worst.ID]; n > 0 {
			f.Severity = Critical
			f.Evidence = []string{fmt.Sprintf("%d packets or entries thrown out for it", n)}
		}
		if !worst.Own {
			f.Evidence = append(f.Evidence, "in the network namespace of "+collectors.Clean(worst.Name).String())
		}
		return f, nil
	})
	return r
}

// slowDNS: a name server answers late, or not at all.
func slowDNS(chosen Limits) Rule {
	r := Rule{ID: "net.dns_slow", Says: "a name server answers late, or does not answer; info where a process asks several times for each name", Resource: "name servers", Needs: []string{"dnssnoop"}}
	late := r.limit(chosen, Limit{"ms", 200, "ms", 1, 5000, "the lower edge of the p90 of one server's answers"})
	lost := r.limit(chosen, Limit{"unanswered", 5, "%", 0.1, 100, "of the questions to one server without an answer"})
	least := r.limit(chosen, Limit{"questions", 10, "questions", 1, 1e6, "to one server in 10 s, below which nothing is said"})
	searched := r.limit(chosen, Limit{"searched", 4, "questions a name", 1, 1000, "that one process asks for each name that there is, most of them for names that there are not"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		servers, asked := map[netip.Addr]*collectors.DNSCounts{}, map[netip.Addr]map[collectors.Process]collectors.Raw{}
		beyond := false
		for _, m := range w.moments {
			if m.DNS == nil {
				continue
			}
			for i := range m.DNS.Pairs {
				p := &m.DNS.Pairs[i]
				if servers[p.Server] == nil {
					servers[p.Server], asked[p.Server] = &collectors.DNSCounts{}, map[collectors.Process]collectors.Raw{}
				}
				servers[p.Server].Plus(&p.DNSCounts)
				asked[p.Server][p.Process] = p.Comm
				beyond = beyond || !p.Server.IsLoopback() && p.Queries > 0
			}
		}
		if !w.covers(dnsSpan) {
			return Finding{}, nil
		}
		for _, addr := range slices.SortedFunc(maps.Keys(servers), netip.Addr.Compare) {
			c := servers[addr]
			done := c.Answers + c.Unanswered
			if beyond && addr.IsLoopback() || float64(done) < least { // what a stub is asked it asks others
				continue
			}
			p90, without := edge(&c.Latency, 0.9), percent(c.Unanswered, done)
			f := Finding{
				ID: "net.dns_slow", Severity: Warning, Resource: addr.String(), Line: "sar TCP", N: done, Window: recentFor,
				Culprits: []Culprit{{Kind: "peer", Name: collectors.Clean(collectors.RawString(addr.String())), Target: collectors.Target{Kind: collectors.PeerTarget, Addr: netip.AddrPortFrom(addr, 53)}}},
				Pane:     "dns", Row: "servers/" + addr.String(), Command: "tcpdump -n udp port 53",
			}
			switch {
			case without >= lost:
				f.Value, f.Threshold, f.Unit = without, lost, "%"
				f.Title = fmt.Sprintf("name server %s leaves %.0f %% of questions without an answer", addr, without)
			case c.Latency.Count() >= uint64(least) && p90 >= time.Duration(late*float64(time.Millisecond)):
				f.Value, f.Threshold, f.Unit = p90.Seconds()*1e3, late, "ms"
				f.Title = fmt.Sprintf("name server %s answers late: p90 %s", addr, between(&c.Latency, 0.9))
			default:
				continue
			}
			if good := c.Rcodes[collectors.RcodeOK]; good > 0 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%.1f questions an answered name", float64(c.Queries)/float64(good)))
			}
			for _, p := range slices.SortedFunc(maps.Keys(asked[addr]), func(a, b collectors.Process) int { return cmp.Compare(a.TGID, b.TGID) }) {
				if p.TGID != 0 && len(f.Victims) < few {
					f.Victims = append(f.Victims, w.stranger(p, asked[addr][p], 0))
				}
			}
			return f, nil
		}
		return w.searching(least, searched), nil
	})
	r.Evidence = func(h *History) []string {
		var all collectors.DNSCounts
		for _, m := range recently(h).moments {
			if m.DNS != nil {
				all.Plus(&m.DNS.Host)
			}
		}
		return []string{fmt.Sprintf("%d questions, %d without an answer", all.Queries, all.Unanswered)}
	}
	return r
}
