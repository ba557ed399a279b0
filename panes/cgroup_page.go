// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// cgroupPage is everything about one cgroup.
type cgroupPage struct {
	path string // row ID
	id   uint64
	name collectors.Safe
}

// newCgroupPage returns the page of the cgroup of a row; nil if there is no such row.
func newCgroupPage(f Frame, row string) *cgroupPage {
	rows, _ := cgroupsOver(f)
	if c := cgroupAt(rows, row); c != nil {
		return &cgroupPage{path: row, id: c.ID, name: collectors.Clean(c.Name)}
	}
	return nil
}

func cgroupAt(rows []cgroupSum, path string) *cgroupSum {
	for i := range rows {
		if rows[i].Path.Bytes() == path {
			return &rows[i]
		}
	}
	return nil
}

// Info implements Pane.
func (p *cgroupPage) Info() Info {
	name := p.name.String()
	return Info{ID: "cgroup", Title: widget.Clip(name, 40), Short: widget.Clip(name, 16), Help: "cgroups"}
}

// Wants implements Pane: its own memory is taken apart, and all are read for the chain above it.
func (p *cgroupPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{wantCgroup(0), wantCgroup(p.id)}
}

// Keys implements Pane.
func (p *cgroupPage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below one cgroup yet"),
	}
}

// Update implements Pane.
func (p *cgroupPage) Update(tea.Msg) tea.Cmd { return nil }

// Table implements Pane: the cgroup and those above it, the root first.
func (p *cgroupPage) Table(f Frame) Table {
	all := Cgroups{tree: true, list: newList("")}
	t := all.Table(f)
	t.Title = "cgroup " + p.name.String()
	rows := t.Rows
	t.Rows = nil
	for _, r := range rows {
		if r.ID == p.path || isAbove(r.ID, p.path) {
			t.Rows = append(t.Rows, r)
		}
	}
	t.Facts = nil
	sums, _ := cgroupsOver(f)
	c := cgroupAt(sums, p.path)
	if c == nil {
		t.Notes = append(t.Notes, "it is gone")
		return t
	}
	size := func(id, title string, v uint64) {
		cell := Missing("memory.stat is read of the cgroup that is looked at, or is near its limit")
		if c.Detail != nil {
			cell = Number(float64(v))
		}
		t.Facts = append(t.Facts, Fact{ID: id, Title: title, Unit: "bytes", Cell: cell})
	}
	d := c.Detail
	if d == nil {
		d = &collectors.CgroupDetail{}
	}
	size("anon", "anonymous memory", d.Anon)
	size("file", "page cache", d.File)
	size("inactive_file", "page cache that is not in use", d.InactiveFile)
	size("shmem", "shared memory", d.Shmem)
	size("slab", "kernel objects", d.Slab)
	size("sock", "socket buffers", d.Sock)
	for _, e := range []struct {
		id, title string
		n         uint64
	}{
		{"low", "reclaimed below its protection", c.Events.Low},
		{"high", "held up at memory.high", c.Events.High},
		{"max", "hit memory.max", c.Events.Max},
		{"oom", "out of memory", c.Events.OOM},
		{"oom_kill", "killed for memory", c.Events.OOMKill},
	} {
		t.Facts = append(t.Facts, Fact{ID: e.id, Title: e.title, Unit: "/s", Decimals: 1, Cell: explained(f, per(float64(e.n), c.events, lacksMemory))})
	}
	t.Facts = append(t.Facts,
		Fact{ID: "refault", Title: "pages read again too soon", Unit: "/s", Decimals: 1, Cell: explained(f, per(float64(d.Refaults), c.seconds(), lacksMemory))},
		Fact{ID: "majflt", Title: "major faults", Unit: "/s", Decimals: 1, Cell: explained(f, per(float64(d.MajorFaults), c.seconds(), lacksMemory))},
		Fact{ID: "fork_refused", Title: "forks refused by pids.max", Unit: "/s", Decimals: 1, Cell: explained(f, per(float64(c.PidsDenied), c.denied, lacksPids))},
	)
	return t
}

