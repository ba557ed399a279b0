// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net/netip"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// DNSID is the collector of questions to port 53 and their answers.
const DNSID ID = "dns"

// DNS is what was asked of name servers over the span, in all network namespaces. A question to a
// stub as 127.0.0.53 and the one that the stub asks for it are two.
type DNS struct {
	Span
	Host  DNSCounts // deltas, exact whatever is listed
	Total DNSCounts // since the probe attached

	// Pairs are the processes and servers that did something, busiest first, at most maxDNSPairs. Other
	// is what pairs without a row did, the NOther that are left out here among them.
	Pairs  []DNSPair
	Other  DNSCounts
	NOther int

	Pending int // gauge: questions that wait for their answer
	Types   [DNSTypes]uint64
	DNSDoubts

	// Events are questions without an answer and answers that were slow or failed, oldest first, at most
	// maxListed. Unlisted is how many more there were.
	Events   []DNSEvent
	Unlisted uint64
	Lost     uint64 // events for which the ring had no room

	Narrowed []Targeted[DNSNarrowed]
}

// DNSNarrowed is what one target did, over the span and since it was chosen.
type DNSNarrowed struct{ Delta, Total DNSCounts }

// DNSDoubts are what keeps the counts from being whole. Deltas.
type DNSDoubts struct {
	Untracked  uint64 // questions for which there was no room: neither answered nor unanswered
	Unparsed   uint64 // messages of port 53 that could not be read
	Unreadable uint64 // packets received whose headers were out of reach: answers may be among them
	Unmatched  uint64 // answers that nobody waited for, or not any more
	Blind      uint64 // answers matched by their port alone, with no reply code
	Unsure     uint64 // questions that the kernel sent for a process which is not known
}

// Reply codes that are counted apart; RcodeOther is all others.
const (
	RcodeOK             = bpf.RcodeOK
	RcodeFormat         = bpf.RcodeFormat
	RcodeServer         = bpf.RcodeServer
	RcodeName           = bpf.RcodeName
	RcodeNotImplemented = bpf.RcodeNotImplemented
	RcodeRefused        = bpf.RcodeRefused
	RcodeOther          = bpf.RcodeOther
	Rcodes              = bpf.Rcodes

	// RcodeUnread is the code of an event whose code could not be read.
	RcodeUnread = bpf.RcodeUnread
)

// DNSTypes is the number of kinds of questions that are counted apart: A, AAAA, PTR, SRV, MX, TXT,
// HTTPS and all others.
const DNSTypes = bpf.DNSTypes

// DNSTimeout is when a question is taken as unanswered.
const DNSTimeout = bpf.DNSTimeout

// DNSCounts are additive.
type DNSCounts struct {
	Queries uint64 // questions sent, each time
	Retries uint64 // of Queries: the same question again, before an answer
	Resent  uint64 // of Retries: from the same port, so that one answer serves both
	Answers uint64

	// Unanswered questions got no answer in DNSTimeout. They are counted when that has passed.
	Unanswered uint64

	Rcodes    [Rcodes]uint64 // of Answers
	Unread    uint64         // of Answers: the code could not be read
	Truncated uint64         // of Answers: to be asked again over TCP
	TCP       uint64         // connections to port 53
	// Latency is from the first sending to the answer at the device. When the process gets to run is
	// not in it.
	Latency Hist
}

// Failed are answers other than NOERROR and NXDOMAIN: the server could or would not say.
func (c *DNSCounts) Failed() uint64 {
	var n uint64
	for code, k := range c.Rcodes {
		if code != RcodeOK && code != RcodeName {
			n += k
		}
	}
	return n
}

// Plus adds the counts of another span or pair.
func (c *DNSCounts) Plus(d *DNSCounts) {
	c.Queries += d.Queries
	c.Retries += d.Retries
	c.Resent += d.Resent
	c.Answers += d.Answers
	c.Unanswered += d.Unanswered
	for i := range c.Rcodes {
		c.Rcodes[i] += d.Rcodes[i]
	}
	c.Unread += d.Unread
	c.Truncated += d.Truncated
	c.TCP += d.TCP
	c.Latency.Plus(&d.Latency)
}

// moved says whether anything was counted.
func (c *DNSCounts) moved() bool { return c.Queries+c.Answers+c.Unanswered+c.TCP > 0 }

// DNSPair is a process and a server it asks.
type DNSPair struct {
	Process
	Comm   Raw // as it was when the pair was first seen; empty with TGID 0, a process not known
	Server netip.Addr
	DNSCounts
	Total Hist32 // Latency since the pair was first seen, or came back after a minute
}

// DNSEvent is one question: without an answer, or with one that was slow or failed.
type DNSEvent struct {
	Ago time.Duration // before the end of the span: when it was answered, or given up
	Process
	Comm      Raw
	Unsure    bool // the kernel sent it for a process which is not known
	Server    netip.Addr
	Netns     uint32 // inode of the namespace
	Name      Raw    // with dots
	Cut       bool   // Name is only the beginning
	Type      uint16 // 1 is A, 28 AAAA; 0: not known
	Tries     uint32 // times it was sent from the same port
	Answered  bool
	Rcode     uint8 // RcodeUnread: not read
	Truncated bool
	Latency   time.Duration // of an answer; else how long it was waited for
}

func (d *DNS) put(s *Snapshot) { s.DNS = d }

// maxDNSPairs is how many pairs one sample lists.
const maxDNSPairs = 200

// size is about what d holds in memory, in bytes.
func (d *DNS) size() int {
	n := allocSize(unsafe.Sizeof(*d)) + sliceSize(d.Pairs) + sliceSize(d.Events) + sliceSize(d.Narrowed)
	for i := range d.Events {
		n += allocSize(uintptr(len(d.Events[i].Name.s)))
	}
	return n
}

// withoutRows returns a copy that keeps the sums.
func (d *DNS) withoutRows() *DNS {
	c := *d
	for i := range d.Pairs {
		c.Other.Plus(&d.Pairs[i].DNSCounts)
	}
	c.NOther += len(d.Pairs)
	c.Unlisted += uint64(len(d.Events))
	c.Pairs, c.Events, c.Narrowed = nil, nil, nil
	return &c
}

// dottedName turns labels as on the wire into text, with what a label holds of dots and backslashes
// escaped. It takes any bytes.
func dottedName(wire []byte) Raw {
	var out []byte
	for len(wire) > 0 {
		n := int(wire[0])
		if n == 0 || n > 63 {
			break
		}
		label := wire[1:min(1+n, len(wire))]
		for _, c := range label {
			if c == '.' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		if wire = wire[1+len(label):]; len(wire) > 0 {
			out = append(out, '.')
		}
	}
	if len(out) == 0 {
		return RawString(".")
	}
	return RawString(string(out))
}
