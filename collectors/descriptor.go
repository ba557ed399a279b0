// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DescriptorsID is the collector of processes that come near their limit of open files.
const DescriptorsID ID = "descriptors"

// Descriptors are the processes that hold many of the open files they may have, or ever more of them.
// All processes are looked at in turn; those listed are looked at again at every tick. All of it are
// gauges.
type Descriptors struct {
	Span
	Rows   []DescriptorRow // the greatest share of the limit first, at most 32
	Looked int             // processes whose files were counted at this tick
	Whole  bool            // every process has been looked at once
}

// DescriptorRow is one process. Its start is known in steps of 10 ms, as /proc tells it.
type DescriptorRow struct {
	Process
	Comm       Raw
	Used       uint64 // open file descriptors
	Soft, Hard uint64 // RLIMIT_NOFILE; NoLimit: unlimited
}

// Share is the part of the soft limit that is in use.
func (r *DescriptorRow) Share() float64 { return float64(r.Used) / float64(max(r.Soft, 1)) }

func (d *Descriptors) put(s *Snapshot) { s.Descriptors = d }

func (d *Descriptors) size() int {
	n := allocSize(unsafe.Sizeof(*d)) + sliceSize(d.Rows)
	for i := range d.Rows {
		n += textSize(d.Rows[i].Comm)
	}
	return n
}

func (d *Descriptors) withoutRows() *Descriptors {
	c := *d
	c.Rows = nil
	return &c
}

const (
	// A round over all processes takes at least this many ticks, and each has its turn in one of them.
	roundTicks             = 8
	leastLooked, mostLooks = 16, 128
	// maxDescriptorRows bounds the processes that are looked at every tick.
	maxDescriptorRows = 32
	// fewFiles is what a process holds at least to be followed; a limit below it is a sandbox's, that
	// nobody wants to come near to.
	fewFiles = 64
	// calmAfter is how long a process that is far from its limit is followed without holding more.
	calmAfter = 30 * time.Second
	// limitAge is how old a limit may be that a followed process is compared with.
	limitAge = 10 * time.Second
)

// holding is what is known of one process.
type holding struct {
	used, soft, hard uint64
	limited          bool          // soft and hard were read
	at               time.Duration // when that was
	start            uint64        // boot time in ns; 0: not read, it is not followed
	comm             Raw
	grew             time.Duration // when it last held more than before
	seen             uint64        // round in which it was there
}

type descriptorCollector struct {
	fs    FS
	sized bool // the size of a directory says how many files there are (Linux 6.2)

	pids  []int32 // of this round, those that still have to be looked at
	share int     // of them, how many a tick
	round uint64
	known map[int32]*holding
	watch []int32 // followed

	begun bool
	last  time.Duration
	err   error
}

// NewDescriptors returns the collector of Descriptors.
func NewDescriptors(fs FS) Collector { return &descriptorCollector{fs: fs} }

func (c *descriptorCollector) Meta() Meta { return Meta{ID: DescriptorsID, Slow: true} }

func (c *descriptorCollector) Start(ctx context.Context) error {
	*c = descriptorCollector{fs: c.fs, known: map[int32]*holding{}}
	info, err := os.Stat(c.fs.path("self/fd"))
	c.sized = err == nil && info.Size() > 0
	return ctx.Err()
}

// Collect looks at those that are followed, and at the next few of all.
func (c *descriptorCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if len(c.pids) == 0 {
		if c.err = c.begin(); c.err != nil {
			return nil, c.err
		}
	}
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := &Descriptors{Span: Span{c.last, now}, Whole: c.round > 1}
	for range min(c.share, len(c.pids)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pid := c.pids[len(c.pids)-1]
		c.pids = c.pids[:len(c.pids)-1]
		s.Looked++
		c.look(pid, now)
	}
	kept := c.watch[:0]
	for _, pid := range c.watch {
		if row, ok := c.follow(pid, now); ok {
			kept = append(kept, pid)
			s.Rows = append(s.Rows, row)
		}
	}
	c.watch = kept
	s.Looked += len(kept)
	sortBy(s.Rows, func(a, b DescriptorRow) int {
		return cmp.Or(cmp.Compare(b.Share(), a.Share()), cmp.Compare(a.TGID, b.TGID))
	})
	c.last = now
	return s, nil
}

