// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DeletedID is the on-demand collector of files that were deleted and are held open.
const DeletedID ID = "deleted"

// Deleted are the deleted files of single file systems that processes still hold: df counts them, du does
// not. One look, all gauges.
type Deleted struct {
	Span
	Narrowed []Targeted[DeletedFiles]
}

// DeletedFiles are those of one file system, the target's device.
type DeletedFiles struct {
	Rows     []DeletedFile // the most bytes first, at most 50
	Files    int           // all of them, each once
	Bytes    uint64        // that they take
	Unlooked int           // processes that may not be asked, or that there was no time for
}

// DeletedFile is one file, with a process that holds it. Its start is known in steps of 10 ms.
type DeletedFile struct {
	Process
	Comm    Raw
	Path    Raw // as it was when it was deleted
	Bytes   uint64
	Holders int // processes and descriptors that hold it
}

func (d *Deleted) put(s *Snapshot) { s.Deleted = d }

// Apart is what d counts of single targets, and over which span.
func (d *Deleted) Apart() ([]Targeted[DeletedFiles], Span) { return d.Narrowed, d.Span }

func (d *Deleted) size() int {
	n := allocSize(unsafe.Sizeof(*d)) + sliceSize(d.Narrowed)
	for i := range d.Narrowed {
		rows := d.Narrowed[i].Sample.Rows
		n += sliceSize(rows)
		for k := range rows {
			n += textSize(rows[k].Comm, rows[k].Path)
		}
	}
	return n
}

const (
	// deletedEvery is how often is looked while somebody wants it.
	deletedEvery = 10 * time.Second
	// deletedWork bounds one look: a link takes 2 µs.
	deletedWork   = 250 * time.Millisecond
	deletedRows   = 50
	maxDeletedKey = 10000 // files that are told apart
	mountText     = 1 << 20
)

type deletedCollector struct {
	fs      FS
	work    time.Duration
	targets []Target
	since   map[Target]time.Duration
	reading aside[map[Target]DeletedFiles]
	due     time.Duration // of the next look
	begun   bool
	last    time.Duration
	err     error
}

// NewDeleted returns the collector of Deleted.
func NewDeleted(fs FS) Collector { return &deletedCollector{fs: fs, work: deletedWork} }

func (c *deletedCollector) Meta() Meta {
	return Meta{ID: DeletedID, OnDemand: true, Slow: true}
}

func (c *deletedCollector) Start(context.Context) error {
	c.since, c.due, c.begun, c.err = map[Target]time.Duration{}, 0, false, nil
	return nil
}

// Narrow implements Narrower: the file systems, by their device.
func (c *deletedCollector) Narrow(targets []Target) error {
	c.targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != DiskTarget })
	return nil
}

// Collect asks for a look, off the tick's path: what takes longer than a moment is in the sample of a later
// tick. At the others there is no sample.
func (c *deletedCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	targets, fs, work := c.targets, c.fs, c.work
	if len(targets) > 0 && now >= c.due {
		c.due = now + deletedEvery
		c.reading.ask(now, func() (map[Target]DeletedFiles, error) { return findDeleted(fs, targets, work) })
	}
	if !c.reading.open() {
		return nil, nil
	}
	read, err := c.reading.take(ctx, limitPatience)
	if c.err = nil; err != nil {
		if !errors.Is(err, errNoAnswer) {
			c.err = fmt.Errorf("looking for deleted files: %w", err)
		}
		return nil, c.err
	}
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := &Deleted{Span: Span{c.last, now}}
	for _, t := range targets {
		found, ok := read[t]
		if !ok { // wanted since the question was asked
			continue
		}
		if _, ok := c.since[t]; !ok {
			c.since[t] = now
		}
		s.Narrowed = append(s.Narrowed, Targeted[DeletedFiles]{Target: t, Since: c.since[t], Sample: found})
	}
	c.last = now
	return s, nil
}

// deletedKey is a file.
type deletedKey struct {
	dev   DevID // of its file system's mount
	inode DevID // of the file: on btrfs each subvolume has its own
	ino   uint64
}

