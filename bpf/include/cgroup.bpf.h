/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Which cgroup a task is in, in one hierarchy or another. Version 1 has one for each controller, or for
 * a few together, and their IDs are numbered each on its own: every root is 1.
 */
#ifndef BPF60_CGROUP_BPF_H
#define BPF60_CGROUP_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "walk.bpf.h"

/* Hierarchy in cgroup.go. */
enum hierarchy {
	UNIFIED,
	OF_CPU,
	OF_CPUACCT,
	OF_MEMORY,
	OF_BLKIO,
	OF_PIDS,
	OF_FREEZER,
};

/*
 * Whose IDs are shown: those of the memory controller's hierarchy where that is one of version 1. There
 * the unified one, if it is in use at all, has no containers. The loader sets it, and the verifier takes
 * out what is not for this host.
 */
const volatile bool memory_v1 = false;

#define NO_CONTROLLER (~0ULL)

#define CONTROLLER(name)                                                               \
	(bpf_core_enum_value_exists(enum cgroup_subsys_id, name##_cgrp_id)             \
		 ? (__u64)bpf_core_enum_value(enum cgroup_subsys_id, name##_cgrp_id) * \
			   sizeof(void *)                                              \
		 : NO_CONTROLLER)

/* Where in css_set.subsys a hierarchy's controller is, in bytes. */
static __always_inline __u64 controller_of(__u64 hierarchy)
{
	switch (hierarchy) {
	case OF_CPU:
		return CONTROLLER(cpu);
	case OF_CPUACCT:
		return CONTROLLER(cpuacct);
	case OF_MEMORY:
		return CONTROLLER(memory);
	case OF_BLKIO:
		return CONTROLLER(io);
	case OF_PIDS:
		return CONTROLLER(pids);
	case OF_FREEZER:
		return CONTROLLER(freezer);
	}
	return NO_CONTROLLER;
}

static __always_inline __u64 cgroup_id(struct cgroup *cgroup)
{
	struct kernfs_node *kn;

	if (!cgroup)
		return 0;
	kn = cgroup->kn;
	return kn ? kn->id : 0;
}

/* The task's cgroup in a hierarchy of version 1, NULL where the kernel does not have its controller. */
static __always_inline struct cgroup *task_cgroup_v1(struct task_struct *task, __u64 hierarchy)
{
	struct css_set *set = WALK(task)->cgroups;
	__u64 at = controller_of(hierarchy);
	struct cgroup_subsys_state *css;
	void *subsys;

	if (!set || at == NO_CONTROLLER)
		return NULL;
	subsys = &set->subsys[0];
	subsys += at;
	css = *(struct cgroup_subsys_state **)subsys;
	return css ? css->cgroup : NULL;
}

static __always_inline struct cgroup *task_unified(struct task_struct *task)
{
	struct css_set *set = WALK(task)->cgroups;

	return set ? set->dfl_cgrp : NULL;
}

/* The ID of the task's cgroup as it is shown; 0 if there is none. */
static __always_inline __u64 task_cgroup(struct task_struct *task)
{
	return cgroup_id(memory_v1 ? task_cgroup_v1(task, OF_MEMORY) : task_unified(task));
}

static __always_inline __u64 task_cgroup_in(struct task_struct *task, __u64 hierarchy)
{
	if (hierarchy == UNIFIED)
		return cgroup_id(task_unified(task));
	return cgroup_id(task_cgroup_v1(task, hierarchy));
}

/* The same where the kernel gives no typed pointer to the current task: before 5.11. */
static __always_inline __u64 read_cgroup_in(struct task_struct *task, __u64 hierarchy)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	__u64 at = controller_of(hierarchy);
	struct cgroup_subsys_state *css = NULL;

	if (hierarchy == UNIFIED)
		return BPF_CORE_READ(set, dfl_cgrp, kn, id);
	if (at == NO_CONTROLLER)
		return 0;
	bpf_probe_read_kernel(&css, sizeof(css), (void *)&set->subsys[0] + at);
	return BPF_CORE_READ(css, cgroup, kn, id);
}

#endif
