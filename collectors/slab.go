// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SlabID is the collector of /proc/slabinfo, which slabtop shows.
const SlabID ID = "slab"

// Slab is /proc/slabinfo. In the first sample, whose span is empty, nothing has grown.
type Slab struct {
	Span
	Caches []SlabCache // in the kernel's order; those without a slab now and before are left out
	Total  SlabTotal   // of all caches
}

// SlabCache is one cache of kernel objects. The kernel may give caches of like objects one common
// cache, under the name of one of them.
type SlabCache struct {
	Name    Raw
	ObjSize uint32 // bytes, with what the allocator adds
	PerSlab uint32 // objects a slab has room for
	Pages   uint32 // pages a slab takes

	Objects uint64 // that there is room for: OBJS
	Active  uint64 // of them in use; SLUB counts the free ones of slabs that a CPU works on as in use
	Slabs   uint64
	Bytes   uint64 // Slabs times the size of a slab

	Grown       int64 // bytes, delta of Bytes; negative when it shrank
	GrownActive int64 // objects, delta of Active
}

// SlabTotal is what slabtop prints above its table.
type SlabTotal struct {
	Caches, ActiveCaches int // all, and those that hold slabs
	Objects, Active      uint64
	Slabs, ActiveSlabs   uint64
	Bytes, ActiveBytes   uint64
	Grown                int64 // bytes, delta of Bytes
}

func (s *Slab) put(snap *Snapshot) { snap.Slab = s }

// size counts what the sample holds alone; the names are shared by all samples.
func (s *Slab) size() int { return allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Caches) }

// withoutRows returns a copy that keeps the totals.
func (s *Slab) withoutRows() *Slab {
	c := *s
	c.Caches = nil
	return &c
}

// Reading /proc/slabinfo makes the kernel walk its lists of half-filled slabs under their locks,
// with interrupts off (count_partial, mm/slub.c; up to 10,000 slabs a list since 6.10, all before).
// Who allocates meanwhile waits.
const (
	slabEvery    = 10 * time.Second
	slabEarly    = time.Second / 2      // that a tick may come before its time
	slabTooDear  = 5 * time.Millisecond // of a CPU: after this it is read no more, as long as we run
	maxSlabCache = 1 << 14
)

type slabCollector struct {
	fs       FS
	file     *procFile
	cost     func(read func()) time.Duration
	pageSize uint64

	lines []slabLine    // of the last reading, also when nobody looked since
	read  time.Duration // when that was
	prev  map[string]slabPrev
	round uint64 // of readings
	total SlabTotal

	spent      time.Duration // CPU time of the last reading
	next, last time.Duration // when to read again at the earliest, whoever looks; end of the last span
	begun      bool
	err        error
}

// slabPrev is a cache at the last reading.
type slabPrev struct {
	name          string // one copy for all samples
	active, bytes uint64
	round         uint64
}

// NewSlab returns the collector of Slab. It is wanted while somebody looks, and needs root.
func NewSlab(fs FS) Collector {
	return &slabCollector{fs: fs, file: fs.file("slabinfo"), cost: threadTime, pageSize: uint64(os.Getpagesize())}
}

func (c *slabCollector) Meta() Meta {
	return Meta{ID: SlabID, Interval: slabEvery, OnDemand: true}
}

// Start opens the file, to say at once that it may not be read. What a reading cost, and when it was, holds on.
func (c *slabCollector) Start(ctx context.Context) error {
	c.prev, c.begun, c.err = map[string]slabPrev{}, false, nil
	f, err := os.Open(c.fs.path("slabinfo"))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &NeedError{Need: "the right to read /proc/slabinfo", Remedy: "run as root", Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &NeedError{Need: "/proc/slabinfo", Remedy: "run outside the container, on a kernel with CONFIG_SLUB_DEBUG", Err: err}
	case err != nil:
		return fmt.Errorf("opening /proc/slabinfo: %w", err)
	}
	return errors.Join(f.Close(), ctx.Err())
}

// tooDear says that the last reading has cost too much for another one.
func (c *slabCollector) tooDear() bool { return c.spent > slabTooDear }

