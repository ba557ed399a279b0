// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"time"

	"bpf60/collectors"
)

// slabFixture is a cache that takes a share of the slab memory that can, or cannot, be had back.
type slabFixture struct {
	name                    string
	objSize, perSlab, pages uint32
	share                   float64
	stays                   bool
}

func slabFixtures(kind string) []slabFixture {
	out := []slabFixture{
		{"dentry", 192, 21, 1, 0.42, false},
		{"ext4_inode_cache", 1176, 27, 8, 0.31, false},
		{"buffer_head", 104, 39, 1, 0.12, false},
		{"radix_tree_node", 584, 28, 4, 0.1, false},
		{"inode_cache", 624, 26, 4, 0.05, false},
		{"kmalloc-512", 512, 32, 4, 0.3, true},
		{"task_struct", 9792, 3, 8, 0.25, true},
		{"vm_area_struct", 184, 22, 1, 0.2, true},
		{"kernfs_node_cache", 128, 32, 1, 0.15, true},
		{"TCP", 2496, 13, 8, 0.1, true},
	}
	if kind == "extreme" {
		for i := range 300 {
			name := fmt.Sprintf("\x1b[3%dmcache-with-a-long-name-%d\u202e\xff", i%8, i)
			out = append(out, slabFixture{name, 1 << 22, 1, 1 << 10, 1.0 / 300, true})
		}
	}
	return out
}

// memoryAt is what the story's host has at a second: processes take a little of what is free.
type memoryAt struct{ total, available, used uint64 }

func (s *story) memoryAt(i int) memoryAt {
	total := s.mem.Total
	available := less(s.mem.Available, uint64(i)*64<<10)
	return memoryAt{total, available, less(total, available)}
}

func (a memoryAt) ofUsed(share float64) uint64 { return uint64(share*float64(a.used)) >> 10 << 10 }
func (a memoryAt) ofAvailable(share float64) uint64 {
	return uint64(share*float64(a.available)) >> 10 << 10
}

// reclaimable and stays are the two halves of the slab memory.
func (a memoryAt) reclaimable() uint64 { return a.ofAvailable(0.12) }
func (a memoryAt) stays() uint64       { return a.ofUsed(0.08) }

func addMemory(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	s.probes[collectors.MemoryID] = memoryProbes(s.kind)
	s.probes[collectors.SlabID] = slabProbes(s.kind)
	snap.Probes[collectors.MemoryID], snap.Probes[collectors.SlabID] = s.probes[collectors.MemoryID], s.probes[collectors.SlabID]
	at := s.memoryAt(i)
	snap.Host.Mem.Available = at.available
	if p := &snap.Host.PSI.Memory; p.Known { // a third of the time nobody else can run either
		p.Full = p.Some / 3
		p.FullTotal = p.SomeTotal / 3
	}
	if s.kind == "lossy" && i%7 == 3 {
		return
	}
	m := &collectors.Memory{Span: snap.CPU.Span, PageSize: 4096, DirtyLimit: at.ofAvailable(0.2)}
	if s.kind == "lossy" && i%7 == 4 { // it spans what the last one missed
		m.From -= time.Second
	}
	memoryGauges(s.kind, at, &m.Info)
	if s.kind != "lossy" {
		memoryEvents(s, l, i, m)
	}
	memoryTables(s.kind, at, m)
	snap.Memory = m
	snap.CPU.SwapIn, snap.CPU.SwapOut = m.VM.N[collectors.VMSwapIn], m.VM.N[collectors.VMSwapOut]
	if s.kind != "denied" && i%3 == 0 {
		snap.Slab = slabSample(s, i)
	}
}

func memoryProbes(kind string) []collectors.Probe {
	out := []collectors.Probe{
		{Name: "meminfo", State: collectors.On, Hook: "/proc/meminfo"},
		{Name: "reclaim", State: collectors.On, Hook: "/proc/vmstat"},
		{Name: "swaps", State: collectors.On, Hook: "/proc/swaps"},
		{Name: "sar -v", State: collectors.On, Hook: "/proc/sys/fs"},
	}
	if kind == "lossy" {
		out[1].State, out[1].Reason, out[1].Remedy = collectors.Off, "reading /proc/vmstat: no counter", "run outside the container"
	}
	return out
}

func slabProbes(kind string) []collectors.Probe {
	p := collectors.Probe{Name: "slabtop", State: collectors.On, Hook: "/proc/slabinfo"}
	switch kind {
	case "denied":
		p.State, p.Reason, p.Remedy = collectors.Off, "needs the right to read /proc/slabinfo: permission denied", "run as root"
	case "lossy":
		p.State, p.Reason = collectors.Degraded, "read each 10 s: it takes 7 ms of a CPU with the kernel's lists locked"
	}
	return []collectors.Probe{p}
}

