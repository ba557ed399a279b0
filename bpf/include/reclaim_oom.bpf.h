/* SPDX-License-Identifier: GPL-2.0 */

/* Waiting for memory: whom the kernel kills for it, and why. */
#ifndef BPF60_RECLAIM_OOM_BPF_H
#define BPF60_RECLAIM_OOM_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "drift.bpf.h"
#include "memcg.bpf.h"
#include "reclaim_stall.bpf.h"
#include "reclaim_types.bpf.h"

// marked counts a kill: the first mark of a process.
static __always_inline bool marked(const struct process *victim)
{
	struct reclaim_counts *c = slot(0);
	__u64 now = bpf_ktime_get_boot_ns();
	long err = bpf_map_update_elem(&victims, victim, &now, BPF_NOEXIST);

	if (!c)
		return false;
	if (err && bpf_map_lookup_elem(&victims, victim)) {
		c->marks++;
		return false;
	}
	c->kills++; // also where the hash is full
	return true;
}

// why tells a kill of the whole host's from one at a cgroup's limit: by the reclaim that failed last
// in the task that asked for memory.
static __always_inline void why(struct oom_event *e)
{
	__u32 tid = bpf_get_current_pid_tgid(), i = tid & (STARTS - 1);
	struct start *s = bpf_map_lookup_elem(&starts, &i);

	if (!s || s->last != tid || bpf_ktime_get_ns() - s->at > FAILED_LATELY)
		return;
	e->constraint = s->kind == MEMCG ? OOM_CGROUP : OOM_HOST;
	e->order = s->order;
	e->limit = s->limit;
}

static __always_inline struct oom_event *oom_begin(const struct process *victim)
{
	struct oom_event *e = event_reserve(EVENT_OOM, sizeof(*e));

	if (!e)
		return NULL;
	__builtin_memset((void *)e + sizeof(e->head), 0, sizeof(*e) - sizeof(e->head));
	e->victim = *victim;
	current_process(&e->trigger);
	e->trigger_cgroup = current_cgroup();
	e->trigger_memcg = current_memcg();
	leader_comm(e->trigger_comm);
	why(e);
	return e;
}

static __always_inline int killed(struct task_struct *t, bool atomic)
{
	struct process victim = {};
	struct signal_struct *signal;
	const struct cred *cred;
	struct mm_struct *mm;
	struct oom_event *e;

	if (!process_of(t, &victim) || !marked(&victim))
		return 0;
	e = oom_begin(&victim);
	if (!e)
		return 0;
	e->cgroup = task_cgroup(t);
	e->memcg = task_memcg(t);
	task_comm(e->comm, t);
	t = WALK(t);
	cred = t->cred;
	if (cred)
		e->uid = cred->uid.val;
	signal = t->signal;
	if (signal)
		e->adj = signal->oom_score_adj;
	mm = t->mm;
	if (mm && mm_counts_known(atomic)) {
		e->known = 1;
		e->pages[0] = mm_count(mm, 1, atomic);
		e->pages[1] = mm_count(mm, 0, atomic);
		e->pages[2] = mm_count(mm, 3, atomic);
		e->pages[3] = mm_count(mm, 2, atomic);
		e->vsz = mm->total_vm;
	}
	event_submit(e);
	return 0;
}

#endif
