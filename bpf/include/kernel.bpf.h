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
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_STACK_TRACE = 7,
	BPF_MAP_TYPE_RINGBUF = 27,
};

/* include/uapi/linux/bpf.h: map flags, flags of updates, flags of the ring buffer's helpers */
#define BPF_F_NO_PREALLOC (1U << 0)
#define BPF_F_MMAPABLE (1U << 10)
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2
#define BPF_F_USER_STACK (1U << 8)
#define BPF_F_FAST_STACK_CMP (1U << 9)
#define BPF_RB_NO_WAKEUP (1ULL << 0)
#define BPF_RB_FORCE_WAKEUP (1ULL << 1)
#define BPF_RB_AVAIL_DATA 0

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

typedef struct {
	int counter;
} atomic_t;

/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004 /* all threads end, with group_exit_code */

struct signal_struct {
	atomic_t live;	/* threads that have not begun to end */
	int nr_threads; /* that have not been waited for */
	int group_exit_code;
	unsigned int flags;
	/* What the threads that died had counted. */
	__u64 utime;
	__u64 stime;
	__u64 gtime;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long min_flt;
	unsigned long maj_flt;
	struct task_io_accounting ioac;
	unsigned long long sum_sched_runtime;
	short oom_score_adj;
};

struct mm_struct {
	unsigned long arg_start; /* the arguments, each with its NUL, in the process's memory */
	unsigned long arg_end;
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

struct mem_cgroup {
	struct cgroup_subsys_state css;
};

/* What each is on this kernel the loader finds out; one that it lacks does not exist. */
enum cgroup_subsys_id {
	cpu_cgrp_id = 1,
	cpuacct_cgrp_id,
	memory_cgrp_id,
	io_cgrp_id, /* blkio in v1 */
	pids_cgrp_id,
	freezer_cgrp_id,
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct net *net_ns;
};

/* include/linux/signal_types.h, include/linux/sched/signal.h */
struct kernel_siginfo {
	int si_code;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64]; /* of signal 1 first */
};

/* include/linux/binfmts.h */
struct linux_binprm {
	unsigned long exec; /* where the name of the file lies in the new process's memory */
};

/*
 * The registers of user space, as the entry of a system call saved them: its number and arguments
 * are still there when it returns. Objects that read them are made once for each architecture.
 */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};

struct thread_info {
	unsigned int status;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};

struct thread_info {
	unsigned long flags;
};
#endif

struct task_struct {
#if defined(__TARGET_ARCH_x86) || defined(__TARGET_ARCH_arm64)
	struct thread_info thread_info; /* CONFIG_THREAD_INFO_IN_TASK, always on for both */
#endif
	struct files_struct *files;
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
	__u64 gtime; /* of utime: in a guest, for the threads of a hypervisor */
	unsigned long min_flt;
	unsigned long maj_flt;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	int exit_code;		   /* as wait(2) has it */
	unsigned int self_exec_id; /* the lower half from 5.7 on: counts exec */
	struct task_io_accounting ioac;
	struct css_set *cgroups;
	struct task_delay_info *delays;
	char comm[TASK_COMM_LEN];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num; /* of the object, from 0 on in each reading */
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

/* include/linux/blk-mq.h, blkdev.h, block/blk-cgroup.h */
struct gendisk {
	int major;
	int first_minor;
};

struct request_queue;
struct bio;

struct blkcg {
	struct cgroup_subsys_state css;
};

struct blkcg_gq {
	struct blkcg *blkcg;
};

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;	 /* operation and req_flag_bits */
	unsigned int __data_len; /* bytes that are not completed yet */
	__u64 __sector;		 /* of 512 bytes */
	struct bio *bio;	 /* the first that is not completed */
	__u64 start_time_ns;	 /* ktime when allocated; 0 where the queue keeps no times */
	__u64 io_start_time_ns;	 /* ktime when issued; 0 where nobody asked (QUEUE_FLAG_STATS) */
};

/* include/linux/fs.h */
struct file_system_type {
	const char *name;
};

struct super_block {
	unsigned int s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct file_system_type *s_type;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	long long i_size;
	struct hlist_head i_dentry;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	__s64 f_pos;
};

struct kiocb {
	struct file *ki_filp;
	__s64 ki_pos; /* moved by what was read or written */
};

/* include/linux/uio.h */
struct iov_iter {
	unsigned long count; /* bytes that are left */
};

/* include/linux/fdtable.h */
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

/* include/linux/interrupt.h */
struct irqaction {
	unsigned int flags; /* IRQF_SHARED */
};

/* include/linux/net.h, include/net/sock.h */
struct sock;

struct socket {
	struct file *file;
	struct sock *sk;
};

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	__s64 counter;
} atomic64_t;

/* Shared by full sockets, requests for a connection, and what is left of one in TIME-WAIT. */
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num; /* local port; 0 again when it is closed */
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie; /* 0 until somebody asked for it */
	unsigned long skc_flags;
};

typedef struct {
	int owned; /* a task holds the socket: not a softirq or a timer */
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	int sk_rcvbuf;
	struct socket *sk_socket;
	socket_lock_t sk_lock;
	__u16 sk_protocol;
};

struct net_device {
	int ifindex;
	possible_net_t nd_net;
};

/* include/linux/skbuff.h */
struct sk_buff {
	struct net_device *dev; /* other things while a socket's queue holds it */
	struct sock *sk;
	unsigned int len;
	unsigned int data_len; /* of len: behind the linear part */
	int skb_iif;	       /* of the device it came in by; 0 if it was made here */
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	unsigned int end; /* of the linear part, where skb_shared_info begins */
	unsigned char *head;
	unsigned char *data;
	char cb[48];
};

struct skb_shared_info {
	unsigned short gso_size;
};

/* include/linux/fs.h */
struct address_space {
	struct inode *host;
};

/* include/linux/mm_types.h: see folio.bpf.h */
struct folio;

/* mm/internal.h */
struct compact_control {
	int order; /* of the allocation it is for, -1: of all memory */
};

/* mm/slab.h */
struct kmem_cache {
	unsigned int size; /* bytes an object takes */
	const char *name;
};

/* include/net/inet_sock.h, inet_connection_sock.h; include/linux/tcp.h */
struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u8 icsk_ca_state : 5;
	__u8 icsk_pending; /* which timer */
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_received; /* a FIN counts as one */
	__u64 bytes_sent;     /* payload, every time it was sent */
	__u64 bytes_retrans;  /* payload sent again */
	__u32 total_retrans;  /* segments */
	__u32 srtt_us;	      /* smoothed round trip, us << 3 */
};

struct request_sock {
	struct sock_common __req_common;
};

/* include/net/tcp.h: in sk_buff.cb while a segment is TCP's */
struct tcp_skb_cb {
	__u16 tcp_gso_segs;
};

#pragma clang attribute pop

#endif
