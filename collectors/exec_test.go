// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// execFake is a facade whose maps a test fills.
type execFake struct {
	counts bpf.ExecCounts
	errs   bpf.ExecErrs
	at     uint64 // of the last scan
	opened int
	paused bool
	err    error
}

func (f *execFake) Errs() bpf.ExecErrs        { return f.errs }
func (f *execFake) Scanned(boot uint64) error { f.at = boot; return nil }
func (f *execFake) Pause(on bool) error       { f.paused = on; return nil }
func (f *execFake) Close() error              { return nil }
func (f *execFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	var slots bpf.Slots
	copy(slots[1:], want)
	return slots, nil
}

func (f *execFake) Read(dst *bpf.ExecCounts, _ time.Duration) error {
	*dst = f.counts
	return f.err
}

// eventFake is a feed that a test fills.
type eventFake struct {
	records map[bpf.EventKind][][]byte
	counts  map[bpf.EventKind]bpf.EventCounts
	users   int
	err     error
}

func (f *eventFake) open(kinds ...bpf.EventKind) error {
	if f.err == nil {
		f.users += len(kinds)
	}
	return f.err
}
func (f *eventFake) close(kinds ...bpf.EventKind) error { f.users -= len(kinds); return nil }
func (f *eventFake) take(kind bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for _, r := range f.records[kind] {
		each(r)
	}
	delete(f.records, kind)
	return f.counts[kind], nil
}

func (f *eventFake) add(kind bpf.EventKind, rec []byte) {
	if f.records == nil {
		f.records, f.counts = map[bpf.EventKind][][]byte{}, map[bpf.EventKind]bpf.EventCounts{}
	}
	f.records[kind] = append(f.records[kind], rec)
}

// Records as the programs write them.
type words []byte

func (w words) u32(v ...uint32) words {
	for _, x := range v {
		w = binary.LittleEndian.AppendUint32(w, x)
	}
	return w
}

func (w words) u64(v ...uint64) words {
	for _, x := range v {
		w = binary.LittleEndian.AppendUint64(w, x)
	}
	return w
}

func (w words) comm(s string) words {
	var b [16]byte
	copy(b[:], s)
	return append(w, b[:]...)
}

func head(kind bpf.EventKind, at uint64) words { return words(nil).u32(uint32(kind), 0).u64(at) }

func execRecord(at uint64, tgid, parent, thread uint32, file, args string, whole uint32) []byte {
	if file != "" {
		file += "\x00"
	}
	w := head(bpf.EventExec, at).u32(tgid, 0).u64(100).u32(parent, 0).u64(50).u64(7)
	w = w.u32(1000, thread, uint32(len(file)), uint32(len(args)), whole, 0).comm("cc1").comm("make")
	return append(append(w, file...), args...)
}

func exitRecord(at uint64, tgid uint32, code uint32, cpu uint64) []byte {
	w := head(bpf.EventExit, at).u32(tgid, 0).u64(100).u32(1, 0).u64(50).u64(7)
	return w.u64(2e9, cpu).u32(1000, code, 0, 1).comm("cc1").comm("make")
}

func reapRecord(tgid uint32, cpu uint64) []byte {
	return head(bpf.EventReap, 0).u32(tgid, 0).u64(100).u64(cpu, 30e6, 10e6, 4096, 8192)
}

// bootAt is the boot time of every reading in these tests.
const bootAt = int64(1000 * time.Second)

