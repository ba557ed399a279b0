// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// IDs of the namespaces of the stories.
const (
	hostSpace = 4026531874
	firstPod  = 4026532400
)

// netMove is what an interface does in a second.
type netMove struct {
	name       string
	kind       collectors.LinkKind
	facts      collectors.LinkFacts
	rx, tx     uint64 // packets
	rxLen, len uint64 // bytes of one
	rxDrop     uint64
	missed     uint64
	rxErr      uint64
}

// netStory is what a story's network has counted so far. It is derived from the number of the
// second alone, so the totals are the sums of what the seconds showed.
func netCounts(m netMove, seconds uint64) collectors.IfaceCounts {
	return collectors.IfaceCounts{
		RxPackets: m.rx * seconds, RxBytes: m.rx * m.rxLen * seconds, RxDropped: m.rxDrop * seconds, RxErrors: m.rxErr * seconds,
		TxPackets: m.tx * seconds, TxBytes: m.tx * m.len * seconds,
	}
}

func nic(index int32, speed uint64) collectors.LinkFacts {
	return collectors.LinkFacts{
		Index: index, Up: true, State: "up", MTU: 1500, RxQueues: 2, TxQueues: 2, Carriers: 2, Speed: speed,
		Driver: "virtio_net", Address: "52:54:00:12:34:56",
	}
}

// netPlan is the interfaces of a namespace at a second.
type netPlan struct {
	place collectors.NetPlace
	moves []netMove
	stack collectors.StackCounts
}

func lo(n uint64) netMove {
	return netMove{name: "lo", kind: collectors.LinkLoopback, facts: collectors.LinkFacts{Index: 1, Up: true, State: "unknown", MTU: 65536, RxQueues: 1, TxQueues: 1}, rx: n, tx: n, rxLen: 200, len: 200}
}

func veth(name string, index int32, peer uint64) netMove {
	return netMove{name: name, kind: collectors.LinkVeth, facts: collectors.LinkFacts{
		Index: index, Type: "veth", Lower: 2, Peer: peer, Up: true, State: "up", MTU: 1500, RxQueues: 1, TxQueues: 1, Carriers: 2, Master: 4,
	}}
}

// netPlans are the namespaces of a story at a second.
func netPlans(s *story, l load, i int) []netPlan {
	host := netPlan{place: collectors.NetPlace{ID: hostSpace, Own: true}}
	wave := uint64(i * 7 % 5)
	switch s.kind {
	case "idle":
		eth := netMove{name: "eth0", kind: collectors.LinkDevice, facts: nic(2, 1000), rx: 4 + wave, tx: 3, rxLen: 120, len: 180}
		host.moves = []netMove{lo(0), eth}
		host.stack = collectors.StackCounts{IPIn: 4 + wave, UDPIn: 1, UDPOut: 1}
		return []netPlan{host}
	case "extreme":
		return extremePlans(i)
	}
	// What the web server answers, it receives once and sends once; its pod's packets cross the
	// device, the bridge and the pair.
	n := 2000 + 100*l.interrupts/1000
	eth := netMove{name: "eth0", kind: collectors.LinkDevice, facts: nic(2, 1000), rx: n, tx: n * 9 / 10, rxLen: 700 + 10*wave, len: 900}
	pod := netMove{name: "eth0", rx: n / 2, tx: n / 2 * 9 / 10, rxLen: 700 + 10*wave, len: 900}
	end := veth("veth7c1f", 5, firstPod)
	end.rx, end.tx, end.rxLen, end.len = pod.tx, pod.rx, pod.len, pod.rxLen
	bridge := netMove{name: "cni0", kind: collectors.LinkStacked, facts: collectors.LinkFacts{Index: 4, Type: "bridge", Up: true, State: "up", MTU: 1500, RxQueues: 1, TxQueues: 1, Carriers: 2}, rx: pod.tx, tx: pod.rx, rxLen: 886, len: 700 + 10*wave}
	if l.usr > 0.5 { // busy: the receiving CPU has no time
		eth.rxDrop, eth.missed = 41, 38
		host.stack.UDPInErrors, host.stack.UDPReceiveFull = 3, 3
	}
	host.moves = []netMove{lo(220), eth, {name: "eth1", kind: collectors.LinkDevice, facts: collectors.LinkFacts{Index: 3, State: "down", MTU: 1500, Driver: "virtio_net"}}, bridge, end, veth("veth99aa", 6, firstPod+1)}
	host.stack.IPIn, host.stack.IPForwarded = n, n/2
	host.stack.UDPIn, host.stack.UDPOut = 120, 118
	web := netPlan{place: collectors.NetPlace{ID: firstPod, Inode: firstPod - 6, PID: 812, Name: collectors.RawString("pod:0e2a1b3c/4f00aa11bb22")}, moves: []netMove{lo(0), pod}}
	web.stack = collectors.StackCounts{IPIn: pod.rx, TCPIn: pod.rx, TCPOut: pod.tx, TCPPassive: 40, TCPRetrans: 1 + wave}
	quiet := netPlan{place: collectors.NetPlace{ID: firstPod + 1, Inode: firstPod - 5, PID: 977, Name: collectors.RawString("docker:5e0c6f3a8a0e")}, moves: []netMove{lo(0), {name: "eth0"}}}
	return []netPlan{host, web, quiet}
}

