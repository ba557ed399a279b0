// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// The time that interrupts take: softirqs by vector (softirqs), hardware interrupts by line, and on
// x86 the local timer and the interrupts that CPUs send each other (hardirqs).
//
// Hook:   tp_btf softirq_entry to softirq_exit; irq_handler_entry to irq_handler_exit; of x86
//         local_timer_entry, reschedule_entry, call_function_entry, call_function_single_entry and
//         irq_work_entry to the exit of each.
// Unit:   log2 histograms of microseconds, per CPU, cumulative since load.
// Cost:   about 160 ns at the entry and as much at the exit, of which 45 each are the reading of the clock.
// Misses: what the kernel does before the first handler and after the last; vectors without a
//         tracepoint. What interrupts a softirq is part of its time. Of lines that several devices
//         share, the handlers that found nothing to do (IRQ_NONE): they are no interrupts of theirs.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "hist.bpf.h"

// NR_SOFTIRQS, include/linux/interrupt.h: HI to RCU, unchanged since 2009.
#define SOFTIRQS 10
// Lines with a histogram have a number below this one; those above are counted together.
#define IRQS 1024

// include/linux/interrupt.h and irqreturn.h
#define IRQF_SHARED 0x80
#define IRQ_NONE 0

// How many lines of one CPU have a histogram of their own, 255 at most. User space sets it by the
// number of CPUs, and the size of the map lines with it: one more, for all others.
const volatile __u32 own_lines = 31;

enum vector { LOCAL_TIMER, RESCHEDULE, CALL_FUNCTION, IRQ_WORK, VECTORS };

struct softirq_counts {
	struct hist time[SOFTIRQS];
	__u64 at[SOFTIRQS]; // when it was entered; 0: it is not under way
};

struct hardirq_counts {
	struct hist time[VECTORS];
	__u64 at[VECTORS];
	__u64 line_at;
	__u32 line;
	__u32 used;	 // slots of the map lines that this CPU has given away
	__u8 slot[IRQS]; // of each line in the map lines; 0: none
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct softirq_counts);
} softirqs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hardirq_counts);
} hardirqs SEC(".maps");

// A CPU is interrupted by few of a host's lines, each by other ones; so each gives its slots away as
// it needs them. Slot 0 is all lines that found none.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, struct hist);
} lines SEC(".maps");

// bounded brings a number below its bound, or to the bound. It is compared as a whole: 5.10 forgets what
// a comparison of the lower half says once the number is masked, as the compiler would do.
static __always_inline __u64 bounded(__u64 n, __u64 bound)
{
	barrier_var(n);
	return n < bound ? n : bound;
}

// Softirqs of one vector do not nest on a CPU, but a softirq may be interrupted by another vector's
// where they run in threads (PREEMPT_RT): so each has a start of its own.
SEC("tp_btf/softirq_entry")
int BPF_PROG(softirq_entered, unsigned int vec)
{
	__u64 i = bounded(vec, SOFTIRQS);
	struct softirq_counts *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&softirqs, &zero);
	if (c && i < SOFTIRQS)
		c->at[i] = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(softirq_left, unsigned int vec)
{
	__u64 i = bounded(vec, SOFTIRQS);
	struct softirq_counts *c;
	__u32 zero = 0;
	__s64 took;

	c = bpf_map_lookup_elem(&softirqs, &zero);
	if (!c || i >= SOFTIRQS || !c->at[i])
		return 0;
	took = bpf_ktime_get_ns() - c->at[i];
	c->at[i] = 0;
	if (took >= 0)
		hist_add(&c->time[i], took);
	return 0;
}

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(irq_entered, int irq, struct irqaction *action)
{
	struct hardirq_counts *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&hardirqs, &zero);
	if (!c)
		return 0;
	c->line = irq;
	c->line_at = bpf_ktime_get_ns();
	return 0;
}

// own_slot finds the slot of a line, or gives it one.
static __always_inline __u32 own_slot(struct hardirq_counts *c, __u32 irq)
{
	__u32 slot;

	if (irq >= IRQS)
		return 0;
	slot = c->slot[irq];
	if (!slot && c->used < own_lines) {
		slot = ++c->used;
		c->slot[irq] = slot;
	}
	return slot;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(irq_left, int irq, struct irqaction *action, int ret)
{
	struct hardirq_counts *c;
	__u32 zero = 0, slot;
	struct hist *h;
	__s64 took;

	c = bpf_map_lookup_elem(&hardirqs, &zero);
	if (!c || !c->line_at || c->line != irq)
		return 0;
	if (ret == IRQ_NONE && action->flags & IRQF_SHARED)
		return 0;
	took = bpf_ktime_get_ns() - c->line_at;
	c->line_at = 0;
	slot = own_slot(c, irq);
	h = bpf_map_lookup_elem(&lines, &slot);
	if (h && took >= 0)
		hist_add(h, took);
	return 0;
}

static __always_inline int vector_entered(enum vector v)
{
	struct hardirq_counts *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&hardirqs, &zero);
	if (c)
		c->at[v] = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int vector_left(enum vector v)
{
	struct hardirq_counts *c;
	__u32 zero = 0;
	__s64 took;

	c = bpf_map_lookup_elem(&hardirqs, &zero);
	if (!c || !c->at[v])
		return 0;
	took = bpf_ktime_get_ns() - c->at[v];
	c->at[v] = 0;
	if (took >= 0)
		hist_add(&c->time[v], took);
	return 0;
}

SEC("tp_btf/local_timer_entry")
int BPF_PROG(timer_entered)
{
	return vector_entered(LOCAL_TIMER);
}

SEC("tp_btf/local_timer_exit")
int BPF_PROG(timer_left)
{
	return vector_left(LOCAL_TIMER);
}

SEC("tp_btf/reschedule_entry")
int BPF_PROG(reschedule_entered)
{
	return vector_entered(RESCHEDULE);
}

SEC("tp_btf/reschedule_exit")
int BPF_PROG(reschedule_left)
{
	return vector_left(RESCHEDULE);
}

// Calls to one CPU and to several are one line of /proc/interrupts.
SEC("tp_btf/call_function_entry")
int BPF_PROG(calls_entered)
{
	return vector_entered(CALL_FUNCTION);
}

SEC("tp_btf/call_function_exit")
int BPF_PROG(calls_left)
{
	return vector_left(CALL_FUNCTION);
}

SEC("tp_btf/call_function_single_entry")
int BPF_PROG(call_entered)
{
	return vector_entered(CALL_FUNCTION);
}

SEC("tp_btf/call_function_single_exit")
int BPF_PROG(call_left)
{
	return vector_left(CALL_FUNCTION);
}

SEC("tp_btf/irq_work_entry")
int BPF_PROG(work_entered)
{
	return vector_entered(IRQ_WORK);
}

SEC("tp_btf/irq_work_exit")
int BPF_PROG(work_left)
{
	return vector_left(IRQ_WORK);
}

char LICENSE[] SEC("license") = "GPL";
