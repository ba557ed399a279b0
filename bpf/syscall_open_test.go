// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// opened is what a test wants of a record.
type opened struct {
	Kind  EventKind
	TGID  int32
	Ret   int32
	Comm  string
	Path  string
	Args  string
	Cut   bool
	Start uint64
}

func openedOf(rec []byte) (o opened) {
	var e OpenEvent
	if err := binary.Read(bytes.NewReader(rec), binary.LittleEndian, &e); err != nil {
		return opened{Path: err.Error()}
	}
	o = opened{
		Kind: EventKind(e.Kind), TGID: e.TGID, Ret: e.Ret, Cut: e.Cut != 0, Start: e.Start,
		Comm: unix.ByteSliceToString(e.Comm[:]), Path: string(rec[OpenPath : OpenPath+int(e.Len)]),
	}
	if e.ArgsLen > 0 {
		o.Args = string(rec[ExecArgs : ExecArgs+int(e.ArgsLen)])
	}
	return o
}

// drained are the records of some kinds that this process made.
func drained(t testing.TB, e *Events) (opens []opened, slow []SlowEvent) {
	t.Helper()
	if err := e.Drain(func(kind EventKind, rec []byte) {
		switch kind {
		case EventOpen, EventOpenFail, EventExecFail:
			if o := openedOf(rec); int(o.TGID) == os.Getpid() {
				opens = append(opens, o)
			}
		case EventSlowFile:
			var x SlowEvent
			if err := binary.Read(bytes.NewReader(rec), binary.LittleEndian, &x); err != nil {
				t.Error(err)
			}
			if int(x.TGID) == os.Getpid() {
				slow = append(slow, x)
			}
		default: // others share the ring
		}
	}); err != nil {
		t.Fatalf("Drain: %v", err)
	}
	return opens, slow
}

func openEvents(t testing.TB, k *Kernel) *Events {
	t.Helper()
	e, err := OpenEvents(k)
	if err != nil {
		t.Fatalf("OpenEvents: %v", err)
	}
	closing(t, e)
	return e
}

// alone has the kernel pass over all others: a host that opens many files has its share of the list, and
// there would be no room for ours.
func alone(t testing.TB, s *Syscalls) {
	t.Helper()
	if _, err := s.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}, true); err != nil {
		t.Fatal(err)
	}
}

// pathsOf are the rows of this process: times by class, errno and path.
func pathsOf(t testing.TB, s *Syscalls) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	if err := s.ReadPaths(0, func(k PathKey, c *PathCounts) {
		if int(k.TGID) == os.Getpid() {
			out[fmt.Sprintf("%d %d %s", k.What>>16, k.What&0xffff, c.Path[:c.Len])] += c.N
		}
	}); err != nil {
		t.Fatalf("ReadPaths: %v", err)
	}
	return out
}

// TestSyscallOpens opens by known paths, 23 times each: a file that is there and one that is not, with
// escape codes and 300 bytes long; and one whose path is longer than what is kept.
func TestSyscallOpens(t *testing.T) {
	const n = 23
	k := need(t)
	events := openEvents(t, k)
	s := openAllSyscalls(t, k, SyscallOpen)
	alone(t, s)
	dir := t.TempDir()
	there := filepath.Join(dir, "a\x1b[31m\n\xff"+strings.Repeat("x", 120))
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := "/\x1b]0;title\x07"
	missing += strings.Repeat("/", 300-len(missing)-1) + "z"
	long := "/" + strings.Repeat("./", 200) + "nowhere"
	before, _ := drained(t, events)
	if len(before) == 0 {
		t.Error("the making of the file was not listed")
	}
	fds := map[int32]bool{}
	for range n {
		for _, path := range []string{there, missing, long} {
			fd, err := unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				fds[int32(fd)] = true
				unix.Close(fd)
			}
			if (err == nil) != (path == there) {
				t.Fatalf("opening %q: %v", path, err)
			}
		}
	}
	got, _ := drained(t, events)
	type seen struct {
		Kind EventKind
		Ret  int32
		Path string
		Cut  bool
	}
	counts := map[seen]int{}
	start := startOf(t, k)
	for _, o := range got {
		if o.Start != start || o.Comm != comm(t) {
			t.Errorf("owner of %+v: want start %d and name %s", o, start, comm(t))
		}
		if o.Path == there && fds[o.Ret] {
			o.Ret = 1 // a descriptor
		}
		counts[seen{o.Kind, o.Ret, o.Path, o.Cut}]++
	}
	want := map[seen]int{
		{EventOpen, 1, there, false}:                                                n,
		{EventOpenFail, -int32(unix.ENOENT), missing, false}:                        n,
		{EventOpenFail, -int32(unix.ENOENT), long[:len(PathCounts{}.Path)-1], true}: n,
	}
	maps.DeleteFunc(counts, func(s seen, _ int) bool { return want[s] == 0 })
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("opens listed (-want +got):\n%s", diff)
	}
	rows := pathsOf(t, s)
	for what, w := range map[string]uint64{
		"5 0 " + there:                           n, // and the making of it is another row: openat through os.WriteFile
		"5 2 " + missing:                         n,
		"5 2 " + long[:len(PathCounts{}.Path)-1]: n,
	} {
		if what == "5 0 "+there {
			w++
		}
		if rows[what] != w {
			t.Errorf("row %q: %d, want %d", what, rows[what], w)
		}
	}
	calls := callsOf(t, s, os.Getpid())
	if c := calls[unix.SYS_OPENAT]; c.Errors != 2*n || c.N < 3*n {
		t.Errorf("openat: %+v, want %d errors of at least %d", c, 2*n, 3*n)
	}
	if c, ok := calls[unix.SYS_CLOSE]; ok {
		t.Errorf("close was counted, which nobody wanted: %+v", c)
	}
}

