// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"bpf60/collectors"
)

func socketsOf(s *collectors.Snapshot) *collectors.Sockets { return s.Sockets }

// link is what one interface carried in the window.
type link struct {
	*collectors.NetLink
	in, out uint64 // bytes
	drops   uint64 // of the queue above it
	backlog uint64 // bytes that wait in it, as read last
}

// links are our own namespace's interfaces with a speed, by name.
func (r *recent) links() (list []*link, seconds float64) {
	by := map[string]*link{}
	for _, m := range r.moments {
		if m.Network == nil {
			continue
		}
		seconds += m.Network.Seconds()
		for i := range m.Network.Ifaces {
			x := &m.Network.Ifaces[i]
			if x.NetLink == nil || x.Kind != collectors.LinkDevice || x.Speed == 0 || x.New || x.Restarted {
				continue
			}
			l := by[x.Name.Bytes()]
			if l == nil {
				l = &link{}
				by[x.Name.Bytes()] = l
				list = append(list, l)
			}
			l.NetLink, l.backlog = x.NetLink, x.Backlog
			l.in, l.out, l.drops = l.in+x.RxBytes, l.out+x.TxBytes, l.drops+x.QdiscDrops
		}
	}
	slices.SortFunc(list, func(a, b *link) int { return cmp.Compare(a.Name.Bytes(), b.Name.Bytes()) })
	return list, seconds
}

// use is how much of the link's speed was in use, in percent: of its busier direction, or of both where
// they share it.
func (l *link) use(seconds float64) float64 {
	n := max(l.in, l.out)
	if l.Half {
		n = l.in + l.out
	}
	return percent(8*float64(n)/max(seconds, 1e-9), float64(l.Speed)*1e6)
}

// queueFor is how long a queue takes to empty from which on it is one: packets that wait for their turn.
const queueFor = 5 * time.Millisecond

// fullLink: an interface sends all that it can, and packets wait or are dropped for it.
func fullLink(chosen Limits) Rule {
	r := Rule{
		ID: "net.saturated", Says: "an interface carries what its link can, and packets wait in its queue or are dropped for it",
		Resource: "links", Needs: []string{"sar DEV", "ip link"}, Fallback: true,
		Blind: func(h *History) (reason, remedy string) {
			if list, _ := recently(h).links(); len(list) == 0 {
				return "no interface that is in use tells its speed", ""
			}
			return "", ""
		},
	}
	share := r.limit(chosen, Limit{"share", 85, "%", 1, 100, "of the link's speed in use in 10 s, in one direction"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		list, seconds := w.links()
		for _, l := range list {
			used := l.use(seconds)
			waits := time.Duration(8 * float64(l.backlog) / (float64(l.Speed) * 1e6) * float64(time.Second))
			if seconds < covered || used < share || l.drops == 0 && waits < queueFor {
				continue
			}
			name := collectors.Clean(l.Name)
			f := Finding{
				ID: "net.saturated", Severity: Warning, Resource: name.String(), Line: "sar DEV", Value: used, Threshold: share, Unit: "%", N: l.drops, Window: recentFor,
				Title:    fmt.Sprintf("%s carries %.0f %% of its %d Mbit/s, and packets wait for it", name, used, l.Speed),
				Evidence: []string{fmt.Sprintf("%s wait in its queue, %.1f a second are dropped there", bytesText(l.backlog), float64(l.drops)/seconds)},
				Culprits: []Culprit{{Kind: "interface", Name: name, Share: min(used/100, 1), Target: collectors.Target{Kind: collectors.NamedTarget, Name: l.Name.Bytes()}}},
				Explains: []string{"net.retransmits", "net.drops"}, Pane: "network", Row: l.Name.Bytes(), Command: "sar -n DEV 1; tc -s qdisc",
			}
			f.Culprits = append(f.Culprits, w.talkers(l.out >= l.in)...)
			f.Culprits = f.Culprits[:min(len(f.Culprits), few)]
			return f, []collectors.Want{{ID: collectors.SocketsID}}
		}
		return Finding{}, nil
	})
	return r
}

