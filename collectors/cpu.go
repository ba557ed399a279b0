// SPDX-License-Identifier: Apache-2.0

package collectors

import "time"

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
	All  Ticks     // delta of the "cpu" line, in USER_HZ ticks
	CPUs []CPUTime // online CPUs, ascending; one that went or came in the span is marked New

	Switches   uint64 // ctxt delta
	Interrupts uint64 // intr delta (first number)
	Forks      uint64 // processes delta

	Running int // procs_running, ourselves included
	Blocked int // procs_blocked

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
