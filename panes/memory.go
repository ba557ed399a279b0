// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// MemoryPane is the id of the Memory pane.
const MemoryPane ID = "memory"

// memoryView is what the list of the Memory pane holds.
type memoryView uint8

const (
	showSlab memoryView = iota
	showWhere
	showLimits
	memoryViews
)

func (v memoryView) String() string {
	switch v {
	case showWhere:
		return "where"
	case showLimits:
		return "limits"
	case showSlab, memoryViews:
	}
	return "slab"
}

// Memory is the pane of the memory: free, reclaim, swap and sar -v above, slabtop below, or where
// the memory is, or what is limited.
type Memory struct {
	view  memoryView
	lists [memoryViews]list // one cursor and order each
}

// NewMemory returns the pane: the largest caches first, the other two in their own order.
func NewMemory() *Memory {
	return &Memory{lists: [memoryViews]list{newList(colCacheSize), newList(""), newList("")}}
}

// Info implements Pane.
func (p *Memory) Info() Info {
	return Info{
		ID: MemoryPane, Title: "Memory", Short: "Mem", Digit: "4", Help: "memory",
		Command: "free -m; vmstat 1; slabtop; sar -v",
	}
}

// Wants implements Pane: reading the caches costs, so they are read while somebody looks.
func (p *Memory) Wants(Scope) []collectors.Want { return []collectors.Want{{ID: collectors.SlabID}} }

const keyMemoryView = "memory.view"

// Keys implements Pane.
func (p *Memory) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "cache", "enter").In("open the page of the slab cache")
	if p.view != showSlab {
		open = open.Off("there is nothing below this line; v shows the slab caches")
	}
	next := (p.view + 1) % memoryViews
	return append([]keymap.Key{
		open,
		keymap.New(keyMemoryView, "v", next.String(), "v").In("list slab caches, where the memory is, tables and limits"),
		cgroupsKey(),
	}, p.lists[p.view].keys()...)
}

// Update implements Pane.
func (p *Memory) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

// choose shows the list that a row is in: a row's ID begins with its list unless it is a cache's.
func (p *Memory) choose(row string) {
	p.view = showSlab
	switch {
	case hasKind(row, "part"):
		p.view = showWhere
	case hasKind(row, "limit"):
		p.view = showLimits
	}
	p.lists[p.view].choose(row)
}

func hasKind(row, kind string) bool { return len(row) > len(kind) && row[:len(kind)+1] == kind+" " }

func (p *Memory) press(msg Press) tea.Cmd {
	switch msg.ID {
	case keyCgroups:
		return openCgroups(memoryResource)
	case keyMemoryView:
		p.view = (p.view + 1) % memoryViews
	case keymap.Open:
		if r, ok := p.lists[showSlab].row(p.listed(msg.Frame, showSlab)); ok && p.view == showSlab {
			return send(OpenMsg{newSlabPage(r.ID)})
		}
	default:
		p.lists[p.view].press(msg.ID, p.listed(msg.Frame, p.view))
	}
	return nil
}

// listed is the table of one of the lists, in its order.
func (p *Memory) listed(f Frame, v memoryView) Table {
	var t Table
	switch v {
	case showWhere:
		t = whereTable(f)
	case showLimits:
		t = limitsTable(f)
	case showSlab, memoryViews:
		t = slabTable(f)
	}
	p.lists[v].order(&t)
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Memory) Describe(f Frame) string { return p.lists[p.view].why(p.listed(f, p.view)) }

// Table implements Pane: the caches as rows, everything else as facts.
func (p *Memory) Table(f Frame) Table {
	t := p.listed(f, showSlab)
	t.Title = "memory"
	t.Facts = memoryFacts(f)
	return t
}

const mib = 1 << 20

// inMiB is bytes as free -m prints them, but not cut to whole ones.
func inMiB(n uint64) Cell { return Number(float64(n) / mib) }

