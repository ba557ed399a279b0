/* SPDX-License-Identifier: GPL-2.0 */

/* Where in a packet dns.bpf.c finds what it wants. */
#ifndef BPF60_DNS_PACKET_BPF_H
#define BPF60_DNS_PACKET_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "dns_maps.bpf.h"

// include/uapi/linux/if_ether.h, include/uapi/linux/in.h, include/net/tcp_states.h
#define ETH_P_IP bpf_htons(0x0800)
#define ETH_P_IPV6 bpf_htons(0x86dd)
#define ETH_P_8021Q bpf_htons(0x8100)
#define ETH_P_8021AD bpf_htons(0x88a8)
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_FRAGMENT 44
#define TCP_SYN_SENT 2

struct message {
	__be16 source;
	__be16 dest;
	__be16 length;
	__be16 check;
	__be16 id;
	__u8 flags;  // QR 0x80, opcode 0x78, AA, TC 0x02, RD
	__u8 flags2; // RA, Z, rcode 0x0f
	__be16 questions;
	__be16 counts[3];
};

#define IS_ANSWER 0x80
#define OPCODE 0x78
#define IS_TRUNCATED 0x02

// Where a packet's bytes are, as plain numbers. Read through the pointer itself they are pointers to
// the verifier of 6.17, which lets nobody calculate with them; and it is the helper that reads what
// they point to.
struct where {
	__u64 head;
	__u64 data; // the next field of sk_buff on every kernel
};

static __always_inline bool find(struct where *w, struct sk_buff *skb)
{
	return !bpf_probe_read_kernel(w, sizeof(*w), &skb->head);
}

// address copies one of the two addresses of the IP header at `ip`.
static __always_inline bool address(__u8 out[16], __be16 protocol, __u64 ip, bool dest)
{
	if (protocol == ETH_P_IP) {
		__builtin_memset(out, 0, 10);
		out[10] = out[11] = 0xff;
		return !bpf_probe_read_kernel(out + 12, 4, (void *)(ip + (dest ? 16 : 12)));
	}
	if (protocol == ETH_P_IPV6)
		return !bpf_probe_read_kernel(out, 16, (void *)(ip + (dest ? 24 : 8)));
	return false;
}

static __always_inline bool is_segmented(struct sk_buff *skb, __u64 head)
{
	struct skb_shared_info *info = (void *)(head + skb->end);

	return BPF_CORE_READ(info, gso_size) != 0;
}

static __always_inline __u32 type_slot(__u16 type)
{
	switch (type) {
	case 1:
		return 0; // A
	case 28:
		return 1; // AAAA
	case 12:
		return 2; // PTR
	case 33:
		return 3; // SRV
	case 15:
		return 4; // MX
	case 16:
		return 5; // TXT
	case 65:
		return 6; // HTTPS
	}
	return 7;
}

// transport returns how far behind the IP header that of UDP is; 0 if the packet is not the beginning
// of a datagram from port 53.
static __always_inline __u32 transport(struct dns_host *h, __be16 protocol, __u64 ip, __u32 room)
{
	__u8 b[48] = {};
	__u32 at;

	if (protocol == ETH_P_IP) {
		if (room < 24) {
			h->unreadable++;
			return 0;
		}
		if (bpf_probe_read_kernel(b, 24, (void *)ip) || b[9] != IPPROTO_UDP ||
		    (b[6] & 0x1f) || b[7])
			return 0;
		at = (b[0] & 0xf) * 4;
		if (at == 20)
			return b[20] || b[21] != 53 ? 0 : at;
		if (at < 20)
			return 0;
	} else {
		if (room < 48) {
			h->unreadable++;
			return 0;
		}
		if (bpf_probe_read_kernel(b, 48, (void *)ip))
			return 0;
		at = 40;
		if (b[6] == IPPROTO_UDP)
			return b[40] || b[41] != 53 ? 0 : at;
		// The first fragment of a long answer: offset 0 behind the fragment header.
		if (b[6] != IPPROTO_FRAGMENT || b[40] != IPPROTO_UDP || b[42] || b[43] & 0xf8)
			return 0;
		at = 48;
	}
	if (room < at + 4) {
		h->unreadable++;
		return 0;
	}
	if (bpf_probe_read_kernel(b, 2, (void *)(ip + at)) || b[0] || b[1] != 53)
		return 0;
	return at;
}

// parse_name finds where the name in the scratch's ask ends, and the type behind it. Where that is goes
// through the map, or the verifier would follow each length to the end. It looks at a global function
// once, not once for every way that leads to it.
__noinline int parse_name(__u32 have)
{
	__u32 at = 0, zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&dns_scratch, &zero);
	struct ask *a;

	if (!s)
		return 0;
	a = &s->ask;

	for (int label = 0; label < NAME / 2; label++) {
		__u8 n;

		if (at >= NAME || at >= have)
			break;
		n = a->name[at & (NAME - 1)];
		if (!n || n > 63)
			break;
		at += n + 1;
	}
	s->end = at;
	s->have = have;
	asm volatile("" ::: "memory");
	at = s->end;
	have = s->have;
	if (at + 3 > have || at + 3 > NAME) {
		a->length = have > NAME ? NAME : have;
		a->flags |= ASK_CUT;
		return 0;
	}
	a->length = at;
	a->type = a->name[(at + 1) & (NAME - 1)] << 8 | a->name[(at + 2) & (NAME - 1)];
	// What follows the name is no part of it.
	a->name[at & (NAME - 1)] = 0;
	return 0;
}

#endif
