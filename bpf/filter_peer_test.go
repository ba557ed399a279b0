// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestPeerFilter(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.9:0": "10.0.0.9:0", "[::ffff:10.0.0.9]:443": "10.0.0.9:443", "[fe80::9%7]:0": "[fe80::9]:0", "[2001:db8::9]:53": "[2001:db8::9]:53",
	} {
		if got := PeerFilter(netip.MustParseAddrPort(text)); got != (Filter{Kind: FilterPeer, Addr: netip.MustParseAddrPort(want)}) {
			t.Errorf("%s: %+v, want %s", text, got, want)
		}
	}
}

// TestPeerUnknown: programs that do not see whom an event is exchanged with refuse a peer, and go on with
// what they had.
func TestPeerUnknown(t *testing.T) {
	s, err := OpenSignal(need(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	me := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}
	if _, err := s.Narrow([]Filter{me}); err != nil {
		t.Fatal(err)
	}
	if slots, err := s.Narrow([]Filter{me, PeerFilter(netip.MustParseAddrPort("10.0.0.9:0"))}); err == nil || slots != (Slots{1: me}) {
		t.Errorf("narrowed to %v, %v; want an error, and the process alone", slots, err)
	}
}

// localAddr gives the loopback of this namespace an address of IPv6; it has all of 127.0.0.0/8.
func localAddr(t testing.TB, a netip.Addr) {
	t.Helper()
	if a.Is4() {
		return
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	req := struct { // struct in6_ifreq
		addr   [16]byte
		prefix uint32
		index  int32
	}{a.As16(), 128, 1}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&req))); errno != 0 {
		t.Fatalf("giving the loopback %v: %v", a, errno)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // the kernel takes it up later
		err := unix.Bind(fd, tcpAddr(netip.AddrPortFrom(a, 0)))
		if err == nil {
			return
		}
		if err != unix.EADDRNOTAVAIL || time.Now().After(deadline) {
			t.Fatalf("binding to %v: %v", a, err)
		}
	}
}

// threeHosts are two peers and the address that they are spoken to from, by family.
func threeHosts(t testing.TB) map[string][3]netip.Addr {
	t.Helper()
	out := map[string][3]netip.Addr{}
	for family, texts := range map[string][3]string{"IPv4": {"127.0.0.2", "127.0.0.3", "127.0.0.9"}, "IPv6": {"fd00::2", "fd00::3", "fd00::9"}} {
		var hosts [3]netip.Addr
		for i, text := range texts {
			hosts[i] = netip.MustParseAddr(text)
		}
		out[family] = hosts
	}
	return out
}

func peerOf(a netip.Addr, port uint16) Filter { return PeerFilter(netip.AddrPortFrom(a, port)) }

