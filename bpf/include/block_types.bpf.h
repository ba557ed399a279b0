/* SPDX-License-Identifier: GPL-2.0 */

/* Block I/O: what block.bpf.c counts, and where. */
#ifndef BPF60_BLOCK_TYPES_BPF_H
#define BPF60_BLOCK_TYPES_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

// Requests whose owner is known at the same time; a power of two. With 500 in flight one of 200 is
// overwritten: counted as collided.
#define REQUESTS 2048
// Slots that a request may take. The first is given by its address.
#define PROBES 4
// Slots of 16 KiB of requests, which are 256 bytes or more each, and how far on the next to try is.
#define ROW 64
#define NEXT_ROW (11 * ROW + 1)
// Bios between block_getrq and block_rq_issue, before 6.5.
#define BIOS 1024
// Disks at the most, a power of two. What is beyond counts as disk 0, whose place is the first.
#define DISKS 64
// Process x disk, a power of two. What is beyond counts as process 0, whose place is the first.
#define OWNERS 1024
// Reads, writes, discards and others: half of the class. A power of two.
#define OWNER_KINDS 4
// Places that a disk or an owner may take. The first is given by what it is.
#define DISK_PLACES 16
#define OWNER_PLACES 16
// 0-1 KiB, 2-3 KiB, ... 32 MiB and larger.
#define SIZES 16
// Whoever waits this long is listed whatever the others wait, ns.
#define STALL 1000000000ULL

// REQ_OP_MASK and the operations, include/linux/blk_types.h. ZONE_APPEND was WRITE_SAME.
#define OP_MASK 0xff
#define OP_READ 0
#define OP_WRITE 1
#define OP_FLUSH 2
#define OP_DISCARD 3
#define OP_SECURE_ERASE 5
#define OP_ZONE_APPEND 7
#define OP_WRITE_ZEROES 9

// A request finds little of a program in the caches: what is rare is kept out of its way.
#define unlikely(x) __builtin_expect(!!(x), 0)

// Which argument of block_getrq is the bio: the second before the queue was dropped (5.11), now the
// first. User space finds it in BTF.
const volatile __u32 getrq_bio = 0;
// Which argument of block_rq_issue, block_rq_merge and block_rq_requeue is the request: the second
// before a54895fa057c (5.11, and in stable trees) dropped the queue.
const volatile __u32 request_arg = 0;
// Whether owners are found by bio, at issue.
const volatile bool owner_by_bio = false;
// How many places there are for disks: a power of two up to DISKS, as user space has room for.
const volatile __u32 disk_places = DISKS;

enum block_class {
	READ_SYNC = 0, // somebody waits: reads that are not read-ahead
	READ_AHEAD,
	WRITE_SYNC, // REQ_SYNC, REQ_META, REQ_PRIO
	WRITE_BACK,
	FLUSH,
	DISCARD,
	OTHER, // zones, passthrough
	CLASSES,
};

// Operations, for what is narrowed.
enum block_op { BLOCK_READ = 0, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_OTHER, BLOCK_OPS };

// Which disk has which place. 0: free. What has a place keeps it.
struct disk_table {
	__u32 dev[DISKS];
};

// What a request touches lies together: most requests find none of this in a cache.
struct block_counts {
	__u64 completed;
	__u64 bytes;
	__u64 device_ns;
	__u64 queued_ns;
	__u64 sequential; // begin where the one before on this CPU ended
	__u64 last_end;	  // sector
	__u64 errors;
	__u32 sizes[SIZES];	  // KiB
	__u64 queued[HIST_SLOTS]; // from allocation to the last issue
	__u64 device[HIST_SLOTS]; // from the last issue to the end
	__u64 requeues;
};

// A process and a disk, by place. Written once, by who claims the place, until user space frees it.
struct block_owner {
	__u32 state; // enum owner_state
	__u32 dev;
	__u64 start;
	__s32 tgid;
	__u32 kernel; // a thread of the kernel, which may ask on behalf of another
	__u64 cgroup;
	char comm[TASK_COMM_LEN];
	__u64 pad[2];
};

