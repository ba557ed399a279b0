/* SPDX-License-Identifier: GPL-2.0 */

/* Block I/O: what a request that has ended is counted to, and its record. */
#ifndef BPF60_BLOCK_COUNT_BPF_H
#define BPF60_BLOCK_COUNT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "block_flight.bpf.h"

__noinline __u64 other_class(__u64 flags)
{
	__u32 awaited =
		REQUEST_FLAG(__REQ_SYNC) | REQUEST_FLAG(__REQ_META) | REQUEST_FLAG(__REQ_PRIO);
	__u32 later = REQUEST_FLAG(__REQ_RAHEAD) | REQUEST_FLAG(__REQ_BACKGROUND);

	switch (flags & OP_MASK) {
	case OP_ZONE_APPEND:
	case OP_WRITE_ZEROES:
		return (flags & awaited) && !(flags & later) ? WRITE_SYNC : WRITE_BACK;
	case OP_FLUSH:
		return FLUSH;
	case OP_DISCARD:
	case OP_SECURE_ERASE:
		return DISCARD;
	}
	return OTHER;
}

// 1 if any of the flags is set. No branch: the verifier would follow every class through all that is counted.
static __always_inline __u64 any(__u64 flags)
{
	__u64 below = 0 - flags;

	asm volatile("" : "+r"(below));
	return below >> 63;
}

static __always_inline __u32 class_of(__u32 flags)
{
	__u32 awaited =
		REQUEST_FLAG(__REQ_SYNC) | REQUEST_FLAG(__REQ_META) | REQUEST_FLAG(__REQ_PRIO);
	__u32 later = REQUEST_FLAG(__REQ_RAHEAD) | REQUEST_FLAG(__REQ_BACKGROUND);
	__u64 write = flags & OP_WRITE;

	if (unlikely((flags & OP_MASK) > OP_WRITE))
		return other_class(flags);
	return write * WRITE_SYNC + (any(flags & later) | (write & ~any(flags & awaited)));
}

// A write without data.
static __always_inline bool awaits_flush(__u32 bytes, __u32 class)
{
	asm volatile("" : "+r"(class));
	return ~any(bytes) & class >> 1 & ~(class >> 2) & 1;
}

static __always_inline struct block_counts *counts_of(__u32 disk, __u32 class)
{
	__u32 at = disk * CLASSES + class;

	return bpf_map_lookup_elem(&block_disks, &at);
}

// What is known of a request that has ended.
struct ended {
	__u64 now;
	__u64 begun;
	__u64 total;
	__u64 device; // -1: not known
	__u64 queued; // -1: not known
	__u64 sector;
	__u32 dev;
	__u32 disk; // its place
	__u32 class;
	__u32 flags;
	__u32 bytes;
	__u32 error;
	bool awaited_flush; // a parent without data, or the second end of one with data
};

#define UNKNOWN (~0ULL)

// Few branches: the verifier would follow each combination of theirs through all that comes after.
static __always_inline void count_times(struct block_counts *c, __u64 device, __u64 queued)
{
	__u64 slot, other;

	c->device_ns += device;
	c->queued_ns += queued;
	if (unlikely((device | queued) >> 32)) {
		slot = long_slot(device);
		other = long_slot(queued);
	} else {
		slot = level(microseconds((__u32)device));
		other = level(microseconds((__u32)queued));
	}
	if (slot < HIST_SLOTS && other < HIST_SLOTS) {
		c->device[slot]++;
		c->queued[other]++;
	}
}

static __always_inline void count_disk(const struct ended *d)
{
	struct block_counts *c = counts_of(d->disk, d->class);

	if (!c)
		return;
	c->completed++;
	c->errors += any(d->error);
	if (d->device != UNKNOWN)
		count_times(c, d->device, d->queued);
	if (!d->bytes)
		return;
	c->bytes += d->bytes;
	c->sizes[size_slot(d->bytes)]++;
	c->sequential += filter_same(c->last_end, d->sector);
	c->last_end = d->sector + (d->bytes >> 9);
}

