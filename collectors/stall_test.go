// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/bpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeStalls lists what a test gives it.
type fakeStalls struct {
	recs    []stallRec
	openErr error
	scanErr error
}

func (f *fakeStalls) Open(context.Context) error { return f.openErr }
func (f *fakeStalls) Scan(_ context.Context, _ time.Duration, recs []stallRec) ([]stallRec, bool, error) {
	return append(recs, f.recs...), true, f.scanErr
}
func (f *fakeStalls) Probe() Probe   { return Probe{State: On, Hook: "fake"} }
func (f *fakeStalls) Source() string { return "fake" }
func (f *fakeStalls) Close() error   { return nil }

func stalled(tid int32, switches uint64, stack *Stack) stallRec {
	return stallRec{TID: tid, Task: Process{tid, uint64(tid)}, Switches: switches, AtMost: NoBound, Comm: RawString("x"), Stack: stack}
}

func TestStallsSeen(t *testing.T) {
	page := &Stack{Function: "folio_wait_bit_common", Class: WaitDisk}
	rpc := &Stack{Function: "rpc_wait_bit_killable", Class: WaitNetworkFS}
	old := stalled(9, 7, rpc)
	old.AtMost = 3 * time.Hour
	f := &fakeStalls{recs: []stallRec{stalled(1, 5, page), stalled(2, 5, page), old}}
	c := newStalls(NewFS(t.TempDir()), f)
	start(t, c)
	seen := func(s *Stalls) map[int32]time.Duration {
		out := map[int32]time.Duration{}
		for _, r := range s.Rows {
			out[r.TID] = r.Seen
		}
		return out
	}
	s := collectAs[*Stalls](t, c, 0)
	if diff := cmp.Diff(map[int32]time.Duration{1: 0, 2: 0, 9: 0}, seen(s)); diff != "" {
		t.Errorf("first look (-want +got):\n%s", diff)
	}
	f.recs[1].Switches++ // it ran in between: another sleep
	f.recs = append(f.recs, stalled(3, 1, page))
	f.recs[0].AtMost = time.Millisecond // less than what was seen: the clocks are not that exact
	s = collectAs[*Stalls](t, c, 2*time.Second)
	if diff := cmp.Diff(map[int32]time.Duration{1: 2 * time.Second, 2: 0, 3: 0, 9: 2 * time.Second}, seen(s)); diff != "" {
		t.Errorf("second look (-want +got):\n%s", diff)
	}
	want := []StallGroup{
		{Class: WaitDisk, Function: "folio_wait_bit_common", Tasks: 3, Seen: 2 * time.Second, AtMost: 2 * time.Second, Who: RawString("x")},
		{Class: WaitNetworkFS, Function: "rpc_wait_bit_killable", Tasks: 1, Seen: 2 * time.Second, AtMost: 3 * time.Hour, Who: RawString("x")},
	}
	if diff := cmp.Diff(want, s.Groups, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	f.recs[2].Task.Start++ // the PID was used again
	if s = collectAs[*Stalls](t, c, 3*time.Second); seen(s)[9] != 0 || seen(s)[1] != 3*time.Second {
		t.Errorf("third look: %v, want a new process to begin at 0", seen(s))
	}
	f.recs = nil
	if s = collectAs[*Stalls](t, c, 4*time.Second); s.Tasks != 0 || len(s.Groups) != 0 {
		t.Errorf("nobody waits: %+v", s)
	}
}

func TestStallsBounds(t *testing.T) {
	f := &fakeStalls{}
	for i := range int32(5000) {
		f.recs = append(f.recs, stalled(i+1, 1, &Stack{Function: string(rune('a' + i%100)), Class: WaitOther}))
	}
	c := newStalls(NewFS(t.TempDir()), f)
	start(t, c)
	s := collectAs[*Stalls](t, c, 0)
	if len(s.Rows) != maxStalls || s.Unlisted != 5000-maxStalls || s.Tasks != 5000 || len(s.Groups) != maxStallGroups {
		t.Errorf("%d rows, %d unlisted, %d tasks, %d groups", len(s.Rows), s.Unlisted, s.Tasks, len(s.Groups))
	}
}

func TestStallsFallback(t *testing.T) {
	need := &NeedError{Need: "kernel BTF", Remedy: "boot another"}
	second := &fakeStalls{recs: []stallRec{stalled(1, 1, &Stack{})}}
	c := newStalls(NewFS(t.TempDir()), &fakeStalls{openErr: need}, second)
	start(t, c)
	if s := collectAs[*Stalls](t, c, 0); s.Tasks != 1 {
		t.Errorf("%d tasks, want 1", s.Tasks)
	}
	if p := c.Probes()[0]; p.State != Degraded || p.Remedy != "boot another" {
		t.Errorf("Probes = %+v, want degraded with the remedy", p)
	}
	second.scanErr = errors.New("gone")
	if _, err := c.Collect(t.Context(), time.Second); err == nil {
		t.Error("Collect succeeds when the last scanner fails")
	}
	if p := c.Probes()[0]; p.State != Failed {
		t.Errorf("Probes = %+v, want failed", p)
	}
}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		frames       string
		lock, iowait bool
		fn, class    string
	}{
		"page of a disk":    {frames: "folio_wait_bit_common filemap_read ext4_file_read_iter vfs_read", fn: "folio_wait_bit_common", class: WaitDisk},
		"page of nfs":       {frames: "folio_wait_bit_common filemap_read nfs_file_read vfs_read", fn: "folio_wait_bit_common", class: WaitNetworkFS},
		"nfs dead":          {frames: "rpc_wait_bit_killable __rpc_execute rpc_execute nfs4_call_sync", fn: "rpc_wait_bit_killable", class: WaitNetworkFS},
		"nfsd on a disk":    {frames: "folio_wait_bit_common nfsd_vfs_write nfsd4_write", fn: "folio_wait_bit_common", class: WaitDisk},
		"journal":           {frames: "wait_transaction_locked add_transaction_credits start_this_handle", fn: "wait_transaction_locked", class: WaitJournal},
		"fsync":             {frames: "jbd2_log_wait_commit ext4_sync_file do_fsync", fn: "jbd2_log_wait_commit", class: WaitJournal},
		"reclaim":           {frames: "io_schedule_timeout reclaim_throttle shrink_node try_to_free_pages", fn: "reclaim_throttle", class: WaitReclaim},
		"dirty":             {frames: "balance_dirty_pages balance_dirty_pages_ratelimited_flags", fn: "balance_dirty_pages", class: WaitDirty},
		"frozen":            {frames: "percpu_rwsem_wait mnt_want_write path_openat", fn: "percpu_rwsem_wait", class: WaitFrozen},
		"frozen is not":     {frames: "percpu_rwsem_wait cgroup_procs_write", fn: "percpu_rwsem_wait", class: WaitLock},
		"plumbing first":    {frames: "__schedule schedule io_schedule bit_wait_io __wait_on_buffer", fn: "__wait_on_buffer", class: WaitDisk},
		"mutex in frames":   {frames: "__mutex_lock_slowpath mutex_lock do_last path_openat", fn: "do_last", class: WaitLock},
		"mutex by flag":     {frames: "do_last path_openat", lock: true, fn: "do_last", class: WaitLock},
		"copy of function":  {frames: "poll_schedule_timeout.constprop.0 do_sys_poll", fn: "poll_schedule_timeout", class: WaitPoll},
		"futex":             {frames: "futex_do_wait __futex_wait futex_wait", fn: "futex_do_wait", class: WaitFutex},
		"recv":              {frames: "sk_wait_data tcp_recvmsg_locked tcp_recvmsg", fn: "sk_wait_data", class: WaitReceive},
		"vfork":             {frames: "wait_for_vfork_done kernel_clone", fn: "wait_for_vfork_done", class: WaitVfork},
		"vfork compiled in": {frames: "kernel_clone __do_sys_vfork", fn: "kernel_clone", class: WaitVfork},
		"fork is not":       {frames: "zap_it kernel_clone __do_sys_clone", fn: "zap_it", class: WaitOther},
		"unknown with I/O":  {frames: "zap_it", iowait: true, fn: "zap_it", class: WaitDisk},
		"unknown":           {frames: "zap_it", fn: "zap_it", class: WaitOther},
		"nothing":           {frames: "", fn: "", class: WaitOther},
		"plumbing only":     {frames: "__schedule schedule", fn: "__schedule", class: WaitOther},
		"inner lock is not": {frames: "pipe_read vfs_read mutex_lock", fn: "pipe_read", class: WaitPipe},
	}
	c := newClassifier()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fn, class := c.of(strings.Fields(tt.frames), tt.lock, tt.iowait)
			if fn != tt.fn || class != tt.class {
				t.Errorf("of(%q) = %q %q, want %q %q", tt.frames, fn, class, tt.fn, tt.class)
			}
		})
	}
}

