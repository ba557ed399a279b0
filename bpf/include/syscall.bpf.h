/* SPDX-License-Identifier: GPL-2.0 */

/*
 * What syscall.bpf.c keeps, and how it reads a call's registers: one definition for each architecture.
 * The parts that look closer are syscall_path.bpf.h and syscall_slow.bpf.h.
 */
#ifndef BPF60_SYSCALL_BPF_H
#define BPF60_SYSCALL_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "hist.bpf.h"
#include "slow.bpf.h"
#include "task.bpf.h"

// What is wanted: bits of struct control.
#define PART_COUNT 1 // every call by process
#define PART_TIME 2  // how long each took; needs sys_enter
#define PART_OPEN 4  // opens by path
#define PART_EXEC 8  // exec calls that failed
#define PART_SLOW 16 // calls on files that took long; needs sys_enter

// Call numbers of the architecture itself: 471 in 2026.
#define CALLS 512
// Rows for what has no number of its own.
#define CALL_COMPAT 512 // 32-bit programs, x32
#define CALL_NONE 513	// -1
#define CALL_HIGH 514	// above CALLS
#define CALL_ROWS 515

// What a call does, for the parts that look closer. User space fills call_class, because numbers
// differ between architectures.
#define CLASS_MASK 15
#define CLASS_FD0 1 // works on the file of a descriptor, its first argument
#define CLASS_FD1 2
#define CLASS_PATH0 3 // works on a path
#define CLASS_PATH1 4
#define CLASS_OPEN0 5
#define CLASS_OPEN1 6
#define CLASS_EXEC0 7
#define CLASS_EXEC1 8
#define CLASS_FORK 9
#define CLASS_EXIT 10
#define CLASS_OFFSET 16 // the offset is the fourth argument
#define CLASS_MOVES 32	// the offset is the file's, and was moved by what was read or written
#define CLASS_SIZE 64	// the size is the third argument

// Starts of calls, direct-mapped by the low bits of the thread's number: 128 KiB.
#define START_BITS 14
#define STARTS (1 << START_BITS)
#define START_TIME ((1ULL << 48) - 1)

#define PATH_BYTES 320
#define ARGS_BYTES 256
#define ARGS_MAX 16
#define MAX_ERRNO 4095

const volatile __u8 call_class[CALLS];
// The process that looks does not see itself.
const volatile __s32 self;
// The parts that this kernel can do: what is not in it is dead code to the verifier.
const volatile __u32 able = ~0;

struct control {
	__u32 parts;
	__u16 targets; // something is counted apart
	__u16 narrow;  // nothing else is wanted
	__s32 tgid;    // the one process that is wanted, 0: see the filters
	__u32 pad;
	__u64 slow;  // ns from which on a call on a file is slow
	__u64 since; // starts from before this time are not true: ends were passed over since
};

struct call_key {
	__s32 tgid; // below 0: the target of that slot
	__u32 call;
	__u64 start;
};

struct call_counts {
	__u64 n;
	__u64 errors;
	__u64 timed;
	__u64 ns;
	__u64 max;
};

// A row also tells the name that its process had when it was made, on the CPU that made it.
struct call_row {
	struct call_counts counts;
	char comm[TASK_COMM_LEN];
};

// Slots of 32 bits, half the memory; user space adds up differences.
struct call_hist {
	__u64 sum; // beside the slots of short calls
	__u32 slots[HIST_SLOTS];
	__u32 pad;
};

// A target's times of one call.
struct target_call {
	__u32 slot;
	__u32 call;
};

struct error_key {
	__u32 call;
	__u32 error;
};

// what: the errno, 0 for none, and from bit 16 on the class of the call.
struct path_key {
	__s32 tgid;
	__u32 what;
	__u64 start;
	__u64 hash;
};

struct path_counts {
	__u64 n;
	__u32 len; // of the path without its end, at most PATH_BYTES - 1
	__u32 cut; // it was longer
	char comm[TASK_COMM_LEN];
	char path[PATH_BYTES];
};

// An open or an exec that was seen. Of an open only what is used of the path is sent; behind the path
// of an exec stand its arguments, each with a NUL behind it.
struct open_event {
	struct event head;
	struct process process;
	__u64 cgroup;
	__s32 tid;
	__s32 ret;
	__u32 call;
	__u32 args_len; // of an exec
	__u64 match;	// bits of the targets it belongs to
	struct path_counts named;
};

struct open_scratch {
	struct open_event e;
	char args[ARGS_BYTES + 256]; // room for a last read that begins in the first part
};

struct word {
	__u64 w;
} __attribute__((packed));

struct totals {
	__u64 calls;	// seen by sys_exit, whatever was wanted
	__u64 own;	// of the process that looks: they show that the hook is alive
	__u64 others;	// counted in call_others
	__u64 collided; // starts overwritten by another thread's
	__u64 paths;	// opens and failed execs without a row of their own, the table being full
	__u64 slow;	// slow calls on files
	__u64 unread;	// paths that could not be read
	__u64 unkept;	// times of targets without a histogram, the table being full
};

// Keeps the type in BTF, for the generated binding.
const struct open_event *open_event_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} syscall_control SEC(".maps");

// A row on its way into the table of this CPU's rows: the next call of the same kind by the same process
// finds it at once. User space adds it to the table's.
struct call_slot {
	struct call_key key;
	struct call_counts counts;
	char comm[TASK_COMM_LEN];
};

