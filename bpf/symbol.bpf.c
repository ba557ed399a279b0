// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Names of kernel functions by address, as the kernel prints them in a trace.
//
// Hook:   none; user space runs the program when it needs names.
// Unit:   "name+0x1a/0x40 [module]": where in the function, and how long it is; a bare number where
//         no function is.
// Cost:   a microsecond an address, more in modules; /proc/kallsyms is 60 ms whatever is asked.
// Misses: nothing. Needs bpf_snprintf, which came with 5.13.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>

// As many as are named in one run. A name has at most 511 characters (KSYM_NAME_LEN), nearly all have less
// than 64; a longer one is cut, and then not used.
#define SYMBOLS 64
#define SYMBOL_TEXT 248

struct symbol {
	__u64 addr;
	char text[SYMBOL_TEXT];
};

// Keeps the type in BTF, for the generated binding.
const struct symbol *symbol_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYMBOLS);
	__type(key, __u32);
	__type(value, struct symbol);
} symbols SEC(".maps");

// Attached to nothing. The context is how many entries of symbols have an address.
SEC("raw_tp/sys_enter")
int symbols_named(__u64 *ctx)
{
	__u64 n = ctx[0];

	for (__u32 i = 0; i < SYMBOLS && i < n; i++) {
		__u32 key = i;
		struct symbol *s = bpf_map_lookup_elem(&symbols, &key);

		if (s)
			bpf_snprintf(s->text, sizeof(s->text), "%pS", &s->addr, sizeof(s->addr));
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
