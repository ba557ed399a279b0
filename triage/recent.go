// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"time"

	"bpf60/collectors"
)

// recentFor is the window of most rules. Samples have spans of their own: what is summed is the
// samples that ended in it, and the time is theirs.
const recentFor = 10 * time.Second

// covered is the least time, in seconds, that samples must sum up, or reach over, for a rule to speak of ten.
const covered = 9.0

const (
	// sparse is how far apart samples may be: a probe that is slowed for what it costs looks for one second
	// of three.
	sparse = 3 * time.Second
	// leastMeasured is the least time, in seconds, that such samples must sum up within the window.
	leastMeasured = 3.0
)

// covers says that samples of one kind tell of the last ten seconds: they reach from one end to the other,
// with the pauses of a slowed probe at most. Of is the span of such a sample, nil without one.
func (r *recent) covers(of func(*collectors.Snapshot) *collectors.Span) bool {
	seconds := 0.0
	var all collectors.Span
	for _, m := range r.h.Window(r.now-recentFor-sparse, r.now) {
		s := of(m.Snapshot)
		if s == nil || s.Seconds() == 0 {
			continue
		}
		if all.To == 0 {
			all.From = s.From
		}
		all.To = s.To
		if m.At > r.now-recentFor {
			seconds += s.Seconds()
		}
	}
	return seconds >= leastMeasured && all.Seconds() >= covered && r.now-all.To <= sparse
}

// The spans of samples whose probes may be slowed.

func schedSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Sched == nil {
		return nil
	}
	return &s.Sched.Span
}

func blockSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Block == nil {
		return nil
	}
	return &s.Block.Span
}

func execSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Exec == nil {
		return nil
	}
	return &s.Exec.Span
}

func flowSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Flow == nil {
		return nil
	}
	return &s.Flow.Span
}

func dnsSpan(s *collectors.Snapshot) *collectors.Span {
	if s.DNS == nil {
		return nil
	}
	return &s.DNS.Span
}

func compactSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Reclaim == nil || !s.Reclaim.Compacts {
		return nil
	}
	return &s.Reclaim.Span
}

// recent is what the samples of the last ten seconds say, as the rules share it. What takes a walk
// over the processes is made when the first rule asks for it.
type recent struct {
	h       *History
	now     time.Duration
	moments []Moment // oldest first; the last is this tick's

	ticks  *cpuSum
	fight  *rivals             // of the CPUs, with the culprit that has most of them
	self   *collectors.Process // who measured; zero: not known
	stops  []string
	known  bool // stops is
	upkeep *upkeep
	sum    bool // the tasks of upkeep are those of this window
}

// upkeep is what is kept from one tick to the next, because it would be dear to make anew: sums that
// follow the window, and who belongs together. It holds nothing that the history does not tell.
type upkeep struct {
	tasks  tasksSum
	people people
	growth growths
}

// lately is the check of a rule about the last 10 s: it finds nothing before there is any.
func lately(check func(*recent) (Finding, []collectors.Want)) func(*History) (Finding, []collectors.Want) {
	return func(h *History) (Finding, []collectors.Want) {
		if w := recently(h); w != nil {
			return check(w)
		}
		return Finding{}, nil
	}
}

// recently returns what the last ten seconds of h say. Nil before the first moment.
func recently(h *History) *recent {
	r := h.memo
	if r == nil {
		r = &recent{upkeep: &upkeep{}}
	}
	if r.h == h {
		return r
	}
	last, ok := h.Last()
	if !ok {
		return nil
	}
	r.h, r.now, r.moments = h, last.At, h.Window(last.At-recentFor, last.At)
	return r
}

// lastOf is the newest sample of one kind among the moments, nil without.
func lastOf[T any](moments []Moment, get func(*collectors.Snapshot) *T) *T {
	for i := len(moments) - 1; i >= 0; i-- {
		if x := get(moments[i].Snapshot); x != nil {
			return x
		}
	}
	return nil
}

