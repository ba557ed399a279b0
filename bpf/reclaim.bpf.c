// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Who waits for memory: direct reclaim and compaction stalls by process (drsnoop, compactsnoop), what
// the kernel does in the background for it, and whom it kills (oomkill).
//
// Hook:   tp_btf mm_vmscan_direct_reclaim_begin/end (the host is short), mm_vmscan_memcg_reclaim_begin/
//         end (a cgroup is at its limit), mm_compaction_begin/end (once a zone), mm_vmscan_throttled,
//         mm_vmscan_kswapd_wake, mark_victim.
// Unit:   log2 histograms of microseconds and counts, cumulative since load. All run in the task that
//         waits, so its process and cgroup are exact.
// Cost:   about 900 ns a stall, begin and end together; nothing otherwise.
// Misses: stalls that had begun when the programs attached (counted as unbegun); and, of two threads
//         whose IDs are a multiple of STARTS apart, the first (counted as collided).
//
// A stall may last for seconds, and thousands may stall at once: the starts are a direct-mapped array,
// which needs no memory at the moment when there is none. So are the hashes preallocated.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "memcg.bpf.h"
#include "reclaim_oom.bpf.h"
#include "reclaim_stall.bpf.h"
#include "reclaim_types.bpf.h"

static __always_inline int reclaim_begun(__u64 *ctx, __u32 kind, __u32 order)
{
	__u64 limit = 0;

	if (limit_arg)
		limit = memcg_id((void *)ctx[2]);
	begin(kind, order, limit);
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int direct_begun(__u64 *ctx)
{
	return reclaim_begun(ctx, DIRECT, ctx[0]);
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int direct_begun_flags(__u64 *ctx)
{
	return reclaim_begun(ctx, DIRECT, ctx[1]);
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int direct_ended(__u64 *ctx)
{
	return end(0, ctx[0], 0);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int memcg_begun(__u64 *ctx)
{
	return reclaim_begun(ctx, MEMCG, ctx[0]);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int memcg_begun_flags(__u64 *ctx)
{
	return reclaim_begun(ctx, MEMCG, ctx[1]);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int memcg_ended(__u64 *ctx)
{
	return end(0, ctx[0], 0);
}

// kcompactd and kswapd compact for others, whom nobody keeps waiting.
static __always_inline bool by_kernel(void)
{
	return current_flags() & PF_KTHREAD;
}

SEC("tp_btf/mm_compaction_begin")
int compact_begun(__u64 *ctx)
{
	struct compact_control *cc;
	struct reclaim_counts *c;
	__u32 order = 0;

	if (by_kernel()) {
		c = slot(0);
		if (c)
			c->background++;
		return 0;
	}
	if (compact_arg) {
		cc = (void *)ctx[0];
		if (cc)
			order = cc->order;
	}
	begin(COMPACT, order, 0);
	return 0;
}

SEC("tp_btf/mm_compaction_end")
int compact_ended(__u64 *ctx)
{
	return by_kernel() ? 0 : end(STARTS, 0, ctx[4]);
}

// Before 6.1, with one argument more. It is a program of its own because the compiler makes one load of
// two that differ in their address, which the verifier refuses.
SEC("tp_btf/mm_compaction_end")
int compact_ended_numbers(__u64 *ctx)
{
	return by_kernel() ? 0 : end(STARTS, 0, ctx[5]);
}

// The kernel stops a task that reclaims faster than pages are written (6.1, or the fix of it in 5.16).
SEC("tp_btf/mm_vmscan_throttled")
int throttled(__u64 *ctx)
{
	__u64 ns = (__u64)(__u32)ctx[2] * 1000;
	struct reclaim_counts *c = slot(0);
	struct process who = {};
	struct stall_row *r;

	if (!c)
		return 0;
	c->throttled++;
	c->throttled_ns += ns;
	if (by_kernel() || !current_process(&who))
		return 0;
	r = row(&who, current_cgroup(), current_memcg());
	if (r)
		__sync_fetch_and_add(&r->throttled_ns, ns);
	return 0;
}

SEC("tp_btf/mm_vmscan_kswapd_wake")
int kswapd_woken(__u64 *ctx)
{
	struct reclaim_counts *c = slot(0);

	if (c)
		c->kswapd++;
	return 0;
}

SEC("tp_btf/mark_victim")
int BPF_PROG(oom_killed, struct task_struct *t)
{
	return killed(t, false);
}

// Below 6.2, where memory is counted in a way that only the helper reads: drift.bpf.h.
SEC("tp_btf/mark_victim")
int BPF_PROG(oom_killed_atomic, struct task_struct *t)
{
	return killed(t, true);
}

// Before 6.9 and its backports the tracepoint has the ID only; user space asks /proc for the rest.
SEC("tp_btf/mark_victim")
int BPF_PROG(oom_killed_pid, int pid)
{
	struct process victim = {.tgid = pid};
	struct oom_event *e;

	if (!marked(&victim))
		return 0;
	e = oom_begin(&victim);
	if (e)
		event_submit(e);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
