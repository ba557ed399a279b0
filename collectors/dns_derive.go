// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"bpf60/bpf"
)

// deriveDNS subtracts two readings. A pair that was not in prev is new, and so is all it has counted.
func deriveDNS(prev, cur *dnsState, r *bpf.DNSReading, span Span) *DNS {
	s := &DNS{Span: span, Host: minusDNS(&prev.host, &cur.host), Other: minusDNS(&prev.other, &cur.other), Pending: r.Pending}
	p, g := &prev.global, &cur.global
	s.DNSDoubts = DNSDoubts{
		Untracked: grown(p.Untracked, g.Untracked), Unparsed: grown(p.Unparsed, g.Unparsed),
		Unreadable: grown(p.Unreadable, g.Unreadable), Unmatched: grown(p.Unmatched, g.Unmatched),
		Blind: grown(p.Blind, g.Blind), Unsure: grown(p.Unsure, g.Unsure),
	}
	for i := range s.Types {
		s.Types[i] = grown(p.Types[i], g.Types[i])
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		was, is := prev.pairs[row.DNSPair], cur.pairs[row.DNSPair]
		if is.Queries < was.Queries { // its row was given up and made anew
			was = DNSCounts{}
		}
		d := minusDNS(&was, &is)
		if !d.moved() {
			continue
		}
		s.Pairs = append(s.Pairs, DNSPair{
			Process: Process{row.TGID, row.Start}, Comm: RawString(untilNUL(row.Comm[:])), Server: row.Server,
			DNSCounts: d, Total: is.Latency.Hist32(),
		})
	}
	sortBy(s.Pairs, func(a, b DNSPair) int {
		return cmp.Or(cmp.Compare(b.Queries+b.Unanswered, a.Queries+a.Unanswered), cmp.Compare(a.TGID, b.TGID), a.Server.Compare(b.Server))
	})
	if len(s.Pairs) > maxDNSPairs {
		for i := maxDNSPairs; i < len(s.Pairs); i++ {
			s.Other.Plus(&s.Pairs[i].DNSCounts)
		}
		s.NOther = len(s.Pairs) - maxDNSPairs
		s.Pairs = slices.Clone(s.Pairs[:maxDNSPairs])
	}
	return s
}

func stateOfDNS(r *bpf.DNSReading) dnsState {
	s := dnsState{
		host: countsOfDNS(&r.Slots[0]), other: countsOfDNS(&r.Other), global: r.Global,
		pairs: make(map[bpf.DNSPair]DNSCounts, len(r.Rows)),
	}
	for i := range r.Slots {
		s.slots[i] = countsOfDNS(&r.Slots[i])
	}
	for i := range r.Rows {
		s.pairs[r.Rows[i].DNSPair] = countsOfDNS(&r.Rows[i].DNSCounts)
	}
	return s
}

func countsOfDNS(c *bpf.DNSCounts) DNSCounts {
	return DNSCounts{
		Queries: c.Queries, Retries: c.Retries, Resent: c.Resent, Answers: c.Answers, Unanswered: c.Unanswered,
		Rcodes: c.Rcodes, Unread: c.Unread, Truncated: c.Truncated, TCP: c.TCP, Latency: Hist(c.Latency),
	}
}

// minusDNS is how much the counts grew. Each counter by itself, as a reading is not of one instant.
func minusDNS(prev, cur *DNSCounts) DNSCounts {
	d := DNSCounts{
		Queries: grown(prev.Queries, cur.Queries), Retries: grown(prev.Retries, cur.Retries), Resent: grown(prev.Resent, cur.Resent),
		Answers: grown(prev.Answers, cur.Answers), Unanswered: grown(prev.Unanswered, cur.Unanswered),
		Unread: grown(prev.Unread, cur.Unread), Truncated: grown(prev.Truncated, cur.Truncated), TCP: grown(prev.TCP, cur.TCP),
		Latency: cur.Latency.Since(&prev.Latency),
	}
	for i := range d.Rcodes {
		d.Rcodes[i] = grown(prev.Rcodes[i], cur.Rcodes[i])
	}
	return d
}

func untilNUL(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func askEvent(a *bpf.DNSAsk) DNSEvent {
	return DNSEvent{
		Process: Process{a.TGID, a.Start}, Comm: RawString(untilNUL(a.Comm[:])), Unsure: a.Unsure,
		Server: a.Server, Netns: a.Netns, Name: dottedName(a.Name), Cut: a.Cut, Type: a.Type, Tries: a.Tries,
	}
}

func lateEvent(a *bpf.DNSAsk, boot time.Duration) DNSEvent {
	e := askEvent(a)
	e.Latency = boot - a.At
	return e
}

func answerEvent(a *bpf.DNSAnswer, boot time.Duration) DNSEvent {
	e := askEvent(&a.DNSAsk)
	e.Ago, e.Answered, e.Rcode, e.Truncated, e.Latency = boot-a.At, true, a.Rcode, a.Truncated, a.Latency
	return e
}