// seconds is how long memory.stat was watched; 0 without one.
func (c *cgroupSum) seconds() float64 {
	if c.Detail == nil {
		return 0
	}
	return c.Seconds()
}

// isAbove says whether a is an ancestor of path.
func isAbove(a, path string) bool {
	return a == "/" || strings.HasPrefix(path, a+"/")
}

// View implements Pane.
func (p *cgroupPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	return fit(cgroupPageLines(f, c, p.path, c.Height), c.Height)
}

// cgroupPageLines says everything about a cgroup in at most height lines.
func cgroupPageLines(f Frame, c Canvas, path string, height int) []string {
	rows, s := cgroupsOver(f)
	one := cgroupAt(rows, path)
	if one == nil {
		head := widget.Title(c.Theme, c.Width, "cgroup")
		if s == nil {
			return append([]string{head}, missingPart(f, c, collectors.CgroupsID, "cgroup", "what the cgroup uses")...)
		}
		return []string{head, widget.NewLine(c.Width).Skip(1).Plain("it is gone: no process, no directory").String()}
	}
	lines := []string{widget.Title(c.Theme, c.Width, clean(one.Name), clean(one.Path))}
	lines = append(lines, cgroupNow(f, c, one)...)
	lines = append(lines, limitChain(c, rows, one, max(height-len(lines)-4, 2))...)
	if room := height - len(lines); room >= 4 {
		lines = append(lines, cgroupPlots(f, c, path, room)...)
	}
	return lines[:min(len(lines), max(height, 0))]
}

// cgroupNow are the lines of its present numbers.
func cgroupNow(f Frame, c Canvas, one *cgroupSum) []string {
	say := func(label string, parts ...string) string {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("%-7s", label))
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
	d := one.Detail
	mem := []string{cell("MEM", ""), cell("%lim", " %") + " of limit", "high " + cell("high", ""), "max " + cell("max", ""), "swap " + cell("swap", "")}
	hold := []string{"- memory.stat is read of who is looked at, or is near a limit"}
	refaults, kills := "-", ""
	if d != nil {
		hold = []string{
			"anon " + widget.Bytes(d.Anon), "file " + widget.Bytes(d.File), "inactive " + widget.Bytes(d.InactiveFile),
			"shmem " + widget.Bytes(d.Shmem), "slab " + widget.Bytes(d.Slab), "sock " + widget.Bytes(d.Sock),
		}
		refaults = per(float64(d.Refaults), one.seconds(), "").Format(1) + "/s"
		kills = fmt.Sprintf("(%d of all time)", d.OOMKills)
	}
	out := []string{
		say("cpu", cell("%CPU", " %"), cell("%quota", " %")+" of quota "+cell("quota", ""), "throttled "+cell("%thr", " %")+" "+cell("thr_ms", " ms/s"), "weight "+cell("weight", "")),
		say("memory", mem...),
		say("holds", hold...),
		say("events", "high "+cell("high/s", "/s"), "max "+cell("max/s", "/s"), "oom_kill "+cell("oom", "")+" "+kills, "refault "+refaults),
		say("psi", "cpu "+cell("psi_cpu", " %"), "mem "+cell("psi_mem", " %")+" full "+cell("psi_mem_full", " %"), "io "+cell("psi_io", " %")+" full "+cell("psi_io_full", " %")),
		say("io", "rd "+cell("rd/s", "/s"), "wr "+cell("wr/s", "/s"), "r/s "+cell("r/s", ""), "w/s "+cell("w/s", "")),
		say("tasks", cell("TASKS", ""), "max "+countLimit(one.Tight.Pids), state(one)),
	}
	if d != nil {
		for _, l := range d.IOMax {
			out = append(out, say("io.max", fmt.Sprintf("%d:%d", l.Major, l.Minor), "rbps "+sizeLimit(l.RBytes), "wbps "+sizeLimit(l.WBytes), "riops "+countLimit(l.RIO), "wiops "+countLimit(l.WIO)))
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
