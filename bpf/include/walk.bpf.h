/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Walking from one object of the kernel's to the next, at a price. Since 6.4 the verifier asks of every
 * pointer that is read through a trusted one whether it may be trusted too, and looks through the names
 * of all types up to five times for the answer: 1 ms for each such load of each path of a program, most
 * of what our programs took to load. We pass such pointers to nobody: WALK gives up the trust, and so
 * the question is not asked. What is read through such a pointer may fault, and is then 0.
 */
#ifndef BPF60_WALK_BPF_H
#define BPF60_WALK_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Whether the kernel has the function below (6.2). The loader sets it. */
const volatile bool may_cast = false;

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* The same pointer, to be read through and nothing else. It is no instruction but a move. */
#define WALK(p)                                                                                    \
	({                                                                                         \
		typeof(p) __walked = (p);                                                          \
		if (may_cast)                                                                      \
			__walked = bpf_rdonly_cast(__walked, bpf_core_type_id_kernel(typeof(*p))); \
		__walked;                                                                          \
	})

#endif
