// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"unsafe"
)

// KmemID is the on-demand collector of who allocates from the kernel's slab caches: slabratetop.
const KmemID ID = "kmem"

// Kmem is what was taken from slab caches and given back to them over the span. It knows nothing of
// kmalloc, whose tracepoint names no cache.
type Kmem struct {
	Span
	Caches []KmemCache // those that moved, the most allocations first

	Allocs, Frees, Bytes uint64 // of all caches; Bytes allocated
	Samples              uint64 // of Allocs: tell from where
	Unkeyed, Unstacked   uint64 // of Allocs and of Samples: found no room in the kernel

	// BySite: this kernel does not name caches (before 5.19), so that they are named after the functions
	// that allocate. Of Frees only the sum is known then.
	BySite     bool
	KnowsFrees bool

	// Not the whole host was counted in all of the span: only targets (see Narrowed), or only the
	// cache Only.
	Partial bool
	Only    Raw

	Narrowed []Targeted[KmemCounts]
}

// KmemCache is one cache: additive deltas.
type KmemCache struct {
	Name          Raw    // of caches that the kernel has joined, one of their names
	Size          uint32 // bytes an object takes
	Allocs, Frees uint64
	Who           []KmemOwner // the most allocations first
	Others        uint64      // of Allocs: by processes that are not in Who
	From          []KmemSite  // the most samples first
	Samples       uint64      // of Allocs, From and not in From
}

// KmemOwner is one process that allocates from a cache.
type KmemOwner struct {
	Process
	Comm   Raw
	Cgroup uint64 // as ProcInfo.Cgroup
	Allocs uint64
}

// KmemSite is where allocations came from: about one in 64 tells.
type KmemSite struct {
	*AllocStack `record:"must"`
	Samples     uint64
}

// AllocStack is a stack of the kernel from the caller of the allocator outwards; interned, and not
// written after it is made. Frames without a name are left out.
type AllocStack struct{ Frames []string }

// KmemCounts is what a target took, by cache.
type KmemCounts struct{ Caches []KmemCount }

// KmemCount is one cache's part.
type KmemCount struct {
	Name   Raw
	Size   uint32
	Allocs uint64
}

// Find returns the cache of that name, nil if it did not move.
func (k *Kmem) Find(name Raw) *KmemCache {
	for i := range k.Caches {
		if k.Caches[i].Name == name {
			return &k.Caches[i]
		}
	}
	return nil
}

func (k *Kmem) put(s *Snapshot) { s.Kmem = k }

// size counts what the sample holds alone: stacks and names of caches are shared.
func (k *Kmem) size() int {
	n := allocSize(unsafe.Sizeof(*k)) + sliceSize(k.Caches) + sliceSize(k.Narrowed)
	for i := range k.Caches {
		c := &k.Caches[i]
		n += sliceSize(c.Who) + sliceSize(c.From)
		for j := range c.Who {
			n += allocSize(uintptr(len(c.Who[j].Comm.s)))
		}
	}
	for i := range k.Narrowed {
		n += sliceSize(k.Narrowed[i].Sample.Caches)
	}
	return n
}

// withoutRows returns a copy that keeps the sums.
func (k *Kmem) withoutRows() *Kmem {
	c := *k
	c.Caches, c.Narrowed = nil, nil
	return &c
}

// siteCaches are the caches of functions that allocate from one, for kernels that name no cache.
func siteCaches() map[string]string {
	return map[string]string{
		"__d_alloc": "dentry", "d_alloc": "dentry", "alloc_inode": "inode_cache",
		"ext4_alloc_inode": "ext4_inode_cache", "xfs_inode_alloc": "xfs_inode", "btrfs_alloc_inode": "btrfs_inode",
		"fuse_alloc_inode": "fuse_inode", "nfs_alloc_inode": "nfs_inode_cache", "ovl_alloc_inode": "ovl_inode",
		"shmem_alloc_inode": "shmem_inode_cache", "proc_alloc_inode": "proc_inode_cache", "sock_alloc_inode": "sock_inode_cache",
		"__alloc_file": "filp", "getname_flags": "names_cache", "vm_area_alloc": "vm_area_struct", "vm_area_dup": "vm_area_struct",
		"alloc_buffer_head": "buffer_head", "__anon_vma_prepare": "anon_vma", "anon_vma_clone": "anon_vma_chain", "anon_vma_fork": "anon_vma",
		"__alloc_skb": "skbuff_head_cache", "skb_clone": "skbuff_head_cache", "__build_skb": "skbuff_head_cache",
		"__kernfs_new_node": "kernfs_node_cache", "prepare_creds": "cred_jar", "alloc_pid": "pid", "mempool_alloc_slab": "mempool",
	}
}

// isAllocator says whether a frame is of the allocator or of what looks at it: not of who allocates.
func isAllocator(frame string) bool {
	for _, prefix := range []string{"bpf_", "__bpf_", "__traceiter_", "kmem_cache_alloc", "__kmem_cache_alloc", "slab_", "___slab", "trace_"} {
		if strings.HasPrefix(frame, prefix) {
			return true
		}
	}
	return false
}
