// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Nanoseconds a run of dns.bpf.c costs, as measured in a 6.18 guest less what the measuring itself
// takes; make bench measures them anew.
const (
	CostDNSPacket  = 90  // a packet that is looked at and has nothing to do with DNS
	CostDNSMessage = 900 // a question or an answer
)

// DNSTimeout is when a question is taken as unanswered: as resolvers' own default.
const DNSTimeout = 5 * time.Second

const (
	// dnsIdle is when a pair that did nothing gives up its row; dnsIdleFull when rows are short.
	dnsIdle     = time.Minute
	dnsIdleFull = 5 * time.Second
	dnsPairs    = 384 // PAIRS in dns.bpf.c
	// dnsSweep is how often pairs are read although nobody asked, to give up the idle ones.
	dnsSweep = 10 * time.Second
)

// Reply codes that are counted apart, and RcodeOther for the rest: RCODES in dns.bpf.c.
const (
	RcodeOK = iota
	RcodeFormat
	RcodeServer
	RcodeName
	RcodeNotImplemented
	RcodeRefused
	RcodeOther
	Rcodes
)

// RcodeUnread is the code of an answer whose head could not be read.
const RcodeUnread = 255

// DNSTypes is the number of kinds of questions that are counted apart.
const DNSTypes = 8

// DNSPair is a process and the server it asks. TGID 0 is a process that is not known.
type DNSPair struct {
	TGID   int32
	Start  uint64
	Server netip.Addr
}

// DNSCounts are cumulative since load, or since the pair got its row.
type DNSCounts struct {
	Queries uint64 // questions sent, each time
	Retries uint64 // of Queries: the same question again, before an answer
	Resent  uint64 // of Retries: from the same port, so that one answer serves both
	Answers uint64 // that somebody waited for

	// Unanswered questions got no answer in time. Queries − Resent = Answers + Unanswered + those that
	// wait + those that were not tracked.
	Unanswered uint64

	Rcodes    [Rcodes]uint64 // of Answers
	Unread    uint64         // of Answers: the code was out of reach
	Truncated uint64         // of Answers: to be asked again over TCP
	TCP       uint64         // connections to port 53
	Latency   Hist           // of Answers, from the first sending to the answer at the device
}

// DNSRow is one pair.
type DNSRow struct {
	DNSPair
	Comm [16]byte
	DNSCounts
}

// DNSGlobal counts what belongs to no pair, cumulative since load.
type DNSGlobal struct {
	Sent       uint64 // UDP packets that were sent, looked at
	Received   uint64 // packets that came in, looked at: only while somebody waits for an answer
	Untracked  uint64 // questions for which there was no room, or that waited when Pause came
	Unparsed   uint64 // messages to or from port 53 that could not be read
	Unreadable uint64 // packets received whose headers were out of reach
	Unmatched  uint64 // answers that nobody waited for, or not any more
	Blind      uint64 // answers matched by their port alone
	Unsure     uint64 // questions whose process is not known
	Types      [DNSTypes]uint64
}

// DNSAsk is a question. What others chose is in Name, as on the wire.
type DNSAsk struct {
	DNSPair
	Netns  uint32
	Port   uint16 // it was sent from
	ID     uint16
	At     time.Duration // boot time of the first sending
	Last   time.Duration // and of the last one
	Tries  uint32
	Type   uint16 // 0: not known
	Unsure bool   // the process is not known
	Cut    bool   // Name is not whole
	Comm   [16]byte
	Name   []byte
}

// DNSAnswer is an event: an answer that was slow, or not NOERROR.
type DNSAnswer struct {
	DNSAsk
	At        time.Duration // boot time of the answer
	Latency   time.Duration
	Rcode     uint8 // RcodeUnread: not read
	Truncated bool
}

// DNSReading is what Read returns. Its slices are valid until the next one.
type DNSReading struct {
	Global  DNSGlobal
	Slots   [FilterSlots]DNSCounts // 0 is the host, exact also when pairs are
	Other   DNSCounts              // of pairs that had no row
	Rows    []DNSRow
	Timeout []DNSAsk // questions found unanswered by this reading
	Pending int      // questions that wait
}

// DNS is the facade of dns.bpf.c: questions to port 53 and their answers.
type DNS struct {
	obj     *object
	timeout time.Duration

	errReceived error

	out   DNSReading
	late  map[dnsDnsPair]uint64 // unanswered, by pair
	slots [FilterSlots]uint64   // and by slot
	other uint64                // and of pairs without a row
	moved map[dnsDnsPair]dnsMoved
	stale []dnsDnsPair

	forgotten uint64 // questions, by Pause

	host  dnsDnsCounts
	busy  bool          // something moved before the last reading
	swept time.Duration // when pairs were last read
	asks  []dnsAskKey
	raw   []dnsDnsHost
}

