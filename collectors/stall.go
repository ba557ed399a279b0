// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// StallsID is the collector of threads in D.
const StallsID ID = "stalls"

// Bounds of a Stalls sample.
const (
	maxStalls      = 200
	maxStallGroups = 64
)

// NoBound is Stall.AtMost where nothing bounds the wait from above.
const NoBound time.Duration = -1

// Stack is where threads wait. It is shared by all samples that saw it, and never written.
type Stack struct {
	Frames   []string // functions of the kernel, the innermost first, without the scheduler's own; cleaned
	Function string   // the wait function: the first frame that is not plumbing; "" if unknown
	Class    string   // WaitDisk, …
}

// Stall is a thread in uninterruptible sleep.
type Stall struct {
	*Stack `record:"must"`
	TID    int32
	Task   Process
	Comm   Raw
	Kernel bool // a kernel thread
	IOWait bool // in io_schedule: vmstat's b counts it
	Device StallDevice

	// Seen is how long the same sleep has been seen: the thread did not switch meanwhile. It is the
	// least the wait has lasted. AtMost is how long ago the thread last got a CPU, the most it can
	// have lasted; NoBound if unknown.
	Seen, AtMost time.Duration
}

// StallGroup is the threads that wait in one function for one class of thing, on one device.
type StallGroup struct {
	Class, Function string
	Tasks, Kernel   int // all of them; the kernel threads among them
	Seen, AtMost    time.Duration
	Who             Raw // of the one that has waited longest
	Device          StallDevice
}

// Stalls is one look at the threads in D. All of it are gauges.
type Stalls struct {
	Span
	Rows   []Stall      // the longest first, at most 200
	Groups []StallGroup // the most tasks first, at most 64

	Tasks    int    // all threads in D
	Unlisted int    // of them, those that Rows lacks
	Source   string // "iter/task" or "/proc"
}

func (s *Stalls) put(to *Snapshot) { to.Stalls = s }

func (s *Stalls) size() int {
	return allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Rows) + sliceSize(s.Groups)
}

// stallRec is what a scanner finds out about one waiting thread.
type stallRec struct {
	TID      int32
	Task     Process
	Switches uint64 // unchanged: it is the same sleep
	AtMost   time.Duration
	Comm     Raw
	Kernel   bool
	IOWait   bool
	Stack    *Stack
	Device   StallDevice
	Counted  bool // Switches is the sum of voluntary and other switches
}

// stallScanner reads the threads that wait. It belongs to one goroutine.
type stallScanner interface {
	Open(ctx context.Context) error
	// Scan appends a record for each; false says that it is not time yet for another look.
	Scan(ctx context.Context, now time.Duration, recs []stallRec) ([]stallRec, bool, error)
	Probe() Probe
	Source() string
	Close() error
}

// sleepMark remembers one sleep of a thread.
type sleepMark struct {
	start, switches uint64
	since           time.Duration
}

type stallCollector struct {
	scanners []stallScanner // best first
	use      int
	refused  error // why a better one is not in use
	devices  *stallDevices

	recs        []stallRec
	marks, next map[int32]sleepMark // by thread; swapped at each Collect
	last        time.Duration
	begun       bool
	err         error
}

// NewStalls returns the collector of Stalls: through the BPF task iterator, or /proc.
func NewStalls(k *bpf.Kernel, fs FS) Collector {
	return newStalls(fs, newIterStalls(k, fs), newProcStalls(fs))
}

func newStalls(fs FS, scanners ...stallScanner) *stallCollector {
	return &stallCollector{scanners: scanners, use: len(scanners), devices: newStallDevices(fs), marks: map[int32]sleepMark{}, next: map[int32]sleepMark{}}
}

func (c *stallCollector) Meta() Meta { return Meta{ID: StallsID, Slow: true} }

func (c *stallCollector) Start(ctx context.Context) error {
	c.begun, c.err, c.refused = false, nil, nil
	clear(c.marks)
	return c.open(ctx, 0)
}

// open puts the first scanner from index i on to use.
func (c *stallCollector) open(ctx context.Context, i int) error {
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
		return errors.New("no way to read waiting threads")
	}
	return c.refused
}

