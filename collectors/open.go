// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// OpensID is the on-demand collector of opens of files.
const OpensID ID = "opens"

// Opens are the opens of files that returned over the span, by every process but this one: open, openat,
// openat2 and creat. What io_uring opens is not seen.
type Opens struct {
	Span
	Partial   bool // only targets were counted: see Narrowed
	N, Failed uint64
	Errnos    []ErrnoCount  // of the failed, most first
	Processes []OpenProcess // most first, at most 200
	Paths     []PathRow     // by process, path and errno, most first, at most 200
	PathsLeft uint64        // opens without such a row
	Failures  []PathFailure // of those that failed, by command, path and errno, most first, at most 200
	Events    []PathEvent   // single ones, oldest first, the newest 200
	Unlisted  uint64        // without one
	Lost      uint64        // of those: the ring was full

	Narrowed []Targeted[OpenCounts]
}

// OpenCounts are additive deltas of a target.
type OpenCounts struct{ N, Failed uint64 }

// OpenProcess is what one process opened.
type OpenProcess struct {
	Process   Process
	Comm      Raw // when its row was made, which may be before it ran a program
	N, Failed uint64
}

// PathRow is how often a process opened one path, or ran it in vain, with one result.
type PathRow struct {
	Process Process
	Comm    Raw
	Errno   uint32 // 0: it did not fail
	Path    Raw    // as it was given: relative to the process's directory, or to that of openat
	Cut     bool   // Path is only its first 319 bytes
	N       uint64
}

// PathFailure is how often a path could not be opened by processes of one name: short-lived ones do it once
// each.
type PathFailure struct {
	PathRow       // of the process that did it most
	Processes int // how many did it
}

// PathEvent is an open, or an exec that failed.
type PathEvent struct {
	At      time.Duration // when it returned, on the run's clock
	Process Process
	TID     int32
	Comm    Raw
	Cgroup  uint64
	Ret     int32 // the descriptor, or the errno below 0
	Call    string
	Path    Raw
	Cut     bool
	Args    Raw // of an exec: the first 256 bytes, separated by NUL, secrets masked
}

func (s *Opens) put(snap *Snapshot) { snap.Opens = s }

// rare implements the loop's question for samples that must not be replaced before they are emitted.
func (s *Opens) rare() bool { return len(s.Events) > 0 }

func (s *Opens) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Errnos) + sliceSize(s.Processes) + sliceSize(s.Narrowed)
	for i := range s.Processes {
		n += allocSize(uintptr(len(s.Processes[i].Comm.s)))
	}
	for i := range s.Failures {
		n += allocSize(uintptr(len(s.Failures[i].Comm.s))) + allocSize(uintptr(len(s.Failures[i].Path.s)))
	}
	return n + sliceSize(s.Failures) + pathsSize(s.Paths) + pathEventsSize(s.Events)
}

func pathsSize(rows []PathRow) int {
	n := sliceSize(rows)
	for i := range rows {
		n += allocSize(uintptr(len(rows[i].Comm.s))) + allocSize(uintptr(len(rows[i].Path.s)))
	}
	return n
}

func pathEventsSize(rows []PathEvent) int {
	n := sliceSize(rows)
	for i := range rows {
		n += allocSize(uintptr(len(rows[i].Comm.s))) + allocSize(uintptr(len(rows[i].Path.s))) + allocSize(uintptr(len(rows[i].Args.s)))
	}
	return n
}

func (s *Opens) withoutRows() *Opens {
	c := *s
	c.Processes, c.Paths, c.Failures, c.Events, c.Narrowed = nil, nil, nil, nil, nil
	return &c
}

// pathReading is one reading of the rows of paths.
type pathReading map[bpf.PathKey]uint64

// pathCollector is the half of opens and failed execs that is the same.
type pathCollector struct {
	syscallPart
	events    feed
	kinds     []bpf.EventKind
	class     uint32
	wanted    func(call uint32) bool
	boot      func() int64 // boot time, ns
	namer     callNamer
	fed       bool
	prev, cur *syscallReading
	paths     [2]pathReading // before, now
	fresh     []PathRow      // of this reading: those that grew
	counts    map[bpf.EventKind]bpf.EventCounts
	targets   callTargets
}

