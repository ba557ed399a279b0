// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketsListeners(t *testing.T) {
	listen := func(cookie uint64, local string, queue, drops uint32) fakeSocket {
		return fakeSocket{cookie: cookie, state: Listen, local: local, remote: "0.0.0.0:0", recvQ: queue, sendQ: 128, drops: drops, inode: 9}
	}
	request := fakeSocket{cookie: 50, state: SynRecv, local: "10.0.0.1:80", remote: "10.1.1.1:5", noInfo: true}
	k := &fakeKernel{
		four: []fakeSocket{listen(1, "0.0.0.0:80", 0, 1<<32-1), listen(2, "0.0.0.0:22", 0, 5), flow(7, 0), flow(8, 0), request},
		six: []fakeSocket{{
			cookie: 60, state: Established, local: "[::ffff:10.0.0.1]:80", remote: "[::ffff:10.1.0.7]:4001", acked: 3, inode: 4,
		}},
	}
	c := k.collector()
	start(t, c)
	collectAs[*Sockets](t, c, 0)
	k.four[0].recvQ, k.four[0].drops = 129, 2 // wrapped
	k.four[1].drops = 0                       // listens anew with the same cookie: cannot be, and must not count
	s := collectAs[*Sockets](t, c, time.Second)
	if len(s.Listeners) != 2 || len(s.Rows) != 4 {
		t.Fatalf("%d listeners, %d rows; want 2, 4", len(s.Listeners), len(s.Rows))
	}
	l := s.Listeners[0]
	if l.Local.Port() != 80 || l.Queue != 129 || l.Backlog != 128 || l.Drops != 3 || l.Connections != 4 || l.SynRecv != 1 {
		t.Errorf("the fullest listener = %+v", l)
	}
	if s.Listeners[1].Drops != 0 {
		t.Errorf("a count that was set back gives %d drops", s.Listeners[1].Drops)
	}
	for _, p := range s.Peers {
		if p.Addr == netip.MustParseAddr("10.1.0.7") && p.Sockets != 2 {
			t.Errorf("peer %+v, want the IPv4 and the IPv4-in-IPv6 socket", p)
		}
	}
	for _, r := range s.Rows {
		if r.State == SynRecv && (r.HasInfo || r.RTT != 0) {
			t.Errorf("a request that has no tcp_info = %+v", r)
		}
	}
}

// A socket's identity is shared until it changes.
func TestSocketsIdentity(t *testing.T) {
	k := &fakeKernel{four: []fakeSocket{flow(1, 0), flow(2, 0)}}
	k.four[1].inode = 0 // nobody has accepted it
	c := k.collector()
	start(t, c)
	first := collectAs[*Sockets](t, c, 0)
	k.four[1].inode = 12
	second := collectAs[*Sockets](t, c, time.Second)
	byCookie := func(s *Sockets, cookie uint64) *SocketID {
		for _, r := range s.Rows {
			if r.Cookie == cookie {
				return r.SocketID
			}
		}
		return nil
	}
	if byCookie(first, 2) != byCookie(second, 2) {
		t.Error("the identity of a socket that stayed is not shared")
	}
	if a, b := byCookie(first, 3), byCookie(second, 3); a.Inode != 0 || b.Inode != 12 {
		t.Errorf("inodes %d and %d, want 0 until it is accepted, then 12", a.Inode, b.Inode)
	}
}

func TestSocketsErrors(t *testing.T) {
	k := &fakeKernel{four: []fakeSocket{flow(1, 0)}, err6: diagNeed(unix.ENOENT)}
	c := k.collector()
	if p := c.Probes(); p[0].State != Idle || p[1].State != Idle {
		t.Errorf("Probes before Start = %+v, want idle", p)
	}
	start(t, c)
	if s := collectAs[*Sockets](t, c, 0); s.NoIPv6 == "" || s.Total != 1 {
		t.Errorf("without IPv6: %+v, want the IPv4 socket and a reason", s)
	}
	if p := c.Probes(); p[0].State != Degraded {
		t.Errorf("Probes without IPv6 = %+v, want degraded", p)
	}
	k.err = unix.ENOBUFS
	if _, err := c.Collect(context.Background(), time.Second); !errors.Is(err, unix.ENOBUFS) || k.closed != 1 {
		t.Errorf("Collect = %v, closed %d; want the error, and the socket closed", err, k.closed)
	}
	if p := c.Probes(); p[0].State != Failed {
		t.Errorf("Probes after an error = %+v, want failed", p)
	}
	k.err, k.err6 = nil, nil
	k.four[0].acked = 5
	if s := collectAs[*Sockets](t, c, 3*time.Second); s.From != 0 || s.Rows[0].Acked != 5 || s.NoIPv6 != "" {
		t.Errorf("after an error: %+v, want the span since the last dump", s)
	}
	refused := newSockets(func() (diagSource, error) { return nil, diagNeed(unix.EPERM) }, noOwners())
	var need *NeedError
	if err := refused.Start(context.Background()); !errors.As(err, &need) {
		t.Errorf("Start = %v, want a NeedError", err)
	}
	if p := refused.Probes(); p[0].State != Off || p[0].Remedy == "" {
		t.Errorf("Probes = %+v, want off with a remedy", p)
	}
}

func TestSocketsStretch(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		0: 0, 50 * time.Millisecond: 0, 51 * time.Millisecond: 2 * time.Second, 80 * time.Millisecond: 2 * time.Second,
		300 * time.Millisecond: 6 * time.Second, time.Minute: maxStretch,
	} {
		if got := stretch(cost); got != want {
			t.Errorf("stretch(%v) = %v, want %v", cost, got, want)
		}
	}
	k := &fakeKernel{four: []fakeSocket{flow(1, 0)}}
	c := k.collector()
	start(t, c)
	collectAs[*Sockets](t, c, 0)
	spent := time.Duration(0)
	c.clock = func() time.Duration { // each reading takes 140 ms
		spent += 140 * time.Millisecond
		return spent
	}
	c.cost = 0
	if s := collectAs[*Sockets](t, c, 0); s.Cost != 140*time.Millisecond || s.Every != 3*time.Second {
		t.Errorf("a reading of %v, the next in %v; want 140 ms and 3 s", s.Cost, s.Every)
	}
	if p := c.Probes(); p[0].State != Degraded || p[0].Reason == "" {
		t.Errorf("Probes while stretched = %+v", p)
	}
	k.four[0].acked = 9
	for _, now := range []time.Duration{time.Second, 2 * time.Second} {
		if s, err := c.Collect(context.Background(), now); s != nil || err != nil {
			t.Errorf("Collect at %v = %v, %v; want nothing yet", now, s, err)
		}
	}
	if s := collectAs[*Sockets](t, c, 2980*time.Millisecond); s.From != 0 || s.Rows[0].Acked != 9 {
		t.Errorf("sample = %+v, want all 3 s", s)
	}
}

func TestParseSocketLink(t *testing.T) {
	for in, want := range map[string]uint32{
		"socket:[4711]": 4711, "socket:[4294967295]": 1<<32 - 1, "socket:[4294967296]": 0, "socket:[]": 0,
		"socket:[12": 0, "pipe:[12]": 0, "/tmp/socket:[12]": 0, "": 0, "socket:[-1]": 0,
	} {
		if got, ok := parseSocketLink([]byte(in)); got != want || ok != (want != 0) {
			t.Errorf("parseSocketLink(%q) = %d, %v; want %d", in, got, ok, want)
		}
	}
}
