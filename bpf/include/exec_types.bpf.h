/* SPDX-License-Identifier: GPL-2.0 */

/* What starts and what ends: what exec.bpf.c counts, and where. */
#ifndef BPF60_EXEC_TYPES_BPF_H
#define BPF60_EXEC_TYPES_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "task.bpf.h"

// Bytes of a file's name and of arguments that are kept. Both are powers of two.
#define FILE_MAX 256
#define ARGS_MAX 512
// Bytes of the file's name that counts keep; they tell files apart by all of FILE_MAX.
#define FILE_KEPT 128
// Rows of each map of counts: 230 KiB, 170 and 110 when full.
#define EXEC_ROWS 1024
#define DEAD_ROWS 1024
#define FORK_ROWS 1024
// Exits that wait to be reaped, direct-mapped by PID. One whose slot another takes is counted as late:
// its last time slice is in no sum.
#define EXIT_SLOTS 4096
// Processes of several threads that wait to be reaped, before 6.16.
#define ENDING 1024
#define EEXIST 17
// How far a count climbs to an ancestor that was seen.
#define CLIMB 6
// Without a scan, who is older than this counts as seen, ns.
#define SEEN_AGE 1000000000ULL

// How many arguments sched_process_exit has: 2 since 6.16, which says itself whether the whole process
// ends (d9f0a0d2c8d3). User space reads it from the kernel's BTF.
const volatile __u32 exit_args = 1;

// Whether the new process's memory can be read. Under lockdown=confidentiality the loader asks for helpers
// that are refused.
const volatile bool user_memory = true;

// Of the whole host (slot 0), and of the targets that are looked at.
struct exec_totals {
	__u64 execs;
	__u64 forks; // of processes
	__u64 threads;
	__u64 exits;
	__u64 failed; // of exits: with a code that is not 0
	__u64 killed; // of exits: by a signal
	__u64 dumped; // of those: with a core dump
	__u64 reaped; // of exits: waited for
	__u64 late;   // of exits: reaped when another one had their slot
	__u64 cpu;    // ns, of exits; the last time slice only when they are reaped
	__u64 unseen; // of exits: no scan has seen them
	__u64 unseen_cpu;
	__u64 unseen_age; // ns from fork to exit
	__u64 unkeyed;	  // counts that found no room in a map by key
};

struct exec_key {
	char parent[TASK_COMM_LEN];
	__u64 file; // hash of the name
};

struct exec_count {
	__u64 execs;
	char file[FILE_KEPT];
};

struct dead_key {
	char comm[TASK_COMM_LEN];
	struct process parent; // nearest ancestor that was seen
};

struct dead_count {
	__u64 exits;
	__u64 cpu; // ns
	__u64 age; // ns, sum
	__u64 unseen;
	__u64 unseen_cpu;
	__u64 unseen_age;
	__u64 failed; // not by a signal
	__u64 killed;
	char parent_comm[TASK_COMM_LEN];
};

struct fork_count {
	__u64 forks;
	__u64 threads;
	char comm[TASK_COMM_LEN];
};

struct exec_event {
	struct event head;
	struct process process;
	struct process parent;
	__u64 cgroup;
	__u32 uid;
	__s32 old_pid; // of the thread that called exec; the process's own PID if it was the first
	__u32 file_len;
	__u32 args_len;	  // of data
	__u32 args_whole; // of the process
	__u32 slots;	  // of filters
	char comm[TASK_COMM_LEN];
	char parent_comm[TASK_COMM_LEN];
	char data[FILE_MAX + ARGS_MAX]; // the file's name with its NUL, the arguments
};

struct exit_event {
	struct event head;
	struct process process;
	struct process parent;
	__u64 cgroup;
	__u64 age; // ns
	__u64 cpu; // ns up to the last switch or tick: see reap_event
	__u32 uid;
	__s32 code; // as wait(2) has it
	__u32 slots;
	__u32 threads; // of the process, that were alive at the end and before
	char comm[TASK_COMM_LEN];
	char parent_comm[TASK_COMM_LEN];
};

// What a process that is in the list of exits had used in all.
struct reap_event {
	struct event head;
	struct process process;
	__u64 cpu; // ns, exact
	__u64 utime;
	__u64 stime;
	__u64 read_bytes;
	__u64 write_bytes;
};

#define EXIT_UNSEEN 1
#define EXIT_LISTED 2
#define EXIT_REAPED 4

// An exit that waits to be reaped.
struct exit_slot {
	__u32 tgid;
	__u16 flags;
	__u16 slots; // of filters
	__u64 start;
	__u64 cpu;	       // that was counted at the exit
	struct process parent; // as dead_key has it
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct exec_totals);
} exec_sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EXEC_ROWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exec_key);
	__type(value, struct exec_count);
} exec_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEAD_ROWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dead_key);
	__type(value, struct dead_count);
} dead_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FORK_ROWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct process);
	__type(value, struct fork_count);
} fork_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EXIT_SLOTS);
	__type(key, __u32);
	__type(value, struct exit_slot);
} exit_slots SEC(".maps");

// Processes of several threads that are ending: before 6.16 the last thread is told by a count that two
// of them may both find at 0, at the same time. The first one to insert it counts.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENDING);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct process);
	__type(value, __u32);
} ending SEC(".maps");

// When the last scan of all tasks began: boot time, ns. User space writes it.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} scanned SEC(".maps");

// exec_begun alone writes here, and it does not interrupt itself.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_event);
} exec_scratch SEC(".maps");

// Keep the types in BTF, for the generated bindings.
const struct exec_event *exec_event_type __attribute__((unused));
const struct exit_event *exit_event_type __attribute__((unused));
const struct reap_event *reap_event_type __attribute__((unused));

#endif
