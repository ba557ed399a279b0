// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Calls on regular files and directories that took long, where the kernel allows fentry: no other system
// call pays for it (fileslower).
//
// Hook:   fentry and fexit of vfs_read, vfs_write, vfs_fsync_range, vfs_open and iterate_dir, and of the
//         functions for reading, writing and syncing of the file systems that are mounted: what readv and
//         io_uring do goes straight there, and so does fsync where the kernel has inlined
//         vfs_fsync_range. The outermost call counts: each of them may call another one.
// Unit:   a record of each call above the threshold; counts since load.
// Misses: page faults, what io_uring leaves to finish by itself, the way to a file that is opened, and
//         calls on paths: stat, rename, unlink.
// Cost:   about 100 ns a read or write, twice that through a file system's own function.

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "filter.bpf.h"
#include "slow.bpf.h"

// Starts of calls, direct-mapped by the low bits of the thread's number: 128 KiB.
#define STARTS 4096
// include/linux/errno.h: the call goes on without its caller
#define EIOCBQUEUED 529
// A call within one that has lasted longer is taken for one of its own: the start of that one may have
// been left behind, as the kernel passes over a program that it interrupted with the same one.
#define NESTED_NS 60000000000ULL

enum op { OP_READ, OP_WRITE, OP_SYNC, OP_OPEN, OP_LIST, OP_FS_READ, OP_FS_WRITE, OP_FS_SYNC, OPS };

const volatile __u64 slow_ns = 10000000;
// The process that looks does not see itself.
const volatile __s32 self;
// The system call that each operation is shown as.
const volatile __u32 call_of[OPS];

struct slow_wanted {
	__u32 narrow; // nothing but the targets is wanted
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slow_wanted);
} slow_control SEC(".maps");

struct slowfile_start {
	__u64 at; // ns; 0: none
	__u64 file;
	__u64 frame; // address on the thread's stack: a call within has a lower one
	__u32 pid;
	__u32 op;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STARTS);
	__type(key, __u32);
	__type(value, struct slowfile_start);
} slowfile_starts SEC(".maps");

// Starts from before this time are not true: the programs were detached since.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} slowfile_since SEC(".maps");

struct slowfile_counts {
	__u64 calls;
	__u64 slow;
	__u64 collided; // starts overwritten by another thread's
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slowfile_counts);
} slowfiles SEC(".maps");

static __always_inline struct slowfile_counts *counts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&slowfiles, &zero);
}

static __always_inline bool has_begun(const struct slowfile_start *s)
{
	__u32 zero = 0;
	__u64 *since = bpf_map_lookup_elem(&slowfile_since, &zero);

	return since && s->at && s->at >= *since;
}

static __always_inline int begins(void *ctx, enum op op, struct file *file, struct inode *inode)
{
	__u64 id = bpf_get_current_pid_tgid(), frame = (__u64)ctx, now;
	__u32 pid = id, slot = pid & (STARTS - 1), mode;
	struct slowfile_start *s;
	struct slowfile_counts *sum;
	bool begun;

	if (!inode || (__s32)(id >> 32) == self)
		return 0;
	mode = inode->i_mode & S_IFMT;
	if (mode != S_IFREG && mode != S_IFDIR)
		return 0;
	s = bpf_map_lookup_elem(&slowfile_starts, &slot);
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	begun = has_begun(s);
	if (begun && s->pid == pid && frame < s->frame && now - s->at < NESTED_NS)
		return 0;
	if (begun && s->pid != pid) {
		sum = counts();
		if (sum)
			sum->collided++;
	}
	s->pid = pid;
	s->op = op;
	s->file = (__u64)file;
	s->frame = frame;
	s->at = now;
	return 0;
}

// ends is how long a call took if that was long; else, and for a call within another one, below 0.
static __always_inline __s64 ends(enum op op, struct file *file, __s64 ret)
{
	__u32 pid = bpf_get_current_pid_tgid(), slot = pid & (STARTS - 1);
	struct slowfile_start *s = bpf_map_lookup_elem(&slowfile_starts, &slot);
	struct slowfile_counts *sum;
	__s64 ns;

	if (!s || !has_begun(s) || s->pid != pid || s->op != op || s->file != (__u64)file)
		return -1;
	ns = bpf_ktime_get_ns() - s->at;
	s->at = 0;
	sum = counts();
	if (!sum || ret == -EIOCBQUEUED)
		return -1;
	sum->calls++;
	return ns >= 0 && ns >= slow_ns ? ns : -1;
}

static __always_inline void tell(enum op op, __s64 ns, struct dentry *dentry, __s64 offset,
				 __u64 size, __s64 ret)
{
	__u32 zero = 0, match, dev;
	struct slow_wanted *c = bpf_map_lookup_elem(&slow_control, &zero);
	struct slowfile_counts *sum = counts();
	struct super_block *sb = BPF_CORE_READ(dentry, d_sb);
	__u64 cgroup = current_cgroup(), id = bpf_get_current_pid_tgid();
	struct slow_event *e;

	dev = BPF_CORE_READ(sb, s_dev);
	match = filter_match(id >> 32, cgroup, current_other_cgroup(), dev);
	if (!c || !sum || (c->narrow && !match))
		return;
	sum->slow++;
	e = event_reserve(EVENT_SLOW_FILE, sizeof(*e));
	if (!e)
		return;
	current_process(&e->process);
	e->cgroup = cgroup;
	e->tid = id;
	e->call = call_of[op];
	e->ns = ns;
	e->ret = ret <= -ERESTARTSYS && ret >= -ERESTART_LAST ? -EINTR : ret;
	e->offset = offset;
	e->size = size;
	e->ino = BPF_CORE_READ(dentry, d_inode, i_ino);
	e->dev = dev;
	e->is_path = 0;
	e->match = match;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	__builtin_memset(e->fs, 0, sizeof(e->fs));
	bpf_probe_read_kernel_str(e->fs, sizeof(e->fs), BPF_CORE_READ(sb, s_type, name));
	name_file(e, dentry);
	event_submit(e);
}

