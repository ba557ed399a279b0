// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Table implements Pane. Flat, it lists what holds processes and what has a limit of its own: as
// a cgroup's numbers hold those of all below, rows are not to be summed.
func (p *Cgroups) Table(f Frame) Table {
	t := Table{Title: "cgroups"}
	cols := cgroupColumns()
	for _, c := range cols {
		if c.Hidden = !c.in[p.about]; c.Hidden {
			c.Rank += 10 // a report has it if there is room
		}
		t.Columns = append(t.Columns, c.Column)
	}
	rows, s := cgroupsOver(f)
	if s == nil {
		why, remedy := whyNot(f, collectors.CgroupsID, "cgroup")
		t.Notes = append(t.Notes, note("cgroup", why, remedy))
		return t
	}
	if !p.tree { // what is equal in the column that sorts stands by the main number
		sortStably(rows, func(a, b cgroupSum) int {
			return cmp.Compare(mainNumber(&b, p.about), mainNumber(&a, p.about))
		})
	}
	for i := range rows {
		c := &rows[i]
		if !p.tree && !listedCgroup(c) {
			continue
		}
		r := Row{ID: c.Path.Bytes(), Target: aboutCgroup(c.ID, clean(c.Name)), Cells: make([]Cell, len(cols))}
		for k := range cols {
			r.Cells[k] = cols[k].cell(p, f, c)
		}
		t.Rows = append(t.Rows, r)
	}
	t.Facts = []Fact{
		{ID: "cgroups", Title: "cgroups known", Cell: Number(float64(s.Count))},
		{ID: "limited", Title: "with a CPU or memory limit", Cell: Number(float64(s.Limited))},
		{ID: "covered", Title: "read within the time shown", Cell: Number(float64(covered(rows)))},
		{ID: "oldest", Title: "oldest reading", Unit: "s", Cell: Number(s.Oldest.Seconds()), Decimals: 1},
	}
	if s.Omitted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("more than %d cgroups: %d or more are not known", collectors.MaxCgroups, s.Omitted))
	}
	for _, name := range []string{"cgroup cpu", "cgroup memory", "cgroup io", "cgroup pids", "cgroup psi"} {
		if x, ok := probeNamed(f, collectors.CgroupsID, name); ok && x.Name == name && x.State == collectors.Off {
			t.Notes = append(t.Notes, note(name, x.Reason, x.Remedy))
		}
	}
	p.list.arrange(f, &t)
	return t
}

// listedCgroup says whether a cgroup has a row when it is not a tree that is shown.
func listedCgroup(c *cgroupSum) bool {
	limit, _ := memoryLimit(c.Own)
	limited := c.Own.CPUs > 0 || limit != collectors.NoLimit
	return limited || c.Leaf && (!c.Empty || c.Memory > 0)
}

// covered is how many rows below the root there are.
func covered(rows []cgroupSum) int {
	n := 0
	for i := range rows {
		if rows[i].Depth > 0 {
			n++
		}
	}
	return n
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Cgroups) Describe(f Frame) string { return p.list.why(p.Table(f)) }

// View implements Pane.
func (p *Cgroups) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	lines := []string{p.title(f, c, t)}
	if newest(f, cgroupsOf) == nil {
		return fit(append(lines, missingPart(f, c, collectors.CgroupsID, "cgroup", "use by cgroup")...), c.Height)
	}
	if len(t.Rows) == 0 {
		return fit(append(lines, noCgroups(c)...), c.Height)
	}
	rows := c.Height - 1
	var page []string
	if c.Height >= wideHeight {
		if r, ok := p.list.row(t); ok {
			page = cgroupPageLines(f, c, r.ID, c.Height/2)
			rows = min(rows-len(page), len(t.Rows)+1)
		}
	}
	lines = append(lines, p.list.draw(c, t, rows, listOptions{Spark: cgroupSpark(f, p.about), SparkTitle: sparkOf(p.about)})...)
	return fit(append(lines, page...), c.Height)
}

func noCgroups(c Canvas) []string {
	return []string{
		widget.NewLine(c.Width).Skip(1).Put(c.Theme.Title, "no cgroup below the root is counted").String(),
		widget.NewLine(c.Width).Skip(1).Plain("t shows the tree; services and containers appear when there are some").String(),
	}
}

func (p *Cgroups) title(f Frame, c Canvas, t Table) string {
	parts := []string{"cgroups"}
	if p.about != allResources {
		parts = append(parts, "by "+p.about.String())
	}
	if s := newest(f, cgroupsOf); s != nil {
		parts = append(parts, fmt.Sprintf("%d of %d", len(t.Rows), s.Count), fmt.Sprintf("%d limited", s.Limited), s.Version)
		if s.Omitted > 0 {
			parts = append(parts, fmt.Sprintf("%d+ not known", s.Omitted))
		}
		if s.Oldest.Seconds() >= 2 {
			parts = append(parts, "read within "+widget.Age(s.Oldest))
		}
	}
	if p.tree {
		parts = append(parts, "tree")
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

func sparkOf(about resource) string {
	return [...]string{"%CPU", "%CPU", "MEM", "io", ""}[about]
}

// cgroupSpark returns the history of a cgroup's main number, oldest first.
func cgroupSpark(f Frame, about resource) func(row string) []float64 {
	return func(row string) []float64 {
		return cgroupHistory(f, row, func(c *cgroupSum) float64 { return mainNumber(c, about) })
	}
}

func mainNumber(c *cgroupSum, about resource) float64 {
	switch about {
	case memoryResource:
		if c.Has&collectors.HasMemory != 0 {
			return float64(c.Memory)
		}
		return math.NaN()
	case ioResource:
		if c.IO == nil {
			return math.NaN()
		}
		return over(float64(c.IO.RBytes+c.IO.WBytes), c.io)
	case allResources, cpuResource, resourceKinds:
	}
	return c.cpus()
}

// cgroupHistory returns one number of a cgroup's rows over the last minute of ticks, oldest first.
func cgroupHistory(f Frame, path string, value func(*cgroupSum) float64) []float64 {
	var out []float64
	at := 0 // where the row stood in the moment before: mostly it is there again
	for _, m := range f.Past[max(len(f.Past)-sparkSamples, 0):] {
		if m.Snapshot == nil || m.Cgroups == nil {
			continue
		}
		rows := m.Cgroups.Rows
		for i := range rows {
			k := (at + i) % len(rows)
			r := &rows[k]
			if r.CgroupInfo == nil || r.Path.Bytes() != path {
				continue
			}
			at = k
			one := oneCgroup(r)
			if v := value(&one); !math.IsNaN(v) {
				out = append(out, v)
			}
			break
		}
	}
	return out
}
