// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Signals: how many of each kind, and who sends the fatal ones to whom (killsnoop).
//
// Hook:   tp_btf signal_generate, when a signal is queued, by whomever: kill(2), a fault, the terminal,
//         a timer, the kernel for want of memory.
// Unit:   counts by number and result, per CPU, cumulative since load.
// Sender: the task that runs, where siginfo says that a process sent it; the kernel otherwise. What a
//         timer sends comes from an interrupt, over anybody's task.
// Cost:   0.25 us a signal.
// Misses: what the kernel sets without queueing it: a group exit's or exec's SIGKILL of the other
//         threads, and cgroup freezing.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "task.bpf.h"
#include "walk.bpf.h"

// Signals are 1 to 64.
#define SIGNALS 65
// include/trace/events/signal.h: delivered, ignored, already pending, queue overflow, info lost. Eight, so
// that three bits are always a place among them: 5.10 forgets what a comparison told.
#define RESULTS 8

// include/uapi/asm-generic/siginfo.h
#define SI_USER 0
#define SI_KERNEL 0x80
#define SI_QUEUE (-1)
#define SI_TKILL (-6)

// Pointers that stand for a siginfo: include/linux/sched/signal.h.
#define SEND_SIG_NOINFO 0
#define SEND_SIG_PRIV 1

// What the target does with a signal: struct signal_event.
#define ACTION_UNKNOWN 0
#define ACTION_DEFAULT 1
#define ACTION_IGNORED 2
#define ACTION_HANDLED 3

// Of one signal, on one CPU.
struct signal_counts {
	__u64 results[RESULTS];
};

// Of a target: sent to it or by it, and those of them that are listed as fatal.
struct signal_totals {
	__u64 signals;
	__u64 fatal;
};

struct signal_event {
	struct event head;
	struct process sender; // zero: the kernel
	struct process target;
	__u64 cgroup; // of the target
	__s32 sig;
	__s32 code; // si_code
	__u32 result;
	__u32 action; // ACTION_ of the target
	__u32 uid;    // of the sender
	__u32 slots;
	__s32 thread; // PID of the thread it was sent to; 0: to the process
	__u32 pad;
	char sender_comm[TASK_COMM_LEN];
	char target_comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SIGNALS);
	__type(key, __u32);
	__type(value, struct signal_counts);
} signals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct signal_totals);
} signal_sums SEC(".maps");

// The signals that are listed: those that by default end or stop a process, without the ones that
// programs use among themselves (USR1, ALRM, IO, real-time signals) and SIGPIPE.
#define LISTED                                                                                    \
	(1ULL << 1 | 1ULL << 2 | 1ULL << 3 | 1ULL << 4 | 1ULL << 5 | 1ULL << 6 | 1ULL << 7 |      \
	 1ULL << 8 | 1ULL << 9 | 1ULL << 11 | 1ULL << 15 | 1ULL << 19 | 1ULL << 24 | 1ULL << 25 | \
	 1ULL << 31)

// action_of is what the target has set. The array is read at constant places: a variable one is
// refused.
static __always_inline __u32 action_of(struct task_struct *task, int sig)
{
	struct sighand_struct *hand = task->sighand;
	__u64 handler;

	if (!hand)
		return ACTION_UNKNOWN;
	switch (sig) {
#define HANDLER(n)                                                    \
	case n:                                                       \
		handler = (__u64)hand->action[(n) - 1].sa.sa_handler; \
		break;
		HANDLER(1)
		HANDLER(2)
		HANDLER(3)
		HANDLER(4)
		HANDLER(5)
		HANDLER(6)
		HANDLER(7)
		HANDLER(8)
		HANDLER(11)
		HANDLER(15)
		HANDLER(24)
		HANDLER(25)
		HANDLER(31)
	default: // KILL and STOP cannot be handled
		return ACTION_DEFAULT;
	}
	return handler > 1 ? ACTION_HANDLED : handler ? ACTION_IGNORED : ACTION_DEFAULT;
}

