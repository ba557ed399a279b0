// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bpf60/bpf"
)

// timesOf is a histogram of n calls of about 16 ms.
func timesOf(n uint64) (h bpf.Hist) {
	h.Slots[15], h.Sum = n, n*20e6
	return h
}

// TestSyscallTimesNarrow: the times of a target are those since it was chosen, and those of the one that had
// its slot before are not among them.
func TestSyscallTimesNarrow(t *testing.T) {
	const sleep, read = 230, 0
	row := callRow(5, 1, sleep, 100, 0)
	row.Timed = 100
	f := &fakeCalls{
		rows: []bpf.CallRow{row}, hists: map[uint32]bpf.Hist{sleep: timesOf(100)},
		apart: map[targetCall]bpf.Hist{{1, sleep}: timesOf(7)},
	}
	c := NewSyscallTimes(sourceOf(f)).(*syscallTimes)
	c.namer = callNamer{[]string{sleep: "clock_nanosleep", read: "read"}}
	ctx := context.Background()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(ctx, time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v", err)
	}
	first, second := Target{Kind: ProcessTarget, Process: Process{5, 1}}, Target{Kind: ProcessTarget, Process: Process{6, 1}}
	step := func(name string, now time.Duration, grow func(), target Target, want []Targeted[TargetTimes]) {
		t.Helper()
		if err := c.Narrow([]Target{target}); err != nil {
			t.Fatal(err)
		}
		grow()
		s, err := c.Collect(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		got := s.(*SyscallTimes)
		if !got.Partial {
			t.Errorf("%s: all of the host was timed, and nobody looks at it", name)
		}
		if diff := cmp.Diff(want, got.Narrowed, cmpopts.EquateComparable(Target{})); diff != "" {
			t.Errorf("%s: narrowed (-want +got):\n%s", name, diff)
		}
	}
	times := func(n, total uint64) CallTimes {
		now, sum := Hist(timesOf(n)), Hist(timesOf(total))
		return CallTimes{Call: sleep, Name: "clock_nanosleep", Hist: now.Hist32(), Total: sum}
	}
	one := func(target Target, since time.Duration, calls ...CallTimes) []Targeted[TargetTimes] {
		return []Targeted[TargetTimes]{{Target: target, Since: since, Sample: TargetTimes{Calls: calls}}}
	}
	step("chosen", 2*time.Second, func() { f.apart[targetCall{1, sleep}] = timesOf(7 + 23) }, first, one(first, time.Second, times(23, 23)))
	step("goes on", 3*time.Second, func() { f.apart[targetCall{1, sleep}] = timesOf(7 + 23 + 5) }, first, one(first, time.Second, times(5, 28)))
	step("rests", 4*time.Second, func() {}, first, one(first, time.Second))
	step("another in its slot", 5*time.Second, func() { f.apart[targetCall{1, sleep}] = timesOf(35 + 2) }, second, one(second, 4*time.Second, times(2, 2)))

	f.totals.Unkept = 3
	s, err := c.Collect(ctx, 6*time.Second)
	if err != nil || s.(*SyscallTimes).Unkept != 3 || c.Probes()[0].Lost != 3 {
		t.Errorf("the table is full: %+v, %v, probe %+v, want 3 times without a histogram", s, err, c.Probes()[0])
	}
	c.Host(true)
	if err := c.Narrow([]Target{second}); err != nil {
		t.Fatal(err)
	}
	if got := f.only[len(f.only)-1]; got {
		t.Error("somebody looks at the host, and only the target is timed")
	}
	if err := c.Close(); err != nil || f.closed != 1 {
		t.Errorf("Close = %v, closed %d times", err, f.closed)
	}
}
