// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Files made and deleted: how many, by which process in which directory, and how long they lived.
//
// Hook:   fentry d_instantiate, d_instantiate_new, d_make_persistent (7.0) and fentry, fexit vfs_unlink:
//         every file system. Where the kernel refuses fentry tp_btf ext4_allocate_inode and
//         ext4_unlink_exit: ext4 alone.
// Unit:   counts, and a log2 histogram of microseconds from making to deleting, cumulative since load.
// Misses: files made before the programs were attached have no age. A name that rename replaces is not
//         deleted here, nor is a file without a name (O_TMPFILE), which ext4's hook still counts as made.
//         One of several names of a file (hard links) is not counted until it is the last.
// Cost:   about 0.9 us for making and deleting a file, with two updates of hashes each.

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

#define S_IFMT 0170000
#define S_IFREG 0100000
#define SB_KERNMOUNT (1 << 22) // nobody's path leads there: memfd, shared memory
// include/uapi/linux/magic.h
#define OVERLAYFS_SUPER_MAGIC 0x794c7630

#define BORN 8192  // files that are remembered; the oldest are dropped by user space
#define CHURN 4096 // pairs of process and directory
#define LEVELS 6   // of a path
#define NAME 40	   // bytes of a name, the ending 0 included: longer ones are cut
#define UNLINKS 1024

// Which argument of vfs_unlink is the dentry: 1 until 5.11, then 2.
const volatile __u32 unlink_dentry = 2;

struct file_key {
	__u64 ino;
	__u64 dev; // the kernel's dev_t
};

struct file_birth {
	__u64 at; // boot time, ns
	struct process by;
};

struct file_churn_key {
	struct process by;
	struct file_key dir;
};

struct file_churn {
	__u64 made;
	__u64 deleted;
	__u64 aged; // of the deleted: those whose age is known
	__u64 life; // of those, ns
	char comm[TASK_COMM_LEN];
	char dir[NAME]; // the last part of its path; may be empty
};

struct file_counts {
	__u64 made;
	__u64 deleted;
	__u64 aged;
	__u64 forgotten; // made and not remembered: there was no room
	__u64 other;	 // not in churn: there was no room
	struct hist life;
};

struct file_life {
	struct event head;
	struct process by;   // who deleted it
	struct process made; // who made it
	struct file_key file;
	__u64 life; // ns
	__u64 size; // bytes, at its end
	char comm[TASK_COMM_LEN];
	char fs[16];
	char path[LEVELS][NAME]; // its name, its directory's, and so on; empty above the root
};

const struct file_life *file_life_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BORN);
	__type(key, struct file_key);
	__type(value, struct file_birth);
} born SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CHURN);
	__type(key, struct file_churn_key);
	__type(value, struct file_churn);
} churn SEC(".maps");

// By slot: the host, then targets that are counted apart.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct file_counts);
} files SEC(".maps");

// An unlink that has begun, by the lower bits of the thread's PID: fexit cannot see what the file was.
struct file_unlink {
	__u64 dentry; // its address
	__u32 pid;
	__u32 last; // its last name
	struct file_key file;
	__u64 size;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNLINKS);
	__type(key, __u32);
	__type(value, struct file_unlink);
} unlinks SEC(".maps");

static __always_inline bool key_of(struct inode *inode, struct file_key *key)
{
	struct super_block *sb = inode->i_sb;

	if (!sb || sb->s_flags & SB_KERNMOUNT)
		return false;
	key->ino = inode->i_ino;
	key->dev = sb->s_dev;
	return true;
}

static __always_inline struct file_counts *counts_of(__u32 slot)
{
	return bpf_map_lookup_elem(&files, &slot);
}

static __always_inline void name_of(char dst[NAME], struct dentry *dentry)
{
	const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);

	bpf_probe_read_kernel_str(dst, NAME, name);
}

// Up to 7.2 a name's place in the list of its inode's names was in a union.
struct hlist_node___alone {
	void *next;
} __attribute__((preserve_access_index));

struct dentry___alone {
	struct hlist_node___alone d_alias;
} __attribute__((preserve_access_index));

// The one name of a directory, by its inode.
static __always_inline void directory_of(char dst[NAME], struct inode *dir)
{
	void *alias = BPF_CORE_READ(dir, i_dentry.first);

	if (!alias)
		return;
	if (bpf_core_field_exists(struct dentry, d_u.d_alias))
		name_of(dst, alias - bpf_core_field_offset(struct dentry, d_u.d_alias));
	else if (bpf_core_field_exists(struct dentry___alone, d_alias))
		name_of(dst, alias - bpf_core_field_offset(struct dentry___alone, d_alias));
}

