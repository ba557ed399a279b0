// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Objects of the kernel's slab caches: who allocates them, from where (slabratetop, and more).
//
// Hook:   tp_btf kmem_cache_alloc and kmem_cache_free. Before 5.19 the arguments do not name the cache:
//         there the address that called the allocator stands for it, and kmem_cache_alloc_node is a
//         tracepoint of its own.
// Unit:   objects and bytes, cumulative since load: by cache and process, and where they were asked for
//         of about one in SAMPLE.
// Cost:   about 220 ns an allocation and 120 ns a free; while only targets, or one cache, are looked at, 65
//         of others'. On demand.
// Misses: kmalloc and kfree, whose arguments name no cache; objects that are taken or given back in
//         bulk (kmem_cache_alloc_bulk), and frees after a grace period in bulk (kfree_rcu).
//
// An allocation that fails is counted, too: kernels before 6.8 do not let us read the argument that
// says so, a const void *.
//
// What an interrupt allocates is counted for the process that it interrupted. Frees mostly come from
// RCU, in whatever process runs at that time: they are counted by cache alone.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "memcg.bpf.h"
#include "task.bpf.h"
#include "filter.bpf.h"

// Caches: a kernel has some 250.
#define CACHES 512
// Pairs of a cache and a process; the loader makes it less where there are many CPUs.
#define ALLOCATORS 4096
#define PROCESSES 1024
// One in so many allocations tells from where, on average.
#define SAMPLE 64
#define SITES 1024
#define STACKS 1024
#define DEPTH 16
#define CACHE_NAME 32

struct kmem_totals {
	__u64 allocs;
	__u64 frees;
	__u64 bytes; // allocated
	__u64 samples;
	__u64 unkeyed;	 // of allocs: no room for its cache, let alone its process
	__u64 unstacked; // of samples: no room for its stack
	__u64 next;	 // allocs at which to sample
};

struct allocator {
	__u64 cache; // struct kmem_cache *, or the address that called the allocator
	struct process who;
};

struct cache {
	__u32 size; // bytes an object takes
	__u32 pad;
	char name[CACHE_NAME]; // empty where the cache is not known
};

struct owner {
	__u64 cgroup;
	char comm[TASK_COMM_LEN];
};

struct site {
	__u64 cache;
	__u32 stack; // ID in stacks
	__u32 pad;
};

struct narrowed {
	__u64 cache;
	__u64 slot;
};

// What is looked at when nobody looks at the whole host. The rest pays for finding that out.
struct focus {
	__u64 only;  // 1: what the targets of the filters take, in their slots alone
	__u64 cache; // not 0: this cache alone
};

// Keep the types in BTF, for the generated binding.
const struct allocator *allocator_type __attribute__((unused));
const struct site *site_type __attribute__((unused));
const struct narrowed *narrowed_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kmem_totals);
} kmem SEC(".maps");

// Preallocated, like all here: memory cannot be asked for in the middle of asking for memory.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CACHES);
	__type(key, __u64);
	__type(value, struct cache);
} caches SEC(".maps");

// That of process 0 is of all that did not fit.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, ALLOCATORS);
	__type(key, struct allocator);
	__type(value, __u64);
} allocators SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, CACHES);
	__type(key, __u64);
	__type(value, __u64);
} frees SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROCESSES);
	__type(key, struct process);
	__type(value, struct owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SITES);
	__type(key, struct site);
	__type(value, __u64);
} sites SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, STACKS);
	__type(key, __u32);
	__uint(value_size, DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, CACHES);
	__type(key, struct narrowed);
	__type(value, __u64);
} narrowed_allocs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct focus);
} kmem_focus SEC(".maps");

static __always_inline void name_owner(const struct process *who)
{
	struct owner o = {};

	o.cgroup = current_cgroup();
	leader_comm(o.comm);
	bpf_map_update_elem(&owners, who, &o, BPF_ANY);
}

// name_cache makes the entries of a cache that is seen for the first time. s is NULL where it is not
// known.
static __always_inline void name_cache(__u64 cache, struct kmem_cache *s, __u32 size)
{
	struct allocator others = {.cache = cache};
	struct cache c = {.size = size};
	__u64 none = 0, name;

	if (s) {
		name = (__u64)s->name;
		bpf_snprintf(c.name, sizeof(c.name), "%s", &name, sizeof(name));
	}
	bpf_map_update_elem(&caches, &cache, &c, BPF_NOEXIST);
	bpf_map_update_elem(&allocators, &others, &none, BPF_NOEXIST);
	bpf_map_update_elem(&frees, &cache, &none, BPF_NOEXIST);
}

// first_seen makes the entry of a process that allocates from a cache for the first time. Where there
// is no room it is counted with the others.
static __always_inline __u64 *first_seen(struct allocator *key, struct kmem_cache *s, __u32 size)
{
	__u64 none = 0, *v;

	if (!bpf_map_lookup_elem(&caches, &key->cache))
		name_cache(key->cache, s, size);
	name_owner(&key->who);
	if (!bpf_map_update_elem(&allocators, key, &none, BPF_NOEXIST)) {
		v = bpf_map_lookup_elem(&allocators, key);
		if (v)
			return v;
	}
	__builtin_memset(&key->who, 0, sizeof(key->who));
	return bpf_map_lookup_elem(&allocators, key);
}

