/* SPDX-License-Identifier: GPL-2.0 */

/* Waiting for memory: what reclaim.bpf.c counts, and where. */
#ifndef BPF60_RECLAIM_TYPES_BPF_H
#define BPF60_RECLAIM_TYPES_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

// Threads in reclaim at the same time; as many again in compaction.
#define STARTS 4096
// Processes whose stalls are kept.
#define STALLED 1024
// Processes killed within the last minute or so.
#define VICTIMS 256
// A kill follows the reclaim that failed at once, ns.
#define FAILED_LATELY 10000000000ULL

enum stall_kind { DIRECT = 0, MEMCG = 1, COMPACT = 2, STALL_KINDS = 3 };

enum oom_constraint { OOM_UNKNOWN = 0, OOM_HOST = 1, OOM_CGROUP = 2 };

// What the tracepoints have, from the kernel's BTF. 7.3 moved the order behind the flags (programs
// *_flags) and appended the cgroup.
const volatile bool limit_arg = false; // of *_reclaim_begin
// Whether mm_compaction_begin has a struct compact_control; else (before 6.1) five numbers.
const volatile bool compact_arg = false;

struct reclaim_counts {
	struct hist stalls[STALL_KINDS];
	__u64 pages[2]; // reclaimed: DIRECT, MEMCG
	__u64 throttled;
	__u64 throttled_ns;
	__u64 kswapd;	  // times a node's kswapd began to work
	__u64 background; // compaction of a zone by the kernel's own threads
	__u64 kills;
	__u64 marks; // of processes that were dying already
	__u64 unbegun;
	__u64 collided;
};

struct stall_row {
	__u64 count[STALL_KINDS];
	__u64 ns[STALL_KINDS];
	__u64 pages;
	__u64 throttled_ns;
	__u64 cgroup; // as it is shown: cgroup.bpf.h
	__u64 memcg;  // of the memory controller
	char comm[TASK_COMM_LEN];
	__u32 slots[HIST_SLOTS]; // of DIRECT and MEMCG
	__u32 pad;
};

struct start {
	__u32 pid; // 0: ended
	__u32 order;
	__u64 at;
	__u64 limit; // the cgroup whose limit it is, 0 unknown
	__u32 kind;
	__u32 last; // the thread that this was of, also after it ended
};

struct reclaim_event {
	struct event head;
	struct process who;
	__u64 ns;
	__u64 pages; // reclaimed; 0 for COMPACT
	__u64 cgroup;
	__u64 memcg;
	__u64 limit;
	__u32 tid;
	__u32 kind;
	__u32 order;
	__s32 result; // of COMPACT: enum compact_result
	char comm[TASK_COMM_LEN];
};

struct oom_event {
	struct event head;
	struct process victim;
	struct process trigger;
	__u64 cgroup; // of the victim
	__u64 memcg;
	__u64 trigger_cgroup;
	__u64 trigger_memcg;
	__u64 limit;
	__u64 pages[4]; // anonymous, file, shared; swapped out
	__u64 vsz;	// pages
	__u32 uid;
	__s32 adj; // oom_score_adj
	__u32 constraint;
	__u32 order; // of the allocation that failed
	__u32 known; // pages are
	__u32 pad;
	char comm[TASK_COMM_LEN];
	char trigger_comm[TASK_COMM_LEN];
};

// Keep the types in BTF, for the generated binding.
const struct reclaim_event *reclaim_event_type __attribute__((unused));
const struct oom_event *oom_event_type __attribute__((unused));

// Slot 0 is the host.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct reclaim_counts);
} reclaim SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * STARTS);
	__type(key, __u32);
	__type(value, struct start);
} starts SEC(".maps");

// By process; that of PID 0 is who did not fit, made by user space.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STALLED);
	__type(key, struct process);
	__type(value, struct stall_row);
} stalled SEC(".maps");

// When a process was marked first. 7.3 marks one three times.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VICTIMS);
	__type(key, struct process);
	__type(value, __u64);
} victims SEC(".maps");

#endif