// Some kernels (6.12.117, 7.3) take the pointer for a number, because of what it may stand for.
const volatile bool info_is_number = false;

// code_of reads si_code. The pointer may also be 0 or 1, which must not be followed. The two are
// compared one by one, or the verifier would not know that it is not NULL.
static __always_inline __s32 code_of(struct kernel_siginfo *info)
{
	if (!info)
		return SI_USER;
	asm volatile("" : "+r"(info));
	if ((unsigned long)info == SEND_SIG_PRIV)
		return SI_KERNEL;
	if (info_is_number)
		return BPF_CORE_READ(info, si_code);
	return info->si_code;
}

// count_target is verified apart: inline, each combination of targets would be a path of its own.
__attribute__((noinline)) int count_target(__u32 slots, __u32 fatal)
{
#pragma unroll
	for (int i = 1; i < FILTER_SLOTS; i++) {
		struct signal_totals *t;
		__u32 of = i;

		if (!(slots & 1u << i))
			continue;
		t = bpf_map_lookup_elem(&signal_sums, &of);
		if (!t)
			continue;
		__sync_fetch_and_add(&t->signals, 1);
		if (fatal)
			__sync_fetch_and_add(&t->fatal, 1);
	}
	return 0;
}

// The targets that a process or a cgroup is.
__attribute__((noinline)) int match_target(__u32 tgid, __u64 cgroup, __u64 other)
{
	return filter_match(tgid, cgroup, other, 0);
}

static __always_inline void sender_comm(char comm[TASK_COMM_LEN])
{
	struct task_struct *task = current_task();
	struct task_struct *leader = task ? WALK(task)->group_leader : NULL;

	if (leader)
		task_comm(comm, leader);
	else
		bpf_get_current_comm(comm, TASK_COMM_LEN); // 5.10: the thread's
}

SEC("tp_btf/signal_generate")
int BPF_PROG(signal_sent, int sig, struct kernel_siginfo *info, struct task_struct *target,
	     int group, int result)
{
	struct task_struct *task = WALK(target);
	bool fatal = sig > 0 && sig < 64 && LISTED >> sig & 1, user;
	__u32 number = sig, slots = 0;
	struct task_struct *leader;
	struct process sender = {};
	struct signal_counts *c;
	struct signal_event *e;
	__s32 code;

	c = bpf_map_lookup_elem(&signals, &number);
	if (c)
		__sync_fetch_and_add(&c->results[result & (RESULTS - 1)],
				     1); // an interrupt's may come between
	if (!fatal && !filter_any())
		return 0;

	code = code_of(info);
	user = code == SI_USER || code == SI_TKILL || code == SI_QUEUE;
	if (user)
		current_process(&sender);
	if (filter_any()) {
		slots = match_target(task->tgid, task_cgroup(task), task_other_cgroup(task)) |
			match_target(sender.tgid, 0, 0);
		count_target(slots, fatal);
	}
	if (!fatal)
		return 0;
	e = event_reserve(EVENT_SIGNAL, sizeof(*e));
	if (!e)
		return 0;
	e->sender = sender;
	process_of(task, &e->target);
	e->cgroup = task_cgroup(task);
	e->sig = sig;
	e->code = code;
	e->result = result;
	e->action = action_of(task, sig);
	e->uid = user ? bpf_get_current_uid_gid() : 0;
	e->slots = slots;
	e->thread = group ? 0 : task->pid;
	e->pad = 0;
	__builtin_memset(e->sender_comm, 0, TASK_COMM_LEN);
	if (user)
		sender_comm(e->sender_comm);
	leader = task->group_leader;
	__builtin_memset(e->target_comm, 0, TASK_COMM_LEN);
	if (leader)
		task_comm(e->target_comm, leader);
	event_submit(e);
	return 0;
}

// Keeps the type in BTF, for the generated binding.
const struct signal_event *signal_event_type __attribute__((unused));

char LICENSE[] SEC("license") = "GPL";