func (c *pathCollector) Start(context.Context) error {
	c.targets = callTargets{}
	c.prev, c.cur = newSyscallReading(), newSyscallReading()
	c.paths = [2]pathReading{{}, {}}
	c.counts = map[bpf.EventKind]bpf.EventCounts{}
	if err := c.events.open(c.kinds...); err != nil {
		return err
	}
	c.fed = true
	return c.start()
}

// read takes a reading; false at the first one, which is the baseline.
func (c *pathCollector) read(now time.Duration) (Span, bool, error) {
	c.prev, c.cur = c.cur, c.prev
	span, ok, err := c.span(now)
	if err == nil {
		err = c.cur.read(c.r, now, c.wanted)
	}
	if err == nil {
		c.cur.totals = c.totals
		err = c.readPaths(now)
	}
	if c.err = err; err != nil {
		return span, false, err
	}
	return span, ok, nil
}

// readPaths lists the rows that grew.
func (c *pathCollector) readPaths(now time.Duration) error {
	prev, cur := c.paths[1], c.paths[0]
	clear(cur)
	c.paths = [2]pathReading{prev, cur}
	c.fresh = c.fresh[:0]
	err := c.r.ReadPaths(now, func(key bpf.PathKey, row *bpf.PathCounts) {
		if key.What>>16 != c.class {
			return
		}
		cur[key] = row.N
		d := grown(prev[key], row.N)
		if d == 0 {
			return
		}
		c.fresh = append(c.fresh, PathRow{
			Process: Process{key.TGID, key.Start}, Errno: key.What & 0xffff, N: d, Cut: row.Cut != 0,
			Comm: RawString(bpf.CString(row.Comm[:])), Path: RawString(string(row.Path[:min(int(row.Len), len(row.Path))])),
		})
	})
	if err != nil {
		return err
	}
	sortBy(c.fresh, func(a, b PathRow) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Path.s, b.Path.s), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Errno, b.Errno))
	})
	return nil
}

// rows are the rows that grew, at most 200, and what all of them grew by.
func (c *pathCollector) rows() (rows []PathRow, sum uint64) {
	for i := range c.fresh {
		sum += c.fresh[i].N
	}
	return slices.Clone(c.fresh[:min(len(c.fresh), syscallRows)]), sum
}

// failures groups the rows that failed by command, path and errno.
func failures(rows []PathRow) []PathFailure {
	type key struct {
		comm, path Raw
		errno      uint32
	}
	at := map[key]int{}
	var out []PathFailure
	for _, r := range rows { // most first
		if r.Errno == 0 {
			continue
		}
		k := key{r.Comm, r.Path, r.Errno}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, PathFailure{PathRow: r})
			out[i].N = 0
		}
		out[i].N += r.N
		out[i].Processes++
	}
	sortStably(out, func(a, b PathFailure) int { return cmp.Compare(b.N, a.N) })
	return slices.Clone(out[:min(len(out), syscallRows)])
}

// list takes the events of all kinds, oldest first, the newest 200. lost are those that the ring had no room
// for.
func (c *pathCollector) list(now time.Duration) (out []PathEvent, lost uint64, err error) {
	boot := c.boot()
	for _, kind := range c.kinds {
		n, err := c.events.take(kind, func(rec []byte) {
			if e, ok := c.event(rec, boot, now); ok {
				out = append(out, e)
			}
		})
		if err != nil {
			return nil, 0, err
		}
		lost += since(c.counts[kind].Lost, n.Lost)
		c.counts[kind] = n
	}
	sortStably(out, func(a, b PathEvent) int { return cmp.Compare(a.At, b.At) })
	return newestOf(out, maxListed), lost, nil
}

func (c *pathCollector) event(rec []byte, boot int64, now time.Duration) (PathEvent, bool) {
	e, path, args, ok := bpf.ParseOpen(rec)
	if !ok {
		return PathEvent{}, false
	}
	return PathEvent{
		At: eventTime(e.At, boot, now), Process: Process{e.TGID, e.Start}, TID: e.TID, Cgroup: e.Cgroup, Ret: e.Ret,
		Comm: RawString(bpf.CString(e.Comm[:])), Call: c.namer.name(e.Call), Path: RawString(string(path)), Cut: e.Cut != 0,
		Args: RawString(string(MaskSecrets(args))),
	}, true
}

