// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bpf60/bpf"
)

// fakeCalls is a facade that a test fills.
type fakeCalls struct {
	rows   []bpf.CallRow
	errors map[bpf.CallError]uint64
	hists  map[uint32]bpf.Hist
	apart  map[targetCall]bpf.Hist
	paths  map[bpf.PathKey]bpf.PathCounts
	totals bpf.SyscallTotals
	refuse map[bpf.SyscallParts]error
	slots  bpf.Slots

	wants  []bpf.SyscallParts
	only   []bool
	closed int
	silent bool
}

func (f *fakeCalls) Err(part bpf.SyscallParts) error   { return f.refuse[part] }
func (f *fakeCalls) Hooks() string                     { return "fake" }
func (f *fakeCalls) Want(parts bpf.SyscallParts) error { f.wants = append(f.wants, parts); return nil }
func (f *fakeCalls) Close() error                      { f.closed++; return nil }

func (f *fakeCalls) Narrow(targets []bpf.Filter, only bool) (bpf.Slots, error) {
	f.only = append(f.only, only)
	f.slots = bpf.Slots{}
	copy(f.slots[1:], targets)
	return f.slots, nil
}

func (f *fakeCalls) ReadCalls(_ time.Duration, each func(*bpf.CallRow)) error {
	for i := range f.rows {
		each(&f.rows[i])
	}
	return nil
}

func (f *fakeCalls) ReadErrors(each func(bpf.CallError, uint64)) error {
	for k, n := range f.errors {
		each(k, n)
	}
	return nil
}

func (f *fakeCalls) ReadHist(call uint32) (bpf.Hist, error) { return f.hists[call], nil }

func (f *fakeCalls) ReadTargetHists(each func(int32, uint32, bpf.Hist)) error {
	for k, h := range f.apart {
		each(k.slot, k.call, h)
	}
	return nil
}

func (f *fakeCalls) ReadPaths(_ time.Duration, each func(bpf.PathKey, *bpf.PathCounts)) error {
	for k, c := range f.paths {
		each(k, &c)
	}
	return nil
}

func (f *fakeCalls) Totals() (bpf.SyscallTotals, error) {
	if !f.silent {
		f.totals.Own++
	}
	return f.totals, nil
}

// fakeEvents is a feed that a test fills.
type fakeEvents struct {
	records map[bpf.EventKind][][]byte
	counts  map[bpf.EventKind]bpf.EventCounts
	open    int
}

func (f *fakeEvents) openKinds() int { return f.open }

type eventsFeed struct{ *fakeEvents }

func (f eventsFeed) open(kinds ...bpf.EventKind) error { f.fakeEvents.open += len(kinds); return nil }

func (f eventsFeed) close(kinds ...bpf.EventKind) error { f.fakeEvents.open -= len(kinds); return nil }

func (f eventsFeed) take(kind bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for _, r := range f.records[kind] {
		each(r)
	}
	delete(f.records, kind)
	return f.counts[kind], nil
}

func sourceOf(f *fakeCalls) *syscallSource {
	return &syscallSource{open: func() (syscallReader, error) { return f, nil }}
}

func callRow(tgid int32, start uint64, call uint32, n, failed uint64) bpf.CallRow {
	r := bpf.CallRow{CallKey: bpf.CallKey{TGID: tgid, Start: start, Call: call}, CallCounts: bpf.CallCounts{N: n, Errors: failed}}
	copy(r.Comm[:], "comm")
	return r
}

