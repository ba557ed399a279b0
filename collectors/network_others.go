// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// otherSpaces reads the network namespaces that bpf60 does not run in, through /proc/PID/net of one
// process in each. Their files are opened anew each time: an open one would keep a namespace
// alive that everybody else has left, with its interfaces.
type otherSpaces struct {
	fs     FS
	scan   *nsScan
	spaces map[uint64]*otherSpace
	round  uint32 // of the scan that spaces was last matched with

	lines  []devLine
	snmp   stackLayout
	ext    stackLayout
	buf    []byte
	due    []*otherSpace
	stale  time.Duration // how old a reading may be to be a baseline, at this pace
	left   int           // known and not read: more than maxSpaces, or without a process
	noProc int
}

// otherSpace is one of them.
type otherSpace struct {
	*spaceState
	pid     int32
	asked   time.Duration // when its turn came last, read or not
	waiting bool          // never asked
	reads   uint32
}

// staleSpace is how old a reading may be to be a baseline; three ticks where that is longer.
const staleSpace = 3 * othersEvery

// namedEvery is after how many readings a namespace is named anew. The first ones always are: its
// process may not have become yet what it is to be.
const (
	namedEvery = 16
	namedFirst = 3
)

// firstReads is how many new namespaces are read at one tick, besides those whose turn it is.
const firstReads = 8

// rotated is how many of the namespaces that are read give way in turn where there are more than
// maxSpaces, so that one that becomes busy is seen.
const rotated = 8

func newOtherSpaces(fs FS, scan *nsScan) *otherSpaces {
	return &otherSpaces{fs: fs, scan: scan}
}

func (o *otherSpaces) reset() {
	o.spaces, o.round = make(map[uint64]*otherSpace), 0
	o.left, o.noProc = 0, 0
	if o.buf == nil {
		o.buf = make([]byte, 8192)
	}
}

// collect reads the namespaces whose turn it is and appends their rows. elapsed is the time since
// the last call: it spreads the readings, so that each comes every othersEvery.
func (o *otherSpaces) collect(ctx context.Context, n *Network, elapsed time.Duration, rows []NetIface) []NetIface {
	o.stale = max(staleSpace, 3*elapsed)
	o.match(n.To)
	chosen := o.chosen(n.To)
	turns := 1 + int(float64(len(chosen))*min(elapsed.Seconds()/othersEvery.Seconds(), 1))
	first := firstReads
	for _, x := range chosen {
		left := &turns
		switch {
		case x.waiting:
			left = &first
		case n.To-x.asked < othersEvery-elapsed/2:
			continue
		}
		if *left == 0 || ctx.Err() != nil {
			continue
		}
		*left--
		var space NetSpace
		var ok bool
		if space, rows, ok = o.read(x, n.To, rows); ok {
			n.Spaces = append(n.Spaces, space)
		}
		x.asked, x.waiting = n.To, false
	}
	return rows
}

// match brings spaces up to what the scan has found: new namespaces enter as soon as a process of
// theirs is seen, those without any leave at the end of a round.
func (o *otherSpaces) match(now time.Duration) {
	s := o.scan
	for _, pid := range s.fresh {
		if ns := s.procs[pid].ns; ns != 0 && ns != s.self && o.spaces[ns] == nil {
			o.spaces[ns] = &otherSpace{spaceState: newSpaceState(NetPlace{ID: ns}), waiting: true, asked: now, pid: pid}
		}
	}
	s.fresh = s.fresh[:0]
	if s.inside || s.round == o.round {
		return
	}
	o.round = s.round
	alive := make(map[uint64]int32, len(o.spaces))
	for pid, p := range s.procs {
		if was, ok := alive[p.ns]; !ok || pid < was {
			alive[p.ns] = pid
		}
	}
	for id := range o.spaces {
		if alive[id] == 0 {
			delete(o.spaces, id)
		}
	}
	o.noProc = o.deserted()
}

// deserted counts the named namespaces that no process is in. Where some namespace may not be asked
// for its inode it cannot be told, and none is counted.
func (o *otherSpaces) deserted() int {
	n := len(o.scan.named)
	for _, x := range o.spaces {
		if x.place.Inode == 0 {
			return 0
		}
		if o.scan.named[x.place.Inode] != "" {
			n--
		}
	}
	if o.scan.named[nsInode(o.scan.dir, "self/ns/net")] != "" {
		n--
	}
	return max(n, 0)
}

