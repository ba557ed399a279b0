/* SPDX-License-Identifier: GPL-2.0 */

/*
 * What CPUs hold back of the pages of a process. Since 6.2 (drift.bpf.h) each CPU counts for itself
 * until it has 32 pages of a kind (twice the number of CPUs where there are more than 16) and only then
 * adds them to the count: lib/percpu_counter.c. In /proc, status and statm add them up since 6.17; stat
 * does not, as seen on 6.18.
 *
 * A counter of a CPU lies at the counter's offset in that CPU's memory. Where that begins is in a symbol
 * that a kernel need not tell (kptr_restrict, CONFIG_KALLSYMS_ALL). So we look where the kernel has put
 * the value of a per-CPU map of ours for each CPU, and take away the offset it has noted in the map.
 *
 * Both functions are global, so that the verifier goes through them once and not on each path.
 */
#ifndef BPF60_HELD_BPF_H
#define BPF60_HELD_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "drift.bpf.h"
#include "walk.bpf.h"

/* More CPUs than any kernel of today's distributions is built for are not gone through. */
#define MAX_CPUS 4096

/* How many CPUs there may be. The loader sets it, and the size of cpu_memory. */
const volatile __u32 possible_cpus = 0;

/* Whose pages are summed in this reading: many processes on many CPUs take turns. */
struct turn {
	__u64 since; /* boot time, ns: the processes that began since then, */
	__u32 every; /* 0 or 1: all of them; else one of so many, */
	__u32 rest;  /* whose ID leaves this when divided by every */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct turn);
} whose_turn SEC(".maps");

/* Nobody reads its values: it is here for where they lie. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} landmark SEC(".maps");

/* By CPU: what makes an address of an offset, modulo 2^64. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} cpu_memory SEC(".maps");

/* kernel/bpf/arraymap.c */
struct bpf_array {
	void *pptrs[0];
} __attribute__((preserve_access_index));

/* Types that begin with a number of 8 and of 4 bytes, as which memory is read. */
struct timespec64 {
	__s64 tv_sec;
};

struct refcount_struct {
	__s32 refs;
};

#define READ_AS(number, type, address) \
	(*(volatile number *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))

/* Fills cpu_memory. Nothing of it can fail; a global function returns an int. */
__noinline int find_cpu_memory(void)
{
	__u32 zero = 0;
	volatile __u64 *slot = bpf_map_lookup_elem(&cpu_memory, &zero);
	__u64 offset;

	if (!slot)
		return 0;
	/* What is stored and read again is a number to the verifier, with which we may calculate. */
	*slot = (__u64)&landmark;
	offset = READ_AS(__u64, struct timespec64,
			 *slot + bpf_core_field_offset(struct bpf_array, pptrs));
	for (__u32 cpu = 0; cpu < MAX_CPUS && cpu < possible_cpus; cpu++) {
		__u32 key = cpu;

		slot = bpf_map_lookup_elem(&cpu_memory, &key);
		if (!slot)
			break;
		*slot = (__u64)bpf_map_lookup_percpu_elem(&landmark, &zero, cpu);
		*slot -= offset;
	}
	return 0;
}

/* Where the counters of a process are in each CPU's memory. Newer kernels take them for pointers. */
struct held_at {
	__u64 files, anon, shmem, swap;
};

/*
 * The sum of what CPUs hold back: pages in memory in the lower half, in swap in the upper one. A CPU
 * holds back less than 2 * possible_cpus pages of each kind, or 32.
 */
__noinline __u64 held_back(struct held_at *at)
{
	__s32 resident = 0, swapped = 0;

	if (!at)
		return 0;
	for (__u32 cpu = 0; cpu < MAX_CPUS && cpu < possible_cpus; cpu++) {
		__u32 key = cpu;
		__u64 *memory = bpf_map_lookup_elem(&cpu_memory, &key);

		if (!memory)
			break;
		resident += READ_AS(__s32, struct refcount_struct, at->files + *memory);
		resident += READ_AS(__s32, struct refcount_struct, at->anon + *memory);
		resident += READ_AS(__s32, struct refcount_struct, at->shmem + *memory);
		swapped += READ_AS(__s32, struct refcount_struct, at->swap + *memory);
	}
	return (__u64)swapped << 32 | (__u32)resident;
}

/* Whether it is a process's turn. start: as in struct task. */
static __always_inline bool its_turn(__s32 tgid, __u64 start)
{
	__u32 zero = 0;
	struct turn *t = bpf_map_lookup_elem(&whose_turn, &zero);

	if (!t || t->every <= 1)
		return true;
	return start >= t->since || (__u32)tgid % t->every == t->rest;
}

#endif
