// SPDX-License-Identifier: GPL-2.0
//go:build ignore

// TCP connections: connects, accepts, connect latency, failures, life spans with bytes, state
// changes, retransmits, round trips and resets, by process and by peer.
//
// Hook:   tp_btf inet_sock_set_state tells the life of a connection; tcp_retransmit_skb and
//         tcp_retransmit_synack what is sent again; tcp_send_reset and tcp_receive_reset; and
//         tcp_rcv_space_adjust runs whenever a process has read from a socket.
// Owner:  a hook may run in a softirq, over whatever task the CPU was at. The current task owns a
//         socket only while the socket is held by a task (sk_lock.owned): that is so in connect, in
//         read, and in close. So a connection that was accepted has its owner from the first read on,
//         or from its close. What was open before us is seeded by a pass over all open files.
// Unit:   counts, bytes of payload, segments; log2 histograms of microseconds. Cumulative since load.
// Cost:   about 540 ns a state change, 85 ns a read.
// Misses: a connect that finds no route never becomes a connection (OutNoRoutes of /proc/net/snmp);
//         bytes of a connection that has not ended; who accepted, until that process reads or closes.

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "flow_count.bpf.h"
#include "flow_life.bpf.h"
#include "flow_types.bpf.h"

// How many arguments the tracepoints have here; user space reads it from the kernel's BTF.
const volatile __u32 retransmit_args = 2; // 3 since 6.18: an error, with what could not be sent
const volatile __u32 reset_args = 2;	  // 3 since 6.10: the reason

// The sockets of MPTCP are no TCP sockets; those of its parts are.
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_changed, struct sock *sk, int from, int next)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u32 old = from, new = next, zero = 0, what;
	__u64 now, key = (__u64)sk;
	struct flow_socket *s;
	struct flow_cpu *c;

	if (!tp || old >= STATES || new >= STATES)
		return 0;
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!c)
		return 0;
	__sync_fetch_and_add(&c->moves[old * STATES + new], 1);
	if (old == TCP_LISTEN &&
	    new == TCP_SYN_RECV) // the copy of a listening socket: not a connection yet
		return 0;
	now = bpf_ktime_get_boot_ns();
	s = bpf_map_lookup_elem(&tracked, &key);
	if (s && s->born && new != TCP_SYN_SENT) {
		__sync_fetch_and_add(&c->stayed[old & (STATE_SLOTS - 1)], now - s->changed);
		__sync_fetch_and_add(&c->left[old & (STATE_SLOTS - 1)], 1);
	}
	if (new == TCP_LISTEN)
		serve(sk->__sk_common.skc_num);
	what = meaning(old, new, s && s->role == ACTIVE, sk->sk_err,
		       bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport));
	if (what == CONNECTS)
		s = track(c, key, ACTIVE, now);
	else if (what == ACCEPTS)
		s = track(c, key, PASSIVE, now);
	else if (!s && new != TCP_CLOSE && (new == TCP_LISTEN || sk->sk_lock.owned))
		s = track(c, key, UNKNOWN, now); // older than us, and known whose
	what = some(what);
	if (s) {
		s->changed = now;
		own(s, sk);
	}
	if (what != NOTHING) {
		count_change(c, sk, tp, s, what);
		record_change(sk, tp, s, what, old);
	}
	if (new == TCP_CLOSE && s) {
		if (s->waits)
			wait(-1);
		bpf_map_delete_elem(&tracked, &key);
	}
	return 0;
}

// Why a segment is sent again. The timer of the tail loss probe is still pending while it sends, and
// in recovery there is none.
static __always_inline __u32 again(const struct sock *sk, const struct tcp_sock *tp)
{
	__u8 state = sk->__sk_common.skc_state;
	__u64 congestion = BPF_CORE_READ_BITFIELD(&tp->inet_conn, icsk_ca_state);

	if (state == TCP_SYN_SENT)
		return AGAIN_SYN;
	if (state == TCP_SYN_RECV)
		return AGAIN_SYNACK;
	if (tp->inet_conn.icsk_pending == ICSK_TIME_LOSS_PROBE && congestion < TCP_CA_RECOVERY)
		return AGAIN_PROBE;
	return congestion == TCP_CA_LOSS ? AGAIN_TIMEOUT : AGAIN_FAST;
}

// What a kind of retransmit counts as beside all of them.
__noinline __u32 counter_of(__u32 why)
{
	switch (why) {
	case AGAIN_SYN:
		return RETRANSMITS_SYN;
	case AGAIN_SYNACK:
		return RETRANSMITS_SYNACK;
	case AGAIN_TIMEOUT:
		return RETRANSMITS_TIMEOUT;
	case AGAIN_PROBE:
		return RETRANSMITS_PROBE;
	}
	return NOTHING;
}

// The kind of a retransmit and its segments, in one argument.
#define AGAIN(why, n) ((__u64)(why) << 32 | (n))

