// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// CgroupsPane is the id of the pane of control groups.
const CgroupsPane ID = "cgroups"

// resource is what the columns of the cgroups are about.
type resource uint8

const (
	allResources resource = iota
	cpuResource
	memoryResource
	ioResource
	resourceKinds
)

// String is the word in the title.
func (r resource) String() string { return [...]string{"all", "cpu", "memory", "io", ""}[r] }

// sort is the column that the resource is sorted by at first.
func (r resource) sort() string { return [...]string{"%CPU", "%CPU", "MEM", "psi_io", ""}[r] }

// Cgroups is the pane of control groups: containers, services and users, against their limits.
type Cgroups struct {
	about resource
	tree  bool
	list  list
	id    ID // of a drill-down from another pane; empty: the tab's own
}

// NewCgroups returns the pane with the columns that systemd-cgtop has, and the limits.
func NewCgroups() *Cgroups { return newCgroupsAbout(allResources) }

func newCgroupsAbout(r resource) *Cgroups { return &Cgroups{about: r, list: newList(r.sort())} }

// keyCgroups is the key that groups another pane by cgroup.
const keyCgroups = "cgroups.open"

// cgroupsKey is that key, for the other pane's Keys.
func cgroupsKey() keymap.Key {
	return keymap.New(keyCgroups, "c", "cgroups", "c").In("the same by cgroup: containers and services against their limits")
}

// openCgroups is what the other pane answers to it.
func openCgroups(about resource) Answer {
	p := newCgroupsAbout(about)
	p.id = CgroupsPane + "." + ID(about.String())
	return OpenMsg{p}
}

// Info implements Pane.
func (p *Cgroups) Info() Info {
	i := Info{ID: CgroupsPane, Title: "Cgroups", Short: "Cgrp", Help: "cgroups", Command: "systemd-cgtop"}
	if p.id != "" {
		i.ID, i.Title, i.Command = p.id, "by cgroup", ""
	}
	return i
}

// Wants implements Pane: while somebody looks every cgroup is read at every tick.
func (p *Cgroups) Wants(Scope) []collectors.Want { return []collectors.Want{wantCgroup(0)} }

// wantCgroup wants all of the collector, and one cgroup taken apart if id is not 0.
func wantCgroup(id uint64) collectors.Want {
	return collectors.Want{ID: collectors.CgroupsID, Target: collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id}}
}

// IDs of the keys of this pane.
const (
	keyCgroupTree    = "cgroups.tree"
	keyCgroupColumns = "cgroups.columns"
)

// Keys implements Pane.
func (p *Cgroups) Keys() []keymap.Key {
	shape := "tree"
	if p.tree {
		shape = "flat"
	}
	keys := []keymap.Key{
		keymap.New(keymap.Open, "Enter", "cgroup", "enter").In("open the page of the cgroup: limits, events, history"),
		keymap.New(keyCgroupTree, "t", shape, "t").In("as a tree, or only what holds processes or a limit"),
		keymap.New(keyCgroupColumns, "c", ((p.about + 1) % resourceKinds).String(), "c").In("columns: all, CPU, memory, I/O"),
	}
	return append(keys, p.list.keys()...)
}

// Update implements Pane.
func (p *Cgroups) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.list.choose(msg.Row)
	case Press:
		switch msg.ID {
		case keyCgroupTree:
			p.tree = !p.tree
			p.sortAgain()
		case keyCgroupColumns:
			p.about = (p.about + 1) % resourceKinds
			p.sortAgain()
		case keymap.Open:
			if r, ok := p.list.row(p.Table(msg.Frame)); ok {
				if page := newCgroupPage(msg.Frame, r.ID); page != nil {
					return OpenMsg{page}
				}
			}
		default:
			p.list.press(msg.ID, p.Table(msg.Frame))
		}
	}
	return nil
}

// sortAgain sorts by the resource's own column; a tree has an order of its own. The row stays.
func (p *Cgroups) sortAgain() {
	at := p.list.selected
	p.list.restart(p.about.sort())
	if p.tree {
		p.list.restart("")
	}
	p.list.selected = at
}

// cgroupColumn is a column and how a cgroup fills it.
type cgroupColumn struct {
	Column
	in   [resourceKinds]bool // the column sets it is in
	cell func(p *Cgroups, f Frame, c *cgroupSum) Cell
}

