// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"net/netip"
	"slices"

	"bpf60/bpf"
)

// flowRows is how many processes and how many peers a sample lists.
const flowRows = 100

// deriveFlow subtracts two readings. base is the first one; names keeps the names of processes.
func deriveFlow(base, prev, cur *bpf.FlowReading, span Span, names func(Process, []byte) Raw) *Flow {
	host := flowSetSince(&prev.Host, &cur.Host)
	f := &Flow{
		Span: span, Host: host.Delta(), Total: flowSetSince(&base.Host, &cur.Host),
		Unowned:        flowSince(&prev.Unowned, &cur.Unowned),
		OtherProcesses: flowSince(&prev.OtherProcesses, &cur.OtherProcesses),
		OtherPeers:     flowSince(&prev.OtherPeers, &cur.OtherPeers),
		Untracked:      grown(prev.Untracked, cur.Untracked),
		Unborn:         grown(prev.Unborn, cur.Unborn),
		Reads:          grown(prev.Reads, cur.Reads),
	}
	for i := range cur.Moves {
		for k, n := range cur.Moves[i] {
			f.Moves[i][k] = uint32(grown(prev.Moves[i][k], n))
		}
		f.Stayed[i] = cur.Stayed[i] - prev.Stayed[i]
		f.Left[i] = uint32(grown(prev.Left[i], cur.Left[i]))
	}
	f.deriveProcesses(prev, cur, names)
	f.derivePeers(prev, cur)
	return f
}

func (f *Flow) deriveProcesses(prev, cur *bpf.FlowReading, names func(Process, []byte) Raw) {
	was := make(map[Process]*bpf.FlowCounts, len(prev.Processes))
	for i := range prev.Processes {
		p := &prev.Processes[i]
		was[Process{p.TGID, p.Start}] = &p.Counts
	}
	for i := range cur.Processes {
		p := &cur.Processes[i]
		id := Process{p.TGID, p.Start}
		counts := flowSince(cmp.Or(was[id], &bpf.FlowCounts{}), &p.Counts)
		if counts == (FlowCounts{}) {
			continue
		}
		f.Processes = append(f.Processes, FlowProcess{Process: id, Comm: names(id, p.Comm[:]), Cgroup: p.Cgroup, Counts: counts})
	}
	sortBy(f.Processes, func(a, b FlowProcess) int {
		return cmp.Or(cmp.Compare(b.Counts.Weight(), a.Counts.Weight()), cmp.Compare(a.TGID, b.TGID), cmp.Compare(a.Start, b.Start))
	})
	if n := len(f.Processes) - flowRows; n > 0 {
		f.Processes, f.UnlistedProcesses = slices.Clone(f.Processes[:flowRows]), n
	}
}

type flowPeerKey struct {
	addr [16]byte
	port uint16
	role uint8
}

func (f *Flow) derivePeers(prev, cur *bpf.FlowReading) {
	was := make(map[flowPeerKey]*bpf.FlowPeer, len(prev.Peers))
	for i := range prev.Peers {
		p := &prev.Peers[i]
		was[flowPeerKey{p.Addr, p.Port, p.Role}] = p
	}
	for i := range cur.Peers {
		p := &cur.Peers[i]
		o := cmp.Or(was[flowPeerKey{p.Addr, p.Port, p.Role}], &bpf.FlowPeer{})
		row := FlowPeer{
			Addr: netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), p.Port), Role: FlowRole(p.Role),
			Counts:  flowSince(&o.Counts, &p.Counts),
			Latency: hist32Since(&o.Latency, &p.Latency, o.LatencySum, p.LatencySum),
			RTT:     hist32Since(&o.RTT, &p.RTT, o.RTTSum, p.RTTSum),
		}
		if row.Counts == (FlowCounts{}) && row.RTT == (Hist32{}) {
			continue
		}
		f.Peers = append(f.Peers, row)
	}
	sortBy(f.Peers, func(a, b FlowPeer) int {
		return cmp.Or(cmp.Compare(b.Counts.Weight(), a.Counts.Weight()), a.Addr.Compare(b.Addr), cmp.Compare(a.Role, b.Role))
	})
	if n := len(f.Peers) - flowRows; n > 0 {
		f.Peers, f.UnlistedPeers = slices.Clone(f.Peers[:flowRows]), n
	}
}

// hist32Since subtracts two readings of counters of 32 bits, which may wrap; of one that went back
// by its sum all is new.
func hist32Since(prev, cur *[bpf.HistSlots]uint32, prevSum, curSum uint64) Hist32 {
	h := Hist32{Slots: *cur, Sum: curSum}
	if curSum < prevSum {
		return h
	}
	for i, n := range prev {
		h.Slots[i] -= n
	}
	h.Sum -= prevSum
	return h
}

// Weight orders rows: trouble before traffic.
func (c *FlowCounts) Weight() uint64 {
	trouble := c.Failures() + c[FlowRetransmits] + c[FlowRetransmitsFailed] + c[FlowPeerReset] + c[FlowExpired]
	return 64*trouble + c[FlowConnects] + c[FlowAccepts] + c[FlowEnded] + (c[FlowSent]+c[FlowReceived])>>16
}
