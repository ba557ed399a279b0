// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestSwitchVariant(t *testing.T) {
	tests := map[string]struct {
		args string // t is a task, x anything else
		want string
		n    uint32
		err  bool
	}{
		"5.10":               {args: "xtt", want: "p", n: 3},
		"5.18 and newer":     {args: "xttx", want: "p", n: 4},
		"state second":       {args: "xxtt", want: "p_state2", n: 4},
		"one more, some day": {args: "xttxx", want: "p", n: 4},
		"no tasks":           {args: "xxx", err: true},
		"one task":           {args: "xtx", err: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, n, err := switchVariant("p", len(tt.args), func(i int) bool { return tt.args[i] == 't' })
			if got != tt.want || n != tt.n || (err != nil) != tt.err {
				t.Errorf("switchVariant(%q) = %q, %d, %v, want %q, %d", tt.args, got, n, err, tt.want, tt.n)
			}
			if tt.err && !errors.Is(err, ErrUnsupported) {
				t.Errorf("switchVariant(%q) error is %v, want ErrUnsupported", tt.args, err)
			}
		})
	}
}

func TestEveryProgramAttaches(t *testing.T) {
	if inWorld(t, "tracefs") {
		return
	}
	k := need(t)
	obj, err := newObject(k, loadSched)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	attached := map[string]bool{"queue_sampled": true, "queue_sampled_read": true} // TestQueueSamples runs them
	for name := range elf(t, obj).Programs {
		switch {
		case strings.HasSuffix(name, "_state2"):
			// For a tracepoint that no kernel of ours has; the verifier must refuse it here.
			if err := obj.attachTracing(name); err == nil {
				t.Errorf("%s attached to a sched_switch with other arguments", name)
			}
			attached[name] = true
		case strings.HasPrefix(name, "trace_"):
			attached[name] = true // by attachTraceWake
		case strings.Contains(name, "switched"):
			if err := attachSwitch(obj, name); err != nil {
				t.Error(err)
			}
			attached[name] = true
		case strings.HasPrefix(name, "wake_"), name == "sched_moved":
			if err := obj.attachTracing(name); err != nil {
				t.Error(err)
			}
			attached[name] = true
		}
	}
	if err := attachTraceWake(obj); err != nil {
		t.Error(err)
	}
	for name := range elf(t, obj).Programs {
		if !attached[name] {
			t.Errorf("%s is attached by no test", name)
		}
	}
}

// TestForcedWakeups makes a thread wait 36 ms for its CPU 23 times. Both threads are real-time and of
// the same priority, so that no third and no preemption comes between; and the whole is shorter than
// the kernel lets such threads starve others (sched_rt_runtime_us).
func TestForcedWakeups(t *testing.T) {
	const n, hold = 23, 36 * time.Millisecond
	k := need(t)
	s, w := openSched(t, k), openWake(t, k)
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, tasks)
	cpus := onlineCPUs(t)
	cpu := cpus[len(cpus)-1]

	ping, pong := newPipe(t), newPipe(t)
	tid := make(chan int, 1)
	sleeper := onCPU(t, cpu, true, func() {
		tid <- syscall.Gettid()
		for range n {
			ping.get()
			pong.put()
		}
		ping.get() // until the counts are read
	})
	before, wakeBefore := readSched(t, s)[cpu], readWakes(t, w)[cpu]
	id := <-tid
	for !asleep(id) {
		time.Sleep(time.Millisecond)
	}
	hog := onCPU(t, cpu, true, func() {
		for range n {
			ping.put() // wakes the sleeper, which cannot run
			spin(hold)
			pong.get()
		}
	})
	<-hog
	after, wakeAfter := readSched(t, s)[cpu], readWakes(t, w)[cpu]
	var sleeps uint64
	var waited time.Duration
	if err := tasks.Read(func(x *Task) {
		if int(x.Pid) == id {
			sleeps, waited = x.Own.Voluntary, time.Duration(x.Wait)
		}
	}); err != nil {
		t.Fatal(err)
	}
	ping.put()
	<-sleeper

	after.Wait.minus(&before.Wait)
	wakeAfter.Woken.minus(&wakeBefore.Woken)
	slot := 15 // 32.8 to 65.5 ms
	for name, h := range map[string]*Hist{"stamp": &after.Wait, "wake-up": &wakeAfter.Woken} {
		// Threads of the kernel that are bound to this CPU may have waited behind the hog too.
		if got := h.Slots[slot]; got < n || got > 3*n {
			t.Errorf("by %s: %d waits of 33–65 ms, want %d and few more: %v", name, got, n, h)
		}
	}
	// One sleep for each wake-up; more on the locks of the pipes.
	if sleeps < n {
		t.Errorf("iterator: the sleeper slept %d times, want at least %d", sleeps, n)
	}
	if waited < n*hold { // more on a busy host
		t.Errorf("iterator: the sleeper waited %v, want at least %v", waited, n*hold)
	}
	if off := after.Negative - before.Negative; off != 0 {
		t.Errorf("%d negative waits", off)
	}
}

