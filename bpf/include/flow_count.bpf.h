/* SPDX-License-Identifier: GPL-2.0 */

/* TCP connections: whose an event is, what it is counted to, and its record. */
#ifndef BPF60_FLOW_COUNT_BPF_H
#define BPF60_FLOW_COUNT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "flow_types.bpf.h"

// What one event adds, to the host, its process, its peer and its targets alike. An entry of 0 adds
// nothing. All goes through this, so that the verifier sees one way and not the product of all.
#define TALLIES 4

struct tally {
	__u64 what[TALLIES]; // a flow_counter, or NOTHING
	__u64 n[TALLIES];
	__u64 time[FLOW_HISTS]; // ns
	__u64 nobody;		// no process: an accept is counted to one when it is known
};

// A copy of which the verifier does not know where it is from: what a comparison tells of it is forgotten
// with it. Known of what it was copied from, every way would go on alone to the end of the program.
static __always_inline __u64 copy_of(__u64 v)
{
	asm volatile("%0 = -%0\n%0 = -%0" : "+r"(v));
	return v;
}

// Additions are atomic everywhere: programs of this file interrupt each other on a CPU.
static __always_inline void add(struct flow_counts *c, const struct tally *t)
{
#pragma unroll
	for (int i = 0; i < TALLIES; i++) {
		__u64 n = copy_of(t->n[i]);

		if (n) // masked, not compared: that would make two ways of it
			__sync_fetch_and_add(&c->n[t->what[i] & (COUNTER_SLOTS - 1)], n);
	}
}

// The same number, of which the verifier knows nothing any more: what it had tried one by one becomes one
// way again.
__noinline __u32 some(__u32 v)
{
	barrier_var(v);
	return v;
}

