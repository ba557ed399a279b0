// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bpf60/bpf"
)

// flowReader is what the collector needs of bpf.Flow.
type flowReader interface {
	Read(r *bpf.FlowReading, now time.Duration) error
	ReadHost(r *bpf.FlowReading) error
	Errs() bpf.FlowErrs
	ResetReason(int32) string
	Narrow([]bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

// flowQuiet is how long the kernel's own counters may move alone before a probe is taken for dead,
// and flowEvents how much they must have moved.
const (
	flowQuiet  = 3 * time.Second
	flowEvents = 5
	// flowRetries is how often silent programs are attached again before they are given up.
	flowRetries = 2
)

type flowCollector struct {
	open   func(bpf.FlowParts) (flowReader, error)
	events feed
	owners *inodeOwners
	listen *listenWatch
	mib    *tcpMIB
	boot   func() int64    // time since boot, ns
	off    map[string]bool // probes that the user switched off

	r               flowReader
	fed             bool
	counts          [4]bpf.EventCounts // by flowKinds
	names           map[Process]Raw
	base, prev, cur *bpf.FlowReading
	gauged          bpf.FlowReading // of the last look of the brake
	blend           blend
	begun           bool
	last            time.Duration
	narrowing       narrowing
	slotBase        [bpf.FilterSlots]bpf.FlowSet
	err, mibErr     error

	// Liveness: what the kernel has counted since the programs last did.
	silentOpens, silentRetrans uint64
	quietOpens, quietRetrans   time.Duration
	again                      int
	revived                    error
}

// NewFlow returns the collector of Flow, with the BPF programs of package bpf. Probes named in off are
// not shown; a program is not attached if all it serves is off.
func NewFlow(k *bpf.Kernel, fs FS, events feed, off map[string]bool) Collector {
	return newFlowOf(k, fs, "net", events, off)
}

// newFlowOf is NewFlow that holds its programs against the counters of another namespace: dir is the
// net directory of a process that lives there.
func newFlowOf(k *bpf.Kernel, fs FS, dir string, events feed, off map[string]bool) *flowCollector {
	owners := &inodeOwners{ownerCache: newOwnerCache(k, fs)}
	return &flowCollector{
		open: func(parts bpf.FlowParts) (flowReader, error) {
			f, err := bpf.OpenFlow(k, parts)
			if err != nil {
				return nil, err
			}
			return f, nil
		},
		events: events, owners: owners, listen: newListenWatch(owners), mib: &tcpMIB{files: newTCPOf(fs, dir)},
		boot: bootTime, off: off,
	}
}

func (c *flowCollector) Meta() Meta { return Meta{ID: FlowID, Slow: true, Switched: true} }

// parts are the programs that some probe needs.
func (c *flowCollector) parts() bpf.FlowParts {
	on := func(names ...string) bool {
		for _, n := range names {
			if !c.off[n] {
				return true
			}
		}
		return false
	}
	return bpf.FlowParts{
		State:      on("tcpconnect", "tcpaccept", "tcpconnlat", "tcplife", "tcpstates"),
		Retransmit: on("tcpretrans"),
		Reset:      on("tcpreset"),
		Read:       on("tcprtt", "tcpaccept", "tcplife"),
	}
}

func (c *flowCollector) Start(context.Context) error {
	c.begun, c.err, c.again, c.revived = false, nil, 0, nil
	if c.parts() == (bpf.FlowParts{}) {
		return errSwitchedOff
	}
	if err := c.attach(); err != nil {
		return err
	}
	if err := c.events.open(flowKinds()...); err != nil {
		return errors.Join(err, c.detach())
	}
	c.fed, c.counts = true, [4]bpf.EventCounts{}
	return nil
}

// attach opens the programs; what they count begins at zero.
func (c *flowCollector) attach() error {
	r, err := c.open(c.parts())
	if err != nil {
		return fmt.Errorf("opening the probes of TCP: %w", err)
	}
	c.r, c.begun = r, false
	c.base, c.prev, c.cur = new(bpf.FlowReading), new(bpf.FlowReading), new(bpf.FlowReading)
	c.narrowing = narrowing{peers: true}
	c.silentOpens, c.silentRetrans = 0, 0
	return nil
}

func (c *flowCollector) detach() error {
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}

// Collect reads the maps and takes the events. The first reading is the baseline.
func (c *flowCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kernel, mibErr := c.mib.read(ctx) // before the maps: what happens between is ours, not missing
	c.mibErr = mibErr
	if c.err = c.r.Read(c.cur, now); c.err != nil {
		return nil, c.err
	}
	boot := c.boot()
	if !c.begun {
		*c.base = clonedReading(c.cur)
		c.prev, c.cur = c.cur, c.prev
		c.begun, c.last, c.quietOpens, c.quietRetrans = true, now, now, now
		var first Flow
		c.listen.look(ctx, now, &first.Listen)
		c.err = c.takeEvents(ctx, &first, now, boot)
		return nil, errors.Join(c.err, ErrWarming)
	}
	f := deriveFlow(c.base, c.prev, c.cur, Span{c.last, now}, c.name)
	f.Narrowed = c.narrowed(now)
	f.Listen.Overflows, f.Listen.Drops = kernel[TCPListenOverflows], kernel[TCPListenDrops]
	c.listen.look(ctx, now, &f.Listen)
	if c.err = c.takeEvents(ctx, f, now, boot); c.err != nil {
		return nil, c.err
	}
	f.hide(c.off)
	c.prev, c.cur, c.last = c.cur, c.prev, now
	if err := c.judge(&kernel, f, now); err != nil {
		return nil, err
	}
	return f, nil
}

// clonedReading copies what deriveFlow needs of the first reading; rows have no totals.
func clonedReading(r *bpf.FlowReading) bpf.FlowReading {
	c := *r
	c.Processes, c.Peers = nil, nil
	return c
}

// hide empties what the user does not want of programs that serve more than one probe.
func (f *Flow) hide(off map[string]bool) {
	for name, h := range map[string]int{"tcpconnlat": FlowLatency, "tcplife": FlowLife, "tcprtt": FlowRTT} {
		if off[name] {
			f.Host.Hists[h], f.Total.Hists[h] = [FlowPaths]Hist32{}, [FlowPaths]Hist{}
		}
	}
	if off["tcplife"] {
		f.Ended = FlowEvents{}
	}
	if off["tcpstates"] {
		f.Moves, f.Stayed, f.Left = Flow{}.Moves, Flow{}.Stayed, Flow{}.Left
	}
}

// judge attaches programs again that are silent although the kernel counts what they should see. The
// kernel's counters are of our own namespace, the programs' of all: they can only see more.
func (c *flowCollector) judge(kernel *TCPCounts, f *Flow, now time.Duration) error {
	silent := func(kernelMoved, seen uint64, sum *uint64, since *time.Duration) bool {
		if *sum += kernelMoved; seen > 0 || *sum == 0 {
			*sum, *since = 0, now
		}
		return *sum >= flowEvents && now-*since >= flowQuiet
	}
	errs := c.r.Errs()
	host := &f.Host.Counts
	opens := silent(kernel[TCPActiveOpens]+kernel[TCPPassiveOpens], host[FlowConnects]+host[FlowAccepts], &c.silentOpens, &c.quietOpens)
	again := silent(kernel[TCPRetransSegs], host[FlowRetransmits]+host[FlowRetransmitsFailed], &c.silentRetrans, &c.quietRetrans)
	parts := c.parts()
	opens = opens && parts.State && errs.State == nil
	again = again && parts.Retransmit && errs.Retransmit == nil
	if !opens && !again {
		return nil
	}
	if err := c.detach(); err != nil {
		return fmt.Errorf("closing the probes of TCP: %w", err)
	}
	if c.again == flowRetries {
		c.err = fmt.Errorf("the kernel counts connections and the probes do not see them, though attached %d times", c.again+1)
		return c.err
	}
	c.again++
	c.revived = fmt.Errorf("attached again: silent for %s", flowQuiet)
	if err := c.attach(); err != nil {
		c.err = err
		return err
	}
	return ErrWarming
}

// Pause implements Pauser.
func (c *flowCollector) Pause(on bool) error {
	c.silentOpens, c.silentRetrans = 0, 0
	if c.r == nil {
		return nil
	}
	return c.r.Pause(on)
}

// Narrow implements Narrower: processes, cgroups and peers are counted apart in the kernel.
func (c *flowCollector) Narrow(targets []Target) error {
	if c.r == nil {
		return nil
	}
	filters, err := c.narrowing.filters(targets)
	slots, over := c.r.Narrow(filters)
	c.narrowing.assign(slots)
	return errors.Join(err, over)
}

// narrowed are the targets' counts since the last reading.
func (c *flowCollector) narrowed(now time.Duration) []Targeted[FlowDelta] {
	var out []Targeted[FlowDelta]
	c.narrowing.each(now, func(slot int, t Target, since time.Duration, fresh bool) {
		if !fresh {
			set := flowSetSince(&c.slotBase[slot], &c.cur.Narrowed[slot])
			out = append(out, Targeted[FlowDelta]{Target: t, Since: since, Sample: set.Delta()})
		}
		c.slotBase[slot] = c.cur.Narrowed[slot]
	})
	return out
}

func (c *flowCollector) Close() error {
	c.begun = false
	errs := []error{c.detach(), c.listen.close(), c.owners.close(), c.mib.close()}
	if c.fed {
		errs = append(errs, c.events.close(flowKinds()...))
		c.fed = false
	}
	return errors.Join(errs...)
}
