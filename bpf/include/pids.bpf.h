/* SPDX-License-Identifier: GPL-2.0 */

/* What a task is called in each PID namespace that it can be seen from: include/linux/pid.h. */
#ifndef BPF60_PIDS_BPF_H
#define BPF60_PIDS_BPF_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[]; /* level + 1 of them, the first namespace's first */
};

struct task_struct___pids {
	struct pid *thread_pid;
};

#pragma clang attribute pop

#endif
