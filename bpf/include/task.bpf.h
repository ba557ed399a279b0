/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Who a task is. Tasks from a program's arguments, and the current one where the kernel hands out a
 * typed pointer (5.11), are read through the pointer itself: lockdown=confidentiality refuses
 * bpf_probe_read_kernel. Every hop may be NULL to the verifier.
 */
#ifndef BPF60_TASK_BPF_H
#define BPF60_TASK_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "cgroup.bpf.h"
#include "walk.bpf.h"

/* Identity for as long as the host is up: a PID alone is used again. */
struct process {
	__s32 tgid;
	__u32 pad;
	__u64 start; /* of the leader: boot time, ns */
};

enum bpf_func_id___task {
	BPF_FUNC_get_current_task_btf___task = 158, /* 5.11 */
};

static __always_inline bool has_current_task_btf(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id___task,
					  BPF_FUNC_get_current_task_btf___task);
}

/* The current task, NULL where the kernel gives no typed pointer to it. */
static __always_inline struct task_struct *current_task(void)
{
	if (has_current_task_btf())
		return bpf_get_current_task_btf();
	return NULL;
}

/* False, and zero, without a leader: nothing that has run is without one. */
static __always_inline bool process_of(struct task_struct *task, struct process *out)
{
	struct task_struct *leader = WALK(task)->group_leader;

	out->tgid = task->tgid;
	out->pad = 0;
	out->start = leader ? leader->start_boottime : 0;
	return leader != NULL;
}

static __always_inline bool current_process(struct process *out)
{
	struct task_struct *task;

	if (has_current_task_btf())
		return process_of(bpf_get_current_task_btf(), out);
	task = (struct task_struct *)bpf_get_current_task();
	out->tgid = bpf_get_current_pid_tgid() >> 32;
	out->pad = 0;
	out->start = BPF_CORE_READ(task, group_leader, start_boottime);
	return out->start != 0;
}

/* The ID of the current task's cgroup as it is shown. */
static __always_inline __u64 current_cgroup(void)
{
	struct task_struct *task;

	if (!memory_v1)
		return bpf_get_current_cgroup_id();
	task = current_task();
	if (task)
		return task_cgroup(task);
	if (has_current_task_btf())
		return 0; /* what follows is dead code then: not even the helper is asked for */
	return read_cgroup_in((void *)bpf_get_current_task(), OF_MEMORY);
}

/* By words: dst is at a multiple of four in all structures, and comm in the kernel's. */
static __always_inline void task_comm(char dst[TASK_COMM_LEN], struct task_struct *task)
{
	volatile const __u32 *comm = (volatile const __u32 *)task->comm;

	for (int i = 0; i < TASK_COMM_LEN / 4; i++)
		((__u32 *)dst)[i] = comm[i];
}

#endif