// facts are the host's; all unknown before they are read.
func (r *recent) facts() collectors.Facts {
	if x := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Host { return s.Host }); x != nil && x.Facts != nil {
		return *x.Facts
	}
	return collectors.Facts{}
}

// page is the size of what the kernel counts in pages, in bytes.
func (r *recent) page() uint64 {
	if n := r.facts().PageSize; n > 0 {
		return n
	}
	return 4096
}

// cpuSum is /proc/stat over the window.
type cpuSum struct {
	seconds  float64
	all      collectors.Ticks
	single   map[int]collectors.Ticks // by CPU; those that were there all the time
	runnable float64                  // mean number of tasks that run or wait, ourselves not counted; see cpu
	swapIn   uint64                   // pages
	swapOut  uint64
	read     uint64 // bytes from storage
	n        int    // samples
	ins      int    // of them, those in which something was swapped in
	outs     int    // swapped out
	swap     bool   // /proc/vmstat was read
	noIRQ    bool   // the kernel does not account for the time of hardware interrupts
}

// cpu sums /proc/stat, once a tick.
func (r *recent) cpu() *cpuSum {
	if r.ticks != nil {
		return r.ticks
	}
	r.ticks = &cpuSum{single: map[int]collectors.Ticks{}, swap: true}
	c, fresh := r.ticks, map[int]bool{}
	for _, m := range r.moments {
		s := m.CPU
		if s == nil || s.Seconds() == 0 {
			continue
		}
		c.n++
		c.seconds += s.Seconds()
		c.all = plus(c.all, s.All)
		c.runnable += float64(max(s.Running-1, 0))
		c.swapIn, c.swapOut, c.read = c.swapIn+s.SwapIn, c.swapOut+s.SwapOut, c.read+s.BlocksIn<<10
		c.swap = c.swap && s.VMKnown
		c.noIRQ = s.NoIRQTime
		if s.SwapIn > 0 {
			c.ins++
		}
		if s.SwapOut > 0 {
			c.outs++
		}
		for _, one := range s.CPUs {
			fresh[one.CPU] = fresh[one.CPU] || one.New
			c.single[one.CPU] = plus(c.single[one.CPU], one.Ticks)
		}
	}
	for cpu, is := range fresh {
		if is {
			delete(c.single, cpu)
		}
	}
	c.runnable /= float64(max(c.n, 1))
	return c
}

func plus(a, b collectors.Ticks) collectors.Ticks {
	return collectors.Ticks{
		User: a.User + b.User, Nice: a.Nice + b.Nice, System: a.System + b.System, Idle: a.Idle + b.Idle,
		IOWait: a.IOWait + b.IOWait, IRQ: a.IRQ + b.IRQ, SoftIRQ: a.SoftIRQ + b.SoftIRQ, Steal: a.Steal + b.Steal,
		Guest: a.Guest + b.Guest, GuestNice: a.GuestNice + b.GuestNice,
	}
}

// percent is the share of part in whole, 0 of nothing.
func percent[T uint64 | float64](part, whole T) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// stalled is a kind of pressure over the window, in percent of its time.
type stalled struct {
	some, full float64
	seconds    float64 // 0: it was not measured
}

// pressure sums one kind of stall.
func (r *recent) pressure(of func(*collectors.PSI) collectors.Pressure) stalled {
	var p stalled
	for _, m := range r.moments {
		if m.Host == nil {
			continue
		}
		if x := of(&m.Host.PSI); x.Known && m.Host.Seconds() > 0 {
			p.seconds += m.Host.Seconds()
			p.some += x.Some.Seconds()
			p.full += x.Full.Seconds()
		}
	}
	if p.seconds > 0 {
		p.some, p.full = 100*p.some/p.seconds, 100*p.full/p.seconds
	}
	return p
}

func psiCPU(p *collectors.PSI) collectors.Pressure    { return p.CPU }
func psiMemory(p *collectors.PSI) collectors.Pressure { return p.Memory }
func psiIO(p *collectors.PSI) collectors.Pressure     { return p.IO }
