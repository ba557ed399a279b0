// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// The page cache: pages that reads and faults asked for, and pages that had to be brought in for them
// (cachestat), by process.
//
// Hook:   asked for: tp_btf mm_filemap_get_pages, mm_filemap_fault, mm_filemap_map_pages (6.12); before,
//         fentry folio_mark_accessed (5.16) or mark_page_accessed, which see calls of read(2) and
//         unmapped pages only.
//         brought in: tp_btf mm_filemap_add_to_page_cache; made dirty: writeback_dirty_folio or
//         writeback_dirty_page.
// Unit:   pages, not calls: a folio may have 512 of them. Cumulative since load.
// Cost:   about 190 ns a read, 300 ns a folio brought in or made dirty. On demand.
// Misses: tmpfs and shared memory, direct I/O and DAX, which are not in this cache, or not by these
//         hooks; faults on pages that are mapped already. Best effort, and says so: readahead brings
//         in pages before anybody asks, and perhaps nobody does.
//
// A page that was brought in to be written is no miss. It is told by being made dirty by the same
// thread next.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "folio.bpf.h"
#include "memcg.bpf.h"
#include "task.bpf.h"

// Threads whose last access is kept, direct-mapped by ID.
#define THREADS 4096
#define PROCESSES 2048
// A page, or what counts as one where pages are larger; the loader sets it.
const volatile __u32 page_shift = 12;

enum access_kind { READ = 1, MAP = 2, FAULT = 3 };

struct cache_counts {
	__u64 asked;   // pages that reads and faults asked for
	__u64 added;   // pages brought in
	__u64 written; // of them, to be written
	__u64 dirtied;
	__u64 faults; // of asked, by faults
	__u64 lost;   // processes that did not fit
	char comm[TASK_COMM_LEN];
	__u64 cgroup;
};

// What a thread did last. A read that spans several batches shows each with the same end; a fault that
// found nothing mapped around it shows again.
struct last {
	__u32 tid;
	__u32 kind;
	__u64 mapping;
	__u64 first;
	__u64 end;
	__u64 added; // folio
	__u64 pages; // of added
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cache_counts);
} cache SEC(".maps");

// That of PID 0 is of all that did not fit, made by user space.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROCESSES);
	__type(key, struct process);
	__type(value, struct cache_counts);
} cached SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, THREADS);
	__type(key, __u32);
	__type(value, struct last);
} lasts SEC(".maps");

static __always_inline struct cache_counts *host(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cache, &zero);
}

static __always_inline struct cache_counts *mine(void)
{
	struct cache_counts *c, *h, fresh = {};
	struct process who = {}, others = {};

	current_process(&who);
	c = bpf_map_lookup_elem(&cached, &who);
	if (c)
		return c;
	fresh.cgroup = current_cgroup();
	leader_comm(fresh.comm);
	bpf_map_update_elem(&cached, &who, &fresh, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&cached, &who);
	if (c)
		return c;
	h = host();
	if (h)
		h->lost++;
	return bpf_map_lookup_elem(&cached, &others);
}

static __always_inline struct last *last(void)
{
	__u32 tid = bpf_get_current_pid_tgid(), i = tid & (THREADS - 1);
	struct last *l = bpf_map_lookup_elem(&lasts, &i);

	if (!l)
		return NULL;
	if (l->tid != tid) {
		l->tid = tid;
		l->kind = 0;
		l->added = 0;
	}
	return l;
}

static __always_inline void asked(__u64 pages, bool fault)
{
	struct cache_counts *h = host(), *c;

	if (!pages || !h)
		return;
	h->asked += pages;
	if (fault)
		h->faults += pages;
	c = mine();
	if (!c)
		return;
	__sync_fetch_and_add(&c->asked, pages);
	if (fault)
		__sync_fetch_and_add(&c->faults, pages);
}

static __always_inline void note(struct last *l, __u32 kind, __u64 mapping, __u64 first, __u64 end)
{
	l->kind = kind;
	l->mapping = mapping;
	l->first = first;
	l->end = end;
}

// One for each batch of folios of a read. All of one read end at the same page, and the first has asked
// for all: what lies beyond the file's end is not there to be asked for.
SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(pages_read, struct address_space *mapping, unsigned long first, unsigned long end)
{
	struct last *l = last();
	struct inode *inode;
	__u64 pages;

	if (!l || !mapping || end < first)
		return 0;
	if (l->kind == READ && l->mapping == (__u64)mapping && l->end == end && first > l->first) {
		l->first = first;
		return 0;
	}
	note(l, READ, (__u64)mapping, first, end);
	inode = mapping->host;
	if (!inode)
		return 0;
	pages = ((__u64)inode->i_size + (1ULL << page_shift) - 1) >> page_shift;
	if (end >= pages)
		end = pages ? pages - 1 : 0;
	if (end >= first)
		asked(end - first + 1, false);
	return 0;
}

// What is mapped around a fault nobody has asked for, but for one page.
SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(pages_mapped, struct address_space *mapping, unsigned long first, unsigned long end)
{
	struct last *l = last();

	if (!l)
		return 0;
	note(l, MAP, (__u64)mapping, first, end);
	asked(1, true);
	return 0;
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(page_faulted, struct address_space *mapping, unsigned long index)
{
	struct last *l = last();
	bool again;

	if (!l)
		return 0;
	again = l->mapping == (__u64)mapping && (l->kind == MAP || l->kind == FAULT) &&
		index >= l->first && index <= l->end;
	note(l, FAULT, (__u64)mapping, index, index);
	if (!again)
		asked(1, true);
	return 0;
}

SEC("fentry/folio_mark_accessed")
int BPF_PROG(folio_accessed, struct folio *folio)
{
	asked(folio_pages(folio), false);
	return 0;
}

SEC("fentry/mark_page_accessed")
int BPF_PROG(page_accessed)
{
	asked(1, false);
	return 0;
}

SEC("tp_btf/mm_filemap_add_to_page_cache")
int BPF_PROG(pages_added, struct folio *folio)
{
	struct cache_counts *h = host(), *c = mine();
	struct last *l = last();
	__u64 pages = folio_pages(folio);

	if (h)
		h->added += pages;
	if (c)
		__sync_fetch_and_add(&c->added, pages);
	if (l) {
		l->added = (__u64)folio;
		l->pages = pages;
	}
	return 0;
}

static __always_inline int dirtied(__u64 folio, __u64 pages)
{
	struct cache_counts *h = host(), *c = mine();
	struct last *l = last();
	__u64 written = 0;

	if (l && l->added == folio && folio) {
		written = l->pages;
		l->added = 0;
	}
	if (h) {
		h->dirtied += pages;
		h->written += written;
	}
	if (c) {
		__sync_fetch_and_add(&c->dirtied, pages);
		if (written)
			__sync_fetch_and_add(&c->written, written);
	}
	return 0;
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(folio_dirtied, struct folio *folio)
{
	return dirtied((__u64)folio, folio_pages(folio));
}

SEC("tp_btf/writeback_dirty_page")
int BPF_PROG(page_dirtied, void *page)
{
	return dirtied((__u64)page, 1);
}

char LICENSE[] SEC("license") = "GPL";
