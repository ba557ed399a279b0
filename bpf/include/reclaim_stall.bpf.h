/* SPDX-License-Identifier: GPL-2.0 */

/* Waiting for memory: the beginning and the end of a stall. */
#ifndef BPF60_RECLAIM_STALL_BPF_H
#define BPF60_RECLAIM_STALL_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "memcg.bpf.h"
#include "reclaim_types.bpf.h"

static __always_inline struct reclaim_counts *slot(__u32 i)
{
	return bpf_map_lookup_elem(&reclaim, &i);
}

static __always_inline void begin(__u32 kind, __u32 order, __u64 limit)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u32 i = (tid & (STARTS - 1)) + (kind == COMPACT ? STARTS : 0);
	struct start *s = bpf_map_lookup_elem(&starts, &i);
	struct reclaim_counts *c;

	if (!s)
		return;
	if (s->pid && s->pid != tid) {
		c = slot(0);
		if (c)
			c->collided++;
	}
	s->pid = tid;
	s->last = tid;
	s->order = order;
	s->limit = limit;
	s->kind = kind;
	s->at = bpf_ktime_get_ns();
}

// The next three are functions of their own to the verifier, which would follow each of their paths
// through all that comes after: a million instructions.

// bucket is the slot of a histogram.
__attribute__((noinline)) __u32 bucket(__u64 ns)
{
	__u32 slot = log2_u64(microseconds(ns));

	return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

__attribute__((noinline)) __u32 matching(__u32 tgid, __u64 cgroup)
{
	return filter_match(tgid, cgroup, current_other_cgroup(), 0);
}

__attribute__((noinline)) int count(__u32 i, __u32 kind, __u32 at, __u64 ns, __u64 pages)
{
	struct reclaim_counts *c = slot(i);

	if (!c || kind >= STALL_KINDS || at >= HIST_SLOTS)
		return 0;
	c->stalls[kind].slots[at]++;
	c->stalls[kind].sum += ns;
	if (kind < COMPACT)
		c->pages[kind] += pages;
	return 0;
}

// row is the process's; that of all others where there is no room.
static __always_inline struct stall_row *row(const struct process *who, __u64 cgroup, __u64 memcg)
{
	struct stall_row *r = bpf_map_lookup_elem(&stalled, who), fresh = {};
	struct process others = {};

	if (r)
		return r;
	fresh.cgroup = cgroup;
	fresh.memcg = memcg;
	leader_comm(fresh.comm);
	bpf_map_update_elem(&stalled, who, &fresh, BPF_NOEXIST);
	r = bpf_map_lookup_elem(&stalled, who);
	return r ? r : bpf_map_lookup_elem(&stalled, &others);
}

static __always_inline void tell(const struct start *s, const struct process *who, __u64 ns,
				 __u64 pages, __u64 cgroup, __u64 memcg, __s32 result)
{
	__u32 kind = s->kind == COMPACT ? EVENT_COMPACT : EVENT_RECLAIM;
	struct reclaim_event *e = event_reserve(kind, sizeof(*e));

	if (!e)
		return;
	e->who = *who;
	e->ns = ns;
	e->pages = pages;
	e->cgroup = cgroup;
	e->memcg = memcg;
	e->limit = s->limit;
	e->tid = s->last;
	e->kind = s->kind;
	e->order = s->order;
	e->result = result;
	leader_comm(e->comm);
	event_submit(e);
}

static __always_inline int end(__u32 half, __u64 pages, __s32 result)
{
	__u32 tid = bpf_get_current_pid_tgid(), i = (tid & (STARTS - 1)) + half, kind, match;
	struct start *s = bpf_map_lookup_elem(&starts, &i);
	__u64 cgroup, memcg, ns, now;
	struct process who = {};
	struct reclaim_counts *c;
	struct stall_row *r;
	__u32 at;

	if (!s)
		return 0;
	kind = s->kind;
	if (s->pid != tid || kind >= STALL_KINDS) {
		c = slot(0);
		if (c)
			c->unbegun++;
		return 0;
	}
	s->pid = 0;
	now = bpf_ktime_get_ns();
	ns = now > s->at ? now - s->at : 0;
	at = bucket(ns);
	asm volatile("" : "+r"(at)); // the compiler knows the range, the verifier does not
	// Nor may it know that compaction reclaims no page: it would make an atomic OR of adding nothing,
	// which is not known before 5.12.
	asm volatile("" : "+r"(pages));
	if (at >= HIST_SLOTS)
		return 0;
	count(0, kind, at, ns, pages);

	cgroup = current_cgroup();
	memcg = current_memcg();
	if (!current_process(&who))
		return 0;
	r = row(&who, cgroup, memcg);
	if (r) {
		__u32 of = kind;

		asm volatile("%0 &= 3" : "+r"(of)); // 5.10 has forgotten the range
		__sync_fetch_and_add(&r->count[of], 1);
		__sync_fetch_and_add(&r->ns[of], ns);
		if (kind != COMPACT) {
			__sync_fetch_and_add(&r->pages, pages);
			__sync_fetch_and_add(&r->slots[at], 1);
		}
	}
	match = matching(who.tgid, cgroup);
	if (match) {
		for (__u32 k = 1; k < FILTER_SLOTS; k++)
			if (match & (1U << k))
				count(k, kind, at, ns, pages);
	}
	tell(s, &who, ns, pages, cgroup, memcg, result);
	return 0;
}

#endif