// reading makes a reading of rows.
func reading(t *testing.T, errs map[bpf.CallError]uint64, rows ...bpf.CallRow) *syscallReading {
	t.Helper()
	x := newSyscallReading()
	if err := x.read(&fakeCalls{rows: rows, errors: errs}, 0, anyCall); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestDeriveSyscalls(t *testing.T) {
	namer := callNamer{[]string{0: "read", 1: "write", 2: "open"}}
	comm := RawString("comm")
	tests := map[string]struct {
		prev, cur         []bpf.CallRow
		prevErrs, curErrs map[bpf.CallError]uint64
		want              Syscalls
	}{
		"nothing moved": {
			prev: []bpf.CallRow{callRow(5, 1, 0, 9, 0)}, cur: []bpf.CallRow{callRow(5, 1, 0, 9, 0)},
		},
		"grows": {
			prev:    []bpf.CallRow{callRow(5, 1, 0, 9, 1), callRow(6, 1, 2, 4, 0)},
			cur:     []bpf.CallRow{callRow(5, 1, 0, 12, 2), callRow(6, 1, 2, 4, 0)},
			curErrs: map[bpf.CallError]uint64{{Call: 0, Errno: 11}: 1},
			want: Syscalls{
				SyscallCounts: SyscallCounts{N: 3, Errors: 1},
				Calls:         []SyscallCall{{Call: 0, Name: "read", SyscallCounts: SyscallCounts{N: 3, Errors: 1}, Errnos: []ErrnoCount{{11, 1}}}},
				Processes:     []SyscallProcess{{Process: Process{5, 1}, Comm: comm, SyscallCounts: SyscallCounts{N: 3, Errors: 1}, Top: "read", TopN: 3}},
				Pairs:         []SyscallPair{{Process: Process{5, 1}, Call: 0, Name: "read", SyscallCounts: SyscallCounts{N: 3, Errors: 1}}},
			},
		},
		// A PID that is used again is another process: its start differs.
		"new process of an old PID": {
			prev: []bpf.CallRow{callRow(5, 1, 1, 100, 0)},
			cur:  []bpf.CallRow{callRow(5, 1, 1, 100, 0), callRow(5, 2, 1, 7, 0)},
			want: Syscalls{
				SyscallCounts: SyscallCounts{N: 7},
				Calls:         []SyscallCall{{Call: 1, Name: "write", SyscallCounts: SyscallCounts{N: 7}}},
				Processes:     []SyscallProcess{{Process: Process{5, 2}, Comm: comm, SyscallCounts: SyscallCounts{N: 7}, Top: "write", TopN: 7}},
				Pairs:         []SyscallPair{{Process: Process{5, 2}, Call: 1, Name: "write", SyscallCounts: SyscallCounts{N: 7}}},
			},
		},
		// The row went out of the table: the sum by call stands, and nothing is counted twice.
		"a row that rested": {
			prev: []bpf.CallRow{callRow(5, 1, 0, 100, 0)},
			cur:  []bpf.CallRow{callRow(0, bpf.CallsRested, 0, 100, 0)},
		},
		"no room in the table": {
			prev: []bpf.CallRow{callRow(0, 0, 400, 10, 0)},
			cur:  []bpf.CallRow{callRow(0, 0, 400, 15, 0)},
			want: Syscalls{
				SyscallCounts: SyscallCounts{N: 5}, Others: 5,
				Calls: []SyscallCall{{Call: 400, Name: "sys_400", SyscallCounts: SyscallCounts{N: 5}}},
			},
		},
		"a target's row is nobody's": {
			cur: []bpf.CallRow{callRow(-1, 0, 0, 3, 0)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := deriveSyscalls(reading(t, tt.prevErrs, tt.prev...), reading(t, tt.curErrs, tt.cur...), Span{}, namer)
			if diff := cmp.Diff(&tt.want, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(Raw{})); diff != "" {
				t.Errorf("deriveSyscalls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSyscallsListed: of more processes than are listed the busiest are, and the sums are of all.
func TestSyscallsListed(t *testing.T) {
	var rows []bpf.CallRow
	for i := range int32(syscallRows + 7) {
		rows = append(rows, callRow(10+i, 1, 0, uint64(i)+1, 0))
	}
	s := deriveSyscalls(newSyscallReading(), reading(t, nil, rows...), Span{}, newCallNamer())
	n := uint64(syscallRows + 7)
	if s.N != n*(n+1)/2 || len(s.Processes) != syscallRows || s.Unlisted != 7 || len(s.Pairs) != syscallRows {
		t.Errorf("%d calls, %d processes and %d not listed, %d pairs", s.N, len(s.Processes), s.Unlisted, len(s.Pairs))
	}
	if first, last := s.Processes[0], s.Processes[syscallRows-1]; first.N != n || last.N != 8 {
		t.Errorf("the first made %d calls, the last %d, want %d and 8", first.N, last.N, n)
	}
}

func TestCallNames(t *testing.T) {
	n := newCallNamer()
	for call, want := range map[uint32]string{bpf.CallCompat: "32-bit calls", bpf.CallNone: "sigreturn", bpf.CallHigh: "unknown", 511: "sys_511"} {
		if got := n.name(call); got != want {
			t.Errorf("name(%d) = %q, want %q", call, got, want)
		}
	}
	if got := ErrnoName(2); got != "ENOENT" {
		t.Errorf("ErrnoName(2) = %q", got)
	}
	if got := ErrnoName(4000); got != "errno 4000" {
		t.Errorf("ErrnoName(4000) = %q", got)
	}
}

// TestSyscallSource: the hooks are what the parts in use need together, and the programs go with the last.
func TestSyscallSource(t *testing.T) {
	f := &fakeCalls{refuse: map[bpf.SyscallParts]error{bpf.SyscallSlow: errors.New("locked down")}}
	src := sourceOf(f)
	steps := []struct {
		name string
		do   func() error
		want []bpf.SyscallParts // asked of the facade since the last step
		err  bool
	}{
		{"count", func() error { _, err := src.acquire(bpf.SyscallCount); return err }, []bpf.SyscallParts{bpf.SyscallCount}, false},
		{"opens", func() error { _, err := src.acquire(bpf.SyscallOpen); return err }, []bpf.SyscallParts{bpf.SyscallCount | bpf.SyscallOpen}, false},
		{"refused", func() error { _, err := src.acquire(bpf.SyscallSlow); return err }, []bpf.SyscallParts{bpf.SyscallCount | bpf.SyscallOpen}, true},
		{"pause", func() error { return src.pause(bpf.SyscallOpen, true) }, []bpf.SyscallParts{bpf.SyscallCount}, false},
		{"go on", func() error { return src.pause(bpf.SyscallOpen, false) }, []bpf.SyscallParts{bpf.SyscallCount | bpf.SyscallOpen}, false},
		{"release", func() error { return src.release(bpf.SyscallCount) }, []bpf.SyscallParts{bpf.SyscallOpen}, false},
		{"release again", func() error { return src.release(bpf.SyscallCount) }, nil, false},
		{"the last", func() error { return src.release(bpf.SyscallOpen) }, nil, false},
		{"pause of nothing", func() error { return src.pause(bpf.SyscallOpen, true) }, nil, false},
	}
	for _, s := range steps {
		f.wants = nil
		if err := s.do(); (err != nil) != s.err {
			t.Errorf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.want, f.wants); diff != "" {
			t.Errorf("%s: wanted (-want +got):\n%s", s.name, diff)
		}
	}
	if f.closed != 1 {
		t.Errorf("closed %d times, want 1", f.closed)
	}
}

// TestSyscallsNarrow: the target's rows since it was narrowed to, and the host's only if somebody looks.
func TestSyscallsNarrow(t *testing.T) {
	f := &fakeCalls{rows: []bpf.CallRow{callRow(5, 1, 0, 10, 0), callRow(-1, 0, 0, 1000, 0)}}
	c := NewSyscalls(sourceOf(f)).(*syscallCollector)
	ctx := context.Background()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(ctx, time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v", err)
	}
	target := Target{Kind: ProcessTarget, Process: Process{5, 1}}
	f.rows[1].N = 1500 // of whoever had the slot before
	c.Host(false)
	if err := c.Narrow([]Target{target, {Kind: NamedTarget, Name: "not a task"}}); err != nil {
		t.Fatal(err)
	}
	f.rows[0].N, f.rows[1].N = 33, 1523
	s, err := c.Collect(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got := s.(*Syscalls)
	if !got.Partial || len(got.Narrowed) != 1 || got.Narrowed[0].Sample.N != 23 || got.Narrowed[0].Target != target || got.Narrowed[0].Since != time.Second {
		t.Errorf("narrowed: partial %v, %+v, want 23 calls of one target", got.Partial, got.Narrowed)
	}
	c.Host(true)
	if err := c.Narrow([]Target{target}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true, false}, f.only); diff != "" {
		t.Errorf("only the target (-want +got):\n%s", diff)
	}
	f.silent = true
	if _, err := c.Collect(ctx, 3*time.Second); err == nil || c.Probes()[0].State != On && c.Probes()[0].State != Failed {
		_ = err
	}
	if _, err := c.Collect(ctx, 4*time.Second); !errors.Is(err, errSilent) || c.Probes()[0].State != Failed {
		t.Errorf("own calls unseen: %v, %+v, want failed", err, c.Probes()[0])
	}
	if err := c.Close(); err != nil || f.closed != 1 {
		t.Errorf("Close = %v, closed %d times", err, f.closed)
	}
}

// openRecord is an event as the program sends it.
func openRecord(kind bpf.EventKind, tgid int32, ret int32, path, args string) []byte {
	e := bpf.OpenEvent{Kind: uint32(kind), TGID: tgid, Start: 1, Ret: ret, Len: uint32(len(path)), ArgsLen: uint32(len(args))}
	copy(e.Comm[:], "cat")
	b, err := binary.Append(nil, binary.LittleEndian, &e)
	if err != nil {
		panic(err)
	}
	b = append(b, path...)
	if args != "" {
		b = append(b, make([]byte, bpf.ExecArgs-len(b))...)
		b = append(append(b, args...), make([]byte, bpf.ExecMax-len(args))...)
	}
	return b
}

// TestOpens: counts come from the tables, the list from the ring; what is in neither is told.
func TestOpens(t *testing.T) {
	var open uint32
	for call := range uint32(512) {
		if bpf.OpenCalls()(call) {
			open = call
		}
	}
	f := &fakeCalls{rows: []bpf.CallRow{callRow(5, 1, open, 100, 10), callRow(5, 1, 511, 9, 0)}, paths: map[bpf.PathKey]bpf.PathCounts{}}
	ring := &fakeEvents{records: map[bpf.EventKind][][]byte{}, counts: map[bpf.EventKind]bpf.EventCounts{}}
	c := NewOpens(sourceOf(f), eventsFeed{ring})
	ctx := context.Background()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(ctx, time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v", err)
	}
	f.rows[0].N, f.rows[0].Errors, f.rows[1].N = 123, 33, 1000
	f.errors = map[bpf.CallError]uint64{{Call: open, Errno: 2}: 23, {Call: 511, Errno: 38}: 5}
	row := bpf.PathCounts{N: 20, Len: 4}
	copy(row.Path[:], "/etc")
	f.paths[bpf.PathKey{TGID: 5, Start: 1, What: bpf.PathOpen<<16 | 2}] = row
	f.paths[bpf.PathKey{TGID: 5, Start: 1, What: bpf.PathExec<<16 | 2}] = row // another collector's
	ring.records[bpf.EventOpen] = [][]byte{openRecord(bpf.EventOpen, 5, 3, "/a\x1b", ""), []byte("short")}
	ring.records[bpf.EventOpenFail] = [][]byte{openRecord(bpf.EventOpenFail, 5, -2, "/etc", "")}
	ring.counts[bpf.EventOpen] = bpf.EventCounts{Sent: 2, Unlisted: 15, Lost: 6}
	s, err := c.Collect(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got := s.(*Opens)
	if got.N != 23 || got.Failed != 23 || got.Unlisted != 21 || got.Lost != 6 || got.PathsLeft != 3 {
		t.Errorf("opens: %+v, want 23, all failed, 21 not listed, 6 lost, 3 without a path", got)
	}
	want := []PathEvent{
		{Process: Process{5, 1}, Comm: RawString("cat"), Ret: 3, Call: "read", Path: RawString("/a\x1b")},
		{Process: Process{5, 1}, Comm: RawString("cat"), Ret: -2, Call: "read", Path: RawString("/etc")},
	}
	if diff := cmp.Diff(want, got.Events, cmp.AllowUnexported(Raw{}), cmpopts.IgnoreFields(PathEvent{}, "At", "Call")); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]ErrnoCount{{2, 23}}, got.Errnos); diff != "" {
		t.Errorf("errnos (-want +got):\n%s", diff)
	}
	if len(got.Failures) != 1 || got.Failures[0].N != 20 || got.Failures[0].Processes != 1 {
		t.Errorf("failures %+v, want 20 of one process", got.Failures)
	}
	if len(got.Paths) != 1 || got.Paths[0].N != 20 || len(got.Processes) != 1 || got.Processes[0].N != 23 {
		t.Errorf("paths %+v, processes %+v", got.Paths, got.Processes)
	}
	if p := c.Probes()[0]; p.State != On || p.Events != 23 || p.Lost != 6 || p.NsPerEvent < bpf.CostOpen {
		t.Errorf("probe %+v", p)
	}
	if err := c.Close(); err != nil || ring.openKinds() != 0 || f.closed != 1 {
		t.Errorf("Close = %v, %d kinds left open, closed %d times", err, ring.openKinds(), f.closed)
	}
}

// TestFailures: processes of one name that fail on one path the same way are one row.
func TestFailures(t *testing.T) {
	row := func(tgid int32, comm, path string, errno uint32, n uint64) PathRow {
		return PathRow{Process: Process{tgid, 1}, Comm: RawString(comm), Path: RawString(path), Errno: errno, N: n}
	}
	got := failures([]PathRow{
		row(9, "sh", "/x", 0, 100), row(5, "cat", "/x", 2, 7), row(6, "cat", "/x", 2, 3), row(6, "cat", "/x", 13, 3), row(7, "dd", "/x", 2, 20),
	})
	want := []PathFailure{
		{PathRow: row(7, "dd", "/x", 2, 20), Processes: 1},
		{PathRow: row(5, "cat", "/x", 2, 10), Processes: 2},
		{PathRow: row(6, "cat", "/x", 13, 3), Processes: 1},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}
