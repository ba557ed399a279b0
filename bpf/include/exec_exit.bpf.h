/* SPDX-License-Identifier: GPL-2.0 */

/* What ends: the last thread of a process, and what it had used. */
#ifndef BPF60_EXEC_EXIT_BPF_H
#define BPF60_EXEC_EXIT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "exec_count.bpf.h"
#include "exec_types.bpf.h"

// exit_status is what wait(2) tells of a process: kernel/exit.c, wait_task_zombie.
static __always_inline __s32 exit_status(struct task_struct *leader, struct signal_struct *signal)
{
	if (signal->flags & SIGNAL_GROUP_EXIT)
		return signal->group_exit_code;
	return leader->exit_code;
}

static __always_inline bool list_exit(struct task_struct *task, struct task_struct *leader,
				      struct signal_struct *signal, __u64 age, __u64 cpu,
				      __s32 code, __u32 slots, __u64 cgroup)
{
	struct task_struct *parent = parent_of(leader);
	const struct cred *cred = leader->cred;
	struct exit_event *e;

	e = event_reserve(EVENT_EXIT, sizeof(*e));
	if (!e)
		return false;
	process_of(task, &e->process);
	e->parent = (struct process){};
	__builtin_memset(e->parent_comm, 0, TASK_COMM_LEN);
	if (parent) {
		process_of(parent, &e->parent);
		task_comm(e->parent_comm, parent);
	}
	e->cgroup = cgroup;
	e->age = age;
	e->cpu = cpu;
	e->uid = cred ? cred->uid.val : 0;
	e->code = code;
	e->slots = slots;
	e->threads = signal->nr_threads;
	task_comm(e->comm, leader);
	event_submit(e);
	return true;
}

static __always_inline struct dead_count *dead_row(const struct dead_key *key,
						   const struct dead_count *first)
{
	struct dead_count *c = bpf_map_lookup_elem(&dead_counts, key);

	if (c)
		return c;
	bpf_map_update_elem(&dead_counts, key, first, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dead_counts, key);
}

static __always_inline void count_dead(struct task_struct *leader, struct exit_slot *slot,
				       __u64 age, __u64 cpu, __s32 code, struct exec_totals *host)
{
	struct dead_count *c, first = {};
	struct dead_key key = {};

	task_comm(key.comm, leader);
	seen_ancestor(parent_of(leader), &key.parent, first.parent_comm);
	slot->parent = key.parent;
	c = dead_row(&key, &first);
	if (!c) {
		__sync_fetch_and_add(&host->unkeyed, 1);
		return;
	}
	__sync_fetch_and_add(&c->exits, 1);
	__sync_fetch_and_add(&c->cpu, cpu);
	__sync_fetch_and_add(&c->age, age);
	if (slot->flags & EXIT_UNSEEN) {
		__sync_fetch_and_add(&c->unseen, 1);
		__sync_fetch_and_add(&c->unseen_cpu, cpu);
		__sync_fetch_and_add(&c->unseen_age, age);
	}
	if (code & 0x7f)
		__sync_fetch_and_add(&c->killed, 1);
	else if (code)
		__sync_fetch_and_add(&c->failed, 1);
}

// ended_already says whether another thread has found itself the last one of the process. The first of
// them to get here still counts the other in nr_threads, which falls after this hook only: it leaves the
// mark, and whoever is alone by then looks for it. A process of one thread never leaves any.
static __always_inline bool ended_already(struct task_struct *task, struct signal_struct *signal)
{
	struct process self;
	__u32 one = 1;

	if (exit_args == 2)
		return false;
	process_of(task, &self);
	if (signal->nr_threads < 2)
		return bpf_map_lookup_elem(&ending, &self) != NULL;
	// An int: before 6.4 the JIT calls a function that leaves the upper half of the register at 0.
	return (int)bpf_map_update_elem(&ending, &self, &one, BPF_NOEXIST) == -EEXIST;
}

static __always_inline int ended(struct task_struct *task, bool last)
{
	struct task_struct *leader = task->group_leader;
	struct signal_struct *signal = task->signal;
	__u32 at = task->tgid & (EXIT_SLOTS - 1), slots;
	struct exec_totals *host = host_totals();
	__u64 cgroup, start, age, cpu;
	struct exit_slot *slot;
	__s32 code;

	if (!last || !leader || !signal || !host || ended_already(task, signal))
		return 0;
	slot = bpf_map_lookup_elem(&exit_slots, &at);
	if (!slot)
		return 0;
	start = leader->start_boottime;
	if (slot->tgid && !(slot->flags & EXIT_REAPED))
		__sync_fetch_and_add(&host->late, 1);
	slots = family(leader, &cgroup);
	age = bpf_ktime_get_boot_ns() - start;
	cpu = signal->sum_sched_runtime + task->se.sum_exec_runtime;
	if (leader->pid != task->pid)
		cpu += leader->se.sum_exec_runtime;
	code = exit_status(leader, signal);
	slot->tgid = task->tgid;
	slot->start = start;
	slot->cpu = cpu;
	slot->slots = slots;
	slot->flags = start > seen_before() ? EXIT_UNSEEN : 0;

	COUNT(host, slots, exits, 1);
	COUNT(host, slots, cpu, cpu);
	if (slot->flags & EXIT_UNSEEN) {
		COUNT(host, slots, unseen, 1);
		COUNT(host, slots, unseen_cpu, cpu);
		COUNT(host, slots, unseen_age, age);
	}
	if (code & 0x7f) {
		COUNT(host, slots, killed, 1);
		if (code & 0x80)
			COUNT(host, slots, dumped, 1);
	} else if (code) {
		COUNT(host, slots, failed, 1);
	}
	count_dead(leader, slot, age, cpu, code, host);
	if (listed(EVENT_EXIT, slots) &&
	    list_exit(task, leader, signal, age, cpu, code, slots, cgroup))
		slot->flags |= EXIT_LISTED;
	return 0;
}

#endif