// The row of this process in this directory; NULL if there is no room, which is counted.
static __always_inline struct file_churn *churn_of(const struct process *by,
						   const struct file_key *dir, struct inode *inode)
{
	struct file_churn_key key = {.by = *by, .dir = *dir};
	struct file_churn *row = bpf_map_lookup_elem(&churn, &key);
	struct file_churn fresh = {};
	struct file_counts *host;

	if (row)
		return row;
	bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
	directory_of(fresh.dir, inode);
	bpf_map_update_elem(&churn, &key, &fresh, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&churn, &key);
	if (!row) {
		host = counts_of(0);
		if (host)
			host->other++;
	}
	return row;
}

// Verified once.
__noinline __u32 matching(__u32 tgid, __u32 dev)
{
	return filter_match(tgid, current_cgroup(), current_other_cgroup(), dev);
}

static __always_inline int made(struct inode *inode, struct inode *dir, __u32 mode)
{
	struct file_birth birth = {};
	struct file_key key = {}, dir_key = {};
	struct file_churn *row;
	struct file_counts *host;
	__u32 match;

	if ((mode & S_IFMT) != S_IFREG || !key_of(inode, &key) || !key_of(dir, &dir_key))
		return 0;
	host = counts_of(0);
	if (!host || !current_process(&birth.by))
		return 0;
	host->made++;
	birth.at = bpf_ktime_get_boot_ns();
	if (bpf_map_update_elem(&born, &key, &birth, BPF_ANY))
		host->forgotten++;
	row = churn_of(&birth.by, &dir_key, dir);
	if (row)
		__sync_fetch_and_add(&row->made, 1);
	match = filter_any() ? matching(birth.by.tgid, key.dev) : 0;
	if (!match)
		return 0;
	for (__u32 slot = 1; slot < FILTER_SLOTS; slot++) {
		struct file_counts *c = filter_has(match, slot) ? counts_of(slot) : NULL;

		if (c)
			c->made++;
	}
	return 0;
}

static __always_inline void count_deleted(__u32 slot, __u64 life)
{
	struct file_counts *c = counts_of(slot);

	if (!c)
		return;
	c->deleted++;
	if (!life)
		return;
	c->aged++;
	hist_add(&c->life, life);
}

static __always_inline void tell(struct dentry *dentry, const struct file_key *file,
				 const struct process *by, const struct file_birth *birth,
				 __u64 life, __u64 size)
{
	struct file_life *e = event_reserve(EVENT_FILE_LIFE, sizeof(*e));
	struct dentry *d = dentry, *up;
	const char *fs;

	if (!e)
		return;
	e->by = *by;
	e->made = birth->by;
	e->file = *file;
	e->life = life;
	e->size = size;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	fs = BPF_CORE_READ(dentry, d_sb, s_type, name);
	if (bpf_probe_read_kernel_str(e->fs, sizeof(e->fs), fs) < 0)
		e->fs[0] = 0;
#pragma unroll
	for (int i = 0; i < LEVELS; i++) {
		e->path[i][0] = 0;
		if (!d)
			continue;
		up = BPF_CORE_READ(d, d_parent);
		if (up == d) { // the root has no name
			d = NULL;
			continue;
		}
		name_of(e->path[i], d);
		d = up;
	}
	event_submit(e);
}

static __always_inline int deleted(struct dentry *dentry, struct inode *dir,
				   const struct file_key *file, __u64 size)
{
	struct file_birth *known = bpf_map_lookup_elem(&born, file), birth = {};
	struct file_key dir_key = {};
	struct file_churn *row;
	struct process by = {};
	__u64 life = 0;
	__s64 age;
	__u32 match;

	if (!current_process(&by))
		return 0;
	if (known) {
		birth = *known;
		bpf_map_delete_elem(&born, file); // the number is given to the next file at once
		age = bpf_ktime_get_boot_ns() - birth.at;
		life = age > 0 ? age : 1;
	}
	count_deleted(0, life);
	match = filter_any() ? matching(by.tgid, file->dev) : 0;
	for (__u32 slot = 1; match && slot < FILTER_SLOTS; slot++)
		if (filter_has(match, slot))
			count_deleted(slot, life);
	if (dir && key_of(dir, &dir_key)) {
		row = churn_of(&by, &dir_key, dir);
		if (row) {
			__sync_fetch_and_add(&row->deleted, 1);
			if (life) {
				__sync_fetch_and_add(&row->aged, 1);
				__sync_fetch_and_add(&row->life, life);
			}
		}
	}
	if (life)
		tell(dentry, file, &by, &birth, life, size);
	return 0;
}