// extremePlans are 430 interfaces in 65 namespaces, numbers at the end of their range and names
// that mean harm.
func extremePlans(i int) []netPlan {
	host := netPlan{place: collectors.NetPlace{ID: hostSpace, Own: true}}
	fast := nic(2, 400_000)
	fast.Driver, fast.MTU, fast.RxQueues, fast.TxQueues = "mlx5_core", 9000, 256, 256
	host.moves = []netMove{
		lo(9_999_999),
		{name: "\x1b[31meth0", kind: collectors.LinkDevice, facts: fast, rx: 33_000_000, tx: 31_000_000, rxLen: 1500, len: 1480, rxDrop: 987_654, missed: 987_000, rxErr: 12_345},
		{name: "\u202eexe.0hte\xff", kind: collectors.LinkDevice, facts: nic(3, 10), rx: 14_000, tx: 14_000, rxLen: 64, len: 64},
	}
	for k := range 300 {
		v := veth(fmt.Sprintf("cali%011d", k), int32(10+k), firstPod+uint64(k))
		if k%5 == 0 {
			v.rx, v.tx, v.rxLen, v.len = uint64(1000+k), uint64(1000+k), 1500, 1500
		}
		host.moves = append(host.moves, v)
	}
	host.stack = collectors.StackCounts{IPIn: 33_000_000, IPForwarded: 31_000_000, UDPIn: 9_000_000, UDPOut: 9_000_000, UDPNoPort: 1_234_567, UDPInErrors: 98_765, UDPReceiveFull: 98_765, IPInDiscards: 77_777, TCPRetrans: 65_432}
	plans := []netPlan{host}
	for k := i % 5; k < 63; k += 5 { // in turn, every five seconds
		name := fmt.Sprintf("pod:%08x/%012x", k*7919, k*104729)
		if k == 5 {
			name = "\x1b]0;owned\x07\u202enet"
		}
		p := netPlan{place: collectors.NetPlace{ID: firstPod + uint64(k), Inode: firstPod + uint64(k), PID: int32(1000 + k), Name: collectors.RawString(name)}}
		p.moves = []netMove{lo(0), {name: "eth0", rx: uint64(1000 * k), tx: uint64(999 * k), rxLen: 1500, len: 1500, rxDrop: uint64(k)}}
		p.stack = collectors.StackCounts{IPIn: uint64(1000 * k), TCPRetrans: uint64(k), TCPListenDrops: uint64(k)}
		plans = append(plans, p)
	}
	return plans
}