// dialFrom connects from an address; with mapped through a socket of IPv6, to an address of IPv4.
func dialFrom(t testing.TB, from netip.Addr, to netip.AddrPort, mapped bool) int {
	t.Helper()
	if mapped {
		from, to = netip.AddrFrom16(from.As16()), netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	fd := tcpSocket(t, to)
	if err := unix.Bind(fd, tcpAddr(netip.AddrPortFrom(from, 0))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, tcpAddr(to)); err != nil {
		t.Fatalf("connecting from %v to %v: %v", from, to, err)
	}
	return fd
}

// TestFlowPeers makes 23 connections to one peer and 7 to another, from a third address: of each the kernel
// counts its own, with its port or any. Some of those over IPv4 are made through sockets of IPv6.
func TestFlowPeers(t *testing.T) {
	k := need(t)
	for family, hosts := range threeHosts(t) {
		t.Run(family, func(t *testing.T) {
			freshNetns(t)
			f := openFlow(t, k, allFlow())
			var listeners [2]int
			var at [2]netip.AddrPort
			for i, h := range hosts {
				localAddr(t, h)
				if i < len(at) {
					listeners[i], at[i] = listenAt(t, h.String(), 64)
				}
			}
			me := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}
			want := []Filter{peerOf(hosts[0], 0), me, peerOf(hosts[1], 0), peerOf(hosts[2], 0), peerOf(hosts[0], at[0].Port()), peerOf(hosts[0], at[0].Port()-1)}
			slots, err := f.Narrow(want)
			if err != nil {
				t.Fatal(err)
			}
			exchange := func(which int, n [2]int) {
				for i := range n[which] {
					fd := dialFrom(t, hosts[2], at[which], family == "IPv4" && i%3 == 0)
					server := acceptFrom(t, listeners[which])
					writeAll(t, fd, 5)
					readAll(t, server, 5)
					unix.Close(fd)
					unix.Close(server)
				}
			}
			var before FlowReading
			if err := f.Read(&before, 0); err != nil {
				t.Fatal(err)
			}
			exchange(0, [2]int{23, 7})
			exchange(1, [2]int{23, 7})
			check := func(slots Slots, before *FlowReading, clients map[Filter]uint64) {
				t.Helper()
				var r FlowReading
				if err := f.Read(&r, 0); err != nil {
					t.Fatal(err)
				}
				for i, s := range slots {
					if s == (Filter{}) {
						continue
					}
					n := clients[s]
					c, was := &r.Narrowed[i], &before.Narrowed[i]
					got := [...]uint64{
						c.Counts[FlowConnects] - was.Counts[FlowConnects], c.Counts[FlowEstablished] - was.Counts[FlowEstablished], c.Counts[FlowSent] - was.Counts[FlowSent],
						c.Hists[FlowLatency][FlowLoopback].count() + c.Hists[FlowLatency][FlowNetwork].count() - was.Hists[FlowLatency][FlowLoopback].count() - was.Hists[FlowLatency][FlowNetwork].count(),
						c.Counts[FlowAccepts] - was.Counts[FlowAccepts], c.Counts[FlowReceived] - was.Counts[FlowReceived],
						c.Counts[FlowEnded] - was.Counts[FlowEnded],
						c.Hists[FlowLife][FlowLoopback].count() + c.Hists[FlowLife][FlowNetwork].count() - was.Hists[FlowLife][FlowLoopback].count() - was.Hists[FlowLife][FlowNetwork].count(),
					}
					accepted := uint64(0)
					if s == me || s == peerOf(hosts[2], 0) {
						accepted = clients[me]
					}
					if want := [...]uint64{n, n, 5 * n, n, accepted, 5 * accepted, n + accepted, n + accepted}; got != want {
						t.Errorf("slot %d of %+v: connects, established, sent, latencies, accepts, received, ended, lives %v, want %v", i, s, got, want)
					}
				}
			}
			check(slots, &before, map[Filter]uint64{want[0]: 23, me: 30, want[2]: 7, want[4]: 23})

			// One peer is given up, and its slot is another's; one stays, and one comes back.
			if _, err = f.Narrow([]Filter{want[2], me}); err != nil {
				t.Fatal(err)
			}
			exchange(0, [2]int{3, 0})
			if slots, err = f.Narrow([]Filter{want[2], me, want[0]}); err != nil {
				t.Fatal(err)
			}
			if err := f.Read(&before, 0); err != nil {
				t.Fatal(err)
			}
			exchange(0, [2]int{5, 0})
			exchange(1, [2]int{0, 2})
			check(slots, &before, map[Filter]uint64{want[0]: 5, me: 7, want[2]: 2})
			if _, err := f.Narrow(nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFlowPeerRetransmits lets 23 SYNs to one deaf peer and 7 to another be sent again: the peers' shares
// are those of the records.
func TestFlowPeerRetransmits(t *testing.T) {
	k := need(t)
	for family, hosts := range threeHosts(t) {
		t.Run(family, func(t *testing.T) {
			freshNetns(t)
			events := openFlowEvents(t, k)
			f := openFlow(t, k, allFlow())
			slots, err := f.Narrow([]Filter{peerOf(hosts[0], 0), peerOf(hosts[1], 0)})
			if err != nil {
				t.Fatal(err)
			}
			before, want := mib(t, "Tcp", "RetransSegs"), [2]uint64{23, 7}
			var fds []int
			for i, n := range want {
				localAddr(t, hosts[i])
				deaf, at := listenAt(t, hosts[i].String(), 64)
				deafen(t, deaf)
				for range n {
					fds = append(fds, dialing(t, at))
				}
			}
			deadline := time.Now().Add(20 * time.Second)
			for mib(t, "Tcp", "RetransSegs")-before < 30 && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
			listed := map[netip.Addr]uint64{}
			for _, e := range records(t, events, byUs)[EventRetransmit] {
				listed[flowAddress(e.Remote.Word)]++
			}
			var r FlowReading
			if err := f.Read(&r, 0); err != nil {
				t.Fatal(err)
			}
			for i, n := range want {
				c := &r.Narrowed[i+1].Counts
				if got := c[FlowRetransmitsSyn]; got < n || got != listed[hosts[i]] || got != c[FlowRetransmits] || c[FlowGivenUp] != n {
					t.Errorf("%v: %d SYNs of %d connects sent again, %d segments in all, %d given up; listed are %d; slots %v", hosts[i], got, n, c[FlowRetransmits], c[FlowGivenUp], listed[hosts[i]], slots)
				}
			}
		})
	}
}

// flowAddress is an address of a record.
func flowAddress(words [4]uint32) netip.Addr {
	return netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&words))).Unmap()
}

// TestDNSPeers asks one server 23 times and another 7 times: of each the kernel counts its own, and those
// that it did not answer.
func TestDNSPeers(t *testing.T) {
	k := need(t)
	for family, hosts := range threeHosts(t) {
		t.Run(family, func(t *testing.T) {
			freshNetns(t)
			d := openDNS(t, k)
			me := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}
			slots, err := d.Narrow([]Filter{peerOf(hosts[0], 0), me, peerOf(hosts[1], 53), peerOf(hosts[0], 54), peerOf(hosts[2], 0)})
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				localAddr(t, h)
			}
			fd := udpSocket(t, netip.AddrPortFrom(hosts[2], 0))
			want := map[Filter]uint64{slots[1]: 23, me: 30, slots[3]: 7}
			for i, n := range []int{23, 7} {
				at := netip.AddrPortFrom(hosts[i], 53)
				dnsServer(t, udpSocket(t, at))
				for q := range n {
					name := "ok.example"
					if q < 2 {
						name = "mute.example"
					}
					ask(t, fd, at, uint16(100*i+q), 1, name)
				}
				s := tcpSocket(t, at)
				if err := unix.Connect(s, tcpAddr(at)); err != unix.ECONNREFUSED {
					t.Errorf("connecting to a closed port: %v", err)
				}
				unix.Close(s)
			}
			d.timeout = time.Millisecond
			time.Sleep(10 * d.timeout)
			r := readDNS(t, d)
			for i, s := range slots {
				if s == (Filter{}) {
					continue
				}
				n, servers := want[s], uint64(0)
				switch s {
				case me:
					servers = 2
				case slots[1], slots[3]:
					servers = 1
				}
				got := r.Slots[i]
				if got.Queries != n || got.Answers != n-2*servers || got.Unanswered != 2*servers || got.Latency.count() != n-2*servers || got.TCP != servers {
					t.Errorf("slot %d of %+v: %d questions, %d answers, %d unanswered, %d latencies, %d connections; want %d, of them %d unanswered, and %d",
						i, s, got.Queries, got.Answers, got.Unanswered, got.Latency.count(), got.TCP, n, 2*servers, servers)
				}
			}
		})
	}
}