static __always_inline int instantiated(struct dentry *dentry, struct inode *inode)
{
	struct super_block *sb;
	struct dentry *parent;
	struct inode *dir;

	if (!dentry || !inode || inode->i_nlink > 1) // a further name of a file
		return 0;
	sb = inode->i_sb;
	if (sb && sb->s_magic == OVERLAYFS_SUPER_MAGIC) // its upper file system has made the file
		return 0;
	parent = dentry->d_parent;
	dir = parent ? parent->d_inode : NULL;
	return dir ? made(inode, dir, inode->i_mode) : 0;
}

SEC("fentry/d_instantiate")
int BPF_PROG(file_named, struct dentry *dentry, struct inode *inode)
{
	return instantiated(dentry, inode);
}

SEC("fentry/d_instantiate_new")
int BPF_PROG(file_named_new, struct dentry *dentry, struct inode *inode)
{
	return instantiated(dentry, inode);
}

SEC("fentry/d_make_persistent")
int BPF_PROG(file_named_persistent, struct dentry *dentry, struct inode *inode)
{
	return instantiated(dentry, inode);
}

static __always_inline struct dentry *unlink_arg(__u64 *ctx)
{
	struct dentry *dentry;

	// In assembly, or the compiler makes one load of the two, at an offset that the verifier refuses.
	if (unlink_dentry == 1)
		asm volatile("%0 = *(u64 *)(%1 + 8)" : "=r"(dentry) : "r"(ctx));
	else
		asm volatile("%0 = *(u64 *)(%1 + 16)" : "=r"(dentry) : "r"(ctx));
	return dentry;
}

SEC("fentry/vfs_unlink")
int unlink_begins(__u64 *ctx)
{
	struct dentry *dentry = unlink_arg(ctx);
	struct inode *inode = dentry ? dentry->d_inode : NULL;
	__u32 pid = bpf_get_current_pid_tgid(), slot = pid % UNLINKS;
	struct file_unlink *u = bpf_map_lookup_elem(&unlinks, &slot);

	if (!u)
		return 0;
	u->dentry = 0;
	if (!inode || (inode->i_mode & S_IFMT) != S_IFREG || !key_of(inode, &u->file))
		return 0;
	u->dentry = (__u64)dentry;
	u->pid = pid;
	u->last = inode->i_nlink <= 1;
	u->size = inode->i_size;
	return 0;
}

static __always_inline int unlink_ended(struct dentry *dentry, __s64 ret)
{
	__u32 pid = bpf_get_current_pid_tgid(), slot = pid % UNLINKS;
	struct file_unlink *u = bpf_map_lookup_elem(&unlinks, &slot);
	struct file_key file;
	struct dentry *parent;

	if (ret || !dentry || !u || u->pid != pid || u->dentry != (__u64)dentry || !u->last)
		return 0;
	file = u->file;
	parent = dentry->d_parent;
	return deleted(dentry, parent ? parent->d_inode : NULL, &file, u->size);
}

// (dir, dentry, delegated inode) until 5.11
SEC("fexit/vfs_unlink")
int unlink_ends3(__u64 *ctx)
{
	return unlink_ended((struct dentry *)ctx[1], (int)ctx[3]);
}

// (mount's IDs, dir, dentry, delegated inode)
SEC("fexit/vfs_unlink")
int unlink_ends4(__u64 *ctx)
{
	return unlink_ended((struct dentry *)ctx[2], (int)ctx[4]);
}

SEC("tp_btf/ext4_allocate_inode")
int BPF_PROG(ext4_made, struct inode *inode, struct inode *dir, int mode)
{
	return made(inode, dir, mode);
}

SEC("tp_btf/ext4_unlink_exit")
int BPF_PROG(ext4_deleted, struct dentry *dentry, int ret)
{
	struct inode *inode = dentry->d_inode;
	struct dentry *parent = dentry->d_parent;
	struct file_key file = {};

	if (ret || !inode || !parent || inode->i_nlink || (inode->i_mode & S_IFMT) != S_IFREG ||
	    !key_of(inode, &file))
		return 0;
	return deleted(dentry, parent->d_inode, &file, inode->i_size);
}

char LICENSE[] SEC("license") = "GPL";
