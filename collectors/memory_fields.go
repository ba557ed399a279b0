// SPDX-License-Identifier: Apache-2.0

package collectors

// MemField names a line of /proc/meminfo.
type MemField uint8

// The lines of /proc/meminfo. Most came one by one over the years, and some need a kernel that is
// built for them, so each may be missing. HugePages lines count pages of Hugepagesize, all others
// are bytes.
const (
	MemTotal MemField = iota
	MemFree
	MemAvailable // a guess of what may be used without swapping; Linux 3.14
	MemBuffers
	MemCached // page cache and Shmem, without swap cache
	MemSwapCached
	MemActive
	MemInactive
	MemActiveAnon
	MemInactiveAnon
	MemActiveFile
	MemInactiveFile
	MemUnevictable
	MemMlocked
	MemSwapTotal
	MemSwapFree
	MemZswap    // what zswap's pool takes; Linux 5.19
	MemZswapped // what is stored in it, before compression
	MemDirty
	MemWriteback
	MemAnonPages // mapped anonymous memory, huge pages included
	MemMapped    // page cache mapped into processes: a part of Cached
	MemShmem     // tmpfs, shared memory, shared anonymous mappings: a part of Cached
	MemKReclaimable
	MemSReclaimable
	MemSUnreclaim
	MemKernelStack
	MemPageTables
	MemSecPageTables // page tables of KVM and IOMMU; Linux 6.1
	MemCommitLimit
	MemCommittedAS
	MemVmallocUsed // Linux 4.4 to 5.2 print 0; holds the kernel's stacks where they are in vmalloc space
	MemPercpu
	MemHardwareCorrupted
	MemAnonHugePages
	MemShmemHugePages
	MemFileHugePages
	MemCmaTotal
	MemCmaFree
	MemBalloon // given back to the hypervisor; Linux 6.18
	MemHugePagesTotal
	MemHugePagesFree
	MemHugePagesRsvd
	MemHugePagesSurp
	MemHugepagesize
	MemHugetlb // huge pages of all sizes; Linux 4.20
	memFields
)

// memFieldNames are the names of the lines, by which the parser finds them.
func memFieldNames() map[string]uint8 {
	names := [memFields]string{
		"MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:", "SwapCached:",
		"Active:", "Inactive:", "Active(anon):", "Inactive(anon):", "Active(file):", "Inactive(file):",
		"Unevictable:", "Mlocked:", "SwapTotal:", "SwapFree:", "Zswap:", "Zswapped:", "Dirty:", "Writeback:",
		"AnonPages:", "Mapped:", "Shmem:", "KReclaimable:", "SReclaimable:", "SUnreclaim:", "KernelStack:",
		"PageTables:", "SecPageTables:", "CommitLimit:", "Committed_AS:", "VmallocUsed:", "Percpu:",
		"HardwareCorrupted:", "AnonHugePages:", "ShmemHugePages:", "FileHugePages:", "CmaTotal:", "CmaFree:",
		"Balloon:", "HugePages_Total:", "HugePages_Free:", "HugePages_Rsvd:", "HugePages_Surp:", "Hugepagesize:", "Hugetlb:",
	}
	m := make(map[string]uint8, len(names))
	for i, name := range names {
		m[name] = uint8(i)
	}
	return m
}

// MemInfo is /proc/meminfo.
type MemInfo struct {
	N     [memFields]uint64 // bytes, the HugePages lines pages
	Known uint64            // one bit a field: this kernel prints it
}

// Get is one field, false where this kernel or container does not print it.
func (m *MemInfo) Get(f MemField) (uint64, bool) {
	return m.N[f], f < memFields && m.Known&(1<<f) != 0
}

// Set is for tests and recordings.
func (m *MemInfo) Set(f MemField, n uint64) {
	m.N[f] = n
	m.Known |= 1 << f
}

// Available is what may be used without swapping, as free(1) takes it: MemFree where the kernel
// gives no MemAvailable, or where a container's view gives more than the total (lxc).
func (m *MemInfo) Available() uint64 {
	a := m.N[MemAvailable]
	if a == 0 || a > m.N[MemTotal] {
		return m.N[MemFree]
	}
	return a
}

// Used is free(1)'s since procps 4.0.1: total less available.
func (m *MemInfo) Used() uint64 { return since(m.Available(), m.N[MemTotal]) }

// SwapUsed is vmstat's swpd.
func (m *MemInfo) SwapUsed() uint64 { return since(m.N[MemSwapFree], m.N[MemSwapTotal]) }

// Cache is free(1)'s and vmstat's cache: page cache and reclaimable slab.
func (m *MemInfo) Cache() uint64 { return m.N[MemCached] + m.N[MemSReclaimable] }

// VMEvent names a counter of /proc/vmstat.
type VMEvent uint8

