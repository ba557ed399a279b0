// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Threads that wait in the kernel, and where: pid, switches and kernel stack, in one pass of the
// task iterator.
//
// Hook:   iter/task, run when user space reads. Nothing is attached between two readings.
//         stalled lists threads in D; slept lists threads of user space that sleep in S and had a
//         CPU within the last RECENT of the newest arrival.
// Unit:   nanoseconds of the scheduler's clock; addresses of the kernel's text, innermost first.
//         The kernel leaves its own scheduling functions out, locks' slow paths among them.
// Cost:   about 0.1 us a thread that is not listed, 2 us one that is.
// Misses: waits that begin and end between two readings.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "drift.bpf.h"
#include "walk.bpf.h"

// A stack deeper than this is cut at its outer end, where the system call is.
#define STALL_FRAMES 32

// include/linux/sched.h
#define TASK_INTERRUPTIBLE 0x0001
#define TASK_UNINTERRUPTIBLE 0x0002
#define TASK_NOLOAD 0x0400

// Ten seconds: a thread that serves somebody had a CPU since.
#define RECENT 10000000000ULL

#define STALL_IOWAIT 1
#define STALL_LOCK 2
#define STALL_KTHREAD 4

struct stall {
	__s32 pid; // 0: the record that ends a pass, with the newest arrival
	__s32 tgid;
	__u64 start;	// of the process: boot time of its leader, ns
	__u64 switches; // of the thread since it began
	__u64 arrival;	// when it last got a CPU, ns on the clock of the run queues; 0: never
	__u32 flags;
	__s32 stack_bytes; // or the helper's negative errno
	char comm[TASK_COMM_LEN];
	__u64 stack[STALL_FRAMES];
};

// Keeps the type in BTF, for the generated binding.
const struct stall *stall_type __attribute__((unused));

// The newest arrival seen: the reader's own is milliseconds old, which makes it the present on a
// clock that user space cannot read and that drifts from its clocks.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} newest SEC(".maps");

// Fields are read through the pointers themselves: bpf_probe_read_kernel is refused under
// lockdown=confidentiality.
static __always_inline int listed(struct seq_file *seq, struct task_struct *t)
{
	struct task_struct *leader;
	struct stall out = {};

	out.pid = t->pid;
	out.tgid = t->tgid;
	out.switches = t->nvcsw + t->nivcsw;
	out.arrival = t->sched_info.last_arrival;
	leader = WALK(t)->group_leader;
	if (leader)
		out.start = leader->start_boottime;
	if (BPF_CORE_READ_BITFIELD(t, in_iowait))
		out.flags |= STALL_IOWAIT;
	if (task_waits_for_lock(t))
		out.flags |= STALL_LOCK;
	if (t->flags & PF_KTHREAD)
		out.flags |= STALL_KTHREAD;
	for (int i = 0; i < TASK_COMM_LEN; i++)
		out.comm[i] = *(volatile const char *)&t->comm[i];
	out.stack_bytes = bpf_get_task_stack(t, out.stack, sizeof(out.stack), 0);
	bpf_seq_write(seq, &out, sizeof(out));
	return 0;
}

// The kernel calls once more at the end, without a task.
static __always_inline int ended(struct seq_file *seq, __u64 *now)
{
	struct stall out = {};

	out.arrival = *now;
	bpf_seq_write(seq, &out, sizeof(out));
	return 0;
}

SEC("iter/task")
int stalled(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	__u32 zero = 0, state;
	__u64 *now = bpf_map_lookup_elem(&newest, &zero);
	__u64 arrival;

	if (!now)
		return 0;
	if (!t)
		return ended(ctx->meta->seq, now);
	arrival = t->sched_info.last_arrival;
	if (arrival > *now)
		*now = arrival;
	state = task_state(t);
	if (!(state & TASK_UNINTERRUPTIBLE) || state & TASK_NOLOAD)
		return 0;
	return listed(ctx->meta->seq, t);
}

SEC("iter/task")
int slept(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	__u32 zero = 0;
	__u64 *now = bpf_map_lookup_elem(&newest, &zero);
	__u64 arrival, before;

	if (!now)
		return 0;
	if (!t)
		return ended(ctx->meta->seq, now);
	arrival = t->sched_info.last_arrival;
	before = *now;
	if (arrival > before)
		*now = arrival;
	if (arrival + RECENT < before || !(task_state(t) & TASK_INTERRUPTIBLE) ||
	    t->flags & PF_KTHREAD)
		return 0;
	return listed(ctx->meta->seq, t);
}

char LICENSE[] SEC("license") = "GPL";
