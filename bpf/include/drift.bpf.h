/* SPDX-License-Identifier: GPL-2.0 */

/* Differences between kernels, each with its commit and effect. Never a version test. */
#ifndef BPF60_DRIFT_BPF_H
#define BPF60_DRIFT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "walk.bpf.h"

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
 * bcf9033e5449 ("sched: move CPU field back into thread_info if THREAD_INFO_IN_TASK=y", 5.16): the CPU
 * that a task runs on, or ran on last, went from task_struct to thread_info. A kernel for one CPU has
 * neither. The number is one more than the CPU's; 0 is not known.
 */
struct thread_info___cpu {
	__u32 cpu;
} __attribute__((preserve_access_index));

struct task_struct___cpu_inside {
	struct thread_info___cpu thread_info;
} __attribute__((preserve_access_index));

struct task_struct___cpu_own {
	unsigned int cpu;
} __attribute__((preserve_access_index));

static __always_inline __u32 task_last_cpu(struct task_struct *task)
{
	if (bpf_core_field_exists(struct task_struct___cpu_inside, thread_info.cpu))
		return ((struct task_struct___cpu_inside *)task)->thread_info.cpu + 1;
	if (bpf_core_field_exists(struct task_struct___cpu_own, cpu))
		return ((struct task_struct___cpu_own *)task)->cpu + 1;
	return 0;
}

/*
 * on_rq, whether a task is queued, is an int up to 7.2 and a byte since.
 */
struct task_struct___queued_int {
	int on_rq;
} __attribute__((preserve_access_index));

struct task_struct___queued_byte {
	unsigned char on_rq;
} __attribute__((preserve_access_index));

static __always_inline bool task_queued(struct task_struct *task)
{
	struct task_struct___queued_int *wide = (void *)task;

	if (bpf_core_field_size(wide->on_rq) == 1)
		return ((struct task_struct___queued_byte *)task)->on_rq;
	return wide->on_rq;
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
 * became one of percpu_counter, whose count lags by what each CPU has not added yet: held.bpf.h sums
 * that. Counters: 0 pages of files, 1 anonymous, 2 swapped out, 3 shared memory.
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
	__s32 *counters; /* as an offset into each CPU's own memory */
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

/*
 * f3fa33acca9f ("block: remove the ->rq_disk field in struct request", 5.17): the disk is the queue's.
 * Passthrough queues have none.
 */
struct request___disk {
	struct gendisk *rq_disk;
} __attribute__((preserve_access_index));

struct request_queue___disk {
	struct gendisk *disk;
} __attribute__((preserve_access_index));

/* As the kernel numbers devices: 12 bits of major, 20 of minor; 0 without a disk. */
static __always_inline __u32 request_dev(struct request *rq)
{
	struct gendisk *disk = NULL;
	struct request_queue___disk *q;

	rq = WALK(rq);
	if (bpf_core_field_exists(struct request___disk, rq_disk)) {
		disk = ((struct request___disk *)rq)->rq_disk;
	} else {
		q = (struct request_queue___disk *)rq->q;
		if (q)
			disk = q->disk;
	}
	if (!disk)
		return 0;
	return (__u32)disk->major << 20 | (__u32)disk->first_minor;
}

/* Bits of request.cmd_flags: enum req_flag_bits, whose values move. */
enum req_flag_bits {
	__REQ_SYNC = 11,
	__REQ_META = 12,
	__REQ_PRIO = 13,
	__REQ_PREFLUSH = 18,
	__REQ_RAHEAD = 19,
	__REQ_BACKGROUND = 20,
};

#define REQUEST_FLAG(name) (1U << bpf_core_enum_value(enum req_flag_bits, name))

/*
 * 1: allocated, 0: free again. Older kernels have a refcount_t, newer ones an atomic_t: the number is all
 * there is in either, so that only the field is named and nothing in it.
 */
struct request___ref {
	atomic_t ref;
} __attribute__((preserve_access_index));

/* The cgroup of a bio: of the block controller, with CONFIG_BLK_CGROUP. */
struct bio___blkg {
	struct blkcg_gq *bi_blkg;
} __attribute__((preserve_access_index));

static __always_inline struct cgroup *request_cgroup(struct request *rq)
{
	struct bio___blkg *bio = (void *)WALK(rq)->bio;
	struct blkcg_gq *blkg;
	struct blkcg *blkcg;

	if (!bpf_core_field_exists(struct bio___blkg, bi_blkg) || !bio)
		return NULL;
	blkg = bio->bi_blkg;
	if (!blkg)
		return NULL;
	blkcg = blkg->blkcg;
	if (!blkcg)
		return NULL;
	return blkcg->css.cgroup;
}

#endif
