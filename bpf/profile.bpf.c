// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// What the CPUs run: the stack of the kernel and that of user space, at 99 Hz (profile).
//
// Hook:   perf_event, the kernel's software clock of each CPU. In a virtual machine there is often no
//         other, and this one needs neither tracefs nor kprobes.
// Unit:   samples; each is one record of the ring, with the stacks as addresses. No stack is given
//         a number by the kernel: its map of stacks mixes up those that share a place.
// Cost:   about 5 us a sample beside the timer's interrupt; the records wake nobody.
// Misses: code that runs with interrupts off, which shows as what switches them on again; user frames
//         of code without frame pointers. Idle CPUs are counted and not recorded.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "filter.bpf.h"
#include "task.bpf.h"

// kernel.perf_event_max_stack, unless somebody changed it: deeper stacks are cut at their outer end.
#define FRAMES 127
// The bytes of one stack, for the verifier: 127 frames are 1016.
#define STACK_MASK 1023

// Only the targets of the filters are recorded; else everybody, and of whom it is a sample is told.
struct profile_focus {
	__u64 only;
};

struct profile_counts {
	__u64 sampled;
	__u64 lost;   // there was no room for the record
	__u64 passed; // none of the targets
	__u64 idle;
};

// The head of a record. The frames follow it, those of the kernel first, innermost first.
struct profile_sample {
	__u64 start; // of the process
	__s32 tgid;
	__u32 tid;
	__u32 image;  // how often the process, or who forked it, had called exec
	__u32 kernel; // frames
	__u32 user;
	__u32 thread; // of the kernel: it has no user space
	__u32 slots;  // of the filters: bit i is that of slot i
	__u32 pad;
	char comm[TASK_COMM_LEN];
};

struct scratch {
	struct profile_sample head;
	__u64 frame[2 * (STACK_MASK + 1) / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct profile_counts);
} profile_sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} profile_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct profile_focus);
} profile_focus SEC(".maps");

// User space sets the size: a ring of its own, as nothing else sends records of 2 KiB.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} profile_ring SEC(".maps");

static __always_inline void identify(struct profile_sample *s)
{
	struct task_struct *task = current_task();
	struct process p;

	current_process(&p);
	s->tgid = p.tgid;
	s->start = p.start;
	s->tid = bpf_get_current_pid_tgid();
	bpf_get_current_comm(s->comm, sizeof(s->comm));
	if (task) {
		s->image = task->self_exec_id;
		s->thread = task->flags & PF_KTHREAD;
		return;
	}
	if (has_current_task_btf())
		return;
	task = (void *)bpf_get_current_task();
	s->image = BPF_CORE_READ(task, self_exec_id);
	s->thread = BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

// bytes is what a helper says of a stack, within the bound that the verifier is to see. Nothing is left
// of it to find out by branches, or the compiler takes the bound away.
static __always_inline __u32 bytes(long got)
{
	__u64 n = got > 0 ? got : 0;

	asm volatile("" : "+r"(n));
	return n & STACK_MASK;
}

SEC("perf_event")
int profile_sampled(void *ctx)
{
	__u64 who = bpf_get_current_pid_tgid();
	__u32 zero = 0, kernel, user = 0, slots;
	struct profile_counts *sum;
	struct profile_focus *f;
	struct scratch *s;

	sum = bpf_map_lookup_elem(&profile_sums, &zero);
	s = bpf_map_lookup_elem(&profile_scratch, &zero);
	f = bpf_map_lookup_elem(&profile_focus, &zero);
	if (!sum || !s || !f)
		return 0;
	if (!(__u32)who) {
		sum->idle++;
		return 0;
	}
	slots = filter_any() ? filter_match(who >> 32, current_cgroup(), current_other_cgroup(), 0)
			     : 0;
	if (f->only && !slots) {
		sum->passed++;
		return 0;
	}
	identify(&s->head);
	s->head.slots = slots;
	kernel = bytes(bpf_get_stack(ctx, s->frame, FRAMES * 8, 0));
	if (!s->head.thread)
		user = bytes(bpf_get_stack(ctx, (void *)s->frame + kernel, FRAMES * 8,
					   BPF_F_USER_STACK));
	s->head.kernel = kernel / 8;
	s->head.user = user / 8;
	if (bpf_ringbuf_output(&profile_ring, s, sizeof(s->head) + kernel + user, BPF_RB_NO_WAKEUP))
		sum->lost++;
	else
		sum->sampled++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