func TestDeviceOf(t *testing.T) {
	for comm, want := range map[string]string{
		"jbd2/vda1-8": "vda1", "jbd2/dm-0-8": "dm-0", "xfsaild/sda2": "sda2", "kworker/0:1": "", "jbd2/": "", "bash": "",
	} {
		if got := deviceOf(comm); got != want {
			t.Errorf("deviceOf(%q) = %q, want %q", comm, got, want)
		}
	}
}

func TestParseStack(t *testing.T) {
	got := parseStack([]byte("[<0>] folio_wait_bit_common+0x13d/0x350\n[<ffffffff8120>] nfs_wait+0x1/0x2 [nfs]\n[<0>] 0xffffffffffffffff\njunk\n[<0>] evil\x1b[0m+0x1/0x2\n"))
	if diff := cmp.Diff([]string{"folio_wait_bit_common", "nfs_wait", `evil\x1b[0m`}, got); diff != "" {
		t.Errorf("parseStack (-want +got):\n%s", diff)
	}
}

func TestProcStalls(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.process(7, "S", "50", "1 2 3\n")
	tree.process(8, "D", "60", "1 2 5\n")
	tree.process(9, "D", "70", "1 2 5\n")
	tree.write("8/stack", "[<0>] rpc_wait_bit_killable+0x1/0x2\n")
	tree.write("9/wchan", "do_exit")
	s := newProcStalls(NewFS(tree.root))
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	recs, due, err := s.Scan(t.Context(), 0, nil)
	if err != nil || !due || len(recs) != 2 {
		t.Fatalf("Scan = %d records, %v, %v; want 2", len(recs), due, err)
	}
	if f := recs[0].Stack; f.Function != "rpc_wait_bit_killable" || f.Class != WaitNetworkFS {
		t.Errorf("8 waits in %q for %q", f.Function, f.Class)
	}
	if f := recs[1].Stack; f.Function != "do_exit" {
		t.Errorf("9 waits in %q, want do_exit, by its wchan", f.Function)
	}
	if _, due, _ := s.Scan(t.Context(), time.Second, nil); due {
		t.Error("a second later it looks again")
	}
	if _, due, _ := s.Scan(t.Context(), time.Minute, nil); !due {
		t.Error("a minute later it does not look again")
	}
}