static __always_inline __s64 moved(__s64 ret)
{
	return ret > 0 ? ret : 0;
}

// Where in the file a call began whose fourth argument points to where it ended; -1 without one. It is
// read past the verifier, which before 5.12 knows no pointers to numbers.
static __always_inline __s64 offset_of(__u64 *ctx, __s64 ret)
{
	__s64 *at = NULL, pos = -1;

	bpf_probe_read_kernel(&at, sizeof(at), &ctx[3]);
	if (!at || bpf_probe_read_kernel(&pos, sizeof(pos), at))
		return -1;
	return pos - moved(ret);
}

SEC("fentry/vfs_read")
int BPF_PROG(read_begins, struct file *file)
{
	return begins(ctx, OP_READ, file, file->f_inode);
}

SEC("fexit/vfs_read")
int BPF_PROG(read_ends, struct file *file, char *buf, __u64 size, __s64 *pos, __s64 ret)
{
	__s64 ns = ends(OP_READ, file, ret);

	if (ns >= 0)
		tell(OP_READ, ns, file->f_path.dentry, offset_of(ctx, ret), size, ret);
	return 0;
}

SEC("fentry/vfs_write")
int BPF_PROG(write_begins, struct file *file)
{
	return begins(ctx, OP_WRITE, file, file->f_inode);
}

SEC("fexit/vfs_write")
int BPF_PROG(write_ends, struct file *file, const char *buf, __u64 size, __s64 *pos, __s64 ret)
{
	__s64 ns = ends(OP_WRITE, file, ret);

	if (ns >= 0)
		tell(OP_WRITE, ns, file->f_path.dentry, offset_of(ctx, ret), size, ret);
	return 0;
}

static __always_inline int sync_ended(enum op op, struct file *file, int ret)
{
	__s64 ns = ends(op, file, ret);

	if (ns >= 0)
		tell(op, ns, file->f_path.dentry, -1, 0, ret);
	return 0;
}

SEC("fentry/vfs_fsync_range")
int BPF_PROG(sync_begins, struct file *file)
{
	return begins(ctx, OP_SYNC, file, file->f_inode);
}

SEC("fexit/vfs_fsync_range")
int BPF_PROG(sync_ends, struct file *file, __s64 from, __s64 to, int datasync, int ret)
{
	return sync_ended(OP_SYNC, file, ret);
}

// The file has no inode yet, and none any more after a failure.
SEC("fentry/vfs_open")
int BPF_PROG(open_begins, const struct path *path, struct file *file)
{
	struct dentry *dentry = path->dentry;

	return dentry ? begins(ctx, OP_OPEN, file, dentry->d_inode) : 0;
}

SEC("fexit/vfs_open")
int BPF_PROG(open_ends, const struct path *path, struct file *file, int ret)
{
	__s64 ns = ends(OP_OPEN, file, ret);

	if (ns >= 0)
		tell(OP_OPEN, ns, path->dentry, -1, 0, ret);
	return 0;
}

SEC("fentry/iterate_dir")
int BPF_PROG(list_begins, struct file *file)
{
	return begins(ctx, OP_LIST, file, file->f_inode);
}

SEC("fexit/iterate_dir")
int BPF_PROG(list_ends, struct file *file, void *actor, int ret)
{
	return sync_ended(OP_LIST, file, ret);
}

// Those below are attached to each file system's own function.

static __always_inline int iter_begins(void *ctx, enum op op, struct kiocb *iocb)
{
	struct file *file = iocb->ki_filp;

	return file ? begins(ctx, op, file, file->f_inode) : 0;
}

static __always_inline int iter_ended(enum op op, struct kiocb *iocb, struct iov_iter *iter,
				      __s64 ret)
{
	struct file *file = iocb->ki_filp;
	__s64 ns;

	if (!file)
		return 0;
	ns = ends(op, file, ret);
	if (ns >= 0)
		tell(op, ns, file->f_path.dentry, iocb->ki_pos - moved(ret),
		     iter->count + moved(ret), ret);
	return 0;
}

SEC("fentry/ext4_file_read_iter")
int BPF_PROG(fs_read_begins, struct kiocb *iocb)
{
	return iter_begins(ctx, OP_FS_READ, iocb);
}

SEC("fexit/ext4_file_read_iter")
int BPF_PROG(fs_read_ends, struct kiocb *iocb, struct iov_iter *iter, __s64 ret)
{
	return iter_ended(OP_FS_READ, iocb, iter, ret);
}

SEC("fentry/ext4_file_write_iter")
int BPF_PROG(fs_write_begins, struct kiocb *iocb)
{
	return iter_begins(ctx, OP_FS_WRITE, iocb);
}

SEC("fexit/ext4_file_write_iter")
int BPF_PROG(fs_write_ends, struct kiocb *iocb, struct iov_iter *iter, __s64 ret)
{
	return iter_ended(OP_FS_WRITE, iocb, iter, ret);
}

SEC("fentry/ext4_sync_file")
int BPF_PROG(fs_sync_begins, struct file *file)
{
	return begins(ctx, OP_FS_SYNC, file, file->f_inode);
}

SEC("fexit/ext4_sync_file")
int BPF_PROG(fs_sync_ends, struct file *file, __s64 from, __s64 to, int datasync, int ret)
{
	return sync_ended(OP_FS_SYNC, file, ret);
}

char LICENSE[] SEC("license") = "GPL";
