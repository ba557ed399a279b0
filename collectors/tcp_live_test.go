// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kernelCounter reads a counter in another way than the collector does.
func kernelCounter(t testing.TB, file, group, name string) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/" + here + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if f[0] != group+":" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, n := range names {
			if n == name {
				v, err := strconv.ParseUint(f[i], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
	}
	t.Fatalf("%s has no %s %s", file, group, name)
	return 0
}

// TestTCPCounts23 makes 23 connections where nobody else makes any.
func TestTCPCounts23(t *testing.T) {
	inNetns(t)
	listener, port := listenTCP(t, "127.0.0.1", 64)
	six, port6 := listenTCP(t, "::1", 64)
	c := newTCPOf(NewFS(""), here)
	start(t, c)
	collectAs[*TCP](t, c, 0)
	for range 20 {
		dial(t, "127.0.0.1", port, true)
		accept(t, listener)
	}
	for range 3 {
		dial(t, "::1", port6, true)
		accept(t, six)
	}
	refused := tcpAddr("127.0.0.1", 1)
	for range 5 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, refused); err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	s := collectAs[*TCP](t, c, time.Second)
	for counter, want := range map[TCPCounter]uint64{TCPActiveOpens: 28, TCPPassiveOpens: 23, TCPAttemptFails: 5, TCPOutRsts: 5, TCPRetransSegs: 0} {
		if got := s.Delta[counter]; got != want {
			t.Errorf("%s = %d, want %d", TCPNames()[counter], got, want)
		}
	}
	if s.Established != 46 || s.Stat.TCP != 41 || s.Stat.TCP6 != 7 {
		t.Errorf("established %d, IPv4 %d, IPv6 %d; want 46, 41, 7", s.Established, s.Stat.TCP, s.Stat.TCP6)
	}
	if got := s.Delta[TCPInSegs]; got != kernelCounter(t, "snmp", "Tcp", "InSegs") {
		t.Errorf("InSegs = %d, want %d", got, kernelCounter(t, "snmp", "Tcp", "InSegs"))
	}
}

// overflow fills an accept queue of backlog 1 and knocks on until the kernel has counted n more.
func overflow(t *testing.T, port, n int) {
	t.Helper()
	for range 2 { // the kernel lets one more than the backlog in
		dial(t, "127.0.0.1", port, true)
	}
	before := kernelCounter(t, "netstat", "TcpExt", "ListenOverflows")
	for range n {
		dial(t, "127.0.0.1", port, false)
	}
	deadline := time.Now().Add(time.Minute)
	for kernelCounter(t, "netstat", "TcpExt", "ListenOverflows") < before+uint64(n) {
		if time.Now().After(deadline) {
			t.Fatal("the kernel counted no overflow")
		}
	}
}

// TestTCPListenOverflow forces overflows and compares them with the kernel's own count, of the
// namespace and of the socket.
func TestTCPListenOverflow(t *testing.T) {
	inNetns(t)
	_, port := listenTCP(t, "127.0.0.1", 1)
	c := newTCPOf(NewFS(""), here)
	start(t, c)
	sockets := everySecond(newSockets(openDiag, noOwners()))
	start(t, sockets)
	collectAs[*TCP](t, c, 0)
	collectAs[*Sockets](t, sockets, 0)
	overflow(t, port, 7)
	// Retransmitted SYNs may add to both meanwhile.
	low := kernelCounter(t, "netstat", "TcpExt", "ListenOverflows")
	s := collectAs[*TCP](t, c, time.Second)
	table := collectAs[*Sockets](t, sockets, time.Second)
	high := kernelCounter(t, "netstat", "TcpExt", "ListenOverflows")
	if got := s.Delta[TCPListenOverflows]; got < low || got > high || got < 7 {
		t.Errorf("ListenOverflows = %d, want %d to %d", got, low, high)
	}
	if s.Delta[TCPListenDrops] < s.Delta[TCPListenOverflows] {
		t.Errorf("ListenDrops = %d is less than ListenOverflows", s.Delta[TCPListenDrops])
	}
	if len(table.Listeners) != 1 {
		t.Fatalf("listeners = %+v, want one", table.Listeners)
	}
	l := table.Listeners[0]
	if l.Queue != 2 || l.Backlog != 1 || l.Local.Port() != uint16(port) || uint64(l.Drops) < low || uint64(l.Drops) > high {
		t.Errorf("listener = %+v, want a queue of 2, a backlog of 1, and %d to %d drops", l, low, high)
	}
	if l.Connections != 2+l.SynRecv {
		t.Errorf("listener has %d connections, want the 2 that wait and %d handshakes", l.Connections, l.SynRecv)
	}
}

func noOwners() *ownerCache {
	return &ownerCache{fs: NewFS(""), open: func() (holderReader, error) { return nil, &NeedError{Need: "nothing"} }}
}
