// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"net/netip"
	"time"

	"bpf60/collectors"
)

func flowOf(s *collectors.Snapshot) *collectors.Flow { return s.Flow }
func flowSpan(s *collectors.Flow) collectors.Span    { return s.Span }

// flowWindow is what the tables of connections sum on the screen: what happens once in a while must
// not go after a second.
const flowWindow = 10 * time.Second

// flowSum is what TCP connections did over a frame.
type flowSum struct {
	collectors.Span
	Host, Total collectors.FlowSet
	Moves       [collectors.SocketStates][collectors.SocketStates]uint64
	Stayed      [collectors.SocketStates]time.Duration
	Left        [collectors.SocketStates]uint64

	Processes []collectors.FlowProcess // those with most trouble first
	Peers     []flowPeer

	UnlistedProcesses, UnlistedPeers int // of the sample that has most

	Unowned collectors.FlowCounts
	Listen  collectors.FlowListens

	Untracked uint64
}

// flowPeer is a FlowPeer with histograms at full width.
type flowPeer struct {
	Addr         netip.AddrPort
	Role         collectors.FlowRole
	Counts       collectors.FlowCounts
	Latency, RTT collectors.Hist
}

// windowed widens the screen's frame to the last seconds; that of a report has its span already.
func windowed(f Frame) Frame {
	if f.Span == 0 {
		f.Span = flowWindow
	}
	return f
}

// flowOver sums the samples of the window. Nil without one that is still true.
func flowOver(f Frame) *flowSum {
	if f.Span == 0 && newest(f, flowOf) == nil {
		return nil
	}
	samples := within(windowed(f), flowOf)
	if len(samples) == 0 {
		return nil
	}
	sum := &flowSum{Total: samples[len(samples)-1].Total}
	type peerKey struct {
		addr netip.AddrPort
		role collectors.FlowRole
	}
	processes := make(map[collectors.Process]*collectors.FlowProcess)
	peers := make(map[peerKey]*flowPeer)
	listen := make(map[uint64]*collectors.FlowListen)
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		host := s.Host.Set()
		sum.Host.Plus(&host)
		for i := range s.Moves {
			for k, n := range s.Moves[i] {
				sum.Moves[i][k] += uint64(n)
			}
			sum.Stayed[i] += s.Stayed[i]
			sum.Left[i] += uint64(s.Left[i])
		}
		for i := range s.Processes {
			p := &s.Processes[i]
			if processes[p.Process] == nil {
				processes[p.Process] = &collectors.FlowProcess{Process: p.Process, Comm: p.Comm, Cgroup: p.Cgroup}
			}
			processes[p.Process].Counts.Plus(&p.Counts)
		}
		for i := range s.Peers {
			p := &s.Peers[i]
			key := peerKey{p.Addr, p.Role}
			if peers[key] == nil {
				peers[key] = &flowPeer{Addr: p.Addr, Role: p.Role}
			}
			peers[key].plus(p)
		}
		for i := range s.Listen.Rows {
			l := s.Listen.Rows[i]
			if was := listen[l.Cookie]; was != nil {
				l.Drops += was.Drops
			}
			listen[l.Cookie] = &l
		}
		sum.UnlistedProcesses = max(sum.UnlistedProcesses, s.UnlistedProcesses)
		sum.UnlistedPeers = max(sum.UnlistedPeers, s.UnlistedPeers)
		sum.Unowned.Plus(&s.Unowned)
		sum.Untracked += s.Untracked
		sum.Listen.Overflows += s.Listen.Overflows
		sum.Listen.Drops += s.Listen.Drops
		sum.Listen.Why = s.Listen.Why
	}
	sum.Processes = values(processes, func(a, b *collectors.FlowProcess) int {
		return cmp.Or(cmp.Compare(b.Counts.Weight(), a.Counts.Weight()), cmp.Compare(a.TGID, b.TGID))
	})
	sum.Peers = values(peers, func(a, b *flowPeer) int {
		return cmp.Or(cmp.Compare(b.Counts.Weight(), a.Counts.Weight()), a.Addr.Compare(b.Addr), cmp.Compare(a.Role, b.Role))
	})
	sum.Listen.Rows = values(listen, func(a, b *collectors.FlowListen) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), cmp.Compare(a.Cookie, b.Cookie))
	})
	return sum
}

func (p *flowPeer) plus(o *collectors.FlowPeer) {
	p.Counts.Plus(&o.Counts)
	latency, rtt := o.Latency.Hist(), o.RTT.Hist()
	p.Latency.Plus(&latency)
	p.RTT.Plus(&rtt)
}

// flowListed is how many events a table lists.
const flowListed = 500

// flowEvents are the newest events of some lists, newest first, as far back as the history or the
// frame's span goes. The lists of a sample come one after the other, each by its time.
func flowEvents(f Frame, lists func(*collectors.Flow) []*collectors.FlowEvents, keep func(*collectors.FlowEvent) bool) (rows []*collectors.FlowEvent, unlisted uint64) {
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || m.Flow == nil || f.Span > 0 && m.At <= f.Now.At-f.Span && f.Span < f.Now.At {
			continue
		}
		first := len(rows)
		for _, list := range lists(m.Flow) {
			unlisted += list.Unlisted
			for k := range list.Rows {
				if e := &list.Rows[k]; keep == nil || keep(e) {
					rows = append(rows, e)
				}
			}
		}
		sortEvents(rows[first:])
		if len(rows) >= flowListed {
			return rows[:flowListed], unlisted
		}
	}
	return rows, unlisted
}

func sortEvents(rows []*collectors.FlowEvent) {
	sortStably(rows, func(a, b *collectors.FlowEvent) int { return cmp.Compare(b.At, a.At) })
}

// flowSeries is one number a second of connections over time.
func flowSeries(f Frame, n int, value func(*collectors.Flow) uint64) []float64 {
	return series(f, n, flowOf, func(s *collectors.Flow) float64 {
		if s.Seconds() == 0 {
			return 0
		}
		return float64(value(s)) / s.Seconds()
	})
}

// Where a histogram comes from: all of it, or one path.
type flowPath uint8

const (
	everyPath flowPath = iota
	byPath
	flowPaths
)

func (p flowPath) String() string {
	if p == byPath {
		return "by path"
	}
	return "all"
}

// flowHist is one of a set's histograms, of both paths or of one.
func flowHist(s *collectors.FlowSet, which int, paths ...int) *collectors.Hist {
	if len(paths) == 0 {
		paths = []int{collectors.FlowNetwork, collectors.FlowLoopback}
	}
	var h collectors.Hist
	for _, p := range paths {
		h.Plus(&s.Hists[which][p])
	}
	return &h
}
