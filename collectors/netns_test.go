// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inNetns moves the test to a network namespace of its own, whose counters are zero and where
// nobody else talks. What it opens must be opened on the test's own goroutine, and not through
// package net, which would use other threads.
func inNetns(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread dies with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("making a network namespace: %v; CI must be able to", err)
		}
		lacking(t, "needs a network namespace: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		t.Fatal(err)
	}
}

// here is the net directory of the calling thread's namespace.
const here = "thread-self/net"

// tcpAddr is an address of the loopback.
func tcpAddr(addr string, port int) unix.Sockaddr {
	ip := net.ParseIP(addr)
	if v4 := ip.To4(); v4 != nil && len(addr) < 16 && addr[0] != ':' {
		return &unix.SockaddrInet4{Port: port, Addr: [4]byte(v4)}
	}
	return &unix.SockaddrInet6{Port: port, Addr: [16]byte(ip.To16())}
}

func family(a unix.Sockaddr) int {
	if _, ok := a.(*unix.SockaddrInet4); ok {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// portOf is the local port of a socket.
func portOf(t testing.TB, fd int) int {
	t.Helper()
	a, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	t.Fatalf("an address of type %T", a)
	return 0
}

// listenTCP listens on an address and returns the socket and its port.
func listenTCP(t testing.TB, addr string, backlog int) (fd, port int) {
	t.Helper()
	a := tcpAddr(addr, 0)
	fd, err := unix.Socket(family(a), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return fd, portOf(t, fd)
}

// dial connects to a port; with wait false it returns before the handshake has ended.
func dial(t testing.TB, addr string, port int, wait bool) int {
	t.Helper()
	a := tcpAddr(addr, port)
	fd, err := unix.Socket(family(a), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if !wait {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Connect(fd, a); err != nil && (wait || err != unix.EINPROGRESS) {
		t.Fatal(err)
	}
	return fd
}

// accept takes one connection.
func accept(t testing.TB, listener int) int {
	t.Helper()
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// send writes n bytes.
func send(t testing.TB, fd, n int) {
	t.Helper()
	b := make([]byte, n)
	for len(b) > 0 {
		m, err := unix.Write(fd, b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[m:]
	}
}

// receive reads n bytes.
func receive(t testing.TB, fd, n int) {
	t.Helper()
	b := make([]byte, n)
	for len(b) > 0 {
		m, err := unix.Read(fd, b)
		if err != nil || m == 0 {
			t.Fatal(m, err)
		}
		b = b[m:]
	}
}
