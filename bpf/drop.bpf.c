// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// Dropped packets: why, where in the kernel, on which interface; and the sockets whose receive queue
// is full.
//
// Hook:   tp_btf kfree_skb. From 5.17 on it tells the reason; before, and for SKB_DROP_REASON_
//         NOT_SPECIFIED, what is freed may have done its duty, so these are counted by place only.
//         tp_btf udp_fail_queue_rcv_skb and sock_rcvqueue_full for the sockets.
// Unit:   packets, cumulative since load: per reason exact whatever happens, by place as long as
//         there are rows. A packet of several segments that GRO or GSO made counts once.
// Cost:   200 ns a drop with a reason, 40 one without. Single drops are listed by samples only.
// Misses: what a device drops before it makes an skb (rx_missed_errors), and XDP_DROP in a driver.

#include "kernel.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "events.bpf.h"
#include "walk.bpf.h"

// Combinations of place, reason, interface and protocol that have a row.
#define PLACES 512
// Reasons are below, those of subsystems (mac80211, openvswitch) are counted together in the last.
#define REASONS 256
// Sockets that have a row.
#define SOCKETS 256
// Of one row the first drops are listed, then one of so many; a power of 2.
#define FIRST 16
#define EVERY 64

// The value of SKB_DROP_REASON_NOT_SPECIFIED. User space reads it from the kernel's BTF.
const volatile __u32 unspecified = 0;
// Headers of packets are read. lockdown=confidentiality refuses the helper that does it.
const volatile bool headers = true;

struct drop_key {
	__u64 place; // address in the kernel's text
	__u32 reason;
	__u32 netns;	 // 0: not known
	__u32 ifindex;	 // that it came in by; 0: not known, or it was made here
	__be16 protocol; // ETH_P_*
	__u8 transport;	 // IPPROTO_*; 0: not IP, or not known
	__u8 pad;
};

struct drop_socket {
	__u32 inode; // 0: the socket is in no file any more
	__u32 netns;
	__u16 port;   // local; of a raw socket its protocol
	__u16 family; // AF_*
	__u32 protocol;
};

struct drop_counts {
	__u64 full;   // packets: the receive buffer was full
	__u64 memory; // packets: all sockets of the protocol together had too much (udp_mem)
	__u32 rcvbuf; // bytes, of the socket when it last happened
	__u32 pad;
};

struct drop_event {
	struct event event;
	struct drop_key key;
	__u32 inode; // of the packet's own socket; 0: none, or it is in no file
	__be16 source_port;
	__be16 dest_port;
	__u8 source[16]; // IPv4 as ::ffff:a.b.c.d; zero: not IP
	__u8 dest[16];
	__u32 length;
	__u32 pad;
};

// Keeps the type in BTF, for the generated binding.
const struct drop_event *drop_event_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, PLACES);
	__type(key, struct drop_key);
	__type(value, __u64);
} drop_places SEC(".maps");

// One value for all reasons: user space reads it in one call.
struct reason_counts {
	__u64 packets[REASONS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reason_counts);
} drop_reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SOCKETS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct drop_socket);
	__type(value, struct drop_counts);
} drop_sockets SEC(".maps");

// One row: sockets without a row of their own.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drop_counts);
} drop_others SEC(".maps");

// include/uapi/linux/if_ether.h, include/uapi/linux/in.h, include/net/tcp_states.h,
// include/uapi/asm-generic/errno.h
#define ETH_P_IP bpf_htons(0x0800)
#define ETH_P_IPV6 bpf_htons(0x86dd)
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_TIME_WAIT 6
#define TCP_NEW_SYN_RECV 12
#define ENOMEM 12

// The beginning of a packet from its network header on.
struct front {
	__u8 b[40];
	__u8 ports[4];
};

static __always_inline __u64 network(struct sk_buff *skb)
{
	__u64 head;

	if (!headers)
		return 0;
	// A plain number: see dns.bpf.c.
	if (bpf_probe_read_kernel(&head, sizeof(head), &skb->head))
		return 0;
	return head + skb->network_header;
}

// transport_of returns the protocol above IP, 0 if the header does not look like IP's: that of a packet
// that has not been received yet is not known.
static __always_inline __u8 transport_of(struct sk_buff *skb, __be16 protocol)
{
	__u64 ip;
	__u8 b[10];

	if (protocol != ETH_P_IP && protocol != ETH_P_IPV6)
		return 0;
	ip = network(skb);
	if (!headers || !ip || bpf_probe_read_kernel(b, sizeof(b), (void *)ip))
		return 0;
	if (protocol == ETH_P_IP)
		return b[0] >> 4 == 4 ? b[9] : 0;
	return b[0] >> 4 == 6 ? b[6] : 0;
}

// place_of fills the namespace and the interface. skb->dev shares its room with what queues keep there,
// so it is believed only if it agrees with what the packet says of itself.
static __always_inline void place_of(struct drop_key *key, struct sk_buff *skb)
{
	struct net_device *dev = WALK(skb)->dev;
	struct sock *sk = WALK(skb)->sk;
	struct net *net = NULL, *of = NULL;

	key->ifindex = skb->skb_iif;
	if (sk)
		net = sk->__sk_common.skc_net.net;
	if (!net && dev && key->ifindex && dev->ifindex == key->ifindex)
		net = dev->nd_net.net;
	if (!key->ifindex && net && dev) {
		of = dev->nd_net.net;
		if (of == net)
			key->ifindex = dev->ifindex;
	}
	if (net)
		key->netns = net->ns.inum;
}

