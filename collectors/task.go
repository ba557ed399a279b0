// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// TasksID is the collector of every process.
const TasksID ID = "tasks"

// ProcInfo is the part of a process that rarely changes. It is interned: samples that show the
// same process share it, and it is never written after it is published.
type ProcInfo struct {
	Process
	PID    int32 // equals TGID
	PPID   int32
	UID    uint32
	Comm   Raw
	Kernel bool // a kernel thread
	Nice   int8
}

// TaskRow is one process over the span. Times are sums over its threads, where Tasks.Source is
// "iter/task". From "/proc", Run has the threads' sum in steps of 10 ms (exact for a process of one thread),
// Wait is the leader's alone, and switches are not counted.
type TaskRow struct {
	*ProcInfo
	Run                    time.Duration // on a CPU (se.sum_exec_runtime)
	Wait                   time.Duration // runnable and not running (sched_info.run_delay)
	LeadWait               time.Duration // the leader's share of Wait: pidstat's %wait
	Voluntary, Involuntary uint64        // context switches
	Threads                uint32
	State                  byte   // of the leader: R S D T t Z X I
	Blocked                uint16 // threads in D, the leader included
}

// Tasks is one scan of all tasks. In the first one, and after a change of Source, rows hold no
// times: processes in D only.
type Tasks struct {
	Span
	Rows []TaskRow // processes that ran, waited or are in D; unordered

	Processes, Threads       int    // all of them
	Running, Uninterruptible int    // threads in R (ourselves included) and D; from "/proc" leaders only
	Zombies                  int    // processes
	Source                   string // "iter/task" or "/proc"
}

func (t *Tasks) put(s *Snapshot) { s.Tasks = t }

// taskRec is what a scan finds out about one thread; what is cumulative counts from its start. A
// scanner that sees processes as a whole gives one record for each, as the leader's.
type taskRec struct {
	PID, TGID, PPID int32
	Start           uint64 // of the process, ns since boot
	Run, Wait       uint64 // ns; see TaskRow
	Vol, Invol      uint64
	// DeadRun, DeadVol and DeadInvol are what the process's dead threads had counted
	// (signal->sum_sched_runtime, nvcsw, nivcsw). They stand in the leader's record, and are 0
	// where Run, Vol and Invol have them already, or they are not known.
	DeadRun, DeadVol, DeadInvol uint64

	UID     uint32
	Threads uint32 // that this record stands for
	Nice    int8
	State   byte
	Kernel  bool
	Comm    [commLen]byte // NUL-terminated

	info *ProcInfo // of a leader that had a row; deriveTasks hands it on
}

// name is the bytes of Comm.
func (r *taskRec) name() []byte {
	for i, c := range r.Comm {
		if c == 0 {
			return r.Comm[:i]
		}
	}
	return r.Comm[:]
}

// taskScanner reads all tasks of the host at once. Like a Collector it belongs to one goroutine.
type taskScanner interface {
	// Open acquires the source; the error may be a NeedError.
	Open(ctx context.Context) error
	// Scan appends a record for each thread and returns the longer slice, which is the caller's.
	Scan(ctx context.Context, recs []taskRec) ([]taskRec, error)
	// Probe says how the scanner works. Its state counts when no better scanner was refused.
	Probe() Probe
	// Source is Tasks.Source.
	Source() string
	Close() error
}

type taskCollector struct {
	scanners []taskScanner // best first
	use      int           // index of the one in use; len(scanners) if none works
	refused  error         // why a better one is not

	prev, cur []taskRec
	boot      uint64 // ns since boot when prev was read
	begun     bool   // prev is set
	last      time.Duration
	err       error // of the last Collect
}

// NewTasks returns the collector of Tasks. It uses the first of better that opens, and turns to the
// next when one fails; the last of all is a scan of /proc.
func NewTasks(fs FS, better ...taskScanner) Collector {
	scanners := append(slices.Clone(better), newProcScanner(fs))
	return &taskCollector{scanners: scanners, use: len(scanners)}
}

func (c *taskCollector) Meta() Meta { return Meta{ID: TasksID} }

func (c *taskCollector) Start(ctx context.Context) error {
	c.refused, c.err = nil, nil
	return c.open(ctx, 0)
}

// open puts the first scanner from index i on to use.
func (c *taskCollector) open(ctx context.Context, i int) error {
	c.begun = false
	for c.use = i; c.use < len(c.scanners); c.use++ {
		err := c.scanners[c.use].Open(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.refused = err
	}
	if c.refused == nil {
		return errors.New("no way to read tasks")
	}
	return c.refused
}

// Collect scans. A scanner that fails is given up for the next one, which needs a baseline of its own:
// its counters and the starts of its processes are not the same.
func (c *taskCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	for c.use < len(c.scanners) {
		s := c.scanners[c.use]
		boot := bootNs()
		recs, err := s.Scan(ctx, c.cur[:0])
		c.cur = recs
		if err == nil {
			return c.derive(boot, now), nil
		}
		c.err = fmt.Errorf("reading tasks from %s: %w", s.Source(), err)
		if ctx.Err() != nil || c.use == len(c.scanners)-1 {
			return nil, c.err
		}
		c.refused = errors.Join(c.err, s.Close())
		if err := c.open(ctx, c.use+1); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no way to read tasks")
}

func (c *taskCollector) derive(boot uint64, now time.Duration) *Tasks {
	c.err = nil
	if !c.begun {
		c.prev, c.last = nil, now
	}
	sortByPID(c.cur)
	t := deriveTasks(c.prev, c.cur, c.boot, Span{c.last, now})
	t.Source = c.scanners[c.use].Source()
	c.prev, c.cur = c.cur, c.prev
	c.boot, c.last, c.begun = boot, now, true
	return t
}

// sortByPID sorts what both scanners list in order already, and promise nowhere.
func sortByPID(recs []taskRec) {
	for i := 1; i < len(recs); i++ {
		if recs[i-1].PID > recs[i].PID {
			slices.SortFunc(recs, func(a, b taskRec) int { return cmp.Compare(a.PID, b.PID) })
			return
		}
	}
}

func (c *taskCollector) Probes() []Probe {
	if c.use >= len(c.scanners) {
		p := Probe{Name: "pidstat", Hook: "/proc/PID/stat", State: Off} // why is the runner's to say
		if c.refused != nil {
			p.State = Failed
			p.explain(c.refused)
		}
		return []Probe{p}
	}
	p := c.scanners[c.use].Probe()
	p.Name = "pidstat"
	switch {
	case c.err != nil:
		p.State, p.Reason = Failed, clean(c.err.Error())
	case !c.begun:
		p.State, p.Reason = Warming, "not read yet"
	case c.refused != nil:
		p.State = Degraded
		p.explain(c.refused)
	}
	return []Probe{p}
}

// explain takes reason and remedy from err.
func (p *Probe) explain(err error) {
	p.Reason, p.Remedy = clean(err.Error()), ""
	if need, ok := errors.AsType[*NeedError](err); ok {
		p.Reason, p.Remedy = "needs "+need.Need, need.Remedy
	}
}

func (c *taskCollector) Close() error {
	var errs []error
	for _, s := range c.scanners {
		errs = append(errs, s.Close())
	}
	c.use, c.begun = len(c.scanners), false
	return errors.Join(errs...)
}

// bootNs is the time since boot, suspended time included: the clock of a task's start.
func bootNs() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}