static __always_inline void count_owner(__u32 place, const struct ended *d)
{
	struct owner_had *row = bpf_map_lookup_elem(&block_had, &place);
	__u64 moved = ((__u64)d->class - FLUSH) >> 63; // 1: a read or a write
	__u32 kind = d->class / 2;

	asm volatile(
		""
		: "+r"(kind)); // else the compiler leaves the bound out, as it knows the classes
	if (!row)
		return;
	if (unlikely(d->error))
		__sync_fetch_and_add(&row->errors, 1);
	if (unlikely(d->awaited_flush)) {
		__sync_fetch_and_add(&row->flushes, 1);
		__sync_fetch_and_add(&row->flush_ns, d->total);
		return;
	}
	__sync_fetch_and_add(&row->io_ns, d->total);
	__sync_fetch_and_add(&row->requests[kind & (OWNER_KINDS - 1)], 1);
	__sync_fetch_and_add(&row->bytes[kind & 1], d->bytes * moved);
}

static __always_inline __u32 op_of(const struct ended *d)
{
	switch (d->class) {
	case READ_SYNC:
	case READ_AHEAD:
		return BLOCK_READ;
	case WRITE_SYNC:
	case WRITE_BACK:
		return d->awaited_flush ? BLOCK_FLUSH : BLOCK_WRITE;
	}
	return BLOCK_OTHER;
}

__noinline __u64 count_target(__u64 slot, __u64 op, __u64 device, __u64 queued, __u64 bytes)
{
	struct block_target *t;
	__u32 key = slot;

	t = bpf_map_lookup_elem(&block_narrowed, &key);
	if (!t || op >= BLOCK_OPS)
		return 0;
	if (device != UNKNOWN)
		add(&t->device[op], device);
	if (queued != UNKNOWN)
		add(&t->queued[op], queued);
	t->bytes[op] += bytes;
	return 0;
}

__noinline __u32 slots_for(__u32 tgid, __u64 cgroup, __u64 other, __u32 dev)
{
	return filter_match(tgid, cgroup, other, dev);
}

static __always_inline void count_narrowed(const struct owner *o, const struct ended *d)
{
	__u64 tgid = 0, cgroup = 0, other = 0, op, device = d->device;
	__u32 hit;

	if (!unlikely(filter_any()))
		return;
	if (o) {
		tgid = o->tgid;
		cgroup = o->cgroup;
		other = o->other_cgroup;
	}
	if (d->awaited_flush)
		device = d->total;
	op = op_of(d);
	hit = slots_for(tgid, cgroup, other, d->dev);
	for (__u64 slot = 1; slot < FILTER_SLOTS; slot++)
		if (filter_has(hit, slot))
			count_target(slot, op, device, d->queued, d->bytes);
}

static __always_inline void list(const struct owner *o, const struct ended *d)
{
	__u64 *slow = NULL;
	__u32 kind, zero = 0;
	struct block_event *e;

	kind = EVENT_BLOCK_STALL;
	if (!unlikely(d->total >= STALL)) {
		kind = EVENT_BLOCK;
		slow = bpf_map_lookup_elem(&block_slow, &zero);
		if (!unlikely(slow && d->total >= *slow))
			return;
	}
	e = event_reserve(kind, sizeof(*e));
	if (!e)
		return;
	e->total = d->total;
	e->queued = d->queued;
	e->device = d->device;
	e->sector = d->sector;
	e->dev = d->dev;
	e->flags = d->flags;
	e->bytes = d->bytes;
	e->error = d->error;
	e->class = d->class;
	e->pad = 0;
	if (o)
		e->owner = *o;
	else
		__builtin_memset(&e->owner, 0, sizeof(e->owner));
	event_submit(e);
}

// at_least_0 without a branch.
static __always_inline __s64 at_least_0(__s64 v)
{
	__s64 below = v >> 63;

	asm volatile("" : "+r"(below));
	return v & ~below;
}

// times fills the durations. The kernel takes its stamps from a clock that it may have read a little
// earlier (6.9), so that one may lie behind the next.
static __always_inline void times(struct ended *d, __u64 issued)
{
	__s64 total = d->now - d->begun;

	if (unlikely(total < 0))
		COUNT(negative);
	d->total = at_least_0(total);
	d->device = d->queued = UNKNOWN;
	if (!issued)
		return;
	d->queued = at_least_0(d->total - at_least_0(d->now - issued));
	d->device = d->total - d->queued;
}

#endif
