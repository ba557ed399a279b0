// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// DNS over UDP: who asks which server, what comes back, and after how long.
//
// Hook:   tp_btf net_dev_queue for the question, in the context of the process that asks;
//         tp_btf netif_receive_skb for the answer. The two are matched by network namespace, local
//         port, server and transaction, so that a question that passes a bond, a bridge or the
//         end of a veth is seen once, and one to 127.0.0.53 as well as what systemd-resolved asks
//         for it.
// Unit:   log2 histogram of microseconds from the first sending to the answer at the device: what the
//         process waits until it runs again is not in it. By process and server, for the host and for
//         each target, cumulative since load. Unanswered questions stay in `dns_asks` until user
//         space takes them out.
// Cost:   a packet that is not UDP: some 30 ns at either end while nobody asked anything lately, else
//         100 to 150 at the receiver, for its headers. A question or an answer: about a microsecond.
// Misses: DNS over TLS and HTTPS; other ports than 53, and 53 that netfilter redirects before the
//         device, as docker's 127.0.0.11. Of DNS over TCP the connections are counted. Questions sent
//         later than asked, when a neighbour has been resolved, may be counted for the process that
//         was interrupted.

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "dns_maps.bpf.h"
#include "dns_packet.bpf.h"
#include "walk.bpf.h"

// Keeps the types in BTF, for the generated binding.
const struct dns_event *dns_event_type __attribute__((unused));

static __always_inline bool is_kernel_thread(void)
{
	struct task_struct *t;

	if (has_current_task_btf()) {
		t = bpf_get_current_task_btf();
		return t->flags & PF_KTHREAD;
	}
	t = (struct task_struct *)bpf_get_current_task();
	return BPF_CORE_READ(t, flags) & PF_KTHREAD;
}

// Verified once, as parse_name is.
__noinline __u32 slots_for(__u32 tgid)
{
	return filter_match(tgid, current_cgroup(), current_other_cgroup(), 0);
}

// asker fills who sends: the current process, unless the kernel sends for somebody; and which targets it
// counts for, by that and by the server.
static __always_inline void asker(struct scratch *s)
{
	__u64 tgid = bpf_get_current_pid_tgid() >> 32;
	const __u32 *server = (const void *)s->key.server;
	struct filters *f = filters_in_use();
	struct ask *a = &s->ask;

	__builtin_memset(a, 0, sizeof(*a));
	if (f && f->peers)
		a->slots =
			peer_slots(server[0], server[1], server[2], server[3], bpf_ntohs(DNS_PORT));
	if (!tgid || is_kernel_thread()) {
		a->flags |= ASK_UNSURE;
		return;
	}
	current_process(&a->who);
	bpf_get_current_comm(a->comm, sizeof(a->comm));
	if (f)
		a->slots |= slots_for(tgid);
}

static __always_inline void asked(struct sk_buff *skb, struct dns_host *h, const struct message *m,
				  __u64 head, __u64 body, __u32 room)
{
	__u64 now = bpf_ktime_get_boot_ns(), print, size;
	struct scratch *s;
	struct ask *a, *old;
	struct net_device *dev = WALK(skb)->dev;
	struct net *net;
	__u32 zero = 0, type;
	__u64 *lately;

	s = bpf_map_lookup_elem(&dns_scratch, &zero);
	if (!s || !dev)
		return;
	net = dev->nd_net.net;
	if (!net)
		return;
	s->key.netns = net->ns.inum;
	s->key.port = m->source;
	s->key.id = m->id;
	if (!address(s->key.server, skb->protocol, head + skb->network_header, true)) {
		h->unparsed++;
		return;
	}
	old = bpf_map_lookup_elem(&dns_asks, &s->key);
	if (old && old->head == head && old->ifindex != dev->ifindex && now - old->last < SAME)
		return; // the same packet, at the next device
	if (is_segmented(skb, head)) {
		h->unparsed++;
		return;
	}
	asker(s);
	a = &s->ask;
	size = room;
	// In a register up to the call: before 5.16 the verifier forgets the bounds of what is spilled.
	asm volatile("if %[size] < %[most] goto +1; %[size] = %[most]"
		     : [size] "+r"(size)
		     : [most] "i"(NAME));
	if (bpf_probe_read_kernel(a->name, size, (void *)body)) {
		h->unparsed++;
		return;
	}
	print = mix(mix(1, (__u64)a->who.tgid << 32 | m->id), a->who.start);
	for (int i = 0; i < NAME / 8; i++)
		print = mix(print, ((__u64 *)a->name)[i]);
	print |= 1;
	a->at = a->last = now;
	a->head = head;
	a->ifindex = dev->ifindex;
	a->print = print;
	a->tries = 1;
	parse_name(room < NAME ? room : NAME);

	s->delta.kind = QUESTION;
	s->delta.resent = old != NULL;
	s->delta.retry = is_repeated(print, now, ASK_AGAIN) || old;
	if (old) {
		old->last = now;
		old->head = head;
		old->ifindex = dev->ifindex;
		old->tries++;
	} else if (bpf_map_update_elem(&dns_asks, &s->key, a, BPF_NOEXIST)) {
		h->untracked++;
	}
	remember_open(&s->key);
	lately = bpf_map_lookup_elem(&dns_lately, &zero);
	if (lately)
		*lately = bpf_jiffies64();
	type = type_slot(a->type);
	h->types[type & 7]++;
	if (a->flags & ASK_UNSURE)
		h->unsure++;
	s->pair.who = a->who;
	__builtin_memcpy(s->pair.server, s->key.server, sizeof(s->pair.server));
	count();
}

