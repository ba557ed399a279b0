// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// The scheduler: run-queue latency (runqlat), time on the CPU (cpudist), switches, and the length
// of the run queue (runqlen).
//
// Hook:   tp_btf sched_switch, one program for the first three. The kernel stamps
//         sched_info.last_queued with the clock of the run queue when it queues a task, and clears
//         it after this tracepoint; so the wait is now - last_queued, with no start of our own and
//         no hook on wake-ups.
// Clock:  rq->clock is what the stamp was taken from, but at this point it may be old: a wake-up
//         that preempts tells the scheduler to skip the update (rq_clock_skip_update), so on an
//         idle CPU rq->clock - last_queued is 0 whatever the wait was. We read ktime instead and
//         subtract how far it is ahead of rq->clock; see struct skew.
// Unit:   log2 histograms of microseconds, per CPU, cumulative since load.
// Cost:   about 150 ns a switch, of which 45 are the reading of the clock.
// Misses: the time on an earlier queue of a task that was moved while it waited; and tasks whose
//         stamp is older than their wake-up, which are counted as unstamped. See stale().
//
// The second method, `wake_*`, stamps wake-ups and preemptions itself. It costs three hooks and
// tells woken from preempted; it is attached while somebody looks at that split, and where the
// kernel's stamp cannot be had.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "drift.bpf.h"
#include "hist.bpf.h"

// Sleeps that a window of the skew's minimum spans. On a busy CPU it passes in a millisecond.
#define SKEW_WINDOW 16
// Least time over which the drift of the two clocks is taken, ns.
#define DRIFT_SPAN 1000000000ULL
// A drift beyond 1000 ppm is a step of a clock, not a drift.
#define DRIFT_MAX 1000000LL
#define DRIFT_SHIFT 30
// A sleep that finds rq->clock older than this finds it behind, not out of date, ns; see lag.
#define LAG 10000
// Tasks whose start the second method holds at the same time: 1 MiB of {pid, cause, time}.
#define STARTS 65536
// Sleeping tasks that were moved and have not run since.
#define MOVED 512
// A stamp is stale only if it is off by more than the skew can be, ns.
#define STALE_SLACK 1000000LL

// How many arguments sched_switch has: 4 since fa2c3254d7cf (5.18) added prev_state, else 3.
// User space reads it from the kernel's BTF.
const volatile __u32 switch_args = 3;

// How far ktime is ahead of rq->clock on one CPU. Every reading of the difference is too large by
// the age of rq->clock, never too small; so the truth is the minimum. It moves, because ktime
// follows NTP and rq->clock does not; so the minimum is taken over a window of sleeps (at which
// the scheduler has just updated the clock), and drift carries it over idle time.
struct skew {
	__s64 ahead; // ns, at time `at`
	__u64 at;
	__s64 drift;	// ns per 2^30 ns
	__s64 residual; // least reading less the expected one, in this window
	__u32 sleeps;	// in this window
	__u32 pad;
	__s64 anchor; // the drift is taken from here
	__u64 anchor_at;
};

struct sched_counts {
	struct hist wait;
	struct hist on_cpu;
	__u64 switches; // to a task that is not idle
	__u64 idles;	// to the idle task: with switches, the kernel's own count (ctxt)
	__u64 negative;
	__u64 unstamped;
	__u64 queue_samples;
	__u64 queue_sum;
	__u64 switched_at;
	__u64 idled_at; // when the CPU last became idle
	struct skew skew;
};

struct wake_counts {
	struct hist woken;
	struct hist preempted;
	__u64 switches;
	__u64 negative;
	__u64 lost;	// the task switched to has no start
	__u64 collided; // a start overwrote another task's
};

enum cause { WOKEN = 0, PREEMPTED = 1 };

struct start {
	__u32 pid;
	__u32 cause;
	__u64 at;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sched_counts);
} sched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wake_counts);
} wake SEC(".maps");

// Direct-mapped by the low bits of the PID: no locks, no allocation, no deletion. Two tasks that
// share a slot overwrite each other; that is counted.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STARTS);
	__type(key, __u32);
	__type(value, struct start);
} starts SEC(".maps");

// Stamps from before this time are not true: the programs were detached since.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sched_since SEC(".maps");

struct moved {
	__u32 pid;
	__u32 pad;
	__u64 at;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MOVED);
	__type(key, __u32);
	__type(value, struct moved);
} moved SEC(".maps");

static __always_inline __s64 drifted(const struct skew *k, __u64 now)
{
	return k->ahead + (((__s64)(now - k->at) * k->drift) >> DRIFT_SHIFT);
}

