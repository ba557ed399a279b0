// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bpf60/bpf"
)

// dnsReader is what the collector needs of bpf.DNS.
type dnsReader interface {
	ReceivedErr() error
	Read() (*bpf.DNSReading, error)
	Packets() (packets, messages uint64, err error)
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

const (
	// dnsQuiet is how long UDP packets may be sent unseen before the probe is taken for dead, and
	// dnsLeast how many.
	dnsQuiet = 3 * time.Second
	dnsLeast = 20
	// dnsRetries is how often a silent probe is attached again before it is given up.
	dnsRetries = 2
)

type dnsCollector struct {
	open func() (dnsReader, error)
	now  func() (time.Duration, error) // the boot clock
	feed feed
	udp  *udpCounters
	off  map[string]bool

	r      dnsReader
	fed    bool // feed is open
	begun  bool
	paused bool
	last   time.Duration
	prev   dnsState
	late   []bpf.DNSAsk // unanswered, found by a reading that made no sample
	base   DNSCounts    // of the host, when the probe attached
	events bpf.EventCounts
	err    error
	use    error // why it was attached again

	targets []Target
	slots   bpf.Slots
	narrow  [bpf.FilterSlots]dnsSlot

	packets, messages uint64 // looked at; of them questions and answers
	blend             blend
	lost              uint64
	quiet             quiet
	again             int
}

// dnsState is one reading: what deltas are taken from.
type dnsState struct {
	host, other DNSCounts
	slots       [bpf.FilterSlots]DNSCounts
	global      bpf.DNSGlobal
	pairs       map[bpf.DNSPair]DNSCounts
}

// dnsSlot is a target's.
type dnsSlot struct {
	target Target
	base   DNSCounts
	since  time.Duration
}

// NewDNS returns the collector of DNS, with the BPF programs of package bpf.
func NewDNS(k *bpf.Kernel, fs FS, events feed, off map[string]bool) Collector {
	c := newDNS(func() (dnsReader, error) {
		d, err := bpf.OpenDNS(k)
		if err != nil {
			return nil, err
		}
		return d, nil
	}, bootClock, events, newUDPCounters(fs))
	c.off = off
	return c
}

func newDNS(open func() (dnsReader, error), now func() (time.Duration, error), events feed, udp *udpCounters) *dnsCollector {
	return &dnsCollector{open: open, now: now, feed: events, udp: udp}
}

const dnsProbe = "dnssnoop"

func (c *dnsCollector) Meta() Meta { return Meta{ID: DNSID, Slow: true, Switched: true} }

func (c *dnsCollector) Start(context.Context) error {
	c.begun, c.err, c.use, c.again, c.paused = false, nil, nil, 0, false
	c.packets, c.messages, c.lost, c.targets = 0, 0, 0, nil
	if c.off[dnsProbe] {
		return errSwitchedOff
	}
	if err := c.attach(); err != nil {
		return err
	}
	if err := c.feed.open(bpf.EventDNS); err != nil {
		return fmt.Errorf("opening the list of questions: %w", err)
	}
	c.fed, c.events = true, bpf.EventCounts{}
	return nil
}

// attach opens the programs. What is counted begins anew.
func (c *dnsCollector) attach() error {
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the DNS probes: %w", err)
	}
	c.r, c.begun, c.late, c.quiet = r, false, nil, quiet{}
	c.slots, c.narrow = bpf.Slots{}, [bpf.FilterSlots]dnsSlot{}
	return nil
}

// Pause detaches the programs, or attaches them again: see Pauser.
func (c *dnsCollector) Pause(on bool) error {
	if c.r == nil {
		return nil
	}
	c.paused, c.quiet = on, quiet{}
	return c.r.Pause(on)
}

// Narrow counts the targets apart, the processes, cgroups and servers among them.
func (c *dnsCollector) Narrow(targets []Target) error {
	c.targets = targets
	return c.narrowTo()
}

func (c *dnsCollector) narrowTo() error {
	if c.r == nil {
		return nil
	}
	var want []bpf.Filter
	byFilter := map[bpf.Filter]Target{}
	for _, t := range c.targets {
		var f bpf.Filter
		switch t.Kind {
		case ProcessTarget:
			f = bpf.Filter{ID: uint64(uint32(t.Process.TGID)), Kind: bpf.FilterProcess}
		case CgroupTarget:
			f = bpf.Filter{ID: t.Cgroup, Kind: bpf.FilterCgroup}
		case PeerTarget:
			if !t.Addr.IsValid() {
				continue
			}
			f = bpf.PeerFilter(t.Addr)
		case HostTarget, DiskTarget, NamedTarget, CPUTarget, SocketTarget:
			continue
		}
		want, byFilter[f] = append(want, f), t
	}
	was := c.slots
	slots, err := c.r.Narrow(want)
	c.slots = slots
	if slots != was {
		reading, e := c.r.Read()
		if e != nil {
			return errors.Join(err, e)
		}
		if c.begun {
			c.late = append(c.late, reading.Timeout...)
		}
		for i, f := range slots {
			switch {
			case f == bpf.Filter{}:
				c.narrow[i] = dnsSlot{}
			case f != was[i]:
				base := countsOfDNS(&reading.Slots[i])
				c.narrow[i] = dnsSlot{target: byFilter[f], base: base, since: c.last}
				c.prev.slots[i] = base
			}
		}
	}
	return err
}

