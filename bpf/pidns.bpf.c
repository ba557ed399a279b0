// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// What the kernel calls the process that asks, where its own PID namespace calls it otherwise.
//
// Hook:   none: each is run once, in the thread that asks.
// Misses: nothing.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "pids.bpf.h"

SEC("raw_tp/sys_enter")
int own_number(void *ctx)
{
	return bpf_get_current_pid_tgid() >> 32;
}

// How many PID namespaces the process's own lies below the first one.
SEC("raw_tp/sys_enter")
int own_level(void *ctx)
{
	struct task_struct___pids *t = (void *)bpf_get_current_task();

	return BPF_CORE_READ(t, thread_pid, level);
}

char LICENSE[] SEC("license") = "GPL";
