/* SPDX-License-Identifier: GPL-2.0 */

/* Differences between kernels, each with its commit and effect. Never a version test. */
#ifndef BPF60_DRIFT_BPF_H
#define BPF60_DRIFT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>

/*
 * 2f064a59a11f ("sched: Change task_struct::state", 5.14): the volatile long `state` became the
 * unsigned int `__state`.
 */
struct task_struct___state_long {
	volatile long state;
} __attribute__((preserve_access_index));

struct task_struct___state_int {
	unsigned int __state;
} __attribute__((preserve_access_index));

static __always_inline __u32 task_state(struct task_struct *task)
{
	if (bpf_core_field_exists(struct task_struct___state_int, __state))
		return ((struct task_struct___state_int *)task)->__state;
	return ((struct task_struct___state_long *)task)->state;
}

/*
 * 152e11f6df29 ("sched/fair: Implement delayed dequeue", 6.12): a task that sleeps may stay queued
 * until it is picked.
 */
struct sched_entity___delayed {
	unsigned char sched_delayed;
} __attribute__((preserve_access_index));

static __always_inline bool task_asleep_but_queued(struct task_struct *task)
{
	struct sched_entity___delayed *se = (void *)&task->se;

	if (!bpf_core_field_exists(struct sched_entity___delayed, sched_delayed))
		return false;
	return se->sched_delayed;
}

#endif
