// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openOffCPU(t testing.TB, parts OffParts) *OffCPU {
	t.Helper()
	o, err := OpenOffCPU(need(t), parts)
	if err != nil {
		t.Fatalf("OpenOffCPU: %v", err)
	}
	closing(t, o)
	if parts.Stacks > 0 && o.StackErr() != nil {
		t.Fatalf("stacks: %v", o.StackErr())
	}
	return o
}

// readOff adds up a slot's counts of all CPUs.
func readOff(t testing.TB, o *OffCPU, slot int) (sum OffCounts) {
	t.Helper()
	cpus, err := o.Read(slot, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range cpus {
		sum.plus(&cpus[i])
	}
	return sum
}

func (c *OffCounts) plus(o *OffCounts) {
	c.Wait.plus(&o.Wait)
	c.OnCPU.plus(&o.OnCPU)
	for why := range c.Off {
		c.Off[why].plus(&o.Off[why])
		c.Queued[why] += o.Queued[why]
	}
	for why := range c.Unlisted {
		c.Unlisted[why] += o.Unlisted[why]
		c.UnlistedNs[why] += o.UnlistedNs[why]
	}
	c.Arrivals += o.Arrivals
	c.Unknown += o.Unknown
	c.Collided += o.Collided
}

func (c *OffCounts) minus(o *OffCounts) {
	c.Wait.minus(&o.Wait)
	c.OnCPU.minus(&o.OnCPU)
	for why := range c.Off {
		c.Off[why].minus(&o.Off[why])
		c.Queued[why] -= o.Queued[why]
	}
	for why := range c.Unlisted {
		c.Unlisted[why] -= o.Unlisted[why]
		c.UnlistedNs[why] -= o.UnlistedNs[why]
	}
	c.Arrivals -= o.Arrivals
	c.Unknown -= o.Unknown
	c.Collided -= o.Collided
}

// watch narrows to processes and returns the slot of each.
func watch(t testing.TB, o *OffCPU, pids ...int) []int {
	t.Helper()
	var want []Filter
	for _, pid := range pids {
		want = append(want, Filter{Kind: FilterProcess, ID: uint64(pid)})
	}
	slots, err := o.Narrow(want)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range want {
		for i := range slots {
			if slots[i] == f {
				out = append(out, i)
			}
		}
	}
	if len(out) != len(pids) {
		t.Fatalf("slots %v for %v", slots, pids)
	}
	return out
}

const holdSlot = 15 // 32.8 to 65.5 ms: actHold

func lastCPU(t testing.TB) int {
	cpus := onlineCPUs(t)
	return cpus[len(cpus)-1]
}

// TestOffCPUOfOneProcess has a process sleep 23 times, wait 23 times in D, and lose its CPU 23
// times, and looks at that process alone.
func TestOffCPUOfOneProcess(t *testing.T) {
	tests := map[string]struct {
		act  string
		why  OffWhy
		load func(t *testing.T, a *actor)
		from string // a function on the stack
	}{
		"sleeps":     {"sleeps", Slept, func(t *testing.T, a *actor) { a.play(t) }, "hrtimer_nanosleep"},
		"waits in D": {"vforks", Blocked, func(t *testing.T, a *actor) { a.play(t) }, "kernel_clone"},
		"is preempted": {"runs", Preempted, func(t *testing.T, a *actor) {
			begin, ready := newPipe(t), make(chan error)
			done := onCPU(t, lastCPU(t), true, func() {
				// Above the actor, which runs in between.
				ready <- unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 2}, 0)
				begin.get()
				for range actTimes {
					nap(actGap)
					spin(actHold)
				}
			})
			if err := <-ready; err != nil {
				t.Fatal(err)
			}
			a.begin()
			a.hear(t, "running")
			begin.put()
			<-done
			a.begin() // it may stop
			a.end(t)
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := openOffCPU(t, OffParts{Stacks: time.Millisecond})
			a := newActor(t, tt.act, lastCPU(t))
			bystander := newActor(t, "sleeps", lastCPU(t))
			slot := watch(t, o, a.pid)[0]
			// A kernel may leave a switch out of its tracepoint once in a while, and another test's
			// real-time thread may take the CPU: of ten performances one must be seen in full.
			var why []string
			for range 10 {
				before := readOff(t, o, slot)
				bystander.begin()
				tt.load(t, a)
				bystander.end(t)
				got := readOff(t, o, slot)
				got.minus(&before)
				if why = performed(&got, tt.why); len(why) == 0 {
					break
				}
				t.Log(strings.Join(why, "; "))
			}
			if len(why) > 0 {
				t.Error(strings.Join(why, "; "))
			}
			if h := readOff(t, o, 0); h != (OffCounts{}) {
				t.Errorf("the host's slot has %+v, want nothing: nobody asked", h)
			}
			if tt.from != "" {
				stacksOf(t, o, a, tt.why, tt.from)
			}
		})
	}
}