// memoryGauges makes parts that add up to the total.
func memoryGauges(kind string, a memoryAt, info *collectors.MemInfo) {
	stacks, shmem := a.ofUsed(0.01), a.ofUsed(0.05)
	fileCache := a.ofAvailable(0.78)
	for f, n := range map[collectors.MemField]uint64{
		collectors.MemTotal: a.total, collectors.MemAvailable: a.available,
		collectors.MemBuffers: a.ofAvailable(0.02), collectors.MemCached: fileCache + shmem, collectors.MemShmem: shmem,
		collectors.MemSReclaimable: a.reclaimable(), collectors.MemSUnreclaim: a.stays(),
		collectors.MemFree:      less(a.available, a.ofAvailable(0.02)+fileCache+a.reclaimable()),
		collectors.MemAnonPages: a.ofUsed(0.7), collectors.MemKernelStack: stacks, collectors.MemVmallocUsed: stacks + a.ofUsed(0.01),
		collectors.MemPageTables: a.ofUsed(0.02), collectors.MemPercpu: a.ofUsed(0.005), collectors.MemMapped: a.ofAvailable(0.1),
		collectors.MemActiveAnon: a.ofUsed(0.2), collectors.MemInactiveAnon: a.ofUsed(0.5), collectors.MemActiveFile: a.ofAvailable(0.3),
		collectors.MemInactiveFile: a.ofAvailable(0.5), collectors.MemUnevictable: 23 << 20, collectors.MemMlocked: 23 << 20,
		collectors.MemAnonHugePages: a.ofUsed(0.1), collectors.MemDirty: a.ofAvailable(0.003), collectors.MemWriteback: 0,
		collectors.MemCommitLimit: a.total/2 + 8<<30, collectors.MemCommittedAS: a.ofUsed(1.1),
		collectors.MemSwapTotal: 8 << 30, collectors.MemSwapFree: 8 << 30, collectors.MemHugePagesTotal: 0, collectors.MemHugePagesFree: 0,
		collectors.MemHugepagesize: 2 << 20, collectors.MemHugetlb: 0,
	} {
		info.Set(f, n)
	}
	switch kind {
	case "pressure":
		info.Set(collectors.MemSwapFree, 5<<30)
		info.Set(collectors.MemZswap, 300<<20)
		info.Set(collectors.MemWriteback, 44<<20)
	case "extreme":
		info.Set(collectors.MemSwapTotal, 20<<40)
		info.Set(collectors.MemSwapFree, 0)
		info.Set(collectors.MemHardwareCorrupted, 4<<20)
		info.Set(collectors.MemHugePagesTotal, 100_000)
	case "lossy": // a container's view
		for _, f := range []collectors.MemField{collectors.MemSReclaimable, collectors.MemSUnreclaim, collectors.MemPercpu, collectors.MemCommitLimit} {
			info.N[f] = 0
			info.Known &^= 1 << f
		}
	}
}

// memoryEvents follow from how long tasks wait for memory.
func memoryEvents(s *story, l load, i int, m *collectors.Memory) {
	var before *collectors.Memory
	if i > 0 {
		before = s.moments[i-1].Memory
	}
	scan := math.Round(l.psiMemory * (180_000 + 9_000*float64(i%5)))
	set := map[collectors.VMEvent]float64{
		collectors.VMFault: 1e5 * (l.usr + l.sys) * (1 + 0.1*float64(i%4)), collectors.VMMajorFault: scan / 90,
		collectors.VMSwapIn: scan / 60, collectors.VMSwapOut: scan / 20, collectors.VMZswapIn: 0, collectors.VMZswapOut: 0,
		collectors.VMScanKswapd: scan * 0.7, collectors.VMScanDirect: scan * 0.3, collectors.VMScanOther: 0,
		collectors.VMStealKswapd: scan * 0.3, collectors.VMStealDirect: scan * 0.06, collectors.VMStealOther: 0,
		collectors.VMAllocStall: scan / 400, collectors.VMThrottled: 0, collectors.VMKswapdWakes: scan / 3000, collectors.VMCompactStall: 0, collectors.VMCompactFail: 0,
		collectors.VMRefaultAnon: scan / 60, collectors.VMRefaultFile: scan / 8, collectors.VMTHPFault: 2, collectors.VMTHPFallback: 0,
		collectors.VMSlabsScanned: scan / 10, collectors.VMOOMKill: 0, collectors.VMDropPageCache: 0, collectors.VMDropSlab: 0, collectors.VMNUMAMiss: 0,
	}
	if s.kind == "pressure" && i%40 == 39 {
		set[collectors.VMOOMKill] = 1
	}
	for e, n := range set {
		if i == 0 {
			n = 0
		}
		m.VM.Set(e, uint64(n))
	}
	m.OOMKillsTotal = m.VM.N[collectors.VMOOMKill]
	if before != nil {
		m.OOMKillsTotal += before.OOMKillsTotal
	}
}

