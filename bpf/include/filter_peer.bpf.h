/* SPDX-License-Identifier: GPL-2.0 */

/* Narrowing to single peers: to what is exchanged with another host, whoever does it. */
#ifndef BPF60_FILTER_PEER_BPF_H
#define BPF60_FILTER_PEER_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "filter.bpf.h"

struct filter_peer {
	__u32 addr[4]; /* as in a packet; IPv4 as IPv6 has it, ::ffff:a.b.c.d */
	__u32 port;    /* the peer's own; 0: any */
};

/* The slots that a peer belongs to: those of targets with its port, and of those with any. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, struct filter_peer);
	__type(value, __u32);
} filter_peers SEC(".maps");

/*
 * Bit i is set if the peer belongs to slot i. To be asked only while filters has peers. The verifier looks
 * at a global function once, not once for every way that leads to it.
 */
__noinline __u32 peer_slots(__u32 a, __u32 b, __u32 c, __u32 d, __u32 port)
{
	struct filter_peer key = {{a, b, c, d}, port};
	__u32 bits = 0, *in;

	in = bpf_map_lookup_elem(&filter_peers, &key);
	if (in)
		bits = *in;
	key.port = 0;
	in = bpf_map_lookup_elem(&filter_peers, &key);
	if (in)
		bits |= *in;
	return bits & ((1U << FILTER_SLOTS) - 1);
}

#endif
