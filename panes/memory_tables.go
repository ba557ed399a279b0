// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Columns of slabtop that code asks for.
const (
	colCacheSize = "CACHE SIZE"
	colGrowth    = "growth/s"
)

// slabTable is slabtop's table.
func slabTable(f Frame) Table {
	t := Table{Title: "slabtop", Columns: []Column{
		{ID: "OBJS", Title: "OBJS", Width: 8, Rank: 2},
		{ID: "ACTIVE", Title: "ACTIVE", Width: 8},
		{ID: "USE", Title: "USE", Unit: "%", Width: 4, Rank: 1},
		{ID: "OBJ SIZE", Title: "OBJ SIZE", Unit: "bytes", Width: 8, Rank: 4},
		{ID: "SLABS", Title: "SLABS", Width: 7, Rank: 3},
		{ID: "OBJ/SLAB", Title: "OBJ/SLAB", Width: 8, Rank: 5},
		{ID: colCacheSize, Title: "CACHE SIZE", Unit: "KiB", Width: 10},
		{ID: colGrowth, Title: colGrowth, Unit: "KiB/s", Width: 8, Decimals: 1},
		{ID: "allocs/s", Title: "allocs/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "frees/s", Title: "frees/s", Unit: "/s", Width: 8, Decimals: 1, Rank: 3},
		{ID: "KiB/s", Title: "KiB/s", Unit: "KiB/s", Width: 8, Decimals: 1, Rank: 6},
		{ID: "BY", Title: "MOST BY", Width: 16, Left: true},
		{ID: "NAME", Title: "NAME", Width: 14, Left: true},
	}}
	s := slabOver(f.rowed())
	if s == nil {
		why, remedy := whyNot(f, collectors.SlabID, "slabtop")
		t.Notes = append(t.Notes, note("slabtop", why, remedy))
		return t
	}
	rowsNote(f, &t)
	k := kmemOver(f)
	missedNote(f, &t, collectors.KmemID, "slabratetop")
	t.Rows = make([]Row, 0, len(s.Caches))
	for _, c := range s.Caches {
		use := Missing("it has no object")
		if c.Objects > 0 {
			use = Number(100 * float64(c.Active) / float64(c.Objects))
		}
		name := collectors.Clean(c.Name)
		allocs, frees, bytes, who := slabRates(f, k, c.Name)
		t.Rows = append(t.Rows, Row{ID: name.String(), Cells: []Cell{
			Number(float64(c.Objects)), Number(float64(c.Active)), use, Number(float64(c.ObjSize)), Number(float64(c.Slabs)),
			Number(float64(c.PerSlab)), Number(float64(c.Bytes) / 1024), slabGrowth(c.Grown, s.Span), allocs, frees, bytes, who, Name(name),
		}})
	}
	if s.Caches == nil && s.Total.Caches > 0 {
		t.Notes = append(t.Notes, "slabtop: the rows of this time are no longer kept")
	}
	return t
}

// slabGrowth is bytes as KiB a second.
func slabGrowth(bytes int64, span collectors.Span) Cell {
	if span.Seconds() <= 0 {
		return Missing("waiting for a second reading of the caches")
	}
	return Number(float64(bytes) / 1024 / span.Seconds())
}

// memoryPart is one of the parts that the memory consists of. Their sum is the total.
type memoryPart struct {
	id, title string
	group     partGroup
	optional  bool // not listed where there is none of it
	of        func(*collectors.Memory) (uint64, bool)
}

// partGroup is what may become of a part when memory is short.
type partGroup uint8

const (
	forApps   partGroup = iota // stays or goes to swap
	forKernel                  // stays
	forNobody                  // unaccounted
	forCache                   // can be had back
	notUsed
	partGroups
)

func (g partGroup) String() string {
	return [...]string{"apps", "kernel", "unaccounted", "cache", "free", ""}[g]
}

// shade tells the groups apart without colours.
func (g partGroup) shade() string { return [...]string{"█", "▓", "▒", "░", "·", ""}[g] }

// meminfoField is a part that is a line of /proc/meminfo, or several.
func meminfoField(fields ...collectors.MemField) func(*collectors.Memory) (uint64, bool) {
	return func(m *collectors.Memory) (sum uint64, ok bool) {
		for _, f := range fields {
			if n, known := m.Info.Get(f); known {
				sum, ok = sum+n, true
			}
		}
		return sum, ok
	}
}

// memoryParts divide the total. The kernel's counters overlap: shared memory is inside Cached, and
// stacks lie in vmalloc space (CONFIG_VMAP_STACK), so they are taken out there.
func memoryParts() []memoryPart {
	always := func(id, title string, g partGroup, of func(*collectors.Memory) (uint64, bool)) memoryPart {
		return memoryPart{id, title, g, false, of}
	}
	some := func(id, title string, g partGroup, of func(*collectors.Memory) (uint64, bool)) memoryPart {
		return memoryPart{id, title, g, true, of}
	}
	return []memoryPart{
		always("anon", "anonymous memory of processes", forApps, meminfoField(collectors.MemAnonPages)),
		always("shmem", "tmpfs and shared memory", forApps, meminfoField(collectors.MemShmem)),
		some("hugetlb", "pool of huge pages, used or not", forApps, hugetlb),
		always("slab_unreclaim", "kernel objects that stay", forKernel, meminfoField(collectors.MemSUnreclaim)),
		always("stacks", "kernel stacks of threads", forKernel, meminfoField(collectors.MemKernelStack)),
		always("pagetables", "page tables", forKernel, meminfoField(collectors.MemPageTables, collectors.MemSecPageTables)),
		some("percpu", "per-CPU data of the kernel", forKernel, meminfoField(collectors.MemPercpu)),
		some("vmalloc", "vmalloc: modules, BPF, large tables", forKernel, vmalloc),
		some("compressed", "swap held compressed: zram, zswap", forKernel, compressed),
		some("balloon", "given back to the hypervisor", forKernel, meminfoField(collectors.MemBalloon)),
		some("corrupted", "taken out as broken (HardwareCorrupted)", forKernel, meminfoField(collectors.MemHardwareCorrupted)),
		always("unaccounted", "no counter: drivers, GPU, ZFS, free lists of CPUs", forNobody, unaccounted),
		always("filecache", "page cache and buffers", forCache, fileCache),
		always("slab_reclaim", "kernel objects that can go: names, inodes", forCache, meminfoField(collectors.MemSReclaimable)),
		always("memfree", "free", notUsed, meminfoField(collectors.MemFree)),
	}
}

func hugetlb(m *collectors.Memory) (uint64, bool) {
	if n, ok := m.Info.Get(collectors.MemHugetlb); ok {
		return n, true
	}
	pages, ok1 := m.Info.Get(collectors.MemHugePagesTotal) // the default size alone: before 4.20
	size, ok2 := m.Info.Get(collectors.MemHugepagesize)
	return pages * size, ok1 && ok2
}

func vmalloc(m *collectors.Memory) (uint64, bool) {
	n, ok := m.Info.Get(collectors.MemVmallocUsed)
	return less(n, m.Info.N[collectors.MemKernelStack]), ok
}

func compressed(m *collectors.Memory) (uint64, bool) {
	n, ok := m.Info.Get(collectors.MemZswap)
	return max(n, m.Compressed), ok || m.Compressed > 0
}

func fileCache(m *collectors.Memory) (uint64, bool) {
	n, ok := meminfoField(collectors.MemCached, collectors.MemBuffers)(m)
	return less(n, m.Info.N[collectors.MemShmem]), ok
}

// unaccounted is the rest of the total.
func unaccounted(m *collectors.Memory) (uint64, bool) {
	rest := m.Info.N[collectors.MemTotal]
	for _, p := range memoryParts() {
		if p.group != forNobody {
			n, _ := p.of(m)
			rest = less(rest, n)
		}
	}
	return rest, true
}

// changeSpan is how far back the change of a part is counted.
const changeSpan = time.Minute

// whereTable says where the memory is.
func whereTable(f Frame) Table {
	t := Table{Title: "where the memory is", Columns: []Column{
		{ID: "SIZE", Title: "MiB", Unit: "MiB", Width: 10, Decimals: 1},
		{ID: "%MEM", Title: "%MEM", Unit: "%", Width: 5, Decimals: 1},
		{ID: "1min", Title: "in 1 min", Unit: "MiB", Width: 9, Decimals: 1},
		{ID: "WHERE", Title: "WHERE", Width: 42, Left: true},
	}}
	m := memoryOver(f)
	if m == nil {
		why, remedy := whyNot(f, collectors.MemoryID, "meminfo")
		t.Notes = append(t.Notes, note("meminfo", why, remedy))
		return t
	}
	then := memoryBefore(f, changeSpan)
	total := m.Info.N[collectors.MemTotal]
	row := func(id, title string, of func(*collectors.Memory) (uint64, bool)) {
		n, ok := of(m)
		cells := []Cell{Missing("this kernel or container does not print it"), Missing("no size"), Missing("no earlier reading"), Say(title)}
		if ok {
			cells[0], cells[1] = inMiB(n), Number(100*float64(n)/float64(total))
			if then != nil {
				was, _ := of(then)
				cells[2] = Number((float64(n) - float64(was)) / mib)
			}
		}
		t.Rows = append(t.Rows, Row{ID: "part " + id, Cells: cells})
	}
	var unknown []string
	for _, p := range memoryParts() {
		n, ok := p.of(m)
		if n == 0 && p.optional {
			continue
		}
		if !ok {
			unknown = append(unknown, p.id)
		}
		row(p.id, p.title, p.of)
	}
	for _, x := range []struct {
		id, title string
		field     collectors.MemField
	}{
		{"active_anon", "· of these: anonymous, used lately", collectors.MemActiveAnon},
		{"inactive_anon", "· anonymous, not used lately", collectors.MemInactiveAnon},
		{"active_file", "· file cache, used lately", collectors.MemActiveFile},
		{"inactive_file", "· file cache, first to go", collectors.MemInactiveFile},
		{"mapped", "· mapped files", collectors.MemMapped},
		{"thp", "· transparent huge pages of processes", collectors.MemAnonHugePages},
		{"unevictable", "· cannot be reclaimed", collectors.MemUnevictable},
		{"mlocked", "· locked by mlock", collectors.MemMlocked},
		{"swapcached", "· read back from swap and still there", collectors.MemSwapCached},
		{"dirty", "· to be written", collectors.MemDirty},
		{"writeback", "· being written", collectors.MemWriteback},
	} {
		if _, ok := m.Info.Get(x.field); ok {
			row(x.id, x.title, meminfoField(x.field))
		}
	}
	if unknown != nil {
		t.Notes = append(t.Notes, "not printed here, so in what has no counter: "+strings.Join(unknown, ", "))
	}
	if m.Rare != nil && m.Rare.ARC.Known {
		t.Notes = append(t.Notes, fmt.Sprintf("ZFS holds %s in its ARC: it gives way, yet counts as used and unaccounted", widget.Bytes(m.Rare.ARC.N)))
	}
	if note := ownLimitNote(m); note != "" {
		t.Notes = append(t.Notes, note)
	}
	return t
}

// ownLimitNote says that the host's memory is not what those in our cgroup may use.
func ownLimitNote(m *collectors.Memory) string {
	if m.Rare == nil || !m.Rare.Limit.Known || m.Rare.Limit.N >= m.Info.N[collectors.MemTotal] {
		return ""
	}
	return fmt.Sprintf("the cgroup bpf60 runs in may use %s; the numbers here are the host's", widget.Bytes(m.Rare.Limit.N))
}

// memoryBefore is the sample that long before now, the oldest where the history is younger.
func memoryBefore(f Frame, ago time.Duration) *collectors.Memory {
	var found *collectors.Memory
	for i := len(f.Past) - 2; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Memory == nil {
			continue
		}
		if found != nil && f.Now.At-s.At > ago {
			break
		}
		found = s.Memory
	}
	return found
}

// memPercent is part of whole in percent, not a number without a whole.
func memPercent(part, whole uint64) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return 100 * float64(part) / float64(whole)
}
