// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inNetns runs f on a thread of its own in a fresh network namespace with its loopback up. Sockets
// keep the namespace they were made in, so other goroutines may use them.
func inNetns(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		if err == nil {
			defer close(done)
			f() // t.Fatal in it ends this goroutine only, and so closes done
			return
		}
		done <- err
	}()
	if err := <-done; err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("making a network namespace: %v; CI must be able to", err)
		}
		t.Skipf("needs a network namespace: %v", err)
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// sockaddr is an address as system calls take it.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, int) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, unix.AF_INET6
}

// udpSocket is a blocking socket of the calling thread's namespace, bound to an address; port 0 is
// any.
func udpSocket(t testing.TB, bind netip.AddrPort) int {
	t.Helper()
	a, family := sockaddr(bind)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, a); err != nil {
		t.Fatalf("binding to %v: %v", bind, err)
	}
	return fd
}

// stormOf is the size of a storm: less in an emulated machine, which is ten times slower.
func stormOf(n int) int {
	if os.Getenv("BPF60_TEST_GUEST") != "" {
		return n / 10
	}
	return n
}
