/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Narrowing to single targets, in the kernel. A program asks filter_match which targets an event
 * belongs to, and counts it in their slots beside the host's. While nobody narrows that is one look
 * into an array.
 */
#ifndef BPF60_FILTER_BPF_H
#define BPF60_FILTER_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "task.bpf.h"

#define FILTER_SLOTS 8 /* slot 0 is the host's */

enum filter_kind {
	FILTER_NONE,
	FILTER_PROCESS, /* id: tgid */
	FILTER_CGROUP,	/* id: see filter_cgroups */
	FILTER_DISK,	/* id: the kernel's dev_t */
	FILTER_PEER,	/* see filter_peer.bpf.h */
};

struct filter {
	__u64 id;
	__u64 kind;
};

struct filters {
	__u64 slots;   /* above the last one in use; 0: nobody narrows */
	__u64 cgroups; /* some of them are cgroups */
	__u64 other; /* such are in this hierarchy, which is not the one that is shown: 1 more than its number */
	__u64 peers; /* some of them are peers */
	struct filter of[FILTER_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filters);
} filters SEC(".maps");

/*
 * The slots that a cgroup belongs to, by its ID: those of the targets that it is, or is below. User space
 * follows the tree, so that a program needs no more than the ID that it has. What is made between two
 * looks belongs to nobody until the second. IDs of another hierarchy than the one that is shown have its
 * number, and 1, in their uppermost byte: it is that of how often the kernel began anew with the numbers
 * below. Preallocated: before 6.1 the kernel warns of others in programs of raw tracepoints.
 */
#define HIERARCHY_SHIFT 56

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} filter_cgroups SEC(".maps");

static __always_inline struct filters *filters_in_use(void)
{
	__u32 zero = 0;
	struct filters *f = bpf_map_lookup_elem(&filters, &zero);

	return f && f->slots ? f : NULL;
}

static __always_inline bool filter_any(void)
{
	return filters_in_use() != NULL;
}

/*
 * 1 if a is b and neither is 0. No branch: the verifier would follow every combination of the slots' ones.
 */
static __always_inline __u32 filter_same(__u64 a, __u64 b)
{
	__u64 differ = a ^ b, absent = a;

	asm volatile("" : "+r"(differ), "+r"(absent)); /* else the compiler makes branches of it */
	differ |= -differ;
	absent |= -absent;
	return (~differ & absent) >> 63;
}

/*
 * The task's cgroup in the other hierarchy that targets are of, as filter_cgroups has it; 0 while there are
 * none. Of whoever is asked about later it must be kept, as its cgroup is.
 */
static __always_inline __u64 task_other_cgroup(struct task_struct *task)
{
	struct filters *f = filters_in_use();
	__u64 id;

	if (!f || !f->other)
		return 0;
	id = task_cgroup_in(task, f->other - 1);
	return id ? id | f->other << HIERARCHY_SHIFT : 0;
}

static __always_inline __u64 current_other_cgroup(void)
{
	struct filters *f = filters_in_use();
	struct task_struct *task;
	__u64 id;

	if (!f || !f->other)
		return 0;
	task = current_task();
	if (task)
		return task_other_cgroup(task);
	if (has_current_task_btf())
		return 0;
	id = read_cgroup_in((void *)bpf_get_current_task(), f->other - 1);
	return id ? id | f->other << HIERARCHY_SHIFT : 0;
}

static __always_inline __u32 cgroup_slots(__u64 cgroup)
{
	__u32 *in = bpf_map_lookup_elem(&filter_cgroups, &cgroup);

	return in ? *in & ((1U << FILTER_SLOTS) - 1) : 0;
}

/*
 * Bit i is set if the event belongs to slot i. What is not known of the event is passed as 0. The cgroup is
 * the one that is shown; for other see task_other_cgroup.
 */
static __always_inline __u32 filter_match(__u32 tgid, __u64 cgroup, __u64 other, __u32 dev)
{
	struct filters *f = filters_in_use();
	__u32 bits = 0;

	if (!f)
		return 0;
	if (f->cgroups) {
		bits = cgroup_slots(cgroup);
		if (other)
			bits |= cgroup_slots(other);
	}
#pragma clang loop unroll(disable)
	for (int i = 1; i < FILTER_SLOTS; i++) {
		__u64 id = f->of[i].id, kind = f->of[i].kind;

		bits |= (filter_same(kind, FILTER_PROCESS) & filter_same(id, tgid)) << i;
		bits |= (filter_same(kind, FILTER_DISK) & filter_same(id, dev)) << i;
	}
	return bits;
}

/* Whether the slot is in the match. The verifier learns nothing of the other slots from it. */
static __always_inline bool filter_has(__u32 match, __u32 slot)
{
	match >>= slot;
	asm volatile("" : "+r"(match));
	return match & 1;
}

#endif
