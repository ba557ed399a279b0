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

// Tasks is one scan of all tasks. In the first one, and after a change of Source, rows hold no
// times.
type Tasks struct {
	Span
	// Rows are the processes that ran, waited, are in D, or changed in what else a row or a ProcInfo
	// says; unordered. A process without a row is as its last one says, or Key.
	Rows []TaskRow
	// Key is every process there was at the end of the span, ascending by TGID; nil in most samples.
	// Whoever wants all processes takes the newest Key and the Rows and Gone since.
	Key  []TaskState
	Gone []Process // processes that ended since the last scan

	Busy         []ThreadRow // threads, while somebody wants them: the busiest MaxThreads, busiest first
	BusyUnlisted int         // threads that moved as well
	BusyAll      bool        // Busy is of all processes

	Processes, Threads       int    // all of them
	Running, Uninterruptible int    // threads in R (ourselves included) and D; from "/proc" leaders only
	Zombies                  int    // processes
	KernelThreads            int    // of Processes
	Source                   string // SourceIter or SourceProc
}

// What Tasks come from.
const (
	SourceIter = "iter/task"
	SourceProc = "/proc"
)

func (t *Tasks) put(s *Snapshot) { s.Tasks = t }

// rare: the list of all processes is in the first sample and in few others.
func (t *Tasks) rare() bool { return t.Key != nil }

// keyEvery is how many scans pass between two samples with a Key, and keyWithin how much time: screens
// show 10 minutes, however few scans these have.
const (
	keyEvery  = 60
	keyWithin = 5 * time.Minute
)

// taskRec is what a scan finds out about one thread; what is cumulative counts from its start. A
// scanner that sees processes as a whole gives one record for each, as the leader's.
type taskRec struct {
	PID, TGID, PPID int32
	There           int32       // what /proc calls PID; 0: not known
	Start           uint64      // of the process, ns since boot
	taskCounts                  // its own
	Dead            *taskCounts // what the process's dead threads had counted, in the leader's record; nil if nothing; see gone
	Wait            uint64      // ns; see TaskRow
	Delay           uint64      // ns

	RSS, Swap, VSZ uint64 // pages, of the process
	Cgroup         uint64
	NetNS          uint32
	ExecID         uint32 // changes with each exec, where it is known

	UID     uint32
	Threads uint32 // that this record stands for
	Nice    int8
	Prio    int16
	Policy  uint8
	State   byte
	Kernel  bool
	Lacks   Lack
	Comm    [commLen]byte // NUL-terminated
	LastCPU uint16        // as in ThreadRow

	// Of leaders, handed on from scan to scan by deriveTasks.
	info *ProcInfo
	told toldGauges // what the last row or Key said
	sys  uint64     // ns of the process's run time that were the kernel's, as far as told
}

// dead is what the process's dead threads had counted.
func (r *taskRec) dead() taskCounts {
	if r.Dead == nil {
		return taskCounts{}
	}
	return *r.Dead
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
	book     *nameBook
	bell     *scanBell

	prev, cur []taskRec
	scratch   procDeltas
	boot      uint64 // ns since boot when prev was read
	begun     bool   // prev is set
	scans     int    // since the last Key; 0: it is due
	last      time.Duration
	keyAt     time.Duration // of the last Key
	err       error         // of the last Collect
	threads   threadWant
}

// newTasks returns the collector of Tasks. It uses the first of better that opens, and turns to the
// next when one fails; the last of all is a scan of /proc. It rings the bell before each scan.
func newTasks(fs FS, bell *scanBell, better ...taskScanner) *taskCollector {
	scanners := append(slices.Clone(better), newProcScanner(fs))
	return &taskCollector{scanners: scanners, use: len(scanners), book: newNameBook(fs), bell: bell}
}

func (c *taskCollector) Meta() Meta { return Meta{ID: TasksID} }

func (c *taskCollector) Start(ctx context.Context) error {
	c.refused, c.err = nil, nil
	c.book.start()
	return c.open(ctx, 0)
}

// open puts the first scanner from index i on to use.
func (c *taskCollector) open(ctx context.Context, i int) error {
	c.begun = false
	for c.use = i; c.use < len(c.scanners); c.use++ {
		err := c.scanners[c.use].Open(ctx)
		if err == nil {
			if c.use == len(c.scanners)-1 {
				c.book.fs.pids.trust()
			}
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
		c.bell.ring(boot)
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

// ThreadsTarget is the Target of a Want for the threads of all processes; a ProcessTarget is one for those
// of one process, the idle ones too.
func ThreadsTarget() Target { return Target{Kind: NamedTarget, Name: "threads"} }

// Narrow implements Narrower: it says which threads the samples list. Processes are listed anyway.
func (c *taskCollector) Narrow(targets []Target) error {
	c.threads = threadWant{}
	for _, t := range targets {
		switch {
		case t == ThreadsTarget():
			c.threads.all = true
		case t.Kind == ProcessTarget:
			c.threads.processes = append(c.threads.processes, t.Process)
		}
	}
	return nil
}

func (c *taskCollector) derive(boot uint64, now time.Duration) *Tasks {
	c.err = nil
	if !c.begun {
		c.prev, c.last, c.scans = nil, now, 0
	}
	key := c.scans%keyEvery == 0 || now-c.keyAt >= keyWithin
	if key {
		c.keyAt, c.scans = now, 0
	}
	sortByPID(c.cur)
	c.book.take()
	t := deriveTasks(c.prev, c.cur, scanOptions{
		prevBoot: c.boot, span: Span{c.last, now}, key: key, names: c.book, threads: c.threads,
		scratch: &c.scratch,
	})
	t.Source = c.scanners[c.use].Source()
	c.book.read(c.cur, t)
	c.prev, c.cur = c.cur, c.prev
	c.boot, c.last, c.begun = boot, now, true
	c.scans++
	return t
}

// sortByPID sorts what both scanners list in order already, and promise nowhere.
func sortByPID(recs []taskRec) {
	for i := 1; i < len(recs); i++ {
		if recs[i-1].PID > recs[i].PID {
			sortBy(recs, func(a, b taskRec) int { return cmp.Compare(a.PID, b.PID) })
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
	case c.book.trouble() != "":
		p.State, p.Reason = Degraded, c.book.trouble()
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
	c.book.stop()
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