// emulated says that this is a guest of the kernel matrix, ten times slower.
func emulated() bool { return os.Getenv("BPF60_TEST_GUEST") != "" }

// performed says what is not as one performance of actTimes must look.
func performed(got *OffCounts, want OffWhy) (why []string) {
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if n := got.Off[want].Slots[holdSlot]; emulated() {
		// The emulator's time is not ours: some last longer, and so do Go's other threads' sleeps.
		if n += got.Off[want].Slots[holdSlot+1] + got.Off[want].Slots[holdSlot+2]; n < actTimes-2 || n > 2*actTimes {
			say("%d times off a CPU for 33–262 ms because of %d, want about %d: %v", n, want, actTimes, &got.Off[want])
		}
		return why
	} else if n < actTimes || n > 2*actTimes { // Go's other threads may do as this one does
		say("%d times off a CPU for 33–65 ms because of %d, want %d: %v", n, want, actTimes, &got.Off[want])
	}
	for other := Blocked; other < OffWhys; other++ { // other threads of Go sleep as they like
		if n := got.Off[other].Slots[holdSlot]; other != want && n != 0 {
			say("%d times off a CPU for 33–65 ms because of %d, want none: %v", n, other, &got.Off[other])
		}
	}
	if want != Preempted {
		if q := got.Queued[want]; q >= got.Off[want].Sum/2 {
			say("runnable for %d of %d ns, want little", q, got.Off[want].Sum)
		}
		return why
	}
	if n := got.Wait.Slots[holdSlot]; n < actTimes || n > 2*actTimes {
		say("%d waits of 33–65 ms for a CPU, want %d: %v", n, actTimes, &got.Wait)
	}
	if got.Queued[Preempted] != got.Off[Preempted].Sum {
		say("preempted for %d ns and runnable for %d of them, want all", got.Off[Preempted].Sum, got.Queued[Preempted])
	}
	// What it ran in between: a millisecond, but for the ends.
	if n := got.OnCPU.Slots[9] + got.OnCPU.Slots[10]; n < actTimes-1 {
		say("%d times on a CPU for 0.5 to 2 ms, want %d: %v", n, actTimes-1, &got.OnCPU)
	}
	return why
}

