// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// System calls: how many, how many failed and how long they took, by process and call (syscount);
// opens and failed opens by process and path (opensnoop); exec calls that failed; and calls on files
// that took long (fileslower).
//
// Hook:   tp_btf sys_exit for all of it. tp_btf sys_enter is attached only while calls are timed or
//         slow ones are looked for. Number and arguments are still in the registers at the exit, so
//         nothing is carried from one hook to the other but the time.
// Unit:   counts and nanoseconds, cumulative since load; log2 histograms of microseconds.
// Cost:   an attached hook sends every system call of every task through the kernel's slow path, which
//         is most of it: about 85 ns a call with sys_exit, 140 with both, and 43 for each reading of the
//         clock. So nothing is attached until somebody looks.
// Misses: calls that have not returned (a call is counted when it returns), calls that never do (exit,
//         exit_group), and what io_uring does without a call.
// Apart:  calls of 32-bit programs, whose numbers mean something else, are one row of their own; so is
//         the number -1, which is what a return from a signal handler leaves behind. A fork returns
//         twice and is counted once, in the parent.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "filter.bpf.h"
#include "syscall.bpf.h"
#include "syscall_path.bpf.h"
#include "syscall_slow.bpf.h"

// The targets that the task belongs to.
//
// Here and below, what is rare is in functions of their own, which the verifier checks apart: together
// they would be too much for it.
__noinline int targets_of(__u32 tgid)
{
	return filter_match(tgid, current_cgroup(), current_other_cgroup(), 0);
}

// ns is how long the call took, below 0 if that is not known.
static __always_inline void bump(struct call_counts *c, __u32 error, __s64 ns)
{
	c->n++;
	if (error)
		c->errors++;
	if (ns < 0)
		return;
	c->timed++;
	c->ns += ns;
	if (ns > c->max)
		c->max = ns;
}

static __always_inline struct call_counts *row(struct call_key *key, const char *comm)
{
	struct call_row *r = bpf_map_lookup_elem(&calls, key);
	struct call_row none = {};

	if (!r) {
		if (comm)
			__builtin_memcpy(none.comm, comm, sizeof(none.comm));
		bpf_map_update_elem(&calls, key, &none,
				    BPF_NOEXIST); // another CPU may have been faster
		r = bpf_map_lookup_elem(&calls, key);
	}
	return r ? &r->counts : NULL;
}

static __always_inline void add_to(struct call_hist *h, __s64 ns)
{
	__u32 slot = log2_u64(microseconds(ns));

	if (slot >= HIST_SLOTS)
		slot = HIST_SLOTS - 1;
	h->slots[slot]++;
	h->sum += ns;
}

__noinline int time_target(__u32 slot, __u32 call, __s64 ns)
{
	struct target_call key = {.slot = slot, .call = call};
	struct call_hist *h = bpf_map_lookup_elem(&target_hists, &key), none = {};
	struct totals *sum;

	if (!h) {
		bpf_map_update_elem(&target_hists, &key, &none, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&target_hists, &key);
	}
	if (h) {
		add_to(h, ns);
		return 0;
	}
	sum = totals();
	if (sum)
		sum->unkept++;
	return 0;
}

__noinline int count_targets(__u32 call, __u32 error, __s64 ns, __u32 match)
{
	for (__s32 slot = 1; slot < FILTER_SLOTS; slot++) {
		struct call_key target = {.tgid = -slot, .call = call};
		struct call_counts *c;

		if (!filter_has(match, slot))
			continue;
		c = row(&target, NULL);
		if (c)
			bump(c, error, ns);
		if (ns >= 0)
			time_target(slot, call, ns);
	}
	return 0;
}

__noinline int count_error(__u32 call, __u32 error)
{
	struct error_key which = {.call = call, .error = error};
	__u64 *n = bpf_map_lookup_elem(&call_errors, &which), zero = 0;

	if (!n) {
		bpf_map_update_elem(&call_errors, &which, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&call_errors, &which);
	}
	if (n)
		(*n)++;
	return 0;
}

// take_slot gives a slot of this CPU to a process and a call. What it holds goes into the table, and leaves the
// slot before: since 6.13 the program may be preempted in between, and user space, which reads the table
// first, would count it twice.
__noinline int take_slot(__u32 at, __s32 tgid, __u32 call, __u64 start)
{
	struct call_cpu *cpu = this_cpu();
	struct call_counts *c, was;
	struct call_slot *s;
	__u32 other;

	if (!cpu)
		return 0;
	s = &cpu->slots[at & (SLOTS - 1)];
	was = s->counts;
	__builtin_memset(&s->counts, 0, sizeof(s->counts));
	barrier();
	if (was.n) {
		c = row(&s->key, s->comm);
		if (!c) {
			other = s->key.call;
			c = bpf_map_lookup_elem(&call_others, &other);
			cpu->totals.others++;
		}
		if (c) {
			c->n += was.n;
			c->errors += was.errors;
			c->timed += was.timed;
			c->ns += was.ns;
			if (was.max > c->max)
				c->max = was.max;
		}
	}
	s->key.tgid = tgid;
	s->key.call = call;
	s->key.start = start;
	bpf_get_current_comm(s->comm, sizeof(s->comm));
	return 0;
}

static __always_inline int add_time(__u32 call, __s64 ns)
{
	struct call_hist *h = bpf_map_lookup_elem(&call_hists, &call);

	if (h)
		add_to(h, ns);
	return 0;
}

