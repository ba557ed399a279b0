// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// live starts a collector on this kernel and takes its baseline. What it lacks is what its first
// probe says.
func live(t *testing.T, c Collector) func() Sample {
	t.Helper()
	if err := c.Start(t.Context()); err != nil {
		var need *NeedError
		if errors.As(err, &need) {
			lacking(t, "%v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v, want ErrWarming", err)
	}
	return func() Sample {
		t.Helper()
		s, err := c.Collect(t.Context(), time.Since(began))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// udpAt is a socket of the test's namespace, bound to an address.
func udpAt(t *testing.T, addr string, port int) int {
	t.Helper()
	a := tcpAddr(addr, port)
	fd, err := unix.Socket(family(a), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, a); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestDNSLive asks a server of its own 23 questions: 18 are answered, of them 3 by SERVFAIL.
func TestDNSLive(t *testing.T) {
	k := bpf.Inspect()
	collect := live(t, NewDNS(k, NewFS(""), newFeed(k), nil))
	inNetns(t)
	server, client := udpAt(t, "::1", 53), udpAt(t, "::1", 0)
	to, buf := tcpAddr("::1", 53), make([]byte, 512)
	for i := range byte(23) {
		q := []byte{0, i, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1}
		if err := unix.Sendto(client, q, 0, to); err != nil {
			t.Fatal(err)
		}
		n, from, err := unix.Recvfrom(server, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i < 5 {
			continue
		}
		buf[2] |= 0x80
		if i < 8 {
			buf[3] = 2
		}
		if err := unix.Sendto(server, buf[:n], 0, from); err != nil {
			t.Fatal(err)
		}
		if _, _, err := unix.Recvfrom(client, buf, 0); err != nil {
			t.Fatal(err)
		}
	}
	var got DNSCounts
	var failed, late int
	add := func() {
		s := collect().(*DNS)
		for i := range s.Pairs {
			if p := &s.Pairs[i]; int(p.TGID) == os.Getpid() && p.Server == netip.IPv6Loopback() {
				got.Plus(&p.DNSCounts)
				if p.Comm.Bytes() == "" || p.Start == 0 {
					t.Errorf("the process is %+v %q", p.Process, p.Comm.Bytes())
				}
			}
		}
		for _, e := range s.Events {
			if int(e.TGID) != os.Getpid() || e.Server != netip.IPv6Loopback() {
				continue
			}
			if e.Name.Bytes() != "www.example" || e.Type != 1 {
				t.Errorf("an event: %+v", e)
			}
			if e.Answered {
				failed++
			} else if late++; e.Latency < DNSTimeout {
				t.Errorf("given up after %v", e.Latency)
			}
		}
	}
	add()
	if got.Queries != 23 || got.Answers != 18 || got.Unanswered != 0 || got.Failed() != 3 || failed != 3 || got.Latency.Count() != 18 {
		t.Errorf("at once: %+v, %d failed listed", got, failed)
	}
	time.Sleep(DNSTimeout + 50*time.Millisecond)
	add()
	if got.Queries != 23 || got.Answers != 18 || got.Unanswered != 5 || late != 5 {
		t.Errorf("in the end: %+v, %d unanswered listed, want 23, 18, 5, 5", got, late)
	}
}

// TestDropsLive sends to a closed port and to a socket of its own that is full.
func TestDropsLive(t *testing.T) {
	k := bpf.Inspect()
	c := NewDrops(k, NewFS(""), newFeed(k), nil)
	collect := live(t, c)
	known := c.(*dropCollector).r.Reasons().Known
	inNetns(t)
	netns := netnsOf("/proc/thread-self/ns/net")
	deaf, client := udpAt(t, "127.0.0.1", 7), udpAt(t, "127.0.0.1", 0)
	var st unix.Stat_t
	if err := unix.Fstat(deaf, &st); err != nil {
		t.Fatal(err)
	}
	for range 23 {
		if err := unix.Sendto(client, make([]byte, 8), 0, tcpAddr("127.0.0.1", 9)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3000 {
		if err := unix.Sendto(client, make([]byte, 512), 0, tcpAddr("127.0.0.1", 7)); err != nil {
			t.Fatal(err)
		}
	}
	udp := &udpCounters{snmp: NewFS("").file(here + "/snmp"), snmp6: NewFS("").file(here + "/snmp6")}
	kernel, err := udp.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := collect().(*Drops)
	var closed, full uint64
	for _, p := range s.Places {
		if p.Netns != netns {
			continue
		}
		if p.Own || s.NoNames == "" && p.Function.Bytes() == "" {
			t.Errorf("a place: %+v", p)
		}
		switch p.Reason {
		case "NO_SOCKET":
			closed += p.Packets
		case "SOCKET_RCVBUFF":
			full += p.Packets
		}
	}
	if known && (closed != 23 || full != kernel.UDPReceiveFull || full < 1000) {
		t.Errorf("%d to a closed port and %d at a full buffer, want 23 and %d", closed, full, kernel.UDPReceiveFull)
	}
	found := false
	for _, x := range s.Sockets {
		if x.Inode != uint32(st.Ino) {
			continue
		}
		found = true
		if x.Full != kernel.UDPReceiveFull || x.Port != 7 || x.Owner == nil || int(x.Owner.TGID) != os.Getpid() {
			t.Errorf("the socket: %+v of %+v, want %d and this process", x, x.Owner, kernel.UDPReceiveFull)
		}
	}
	if !found {
		t.Errorf("the socket is not listed: %+v", s.Sockets)
	}
	listed := 0
	for _, p := range s.Packets {
		if p.Netns == netns && p.Dest == netip.MustParseAddrPort("127.0.0.1:9") {
			listed++
		}
	}
	if known && listed < 16 {
		t.Errorf("%d packets to the closed port are listed, want at least 16", listed)
	}
	if p := c.Probes(); p[0].State != On && known || p[0].Events == 0 {
		t.Errorf("probes: %+v", p)
	}
}
