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
	unsigned long long run_delay;	/* ns waited for a CPU */
	unsigned long long last_queued; /* rq->clock when queued; 0 while running or asleep */
};

typedef struct {
	unsigned int val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct signal_struct {
	unsigned long nvcsw; /* of the threads that died; so are the next two */
	unsigned long nivcsw;
	unsigned long long sum_sched_runtime;
};

struct task_struct {
	unsigned int flags;
	int static_prio;
	struct sched_entity se;
	struct sched_info sched_info;
	int exit_state;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	unsigned long nvcsw;
	unsigned long nivcsw;
	__u64 start_boottime;
	__u64 utime;
	__u64 stime;
	const struct cred *cred;
	struct signal_struct *signal;
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
