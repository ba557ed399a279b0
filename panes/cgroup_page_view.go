// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// cgroupNow are the lines of its present numbers.
func cgroupNow(f Frame, c Canvas, one *cgroupSum) []string {
	say := func(label string, parts ...string) string {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("%-7s", label))
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		return l.Plain(widget.ClipWords(strings.Join(parts, "  "), l.Left())).String()
	}
	cols := cgroupColumns()
	// cell writes a number with what follows it, and only - for one that is missing.
	cell := func(id, unit string) string {
		for _, col := range cols {
			if col.ID == id {
				v := col.cell(&Cgroups{}, f, one)
				if !v.Known() {
					return "-"
				}
				return v.fit(col.Column) + unit
			}
		}
		return "-"
	}
	// some says a line of numbers; where none of them is known one - and the reason stand for all.
	some := func(label string, ids []string, parts ...string) string {
		why := ""
		for _, col := range cols {
			if !slices.Contains(ids, col.ID) {
				continue
			}
			v := col.cell(&Cgroups{}, f, one)
			if v.Known() {
				return say(label, parts...)
			}
			why = cmp.Or(why, v.Why)
		}
		return say(label, "- "+why)
	}
	d := one.Detail
	quota, stopped, limit := "no quota", "", "no limit"
	if one.Tight.CPUs > 0 {
		quota = cell("%quota", " %") + " of quota " + cell("quota", "")
	}
	if one.Own.CPUs > 0 { // only its own is counted
		stopped = "throttled " + cell("%thr", " %") + " " + cell("thr_ms", " ms/s")
	}
	if n, _ := memoryLimit(one.Tight); n != collectors.NoLimit {
		limit = cell("%lim", " %") + " of limit"
	}
	mem := []string{cell("MEM", ""), limit, "high " + cell("high", ""), "max " + cell("max", ""), "swap " + cell("swap", "")}
	hold := []string{"- memory.stat is read of who is looked at, or is near a limit"}
	refaults, kills := "-", ""
	if d != nil && one.Has&collectors.HasDetail != 0 {
		hold = []string{
			"anon " + widget.Bytes(d.Anon), "file " + widget.Bytes(d.File), "inactive " + widget.Bytes(d.InactiveFile),
			"shmem " + widget.Bytes(d.Shmem), "slab " + widget.Bytes(d.Slab), "sock " + widget.Bytes(d.Sock),
		}
		refaults = per(float64(d.Refaults), one.seconds(), "").Format(1) + "/s"
		if d.Soft > 0 { // only v1 has one
			mem = append(mem, "soft "+widget.Bytes(d.Soft))
		}
		kills = fmt.Sprintf("(%d of all time)", d.OOMKills)
	}
	out := []string{
		some("cpu", []string{"%CPU", "quota", "%thr", "weight"}, cell("%CPU", " %"), quota, stopped, "weight "+cell("weight", "")),
		some("memory", []string{"MEM", "high", "max", "swap"}, mem...),
		say("holds", hold...),
		some("events", []string{"high/s", "max/s", "oom"}, "high "+cell("high/s", "/s"), "max "+cell("max/s", "/s"), "oom_kill "+cell("oom", "")+" "+kills, "refault "+refaults),
		some("psi", []string{"psi_cpu", "psi_mem", "psi_io"}, "cpu "+cell("psi_cpu", " %"), "mem "+cell("psi_mem", " %")+" full "+cell("psi_mem_full", " %"), "io "+cell("psi_io", " %")+" full "+cell("psi_io_full", " %")),
		some("io", []string{"rd/s", "wr/s", "r/s", "w/s"}, "rd "+cell("rd/s", "/s"), "wr "+cell("wr/s", "/s"), "r/s "+cell("r/s", ""), "w/s "+cell("w/s", "")),
		say("tasks", cell("TASKS", ""), "max "+countLimit(one.Tight.Pids), state(one)),
	}
	if d != nil {
		for _, l := range d.IOMax {
			out = append(out, say("io max", fmt.Sprintf("%d:%d", l.Major, l.Minor), "rbps "+sizeLimit(l.RBytes), "wbps "+sizeLimit(l.WBytes), "riops "+countLimit(l.RIO), "wiops "+countLimit(l.WIO)))
		}
	}
	return out
}

