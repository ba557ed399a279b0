// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// CostAlloc is what an allocation or a free costs, in ns: 220 and 120, of which an empty program has 55;
// measured in a 6.18 guest, looking for names that do not exist.
const CostAlloc = 180

// KmemTotals is what kmem.bpf.c counts of all caches, summed over CPUs and cumulative since load.
type KmemTotals struct {
	Allocs, Frees uint64 // objects
	Bytes         uint64 // allocated
	Samples       uint64 // allocations that told from where
	Unkeyed       uint64 // of Allocs: no room for the cache
	Unstacked     uint64 // of Samples: no room for the stack
}

// Keys and values of the maps.
type (
	// AllocKey is a cache and a process; process 0 is of all that did not fit.
	AllocKey = kmemAllocator
	// SlabCache is the name and the size of a cache; no name where only a call site is known.
	SlabCache = kmemCache
	// AllocOwner names a process.
	AllocOwner = kmemOwner
	// AllocSite is a cache and the ID of a stack.
	AllocSite = kmemSite
	// AllocSlot is a cache and a slot of a target.
	AllocSlot = kmemNarrowed
	// AllocProcess is the process of an AllocKey.
	AllocProcess = kmemProcess
)

// KmemDepth is how many frames a stack has at the most.
const KmemDepth = 16

// Kmem is the facade of kmem.bpf.c: who allocates from which slab cache.
type Kmem struct {
	obj     *object
	bySite  bool
	freeErr error
	raw     []kmemKmemTotals
	keys    idleKeys[AllocKey]
	owners  idleKeys[AllocProcess]
	alive   map[AllocProcess]bool // of the last reading of keys
	sites   idleKeys[AllocSite]
}

// kmemAllocators is ALLOCATORS; with more CPUs the map has fewer entries, as each has a number for every
// CPU.
const kmemAllocators = 4096

