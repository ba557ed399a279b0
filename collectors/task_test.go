// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = uint64(time.Millisecond)

// rec is a thread of process tgid that started at 1 s, with ms of run time and of wait.
func rec(pid, tgid int32, run, wait uint64) taskRec {
	return taskRec{
		PID: pid, TGID: tgid, There: pid, Start: 1000 * ms, taskCounts: taskCounts{Run: run * ms}, Wait: wait * ms, Threads: 1, State: 'S', Comm: comm("x"),
	}
}

func (r taskRec) with(change func(*taskRec)) taskRec {
	change(&r)
	return r
}

func TestDeriveTasks(t *testing.T) {
	// moved is a row in milliseconds.
	type moved struct {
		TGID                        int32
		Run, Wait, Lead, Vol, Invol uint64
		Threads                     uint32
	}
	dead := func(run, vol, invol uint64) func(*taskRec) {
		return func(r *taskRec) { r.Dead = &taskCounts{Run: run * ms, Vol: vol, Invol: invol} }
	}
	switched := func(vol, invol uint64) func(*taskRec) {
		return func(r *taskRec) { r.Vol, r.Invol = vol, invol }
	}
	startedAt := func(msec uint64) func(*taskRec) {
		return func(r *taskRec) { r.Start = msec * ms }
	}
	tests := map[string]struct {
		prev, cur []taskRec // the previous scan was at 10 s
		want      []moved
	}{
		"first scan":                       {nil, []taskRec{rec(5, 5, 100, 100)}, nil},
		"nothing":                          {[]taskRec{}, nil, nil},
		"idle":                             {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 3)}, nil},
		"ran":                              {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 9, 3)}, []moved{{5, 2, 0, 0, 0, 0, 1}}},
		"waited":                           {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 8)}, []moved{{5, 0, 5, 5, 0, 0, 1}}},
		"waited across scans":              {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 8, 30003)}, []moved{{5, 1, 30000, 30000, 0, 0, 1}}},
		"in D":                             {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.State = 'D' })}, []moved{{5, 0, 0, 0, 0, 0, 1}}},
		"a thread in D":                    {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 3), rec(6, 5, 0, 0).with(func(r *taskRec) { r.State = 'D' })}, []moved{{5, 0, 0, 0, 0, 0, 2}}},
		"exit":                             {[]taskRec{rec(5, 5, 7, 3), rec(6, 6, 1, 1)}, []taskRec{rec(6, 6, 2, 1)}, []moved{{6, 1, 0, 0, 0, 0, 1}}},
		"exit of the last":                 {[]taskRec{rec(5, 5, 7, 3), rec(9, 9, 1, 1)}, []taskRec{rec(5, 5, 7, 3)}, nil},
		"new":                              {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 3), rec(6, 6, 4, 1).with(startedAt(10001))}, []moved{{6, 4, 1, 1, 0, 0, 1}}},
		"new within a tick":                {[]taskRec{}, []taskRec{rec(6, 6, 4, 1).with(startedAt(9991))}, []moved{{6, 4, 1, 1, 0, 0, 1}}},
		"old, but missed before":           {[]taskRec{}, []taskRec{rec(6, 6, 4000, 1).with(startedAt(9900))}, []moved{{6, 0, 0, 0, 0, 0, 1}}},
		"stopped, and did not run":         {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.State = 'T' })}, []moved{{5, 0, 0, 0, 0, 0, 1}}},
		"its memory was taken":             {[]taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.RSS = 9000 })}, []taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.RSS = 100 })}, []moved{{5, 0, 0, 0, 0, 0, 1}}},
		"a little of its memory was taken": {[]taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.RSS = 9000 })}, []taskRec{rec(5, 5, 7, 3).with(func(r *taskRec) { r.RSS = 8990 })}, nil},
		"PID reused":                       {[]taskRec{rec(5, 5, 7, 3)}, []taskRec{rec(5, 5, 2, 1).with(startedAt(10500))}, []moved{{5, 2, 1, 1, 0, 0, 1}}},
		"PID reused by a thread":           {[]taskRec{rec(5, 5, 1, 0), rec(7, 7, 50, 50)}, []taskRec{rec(5, 5, 1, 0), rec(7, 5, 2, 3)}, []moved{{5, 2, 3, 0, 0, 0, 2}}},
		"counters reset":                   {[]taskRec{rec(5, 5, 700, 300).with(switched(9, 9))}, []taskRec{rec(5, 5, 1, 1)}, nil},
		"run reset, wait goes on":          {[]taskRec{rec(5, 5, 700, 3)}, []taskRec{rec(5, 5, 1, 4)}, []moved{{5, 0, 1, 1, 0, 0, 1}}},
		"switches": {
			[]taskRec{rec(5, 5, 7, 3).with(switched(10, 20))},
			[]taskRec{rec(5, 5, 8, 3).with(switched(14, 21))},
			[]moved{{5, 1, 0, 0, 4, 1, 1}},
		},
		"switches reset": {
			[]taskRec{rec(5, 5, 7, 3).with(switched(10, 20))},
			[]taskRec{rec(5, 5, 8, 3).with(switched(1, 2))},
			[]moved{{5, 1, 0, 0, 0, 0, 1}},
		},
		"a process in the place of another that had threads": {
			[]taskRec{rec(5, 5, 7, 3).with(dead(1, 0, 0)), rec(6, 5, 5000, 900)},
			[]taskRec{rec(5, 5, 8, 3).with(startedAt(10500)).with(dead(20, 0, 0))},
			[]moved{{5, 28, 3, 3, 0, 0, 1}},
		},
		"threads add up; the leader's wait apart": {
			[]taskRec{rec(5, 5, 7, 3), rec(6, 5, 1, 1), rec(7, 5, 1, 1)},
			[]taskRec{rec(5, 5, 8, 5), rec(6, 5, 3, 4), rec(7, 5, 5, 2)},
			[]moved{{5, 7, 6, 2, 0, 0, 3}},
		},
		"a new thread of an old process": {
			[]taskRec{rec(5, 5, 7, 3)},
			[]taskRec{rec(5, 5, 7, 3), rec(8, 5, 20, 10)},
			[]moved{{5, 20, 10, 0, 0, 0, 2}},
		},
		"a thread's ID below its leader's": {
			[]taskRec{rec(3, 5, 1, 1), rec(5, 5, 7, 3)},
			[]taskRec{rec(3, 5, 2, 1), rec(5, 5, 7, 3)},
			[]moved{{5, 1, 0, 0, 0, 0, 2}},
		},
		"a thread dies: what it did last is in the dead share": {
			[]taskRec{rec(5, 5, 7, 3).with(dead(100, 4, 4)), rec(6, 5, 5000, 900).with(switched(50, 60))},
			[]taskRec{rec(5, 5, 8, 3).with(dead(5130, 56, 64))},
			[]moved{{5, 1 + 30, 0, 0, 2, 0, 1}},
		},
		"a thread dies and no dead share is known": {
			[]taskRec{rec(5, 5, 7, 3), rec(6, 5, 5000, 900), rec(7, 5, 10, 10)},
			[]taskRec{rec(5, 5, 8, 3), rec(7, 5, 30, 10)},
			[]moved{{5, 1 + 20, 0, 0, 0, 0, 2}},
		},
		"exec by a thread takes the leader's place": {
			[]taskRec{rec(5, 5, 10, 3), rec(6, 5, 5000, 0)},
			[]taskRec{rec(5, 5, 5002, 3).with(dead(10, 0, 0))},
			[]moved{{5, 2, 0, 0, 0, 0, 1}},
		},
		"the dead share is seen before the thread goes": {
			[]taskRec{rec(5, 5, 7, 3).with(dead(5, 0, 0)), rec(6, 5, 50, 0)},
			[]taskRec{rec(5, 5, 7, 3).with(dead(5, 0, 0))},
			[]moved{{5, 0, 0, 0, 0, 0, 1}}, // it has a thread less
		},
		"a thread whose leader was missed": {
			[]taskRec{rec(5, 5, 7, 3), rec(6, 5, 1, 1)},
			[]taskRec{rec(6, 5, 9, 9)},
			nil,
		},
	}
	span := Span{From: 3 * time.Second, To: 4 * time.Second}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.prev != nil {
				deriveTasks(nil, tt.prev, scanOptions{key: true})
			}
			got := deriveTasks(tt.prev, tt.cur, scanOptions{prevBoot: 10_000 * ms, span: span})
			var rows []moved
			for _, r := range got.Rows {
				rows = append(rows, moved{
					r.TGID, uint64(r.Run) / ms, uint64(r.Wait) / ms, uint64(r.LeadWait) / 1000, uint64(r.Voluntary), uint64(r.Involuntary), r.Threads,
				})
				if r.Run < 0 || r.Wait < 0 || r.LeadWait.Duration() > r.Wait || r.Sys.Duration() > r.Run {
					t.Errorf("row %+v", r)
				}
			}
			if diff := cmp.Diff(tt.want, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if got.Span != span {
				t.Errorf("span = %v, want %v", got.Span, span)
			}
		})
	}
}