// A place that is let go of is found no more, but what is in flight still counts there.
enum owner_state { OWNER_FREE = 0, OWNER_IN_USE, OWNER_LEAVING };

// What most requests of the owner of the same place touch is one cache line.
struct owner_had {
	__u64 io_ns; // reads, writes and others: from allocation to the end
	__u64 requests[OWNER_KINDS];
	__u64 bytes[2]; // of reads and of writes
	__u64 flushes;	// that it asked for: fsync and the like
	__u64 flush_ns; // waited for flushes
	__u64 errors;
	__u64 pad[6];
};

// Who claims a place first has it.
struct block_claim {
	__u32 place;
	__u32 of_disk; // else of an owner
};

struct block_claimant {
	__u64 start;
	__s32 tgid;
	__u32 dev;
};

// What is rare, on one CPU.
struct block_sums {
	__u64 collided;	 // owners overwritten in a full set of slots
	__u64 unowned;	 // completed without an owner
	__u64 unstamped; // completed without a time of issue
	__u64 negative;	 // a clock that went back: counted with 0 ns
	__u64 folded;	 // counted as disk 0 or process 0
	__u64 merged;	 // requests joined to another
	__u64 requeued;
};

struct block_target {
	struct hist device[BLOCK_OPS];
	struct hist queued[BLOCK_OPS];
	__u64 bytes[BLOCK_OPS];
};

struct owner {
	__s32 tgid;
	__u32 kernel;
	__u64 start; // of the process; 0: not known
	__u64 cgroup;
	__u64 other_cgroup; // see filter.bpf.h
	char comm[TASK_COMM_LEN];
};

// Two cache lines: the end of most requests needs the first alone.
struct inflight {
	__u64 request; // its address
	__u64 issued;  // ktime, ns; 0 where the kernel's own stamp is used
	__u64 sector;
	__u32 dev;
	__u32 flags;
	__u32 bytes;
	__u32 done; // bytes of partial completions
	__u32 flying;
	__u32 life;  // counts the requests that had this slot
	__u16 disk;  // its place
	__u16 place; // of its owner
	__u32 owned; // whether the owner is known
	struct owner owner;
	__u64 pad[2];
};

struct by_bio {
	__u64 bio;
	struct owner owner;
};

struct block_event {
	struct event head;
	__u64 total;  // ns, from allocation to the end
	__u64 queued; // ns; -1: not known, or never issued
	__u64 device; // ns; -1: the same
	__u64 sector;
	__u32 dev;
	__u32 flags;
	__u32 bytes;
	__u32 error; // as the kernel has it: blk_status_t, a negative errno on 5.10
	__u32 class;
	__u32 pad;
	struct owner owner;
};

// Keeps the types in BTF, for the generated binding.
const struct block_event *block_event_type __attribute__((unused));

// Disk x class. User space makes it as large as disk_places.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DISKS *CLASSES);
	__type(key, __u32);
	__type(value, struct block_counts);
} block_disks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct disk_table);
} block_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); // only for its values to begin at a cache line
	__uint(max_entries, OWNERS);
	__type(key, __u32);
	__type(value, struct block_owner);
} block_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); // the same
	__uint(max_entries, OWNERS);
	__type(key, __u32);
	__type(value, struct owner_had);
} block_had SEC(".maps");

// Asked only for what has no place yet: old kernels have no other way to tell who was first.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DISKS + OWNERS);
	__type(key, struct block_claim);
	__type(value, struct block_claimant);
} block_claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct block_sums);
} block_host SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct block_target);
} block_narrowed SEC(".maps");

// By the address of the request, which is one of a fixed set that a queue uses again and again: an
// entry is overwritten by the next request at that address and never deleted.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); // only for its values to begin at a cache line
	__uint(max_entries, REQUESTS);
	__type(key, __u32);
	__type(value, struct inflight);
} block_requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BIOS);
	__type(key, __u32);
	__type(value, struct by_bio);
} block_bios SEC(".maps");

// From which duration on a request is listed, ns. User space moves it with the load.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} block_slow SEC(".maps");

#endif
