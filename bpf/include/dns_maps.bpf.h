/* SPDX-License-Identifier: GPL-2.0 */

/* What dns.bpf.c keeps, and how it counts. */
#ifndef BPF60_DNS_MAPS_BPF_H
#define BPF60_DNS_MAPS_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "filter_peer.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

#define DNS_PORT bpf_htons(53)
// Questions that wait for an answer: 400 a second that get none in 5 s.
#define ASKS 2048
// Pairs of process and server. What comes beyond is counted as the other ones.
#define PAIRS 384
// Bytes of a name that are kept, as on the wire. The longest legal one has 255.
#define NAME 128
// Questions whose repetition is known, and ports whose open questions are; powers of 2.
#define SEEN 1024
// Transactions of one port that an answer without a readable head may belong to.
#define OPEN 4
// The same packet reaches the next device within this time, ns.
#define SAME 1000000ULL
// A connection to port 53 whose SYN is repeated within this time is the same one, ns.
#define SYN_AGAIN 65000000000ULL
// A question repeated within this time is the same one, ns.
#define ASK_AGAIN 30000000000ULL
// Nobody waits for an answer this long after the last question: 10 s at CONFIG_HZ=1000, else longer.
#define LATELY 10000
// An answer later than this is listed, ns.
#define SLOW 100000000ULL

// The slot of pairs that had no room in dns_pairs, behind those of the filter.
#define OTHER FILTER_SLOTS

enum rcode { RCODES = 7 }; // NOERROR to REFUSED, and all others

enum ask_flag {
	ASK_UNSURE = 1, // sent for somebody by the kernel: the process is not known
	ASK_CUT = 2,	// the name is longer than what is kept
};

struct dns_pair {
	struct process who;
	__u8 server[16]; // IPv4 as ::ffff:a.b.c.d
};

struct dns_counts {
	__u64 queries;
	__u64 retries; // of queries: sent again before an answer
	__u64 resent;  // of retries: from the same port, so that one answer serves both
	__u64 answers;
	__u64 rcodes[RCODES];
	__u64 unread;	 // of answers: the reply code was out of reach
	__u64 truncated; // of answers
	__u64 tcp;	 // connections to the server's port 53
	struct hist latency;
	char comm[TASK_COMM_LEN]; // of the process when the pair was first seen
};

// What belongs to no pair.
struct dns_host {
	__u64 sent;	  // UDP packets looked at
	__u64 received;	  // packets looked at
	__u64 untracked;  // questions for which there was no room in dns_asks
	__u64 unparsed;	  // to or from port 53, and not readable
	__u64 unreadable; // received packets whose headers were out of reach
	__u64 unmatched;  // answers that nobody waited for, or not any more
	__u64 blind;	  // answers matched by their port alone
	__u64 unsure;	  // questions of a process that is not known
	__u64 types[8];	  // questions: A, AAAA, PTR, SRV, MX, TXT, HTTPS, others
};

struct ask_key {
	__u32 netns; // of the device
	__be16 port;
	__be16 id;
	__u8 server[16];
};

struct ask {
	__u64 at;   // boot time of the first sending, ns
	__u64 last; // and of the last one
	__u64 head; // of the packet, to know it again at the next device
	__u64 print;
	struct process who;
	__u32 slots; // bits of the targets
	__u16 type;  // of the question; 0: not known
	__u8 flags;
	__u8 length; // of name
	__u32 tries;
	__u32 ifindex; // of the device that the packet left by: on the same one it is another at the same place
	char comm[TASK_COMM_LEN];
	__u8 name[NAME];
};

struct dns_event {
	struct event event;
	__u64 latency; // ns
	__u8 rcode;    // 255: not read
	__u8 truncated;
	__u16 pad;
	struct ask_key key;
	struct ask ask;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ask_key);
	__type(value, struct ask);
} dns_asks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PAIRS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dns_pair);
	__type(value, struct dns_counts);
} dns_pairs SEC(".maps");

// Slot 0 is the host, OTHER the pairs without a row, the rest are targets.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FILTER_SLOTS + 1);
	__type(key, __u32);
	__type(value, struct dns_counts);
} dns_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dns_host);
} dns_hosts SEC(".maps");

// jiffies of the last question.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} dns_lately SEC(".maps");

struct seen {
	__u64 print;
	__u64 at;
};

// Direct-mapped: questions without an answer yet. One that shares a slot is forgotten, and its
// repetition counted as a question of its own.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN);
	__type(key, __u32);
	__type(value, struct seen);
} dns_seen SEC(".maps");

struct open {
	__u64 print; // of the key without its id
	__be16 ids[OPEN];
	__u32 next;
	__u32 pad;
};

// Direct-mapped: the last transactions of a port.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEEN);
	__type(key, __u32);
	__type(value, struct open);
} dns_open SEC(".maps");

