// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Block I/O: how long requests wait to be issued and how long the device takes (biolatency), how
// large they are (bitesize), who asks for them (biotop), and the slowest of them (biosnoop).
//
// Hook:   tp_btf block_rq_complete; the kernel keeps both stamps of a request, start_time_ns when
//         it is allocated and io_start_time_ns when it is issued to the driver. block_io_start
//         (6.5) runs in the context of whoever asks: it keeps the owner in a slot for the request,
//         which is also the list of what is in flight. Before 6.5 block_getrq keeps the owner by
//         bio, and block_rq_issue takes it over. Rare: block_rq_merge, block_rq_requeue.
// Unit:   log2 histograms of microseconds and of KiB, per disk and class, cumulative since load.
// Cost:   about 450 ns a request in all, with the 190 that two empty programs have and the 90 of the clock:
//         there is no other call. Disks and owners have places, found when the request starts.
// Misses: devices that pass bios on without a request of their own (dm, md, zram): the disks below
//         them are seen. In a plug the kernel's stamps are those of its beginning (6.9), so that
//         the time on the device is too long by the microseconds that the plug was held.
//
// Flushes: a bio with REQ_PREFLUSH becomes a request of its own, its parent, which waits while the
//         block layer sends one REQ_OP_FLUSH for one or more of them. That one is counted as the
//         disk's flush, and each parent as the flush of its owner. A parent without data is never
//         issued; one with data completes twice, the second time with 0 bytes: it counts once.
// Partial completions add up, and the last one ends the request. What is requeued is issued again
// and its device time counts from then.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "block_types.bpf.h"
#include "block_flight.bpf.h"
#include "block_count.bpf.h"

// The request's own start is set after this hook since 6.11, and the clock is dear: there is none here.
SEC("tp_btf/block_io_start")
int BPF_PROG(block_started, struct request *rq)
{
	struct inflight *e = claim(rq);
	struct task_struct *task;

	if (!e)
		return 0;
	task = current_task();
	current_owner(&e->owner, task);
	e->owned = 1;
	behalf(&e->owner, rq, task);
	begin(e, rq);
	return 0;
}

// Before 6.5: this runs where the request was allocated for the bio.
SEC("tp_btf/block_getrq")
int block_asked(__u64 *ctx)
{
	__u64 bio = address_of(argument(ctx, getrq_bio));
	__u32 at = hashed(bio) & (BIOS - 1);
	struct by_bio *b = bpf_map_lookup_elem(&block_bios, &at);

	if (!b)
		return 0;
	current_owner(&b->owner, current_task());
	b->bio = bio;
	return 0;
}

// Attached before 6.5, for the owner; and where the kernel keeps no time of issue.
SEC("tp_btf/block_rq_issue")
int block_issued(__u64 *ctx)
{
	struct request *rq = argument(ctx, request_arg);
	struct inflight *e = found(rq);
	__u64 now = bpf_ktime_get_ns();
	struct owner *o;

	if (owner_by_bio && (!e || !e->flying)) {
		e = claim(rq);
		if (!e)
			return 0;
		o = owner_of_bio(rq);
		if (o) {
			e->owner = *o;
			behalf(&e->owner, rq, current_task());
		}
		e->owned = o != NULL;
		begin(e, rq);
	}
	if (e && e->flying)
		e->issued = now;
	return 0;
}

SEC("tp_btf/block_rq_complete")
int block_ended(__u64 *ctx)
{
	struct request *rq = (void *)ctx[0];
	__u32 bytes = ctx[2];
	struct inflight *e = found(rq);
	const struct owner *o = NULL;
	struct ended d = {};
	__u32 place = NOT_FOUND;
	__u64 issued;

	if (unlikely(bytes < rq->__data_len)) {
		if (e && e->flying)
			e->done += bytes;
		return 0;
	}

	d.now = bpf_ktime_get_ns();
	d.flags = rq->cmd_flags;
	d.class = class_of(d.flags);
	d.error = ctx[1];
	d.bytes = bytes;
	d.sector = rq->__sector;
	d.begun = rq->start_time_ns;
	d.awaited_flush = awaits_flush(bytes, d.class);
	issued = rq->io_start_time_ns;
	// The entry may be of an earlier request at this address, which has ended. But a parent of a flush
	// may end twice.
	if (e && (e->flying || d.awaited_flush)) {
		if (e->owned) {
			o = &e->owner;
			place = e->place;
		}
		if (!issued)
			issued = e->issued;
		d.dev = e->dev;
		d.disk = e->disk;
		d.sector = e->sector;
		d.bytes += e->done;
		// A parent of a flush with data ends once more.
		if (!bytes || !(e->flags & REQUEST_FLAG(__REQ_PREFLUSH)))
			e->flying = 0;
		e->done = 0;
	} else {
		d.dev = request_dev(rq);
		d.disk = disk_place(d.dev);
		if (owner_by_bio)
			o = owner_of_bio(rq);
	}
	if (d.awaited_flush)
		issued = 0;
	if (!d.begun) // the queue keeps no times (iostats off)
		d.begun = issued ?: d.now;
	times(&d, issued);
	if (!d.awaited_flush)
		count_disk(&d);
	if (d.class == FLUSH) // its parents tell who waits
		return 0;

	if (unlikely(!o))
		COUNT(unowned);
	if (unlikely(place == NOT_FOUND))
		place = owner_place(o, d.dev);
	if (unlikely(!issued) && !d.awaited_flush && d.class != OTHER)
		COUNT(unstamped);
	count_owner(place, &d);
	count_narrowed(o, &d);
	list(o, &d);
	return 0;
}

// A request that is joined to another never ends by itself. This is the one that goes.
SEC("tp_btf/block_rq_merge")
int block_merged(__u64 *ctx)
{
	struct request *rq = argument(ctx, request_arg);
	struct inflight *e = found(rq);

	COUNT(merged);
	if (e)
		e->flying = 0;
	return 0;
}

SEC("tp_btf/block_rq_requeue")
int block_requeued(__u64 *ctx)
{
	struct request *rq = argument(ctx, request_arg);
	struct block_counts *c = counts_of(disk_place(request_dev(rq)), class_of(rq->cmd_flags));

	COUNT(requeued);
	if (c)
		c->requeues++;
	return 0;
}

enum block_fate { FATE_UNKNOWN, FATE_ALIVE, FATE_ENDED };

// Attached to nothing: user space runs it for a request that has been in flight for long, whose address
// it gives. A request whose end no program was shown looks as if it hung, but has been freed.
SEC("raw_tp/block_rq_complete")
int block_fate_of(__u64 *ctx)
{
	struct request___ref *rq = (void *)ctx[0];
	int refs = 0;

	if (!bpf_core_field_exists(rq->ref))
		return FATE_UNKNOWN;
	if (bpf_probe_read_kernel(&refs, sizeof(refs), &rq->ref))
		return FATE_ENDED; // its memory is gone
	return refs > 0 ? FATE_ALIVE : FATE_ENDED;
}

char LICENSE[] SEC("license") = "GPL";
