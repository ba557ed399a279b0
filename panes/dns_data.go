// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"net/netip"
	"strconv"
	"time"

	"bpf60/collectors"
)

func dnsOf(s *collectors.Snapshot) *collectors.DNS  { return s.DNS }
func dnsSpan(d *collectors.DNS) collectors.Span     { return d.Span }
func dnsLatency(d *collectors.DNS) *collectors.Hist { return &d.Host.Latency }

// Questions are few: rates are of the last ten seconds, and who asked is listed for a minute.
const (
	dnsOverLast = 10 * time.Second
	dnsListed   = time.Minute
)

// dnsPair is a process and a server over a frame.
type dnsPair struct {
	process collectors.Process
	comm    collectors.Raw
	server  netip.Addr
	counts  collectors.DNSCounts
	total   collectors.Hist // since the pair was first seen
}

// dnsEvent is a question in the list, with the wall clock of its end.
type dnsEvent struct {
	*collectors.DNSEvent
	at time.Time
}

// dnsView is DNS over a frame.
type dnsView struct {
	seconds  float64
	host     collectors.DNSCounts
	total    collectors.Hist
	other    collectors.DNSCounts
	types    [collectors.DNSTypes]uint64
	doubts   collectors.DNSDoubts
	pending  int
	unlisted uint64
	lost     uint64
	pairs    []*dnsPair
	events   []dnsEvent // newest first
}

// dnsOver sums DNS over the frame, at least over ten seconds. Nil without a sample.
func dnsOver(f Frame) *dnsView {
	last := newest(f, dnsOf)
	if last == nil && f.Span == 0 {
		return nil
	}
	wide := f
	wide.Span = max(f.Span, dnsOverLast)
	samples := within(wide, dnsOf)
	if len(samples) == 0 {
		return nil
	}
	last = samples[len(samples)-1]
	v := &dnsView{total: last.Total.Latency, pending: last.Pending}
	if m := marked(f, dnsOf); m != nil {
		v.total = *since(&last.Total.Latency, &m.Total.Latency)
	}
	var span collectors.Span
	for _, d := range samples {
		span = join(span, d.Span)
		v.host.Plus(&d.Host)
		v.other.Plus(&d.Other)
		v.doubts.Untracked += d.Untracked
		v.doubts.Unparsed += d.Unparsed
		v.doubts.Unreadable += d.Unreadable
		v.doubts.Unmatched += d.Unmatched
		v.doubts.Blind += d.Blind
		v.doubts.Unsure += d.Unsure
		v.unlisted += d.Unlisted
		v.lost += d.Lost
		for i, n := range d.Types {
			v.types[i] += n
		}
	}
	v.seconds = span.Seconds()
	v.takePairs(f, samples)
	v.takeEvents(f)
	return v
}

// takePairs lists the pairs of the last minute, with what they did over the samples.
func (v *dnsView) takePairs(f Frame, samples []*collectors.DNS) {
	type key struct {
		collectors.Process
		netip.Addr
	}
	at := make(map[key]*dnsPair)
	for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At <= max(dnsListed, f.Span); i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.DNS == nil {
			continue
		}
		for k := range s.DNS.Pairs {
			p := &s.DNS.Pairs[k]
			if id := (key{p.Process, p.Server}); at[id] == nil {
				at[id] = &dnsPair{process: p.Process, comm: p.Comm, server: p.Server, total: p.Total.Hist()}
				v.pairs = append(v.pairs, at[id])
			}
		}
	}
	for _, d := range samples {
		for k := range d.Pairs {
			p := &d.Pairs[k]
			if x := at[key{p.Process, p.Server}]; x != nil {
				x.counts.Plus(&p.DNSCounts)
			}
		}
	}
}

// maxQuestions is how many questions are listed: as many as a sample holds.
const maxQuestions = 200

// takeEvents lists the newest questions of the history.
func (v *dnsView) takeEvents(f Frame) {
	for i := len(f.Past) - 1; i >= 0 && len(v.events) < maxQuestions; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.DNS == nil {
			continue
		}
		for k := len(s.DNS.Events) - 1; k >= 0 && len(v.events) < maxQuestions; k-- {
			e := &s.DNS.Events[k]
			v.events = append(v.events, dnsEvent{e, s.Taken.Add(-e.Ago)})
		}
	}
}

// dnsGroup is what a row of the tables is about: the pairs of a server, or of a process.
type dnsGroup struct {
	id      string
	process collectors.Process // zero: a server
	comm    collectors.Raw
	server  netip.Addr
	others  int // further servers of the process, processes of the server
	counts  collectors.DNSCounts
	total   collectors.Hist
}

// groups sums the pairs by server or by process, the busiest first. Pairs of the other kind that keep
// leaves out do not count.
func (v *dnsView) groups(byServer bool, keep func(*dnsPair) bool) []*dnsGroup {
	at := make(map[string]*dnsGroup)
	var out []*dnsGroup
	for _, p := range v.pairs {
		if keep != nil && !keep(p) {
			continue
		}
		id := processRow(p.process)
		if byServer {
			id = p.server.String()
		}
		g := at[id]
		if g == nil {
			g = &dnsGroup{id: id}
			if byServer {
				g.server = p.server
			} else {
				g.process, g.comm = p.process, p.comm
			}
			at[id] = g
			out = append(out, g)
		} else {
			g.others++
		}
		g.counts.Plus(&p.counts)
		g.total.Plus(&p.total)
	}
	sortStably(out, func(a, b *dnsGroup) int {
		return cmp.Or(cmp.Compare(b.counts.Queries+b.counts.Unanswered, a.counts.Queries+a.counts.Unanswered), cmp.Compare(a.id, b.id))
	})
	return out
}

// processRow is the row ID of a process.
func processRow(p collectors.Process) string {
	return strconv.Itoa(int(p.TGID)) + " " + strconv.FormatUint(p.Start, 10)
}

// isStub says whether a server is of the host itself: what it is asked, it asks others.
func isStub(a netip.Addr) bool { return a.IsLoopback() }

// rcodeNames are the words of RFC 1035 and its followers.
func rcodeName(code uint8) string {
	switch code {
	case collectors.RcodeOK:
		return "NOERROR"
	case collectors.RcodeFormat:
		return "FORMERR"
	case collectors.RcodeServer:
		return "SERVFAIL"
	case collectors.RcodeName:
		return "NXDOMAIN"
	case collectors.RcodeNotImplemented:
		return "NOTIMP"
	case collectors.RcodeRefused:
		return "REFUSED"
	case collectors.RcodeUnread:
		return "unread"
	}
	return "RCODE" + strconv.Itoa(int(code))
}

// typeName is the name of a kind of record; its number where it is not one of the usual ones.
func typeName(t uint16) string {
	switch t {
	case 0:
		return "?"
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 12:
		return "PTR"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 43:
		return "DS"
	case 48:
		return "DNSKEY"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 255:
		return "ANY"
	}
	return strconv.Itoa(int(t))
}

// countedTypes are the names of DNS.Types.
func countedTypes() [collectors.DNSTypes]string {
	return [...]string{"A", "AAAA", "PTR", "SRV", "MX", "TXT", "HTTPS", "other"}
}