// findDeleted goes through the descriptors of all processes. A file is named by its link, which says that
// it was deleted, and its size is asked without waiting for a server.
func findDeleted(fs FS, targets []Target, work time.Duration) (map[Target]DeletedFiles, error) {
	dir, err := os.Open(fs.path(""))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	began, left := time.Now(), 0
	over := func() bool { return time.Since(began) >= work }
	files := map[deletedKey]*DeletedFile{}
	for _, name := range names {
		pid, err := strconv.ParseInt(name, 10, 32)
		if err != nil {
			continue
		}
		if over() || !deletedOf(fs, int32(pid), targets, files, over) {
			left++
		}
	}
	out := make(map[Target]DeletedFiles, len(targets))
	for _, t := range targets {
		d := DeletedFiles{Unlooked: left}
		for k, f := range files {
			if k.dev == DevID(t.Dev) {
				d.Files++
				d.Bytes += f.Bytes
				d.Rows = append(d.Rows, *f)
			}
		}
		sortBy(d.Rows, func(a, b DeletedFile) int {
			return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.TGID, b.TGID), cmp.Compare(a.Path.s, b.Path.s))
		})
		d.Rows = slices.Clone(d.Rows[:min(len(d.Rows), deletedRows)])
		out[t] = d
	}
	return out, nil
}

// deletedOf adds what one process holds; false if it may not be asked, or the time is over.
func deletedOf(fs FS, pid int32, targets []Target, files map[deletedKey]*DeletedFile, over func() bool) bool {
	base := fs.path(strconv.Itoa(int(pid)) + "/fd")
	dir, err := os.Open(base)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(mostFiles)
	if err != nil {
		return len(names) == 0
	}
	var mounts mountDevices
	for _, name := range names {
		if over() {
			return false
		}
		path := base + "/" + name
		link, err := os.Readlink(path)
		if err != nil {
			continue
		}
		was, gone := strings.CutSuffix(link, " (deleted)")
		if !gone || !strings.HasPrefix(was, "/") {
			continue
		}
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &st) != nil || st.Nlink != 0 {
			continue
		}
		dev := MakeDev(st.Dev_major, st.Dev_minor)
		k := deletedKey{dev, dev, st.Ino}
		if !wantsDevice(targets, k.dev) {
			if st.Dev_major != 0 || !slices.ContainsFunc(targets, func(t Target) bool { return DevID(t.Dev).Major() == 0 }) {
				continue
			}
			if k.dev = mounts.of(fs, pid, name); !wantsDevice(targets, k.dev) {
				continue
			}
		}
		f := files[k]
		switch {
		case f == nil && len(files) >= maxDeletedKey:
			return false
		case f == nil:
			f = &DeletedFile{Path: RawString(was), Bytes: st.Blocks * 512}
			b, err := fs.readSome(strconv.Itoa(int(pid))+"/stat", 4096)
			var s pidStat
			if err == nil && parsePIDStat(b, &s) == nil {
				f.Process, f.Comm = Process{fs.pids.here(pid), s.StartTicks * tickNs}, RawString(unix.ByteSliceToString(s.Comm[:]))
			}
			files[k] = f
		}
		f.Holders++
	}
	return true
}

// Probes is one row.
func (c *deletedCollector) Probes() []Probe {
	p := Probe{Name: "lsof", Hook: "/proc/PID/fd", State: Idle, Reason: "read while a file system is full"}
	if c.since == nil || len(c.targets) == 0 && !c.begun { // doctor opens it and has no file system to name
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	return []Probe{p}
}

func (c *deletedCollector) Close() error {
	c.since, c.begun, c.err = nil, false, nil
	return nil
}

func wantsDevice(targets []Target, dev DevID) bool {
	return dev != 0 && slices.ContainsFunc(targets, func(t Target) bool { return DevID(t.Dev) == dev })
}

// mountDevices are the devices of a process's mounts, by number. They are read when the first is asked for.
type mountDevices map[uint64]DevID

// of is the device of the mount that an open file is on, 0 if it cannot be told: one that was unmounted, or
// that the process's namespace does not show. A file on btrfs has a device of its subvolume, which no mount
// has (Documentation/filesystems/proc.rst: mnt_id of fdinfo).
func (m *mountDevices) of(fs FS, pid int32, fd string) DevID {
	if *m == nil {
		*m = mountDevices{}
		text, err := fs.readSome(fmt.Sprintf("%d/mountinfo", pid), mountText)
		for err == nil && len(text) > 0 {
			var line []byte
			line, text = cutLine(text)
			first, _ := cutField(line)
			if id, ok := parseUint(first); ok {
				mount, _ := parseMount(line)
				(*m)[id] = mount.Dev
			}
		}
	}
	info, err := fs.readSome(fmt.Sprintf("%d/fdinfo/%s", pid, fd), 4096)
	if err != nil {
		return 0
	}
	id, _ := parseMountID(info)
	return (*m)[id]
}