// Stacks of functions that follow each other are not added up: 512 bytes is all that there is.
static __noinline int count_again(struct flow_cpu *c, const struct sock_common *sk, __u16 port,
				  const struct flow_socket *s, __u64 again)
{
	__u32 why = again >> 32, n = again;
	struct tally t = {};

	t.what[0] = some(why == AGAIN_FAILED ? RETRANSMITS_FAILED : RETRANSMITS);
	t.n[0] = n;
	t.what[1] = counter_of(why);
	t.n[1] = n;
	return settle(c, sk, port, s, &t);
}

static __noinline int record_again(const struct sock *sk, const struct tcp_sock *tp,
				   const struct flow_socket *s, __u64 again, int err)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RETRANSMIT))
		return 0;
	begin(&e, &sk->__sk_common, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport), s);
	complete(&e, sk, tp);
	e.what = again >> 32;
	e.retrans = again;
	e.reason = err;
	event_output(EVENT_RETRANSMIT, &e, sizeof(e));
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int retransmitted(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct sk_buff *skb = (void *)ctx[1];
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 key = (__u64)sk, what;
	struct flow_socket *s;
	struct flow_cpu *c;
	__u32 zero = 0, n;
	int err = 0;

	if (!tp || !skb)
		return 0;
	if (retransmit_args >= 3)
		err = ctx[2];
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!c)
		return 0;
	n = ((struct tcp_skb_cb *)&skb->cb)->tcp_gso_segs;
	if (!n)
		n = 1;
	what = AGAIN(some(err ? AGAIN_FAILED : again(sk, tp)), n);
	s = bpf_map_lookup_elem(&tracked, &key);
	if (s)
		own(s, sk);
	count_again(c, &sk->__sk_common, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport), s, what);
	record_again(sk, tp, s, what, err);
	return 0;
}

static __noinline int record_synack(const struct sock *sk, const struct request_sock *req,
				    const struct flow_socket *owner)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RETRANSMIT))
		return 0;
	begin(&e, &req->__req_common, req->__req_common.skc_num, owner);
	e.what = AGAIN_SYNACK;
	e.retrans = 1;
	e.state = TCP_SYN_RECV;
	if (!owner->owner.tgid)
		e.inode = inode_of(sk);
	event_output(EVENT_RETRANSMIT, &e, sizeof(e));
	return 0;
}

// The socket is the listening one; the connection is no socket yet.
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(synack_retransmitted, struct sock *sk, struct request_sock *req)
{
	struct flow_socket owner = {}, *s;
	__u64 key = (__u64)sk;
	struct flow_cpu *c;
	__u32 zero = 0;

	if (!sk || !req)
		return 0;
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!c)
		return 0;
	s = bpf_map_lookup_elem(&tracked, &key);
	if (s)
		owner = *s;
	owner.role = PASSIVE;
	owner.born = 0;
	count_again(c, &req->__req_common, req->__req_common.skc_num, &owner,
		    AGAIN(AGAIN_SYNACK, 1));
	record_synack(sk, req, &owner);
	return 0;
}

static __noinline int count_reset(struct flow_cpu *c, const struct sock_common *sk, __u16 port,
				  const struct flow_socket *s, __u32 what)
{
	struct tally t = {};

	t.what[0] = what;
	t.n[0] = 1;
	return settle(c, sk, port, s, &t);
}

// A reset that a full socket received, or sent for a reason.
static __noinline int record_reset(const struct sock *sk, const struct tcp_sock *tp,
				   const struct flow_socket *s, bool sent, int reason)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RESET))
		return 0;
	begin(&e, &sk->__sk_common, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport), s);
	complete(&e, sk, tp);
	e.what = sent;
	e.reason = reason;
	event_output(EVENT_RESET, &e, sizeof(e));
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 key = (__u64)sk;
	struct flow_socket *s;
	struct flow_cpu *c;
	__u32 zero = 0;

	if (!tp)
		return 0;
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!c)
		return 0;
	s = bpf_map_lookup_elem(&tracked, &key);
	count_reset(c, &sk->__sk_common, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport), s,
		    RESETS_RECEIVED);
	if (sk->__sk_common.skc_state != TCP_SYN_SENT) // that is a connect refused: listed there
		record_reset(sk, tp, s, false, -1);
	return 0;
}

// A reset that no socket sends: what had come is told by the headers of the segment.
static __always_inline bool read_headers(struct flow_event *e, const struct sk_buff *skb)
{
	unsigned char *head = skb->head, *ip = head + skb->network_header;
	__be16 ports[2];
	__be32 v4[2];
	__u8 version;

	if (bpf_probe_read_kernel(&version, 1, ip) ||
	    bpf_probe_read_kernel(ports, 4, head + skb->transport_header))
		return false;
	e->remote_port = bpf_ntohs(ports[0]);
	e->local_port = bpf_ntohs(ports[1]);
	if (version >> 4 == 6) { // struct ipv6hdr
		e->family = 6;
		return !bpf_probe_read_kernel(&e->remote, 16, ip + 8) &&
		       !bpf_probe_read_kernel(&e->local, 16, ip + 24);
	}
	e->family = 4; // struct iphdr
	if (bpf_probe_read_kernel(v4, 8, ip + 12))
		return false;
	ipv4(&e->remote, v4[0]);
	ipv4(&e->local, v4[1]);
	return true;
}

