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

// readEvents takes the requests that were listed: the slowest of the span, and stalls for good.
func (c *blockCollector) readEvents(s *Block, now time.Duration) error {
	boot := c.boot()
	var list, stalls []BlockIO
	var bad error
	for i, kind := range [...]bpf.EventKind{bpf.EventBlock, bpf.EventBlockStall} {
		into := &list
		if kind == bpf.EventBlockStall {
			into = &stalls
		}
		counts, err := c.feed.take(kind, func(record []byte) {
			e, err := c.r.Event(record)
			if err != nil {
				bad = err
				return
			}
			*into = append(*into, blockIO(&e, eventTime(e.At, boot, now)))
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		before := c.events[i]
		c.events[i] = counts
		more := counts.Unlisted - before.Unlisted + counts.Lost - before.Lost
		s.Unlisted += more
		c.lost += counts.Lost - before.Lost
		if kind == bpf.EventBlockStall && (len(stalls) > 0 || more > 0) {
			c.stalls = c.stalls.with(stalls, more)
		}
	}
	list = append(list, stalls...)
	c.listed += uint64(len(list))
	sortStably(list, func(a, b BlockIO) int { return cmp.Compare(b.Total, a.Total) })
	if len(list) > maxSlowIO {
		s.Unlisted += uint64(len(list) - maxSlowIO)
		list = list[:maxSlowIO]
	}
	s.Slow = slices.Clone(list)
	return nil
}

// with returns b with new stalls, of which more are known by number only. b is not written.
func (b *BlockStalls) with(list []BlockIO, more uint64) *BlockStalls {
	next := &BlockStalls{Count: b.Count + uint64(len(list)) + more, Unlisted: b.Unlisted + more}
	next.List = append(slices.Clone(b.List), list...)
	if cut := len(next.List) - maxBlockStalls; cut > 0 {
		next.Unlisted += uint64(cut)
		next.List = slices.Clone(next.List[cut:])
	}
	return next
}

func blockIO(e *bpf.BlockEvent, at time.Duration) BlockIO {
	x := BlockIO{At: at, Total: e.Total, Queued: e.Queued, Device: e.Device, Errno: int32(e.Errno)}
	x.request(&e.BlockRequest)
	x.Sync = e.Class == bpf.ReadSync || e.Class == bpf.WriteSync
	if e.Flush {
		x.Op, x.Sync = OpFlush, true
	}
	return x
}

func (x *BlockIO) request(r *bpf.BlockRequest) {
	x.Dev, x.Sector, x.Bytes = DevID(r.Dev), r.Sector, r.Bytes
	x.Process, x.Cgroup, x.Kernel = Process{r.TGID, r.Start}, r.Cgroup, r.Kernel
	x.Comm = rawText(r.Comm[:])
	switch r.Op {
	case bpf.OpRead:
		x.Op = OpRead
	case bpf.OpWrite, bpf.OpZoneAppend, bpf.OpWriteZeroes:
		x.Op = OpWrite
	case bpf.OpFlush:
		x.Op = OpFlush
	case bpf.OpDiscard, bpf.OpErase:
		x.Op = OpDiscard
	default:
		x.Op = OpOther
	}
}

// readFlights lists what hangs. A request whose end no program was shown looks as if it did, until the
// kernel uses its place again. Where requests cannot be asked themselves, only those count whose disk has
// some in flight by the kernel's own count: that one leaves out what was not issued yet, but of two wrongs
// a hang that is none is the worse.
func (c *blockCollector) readFlights(s *Block, now time.Duration, inFlight map[DevID]uint32) error {
	flights, err := c.r.InFlight(now, hungTime, c.flights[:0])
	c.flights = flights
	if err != nil {
		return err
	}
	certain := c.r.Certain()
	for i := range flights {
		f := &flights[i]
		if !certain && inFlight[DevID(f.Dev)] == 0 {
			continue
		}
		x := BlockIO{At: now, Total: f.Age, Queued: -1, Device: -1}
		x.request(&f.BlockRequest)
		if x.Op == OpWrite && x.Bytes == 0 {
			x.Op = OpFlush
		}
		x.Sync = x.Op == OpRead || x.Op == OpFlush
		s.Hung = append(s.Hung, x)
	}
	sortStably(s.Hung, func(a, b BlockIO) int { return cmp.Compare(b.Total, a.Total) })
	if len(s.Hung) > maxHungIO {
		s.Unlisted += uint64(len(s.Hung) - maxHungIO)
		s.Hung = slices.Clone(s.Hung[:maxHungIO])
	}
	return nil
}

// readKernel is the kernel's own count of requests that ended, and what is in flight.
func (c *blockCollector) readKernel(ctx context.Context) (ended map[DevID]uint64, inFlight map[DevID]uint32, err error) {
	lines, err := c.stats(ctx)
	if err != nil {
		return nil, nil, err
	}
	ended, inFlight = make(map[DevID]uint64, len(lines)), make(map[DevID]uint32)
	for i := range lines {
		l := &lines[i]
		ended[l.Dev] = l.Read.IOs + l.Write.IOs + l.Discard.IOs
		if l.InFlight > 0 {
			inFlight[l.Dev] = l.InFlight
		}
	}
	return ended, inFlight, nil
}

// retune moves the threshold from which on requests are listed, so that the next span would list about
// maxSlowIO: all of them on a disk that does little. A request that took 2T in all took T in the queue or
// on the device.
func (c *blockCollector) retune(s *Block) error {
	var sum Hist
	for i := range s.Rows {
		device, queued := s.Rows[i].Device.Hist(), s.Rows[i].Queued.Hist()
		sum.Plus(&device)
		sum.Plus(&queued)
	}
	slow := slowFrom(&sum, uint64(maxSlowIO*max(s.Seconds(), 0.1)))
	if slow == c.slow {
		return nil
	}
	if err := c.r.SetSlow(slow); err != nil {
		return err
	}
	c.slow = slow
	return nil
}

// slowFrom is the least threshold that at most n requests of those in h reach. h holds each twice.
func slowFrom(h *Hist, n uint64) time.Duration {
	if h.Count() <= 2*n {
		return 0
	}
	var above uint64
	for i := HistSlots - 1; i > 0; i-- {
		if above += h.Slots[i]; above > n {
			return min(2*time.Duration(SlotBucket(i).Hi+1)*time.Microsecond, stallTime)
		}
	}
	return 0
}

// judge attaches programs again that are silent while the kernel counts requests of devices that have
// them, and gives up in the end.
func (c *blockCollector) judge(s *Block, kernel map[DevID]uint64, now time.Duration) error {
	var moved uint64
	for dev, n := range kernel {
		was, known := c.kernel[dev]
		if d := grown(was, n); known && d > 0 && c.requests(dev) {
			moved += d
		}
	}
	if len(s.Rows) > 0 || moved == 0 {
		c.moved, c.kernel = now, kernel
		return nil
	}
	if now-c.moved < blockQuiet {
		return nil
	}
	if err := errors.Join(c.r.Close()); err != nil {
		return fmt.Errorf("closing the probes of block I/O: %w", err)
	}
	c.r = nil
	if c.again == blockRetries {
		err := fmt.Errorf("disks end requests and the probe does not see it, though attached %d times", c.again+1)
		return errors.Join(err, c.feed.close(bpf.EventBlock, bpf.EventBlockStall))
	}
	if err := c.attach(); err != nil {
		return errors.Join(err, c.feed.close(bpf.EventBlock, bpf.EventBlockStall))
	}
	c.again++
	c.use = fmt.Errorf("attached again: silent for %s", now-c.moved)
	return ErrWarming
}

// requests says whether a device is made of requests: partitions and bio-based devices are not.
func (c *blockCollector) requests(dev DevID) bool {
	yes, known := c.direct[dev]
	if !known {
		yes = c.mq(dev)
		c.direct[dev] = yes
	}
	return yes
}

// Probes implements Collector: the rows share the programs, and biolatency carries their cost.
func (c *blockCollector) Probes() []Probe {
	rows := make([]Probe, 0, 4)
	costed := false
	for _, name := range blockProbes() {
		p := Probe{Name: name, State: Off, Hook: "tp_btf block_rq_complete, block_io_start"} // why is the runner's to say
		switch {
		case c.off[name]:
			p.Reason = switchedOff
		case c.r != nil:
			c.started(&p)
			if !costed { // if biolatency is switched off, the next carries it
				p.NsPerEvent, costed = bpf.CostBlock, true
			}
		case c.err != nil:
			p.State, p.Reason = Failed, clean(c.err.Error())
		}
		rows = append(rows, p)
	}
	return rows
}

// started fills a row of an open facade.
func (c *blockCollector) started(p *Probe) {
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Hook, p.Events, p.Lost = c.r.Hook(), c.ended, c.lost
	if p.State != On {
		return
	}
	why := c.use
	switch p.Name {
	case "biolatency":
		why = cmp.Or(why, c.r.StampErr(), c.r.RequeuesErr())
	case "biosnoop":
		p.Events = c.listed
		why = cmp.Or(why, c.r.OwnersErr())
	case "biotop":
		if err := c.r.OwnersErr(); err != nil {
			p.State = Off
			p.explain(err)
			return
		}
	}
	if why != nil {
		p.State = Degraded
		p.explain(why)
	}
}