// Collect reads the maps. The first reading is the baseline.
func (c *dnsCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	reading, err := c.r.Read()
	if c.err = err; err != nil {
		return nil, err
	}
	boot, err := c.now()
	if c.err = err; err != nil {
		return nil, err
	}
	cur := stateOfDNS(reading)
	stack, stackErr := c.udp.read(ctx)
	if !c.begun {
		c.prev, c.begun, c.last, c.base = cur, true, now, cur.host
		c.quiet.begin(now, stack.UDPOut)
		return nil, ErrWarming
	}
	s := deriveDNS(&c.prev, &cur, reading, Span{c.last, now})
	s.Total = minusDNS(&c.base, &cur.host)
	for _, late := range [][]bpf.DNSAsk{c.late, reading.Timeout} {
		for i := range late {
			s.Events = append(s.Events, lateEvent(&late[i], boot))
		}
	}
	c.late = nil
	for i := 1; i < len(c.slots); i++ {
		if n := &c.narrow[i]; n.target != (Target{}) {
			s.Narrowed = append(s.Narrowed, Targeted[DNSNarrowed]{n.target, n.since, DNSNarrowed{
				Delta: minusDNS(&c.prev.slots[i], &cur.slots[i]), Total: minusDNS(&n.base, &cur.slots[i]),
			}})
		}
	}
	if err := c.list(s, boot); err != nil {
		c.err = err
		return nil, err
	}
	sent := grown(c.prev.global.Sent, cur.global.Sent)
	c.packets += sent + grown(c.prev.global.Received, cur.global.Received)
	c.prev, c.last = cur, now
	c.messages += s.Host.Queries + s.Host.Answers
	c.lost += s.Lost + s.Untracked + s.Unparsed + s.Unreadable
	if c.paused || stackErr != nil || !c.quiet.dead(now, stack.UDPOut, sent > 0, dnsQuiet, dnsLeast) {
		return s, nil
	}
	return s, c.revive(now)
}

// list takes the events that the programs listed, and keeps the newest.
func (c *dnsCollector) list(s *DNS, boot time.Duration) error {
	counts, err := c.feed.take(bpf.EventDNS, func(record []byte) {
		if a, ok := bpf.ReadDNSAnswer(record); ok {
			s.Events = append(s.Events, answerEvent(&a, boot))
		}
	})
	if err != nil {
		return fmt.Errorf("listing questions: %w", err)
	}
	sortStably(s.Events, func(a, b DNSEvent) int { return cmp.Compare(b.Ago, a.Ago) })
	if n := len(s.Events) - maxListed; n > 0 {
		s.Events = slices.Clone(s.Events[n:])
		s.Unlisted += uint64(n)
	}
	s.Unlisted += grown(c.events.Unlisted, counts.Unlisted)
	s.Lost = grown(c.events.Lost, counts.Lost)
	c.events = counts
	return nil
}

// revive attaches a silent probe again. It returns nil, as the sample that shows the silence stands.
func (c *dnsCollector) revive(now time.Duration) error {
	if err := c.r.Close(); err != nil {
		return fmt.Errorf("closing the DNS probes: %w", err)
	}
	c.r = nil
	if c.again == dnsRetries {
		c.err = fmt.Errorf("the host sends UDP packets and the probe does not see them, though attached %d times", c.again+1)
		return nil
	}
	c.again++
	c.use = fmt.Errorf("attached again: silent for %s", c.quiet.since(now))
	if err := c.attach(); err != nil {
		c.err = err
		return nil
	}
	return c.narrowTo()
}

// Probes is one row.
func (c *dnsCollector) Probes() []Probe {
	p := Probe{Name: dnsProbe, Hook: "tp_btf net_dev_queue, netif_receive_skb", State: Off} // why is the runner's to say
	switch {
	case c.off[dnsProbe]:
		p.Reason = switchedOff
	case c.r == nil && c.err != nil:
		p.State, p.Reason = Failed, clean(c.err.Error())
	case c.r != nil:
		p.State, p.Reason = stateOf(c.begun, c.err)
		// Most of the cost is that of packets that are no business of DNS.
		if p.Events, p.Lost = c.packets, c.lost; c.packets > 0 {
			p.NsPerEvent = bpf.CostDNSPacket + bpf.CostDNSMessage*float64(c.messages)/float64(c.packets)
		}
		if err := cmp.Or(c.r.ReceivedErr(), c.use); err != nil && p.State == On {
			p.State = Degraded
			p.explain(err)
		}
	}
	return []Probe{p}
}

func (c *dnsCollector) Close() error {
	var errs []error
	if c.fed {
		c.fed = false
		errs = append(errs, c.feed.close(bpf.EventDNS))
	}
	if c.r != nil {
		errs = append(errs, c.r.Close())
		c.r = nil
	}
	return errors.Join(append(errs, c.udp.close())...)
}
