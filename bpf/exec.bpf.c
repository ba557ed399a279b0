// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// What is started and what ends: programs (execsnoop), processes and threads (forks), exits
// (exitsnoop), and the CPU time of processes that no scan of the tasks has seen.
//
// Hooks:  tp_btf sched_process_exec   a program was started: its file and arguments are read from the
//                                     new process's memory, which was written a moment ago;
//         tp_btf sched_process_fork   a process or thread was made;
//         tp_btf sched_process_exit   a thread ends: the last one of a process is its exit;
//         tp_btf sched_process_free   a task that was waited for is gone. Only then has the kernel added up
//                                     what the process used: at its exit the last time slice, and what
//                                     threads had that end beside it, are missing, which of a process
//                                     that lived for a millisecond is all. The difference is added here.
// Unit:   counts and nanoseconds, cumulative since load. What a map has no room for is in the totals.
// Parent: that of a list is the real one. Counts by parent climb to the nearest ancestor that was there
//         at the last scan: one that can be found.
// Cost:   3 us an exec, 0.4 us a fork, 3.4 us an exit, whose process took some hundred.
// Misses: the last time slice of a process that nobody has waited for yet. Now and then the kernel frees a
//         batch without the last hook, and counts nothing as missed: 0 to 12 of 5,000 while somebody else
//         attached programs now and then, 53 while that went on all the time. They are late: counted when
//         their slot is taken.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "exec_count.bpf.h"
#include "exec_exit.bpf.h"
#include "exec_types.bpf.h"
#include "walk.bpf.h"

