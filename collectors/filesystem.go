// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FileSystemID is the collector of what is mounted and how full it is.
const FileSystemID ID = "filesystem"

// Mount is one file system: all its mounts counted together.
type Mount struct {
	Dev     DevID
	Point   Raw  // where it is mounted; of several the one nearest the root
	Source  Raw  // the device, or server and path
	Type    Raw  // ext4, nfs4, fuse.sshfs
	Options Raw  // of the mount, then of the file system, at most 256 bytes
	Mounts  int  // how many there are, binds included
	Remote  bool // over the network, or served by a process: asking it may never end
	Virtual bool // in memory, a view of another, or a read-only image, which is full by nature
	Memory  bool // of the virtual ones: it lies in memory, and who writes there finds it full
	// ReadOnly: the mount is. Forced: the file system turned itself read-only under a writable
	// mount, as it does after an error.
	ReadOnly, Forced bool

	whole bool // its root is mounted there, not a directory of it
}

// FileSystem is how full one file system is.
type FileSystem struct {
	*Mount `record:"must"`
	Known  bool // it answered; else the sizes are 0 and Silent or Err says why

	Size, Free, Avail  uint64 // bytes; Free less Avail is reserved for root
	Inodes, InodesFree uint64 // 0: it has no fixed number of them

	// Silent is how long it has not answered, at the end of the sample's span; 0: it does.
	Silent time.Duration
	Err    string // why it could not be asked

	ErrorsKnown bool
	Errors      uint64 // ext4: errors since it was checked last
}

// Used is what df calls used.
func (f *FileSystem) Used() uint64 { return f.Size - min(f.Free, f.Size) }

// FileSystems is one round of statfs over everything mounted.
type FileSystems struct {
	Span
	Rows     []FileSystem // in the order of mountinfo, without those that hold nothing
	Unlisted int          // beyond the first 512
	Stuck    int          // questions that do not come back
}

func (s *FileSystems) put(snap *Snapshot) { snap.FileSystems = s }

// size leaves out what is shared.
func (s *FileSystems) size() int { return sliceSize(s.Rows) }

const (
	maxFileSystems = 512
	maxOptions     = 256

	fsInterval = 10 * time.Second

	// statPatience is how long one answer is waited for. A server across the world answers in
	// less; what comes later is taken in the next round.
	statPatience = 100 * time.Millisecond
	// maxStuck is how many questions may stay without an answer: each holds a thread in the
	// kernel. Beyond it nothing is asked that may hang.
	maxStuck = 3
)

// statFunc is statfs(2).
type statFunc func(path string, buf *unix.Statfs_t) error

// question is what is being asked of one mount.
type question struct {
	point string
	aside[unix.Statfs_t]
}

type fsCollector struct {
	fs     FS
	mounts *procFile
	stat   statFunc

	seen   uint64 // of mountinfo when it was parsed last
	listed []*Mount
	beyond int
	open   []*question
	begun  bool
	last   time.Duration
	err    error
	silent int // of the last round
}

// NewFileSystems returns the collector of FileSystems.
func NewFileSystems(fs FS) Collector { return newFileSystems(fs, unix.Statfs) }

func newFileSystems(fs FS, stat statFunc) *fsCollector {
	return &fsCollector{fs: fs, mounts: fs.file("self/mountinfo"), stat: stat}
}

func (c *fsCollector) Meta() Meta { return Meta{ID: FileSystemID, Interval: fsInterval} }

func (c *fsCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.listed = false, nil, nil
	return ctx.Err()
}

// Collect asks every file system how full it is.
func (c *fsCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	b, err := c.mounts.read(ctx)
	if err != nil {
		c.err = fmt.Errorf("reading /proc/self/mountinfo: %w", err)
		return nil, c.err
	}
	c.err = nil
	if sum := sumOf(b); c.listed == nil || sum != c.seen {
		c.listed, c.beyond = listMounts(b)
		c.seen = sum
	}
	if !c.begun {
		c.last, c.begun = now, true
	}
	s := &FileSystems{Span: Span{c.last, now}, Rows: make([]FileSystem, 0, len(c.listed)), Unlisted: c.beyond}
	for _, m := range c.listed {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f := c.ask(ctx, m, now)
		if f.Known && f.Size == 0 {
			continue // one that holds nothing: df leaves it out too
		}
		s.Rows = append(s.Rows, f)
	}
	c.forget()
	c.silent = 0
	for i := range s.Rows {
		if s.Rows[i].Silent > 0 {
			c.silent++
		}
	}
	s.Stuck = len(c.open)
	c.last = now
	return s, nil
}