// What a run counts.
struct delta {
	__u64 latency; // ns
	__u32 kind;
	__u32 slot;  // of the histogram
	__u32 rcode; // RCODES: not read
	__u8 retry;
	__u8 resent;
	__u8 truncated;
	__u8 pad;
};

enum delta_kind { QUESTION, ANSWER, CONNECTION };

struct scratch {
	struct delta delta;
	struct ask_key key;
	struct dns_pair pair;
	struct ask ask;
	struct dns_counts zero;
	__u32 end;    // of the name
	__u32 have;   // bytes of it
	__u64 rcode;  // as it was sent; 255: not read
	__u64 answer; // where the packet of the last answer on this CPU lies, to know it again
	__u64 answered;
	__u64 answered_by; // the device: the next packet there may lie in the same place
};

// Both programs run with softirqs off: neither interrupts the other on a CPU.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} dns_scratch SEC(".maps");

static __always_inline struct dns_host *host(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dns_hosts, &zero);
}

static __always_inline __u64 mix(__u64 h, __u64 v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

// print_of is never 0, which is an empty slot's.
static __always_inline __u64 print_of(const struct ask_key *k)
{
	const __u64 *server = (const void *)k->server;

	return mix(mix(mix(1, (__u64)k->netns << 16 | k->port), server[0]), server[1]) | 1;
}

static __always_inline struct dns_counts *pair_counts(struct scratch *s)
{
	struct dns_counts *c = bpf_map_lookup_elem(&dns_pairs, &s->pair);
	__u32 other = OTHER;

	if (c)
		return c;
	__builtin_memcpy(s->zero.comm, s->ask.comm, sizeof(s->zero.comm));
	bpf_map_update_elem(&dns_pairs, &s->pair, &s->zero, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&dns_pairs, &s->pair);
	return c ?: bpf_map_lookup_elem(&dns_slots, &other);
}

// add counts what is in d. All that it reads lies in a map, so that the verifier knows nothing of it and
// goes through here once, not once for each value.
static __always_inline void add(struct dns_counts *c, const struct delta *d)
{
	__u32 slot;

	if (d->kind == CONNECTION) {
		__sync_fetch_and_add(&c->tcp, 1);
		return;
	}
	if (d->kind == QUESTION) {
		__sync_fetch_and_add(&c->queries, 1);
		if (d->retry)
			__sync_fetch_and_add(&c->retries, 1);
		if (d->resent)
			__sync_fetch_and_add(&c->resent, 1);
		return;
	}
	__sync_fetch_and_add(&c->answers, 1);
	__sync_fetch_and_add(&c->latency.sum, d->latency);
	slot = d->slot;
	if (slot < HIST_SLOTS)
		__sync_fetch_and_add(&c->latency.slots[slot], 1);
	if (d->truncated)
		__sync_fetch_and_add(&c->truncated, 1);
	slot = d->rcode;
	if (slot < RCODES)
		__sync_fetch_and_add(&c->rcodes[slot], 1);
	else
		__sync_fetch_and_add(&c->unread, 1);
}

// count adds the scratch's delta to the pair, to the targets and, last, to the host. It is verified once,
// as parse_name is.
__noinline int count(void)
{
	__u32 zero = 0, bits;
	struct scratch *s = bpf_map_lookup_elem(&dns_scratch, &zero);
	struct dns_counts *c;

	if (!s)
		return 0;
	c = pair_counts(s);
	bits = s->ask.slots | 1;
	if (c)
		add(c, &s->delta);
	for (int slot = FILTER_SLOTS - 1; slot >= 0; slot--) {
		__u32 at = slot;

		if (!(bits >> at & 1))
			continue;
		c = bpf_map_lookup_elem(&dns_slots, &at);
		if (c)
			add(c, &s->delta);
	}
	return 0;
}

static __always_inline void remember_open(const struct ask_key *key)
{
	__u64 print = print_of(key);
	__u32 slot = print >> 32 & (SEEN - 1);
	struct open *o = bpf_map_lookup_elem(&dns_open, &slot);

	if (!o)
		return;
	if (o->print != print) {
		o->print = print;
		o->next = 0;
		__builtin_memset(o->ids, 0, sizeof(o->ids));
	}
	o->ids[o->next++ & (OPEN - 1)] = key->id;
}

// is_repeated says whether the question has been sent before and not been answered.
static __always_inline bool is_repeated(__u64 print, __u64 now, __u64 within)
{
	__u32 slot = print >> 32 & (SEEN - 1);
	struct seen *s = bpf_map_lookup_elem(&dns_seen, &slot);
	bool again;

	if (!s)
		return false;
	again = s->print == print && now - s->at < within;
	s->print = print;
	s->at = now;
	return again;
}

#endif