// cgroupColumns are all columns, in order.
func cgroupColumns() []cgroupColumn {
	const a, c, m, d = allResources, cpuResource, memoryResource, ioResource
	col := func(id, unit string, width, decimals, rank int, cell func(*cgroupSum) Cell, in ...resource) cgroupColumn {
		x := cgroupColumn{Column: Column{ID: id, Title: id, Unit: unit, Width: width, Decimals: decimals, Rank: rank}}
		if strings.HasPrefix(unit, "bytes") {
			x.Form = Bytes
		}
		x.cell = func(_ *Cgroups, f Frame, c *cgroupSum) Cell { return explained(f, cell(c)) }
		for _, r := range in {
			x.in[r] = true
		}
		return x
	}
	cols := []cgroupColumn{
		col("%CPU", "%", 6, 1, 0, func(c *cgroupSum) Cell { return share100(c.cpus(), lacksUsage) }, a, c),
		col("%usr", "%", 5, 1, 4, func(c *cgroupSum) Cell { return share100(over(c.User.Seconds(), c.split), lacksUsage) }, c),
		col("%sys", "%", 5, 1, 4, func(c *cgroupSum) Cell { return share100(over(c.System.Seconds(), c.split), lacksUsage) }, c),
		col("quota", "cpus", 5, 2, 1, quotaCell, c),
		col("%quota", "%", 6, 1, 2, func(c *cgroupSum) Cell { return share100(c.ofQuota(), lacksQuota(c)) }, a, c),
		col("%thr", "%", 5, 1, 0, func(c *cgroupSum) Cell { return share100(c.stopped(), lacksThrottle(c)) }, a, c),
		col("thr_ms", "ms/s", 6, 0, 2, func(c *cgroupSum) Cell { return throttleCell(c, 1e3*c.ThrottledFor.Seconds()) }, c),
		col("periods", "/s", 7, 1, 5, func(c *cgroupSum) Cell { return throttleCell(c, float64(c.Periods)) }, c),
		col("weight", "", 6, 0, 6, weightCell, c),
		col("MEM", "bytes", 5, 0, 0, func(c *cgroupSum) Cell { return gauge(c, collectors.HasMemory, c.Memory, lacksMemory) }, a, m),
		col("high", "bytes", 5, 0, 3, func(c *cgroupSum) Cell { return limitCell(c.Tight.High, "memory.high") }, m),
		col("max", "bytes", 5, 0, 1, func(c *cgroupSum) Cell { return limitCell(c.Tight.Max, "memory.max") }, m),
		col("%lim", "%", 5, 1, 0, func(c *cgroupSum) Cell { return share100(c.ofMemory(c.Tight), lacksLimit(c)) }, a, m),
		col("swap", "bytes", 5, 0, 3, func(c *cgroupSum) Cell { return gauge(c, collectors.HasSwap, c.Swap, lacksSwap) }, m),
		col("high/s", "/s", 6, 1, 2, func(c *cgroupSum) Cell { return highCell(c) }, m),
		col("max/s", "/s", 6, 1, 2, func(c *cgroupSum) Cell { return per(float64(c.Events.Max), c.events, lacksMemory) }, m),
		col("oom", "kills", 5, 0, 1, killsCell, m),
		col("psi_cpu", "%", 4, 0, 1, stallCell(someCPU), a, c),
		col("psi_cpu_full", "%", 5, 0, 5, stallCell(fullCPU), c),
		col("psi_mem", "%", 4, 0, 1, stallCell(someMemory), a, m),
		col("psi_mem_full", "%", 5, 0, 5, stallCell(fullMemory), m),
		col("psi_io", "%", 4, 0, 1, stallCell(someIO), a, d),
		col("psi_io_full", "%", 5, 0, 1, stallCell(fullIO), d),
		col("rd/s", "bytes/s", 5, 0, 2, ioCell(func(io *collectors.CgroupIO) uint64 { return io.RBytes }), a, d),
		col("wr/s", "bytes/s", 5, 0, 2, ioCell(func(io *collectors.CgroupIO) uint64 { return io.WBytes }), a, d),
		col("r/s", "/s", 7, 1, 1, ioCell(func(io *collectors.CgroupIO) uint64 { return io.RIOs }), d),
		col("w/s", "/s", 7, 1, 1, ioCell(func(io *collectors.CgroupIO) uint64 { return io.WIOs }), d),
		col("TASKS", "tasks", 6, 0, 3, func(c *cgroupSum) Cell { return gauge(c, collectors.HasPids, c.Pids, lacksPids) }, a, c, m, d),
	}
	short := map[string]string{
		"psi_cpu": "psiC", "psi_mem": "psiM", "psi_io": "psiI",
		"psi_cpu_full": "fullC", "psi_mem_full": "fullM", "psi_io_full": "fullI",
	}
	for i := range cols {
		if s, ok := short[cols[i].ID]; ok {
			cols[i].Title = s
		}
	}
	name := cgroupColumn{Column: Column{ID: "CGROUP", Title: "CGROUP", Width: 20, Left: true}, in: [resourceKinds]bool{true, true, true, true}}
	name.cell = func(p *Cgroups, _ Frame, c *cgroupSum) Cell { return Name(p.name(c)) }
	return append(cols, name)
}

