/* SPDX-License-Identifier: GPL-2.0 */

/* What starts and what ends: whom an event is counted to. */
#ifndef BPF60_EXEC_COUNT_BPF_H
#define BPF60_EXEC_COUNT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "exec_types.bpf.h"

#define FIELDS (sizeof(struct exec_totals) / sizeof(__u64))

// add_targets adds to a field of the targets' totals. It is verified apart, as match_target is: inline,
// each combination of targets would be a path of its own.
__attribute__((noinline)) int add_targets(__u32 slots, __u32 field, __u64 n)
{
	if (field >= FIELDS)
		return 0;
#pragma unroll
	for (int i = 1; i < FILTER_SLOTS; i++) {
		__u32 of = i;
		__u64 *totals;

		if (!(slots & 1u << i))
			continue;
		totals = bpf_map_lookup_elem(&exec_sums, &of);
		if (totals)
			__sync_fetch_and_add(&totals[field], n);
	}
	return 0;
}

// The targets that a process or a cgroup is.
__attribute__((noinline)) int match_target(__u32 tgid, __u64 cgroup, __u64 other)
{
	return filter_match(tgid, cgroup, other, 0);
}

// Adds to one field of the host's totals, and of the targets' that an event belongs to. Additions are
// atomic: exec_reaped runs in softirq, over the others.
#define COUNT(host, slots, FIELD, n)                                                              \
	({                                                                                        \
		__sync_fetch_and_add(&(host)->FIELD, n);                                          \
		if (slots)                                                                        \
			add_targets(slots, __builtin_offsetof(struct exec_totals, FIELD) / 8, n); \
	})

static __always_inline struct exec_totals *host_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&exec_sums, &zero);
}

static __always_inline struct task_struct *parent_of(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent; // the thread that forked

	return parent ? parent->group_leader : NULL;
}

// seen_before is the start before which every process was there at the last scan.
static __always_inline __u64 seen_before(void)
{
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&scanned, &zero);

	if (at && *at)
		return *at;
	return bpf_ktime_get_boot_ns() - SEEN_AGE;
}

// seen_ancestor climbs from a leader to the nearest one that was seen, itself included.
static __always_inline void seen_ancestor(struct task_struct *leader, struct process *out,
					  char comm[TASK_COMM_LEN])
{
	__u64 before = seen_before();

#pragma unroll
	for (int i = 0; i < CLIMB; i++) {
		struct task_struct *up;

		if (!leader || leader->start_boottime <= before)
			break;
		up = parent_of(leader);
		if (!up)
			break;
		leader = up;
	}
	if (!leader)
		return;
	process_of(leader, out);
	task_comm(comm, leader);
}

// listed says whether an event is to be sent. While somebody looks at a target, all others leave it
// half of the share.
static __always_inline bool listed(__u32 kind, __u32 slots)
{
	struct event_count *c = event_share_of(kind);

	if (!c)
		return false;
	if (!slots && c->used >= event_share / 2 && filter_any()) {
		__sync_fetch_and_add(&c->unlisted, 1);
		return false;
	}
	return true;
}

// family is the targets that a process belongs to: by itself, its cgroup, and who it descends from.
static __always_inline __u32 family(struct task_struct *task, __u64 *cgroup)
{
	struct task_struct *up = task->group_leader;
	__u32 slots;

	*cgroup = task_cgroup(task);
	if (!filter_any())
		return 0;
	slots = match_target(task->tgid, *cgroup, task_other_cgroup(task));
#pragma unroll
	for (int i = 0; i < CLIMB; i++) {
		if (!up)
			break;
		up = parent_of(up);
		if (!up)
			break;
		slots |= match_target(up->tgid, 0, 0);
	}
	return slots;
}

#endif