// comm is this thread group's name.
func comm(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

// TestSyscallExecFails runs programs that are not there, 23 times, with arguments longer than what is
// kept; one without any arguments; and one by a descriptor.
func TestSyscallExecFails(t *testing.T) {
	const n = 23
	k := need(t)
	events := openEvents(t, k)
	s := openAllSyscalls(t, k, SyscallExec)
	alone(t, s)
	path := "/nowhere/\x1b[2Jprog"
	argv := []string{"prog", "--key=\x07", strings.Repeat("y", 1000)}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&args[0])), 0)
		if errno != unix.ENOENT {
			t.Fatalf("execve: %v", errno)
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(p)), 0, 0)
	bad := ^uintptr(0) - 5 // a descriptor that is none
	_, _, _ = unix.RawSyscall6(unix.SYS_EXECVEAT, bad, uintptr(unsafe.Pointer(p))+1, 0, 0, 0, 0)

	got, _ := drained(t, events)
	full := strings.Join(argv, "\x00")[:ExecMax]
	counts := map[opened]int{}
	for _, o := range got {
		o.Args = o.Args[:min(len(o.Args), len(full)-1)] // the last byte may be an end
		counts[o]++
	}
	start, name := startOf(t, k), comm(t)
	want := map[opened]int{
		{Kind: EventExecFail, TGID: int32(os.Getpid()), Start: start, Comm: name, Ret: -int32(unix.ENOENT), Path: path, Args: full[:len(full)-1]}: n,
		{Kind: EventExecFail, TGID: int32(os.Getpid()), Start: start, Comm: name, Ret: -int32(unix.ENOENT), Path: path}:                           1,
		{Kind: EventExecFail, TGID: int32(os.Getpid()), Start: start, Comm: name, Ret: -int32(unix.EBADF), Path: path[1:]}:                        1,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("failed execs (-want +got):\n%s", diff)
	}
	if rows := pathsOf(t, s); rows["7 2 "+path] != n+1 || len(rows) != 2 {
		t.Errorf("rows %v, want %d of %q and one more row", rows, n+1, path)
	}
	if c := callsOf(t, s, os.Getpid()); c[unix.SYS_EXECVE] != (CallCounts{N: n + 1, Errors: n + 1}) || len(c) != 2 {
		t.Errorf("calls %v, want %d of execve and one of execveat", c, n+1)
	}
}

// TestSyscallOpenStorm opens as fast as all CPUs can. Every open is counted by process, the rows of
// paths are no more than the table holds, and what is not listed is counted.
func TestSyscallOpenStorm(t *testing.T) {
	k := need(t)
	events := openEvents(t, k)
	s := openAllSyscalls(t, k, SyscallOpen)
	count := func() (n EventCounts) {
		for _, kind := range []EventKind{EventOpen, EventOpenFail} {
			c, err := events.Counts(kind)
			if err != nil {
				t.Fatal(err)
			}
			n.Sent, n.Unlisted, n.Lost = n.Sent+c.Sent, n.Unlisted+c.Unlisted, n.Lost+c.Lost
		}
		return n
	}
	base, listed := callsOf(t, s, os.Getpid())[unix.SYS_OPENAT], count()
	var made, failed atomic.Uint64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range onlineCPUs(t) {
		wg.Go(func() {
			paths := [][]byte{[]byte("/proc/self/exe\x00"), []byte(fmt.Sprintf("/nowhere/%d\x00", i))}
			var n, bad uint64
			for time.Since(began) < time.Second {
				for j := range 200 {
					// a new path each time: the table fills
					p := paths[j%2]
					if j%2 == 1 {
						p = fmt.Appendf(nil, "/nowhere/%d/%d\x00", i, n)
					}
					fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(&p[0])), unix.O_CLOEXEC, 0, 0, 0)
					n++
					if errno != 0 {
						bad++
						continue
					}
					_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
				}
			}
			made.Add(n)
			failed.Add(bad)
		})
	}
	wg.Wait()
	took := time.Since(began)
	got := callsOf(t, s, os.Getpid())[unix.SYS_OPENAT]
	// The test itself may have opened a file or two meanwhile, and none of them in vain.
	if n, want := got.N-base.N, made.Load(); n < want || n > want+20 {
		t.Errorf("%d opens counted, %d made", n, want)
	}
	if n := got.Errors - base.Errors; n != failed.Load() {
		t.Errorf("%d failed opens counted, %d made", n, failed.Load())
	}
	c := count()
	told := c.Sent - listed.Sent + c.Unlisted - listed.Unlisted + c.Lost - listed.Lost
	if told < made.Load() {
		t.Errorf("%+v since %+v: %d opens, %d made", c, listed, told, made.Load())
	}
	var rows, counted uint64
	if err := s.ReadPaths(0, func(_ PathKey, p *PathCounts) { rows++; counted += p.N }); err != nil {
		t.Fatal(err)
	}
	sum, err := s.Totals()
	if err != nil || rows > pathTable || counted+sum.Paths < made.Load() {
		t.Errorf("%d rows of paths with %d opens and %d beside them, %v; %d made", rows, counted, sum.Paths, err, made.Load())
	}
	t.Logf("%.0f opens a second, %d rows, listed %+v", float64(made.Load())/took.Seconds(), rows, c)
}