static __always_inline void count(struct call_cpu *cpu, struct process *p, __u32 call, __u32 error,
				  __s64 ns)
{
	__u32 at = (p->tgid * 0x9E3779B1U + call * 0x85EBCA6BU) >> (32 - SLOT_BITS);
	struct call_slot *s = &cpu->slots[at & (SLOTS - 1)];

	if (s->key.tgid != p->tgid || s->key.call != call || s->key.start != p->start)
		take_slot(at, p->tgid, call, p->start);
	bump(&s->counts, error, ns);
	if (error)
		count_error(call, error);
	if (ns >= 0)
		add_time(call, ns);
}

static __always_inline __u64 start_tag(__u32 tid, long call)
{
	return (__u64)((tid >> START_BITS & 0xff) << 8 | (call & 0xff)) << 48;
}

// took is how long the call took that a thread now returns from, below 0 if that is not known.
static __always_inline long took(__u32 tid, __u64 call, __u64 since)
{
	__u32 slot = tid & (STARTS - 1);
	__u64 *at = bpf_map_lookup_elem(&call_starts, &slot), was, now, ns;

	if (!at)
		return -1;
	was = *at;
	if (!was || (was & ~START_TIME) != start_tag(tid, call))
		return -1;
	*at = 0;
	now = bpf_ktime_get_ns();
	ns = (now - was) & START_TIME;
	// -1 for what began before since, without a branch that the verifier would follow all the way.
	return ns | (__s64)(now - since - ns) >> 63;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_left, struct pt_regs *regs, long ret)
{
	__u32 zero = 0, tid, call, flags, class, parts, match = 0, error;
	struct task_struct *task = current_task();
	struct slow_scratch *slow;
	bool open, exec, file;
	struct call_cpu *cpu;
	struct control *c;
	struct process p;
	long number;
	__s64 ns = -1;

	c = bpf_map_lookup_elem(&syscall_control, &zero);
	cpu = this_cpu();
	if (!c || !cpu)
		return 0;
	if (task) {
		tid = task->pid;
		process_of(task, &p);
	} else { // before 5.11
		tid = bpf_get_current_pid_tgid();
		current_process(&p);
	}
	if (p.tgid == self) {
		cpu->totals.own++;
		return 0;
	}
	cpu->totals.calls++;
	parts = c->parts & able;
	number = call_of(regs);
	call = row_of(task, number);
	flags = call < CALLS ? call_class[call] : 0;
	class = flags & CLASS_MASK;
	if (class == CLASS_FORK && !ret)
		return 0;
	if (c->tgid && c->tgid != p.tgid)
		return 0;
	if (c->targets) {
		match = targets_of(p.tgid);
		if (c->narrow && !match)
			return 0;
	}
	error = number < 0
			? 0
			: error_of(
				  ret); // what a signal handler returns to is not an error of its own
	open = parts & PART_OPEN && is_open(class);
	exec = parts & PART_EXEC && error && is_exec(class);
	file = parts & PART_SLOW && is_file(class);

	if (parts & PART_TIME || file)
		ns = took(tid, number, c->since);
	if (file && ns >= 0 && ns >= c->slow) {
		slow = bpf_map_lookup_elem(&slow_scratch, &zero);
		if (slow) {
			slow->arg[0] = arg0(regs);
			slow->arg[1] = arg1(regs);
			slow->arg[2] = arg2(regs);
			slow->arg[3] = arg3(regs);
			slow->ret = ret;
			slow->ns = ns;
			slow->call = call;
			slow->flags = flags;
			slow->match = match;
			slow_call();
		}
	}
	if (!(parts & (PART_COUNT | PART_TIME)) && !open && !exec)
		return 0;
	if (!(parts & PART_TIME))
		ns = -1;
	count(cpu, &p, call, error, ns);
	if (match)
		count_targets(call, error, ns, match);
	if (open || exec) {
		if (is_first(class))
			opened(arg0(regs), arg1(regs), exec ? call | IS_EXEC : call, ret, match);
		else
			opened(arg1(regs), arg2(regs), exec ? call | IS_EXEC : call, ret, match);
	}
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(syscall_entered, struct pt_regs *regs, long number)
{
	__u64 id = bpf_get_current_pid_tgid(), *at;
	__u32 zero = 0, tid = id, slot = tid & (STARTS - 1), flags, class;
	struct control *c;
	struct totals *sum;

	if ((__s32)(id >> 32) == self)
		return 0;
	c = bpf_map_lookup_elem(&syscall_control, &zero);
	if (!c)
		return 0;
	flags = number >= 0 && number < CALLS ? call_class[number] : 0;
	class = flags & CLASS_MASK;
	if (class == CLASS_EXIT || !(c->parts & PART_TIME || is_file(class)))
		return 0;
	if (c->tgid && c->tgid != (__s32)(id >> 32))
		return 0;
	if (c->narrow && !c->tgid && !targets_of(id >> 32))
		return 0;
	at = bpf_map_lookup_elem(&call_starts, &slot);
	if (!at)
		return 0;
	if (*at && (*at ^ start_tag(tid, 0)) >> 56) {
		sum = totals();
		if (sum)
			sum->collided++;
	}
	*at = start_tag(tid, number) | (bpf_ktime_get_ns() & START_TIME);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
