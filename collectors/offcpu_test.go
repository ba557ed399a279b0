// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// offReading is one CPU that saw n tasks come back from sleeps of 5 µs, of which 2 were runnable.
func offReading(n uint64) bpf.OffCounts {
	c := bpf.OffCounts{Arrivals: n, Wait: bpf.Hist{Sum: n * 2000}, OnCPU: bpfHist(n)}
	c.Wait.Slots[1] = n
	c.Off[bpf.Slept] = bpfHist(n)
	c.Queued[bpf.Slept] = n * 2000
	return c
}

func TestDeriveOffCPU(t *testing.T) {
	tests := map[string]struct {
		base, prev, cur []bpf.OffCounts
		now, total      uint64
	}{
		"two CPUs": {
			base: []bpf.OffCounts{offReading(1), offReading(1)},
			prev: []bpf.OffCounts{offReading(4), offReading(1)},
			cur:  []bpf.OffCounts{offReading(10), offReading(3)},
			now:  8, total: 11,
		},
		"a CPU that came": {
			base: []bpf.OffCounts{offReading(1)},
			prev: []bpf.OffCounts{offReading(2)},
			cur:  []bpf.OffCounts{offReading(2), offReading(0), offReading(7)},
			now:  7, total: 8,
		},
		"made anew": {
			base: []bpf.OffCounts{offReading(0)},
			prev: []bpf.OffCounts{offReading(9)},
			cur:  []bpf.OffCounts{offReading(4)},
			now:  4, total: 4,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := deriveOffCPU(tt.base, tt.prev, tt.cur, Span{0, time.Second})
			want := OffCounts{Arrivals: tt.now, Wait: Hist{Sum: tt.now * 2000}, OnCPU: Hist(bpfHist(tt.now))}
			want.Wait.Slots[1] = tt.now
			want.Off[OffSlept] = Hist(bpfHist(tt.now))
			want.Queued[OffSlept] = tt.now * 2000
			if diff := cmp.Diff(want, s.Host); diff != "" {
				t.Errorf("now (-want +got):\n%s", diff)
			}
			if s.Total.Arrivals != tt.total || s.Total.OnCPU.Count() != tt.total || s.Total.Queued[OffSlept] != tt.total*2000 {
				t.Errorf("since start %+v, want %d", s.Total, tt.total)
			}
		})
	}
}

// offFake is a kernel with slots.
type offFake struct {
	slots  bpf.Slots
	counts [bpf.FilterSlots]bpf.OffCounts
	stacks map[bpf.OffKey]bpf.OffStack
	most   int // targets; 0: seven
	closed bool
}

func (f *offFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	var err error
	f.slots = bpf.Slots{}
	for i, w := range want {
		if f.most > 0 && i >= f.most {
			err = fmt.Errorf("narrowing: %w", bpf.ErrSlots)
			break
		}
		f.slots[i+1] = w
	}
	return f.slots, err
}

func (f *offFake) Read(slot int, dst []bpf.OffCounts) ([]bpf.OffCounts, error) {
	return append(dst[:0], f.counts[slot]), nil
}

func (f *offFake) Stacks(each func(*bpf.OffKey, *bpf.OffStack)) error {
	for k, s := range f.stacks {
		each(&k, &s)
	}
	return nil
}

func (f *offFake) StackErr() error  { return nil }
func (f *offFake) Pause(bool) error { return nil }
func (f *offFake) Close() error     { f.closed = true; return nil }

// offNames is a table of symbols for tests: the stack of a sleep.
func offNames(t *testing.T) *stackTable {
	t.Helper()
	names := newStackTable(NewFS(t.TempDir()))
	names.symbols.known = []function{{0x1100, 0x1200, "hrtimer_nanosleep"}, {0x1200, 0x1300, "do_epoll_wait"}}
	return names
}

func openFake(t *testing.T, c *offCollector, f *offFake) {
	t.Helper()
	c.names = offNames(t)
	c.open = func() (offReader, error) { return f, nil }
}

