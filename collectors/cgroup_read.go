// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"time"
)

// How much of a cgroup is read at once.
type cgroupDepth uint8

const (
	glance cgroupDepth = iota // CPU time, and what a limit of its own asks for
	full                      // everything but the next
	detail                    // what the memory holds as well
)

// readCgroup reads n now. It returns errCgroupGone if there is no such cgroup any more. What n has
// not is left out; so is what is not in the kernel's format, which the reader notes.
func (r *cgroupReader) readCgroup(n *cgroupNode, now time.Duration, how cgroupDepth) (cgroupReading, error) {
	c := cgroupReading{at: now}
	keep := how >= full || n.hot
	if err := r.readCPU(n, &c, how); err != nil {
		return c, err
	}
	if how == full && n.still(&c) {
		n.stills++
		same := n.prev
		same.at, same.usage, same.user, same.system = now, c.usage, c.user, c.system
		same.has &^= HasIO
		r.readIO(n, &same) // what it wrote is written back without it
		return same, nil
	}
	n.stills = 0
	limited := n.own.Max != NoLimit || n.own.High != NoLimit
	if how >= full || limited {
		r.readMemory(n, &c, keep)
	}
	if how >= full || limited && nearLimit(n.own, c.memory) {
		r.readStalls(n, &c, keep)
	}
	if how >= full {
		r.readIO(n, &c)
	}
	// Threads that only sleep fill pids.max as well, and who is refused one may do nothing else.
	if how >= full || n.own.Pids != NoLimit {
		r.readPids(n, &c, keep)
	}
	if how >= detail || limited && nearLimit(n.own, c.memory) {
		if b, v1, err := r.read(n, slotStat, keep); err == nil {
			if c.mem, err = parseMemStat(b, v1); r.ok(slotStat, err) {
				c.has |= HasDetail
			}
		}
	}
	if how >= detail {
		r.readDetailLimits(n, &c)
	}
	return c, nil
}

// readDetailLimits reads the limits that only the page of a cgroup shows.
func (r *cgroupReader) readDetailLimits(n *cgroupNode, c *cgroupReading) {
	if b, _, err := r.read(n, slotIOMax, false); err == nil {
		c.ioMax, err = parseIOMax(b)
		r.ok(slotIOMax, err)
	}
	for s := slotReadBytes; s <= slotWrites; s++ {
		if b, _, err := r.read(n, s, false); err == nil {
			var all []CgroupIOLimit
			if all, err = parseThrottle(b, s, c.ioMax); r.ok(s, err) {
				c.ioMax = all
			}
		}
	}
	if b, _, err := r.read(n, slotSoft, false); err == nil {
		var soft uint64
		if soft, err = parseLimit(b); r.ok(slotSoft, err) && soft != NoLimit {
			c.soft = soft
		}
	}
}

// stillFor is at how many ticks in a row a cgroup in which nothing runs is taken as it was.
const stillFor = 4

// still says that nothing ran in n since it was read in full, and that it waited for nothing then:
// so nothing but its I/O can have changed, except memory that was taken from it.
func (n *cgroupNode) still(c *cgroupReading) bool {
	return n.quiet && n.stills < stillFor && c.has&HasUsage != 0 && c.usage == n.prev.usage && n.prev.has&c.has == c.has
}

// nearLimit says whether memory is within a tenth of a limit.
func nearLimit(l CgroupLimits, memory uint64) bool {
	limit := min(l.High, l.Max)
	return limit != NoLimit && memory >= limit-limit/10
}

// ok notes what a parser says of a file.
func (r *cgroupReader) ok(s cgroupSlot, err error) bool {
	if err != nil {
		r.failed[s] = err
	}
	return err == nil
}

func (r *cgroupReader) readCPU(n *cgroupNode, c *cgroupReading, how cgroupDepth) error {
	b, v1, err := r.read(n, slotCPU, true)
	switch {
	case errors.Is(err, errCgroupGone):
		return err
	case err != nil:
	case v1:
		if c.usage, err = parseCount(b); r.ok(slotCPU, err) {
			c.has |= HasUsage
		}
	default:
		if cpu, err := parseCgroupCPU(b); r.ok(slotCPU, err) {
			r.tookCPU(c, cpu)
		}
	}
	if c.has&HasThrottle == 0 && (how >= full || n.own.CPUs > 0) {
		if b, _, err := r.read(n, slotThrottle, true); err == nil {
			if cpu, err := parseCgroupCPU(b); r.ok(slotThrottle, err) {
				r.tookCPU(c, cpu)
			}
		}
	}
	if c.has&HasSplit == 0 && how >= full {
		if b, _, err := r.read(n, slotSplit, true); err == nil {
			if c.user, c.system, err = parseCPUAcctStat(b); r.ok(slotSplit, err) {
				c.has |= HasSplit
			}
		}
	}
	return nil
}

func (r *cgroupReader) tookCPU(c *cgroupReading, cpu cgroupCPU) {
	if cpu.hasUsage {
		c.usage, c.user, c.system = cpu.Usage, cpu.User, cpu.System
		c.has |= HasUsage | HasSplit
	}
	if cpu.hasPeriods {
		c.periods, c.throttled, c.throttledNs = cpu.Periods, cpu.Throttled, cpu.ThrottledNs
		c.has |= HasThrottle
	}
}

