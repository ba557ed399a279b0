// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"bpf60/bpf"
)

// dropReader is what the collector needs of bpf.Drop.
type dropReader interface {
	Reasons() *bpf.DropReasons
	PacketsErr() error
	HeadersErr() error
	SocketsErr() error
	Read() (*bpf.DropReading, error)
	Pause(on bool) error
	Close() error
}

const (
	// dropLeast is how many packets the kernel must have dropped unseen, in one span, for the probe to
	// be taken for dead; see quiet.
	dropLeast = 20
)

type dropCollector struct {
	open   func() (dropReader, error)
	now    func() (time.Duration, error) // the boot clock
	feed   feed
	udp    *udpCounters
	owners *socketHolders
	names  *symbols
	netns  func() uint32 // the one bpf60 runs in, 0 if it cannot be told
	off    map[string]bool

	r      dropReader
	fed    bool
	begun  bool
	paused bool
	own    uint32
	last   time.Duration
	prev   dropState
	base   []uint64 // of reasons, when the probe attached
	err    error
	use    error

	packets, missed, full uint64
	quiet                 quiet
	again                 int
}

// dropState is one reading: what deltas are taken from.
type dropState struct {
	reasons []uint64
	places  map[bpf.DropPlace]uint64
	sockets map[bpf.DropSocket]DropSocketCounts
	others  DropSocketCounts
	missed  uint64
}

// NewDrops returns the collector of Drops, with the BPF programs of package bpf.
func NewDrops(k *bpf.Kernel, fs FS, events feed, off map[string]bool) Collector {
	c := &dropCollector{
		open: func() (dropReader, error) {
			d, err := bpf.OpenDrop(k)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		now: bootClock, feed: events, udp: newUDPCounters(fs), owners: newSocketHolders(newOwnerCache(k, fs)),
		names: fs.names, netns: func() uint32 { return netnsOf(fs.path("self/ns/net")) }, off: off,
	}
	return c
}

func netnsOf(path string) uint32 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint32(s.Ino)
	}
	return 0
}

// Names of the rows: dropped packets, and sockets whose queue is full.
const (
	dropProbe   = "dropsnoop"
	socketProbe = "dropsnoop-sockets"
)

func (c *dropCollector) Meta() Meta { return Meta{ID: DropsID, Slow: true, Switched: true} }

func (c *dropCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.use, c.again, c.paused = false, nil, nil, 0, false
	c.packets, c.missed, c.full = 0, 0, 0
	if c.off[dropProbe] && c.off[socketProbe] {
		return errSwitchedOff
	}
	if err := c.attach(); err != nil {
		return err
	}
	if err := c.feed.open(bpf.EventDrop); err != nil {
		return fmt.Errorf("opening the list of dropped packets: %w", err)
	}
	c.fed, c.own = true, c.netns()
	c.owners.start(ctx)
	return nil
}

func (c *dropCollector) attach() error {
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the probes of drops: %w", err)
	}
	c.r, c.begun, c.quiet = r, false, quiet{}
	return nil
}

// Pause detaches the programs, or attaches them again: see Pauser.
func (c *dropCollector) Pause(on bool) error {
	if c.r == nil {
		return nil
	}
	c.paused, c.quiet = on, quiet{}
	return c.r.Pause(on)
}

// Collect reads the maps. The first reading is the baseline.
func (c *dropCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
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
	cur := stateOfDrops(reading)
	stack, stackErr := c.udp.read(ctx)
	kernel := stack.UDPNoPort + stack.UDPReceiveFull
	if !c.begun {
		c.prev, c.begun, c.last, c.base = cur, true, now, cur.reasons
		c.quiet.begin(now, kernel)
		return nil, ErrWarming
	}
	s := deriveDrops(c.base, &c.prev, &cur, reading, c.r.Reasons(), Span{c.last, now})
	if err := c.list(s, boot); err != nil {
		c.err = err
		return nil, err
	}
	c.name(ctx, s, now)
	if c.off[dropProbe] {
		s.Reasons, s.Places, s.Packets, s.Unplaced = nil, nil, nil, 0
	}
	if c.off[socketProbe] {
		s.Sockets, s.Others = nil, DropSocketCounts{}
	}
	var seen uint64
	for i := range cur.reasons {
		seen += grown(c.prev.reasons[i], cur.reasons[i])
	}
	c.prev, c.last = cur, now
	c.packets += seen
	c.missed += s.Missed
	c.full += s.Others.Full + s.Others.Memory
	for i := range s.Sockets {
		c.full += s.Sockets[i].Full + s.Sockets[i].Memory
	}
	judged := !c.paused && stackErr == nil && c.r.PacketsErr() == nil
	if !judged || !c.quiet.dead(now, kernel, seen > 0, dnsQuiet, dropLeast) {
		return s, nil
	}
	return s, c.revive(now)
}