// talkers are the processes whose sockets sent or received most, where the table of sockets was read.
func (r *recent) talkers(sends bool) []Culprit {
	bytes, owners, all := map[collectors.Process]uint64{}, map[collectors.Process]*collectors.SocketOwner{}, uint64(0)
	for _, m := range r.moments {
		if m.Sockets == nil {
			continue
		}
		for i := range m.Sockets.Rows {
			x := &m.Sockets.Rows[i]
			if x.SocketID == nil || x.Owner == nil || x.Remote.Addr().Unmap().IsLoopback() {
				continue
			}
			n := x.Received
			if sends {
				n = x.Acked
			}
			bytes[x.Owner.Process] += n
			all += n
			owners[x.Owner.Process] = x.Owner
		}
	}
	var out []Culprit
	for _, p := range slices.SortedFunc(maps.Keys(bytes), func(a, b collectors.Process) int {
		return cmp.Or(cmp.Compare(bytes[b], bytes[a]), cmp.Compare(a.TGID, b.TGID))
	}) {
		if bytes[p] > 0 && len(out) < few {
			out = append(out, r.stranger(p, owners[p].Comm, percent(bytes[p], all)/100))
		}
	}
	return out
}

// queuedLeast is how many bytes stand in the queues of TCP sockets all the time before a receive
// queue is looked for that does.
const queuedLeast = 128 << 10

// unreadFor is how long nothing came to a full queue.
const unreadFor = 10 * time.Second

// stalledReceive: a process does not read what came for it, and the peer has to stop.
func stalledReceive(chosen Limits) Rule {
	r := Rule{
		ID: "net.receive_stalled", Says: "a process does not read what a connection has for it, so that the peer must stop sending",
		Resource: "receive queues", Needs: []string{"nstat", "sockstat"}, Fallback: true,
	}
	share := r.limit(chosen, Limit{"share", 80, "%", 1, 100, "of a socket's receive buffer in use, while windows close or for 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		closed, held, ticks := uint64(0), uint64(1)<<62, 0
		for _, m := range w.moments {
			if m.TCP == nil {
				continue
			}
			ticks++
			closed += m.TCP.Delta[collectors.TCPToZeroWindowAdv] + m.TCP.Delta[collectors.TCPWantZeroWindowAdv]
			held = min(held, m.TCP.Stat.TCPMem)
		}
		s := lastOf(w.moments, socketsOf)
		if ticks == 0 || closed == 0 && held < queuedLeast {
			return Finding{}, nil
		}
		wants := []collectors.Want{{ID: collectors.SocketsID}}
		if s == nil { // what was found a moment ago stands until somebody looks again
			s = lastOf(w.h.Since(w.now-wantEvery-wantFor), socketsOf)
		}
		if s == nil {
			return Finding{}, wants
		}
		var worst *collectors.SocketRow
		n := uint64(0)
		for i := range s.Rows {
			x := &s.Rows[i]
			full := x.RcvBuf > 0 && percent(uint64(max(x.RecvQ, x.RcvUsed)), uint64(x.RcvBuf)) >= share
			still := time.Duration(x.LastRecv)*time.Millisecond >= unreadFor
			if x.SocketID == nil || x.RecvQ == 0 || !full || closed == 0 && !still {
				continue
			}
			n++
			if worst == nil || x.RecvQ > worst.RecvQ {
				worst = x
			}
		}
		if worst == nil {
			return Finding{}, wants
		}
		f := Finding{
			ID: "net.receive_stalled", Severity: Warning, Resource: "connections", Line: "sar TCP", N: n, Threshold: share, Unit: "%", Window: recentFor,
			Value:    min(percent(uint64(max(worst.RecvQ, worst.RcvUsed)), uint64(worst.RcvBuf)), 100),
			Title:    fmt.Sprintf("%s from %s are not read", bytesText(uint64(worst.RecvQ)), worst.Remote),
			Evidence: []string{fmt.Sprintf("%d connection%s with a full receive queue", n, plural(int(n))), fmt.Sprintf("the last data came %.0f s ago", float64(worst.LastRecv)/1e3)},
			Victims:  []Culprit{peer(service{addr: worst.Remote}, 0)}, Pane: "tcp", Command: "ss -tmi; nstat -az TcpExtTCPToZeroWindowAdv",
		}
		if closed > 0 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("windows closed %d times", closed))
		}
		if worst.Owner != nil {
			who := w.stranger(worst.Owner.Process, worst.Owner.Comm, 0)
			f.Culprits = []Culprit{who}
			f.Title = fmt.Sprintf("%s does not read %s from %s", who.Name, bytesText(uint64(worst.RecvQ)), worst.Remote)
		}
		return f, wants
	})
	return r
}

