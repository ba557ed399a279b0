// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSockets23 opens 23 sockets, one of them twice, and expects each with this process.
func TestSockets23(t *testing.T) {
	k := need(t)
	s, err := OpenSockets(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	want := map[uint32]int{}
	inode := func(fd int) uint32 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return uint32(st.Ino)
	}
	open := func(domain int) int {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	for i := range 23 {
		fd := open([]int{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX}[i%3])
		want[inode(fd)]++
		if i == 7 {
			twice, err := unix.Dup(fd)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(twice) })
			want[inode(fd)]++
		}
	}
	pipe := newPipe(t)
	got := map[uint32]int{}
	var start uint64
	err = s.Read(func(h *Holder) {
		if int(h.Tgid) != os.Getpid() {
			return
		}
		got[h.Inode]++
		start = h.Start
		if h.Comm[0] == 0 {
			t.Error("a holder without a name")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for ino, n := range want {
		if got[ino] != n {
			t.Errorf("inode %d came %d times, want %d", ino, got[ino], n)
		}
	}
	if got[inode(pipe.r)] != 0 {
		t.Error("a pipe came as a socket")
	}
	// The start is the task iterator's, so that both name the same process.
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, tasks)
	if err := tasks.Read(func(x *Task) {
		if int(x.Pid) == os.Getpid() && x.Start != start {
			t.Errorf("this process starts at %d, by the tasks at %d", start, x.Start)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSockets(b *testing.B) {
	s, err := OpenSockets(need(b))
	if err != nil {
		b.Fatal(err)
	}
	closing(b, s)
	n := 0
	for b.Loop() {
		if err := s.Read(func(*Holder) { n++ }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/float64(b.N), "sockets/op")
}