#define SLOT_BITS 8
#define SLOTS (1 << SLOT_BITS)

struct call_cpu {
	struct totals totals;
	struct call_slot slots[SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct call_cpu);
} call_cpus SEC(".maps");

static __always_inline struct call_cpu *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&call_cpus, &zero);
}

static __always_inline struct totals *totals(void)
{
	struct call_cpu *cpu = this_cpu();

	return cpu ? &cpu->totals : NULL;
}

// Not preallocated: on a host of many CPUs a row is large, and a new one is rare.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2048);
	__type(key, struct call_key);
	__type(value, struct call_row);
} calls SEC(".maps");

// What found no room in calls, by call.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALL_ROWS);
	__type(key, __u32);
	__type(value, struct call_counts);
} call_others SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALL_ROWS);
	__type(key, __u32);
	__type(value, struct call_hist);
} call_hists SEC(".maps");

// call_hists of the targets. User space takes out what a slot's last target left.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 512);
	__type(key, struct target_call);
	__type(value, struct call_hist);
} target_hists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 512);
	__type(key, struct error_key);
	__type(value, __u64);
} call_errors SEC(".maps");

// 8 bits of the thread's number, 8 of the call's, 48 of the time. A thread is in one call at a time.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STARTS);
	__type(key, __u32);
	__type(value, __u64);
} call_starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 768);
	__type(key, struct path_key);
	__type(value, struct path_counts);
} call_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct open_scratch);
} open_scratch SEC(".maps");

#if defined(__TARGET_ARCH_x86)

// arch/x86/include/asm/thread_info.h: the call came by the 32-bit entry
#define TS_COMPAT 2
#define X32_BIT 0x40000000

static __always_inline long call_of(struct pt_regs *regs)
{
	return (long)regs->orig_ax;
}
static __always_inline __u64 arg0(struct pt_regs *regs)
{
	return regs->di;
}
static __always_inline __u64 arg1(struct pt_regs *regs)
{
	return regs->si;
}
static __always_inline __u64 arg2(struct pt_regs *regs)
{
	return regs->dx;
}
static __always_inline __u64 arg3(struct pt_regs *regs)
{
	return regs->r10;
}

static __always_inline bool is_compat(struct task_struct *t, long call)
{
	__u32 status = 0;

	if (call > 0 && call & X32_BIT)
		return true;
	if (t) {
		status = t->thread_info.status;
		// Or the compiler makes one load of this and the one below, which no verifier takes from
		// two kinds of memory: seen on 6.1.
		asm volatile("" : "+r"(status));
		return status & TS_COMPAT;
	}
	// before 5.11
	BPF_CORE_READ_INTO(&status, (struct task_struct *)bpf_get_current_task(),
			   thread_info.status);
	return status & TS_COMPAT;
}

#elif defined(__TARGET_ARCH_arm64)

// arch/arm64/include/asm/thread_info.h
#define TIF_32BIT 22

static __always_inline long call_of(struct pt_regs *regs)
{
	return regs->syscallno;
}
static __always_inline __u64 arg0(struct pt_regs *regs)
{
	return regs->orig_x0;
}
static __always_inline __u64 arg1(struct pt_regs *regs)
{
	return regs->regs[1];
}
static __always_inline __u64 arg2(struct pt_regs *regs)
{
	return regs->regs[2];
}
static __always_inline __u64 arg3(struct pt_regs *regs)
{
	return regs->regs[3];
}

static __always_inline bool is_compat(struct task_struct *t, long call)
{
	unsigned long flags = 0;

	if (t)
		flags = t->thread_info.flags;
	else // before 5.11
		BPF_CORE_READ_INTO(&flags, (struct task_struct *)bpf_get_current_task(),
				   thread_info.flags);
	return flags & (1UL << TIF_32BIT);
}

#endif

static __always_inline __u32 row_of(struct task_struct *t, long call)
{
	if (is_compat(t, call))
		return CALL_COMPAT;
	if (call < 0)
		return CALL_NONE;
	return call < CALLS ? call : CALL_HIGH;
}

// errno of a call's return value, 0 if it did not fail.
static __always_inline __u32 error_of(long ret)
{
	if (ret >= 0 || ret < -MAX_ERRNO)
		return 0;
	ret = -ret;
	return ret >= ERESTARTSYS && ret <= ERESTART_LAST ? EINTR : ret;
}

// One bit of a mask, in place of comparisons: the verifier would follow each class with what it then knows.
static __always_inline bool is_one_of(__u32 class, __u32 classes)
{
	classes >>= class;
	asm volatile("" : "+r"(classes)); // else the compiler makes comparisons of it
	return classes & 1;
}
static __always_inline bool is_open(__u32 class)
{
	return is_one_of(class, 1U << CLASS_OPEN0 | 1U << CLASS_OPEN1);
}
static __always_inline bool is_exec(__u32 class)
{
	return is_one_of(class, 1U << CLASS_EXEC0 | 1U << CLASS_EXEC1);
}
// Of an open or an exec: the path is the first argument.
static __always_inline bool is_first(__u32 class)
{
	return is_one_of(class, 1U << CLASS_OPEN0 | 1U << CLASS_EXEC0);
}
static __always_inline bool is_file(__u32 class)
{
	return is_one_of(class, (1U << (CLASS_OPEN1 + 1)) - (1U << CLASS_FD0));
}

#endif
