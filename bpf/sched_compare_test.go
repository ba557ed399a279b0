// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSwitchesAgreeWithTheKernel compares the number of switches with the kernel's own, over a storm. The
// kernel's may be more: it may keep some tasks out of its tracepoints, which switch 20 times a second or so
// where that was seen, and need not be idle.
func TestSwitchesAgreeWithTheKernel(t *testing.T) {
	const hidden = 100 // switches in a second at the most
	s := openSched(t, need(t))
	ours := func() (n uint64) {
		for _, c := range readSched(t, s) {
			n += c.Switches + c.Idles
		}
		return n
	}
	// Ours are read around the kernel's: whatever else the host does is between bounds. A switch that is
	// under way on another CPU at a reading counts on one side only.
	slack, began := uint64(len(onlineCPUs(t))), time.Now()
	first, before, begin := ours(), switches(t), ours()
	storm(t, onlineCPUs(t)[0], 60_000)
	end, after, last := ours(), switches(t), ours()
	want := after - before
	lack := want/500 + uint64(hidden*time.Since(began).Seconds())
	if least, most := end-begin, last-first; want < 100_000 || least > want+slack || most+slack+lack < want {
		t.Errorf("%d to %d switches counted, the kernel says %d", least, most, want)
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
			s, w := openSched(t, k), openWake(t, k)
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
			s := openSched(t, k)
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

func (r *runqlat) stop(t *testing.T) (h Hist) {
	t.Helper()
	interrupt(t, r.cmd)
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