// name fills in what user space knows: functions, owners, our own namespace.
func (c *dropCollector) name(ctx context.Context, s *Drops, now time.Duration) {
	for i := range s.Places {
		c.names.at(s.Places[i].Address)
	}
	c.names.find(now)
	if need := c.names.need(); need != nil {
		s.NoNames = "needs " + need.Need + ": " + need.Remedy
	}
	for i := range s.Places {
		p := &s.Places[i]
		p.Own = p.Netns != 0 && p.Netns == c.own
		p.Function = c.function(p.Address)
	}
	var inodes []uint32
	for i := range s.Sockets {
		inodes = append(inodes, s.Sockets[i].Inode)
	}
	c.owners.find(ctx, now, inodes)
	for i := range s.Sockets {
		p := &s.Sockets[i]
		p.Own, p.Owner = p.Netns != 0 && p.Netns == c.own, c.owners.known[p.Inode]
	}
}

// function is what a place lies in, empty if that is not known, or not yet.
func (c *dropCollector) function(place uint64) Raw {
	name, _ := c.names.at(place)
	return RawString(name)
}

// list takes the packets that the programs listed, and keeps the newest.
func (c *dropCollector) list(s *Drops, boot time.Duration) error {
	reasons := c.r.Reasons()
	_, err := c.feed.take(bpf.EventDrop, func(record []byte) {
		p, ok := bpf.ReadDroppedPacket(record)
		if !ok {
			return
		}
		name := reasonName(reasons, p.Reason)
		s.Packets = append(s.Packets, DroppedPacket{
			Ago: boot - p.At, Reason: name, Class: classOfDrop(name), Function: c.function(p.Place),
			Netns: p.Netns, Own: p.Netns != 0 && p.Netns == c.own, Ifindex: p.Ifindex, Protocol: p.Protocol,
			Transport: p.Transport, Source: p.Source, Dest: p.Dest, Length: p.Length,
		})
	})
	if err != nil {
		return fmt.Errorf("listing dropped packets: %w", err)
	}
	if n := len(s.Packets) - maxListed; n > 0 {
		s.Packets = slices.Clone(s.Packets[n:])
	}
	return nil
}

// revive attaches a silent probe again. It returns nil, as the sample that shows the silence stands.
func (c *dropCollector) revive(now time.Duration) error {
	if err := c.r.Close(); err != nil {
		return fmt.Errorf("closing the probes of drops: %w", err)
	}
	c.r = nil
	if c.again == dnsRetries {
		c.err = fmt.Errorf("the kernel drops UDP packets and the probe does not see them, though attached %d times", c.again+1)
		return nil
	}
	c.again++
	c.use = fmt.Errorf("attached again: silent for %s", c.quiet.since(now))
	if err := c.attach(); err != nil {
		c.err = err
	}
	return nil
}

// Probes are the packets and the sockets.
func (c *dropCollector) Probes() []Probe {
	drop := Probe{Name: dropProbe, Hook: "tp_btf kfree_skb", State: Off} // why is the runner's to say
	sock := Probe{Name: socketProbe, Hook: "tp_btf udp_fail_queue_rcv_skb", State: Off}
	switch {
	case c.r == nil && c.err != nil:
		for _, p := range []*Probe{&drop, &sock} {
			p.State, p.Reason = Failed, clean(c.err.Error())
		}
	case c.r != nil:
		state, reason := stateOf(c.begun, c.err)
		drop.State, drop.Reason, sock.State, sock.Reason = state, reason, state, reason
		drop.Events, drop.Lost, drop.NsPerEvent = c.packets, c.missed, bpf.CostDrop
		sock.Events, sock.NsPerEvent = c.full, bpf.CostDrop
		if state == On && c.use != nil {
			drop.State = Degraded
			drop.explain(c.use)
		}
		if state == On && !c.r.Reasons().Known {
			drop.State, drop.Reason = Degraded, "this kernel does not say why it frees a packet (5.17): by place only, those that had done their duty among them"
		}
		if err := c.r.HeadersErr(); err != nil && drop.State == On {
			drop.State = Degraded
			drop.explain(err)
		}
		if err := c.r.PacketsErr(); err != nil {
			drop.State = Off
			drop.explain(err)
		}
		if err := c.r.SocketsErr(); err != nil {
			sock.State = Off
			sock.explain(err)
		}
	}
	rows := []Probe{drop, sock}
	for i := range rows {
		if c.off[rows[i].Name] {
			rows[i] = Probe{Name: rows[i].Name, Hook: rows[i].Hook, State: Off, Reason: switchedOff}
		}
	}
	return rows
}

func (c *dropCollector) Close() error {
	var errs []error
	if c.fed {
		c.fed = false
		errs = append(errs, c.feed.close(bpf.EventDrop), c.owners.close())
	}
	if c.r != nil {
		errs = append(errs, c.r.Close())
		c.r = nil
	}
	return errors.Join(append(errs, c.udp.close())...)
}
