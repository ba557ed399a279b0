// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// TestBlockLive writes and reads 23 times without the page cache, and asks who did.
func TestBlockLive(t *testing.T) {
	const n = 23
	k := bpf.Inspect()
	c := NewBlock(k, NewFS(""), newFeed(k), nil).(*blockCollector)
	if err := c.Start(t.Context()); err != nil {
		if _, ok := errors.AsType[*NeedError](err); ok {
			lacking(t, "%v", err)
		}
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.r.OwnersErr(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Skipf("no direct I/O in the directory of temporary files: %v", err)
	}
	defer unix.Close(fd)
	buf, err := unix.Mmap(-1, 0, n*64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	if _, err := unix.Pwrite(fd, buf, 0); err != nil {
		t.Skipf("no direct I/O in the directory of temporary files: %v", err)
	}
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	c.slow = time.Hour // what the host did until now is not what decides here
	if err := c.retune(&Block{Span: Span{0, time.Second}}); err != nil {
		t.Fatal(err)
	}
	for i := range int64(n) {
		if _, err := unix.Pwrite(fd, buf[:8<<10], i*64<<10); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pread(fd, buf[:4<<10], i*64<<10); err != nil {
			t.Fatal(err)
		}
	}
	s := collectBlock(t, c, time.Second)
	var own []BlockOwner
	for _, o := range s.Owners {
		if int(o.Process.TGID) == os.Getpid() {
			own = append(own, o)
		}
	}
	if len(own) == 0 {
		lacking(t, "the directory of temporary files is on no disk with requests of its own")
	}
	o := own[0]
	// An end that interrupts another's on the same CPU is missed, and counted as such; see undisturbed in
	// package bpf for the one that is not.
	if o.Writes > n || o.Reads > n || o.Writes+o.Reads+s.Missed < 2*n-1 ||
		o.WriteBytes != o.Writes*8<<10 || o.ReadBytes != o.Reads*4<<10 || o.Kernel || o.IOTime <= 0 {
		t.Errorf("%+v, want %d writes of 8 KiB and %d reads of 4 KiB; %d missed", o, n, n, s.Missed)
	}
	listed := 0
	for _, x := range s.Slow {
		if int(x.Process.TGID) == os.Getpid() && x.Dev == o.Dev {
			listed++
		}
	}
	if listed == 0 && s.Unlisted == 0 {
		t.Errorf("none of the requests is listed, of %d", len(s.Slow))
	}
}
