// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Where tasks are while they do not run, and why: asleep, in uninterruptible sleep, or preempted;
// how much of that they were runnable and waited for a CPU; and how long they run (offcputime,
// cpudist, runqlat of one target). Of the whole host, or of single processes and cgroups alone.
//
// Hook:   tp_btf sched_switch, sched_wakeup, sched_wakeup_new, with starts of our own: a task leaves
//         its CPU, is woken, gets a CPU.
// Unit:   log2 histograms of microseconds, per CPU, cumulative since load; kernel stacks of sleeps
//         that took stack_ns and more, with count and nanoseconds.
// Cost:   about 370 ns a switch of the host, its share of wake-ups included; 170 of a target's view,
//         which leaves the tasks of others at once. A stack takes 2 us; they are bounded for each CPU.
// Misses: sleeps that began before the programs were attached. Their waits for a CPU are counted.
//
// A stack is taken when a task comes back, not when it leaves: only then is known that it slept
// long, and it still is the stack that it slept in. The user's part would need the task to run.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "drift.bpf.h"
#include "filter.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

// A deeper stack is cut at its outer end.
#define OFF_FRAMES 24
// Different sleeps: process, stack and reason.
#define OFF_STACKS 1024
// Stacks that one CPU takes in one window of 2^27 ns: 2,000 a second, which is 0.4 % of its time.
#define STACK_SHARE 256
#define STACK_WINDOW_SHIFT 27

// include/linux/sched.h
#define TASK_UNINTERRUPTIBLE 0x0002
#define TASK_DEAD 0x0080
#define TASK_NOLOAD 0x0400

// How many arguments sched_switch has; see sched.bpf.c.
const volatile __u32 switch_args = 3;
// Everything counts, in slot 0; else the targets of the filters alone, in theirs.
const volatile bool whole_host = false;
// Sleeps of this length and more have their stack taken; 0: none.
const volatile __u64 stack_ns = 0;
// The number of sets of starts, less one: a power of two less one.
const volatile __u32 start_mask = 0;

enum off_why { SLEPT, BLOCKED, PREEMPTED, OFF_WHYS, UNKNOWN = OFF_WHYS };

struct off_counts {
	struct hist wait; // runnable until it ran
	struct hist on_cpu;
	struct hist off[OFF_WHYS]; // left its CPU until it ran again
	__u64 queued[OFF_WHYS];	   // ns of those that it was runnable
	__u64 arrivals;		   // of tasks on the CPU
	__u64 unknown;		   // of them: since when they were runnable is not known
	__u64 collided;		   // starts that were overwritten by other tasks'
	__u64 unlisted[OFF_WHYS];  // sleeps of stack_ns and more that are not in off_stacks
	__u64 unlisted_ns[OFF_WHYS];
};

// One task's start. 16 bytes, so that a set is half a cache line.
//   out   when it left its CPU, ns; 0: not seen
//   meta  pid 22 bits (PID_MAX_LIMIT), why 2, when it was woken 40 in units of 16 ns, for waits
//         of up to 2.4 hours; 0: it was not
struct off_start {
	__u64 out;
	__u64 meta;
};

#define PID_BITS 22
#define PID_MASK ((1ULL << PID_BITS) - 1)
#define WHY_SHIFT PID_BITS
#define WOKEN_SHIFT 24
#define WOKEN_UNIT_SHIFT 4
#define WOKEN_MASK ((1ULL << 40) - 1)

struct off_set {
	struct off_start way[2];
};

struct off_key {
	__u64 stack; // a hash of it
	__u64 start; // of the process
	__s32 tgid;
	__u32 why;
};

struct off_stack {
	__u64 count;
	__u64 ns;
	__u32 frames;
	__u32 pad;
	char comm[TASK_COMM_LEN];
	__u64 frame[OFF_FRAMES]; // innermost first
};

