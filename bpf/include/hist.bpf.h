/* SPDX-License-Identifier: GPL-2.0 */

#ifndef BPF60_HIST_BPF_H
#define BPF60_HIST_BPF_H

#include "kernel.bpf.h"

/* 27 slots: 0-1 us, 2-3 us, ... 33-67 s, and everything longer in the last. */
#define HIST_SLOTS 27

/* One map value holds a whole histogram: user space reads it with one lookup. */
struct hist {
	__u64 slots[HIST_SLOTS];
	__u64 sum; /* ns */
};

static __always_inline __u32 log2_u64(__u64 v)
{
	__u32 r = 0;

	if (v >> 32) {
		v >>= 32;
		r += 32;
	}
	if (v >> 16) {
		v >>= 16;
		r += 16;
	}
	if (v >> 8) {
		v >>= 8;
		r += 8;
	}
	if (v >> 4) {
		v >>= 4;
		r += 4;
	}
	if (v >> 2) {
		v >>= 2;
		r += 2;
	}
	return r + (v >> 1);
}

/* A division costs more than the rest of hist_add; durations under 4.3 s do without. */
static __always_inline __u64 microseconds(__u64 ns)
{
	if (ns >> 32)
		return ns / 1000;
	return ns * 274877907ULL >> 38; /* 2^38 / 1000, exact for 32 bits */
}

/* For per-CPU values only: nothing else writes them meanwhile, so plain additions do. */
static __always_inline void hist_add(struct hist *h, __u64 ns)
{
	__u32 slot = log2_u64(microseconds(ns));

	if (slot >= HIST_SLOTS)
		slot = HIST_SLOTS - 1;
	h->slots[slot]++;
	h->sum += ns;
}

/* For programs that count one duration in several histograms: the slot first, then each. */
static __always_inline __u32 hist_slot(__u64 ns)
{
	__u32 slot = log2_u64(microseconds(ns));

	return slot >= HIST_SLOTS ? HIST_SLOTS - 1 : slot;
}

static __always_inline void hist_put(struct hist *h, __u32 slot, __u64 ns)
{
	if (slot < HIST_SLOTS) {
		h->slots[slot]++;
		h->sum += ns;
	}
}

#endif
