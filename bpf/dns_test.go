// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openDNS(t testing.TB, k *Kernel) *DNS {
	t.Helper()
	d, err := OpenDNS(k)
	if err != nil {
		t.Fatalf("OpenDNS: %v", err)
	}
	closing(t, d)
	if err := d.ReceivedErr(); err != nil {
		t.Fatalf("answers are not seen: %v", err)
	}
	return d
}

func readDNS(t testing.TB, d *DNS) *DNSReading {
	t.Helper()
	r, err := d.Read()
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

// ours is what this process asked one server.
func (r *DNSReading) ours(server netip.Addr) DNSCounts {
	for _, row := range r.Rows {
		if int(row.TGID) == os.Getpid() && row.Server == server {
			return row.DNSCounts
		}
	}
	return DNSCounts{}
}

// dnsMessage is a question; qtype 28 is AAAA.
func dnsMessage(id uint16, qtype byte, name string) []byte {
	b := []byte{byte(id >> 8), byte(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, 0, qtype, 0, 1)
}

// dnsServer answers what arrives at a socket until the test ends: after 30 ms names that begin with
// "slow", never those with "mute", twice those with "twice", and those with "nx" by NXDOMAIN.
func dnsServer(t testing.TB, fd int) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ends the read
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || n < 13 || from == nil {
				return
			}
			m := append([]byte(nil), buf[:n]...)
			m[2] |= 0x80
			name, times := string(m[13:]), 1
			switch {
			case strings.HasPrefix(name, "mute"):
				continue
			case strings.HasPrefix(name, "slow"):
				time.Sleep(30 * time.Millisecond)
			case strings.HasPrefix(name, "twice"):
				times = 2
			case strings.HasPrefix(name, "nx"):
				m[3] = 3
			case strings.HasPrefix(name, "cut"):
				m[2] |= 2
			}
			for range times {
				_ = unix.Sendto(fd, m, 0, from)
			}
		}
	}()
}

// ask sends a question from a socket and waits for the answers, if there are any to come. It returns how
// long it took.
func ask(t testing.TB, fd int, server netip.AddrPort, id uint16, qtype byte, name string) time.Duration {
	t.Helper()
	to, _ := sockaddr(server)
	began := time.Now()
	if err := unix.Sendto(fd, dnsMessage(id, qtype, name), 0, to); err != nil {
		t.Error(err)
		return 0
	}
	times := 1
	switch {
	case strings.HasPrefix(name, "mute"):
		times = 0
	case strings.HasPrefix(name, "twice"):
		times = 2
	}
	buf := make([]byte, 1500)
	for range times {
		if _, _, err := unix.Recvfrom(fd, buf, 0); err != nil {
			t.Error(err)
		}
	}
	return time.Since(began)
}

var (
	localhost4 = netip.MustParseAddr("127.0.0.1")
	localhost6 = netip.MustParseAddr("::1")
)

