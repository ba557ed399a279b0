// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// FlowCounter names a count of FlowCounts: enum flow_counter in flow.bpf.c, which says what each is.
type FlowCounter uint8

// The counters.
const (
	FlowConnects FlowCounter = iota
	FlowAccepts
	FlowEstablished
	FlowRefused
	FlowTimedOut
	FlowUnreachable
	FlowNoPort
	FlowGivenUp
	FlowFailed
	FlowHandshakes
	FlowEnded
	FlowPeerReset
	FlowAborted
	FlowExpired
	FlowSent
	FlowReceived
	FlowRetransmits
	FlowRetransmitsSyn
	FlowRetransmitsSynack
	FlowRetransmitsTimeout
	FlowRetransmitsProbe
	FlowRetransmitsFailed
	FlowResetsSent
	FlowResetsReceived
	FlowCounters
)

// FlowAgain says which kind of segment was sent again: enum flow_again.
type FlowAgain uint8

// The kinds of retransmit.
const (
	AgainFast FlowAgain = iota
	AgainTimeout
	AgainProbe
	AgainSyn
	AgainSynack
	AgainFailed
)

// The histograms of a FlowSet, and the paths that each is split by: enum flow_hist, flow_path.
const (
	FlowLatency = iota
	FlowLife
	FlowRTT
	FlowHists

	FlowNetwork  = 0
	FlowLoopback = 1
	FlowPaths    = 2
)

// FlowStates is one more than the highest state of a TCP socket.
const FlowStates = 12

// The roles of our end of a connection: enum flow_role.
const (
	FlowUnknown = iota
	FlowActive  // we connected
	FlowPassive // we were connected to
)

// FlowCounts are cumulative since the facade was opened: connections, segments, bytes of payload.
type FlowCounts [FlowCounters]uint64

// FlowSet is all that is counted of the host, or of a target.
type FlowSet struct {
	Counts FlowCounts
	Hists  [FlowHists][FlowPaths]Hist
}

// FlowReading is everything counted since the facade was opened.
type FlowReading struct {
	Host   FlowSet
	Moves  [FlowStates][FlowStates]uint64 // changes of state, from × to
	Stayed [FlowStates]time.Duration      // of connections seen from their beginning: time in a state that they left
	Left   [FlowStates]uint64             // how often that was

	Untracked uint64 // connections that began and found no room: no owner, no life span
	Unborn    uint64 // ended, and had begun before the facade was opened
	Reads     uint64 // by processes, from sockets

	Narrowed [FilterSlots]FlowSet

	// Of keys that count no more for a minute the entry is taken out, and begins at zero if they
	// count again. What does not belong to an entry is in the rests, so that all add up to the
	// host's, but for accepts whose process is not known yet.
	Processes      []FlowProcess
	Peers          []FlowPeer
	Unowned        FlowCounts // of connections whose process is not known
	OtherProcesses FlowCounts // for which there was no room
	OtherPeers     FlowCounts // for which there was no room; and resets that no socket sent
}

// FlowProcess is one process's counts.
type FlowProcess struct {
	TGID   int32
	Start  uint64 // boot time of the leader, ns
	Comm   [16]byte
	Cgroup uint64
	Counts FlowCounts
}

// FlowPeer is what was counted with one address and port.
type FlowPeer struct {
	Addr   [16]byte // IPv4 as IPv6 has it
	Port   uint16   // of the service: the peer's where we connected, ours where it did
	Role   uint8
	Counts FlowCounts

	Latency, RTT       [HistSlots]uint32
	LatencySum, RTTSum uint64 // ns
}

// flowSlots is the room that the programs have for counters: COUNTER_SLOTS.
const flowSlots = 32

func (c *FlowCounts) plus(o *[flowSlots]uint64) {
	for i := range c {
		c[i] += o[i]
	}
}

// Read fills r. Now is monotonic: by it idle entries are taken out.
func (f *Flow) Read(r *FlowReading, now time.Duration) error {
	*r = FlowReading{Processes: r.Processes[:0], Peers: r.Peers[:0]}
	if err := f.readHost(r); err != nil {
		return err
	}
	if err := f.readRest(r); err != nil {
		return err
	}
	if err := f.readProcesses(r, now); err != nil {
		return err
	}
	if err := f.readPeers(r, now); err != nil {
		return err
	}
	for i := range f.gone[0] {
		r.OtherProcesses[i] += f.gone[0][i]
		r.OtherPeers[i] += f.gone[1][i]
	}
	return nil
}

