// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
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
	for name := range obj.spec.Programs {
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
	for name := range obj.spec.Programs {
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
	s, w := openSched(t, k, ByStamp), openWake(t, k)
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

// TestSwitchesAgreeWithTheKernel compares the number of switches with the kernel's own, over a storm.
func TestSwitchesAgreeWithTheKernel(t *testing.T) {
	s := openSched(t, need(t), ByStamp)
	counts := func() (kernel, ours uint64) {
		for _, c := range readSched(t, s) {
			ours += c.Switches + c.Idles
		}
		return switches(t), ours
	}
	kernel, ours := counts()
	storm(t, onlineCPUs(t)[0], 60_000)
	kernelAfter, oursAfter := counts()
	// The two are read one after the other: what switched between makes the rest.
	want, got := kernelAfter-kernel, oursAfter-ours
	if diff := int64(got - want); want < 100_000 || diff > int64(want/500) || -diff > int64(want/500) {
		t.Errorf("%d switches counted, the kernel says %d", got, want)
	}
}

// switches is the kernel's count of context switches, those to idle included.
func switches(t testing.TB) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\nctxt ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseUint(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// loads are what the methods are compared under.
func loads(t *testing.T) map[string]func() {
	return map[string]func(){
		"idle":         func() { time.Sleep(4 * time.Second) },
		"1 kHz timers": func() { timers(t, 4, 3*time.Second) },
		"storm":        func() { storm(t, onlineCPUs(t)[0], 60_000) },
	}
}

// TestStampAgainstWakeup compares the two methods: the kernel's stamp against a corrected clock, and
// our own stamps.
func TestStampAgainstWakeup(t *testing.T) {
	k := need(t)
	for name, load := range loads(t) {
		t.Run(name, func(t *testing.T) {
			s, w := openSched(t, k, ByStamp), openWake(t, k)
			if s.Method() != ByStamp {
				t.Fatalf("method is %v: %v", s.Method(), s.Passed())
			}
			settle()
			compare(t, name, "stamp", "wake-up", func() (stamp, own Hist) {
				before, wakeBefore := waits(readSched(t, s)), wakeWaits(t, w)
				load()
				stamp, own = waits(readSched(t, s)), wakeWaits(t, w)
				stamp.minus(&before)
				own.minus(&wakeBefore)
				return stamp, own
			})
			for cpu, c := range readSched(t, s) {
				t.Logf("CPU %d: ktime is %d ns ahead of its clock, drift %.1f ppm", cpu, c.ClockAhead, float64(c.ClockDrift)*1e6/(1<<30))
			}
		})
	}
}

// settle lets the skew of the clocks be learnt on every CPU.
func settle() { time.Sleep(500 * time.Millisecond) }

func wakeWaits(t testing.TB, w *Wake) (h Hist) {
	t.Helper()
	for _, c := range readWakes(t, w) {
		h.plus(&c.Woken)
		h.plus(&c.Preempted)
	}
	return h
}

// compare wants the 50th and 99th percentile in the same bucket or the next, and of a storm the
// same number of waits within 2 %. What else the host does comes between the readings of the two, and
// tips a percentile between two modes: one of three measurements must agree.
func compare(t *testing.T, load, aName, bName string, measure func() (a, b Hist)) {
	t.Helper()
	var why []string
	for range 3 {
		a, b := measure()
		t.Logf("%-12s %-8s %v", load, aName, &a)
		t.Logf("%-12s %-8s %v", load, bName, &b)
		if why = differ(load, &a, &b); len(why) == 0 {
			return
		}
	}
	t.Errorf("%s and %s do not agree: %s", aName, bName, strings.Join(why, "; "))
}

func differ(load string, a, b *Hist) (why []string) {
	x, y := float64(a.count()), float64(b.count())
	if x == 0 || y == 0 {
		return []string{"nothing was counted"}
	}
	for _, q := range []float64{0.5, 0.99} {
		if i, k := a.quantile(q), b.quantile(q); i-k > 1 || k-i > 1 {
			why = append(why, fmt.Sprintf("p%g is in slot %d and %d", 100*q, i, k))
		}
	}
	if load == "storm" && (x < 100_000 || x/y < 0.98 || x/y > 1.02) {
		why = append(why, fmt.Sprintf("%g and %g waits", x, y))
	}
	return why
}

func TestDiffer(t *testing.T) {
	hist := func(slot int, n uint64) (h Hist) {
		h.Slots[slot] = n
		return h
	}
	tests := map[string]struct {
		load string
		a, b Hist
		want int // complaints
	}{
		"equal":         {load: "storm", a: hist(3, 200_000), b: hist(3, 200_000)},
		"next bucket":   {load: "idle", a: hist(3, 10), b: hist(4, 10)},
		"two buckets":   {load: "idle", a: hist(3, 10), b: hist(5, 10), want: 2},
		"empty":         {load: "idle", a: hist(3, 0), b: hist(3, 10), want: 1},
		"3 % lost":      {load: "storm", a: hist(3, 194_000), b: hist(3, 200_000), want: 1},
		"a small storm": {load: "storm", a: hist(3, 90_000), b: hist(3, 90_000), want: 1},
	}
	for name, tt := range tests {
		if got := differ(tt.load, &tt.a, &tt.b); len(got) != tt.want {
			t.Errorf("%s: differ = %q, want %d complaints", name, got, tt.want)
		}
	}
}

// TestStampAgainstRunqlat compares with the runqlat of libbpf-tools, attached over the same load.
func TestStampAgainstRunqlat(t *testing.T) {
	k := need(t)
	path, err := exec.LookPath("runqlat")
	if err != nil {
		if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
			t.Fatal("runqlat of libbpf-tools is not installed: make test-deps")
		}
		t.Skip("runqlat of libbpf-tools is not installed: make test-deps")
	}
	for name, load := range loads(t) {
		t.Run(name, func(t *testing.T) {
			s := openSched(t, k, ByStamp)
			settle()
			compare(t, name, "ours", "runqlat", func() (ours, theirs Hist) {
				peer := startRunqlat(t, path)
				before := waits(readSched(t, s))
				load()
				ours = waits(readSched(t, s))
				theirs = peer.stop(t)
				ours.minus(&before)
				return ours, theirs
			})
		})
	}
}

type runqlat struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startRunqlat(t *testing.T, path string) *runqlat {
	t.Helper()
	cmd := exec.Command("stdbuf", "-oL", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := &runqlat{cmd: cmd, out: bufio.NewReader(out)}
	if line, err := r.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Tracing") {
		t.Fatalf("starting runqlat: %q, %v", line, err)
	}
	return r
}

// bucketLine is a row of a histogram as bcc prints it.
var bucketLine = regexp.MustCompile(`^\s*(\d+) -> \d+\s*: (\d+)`)

func (r *runqlat) stop(t *testing.T) (h Hist) {
	t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(r.out)
	for sc.Scan() {
		m := bucketLine.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		lo, _ := strconv.Atoi(m[1])
		n, _ := strconv.ParseUint(m[2], 10, 64)
		slot := 0
		for 1<<slot < lo {
			slot++
		}
		h.Slots[slot] = n
	}
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("runqlat: %v", err)
	}
	return h
}

// TestTracepoints is the rung for a kernel without BTF.
func TestTracepoints(t *testing.T) {
	if inWorld(t, "tracefs,nobtf") {
		return
	}
	k := need(t)
	s := openSched(t, k, ByStamp)
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
	t.Run("as opened", func(t *testing.T) { sampleQueue(t, openSched(t, k, ByStamp)) })
	t.Run("before 5.11", func(t *testing.T) {
		s := openSched(t, k, ByStamp)
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
	before := readSched(t, s)[cpu]
	stop := time.Now().Add(2 * time.Second)
	var done []<-chan struct{}
	for range 4 {
		done = append(done, onCPU(t, cpu, false, func() { spin(time.Until(stop)) }))
	}
	for _, d := range done {
		<-d
	}
	after := readSched(t, s)[cpu]
	n, sum := after.QueueSamples-before.QueueSamples, after.QueueSum-before.QueueSum
	mean, others := float64(sum)/float64(n), othersRunnable(t)
	if n < 150 || n > 250 || mean < 2.5 || mean > 4+others {
		t.Errorf("%d samples in 2 s with a mean of %.2f waiting, want 198 and 3, or %.0f more", n, mean, others)
	}
	s.SampleQueues(cpus[:0])
	if len(s.events) != 0 {
		t.Errorf("%d perf events left after all CPUs went", len(s.events))
	}
}

// othersRunnable is how many tasks run or wait beside this one, now or in the last minute.
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
	return max(load, float64(now-1))
}

// TestNothingStays looks for the programs, maps and links that were open, by their ids.
func TestNothingStays(t *testing.T) {
	k := need(t)
	s, err := OpenSched(k, SchedParts{Switch: true, Queue: true})
	if err != nil {
		t.Fatal(err)
	}
	s.SampleQueues(onlineCPUs(t))
	w, err := OpenWake(k)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := OpenSockets(k)
	if err != nil {
		t.Fatal(err)
	}
	fds, held := objects(t)
	if len(held) < 17 { // 8 programs, 5 maps and their constants, 8 links
		t.Errorf("holding %v: too few to be all", held)
	}
	for _, f := range []interface{ Close() error }{s, w, tasks, sockets} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	left, now := objects(t)
	if len(now) != 0 || left >= fds {
		t.Errorf("%v still open, %d files of %d", now, left, fds)
	}
	// The kernel frees them after a grace period.
	deadline := time.Now().Add(10 * time.Second)
	for _, o := range held {
		for o.alive() {
			if time.Now().After(deadline) {
				t.Fatalf("%v is still in the kernel", o)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

type kernelObject struct {
	kind string
	id   uint32
}

// objects lists the BPF objects that this process holds, and counts all its files.
func objects(t testing.TB) (files int, held []kernelObject) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		b, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue // the directory's own
		}
		files++
		for _, kind := range []string{"prog", "map", "link"} {
			_, after, ok := strings.Cut("\n"+string(b), "\n"+kind+"_id:\t")
			if !ok || kind == "prog" && strings.Contains(string(b), "link_id:") {
				continue
			}
			line, _, _ := strings.Cut(after, "\n")
			id, err := strconv.ParseUint(line, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, kernelObject{kind, uint32(id)})
		}
	}
	return files, held
}

func (o kernelObject) alive() bool {
	var c interface{ Close() error }
	var err error
	switch o.kind {
	case "prog":
		c, err = ebpf.NewProgramFromID(ebpf.ProgramID(o.id))
	case "map":
		c, err = ebpf.NewMapFromID(ebpf.MapID(o.id))
	default:
		c, err = link.NewFromID(link.ID(o.id))
	}
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
