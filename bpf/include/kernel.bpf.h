/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The kernel types our programs read, and nothing else: this is the list of what we depend on.
 * A field's name must be the kernel's; the loader finds its offset (CO-RE). Fields that some
 * supported kernel lacks live in drift.bpf.h.
 */
#ifndef BPF60_KERNEL_BPF_H
#define BPF60_KERNEL_BPF_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 bool;

#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
};

#define TASK_COMM_LEN 16

/* include/linux/sched.h */
#define PF_KTHREAD 0x00200000

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct rq {
	unsigned int nr_running; /* queued on this CPU, the running task included */
	__u64 clock;		 /* ns; brought up to date only when the scheduler needs it */
};

struct cfs_rq {
	struct rq *rq; /* CONFIG_FAIR_GROUP_SCHED */
};

struct sched_entity {
	__u64 sum_exec_runtime; /* ns on a CPU */
	struct cfs_rq *cfs_rq;	/* CONFIG_FAIR_GROUP_SCHED; set for tasks of every class */
};

struct sched_info {
	unsigned long long run_delay;	 /* ns waited for a CPU */
	unsigned long long last_queued;	 /* rq->clock when queued; 0 while running or asleep */
	unsigned long long last_arrival; /* rq->clock when it last got a CPU */
};

typedef struct {
	unsigned int val;
} kuid_t;

struct cred {
	kuid_t uid;
};

/* Fields are there with CONFIG_TASK_IO_ACCOUNTING and CONFIG_TASK_XACCT. */
struct task_io_accounting {
	__u64 read_bytes;	     /* from storage */
	__u64 write_bytes;	     /* to the page cache, to be written to storage */
	__u64 cancelled_write_bytes; /* of those: truncated before they were written */
};

struct signal_struct { /* what the threads that died had counted */
	__u64 utime;
	__u64 stime;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long min_flt;
	unsigned long maj_flt;
	struct task_io_accounting ioac;
	unsigned long long sum_sched_runtime;
};

struct mm_struct {
	unsigned long total_vm; /* pages */
};

/* CONFIG_TASK_DELAY_ACCT */
struct task_delay_info {
	__u64 blkio_delay; /* ns waited for block I/O to end */
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state
		*subsys[1];	 /* by cgroup_subsys_id, which differs with the config */
	struct cgroup *dfl_cgrp; /* in the unified hierarchy */
};

enum cgroup_subsys_id { memory_cgrp_id = 1 };

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	unsigned int flags;
	int prio;
	int static_prio;
	unsigned int policy;
	struct sched_entity se;
	struct sched_info sched_info;
	struct mm_struct *mm;
	int exit_state;
	unsigned in_iowait : 1;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	unsigned long nvcsw;
	unsigned long nivcsw;
	__u64 start_boottime;
	__u64 utime; /* ns by whom the clock tick hit, or exact: CONFIG_VIRT_CPU_ACCOUNTING_GEN */
	__u64 stime;
	unsigned long min_flt;
	unsigned long maj_flt;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	unsigned int self_exec_id; /* the lower half from 5.7 on: counts exec */
	struct task_io_accounting ioac;
	struct css_set *cgroups;
	struct task_delay_info *delays;
	char comm[TASK_COMM_LEN];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

/* include/linux/fs.h */
struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
