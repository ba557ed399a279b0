/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The record of a call on a file that took long, whichever hook saw it. Its names are read by the
 * helper, which lockdown=confidentiality refuses.
 */
#ifndef BPF60_SLOW_BPF_H
#define BPF60_SLOW_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "task.bpf.h"

#define NAME_BYTES 64
#define NAMES 4
// include/linux/errno.h: 512-516 ask for a restart, or become EINTR
#define ERESTARTSYS 512
#define ERESTART_LAST 516
#define EINTR 4
// include/uapi/linux/stat.h
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000

struct slow_event {
	struct event head;
	struct process process;
	__u64 cgroup;
	__s32 tid;
	__u32 call;
	__u64 ns;
	__s64 ret;
	__s64 offset; // -1: none
	__u64 size;   // asked for; 0: none
	__u64 ino;
	__u32 dev; // the kernel's dev_t
	__u32 is_path;
	__u64 match;
	char comm[TASK_COMM_LEN];
	char fs[16];
	char names[NAMES][NAME_BYTES]; // the file's, its directory's, …; or the path as given
};

// Keeps the type in BTF, for the generated binding.
const struct slow_event *slow_event_type __attribute__((unused));

static __always_inline void name_file(struct slow_event *e, struct dentry *d)
{
	struct dentry *parent;

	for (int i = 0; i < NAMES; i++) {
		e->names[i][0] = 0;
		if (!d)
			continue;
		parent = BPF_CORE_READ(d, d_parent);
		if (parent == d) { // the root of its file system
			d = NULL;
			continue;
		}
		bpf_probe_read_kernel_str(e->names[i], NAME_BYTES, BPF_CORE_READ(d, d_name.name));
		d = parent;
	}
}

#endif
