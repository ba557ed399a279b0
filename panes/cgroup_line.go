// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// cgroupLine is the checklist's line of the cgroup that its own limits trouble most.
func cgroupLine(f Frame) line {
	l := line{id: "cgroup", pane: CgroupsPane, value: math.NaN(), unit: "% of limit", drawn: "% of its limit", lo: 0, hi: 100}
	rows, s := cgroupsOver(f)
	if s == nil {
		l.why, _ = whyNot(f, collectors.CgroupsID, "cgroup")
		l.parts = []part{{"-", 0}, {l.why, 1}}
		return l
	}
	c, hit := nearestCgroup(rows)
	if c == nil {
		l.parts = []part{{fmt.Sprintf("none of %d has a limit", s.Count), 0}}
		if s.Limited > 0 {
			l.parts[0].text = fmt.Sprintf("%d of %d limited, none near", s.Limited, s.Count)
		}
		if busy := busiestCgroup(rows); busy != nil {
			l.row = busy.Path.Bytes()
			l.parts = append(l.parts, part{fmt.Sprintf("busiest %s %.0f %%", cgroupName(busy, 20), 100*busy.cpus()), 1})
		}
		return l
	}
	l.row = c.Path.Bytes()
	_, near := c.pain()
	l.value = 100 * near
	l.parts = append([]part{{cgroupName(c, 20) + " " + cgroupNeed(c), 0}}, cgroupTrouble(c)...)
	l.parts = append(l.parts, part{fmt.Sprintf("%d of %d", hit, s.Count), 2})
	l.series = series(f, sparkSamples, cgroupsOf, func(s *collectors.Cgroups) float64 {
		for i := range s.Rows {
			if r := &s.Rows[i]; r.CgroupInfo != nil && r.Path.Bytes() == l.row {
				one := oneCgroup(r)
				if _, n := one.pain(); n > 0 {
					return 100 * n
				}
			}
		}
		return math.NaN()
	})
	for i := 1; i < len(l.series); i++ { // a number stands until it is read again
		if math.IsNaN(l.series[i]) {
			l.series[i] = l.series[i-1]
		}
	}
	return l
}

// cgroupNeed says of which of its limits it uses most.
func cgroupNeed(c *cgroupSum) string {
	mem, cpu := c.ofMemory(c.Own), over(c.cpus(), c.Own.CPUs)
	pids := math.NaN()
	if c.Own.Pids != collectors.NoLimit && c.Has&collectors.HasPids != 0 {
		pids = over(float64(c.Pids), float64(c.Own.Pids))
	}
	zero := func(v float64) float64 { // what is not known is not most
		if math.IsNaN(v) {
			return -1
		}
		return v
	}
	stopped := zero(c.stopped())
	switch {
	case c.Own.CPUs > 0 && stopped >= 0.01 && stopped >= zero(c.stalled(someMemory)), zero(cpu) >= zero(mem) && zero(cpu) >= zero(pids) && cpu > 0:
		of := fmt.Sprintf("of %.4g", math.Round(c.Own.CPUs*100)/100)
		if math.IsNaN(cpu) { // the quota and the usage may be in two hierarchies of version 1
			return "cpu - " + of
		}
		return fmt.Sprintf("cpu %.0f %% %s", 100*cpu, of)
	case zero(pids) > zero(mem):
		return fmt.Sprintf("pids %.0f %% of %d", 100*pids, c.Own.Pids)
	case math.IsNaN(mem):
		return "oom"
	}
	_, name := memoryLimit(c.Own)
	return fmt.Sprintf("mem %.0f %% of %s", 100*mem, name)
}

// cgroupTrouble is what the limits do to it.
func cgroupTrouble(c *cgroupSum) []part {
	var out []part
	if v := c.stalled(someMemory); !math.IsNaN(v) {
		rank := 3
		if v >= 0.005 {
			rank = 0
		}
		out = append(out, part{fmt.Sprintf("psi m%.0f", 100*v), rank})
	}
	if v := c.stopped(); !math.IsNaN(v) {
		rank := 4
		if v > 0 {
			rank = 0
		}
		out = append(out, part{fmt.Sprintf("thr %.0f %%", 100*v), rank})
	}
	for _, e := range []struct {
		n    uint64
		name string
		rank int
	}{{c.Events.OOMKill, "oom_kill", 0}, {c.Events.High, "high", 3}, {c.Events.Max, "max", 3}, {c.PidsDenied, "fork refused", 0}} {
		if e.n > 0 {
			out = append(out, part{e.name + " " + widget.Count(e.n), e.rank})
		}
	}
	return out
}

// busiestCgroup is the leaf that used most CPU; nil if none used any.
func busiestCgroup(rows []cgroupSum) *cgroupSum {
	var best *cgroupSum
	for i := range rows {
		if c := &rows[i]; c.Leaf && c.cpus() > 0 && (best == nil || c.cpus() > best.cpus()) {
			best = c
		}
	}
	return best
}

// cgroupName is its short name in at most cells.
func cgroupName(c *cgroupSum, cells int) string { return widget.Clip(clean(c.Name), cells) }