// A read that hangs costs its deadline once, and ends reading until it returns.
func TestProcStallsHang(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.process(8, "D", "60", "1 2 5\n")
	fifo := tree.root + "/8/stack"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newProcStalls(NewFS(tree.root))
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	recs, _, err := s.Scan(t.Context(), 0, nil)
	if err != nil || len(recs) != 1 || recs[0].Stack.Function != "" {
		t.Fatalf("Scan = %+v, %v; want the process without a function", recs, err)
	}
	if p := s.Probe(); !strings.Contains(p.Reason, "hang") {
		t.Errorf("Probe = %+v, want that reads hang", p)
	}
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close() // the read returns
	for end := time.Now().Add(time.Minute); s.stuck.open() && time.Now().Before(end); {
		s.stuck.take(t.Context(), time.Millisecond)
	}
	if p := s.Probe(); strings.Contains(p.Reason, "hang") {
		t.Errorf("Probe = %+v after the read returned", p)
	}
}

// TestSymbolsAsked: the kernel is asked first, and the list is read where it cannot tell, then and later.
// TestSymbolsNameless: a kernel that answers with numbers has no names, and says so where there is no list.
// A pass is paid for with time, of which some is saved up. What is known is not looked for again: another
// place in a function of the kernel neither, but in one of a module, which may go.
// Whoever asks while another one looks waits for the next pass, and nobody for the list.
// TestSymbolsLive compares with a plain reading of the kernel's own list.
func TestDeriveWaits(t *testing.T) {
	futex, poll := &Stack{Function: "futex_do_wait", Class: WaitFutex}, &Stack{Function: "ep_poll", Class: WaitPoll}
	java, other := Process{10, 1}, Process{20, 2}
	w := deriveWaits([]stallRec{
		{TID: 11, Task: java, Comm: RawString("pool-1"), Stack: futex},
		{TID: 10, Task: java, Comm: RawString("java"), Stack: futex},
		{TID: 12, Task: java, Comm: RawString("pool-2"), Stack: poll},
		{TID: 20, Task: other, Comm: RawString("nginx"), Stack: poll},
	}, Span{})
	want := []WaitRow{
		{Stack: futex, Task: java, Comm: RawString("java"), Threads: 2},
		{Stack: poll, Task: java, Comm: RawString("pool-2"), Threads: 1},
		{Stack: poll, Task: other, Comm: RawString("nginx"), Threads: 1},
	}
	if diff := cmp.Diff(want, w.Rows, cmp.AllowUnexported(Raw{})); diff != "" || w.Threads != 4 {
		t.Errorf("deriveWaits: %d threads (-want +got):\n%s", w.Threads, diff)
	}
}

// TestWaitsLive sees this test's own threads asleep, and can name where.
func TestWaitsLive(t *testing.T) {
	c := NewWaits(bpf.Inspect(), NewFS(""))
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "needs BPF: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	w := collectAs[*Waits](t, c, time.Second)
	if p := c.Probes()[0]; p.State != On {
		lacking(t, "needs symbols: %+v", p)
	}
	i := slices.IndexFunc(w.Rows, func(r WaitRow) bool { return r.Task.TGID == int32(os.Getpid()) && r.Class == WaitFutex })
	if i < 0 {
		t.Errorf("no thread of ours waits for a futex, of %d threads in %d rows", w.Threads, len(w.Rows))
	}
}

func BenchmarkCollectStalls(b *testing.B) { benchmarkCollect(b, NewStalls(bpf.Inspect(), NewFS(""))) }

func BenchmarkCollectWaits(b *testing.B) { benchmarkCollect(b, NewWaits(bpf.Inspect(), NewFS(""))) }
