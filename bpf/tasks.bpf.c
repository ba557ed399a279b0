// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Every thread of the host, in one pass of the kernel's task iterator.
//
// Hook:   iter/task, run when user space reads. Nothing is attached between two readings.
// Unit:   nanoseconds, bytes, pages and counts, cumulative since the thread began.
// Cost:   about 0.4 us a thread, where /proc takes 100.
// Misses: threads that lived and died between two readings.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "cgroup.bpf.h"
#include "drift.bpf.h"
#include "held.bpf.h"
#include "pids.bpf.h"
#include "walk.bpf.h"

// What the kernel was built to count.
#define HAS_IO 1
#define HAS_DELAY 2
#define HAS_RSS 4
#define HAS_HELD 8 // in this record

// How pages are read: without a helper, with one (below 6.2), or with what CPUs hold back (since 6.2).
enum pages { PAGES_COUNTED, PAGES_ATOMIC, PAGES_SUMMED };

struct task_counts {
	__u64 run;
	__u64 utime;
	__u64 stime;
	__u64 gtime; // of utime: as the virtual CPU of a guest
	__u64 voluntary;
	__u64 involuntary;
	__u64 min_flt;
	__u64 maj_flt;
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 cancelled_bytes;
};

struct task {
	__s32 pid;
	__s32 tgid;
	__s32 ppid;
	__u32 uid;
	__u64 start; // of the process: boot time of its leader, ns
	struct task_counts own;
	struct task_counts dead; // of the process's dead threads: in its leader's record only
	__u64 wait;
	__u64 blkio_delay;
	__s64 rss;  // pages of the process; so are the next two. Where CPUs hold some back
	__s64 swap; // they may be below 0 without
	__u64 vsz;
	__s32 held; // with HAS_HELD: pages that are in no count yet; so is the next
	__s32 swap_held;
	__u64 cgroup; // ID as it is shown: see include/cgroup.bpf.h
	__u32 netns;
	__u32 exec_id; // changes with each exec
	__u32 state;
	__u32 exit_state;
	__u32 flags;
	__s32 prio;
	__s32 static_prio;
	__u32 policy;
	__u32 has;
	__u32 last_cpu; // that it ran on last, plus 1; 0: not known
	__s32 ns_pid;	// with pid_level: pid in that namespace; 0: it has none there
	__u32 pad;
	char comm[TASK_COMM_LEN];
};

// Keeps the type in BTF, for the generated binding.
const struct task *task_type __attribute__((unused));

// How many PID namespaces /proc lies below the first one: 0 where it has the numbers of the kernel.
const volatile __u32 pid_level;

// number_there is a task's number in the namespace of /proc. The array's end is not known to the verifier.
static __always_inline __s32 number_there(struct task_struct *t)
{
	struct pid *pid = ((struct task_struct___pids *)t)->thread_pid;
	struct upid *there;
	__s32 nr = 0;

	if (!pid || pid->level < pid_level) // gone in a zombie that was waited for
		return 0;
	there = (void *)&pid->numbers + pid_level * bpf_core_type_size(struct upid);
	bpf_core_read(&nr, sizeof(nr), &there->nr);
	return nr;
}

// Fields are read through the pointers themselves: bpf_probe_read_kernel is refused under
// lockdown=confidentiality. Each may be NULL to the verifier.
static __always_inline void memory(struct task *out, struct task_struct *t, enum pages how)
{
	struct mm_struct *mm = t->mm;
	struct mm_struct___percpu *summed = (void *)mm;
	bool atomic = how == PAGES_ATOMIC;
	struct held_at at;
	__u64 held;

	if (!mm_counts_known(atomic))
		return;
	out->has |= HAS_RSS;
	if (!mm) // a kernel thread, or one that ends
		return;
	out->vsz = mm->total_vm;
	if (how != PAGES_SUMMED) {
		out->rss =
			mm_count(mm, 0, atomic) + mm_count(mm, 1, atomic) + mm_count(mm, 3, atomic);
		out->swap = mm_count(mm, 2, atomic);
		return;
	}
	out->rss =
		summed->rss_stat[0].count + summed->rss_stat[1].count + summed->rss_stat[3].count;
	out->swap = summed->rss_stat[2].count;
	if (out->pid != out->tgid || !its_turn(out->tgid, out->start))
		return;
	at.files = (__u64)summed->rss_stat[0].counters;
	at.anon = (__u64)summed->rss_stat[1].counters;
	at.shmem = (__u64)summed->rss_stat[3].counters;
	at.swap = (__u64)summed->rss_stat[2].counters;
	held = held_back(&at);
	out->has |= HAS_HELD;
	out->held = held;
	out->swap_held = held >> 32;
}

