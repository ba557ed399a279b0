// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// Test5000Processes measures a scan of a host with 5,000 sleeping processes more.
func Test5000Processes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts 5,000 processes")
	}
	const n = 5000
	sleeper, err := exec.LookPath("sleep")
	if err != nil {
		lacking(t, "needs sleep(1)")
	}
	script := "i=0; while [ $i -lt " + strconv.Itoa(n) + " ]; do " + sleeper + " 60 & i=$((i+1)); done; echo; read x"
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	in, _ := cmd.StdinPipe()
	defer in.Close()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	limits := map[string]time.Duration{"iter/task": 50 * time.Millisecond, "/proc": 200 * time.Millisecond} // on a busy machine
	liveTasks(t, func(t *testing.T, collect func() *Tasks) {
		first := collect()
		if len(first.Key) < n {
			t.Fatalf("%d processes listed, want %d and more", len(first.Key), n)
		}
		for range longAsleep + 1 { // until it is known who sleeps
			collect()
		}
		least := time.Hour
		for range 10 {
			began := processCPU(t)
			collect()
			got := collect()
			least = min(least, (processCPU(t)-began)/2) // of two, as /proc reads sleepers at every other
			if got.Processes < n {
				t.Errorf("%d processes counted, want %d and more", got.Processes, n)
			}
		}
		t.Logf("%s: the first has %d processes; at least %v of CPU time a scan", first.Source, len(first.Key), least)
		if least > limits[first.Source] {
			t.Errorf("a scan takes %v of CPU time, want %v", least, limits[first.Source])
		}
	})
}

// cpuTime is what this process has used, in user and kernel mode.
func processCPU(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTasks measures a Collect of this host, by source.
func BenchmarkTasks(b *testing.B) {
	for name, c := range map[string]Collector{
		"iter": newTasks(NewFS(""), nil, newIterScanner(bpf.Inspect(), &pidBook{})),
		"proc": newTasks(NewFS(""), nil),
	} {
		b.Run(name, func(b *testing.B) {
			if err := c.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			at := time.Duration(0)
			began := processCPU(b)
			var n int
			b.ReportAllocs()
			for b.Loop() {
				at += time.Second
				s, err := c.Collect(context.Background(), at)
				if err != nil {
					b.Fatal(err)
				}
				n = s.(*Tasks).Threads
			}
			b.ReportMetric(float64((processCPU(b)-began).Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
			b.ReportMetric(float64(n), "threads")
		})
	}
}