// OpenKmem loads and attaches the programs that fit the kernel. The caller owns the result and closes
// it.
func OpenKmem(k *Kernel) (*Kmem, error) {
	obj, err := newObject(k, loadKmem)
	if err != nil {
		return nil, err
	}
	m := &Kmem{obj: obj}
	if err := m.open(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	return m, nil
}

func (m *Kmem) open() error {
	k := m.obj.kernel
	if err := k.needBTF(); err != nil {
		return err
	}
	types, err := k.types().Kernel()
	if err != nil {
		return k.explain("reading kernel BTF", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting possible CPUs: %w", err)
	}
	if err := m.obj.resize("allocators", uint32(min(max(16*kmemAllocators/cpus, 512), kmemAllocators))); err != nil {
		return err
	}
	args, err := traceArgs(types, "kmem_cache_alloc")
	if err != nil {
		return err
	}
	m.bySite = len(args) < 3 || !isStructPtr(args[2], "kmem_cache")
	names := []string{"kmem_allocated"}
	if m.bySite {
		names = []string{"kmem_allocated_at"}
		if _, err := traceArgs(types, "kmem_cache_alloc_node"); err == nil {
			names = append(names, "kmem_node_allocated_at")
		}
	}
	for _, name := range names {
		if err := m.obj.attachTracing(name); err != nil {
			return err
		}
	}
	args, err = traceArgs(types, "kmem_cache_free")
	switch {
	case err != nil:
		m.freeErr = err
	case len(args) >= 3 && isStructPtr(args[2], "kmem_cache") && !m.bySite:
		m.freeErr = m.obj.attachTracing("kmem_freed")
	default:
		m.freeErr = m.obj.attachTracing("kmem_freed_somewhere")
	}
	return nil
}

// BySite says that this kernel does not name caches: addresses that called the allocator stand for
// them, and frees are only counted as a whole.
func (m *Kmem) BySite() bool { return m.bySite }

// FreeErr says why frees are not counted; nil if they are.
func (m *Kmem) FreeErr() error { return m.freeErr }

// Narrow counts targets apart, from slot 1 on; see object.narrow.
func (m *Kmem) Narrow(want []Filter) (Slots, error) { return m.obj.narrow(want) }

// Focus leaves out what is not looked at: with only, all that no target of Narrow takes; with the address
// of a cache, as the keys have it, all others. Neither is the whole host again.
func (m *Kmem) Focus(only bool, cache uint64) error {
	f := kmemFocus{Cache: cache}
	if only {
		f.Only = 1
	}
	t, err := m.obj.createMap(kmemMapKmemFocus)
	if err != nil {
		return err
	}
	if err := t.Put(uint32(0), &f); err != nil {
		return fmt.Errorf("writing map %s: %w", kmemMapKmemFocus, err)
	}
	return nil
}

// Pause detaches the programs and keeps the counts, or attaches them again.
func (m *Kmem) Pause(on bool) error { return m.obj.pause(on) }

// Read sums the totals over CPUs.
func (m *Kmem) Read() (KmemTotals, error) {
	var sum KmemTotals
	totals, err := m.obj.createMap("kmem")
	if err != nil {
		return sum, err
	}
	if err := totals.Lookup(uint32(0), &m.raw); err != nil {
		return sum, fmt.Errorf("reading map kmem: %w", err)
	}
	for i := range m.raw {
		c := &m.raw[i]
		sum.Allocs += c.Allocs
		sum.Frees += c.Frees
		sum.Bytes += c.Bytes
		sum.Samples += c.Samples
		sum.Unkeyed += c.Unkeyed
		sum.Unstacked += c.Unstacked
	}
	return sum, nil
}

func sum64(v []uint64) (n uint64) {
	for _, x := range v {
		n += x
	}
	return n
}

// Allocs calls each with the objects that every process took from every cache, cumulative, and forgets
// pairs that have stood still for a minute: now is any clock that goes on. The key is valid during the
// call only.
func (m *Kmem) Allocs(now time.Duration, each func(*AllocKey, uint64)) error {
	allocs, err := m.obj.createMap("allocators")
	if err != nil {
		return err
	}
	m.keys.begin(now)
	m.alive = make(map[AllocProcess]bool, len(m.alive))
	if err := readPerCPUHash(allocs, func(k *AllocKey, v []uint64) {
		n := sum64(v)
		m.alive[k.Who] = true
		each(k, n)
		if k.Who != (AllocProcess{}) { // that of the others stays
			m.keys.see(*k, n)
		}
	}); err != nil {
		return err
	}
	return m.keys.forget(allocs)
}

// Frees calls each with the objects given back to every cache, cumulative.
func (m *Kmem) Frees(each func(cache, frees uint64)) error {
	if m.bySite || m.freeErr != nil {
		return nil
	}
	frees, err := m.obj.createMap("frees")
	if err != nil {
		return err
	}
	return readPerCPUHash(frees, func(k *uint64, v []uint64) { each(*k, sum64(v)) })
}

// Caches calls each with every cache. The value is valid during the call only.
func (m *Kmem) Caches(each func(cache uint64, c *SlabCache)) error {
	caches, err := m.obj.createMap("caches")
	if err != nil {
		return err
	}
	return readHash(caches, func(k *uint64, v *SlabCache) { each(*k, v) })
}

// Owners calls each with the names of processes, and forgets those that Allocs has forgotten. The value
// is valid during the call only.
func (m *Kmem) Owners(now time.Duration, each func(AllocProcess, *AllocOwner)) error {
	owners, err := m.obj.createMap("owners")
	if err != nil {
		return err
	}
	m.owners.begin(now)
	if err := readHash(owners, func(k *AllocProcess, v *AllocOwner) {
		each(*k, v)
		n := uint64(0)
		if m.alive[*k] {
			n = m.owners.round
		}
		m.owners.see(*k, n)
	}); err != nil {
		return err
	}
	return m.owners.forget(owners)
}

// Sites calls each with how many samples of a cache came from a stack, cumulative, and forgets those
// that have stood still for a minute.
func (m *Kmem) Sites(now time.Duration, each func(AllocSite, uint64)) error {
	sites, err := m.obj.createMap("sites")
	if err != nil {
		return err
	}
	m.sites.begin(now)
	if err := readHash(sites, func(k *AllocSite, v *uint64) {
		each(*k, *v)
		m.sites.see(*k, *v)
	}); err != nil {
		return err
	}
	return m.sites.forget(sites)
}

// Stack returns the addresses of a stack, the innermost first, as many as there are.
func (m *Kmem) Stack(id uint32) ([]uint64, error) {
	stacks, err := m.obj.createMap("stacks")
	if err != nil {
		return nil, err
	}
	var s [KmemDepth]uint64
	if err := stacks.Lookup(id, &s); err != nil {
		return nil, fmt.Errorf("reading map stacks: %w", err)
	}
	for i, a := range s {
		if a == 0 {
			return s[:i], nil
		}
	}
	return s[:], nil
}

// Narrowed calls each with the objects that a target's processes took from a cache, cumulative.
func (m *Kmem) Narrowed(each func(AllocSlot, uint64)) error {
	narrowed, err := m.obj.createMap("narrowed_allocs")
	if err != nil {
		return err
	}
	return readPerCPUHash(narrowed, func(k *AllocSlot, v []uint64) { each(*k, sum64(v)) })
}

// Close detaches the programs and frees the maps.
func (m *Kmem) Close() error { return m.obj.Close() }