func TestDeriveTasksCounts(t *testing.T) {
	state := func(pid, tgid int32, s byte) taskRec {
		return rec(pid, tgid, 0, 0).with(func(r *taskRec) { r.State = s })
	}
	got := deriveTasks(nil, []taskRec{
		state(1, 1, 'S'),
		state(2, 2, 'R'), state(3, 2, 'R'), state(4, 2, 'D'),
		state(5, 5, 'Z'),                   // a zombie
		state(6, 6, 'Z'), state(7, 6, 'S'), // its leader has ended and its threads have not
		state(8, 8, 'Z').with(func(r *taskRec) { r.Threads = 3 }), // the same, seen from /proc
		state(9, 9, 'D'),
		state(10, 10, 'I'),
	}, scanOptions{})
	if len(got.Rows) != 2 || got.Rows[0].TGID != 2 || got.Rows[0].Blocked != 1 || got.Rows[1].TGID != 9 || got.Rows[1].State != 'D' {
		t.Errorf("rows = %+v, want processes 2 and 9, with one thread in D each", got.Rows)
	}
	got.Rows = nil
	want := &Tasks{Processes: 7, Threads: 12, Running: 2, Uninterruptible: 2, Zombies: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// TestProcInfoIsShared follows one process over scans: samples share its ProcInfo until what it says
// is no longer true.
func TestProcInfoIsShared(t *testing.T) {
	run := uint64(0)
	var prev []taskRec
	step := func(change func(*taskRec)) *ProcInfo {
		run++
		cur := []taskRec{rec(5, 5, run, 0).with(func(r *taskRec) { r.Comm = comm("sh") })}
		if change != nil {
			change(&cur[0])
		}
		rows := deriveTasks(prev, cur, scanOptions{key: prev == nil}).Rows
		prev = cur
		if len(rows) == 0 {
			return nil
		}
		return rows[0].ProcInfo
	}
	if p := step(nil); p != nil {
		t.Fatalf("the first scan gives a row: %v", p)
	}
	first := step(nil)
	want := &ProcInfo{Process: Process{5, 1000 * ms}, PID: 5, Comm: RawString("sh")}
	if diff := cmp.Diff(want, first, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Fatalf("ProcInfo (-want +got):\n%s", diff)
	}
	if again := step(nil); again != first {
		t.Errorf("the same process has a new ProcInfo: %v, was %v", again, first)
	}
	run-- // asleep for a scan, without a row
	if p := step(nil); p != nil {
		t.Errorf("asleep = %v, want no row", p)
	}
	if again := step(nil); again != first {
		t.Errorf("after a sleep the same process has a new ProcInfo: %v, was %v", again, first)
	}
	for name, change := range map[string]func(*taskRec){
		"exec":     func(r *taskRec) { r.Comm = comm("make") },
		"orphaned": func(r *taskRec) { r.PPID = 1 },
		"setuid":   func(r *taskRec) { r.UID = 33 },
		"renice":   func(r *taskRec) { r.Nice = 19 },
	} {
		was := step(nil)
		changed := step(change)
		if changed == was || changed.Process != was.Process {
			t.Errorf("%s: ProcInfo = %v, want another one of the same process than %v", name, changed, was)
		}
	}
	if want := RawString("sh"); first.Comm != want {
		t.Errorf("a published ProcInfo has changed: %v", first)
	}
}

// fakeScanner gives what the test put there.
type fakeScanner struct {
	name          string
	openErr, err  error
	recs          []taskRec
	opened, ended int
}

func (f *fakeScanner) Open(context.Context) error { f.opened++; return f.openErr }
func (f *fakeScanner) Scan(_ context.Context, recs []taskRec) ([]taskRec, error) {
	return append(recs, f.recs...), f.err
}
func (f *fakeScanner) Probe() Probe   { return Probe{Hook: f.name, State: On} }
func (f *fakeScanner) Source() string { return f.name }
func (f *fakeScanner) Close() error   { f.ended++; return nil }

// The list of all processes comes each 60 scans, and with few scans an hour each 5 minutes: who shows
// the last 10 has one.
func TestTasksListAll(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration
		scans int
		want  []int // the scans that list all
	}{
		"a second":   {time.Second, 130, []int{0, 60, 120}},
		"5 seconds":  {5 * time.Second, 121, []int{0, 60, 120}},
		"11 seconds": {11 * time.Second, 70, []int{0, 28, 56}},
		"a minute":   {time.Minute, 12, []int{0, 5, 10}},
	} {
		c := newTasks(NewFS(t.TempDir()), nil, &fakeScanner{name: "iter/task", recs: []taskRec{rec(5, 5, 10, 0)}})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []int
		for i := range tt.scans {
			s, err := c.Collect(t.Context(), time.Duration(i+1)*tt.every)
			if err != nil {
				t.Fatal(err)
			}
			if s.(*Tasks).Key != nil {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: scans that list all (-want +got):\n%s", name, diff)
		}
	}
}

func TestTasksFallsBack(t *testing.T) {
	ctx := context.Background()
	need := &NeedError{Need: "kernel BTF", Remedy: "boot another kernel"}
	best := &fakeScanner{name: "iter/task", recs: []taskRec{rec(5, 5, 10, 0)}}
	tree := procTree{t, t.TempDir()}
	tree.process(5, "S", "50", "30000000 5 1\n")
	c := newTasks(NewFS(tree.root), nil, best)

	collect := func(now time.Duration) *Tasks {
		t.Helper()
		s, err := c.Collect(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		return s.(*Tasks)
	}
	probe := func(want Probe) {
		t.Helper()
		got := c.Probes()
		if want.Name = "pidstat"; len(got) != 1 || got[0] != want {
			t.Errorf("Probes = %+v, want %+v", got, want)
		}
	}
	probe(Probe{Hook: "/proc/PID/stat", State: Off})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	probe(Probe{Hook: "iter/task", State: Warming, Reason: "not read yet"})
	if got := collect(1 * time.Second); len(got.Rows) != 0 || got.Span != (Span{time.Second, time.Second}) || got.Source != "iter/task" {
		t.Errorf("first = %+v, want an empty span and no rows", got)
	}
	best.recs[0].Run += 3 * ms
	if got := collect(2 * time.Second); len(got.Rows) != 1 || got.Rows[0].Run != 3*time.Millisecond || got.Span != (Span{time.Second, 2 * time.Second}) {
		t.Errorf("second = %+v", got)
	}
	probe(Probe{Hook: "iter/task", State: On})

	best.err = errors.New("the iterator broke")
	if got := collect(3 * time.Second); len(got.Rows) != 0 || got.Source != "/proc" || got.Span != (Span{3 * time.Second, 3 * time.Second}) {
		t.Errorf("after the fall = %+v, want a new baseline from /proc", got)
	}
	if best.ended != 1 {
		t.Errorf("the broken scanner was closed %d times, want once", best.ended)
	}
	probe(Probe{Hook: "/proc/PID/stat, schedstat", State: Degraded, Reason: "reading tasks from iter/task: the iterator broke"})
	tree.process(5, "S", "50", "34000000 5 2\n")
	if got := collect(4 * time.Second); len(got.Rows) != 1 || got.Rows[0].Run != 4*time.Millisecond {
		t.Errorf("second from /proc = %+v", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	best.openErr, best.err = need, nil
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := collect(5 * time.Second); got.Source != "/proc" {
		t.Errorf("Source = %q, want /proc", got.Source)
	}
	probe(Probe{Hook: "/proc/PID/stat, schedstat", State: Degraded, Reason: "needs kernel BTF", Remedy: "boot another kernel"})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTasksNothingWorks(t *testing.T) {
	c := newTasks(NewFS(t.TempDir()+"/none"), nil)
	if err := c.Start(context.Background()); err == nil {
		t.Fatal("Start without a /proc succeeds")
	}
	if _, err := c.Collect(context.Background(), 0); err == nil {
		t.Error("Collect without a scanner succeeds")
	}
	if p := c.Probes(); p[0].State != Failed || p[0].Reason == "" {
		t.Errorf("Probes = %+v, want failed with a reason", p)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestTasksOrder holds that a scanner may list in any order.
func TestTasksOrder(t *testing.T) {
	f := &fakeScanner{name: "iter/task", recs: []taskRec{rec(5, 5, 1, 0), rec(9, 5, 1, 0)}}
	c := newTasks(NewFS(fixture), nil, f)
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Collect(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	f.recs[1].Run += 2 * ms
	slices.Reverse(f.recs)
	s, err := c.Collect(context.Background(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if rows := s.(*Tasks).Rows; len(rows) != 1 || rows[0].Run != 2*time.Millisecond {
		t.Errorf("rows = %+v, want 2 ms of process 5", rows)
	}
}

func BenchmarkDeriveTasks(b *testing.B) {
	const processes = 5000
	prev := make([]taskRec, processes)
	for i := range prev {
		prev[i] = rec(int32(i+1), int32(i+1), 100, 100)
	}
	deriveTasks(nil, prev, scanOptions{key: true})
	cur := slices.Clone(prev)
	for i := 0; i < processes; i += 10 {
		cur[i].Run += ms
	}
	var scratch procDeltas
	b.ReportAllocs()
	for b.Loop() {
		deriveTasks(prev, cur, scanOptions{scratch: &scratch})
	}
}

// What a hypervisor's threads ran as virtual CPUs is part of the run time that was not the kernel's.
func TestDeriveGuest(t *testing.T) {
	guest := func(run, user, sys, guest, dead uint64) taskRec {
		return rec(5, 5, run, 0).with(func(r *taskRec) {
			r.User, r.Sys, r.Guest, r.Dead = user*ms, sys*ms, guest*ms, &taskCounts{Guest: dead * ms}
		})
	}
	tests := map[string]struct {
		was, now taskRec
		want     time.Duration
	}{
		"none":                {guest(100, 90, 10, 0, 0), guest(200, 180, 20, 0, 0), 0},
		"a part":              {guest(100, 90, 10, 40, 0), guest(200, 180, 20, 70, 0), 30 * time.Millisecond},
		"ticks ahead of time": {guest(100, 90, 0, 40, 0), guest(110, 130, 0, 90, 0), 10 * time.Millisecond},
		"a thread died":       {guest(100, 90, 10, 40, 0), guest(200, 180, 20, 40, 20), 20 * time.Millisecond},
		"went back":           {guest(100, 90, 10, 40, 0), guest(200, 180, 20, 30, 0), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := deriveTasks([]taskRec{tt.was}, []taskRec{tt.now}, scanOptions{prevBoot: 1e10, span: Span{0, time.Second}})
			if len(s.Rows) != 1 {
				t.Fatalf("%d rows, want 1", len(s.Rows))
			}
			got := time.Duration(0)
			if m := s.Rows[0].More; m != nil {
				got = m.Guest.Duration()
			}
			if got != tt.want {
				t.Errorf("guest = %v of %v, want %v", got, s.Rows[0].Run, tt.want)
			}
		})
	}
}

// TestLived: a wait for I/O that is longer than the life of its thread is none.
func TestLived(t *testing.T) {
	const sec = uint64(1e9)
	for name, tt := range map[string]struct {
		delay, start, now, want uint64
		lacks                   Lack
	}{
		"none":                        {0, 10 * sec, 20 * sec, 0, 0},
		"all its life":                {10 * sec, 10 * sec, 20 * sec, 10 * sec, 0},
		"the whole uptime":            {20 * sec, 10 * sec, 20 * sec, 0, LackDelay},
		"twice, of the first process": {40 * sec, 0, 20 * sec, 0, LackDelay},
		"began after the clock":       {sec / 2, 21 * sec, 20 * sec, sec / 2, 0},
	} {
		if got, lacks := lived(tt.delay, tt.start, tt.now); got != tt.want || lacks != tt.lacks {
			t.Errorf("%s: lived = %d, lacks %b, want %d, %b", name, got, lacks, tt.want, tt.lacks)
		}
	}
}
