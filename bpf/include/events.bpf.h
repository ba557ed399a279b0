/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Single events, for lists. All programs of all subjects write to one ring, which user space empties
 * at its tick: a record wakes nobody unless the ring is half full. Counts never come from here; they
 * are kept in maps, and are exact when a storm makes lists impossible.
 */
#ifndef BPF60_EVENTS_BPF_H
#define BPF60_EVENTS_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>

#define EVENT_RING (512 << 10) /* bytes: what all kinds make in a quarter of a second at the most */
#define EVENT_KINDS 32

/* Kinds are told apart across subjects: EventKind in events.go. */
enum event_kind {
	EVENT_EXEC = 1,
	EVENT_EXIT,
	EVENT_SIGNAL,
	EVENT_BLOCK,
	EVENT_RETRANSMIT,
	EVENT_CONNECTION,
	EVENT_DNS,
	EVENT_DROP,
	EVENT_OPEN,
	EVENT_SLOW_FILE,
	EVENT_FILE_LIFE,
	EVENT_OOM,
	EVENT_RECLAIM,
	EVENT_RESET,
	EVENT_EXEC_FAIL,
	EVENT_LISTEN,
	EVENT_COMPACT,
	EVENT_OPEN_FAIL,
	EVENT_CONNECT_FAIL,
	EVENT_REAP,
	EVENT_BLOCK_STALL,
};

/* The head of every record. */
struct event {
	__u32 kind;
	__u32 size; /* of the record, the head included */
	__u64 at;   /* boot time, ns */
};

/* What became of the events of one kind, on one CPU. Cumulative. */
struct event_count {
	__u64 sent;
	__u64 unlisted; /* passed over: the kind had had its share */
	__u64 lost;	/* there was no room */
	__u64 period;	/* of which used tells how much is gone */
	__u64 used;
};

/* Records of one kind that one CPU may send in a period of 134 ms. The loader sets it by the number of
 * CPUs. */
const volatile __u64 event_share = 64;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_RING);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_KINDS);
	__type(key, __u32);
	__type(value, struct event_count);
} event_counts SEC(".maps");

/* Additions are atomic: the same program may interrupt itself on a CPU, from softirq over task. */
static __always_inline struct event_count *event_share_of(__u32 kind)
{
	struct event_count *c = bpf_map_lookup_elem(&event_counts, &kind);
	__u64 period;

	if (!c)
		return NULL;
	period = bpf_ktime_get_ns() >> 27;
	if (c->period != period) {
		c->period = period;
		c->used = 0;
	}
	if (c->used >= event_share) {
		__sync_fetch_and_add(&c->unlisted, 1);
		return NULL;
	}
	return c;
}

/* Whether a record of this kind would be taken; if not, it is counted as unlisted here. Ask before
 * building a record that is dear. */
static __always_inline bool event_wanted(__u32 kind)
{
	return event_share_of(kind) != NULL;
}

static __always_inline __u64 event_flags(void)
{
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENT_RING / 2)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/*
 * Room for a record, whose head is filled and whose rest is not zeroed; NULL if there is none, or if
 * the kind has had its share: either is counted. event_submit must follow.
 */
static __always_inline void *event_reserve(__u32 kind, const __u64 size)
{
	struct event_count *c = event_share_of(kind);
	struct event *e;

	if (!c)
		return NULL;
	e = bpf_ringbuf_reserve(&events, size, 0);
	if (!e) {
		__sync_fetch_and_add(&c->lost, 1);
		return NULL;
	}
	__sync_fetch_and_add(&c->used, 1);
	__sync_fetch_and_add(&c->sent, 1);
	e->kind = kind;
	e->size = size;
	e->at = bpf_ktime_get_boot_ns();
	return e;
}

static __always_inline void event_submit(void *e)
{
	bpf_ringbuf_submit(e, event_flags());
}

/* Sends a record of any length from memory of the caller's, and fills its head. True if it was sent. */
static __always_inline bool event_output(__u32 kind, void *record, __u64 size)
{
	struct event_count *c = event_share_of(kind);
	struct event *e = record;

	if (!c)
		return false;
	e->kind = kind;
	e->size = size;
	e->at = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&events, record, size, event_flags())) {
		__sync_fetch_and_add(&c->lost, 1);
		return false;
	}
	__sync_fetch_and_add(&c->used, 1);
	__sync_fetch_and_add(&c->sent, 1);
	return true;
}

#endif