// portsFor is how long a port of a connection that ended first on this side is kept (TIME_WAIT).
const portsFor = time.Minute

// churning: connections to one service are made and ended so fast that local ports run out.
func churning(chosen Limits) Rule {
	r := Rule{
		ID: "net.connection_churn", Says: "many short connections to one service: its local ports, or the places for ended connections, run out; else info",
		Resource: "connections", Needs: []string{"tcpconnect", "sockstat", "nstat"},
	}
	share := r.limit(chosen, Limit{"ports", 70, "%", 1, 100, "of the local ports kept for connections to one service"})
	rate := r.limit(chosen, Limit{"rate", 1000, "a second", 1, 1e9, "connects to one service, in 10 s, from which it is told"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.flow()
		t := lastOf(w.moments, func(s *collectors.Snapshot) *collectors.TCP { return s.TCP })
		if !x.whole || t == nil {
			return Finding{}, nil
		}
		overflow := uint64(0)
		for _, m := range w.moments {
			if m.TCP != nil {
				overflow += m.TCP.Delta[collectors.TCPTimeWaitOverflow]
			}
		}
		connects := func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowConnects] }
		list := x.most(1, connects)
		if len(list) == 0 {
			return Finding{}, nil
		}
		to := list[0]
		n := connects(&x.peers[to].counts)
		used := 0.0
		// On the loopback the kernel takes such ports again after a second (tcp_tw_reuse).
		if t.Limits.Ports > 0 && !to.addr.Addr().IsLoopback() && t.Stat.TimeWait*100 >= t.Limits.Ports*int(share) {
			kept, looked, over := 0.0, 0.0, collectors.Span{}
			for _, m := range w.h.Since(w.now - portsFor) {
				if m.Flow == nil {
					continue
				}
				if looked += m.Flow.Seconds(); over.To == 0 {
					over.From = m.Flow.From
				}
				over.To = m.Flow.To
				if i := slices.IndexFunc(m.Flow.Peers, func(p collectors.FlowPeer) bool { return p.Addr == to.addr && p.Role == to.role }); i >= 0 {
					kept += float64(connects(&m.Flow.Peers[i].Counts))
				}
			}
			kept *= max(over.Seconds()/max(looked, 1e-9), 1) // a slowed probe saw a part of them
			used = percent(min(kept, float64(t.Stat.TimeWait)), float64(t.Limits.Ports))
		}
		without := x.host[collectors.FlowNoPort]
		scarce := float64(without) >= x.seconds
		if float64(n) < rate*x.seconds && used < share && overflow == 0 && !scarce {
			return Finding{}, nil
		}
		f := Finding{
			ID: "net.connection_churn", Severity: Info, Resource: "connections", Line: "sar TCP", Value: float64(n) / x.seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
			Title:    fmt.Sprintf("%.0f connects a second to %s", float64(n)/x.seconds, to.addr),
			Evidence: []string{fmt.Sprintf("%d ended connections keep their port", t.Stat.TimeWait)},
			Explains: []string{"net.ports_exhausted", "net.connect_failures"}, Pane: "tcp", Row: to.String(), Command: "ss -s; tcpconnect; sysctl net.ipv4.ip_local_port_range",
		}
		for _, p := range x.busiest(connects) {
			f.Culprits = append(f.Culprits, w.stranger(p.Process, p.Comm, percent(min(connects(&p.Counts), n), n)/100))
		}
		f.Victims = []Culprit{peer(to, 0)}
		switch {
		case used >= share:
			f.Severity, f.Value, f.Threshold, f.Unit = Warning, used, share, "%"
			f.Title += fmt.Sprintf(" take %.0f %% of the local ports", used)
		case overflow > 0:
			f.Severity = Warning
			f.Title += ": no more places for ended connections"
		case scarce:
			f.Severity = Warning
			f.Title += fmt.Sprintf(": %d found no local port", without)
		}
		return f, nil
	})
	return r
}