// addNetwork makes the second's sample of the network.
func addNetwork(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	probes := []collectors.Probe{
		{Name: "sar DEV", State: collectors.On, Hook: "/proc/net/dev"},
		{Name: "sar UDP", State: collectors.On, Hook: "/proc/net/snmp, snmp6"},
		{Name: "softnet", State: collectors.On, Hook: "/proc/net/softnet_stat"},
		{Name: "conntrack", State: collectors.On, Hook: "/proc/net/stat/nf_conntrack"},
		{Name: "ip link", State: collectors.On, Hook: "rtnetlink, /sys/class/net"},
		{Name: "netns", State: collectors.On, Hook: "/proc/PID/net"},
	}
	snap.Probes[collectors.NetworkID] = probes
	n := &collectors.Network{Span: snap.CPU.Span, SoftnetKnown: true, ConntrackMax: 262144}
	plans := netPlans(s, l, i)
	n.Coverage = collectors.Coverage{Known: len(plans), Covered: len(plans), Complete: true}
	switch s.kind {
	case "idle":
		probes[3].State, probes[3].Reason = collectors.Off, "no connection tracking here: nf_conntrack is not loaded"
	case "extreme":
		n.Coverage = collectors.Coverage{Known: 613, Covered: 64, NoProcess: 1, Complete: true}
		probes[5].State, probes[5].Reason = collectors.Degraded, "64 of 613 network namespaces are read"
	case "denied":
		n.Coverage = collectors.Coverage{Known: 1, Covered: 1, Hidden: 180, Complete: true}
		plans = plans[:1]
		probes[5].State, probes[5].Reason, probes[5].Remedy = collectors.Degraded, "180 processes may not be asked for their namespace", "run as root"
	case "lossy":
		probes[4].State, probes[4].Reason = collectors.Degraded, "no answer for 12 s: the kernel's lock on interfaces is held"
	}
	for k, p := range plans {
		seconds := uint64(1)
		span := n.Span
		if k > 0 {
			if s.kind != "extreme" && i%5 != 1 {
				continue // the others are read every five seconds
			}
			if seconds = 5; i <= 5 { // the first time
				seconds = 0
			}
			span.From = max(span.To-time.Duration(seconds)*time.Second, 0)
		} else if i == 0 {
			seconds = 0
		}
		addSpace(s, n, p, span, seconds, uint64(i))
	}
	for cpu := range l.cpus {
		var c collectors.SoftnetCPU
		c.CPU = int32(cpu)
		if i > 0 {
			c.Processed = uint32(n.Spaces[0].IPIn / uint64(l.cpus))
			if l.usr > 0.5 {
				c.Squeezed = 12
			}
		}
		n.Softnet = append(n.Softnet, c)
		n.SoftnetAll.Processed += c.Processed
		n.SoftnetAll.Squeezed += c.Squeezed
	}
	n.SoftnetAll.CPU = -1
	snap.Network = n
	if s.kind == "lossy" && i%9 == 4 {
		snap.Network = nil
	}
}

func addSpace(s *story, n *collectors.Network, p netPlan, span collectors.Span, seconds, at uint64) {
	place := p.place
	var rows []collectors.NetIface
	for _, m := range p.moves {
		l := &collectors.NetLink{Space: place.ID, Name: collectors.RawString(m.name), Kind: m.kind, LinkFacts: m.facts}
		if m.name == "lo" {
			l.Kind = collectors.LinkLoopback
		}
		if s.kind == "lossy" { // rtnetlink never answered
			l.LinkFacts = collectors.LinkFacts{}
			if m.name != "lo" {
				l.Kind = collectors.LinkUnknown
			}
		}
		place.Links = append(place.Links, l)
		r := collectors.NetIface{NetLink: l, IfaceCounts: netCounts(m, seconds), Total: netCounts(m, at)}
		if at%10 == 0 && seconds > 0 {
			r.Missed = 10 * m.missed
		}
		if s.kind == "lossy" && at == 69 && m.name == "lo" {
			r.Restarted, r.IfaceCounts = true, collectors.IfaceCounts{}
		}
		if r.IfaceCounts != (collectors.IfaceCounts{}) || r.Restarted || at == 0 && m.rx > 0 {
			rows = append(rows, r)
		}
	}
	const most = 200
	n.NUnlist += max(len(n.Ifaces)+len(rows)-most, 0)
	n.Ifaces = append(n.Ifaces, rows...)[:min(len(n.Ifaces)+len(rows), most)]
	space := collectors.NetSpace{Span: span, NetPlace: &place, StackKnown: true, TCPExt: !place.Own}
	for range seconds {
		space.StackCounts.Plus(&p.stack)
	}
	if s.kind != "idle" {
		space.Conntrack = collectors.Conntrack{Known: true, Entries: 812 + p.stack.IPIn/200}
	}
	n.Spaces = append(n.Spaces, space)
}