static __always_inline __u64 mixed(__u64 h, __u64 word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

// file_hash is over the words of the scratch's name; its end may lie within the last one. It is verified
// apart, as match_target is.
__attribute__((noinline)) __u64 file_hash(__u32 len)
{
	__u32 zero = 0;
	const struct exec_event *e = bpf_map_lookup_elem(&exec_scratch, &zero);
	__u32 whole = len / 8, rest = len % 8;
	const __u64 *words;
	__u64 h = len;

	if (!e)
		return 0;
	words = (const __u64 *)e->data;
	for (__u32 i = 0; i < FILE_MAX / 8 && i < whole; i++)
		h = mixed(h, words[i]);
	if (rest)
		h = mixed(h, words[whole & (FILE_MAX / 8 - 1)] & ((1ULL << (rest * 8)) - 1));
	return h;
}

static __always_inline void count_exec(const struct exec_event *e, const void *file,
				       struct exec_totals *host)
{
	struct exec_key key = {};
	struct exec_count *c, first = {};

	__builtin_memcpy(key.parent, e->parent_comm, TASK_COMM_LEN);
	key.file = file_hash(e->file_len);
	c = bpf_map_lookup_elem(&exec_counts, &key);
	if (!c) {
		if (user_memory)
			bpf_probe_read_user_str(first.file, FILE_KEPT, file);
		else
			__builtin_memcpy(first.file, e->data, TASK_COMM_LEN);
		bpf_map_update_elem(&exec_counts, &key, &first, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&exec_counts, &key);
	}
	if (c)
		__sync_fetch_and_add(&c->execs, 1);
	else
		__sync_fetch_and_add(&host->unkeyed, 1);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_begun, struct task_struct *started, __s32 old_pid, struct linux_binprm *bprm)
{
	struct task_struct *task = WALK(started), *parent = parent_of(task);
	const struct cred *cred = task->cred;
	struct mm_struct *mm = task->mm;
	struct exec_totals *host = host_totals();
	struct exec_event *e;
	__u64 start, whole;
	__u32 zero = 0;
	long n;

	e = bpf_map_lookup_elem(&exec_scratch, &zero);
	if (!e || !host)
		return 0;
	e->slots = family(task, &e->cgroup);
	COUNT(host, e->slots, execs, 1);

	process_of(task, &e->process);
	task_comm(e->comm, task);
	e->parent = (struct process){};
	__builtin_memset(e->parent_comm, 0, TASK_COMM_LEN);
	if (parent) {
		process_of(parent, &e->parent);
		task_comm(e->parent_comm, parent);
	}
	if (user_memory) {
		n = bpf_probe_read_user_str(e->data, FILE_MAX, (void *)bprm->exec);
	} else {
		__builtin_memcpy(e->data, e->comm, TASK_COMM_LEN);
		n = TASK_COMM_LEN;
	}
	e->file_len = n > 0 && n <= FILE_MAX ? n : 0;
	count_exec(e, (void *)bprm->exec, host);
	if (!listed(EVENT_EXEC, e->slots))
		return 0;

	e->uid = cred ? cred->uid.val : 0;
	e->old_pid = old_pid;
	e->args_len = e->args_whole = 0;
	if (mm) {
		start = mm->arg_start;
		whole = mm->arg_end - start;
		if (mm->arg_end < start)
			whole = 0;
		e->args_whole = whole > 0xffffffff ? 0xffffffff : whole;
		if (whole > ARGS_MAX)
			whole = ARGS_MAX;
		n = e->file_len;
		if (user_memory && n >= 0 && n <= FILE_MAX &&
		    !bpf_probe_read_user(e->data + n, whole, (void *)start))
			e->args_len = whole;
	}
	start = sizeof(*e) - sizeof(e->data) + (e->file_len & (2 * FILE_MAX - 1)) +
		(e->args_len & (2 * ARGS_MAX - 1));
	if (start > sizeof(*e))
		return 0; // never: for the verifier
	event_output(EVENT_EXEC, e, start);
	return 0;
}

static __always_inline void count_fork(struct task_struct *parent, bool process,
				       struct exec_totals *host)
{
	struct fork_count *c, first = {};
	struct process key = {};

	seen_ancestor(parent->group_leader, &key, first.comm);
	c = bpf_map_lookup_elem(&fork_counts, &key);
	if (!c) {
		bpf_map_update_elem(&fork_counts, &key, &first, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&fork_counts, &key);
	}
	if (!c)
		__sync_fetch_and_add(&host->unkeyed, 1);
	else if (process)
		__sync_fetch_and_add(&c->forks, 1);
	else
		__sync_fetch_and_add(&c->threads, 1);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(exec_forked, struct task_struct *forking, struct task_struct *child)
{
	struct task_struct *parent = WALK(forking);
	bool process = child->pid == child->tgid;
	struct exec_totals *host = host_totals();
	__u64 cgroup;
	__u32 slots = family(parent, &cgroup);

	if (!host)
		return 0;
	if (process)
		COUNT(host, slots, forks, 1);
	else
		COUNT(host, slots, threads, 1);
	count_fork(parent, process, host);
	return 0;
}

// The branch not taken is dead code to the verifier.
SEC("tp_btf/sched_process_exit")
int exec_ended(__u64 *ctx)
{
	struct task_struct *task = WALK((struct task_struct *)ctx[0]);
	struct signal_struct *signal = task->signal;
	bool last;

	if (exit_args == 2)
		last = ctx[1] & 1;
	else
		last = signal && signal->live.counter == 0;
	return ended(task, last);
}

static __always_inline void list_reaped(struct task_struct *task, struct signal_struct *signal,
					__u64 cpu)
{
	struct reap_event *e = event_reserve(EVENT_REAP, sizeof(*e));

	if (!e)
		return;
	process_of(task, &e->process);
	e->cpu = cpu;
	e->utime = signal->utime;
	e->stime = signal->stime;
	e->read_bytes = e->write_bytes = 0;
	if (bpf_core_field_exists(struct task_io_accounting, read_bytes)) {
		e->read_bytes = signal->ioac.read_bytes;
		e->write_bytes = signal->ioac.write_bytes;
	}
	event_submit(e);
}

// The leader goes last, when all threads have been added up in signal. At a thread's exec the old
// leader goes under the thread's PID. One that has no slot ended before we came, or is late.
SEC("tp_btf/sched_process_free")
int BPF_PROG(exec_reaped, struct task_struct *freed)
{
	struct task_struct *task = WALK(freed);
	struct signal_struct *signal = task->signal;
	__u32 at = task->tgid & (EXIT_SLOTS - 1);
	struct exec_totals *host = host_totals();
	struct dead_key key = {};
	struct exit_slot *slot;
	struct dead_count *c;
	__u64 more;

	if (!task->tgid || task->pid != task->tgid || !signal || !host)
		return 0;
	if (exit_args == 1) {
		process_of(task, &key.parent);
		bpf_map_delete_elem(&ending, &key.parent);
	}
	slot = bpf_map_lookup_elem(&exit_slots, &at);
	if (!slot || slot->tgid != task->tgid || slot->start != task->start_boottime)
		return 0;
	more = signal->sum_sched_runtime - slot->cpu;
	if ((__s64)more < 0)
		more = 0;
	slot->flags |= EXIT_REAPED;
	COUNT(host, slot->slots, reaped, 1);
	COUNT(host, slot->slots, cpu, more);
	if (slot->flags & EXIT_UNSEEN)
		COUNT(host, slot->slots, unseen_cpu, more);
	task_comm(key.comm, task);
	key.parent = slot->parent;
	c = bpf_map_lookup_elem(&dead_counts, &key);
	if (c) {
		__sync_fetch_and_add(&c->cpu, more);
		if (slot->flags & EXIT_UNSEEN)
			__sync_fetch_and_add(&c->unseen_cpu, more);
	}
	if (slot->flags & EXIT_LISTED)
		list_reaped(task, signal, signal->sum_sched_runtime);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
