// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// How often a cgroup is read in which nothing happens, and what bounds it.
const (
	cgroupRest   = 8 * time.Second
	limitsRest   = time.Minute      // while nobody looks
	limitsWatch  = 10 * time.Second // while somebody does, and of busy ones
	looksPerTick = 64               // directories compared at a tick, one after the other
)

// busyShare is the share of one CPU from which a cgroup is read at every tick.
const busyShare = 0.02

type cgroupCollector struct {
	tree   cgroupTree
	reader *cgroupReader

	watch  bool            // somebody looks at all of them
	look   map[uint64]bool // somebody looks at these
	begun  bool
	last   time.Duration // end of the last span
	cursor int           // of tree.order: where reading goes on
	offers [cgroupSlots]bool
	looked bool  // some cgroup was read in full
	err    error // of the last Collect

	tell   func(bpf.Cgroups) error // the kernel's filters which cgroups there are; nil without them
	told   uint64                  // tree.changes then
	untold error                   // why some of it could not be told
}

// NewCgroups returns the collector of Cgroups. It needs no privilege. Tell may be nil: it hands the kernel's
// filters which cgroups there are, whenever that has changed.
func NewCgroups(fs FS, tell func(bpf.Cgroups) error) Collector {
	c := &cgroupCollector{tree: cgroupTree{fs: fs}, tell: tell}
	c.reader = newCgroupReader(&c.tree)
	c.tree.drop = c.reader.drop
	return c
}

// Meta implements Collector. The first round reads a few files of every cgroup there is.
func (c *cgroupCollector) Meta() Meta { return Meta{ID: CgroupsID, Slow: true} }

// Start finds the hierarchies and walks them.
func (c *cgroupCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.cursor, c.watch, c.look = false, nil, 0, false, nil
	if err := c.tree.open(ctx); err != nil {
		return fmt.Errorf("looking for cgroups: %w", err)
	}
	c.looked, c.offers = false, c.tree.offers()
	return nil
}

// Narrow implements Narrower. A target without a cgroup is a look at all of them: then every
// cgroup is read in full at every tick. Of a single one its memory is taken apart.
func (c *cgroupCollector) Narrow(targets []Target) error {
	c.watch, c.look = false, nil
	for _, t := range targets {
		switch {
		case t.Kind != CgroupTarget:
		case t.Cgroup == 0:
			c.watch = true
		default:
			if c.look == nil {
				c.look = map[uint64]bool{}
			}
			c.look[t.Cgroup] = true
		}
	}
	return nil
}

// Collect reads the cgroups that are due: all while somebody looks, else those in which something
// happens, and of the rest some, in turn.
func (c *cgroupCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	looks, most := looksPerTick, idleCgroupReads
	if c.watch {
		looks, most = MaxCgroupReads, MaxCgroupReads
	}
	if c.begun {
		c.tree.refresh(looks)
	} else {
		c.last, most = now, MaxCgroupReads
	}
	c.follow()
	s := &Cgroups{Span: Span{c.last, now}, Version: c.tree.mounts.version(), Gone: c.tree.removed, Omitted: c.tree.omitted}
	order := c.tree.order
	if c.cursor >= len(order) {
		c.cursor = 0
	}
	next := -1
	for i := range order {
		n := order[(c.cursor+i)%len(order)]
		how, due := c.plan(n, now)
		if !due {
			continue
		}
		if len(s.Rows) >= most {
			if next < 0 {
				next = (c.cursor + i) % len(order)
			}
			if !n.hot && !c.looksAt(n) {
				continue
			}
		}
		if err := ctx.Err(); err != nil {
			c.err = err
			return nil, err
		}
		if row, ok := c.visit(n, now, how); ok {
			s.Rows = append(s.Rows, row)
		}
	}
	c.cursor = max(next, 0)
	c.sum(s, now)
	c.begun, c.last, c.err = true, now, nil
	return s, nil
}

// plan says whether a cgroup is due, and how much of it is read.
func (c *cgroupCollector) plan(n *cgroupNode, now time.Duration) (how cgroupDepth, due bool) {
	switch {
	case c.looksAt(n):
		return detail, true
	case c.watch || n.hot:
		return full, true
	}
	// Ticks are not exact: what is due within half a second is due now.
	return glance, !n.begun || now+500*time.Millisecond >= n.due
}

// looksAt says whether somebody looks at this one.
func (c *cgroupCollector) looksAt(n *cgroupNode) bool {
	if len(c.look) == 0 {
		return false
	}
	id, _ := c.tree.id(n)
	return c.look[id]
}

