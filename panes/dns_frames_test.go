// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"time"

	"bpf60/collectors"
)

// dnsAsker is a process and what it asks in a second.
type dnsAsker struct {
	pid                                    int32
	comm, server                           string
	queries, retries, nx, fail, unanswered uint64
	slots                                  []int // latency of the answers, in turn
}

// counts are what a process asks in one second. Answers are what is neither unanswered nor asked again
// from the same port; here all retries come from another.
func (a dnsAsker) counts() collectors.DNSCounts {
	c := collectors.DNSCounts{Queries: a.queries, Retries: a.retries, Unanswered: a.unanswered}
	c.Answers = a.queries - min(a.unanswered, a.queries)
	c.Rcodes[collectors.RcodeName] = min(a.nx, c.Answers)
	c.Rcodes[collectors.RcodeServer] = min(a.fail, c.Answers-c.Rcodes[collectors.RcodeName])
	c.Rcodes[collectors.RcodeOK] = c.Answers - c.Rcodes[collectors.RcodeName] - c.Rcodes[collectors.RcodeServer]
	for i, slot := range a.slots {
		of := uint64(len(a.slots))
		n := (c.Answers + of - 1 - uint64(i)) / of
		c.Latency.Slots[slot] += n
		c.Latency.Sum += n * 1500 << slot
	}
	return c
}

// dnsAskers are who asks in a second of a story. In the busy one the first of two servers is slow and
// loses some, and php-fpm asks through the stub of systemd-resolved; ndots makes half of it NXDOMAIN.
func dnsAskers(s *story, i int) []dnsAsker {
	n := uint64(i * 7 % 5)
	switch s.kind {
	case "idle":
		if i%20 != 3 {
			return nil
		}
		return []dnsAsker{{812, "chronyd", "10.0.0.2", 2, 0, 0, 0, 0, []int{10, 11}}}
	case "extreme":
		var out []dnsAsker
		for k := range int32(8) {
			out = append(out, dnsAsker{k + 1, "\x1b[31mevil\u202e", netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(k)}).String(), 98_765_432, 9_000_000, 40_000_000, 1_000_000, 2_000_000, []int{5, 9, 26}})
		}
		return out
	}
	return []dnsAsker{
		{812, "php-fpm", "127.0.0.53", 24 + 2*n, 0, 12 + n, 0, 0, []int{6, 7, 9, 13, 18}},
		{301, "systemd-resolve", "10.0.0.2", 16 + n, 4, 8, 1, 3, []int{13, 14, 18, 19}},
		{301, "systemd-resolve", "10.0.0.3", 4, 3, 2, 0, 0, []int{10, 11}},
		{902, "postfix", "10.0.0.3", 2, 0, 0, 0, 0, []int{10, 12}},
	}
}

func addDNS(s *story, _ load, snap *collectors.Snapshot) {
	probe := collectors.Probe{Name: "dnssnoop", State: collectors.On, Hook: "tp_btf net_dev_queue, netif_receive_skb", NsPerEvent: 200}
	defer func() { snap.Probes[collectors.DNSID] = []collectors.Probe{probe} }()
	if s.kind == "denied" {
		probe.State, probe.Reason, probe.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		return
	}
	i := len(s.moments)
	if i == 0 {
		probe.State, probe.Reason = collectors.Warming, "not read yet"
		return
	}
	d := &collectors.DNS{Span: collectors.Span{From: snap.At - time.Second, To: snap.At}}
	if s.kind == "extreme" { // all alike
		d.Total = scaled(dnsAskers(s, i)[0].counts(), uint64(i*8))
	} else {
		for k := 1; k <= i; k++ { // since the start, from the number of the second alone
			for _, a := range dnsAskers(s, k) {
				c := a.counts()
				d.Total.Plus(&c)
			}
		}
	}
	probe.Events = d.Total.Queries + d.Total.Answers
	for _, a := range dnsAskers(s, i) {
		c := a.counts()
		total := scaled(c, uint64(i)).Latency
		d.Host.Plus(&c)
		process := collectors.Process{TGID: a.pid, Start: uint64(a.pid) * 1e9}
		server := netip.MustParseAddr(a.server)
		d.Pairs = append(d.Pairs, collectors.DNSPair{
			Process: process, Comm: collectors.RawString(a.comm), Server: server, DNSCounts: c, Total: total.Hist32(),
		})
		for k := range min(a.unanswered, 2) {
			d.Events = append(d.Events, collectors.DNSEvent{
				Ago: time.Duration(900-300*k) * time.Millisecond, Process: process, Comm: collectors.RawString(a.comm), Server: server, Netns: hostSpace & 0xffffffff,
				Name: collectors.RawString("db.internal.example"), Type: 1 + 27*uint16(k), Tries: 1, Latency: 5200 * time.Millisecond,
			})
		}
		if a.fail > 0 {
			d.Events = append(d.Events, collectors.DNSEvent{
				Ago: 100 * time.Millisecond, Process: process, Comm: collectors.RawString(a.comm), Server: server, Name: collectors.RawString("\x1b]0;x\x07.example.org"),
				Cut: s.kind == "extreme", Type: 1, Tries: 2, Answered: true, Rcode: collectors.RcodeServer, Latency: 310 * time.Millisecond,
			})
		}
	}
	d.Types[0], d.Types[1] = d.Host.Queries-d.Host.Queries/2, d.Host.Queries/2
	if len(d.Events) > 0 {
		d.Pending = 3
	}
	switch s.kind {
	case "extreme":
		d.Other, d.NOther, d.Unlisted = scaled(d.Pairs[0].DNSCounts, 50), 50, 98_765_432
	case "lossy":
		d.Untracked, d.Unparsed, d.Unreadable, d.Unsure, d.Unlisted, d.Lost = 12, 3, 40, 2, 7, 4
		probe.State = collectors.Degraded
		probe.Reason = "attached again: silent for 4s"
		d.Pairs = append(d.Pairs, collectors.DNSPair{Server: netip.MustParseAddr("10.0.0.2"), DNSCounts: collectors.DNSCounts{Queries: 2}})
	}
	snap.DNS = d
}

// scaled is n times the counts.
func scaled(c collectors.DNSCounts, n uint64) collectors.DNSCounts {
	c.Queries *= n
	c.Retries *= n
	c.Answers *= n
	c.Unanswered *= n
	for i := range c.Rcodes {
		c.Rcodes[i] *= n
	}
	for i := range c.Latency.Slots {
		c.Latency.Slots[i] *= n
	}
	c.Latency.Sum *= n
	return c
}
