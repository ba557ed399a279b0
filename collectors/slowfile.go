// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// SlowFilesID is the on-demand collector of slow calls on files.
const SlowFilesID ID = "slowfiles"

// SlowFiles are the calls on files that returned over the span and had taken 10 ms and more: reads,
// writes, fsync, opens, readdir, stat, rename, unlink and their kin, of regular files and directories on
// every file system. What a page fault waits for is not seen. By fentry (the probe's hook says so) neither
// are calls on paths (stat, rename, unlink), and by system calls not what io_uring does.
type SlowFiles struct {
	Span
	Partial  bool // only targets were looked at
	N        uint64
	Events   []SlowFile // oldest first, the newest 200
	Unlisted uint64     // without one
	Lost     uint64     // of those: the ring was full
}

// SlowFile is one slow call.
type SlowFile struct {
	At      time.Duration // when it returned, on the run's clock
	Process Process
	TID     int32
	Comm    Raw
	Cgroup  uint64
	Call    string // "pread64"; by fentry "read" for all that reads
	Took    time.Duration
	Ret     int64  // bytes, a descriptor, or the errno below 0
	Asked   uint64 // bytes asked for; 0: the call names none
	Offset  int64  // in the file, bytes; −1: none
	Path    Raw    // the last four names of the file's path, or the path as it was given
	Given   bool   // the latter: the call names a path, and the file behind it is not known
	FS      string // "ext4"; empty if the file is not known
	Dev     DevID  // 0 if the file is not known
	Inode   uint64
}

func (s *SlowFiles) put(snap *Snapshot) { snap.SlowFiles = s }

func (s *SlowFiles) rare() bool { return len(s.Events) > 0 }

func (s *SlowFiles) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Events)
	for i := range s.Events {
		e := &s.Events[i]
		n += allocSize(uintptr(len(e.Comm.s))) + allocSize(uintptr(len(e.Path.s)))
	}
	return n
}

func (s *SlowFiles) withoutRows() *SlowFiles {
	c := *s
	c.Events = nil
	return &c
}

// slowFileReader is what the collector needs of bpf.SlowFiles.
type slowFileReader interface {
	Hooks() string
	Narrow(targets []bpf.Filter, only bool) (bpf.Slots, error)
	Read() (bpf.SlowFileCounts, error)
	Pause(on bool) error
	Close() error
}

// slowFileCollector looks at the file systems' functions where the kernel allows it, and at system calls
// elsewhere: that part is then in use.
type slowFileCollector struct {
	syscallPart
	open    func() (slowFileReader, error)
	direct  slowFileReader // nil: system calls
	events  feed
	boot    func() int64 // boot time, ns
	namer   callNamer
	fed     bool
	before  bpf.SlowFileCounts // Slow alone of system calls
	counts  bpf.EventCounts
	targets callTargets
}