// Collect reads the file when it is time. To who looks again before that it gives the last reading.
func (c *slabCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	first := !c.begun
	if c.tooDear() || now < c.next {
		if !first || len(c.lines) == 0 {
			return nil, ErrWarming
		}
		return c.sample(true), nil
	}
	var b []byte
	var err error
	c.spent = c.cost(func() { b, err = c.file.read(ctx) })
	c.next = now + slabEvery - slabEarly
	if err == nil && len(b) == 0 {
		err = errMasked
	}
	if err == nil {
		c.lines, err = parseSlabinfo(b, c.lines[:0])
	}
	if err != nil {
		c.lines = c.lines[:0]
		c.err = fmt.Errorf("reading /proc/slabinfo: %w", err)
		return nil, c.err
	}
	c.err, c.read = nil, now
	return c.sample(first), nil
}

// sample is the last reading; the first one has nothing to subtract.
func (c *slabCollector) sample(first bool) *Slab {
	if first {
		c.last, c.begun, c.round = c.read, true, 0
	}
	s := &Slab{Span: Span{c.last, c.read}}
	c.last = c.read
	c.derive(s, first)
	return s
}

// derive fills the sample from the lines and makes them the ones to subtract next time. A cache
// that the last reading lacked was made since, so all of it is growth. It does not count a cache
// that has gone but in the total.
func (c *slabCollector) derive(s *Slab, first bool) {
	c.round++
	held := 0
	for i := range c.lines {
		if c.lines[i].slabs > 0 {
			held++
		}
	}
	s.Caches = make([]SlabCache, 0, held)
	for i := range c.lines {
		l := &c.lines[i]
		was, ok := c.prev[string(l.name)]
		if !ok {
			was.name = string(l.name)
		}
		row := SlabCache{
			Name: Raw{was.name}, ObjSize: l.objSize, PerSlab: l.perSlab, Pages: l.pages,
			Objects: l.objects, Active: l.active, Slabs: l.slabs, Bytes: l.bytes(c.pageSize),
		}
		if !first {
			row.Grown, row.GrownActive = int64(row.Bytes-was.bytes), int64(row.Active-was.active)
		}
		c.prev[was.name] = slabPrev{was.name, row.Active, row.Bytes, c.round}
		t := &s.Total
		t.Caches++
		t.Objects += row.Objects
		t.Active += row.Active
		t.Slabs += row.Slabs
		t.ActiveSlabs += l.activeSlabs
		t.Bytes += row.Bytes
		t.ActiveBytes += row.Active * uint64(row.ObjSize)
		if row.Slabs > 0 {
			t.ActiveCaches++
		}
		if row.Slabs > 0 || row.Grown != 0 {
			s.Caches = append(s.Caches, row)
		}
	}
	if !first {
		s.Total.Grown = int64(s.Total.Bytes - c.total.Bytes)
	}
	c.total = s.Total
	if len(c.prev) > len(c.lines) { // some have gone
		for name, p := range c.prev {
			if p.round != c.round {
				delete(c.prev, name)
			}
		}
	}
}

func (c *slabCollector) Probes() []Probe {
	p := Probe{Name: "slabtop", State: Idle, Hook: "/proc/slabinfo", Reason: "reads while somebody looks"}
	switch {
	case c.err != nil:
		p.State, p.Reason = Failed, clean(c.err.Error())
	case c.tooDear():
		p.State = Off
		p.Reason = fmt.Sprintf("one reading took %.1f ms of a CPU with the kernel's lists locked", c.spent.Seconds()*1000)
		p.Remedy = "look once with slabtop -o"
	case !c.begun:
	default:
		p.State, p.Reason = On, ""
	}
	return []Probe{p}
}

func (c *slabCollector) Close() error {
	c.begun, c.prev = false, nil
	return c.file.close()
}

// threadTime is the CPU time that read takes. The time on the wall would count waiting for a CPU,
// of which a host in trouble has plenty.
func threadTime(read func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var from, to unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &from) != nil {
		from = unix.Timespec{}
	}
	read()
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &to) != nil {
		return 0
	}
	return time.Duration(to.Nano() - from.Nano())
}
