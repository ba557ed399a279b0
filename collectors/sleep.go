// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SleepsID is the on-demand collector of where the threads of single processes wait, by /proc.
const SleepsID ID = "sleeps"

// Sleeps is where the threads of the processes that somebody asks about wait: one look, all gauges. It
// needs no program in the kernel, as Waits does, and tells no stacks.
type Sleeps struct {
	Span
	Narrowed []Targeted[SleepCounts]
}

// SleepCounts are those of one process.
type SleepCounts struct {
	Comm     Raw
	Rows     []SleepRow // the most threads first
	Unlooked int        // threads beyond the first 64, and those that may not be asked
}

// SleepRow is the threads that wait in one function of the kernel. Both are empty of those that run.
type SleepRow struct {
	Class    string // WaitFutex, …
	Function string
	Threads  int
}

func (s *Sleeps) put(snap *Snapshot) { snap.Sleeps = s }

// Apart is what s counts of single targets, and over which span.
func (s *Sleeps) Apart() ([]Targeted[SleepCounts], Span) { return s.Narrowed, s.Span }

func (s *Sleeps) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Narrowed)
	for i := range s.Narrowed {
		n += sliceSize(s.Narrowed[i].Sample.Rows) + textSize(s.Narrowed[i].Sample.Comm)
	}
	return n
}

// maxSleepers bounds the threads of one process that are asked: one takes some microseconds.
const maxSleepers = 64

type sleepCollector struct {
	fs      FS
	classes classifier
	targets []Target
	since   map[Target]time.Duration
	begun   bool
	last    time.Duration
}

// NewSleeps returns the collector of Sleeps.
func NewSleeps(fs FS) Collector { return &sleepCollector{fs: fs, classes: newClassifier()} }

func (c *sleepCollector) Meta() Meta { return Meta{ID: SleepsID, OnDemand: true, Slow: true} }

func (c *sleepCollector) Start(context.Context) error {
	c.since, c.begun = map[Target]time.Duration{}, false
	return nil
}

// Narrow implements Narrower: of other targets than processes there is nothing to read.
func (c *sleepCollector) Narrow(targets []Target) error {
	c.targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != ProcessTarget })
	return nil
}

// Collect looks at the threads of all targets. None of the files can be blocked by another process.
func (c *sleepCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := &Sleeps{Span: Span{c.last, now}}
	for _, t := range c.targets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		counts, ok := c.look(t.Process)
		if !ok {
			continue
		}
		if _, ok := c.since[t]; !ok {
			c.since[t] = now
		}
		s.Narrowed = append(s.Narrowed, Targeted[SleepCounts]{Target: t, Since: c.since[t], Sample: counts})
	}
	c.last = now
	return s, nil
}

// look asks the first threads of a process; false if it has ended.
func (c *sleepCollector) look(p Process) (SleepCounts, bool) {
	dir := c.fs.dir(p.TGID) + "/"
	b, err := c.fs.readSome(dir+"stat", 4096)
	var stat pidStat
	if err != nil || parsePIDStat(b, &stat) != nil || p.Start != 0 && stat.StartTicks != p.Start/tickNs {
		return SleepCounts{}, false
	}
	s := SleepCounts{Comm: RawString(unix.ByteSliceToString(stat.Comm[:]))}
	tasks, err := os.Open(c.fs.path(dir + "task"))
	if err != nil {
		return SleepCounts{}, false
	}
	defer tasks.Close()
	names, err := tasks.Readdirnames(maxSleepers)
	if err != nil && len(names) == 0 {
		return SleepCounts{}, false
	}
	s.Unlooked = max(int(stat.Threads)-len(names), 0)
	in := map[string]int{}
	for _, tid := range names {
		function, err := c.fs.text(dir + "task/" + tid + "/wchan")
		if err != nil {
			s.Unlooked++
			continue
		}
		in[function]++
	}
	for function, n := range in {
		row := SleepRow{Threads: n}
		if function != "0" && function != "" {
			row.Function, row.Class = c.classes.of([]string{clean(function)}, false, false)
		}
		s.Rows = append(s.Rows, row)
	}
	sortBy(s.Rows, func(a, b SleepRow) int {
		return cmp.Or(cmp.Compare(b.Threads, a.Threads), cmp.Compare(a.Function, b.Function))
	})
	return s, true
}

// Probes is one row.
func (c *sleepCollector) Probes() []Probe {
	p := Probe{Name: "wchan", Hook: "/proc/PID/task/TID/wchan", State: Idle, Reason: "read while nothing is short, for 10 s a minute"}
	if c.since == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, nil)
	if p.State == On && unix.Geteuid() != 0 {
		p.State, p.Reason = Degraded, fmt.Sprintf("threads of other users' processes may not be asked by user %d", unix.Geteuid())
		p.Remedy = "run as root"
	}
	return []Probe{p}
}

func (c *sleepCollector) Close() error {
	c.since, c.begun = nil, false
	return nil
}