func (c *stallCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	for c.use < len(c.scanners) {
		s := c.scanners[c.use]
		recs, due, err := s.Scan(ctx, now, c.recs[:0])
		if err == nil {
			c.recs, c.err = recs, nil
			if !due {
				return nil, nil
			}
			c.devices.fill(ctx, now, recs)
			return c.derive(now), nil
		}
		c.err = fmt.Errorf("reading waiting threads from %s: %w", s.Source(), err)
		if ctx.Err() != nil || c.use == len(c.scanners)-1 {
			return nil, c.err
		}
		c.refused = errors.Join(c.err, s.Close())
		if err := c.open(ctx, c.use+1); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no way to read waiting threads")
}

func (c *stallCollector) derive(now time.Duration) *Stalls {
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := deriveStalls(c.recs, c.marks, c.next, Span{c.last, now})
	s.Source = c.scanners[c.use].Source()
	c.marks, c.next = c.next, c.marks
	c.last = now
	clear(c.recs) // names and stacks live on in the sample only
	return s
}

// deriveStalls makes the sample of what a scan found. Marks holds the sleeps of the scan before;
// next is filled with those of this one.
func deriveStalls(recs []stallRec, marks, next map[int32]sleepMark, span Span) *Stalls {
	clear(next)
	s := &Stalls{Span: span, Tasks: len(recs)}
	if len(recs) == 0 {
		return s
	}
	s.Rows = make([]Stall, 0, len(recs))
	for _, r := range recs {
		mark := sleepMark{r.Task.Start, r.Switches, span.To}
		if was, ok := marks[r.TID]; ok && was.start == mark.start && was.switches == mark.switches {
			mark.since = was.since
		}
		next[r.TID] = mark
		x := Stall{
			Stack: r.Stack, TID: r.TID, Task: r.Task, Comm: r.Comm, Kernel: r.Kernel, IOWait: r.IOWait,
			Seen: span.To - mark.since, AtMost: r.AtMost, Device: r.Device,
		}
		if x.AtMost != NoBound {
			x.AtMost = max(x.AtMost, x.Seen)
		}
		s.Rows = append(s.Rows, x)
	}
	sortBy(s.Rows, func(a, b Stall) int {
		return cmp.Or(cmp.Compare(b.Seen, a.Seen), cmp.Compare(b.AtMost, a.AtMost), cmp.Compare(a.TID, b.TID))
	})
	s.Groups = groupStalls(s.Rows)
	if len(s.Rows) > maxStalls {
		s.Unlisted = len(s.Rows) - maxStalls
		s.Rows = slices.Clone(s.Rows[:maxStalls])
	}
	return s
}

// groupStalls counts rows by class, function and device. They come with the longest first.
func groupStalls(rows []Stall) []StallGroup {
	type key struct {
		class, function string
		device          StallDevice
	}
	at := make(map[key]int)
	var out []StallGroup
	for _, r := range rows {
		k := key{r.Class, r.Function, r.Device}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, StallGroup{Class: k.class, Function: k.function, Device: k.device, Seen: r.Seen, AtMost: r.AtMost, Who: r.Comm})
		}
		g := &out[i]
		g.Tasks++
		if r.Kernel {
			g.Kernel++
		}
		g.AtMost = max(g.AtMost, r.AtMost)
	}
	sortStably(out, func(a, b StallGroup) int { return cmp.Compare(b.Tasks, a.Tasks) })
	return out[:min(len(out), maxStallGroups)]
}

func (c *stallCollector) Probes() []Probe {
	p := Probe{Name: "stalls", State: Warming, Reason: "not read yet", Hook: "iter/task, stacks"}
	if c.use < len(c.scanners) {
		p = c.scanners[c.use].Probe()
		p.Name = "stalls"
		if c.refused != nil {
			var need *NeedError
			p.State = Degraded
			if errors.As(c.refused, &need) {
				p.Reason, p.Remedy = plain(need.Error())+"; "+p.Reason, need.Remedy
			} else {
				p.Reason = plain(c.refused.Error()) + "; " + p.Reason
			}
		}
	}
	if c.err != nil {
		p.State, p.Reason, p.Remedy = Failed, plain(c.err.Error()), ""
	}
	dev := c.devices.probe()
	if p.State != On && p.State != Degraded {
		dev.State, dev.Reason, dev.Remedy = p.State, p.Reason, p.Remedy
	}
	return []Probe{p, dev}
}

func (c *stallCollector) Close() error {
	c.begun = false
	if c.use >= len(c.scanners) {
		return nil
	}
	err := c.scanners[c.use].Close()
	c.use = len(c.scanners)
	return err
}
