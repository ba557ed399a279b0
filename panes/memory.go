// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strconv"
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
	showWaits
	showKills
	showPages
	showWhere
	showLimits
	memoryViews
)

func (v memoryView) String() string {
	switch v {
	case showWaits:
		return "waits"
	case showKills:
		return "kills"
	case showPages:
		return "page cache"
	case showWhere:
		return "where"
	case showLimits:
		return "limits"
	case showSlab, memoryViews:
	}
	return "slab"
}

// Memory is the pane of the memory: free, reclaim, swap and sar -v above, slabtop below, or who waits
// for memory, who was killed, the page cache, where the memory is, or what is limited.
type Memory struct {
	view  memoryView
	lists [memoryViews]list // one cursor and order each
	draw  drawing           // of the waits
	split waitsSplit
}

// NewMemory returns the pane: the largest caches first, the others in their own order.
func NewMemory() *Memory {
	p := &Memory{}
	p.lists[showSlab] = newList(colCacheSize)
	return p
}

// Info implements Pane.
func (p *Memory) Info() Info {
	return Info{
		ID: MemoryPane, Title: "Memory", Short: "Mem", Digit: "4", Help: "memory",
		Command: "free -m; vmstat 1; slabtop; sar -v; drsnoop; oomkill; slabratetop; cachestat 1",
	}
}

// Wants implements Pane: reading the caches costs, and so does looking at who allocates and at the
// page cache, so that it is done while somebody looks.
func (p *Memory) Wants(s Scope) []collectors.Want {
	wants := append([]collectors.Want{{ID: collectors.SlabID}}, s.wants(collectors.ReclaimID)...)
	switch p.view {
	case showSlab:
		wants = append(append(wants, collectors.Want{ID: collectors.KmemID}), s.wants(collectors.KmemID)...)
	case showPages:
		wants = append(wants, collectors.Want{ID: collectors.CachestatID})
	case showWaits, showKills, showWhere, showLimits, memoryViews:
	}
	return wants
}

// IDs of the keys of this pane.
const (
	keyMemoryView  = "memory.view"
	keyMemoryBack  = "memory.view-back"
	keyMemoryDraw  = "memory.draw"
	keyMemorySplit = "memory.split"
)

// Keys implements Pane.
func (p *Memory) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "cache", "enter").In("open the page of the slab cache, or of the process")
	switch p.view {
	case showSlab:
	case showWaits, showPages:
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process, or of the cgroup")
		if p.view == showWaits && p.split == waitsByCgroup {
			open = keymap.New(keymap.Open, "Enter", "cgroup", "enter").In("open the page of the process, or of the cgroup")
		}
	case showKills:
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that was killed: what was seen of it")
	case showWhere, showLimits, memoryViews:
		open = open.Off("there is nothing below this line; v shows the slab caches")
	}
	next, back := (p.view+1)%memoryViews, (p.view+memoryViews-1)%memoryViews
	keys := []keymap.Key{
		open,
		keymap.New(keyMemoryView, "v", next.String(), "v").In("list slab caches, waits for memory, OOM kills, the page cache, where the memory is, tables and limits"),
		keymap.New(keyMemoryBack, "V", back.String(), "V").In("the list before"),
	}
	if p.view == showWaits {
		keys = append(keys,
			keymap.New(keyMemorySplit, "i", ((p.split+1)%waitsSplits).String(), "i").In("waits by process, by cgroup, one by one"),
			keymap.New(keyMemoryDraw, "d", ((p.draw+1)%drawings).String(), "d").In("draw waits as histogram, percentiles over time, heat map"),
			resetKey(),
		)
		keys = append(keys, zoomKeys()...)
	}
	return append(append(keys, cgroupsKey()), p.lists[p.view].keys()...)
}

// Update implements Pane.
func (p *Memory) Update(msg tea.Msg) Answer {
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
	for kind, v := range map[string]memoryView{
		"part": showWhere, "limit": showLimits, "wait": showWaits, "waitcg": showWaits, "stall": showWaits, "kill": showKills, "pages": showPages,
	} {
		if hasKind(row, kind) {
			p.view = v
		}
	}
	switch {
	case hasKind(row, "wait"):
		p.split = waitsByProcess
	case hasKind(row, "waitcg"):
		p.split = waitsByCgroup
	case hasKind(row, "stall"):
		p.split = waitsSingly
	}
	p.lists[p.view].choose(row)
}

func hasKind(row, kind string) bool { return len(row) > len(kind) && row[:len(kind)+1] == kind+" " }

func (p *Memory) press(msg Press) Answer {
	switch msg.ID {
	case keyCgroups:
		return openCgroups(memoryResource)
	case keyMemoryView:
		p.view = (p.view + 1) % memoryViews
		return WantMsg{}
	case keyMemoryBack:
		p.view = (p.view + memoryViews - 1) % memoryViews
		return WantMsg{}
	case keyMemoryDraw:
		p.draw = (p.draw + 1) % drawings
	case keyMemorySplit:
		p.split = (p.split + 1) % waitsSplits
		p.lists[showWaits].restart("")
	case keyReset:
		return MarkMsg{}
	case keymap.Open:
		return p.open(msg.Frame)
	default:
		p.lists[p.view].press(msg.ID, p.listed(msg.Frame, p.view))
	}
	return nil
}

// open pushes the page of the selected cache or process.
func (p *Memory) open(f Frame) Answer {
	r, ok := p.lists[p.view].row(p.listed(f, p.view))
	if !ok {
		return nil
	}
	switch p.view {
	case showSlab:
		return OpenMsg{newSlabPage(r.ID)}
	case showWaits, showPages, showKills:
		if id, ok := strings.CutPrefix(r.ID, "waitcg "); ok {
			n, _ := strconv.ParseUint(id, 10, 64)
			return openOwner(f, n)
		}
		if p.view == showWaits && p.split == waitsSingly {
			return openPID(f, p.listed(f, p.view), r)
		}
		return openWho(f, r)
	case showWhere, showLimits, memoryViews:
	}
	return nil
}

// tick is how exact a start is where only /proc is read, ns.
const tick = 10_000_000

// listed is the table of one of the lists, in its order.
func (p *Memory) listed(f Frame, v memoryView) Table {
	var t Table
	switch v {
	case showWaits:
		t = waitsTable(f, p.split)
	case showKills:
		t = killsTable(f)
	case showPages:
		t = pagesTable(f)
	case showWhere:
		t = whereTable(f)
	case showLimits:
		t = limitsTable(f)
	case showSlab, memoryViews:
		t = slabTable(f)
	}
	p.lists[v].arrange(f, &t)
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Memory) Describe(f Frame) string { return p.lists[p.view].why(p.listed(f, p.view)) }

// Table implements Pane: the caches as rows, who waits, who was killed and the page cache as further
// tables, everything else as facts.
func (p *Memory) Table(f Frame) Table {
	t := p.listed(f, showSlab)
	t.Title = "memory"
	t.Facts = append(memoryFacts(f), waitsFacts(f)...)
	t.Facts = append(t.Facts, pagesFacts(f)...)
	t.Histograms = waitsHistograms(f, waitsOver(f))
	cgroups := waitsTable(f, waitsByCgroup)
	cgroups.Notes = nil // the same as by process
	t.More = []Table{waitsTable(f, waitsByProcess), cgroups, killsTable(f), pagesTable(f)}
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
		add("swap_free", "swap free", "MiB", 1, known(collectors.MemSwapFree))
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
