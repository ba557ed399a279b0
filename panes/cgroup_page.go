// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// cgroupPage is everything about one cgroup.
type cgroupPage struct {
	path string // row ID
	id   uint64
	name collectors.Safe

	parts sections
	draw  pageDraw
}

// newCgroupPage returns the page of the cgroup of a row; nil if there is no such row.
func newCgroupPage(f Frame, row string) *cgroupPage {
	rows, _ := cgroupsOver(f)
	c := cgroupAt(rows, row)
	if c == nil {
		return nil
	}
	return cgroupPageOf(row, c.ID, collectors.Clean(c.Name))
}

func cgroupPageOf(path string, id uint64, name collectors.Safe) *cgroupPage {
	p := &cgroupPage{path: path, id: id, name: name}
	p.parts = newSections(collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id}, p.sections())
	p.parts.lists[0] = newList("%CPU")
	return p
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

// Wants implements Pane: its own memory is taken apart, all are read for the chain above it, and what it
// does is counted apart in the kernel.
func (p *cgroupPage) Wants(Scope) []collectors.Want {
	return append([]collectors.Want{wantCgroup(0), wantCgroup(p.id)}, p.parts.wants()...)
}

// Keys implements Pane.
func (p *cgroupPage) Keys() []keymap.Key { return p.parts.keysWith(p.draw.keys()) }

// Update implements Pane. Select takes a section, or a section and a row: "processes/812".
func (p *cgroupPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		if !p.draw.press(msg.ID, len(p.distributions(msg.Frame))) {
			return p.parts.press(msg)
		}
	}
	return nil
}

// distributions are those that the page draws: what is counted of the cgroup apart.
func (p *cgroupPage) distributions(f Frame) []distribution {
	return targetDistributions(f, p.parts.target, p.parts.selected(f, "calls"))
}

// Describe implements Describer.
func (p *cgroupPage) Describe(f Frame) string { return p.parts.describe(f) }

// inside is the table of the processes in the cgroup and in those below it.
func (p *cgroupPage) inside(f Frame, _ collectors.Target) Table {
	t := Table{Title: "processes"}
	var cols []processColumn
	for _, c := range processColumns(hostMemory(f)) {
		switch c.ID {
		case "USER", "cgroup", "PPID", "PR", "NI", "VSZ", "%waitall", "cswall/s":
			continue
		case "%usr", "%sys":
			c.Rank = 5
		case "kB_rd/s", "kB_wr/s":
			c.Rank = 1
		}
		cols = append(cols, c)
		t.Columns = append(t.Columns, c.Column)
	}
	set := processesOver(f)
	if set == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		t.Notes = append(t.Notes, note("pidstat", why, remedy))
		return t
	}
	var list []*process
	for i := range set.list {
		if x := &set.list[i]; p.holds(x.CgroupPath.Bytes()) {
			list = append(list, x)
		}
	}
	sortBy(list, byUse)
	for _, x := range list {
		r := Row{ID: rowOf(x), Target: targetOf(x.ProcInfo)}
		for _, c := range cols {
			r.Cells = append(r.Cells, c.cell(x, set.Span))
		}
		t.Rows = append(t.Rows, r)
	}
	t.Facts = []Fact{{ID: "n", Title: "processes, with those of the cgroups below", Cell: Number(float64(len(t.Rows)))}}
	if !set.all {
		t.Notes = append(t.Notes, "processes that did nothing are not listed: the last list of all is no longer kept")
	}
	return t
}

// holds says whether a process of that cgroup is in this one. The path of a process is that of v1's
// memory controller where there is one, else of v2.
func (p *cgroupPage) holds(path string) bool {
	return path != "" && (path == p.path || isAbove(p.path, path))
}

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
	t.Facts, t.More = nil, nil
	for i := range p.parts.all {
		t.More = append(t.More, p.parts.table(f, i))
	}
	sums, _ := cgroupsOver(f)
	c := cgroupAt(sums, p.path)
	if c == nil {
		t.Notes = append(t.Notes, "it is gone")
		return t
	}
	size := func(id, title string, v uint64) {
		cell := Missing("memory.stat is read of the cgroup that is looked at, or is near its limit")
		if c.Has&collectors.HasDetail != 0 {
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
	if d.Soft > 0 {
		size("soft", "memory.soft_limit_in_bytes of v1", d.Soft)
	}
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
	if c.Has&collectors.HasDetail == 0 {
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
	lines, known := cgroupHead(f, c, p.path, c.Height-leastSection)
	if !known {
		return fit(lines, c.Height)
	}
	lines = lines[:min(len(lines), max(c.Height-leastSection, 1))]
	if c.Height >= wideHeight {
		lines = append(lines, p.draw.draw(c, p.distributions(f), latencyCanvas(c, c.Height-len(lines)).Height)...)
	}
	if rest := c.Height - len(lines); rest >= leastGrid+widestPlots {
		lines = append(lines, cgroupPlots(f, c, p.path, widestPlots)...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

const (
	leastSection = 6  // lines that are left for its tables
	widestPlots  = 13 // lines of the history, with its title
)

// cgroupPageLines says everything about a cgroup but its processes in at most height lines.
func cgroupPageLines(f Frame, c Canvas, path string, height int) []string {
	lines, known := cgroupHead(f, c, path, height)
	if room := height - len(lines); known && room >= 4 {
		lines = append(lines, cgroupPlots(f, c, path, room)...)
	}
	return lines[:min(len(lines), max(height, 0))]
}

// cgroupHead are a cgroup's numbers and the limits above it, in about height lines. False: it is not
// there, and the lines say so.
func cgroupHead(f Frame, c Canvas, path string, height int) (lines []string, known bool) {
	rows, s := cgroupsOver(f)
	one := cgroupAt(rows, path)
	if one == nil {
		head := widget.Title(c.Theme, c.Width, "cgroup")
		if s == nil {
			return append([]string{head}, missingPart(f, c, collectors.CgroupsID, "cgroup", "what the cgroup uses")...), false
		}
		return []string{head, widget.NewLine(c.Width).Skip(1).Plain("it is gone: no process, no directory").String()}, false
	}
	lines = []string{widget.Title(c.Theme, c.Width, clean(one.Name), clean(one.Path))}
	if p, ok := probeNamed(f, collectors.CgroupsID, "cgroup"); ok && p.State == collectors.Degraded {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Warn, widget.ClipWords(p.Reason, c.Width-1)).String())
	}
	lines = append(lines, cgroupNow(f, c, one)...)
	return append(lines, limitChain(c, rows, one, max(height-len(lines)-4, 5))...), true
}