// memoryFacts are the numbers of free -m -w, vmstat, sar -B and sar -v, by their names there.
func memoryFacts(f Frame) []Fact {
	m := memoryOver(f)
	var out []Fact
	add := func(id, title, unit string, decimals int, c Cell) {
		out = append(out, Fact{ID: id, Title: title, Unit: unit, Cell: c, Decimals: decimals})
	}
	if m == nil {
		why, _ := whyNot(f, collectors.MemoryID, "meminfo")
		for _, id := range []string{"total", "used", "free", "available"} {
			add(id, "memory "+id, "MiB", 1, Missing(why))
		}
	} else {
		info := &m.Info
		known := func(field collectors.MemField) Cell { return memCell(info, field) }
		add("total", "memory", "MiB", 1, known(collectors.MemTotal))
		add("used", "total less available", "MiB", 1, inMiB(info.Used()))
		add("free", "of no use to anybody", "MiB", 1, known(collectors.MemFree))
		add("shared", "tmpfs and shared memory", "MiB", 1, known(collectors.MemShmem))
		add("buffers", "cache of block devices", "MiB", 1, known(collectors.MemBuffers))
		add("cache", "page cache and reclaimable slab", "MiB", 1, inMiB(info.Cache()))
		add("available", "can be had without swapping", "MiB", 1, inMiB(info.Available()))
		add("swap_total", "swap", "MiB", 1, known(collectors.MemSwapTotal))
		add("swpd", "swap in use", "MiB", 1, inMiB(info.SwapUsed()))
		add("si", "read from swap", "KiB/s", 1, pagesRate(m, collectors.VMSwapIn))
		add("so", "written to swap", "KiB/s", 1, pagesRate(m, collectors.VMSwapOut))
		for _, x := range memoryRates() {
			add(x.id, x.title, "/s", 1, rateOf(f, m, x.events...))
		}
		add("%vmeff", "pages won of those looked at", "%", 1, efficiency(m))
		add("oom_kill", "kills for lack of memory", "", 0, countOf(f, m, collectors.VMOOMKill))
		for _, r := range whereTable(f).Rows {
			add(strings.TrimPrefix(r.ID, "part "), r.Cells[len(r.Cells)-1].text.String(), "MiB", 1, r.Cells[0])
		}
		t := &m.Tables
		add("dentunusd", "names in the cache that nobody uses", "", 0, tableCell(t.Unused))
		add("file-nr", "open files", "", 0, tableCell(t.Files))
		add("inode-nr", "inodes in use", "", 0, inodesUsed(t))
		add("pty-nr", "terminals in use", "", 0, tableCell(t.PTYs))
	}
	some, full := memoryStall(f)
	fact := psiFact(f, "psi_memory", "some task waits for memory", psiMemory)
	out = append(out, fact)
	all := Fact{ID: "psi_full", Title: "all that could run wait for memory", Unit: "%", Decimals: 1, Cell: Missing(fact.Cell.Why)}
	if !math.IsNaN(some) {
		all.Cell = Number(100 * full)
	}
	return append(out, all)
}

// memoryRate is a rate of events, by the name it has in sar -B or in the kernel.
type memoryRate struct {
	id, title string
	events    []collectors.VMEvent
}

func memoryRates() []memoryRate {
	r := func(id, title string, events ...collectors.VMEvent) memoryRate {
		return memoryRate{id, title, events}
	}
	return []memoryRate{
		r("fault/s", "page faults", collectors.VMFault),
		r("majflt/s", "page faults that had to read", collectors.VMMajorFault),
		r("pgscank/s", "pages that kswapd looked at", collectors.VMScanKswapd),
		r("pgscand/s", "pages that waiting tasks looked at", collectors.VMScanDirect),
		r("pgsteal/s", "pages won", collectors.VMStealKswapd, collectors.VMStealDirect, collectors.VMStealOther),
		r("allocstall/s", "times a task had to reclaim itself", collectors.VMAllocStall),
		r("compact/s", "times a task had to compact memory", collectors.VMCompactStall),
		r("refault_f/s", "file pages that came back too soon", collectors.VMRefaultFile),
		r("refault_a/s", "anonymous pages that came back too soon", collectors.VMRefaultAnon),
		r("thp/s", "huge pages given out at a fault", collectors.VMTHPFault),
		r("thp_fail/s", "faults that found no huge page", collectors.VMTHPFallback),
	}
}
