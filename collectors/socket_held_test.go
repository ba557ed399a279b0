// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHeldSockets holds that the sockets of our own descriptors are found, and nothing else.
func TestHeldSockets(t *testing.T) {
	want := make(map[uint32]bool)
	for range 3 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		want[uint32(st.Ino)] = true
	}
	var file unix.Stat_t
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &file); err != nil {
		t.Fatal(err)
	}
	got := heldSockets(NewFS(""), []int32{int32(os.Getpid()), 1 << 30})
	for inode := range want {
		if !got[inode] {
			t.Errorf("socket %d is not found", inode)
		}
	}
	if got[uint32(file.Ino)] {
		t.Error("a file counts as a socket")
	}
	if heldSockets(NewFS(""), nil) != nil {
		t.Error("sockets of nobody")
	}
}

// TestSocketsOfProcess holds that the sockets of a process that is looked at are listed however little they
// move.
func TestSocketsOfProcess(t *testing.T) {
	const n = 2 * socketRows
	root := t.TempDir()
	fd := filepath.Join(root, "7/fd")
	if err := os.MkdirAll(fd, 0o755); err != nil {
		t.Fatal(err)
	}
	k := &fakeKernel{}
	for i := range n {
		k.four = append(k.four, fakeSocket{cookie: uint64(i + 1), state: Established, local: "10.0.0.1:80", remote: fmt.Sprintf("10.0.%d.%d:999", i/250, i%250+1), inode: uint32(i + 100)})
	}
	for i, inode := range []uint32{100, 399} {
		if err := os.Symlink(fmt.Sprintf("socket:[%d]", inode), filepath.Join(fd, fmt.Sprint(i+3))); err != nil {
			t.Fatal(err)
		}
	}
	c := k.collector()
	c.owners.fs = NewFS(root)
	start(t, c)
	collectAs[*Sockets](t, c, 0)
	for i := range k.four {
		k.four[i].acked = uint64(1000 + i)
	}
	k.four[0].acked, k.four[299].acked = 0, 0
	find := func(s *Sockets) (found int) {
		for _, r := range s.Rows {
			if r.Inode == 100 || r.Inode == 399 {
				found++
			}
		}
		return found
	}
	if s := collectAs[*Sockets](t, c, time.Second); find(s) != 0 {
		t.Errorf("%d sockets that do nothing are among the busiest", find(s))
	}
	if err := c.Narrow([]Target{{Kind: ProcessTarget, Process: Process{TGID: 7, Start: 1}}}); err != nil {
		t.Fatal(err)
	}
	s := collectAs[*Sockets](t, c, 2*time.Second)
	if find(s) != 2 || len(s.Rows) != socketRows {
		t.Errorf("%d of 2 sockets of the process are listed, %d rows in all", find(s), len(s.Rows))
	}
}
