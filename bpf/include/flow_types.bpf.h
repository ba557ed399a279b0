/* SPDX-License-Identifier: GPL-2.0 */

/* TCP connections: what flow.bpf.c counts, and where. */
#ifndef BPF60_FLOW_TYPES_BPF_H
#define BPF60_FLOW_TYPES_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "events.bpf.h"
#include "filter.bpf.h"
#include "filter_peer.bpf.h"
#include "hist.bpf.h"
#include "task.bpf.h"

// include/net/tcp_states.h
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	STATES
};

// For arrays: 5.10 knows of a state only that it has four bits.
#define STATE_SLOTS 16

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
// enum sock_flags (include/net/sock.h): a FIN has come.
#define SOCK_DONE (1UL << 1)
// include/net/inet_connection_sock.h: the timer of the tail loss probe; include/uapi/linux/tcp.h
#define ICSK_TIME_LOSS_PROBE 5
#define TCP_CA_RECOVERY 3
#define TCP_CA_LOSS 4
// include/uapi/asm-generic/errno.h
#define EPIPE 32
#define ENETDOWN 100
#define ENETUNREACH 101
#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTDOWN 112
#define EHOSTUNREACH 113

// Connections whose start and owner are known at a time: user space sets it, see OpenFlow.
#define SOCKETS 4096
// Peers and processes that are counted apart at a time.
#define PEERS 1024
#define PROCESSES 512
// Of so many reads one gives its socket's round trip, a power of two.
#define READS 16

// What is counted, for the host, a process, a peer and a target alike.
enum flow_counter {
	CONNECTS,    // began
	ACCEPTS,     // of connections that others began
	ESTABLISHED, // connects that succeeded

	// Connects that failed.
	REFUSED,
	TIMED_OUT,
	UNREACHABLE,
	NO_PORT,  // no local port was free
	GIVEN_UP, // closed by the process before there was an answer
	FAILED,	  // for any other reason

	HANDSHAKES, // others' connects that broke off before they were established

	ENDED,	    // connections that had been established
	PEER_RESET, // of them, by a reset that came
	ABORTED,    // of them, by a reset that we sent
	EXPIRED,    // of them, because the peer did not answer any more
	SENT,	    // bytes of those that ended, counted once
	RECEIVED,   // bytes of those that ended

	RETRANSMITS,	     // segments, of every kind
	RETRANSMITS_SYN,     // of them, of a connect
	RETRANSMITS_SYNACK,  // of them, the answer to a connect
	RETRANSMITS_TIMEOUT, // of them, after a timeout
	RETRANSMITS_PROBE,   // of them, a probe for the loss of the last segment
	RETRANSMITS_FAILED,  // not counted above: could not be handed to the network

	RESETS_SENT,
	RESETS_RECEIVED,
	FLOW_COUNTERS
};

enum flow_hist {
	LATENCY, // of a connect, until it is established
	LIFE,	 // of a connection that had been established, from connect or accept to its end
	RTT,	 // the kernel's smoothed round trip, at the end and at one of READS reads
	FLOW_HISTS
};

// Connections through the loopback would hide those through the network.
enum flow_path { NETWORK, LOOPBACK, FLOW_PATHS };

// For arrays; what is counted as nothing is thrown away.
#define COUNTER_SLOTS 32
#define NOTHING (COUNTER_SLOTS - 1)

struct flow_counts {
	__u64 n[COUNTER_SLOTS];
};

struct flow_set {
	struct flow_counts counts;
	struct hist hists[FLOW_HISTS][FLOW_PATHS];
};

struct flow_cpu {
	struct flow_set host;
	__u64 moves[STATES * STATES]; // from × to
	__u64 stayed[STATE_SLOTS];    // ns in a state, of connections that left it
	__u64 left[STATE_SLOTS];      // how often that was
	__u64 untracked;	      // connections that found no room in `tracked`
	__u64 unborn;		      // ended, and had begun before us
	__u64 reads;
};

struct flow_process {
	struct flow_counts counts;
	__u64 cgroup;
	char comm[TASK_COMM_LEN];
};

// IPv4 as IPv6 has it, ::ffff:a.b.c.d.
struct flow_address {
	__u32 word[4];
};

enum flow_role { UNKNOWN, ACTIVE, PASSIVE };

// The port is that of the service: the peer's where we connected, ours where it did. Of a connection
// older than us nobody knows who began it; ours is taken if somebody listens there.
struct flow_peer {
	struct flow_address addr;
	__u16 port;
	__u8 role;
	__u8 pad[5];
};

struct flow_peer_counts {
	struct flow_counts counts;
	__u32 latency[HIST_SLOTS];
	__u32 rtt[HIST_SLOTS];
	__u64 latency_sum; // ns
	__u64 rtt_sum;	   // ns
};

// Which kind of segment was sent again.
enum flow_again { AGAIN_FAST, AGAIN_TIMEOUT, AGAIN_PROBE, AGAIN_SYN, AGAIN_SYNACK, AGAIN_FAILED };

// What a record in the ring tells. Which fields count depends on its kind.
struct flow_event {
	struct event head;
	struct process owner; // tgid 0: not known here
	__u64 cookie;
	__u64 cgroup;
	__u64 lasted; // ns since connect or accept; 0: not known
	__u64 sent;
	__u64 received;
	__u32 srtt;    // us
	__u32 retrans; // segments: of this event, else of the whole connection
	__u32 inode;   // of a socket whose owner is not known, while it is open
	__u32 netns;
	struct flow_address local;
	struct flow_address remote;
	__u16 local_port;
	__u16 remote_port;
	__u8 state; // before
	__u8 what;  // a flow_counter, a flow_again; of a reset: 1 sent, 0 received
	__u8 role;
	__u8 family;  // 4 or 6; what runs over IPv6 sockets between IPv4 addresses is 6
	__s32 reason; // an error number; of a reset sent: the kernel's reason, -1 if it tells none
	char comm[TASK_COMM_LEN];
	__u32 pad;
};

struct flow_socket {
	struct process owner; // tgid 0: not known yet
	__u64 cgroup;
	__u64 other_cgroup; // see filter.bpf.h
	__u64 born;	    // 0: before us
	__u64 changed;	    // when its state last did
	char comm[TASK_COMM_LEN];
	__u8 role;
	__u8 waits; // for its owner, and is in `waiting`
	__u8 pad[6];
};

// Where rows go that there is no room for, or nobody to count them to.
enum flow_rest { REST_UNOWNED, REST_PROCESSES, REST_PEERS, FLOW_RESTS };

// Keep the types in BTF, for the generated binding.
const struct flow_event *flow_event_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_cpu);
} flow SEC(".maps");

// By the address of the socket. Entered at connect, accept and listen; gone at its end.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SOCKETS);
	__type(key, __u64);
	__type(value, struct flow_socket);
} tracked SEC(".maps");

// How many accepted connections have no owner yet: while there is none, a read need not look.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __s64);
} waiting SEC(".maps");

// Ports that somebody listens at, or did, in any namespace: a bit each.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} served SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PROCESSES);
	__type(key, struct process);
	__type(value, struct flow_process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PEERS);
	__type(key, struct flow_peer);
	__type(value, struct flow_peer_counts);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_RESTS);
	__type(key, __u32);
	__type(value, struct flow_peer_counts);
} rest SEC(".maps");

// Zeroes, to make an entry of: too large for the stack.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_peer_counts);
} blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FILTER_SLOTS);
	__type(key, __u32);
	__type(value, struct flow_set);
} narrowed SEC(".maps");

#endif
