// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	"bpf60/collectors"
)

// processColumn is one column and what stands in it.
type processColumn struct {
	Column
	cell func(x *process, s collectors.Span) Cell
}

const (
	waiting  = "waiting for a second reading"
	noIO     = "needs a kernel with CONFIG_TASK_IO_ACCOUNTING, or the right to read /proc/PID/io: run as root"
	noSwitch = "/proc does not tell of whole processes: needs the task iterator, see the probe pidstat"
	noTime   = "it began before what is kept of it"
	noDelay  = "off, or counted wrong by the kernel, longer than its life: sysctl kernel.task_delayacct=1 counts it for what starts afterwards"
)

// percent is a time as a share of the span, of one CPU.
func percent(d time.Duration, s collectors.Span) Cell {
	if s.Seconds() == 0 {
		return Missing(waiting)
	}
	return Number(100 * d.Seconds() / s.Seconds())
}

func rate(n uint64, s collectors.Span) Cell {
	if s.Seconds() == 0 {
		return Missing(waiting)
	}
	return Number(float64(n) / s.Seconds())
}

// unless is the cell, or missing where the source does not tell.
func unless(lacks, l collectors.Lack, why string, cell Cell) Cell {
	if lacks&l != 0 {
		return Missing(why)
	}
	return cell
}

func kib(bytes uint64) Cell { return Number(float64(bytes) / 1024) }