func newExecTest(t *testing.T, f *execFake, feed *eventFake) *execCollector {
	t.Helper()
	c := &execCollector{
		open:  func(bpf.ExecParts) (execReader, error) { f.opened++; return f, f.err },
		forks: func(context.Context) (uint64, error) { return 0, errors.New("no /proc") },
		feed:  feed, bell: &scanBell{}, boot: func() int64 { return bootAt }, users: newUserBook(NewFS(t.TempDir() + "/proc")),
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func execAt(t *testing.T, c *execCollector, now time.Duration) *Exec {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if errors.Is(err, ErrWarming) {
		return nil
	}
	if err != nil {
		t.Fatalf("Collect: %v", err)
	}
	return s.(*Exec)
}

func TestExecDeltas(t *testing.T) {
	f, feed := &execFake{}, &eventFake{}
	key := bpf.DeadKey{Comm: "cc1", ParentTGID: 3, ParentStart: 9}
	f.counts = bpf.ExecCounts{
		Totals: [bpf.FilterSlots]bpf.ExecTotals{{Execs: 10, Forks: 20, Exits: 5, CPU: 1e9}},
		Dead:   []bpf.DeadCount{{DeadKey: key, ParentComm: "make", Exits: 5, CPU: 1e9}},
		Execs:  []bpf.ExecCount{{ExecKey: bpf.ExecKey{Parent: "make", File: 1}, Execs: 10, Name: "/usr/bin/cc1"}},
		Forks:  []bpf.ForkCount{{TGID: 3, Start: 9, Comm: "make", Forks: 20}},
	}
	c := newExecTest(t, f, feed)
	target := Target{Kind: ProcessTarget, Process: Process{3, 9}}
	if err := c.Narrow([]Target{target}); err != nil {
		t.Fatal(err)
	}
	if s := execAt(t, c, time.Second); s != nil {
		t.Fatal("the baseline is a sample")
	}
	f.counts = bpf.ExecCounts{
		Totals: [bpf.FilterSlots]bpf.ExecTotals{
			{Execs: 13, Forks: 24, Threads: 2, Exits: 8, Failed: 1, Killed: 1, Dumped: 1, CPU: 3e9, Unseen: 2, UnseenCPU: 1e9, UnseenAge: 2e9, Reaped: 7, Late: 1, Unkeyed: 4},
			{Execs: 2, Exits: 1},
		},
		Dead: []bpf.DeadCount{
			{DeadKey: bpf.DeadKey{Comm: "as", ParentTGID: 3, ParentStart: 9}, ParentComm: "make", Exits: 1, CPU: 5e8, Age: 1e9},
			{DeadKey: key, ParentComm: "make", Exits: 7, CPU: 25e8, Age: 2e9, Unseen: 2, UnseenCPU: 1e9, UnseenAge: 2e9, Failed: 1, Killed: 1},
		},
		Execs: []bpf.ExecCount{
			{ExecKey: bpf.ExecKey{Parent: "make", File: 1}, Execs: 10, Name: "/usr/bin/cc1"},
			{ExecKey: bpf.ExecKey{Parent: "make", File: 2}, Execs: 3, Name: "/usr/bin/as"},
		},
		Forks: []bpf.ForkCount{{TGID: 3, Start: 9, Comm: "make", Forks: 24, Threads: 2}},
	}
	got := execAt(t, c, 3*time.Second)
	want := &Exec{
		Span: Span{time.Second, 3 * time.Second},
		ExecCounts: ExecCounts{
			Execs: 3, Forks: 4, Threads: 2, Exits: 3, Failed: 1, Killed: 1, Dumped: 1, CPU: 2 * time.Second,
			Unseen: 2, UnseenCPU: time.Second, UnseenAge: 2 * time.Second, Reaped: 7, Late: 1, Unkeyed: 4,
		},
		Short: []ShortLived{
			{RawString("cc1"), Process{3, 9}, RawString("make"), 2, 1500 * time.Millisecond, 2 * time.Second, 2, time.Second, 2 * time.Second, 1, 1},
			{RawString("as"), Process{3, 9}, RawString("make"), 1, 500 * time.Millisecond, time.Second, 0, 0, 0, 0, 0},
		},
		Files:    []ExecFile{{RawString("make"), RawString("/usr/bin/as"), 3}},
		Forkers:  []Forker{{Process{3, 9}, RawString("make"), 4, 2}},
		Narrowed: []Targeted[ExecCounts]{{target, time.Second, ExecCounts{Execs: 2, Exits: 1}}},
	}
	want.Total = want.ExecCounts
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	rows := c.Probes()
	if rows[0].Events != 3 || rows[1].Events != 6 || rows[2].Events != 3 || rows[2].Lost != 1 || rows[0].State != On {
		t.Errorf("probes = %+v", rows)
	}
}

func TestExecRows(t *testing.T) {
	f, feed := &execFake{}, &eventFake{}
	c := newExecTest(t, f, feed)
	execAt(t, c, time.Second)
	now := uint64(bootAt)
	feed.add(bpf.EventExec, execRecord(now-3e8, 40, 1, 40, "/bin/mysql", "mysql\x00-phunter2\x00--token\x00abc\x00", 28))
	feed.add(bpf.EventExec, execRecord(now-2e8, 41, 1, 44, "", "", 100_000))
	feed.add(bpf.EventExit, exitRecord(now-1e9, 40, 9|0x80, 1e6))
	feed.add(bpf.EventExit, exitRecord(now-1e9, 40, 9|0x80, 1e6)) // another thread found itself the last
	feed.add(bpf.EventExit, exitRecord(now-9e8, 41, 3<<8, 2e6))   // a zombie
	feed.add(bpf.EventExit, exitRecord(now-1e8, 42, 0, 3e6))      // not waited for yet
	feed.add(bpf.EventReap, reapRecord(40, 40e6))
	feed.counts[bpf.EventExec] = bpf.EventCounts{Unlisted: 7, Lost: 2}
	s := execAt(t, c, 10*time.Second)
	wantExecs := []ExecRow{
		{
			At: 9700 * time.Millisecond, Process: Process{40, 100}, Parent: Process{1, 50}, Comm: RawString("cc1"), ParentComm: RawString("make"),
			UID: 1000, Cgroup: 7, File: RawString("/bin/mysql"), Args: RawString("mysql -p*** --token ***"), ArgsWhole: 28, ArgsKept: 28,
		},
		{
			At: 9800 * time.Millisecond, Process: Process{41, 100}, Parent: Process{1, 50}, Comm: RawString("cc1"), ParentComm: RawString("make"),
			UID: 1000, Cgroup: 7, ArgsWhole: 100_000, Thread: 44,
		},
	}
	if diff := cmp.Diff(wantExecs, s.Execs, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("execs (-want +got):\n%s", diff)
	}
	if s.ExecsUnlisted != 9 {
		t.Errorf("%d execs unlisted, want 9", s.ExecsUnlisted)
	}
	row := ExitRow{Parent: Process{1, 50}, Comm: RawString("cc1"), ParentComm: RawString("make"), UID: 1000, Cgroup: 7, Age: 2 * time.Second}
	killed, zombie := row, row
	killed.At, killed.Process, killed.Signal, killed.Core = 9*time.Second, Process{40, 100}, 9, true
	killed.Reaped, killed.CPU, killed.Sys, killed.Read, killed.Write = true, 40*time.Millisecond, 10_000, 4096, 8192
	zombie.At, zombie.Process, zombie.Code, zombie.CPU = 9100*time.Millisecond, Process{41, 100}, 3, 2*time.Millisecond
	if diff := cmp.Diff([]ExitRow{killed, zombie}, s.Exits, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("exits (-want +got):\n%s", diff)
	}
	feed.add(bpf.EventReap, reapRecord(42, 5e6))
	s = execAt(t, c, 11*time.Second)
	if len(s.Exits) != 1 || s.Exits[0].Process.TGID != 42 || !s.Exits[0].Reaped || s.Exits[0].CPU != 5*time.Millisecond {
		t.Errorf("the exit that was waited for later: %+v", s.Exits)
	}
	for i := range 250 {
		feed.add(bpf.EventExec, execRecord(now, uint32(i), 1, uint32(i), "/bin/x", "", 0))
	}
	if s = execAt(t, c, 12*time.Second); len(s.Execs) != maxListed || s.ExecsUnlisted != 50 || s.Execs[0].Process.TGID != 50 {
		t.Errorf("%d rows and %d unlisted of 250", len(s.Execs), s.ExecsUnlisted)
	}
	feed.add(bpf.EventExit, []byte("short"))
	if _, err := c.Collect(t.Context(), 13*time.Second); err == nil {
		t.Error("a broken record was taken")
	}
}

// TestExecBell: the facade hears of every scan while it is open, of the last one at once.
func TestExecBell(t *testing.T) {
	f, feed := &execFake{}, &eventFake{}
	c := newExecTest(t, f, feed)
	c.bell.ring(5)
	if f.at != 5 {
		t.Errorf("scanned at %d, want 5", f.at)
	}
	if err := c.Close(); err != nil || feed.users != 0 {
		t.Errorf("Close = %v with %d kinds of event open", err, feed.users)
	}
	c.bell.ring(6)
	if f.at != 5 {
		t.Error("a closed facade heard of a scan")
	}
	if err := c.Start(t.Context()); err != nil || f.at != 6 {
		t.Errorf("Start = %v; the last scan was at %d, want 6", err, f.at)
	}
	feed.err = errors.New("no ring")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err == nil {
		t.Error("Start went well without a ring")
	}
	if _, err := c.Collect(t.Context(), 0); err != nil {
		t.Errorf("Collect after a failed Start = %v", err)
	}
	(*scanBell)(nil).ring(1)
}

// TestExecSilent: a link that sees no fork while the kernel counts some is attached again, twice.
func TestExecSilent(t *testing.T) {
	f, feed := &execFake{}, &eventFake{}
	c := newExecTest(t, f, feed)
	kernel := uint64(100)
	c.forks = func(context.Context) (uint64, error) { kernel++; return kernel, nil }
	for i := range 40 {
		_, err := c.Collect(t.Context(), time.Duration(i)*time.Second)
		if err != nil && !errors.Is(err, ErrWarming) {
			t.Fatal(err)
		}
	}
	if f.opened != 3 {
		t.Errorf("attached %d times, want 3", f.opened)
	}
	if p := c.Probes()[1]; p.State != Degraded || !strings.Contains(p.Reason, "io_uring") {
		t.Errorf("probe %+v, want it in doubt", p)
	}
	f.counts.Totals[0].Forks++
	execAt(t, c, time.Minute)
	if p := c.Probes()[1]; p.State != On {
		t.Errorf("probe %+v, want it on again", p)
	}
}

func TestExecParts(t *testing.T) {
	f, feed := &execFake{errs: bpf.ExecErrs{Exec: errors.New("no hook"), Reap: errors.New("no free")}}, &eventFake{}
	c := newExecTest(t, f, feed)
	execAt(t, c, 0)
	rows := c.Probes()
	if rows[0].State != Off || rows[0].Reason != "no hook" || rows[1].State != On || rows[2].State != Degraded {
		t.Errorf("probes = %+v", rows)
	}
	c = &execCollector{off: map[string]bool{"execsnoop": true, "forksnoop": true, "exitsnoop": true}}
	if err := c.Start(t.Context()); !errors.Is(err, errSwitchedOff) {
		t.Errorf("Start with all off = %v", err)
	}
}

func TestParseForks(t *testing.T) {
	tests := map[string]struct {
		in   string
		want uint64
		ok   bool
	}{
		"whole":   {"cpu 1\nprocesses 123\nprocs_running 2\n", 123, true},
		"last":    {"cpu 1\nprocesses 123", 123, true},
		"none":    {"cpu 1\nprocs_running 2\n", 0, false},
		"no text": {"", 0, false},
		"letters": {"\nprocesses x\n", 0, false},
	}
	for name, tt := range tests {
		got, err := parseForks([]byte(tt.in))
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: parseForks(%q) = %d, %v", name, tt.in, got, err)
		}
	}
}
