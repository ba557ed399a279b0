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

// FilesID is the collector of files made and deleted.
const FilesID ID = "files"

// Files is which files were made and deleted over the span.
type Files struct {
	Span
	FileCounts
	LifeTotal Hist // since the programs attached

	Churn         []FileChurn // processes in directories that did something, busiest first
	ChurnUnlisted int
	Lives         []FileLife // files that were made and deleted while we looked, oldest first
	LivesUnlisted uint64     // of those deleted in the span
	LivesLost     uint64

	Narrowed  []Targeted[FileCounts]
	EveryFS   bool   // false: ext4 alone is seen
	Forgotten uint64 // files made of which nothing is known when they are deleted: there was no room
}

// FileCounts are additive deltas.
type FileCounts struct {
	Made, Deleted uint64
	Life          Hist // of the deleted that were made while we looked
}

// FileChurn is a process in a directory, additive deltas.
type FileChurn struct {
	Process   Process
	Comm      Raw
	Directory Raw // the last part of its path; empty where nothing told it
	Dev       DevID
	Ino       uint64

	Made, Deleted uint64
	Aged          uint64        // of the deleted: those whose age is known
	Life          time.Duration // of those, all together
}

// FileLife is one file from its making to its end.
type FileLife struct {
	At     time.Duration // of its end, monotonic since the run began
	Life   time.Duration
	By     Process // who deleted it
	Comm   Raw
	MadeBy Process
	Path   Raw    // on its file system: what is mounted above does not show; … if it is longer
	FS     string // type of file system
	Dev    DevID
	Size   uint64 // bytes
}

func (f *Files) put(s *Snapshot) { s.Files = f }

func (f *Files) size() int {
	n := allocSize(unsafe.Sizeof(*f)) + sliceSize(f.Churn) + sliceSize(f.Lives) + sliceSize(f.Narrowed)
	for i := range f.Churn {
		n += len(f.Churn[i].Directory.Bytes())
	}
	for i := range f.Lives {
		n += len(f.Lives[i].Path.Bytes())
	}
	return n
}

// fileReader is what the collector needs of bpf.Files.
type fileReader interface {
	Method() bpf.FileMethod
	Passed() error
	Read() ([bpf.FilterSlots]bpf.FileCounts, error)
	ReadChurn(each func(*bpf.FileChurnKey, *bpf.FileChurn)) error
	Forget(keys []bpf.FileChurnKey) error
	Age(limit time.Duration) (int, error)
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

const (
	// churnIdle is how long a row of churn may stand still before its place in the map is given up.
	churnIdle = time.Minute
	// births are kept at least so long when there are more files than room.
	birthAge = time.Minute
	// birthsEvery bounds how often the births are gone through.
	birthsEvery = 10 * time.Second
)

type fileCollector struct {
	open func() (fileReader, error)
	feed feed
	boot func() int64 // boot time, ns

	r       fileReader
	begun   bool
	err     error
	last    time.Duration
	base    bpf.FileCounts
	prev    [bpf.FilterSlots]bpf.FileCounts
	churn   map[bpf.FileChurnKey]*churnRow
	aged    time.Duration
	events  bpf.EventCounts
	slots   narrowing
	other   uint64
	counted uint64
}

// churnRow is what is known of a row of the map.
type churnRow struct {
	last  bpf.FileChurn
	moved time.Duration
	seen  bool // in this reading
}

// NewFiles returns the collector of Files.
func NewFiles(k *bpf.Kernel, events feed) Collector {
	return &fileCollector{
		feed: events, boot: bootTime,
		open: func() (fileReader, error) {
			f, err := bpf.OpenFiles(k)
			if err != nil {
				return nil, err
			}
			return f, nil
		},
	}
}

func (c *fileCollector) Meta() Meta { return Meta{ID: FilesID, OnDemand: true, Slow: true} }

func (c *fileCollector) Start(context.Context) error {
	c.begun, c.err, c.churn, c.aged = false, nil, make(map[bpf.FileChurnKey]*churnRow), -birthsEvery
	c.events, c.slots, c.other, c.counted = bpf.EventCounts{}, narrowing{}, 0, 0
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the probes of files: %w", err)
	}
	if err := c.feed.open(bpf.EventFileLife); err != nil {
		return errors.Join(err, r.Close())
	}
	c.r = r
	return nil
}

// Narrow implements Narrower.
func (c *fileCollector) Narrow(targets []Target) error {
	filters, err := c.slots.filters(targets)
	slots, more := c.r.Narrow(filters)
	c.slots.assign(slots)
	return errors.Join(err, more)
}

// Pause implements Pauser.
func (c *fileCollector) Pause(on bool) error { return c.r.Pause(on) }