// asleep says whether a thread of ours sleeps.
func asleep(tid int) bool {
	b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(tid) + "/stat")
	_, after, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(after, "S")
}

func readWakes(t testing.TB, w *Wake) []WakeCounts {
	t.Helper()
	c, err := w.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bucketLine is a row of a histogram as bcc prints it.
var bucketLine = regexp.MustCompile(`^\s*(\d+) -> \d+\s*: (\d+)`)

// TestTracepoints is the rung for a kernel without BTF.
func TestTracepoints(t *testing.T) {
	if inWorld(t, "tracefs,nobtf") {
		return
	}
	k := need(t)
	s := openSched(t, k)
	if s.Method() != ByTracepoint {
		t.Fatalf("method is %v: %v", s.Method(), s.Passed())
	}
	var lacks *NeedError
	if !errors.As(s.Passed()[0], &lacks) || !strings.Contains(lacks.Need, "BTF") || lacks.Remedy == "" {
		t.Errorf("passed over the stamp because of %v, want the need for BTF with a remedy", s.Passed()[0])
	}
	settle()
	all, before := switches(t), waits(readSched(t, s))
	storm(t, onlineCPUs(t)[0], 60_000)
	got := waits(readSched(t, s))
	all = switches(t) - all
	got.minus(&before)
	if n := got.count(); n < 118_000 || n > all {
		t.Errorf("%d waits counted of a storm of 120000 switches, %d in all: %v", n, all, &got)
	}
}

func TestNoBTFNoTracefs(t *testing.T) {
	if inWorld(t, "nobtf,notracefs") {
		return
	}
	_, err := OpenSched(need(t), SchedParts{Switch: true})
	var lacks *NeedError
	if !errors.As(err, &lacks) || !strings.Contains(lacks.Need, "BTF") {
		t.Errorf("OpenSched = %v, want the need for BTF", err)
	}
}

func TestQueueSamples(t *testing.T) {
	k := need(t)
	t.Run("as opened", func(t *testing.T) { sampleQueue(t, openSched(t, k)) })
	t.Run("before 5.11", func(t *testing.T) {
		s := openSched(t, k)
		var err error
		if s.queue, err = s.obj.load("queue_sampled_read"); err != nil {
			t.Fatal(err)
		}
		sampleQueue(t, s)
	})
}

func sampleQueue(t *testing.T, s *Sched) {
	t.Helper()
	cpus := onlineCPUs(t)
	s.SampleQueues(cpus)
	if err := s.QueueErr(); err != nil {
		t.Fatal(err)
	}
	cpu := cpus[len(cpus)-1]
	var stop atomic.Bool
	var done []<-chan struct{}
	for range 4 {
		done = append(done, onCPU(t, cpu, false, func() {
			for !stop.Load() {
				spin(time.Millisecond)
			}
		}))
	}
	// The hogs run before the first reading and after the last one. Nobody knows who else is on that CPU:
	// at most all who can run on the host, as often as we look.
	outer := time.Now()
	before := readSched(t, s)[cpu]
	inner, others, took := time.Now(), 0.0, stolen(t, cpu)
	for time.Since(inner) < 2*time.Second {
		others = max(others, othersRunnable(t))
		time.Sleep(5 * time.Millisecond)
	}
	least := time.Since(inner)
	took = stolen(t, cpu) - took
	after := readSched(t, s)[cpu]
	most := time.Since(outer)
	stop.Store(true)
	for _, d := range done {
		<-d
	}
	n, sum := after.QueueSamples-before.QueueSamples, after.QueueSum-before.QueueSum
	mean := float64(sum) / float64(n)
	// 99 a second. One that comes late stands for all that it has missed (hrtimer_forward): a virtual CPU
	// that does not run makes them fewer, never more.
	if float64(n) < 99*(least-took).Seconds()*3/4 || float64(n) > 99*most.Seconds()+2 || mean < 2.5 || mean > 4+others {
		t.Errorf("%d samples in %v to %v with a mean of %.2f waiting, want 99 a second and 3, or %.0f more", n, least, most, mean, others)
	}
	s.SampleQueues(cpus[:0])
	if len(s.events) != 0 {
		t.Errorf("%d perf events left after all CPUs went", len(s.events))
	}
}

// stolen is how long a virtual CPU has been without a real one since boot, as far as it is told.
func stolen(t testing.TB, cpu int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == fmt.Sprint("cpu", cpu) && len(f) > 8 {
			ticks, err := strconv.ParseUint(f[8], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return 0
}

// othersRunnable is how many tasks run or wait beside this one.
func othersRunnable(t testing.TB) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load, five, fifteen float64
	var now int
	if _, err := fmt.Sscanf(string(b), "%f %f %f %d/", &load, &five, &fifteen, &now); err != nil {
		t.Fatal(err)
	}
	return float64(now - 1)
}
