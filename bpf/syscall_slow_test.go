// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// slowPage is a page of memory that takes a while to come: who reads a file into it is slow in the
// call, whatever the file system.
func slowPage(t testing.TB, d time.Duration) []byte {
	t.Helper()
	// include/uapi/linux/userfaultfd.h
	const (
		api      = 0xc018aa3f
		register = 0xc020aa00
		zeropage = 0xc020aa04
		size     = 4096
	)
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		t.Skipf("needs userfaultfd: %v", errno)
	}
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(&mem[0])))
	ioctl := func(what uintptr, arg *[4]uint64) unix.Errno {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, what, uintptr(unsafe.Pointer(arg)))
		return errno
	}
	if errno := ioctl(api, &[4]uint64{0xaa}); errno != 0 {
		t.Fatalf("userfaultfd: %v", errno)
	}
	if errno := ioctl(register, &[4]uint64{at, size, 1}); errno != 0 {
		t.Fatalf("registering memory: %v", errno)
	}
	quit := newPipe(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var msg [32]byte
		for {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(quit.r), Events: unix.POLLIN}}
			if _, err := unix.Poll(p, -1); err != nil && err != unix.EINTR {
				return
			}
			if p[1].Revents != 0 {
				return
			}
			if n, err := unix.Read(int(fd), msg[:]); err == nil && n == len(msg) {
				nap(d)
				ioctl(zeropage, &[4]uint64{at, size})
			}
		}
	}()
	t.Cleanup(func() {
		quit.put()
		<-done
		unix.Close(int(fd))
		_ = unix.Munmap(mem)
	})
	return mem
}

// TestSyscallSlowFiles reads a file 23 times in a way that takes 15 ms, and as often a FIFO, which does
// not count.
func TestSyscallSlowFiles(t *testing.T) {
	const n, d = 23, 15 * time.Millisecond
	k := need(t)
	page := slowPage(t, d)
	events := openEvents(t, k)
	dir := t.TempDir()
	path := filepath.Join(dir, "slow\x1b[1mfile")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte("z"), 100_000)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	fifo := newPipe(t)
	s := openAllSyscalls(t, k, SyscallSlow)
	alone(t, s)
	before, err := s.Totals()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if got, err := unix.Pread(int(f.Fd()), page[:100], int64(1000*i)); got != 100 || err != nil {
			t.Fatalf("pread: %d, %v", got, err)
		}
		go func() { nap(d); fifo.put() }()
		fifo.get()
	}
	if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(500, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := unix.Read(int(f.Fd()), page[:300]); got != 300 || err != nil {
		t.Fatalf("read: %d, %v", got, err)
	}
	_, slow := drained(t, events)
	var offsets []int64
	for i, e := range slow {
		offsets = append(offsets, e.Offset)
		call, size := uint32(unix.SYS_PREAD64), 100
		if i == n {
			call, size = unix.SYS_READ, 300
		}
		if e.Call != call || e.Ret != int64(size) || e.Asked != uint64(size) || e.Ns < uint64(d) || e.Inode != st.Ino ||
			unix.Mkdev(e.Dev>>20, e.Dev&(1<<20-1)) != st.Dev || e.IsPath != 0 {
			t.Errorf("slow call %d: %+v; the file is %+v", i, e, st)
		}
		names := [2]string{unix.ByteSliceToString(e.Names[0][:]), unix.ByteSliceToString(e.Names[1][:])}
		if want := [2]string{filepath.Base(path), filepath.Base(dir)}; names != want {
			t.Errorf("slow call %d: names %q, want %q", i, names, want)
		}
		if fs := unix.ByteSliceToString(e.FS[:]); fs == "" || fs != typeOf(t, st.Dev) {
			t.Errorf("slow call %d: file system %q, want %q", i, fs, typeOf(t, st.Dev))
		}
	}
	want := make([]int64, n, n+1)
	for i := range want {
		want[i] = int64(1000 * i)
	}
	if diff := cmp.Diff(append(want, 500), offsets); diff != "" {
		t.Errorf("offsets of slow calls (-want +got):\n%s", diff)
	}
	after, err := s.Totals()
	if err != nil || after.Slow-before.Slow < n+1 {
		t.Errorf("%d slow calls in all, %v, want at least %d", after.Slow-before.Slow, err, n+1)
	}
	if got := callsOf(t, s, os.Getpid()); len(got) != 0 {
		t.Errorf("calls were counted, which nobody wanted: %v", got)
	}
}

// typeOf is the file system of a device, by the kernel's own table.
func typeOf(t testing.TB, dev uint64) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 6 && f[2] == id {
			_, after, _ := strings.Cut(line, " - ")
			name, _, _ := strings.Cut(after, " ")
			return name
		}
	}
	return ""
}