// Collect reads the counts, the rows that moved and the events.
func (c *fileCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	s, err := c.collect(now)
	c.err = err
	if errors.Is(err, ErrWarming) {
		c.err = nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *fileCollector) collect(now time.Duration) (*Files, error) {
	cur, err := c.r.Read()
	if err != nil {
		return nil, err
	}
	s := &Files{Span: Span{c.last, now}, EveryFS: c.r.Method() == bpf.FilesByFentry}
	if s.Churn, s.ChurnUnlisted, err = c.readChurn(now); err != nil {
		return nil, err
	}
	boot := c.boot()
	events, err := c.feed.take(bpf.EventFileLife, func(rec []byte) {
		if e, ok := bpf.FileLifeOf(rec); ok {
			s.Lives = append(s.Lives, fileLife(e, boot, now))
		}
	})
	if err != nil {
		return nil, err
	}
	s.Lives = newestOf(s.Lives, maxListed)
	first := !c.begun
	if first {
		c.base = cur[0]
	}
	s.FileCounts = fileDelta(&c.prev[0], &cur[0])
	s.Forgotten = grown(c.prev[0].Forgotten, cur[0].Forgotten)
	s.LifeTotal = histSince(&cur[0].Life, &c.base.Life)
	s.LivesLost = events.Lost - c.events.Lost
	s.LivesUnlisted = grown(c.prev[0].Aged, cur[0].Aged)
	s.LivesUnlisted -= min(s.LivesUnlisted, uint64(len(s.Lives))+s.LivesLost)
	c.slots.each(now, func(slot int, t Target, since time.Duration, fresh bool) {
		if fresh {
			return // its base is this reading
		}
		s.Narrowed = append(s.Narrowed, Targeted[FileCounts]{t, since, fileDelta(&c.prev[slot], &cur[slot])})
	})
	if !first {
		c.counted += s.Made + s.Deleted
	}
	c.other = cur[0].Other - c.base.Other
	c.prev, c.last, c.begun, c.events = cur, now, true, events
	if s.Forgotten > 0 && now-c.aged >= birthsEvery {
		c.aged = now
		if _, err := c.r.Age(birthAge); err != nil {
			return nil, err
		}
	}
	if first {
		return nil, ErrWarming
	}
	return s, nil
}

func fileDelta(prev, cur *bpf.FileCounts) FileCounts {
	return FileCounts{
		Made: grown(prev.Made, cur.Made), Deleted: grown(prev.Deleted, cur.Deleted),
		Life: histSince(&cur.Life, &prev.Life),
	}
}

// readChurn returns the rows that moved, the busiest first, and how many more there are.
func (c *fileCollector) readChurn(now time.Duration) (rows []FileChurn, unlisted int, err error) {
	err = c.r.ReadChurn(func(k *bpf.FileChurnKey, v *bpf.FileChurn) {
		row := c.churn[*k]
		if row == nil {
			row = &churnRow{moved: now}
			c.churn[*k] = row
		}
		d := FileChurn{
			Process: Process{k.By.Tgid, k.By.Start}, Comm: rawText(v.Comm[:]), Directory: rawText(v.Dir[:]),
			Dev: DevID(k.Dir.Dev), Ino: k.Dir.Ino,
			Made: grown(row.last.Made, v.Made), Deleted: grown(row.last.Deleted, v.Deleted),
			Aged: grown(row.last.Aged, v.Aged), Life: time.Duration(grown(row.last.Life, v.Life)),
		}
		row.last, row.seen = *v, true
		if d.Made+d.Deleted > 0 {
			row.moved = now
			rows = append(rows, d)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	var idle []bpf.FileChurnKey
	for k, row := range c.churn {
		if now-row.moved >= churnIdle || !row.seen {
			idle = append(idle, k)
			delete(c.churn, k)
		}
		row.seen = false
	}
	if err := c.r.Forget(idle); err != nil {
		return nil, 0, err
	}
	sortBy(rows, func(a, b FileChurn) int {
		return cmp.Or(cmp.Compare(b.Made+b.Deleted, a.Made+a.Deleted), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Ino, b.Ino))
	})
	if len(rows) > maxListed {
		unlisted, rows = len(rows)-maxListed, slices.Clone(rows[:maxListed])
	}
	return rows, unlisted, nil
}

func fileLife(e *bpf.FileLife, boot int64, now time.Duration) FileLife {
	return FileLife{
		At: eventTime(e.Head.At, boot, now), Life: time.Duration(e.Life),
		By: Process{e.By.Tgid, e.By.Start}, Comm: rawText(e.Comm[:]), MadeBy: Process{e.Made.Tgid, e.Made.Start},
		Path: filePath(e), FS: plain(text(e.Fs[:])), Dev: DevID(e.File.Dev), Size: e.Size,
	}
}

// filePath joins the names, which come from the file upwards.
func filePath(e *bpf.FileLife) Raw {
	var parts []string
	for i := range e.Path {
		name := text(e.Path[i][:])
		if name == "" {
			break
		}
		parts = append(parts, name)
	}
	slices.Reverse(parts)
	path := "/" + strings.Join(parts, "/")
	if len(parts) == len(e.Path) {
		path = "…" + path // there may be more above
	}
	return RawString(path)
}

// Probes implements Collector.
func (c *fileCollector) Probes() []Probe {
	p := Probe{Name: "filelife", State: Idle, Hook: bpf.FilesByFentry.String()}
	if c.r == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Hook, p.Events, p.NsPerEvent = c.r.Method().String(), c.counted, bpf.CostFile
	p.Lost = c.events.Lost + c.other
	if err := c.r.Passed(); err != nil && p.State == On {
		p.State = Degraded
		p.explain(err)
		p.Reason = "ext4 alone is seen: " + p.Reason
	}
	return []Probe{p}
}

func (c *fileCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := errors.Join(c.feed.close(bpf.EventFileLife), c.r.Close())
	c.r = nil
	return err
}