// TestLatencyBegins holds that a slot's base is read when it is assigned: what it counted before, for
// somebody else, is not the target's.
func TestLatencyBegins(t *testing.T) {
	fs, say := statFile(t)
	say("ctxt", 1)
	l := NewLatency(nil, fs).(*latencyCollector)
	f := &offFake{stacks: map[bpf.OffKey]bpf.OffStack{}}
	openFake(t, &l.offCollector, f)
	a := Target{Kind: ProcessTarget, Process: Process{7, 70}}
	b := Target{Kind: CgroupTarget, Cgroup: 99}
	narrow := func(targets ...Target) {
		if err := l.Narrow(targets); err != nil {
			t.Fatal(err)
		}
	}
	type part struct {
		Target       Target
		Since        time.Duration
		Count, Total uint64
	}
	collect := func(second int) (out []part) {
		s := collectAs[*Latency](t, l, time.Duration(second)*time.Second)
		for _, x := range s.Narrowed {
			out = append(out, part{x.Target, x.Since, x.Sample.Arrivals, x.Sample.Total.Arrivals})
		}
		return out
	}
	start(t, l)
	f.counts[1] = offReading(1000)
	narrow(a)
	steps := []struct {
		name string
		do   func()
		want []part
	}{
		{"the first look", func() {}, []part{{a, 0, 0, 0}}},
		{"23 came", func() { f.counts[1] = offReading(1023) }, []part{{a, 0, 23, 23}}},
		{"a second target", func() { narrow(a, b); f.counts[1] = offReading(1024); f.counts[2] = offReading(5) }, []part{{a, 0, 1, 24}, {b, 2 * time.Second, 0, 0}}},
		{"the first goes", func() { narrow(b); f.counts[1] = offReading(1030) }, []part{{b, 3 * time.Second, 0, 0}}},
		{"nobody", func() { narrow() }, nil},
	}
	for i, s := range steps {
		s.do()
		if diff := cmp.Diff(s.want, collect(i), cmp.Comparer(func(x, y Target) bool { return x == y })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
	f.most = 1
	narrow(a, b)
	collect(9)
	if p := l.Probes()[0]; p.State != Degraded || p.Reason == "" {
		t.Errorf("with more targets than slots the row is %+v, want degraded with the reason", p)
	}
}

// TestOffStacks takes the difference of each stack, names it, and lists a target's own.
func TestOffStacks(t *testing.T) {
	stack := func(n, ns uint64, frames ...uint64) bpf.OffStack {
		s := bpf.OffStack{Count: n, Ns: ns, Frames: uint32(len(frames))}
		copy(s.Frame[:], frames)
		copy(s.Comm[:], []int8{'d', 'b', 0, 'x'})
		return s
	}
	key := func(tgid int32, why bpf.OffWhy, id uint64) bpf.OffKey {
		return bpf.OffKey{Stack: id, Start: uint64(tgid) * 10, Tgid: tgid, Why: uint32(why)}
	}
	f := &offFake{stacks: map[bpf.OffKey]bpf.OffStack{
		key(1, bpf.Slept, 1):   stack(3, 30, 0x1100),
		key(2, bpf.Blocked, 2): stack(1, 500, 0x1210, 0x1105),
	}}
	names := offNames(t)
	var o offStacks
	if _, err := o.read(f, names, 0); err != nil {
		t.Fatal(err)
	}
	f.stacks[key(1, bpf.Slept, 1)] = stack(5, 70, 0x1100)
	f.stacks[key(1, bpf.Slept, 3)] = stack(2, 20, 0x1200)
	rows, err := o.read(f, names, 0)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Function, Class, Comm    string
		TGID                     int32
		Why                      OffWhy
		Count, Ns, Total, Frames uint64
	}
	shape := func(rows []OffStack) (out []row) {
		for _, r := range rows {
			out = append(out, row{r.Function, r.Class, r.Comm.Bytes(), r.Task.TGID, r.Why, r.Count, r.Ns, r.TotalNs, uint64(len(r.Frames))})
		}
		return out
	}
	top, left, ns := topStacks(rows, 2)
	want := []row{
		{"hrtimer_nanosleep", WaitSleep, "db", 1, OffSlept, 2, 40, 70, 1},
		{"do_epoll_wait", WaitPoll, "db", 1, OffSlept, 2, 20, 20, 1},
	}
	if diff := cmp.Diff(want, shape(top)); diff != "" || left != 1 || ns != 0 {
		t.Errorf("%d rows left out with %d ns (-want +got):\n%s", left, ns, diff)
	}
	if got := stacksOf(rows, Target{Kind: ProcessTarget, Process: Process{2, 20}}); len(got) != 1 || got[0].Why != OffBlocked {
		t.Errorf("stacks of process 2: %+v, want its one", shape(got))
	}
	if got := stacksOf(rows, Target{Kind: ProcessTarget, Process: Process{2, 21}}); got != nil {
		t.Errorf("stacks of a later process 2: %+v, want none", shape(got))
	}
}

// TestLatencyLive has a thread of this process sleep 23 times for 36 ms.
func TestLatencyLive(t *testing.T) {
	const n, hold = 23, 36 * time.Millisecond
	fs := NewFS("")
	c := NewLatency(bpf.Inspect(), fs)
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "needs BPF: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	own := Target{Kind: ProcessTarget, Process: Process{TGID: int32(os.Getpid()), Start: ownStart(t)}}
	if err := c.(Narrower).Narrow([]Target{own, {Kind: CgroupTarget, Cgroup: 1 << 60}}); err != nil {
		t.Fatal(err)
	}
	first := collectAs[*Latency](t, c, 0)
	if len(first.Narrowed) != 2 || first.Narrowed[0].Target != own || first.Narrowed[0].Sample.Arrivals != 0 {
		t.Fatalf("the first look is %+v, want two targets and nothing counted", first)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for range n {
			ts := unix.NsecToTimespec(int64(hold))
			for errors.Is(unix.Nanosleep(&ts, &ts), unix.EINTR) {
				continue
			}
		}
	}()
	<-done
	s := collectAs[*Latency](t, c, time.Second)
	got := s.Narrowed[0].Sample
	if slept := got.Off[OffSlept].Slots[15]; slept < n-1 { // a switch may be missing from its tracepoint
		t.Errorf("%d sleeps of 33–65 ms, want %d: %v", slept, n, got.Off[OffSlept])
	}
	if none := s.Narrowed[1].Sample; none.Arrivals != 0 || len(none.Stacks) != 0 {
		t.Errorf("a cgroup that there is not has %+v", none)
	}
	p := c.Probes()[0]
	if p.State == Degraded {
		lacking(t, "needs symbols: %+v", p)
	}
	var in uint64
	for _, r := range got.Stacks {
		if r.Class == WaitSleep && r.Why == OffSlept {
			in += r.Count
		}
	}
	if in < n-1 || p.State != On || p.Events == 0 {
		t.Errorf("%d long sleeps of class sleep, want %d; row %+v", in, n, p)
	}
}

// ownStart is when this process began, as the kernel stamps it.
func ownStart(t *testing.T) uint64 {
	t.Helper()
	tasks, err := bpf.OpenTasks(bpf.Inspect())
	if err != nil {
		lacking(t, "needs the task iterator: %v", err)
	}
	defer tasks.Close()
	var start uint64
	if err := tasks.Read(func(x *bpf.Task) {
		if int(x.Tgid) == os.Getpid() {
			start = x.Start
		}
	}); err != nil {
		t.Fatal(err)
	}
	return start
}

func BenchmarkCollectOffCPU(b *testing.B) { benchmarkCollect(b, NewOffCPU(bpf.Inspect(), NewFS(""))) }