static __always_inline int sent_udp(struct sk_buff *skb, struct sock *sk)
{
	__be16 port = sk->__sk_common.skc_dport;
	struct dns_host *h = host();
	struct message m;
	struct net_device *dev;
	struct where w;
	__u64 message;
	__u32 room;

	if (!h)
		return 0;
	h->sent++;
	if ((port && port != DNS_PORT) || !find(&w, skb))
		return 0;
	message = w.head + skb->transport_header;
	// data is at the link header here; what can be read ends len - data_len behind it.
	room = w.data + skb->len - skb->data_len - message;
	if (room < sizeof(m) || room > 0xffff) {
		if (port)
			h->unparsed++;
		return 0;
	}
	if (bpf_probe_read_kernel(&m, sizeof(m), (void *)message) || m.dest != DNS_PORT ||
	    m.flags & (IS_ANSWER | OPCODE))
		return 0;
	// Of a packet that left its namespace the sender's own device has been seen.
	dev = WALK(skb)->dev;
	if (!dev || dev->nd_net.net != sk->__sk_common.skc_net.net)
		return 0;
	asked(skb, h, &m, w.head, message + sizeof(m), room - sizeof(m));
	return 0;
}

static __always_inline int sent_tcp(struct sk_buff *skb, struct sock *sk)
{
	struct net_device *dev = WALK(skb)->dev;
	struct scratch *s;
	struct net *net;
	struct where w;
	__u32 zero = 0;

	s = bpf_map_lookup_elem(&dns_scratch, &zero);
	if (!s || !dev || !find(&w, skb))
		return 0;
	net = dev->nd_net.net;
	if (!net || net != sk->__sk_common.skc_net.net)
		return 0;
	s->key.netns = net->ns.inum;
	s->key.port = bpf_htons(sk->__sk_common.skc_num);
	s->key.id = 0;
	if (!address(s->key.server, skb->protocol, w.head + skb->network_header, true))
		return 0;
	// Told apart from questions by the protocol.
	if (is_repeated(mix(print_of(&s->key), IPPROTO_TCP) | 1, bpf_ktime_get_boot_ns(),
			SYN_AGAIN))
		return 0;
	asker(s);
	s->pair.who = s->ask.who;
	__builtin_memcpy(s->pair.server, s->key.server, sizeof(s->pair.server));
	s->delta.kind = CONNECTION;
	count();
	return 0;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(dns_sent, struct sk_buff *skb)
{
	struct sock *sk = WALK(skb)->sk;
	__u32 protocol;

	if (!sk)
		return 0;
	protocol = sk->sk_protocol;
	if (protocol == IPPROTO_UDP)
		return sent_udp(skb, sk);
	if (protocol == IPPROTO_TCP && sk->__sk_common.skc_dport == DNS_PORT &&
	    sk->__sk_common.skc_state == TCP_SYN_SENT)
		return sent_tcp(skb, sk);
	return 0;
}

// blind finds the question when the answer's own head is out of reach: the oldest one of the port.
static __always_inline bool blind(struct ask_key *key)
{
	__u64 print = print_of(key);
	__u32 slot = print >> 32 & (SEEN - 1);
	struct open *o = bpf_map_lookup_elem(&dns_open, &slot);

	if (!o || o->print != print)
		return false;
	for (__u32 i = 0; i < OPEN; i++) {
		key->id = o->ids[(o->next + i) & (OPEN - 1)];
		if (bpf_map_lookup_elem(&dns_asks, key))
			return true;
	}
	return false;
}

static __always_inline void list(struct scratch *s)
{
	struct dns_event *e = event_reserve(EVENT_DNS, sizeof(*e));

	if (!e)
		return;
	e->latency = s->delta.latency;
	e->rcode = s->rcode;
	e->truncated = s->delta.truncated;
	e->pad = 0;
	__builtin_memcpy(&e->key, &s->key, sizeof(e->key));
	__builtin_memcpy(&e->ask, &s->ask, sizeof(e->ask));
	event_submit(e);
}

// answered takes the question that the answer belongs to out of the map, and counts it. User space
// takes out the old ones: whoever deletes it counts it.
static __always_inline void answered(struct dns_host *h, struct scratch *s, __u64 head,
				     __u32 ifindex)
{
	struct ask *a = bpf_map_lookup_elem(&dns_asks, &s->key);
	struct seen *seen;
	__u64 now = bpf_ktime_get_boot_ns(), ns;
	__u32 slot;

	if (!a) {
		// A bridge or a bond hands the same packet on.
		if (s->answer != head || s->answered_by == ifindex || now - s->answered >= SAME)
			h->unmatched++;
		return;
	}
	// Once deleted it may be another's.
	__builtin_memcpy(&s->ask, a, sizeof(*a));
	if (bpf_map_delete_elem(&dns_asks, &s->key)) {
		h->unmatched++;
		return;
	}
	s->answer = head;
	s->answered = now;
	s->answered_by = ifindex;
	ns = now > s->ask.at ? now - s->ask.at : 0;
	s->delta.kind = ANSWER;
	s->delta.latency = ns;
	slot = log2_u64(microseconds(ns));
	s->delta.slot = slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
	slot = s->ask.print >> 32 & (SEEN - 1);
	seen = bpf_map_lookup_elem(&dns_seen, &slot);
	if (seen && seen->print == s->ask.print)
		seen->print = 0;
	s->pair.who = s->ask.who;
	__builtin_memcpy(s->pair.server, s->key.server, sizeof(s->pair.server));
	count();
	if (s->delta.latency >= SLOW || s->rcode)
		list(s);
}

static __always_inline bool lately(void)
{
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&dns_lately, &zero);

	return at && *at && bpf_jiffies64() - *at < LATELY;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(dns_received, struct sk_buff *skb)
{
	struct message m = {};
	struct dns_host *h;
	struct net_device *dev;
	struct scratch *s;
	struct net *net;
	struct where w;
	__be16 protocol;
	__u32 room, at, zero = 0;
	__u64 ip;

	if (!lately())
		return 0;
	protocol = skb->protocol;
	if (!find(&w, skb))
		return 0;
	ip = w.data;
	room = skb->len - skb->data_len;
	if ((protocol == ETH_P_8021Q || protocol == ETH_P_8021AD) && room >= 4) {
		if (bpf_probe_read_kernel(&protocol, sizeof(protocol), (void *)(ip + 2)))
			return 0;
		ip += 4;
		room -= 4;
	}
	if (protocol != ETH_P_IP && protocol != ETH_P_IPV6)
		return 0;
	h = host();
	if (!h)
		return 0;
	h->received++;
	at = transport(h, protocol, ip, room);
	if (!at)
		return 0;
	room -= at;
	s = bpf_map_lookup_elem(&dns_scratch, &zero);
	dev = WALK(skb)->dev;
	if (!s || !dev)
		return 0;
	net = dev->nd_net.net;
	if (!net)
		return 0;
	s->key.netns = net->ns.inum;
	if (!address(s->key.server, protocol, ip, false))
		return 0;
	if (room >= sizeof(m) && !bpf_probe_read_kernel(&m, sizeof(m), (void *)(ip + at))) {
		if (!(m.flags & IS_ANSWER))
			return 0;
		s->key.port = m.dest;
		s->key.id = m.id;
		s->rcode = m.flags2 & 0xf;
		s->delta.rcode = s->rcode < RCODES ? s->rcode : RCODES - 1;
		s->delta.truncated = (m.flags & IS_TRUNCATED) != 0;
	} else {
		if (bpf_probe_read_kernel(&m, 4, (void *)(ip + at)))
			return 0;
		s->key.port = m.dest;
		if (!blind(&s->key)) {
			h->unparsed++;
			return 0;
		}
		h->blind++;
		s->rcode = 255;
		s->delta.rcode = RCODES;
		s->delta.truncated = 0;
	}
	answered(h, s, w.head, dev->ifindex);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
