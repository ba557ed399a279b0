// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// stormEnv makes the test's process one that does nothing but the cheapest system call.
const stormEnv = "BPF60_TEST_STORM"

// links is how many BPF links this process holds: what makes programs run.
func links(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if name, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(name, "bpf_link") || strings.Contains(name, "bpf-link") {
			n++
		}
	}
	return n
}

// storm starts two busy loops of system calls, until the result is called.
func storm(t *testing.T) (end func()) {
	t.Helper()
	var all []*exec.Cmd
	for range 2 {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestBrakeStorm$")
		cmd.Env = append(os.Environ(), stormEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	end = sync.OnceFunc(func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	t.Cleanup(end)
	return end
}

// dearSyscalls tells that a call costs ten times as much while a storm lasts. Where others run too, a storm
// gets but a part of the CPUs, and what it costs the host is not much.
type dearSyscalls struct {
	*syscallCollector
	storm atomic.Bool
}

func (c *dearSyscalls) times() float64 {
	if c.storm.Load() {
		return 10
	}
	return 1
}

func (c *dearSyscalls) Probes() []Probe {
	rows := slices.Clone(c.syscallCollector.Probes())
	for i := range rows {
		rows[i].NsPerEvent *= c.times()
	}
	return rows
}

func (c *dearSyscalls) Gauge() (events uint64, ns float64, err error) {
	events, ns, err = c.syscallCollector.Gauge()
	return events, ns * c.times(), err
}

// TestBrakeStorm lets two processes make system calls as fast as they can while they are counted: the
// probe is slowed, stopped, and comes back when it is over. That it is attached is what the kernel says,
// by the links of this process.
func TestBrakeStorm(t *testing.T) {
	if os.Getenv(stormEnv) != "" {
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
	c := &dearSyscalls{syscallCollector: NewSyscalls(newSyscallSource(bpf.Inspect())).(*syscallCollector)}
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "%v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r := NewRunner(RunnerConfig{Collectors: []Collector{c}, brake: brakeTimes{triage: time.Nanosecond, rest: 3 * time.Second}})
	var mu sync.Mutex
	var row Probe
	var spans []Span
	ctx, cancel := context.WithCancel(t.Context())
	began, done := time.Now(), make(chan error, 1)
	go func() {
		done <- r.Run(ctx, func(s *Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			row = s.Probes[c.Meta().ID][0]
			if s.Syscalls != nil {
				spans = append(spans, s.Syscalls.Span)
			}
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r.Want("test", []Want{{ID: c.Meta().ID}})

	// What is seen from now on, looking every few milliseconds.
	var detached []Span
	attached := false
	until := func(what string, patience time.Duration, met func(Probe) bool) time.Duration {
		t.Helper()
		for end := time.Since(began) + patience; ; {
			before, on := time.Since(began), links(t) > 0
			now := time.Since(began)
			// Without a program for certain: from the first look that saw none to the last one.
			switch {
			case attached && !on:
				detached = append(detached, Span{From: now, To: now})
			case !attached && !on && len(detached) > 0:
				detached[len(detached)-1].To = before
			}
			attached = on
			mu.Lock()
			p := row
			mu.Unlock()
			if met(p) {
				return now
			}
			if now > end {
				t.Fatalf("%s: not within %v; the row is %v, %q, attached %v", what, patience, p.State, p.Reason, on)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("on", time.Minute, func(p Probe) bool { return p.State == On && attached })
	onset := time.Since(began)
	end := storm(t)
	c.storm.Store(true)
	// Half a second, what it takes until two processes have started, and what a busy host adds.
	at := until("detached", time.Minute, func(Probe) bool { return !attached })
	t.Logf("detached after %v", at-onset)
	until("slowed", time.Minute, func(p Probe) bool {
		return p.State == Degraded && strings.HasPrefix(p.Reason, "slowed to 1 s in 3")
	})
	var reason string
	stopped := until("stopped", time.Minute, func(p Probe) bool {
		reason = p.Reason
		return p.State == Off && strings.HasPrefix(p.Reason, "stopped: ") && strings.Contains(p.Reason, "tries again in")
	})
	t.Logf("stopped after %v: %s", stopped-onset, reason)
	end()
	c.storm.Store(false)
	// A host that makes 100,000 calls a second anyway keeps it slowed.
	until("back", time.Minute, func(p Probe) bool { return p.State != Off && attached })
	until("told again", time.Minute, func(p Probe) bool {
		mu.Lock()
		defer mu.Unlock()
		return (p.State == On || p.State == Degraded) && len(spans) > 0 && spans[len(spans)-1].From > stopped
	})
	mu.Lock()
	defer mu.Unlock()
	const blur = 50 * time.Millisecond // of a sample's own ends
	for _, d := range detached {
		for _, s := range spans {
			if s.From+blur < d.To && s.To > d.From+blur {
				t.Errorf("the sample of %v covers time without a program: %v", s, d)
			}
		}
	}
	if len(detached) < 2 || len(spans) < 3 {
		t.Errorf("detached %d times, %d samples, want twice and some", len(detached), len(spans))
	}
}
