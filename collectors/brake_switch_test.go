// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// pingPong lets two threads on each CPU wake each other for ever: two switches for each byte that goes
// there and back.
func pingPong() {
	for cpu := range runtime.NumCPU() {
		var ping, pong [2]int
		_ = unix.Pipe2(ping[:], unix.O_CLOEXEC)
		_ = unix.Pipe2(pong[:], unix.O_CLOEXEC)
		for _, p := range [2][2]int{{ping[1], pong[0]}, {pong[1], ping[0]}} {
			go func() {
				runtime.LockOSThread()
				var set unix.CPUSet
				set.Set(cpu)
				_ = unix.SchedSetaffinity(0, &set)
				var b [1]byte
				for {
					unix.RawSyscall(unix.SYS_WRITE, uintptr(p[0]), uintptr(unsafe.Pointer(&b)), 1)
					unix.RawSyscall(unix.SYS_READ, uintptr(p[1]), uintptr(unsafe.Pointer(&b)), 1)
				}
			}()
		}
	}
	select {}
}

// TestBrakeSwitches lets all CPUs switch as fast as they can: the probes of the scheduler are slowed. On a
// host that did little, the one that is always attached is looked at between ticks from the first tick on
// that sees the storm.
func TestBrakeSwitches(t *testing.T) {
	if os.Getenv(stormEnv) != "" {
		pingPong()
	}
	k := bpf.Inspect()
	for name, c := range map[string]Collector{
		"sched": NewSched(k, NewFS(""), nil), "off-CPU": NewOffCPU(k, NewFS("")),
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.Start(t.Context()); err != nil {
				lacking(t, "%v", err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			r := NewRunner(RunnerConfig{Collectors: []Collector{c}, brake: brakeTimes{triage: time.Nanosecond, rest: time.Minute}})
			var row atomic.Pointer[Probe]
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- r.Run(ctx, func(s *Snapshot) { row.Store(&s.Probes[c.Meta().ID][0]) })
			}()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			r.Want("test", []Want{{ID: c.Meta().ID}})
			until := func(what string, patience time.Duration, met func(*Probe) bool) time.Duration {
				t.Helper()
				for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
					p := row.Load()
					if p != nil && met(p) {
						return time.Since(begun)
					}
					if time.Since(begun) > patience {
						t.Fatalf("%s: not within %v; the row is %+v", what, patience, p)
					}
				}
			}
			until("on", time.Minute, func(p *Probe) bool { return p.State == On && links(t) > 0 })
			storm := exec.Command("/proc/self/exe", "-test.run", "^TestBrakeSwitches$")
			storm.Env = append(os.Environ(), stormEnv+"=1", fmt.Sprint("GOMAXPROCS=", 2*runtime.NumCPU()+1)) // they sleep in the kernel unseen by Go
			storm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := storm.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = storm.Process.Kill()
				_ = storm.Wait()
			}()
			took := until("detached", time.Minute, func(*Probe) bool { return links(t) == 0 })
			until("slowed", time.Minute, func(p *Probe) bool {
				return (p.State == Degraded || p.State == Off) && strings.Contains(p.Reason, "of the host's CPU time")
			})
			t.Logf("detached after %v: %s", took, row.Load().Reason)
		})
	}
}
