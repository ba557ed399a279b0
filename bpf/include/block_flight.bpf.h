/* SPDX-License-Identifier: GPL-2.0 */

/* Block I/O: requests from their start to their end, and whose they are. */
#ifndef BPF60_BLOCK_FLIGHT_BPF_H
#define BPF60_BLOCK_FLIGHT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "block_types.bpf.h"
#include "block_place.bpf.h"
#include "drift.bpf.h"

// The branch not taken is dead code to the verifier. The barrier keeps the compiler from calculating an
// address within the context, which old kernels refuse.
static __always_inline void *argument(__u64 *ctx, __u32 i)
{
	void *p;

	if (i == 1) {
		p = (void *)ctx[1];
		asm volatile("" : "+r"(p));
		return p;
	}
	return (void *)ctx[0];
}

// address_of makes a number of a pointer, which the verifier lets nobody calculate with: only the
// difference of two is a number. The other one is the value of a map, which never moves.
static __always_inline __u64 address_of(const void *p)
{
	__u64 address = (__u64)p;
	__u32 zero = 0;
	void *base = bpf_map_lookup_elem(&block_slow, &zero);

	if (!base)
		return 0;
	asm volatile("%0 -= %1" : "+r"(address) : "r"(base));
	return address;
}

// Multiplicative hash of an address, 20 bits.
static __always_inline __u32 hashed(__u64 address)
{
	return (address >> 6) * 0x9e3779b97f4a7c15ULL >> 44;
}

// Which half v is in, as a number: a branch would be guessed wrongly half of the time, and costs more
// than all of this. v is below 2^32.
#define HALF(v, r, bits)                                                   \
	({                                                                 \
		__u64 upper = (((1ULL << (bits)) - 1 - v) >> 63) * (bits); \
                                                                           \
		asm volatile("" : "+r"(upper));                            \
		v >>= upper;                                               \
		r += upper;                                                \
	})

static __always_inline __u64 level(__u64 v)
{
	__u64 r = 0;

	HALF(v, r, 16);
	HALF(v, r, 8);
	HALF(v, r, 4);
	HALF(v, r, 2);
	return r + (v >> 1);
}

// Always below HIST_SLOTS, which the verifier does not see. It looks at a global function once, not once for
// every way that leads to it. But returns are guarded against speculation, so that a call costs as much as
// all of this: what is short is not sent here.
__noinline __u64 long_slot(__u64 ns)
{
	__u64 us = microseconds(ns);

	return us >> HIST_SLOTS ? HIST_SLOTS - 1 : level(us);
}

// bytes are 32 bits, so that the level is below 22: what is above SIZES counts as the largest.
static __always_inline __u64 size_slot(__u64 bytes)
{
	__u64 slot = level(bytes >> 10);

	return (slot | -(slot >> 4)) & (SIZES - 1);
}

static __always_inline void add(struct hist *h, __u64 ns)
{
	__u64 slot = long_slot(ns);

	if (slot < HIST_SLOTS)
		h->slots[slot]++;
	h->sum += ns;
}

// A queue's requests lie in a row, and so do their slots: those of 16 KiB in as many slots as fit there,
// at a place given by the address. Strewn all over, each would have to be fetched from memory. Where two
// rows meet, the next slot tried is far away.
static __always_inline struct inflight *slot_of(__u64 address, __u32 i)
{
	__u32 row = (address >> 14) * 0x9e3779b97f4a7c15ULL >> 32;
	__u32 at =
		((row & ~(ROW - 1)) + (address >> 8 & (ROW - 1)) + i * NEXT_ROW) & (REQUESTS - 1);

	return bpf_map_lookup_elem(&block_requests, &at);
}

static __always_inline struct inflight *found(struct request *rq)
{
	__u64 address = address_of(rq);
	struct inflight *e;

	for (__u32 i = 0; i < PROBES; i++) {
		e = slot_of(address, i);
		if (e && e->request == (__u64)rq)
			return e;
	}
	return NULL;
}

// claim returns the slot of the request, or one that was never used, or one whose request has ended,
// or else the first of its set.
static __always_inline struct inflight *claim(struct request *rq)
{
	struct inflight *e, *unused = NULL;
	__u64 address = address_of(rq);

	for (__u32 i = 0; i < PROBES; i++) {
		e = slot_of(address, i);
		if (!e)
			return NULL;
		if (e->request == (__u64)rq)
			return e;
		if (!e->request) {
			unused = e;
			break;
		}
		if (!unused && !e->flying)
			unused = e;
	}
	if (unlikely(!unused)) {
		unused = slot_of(address, 0);
		COUNT(collided);
		if (!unused)
			return NULL;
	}
	unused->request = (__u64)rq;
	return unused;
}

// current_owner fills in who is running. Here every load counts: one pointer, and the name as two words
// that are read through it, where the kernel hands one out.
static __always_inline void current_owner(struct owner *o, struct task_struct *task)
{
	struct process p = {};

	if (task) {
		o->cgroup = task_cgroup(task);
		o->other_cgroup = task_other_cgroup(task);
		process_of(task, &p);
		o->kernel = (task->flags & PF_KTHREAD) != 0;
		((__u64 *)o->comm)[0] = ((volatile __u64 *)task->comm)[0];
		((__u64 *)o->comm)[1] = ((volatile __u64 *)task->comm)[1];
	} else {
		o->cgroup = current_cgroup();
		o->other_cgroup = current_other_cgroup();
		current_process(&p);
		task = (void *)bpf_get_current_task();
		o->kernel = (BPF_CORE_READ(task, flags) & PF_KTHREAD) != 0;
		bpf_get_current_comm(o->comm, sizeof(o->comm));
	}
	o->tgid = p.tgid;
	o->start = p.start;
}

static __always_inline void begin(struct inflight *e, struct request *rq)
{
	e->issued = 0;
	e->done = 0;
	e->dev = request_dev(rq);
	e->disk = disk_place(e->dev);
	e->place = e->owned ? owner_place(&e->owner, e->dev) : 0;
	e->flags = rq->cmd_flags;
	e->sector = rq->__sector;
	e->bytes = rq->__data_len;
	e->life++;
	e->flying = 1;
}

// The bio knows on whose behalf a thread of the kernel asks: by cgroup of the block controller. Where that
// has a hierarchy of its own, only a filter can use its number.
static __always_inline void behalf(struct owner *o, struct request *rq, struct task_struct *task)
{
	struct cgroup *cgroup, *own;
	struct filters *f;
	__u64 id;

	if (!unlikely(o->kernel) || !task)
		return;
	cgroup = request_cgroup(rq);
	if (!cgroup)
		return;
	id = cgroup_id(cgroup);
	own = memory_v1 ? task_cgroup_v1(task, OF_MEMORY) : task_unified(task);
	if (own && cgroup->root == own->root) { // every task knows each hierarchy's root
		o->cgroup = id ?: o->cgroup;
		return;
	}
	f = filters_in_use();
	if (f && f->other == OF_BLKIO + 1 && id)
		o->other_cgroup = id | f->other << HIERARCHY_SHIFT;
}

static __always_inline struct owner *owner_of_bio(struct request *rq)
{
	struct bio *first = rq->bio;
	struct by_bio *b;
	__u64 bio;
	__u32 at;

	if (!first)
		return NULL;
	bio = address_of(first);
	at = hashed(bio) & (BIOS - 1);
	b = bpf_map_lookup_elem(&block_bios, &at);
	return b && b->bio == bio ? &b->owner : NULL;
}

#endif