func (r *cgroupReader) readMemory(n *cgroupNode, c *cgroupReading, keep bool) {
	b, _, err := r.read(n, slotMemory, keep)
	if err == nil {
		if c.memory, err = parseCount(b); r.ok(slotMemory, err) {
			c.has |= HasMemory
		}
	}
	if b, v1, err := r.read(n, slotSwap, keep); err == nil {
		if c.swap, err = parseCount(b); r.ok(slotSwap, err) {
			if v1 { // there it is memory and swap together
				c.swap = since(c.memory, c.swap)
			}
			c.has |= HasSwap
		}
	}
	b, v1, err := r.read(n, slotEvents, keep)
	if err != nil {
		return
	}
	if c.events, err = parseMemEvents(b); !r.ok(slotEvents, err) {
		return
	}
	c.has |= HasEvents
	if !v1 {
		c.has |= HasHigh
		return
	}
	if b, _, err := r.read(n, slotFail, keep); err == nil {
		c.events.Max, err = parseCount(b)
		r.ok(slotFail, err)
	}
}

func (r *cgroupReader) readStalls(n *cgroupNode, c *cgroupReading, keep bool) {
	for i := range c.psi {
		s := slotPSICPU + cgroupSlot(i)
		b, _, err := r.read(n, s, keep)
		if err != nil {
			return
		}
		if c.psi[i], err = parseStalls(b); !r.ok(s, err) {
			return
		}
	}
	c.has |= HasPSI
}

func (r *cgroupReader) readIO(n *cgroupNode, c *cgroupReading) {
	b, v1, err := r.read(n, slotIO, true)
	if err != nil {
		return
	}
	if !v1 {
		if c.io, err = parseIOStat(b, r.skip); r.ok(slotIO, err) {
			c.has |= HasIO
		}
		return
	}
	var counts bool
	if c.io.RBytes, c.io.WBytes, counts, err = parseBlkio(b, r.skip); !r.ok(slotIO, err) || !counts && !r.counting() {
		return
	}
	if b, _, err = r.read(n, slotIOs, true); err != nil {
		return
	}
	if c.io.RIOs, c.io.WIOs, _, err = parseBlkio(b, r.skip); r.ok(slotIOs, err) {
		c.has |= HasIO
	}
}

// counting says whether the kernel counts the I/O of cgroups of v1: then it has counted some of the
// root's. Since a3166c51702b ("blk-throttle: delay initialization until configuration", 6.10) it does
// so only for disks that somebody has given a limit.
func (r *cgroupReader) counting() bool {
	if r.idleIO = !r.countsIO; r.idleIO && r.tree.root != nil {
		if b, v1, err := r.read(r.tree.root, slotIO, true); err == nil && v1 {
			_, _, r.countsIO, _ = parseBlkio(b, nil)
			r.idleIO = !r.countsIO
		}
	}
	return r.countsIO
}

func (r *cgroupReader) readPids(n *cgroupNode, c *cgroupReading, keep bool) {
	if b, _, err := r.read(n, slotPids, keep); err == nil {
		if c.pids, err = parseCount(b); r.ok(slotPids, err) {
			c.has |= HasPids
		}
	}
	if b, _, err := r.read(n, slotDenied, keep); err == nil {
		var e memEvents // "max 3": forks refused
		if e, err = parseMemEvents(b); r.ok(slotDenied, err) {
			c.denied = e.Max
			c.has |= HasDenied
		}
	}
}

// readLimits reads what bounds n. Files that were not there are looked for again if anew says so:
// a controller may have been turned on.
func (r *cgroupReader) readLimits(n *cgroupNode, keep, anew bool) error {
	for s := range n.slots {
		n.slots[s].none = n.slots[s].none && !anew
	}
	own := unlimited()
	n.period = 0
	b, v1, err := r.read(n, slotQuota, keep)
	switch {
	case errors.Is(err, errCgroupGone):
		return err
	case err != nil:
	default:
		var quota, period uint64
		if v1 {
			if quota, err = parseQuotaV1(b); r.ok(slotQuota, err) {
				if b, _, err = r.read(n, slotPeriod, keep); err == nil {
					period, err = parseCount(b)
					r.ok(slotPeriod, err)
				}
			}
		} else {
			quota, period, err = parseCPUMax(b)
			r.ok(slotQuota, err)
		}
		if period > 0 && period <= maxPeriod {
			n.period = time.Duration(period) * time.Microsecond
			own.CPUs = float64(quota) / float64(period)
		}
	}
	n.weight = 0
	if b, _, err := r.read(n, slotWeight, keep); err == nil {
		w, err := parseCount(b)
		if r.ok(slotWeight, err) {
			n.weight = uint32(min(w, 1<<32-1))
		}
	}
	for s, to := range map[cgroupSlot]*uint64{slotHigh: &own.High, slotMax: &own.Max, slotSwapMax: &own.Swap, slotPidsMax: &own.Pids} {
		b, v1, err := r.read(n, s, keep)
		if err != nil {
			continue
		}
		limit, err := parseLimit(b)
		if !r.ok(s, err) {
			continue
		}
		if s == slotSwapMax && v1 && limit != NoLimit {
			continue // of memory and swap together; Max is said already
		}
		*to = limit
	}
	n.empty, n.frozen = false, false
	if b, _, err := r.read(n, slotState, keep); err == nil {
		n.empty, n.frozen = parseCgroupState(b)
	}
	n.own, n.limits = own, true
	return nil
}