// The counters of /proc/vmstat, since boot. Scan, steal and stall count the reclaim of the host as a
// whole: what a cgroup reclaims at its own limit is only in its memory.stat (mm/vmscan.c counts it
// here for the root alone).
const (
	VMFault         VMEvent = iota // pgfault: all page faults, the major ones included
	VMMajorFault                   // pgmajfault: those that had to read
	VMSwapIn                       // pswpin, pages read from swap devices; what zswap holds is not counted
	VMSwapOut                      // pswpout
	VMZswapIn                      // zswpin
	VMZswapOut                     // zswpout
	VMScanKswapd                   // pgscan_kswapd, pages looked at in the background
	VMScanDirect                   // pgscan_direct, by tasks that waited for memory
	VMScanOther                    // pgscan_khugepaged (6.1), pgscan_proactive (6.14)
	VMStealKswapd                  // pgsteal_kswapd, pages won
	VMStealDirect                  // pgsteal_direct
	VMStealOther                   // pgsteal_khugepaged, pgsteal_proactive
	VMAllocStall                   // allocstall_*: times a task entered direct reclaim, all zones
	VMThrottled                    // pgscan_direct_throttle: times one was stopped because kswapd is behind
	VMKswapdWakes                  // pageoutrun: rounds of kswapd
	VMCompactStall                 // compact_stall: times a task compacted memory for a large page
	VMCompactFail                  // compact_fail
	VMRefaultAnon                  // workingset_refault_anon: pages that came back soon after eviction (5.9)
	VMRefaultFile                  // workingset_refault_file; workingset_refault before 5.9
	VMTHPFault                     // thp_fault_alloc: huge pages given out at a fault
	VMTHPFallback                  // thp_fault_fallback: faults that had to take small ones
	VMTHPCollapse                  // thp_collapse_alloc: by khugepaged
	VMTHPSplit                     // thp_split_page
	VMSlabsScanned                 // slabs_scanned: objects that shrinkers looked at
	VMOOMKill                      // oom_kill, of the host and of cgroups; Linux 4.13
	VMDropPageCache                // drop_pagecache: somebody wrote to /proc/sys/vm/drop_caches
	VMDropSlab                     // drop_slab
	VMNUMAMiss                     // numa_miss: pages taken from another node than wished
	vmEvents

	// Gauges of the same file.
	vmZspages        // nr_zspages
	vmDirtyThreshold // nr_dirty_threshold
	vmFieldsAll
)

// vmEventNames are the lines of /proc/vmstat. Several names on one counter are summed.
func vmEventNames() map[string]uint8 {
	m := map[string]uint8{}
	add := func(e VMEvent, names ...string) {
		for _, name := range names {
			m[name] = uint8(e)
		}
	}
	add(VMFault, "pgfault")
	add(VMMajorFault, "pgmajfault")
	add(VMSwapIn, "pswpin")
	add(VMSwapOut, "pswpout")
	add(VMZswapIn, "zswpin")
	add(VMZswapOut, "zswpout")
	add(VMScanKswapd, "pgscan_kswapd")
	add(VMScanDirect, "pgscan_direct")
	add(VMScanOther, "pgscan_khugepaged", "pgscan_proactive")
	add(VMStealKswapd, "pgsteal_kswapd")
	add(VMStealDirect, "pgsteal_direct")
	add(VMStealOther, "pgsteal_khugepaged", "pgsteal_proactive")
	add(VMAllocStall, "allocstall", "allocstall_dma", "allocstall_dma32", "allocstall_normal", "allocstall_highmem", "allocstall_movable", "allocstall_device")
	add(VMThrottled, "pgscan_direct_throttle")
	add(VMKswapdWakes, "pageoutrun")
	add(VMCompactStall, "compact_stall")
	add(VMCompactFail, "compact_fail")
	add(VMRefaultAnon, "workingset_refault_anon")
	add(VMRefaultFile, "workingset_refault_file", "workingset_refault")
	add(VMTHPFault, "thp_fault_alloc")
	add(VMTHPFallback, "thp_fault_fallback")
	add(VMTHPCollapse, "thp_collapse_alloc")
	add(VMTHPSplit, "thp_split_page")
	add(VMSlabsScanned, "slabs_scanned")
	add(VMOOMKill, "oom_kill")
	add(VMDropPageCache, "drop_pagecache")
	add(VMDropSlab, "drop_slab")
	add(VMNUMAMiss, "numa_miss")
	add(vmZspages, "nr_zspages")
	add(vmDirtyThreshold, "nr_dirty_threshold")
	return m
}

// VMEvents are counts of /proc/vmstat's events.
type VMEvents struct {
	N     [vmEvents]uint64
	Known uint32 // one bit an event: this kernel counts it
}

// Get is one count, false where this kernel does not count it or the file cannot be read.
func (e *VMEvents) Get(v VMEvent) (uint64, bool) {
	return e.N[v], v < vmEvents && e.Known&(1<<v) != 0
}

// Set is for tests and recordings.
func (e *VMEvents) Set(v VMEvent, n uint64) {
	e.N[v] = n
	e.Known |= 1 << v
}

// Add sums the events of another span. What one of them does not know is not known.
func (e *VMEvents) Add(o *VMEvents) {
	e.Known &= o.Known
	for i := range e.N {
		e.N[i] += o.N[i]
	}
}

// vmReading is /proc/vmstat as read.
type vmReading struct {
	n     [vmFieldsAll]uint64
	known uint32
}
