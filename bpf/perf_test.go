// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stopClock does to the event of a CPU what taking the CPU away does: it never runs its program again, and
// the CPU is as online as before when somebody looks.
func stopClock(t *testing.T, c clocks, cpu int) {
	t.Helper()
	f, ok := c[cpu].event.(*os.File)
	if !ok {
		t.Fatalf("the clock of CPU %d is a %T", cpu, c[cpu].event)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.PERF_EVENT_IOC_DISABLE, 0); err != nil {
		t.Fatal(err)
	}
}

// moves looks at a CPU for some seconds, as often as a collector does, and says whether it was sampled at the
// end of it, and how often its event was opened anew.
func moves(t *testing.T, c clocks, cpu int, tick time.Duration, look func() uint64) (sampled bool, opened int) {
	t.Helper()
	event := c[cpu].event
	for was, end := look(), time.Now().Add(4*time.Second); time.Now().Before(end); {
		time.Sleep(tick)
		n := look()
		sampled, was = n > was, n
		if c[cpu].event != event {
			event = c[cpu].event
			opened++
		}
	}
	return sampled, opened
}

// TestDeadClock: a CPU that was taken away and is back before anybody looked is sampled again, and no other
// event is touched.
func TestDeadClock(t *testing.T) {
	k, cpus := need(t), onlineCPUs(t)
	cpu := cpus[len(cpus)-1]
	t.Run("queues", func(t *testing.T) {
		s, err := OpenSched(k, SchedParts{Queue: true})
		if err != nil {
			t.Fatal(err)
		}
		closing(t, s)
		look := func() uint64 {
			s.SampleQueues(cpus)
			if err := s.QueueErr(); err != nil {
				t.Fatal(err)
			}
			return readSched(t, s)[cpu].QueueSamples
		}
		look()
		if _, opened := moves(t, s.events, cpu, time.Second, look); opened != 0 {
			t.Errorf("opened anew %d times, want 0", opened)
		}
		crowd(t, cpu, 1) // an idle CPU may have no ticks, and no samples
		stopClock(t, s.events, cpu)
		if sampled, opened := moves(t, s.events, cpu, time.Second, look); !sampled || opened != 1 {
			t.Errorf("after a stop sampled: %v, opened anew %d times, want true and 1", sampled, opened)
		}
	})
	t.Run("profile", func(t *testing.T) {
		p, err := OpenProfile(k, ProfileHz(1), nil)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, p)
		look := func() uint64 {
			if err := p.SampleCPUs(cpus); err != nil {
				t.Fatal(err)
			}
			c := p.sums[cpu]
			return c.Sampled + c.Lost + c.Passed + c.Idle
		}
		look()
		if _, opened := moves(t, p.events, cpu, 250*time.Millisecond, look); opened != 0 {
			t.Errorf("opened anew %d times, want 0", opened)
		}
		crowd(t, cpu, 1)
		stopClock(t, p.events, cpu)
		if sampled, opened := moves(t, p.events, cpu, 250*time.Millisecond, look); !sampled || opened != 1 {
			t.Errorf("after a stop sampled: %v, opened anew %d times, want true and 1", sampled, opened)
		}
	})
}