// name is what the pane calls a cgroup: in a tree its own name, below those of its parents; else
// its short name, which says so if others are below.
func (p *Cgroups) name(c *cgroupSum) collectors.Safe {
	if p.tree {
		own := c.Name.Bytes()
		if i := strings.LastIndexByte(own, '/'); i >= 0 && i+1 < len(own) {
			own = own[i+1:]
		}
		return collectors.Clean(collectors.RawString(strings.Repeat("  ", int(min(c.Depth, 10))) + own))
	}
	name := c.Name.Bytes()
	if !c.Leaf && name != "/" {
		name += "/…"
	}
	if c.Frozen {
		name += " frozen"
	}
	return collectors.Clean(collectors.RawString(name))
}

// Why a cell may be missing. What begins with a probe's name and a colon is asked of that probe.
const (
	lacksUsage  = "cgroup cpu:"
	lacksMemory = "cgroup memory:"
	lacksIO     = "cgroup io:"
	lacksPids   = "cgroup pids:"
	lacksPSI    = "cgroup psi:"
	lacksSwap   = "no swap counter: swap is off, or not counted for cgroups (swapaccount=1)"
)

func lacksQuota(c *cgroupSum) string {
	if c.Tight.CPUs == 0 {
		return "no CPU quota, of its own or above"
	}
	return lacksUsage
}

func lacksThrottle(c *cgroupSum) string {
	if c.Own.CPUs == 0 {
		return "no CPU quota of its own"
	}
	return lacksUsage
}

func lacksLimit(c *cgroupSum) string {
	if limit, _ := memoryLimit(c.Tight); limit == collectors.NoLimit {
		return "no memory limit, of its own or above"
	}
	return lacksMemory
}

// explained gives a cell that a probe is to explain that probe's words.
func explained(f Frame, c Cell) Cell {
	probe, ok := strings.CutSuffix(c.Why, ":")
	if c.Known() || !ok {
		return c
	}
	p, ok := probeNamed(f, collectors.CgroupsID, probe)
	switch {
	case ok && (p.State == collectors.Off || p.State == collectors.Failed):
		c.Why = note(probe, p.Reason, p.Remedy)
	default:
		c.Why = "this cgroup has no such counter, or is read a second time in a moment"
	}
	return c
}

func share100(v float64, why string) Cell {
	if math.IsNaN(v) {
		return Missing(why)
	}
	return Number(100 * v)
}

func per(n, seconds float64, why string) Cell {
	if seconds <= 0 {
		return Missing(why)
	}
	return Number(n / seconds)
}

func gauge(c *cgroupSum, has collectors.CgroupHas, v uint64, why string) Cell {
	if c.Has&has == 0 {
		return Missing(why)
	}
	return Number(float64(v))
}

func limitCell(limit uint64, what string) Cell {
	if limit == collectors.NoLimit {
		return Missing("no " + what + ", of its own or above")
	}
	return Number(float64(limit))
}

func quotaCell(c *cgroupSum) Cell {
	if c.Tight.CPUs == 0 {
		return Missing("no CPU quota, of its own or above")
	}
	return Number(c.Tight.CPUs)
}

func weightCell(c *cgroupSum) Cell {
	if c.Weight == 0 {
		return Missing(lacksUsage)
	}
	return Number(float64(c.Weight))
}

// throttleCell is a rate of its own quota: without one there is nothing to count.
func throttleCell(c *cgroupSum, n float64) Cell {
	if math.IsNaN(c.stopped()) {
		return Missing(lacksThrottle(c))
	}
	return per(n, c.throttle, lacksThrottle(c))
}

func highCell(c *cgroupSum) Cell {
	if c.Has&collectors.HasHigh == 0 && c.Has&collectors.HasEvents != 0 {
		return Missing("cgroups of v1 have no memory.high")
	}
	return per(float64(c.Events.High), c.events, lacksMemory)
}

// killsCell is how many were killed in the time shown: they are too few for a rate.
func killsCell(c *cgroupSum) Cell {
	if c.events <= 0 {
		return Missing(lacksMemory)
	}
	return Number(float64(c.Events.OOMKill))
}

func stallCell(get func(*collectors.CgroupPSI) time.Duration) func(*cgroupSum) Cell {
	return func(c *cgroupSum) Cell { return share100(c.stalled(get), lacksPSI) }
}

func ioCell(get func(*collectors.CgroupIO) uint64) func(*cgroupSum) Cell {
	return func(c *cgroupSum) Cell {
		if c.IO == nil {
			return Missing(lacksIO)
		}
		return per(float64(get(c.IO)), c.io, lacksIO)
	}
}
