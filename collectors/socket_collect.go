// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// socketShare is the share of one CPU that the table of sockets may take: the interval stretches
// until it does. A dump takes 0.7 µs a socket.
const socketShare = 0.05

// maxStretch bounds the interval.
const maxStretch = 30 * time.Second

type socketCollector struct {
	open   func() (diagSource, error)
	owners *ownerCache
	clock  func() time.Duration // CPU time of the calling thread

	src       diagSource
	track     *sockTracker
	last      time.Duration // end of the last span
	every     time.Duration
	begun     bool
	err       error
	processes []int32       // whose sockets must be listed
	six       string        // why there are no IPv6 sockets
	cost      time.Duration // of a reading, its moving mean
}

// NewSockets returns the on-demand collector of Sockets, of our own network namespace.
func NewSockets(k *bpf.Kernel, fs FS) Collector {
	return newSockets(openDiag, newOwnerCache(k, fs))
}

func newSockets(open func() (diagSource, error), owners *ownerCache) *socketCollector {
	return &socketCollector{open: open, owners: owners, clock: threadCPU}
}

func (c *socketCollector) Meta() Meta { return Meta{ID: SocketsID, OnDemand: true} }

func (c *socketCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.six, c.every, c.cost = false, nil, "", 0, 0
	c.track = newSockTracker()
	src, err := c.open()
	if err != nil {
		c.err = err
		return err
	}
	c.src = src
	c.owners.start(ctx)
	return nil
}

// Narrow names the sockets whose row must be there, in full, and the processes whose sockets must.
func (c *socketCollector) Narrow(targets []Target) error {
	if c.track == nil {
		return nil
	}
	c.track.wanted, c.processes = make(map[uint64]bool, len(targets)), nil
	for _, t := range targets {
		switch t.Kind {
		case SocketTarget:
			c.track.wanted[t.Cookie] = true
		case ProcessTarget:
			c.processes = append(c.processes, t.Process.TGID)
		case HostTarget, CgroupTarget, DiskTarget, PeerTarget, NamedTarget, CPUTarget:
		}
	}
	return nil
}

// Collect dumps both families. It returns no sample at ticks that are left out to keep within the
// budget.
func (c *socketCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	const early = 50 * time.Millisecond // a tick that comes a little before its time counts
	if c.begun && c.every > 0 && now-c.last < c.every-early {
		return nil, nil
	}
	runtime.LockOSThread() // the clock below is the thread's
	defer runtime.UnlockOSThread()
	began := c.clock()
	c.track.begin()
	c.track.held = heldSockets(c.owners.fs, c.processes)
	if err := c.dump(ctx); err != nil {
		return nil, err
	}
	if !c.begun {
		c.last, c.begun = now, true
	}
	s := c.track.end(Span{c.last, now})
	c.owners.fill(ctx, s, c.track)
	s.NoIPv6 = c.six
	s.Cost = c.clock() - began
	if c.cost == 0 {
		c.cost = s.Cost
	}
	c.cost += (s.Cost - c.cost) / 4 // a mean, so that the interval does not change with each reading
	c.every = stretch(c.cost)
	s.Every = c.every
	c.last = now
	return s, nil
}

// stretch is how far apart readings of this cost have to be, in whole seconds; 0 when every second
// is allowed.
func stretch(cost time.Duration) time.Duration {
	every := (time.Duration(float64(cost)/socketShare) + time.Second - 1).Truncate(time.Second)
	if every <= time.Second {
		return 0
	}
	return min(every, maxStretch)
}

// dump reads both families into the tracker. After an error the rest of a dump may still be in the
// socket, so that it is opened anew.
func (c *socketCollector) dump(ctx context.Context) error {
	if c.src == nil {
		if c.src, c.err = c.open(); c.err != nil {
			return c.err
		}
	}
	c.err = c.src.Dump(ctx, unix.AF_INET, c.track.add)
	if c.err == nil {
		err := c.src.Dump(ctx, unix.AF_INET6, c.track.add)
		var need *NeedError
		if c.six = ""; errors.As(err, &need) { // a kernel without IPv6
			c.six = plain(need.Error())
		} else {
			c.err = err
		}
	}
	if c.err != nil {
		c.err = fmt.Errorf("dumping TCP sockets: %w", c.err)
		err := errors.Join(c.err, c.src.Close())
		c.src = nil
		return err
	}
	return nil
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func (c *socketCollector) Probes() []Probe {
	ss := Probe{Name: "ss", State: Idle, Hook: "sock_diag", Reason: "attaches while looked at"}
	if c.src == nil && c.err == nil {
		return []Probe{ss, c.owners.probe(false)}
	}
	ss.State, ss.Reason = stateOf(c.begun, c.err)
	var need *NeedError
	if errors.As(c.err, &need) {
		ss.State, ss.Reason, ss.Remedy = Off, plain(need.Error()), need.Remedy
	}
	switch {
	case ss.State != On:
	case c.six != "":
		ss.State, ss.Reason = Degraded, "no IPv6 sockets: "+c.six
	case c.every > 0:
		ss.State = Degraded
		ss.Reason = fmt.Sprintf("every %.0f s: one reading of so many sockets takes too long", c.every.Seconds())
	}
	return []Probe{ss, c.owners.probe(c.begun)}
}

func (c *socketCollector) Close() error {
	c.begun = false
	err := c.owners.close()
	if c.src != nil {
		err = errors.Join(err, c.src.Close())
		c.src = nil
	}
	c.err = nil
	return err
}