// flooded: connects come that nobody goes on with.
func flooded(chosen Limits) Rule {
	r := Rule{ID: "net.syn_flood", Says: "requests for connections fill a queue, and hardly any of them is gone on with", Resource: "connections", Needs: []string{"nstat"}}
	rate := r.limit(chosen, Limit{"rate", 10, "a second", 0.1, 1e9, "requests that found the queue full, in 10 s"})
	good := r.limit(chosen, Limit{"good", 50, "%", 0, 100, "of the cookies sent that came back; from there on it is a rush, and info"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		sum, seconds := collectors.TCPCounts{}, 0.0
		for _, m := range w.moments {
			if m.TCP == nil {
				continue
			}
			seconds += m.TCP.Seconds()
			for i, n := range m.TCP.Delta {
				sum[i] += n
			}
		}
		n := sum[collectors.TCPReqQFullDoCookies] + sum[collectors.TCPReqQFullDrop]
		if seconds < covered || float64(n) < rate*seconds {
			return Finding{}, nil
		}
		back := percent(sum[collectors.TCPSyncookiesRecv], sum[collectors.TCPSyncookiesSent])
		f := Finding{
			ID: "net.syn_flood", Severity: Warning, Resource: "connections", Line: "sar TCP", Value: float64(n) / seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
			Title:    fmt.Sprintf("%.0f requests for connections a second found the queue full", float64(n)/seconds),
			Evidence: []string{fmt.Sprintf("%d cookies sent, %.0f %% came back", sum[collectors.TCPSyncookiesSent], back)},
			Explains: []string{"net.listen_overflow", "kernel.errors"}, Pane: "tcp", Command: "nstat -az TcpExtTCPReqQFullDoCookies; ss -tn state syn-recv",
		}
		if sum[collectors.TCPSyncookiesSent] > 0 && back >= good {
			f.Severity = Info
			f.Title += ", and most were gone on with"
		}
		if l := w.waitedAt(); l != nil {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%d of them wait at %s", l.SynRecv, l.Local))
			if l.Owner != nil {
				f.Culprits = []Culprit{w.stranger(l.Owner.Process, l.Owner.Comm, 0)}
			}
		}
		return f, []collectors.Want{{ID: collectors.SocketsID}}
	})
	return r
}

// waitedAt is the listening socket at which most requests for connections wait; nil if none was seen.
func (r *recent) waitedAt() *collectors.ListenRow {
	s := lastOf(r.h.Since(r.now-sleepsFor), func(s *collectors.Snapshot) *collectors.Sockets { return s.Sockets })
	if s == nil {
		return nil
	}
	var most *collectors.ListenRow
	for i := range s.Listeners {
		if x := &s.Listeners[i]; x.SocketID != nil && x.SynRecv > 0 && (most == nil || x.SynRecv > most.SynRecv) {
			most = x
		}
	}
	return most
}