static __always_inline void learn_drift(struct skew *k)
{
	__u64 span = k->at - k->anchor_at;
	__s64 moved = k->ahead - k->anchor;
	__u64 rate;

	if (span < DRIFT_SPAN)
		return;
	if (k->anchor_at) {
		rate = ((__u64)(moved < 0 ? -moved : moved) << DRIFT_SHIFT) / span;
		if (rate > DRIFT_MAX)
			rate = 0;
		k->drift = moved < 0 ? -(__s64)rate : (__s64)rate;
	}
	k->anchor = k->ahead;
	k->anchor_at = k->at;
}

// skew_read takes one reading: `seen` is ktime - rq->clock at `now`. It returns how far the clock lags
// behind: where sched_clock is not stable it stands still once a tick is late (sched_clock_local),
// so that what is queued meanwhile is stamped too early. A sleep has just brought the clock up to
// date, so what it is still short of is lag.
static __always_inline __s64 skew_read(struct skew *k, __s64 seen, __u64 now, bool slept)
{
	__s64 residual = seen - drifted(k, now);

	if (!k->at || residual <= 0) {
		k->ahead = seen;
		k->at = now;
		k->residual = 0;
		k->sleeps = 0;
		if (slept)
			learn_drift(k);
		return 0;
	}
	if (!slept)
		return 0;
	if (!k->sleeps || residual < k->residual)
		k->residual = residual;
	if (++k->sleeps >= SKEW_WINDOW) {
		k->ahead = drifted(k, now) + k->residual;
		k->at = now;
		k->sleeps = 0;
		learn_drift(k);
	}
	return residual > LAG ? residual : 0;
}

// stale says that a task was stamped before it was woken, so that the stamp tells nothing. It is
// told by two signs.
//
// A CPU that has runnable tasks is not idle (but for core scheduling, whose forced idling hides
// waits here). So a stamp from before this CPU was last idle is not of this wait: a task that its
// cgroup's quota held back keeps its stamp meanwhile, and so does the next.
//
// Since 152e11f6df29 (6.12) a task may sleep while it is still queued (sched_delayed), and load
// balancing may move it. Being queued anew stamps it although it sleeps, and its wake-up, finding
// a stamp, sets none. sched_moved notes such tasks.
static __always_inline bool stale(struct sched_counts *c, struct task_struct *task, __u64 queued_at,
				  __s64 wait)
{
	__u32 slot = task->pid & (MOVED - 1);
	struct moved *m;
	__s64 since;

	if (wait < STALE_SLACK)
		return false;
	if ((__s64)(c->idled_at - queued_at) > STALE_SLACK)
		return true;
	m = bpf_map_lookup_elem(&moved, &slot);
	if (!m || m->pid != task->pid)
		return false;
	m->pid = 0;
	since = queued_at - m->at;
	return since > -STALE_SLACK && since < STALE_SLACK;
}

static __always_inline int switched(bool preempt, struct task_struct *prev,
				    struct task_struct *next)
{
	__u64 now = bpf_ktime_get_ns();
	struct sched_counts *c;
	__s64 wait, lag = 0;
	__u64 queued, *since;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&sched, &zero);
	since = bpf_map_lookup_elem(&sched_since, &zero);
	if (!c || !since)
		return 0;

	if (prev->pid) { // the idle task runs, but nobody waits for it to end
		bool slept = !preempt && task_state(prev);

		lag = skew_read(&c->skew, now - prev->se.cfs_rq->rq->clock, now, slept);
		if (c->switched_at && c->switched_at >= *since && now >= c->switched_at)
			hist_add(&c->on_cpu, now - c->switched_at);
	}
	c->switched_at = now;

	if (!next->pid) {
		c->idles++;
		c->idled_at = now;
		return 0;
	}
	c->switches++;
	queued = next->sched_info.last_queued;
	if (!queued || !c->skew.at) {
		c->unstamped++;
		return 0;
	}
	wait = (__s64)(now - queued) - drifted(&c->skew, now) - lag;
	// The skew is known to a few hundred nanoseconds, so a short wait may come out below 0.
	if (wait < 0) {
		if (wait < -1000000) {
			c->negative++;
			return 0;
		}
		wait = 0;
	}
	if (stale(c, next, now - wait, wait)) {
		c->unstamped++;
		return 0;
	}
	hist_add(&c->wait, wait);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return switched(preempt, prev, next);
}

