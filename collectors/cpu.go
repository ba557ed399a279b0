// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CPUID is the collector of /proc/stat and /proc/vmstat's part of the checklist.
const CPUID ID = "cpu"

// Ticks are the time columns of /proc/stat. Guest is inside User and GuestNice inside Nice, so
// neither belongs in a sum.
type Ticks struct {
	User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal, Guest, GuestNice uint64
}

// Total is the whole time: everything but guest, which is inside user.
func (t Ticks) Total() uint64 {
	return t.User + t.Nice + t.System + t.Idle + t.IOWait + t.IRQ + t.SoftIRQ + t.Steal
}

// CPU is /proc/stat over the span. In the first sample, whose span is empty, deltas are zero and
// the gauges stand.
type CPU struct {
	Span
	All  Ticks     // delta of the "cpu" line, in USER_HZ ticks; of the CPUs that are not New where it jumped
	CPUs []CPUTime // online CPUs, ascending; one that came in the span is marked New

	// NoIRQTime says that no CPU has a tick in its irq column since boot: the kernel does not account
	// for hardware interrupts (IRQ_TIME_ACCOUNTING), and IRQ being 0 tells nothing.
	NoIRQTime bool

	Switches   uint64 // ctxt delta
	Interrupts uint64 // intr delta (first number)
	Forks      uint64 // processes delta

	Running int // procs_running, ourselves included
	Blocked int // procs_blocked

	VMKnown             bool   // /proc/vmstat was read; without it the next four are 0
	SwapIn, SwapOut     uint64 // pages, delta of pswpin and pswpout
	BlocksIn, BlocksOut uint64 // KiB, delta of pgpgin and pgpgout

	SwitchesTotal uint64        // since boot: liveness of the scheduler's probes is judged by it
	TickLen       time.Duration // 1 s / USER_HZ
}

// CPUTime is one CPU's delta.
type CPUTime struct {
	CPU int
	New bool // no baseline: it came online in this span
	Ticks
}

func (c *CPU) put(s *Snapshot) { s.CPU = c }

type cpuCollector struct {
	stat   *procFile
	vmstat *sharedFile

	cur, prev  kernelStat // swapped at each Collect, to reuse their slices
	vm         vmStat     // previous reading
	vmKnown    bool       // vm is set
	begun      bool       // prev is set
	last       time.Duration
	err, vmErr error // of the last Collect
}

// newCPU returns the collector of CPU. It needs no privilege.
func newCPU(fs FS, vmstat *sharedFile) Collector {
	return &cpuCollector{stat: fs.file("stat"), vmstat: vmstat}
}

func (c *cpuCollector) Meta() Meta { return Meta{ID: CPUID} }

func (c *cpuCollector) Start(ctx context.Context) error {
	c.begun, c.vmKnown, c.err, c.vmErr = false, false, nil, nil
	return ctx.Err()
}

// Collect reads both files. Without /proc/vmstat the rest stands.
func (c *cpuCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	b, err := c.stat.read(ctx)
	if err == nil {
		err = parseStat(b, &c.cur)
	}
	if err != nil {
		c.err = fmt.Errorf("reading /proc/stat: %w", err)
		return nil, c.err
	}
	c.err = nil
	if !c.begun {
		c.last = now
		c.prev.CPUs = append(c.prev.CPUs[:0], c.cur.CPUs...)
		cpus := c.prev.CPUs
		c.prev = c.cur
		c.prev.CPUs = cpus
		c.begun = true
	}
	s := deriveCPU(&c.prev, &c.cur, Span{c.last, now})
	c.prev, c.cur, c.last = c.cur, c.prev, now

	vm, err := c.readVM(ctx, now)
	if c.vmErr = err; err != nil {
		c.vmKnown = false // a gap: the next reading is a baseline
		return s, nil
	}
	if c.vmKnown {
		s.SwapIn, s.SwapOut = since(c.vm.SwapIn, vm.SwapIn), since(c.vm.SwapOut, vm.SwapOut)
		s.BlocksIn, s.BlocksOut = since(c.vm.In, vm.In), since(c.vm.Out, vm.Out)
	}
	s.VMKnown = true
	c.vm, c.vmKnown = vm, true
	return s, nil
}

func (c *cpuCollector) readVM(ctx context.Context, now time.Duration) (vm vmStat, err error) {
	err = c.vmstat.parse(ctx, now, func(b []byte) (err error) {
		vm, err = parseVMStat(b)
		return err
	})
	if err != nil {
		return vmStat{}, fmt.Errorf("reading /proc/vmstat: %w", err)
	}
	return vm, nil
}