// visit reads one cgroup; false if it is gone.
func (c *cgroupCollector) visit(n *cgroupNode, now time.Duration, how cgroupDepth) (CgroupRow, bool) {
	rest := limitsRest
	if how >= full {
		rest = limitsWatch
	}
	if !n.limits || now-n.limitsAt >= rest {
		// After the first time in turn, not all at one tick.
		turn := time.Duration(n.ino%64) * limitsRest / 64
		anew := !n.limits || now-n.anewAt >= limitsRest
		if n.limitsAt = now; !n.limits {
			n.limitsAt, n.anewAt = now-turn%rest, now-turn
		} else if anew {
			n.anewAt = now
		}
		if c.reader.readLimits(n, how >= full, anew) != nil {
			return CgroupRow{}, false
		}
	}
	c.looked = c.looked || how >= full
	if how == glance && !n.hot {
		c.reader.dropFrom(n, slotCPU+1)
	}
	cur, err := c.reader.readCgroup(n, now, how)
	if err != nil || cur.has == 0 {
		return CgroupRow{}, false
	}
	c.inform(n)
	var prev *cgroupReading
	if n.begun {
		prev = &n.prev
	}
	row := deriveCgroup(n.info, prev, &cur)
	c.pace(n, &row, now)
	n.quiet = how >= full && row.Seconds() > 0 && row.Throttled == 0 && row.ThrottledFor == 0 && (row.PSI == nil || *row.PSI == CgroupPSI{})
	n.prev, n.begun = cur, true
	return row, true
}

// pace says when a cgroup is read next: at every tick while something happens, then less and less
// often.
func (c *cgroupCollector) pace(n *cgroupNode, row *CgroupRow, now time.Duration) {
	s := row.Seconds()
	e := row.Events
	n.hot = n.depth > 0 && s > 0 && (row.Usage.Seconds() >= busyShare*s || row.Throttled > 0 || e.High+e.Max+e.OOM+e.OOMKill > 0)
	switch {
	case n.hot || row.Usage > 0 && n.wait == 0:
		n.wait = time.Second
	case s > 0:
		n.wait = min(max(2*n.wait, time.Second), cgroupRest)
	}
	n.due = now + n.wait
}

// inform makes n's info anew if it is not true any more.
func (c *cgroupCollector) inform(n *cgroupNode) {
	info := CgroupInfo{
		Depth: n.depth, Leaf: len(n.children) == 0 && n.depth > 0, Empty: n.empty, Frozen: n.frozen,
		Weight: n.weight, Period: n.period, Own: n.own, Tight: unlimited(),
	}
	info.ID, info.V2 = c.tree.id(n)
	for a := n; a != nil; a = a.parent {
		if a.limits {
			tighten(&info.Tight, &info.Owner, a.own, a.depth)
		}
	}
	if n.info != nil {
		info.Path, info.Name = n.info.Path, n.info.Name
		if *n.info == info {
			return
		}
	} else {
		info.Path, info.Name = RawString(n.path), RawString(containerName(n.path))
	}
	n.info = &info
}

// sum counts what is known.
func (c *cgroupCollector) sum(s *Cgroups, now time.Duration) {
	s.Count = len(c.tree.order) - 1
	for _, n := range c.tree.order {
		if n.depth == 0 {
			continue
		}
		if len(n.children) == 0 {
			s.Leaves++
		}
		if n.own.CPUs > 0 || n.limits && (n.own.High != NoLimit || n.own.Max != NoLimit) {
			s.Limited++
		}
		if n.begun {
			s.Oldest = max(s.Oldest, now-n.prev.at)
		}
	}
}

// Close implements Collector.
func (c *cgroupCollector) Close() error {
	for _, n := range c.tree.order {
		c.reader.drop(n)
	}
	c.tree.order, c.tree.root, c.begun = nil, nil, false
	c.tree.next, c.tree.stale = 0, false
	err := c.tree.watch.close()
	c.reader.countsIO, c.reader.idleIO = false, false
	c.reader.seen, c.reader.seenV1, c.reader.failed = [cgroupSlots]bool{}, [cgroupSlots]bool{}, [cgroupSlots]error{}
	return err
}

// majorLoop is the major number of loop devices: their I/O is that of the file's disk again.
const majorLoop = 7

// stacked says whether a device hands its I/O to others that count it too: dm, md and loop.
func (r *cgroupReader) stacked(major, minor uint32) bool {
	if major == majorLoop {
		return true
	}
	dev := unix.Mkdev(major, minor)
	if is, ok := r.devices[dev]; ok {
		return is
	}
	below, err := os.ReadDir(r.tree.fs.beside("/sys/dev/block/" + strconv.Itoa(int(major)) + ":" + strconv.Itoa(int(minor)) + "/slaves"))
	is := err == nil && len(below) > 0
	if r.devices == nil || len(r.devices) >= 4096 {
		r.devices = map[uint64]bool{}
	}
	r.devices[dev] = is
	return is
}
