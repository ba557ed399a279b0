// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freshNetns moves the test to a network namespace of its own, whose counters are zero and where nobody
// else talks. Sockets must be opened on the test's own goroutine, and not through package net.
func freshNetns(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread dies with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("making a network namespace: %v; CI must be able to", err)
		}
		t.Skipf("making a network namespace: %v", err)
	}
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
}

func tcpAddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func tcpSocket(t testing.TB, a netip.AddrPort) int {
	t.Helper()
	family := unix.AF_INET6
	if a.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// listenAt listens on a free port of an address.
func listenAt(t testing.TB, addr string, backlog int) (fd int, at netip.AddrPort) {
	t.Helper()
	at = netip.AddrPortFrom(netip.MustParseAddr(addr), 0)
	fd = tcpSocket(t, at)
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, tcpAddr(at)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return fd, netip.AddrPortFrom(at.Addr(), uint16(a.Port))
	case *unix.SockaddrInet6:
		return fd, netip.AddrPortFrom(at.Addr(), uint16(a.Port))
	}
	t.Fatalf("an address of type %T", name)
	return 0, at
}

// dialTo connects and wants that answer.
func dialTo(t testing.TB, to netip.AddrPort, want error) int {
	t.Helper()
	fd := tcpSocket(t, to)
	err := unix.Connect(fd, tcpAddr(to))
	for err == unix.EINTR || err == unix.EALREADY {
		time.Sleep(time.Millisecond)
		if err = unix.Connect(fd, tcpAddr(to)); err == unix.EISCONN {
			err = nil
		}
	}
	if !errors.Is(err, want) {
		t.Fatalf("connecting to %v: %v, want %v", to, err, want)
	}
	return fd
}

// dialing begins to connect.
func dialing(t testing.TB, to netip.AddrPort) int {
	t.Helper()
	fd := tcpSocket(t, to)
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, tcpAddr(to)); err != unix.EINPROGRESS {
		t.Fatalf("beginning to connect to %v: %v", to, err)
	}
	return fd
}

func acceptFrom(t testing.TB, listener int) int {
	t.Helper()
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err == nil {
			return fd
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func writeAll(t testing.TB, fd, n int) {
	t.Helper()
	for b := make([]byte, n); len(b) > 0; {
		m, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
		b = b[max(m, 0):]
	}
}

func readAll(t testing.TB, fd, n int) {
	t.Helper()
	for b := make([]byte, n); len(b) > 0; {
		m, err := unix.Read(fd, b)
		if err != nil && err != unix.EINTR || m == 0 {
			t.Fatal(m, err)
		}
		b = b[max(m, 0):]
	}
}

// deafen makes a socket drop all that comes from now on, before TCP sees it.
func deafen(t testing.TB, fd int) {
	t.Helper()
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	prog := unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		t.Fatal(err)
	}
}

// abandon closes a socket with a reset.
func abandon(t testing.TB, fd int) {
	t.Helper()
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

// mib is a counter of this thread's network namespace.
func mib(t testing.TB, group, name string) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
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
	t.Fatalf("snmp has no %s %s", group, name)
	return 0
}
