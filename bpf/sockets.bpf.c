// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Who holds which socket: every open file of every process that is a socket, in one pass of the
// kernel's iterator over files.
//
// Hook:   iter/task_file, run when user space reads. Nothing is attached between two readings.
//         The kernel leaves out threads that share their files with their process's leader.
// Unit:   one record a file; sockets of every family.
// Cost:   about 0.1 us an open file, where readlink of /proc/PID/fd takes 2.
// Misses: sockets in flight over a unix socket, and those that only the kernel holds.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// include/uapi/linux/stat.h
#define S_IFMT 0170000
#define S_IFSOCK 0140000

struct holder {
	__s32 tgid;
	__u32 inode;
	__u64 start; // of the process: boot time of its leader, ns
	char comm[TASK_COMM_LEN];
};

// Keeps the type in BTF, for the generated binding.
const struct holder *holder_type __attribute__((unused));

// Fields are read through the pointers themselves, as in tasks.bpf.c. A file whose inode is a
// socket was made by the kernel's sockfs: the name of a unix socket in a file system cannot be
// opened.
SEC("iter/task_file")
int sockets_held(struct bpf_iter__task_file *ctx)
{
	struct task_struct *t = ctx->task, *leader;
	struct file *file = ctx->file;
	struct inode *inode;
	struct holder out = {};

	if (!t || !file)
		return 0;
	inode = file->f_inode;
	if (!inode || (inode->i_mode & S_IFMT) != S_IFSOCK)
		return 0;
	out.tgid = t->tgid;
	out.inode = inode->i_ino;
	leader = t->group_leader;
	if (!leader)
		return 0;
	out.start = leader->start_boottime;
	for (int i = 0; i < TASK_COMM_LEN; i++)
		out.comm[i] = *(volatile const char *)&leader->comm[i];
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