// stacksOf holds that the actor's long sleeps have the function on their stacks, and that nobody
// else's are there.
func stacksOf(t *testing.T, o *OffCPU, a *actor, why OffWhy, function string) {
	t.Helper()
	from, to := symbol(t, function)
	var count, ns uint64
	if err := o.Stacks(func(k *OffKey, s *OffStack) {
		if int(k.Tgid) != a.pid || k.Start == 0 {
			t.Errorf("a stack of process %d that began at %d, want none but of %d", k.Tgid, k.Start, a.pid)
		}
		for _, f := range s.Frame[:min(int(s.Frames), len(s.Frame))] {
			if f >= from && f < to && OffWhy(k.Why) == why {
				count += s.Count
				ns += s.Ns
				break
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	// Go's own thread that watches sleeps up to 10 ms at a time.
	if want := uint64(actTimes * actHold); count < actTimes || ns < want || ns > 9*want {
		t.Errorf("%d long sleeps of %d ns in %s, want at least %d of %d", count, ns, function, actTimes, want)
	}
}

// TestOffCPUOfACgroup counts the same by the actor's cgroup, to which this process belongs as well.
func TestOffCPUOfACgroup(t *testing.T) {
	id := ownCgroup(t)
	o := openOffCPU(t, OffParts{})
	a := newActor(t, "sleeps", lastCPU(t))
	slots, err := o.Narrow([]Filter{{Kind: FilterCgroup, ID: id}, {Kind: FilterCgroup, ID: id + 1<<40}})
	if err != nil {
		t.Fatal(err)
	}
	before := readOff(t, o, 1)
	a.play(t)
	got := readOff(t, o, 1)
	got.minus(&before)
	if n := got.Off[Slept].Slots[holdSlot]; n < actTimes {
		t.Errorf("%d sleeps of 33–65 ms in the cgroup %v, want at least %d", n, slots[1], actTimes)
	}
	if none := readOff(t, o, 2); none.Arrivals != 0 {
		t.Errorf("%d arrivals in a cgroup that there is not", none.Arrivals)
	}
}

// ownCgroup is this process's cgroup as the task iterator has it.
func ownCgroup(t *testing.T) uint64 {
	t.Helper()
	x := byTID(t, openTasks(t))[os.Getpid()]
	if x.Cgroup == 0 {
		lacksHere(t, "needs cgroups")
	}
	return x.Cgroup
}

// TestOffCPUAgreesWithTheKernel holds the host's switches against the kernel's over a storm: none is
// lost, and all but those of tasks that slept since before are known.
func TestOffCPUAgreesWithTheKernel(t *testing.T) {
	k := need(t)
	o, s := openOffCPU(t, OffParts{Host: true, Stacks: time.Millisecond}), openSched(t, k)
	count := func() (arrivals uint64) { return readOff(t, o, 0).Arrivals }
	tasks := func() (n uint64) {
		for _, c := range readSched(t, s) {
			n += c.Switches
		}
		return n
	}
	settle()
	first, a, begin, c0 := count(), tasks(), count(), readOff(t, o, 0)
	trips := 200_000
	if emulated() {
		trips /= 10
	}
	began := time.Now()
	storm(t, onlineCPUs(t)[0], trips)
	passed := time.Since(began)
	c1, end, b, last := readOff(t, o, 0), count(), tasks(), count()
	slack := uint64(2 * len(onlineCPUs(t)))
	if got := b - a; end-begin > got+slack || last-first+slack < got || got < uint64(2*trips) {
		t.Errorf("%d to %d arrivals counted, the scheduler's own program says %d", end-begin, last-first, got)
	}
	c1.minus(&c0)
	t.Logf("%.0f switches/s, unknown %d, collided %d; waits %v", float64(c1.Arrivals)/passed.Seconds(), c1.Unknown, c1.Collided, &c1.Wait)
	// Of a CPU that switches while it is read one arrival may be counted on one side only.
	if sum := c1.Wait.count() + c1.Unknown; c1.Unknown > c1.Arrivals/1000+20 || sum > c1.Arrivals+slack || sum+slack < c1.Arrivals {
		t.Errorf("%d of %d arrivals unknown, %d waits", c1.Unknown, c1.Arrivals, c1.Wait.count())
	}
	var off uint64
	for why := range c1.Off {
		off += c1.Off[why].count()
	}
	if off > c1.Arrivals || off < uint64(2*trips)*99/100 { // what has been forked was never off a CPU before
		t.Errorf("%d times off a CPU for %d arrivals", off, c1.Arrivals)
	}
}

// TestOffCPUTargetAgain looks at a process, at another one while the first runs, and at the first again: its
// sleeps are no longer than it is looked at.
func TestOffCPUTargetAgain(t *testing.T) {
	o := openOffCPU(t, OffParts{})
	a := newActor(t, "runs", lastCPU(t))
	perform := func() {
		a.begin()
		a.hear(t, "running")
		a.begin() // it may stop
		a.end(t)
		nap(20 * time.Millisecond) // it waits for the next line
	}
	watch(t, o, a.pid)
	perform()
	watch(t, o, os.Getppid())
	perform()
	nap(300 * time.Millisecond)
	again := time.Now()
	slot := watch(t, o, a.pid)[0]
	before := readOff(t, o, slot)
	perform()
	looked := time.Since(again)
	got := readOff(t, o, slot)
	got.minus(&before)
	for why := range got.Off {
		for i, n := range got.Off[why].Slots {
			if least := time.Duration(1<<i) * time.Microsecond; n > 0 && least > looked {
				t.Errorf("%d times off a CPU for %v and more, looked at for %v: %v", n, least, looked, &got.Off[why])
			}
		}
	}
	if got.Arrivals == 0 {
		t.Error("nothing is counted")
	}
}

// TestOffCPUAgainstStamp compares waits and times on a CPU with those of sched.bpf.c, which measures
// them in another way.
func TestOffCPUAgainstStamp(t *testing.T) {
	k := need(t)
	for name, load := range loads(t) {
		t.Run(name, func(t *testing.T) {
			o, s := openOffCPU(t, OffParts{Host: true}), openSched(t, k)
			settle()
			compare(t, name, "own start", "stamp", func() (own, stamp Hist) {
				before, stampBefore := readOff(t, o, 0).Wait, waits(readSched(t, s))
				load()
				own, stamp = readOff(t, o, 0).Wait, waits(readSched(t, s))
				own.minus(&before)
				stamp.minus(&stampBefore)
				return own, stamp
			})
		})
	}
}