// chosen are the namespaces that are read, those asked longest ago first: all of them, or the
// busiest and in turn a few of the rest.
func (o *otherSpaces) chosen(now time.Duration) []*otherSpace {
	o.due = o.due[:0]
	for _, x := range o.spaces {
		o.due = append(o.due, x)
	}
	o.left = 0
	if over := len(o.due) - (maxSpaces - 1); over > 0 {
		sortBy(o.due, func(a, b *otherSpace) int {
			return cmp.Or(cmp.Compare(b.rate, a.rate), cmp.Compare(a.place.ID, b.place.ID))
		})
		rest := o.due[maxSpaces-1-rotated:]
		// One that has a baseline comes before one that has none, or none would ever have a rate.
		sortBy(rest, func(a, b *otherSpace) int {
			return cmp.Or(cmp.Compare(o.pending(b, now), o.pending(a, now)), cmp.Compare(a.asked, b.asked), cmp.Compare(a.place.ID, b.place.ID))
		})
		o.due, o.left = o.due[:maxSpaces-1], over
	}
	sortBy(o.due, func(a, b *otherSpace) int {
		return cmp.Or(cmp.Compare(a.asked, b.asked), cmp.Compare(a.place.ID, b.place.ID))
	})
	return o.due
}

// pending is 1 while a namespace has a first reading and waits for the second.
func (o *otherSpaces) pending(x *otherSpace, now time.Duration) int {
	if x.begun && math.IsNaN(x.rate) && now-x.at < o.stale {
		return 1
	}
	return 0
}

// read reads one namespace, through another process if the first has gone.
func (o *otherSpaces) read(x *otherSpace, now time.Duration, rows []NetIface) (NetSpace, []NetIface, bool) {
	for range 2 {
		if x.pid == 0 {
			if x.pid = o.scan.processOf(x.place.ID, 0); x.pid == 0 {
				break
			}
			x.reads = 0
		}
		space, out, err := o.through(x, now, rows)
		if err == nil {
			return space, out, true
		}
		if !errors.Is(err, errLeft) { // it could be read, and is not what we know
			break
		}
		o.scan.forget(x.pid)
		x.pid = 0
	}
	return NetSpace{}, rows, false
}

// errLeft says that a process is gone, or in another namespace.
var errLeft = errors.New("the process has left")

// through reads a namespace through its process. The process's directory is held meanwhile: once
// the process is gone it answers nothing, where a new process could have taken its number.
func (o *otherSpaces) through(x *otherSpace, now time.Duration, rows []NetIface) (NetSpace, []NetIface, error) {
	dir, err := unix.Open(o.fs.path(strconv.Itoa(int(x.pid))), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return NetSpace{}, rows, errLeft
	}
	defer unix.Close(dir)
	b, id, err := o.file(dir, "net/dev")
	if err != nil || id != x.place.ID {
		return NetSpace{}, rows, errLeft
	}
	if o.lines, err = parseNetDev(b, o.lines[:0]); err != nil {
		return NetSpace{}, rows, fmt.Errorf("reading net/dev of %d: %w", x.pid, err)
	}
	if x.reads < namedFirst || x.reads%namedEvery == 0 {
		inode := nsInode(dir, "ns/net")
		x.rename(o.name(dir, x, inode), x.pid, inode)
	}
	x.reads++
	if now-x.at > o.stale {
		x.begun, x.stackKnown, x.ct.Known = false, false, false // too long ago: the next span would say nothing of now
	}
	span := Span{x.at, now}
	if !x.begun {
		span.From, x.rate = now, math.NaN()
		x.moved = true
	}
	was := len(rows)
	rows = x.derive(o.lines, span, rows)
	space := NetSpace{Span: span}
	if len(rows) == was && x.stackKnown && x.ct.Entries == 0 {
		// No packet moved, not even over the loopback, so the protocols did not count: their files
		// are four fifths of the cost.
		space.StackKnown, space.TCPExt, space.Conntrack = true, x.extKnown, x.ct
		space.Conntrack.Drop, space.Conntrack.EarlyDrop, space.Conntrack.InsertFailed = 0, 0, 0
	} else {
		o.protocols(dir, x, &space)
	}
	space.NetPlace = x.publish()
	return space, rows, nil
}