type dnsMoved struct {
	queries, answers, late, tcp uint64
	at                          time.Duration
	seen                        bool
}

// OpenDNS loads and attaches the programs. Without the one that sees the answers questions are
// counted all the same: ReceivedErr tells. The caller owns the result and closes it.
func OpenDNS(k *Kernel) (*DNS, error) {
	obj, err := newObject(k, loadDns)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	d := &DNS{obj: obj, timeout: DNSTimeout, late: map[dnsDnsPair]uint64{}, moved: map[dnsDnsPair]dnsMoved{}}
	for _, name := range []string{"dns_asks", "dns_pairs", "dns_slots", "dns_hosts"} {
		if _, err := obj.createMap(name); err != nil {
			return nil, errors.Join(err, obj.Close())
		}
	}
	// The receiver first: a question that is seen then has an answer that is.
	d.errReceived = obj.attachTracing("dns_received")
	if err := obj.attachTracing("dns_sent"); err != nil {
		return nil, errors.Join(k.readRefused(err), obj.Close())
	}
	return d, nil
}

// readRefused is err, or the lockdown that is behind it: the verifier takes the helper that reads the
// kernel's memory, such as a packet, for one that it does not know.
func (k *Kernel) readRefused(err error) error {
	var need *NeedError
	if k.lockdown != "confidentiality" || errors.As(err, &need) {
		return err
	}
	return &NeedError{
		Need:   "a kernel that is not locked down for confidentiality, to read packets",
		Remedy: "boot with lockdown=integrity or none",
		Err:    err,
	}
}

// ReceivedErr says why answers are not seen; nil if they are.
func (d *DNS) ReceivedErr() error { return d.errReceived }

// Narrow counts the targets apart, from slot 1 on: processes, cgroups and servers; see object.narrow.
func (d *DNS) Narrow(want []Filter) (Slots, error) { return d.obj.narrow(want) }

// Pause detaches the programs, or attaches them again. Questions that wait are forgotten, as untracked:
// their answers may come while nobody looks.
func (d *DNS) Pause(on bool) error {
	if err := d.obj.pause(on); err != nil || !on {
		return err
	}
	m := d.obj.maps["dns_asks"]
	d.asks = d.asks[:0]
	if err := readHash(m, func(k *dnsAskKey, _ *dnsAsk) { d.asks = append(d.asks, *k) }); err != nil {
		return err
	}
	for i := range d.asks {
		switch err := m.Delete(&d.asks[i]); {
		case err == nil:
			d.forgotten++
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return fmt.Errorf("deleting from map dns_asks: %w", err)
		}
	}
	return nil
}

// Close detaches the programs and frees the maps.
func (d *DNS) Close() error { return d.obj.Close() }

func dnsPairOf(k *dnsDnsPair) DNSPair {
	return DNSPair{k.Who.Tgid, k.Who.Start, netip.AddrFrom16(k.Server).Unmap()}
}

func dnsCounts(c *dnsDnsCounts, late uint64) DNSCounts {
	return DNSCounts{
		Queries: c.Queries, Retries: c.Retries, Resent: c.Resent, Answers: c.Answers, Unanswered: late,
		Rcodes: c.Rcodes, Unread: c.Unread, Truncated: c.Truncated, TCP: c.Tcp,
		Latency: Hist{c.Latency.Slots, c.Latency.Sum},
	}
}

func dnsAskOf(k *dnsAskKey, a *dnsAsk) DNSAsk {
	const unsure, cut = 1, 2 // ASK_UNSURE, ASK_CUT
	out := DNSAsk{
		DNSPair: DNSPair{a.Who.Tgid, a.Who.Start, netip.AddrFrom16(k.Server).Unmap()},
		Netns:   k.Netns, Port: swap16(k.Port), ID: swap16(k.Id),
		At: time.Duration(a.At), Last: time.Duration(a.Last), Tries: a.Tries, Type: a.Type,
		Unsure: a.Flags&unsure != 0, Cut: a.Flags&cut != 0,
	}
	for i, b := range a.Comm {
		out.Comm[i] = byte(b)
	}
	out.Name = append([]byte(nil), a.Name[:min(int(a.Length), len(a.Name))]...)
	return out
}

// ReadDNSAnswer decodes an event of kind EventDNS; false if it is none.
func ReadDNSAnswer(record []byte) (DNSAnswer, bool) {
	var e dnsDnsEvent
	if uintptr(len(record)) < unsafe.Sizeof(e) {
		return DNSAnswer{}, false
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), record)
	k := e.Key
	return DNSAnswer{
		DNSAsk: dnsAskOf(&k, &e.Ask), At: time.Duration(e.Event.At), Latency: time.Duration(e.Latency),
		Rcode: e.Rcode, Truncated: e.Truncated != 0,
	}, true
}

// bootTime is the clock of the programs' stamps: it runs through suspends.
func bootTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("reading the boot clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