// processColumns are pidstat's and top's, in an order that keeps what belongs together beside each
// other on a screen of 80 columns. Memory is the host's, in bytes; 0 if it is not known.
func processColumns(memory uint64) []processColumn {
	type S = collectors.Span
	col := func(id, unit string, width, decimals, rank int, cell func(x *process, s S) Cell) processColumn {
		return processColumn{Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Rank: rank}, cell}
	}
	name := func(id string, width, rank int, cell func(x *process) string) processColumn {
		return processColumn{
			Column{ID: id, Title: id, Width: width, Rank: rank, Left: true},
			func(x *process, _ S) Cell { return Say(cell(x)) },
		}
	}
	size := func(c processColumn) processColumn { c.Form = KiB; return c }
	hidden := func(c processColumn) processColumn { c.Hidden = true; return c }
	const l = collectors.LackIO
	return []processColumn{
		col("PID", "", 7, 0, 0, func(x *process, _ S) Cell { return Number(float64(x.PID)) }),
		name("USER", 8, 5, func(x *process) string { return userOf(x.ProcInfo) }),
		col("%usr", "%", 5, 1, 3, func(x *process, s S) Cell { return percent(max(x.run-x.sys-x.guest, 0), s) }),
		col("%sys", "%", 5, 1, 3, func(x *process, s S) Cell { return percent(x.sys, s) }),
		col("%guest", "%", 6, 1, 9, func(x *process, s S) Cell { return percent(x.guest, s) }),
		col("%wait", "%", 5, 1, 2, func(x *process, s S) Cell { return percent(x.leadWait, s) }),
		col("%CPU", "%", 5, 1, 0, func(x *process, s S) Cell { return percent(x.run, s) }),
		size(col("RSS", "KiB", 5, 0, 1, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackRSS, "this kernel counts memory in a way that bpf60 does not know", kib(x.rss))
		})),
		col("%MEM", "%", 5, 1, 6, func(x *process, _ S) Cell {
			if memory == 0 {
				return Missing("the host's memory is not known")
			}
			return unless(x.lacks, collectors.LackRSS, "this kernel counts memory in a way that bpf60 does not know", Number(100*float64(x.rss)/float64(memory)))
		}),
		col("kB_rd/s", "KiB/s", 7, 1, 4, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.read, s).inKiB()) }),
		col("kB_wr/s", "KiB/s", 7, 1, 4, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.write, s).inKiB()) }),
		{Column{ID: "S", Title: "S", Width: 1, Rank: 1, Left: true}, func(x *process, _ S) Cell {
			if x.ended {
				return Missing("it has ended")
			}
			return Say(string(rune(x.state)))
		}},
		col("THR", "", 5, 0, 6, func(x *process, _ S) Cell { return Number(float64(x.threads)) }),
		col("minflt/s", "/s", 8, 1, 8, func(x *process, s S) Cell { return rate(x.minflt, s) }),
		col("majflt/s", "/s", 8, 1, 7, func(x *process, s S) Cell { return rate(x.majflt, s) }),
		col("cswch/s", "/s", 7, 1, 7, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.vol, s))
		}),
		col("nvcswch/s", "/s", 9, 1, 7, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.invol, s))
		}),
		hidden(col("cswall/s", "/s", 8, 1, 9, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackSwitches, noSwitch, rate(x.switches, s))
		})),
		col("%waitall", "%", 8, 1, 8, func(x *process, s S) Cell {
			return unless(x.lacks, collectors.LackThreads, noSwitch, percent(x.wait, s))
		}),
		size(col("VSZ", "KiB", 5, 0, 10, func(x *process, _ S) Cell {
			if x.vsz == 0 && !x.Kernel && x.state != 'Z' {
				return Missing("not read since rows were given up")
			}
			return kib(x.vsz)
		})),
		size(col("swap", "KiB", 5, 0, 11, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackSwap, "/proc/PID/stat does not tell", kib(x.swap))
		})),
		col("kB_ccwr/s", "KiB/s", 9, 1, 13, func(x *process, s S) Cell { return unless(x.lacks, l, noIO, rate(x.cancels, s).inKiB()) }),
		col("iodelay", "ms", 7, 0, 13, func(x *process, _ S) Cell {
			return unless(x.lacks, collectors.LackDelay, noDelay, Number(float64(x.delay.Milliseconds())))
		}),
		{Column{ID: "TIME+", Title: "TIME+", Unit: "s", Width: 8, Decimals: 2, Rank: 9, Form: CPUTime}, func(x *process, _ S) Cell {
			if !x.timed {
				return Missing(noTime)
			}
			return Number(x.time.Seconds())
		}},
		col("PPID", "", 7, 0, 12, func(x *process, _ S) Cell { return Number(float64(x.PPID)) }),
		col("PR", "", 4, 0, 12, func(x *process, _ S) Cell { return Number(float64(x.Prio)) }),
		col("NI", "", 3, 0, 11, func(x *process, _ S) Cell { return Number(float64(x.Nice)) }),
		name("cgroup", 20, 9, func(x *process) string { return clean(x.CgroupName()) }),
		name("COMMAND", 13, 0, func(x *process) string { return x.command() }),
	}
}

// inKiB turns a number of bytes into one of KiB.
func (c Cell) inKiB() Cell {
	c.num /= 1024
	return c
}

// processFacts are the numbers of top's head.
func processFacts(f Frame, set *processes) []Fact {
	l := set.last
	gone := Missing(waiting)
	if d, ok := set.gone(f); ok {
		gone = percent(d, set.Span)
		gone.Badge = "~"
	}
	short := Missing("needs the probe exitsnoop")
	if s := sumExec(within(f, execOf)); s != nil {
		short = Number(s.percent(s.UnseenCPU))
	}
	n := func(id, title string, v int) Fact { return Fact{ID: id, Title: title, Cell: Number(float64(v))} }
	return []Fact{
		n("processes", "processes", l.Processes),
		n("threads", "threads", l.Threads),
		n("R", "threads running or runnable", l.Running),
		n("D", "threads in uninterruptible sleep", l.Uninterruptible),
		n("Z", "zombies", l.Zombies),
		n("kernel", "kernel threads", l.KernelThreads),
		{ID: "gone", Title: "CPU time of processes that ended, of one CPU", Unit: "%", Cell: gone, Decimals: 1},
		{ID: "short-lived", Title: "of it: of processes that no scan has seen, exact", Unit: "%", Cell: short, Decimals: 1},
	}
}