// For the trees that put prev_state second (5.18-rc, some vendors).
SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switched_state2, bool preempt, __u32 state, struct task_struct *prev,
	     struct task_struct *next)
{
	return switched(preempt, prev, next);
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(sched_moved, struct task_struct *task)
{
	__u32 slot = task->pid & (MOVED - 1);
	struct moved *m;

	if (!task_asleep_but_queued(task))
		return 0;
	m = bpf_map_lookup_elem(&moved, &slot);
	if (!m)
		return 0;
	m->pid = task->pid;
	m->at = bpf_ktime_get_ns();
	return 0;
}

static __always_inline void queue(__u32 pid, __u32 cause, __u64 now)
{
	__u32 slot = pid & (STARTS - 1), zero = 0;
	struct start *s = bpf_map_lookup_elem(&starts, &slot);
	struct wake_counts *c;

	if (!s)
		return;
	if (s->pid && s->pid != pid) {
		c = bpf_map_lookup_elem(&wake, &zero);
		if (c)
			c->collided++;
	}
	s->pid = pid;
	s->cause = cause;
	s->at = now;
}

static __always_inline int dequeue(__u32 pid, __u64 now)
{
	__u32 slot = pid & (STARTS - 1), zero = 0;
	struct start *s = bpf_map_lookup_elem(&starts, &slot);
	struct wake_counts *c = bpf_map_lookup_elem(&wake, &zero);
	__u64 *since = bpf_map_lookup_elem(&sched_since, &zero);
	__s64 wait;

	if (!s || !c || !since)
		return 0;
	c->switches++;
	if (s->pid != pid || s->at < *since) {
		c->lost++;
		return 0;
	}
	wait = now - s->at;
	s->pid = 0;
	if (wait < 0) {
		c->negative++;
		return 0;
	}
	if (s->cause == PREEMPTED)
		hist_add(&c->preempted, wait);
	else
		hist_add(&c->woken, wait);
	return 0;
}

static __always_inline int woken_switched(bool preempt, __u32 state, __u32 prev, __u32 next)
{
	__u64 now = bpf_ktime_get_ns();

	if (prev && (preempt || !state))
		queue(prev, PREEMPTED, now);
	if (!next)
		return 0;
	return dequeue(next, now);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(wake_woken, struct task_struct *task)
{
	queue(task->pid, WOKEN, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(wake_forked, struct task_struct *task)
{
	queue(task->pid, WOKEN, bpf_ktime_get_ns());
	return 0;
}

// A racing wake-up can rewrite the state before we read it, so the argument is taken where there
// is one. The branch not taken is dead code to the verifier.
SEC("tp_btf/sched_switch")
int wake_switched(__u64 *ctx)
{
	struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
	__u32 state;

	if (switch_args == 4)
		state = ctx[3];
	else
		state = task_state(prev);
	return woken_switched(ctx[0], state, prev->pid, next->pid);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(wake_switched_state2, bool preempt, __u32 state, struct task_struct *prev,
	     struct task_struct *next)
{
	return woken_switched(preempt, state, prev->pid, next->pid);
}

// Without BTF: the text tracepoints, whose layout is fixed. Nothing here is relocated.
struct trace_sched_switch {
	__u64 common;
	char prev_comm[TASK_COMM_LEN];
	__s32 prev_pid;
	__s32 prev_prio;
	__s64 prev_state;
	char next_comm[TASK_COMM_LEN];
	__s32 next_pid;
	__s32 next_prio;
};

struct trace_sched_wakeup {
	__u64 common;
	char comm[TASK_COMM_LEN];
	__s32 pid;
	__s32 prio;
};

// The tracepoint reports a preempted task as this bit (TASK_REPORT_MAX), above all real states.
#define TRACE_PREEMPTED 0x100

SEC("tracepoint/sched/sched_wakeup")
int trace_woken(struct trace_sched_wakeup *ctx)
{
	queue(ctx->pid, WOKEN, bpf_ktime_get_ns());
	return 0;
}

SEC("tracepoint/sched/sched_wakeup_new")
int trace_forked(struct trace_sched_wakeup *ctx)
{
	queue(ctx->pid, WOKEN, bpf_ktime_get_ns());
	return 0;
}

SEC("tracepoint/sched/sched_switch")
int trace_switched(struct trace_sched_switch *ctx)
{
	return woken_switched(ctx->prev_state & TRACE_PREEMPTED, ctx->prev_state, ctx->prev_pid,
			      ctx->next_pid);
}

static __always_inline int sampled(__u32 running)
{
	struct sched_counts *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&sched, &zero);
	if (!c)
		return 0;
	c->queue_samples++;
	if (running > 1)
		c->queue_sum += running - 1;
	return 0;
}

// The length of this CPU's queue at 99 Hz, without the task that runs. Not 100 Hz: a sample in
// step with the tick would always see the same part of a period.
SEC("perf_event")
int queue_sampled(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return sampled(task->se.cfs_rq->rq->nr_running);
}

// Before 5.11 there is no bpf_get_current_task_btf; and this one is refused under
// lockdown=confidentiality.
SEC("perf_event")
int queue_sampled_read(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return sampled(BPF_CORE_READ(task, se.cfs_rq, rq, nr_running));
}

char LICENSE[] SEC("license") = "GPL";
