/* SPDX-License-Identifier: GPL-2.0 */

/* Who pays for a task's memory: the cgroup of the memory controller, and what its process is called. */
#ifndef BPF60_MEMCG_BPF_H
#define BPF60_MEMCG_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "task.bpf.h"

/* memcg_id is the ID of a cgroup of the memory controller, 0 without one. */
static __always_inline __u64 memcg_id(struct mem_cgroup *memcg)
{
	return memcg ? cgroup_id(WALK(memcg)->css.cgroup) : 0;
}

/*
 * task_memcg is the same as task_cgroup but where the memory controller is off. 0 where the kernel has none.
 */
static __always_inline __u64 task_memcg(struct task_struct *t)
{
	return t ? task_cgroup_in(t, OF_MEMORY) : 0;
}

static __always_inline __u64 current_memcg(void)
{
	struct task_struct *t = current_task();

	if (t)
		return task_memcg(t);
	if (has_current_task_btf())
		return 0; /* what follows is dead code then: not even the helper is asked for */
	return read_cgroup_in((void *)bpf_get_current_task(), OF_MEMORY);
}

/* leader_comm is the name of the current task's process; threads may have names of their own. */
static __always_inline void leader_comm(char dst[TASK_COMM_LEN])
{
	struct task_struct *t = current_task(), *leader;

	if (t) {
		leader = WALK(t)->group_leader;
		if (leader)
			task_comm(dst, leader);
		return;
	}
	if (has_current_task_btf())
		return;
	t = (void *)bpf_get_current_task();
	leader = BPF_CORE_READ(t, group_leader);
	bpf_probe_read_kernel(dst, TASK_COMM_LEN, &leader->comm);
}

/* current_flags are PF_*. */
static __always_inline __u32 current_flags(void)
{
	struct task_struct *t = current_task();

	if (t)
		return t->flags;
	if (has_current_task_btf())
		return 0;
	t = (void *)bpf_get_current_task();
	return BPF_CORE_READ(t, flags);
}

#endif