// ask asks one file system, or looks after the question that is open.
func (c *fsCollector) ask(ctx context.Context, m *Mount, now time.Duration) FileSystem {
	f := FileSystem{Mount: m}
	point := m.Point.Bytes()
	i := slices.IndexFunc(c.open, func(q *question) bool { return q.point == point })
	patience := time.Duration(0)
	if i < 0 {
		switch stuck := len(c.open); {
		case stuck >= maxStuck && m.Remote, stuck >= 2*maxStuck:
			f.Err = fmt.Sprintf("not asked: %d others do not answer", stuck)
			return f
		}
		if n := c.waiting(m); n > 0 {
			f.Err = fmt.Sprintf("not asked: %d requests wait for its process", n)
			return f
		}
		stat := c.stat
		q := &question{point: point}
		q.ask(now, func() (unix.Statfs_t, error) {
			var b unix.Statfs_t
			err := stat(point, &b)
			for errors.Is(err, unix.EINTR) {
				err = stat(point, &b)
			}
			return b, err
		})
		c.open = append(c.open, q)
		i, patience = len(c.open)-1, statPatience
	}
	b, err := c.open[i].take(ctx, patience)
	if errors.Is(err, errNoAnswer) {
		f.Silent = max(now-c.open[i].began, patience)
		return f
	}
	c.open = slices.Delete(c.open, i, i+1)
	if err != nil {
		f.Err = clean(err.Error())
		return f
	}
	f.fill(&b)
	if m.Type.Bytes() == "ext4" {
		f.Errors, f.ErrorsKnown = c.errorsOf(m)
	}
	return f
}

// forget drops the answers that came for what is no longer mounted.
func (c *fsCollector) forget() {
	c.open = slices.DeleteFunc(c.open, func(q *question) bool {
		if slices.ContainsFunc(c.listed, func(m *Mount) bool { return m.Point.Bytes() == q.point }) {
			return false
		}
		_, err := q.take(context.Background(), 0)
		return !errors.Is(err, errNoAnswer)
	})
}

// waiting is how many requests a FUSE file system's process has not answered, 0 where the kernel
// does not say. A process that has taken a request and hangs holds whoever asks, even one that is
// killed, so it is not asked while others wait.
func (c *fsCollector) waiting(m *Mount) uint64 {
	if !strings.HasPrefix(m.Type.Bytes(), "fuse") {
		return 0
	}
	d := sysDir{c.fs.sysPath("fs/fuse/connections")}
	n, _ := d.number(fmt.Sprintf("%d/waiting", m.Dev))
	return n
}

// errorsOf reads how many errors ext4 has noted in its superblock.
func (c *fsCollector) errorsOf(m *Mount) (uint64, bool) {
	_, name, ok := cutLast(m.Source.Bytes(), "/")
	if !ok || name == "" || name == "." || name == ".." {
		return 0, false
	}
	return sysDir{c.fs.sysPath("fs/ext4")}.number(name + "/errors_count")
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// fill takes what statfs says. Available may be printed as a negative number by file systems that
// have used up what is reserved.
func (f *FileSystem) fill(b *unix.Statfs_t) {
	unit := uint64(max(b.Frsize, 0))
	if unit == 0 {
		unit = uint64(max(b.Bsize, 0))
	}
	if unit > 0 && b.Blocks > (1<<63)/unit {
		f.Err = "it says sizes beyond 8 EiB"
		return
	}
	f.Known = true
	free := min(b.Bfree, b.Blocks)
	avail := b.Bavail
	if avail>>63 == 1 {
		avail = 0
	}
	f.Size, f.Free, f.Avail = b.Blocks*unit, free*unit, min(avail, free)*unit
	f.Inodes, f.InodesFree = b.Files, min(b.Ffree, b.Files)
}

func (c *fsCollector) Probes() []Probe {
	df := Probe{Name: "df", Hook: "/proc/self/mountinfo, statfs"}
	df.State, df.Reason = stateOf(c.begun, c.err)
	if df.State == On && c.silent > 0 {
		df.State = Degraded
		df.Reason = fmt.Sprintf("%d mounts do not answer", c.silent)
		if c.silent == 1 {
			df.Reason = "a mount does not answer"
		}
		df.Remedy = "umount -l frees a dead mount"
	}
	return []Probe{df}
}

func (c *fsCollector) Close() error {
	c.begun = false
	return c.mounts.close()
}