// What a switch tells of either task. It lies in a map, because the verifier would follow each of a
// histogram's slots on its own.
struct off_switch {
	__u64 ran, off, wait; // ns
	__u32 ran_slot, off_slot, wait_slot;
	__u32 why;	// enum off_why; UNKNOWN: off is not known
	__u8 ran_known; // and wait is
	__u8 known;
	__u8 collided;
	__u8 unlisted;
	__u32 pad;
};

struct off_cpu {
	struct off_switch now;
	__u64 arrived_at; // of the task that runs
	__u32 runs;	  // its pid; 0: none that counts
	__u32 pad;
	__u64 window; // of the stacks
	__u32 taken;  // in it
	__u32 slots;
	struct off_stack scratch;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct off_counts);
} off_sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct off_cpu);
} off_cpus SEC(".maps");

// Sets of two by the low bits of the PID: no locks, no allocation. 512 KiB hold 32,768 tasks that
// sleep; a third one of a set overwrites the older, and that is counted. User space sets the size.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct off_set);
} off_starts SEC(".maps");

// Stamps from before this time are not true: the programs were detached since.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} off_since SEC(".maps");

// Preallocated: to allocate under the lock of a run queue may wake a task, which takes that lock.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OFF_STACKS);
	__type(key, struct off_key);
	__type(value, struct off_stack);
} off_stacks SEC(".maps");

static __always_inline __u32 slots_of(struct task_struct *task)
{
	if (whole_host)
		return 1;
	if (!filter_any())
		return 0;
	return filter_match(task->tgid, task_cgroup(task), task_other_cgroup(task), 0);
}

// through passes a number through memory, where the verifier forgets which it is: it would follow
// each combination of slots on its own.
static __always_inline __u32 through(volatile __u32 *memory, __u32 n)
{
	*memory = n;
	return *memory;
}

static __always_inline __u32 pid_of(const struct off_start *s)
{
	return s->meta & PID_MASK;
}

static __always_inline struct off_set *set_of(__u32 pid)
{
	__u32 i = pid & start_mask;

	return bpf_map_lookup_elem(&off_starts, &i);
}

static __always_inline struct off_start *start_of(__u32 pid)
{
	struct off_set *set = set_of(pid);

	if (!set)
		return NULL;
	if (pid_of(&set->way[0]) == pid)
		return &set->way[0];
	if (pid_of(&set->way[1]) == pid)
		return &set->way[1];
	return NULL;
}

static __always_inline __u64 meta_of(__u32 pid, enum off_why why, __u64 woken)
{
	return pid | (__u64)why << WHY_SHIFT |
	       (woken >> WOKEN_UNIT_SHIFT & WOKEN_MASK) << WOKEN_SHIFT;
}

// born is when a start was made, for the choice of the older.
static __always_inline __u64 born(const struct off_start *s)
{
	return s->out >> WOKEN_UNIT_SHIFT ?: s->meta >> WOKEN_SHIFT;
}

// start returns false if it took the place of another task.
static __always_inline bool start(__u32 pid, enum off_why why, __u64 out, __u64 woken)
{
	struct off_set *set = set_of(pid);
	struct off_start *s;
	bool clean = true;

	if (!set)
		return false;
	s = &set->way[0];
	if (pid_of(s) != pid) {
		struct off_start *other = &set->way[1];

		if (pid_of(other) == pid || (pid_of(s) && !pid_of(other))) {
			s = other;
		} else if (pid_of(s)) {
			clean = false;
			if (born(other) < born(s))
				s = other;
		}
	}
	s->out = out;
	s->meta = meta_of(pid, why, woken);
	return clean;
}

// why_of tells by the run queue whether a task sleeps. Its state alone does not: one that means to
// sleep and finds a signal stays. (Nor does a wake-up that was not seen: the kernel leaves out a
// program's run that interrupts a run of the same, as a wake-up can another.)
static __always_inline enum off_why why_of(struct task_struct *task, bool preempt, __u32 state)
{
	if (preempt || !state || (task_queued(task) && !task_asleep_but_queued(task)))
		return PREEMPTED;
	if (state & TASK_UNINTERRUPTIBLE && !(state & TASK_NOLOAD))
		return BLOCKED;
	return SLEPT;
}

