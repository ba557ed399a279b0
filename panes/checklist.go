// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// line is one line of the checklist.
type line struct {
	id    string // the classic command
	parts []part // what it says, as far as there is room
	why   string // why a number is missing

	value  float64 // the main number, not a number when missing
	unit   string
	series []float64 // the main number over time, oldest first
	lo, hi float64   // scale of series

	drawn, scale string // what series is and from where to where, if that is not unit, and not lo and hi

	pane ID
	row  string // of that pane
}

// part is a piece of a line; where it is narrow those of higher rank go first.
type part struct {
	text string
	rank int
}

// summary joins the parts that fit in width cells.
func (l line) summary(width int) string {
	parts := slices.Clone(l.parts)
	for {
		texts := make([]string, len(parts))
		drop := 0
		for i, p := range parts {
			texts[i] = p.text
			if p.rank >= parts[drop].rank {
				drop = i
			}
		}
		s := strings.Join(texts, "  ")
		if widget.Width(s) <= width || len(parts) <= 1 {
			return s
		}
		parts = slices.Delete(parts, drop, drop+1)
	}
}

// sparkSamples is how many samples a line remembers for its sparkline.
const sparkSamples = 60

// check is one line of the checklist: its id, and what makes it.
type check struct {
	id   string
	line func(Frame) line
}

// checks are the lines in the order of the classic first 60 seconds.
func checks() []check {
	return []check{
		{"uptime", uptimeLine},
		{"dmesg", dmesgLine},
		{"vmstat", vmstatLine},
		{"mpstat", mpstatLine},
		{"runqlat", runqlatLine},
		{"pidstat", pidstatLine},
		{"iostat", iostatLine},
		{"free", freeLine},
		{"sar DEV", sarDevLine},
		{"sar TCP", tcpLine},
		{"stalls", stallsLine},
		{"cgroup", cgroupLine},
		{"top", topLine},
	}
}

// checklist returns the lines, made.
func checklist(f Frame) []line {
	var out []line
	for _, c := range checks() {
		out = append(out, c.line(f))
	}
	return out
}

func uptimeLine(f Frame) line {
	l := line{id: "uptime", pane: CPUPane, row: rowAll, value: math.NaN(), unit: "runnable tasks"}
	h := newest(f, hostOf)
	if h == nil {
		l.why, _ = whyNot(f, collectors.HostID, "uptime")
		l.parts = []part{{"load -", 0}}
		return l
	}
	n := cores(f)
	l.value = h.Load[0]
	l.unit = "load"
	blocked := "-"
	if t := newest(f, tasksOf); t != nil {
		blocked = fmt.Sprint(t.Uninterruptible)
	} else {
		why, _ := whyNot(f, collectors.TasksID, "pidstat")
		l.why = "tasks in D: " + why
	}
	on := ""
	if n > 0 {
		on = fmt.Sprintf(" on %d CPU%s", n, plural(n))
	}
	l.parts = []part{
		{fmt.Sprintf("load %s %s", widget.Short(h.Load[0]), trend(h.Load)), 0},
		{fmt.Sprintf("%d runnable%s", h.Runnable, on), 1},
		{"D " + blocked, 2},
	}
	l.drawn = "runnable"
	l.series = series(f, sparkSamples, hostOf, func(h *collectors.Host) float64 { return float64(h.Runnable) })
	l.hi = max(float64(2*n), most(l.series))
	return l
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// trend compares the last minute with the last quarter of an hour.
func trend(load [3]float64) string {
	switch {
	case load[0] > load[2]*1.25+0.25:
		return "rising"
	case load[0] < load[2]*0.75-0.25:
		return "falling"
	}
	return "steady"
}

func most(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		if v > m {
			m = v
		}
	}
	return m
}

func vmstatLine(f Frame) line {
	l := line{id: "vmstat", pane: CPUPane, row: rowAll, value: math.NaN(), unit: "switches/s"}
	c := cpuOver(f)
	if c == nil {
		l.why, _ = whyNot(f, collectors.CPUID, "vmstat")
		l.parts = []part{{"r - b -", 0}}
		return l
	}
	v := vmstatOf(c, pageBytes(f))
	if c.Seconds() > 0 {
		l.value = float64(c.Switches) / c.Seconds()
	} else {
		l.why = "rates: waiting for a second reading"
	}
	if l.why == "" && !c.VMKnown {
		l.why = "si so: " + noVMStat
	}
	swap := part{fmt.Sprintf("si %s so %s", v.si, v.so), 3}
	if c.SwapIn+c.SwapOut > 0 {
		swap.rank = 0
	}
	l.parts = []part{
		{fmt.Sprintf("r %s b %s", v.r, v.b), 0},
		swap,
		{"in " + v.in, 5},
		{"cs " + v.cs, 2},
		{fmt.Sprintf("us %2s sy %2s id %2s wa %2s", v.us, v.sy, v.id, v.wa), 1},
	}
	steal := part{"st " + v.st, 4}
	if c.All.Steal > 0 {
		steal.rank = 0
	}
	l.parts = append(l.parts, steal)
	l.series = series(f, sparkSamples, cpuOf, func(c *collectors.CPU) float64 {
		if c.Seconds() == 0 {
			return math.NaN()
		}
		return float64(c.Switches) / c.Seconds()
	})
	l.hi = most(l.series)
	return l
}

