// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// openAllSlowFiles lists every call on a file that takes slow and longer, this process's too. Machines
// whose kernel refuses fentry skip; the guests of the kernel matrix do not.
func openAllSlowFiles(t testing.TB, slow time.Duration) *SlowFiles {
	t.Helper()
	s, err := openSlowFiles(need(t), 0, slow)
	var refused *NeedError
	if errors.As(err, &refused) {
		t.Skipf("needs fentry, which this kernel refuses: %v", err)
	}
	if err != nil {
		t.Fatalf("openSlowFiles: %v", err)
	}
	closing(t, s)
	return s
}

// TestSlowFileRecords: both objects that send EventSlowFile have one record.
func TestSlowFileRecords(t *testing.T) {
	if a, b := unsafe.Sizeof(slowfileSlowEvent{}), unsafe.Sizeof(SlowEvent{}); a != b {
		t.Errorf("the program's record has %d bytes, Go's %d", a, b)
	}
	if a, b := unsafe.Offsetof(slowfileSlowEvent{}.Names), unsafe.Offsetof(SlowEvent{}.Names); a != b {
		t.Errorf("the program's record has names at %d, Go's at %d", a, b)
	}
}

// TestSlowFilesKnownCount makes 23 calls of each kind on a file, and some on what is none; with a
// threshold of nothing all of them are slow. A pipe does not count.
func TestSlowFilesKnownCount(t *testing.T) {
	const n = 23
	s := openAllSlowFiles(t, 0)
	events := openEvents(t, s.obj.kernel)
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}, true); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "slow\x1b[1mfile")
	if err := os.WriteFile(path, bytes.Repeat([]byte("z"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	fifo, page := newPipe(t), make([]byte, 100)
	tests := map[string]struct {
		call  func(i int) error
		shown uint32
		ret   int64
		size  uint64
		at    func(i int) int64
	}{
		"pread": {
			call:  func(i int) error { _, err := unix.Pread(fd, page, int64(1000*i)); return err },
			shown: unix.SYS_READ, ret: 100, size: 100, at: func(i int) int64 { return int64(1000 * i) },
		},
		"pread at the end": {
			call:  func(i int) error { _, err := unix.Pread(fd, page, 99_950); return err },
			shown: unix.SYS_READ, ret: 50, size: 100, at: func(int) int64 { return 99_950 },
		},
		"pwrite": {
			call:  func(i int) error { _, err := unix.Pwrite(fd, page, int64(500*i)); return err },
			shown: unix.SYS_WRITE, ret: 100, size: 100, at: func(i int) int64 { return int64(500 * i) },
		},
		"read": {
			call: func(i int) error {
				if i == 0 {
					if _, err := unix.Seek(fd, 500, 0); err != nil {
						return err
					}
				}
				_, err := unix.Read(fd, page)
				return err
			},
			shown: unix.SYS_READ, ret: 100, size: 100, at: func(i int) int64 { return int64(500 + 100*i) },
		},
		"fsync": {
			call:  func(int) error { return unix.Fsync(fd) },
			shown: unix.SYS_FSYNC, at: func(int) int64 { return -1 },
		},
		"open": {
			call: func(int) error {
				fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err == nil {
					unix.Close(fd)
				}
				return err
			},
			shown: unix.SYS_OPENAT, at: func(int) int64 { return -1 },
		},
		"a pipe": {call: func(int) error { fifo.put(); fifo.get(); return nil }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "fsync" && strings.HasPrefix(s.obj.kernel.release, "7.") && !slices.Contains(s.fs, typeOf(t, st.Dev)) {
				t.Skipf("this kernel has inlined vfs_fsync_range, and of %s no function is attached to", typeOf(t, st.Dev))
			}
			drained(t, events)
			nap(150 * time.Millisecond) // a new share of the ring
			before, err := s.Read()
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if err := tt.call(i); err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			after, err := s.Read()
			if err != nil {
				t.Fatal(err)
			}
			_, slow := drained(t, events)
			var offsets, want []int64
			for _, e := range slow {
				if e.Inode != st.Ino { // what else this process does: Go's own calls
					continue
				}
				offsets = append(offsets, e.Offset)
				if e.Call != tt.shown || e.Ret != tt.ret || e.Asked != tt.size || e.Ns == 0 || e.IsPath != 0 ||
					unix.Mkdev(e.Dev>>20, e.Dev&(1<<20-1)) != st.Dev || e.TGID != int32(os.Getpid()) || e.Start == 0 || e.Match != 2 {
					t.Errorf("%+v; want call %d, return value %d, size %d of %+v", e, tt.shown, tt.ret, tt.size, st)
				}
				names := [2]string{CString(e.Names[0][:]), CString(e.Names[1][:])}
				if want := [2]string{filepath.Base(path), filepath.Base(dir)}; names != want {
					t.Errorf("names %q, want %q", names, want)
				}
				if fs := CString(e.FS[:]); fs != typeOf(t, st.Dev) {
					t.Errorf("file system %q, want %q", fs, typeOf(t, st.Dev))
				}
			}
			if tt.at != nil {
				for i := range n {
					want = append(want, tt.at(i))
				}
			}
			if diff := cmp.Diff(want, offsets); diff != "" {
				t.Errorf("offsets of slow calls (-want +got):\n%s", diff)
			}
			if slow := after.Slow - before.Slow; slow < uint64(len(want)) || after.Calls-before.Calls < slow {
				t.Errorf("%d slow of %d calls, want at least %d", slow, after.Calls-before.Calls, len(want))
			}
		})
	}
}

// TestSlowFilesThreshold reads a file 23 times in a way that takes 15 ms, and as often fast.
func TestSlowFilesThreshold(t *testing.T) {
	const n, d, least = 23, 15 * time.Millisecond, 10 * time.Millisecond
	s := openAllSlowFiles(t, least)
	page := slowPage(t, d)
	events := openEvents(t, s.obj.kernel)
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fast := make([]byte, len(page))
	late := 0 // of the fast ones: a busy host may take the CPU away in the call
	for i := range n {
		if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{page, fast} {
			began := time.Now()
			if _, err := unix.Pread(int(f.Fd()), b[:64], int64(64*i)); err != nil {
				t.Fatal(err)
			}
			if &b[0] == &fast[0] && time.Since(began) >= least {
				late++
			}
		}
	}
	_, slow := drained(t, events)
	got, short := 0, 0
	for _, e := range slow {
		if e.Call != unix.SYS_READ || e.Ns < uint64(least) {
			t.Errorf("slow call: %+v, want reads of 15 ms", e)
		}
		if e.Ns >= uint64(d) {
			got++
		} else {
			short++
		}
	}
	if got < n || got+short > n+late {
		t.Errorf("%d slow calls of 15 ms and %d shorter ones, want %d and %d at most", got, short, n, late)
	}
	if err := s.Pause(true); err != nil {
		t.Fatal(err)
	}
	before, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Pread(int(f.Fd()), fast[:64], 0)
	if after, err := s.Read(); err != nil || after.Calls != before.Calls {
		t.Errorf("%d calls while paused, %v", after.Calls-before.Calls, err)
	}
	if err := s.Pause(false); err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Pread(int(f.Fd()), fast[:64], 0)
	if after, err := s.Read(); err != nil || after.Calls == before.Calls {
		t.Errorf("no calls after the pause, %v", err)
	}
}
