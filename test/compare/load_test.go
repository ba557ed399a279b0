// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Variables that make the test binary a load: its kind, and the file it may write.
const (
	loadVariable    = "BPF60_COMPARE_LOAD"
	scratchVariable = "BPF60_COMPARE_SCRATCH"
)

// beat is how often each load does its work. Many short beats make a load steady: a window that is
// shifted by a beat sees one of 250 more or less.
const beat = 20 * time.Millisecond

// loads are the kinds of load, each with what it does in a beat. All together take about 60 % of one
// CPU.
func loads() map[string]func(scratch string) (func() error, error) {
	return map[string]func(string) (func() error, error){
		"spin":   spinning,
		"switch": switching,
		"fault":  faulting,
		"disk":   writing,
		"tcp":    talking,
		"swap":   swapped,
	}
}

// startLoads starts one process of each kind and returns them by kind. They end with the test.
func startLoads(t *testing.T, scratch string) map[string]int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for kind := range loads() {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), loadVariable+"="+kind, scratchVariable+"="+scratch, "GOMAXPROCS=2")
		cmd.Stderr = os.Stderr
		leash, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			leash.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the load %q: %v", kind, err)
			}
		})
		pids[kind] = cmd.Process.Pid
	}
	return pids
}

// load is the life of such a process. It ends when its standard input does, so that it cannot stay
// behind even if the test is killed.
func load(kind string) error {
	// pidstat counts the switches and waits of a process's first thread: the work must be there.
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		// Go has moved us. The thread that executes a program is the first of it.
		return fmt.Errorf("starting the load %q anew: %w", kind, unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	if err := os.WriteFile("/proc/self/comm", []byte("cmp-"+kind), 0o644); err != nil {
		return err
	}
	start, ok := loads()[kind]
	if !ok {
		return fmt.Errorf("no load %q", kind)
	}
	work, err := start(os.Getenv(scratchVariable))
	if err != nil {
		return fmt.Errorf("starting the load %q: %w", kind, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for next := time.Now(); ; {
		select {
		case <-ended:
			os.Exit(0)
		default:
		}
		if err := work(); err != nil {
			return fmt.Errorf("the load %q: %w", kind, err)
		}
		// At fixed times, so that a slow beat is made up for.
		if next = next.Add(beat); time.Until(next) > 0 {
			nap(time.Until(next))
		} else if time.Since(next) > time.Second {
			next = time.Now() // the host cannot keep up: no burst afterwards
		}
	}
}

// nap sleeps on this thread: one voluntary switch.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // woken early by a signal: no matter
}

// spinning uses a CPU in user and kernel mode.
func spinning(string) (func() error, error) {
	zero, err := os.Open("/dev/zero")
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	return func() error {
		for start := time.Now(); time.Since(start) < beat/6; {
		}
		for start := time.Now(); time.Since(start) < beat/10; {
			if _, err := unix.Read(int(zero.Fd()), buf); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// switching sleeps often and short.
func switching(string) (func() error, error) {
	return func() error {
		for range 20 {
			nap(100 * time.Microsecond)
		}
		return nil
	}, nil
}

// faulting touches fresh memory and gives it back.
func faulting(string) (func() error, error) {
	const pages = 128
	return func() error {
		b, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		// One page after the other, also where the kernel would take a huge one.
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		return unix.Munmap(b)
	}, nil
}

// writing writes to and reads from the disk, past the page cache.
func writing(scratch string) (func() error, error) {
	const (
		written = 16 << 10
		read    = 4 << 10
		size    = 64 * written
	)
	buf, err := unix.Mmap(-1, 0, written, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(scratch, os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return nil, err
	}
	for at := int64(0); at < size; at += written {
		if _, err := f.WriteAt(buf, at); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	n := int64(0)
	return func() error {
		n++
		if _, err := f.WriteAt(buf, n*written%size); err != nil {
			return err
		}
		if _, err := f.ReadAt(buf[:read], n*3*written%size); err != nil {
			return err
		}
		if n%5 == 0 {
			return unix.Fdatasync(int(f.Fd()))
		}
		return nil
	}, nil
}

// talking sends over one connection, opens and closes others, is refused, and retransmits to a
// listener whose queue is full.
func talking(string) (func() error, error) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	steady, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		return nil, err
	}
	full, err := fullListener()
	if err != nil {
		return nil, err
	}
	if err := unanswered(full); err != nil {
		return nil, err
	}
	closed, err := closedPort()
	if err != nil {
		return nil, err
	}
	data := make([]byte, 48<<10)
	n := 0
	return func() error {
		if _, err := steady.Write(data); err != nil {
			return err
		}
		switch n++; n % 4 {
		case 0:
			c, err := net.Dial("tcp4", server.Addr().String())
			if err != nil {
				return err
			}
			return c.Close()
		case 1:
			if _, err := net.Dial("tcp4", closed); !errors.Is(err, syscall.ECONNREFUSED) {
				return errors.Join(errors.New("a closed port refused nothing"), err)
			}
		case 2:
			// The SYN is dropped, and sent again after a second.
			go func() {
				if c, err := net.DialTimeout("tcp4", full, 1500*time.Millisecond); err == nil {
					c.Close()
				}
			}()
		}
		return nil
	}, nil
}

// fullListener is the address of a listener that accepts nobody and has no place for one more.
func fullListener() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return "", err
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	v4, ok := address.(*unix.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("a listener of an unexpected family: %T", address)
	}
	name := fmt.Sprintf("127.0.0.1:%d", v4.Port)
	for range 2 { // a queue of 0 takes one
		if c, err := net.DialTimeout("tcp4", name, 100*time.Millisecond); err == nil {
			keep(c)
		}
	}
	return name, nil
}

// unanswered begins a connection whose SYN is dropped, and sent again after 1, 3, 7, 15, 31 and 63 seconds.
func unanswered(name string) error {
	address, err := netip.ParseAddrPort(name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 6); err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())})
	if !errors.Is(err, unix.EINPROGRESS) {
		return errors.Join(errors.New("a full listener answered"), err)
	}
	return nil
}

// swapped has memory that is in the swap area, where there is one.
func swapped(string) (func() error, error) {
	const size = 8 << 20
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	for i := range b {
		b[i] = byte(i*i>>8 + 1)
	}
	_ = unix.Madvise(b, unix.MADV_PAGEOUT) // since Linux 5.4
	return func() error { return nil }, nil
}

// addSwap gives a host without swap some, in a file, until the test ends: free's line of it is all 0 else.
// Where the kernel or the file system has none to give, it stays so.
func addSwap(t *testing.T, path string) {
	t.Helper()
	areas, err := os.ReadFile("/proc/swaps")
	if err != nil || bytes.Count(areas, []byte("\n")) > 1 {
		return
	}
	const size = 32 << 20
	area, page := make([]byte, size), os.Getpagesize()
	// The header of swapon(2): include/linux/swap.h of the kernel.
	binary.NativeEndian.PutUint32(area[1024:], 1)                   // version
	binary.NativeEndian.PutUint32(area[1028:], uint32(size/page-1)) // last page
	copy(area[page-10:], "SWAPSPACE2")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(area) // without holes, which no swap area may have
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
		t.Logf("no swap area: %v", errno)
		return
	}
	t.Cleanup(func() {
		if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
			t.Errorf("taking away the swap area %s: %v", path, errno)
		}
	})
}

// keep holds a connection open for as long as the process lives.
func keep(c net.Conn) {
	go func() {
		defer c.Close()
		select {}
	}()
}

// closedPort is an address where nobody listens.
func closedPort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// scratchDir is a directory on a disk: tmpfs has no device behind it.
func scratchDir(t *testing.T) string {
	t.Helper()
	tried := []string{os.TempDir(), "/var/tmp", "."}
	for _, base := range tried {
		dir, err := os.MkdirTemp(base, "bpf60-compare-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		f, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
		if err != nil {
			continue
		}
		f.Close()
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type != unix.TMPFS_MAGIC {
			return dir
		}
	}
	lacking(t, "no directory on a disk that takes direct writes among "+strings.Join(tried, " "))
	return ""
}
