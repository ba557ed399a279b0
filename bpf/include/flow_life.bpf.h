/* SPDX-License-Identifier: GPL-2.0 */

/* TCP connections: their life, from connect or accept to the end. */
#ifndef BPF60_FLOW_LIFE_BPF_H
#define BPF60_FLOW_LIFE_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "flow_count.bpf.h"
#include "flow_types.bpf.h"

static __always_inline __u32 failure(int err, __u16 port)
{
	switch (err) {
	case ECONNREFUSED:
		return REFUSED;
	case ETIMEDOUT:
		return TIMED_OUT;
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return UNREACHABLE;
	case ECONNRESET: // disconnected by its process
		return GIVEN_UP;
	case 0:
		return port ? GIVEN_UP : NO_PORT;
	}
	return FAILED;
}

static __always_inline __u32 ending(int err, __u32 old)
{
	switch (err) {
	case ECONNRESET:
	case EPIPE:
		return PEER_RESET;
	case ETIMEDOUT:
		return EXPIRED;
	case 0:
		if (old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT)
			return ABORTED;
	}
	return ENDED;
}

// What a change of state is to be counted as, or NOTHING. Of a global function the
// verifier knows nothing but its type, so that all changes are one way to it.
__noinline __u32 meaning(__u32 old, __u32 new, bool active, int err, __u16 port)
{
	if (new == TCP_SYN_SENT)
		return CONNECTS;
	if (new == TCP_ESTABLISHED)
		return old == TCP_SYN_RECV && !active ? ACCEPTS : ESTABLISHED;
	if (new != TCP_CLOSE || old == TCP_CLOSE || old == TCP_LISTEN)
		return NOTHING;
	if (old == TCP_SYN_RECV && !active)
		return HANDSHAKES;
	if (old == TCP_SYN_SENT || old == TCP_SYN_RECV)
		return failure(err, port);
	return ending(err, old);
}

// 0 for a connection older than us.
__noinline __u64 lifespan(__u64 born, __u64 now)
{
	return born ? now - born : 0;
}

// v if the counter is one of a range, else 0.
__noinline __u64 only(__u32 what, __u32 first, __u32 last, __u64 v)
{
	return what >= first && what <= last ? v : 0;
}

// What else it counts as: a connection that broke has ended, too.
__noinline __u32 more_of(__u32 what)
{
	return what > ENDED && what <= EXPIRED ? ENDED : NOTHING;
}

// The kind of record for it; 0 for none.
__noinline __u32 record_kind(__u32 what)
{
	if (what >= REFUSED && what <= HANDSHAKES)
		return EVENT_CONNECT_FAIL;
	if (what >= ENDED && what <= EXPIRED)
		return EVENT_CONNECTION;
	return 0;
}

// Begins to track a socket, and returns its record; NULL if there is no room, or nobody to track it for.
static __noinline struct flow_socket *track(struct flow_cpu *c, __u64 key, __u8 role, __u64 now)
{
	struct flow_socket s = {.changed = now, .role = role};

	if (role != UNKNOWN)
		s.born = now;
	if (role != PASSIVE && !whose(&s) && role == UNKNOWN)
		return NULL;
	s.waits = role == PASSIVE;
	if (bpf_map_update_elem(&tracked, &key, &s, BPF_ANY)) {
		__sync_fetch_and_add(&c->untracked, 1);
		return NULL;
	}
	if (s.waits)
		wait(1);
	return bpf_map_lookup_elem(&tracked, &key);
}

static __noinline int count_change(struct flow_cpu *c, struct sock *sk, struct tcp_sock *tp,
				   struct flow_socket *s, __u32 what)
{
	__u16 port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	__u64 lasted = s ? lifespan(s->born, s->changed) : 0;
	struct tally t = {};

	t.what[0] = what;
	t.n[0] = 1;
	t.what[1] = more_of(what);
	t.n[1] = 1;
	t.what[2] = SENT;
	t.n[2] = only(what, ENDED, EXPIRED, payload_sent(tp));
	t.what[3] = RECEIVED;
	t.n[3] = only(what, ENDED, EXPIRED, payload_received(sk, tp));
	t.time[LATENCY] = only(what, ESTABLISHED, ESTABLISHED, lasted);
	t.time[LIFE] = only(what, ENDED, EXPIRED, lasted);
	t.time[RTT] = only(what, ENDED, EXPIRED, (__u64)(tp->srtt_us >> 3) * 1000);
	t.nobody = only(what, ACCEPTS, ACCEPTS, 1); // until it is known whose it is
	if (!lasted)
		__sync_fetch_and_add(&c->unborn, only(what, ENDED, EXPIRED, 1));
	return settle(c, &sk->__sk_common, port, s, &t);
}

static __noinline int record_change(struct sock *sk, struct tcp_sock *tp, struct flow_socket *s,
				    __u32 what, __u32 old)
{
	__u16 port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	__u32 kind = record_kind(what);
	struct flow_event e;

	if (!kind || !event_wanted(kind))
		return 0;
	begin(&e, &sk->__sk_common, port, s);
	complete(&e, sk, tp);
	e.state = old;
	e.what = what;
	e.reason = sk->sk_err;
	event_output(kind, &e, sizeof(e));
	return 0;
}

#endif
