/* SPDX-License-Identifier: GPL-2.0 */

/* Block I/O: where disks and owners have their counts. A place is found once, when a request starts. */
#ifndef BPF60_BLOCK_PLACE_BPF_H
#define BPF60_BLOCK_PLACE_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "block_types.bpf.h"

// sums of this CPU. The array has one value, so that it is never NULL but to the verifier.
static __always_inline struct block_sums *sums(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&block_host, &zero);
}

#define COUNT(what)                              \
	({                                       \
		struct block_sums *all = sums(); \
                                                 \
		if (all)                         \
			all->what++;             \
	})

// claimed says whether the place is the claimant's: nobody had it, or the same claimed it on another CPU.
static __always_inline bool claimed(const struct block_claim *place,
				    const struct block_claimant *by, bool *first)
{
	struct block_claimant *had;

	*first = !bpf_map_update_elem(&block_claims, place, by, BPF_NOEXIST);
	if (*first)
		return true;
	had = bpf_map_lookup_elem(&block_claims, place);
	return had && had->start == by->start && had->tgid == by->tgid && had->dev == by->dev;
}

static __always_inline __u32 first_disk_place(__u32 dev)
{
	return dev * 0x9e3779b1U >> 20;
}

// claim_disk returns the place of a disk that has none, or 0 if there is none left.
__noinline __u64 claim_disk(__u64 disk)
{
	struct block_claim key = {.of_disk = 1};
	struct block_claimant by = {.dev = disk};
	struct disk_table *all;
	__u32 zero = 0, at;
	bool first;

	all = bpf_map_lookup_elem(&block_places, &zero);
	if (!all || !by.dev)
		return 0;
	for (__u32 i = 0; i < DISK_PLACES; i++) {
		at = (first_disk_place(by.dev) + i) & (disk_places - 1) & (DISKS - 1);
		if (!at)
			continue;
		if (all->dev[at] == by.dev)
			return at;
		if (all->dev[at])
			continue;
		key.place = at;
		if (!claimed(&key, &by, &first))
			continue;
		all->dev[at] = by.dev;
		return at;
	}
	COUNT(folded);
	return 0;
}

static __always_inline __u32 disk_place(__u32 dev)
{
	__u32 zero = 0, at = first_disk_place(dev) & (disk_places - 1) & (DISKS - 1);
	struct disk_table *all = bpf_map_lookup_elem(&block_places, &zero);

	if (all && all->dev[at] == dev && at)
		return at;
	return claim_disk(dev);
}

static __always_inline __u32 first_owner_place(__s32 tgid, __u32 dev)
{
	return ((__u32)tgid * 0x9e3779b1U ^ dev * 0x85ebca6bU) >> 16;
}

#define NEW_PLACE OWNERS
#define NOT_FOUND (~0U)

// claim_owner returns the place of an owner, and NEW_PLACE with it if nobody has written there who it is;
// or 0 if there is none left.
__noinline __u64 claim_owner(__u64 tgid, __u64 start, __u64 dev)
{
	struct block_claim key = {};
	struct block_claimant by = {.start = start, .tgid = tgid, .dev = dev};
	struct block_owner *own;
	bool first;

	for (__u32 i = 0; i < OWNER_PLACES; i++) {
		key.place = (first_owner_place(by.tgid, by.dev) + i) & (OWNERS - 1);
		own = bpf_map_lookup_elem(&block_owners, &key.place);
		if (!key.place || !own || own->state == OWNER_LEAVING)
			continue;
		if (own->state == OWNER_IN_USE) {
			if (own->tgid == by.tgid && own->start == by.start && own->dev == by.dev)
				return key.place;
			continue;
		}
		if (claimed(&key, &by, &first))
			return first ? key.place | NEW_PLACE : key.place;
	}
	COUNT(folded);
	return 0;
}

// owner_place of nobody is that of process 0.
static __always_inline __u32 owner_place(const struct owner *o, __u32 dev)
{
	__s32 tgid = o ? o->tgid : 0;
	__u64 start = o ? o->start : 0;
	__u32 at = first_owner_place(tgid, dev) & (OWNERS - 1), place;
	struct block_owner *own = bpf_map_lookup_elem(&block_owners, &at);

	if (own && own->start == start && own->tgid == tgid && own->dev == dev &&
	    own->state == OWNER_IN_USE)
		return at;
	place = claim_owner(tgid, start, dev);
	if (!(place & NEW_PLACE))
		return place;
	at = place & (OWNERS - 1);
	own = bpf_map_lookup_elem(&block_owners, &at);
	if (!own)
		return 0;
	own->dev = dev;
	own->start = start;
	own->tgid = tgid;
	if (o) {
		own->kernel = o->kernel;
		own->cgroup = o->cgroup;
		__builtin_memcpy(own->comm, o->comm, sizeof(own->comm));
	}
	own->state = OWNER_IN_USE;
	return at;
}

#endif