// protocols reads the files of what is above the interfaces.
func (o *otherSpaces) protocols(dir int, x *otherSpace, space *NetSpace) {
	var cur StackCounts
	known := o.parse(dir, "net/snmp", func(b []byte) error { return o.snmp.parse(b, &cur) }) &&
		o.parse(dir, "net/snmp6", func(b []byte) error { return o.snmp.parseSix(b, &cur) })
	ext := known && o.parse(dir, "net/netstat", func(b []byte) error { return o.ext.parse(b, &cur) })
	x.protocols(space, cur, known, ext)
	var ct Conntrack
	o.parse(dir, "net/stat/nf_conntrack", func(b []byte) (err error) { ct, err = parseConntrack(b); return err })
	x.conntrack(space, ct)
}

// parse reads a file and parses it. A file that is not there is not an error for snmp6 alone.
func (o *otherSpaces) parse(dir int, name string, parse func([]byte) error) bool {
	b, _, err := o.file(dir, name)
	if err != nil {
		return errors.Is(err, unix.ENOENT) && name == "net/snmp6"
	}
	return parse(b) == nil
}

// file returns a file of a process, valid until the next call, and its inode.
func (o *otherSpaces) file(dir int, name string) (b []byte, inode uint64, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, err
	}
	for n := 0; ; {
		if n == len(o.buf) {
			if n >= maxProcFile {
				return nil, 0, fmt.Errorf("reading %s: more than %d MiB", name, maxProcFile>>20)
			}
			o.buf = append(o.buf, make([]byte, len(o.buf))...)
		}
		m, err := unix.Read(fd, o.buf[n:])
		switch {
		case err != nil:
			return nil, 0, err
		case m == 0:
			return o.buf[:n], st.Ino, nil
		}
		n += m
	}
}

// name is what a person knows the namespace by: the container that its process is in, its name under
// /run/netns, or that of the process.
func (o *otherSpaces) name(dir int, x *otherSpace, inode uint64) Raw {
	if b, _, err := o.file(dir, "cgroup"); err == nil {
		if name, ok := inContainer(b); ok {
			return RawString(name)
		}
	}
	if name := o.scan.named[inode]; name != "" && inode != 0 {
		return RawString(name)
	}
	b, _, err := o.file(dir, "comm")
	if err != nil {
		return RawString(strconv.Itoa(int(x.pid)))
	}
	return RawString(fmt.Sprintf("%s[%d]", bytes.TrimRight(b, "\n"), x.pid))
}

// inContainer names the container or pod that /proc/PID/cgroup tells of, false if it tells of none. The
// containers of one pod share its namespace, so a pod's name ends there.
func inContainer(cgroup []byte) (string, bool) {
	path, _, _ := parseCgroups(cgroup)
	name := containerName(string(path))
	kind, _, ok := strings.Cut(name, ":")
	if !ok || kind == "uid" {
		return "", false
	}
	if kind == "pod" {
		name, _, _ = strings.Cut(name, "/")
	}
	return name, true
}

func (o *otherSpaces) coverage() Coverage {
	known := 1 + len(o.spaces) + o.noProc
	return Coverage{
		Known: known, Covered: known - o.left - o.noProc, NoProcess: o.noProc,
		Hidden: max(o.scan.shown.hidden, o.scan.hidden), Complete: o.scan.shown.complete,
	}
}

func (o *otherSpaces) probe() Probe {
	p := Probe{Name: "netns", Hook: "/proc/PID/net", State: On}
	c := o.coverage()
	switch {
	case o.scan.err != nil:
		p.State, p.Reason = Degraded, "our own network namespace only: "+clean(o.scan.err.Error())
	case c.Hidden > 0:
		p.State = Degraded
		p.Reason = fmt.Sprintf("%d process%s may not be asked for their namespace", c.Hidden, pluralES(c.Hidden))
		p.Remedy = "run as root"
	case c.Covered < c.Known:
		p.State = Degraded
		p.Reason = fmt.Sprintf("%d of %d network namespaces are read", c.Covered, c.Known)
	case !c.Complete:
		p.State, p.Reason = Warming, "looking for network namespaces"
	}
	return p
}

func pluralES(n int) string {
	if n == 1 {
		return ""
	}
	return "es"
}