// errnos are the errnos of the calls that are wanted.
func (c *pathCollector) errnos() []ErrnoCount {
	by := map[uint32]uint64{}
	for e, n := range c.cur.errors {
		if d := grown(c.prev.errors[e], n); d > 0 {
			by[e.Errno] += d
		}
	}
	var all []ErrnoCount
	for errno, n := range by {
		all = append(all, ErrnoCount{errno, n})
	}
	return topErrnos(all, len(all))
}

// sum is what all processes called.
func (c *pathCollector) sum() (d SyscallCounts) {
	for call, n := range c.cur.calls {
		one := callDelta(c.prev.calls[call], n)
		d.Plus(&one)
	}
	return d
}

// Host implements HostNarrower.
func (c *pathCollector) Host(wanted bool) { c.targets.host = wanted }

// Narrow implements Narrower.
func (c *pathCollector) Narrow(targets []Target) error {
	return c.narrowTo(&c.targets, targets, c.cur) // of the last reading, until the next
}

func (c *pathCollector) Probes() []Probe { return []Probe{c.probe()} }

func (c *pathCollector) Close() error {
	err := c.stop()
	if c.fed {
		c.fed = false
		if e := c.events.close(c.kinds...); e != nil {
			return fmt.Errorf("closing the events of %s: %w", c.name, e)
		}
	}
	return err
}

type openCollector struct{ pathCollector }

// NewOpens returns the collector of Opens.
func NewOpens(src *syscallSource, events feed) Collector {
	return &openCollector{pathCollector{
		syscallPart: syscallPart{src: src, part: bpf.SyscallOpen, name: "opensnoop", ns: bpf.CostOpen},
		events:      events, kinds: []bpf.EventKind{bpf.EventOpen, bpf.EventOpenFail}, class: bpf.PathOpen,
		wanted: bpf.OpenCalls(), boot: bootTime, namer: newCallNamer(),
	}}
}

func (c *openCollector) Meta() Meta { return Meta{ID: OpensID, OnDemand: true, Slow: true} }

// Collect reads the tables and takes the events. The first reading is the baseline.
func (c *openCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	span, ok, err := c.read(now)
	if err != nil {
		return nil, err
	}
	events, lost, err := c.list(now)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrWarming
	}
	d := c.sum()
	s := &Opens{Span: span, Partial: c.targets.only, N: d.N, Failed: d.Errors, Errnos: c.errnos(), Events: events, Lost: lost}
	s.Unlisted = since(uint64(len(events)), d.N)
	var listed uint64
	s.Paths, listed = c.rows()
	s.PathsLeft = since(listed, d.N)
	for i := range c.fresh[len(s.Paths):] {
		s.PathsLeft += c.fresh[len(s.Paths)+i].N
	}
	s.Failures = failures(c.fresh)
	s.Processes = openProcesses(c.prev, c.cur)
	for _, t := range c.targets.list {
		n := deriveTarget(c.prev, c.cur, -t.slot, c.namer)
		s.Narrowed = append(s.Narrowed, Targeted[OpenCounts]{Target: t.target, Since: t.since, Sample: OpenCounts{n.N, n.Errors}})
	}
	c.counted(s.N, lost)
	return s, nil
}

// openProcesses sums the calls that open, by process.
func openProcesses(prev, cur *syscallReading) []OpenProcess {
	at := map[Process]int{}
	var out []OpenProcess
	for key, n := range cur.rows {
		d := callDelta(prev.rows[key], n)
		if key.TGID <= 0 || d.N == 0 {
			continue
		}
		p := Process{key.TGID, key.Start}
		i, ok := at[p]
		if !ok {
			i = len(out)
			at[p] = i
			out = append(out, OpenProcess{Process: p, Comm: cur.comms[p]})
		}
		out[i].N += d.N
		out[i].Failed += d.Errors
	}
	sortBy(out, func(a, b OpenProcess) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Process.Start, b.Process.Start))
	})
	return slices.Clone(out[:min(len(out), syscallRows)])
}