// A request for a connection, or what is left of one in TIME-WAIT: no full socket.
static __noinline int record_part(const struct sock *sk, const struct flow_socket *s, int reason)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RESET))
		return 0;
	begin(&e, &sk->__sk_common, sk->__sk_common.skc_num, s);
	e.what = 1;
	e.reason = reason;
	event_output(EVENT_RESET, &e, sizeof(e));
	return 0;
}

static __noinline int reset_by_socket(struct flow_cpu *c, struct sock *sk, int reason)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct flow_socket closer = {}, *s;
	__u64 key = (__u64)sk;

	s = bpf_map_lookup_elem(&tracked, &key);
	if (!tp) {
		count_reset(c, &sk->__sk_common, sk->__sk_common.skc_num, s, RESETS_SENT);
		return record_part(sk, s, reason);
	}
	// A process that aborts its connection closes it first, and then it is tracked no more.
	if (!s && sk->sk_lock.owned && whose(&closer))
		s = &closer;
	count_reset(c, &sk->__sk_common, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport), s,
		    RESETS_SENT);
	return record_reset(sk, tp, s, true, reason);
}

static __noinline int count_stray(struct flow_cpu *c)
{
	struct flow_peer_counts *r = the_rest(REST_PEERS);
	struct tally t = {.what[0] = RESETS_SENT, .n[0] = 1};

	add(&c->host.counts, &t);
	if (r)
		add(&r->counts, &t);
	return add_process(NULL, &t);
}

static __always_inline void begin_stray(struct flow_event *e, int reason)
{
	begin(e, NULL, 0, NULL);
	e->what = 1;
	e->state = TCP_CLOSE;
	e->reason = reason;
}

static __noinline int record_stray(const struct sk_buff *skb, int reason)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RESET))
		return 0;
	begin_stray(&e, reason);
	if (skb)
		read_headers(&e, skb);
	event_output(EVENT_RESET, &e, sizeof(e));
	return 0;
}

static __noinline int record_stray_plain(int reason)
{
	struct flow_event e;

	if (!event_wanted(EVENT_RESET))
		return 0;
	begin_stray(&e, reason);
	event_output(EVENT_RESET, &e, sizeof(e));
	return 0;
}

static __always_inline int reset(__u64 *ctx, bool headers)
{
	struct sock *sk = (void *)ctx[0];
	struct flow_cpu *c;
	int reason = -1;
	__u32 zero = 0;

	if (reset_args >= 3)
		reason = ctx[2];
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!c)
		return 0;
	if (sk)
		return reset_by_socket(c, sk, reason);
	count_stray(c);
	if (headers)
		return record_stray((void *)ctx[1], reason);
	return record_stray_plain(reason);
}

SEC("tp_btf/tcp_send_reset")
int reset_sent(__u64 *ctx)
{
	return reset(ctx, true);
}

// Without bpf_probe_read_kernel, for lockdown=confidentiality.
SEC("tp_btf/tcp_send_reset")
int reset_sent_plain(__u64 *ctx)
{
	return reset(ctx, false);
}

// A process has read: it owns the socket. One of READS tells its round trip too.
SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(received, struct sock *sk)
{
	__u64 key = (__u64)sk, srtt;
	struct flow_socket *s = NULL;
	struct tally t = {};
	struct flow_cpu *c;
	struct tcp_sock *tp;
	__u32 zero = 0;
	__s64 *w;

	w = bpf_map_lookup_elem(&waiting, &zero);
	c = bpf_map_lookup_elem(&flow, &zero);
	if (!w || !c)
		return 0;
	if (*w > 0) {
		s = bpf_map_lookup_elem(&tracked, &key);
		if (s)
			own(s, sk);
	}
	__sync_fetch_and_add(&c->reads, 1);
	if (c->reads & (READS - 1))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	srtt = tp->srtt_us >> 3;
	if (!srtt)
		return 0;
	if (!s)
		s = bpf_map_lookup_elem(&tracked, &key);
	t.time[RTT] = srtt * 1000;
	settle(c, &sk->__sk_common, sk->__sk_common.skc_num, s, &t);
	return 0;
}

// Who holds the sockets that are there already. Run once, when user space reads; it tells nothing.
SEC("iter/task_file")
int seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task, *leader;
	struct file *file = ctx->file;
	struct flow_socket s = {};
	struct socket *socket;
	struct sock *sk;
	__u64 key;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state == TCP_CLOSE ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return 0;
	switch (sk->__sk_common.skc_state) {
	case TCP_LISTEN:
		serve(sk->__sk_common.skc_num);
		break;
	case TCP_SYN_SENT:
		s.role = ACTIVE;
		break;
	}
	leader = task->group_leader;
	if (!leader || !process_of(task, &s.owner))
		return 0;
	task_comm(s.comm, leader);
	s.cgroup = task_cgroup(task);
	s.other_cgroup = task_other_cgroup(task);
	s.changed = bpf_ktime_get_boot_ns();
	key = (__u64)sk;
	bpf_map_update_elem(&tracked, &key, &s, BPF_NOEXIST);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
