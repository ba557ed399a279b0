/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Calls on files that took long. Alone of all it reads kernel memory by the helper, which
 * lockdown=confidentiality refuses.
 */
#ifndef BPF60_SYSCALL_SLOW_BPF_H
#define BPF60_SYSCALL_SLOW_BPF_H

#include "syscall.bpf.h"

// The file behind a descriptor of the current task. Another thread may close it meanwhile: then what
// is read is old or nothing, and never a fault.
static __always_inline struct file *file_of(__u32 fd)
{
	struct task_struct *t = (struct task_struct *)bpf_get_current_task();
	struct fdtable *fdt = BPF_CORE_READ(t, files, fdt);
	struct file **all, *file = NULL;

	if (!fdt || fd >= BPF_CORE_READ(fdt, max_fds))
		return NULL;
	all = BPF_CORE_READ(fdt, fd);
	if (all)
		bpf_probe_read_kernel(&file, sizeof(file), all + fd);
	return file;
}

// What slow_call is told, by CPU: more than a function takes.
struct slow_scratch {
	__u64 arg[4];
	__s64 ret;
	__u64 ns;
	__u32 call;
	__u32 flags;
	__u32 match;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slow_scratch);
} slow_scratch SEC(".maps");

__noinline int slow_call(void)
{
	__u32 zero = 0, class, error, fd, mode, dev = 0;
	struct file *file = NULL;
	struct super_block *sb = NULL;
	struct inode *inode = NULL;
	struct slow_scratch *s;
	struct slow_event *e;
	struct totals *sum;
	__u64 user = 0;

	if (!(able & PART_SLOW)) // bpf_probe_read_kernel may be refused
		return 0;
	s = bpf_map_lookup_elem(&slow_scratch, &zero);
	sum = totals();
	if (!s || !sum)
		return 0;
	class = s->flags & CLASS_MASK;
	error = error_of(s->ret);
	// A call that waits until it is interrupted waits for somebody, not for a disk.
	if (error == EINTR)
		return 0;
	if (class == CLASS_PATH0 || (class == CLASS_OPEN0 && error)) {
		user = s->arg[0];
	} else if (class == CLASS_PATH1 || (class == CLASS_OPEN1 && error)) {
		user = s->arg[1];
	} else {
		fd = class == CLASS_FD0 ? s->arg[0] : class == CLASS_FD1 ? s->arg[1] : s->ret;
		file = file_of(fd);
		if (file)
			inode = BPF_CORE_READ(file, f_inode);
		if (!inode)
			return 0;
		mode = BPF_CORE_READ(inode, i_mode) & S_IFMT;
		if (mode != S_IFREG && mode != S_IFDIR)
			return 0;
		sb = BPF_CORE_READ(inode, i_sb);
	}
	sum->slow++;
	e = event_reserve(EVENT_SLOW_FILE, sizeof(*e));
	if (!e)
		return 0;
	current_process(&e->process);
	e->cgroup = current_cgroup();
	e->tid = bpf_get_current_pid_tgid();
	e->call = s->call;
	e->ns = s->ns;
	e->ret = error ? -(__s64)error : s->ret;
	e->offset = -1;
	e->size = s->flags & CLASS_SIZE ? s->arg[2] : 0;
	e->ino = 0;
	e->is_path = user != 0;
	e->match = s->match;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	__builtin_memset(e->fs, 0, sizeof(e->fs));
	if (user) {
		e->names[0][0] = 0;
		bpf_probe_read_user_str(e->names, sizeof(e->names), (const void *)user);
	} else {
		name_file(e, BPF_CORE_READ(file, f_path.dentry));
		e->ino = BPF_CORE_READ(inode, i_ino);
		if (s->flags & CLASS_OFFSET)
			e->offset = s->arg[3];
		else if (s->flags & CLASS_MOVES)
			e->offset = BPF_CORE_READ(file, f_pos) - (s->ret > 0 ? s->ret : 0);
	}
	if (sb) {
		dev = BPF_CORE_READ(sb, s_dev);
		bpf_probe_read_kernel_str(e->fs, sizeof(e->fs), BPF_CORE_READ(sb, s_type, name));
	}
	e->dev = dev;
	event_submit(e);
	return 0;
}

#endif
