/* SPDX-License-Identifier: GPL-2.0 */

/* Opens, and exec calls that failed: counted by process and path, and listed. */
#ifndef BPF60_SYSCALL_PATH_BPF_H
#define BPF60_SYSCALL_PATH_BPF_H

#include "syscall.bpf.h"

// hash_path is over whole words; those after the end are zero.
static __always_inline __u64 hash_path(const char *path, __u32 len)
{
	const __u64 *w = (const __u64 *)path;
	__u64 h = len;

	for (int i = 0; i < PATH_BYTES / 8; i++) {
		if (i * 8 >= len)
			break;
		h = (h ^ w[i]) * 0x9E3779B97F4A7C15ULL;
		h ^= h >> 29;
	}
	return h;
}

// read_path reads a path of user space. The kernel has just read it itself, so that it is in memory,
// unless the call failed on it or another thread took it away.
static __always_inline void read_path(struct open_scratch *s, __u64 user, struct totals *sum)
{
	struct path_counts *p = &s->e.named;
	long n = bpf_probe_read_user_str(p->path, PATH_BYTES, (const void *)user);
	__u32 len;
	char next = 0;

	p->cut = 0;
	p->len = 0;
	if (n <= 0 || n > PATH_BYTES) {
		sum->unread++;
		return;
	}
	len = n - 1;
	p->len = len;
	if (len == PATH_BYTES - 1 &&
	    !bpf_probe_read_user(&next, 1, (const void *)(user + PATH_BYTES - 1)) && next)
		p->cut = 1;
	// What is left of an older path in the last word is not part of the hash. Behind the longest path
	// stand the arguments, which are read later.
	((struct word *)(p->path + (len & 511)))->w = 0;
}

static __always_inline void count_path(struct process *p, __u32 class, __u32 error,
				       struct path_counts *named, struct totals *sum)
{
	struct path_key key = {.tgid = p->tgid, .what = error | class << 16, .start = p->start};
	struct path_counts *c;

	key.hash = hash_path(named->path, named->len);
	c = bpf_map_lookup_elem(&call_paths, &key);
	if (!c) {
		named->n = 0;
		bpf_map_update_elem(&call_paths, &key, named, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&call_paths, &key);
	}
	if (c)
		__sync_fetch_and_add(&c->n, 1);
	else
		sum->paths++;
}

// read_args reads the arguments of an exec, one after the other.
static __always_inline __u32 read_args(char *to, __u64 argv)
{
	__u32 at = 0;

	for (int i = 0; i < ARGS_MAX; i++) {
		__u64 arg = 0;
		long n;

		if (bpf_probe_read_user(&arg, sizeof(arg), (const void *)(argv + i * 8)) || !arg)
			break;
		n = bpf_probe_read_user_str(to + (at & (ARGS_BYTES - 1)), 256, (const void *)arg);
		if (n <= 0)
			break;
		at += n;
		if (at >= ARGS_BYTES) {
			at = ARGS_BYTES;
			break;
		}
	}
	return at;
}

#define IS_EXEC (1U << 16)

// opened counts and lists an open or, with IS_EXEC in call, an exec that failed. path and argv are
// addresses of user space.
__noinline int opened(__u64 path, __u64 argv, __u32 call, __s64 ret, __u32 match)
{
	__u32 zero = 0, exec = call & IS_EXEC, error = error_of(ret), kind, size;
	struct open_scratch *s;
	struct open_event *e;
	struct totals *sum;

	if (!(able & (PART_OPEN | PART_EXEC))) // bpf_probe_read_user may be refused
		return 0;
	s = bpf_map_lookup_elem(&open_scratch, &zero);
	sum = totals();
	if (!s || !sum)
		return 0;
	e = &s->e;
	if (!current_process(&e->process))
		return 0;
	read_path(s, path, sum);
	bpf_get_current_comm(e->named.comm, sizeof(e->named.comm));
	count_path(&e->process, exec ? CLASS_EXEC0 : CLASS_OPEN0, error, &e->named, sum);

	kind = exec ? EVENT_EXEC_FAIL : error ? EVENT_OPEN_FAIL : EVENT_OPEN;
	if (!event_wanted(kind))
		return 0;
	e->cgroup = current_cgroup();
	e->tid = bpf_get_current_pid_tgid();
	e->ret = error ? -(__s32)error : (__s32)ret;
	e->call = call & ~IS_EXEC;
	e->match = match;
	e->args_len = 0;
	size = sizeof(*e) + ARGS_BYTES;
	if (exec) {
		e->args_len = read_args(s->args, argv);
	} else {
		size = e->named.len;
		if (size >= PATH_BYTES)
			return 0;
		size += sizeof(*e) - PATH_BYTES;
	}
	event_output(kind, e, size);
	return 0;
}

#endif