func (f *Flow) readHost(r *FlowReading) error {
	if err := f.obj.maps[flowMapFlow].Lookup(uint32(0), &f.cpus); err != nil {
		return fmt.Errorf("reading map %s: %w", flowMapFlow, err)
	}
	for i := range f.cpus {
		c := &f.cpus[i]
		addSet(&r.Host, &c.Host)
		for k, n := range c.Moves {
			r.Moves[k/FlowStates][k%FlowStates] += n
		}
		for k := range r.Stayed {
			r.Stayed[k] += time.Duration(c.Stayed[k])
			r.Left[k] += c.Left[k]
		}
		r.Untracked += c.Untracked
		r.Unborn += c.Unborn
		r.Reads += c.Reads
	}
	for i, slot := range f.obj.slots {
		if slot == (Filter{}) {
			continue
		}
		var s flowFlowSet
		if err := f.obj.maps[flowMapNarrowed].Lookup(uint32(i), &s); err != nil {
			return fmt.Errorf("reading map %s: %w", flowMapNarrowed, err)
		}
		addSet(&r.Narrowed[i], &s)
	}
	return nil
}

func addSet(to *FlowSet, s *flowFlowSet) {
	to.Counts.plus(&s.Counts.N)
	for h := range s.Hists {
		for p := range s.Hists[h] {
			for i, n := range s.Hists[h][p].Slots {
				to.Hists[h][p].Slots[i] += n
			}
			to.Hists[h][p].Sum += s.Hists[h][p].Sum
		}
	}
}

func (f *Flow) readRest(r *FlowReading) error {
	for i, to := range []*FlowCounts{&r.Unowned, &r.OtherProcesses, &r.OtherPeers} {
		var c flowFlowPeerCounts
		if err := f.obj.maps[flowMapRest].Lookup(uint32(i), &c); err != nil {
			return fmt.Errorf("reading map %s: %w", flowMapRest, err)
		}
		to.plus(&c.Counts.N)
	}
	return nil
}

func (f *Flow) readProcesses(r *FlowReading, now time.Duration) error {
	m := f.obj.maps[flowMapProcesses]
	err := readHash(m, func(k *flowProcess, v *flowFlowProcess) {
		p := FlowProcess{TGID: k.Tgid, Start: k.Start, Cgroup: v.Cgroup, Counts: FlowCounts(v.Counts.N[:FlowCounters])}
		for i, c := range v.Comm {
			p.Comm[i] = byte(c)
		}
		r.Processes = append(r.Processes, p)
		seen(f.processes, *k, &p.Counts, now)
	})
	if err != nil {
		return err
	}
	return expire(f, m, f.processes, now, &f.gone[0], func(v *flowFlowProcess) *[flowSlots]uint64 { return &v.Counts.N })
}

func (f *Flow) readPeers(r *FlowReading, now time.Duration) error {
	m := f.obj.maps[flowMapPeers]
	err := readHash(m, func(k *flowFlowPeer, v *flowFlowPeerCounts) {
		p := FlowPeer{
			Port: k.Port, Role: k.Role, Counts: FlowCounts(v.Counts.N[:FlowCounters]),
			Latency: v.Latency, RTT: v.Rtt, LatencySum: v.LatencySum, RTTSum: v.RttSum,
		}
		for i, w := range k.Addr.Word {
			binary.NativeEndian.PutUint32(p.Addr[4*i:], w)
		}
		r.Peers = append(r.Peers, p)
		seen(f.peers, *k, &p.Counts, now)
	})
	if err != nil {
		return err
	}
	return expire(f, m, f.peers, now, &f.gone[1], func(v *flowFlowPeerCounts) *[flowSlots]uint64 { return &v.Counts.N })
}

// seen notes what an entry has counted.
func seen[K comparable](all map[K]*flowSeen, key K, counts *FlowCounts, now time.Duration) {
	s := all[key]
	if s == nil {
		s = &flowSeen{moved: now}
		all[key] = s
	}
	if s.counts != *counts {
		s.counts, s.moved = *counts, now
	}
	s.read = now
}

// expire takes out the entries that have not counted for long. What one counted since it was read a
// moment ago is kept in gone.
func expire[K comparable, V any](f *Flow, m *ebpf.Map, all map[K]*flowSeen, now time.Duration, gone *FlowCounts, counts func(*V) *[flowSlots]uint64) error {
	for k, s := range all {
		if s.read != now {
			delete(all, k)
			continue
		}
		if now-s.moved < flowIdle {
			continue
		}
		var v V
		err := f.takeOut(m, &k, &v)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		} else if err == nil {
			now := counts(&v)
			for i, was := range s.counts {
				gone[i] += now[i] - was
			}
		}
		if err != nil {
			return fmt.Errorf("taking an entry out of %v: %w", m, err)
		}
		delete(all, k)
	}
	return nil
}

// takeOut reads an entry and deletes it, in one step where the kernel can (5.14).
func (f *Flow) takeOut(m *ebpf.Map, key, value any) error {
	if !f.inSteps {
		err := m.LookupAndDelete(key, value)
		if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		f.inSteps = true
	}
	if err := m.Lookup(key, value); err != nil {
		return err
	}
	return m.Delete(key)
}