// TestDNS asks a server of its own 23 times over IPv4 and 23 times over IPv6; 5 of each get no
// answer, and 6 get it after 30 ms.
func TestDNS(t *testing.T) {
	k := need(t)
	const timeout = 300 * time.Millisecond
	d := openDNS(t, k)
	events, err := OpenEvents(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, events)
	for family, server := range []netip.Addr{localhost4, localhost6} {
		t.Run(server.String(), func(t *testing.T) {
			d.timeout = DNSTimeout // a slow machine takes a while to ask
			before := readDNS(t, d)
			hostBefore, typesBefore := before.Slots[0], before.Global.Types
			var late, tooLate uint64 // answers that we have waited for longer than 16 ms and 65 ms
			inNetns(t, func() {
				at := netip.AddrPortFrom(server, 53)
				dnsServer(t, udpSocket(t, at))
				connected, free := udpSocket(t, netip.AddrPortFrom(server, 0)), udpSocket(t, netip.AddrPortFrom(server, 0))
				to, _ := sockaddr(at)
				if err := unix.Connect(connected, to); err != nil {
					t.Error(err)
					return
				}
				for i := range 23 {
					name, fd := "ok.example.org", connected
					switch {
					case i < 5:
						name = "mute.example.org"
					case i < 11:
						name, fd = "slow.example.org", free
					case i < 13:
						name = "nx.example.org"
					case i < 14:
						name = "cut.example.org"
					}
					took := ask(t, fd, at, uint16(100*family+i), 28, name) // the same once more would be a retry
					if i >= 5 && took >= 1<<14*time.Microsecond {
						late++
					}
					if i >= 5 && took >= 1<<16*time.Microsecond {
						tooLate++
					}
				}
			})
			first := readDNS(t, d)
			if got := first.ours(server); got.Answers != 18 || got.Unanswered != 0 {
				t.Errorf("%d answers and %d unanswered at once, want 18 and 0", got.Answers, got.Unanswered)
			}
			d.timeout = timeout
			time.Sleep(timeout)
			r := readDNS(t, d)
			got := r.ours(server)
			if got.Queries != 23 || got.Answers != 18 || got.Unanswered != 5 || got.Retries != 0 || got.TCP != 0 {
				t.Errorf("%d questions, %d answers, %d unanswered, %d retries, want 23, 18, 5, 0", got.Queries, got.Answers, got.Unanswered, got.Retries)
			}
			if got.Rcodes[RcodeOK] != 16 || got.Rcodes[RcodeName] != 2 || got.Unread != 0 || got.Truncated != 1 {
				t.Errorf("codes %v, %d truncated, want 16 NOERROR and 2 NXDOMAIN, 1 truncated", got.Rcodes, got.Truncated)
			}
			// 30 ms are in the bucket of 16 to 33; on a slow machine later, with some of the others: as many as
			// we have waited for.
			slow := uint64(0)
			for _, n := range got.Latency.Slots[14:] {
				slow += n
			}
			if most := got.Latency.Slots[14] + got.Latency.Slots[15] + tooLate; slow < 6 || slow > late || most < 6 || got.Latency.count() != 18 {
				t.Errorf("latency %v, want 6 of 18 at 30 ms; we have waited %d times for 16 ms and more, %d times for 65", &got.Latency, late, tooLate)
			}
			mute := 0
			for _, a := range r.Timeout {
				if int(a.TGID) == os.Getpid() && a.Server == server {
					mute++
					if got := wireName(a.Name); got != "mute.example.org" || a.Type != 28 || a.Unsure || a.Cut || a.Tries != 1 {
						t.Errorf("unanswered: %q type %d, %+v", got, a.Type, a)
					}
				}
			}
			if mute != 5 {
				t.Errorf("%d unanswered questions are listed, want 5", mute)
			}
			if host := r.Slots[0]; host.Queries-hostBefore.Queries < 23 || host.Unanswered-hostBefore.Unanswered < 5 || host.Answers-hostBefore.Answers < 18 {
				t.Errorf("the host's sum is less than ours: %+v", host)
			}
			if n := r.Global.Types[1] - typesBefore[1]; n < 23 {
				t.Errorf("%d questions for AAAA, want 23", n)
			}
			failed := 0
			if err := events.Drain(func(kind EventKind, rec []byte) {
				a, ok := ReadDNSAnswer(rec)
				if kind != EventDNS || !ok {
					t.Fatalf("a record of kind %d, %d bytes", kind, len(rec))
				}
				if int(a.TGID) == os.Getpid() && a.Server == server && a.Rcode == RcodeName {
					failed++
					if got := wireName(a.Name); got != "nx.example.org" || a.Type != 28 || a.Latency <= 0 {
						t.Errorf("failed: %q %+v", got, a)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			if failed != 2 {
				t.Errorf("%d failed answers are listed, want 2", failed)
			}
		})
	}
}

// wireName prints the labels of a name as on the wire.
func wireName(b []byte) string {
	var labels []string
	for len(b) > 0 && int(b[0]) < len(b) {
		labels = append(labels, string(b[1:1+b[0]]))
		b = b[1+b[0]:]
	}
	return strings.Join(labels, ".")
}

// TestDNSRetries sends questions again: from the same port and from another, as resolvers do, and
// after the answer, which is no retry. A second answer is nobody's.
func TestDNSRetries(t *testing.T) {
	d := openDNS(t, need(t))
	d.timeout = 300 * time.Millisecond
	unmatched := readDNS(t, d).Global.Unmatched
	inNetns(t, func() {
		at := netip.AddrPortFrom(localhost4, 53)
		dnsServer(t, udpSocket(t, at))
		a, b := udpSocket(t, netip.AddrPortFrom(localhost4, 0)), udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		for range 3 {
			ask(t, a, at, 7, 1, "mute.again.example") // two of them are resent
			time.Sleep(2 * time.Millisecond)          // more than SAME
		}
		ask(t, b, at, 7, 1, "mute.again.example") // a retry from another port
		ask(t, b, at, 8, 1, "ok.example")
		ask(t, b, at, 8, 1, "ok.example")
		ask(t, b, at, 9, 1, "twice.example")
	})
	time.Sleep(d.timeout)
	r := readDNS(t, d)
	got := r.ours(localhost4)
	if got.Queries != 7 || got.Retries != 3 || got.Resent != 2 || got.Answers != 3 || got.Unanswered != 2 {
		t.Errorf("%d questions, %d retries, %d resent, %d answers, %d unanswered, want 7, 3, 2, 3, 2", got.Queries, got.Retries, got.Resent, got.Answers, got.Unanswered)
	}
	if n := r.Global.Unmatched - unmatched; n == 0 { // others' answers may come that were asked for before us
		t.Error("no answer that nobody waited for, want 1")
	}
}

// TestDNSConnections counts what is asked over TCP, and each connection once.
func TestDNSConnections(t *testing.T) {
	d := openDNS(t, need(t))
	for _, server := range []netip.Addr{localhost4, localhost6} {
		inNetns(t, func() {
			a, family := sockaddr(netip.AddrPortFrom(server, 53))
			for range 23 {
				fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if err := unix.Connect(fd, a); err != unix.ECONNREFUSED {
					t.Errorf("connecting to a closed port: %v", err)
				}
				unix.Close(fd)
			}
		})
		if got := readDNS(t, d).ours(server); got.TCP != 23 || got.Queries != 0 {
			t.Errorf("%d connections and %d questions to %v, want 23 and 0", got.TCP, got.Queries, server)
		}
	}
}

// TestDNSLongNames has names that are as long as they may be, and what is none.
func TestDNSLongNames(t *testing.T) {
	d := openDNS(t, need(t))
	d.timeout = 50 * time.Millisecond
	label := strings.Repeat("x", 60)
	names := []string{"mute." + label, "mute." + strings.Join([]string{label, label, label, label}, ".")}
	inNetns(t, func() {
		at := netip.AddrPortFrom(localhost4, 53)
		dnsServer(t, udpSocket(t, at))
		fd := udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		for i, name := range names {
			ask(t, fd, at, uint16(i), 1, name)
		}
		to, _ := sockaddr(at)
		for _, junk := range [][]byte{nil, {1}, make([]byte, 11), {0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 255, 255}} {
			if err := unix.Sendto(fd, junk, 0, to); err != nil {
				t.Error(err)
			}
		}
	})
	time.Sleep(d.timeout)
	got := map[uint16]DNSAsk{}
	for _, a := range readDNS(t, d).Timeout {
		if int(a.TGID) == os.Getpid() {
			got[a.ID] = a
		}
	}
	if a := got[0]; wireName(a.Name) != names[0] || a.Cut || a.Type != 1 {
		t.Errorf("a name of 66 bytes: %q, %+v", wireName(a.Name), a)
	}
	if a := got[1]; !strings.HasPrefix(names[1], wireName(a.Name)) || !a.Cut || a.Type != 0 || len(a.Name) != 128 {
		t.Errorf("a name of 250 bytes: %q, %+v", wireName(a.Name), a)
	}
	if a, ok := got[9]; !ok || a.Type != 0 {
		t.Errorf("a question that is cut off: %+v", a)
	}
}