// The verifier looks at a global function once, not once for every way that leads to it.
__noinline __u64 slot_of(__u64 ns)
{
	__u32 slot = log2_u64(microseconds(ns));

	return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static __always_inline void add_time(struct hist *h, __u64 ns)
{
	__u64 at = slot_of(ns);

	barrier_var(at);
	if (at >= HIST_SLOTS)
		return;
	__sync_fetch_and_add(&h->slots[at], 1);
	__sync_fetch_and_add(&h->sum, ns);
}

static __always_inline void add_times(struct flow_set *s, const struct tally *t, __u64 path)
{
	barrier_var(path); // or the mask would be optimised away
	path &= FLOW_PATHS - 1;
#pragma unroll
	for (int i = 0; i < FLOW_HISTS; i++) {
		__u64 ns = copy_of(t->time[i]);

		if (ns)
			add_time(&s->hists[i][path], ns);
	}
}

static __always_inline void add_time32(__u32 *slots, __u64 *sum, __u64 ns)
{
	__u64 at = slot_of(ns);

	ns = copy_of(ns);
	barrier_var(at);
	if (!ns || at >= HIST_SLOTS)
		return;
	__sync_fetch_and_add(&slots[at], 1);
	__sync_fetch_and_add(sum, ns);
}

__noinline __u32 slots_for(__u32 tgid, __u64 cgroup, __u64 other)
{
	return filter_match(tgid, cgroup, other, 0);
}

__noinline int count_slots(__u32 slots, __u64 what, __u64 n)
{
	for (__u32 i = 1; i < FILTER_SLOTS; i++) {
		struct flow_set *s;
		__u32 slot = i;

		if (!(slots >> i & 1))
			continue;
		s = bpf_map_lookup_elem(&narrowed, &slot);
		if (s)
			__sync_fetch_and_add(&s->counts.n[what & (COUNTER_SLOTS - 1)], n);
	}
	return 0;
}

__noinline int time_slots(__u32 slots, __u64 which, __u64 path, __u64 ns)
{
	for (__u32 i = 1; i < FILTER_SLOTS; i++) {
		__u64 w = which, p = path;
		struct flow_set *s;
		__u32 slot = i;

		if (!(slots >> i & 1))
			continue;
		s = bpf_map_lookup_elem(&narrowed, &slot);
		barrier_var(w); // checked here: once spilled, 5.10 forgets their bounds
		barrier_var(p);
		if (s && w < FLOW_HISTS && p < FLOW_PATHS)
			add_time(&s->hists[w][p], ns);
	}
	return 0;
}

// The targets that a socket belongs to by its owner.
static __always_inline __u32 slots_of_owner(const struct flow_socket *s)
{
	return slots_for(s->owner.tgid, s->cgroup, s->other_cgroup);
}

static __noinline int add_targets(__u32 slots, const struct tally *t, __u64 path)
{
	if (!slots)
		return 0;
#pragma unroll
	for (int i = 0; i < TALLIES; i++) {
		__u64 n = copy_of(t->n[i]);

		if (n)
			count_slots(slots, t->what[i], n);
	}
#pragma unroll
	for (int i = 0; i < FLOW_HISTS; i++) {
		__u64 ns = copy_of(t->time[i]);

		if (ns)
			time_slots(slots, i, path, ns);
	}
	return 0;
}

static __always_inline bool has_ipv6(void)
{
	return bpf_core_field_exists(struct sock_common, skc_v6_daddr);
}

static __always_inline void ipv4(struct flow_address *a, __be32 addr)
{
	a->word[0] = a->word[1] = 0;
	a->word[2] = bpf_htonl(0xffff);
	a->word[3] = addr;
}

static __always_inline void remote_of(struct flow_address *a, const struct sock_common *sk)
{
	if (has_ipv6() && sk->skc_family == AF_INET6) {
		for (int i = 0; i < 4; i++)
			a->word[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
		return;
	}
	ipv4(a, sk->skc_daddr);
}

static __always_inline void local_of(struct flow_address *a, const struct sock_common *sk)
{
	if (has_ipv6() && sk->skc_family == AF_INET6) {
		for (int i = 0; i < 4; i++)
			a->word[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		return;
	}
	ipv4(a, sk->skc_rcv_saddr);
}

static __always_inline bool is_loopback(const struct flow_address *a)
{
	if (a->word[0] | a->word[1])
		return false;
	if (a->word[2] == bpf_htonl(0xffff))
		return (a->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !a->word[2] && a->word[3] == bpf_htonl(1);
}

// The path to an address, as one unknown number to the verifier.
__noinline __u64 path_to(__u32 a, __u32 b, __u32 c, __u32 d)
{
	struct flow_address addr = {{a, b, c, d}};

	return is_loopback(&addr) ? LOOPBACK : NETWORK;
}

// Notes who the current task is; false for none that could own a socket.
static __always_inline bool whose(struct flow_socket *s)
{
	struct task_struct *task = current_task(), *leader;

	if (!current_process(&s->owner) || !s->owner.tgid) {
		s->owner.tgid = 0;
		s->owner.start = 0;
		return false;
	}
	s->cgroup = current_cgroup();
	s->other_cgroup = current_other_cgroup();
	leader = task ? WALK(task)->group_leader : NULL;
	if (leader)
		task_comm(s->comm, leader);
	else
		bpf_get_current_comm(s->comm, TASK_COMM_LEN);
	return true;
}

static __always_inline struct flow_peer_counts *the_rest(__u32 which)
{
	return bpf_map_lookup_elem(&rest, &which);
}

static __always_inline struct flow_process *new_process(const struct flow_socket *s,
							const struct process *key)
{
	__u32 zero = 0;
	void *zeroes = bpf_map_lookup_elem(&blank, &zero);
	struct flow_process *p;

	if (!zeroes)
		return NULL;
	bpf_map_update_elem(&processes, key, zeroes, BPF_NOEXIST);
	p = bpf_map_lookup_elem(&processes, key);
	if (!p)
		return NULL;
	p->cgroup = s->cgroup;
	__builtin_memcpy(p->comm, s->comm, TASK_COMM_LEN);
	return p;
}

static __noinline int add_process(const struct flow_socket *s, const struct tally *t)
{
	struct flow_peer_counts *r;
	struct flow_process *p = NULL;
	struct process key;

	if (s && s->owner.tgid) {
		key = s->owner;
		p = bpf_map_lookup_elem(&processes, &key);
		if (!p)
			p = new_process(s, &key);
	}
	if (p) {
		add(&p->counts, t);
		return 0;
	}
	r = the_rest(s && s->owner.tgid ? REST_PROCESSES : REST_UNOWNED);
	if (r)
		add(&r->counts, t);
	return 0;
}

static __noinline int add_peer(const struct flow_peer *key, const struct tally *t)
{
	struct flow_peer_counts *p = bpf_map_lookup_elem(&peers, key);
	__u32 zero = 0;
	void *zeroes;

	if (!p) {
		zeroes = bpf_map_lookup_elem(&blank, &zero);
		if (!zeroes)
			return 0;
		bpf_map_update_elem(&peers, key, zeroes, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&peers, key);
	}
	if (!p)
		p = the_rest(REST_PEERS);
	if (!p)
		return 0;
	add(&p->counts, t);
	add_time32(p->latency, &p->latency_sum, t->time[LATENCY]);
	add_time32(p->rtt, &p->rtt_sum, t->time[RTT]);
	return 0;
}

static __always_inline void serve(__u16 port)
{
	__u32 word = port >> 6;
	__u64 *ports = bpf_map_lookup_elem(&served, &word);

	if (ports)
		*ports |= 1ULL << (port & 63);
}

static __always_inline __u16 service_port(__u8 role, __u16 local, __u16 remote)
{
	__u32 word = local >> 6;
	__u64 *ports;

	if (role == ACTIVE)
		return remote;
	if (role == PASSIVE)
		return local;
	ports = bpf_map_lookup_elem(&served, &word);
	return ports && *ports >> (local & 63) & 1 ? local : remote;
}

// Counts an event of a socket to all that it belongs to. The local port is given: at the end of a
// connection it is no more where it was.
static __noinline int settle(struct flow_cpu *c, const struct sock_common *sk, __u16 port,
			     const struct flow_socket *s, const struct tally *t)
{
	__u16 remote = bpf_ntohs(sk->skc_dport);
	struct flow_peer key = {};
	struct filters *f;
	__u32 slots = 0;
	__u64 path;

	remote_of(&key.addr, sk);
	key.role = s ? s->role : UNKNOWN;
	key.port = service_port(key.role, port, remote);
	path = path_to(key.addr.word[0], key.addr.word[1], key.addr.word[2], key.addr.word[3]);
	add(&c->host.counts, t);
	add_times(&c->host, t, path);
	add_peer(&key, t);
	f = filters_in_use();
	if (f && f->peers)
		slots = peer_slots(key.addr.word[0], key.addr.word[1], key.addr.word[2],
				   key.addr.word[3], remote);
	if (t->nobody)
		return add_targets(slots, t, path);
	// A round trip alone is no row: processes have none of it, and their table would be full of those
	// that do nothing but read.
	if (t->n[0] | t->n[1] | t->n[2] | t->n[3])
		add_process(s, t);
	if (s && f)
		slots |= slots_of_owner(s);
	return add_targets(slots, t, path);
}

static __always_inline __u32 netns_of(const struct sock_common *sk)
{
	struct net *net = WALK(sk)->skc_net.net;

	return net ? net->ns.inum : 0;
}

// The inode by which user space finds who holds the socket.
static __always_inline __u32 inode_of(const struct sock *sk)
{
	struct socket *socket = WALK(sk)->sk_socket;
	struct inode *inode;
	struct file *file;

	if (!socket)
		return 0;
	file = socket->file;
	if (!file)
		return 0;
	inode = file->f_inode;
	return inode ? inode->i_ino : 0;
}

// Begins a record with what every kind of socket has. Records are made on the stack: 5.10 cannot follow
// memory of the ring out of a function.
static __noinline void begin(struct flow_event *e, const struct sock_common *sk, __u16 port,
			     const struct flow_socket *s)
{
	__builtin_memset(e, 0, sizeof(*e));
	if (s) {
		e->owner = s->owner;
		e->cgroup = s->cgroup;
		e->role = s->role;
		__builtin_memcpy(e->comm, s->comm, TASK_COMM_LEN);
		if (s->born)
			e->lasted = bpf_ktime_get_boot_ns() - s->born;
	}
	if (sk) {
		e->cookie = sk->skc_cookie.counter;
		e->netns = netns_of(sk);
		local_of(&e->local, sk);
		remote_of(&e->remote, sk);
		e->local_port = port;
		e->remote_port = bpf_ntohs(sk->skc_dport);
		e->state = sk->skc_state;
		e->family = sk->skc_family == AF_INET6 ? 6 : 4;
	}
}

static __always_inline __u64 payload_sent(const struct tcp_sock *tp)
{
	__u64 sent = tp->bytes_sent, again = tp->bytes_retrans;

	return sent > again ? sent - again : 0;
}

static __always_inline __u64 payload_received(const struct sock *sk, const struct tcp_sock *tp)
{
	__u64 received = tp->bytes_received;

	return received && sk->__sk_common.skc_flags & SOCK_DONE ? received - 1 : received;
}

// What a full socket has beyond.
static __noinline void complete(struct flow_event *e, const struct sock *sk,
				const struct tcp_sock *tp)
{
	e->sent = payload_sent(tp);
	e->received = payload_received(sk, tp);
	e->srtt = tp->srtt_us >> 3;
	e->retrans = tp->total_retrans;
	if (!e->owner.tgid)
		e->inode = inode_of(sk);
}

static __always_inline void wait(__s64 n)
{
	__u32 zero = 0;
	__s64 *w = bpf_map_lookup_elem(&waiting, &zero);

	if (w)
		__sync_fetch_and_add(w, n);
}

// Notes the owner if the current task holds the socket. An accept counts for its process from here on.
static __noinline int own(struct flow_socket *s, const struct sock *sk)
{
	struct tally t = {};

	if (s->owner.tgid || !sk->sk_lock.owned)
		return 0;
	if (!whose(s))
		return 0;
	if (!s->waits)
		return 0;
	s->waits = 0;
	wait(-1);
	t.what[0] = ACCEPTS;
	t.n[0] = 1;
	add_process(s, &t);
	if (filter_any()) // for its peer it counted when it began
		add_targets(slots_of_owner(s), &t, NETWORK);
	return 0;
}

#endif
