/* SPDX-License-Identifier: GPL-2.0 */

/* Differences between kernels, each with its commit and effect. Never a version test. */
#ifndef BPF60_DRIFT_BPF_H
#define BPF60_DRIFT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

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

/*
 * f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter", 6.2): the array of atomic counts
 * became one of percpu_counter, whose count lags by what each CPU has not added yet. Counters: 0 pages
 * of files, 1 anonymous, 2 swapped out, 3 shared memory.
 */
struct mm_rss_stat___atomic {
	struct {
		__s64 counter;
	} count[4];
} __attribute__((preserve_access_index));

struct mm_struct___atomic {
	struct mm_rss_stat___atomic rss_stat;
} __attribute__((preserve_access_index));

struct percpu_counter___rss {
	__s64 count;
} __attribute__((preserve_access_index));

struct mm_struct___percpu {
	struct percpu_counter___rss rss_stat[4];
} __attribute__((preserve_access_index));

/*
 * False where the kernel counts some third way, or the old way and atomic is not set: its verifier
 * takes no pointer into an array of a typedef ("Type 'atomic_long_t' is not a struct").
 */
static __always_inline bool mm_counts_known(bool atomic)
{
	return (atomic && bpf_core_field_exists(struct mm_struct___atomic, rss_stat.count)) ||
	       bpf_core_field_exists(struct mm_struct___percpu, rss_stat[0].count);
}

/* Pages, never negative. */
#define mm_count(mm, i, atomic)                                                                   \
	({                                                                                        \
		__s64 n = 0;                                                                      \
                                                                                                  \
		if (bpf_core_field_exists(struct mm_struct___percpu, rss_stat[0].count))          \
			n = ((struct mm_struct___percpu *)(mm))->rss_stat[i].count;               \
		else if (atomic)                                                                  \
			bpf_probe_read_kernel(                                                    \
				&n, sizeof(n),                                                    \
				&((struct mm_struct___atomic *)(mm))->rss_stat.count[i].counter); \
		n < 0 ? 0 : (__u64)n;                                                             \
	})

/*
 * Whether a task waits for a lock. blocked_on is a mutex (or its waiter), where CONFIG_DEBUG_MUTEXES
 * is set and always since 6.17; blocker is a mutex (6.14) or semaphore (6.16), where
 * CONFIG_DETECT_HUNG_TASK_BLOCKER is set. Where both are missing nobody knows.
 */
struct task_struct___blocked_on {
	void *blocked_on;
} __attribute__((preserve_access_index));

struct task_struct___blocker {
	unsigned long blocker;
} __attribute__((preserve_access_index));

static __always_inline bool task_waits_for_lock(struct task_struct *task)
{
	struct task_struct___blocked_on *on = (void *)task;
	struct task_struct___blocker *by = (void *)task;

	if (bpf_core_field_exists(struct task_struct___blocked_on, blocked_on) && on->blocked_on)
		return true;
	return bpf_core_field_exists(struct task_struct___blocker, blocker) && by->blocker;
}

#endif