static __always_inline void io(struct task *out, struct task_struct *t,
			       struct signal_struct *signal)
{
	if (bpf_core_field_exists(struct task_io_accounting, read_bytes)) {
		out->has |= HAS_IO;
		out->own.read_bytes = t->ioac.read_bytes;
		out->own.write_bytes = t->ioac.write_bytes;
		out->own.cancelled_bytes = t->ioac.cancelled_write_bytes;
		if (signal) {
			out->dead.read_bytes = signal->ioac.read_bytes;
			out->dead.write_bytes = signal->ioac.write_bytes;
			out->dead.cancelled_bytes = signal->ioac.cancelled_write_bytes;
		}
	}
	if (bpf_core_field_exists(struct task_struct, delays)) {
		struct task_delay_info *delays = WALK(t)->delays;

		if (delays) { // since 5.14 only with the sysctl kernel.task_delayacct
			out->has |= HAS_DELAY;
			out->blkio_delay = delays->blkio_delay;
		}
	}
}

static __always_inline int list(struct bpf_iter__task *ctx, enum pages how)
{
	struct task_struct *t = ctx->task, *walked, *other;
	const struct cred *cred;
	struct signal_struct *signal;
	struct nsproxy *ns;
	struct net *net;
	struct task out = {};

	if (!t)
		return 0;
	out.pid = t->pid;
	out.tgid = t->tgid;
	out.own.run = t->se.sum_exec_runtime;
	out.own.utime = t->utime;
	out.own.stime = t->stime;
	out.own.gtime = t->gtime;
	out.own.voluntary = t->nvcsw;
	out.own.involuntary = t->nivcsw;
	out.own.min_flt = t->min_flt;
	out.own.maj_flt = t->maj_flt;
	out.wait = t->sched_info.run_delay;
	out.state = task_state(t);
	out.exit_state = t->exit_state;
	out.flags = t->flags;
	out.last_cpu = task_last_cpu(t);
	out.prio = t->prio;
	out.static_prio = t->static_prio;
	out.policy = t->policy;
	out.exec_id = t->self_exec_id;
	walked = WALK(t);
	if (pid_level)
		out.ns_pid = number_there(walked);
	other = walked->real_parent;
	if (other)
		out.ppid = other->tgid;
	other = walked->group_leader;
	if (other)
		out.start = other->start_boottime;
	cred = walked->cred;
	if (cred)
		out.uid = cred->uid.val;
	signal = t->pid == t->tgid ? walked->signal : NULL;
	if (signal) {
		out.dead.run = signal->sum_sched_runtime;
		out.dead.utime = signal->utime;
		out.dead.stime = signal->stime;
		out.dead.gtime = signal->gtime;
		out.dead.voluntary = signal->nvcsw;
		out.dead.involuntary = signal->nivcsw;
		out.dead.min_flt = signal->min_flt;
		out.dead.maj_flt = signal->maj_flt;
	}
	memory(&out, walked, how);
	io(&out, t, signal);
	out.cgroup = task_cgroup(walked);
	ns = walked->nsproxy;
	if (ns) { // gone in a zombie
		net = ns->net_ns;
		if (net)
			out.netns = net->ns.inum;
	}
	for (int i = 0; i < TASK_COMM_LEN; i++)
		out.comm[i] = *(volatile const char *)&t->comm[i];
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

SEC("iter/task")
int tasks_listed(struct bpf_iter__task *ctx)
{
	return list(ctx, PAGES_COUNTED);
}

// Below 6.2, where memory is counted in a way that only the helper reads: drift.bpf.h.
SEC("iter/task")
int tasks_listed_atomic(struct bpf_iter__task *ctx)
{
	return list(ctx, PAGES_ATOMIC);
}

// Since 6.2, where each CPU counts pages for itself first: held.bpf.h.
SEC("iter/task")
int tasks_listed_summed(struct bpf_iter__task *ctx)
{
	if (ctx->meta->seq_num == 0)
		find_cpu_memory();
	return list(ctx, PAGES_SUMMED);
}

char LICENSE[] SEC("license") = "GPL";
