// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// schedFake is a bpf.Sched whose readings are given.
type schedFake struct {
	method   bpf.Method
	passed   []error
	queueErr error
	reads    [][]bpf.SchedCounts // the last one stays
	online   []int
	closed   bool
}

func (f *schedFake) Method() bpf.Method    { return f.method }
func (f *schedFake) Passed() []error       { return f.passed }
func (f *schedFake) QueueErr() error       { return f.queueErr }
func (f *schedFake) SampleQueues(on []int) { f.online = on }
func (f *schedFake) Pause(bool) error      { return nil }
func (f *schedFake) Close() error          { f.closed = true; return nil }
func (f *schedFake) Read(dst []bpf.SchedCounts) ([]bpf.SchedCounts, error) {
	r := f.reads[0]
	if len(f.reads) > 1 {
		f.reads = f.reads[1:]
	}
	return append(dst[:0], r...), nil
}

// counts has n waits of 1 ms and n stints of 2 ms.
func counts(n uint64) bpf.SchedCounts {
	c := bpf.SchedCounts{Switches: n}
	c.Wait.Slots[9], c.Wait.Sum = n, n*1_000_000
	c.OnCPU.Slots[10], c.OnCPU.Sum = n, n*2_000_000
	return c
}

func TestDeriveSched(t *testing.T) {
	tests := map[string]struct {
		base, prev, cur []bpf.SchedCounts
		cpus            []int
		now, total      uint64 // waits of the host
	}{
		"grows":            {base: []bpf.SchedCounts{counts(5)}, prev: []bpf.SchedCounts{counts(7)}, cur: []bpf.SchedCounts{counts(10)}, cpus: []int{0}, now: 3, total: 5},
		"two CPUs":         {base: make([]bpf.SchedCounts, 2), prev: []bpf.SchedCounts{counts(1), counts(2)}, cur: []bpf.SchedCounts{counts(4), counts(8)}, cpus: []int{0, 1}, now: 9, total: 12},
		"never online":     {base: make([]bpf.SchedCounts, 2), prev: make([]bpf.SchedCounts, 2), cur: []bpf.SchedCounts{{}, counts(8)}, cpus: []int{1}, now: 8, total: 8},
		"counter reset":    {base: []bpf.SchedCounts{counts(0)}, prev: []bpf.SchedCounts{counts(9)}, cur: []bpf.SchedCounts{counts(2)}, cpus: []int{0}, now: 2, total: 2},
		"nothing happened": {base: []bpf.SchedCounts{counts(3)}, prev: []bpf.SchedCounts{counts(3)}, cur: []bpf.SchedCounts{counts(3)}, cpus: []int{0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := deriveSched(tt.base, tt.prev, tt.cur, Span{0, time.Second}, bpf.ByStamp)
			var cpus []int
			var sum Hist
			for i := range s.CPUs {
				cpus = append(cpus, s.CPUs[i].CPU)
				h := s.CPUs[i].Wait.Hist()
				sum.Plus(&h)
			}
			if diff := cmp.Diff(tt.cpus, cpus); diff != "" {
				t.Errorf("CPUs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(s.Host.Wait, sum); diff != "" {
				t.Errorf("the host is not the sum of its CPUs (-host +sum):\n%s", diff)
			}
			if got := s.Host.Wait.Count(); got != tt.now || s.Host.Switches != tt.now || s.Host.Wait.Sum != tt.now*1_000_000 {
				t.Errorf("now = %d waits, %d switches, %d ns, want %d", got, s.Host.Switches, s.Host.Wait.Sum, tt.now)
			}
			if got := s.WaitTotal.Count(); got != tt.total || s.OnCPUTotal.Count() != tt.total {
				t.Errorf("since start = %d, want %d", got, tt.total)
			}
		})
	}
}

func startSched(t *testing.T, readers ...schedReader) (*schedCollector, *[]bpf.Method) {
	t.Helper()
	var asked []bpf.Method
	c := newSched(func(parts bpf.SchedParts) (schedReader, error) {
		if len(asked) == len(readers) {
			return nil, errors.New("no reader left")
		}
		asked = append(asked, parts.From)
		return readers[len(asked)-1], nil
	}, func(context.Context) ([]int, error) { return []int{0}, nil })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, &asked
}

func TestSchedNeedsABaseline(t *testing.T) {
	f := &schedFake{reads: [][]bpf.SchedCounts{{counts(4)}, {counts(6)}}}
	c, _ := startSched(t, f)
	if _, err := c.Collect(t.Context(), time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	if got := c.Probes()[0].State; got != On {
		t.Errorf("runqlat is %v after its baseline, want on", got)
	}
	s, err := c.Collect(t.Context(), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	sched := s.(*Sched)
	if sched.Span != (Span{time.Second, 2 * time.Second}) || sched.Host.Switches != 2 || sched.WaitTotal.Count() != 2 {
		t.Errorf("second Collect = %+v, want 2 switches from 1 s to 2 s", sched.Host)
	}
	if diff := cmp.Diff([]int{0}, f.online); diff != "" {
		t.Errorf("sampled CPUs (-want +got):\n%s", diff)
	}
}

func TestSchedGivesUpABlindStamp(t *testing.T) {
	blind := counts(0)
	blind.Switches, blind.Unstamped = 500, 500
	f := &schedFake{reads: [][]bpf.SchedCounts{{counts(0)}, {blind}}}
	next := &schedFake{method: bpf.ByWakeup, reads: [][]bpf.SchedCounts{{counts(0)}, {counts(3)}}}
	c, asked := startSched(t, f, next)
	_, _ = c.Collect(t.Context(), 0)
	if _, err := c.Collect(t.Context(), time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("Collect without any stamp = %v, want ErrWarming of the next method", err)
	}
	if diff := cmp.Diff([]bpf.Method{bpf.ByStamp, bpf.ByWakeup}, *asked); diff != "" {
		t.Errorf("methods asked for (-want +got):\n%s", diff)
	}
	if !f.closed {
		t.Error("the blind method was not closed")
	}
	_, _ = c.Collect(t.Context(), 2*time.Second)
	p := c.Probes()
	if p[0].State != Degraded || p[0].Hook != bpf.ByWakeup.String() || p[0].Reason == "" {
		t.Errorf("runqlat = %+v, want degraded by wake-up with a reason", p[0])
	}
	if p[1].State != Off || p[1].Reason == "" {
		t.Errorf("cpudist = %+v, want off with a reason", p[1])
	}
}

func TestSchedReopensASilentLink(t *testing.T) {
	f := &schedFake{reads: [][]bpf.SchedCounts{{counts(4)}}}
	next := &schedFake{reads: [][]bpf.SchedCounts{{counts(0)}, {counts(3)}}}
	c, asked := startSched(t, f, next)
	for i := range 3 {
		if _, err := c.Collect(t.Context(), time.Duration(i)*time.Second); err != nil && i > 0 {
			t.Fatalf("Collect at %d s = %v", i, err)
		}
	}
	if len(*asked) != 1 {
		t.Fatal("reopened before it was silent for 3 s")
	}
	if _, err := c.Collect(t.Context(), 3*time.Second); !errors.Is(err, ErrWarming) || len(*asked) != 2 || !f.closed {
		t.Fatalf("Collect after 3 s of silence = %v, %d opened, want ErrWarming and 2", err, len(*asked))
	}
	_, _ = c.Collect(t.Context(), 4*time.Second) // the new baseline
	if s, err := c.Collect(t.Context(), 5*time.Second); err != nil || s.(*Sched).Host.Switches != 3 {
		t.Errorf("Collect after reopening = %v, %v", s, err)
	}
	if p := c.Probes()[0]; p.State != Degraded || p.Reason != "attached again: silent for 3s" {
		t.Errorf("runqlat = %+v, want degraded and why", p)
	}
}

func TestSchedGivesUpAProbeThatStaysSilent(t *testing.T) {
	silent := func() *schedFake { return &schedFake{reads: [][]bpf.SchedCounts{{counts(4)}}} }
	c, asked := startSched(t, silent(), silent(), silent())
	var err error
	for i := range 30 {
		_, err = c.Collect(t.Context(), time.Duration(i)*time.Second)
	}
	if err == nil || errors.Is(err, ErrWarming) || len(*asked) != 3 {
		t.Fatalf("Collect after 30 s of silence = %v, %d attached, want an error and 3", err, len(*asked))
	}
	for _, p := range c.Probes() {
		if p.State != Failed || !strings.Contains(p.Reason, "attached 3 times") {
			t.Errorf("%s is %v: %s, want failed and why", p.Name, p.State, p.Reason)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestSchedProbesNameWhatIsMissing(t *testing.T) {
	lacks := &NeedError{Need: "kernel BTF", Remedy: "boot another kernel"}
	f := &schedFake{
		method: bpf.ByTracepoint, passed: []error{lacks, lacks}, queueErr: lacks,
		reads: [][]bpf.SchedCounts{{counts(4)}},
	}
	c, _ := startSched(t, f)
	_, _ = c.Collect(t.Context(), 0)
	want := []Probe{
		{Name: "runqlat", State: Degraded, Hook: bpf.ByTracepoint.String(), Reason: "needs kernel BTF", Remedy: lacks.Remedy, NsPerEvent: bpf.CostTracepoint},
		{Name: "cpudist", State: Off, Hook: bpf.ByStamp.String(), Reason: "needs kernel BTF", Remedy: lacks.Remedy},
		{Name: "runqlen", State: Off, Hook: "perf_event cpu-clock 99 Hz", Reason: "needs kernel BTF", Remedy: lacks.Remedy, NsPerEvent: bpf.CostQueueSample},
	}
	if diff := cmp.Diff(want, c.Probes()); diff != "" {
		t.Errorf("Probes (-want +got):\n%s", diff)
	}
}

func TestSchedSwitchedOff(t *testing.T) {
	tests := map[string]struct {
		off           []string
		parts         bpf.SchedParts
		waits, stints uint64
	}{
		"none":    {parts: bpf.SchedParts{Switch: true, Queue: true}, waits: 2, stints: 2},
		"runqlat": {off: []string{"runqlat"}, parts: bpf.SchedParts{Switch: true, Queue: true}, stints: 2},
		"cpudist": {off: []string{"cpudist"}, parts: bpf.SchedParts{Switch: true, Queue: true}, waits: 2},
		"runqlen": {off: []string{"runqlen"}, parts: bpf.SchedParts{Switch: true}, waits: 2, stints: 2},
		"program": {off: []string{"runqlat", "cpudist"}, parts: bpf.SchedParts{Queue: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got bpf.SchedParts
			c := newSched(func(parts bpf.SchedParts) (schedReader, error) {
				got = parts
				return &schedFake{reads: [][]bpf.SchedCounts{{counts(4)}, {counts(6)}}}, nil
			}, func(context.Context) ([]int, error) { return []int{0}, nil })
			c.off = map[string]bool{}
			for _, name := range tt.off {
				c.off[name] = true
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, _ = c.Collect(t.Context(), 0)
			s, err := c.Collect(t.Context(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			h := s.(*Sched)
			if got != tt.parts || h.Host.Wait.Count() != tt.waits || h.Host.OnCPU.Count() != tt.stints || h.CPUs[0].Wait.Count() != tt.waits {
				t.Errorf("%v: %d waits, %d stints, want %v: %d, %d", got, h.Host.Wait.Count(), h.Host.OnCPU.Count(), tt.parts, tt.waits, tt.stints)
			}
			for _, p := range c.Probes() {
				if off := p.Reason == switchedOff; off != c.off[p.Name] {
					t.Errorf("%s is %v (%s)", p.Name, p.State, p.Reason)
				}
			}
		})
	}
}

type wakeFake struct{ reads [][]bpf.WakeCounts }

func (f *wakeFake) Method() bpf.Method { return bpf.ByWakeup }
func (f *wakeFake) Pause(bool) error   { return nil }
func (f *wakeFake) Close() error       { return nil }
func (f *wakeFake) Read(dst []bpf.WakeCounts) ([]bpf.WakeCounts, error) {
	r := f.reads[0]
	f.reads = f.reads[1:]
	return append(dst[:0], r...), nil
}

func TestWake(t *testing.T) {
	reading := func(woken, preempted, lost uint64) bpf.WakeCounts {
		var c bpf.WakeCounts
		c.Woken.Slots[3], c.Woken.Sum = woken, woken*10_000
		c.Preempted.Slots[12], c.Preempted.Sum = preempted, preempted*5_000_000
		c.Lost, c.Switches = lost, woken+preempted+lost
		return c
	}
	f := &wakeFake{reads: [][]bpf.WakeCounts{
		{reading(1, 0, 5), reading(0, 1, 0)},
		{reading(11, 0, 6), reading(0, 4, 0)},
		{reading(13, 0, 9), reading(0, 4, 0)},
	}}
	c := newWake(func() (wakeReader, error) { return f, nil })
	if p := c.Probes()[0]; p.State != Idle || p.Reason == "" {
		t.Errorf("before Start the probe is %+v, want idle and why", p)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	s, err := c.Collect(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	w := s.(*Wake)
	if w.Woken.Count() != 10 || w.Woken.Sum != 100_000 || w.Preempted.Count() != 3 || w.Lost != 0 {
		t.Errorf("Collect = %d woken, %d preempted, %d lost, want 10, 3, 0: who waited at attach is not lost", w.Woken.Count(), w.Preempted.Count(), w.Lost)
	}
	if s, err = c.Collect(t.Context(), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if w := s.(*Wake); w.Woken.Count() != 2 || w.Lost != 3 {
		t.Errorf("Collect = %d woken, %d lost, want 2, 3", w.Woken.Count(), w.Lost)
	}
	if p := c.Probes()[0]; p.State != On || p.Events != 19 || p.Lost != 3 {
		t.Errorf("the probe is %+v, want on with 19 events, 3 lost", p)
	}
}

func TestStateLetter(t *testing.T) {
	tests := map[string]struct {
		state, exit uint32
		want        byte
	}{
		"runnable":        {0, 0, 'R'},
		"sleeping":        {1, 0, 'S'},
		"uninterruptible": {2, 0, 'D'},
		"idle kthread":    {0x402, 0, 'I'},
		"killable":        {0x102, 0, 'D'},
		"stopped":         {4, 0, 'T'},
		"traced":          {8, 0, 't'},
		"parked":          {0x40, 0, 'P'},
		"zombie":          {0x80, 0x20, 'Z'},
		"dead":            {0x80, 0x10, 'X'},
	}
	for name, tt := range tests {
		if got := stateLetter(tt.state, tt.exit); got != tt.want {
			t.Errorf("stateLetter(%s: %#x, %#x) = %c, want %c", name, tt.state, tt.exit, got, tt.want)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []int
		err  bool
	}{
		"one":       {in: "0\n", want: []int{0}},
		"range":     {in: "0-3\n", want: []int{0, 1, 2, 3}},
		"holes":     {in: "0-1,3,5-6\n", want: []int{0, 1, 3, 5, 6}},
		"empty":     {in: "\n", err: true},
		"backwards": {in: "3-1", err: true},
		"huge":      {in: "0-99999999999", err: true},
		"words":     {in: "all", err: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseCPUList([]byte(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" && err == nil || (err != nil) != tt.err {
				t.Errorf("parseCPUList(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
			}
		})
	}
}