static __always_inline __u32 inode_of(struct sock *sk)
{
	struct socket *socket = WALK(sk)->sk_socket;
	struct file *file;
	struct inode *inode;

	if (!socket)
		return 0;
	file = socket->file;
	if (!file)
		return 0;
	inode = file->f_inode;
	return inode ? inode->i_ino : 0;
}

// ends fills the two ends of an IP packet.
static __always_inline void ends(struct drop_event *e, struct sk_buff *skb)
{
	struct front f = {};
	__u64 ip;
	__u32 at = 40;

	if (!headers || !e->key.transport)
		return;
	ip = network(skb);
	if (!ip || bpf_probe_read_kernel(f.b, sizeof(f.b), (void *)ip))
		return;
	if (e->key.protocol == ETH_P_IP) {
		e->source[10] = e->source[11] = e->dest[10] = e->dest[11] = 0xff;
		__builtin_memcpy(e->source + 12, f.b + 12, 4);
		__builtin_memcpy(e->dest + 12, f.b + 16, 4);
		at = (f.b[0] & 0xf) * 4;
		if (f.b[6] & 0x1f || f.b[7])
			return; // a later fragment has no ports
	} else {
		__builtin_memcpy(e->source, f.b + 8, 16);
		__builtin_memcpy(e->dest, f.b + 24, 16);
	}
	if (e->key.transport != IPPROTO_TCP && e->key.transport != IPPROTO_UDP)
		return;
	if (bpf_probe_read_kernel(f.ports, sizeof(f.ports), (void *)(ip + at)))
		return;
	__builtin_memcpy(&e->source_port, f.ports, 2);
	__builtin_memcpy(&e->dest_port, f.ports + 2, 2);
}

static __always_inline void list(const struct drop_key *key, struct sk_buff *skb)
{
	struct sock *sk = WALK(skb)->sk;
	struct drop_event *e = event_reserve(EVENT_DROP, sizeof(*e));
	__u32 state;

	if (!e)
		return;
	__builtin_memset(&e->inode, 0, sizeof(*e) - __builtin_offsetof(struct drop_event, inode));
	__builtin_memcpy(&e->key, key, sizeof(e->key));
	e->length = skb->len;
	if (sk) {
		state = sk->__sk_common.skc_state;
		if (state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV)
			e->inode = inode_of(sk);
	}
	ends(e, skb);
	event_submit(e);
}

static __always_inline int dropped(struct sk_buff *skb, void *place, __u32 reason)
{
	__u64 slot = reason < REASONS ? reason : REASONS - 1;
	__u32 zero = 0;
	struct reason_counts *all = bpf_map_lookup_elem(&drop_reasons, &zero);
	struct drop_key key = {};
	__u64 *n, one = 1;

	asm volatile(""
		     : "+r"(slot)); // or the compiler takes the mask away, which the verifier wants
	if (all)		    // a softirq may come between
		__sync_fetch_and_add(&all->packets[slot & (REASONS - 1)], 1);
	key.place = (__u64)place;
	key.reason = reason;
	key.protocol = skb->protocol;
	if (reason != unspecified) {
		place_of(&key, skb);
		key.transport = transport_of(skb, key.protocol);
	}
	n = bpf_map_lookup_elem(&drop_places, &key);
	if (n) {
		__sync_fetch_and_add(n, 1); // what it returns is not to be had before 5.12
		one = *n;
	} else {
		bpf_map_update_elem(&drop_places, &key, &one, BPF_NOEXIST);
	}
	if (reason != unspecified && (one <= FIRST || !(one & (EVERY - 1))))
		list(&key, skb);
	return 0;
}

// The reason came with c504e5c2f964 ("net: skb: introduce kfree_skb_reason()", 5.17). User space picks
// the program by the arguments in BTF.
SEC("tp_btf/kfree_skb")
int BPF_PROG(drop_reasoned, struct sk_buff *skb, void *place, __u32 reason)
{
	return dropped(skb, place, reason);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(drop_placed, struct sk_buff *skb, void *place)
{
	return dropped(skb, place, unspecified);
}

static __always_inline int queue_full(struct sock *sk, bool memory)
{
	struct drop_socket key = {};
	struct drop_counts *c, none = {};
	struct net *net = WALK(sk)->__sk_common.skc_net.net;
	__u32 zero = 0;

	key.inode = inode_of(sk);
	key.netns = net ? net->ns.inum : 0;
	key.port = sk->__sk_common.skc_num;
	key.family = sk->__sk_common.skc_family;
	key.protocol = sk->sk_protocol;
	c = bpf_map_lookup_elem(&drop_sockets, &key);
	if (!c) {
		bpf_map_update_elem(&drop_sockets, &key, &none, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&drop_sockets, &key);
	}
	if (!c)
		c = bpf_map_lookup_elem(&drop_others, &zero);
	if (!c)
		return 0;
	__sync_fetch_and_add(memory ? &c->memory : &c->full, 1);
	c->rcvbuf = sk->sk_rcvbuf;
	return 0;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(drop_udp, int error, struct sock *sk)
{
	return queue_full(sk, error != -ENOMEM);
}

SEC("tp_btf/sock_rcvqueue_full")
int BPF_PROG(drop_queue, struct sock *sk)
{
	return queue_full(sk, false);
}

char LICENSE[] SEC("license") = "GPL";