// NewSlowFiles returns the collector of SlowFiles.
func NewSlowFiles(k *bpf.Kernel, src *syscallSource, events feed) Collector {
	return &slowFileCollector{
		syscallPart: syscallPart{src: src, part: bpf.SyscallSlow, name: "fileslower", ns: bpf.CostSlowFile},
		events:      events, boot: bootTime, namer: newCallNamer(),
		open: func() (slowFileReader, error) {
			s, err := bpf.OpenSlowFiles(k)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
}

func (c *slowFileCollector) Meta() Meta { return Meta{ID: SlowFilesID, OnDemand: true, Slow: true} }

func (c *slowFileCollector) Start(context.Context) error {
	c.targets, c.counts, c.before = callTargets{}, bpf.EventCounts{}, bpf.SlowFileCounts{}
	if err := c.events.open(bpf.EventSlowFile); err != nil {
		return err
	}
	c.fed = true
	direct, err := c.open()
	if err == nil {
		c.direct, c.begun, c.err, c.syscallPart.events, c.lost, c.cost = direct, false, nil, 0, 0, 0
		return nil
	}
	if e := c.start(); e != nil {
		return errors.Join(err, e)
	}
	return nil
}

// Collect takes the events. The first reading is the baseline.
func (c *slowFileCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	span, slow, ok, err := c.read(now)
	if c.err = err; err != nil {
		return nil, err
	}
	boot := c.boot()
	s := &SlowFiles{Span: span, Partial: c.targets.only, N: slow}
	n, err := c.events.take(bpf.EventSlowFile, func(rec []byte) {
		if e, ok := bpf.ParseSlow(rec); ok {
			s.Events = append(s.Events, slowFile(e, boot, now, c.namer))
		}
	})
	if c.err = err; err != nil {
		return nil, err
	}
	s.Lost = since(c.counts.Lost, n.Lost)
	c.counts = n
	if !ok {
		return nil, ErrWarming
	}
	sortStably(s.Events, func(a, b SlowFile) int { return cmp.Compare(a.At, b.At) })
	s.Events = newestOf(s.Events, maxListed)
	s.Unlisted = since(uint64(len(s.Events)), s.N)
	c.counted(s.N, s.Lost)
	return s, nil
}

// read returns how many calls were slow since the reading before; false if this is the first.
func (c *slowFileCollector) read(now time.Duration) (span Span, slow uint64, ok bool, err error) {
	var cur bpf.SlowFileCounts
	if c.direct == nil {
		span, ok, err = c.span(now)
		cur.Slow = c.totals.Slow
	} else {
		cur, err = c.direct.Read()
		span, ok = Span{c.last, now}, c.begun
	}
	if err != nil {
		return span, 0, false, err
	}
	prev := c.before
	c.before, c.last, c.begun = cur, now, true
	if ok {
		c.cost += float64(grown(prev.Calls, cur.Calls)) * bpf.CostFileCall
	}
	return span, grown(prev.Slow, cur.Slow), ok, nil
}

func slowFile(e *bpf.SlowEvent, boot int64, now time.Duration, namer callNamer) SlowFile {
	out := SlowFile{
		At: eventTime(e.At, boot, now), Process: Process{e.TGID, e.Start}, TID: e.TID, Cgroup: e.Cgroup,
		Comm: RawString(bpf.CString(e.Comm[:])), Call: namer.name(e.Call), Took: time.Duration(e.Ns), Ret: e.Ret,
		Asked: e.Asked, Offset: e.Offset, Inode: e.Inode, Given: e.IsPath != 0,
	}
	if out.Given {
		out.Path = RawString(bpf.CString(unsafe.Slice(&e.Names[0][0], unsafe.Sizeof(e.Names))))
		return out
	}
	out.FS = plain(bpf.CString(e.FS[:]))
	out.Dev = DevID(e.Dev)
	var names []string
	for i := range e.Names {
		if e.Names[i][0] == 0 {
			break
		}
		names = append(names, bpf.CString(e.Names[i][:]))
	}
	slices.Reverse(names)
	path := "/" + strings.Join(names, "/")
	if len(names) == len(e.Names) {
		path = "…" + path
	}
	out.Path = RawString(path)
	return out
}

// Host implements HostNarrower.
func (c *slowFileCollector) Host(wanted bool) { c.targets.host = wanted }

// Narrow implements Narrower: while nobody looks at the host, only what belongs to a target is seen.
func (c *slowFileCollector) Narrow(targets []Target) error {
	filters := c.targets.filters(targets)
	var err error
	if c.direct != nil {
		_, err = c.direct.Narrow(filters, c.targets.only)
	} else {
		_, err = c.src.narrow(c.part, filters, c.targets.only)
	}
	return err
}

// Pause implements Pauser.
func (c *slowFileCollector) Pause(on bool) error {
	if c.direct != nil {
		return c.direct.Pause(on)
	}
	return c.syscallPart.Pause(on)
}

// Probes implements Collector. The hook tells which of the two ways is in use.
func (c *slowFileCollector) Probes() []Probe {
	p := c.probe()
	switch {
	case c.direct != nil:
		p = Probe{Name: c.name, Hook: c.direct.Hooks()}
		c.tell(&p)
	case c.r == nil:
		p.Hook = bpf.SlowFilesHooks
		p.Reason = "where the kernel refuses fentry, adds about 140 ns to every system call while looked at"
	}
	return []Probe{p}
}

// Close implements Collector.
func (c *slowFileCollector) Close() error {
	err := c.stop()
	if c.direct != nil {
		err = errors.Join(err, c.direct.Close())
		c.direct = nil
	}
	if c.fed {
		c.fed = false
		if e := c.events.close(bpf.EventSlowFile); e != nil {
			return errors.Join(err, fmt.Errorf("closing the events of slow files: %w", e))
		}
	}
	return err
}