static __always_inline void sample(void *ctx, struct kmem_totals *t, const struct allocator *key)
{
	struct site site = {.cache = key->cache};
	__u64 one = 1, *n;
	long id;

	// At random distances: a loop that allocates in a fixed order must not beat in time with us.
	t->next = t->allocs + 1 + bpf_get_prandom_u32() % (2 * SAMPLE - 1);
	t->samples++;
	id = bpf_get_stackid(ctx, &stacks, BPF_F_FAST_STACK_CMP);
	if (id < 0) {
		t->unstacked++;
		return;
	}
	site.stack = id;
	n = bpf_map_lookup_elem(&sites, &site);
	if (n)
		__sync_fetch_and_add(n, 1);
	else if (bpf_map_update_elem(&sites, &site, &one, BPF_NOEXIST))
		t->unstacked++;
	if (key->who.tgid)
		name_owner(&key->who); // exec has given it another name
}

// A function of its own to the verifier, which would follow each of its paths through all that comes
// after: a million instructions.
__attribute__((noinline)) __u32 matching(__u32 tgid)
{
	return filter_match(tgid, current_cgroup(), current_other_cgroup(), 0);
}

static __always_inline void count_slot(__u64 cache, __u64 slot)
{
	struct narrowed key = {.cache = cache, .slot = slot};
	__u64 one = 1, *v = bpf_map_lookup_elem(&narrowed_allocs, &key);

	if (v)
		*v += 1;
	else
		bpf_map_update_elem(&narrowed_allocs, &key, &one, BPF_NOEXIST);
}

static __always_inline bool narrow(__u64 cache, __u32 tgid)
{
	__u32 match = matching(tgid);

	asm volatile("" : "+r"(match));
	for (__u32 i = 1; i < FILTER_SLOTS; i++)
		if (match & (1U << i))
			count_slot(cache, i);
	return match != 0;
}

// alone counts what a target takes, and nothing else.
static __always_inline int alone(struct kmem_totals *t, __u64 cache, struct kmem_cache *s,
				 __u32 size)
{
	if (!narrow(cache, bpf_get_current_pid_tgid() >> 32))
		return 0;
	t->allocs++;
	t->bytes += size;
	if (!bpf_map_lookup_elem(&caches, &cache))
		name_cache(cache, s, size);
	return 0;
}

static __always_inline struct focus *focused(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kmem_focus, &zero);
}

static __always_inline struct kmem_totals *totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kmem, &zero);
}

static __always_inline int allocated(void *ctx, __u64 cache, struct kmem_cache *s, __u32 size)
{
	struct kmem_totals *t = totals();
	struct allocator key = {.cache = cache};
	struct focus *f = focused();
	__u64 *v;

	if (!t || !f || (f->cache && f->cache != cache))
		return 0;
	if (f->only)
		return alone(t, cache, s, size);
	t->allocs++;
	t->bytes += size;
	current_process(&key.who);
	if (filter_any())
		narrow(cache, key.who.tgid);
	v = bpf_map_lookup_elem(&allocators, &key);
	if (!v)
		v = first_seen(&key, s, size);
	if (v)
		*v += 1;
	else
		t->unkeyed++;
	if (t->allocs >= t->next)
		sample(ctx, t, &key);
	return 0;
}

SEC("tp_btf/kmem_cache_alloc")
int kmem_allocated(__u64 *ctx)
{
	struct kmem_cache *s = (void *)ctx[2];

	if (!s)
		return 0;
	return allocated(ctx, (__u64)s, s, s->size);
}

SEC("tp_btf/kmem_cache_alloc")
int kmem_allocated_at(__u64 *ctx)
{
	return allocated(ctx, ctx[0], NULL, ctx[3]);
}

SEC("tp_btf/kmem_cache_alloc_node")
int kmem_node_allocated_at(__u64 *ctx)
{
	return allocated(ctx, ctx[0], NULL, ctx[3]);
}

SEC("tp_btf/kmem_cache_free")
int kmem_freed(__u64 *ctx)
{
	struct kmem_cache *s = (void *)ctx[2];
	struct kmem_totals *t = totals();
	__u64 cache = (__u64)s, *v;
	struct focus *f = focused();

	if (!t || !s || !f || f->only || (f->cache && f->cache != cache))
		return 0;
	t->frees++;
	v = bpf_map_lookup_elem(&frees, &cache);
	if (v) {
		*v += 1;
		return 0;
	}
	name_cache(cache, s, s->size);
	v = bpf_map_lookup_elem(&frees, &cache);
	if (v)
		*v += 1;
	return 0;
}

SEC("tp_btf/kmem_cache_free")
int kmem_freed_somewhere(__u64 *ctx)
{
	struct kmem_totals *t = totals();
	struct focus *f = focused();

	if (t && f && !f->only && !f->cache)
		t->frees++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