static __always_inline struct off_counts *counts_of(__u32 slot)
{
	return bpf_map_lookup_elem(&off_sums, &slot);
}

static __always_inline __u64 hash_stack(const struct off_stack *s)
{
	__u64 h = s->frames;

	for (__u32 i = 0; i < OFF_FRAMES; i++) {
		if (i >= s->frames)
			break;
		h = (h ^ s->frame[i]) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	return h;
}

// keep counts a long sleep by its stack; false if there is no room for it, or no time.
static __always_inline bool keep(struct off_cpu *cpu, struct task_struct *task, __u64 now)
{
	struct off_stack *s = &cpu->scratch, *known;
	struct process process;
	struct off_key key = {};
	__u64 window = now >> STACK_WINDOW_SHIFT, off = cpu->now.off;
	long n;

	if (cpu->window != window) {
		cpu->window = window;
		cpu->taken = 0;
	}
	if (cpu->taken >= STACK_SHARE)
		return false;
	cpu->taken++;
	n = bpf_get_task_stack(task, s->frame, sizeof(s->frame), 0);
	s->frames = n > 0 ? (__u32)n / sizeof(__u64) : 0;
	process_of(task, &process);
	key.stack = hash_stack(s);
	key.start = process.start;
	key.tgid = process.tgid;
	key.why = cpu->now.why;
	known = bpf_map_lookup_elem(&off_stacks, &key);
	if (!known) {
		s->count = 1;
		s->ns = off;
		task_comm(s->comm, task);
		if (!bpf_map_update_elem(&off_stacks, &key, s, BPF_NOEXIST))
			return true;
		known = bpf_map_lookup_elem(&off_stacks, &key); // another CPU was first
	}
	if (!known)
		return false;
	__sync_fetch_and_add(&known->count, 1);
	__sync_fetch_and_add(&known->ns, off);
	return true;
}

static __always_inline void arrived(struct off_counts *c, const struct off_switch *x)
{
	__u32 why = x->why;

	c->arrivals++;
	if (x->known)
		hist_put(&c->wait, x->wait_slot, x->wait);
	else
		c->unknown++;
	barrier_var(why); // else the compiler tests one copy and uses another
	if (why >= OFF_WHYS)
		return;
	hist_put(&c->off[why], x->off_slot, x->off);
	if (x->known)
		c->queued[why] += x->wait;
	if (x->unlisted) {
		c->unlisted[why]++;
		c->unlisted_ns[why] += x->off;
	}
}

static __always_inline void left(struct off_counts *c, const struct off_switch *x)
{
	if (x->ran_known)
		hist_put(&c->on_cpu, x->ran_slot, x->ran);
	c->collided += x->collided;
}

// count adds what the switch tells to the slots of the task that left or arrived.
static __always_inline void count(const struct off_switch *x, __u32 slots, bool arrival)
{
	struct off_counts *c;

	for (__u32 i = 0; i < (whole_host ? 1 : FILTER_SLOTS); i++) {
		if (!(slots >> i & 1))
			continue;
		c = counts_of(i);
		if (!c)
			break;
		if (arrival)
			arrived(c, x);
		else
			left(c, x);
	}
}

static __always_inline void leave(struct off_cpu *cpu, struct task_struct *prev, bool preempt,
				  __u32 state, __u64 now, __u64 at, __u32 slots)
{
	struct off_switch *x = &cpu->now;

	x->ran_known = at != 0;
	x->ran = now - at;
	x->ran_slot = hist_slot(x->ran);
	x->collided = (preempt || !(state & TASK_DEAD)) &&
		      !start(prev->pid, why_of(prev, preempt, state), now, 0);
	count(x, slots, false);
}

// waited is the time since a wake-up. The clocks of two CPUs may differ by a little: what seems to
// have waited for hours was woken this moment.
static __always_inline __u64 waited(__u64 now, __u64 woken)
{
	__u64 units = ((now >> WOKEN_UNIT_SHIFT) - woken) & WOKEN_MASK;

	return units > WOKEN_MASK / 2 ? 0 : units << WOKEN_UNIT_SHIFT;
}

static __always_inline void arrive(struct off_cpu *cpu, struct task_struct *next, __u64 now,
				   __u64 since, __u32 slots)
{
	struct off_switch *x = &cpu->now;
	struct off_start *s = start_of(next->pid);
	__u64 woken;

	x->why = UNKNOWN;
	x->known = false;
	x->unlisted = false;
	x->off = 0;
	if (s) {
		woken = s->meta >> WOKEN_SHIFT;
		if (s->out && s->out >= since) {
			x->why = s->meta >> WHY_SHIFT & 3;
			x->off = now > s->out ? now - s->out : 0;
			x->off_slot = hist_slot(x->off);
		}
		x->wait = woken ? waited(now, woken) : x->off;
		x->wait_slot = hist_slot(x->wait);
		x->known = woken ? now - x->wait >= since : x->why == PREEMPTED;
		s->meta = 0;
	}
	if (stack_ns && x->why < PREEMPTED && x->off >= stack_ns)
		x->unlisted = !keep(cpu, next, now);
	count(x, slots, true);
}

static __always_inline int switched(bool preempt, __u32 state, struct task_struct *prev,
				    struct task_struct *next)
{
	__u32 zero = 0, from, to, ran;
	struct off_cpu *cpu;
	__u64 now, at, *since;

	cpu = bpf_map_lookup_elem(&off_cpus, &zero);
	since = bpf_map_lookup_elem(&off_since, &zero);
	if (!cpu || !since)
		return 0;
	from = prev->pid ? through(&cpu->slots, slots_of(prev)) : 0;
	to = next->pid ? through(&cpu->slots, slots_of(next)) : 0;
	if (!from && !to) // of a target's view: the clock is dearer than all before
		return 0;
	now = bpf_ktime_get_ns();
	at = cpu->arrived_at;
	ran = cpu->runs;
	cpu->arrived_at = now;
	cpu->runs = to ? next->pid : 0;
	if (from)
		leave(cpu, prev, preempt, state, now, ran == prev->pid && at >= *since ? at : 0,
		      from);
	if (to)
		arrive(cpu, next, now, *since, to);
	return 0;
}

// A racing wake-up can rewrite the state before we read it, so the argument is taken where there
// is one. The branch not taken is dead code to the verifier.
SEC("tp_btf/sched_switch")
int off_switched(__u64 *ctx)
{
	struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
	__u32 state;

	if (switch_args == 4)
		state = ctx[3];
	else
		state = task_state(prev);
	return switched(ctx[0], state, prev, next);
}

// For the trees that put prev_state second (5.18-rc, some vendors).
SEC("tp_btf/sched_switch")
int BPF_PROG(off_switched_state2, bool preempt, __u32 state, struct task_struct *prev,
	     struct task_struct *next)
{
	return switched(preempt, state, prev, next);
}

static __always_inline int woken(struct task_struct *task)
{
	__u32 zero = 0, slots;
	struct off_start *s;
	struct off_cpu *cpu;
	__u64 now;

	cpu = bpf_map_lookup_elem(&off_cpus, &zero);
	if (!cpu)
		return 0;
	slots = through(&cpu->slots, slots_of(task));
	if (!slots)
		return 0;
	now = bpf_ktime_get_ns();
	s = start_of(task->pid);
	if (s) {
		s->meta = meta_of(task->pid, s->meta >> WHY_SHIFT & 3, now);
		return 0;
	}
	if (start(task->pid, UNKNOWN, 0, now))
		return 0;
	cpu->now.ran_known = false;
	cpu->now.collided = true;
	count(&cpu->now, slots, false);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(off_woken, struct task_struct *task)
{
	return woken(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(off_forked, struct task_struct *task)
{
	return woken(task);
}

char LICENSE[] SEC("license") = "GPL";