func memoryTables(kind string, a memoryAt, m *collectors.Memory) {
	known := func(n uint64) collectors.TableGauge { return collectors.TableGauge{N: n, Known: true} }
	names := uint64(0.42*float64(a.reclaimable())) / 4096 * 20
	m.Tables = collectors.KernelTables{
		Dentries: known(names), Unused: known(names * 9 / 10), Negative: known(names / 5), Inodes: known(names / 3), InodeFree: known(40),
		Files: known(2912), FilesMax: known(1<<63 - 1), PTYs: known(2),
	}
	m.Rare = &collectors.MemoryRare{
		HugePages:  []collectors.HugePages{{Size: 2 << 20}, {Size: 1 << 30}},
		Overcommit: known(0), PTYsMax: known(4096), AIO: known(512), AIOMax: known(65536),
	}
	switch kind {
	case "pressure":
		m.Swaps = []collectors.SwapArea{{Name: collectors.RawString("/dev/zram0"), Size: 4 << 30, Used: 3 << 30, Priority: 100}, {Name: collectors.RawString("/swap.img"), File: true, Size: 4 << 30, Priority: -2}}
		m.Rare.ARC, m.Rare.Limit = known(3<<30), known(512<<20)
		m.Rare.Nodes = []collectors.NUMANode{{Node: 0, Total: a.total / 2, Free: 200 << 20, File: 2 << 30, Anon: 8 << 30}, {Node: 1, Total: a.total / 2, Free: 900 << 20, File: 3 << 30, Anon: 7 << 30}}
	case "extreme":
		m.Swaps = []collectors.SwapArea{{Name: collectors.RawString("/\x1b[2Jswap\u202e"), File: true, Size: 20 << 40, Used: 20 << 40, Priority: 32767}}
		m.Rare.HugePages[0] = collectors.HugePages{Size: 2 << 20, Total: 100_000, Reserved: 9}
		m.Rare.AIO = known(65536)
		m.Tables.Files, m.Tables.FilesMax = known(2_465_620), known(2_465_620)
	case "lossy":
		m.Tables.Files, m.Tables.FilesMax = collectors.TableGauge{}, collectors.TableGauge{}
	default:
		m.Swaps = []collectors.SwapArea{{Name: collectors.RawString("/dev/vda2"), Size: 8 << 30, Priority: -2}}
	}
}

// slabSample is the caches each third second; under pressure the kernel takes names back.
func slabSample(s *story, i int) *collectors.Slab {
	at := time.Duration(i) * time.Second
	out := &collectors.Slab{Span: collectors.Span{From: at - 3*time.Second, To: at}}
	if i == 0 {
		out.Span = collectors.Span{}
	}
	const page = 4096
	size := func(x slabFixture, i int) uint64 {
		a := s.memoryAt(i)
		all := a.reclaimable()
		if x.stays {
			all = a.stays()
		}
		n := uint64(x.share*float64(all)) / (uint64(x.pages) * page)
		if x.name == "dentry" && s.kind == "busy" {
			n += uint64(i) * 150 // backups walk the tree
		}
		return n
	}
	out.Total.Caches = 60
	for _, x := range slabFixtures(s.kind) {
		slabs, was := size(x, i), size(x, max(i-3, 0))
		c := collectors.SlabCache{
			Name: collectors.RawString(x.name), ObjSize: x.objSize, PerSlab: x.perSlab, Pages: x.pages,
			Slabs: slabs, Objects: slabs * uint64(x.perSlab), Bytes: slabs * uint64(x.pages) * page,
		}
		c.Active = c.Objects - c.Objects/25
		c.Grown = (int64(slabs) - int64(was)) * int64(x.pages) * page
		c.GrownActive = (int64(slabs) - int64(was)) * int64(x.perSlab)
		out.Caches = append(out.Caches, c)
		t := &out.Total
		t.ActiveCaches++
		t.Objects += c.Objects
		t.Active += c.Active
		t.Slabs += slabs
		t.ActiveSlabs += slabs
		t.Bytes += c.Bytes
		t.ActiveBytes += c.Active * uint64(c.ObjSize)
		t.Grown += c.Grown
	}
	out.Total.Caches = max(out.Total.Caches, out.Total.ActiveCaches)
	return out
}

// pressureStory is a host that runs out of memory: it reclaims, swaps and kills.
func pressureStory() *story {
	s := newStory("pressure", "api-4", 8, 9*time.Hour)
	s.mem = collectors.Mem{Total: 31 << 30, Available: 900 << 20}
	for i := range 80 {
		l := idleLoad(i)
		l.usr, l.sys = 0.2, 0.3
		if i > 20 {
			l.psiMemory = 0.31
		}
		s.second(l)
	}
	return s
}