func state(c *cgroupSum) string {
	switch {
	case c.Frozen:
		return "frozen"
	case c.Empty:
		return "no process"
	}
	return ""
}

func sizeLimit(n uint64) string {
	if n == collectors.NoLimit {
		return "-"
	}
	return widget.Bytes(n)
}

func countLimit(n uint64) string {
	if n == collectors.NoLimit {
		return "-"
	}
	return widget.Count(n)
}

// limitChain shows the limits from the root down: the tightest holds, whoever owns it.
func limitChain(c Canvas, rows []cgroupSum, one *cgroupSum, room int) []string {
	lines := []string{widget.Title(c.Theme, c.Width, "limits", "the tightest holds: *")}
	head := widget.NewLine(c.Width)
	head.Right(c.Theme.Dim, "cpus", 9).Right(c.Theme.Dim, "used", 16).Right(c.Theme.Dim, "high", 23).Right(c.Theme.Dim, "max", 30).
		Right(c.Theme.Dim, "now", 37).Right(c.Theme.Dim, "pids", 44).Skip(2).Put(c.Theme.Dim, "CGROUP")
	lines = append(lines, head.String())
	var chain []*cgroupSum
	for i := range rows {
		if r := &rows[i]; r.Path.Bytes() == one.Path.Bytes() || isAbove(r.Path.Bytes(), one.Path.Bytes()) {
			chain = append(chain, r)
		}
	}
	if n := len(chain); n > max(room-2, 1) {
		chain = chain[n-max(room-2, 1):]
	}
	for _, r := range chain {
		mark := func(s string, owner uint8, limited bool) string {
			if limited && owner == r.Depth {
				return s + "*"
			}
			return s + " "
		}
		quota, used, now := "-", "-", "-"
		if r.Own.CPUs > 0 {
			quota = fmt.Sprintf("%.2f", r.Own.CPUs)
		}
		if v := r.cpus(); !math.IsNaN(v) {
			used = fmt.Sprintf("%.2f", v)
		}
		if r.Has&collectors.HasMemory != 0 {
			now = widget.Bytes(r.Memory)
		}
		size := func(n uint64) string {
			if n == collectors.NoLimit {
				return "-"
			}
			return widget.Bytes(n)
		}
		pids := "-"
		if r.Own.Pids != collectors.NoLimit {
			pids = widget.Count(r.Own.Pids)
		}
		o := one.Owner
		plain := theme.Style{}
		l := widget.NewLine(c.Width)
		l.Right(plain, mark(quota, o.CPU, r.Own.CPUs > 0), 10).Right(plain, used, 16).
			Right(plain, mark(size(r.Own.High), o.High, r.Own.High != collectors.NoLimit), 24).
			Right(plain, mark(size(r.Own.Max), o.Max, r.Own.Max != collectors.NoLimit), 31).
			Right(plain, now, 37).
			Right(plain, mark(pids, o.Pids, r.Own.Pids != collectors.NoLimit), 45)
		lines = append(lines, l.To(46).Plain(widget.Clip(clean(r.Path), l.Left())).String())
	}
	return lines
}

// cgroupPlots draws CPU and memory over time beside each other.
func cgroupPlots(f Frame, c Canvas, path string, room int) []string {
	half := (c.Width - 2) / 2
	block := func(title string, width int, value func(*cgroupSum) float64, label func(float64) string) []string {
		values := cgroupHistory(f, path, value)
		top := most(values)
		head := title
		if len(values) > 0 {
			head += ", top " + label(top)
		}
		return append([]string{widget.Title(c.Theme, width, head)}, widget.Area(c.Theme, values, top, width, min(room-1, 12))...)
	}
	cpu := block("cpu over time", half, func(s *cgroupSum) float64 { return s.cpus() }, func(v float64) string { return fmt.Sprintf("%.2f cpus", v) })
	mem := block("memory over time", c.Width-half-2, func(s *cgroupSum) float64 { return mainNumber(s, memoryResource) }, func(v float64) string { return widget.Bytes(uint64(v)) })
	return widget.Join(cpu, half, mem, 2)
}