func (c *cpuCollector) Probes() []Probe {
	mpstat := Probe{Name: "mpstat", Hook: "/proc/stat"}
	vmstat := Probe{Name: "vmstat", Hook: "/proc/stat, vmstat"}
	mpstat.State, mpstat.Reason = stateOf(c.begun, c.err)
	vmstat.State, vmstat.Reason = mpstat.State, mpstat.Reason
	if vmstat.State == On && c.vmErr != nil {
		vmstat.State, vmstat.Reason = Degraded, "no si so bi bo: "+clean(c.vmErr.Error())
	}
	return []Probe{mpstat, vmstat}
}

func (c *cpuCollector) Close() error {
	c.begun = false
	return errors.Join(c.stat.close(), c.vmstat.close())
}

// since is the increase of a counter, 0 if it went back. Counters of /proc/stat do: a CPU's idle
// and iowait are guesses that the kernel corrects (get_cpu_idle_time_us), and some start anew when
// a CPU does.
func since(prev, cur uint64) uint64 {
	if cur < prev {
		return 0
	}
	return cur - prev
}

// Since returns t less an earlier reading, column by column; a column that went back is 0.
func (t Ticks) Since(prev Ticks) Ticks {
	return Ticks{
		User: since(prev.User, t.User), Nice: since(prev.Nice, t.Nice), System: since(prev.System, t.System),
		Idle: since(prev.Idle, t.Idle), IOWait: since(prev.IOWait, t.IOWait), IRQ: since(prev.IRQ, t.IRQ),
		SoftIRQ: since(prev.SoftIRQ, t.SoftIRQ), Steal: since(prev.Steal, t.Steal),
		Guest: since(prev.Guest, t.Guest), GuestNice: since(prev.GuestNice, t.GuestNice),
	}
}

// Plus returns the sum of t and o, column by column.
func (t Ticks) Plus(o Ticks) Ticks {
	return Ticks{
		User: t.User + o.User, Nice: t.Nice + o.Nice, System: t.System + o.System, Idle: t.Idle + o.Idle,
		IOWait: t.IOWait + o.IOWait, IRQ: t.IRQ + o.IRQ, SoftIRQ: t.SoftIRQ + o.SoftIRQ, Steal: t.Steal + o.Steal,
		Guest: t.Guest + o.Guest, GuestNice: t.GuestNice + o.GuestNice,
	}
}

// deriveCPU subtracts two readings of /proc/stat. CPUs are matched by number, since those offline
// have no line; one that has no line in prev gets no delta.
//
// The "cpu" line is of all CPUs that are possible, and jumps by hours when one comes or goes: idle
// and iowait of one offline are another count, and before Linux 6.8 coming online starts it anew.
// Then the CPUs' own deltas are summed instead, as mpstat does.
func deriveCPU(prev, cur *kernelStat, span Span) *CPU {
	s := &CPU{
		Span:          span,
		All:           cur.All.Since(prev.All),
		CPUs:          make([]CPUTime, len(cur.CPUs)),
		NoIRQTime:     cur.All.IRQ == 0,
		Switches:      since(prev.Switches, cur.Switches),
		Interrupts:    since(prev.Interrupts, cur.Interrupts),
		Forks:         since(prev.Forks, cur.Forks),
		Running:       int(min(cur.Running, 1<<31)),
		Blocked:       int(min(cur.Blocked, 1<<31)),
		SwitchesTotal: cur.Switches,
		TickLen:       tickNs,
	}
	jumped := len(prev.CPUs) != len(cur.CPUs) || cur.All.Idle < prev.All.Idle || cur.All.IOWait < prev.All.IOWait
	var sum Ticks
	was := prev.CPUs
	for i, now := range cur.CPUs {
		for len(was) > 0 && was[0].CPU < now.CPU {
			was = was[1:]
		}
		if len(was) > 0 && was[0].CPU == now.CPU {
			s.CPUs[i] = CPUTime{CPU: now.CPU, Ticks: now.Since(was[0].Ticks)}
			sum = sum.Plus(s.CPUs[i].Ticks)
			continue
		}
		s.CPUs[i] = CPUTime{CPU: now.CPU, New: true}
		jumped = true
	}
	if jumped && len(cur.CPUs) > 0 {
		s.All = sum
	}
	return s
}