// begin lists all processes for a round. What was not there in the last one is forgotten.
func (c *descriptorCollector) begin() error {
	dir, err := os.Open(c.fs.path(""))
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for pid, h := range c.known {
		if h.seen < c.round {
			delete(c.known, pid)
		}
	}
	c.round++
	for _, name := range names {
		if pid, err := strconv.ParseInt(name, 10, 32); err == nil {
			c.pids = append(c.pids, int32(pid))
		}
	}
	c.share = min(max((len(c.pids)+roundTicks-1)/roundTicks, leastLooked), mostLooks)
	return nil
}

// look counts the files of a process whose turn it is, and decides whether to follow it.
func (c *descriptorCollector) look(pid int32, now time.Duration) {
	h := c.known[pid]
	if h != nil && h.start != 0 { // followed: it is looked at anyway
		h.seen = c.round
		return
	}
	used, ok := c.count(pid)
	if !ok || used < fewFiles {
		delete(c.known, pid)
		return
	}
	if h == nil {
		h = &holding{used: used}
		c.known[pid] = h
	}
	h.seen = c.round
	if !h.limited || used > h.soft/4 {
		h.limited = c.limits(pid, h, now)
	}
	more := used > h.used
	h.used = used
	if !h.limited || h.soft < fewFiles || used < h.soft/2 && !more || len(c.watch) >= maxDescriptorRows {
		return
	}
	if h.start, h.comm = c.identify(pid); h.start != 0 {
		h.grew = now
		c.watch = append(c.watch, pid)
	}
}

// follow counts the files of a process that is followed; false: no longer.
func (c *descriptorCollector) follow(pid int32, now time.Duration) (DescriptorRow, bool) {
	h := c.known[pid]
	if h == nil {
		return DescriptorRow{}, false
	}
	used, ok := c.count(pid)
	if ok && now-h.at >= limitAge {
		start, _ := c.identify(pid) // its number may be another's now
		ok = start == h.start && c.limits(pid, h, now)
	}
	if !ok {
		delete(c.known, pid)
		return DescriptorRow{}, false
	}
	if used > h.used {
		h.grew = now
	}
	h.used = used
	if used < h.soft/2 && now-h.grew >= calmAfter {
		h.start = 0
		return DescriptorRow{}, false
	}
	return DescriptorRow{Process: Process{c.fs.pids.here(pid), h.start}, Comm: h.comm, Used: used, Soft: h.soft, Hard: h.hard}, true
}

// count is how many files a process holds. Where the kernel tells the number it needs no right to look.
func (c *descriptorCollector) count(pid int32) (uint64, bool) {
	dir := strconv.Itoa(int(pid)) + "/"
	if !c.sized {
		f, err := os.Open(c.fs.path(dir + "fd"))
		if err != nil {
			return 0, false
		}
		defer f.Close()
		return listedFiles(f)
	}
	var st unix.Stat_t
	if unix.Stat(c.fs.path(dir+"fd"), &st) != nil {
		return 0, false
	}
	return uint64(max(st.Size, 0)), true
}

// limits reads how many files a process may hold.
func (c *descriptorCollector) limits(pid int32, h *holding, now time.Duration) bool {
	b, err := c.fs.readSome(strconv.Itoa(int(pid))+"/limits", 4096)
	if err != nil {
		return false
	}
	i := bytes.Index(b, []byte("Max open files "))
	if i < 0 {
		return false
	}
	line, _ := cutLine(b[i:])
	rows := parseLimits(line)
	if len(rows) != 1 {
		return false
	}
	h.soft, h.hard, h.at = rows[0].Soft, rows[0].Hard, now
	return true
}

// identify reads the start and the name of a process; 0 if it has gone.
func (c *descriptorCollector) identify(pid int32) (start uint64, comm Raw) {
	b, err := c.fs.readSome(strconv.Itoa(int(pid))+"/stat", 4096)
	var s pidStat
	if err != nil || parsePIDStat(b, &s) != nil {
		return 0, Raw{}
	}
	return s.StartTicks * tickNs, RawString(unix.ByteSliceToString(s.Comm[:]))
}

// Probes is one row.
func (c *descriptorCollector) Probes() []Probe {
	p := Probe{Name: "nofile", Hook: "/proc/PID/fd, limits"}
	p.State, p.Reason = stateOf(c.begun, c.err)
	if p.State == On && !c.sized && unix.Geteuid() != 0 {
		p.State, p.Reason, p.Remedy = Degraded, "open files of other users' processes cannot be counted", "run as root, or with Linux 6.2"
	}
	return []Probe{p}
}

func (c *descriptorCollector) Close() error {
	c.begun, c.pids, c.known, c.watch = false, nil, nil, nil
	return nil
}