// vmstatRow is what vmstat 1 prints, as text; - is what is not known.
type vmstatRow struct{ r, b, si, so, bi, bo, in, cs, us, sy, id, wa, st string }

// Page is what the kernel swaps, in bytes.
func vmstatOf(c *collectors.CPU, page uint64) vmstatRow {
	v := vmstatRow{
		r: whole1(float64(c.Running)), b: whole1(float64(c.Blocked)),
		si: "-", so: "-", bi: "-", bo: "-", in: "-", cs: "-", us: "-", sy: "-", id: "-", wa: "-", st: "-",
	}
	if s := c.Seconds(); s > 0 {
		per := func(n uint64) string { return widget.Short(math.Round(float64(n) / s)) }
		kib := float64(page) / 1024
		if c.VMKnown {
			v.si, v.so = whole1(float64(c.SwapIn)*kib/s), whole1(float64(c.SwapOut)*kib/s)
			v.bi, v.bo = whole1(float64(c.BlocksIn)/s), whole1(float64(c.BlocksOut)/s)
		}
		v.in, v.cs = per(c.Interrupts), per(c.Switches)
	}
	if total := c.All.Total(); total > 0 {
		p := func(n uint64) string { return fmt.Sprintf("%.0f", 100*float64(n)/float64(total)) }
		t := c.All
		v.us = p(less(t.User+t.Nice, t.Guest+t.GuestNice))
		v.sy = p(t.System + t.IRQ + t.SoftIRQ)
		v.id, v.wa, v.st = p(t.Idle), p(t.IOWait), p(t.Steal)
	}
	return v
}

// whole1 writes a number without decimals while it is short.
func whole1(v float64) string {
	if v < 9999.5 {
		return fmt.Sprintf("%.0f", v)
	}
	return widget.Short(v)
}

func mpstatLine(f Frame) line {
	l := line{id: "mpstat", pane: CPUPane, row: rowAll, value: math.NaN(), unit: "%", lo: 0, hi: 100, drawn: "% of the busiest CPU"}
	c := cpuOver(f)
	cpu, busy := busiest(c)
	if cpu < 0 {
		l.why = "waiting for a second reading"
		if c == nil {
			l.why, _ = whyNot(f, collectors.CPUID, "mpstat")
		}
		l.parts = []part{{"busiest -", 0}}
		return l
	}
	l.row = fmt.Sprint(cpu)
	l.value = 100 * busy
	l.parts = []part{
		{fmt.Sprintf("busiest cpu%d %.0f %%", cpu, 100*busy), 0},
		{fmt.Sprintf("mean %.0f %%", 100*ticksBusy(c.All)), 1},
	}
	t := c.All
	for _, extra := range []struct {
		name string
		n    uint64
	}{{"softirq", t.SoftIRQ}, {"irq", t.IRQ}, {"steal", t.Steal}, {"guest", t.Guest + t.GuestNice}} {
		if p := 100 * float64(extra.n) / float64(t.Total()); p >= 1 {
			l.parts = append(l.parts, part{fmt.Sprintf("%s %.0f %%", extra.name, p), 2})
		}
	}
	l.series = series(f, sparkSamples, cpuOf, func(c *collectors.CPU) float64 {
		if i, b := busiest(c); i >= 0 {
			return 100 * b
		}
		return math.NaN()
	})
	return l
}

// busiest returns the CPU that did most and the share of time it did, -1 when none is known.
func busiest(c *collectors.CPU) (cpu int, busy float64) {
	cpu = -1
	if c == nil {
		return cpu, 0
	}
	for _, one := range c.CPUs {
		if b := ticksBusy(one.Ticks); !one.New && !math.IsNaN(b) && (cpu < 0 || b > busy) {
			cpu, busy = one.CPU, b
		}
	}
	return cpu, busy
}

func runqlatLine(f Frame) line {
	l := line{id: "runqlat", pane: CPUPane, row: rowAll, value: math.NaN(), unit: "us", lo: 0, hi: 20, drawn: "p99", scale: "0-1µs to >1s"}
	s := schedOver(f)
	if s == nil {
		l.why, _ = whyNot(f, collectors.SchedID, "runqlat")
		l.parts = []part{{"-", 0}, {l.why, 1}}
		return l
	}
	h := &s.Host.Wait
	l.parts = []part{
		{"p50 " + fmt.Sprintf("%-8s", quantile(h, 0.5)), 2},
		{"p99 " + fmt.Sprintf("%-9s", quantile(h, 0.99)), 1},
		{"max " + fmt.Sprintf("%-9s", quantile(h, 1)), 0},
		{"n " + count(h) + lostBadge(&s.Host), 3},
	}
	if n := h.Count(); n > 0 && n < leastForP99 {
		l.why = fmt.Sprintf("p99: only %d waits in the interval, it takes %d", n, leastForP99)
	}
	if b, ok := tail(h); ok {
		l.value = float64(b.Lo)
	}
	l.series = series(f, sparkSamples, schedOf, func(s *collectors.Sched) float64 {
		if b, ok := tail(&s.Host.Wait); ok {
			return float64(collectors.Slot(b.Lo * 1000))
		}
		return 0
	})
	return l
}

// tail is the bucket of the p99, of the maximum where there are too few events for one.
func tail(h *collectors.Hist) (collectors.Bucket, bool) {
	if h.Count() < leastForP99 {
		return h.Max()
	}
	return h.Quantile(0.99)
}
