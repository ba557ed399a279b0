// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"
)

// LimitsID is the on-demand collector of the resource limits of single processes.
const LimitsID ID = "limits"

// Limits are the resource limits of the processes that somebody looks at, and what they use of them.
// Everything is a gauge of the end of the span.
type Limits struct {
	Span
	Narrowed []Targeted[ProcessLimits]
}

// ProcessLimits are those of one process.
type ProcessLimits struct {
	Rows  []ResourceLimit // in the kernel's order; nil: see Why
	Files uint64          // open file descriptors, where FilesKnown
	Anon  uint64          // anonymous memory in bytes, where AnonKnown
	Why   string          // why there are no rows; empty when there are

	FilesKnown, AnonKnown bool
}

// ResourceLimit is one limit (getrlimit(2)).
type ResourceLimit struct {
	Name       string // as ulimit and prlimit name it, in small letters: "nofile"
	Unit       string // "bytes", "files"; empty where the kernel prints none
	Soft, Hard uint64 // NoLimit: unlimited
	Used       uint64 // of the process, but for sigpending, which counts its user's
	Known      bool   // Used is measured
}

func (l *Limits) put(s *Snapshot) { s.Limits = l }

func (l *Limits) size() int {
	n := allocSize(unsafe.Sizeof(*l)) + sliceSize(l.Narrowed)
	for i := range l.Narrowed {
		n += sliceSize(l.Narrowed[i].Sample.Rows)
	}
	return n
}

// withoutRows returns a copy that keeps what is in use of file descriptors.
func (l *Limits) withoutRows() *Limits {
	c := *l
	c.Narrowed = slices.Clone(l.Narrowed)
	for i := range c.Narrowed {
		c.Narrowed[i].Sample.Rows = nil
	}
	return &c
}

// limitPatience is how long a tick waits for files that another process can block.
const limitPatience = 100 * time.Millisecond

type limitCollector struct {
	fs      FS
	targets []Target
	since   map[Target]time.Duration
	reading aside[map[Target]ProcessLimits]
	begun   bool
	last    time.Duration
	err     error
}

// NewLimits returns the collector of Limits.
func NewLimits(fs FS) Collector { return &limitCollector{fs: fs} }

func (c *limitCollector) Meta() Meta { return Meta{ID: LimitsID, OnDemand: true} }

func (c *limitCollector) Start(context.Context) error {
	c.since, c.begun, c.err = map[Target]time.Duration{}, false, nil
	return nil
}

// Narrow implements Narrower: of other targets than processes there is nothing to read.
func (c *limitCollector) Narrow(targets []Target) error {
	c.targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != ProcessTarget })
	return nil
}

// Collect reads the limits of all targets. There is no sample while a read blocks.
func (c *limitCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	targets, fs := c.targets, c.fs
	c.reading.ask(now, func() (map[Target]ProcessLimits, error) {
		out := make(map[Target]ProcessLimits, len(targets))
		for _, t := range targets {
			out[t] = readLimits(fs, t.Process)
		}
		return out, nil
	})
	read, err := c.reading.take(ctx, limitPatience)
	if c.err = nil; err != nil {
		if !errors.Is(err, errNoAnswer) {
			c.err = fmt.Errorf("reading limits: %w", err)
			return nil, c.err
		}
		if now-c.reading.began >= time.Second {
			c.err = errors.New("reading /proc/PID/limits has had no answer for a second")
		}
		return nil, c.err
	}
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := &Limits{Span: Span{c.last, now}}
	since := make(map[Target]time.Duration, len(c.targets))
	for _, t := range c.targets {
		l, ok := read[t]
		if !ok { // wanted since the question was asked
			continue
		}
		if _, ok := c.since[t]; !ok {
			c.since[t] = now
		}
		since[t] = c.since[t]
		s.Narrowed = append(s.Narrowed, Targeted[ProcessLimits]{Target: t, Since: since[t], Sample: l})
	}
	c.since, c.last = since, now
	return s, nil
}

// readLimits reads what /proc tells of one process.
func readLimits(fs FS, p Process) ProcessLimits {
	if fs.unnamed(p.TGID) {
		return ProcessLimits{Why: whyUnnamed}
	}
	dir := fs.dir(p.TGID) + "/"
	if !isProcess(fs, dir, p) {
		return ProcessLimits{Why: "it has ended"}
	}
	b, err := fs.readSome(dir+"limits", 16<<10)
	if err != nil {
		return ProcessLimits{Why: limitTrouble(err)}
	}
	l := ProcessLimits{Rows: parseLimits(b)}
	if len(l.Rows) == 0 {
		l.Why = "the kernel prints no limits"
	}
	status, err := fs.readSome(dir+"status", 16<<10)
	if err != nil {
		status = nil
	}
	l.Files, l.FilesKnown = openFiles(fs, dir)
	used := parseLimitUse(status)
	l.Anon, l.AnonKnown = used[anonUse]
	if l.FilesKnown {
		used["nofile"] = l.Files
	}
	for i := range l.Rows {
		r := &l.Rows[i]
		r.Used, r.Known = used[r.Name], false
		_, r.Known = used[r.Name]
	}
	return l
}

// isProcess says whether the directory is still that process's: numbers are used again.
func isProcess(fs FS, dir string, p Process) bool {
	b, err := fs.readSome(dir+"stat", 4096)
	if err != nil {
		return false
	}
	var s pidStat
	return parsePIDStat(b, &s) == nil && (p.Start == 0 || s.StartTicks == p.Start/tickNs)
}

func limitTrouble(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "limits of other users' processes cannot be read: run as root"
	case errors.Is(err, os.ErrNotExist):
		return "it has ended"
	}
	return plain(err.Error())
}

// mostFiles bounds how many descriptors are counted one by one.
const mostFiles = 1 << 16

// openFiles counts the open files of a process. Since 6.2 the size of its directory says how many there
// are (fs/proc/fd.c, proc_fd_getattr); before, they are counted.
func openFiles(fs FS, dir string) (uint64, bool) {
	info, err := os.Stat(fs.path(dir + "fd"))
	if err != nil {
		return 0, false
	}
	f, err := os.Open(fs.path(dir + "fd")) // the right to look: stat needs none
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if n := info.Size(); n > 0 {
		return uint64(n), true
	}
	return listedFiles(f)
}

// listedFiles counts the names in a directory, if they are not too many.
func listedFiles(f *os.File) (uint64, bool) {
	n := uint64(0)
	for n < mostFiles {
		names, err := f.Readdirnames(1024)
		n += uint64(len(names))
		if len(names) == 0 || err != nil {
			return n, true
		}
	}
	return 0, false
}

// Probes is one row.
func (c *limitCollector) Probes() []Probe {
	p := Probe{Name: "prlimit", Hook: "/proc/PID/limits, status, fd", State: Idle, Reason: "read while looked at"}
	if c.since == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	return []Probe{p}
}

func (c *limitCollector) Close() error {
	c.since, c.begun, c.err = nil, false, nil
	return nil
}
