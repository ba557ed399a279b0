// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// fakeLive is a program whose samples the test makes: they come with the next Drain.
type fakeLive struct {
	mu sync.Mutex
	fakeProfile
	slots  bpf.Slots
	only   bool
	broken error
}

func (f *fakeLive) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	f.slots = bpf.Slots{}
	copy(f.slots[1:], want)
	if len(want) > len(f.slots)-1 {
		return f.slots, bpf.ErrSlots
	}
	return f.slots, nil
}

func (f *fakeLive) Focus(only bool) error { f.only = only; return nil }

// holds makes the samples of the next Drain, and the counts.
func (f *fakeLive) holds(idle, lost uint64, samples ...*bpf.ProfileSample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.samples, f.counts.Idle, f.counts.Lost = samples, idle, lost
}

func (f *fakeLive) Counts() (bpf.ProfileCounts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fakeProfile.Counts()
}

func (f *fakeLive) Drain(each func(*bpf.ProfileSample)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	err := f.fakeProfile.Drain(each)
	f.samples = nil
	return err
}

// startLive starts a collector of a fake program, in a bubble.
func startLive(t *testing.T, f *fakeLive) *profileCollector {
	t.Helper()
	fs := fakeProc(t, "ffff0100 T alpha\nffff0200 t beta\nffff0300 t gamma\n")
	c := newProfileCollector(fs, func(int) (liveReader, error) { return f, nil })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// collectLive asks for a sample at a time, in seconds.
func collectLive(t *testing.T, c *profileCollector, at int) *CPUProfile {
	t.Helper()
	s, err := c.Collect(t.Context(), time.Duration(at)*time.Second)
	if errors.Is(err, ErrWarming) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.(*CPUProfile)
}

// stacksLive writes stacks as lines.
func stacksLive(c *ProfileCounts) (out []string) {
	for _, s := range c.Stacks {
		line := fmt.Sprintf("%d %s", s.Count, Clean(s.Comm))
		for _, f := range s.Frames {
			line += " " + f.Name
		}
		out = append(out, line)
	}
	return out
}

// TestCPUProfile: samples are of the span in which they came, and of the targets that the kernel says; a
// stack that comes again is the same.
func TestCPUProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLive{}
		c := startLive(t, f)
		one := Target{Kind: ProcessTarget, Process: Process{TGID: 7, Start: 5}}
		if err := c.Narrow([]Target{one, {Kind: DiskTarget, Dev: 8}}); err != nil {
			t.Fatal(err)
		}
		c.Host(true)
		kernel := sampleOf(2, "k\x1b[m", []uint64{0xffff0110, 0xffff0200}, nil)
		kernel.Thread = true
		if s := collectLive(t, c, 0); s != nil {
			t.Fatalf("the first reading is %+v, want none", s)
		}
		for n := 1; n <= 2; n++ {
			mine := sampleOf(7, "x", []uint64{0xffff0210}, nil)
			mine.Slots = 1 << 1
			f.holds(uint64(10*n), uint64(n), kernel, mine, kernel)
			time.Sleep(2 * profileTick)
			s := collectLive(t, c, n)
			if d := cmp.Diff([]string{`2 k\x1b[m alpha alpha`, "1 x beta"}, stacksLive(&s.ProfileCounts)); d != "" {
				t.Errorf("sample %d of the host (-want +got):\n%s", n, d)
			}
			if len(s.Narrowed) != 1 || s.Narrowed[0].Target != one || s.Narrowed[0].Since != 0 {
				t.Fatalf("sample %d has targets %+v", n, s.Narrowed)
			}
			if d := cmp.Diff([]string{"1 x beta"}, stacksLive(&s.Narrowed[0].Sample)); d != "" {
				t.Errorf("sample %d of the target (-want +got):\n%s", n, d)
			}
			if s.Partial || f.only || s.Samples != 3 || s.Idle != 10 || s.Lost != 1 || s.Seconds() != 1 || s.CPUs != 2 {
				t.Errorf("sample %d: %+v", n, s)
			}
			if (s.fresh > 0) != (n == 1) {
				t.Errorf("sample %d has %d bytes of stacks that are new", n, s.fresh)
			}
		}
		// Nobody looks at the host any more: from the next sample on it is the target's alone.
		c.Host(false)
		if s := collectLive(t, c, 3); s.Partial || !f.only {
			t.Errorf("the span that ends is partial %t, the kernel told %t", s.Partial, f.only)
		}
		if s := collectLive(t, c, 4); !s.Partial || s.Samples != 0 {
			t.Errorf("the next one: %+v", s)
		}
		if p := c.Probes()[0]; p.State != On || p.Lost != 2 || p.Events == 0 {
			t.Errorf("the probe: %+v", p)
		}
		if err := c.Close(); err != nil || !f.closed {
			t.Errorf("Close: %v, closed %t", err, f.closed)
		}
		if p := c.Probes()[0]; p.State != Idle {
			t.Errorf("the probe when closed: %+v", p)
		}
	})
}

// TestCPUProfileBound: what is beyond the bound is counted, and listed nowhere.
func TestCPUProfileBound(t *testing.T) {
	tally := stackTally{}
	for i := range 10 {
		tally[stackWho{&CallStack{Frames: []CallFrame{{Name: fmt.Sprint(i)}}}, Process{1, 1}, "x"}] = uint64(i + 1)
	}
	c := tally.counts(3)
	if d := cmp.Diff([]string{"10 x 9", "9 x 8", "8 x 7"}, stacksLive(&c)); d != "" || c.Samples != 55 || c.Unlisted != 28 {
		t.Errorf("%d samples, %d unlisted (-want +got):\n%s", c.Samples, c.Unlisted, d)
	}
	p := &CPUProfile{ProfileCounts: c, fresh: 1000}
	if thin := p.withoutRows(); thin.size() >= p.size()-1000 || thin.Samples != 55 {
		t.Errorf("without rows it takes %d of %d bytes", thin.size(), p.size())
	}
}

// TestCPUProfileForgets: programs that are not sampled any more are let go of, and those that are stay.
func TestCPUProfileForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLive{}
		live := newLiveProfile(fakeProc(t, ""), f, func(context.Context) ([]int, error) { return []int{0}, nil })
		at := func(n int) time.Duration { return time.Duration(n) * time.Second }
		for n := 1; n <= 200; n++ {
			f.samples = []*bpf.ProfileSample{sampleOf(7, "stays", nil, []uint64{0x1000})}
			if n < 10 {
				f.samples = append(f.samples, sampleOf(8, "goes", nil, []uint64{0x1000}))
			}
			if _, err := live.collect(t.Context(), Span{at(n - 1), at(n)}, true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		var left []int32
		for key := range live.look.images {
			left = append(left, key.process.TGID)
		}
		if d := cmp.Diff([]int32{7}, left); d != "" {
			t.Errorf("programs that are known (-want +got):\n%s", d)
		}
		if n := len(live.known) + len(live.knew); n == 0 || n > 2 {
			t.Errorf("%d stacks are known, want that of the process, once or twice", n)
		}
	})
}

// TestCPUProfileFails: what goes wrong in the kernel, and a panic while a stack is named, end the sampling
// with an error that the probe tells, and nothing else.
func TestCPUProfileFails(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*fakeLive)
		want  string
	}{
		"the ring":  {func(f *fakeLive) { f.mu.Lock(); f.broken = os.ErrClosed; f.mu.Unlock() }, "file already closed"},
		"a panic":   {func(f *fakeLive) { f.holds(0, 0, nil) }, "panic: "},
		"all slots": {func(*fakeLive) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeLive{}
				c := startLive(t, f)
				collectLive(t, c, 0)
				tt.spoil(f)
				var many []Target
				for i := range int32(bpf.FilterSlots) {
					many = append(many, Target{Kind: ProcessTarget, Process: Process{TGID: i + 1}})
				}
				if err := c.Narrow(many); err != nil {
					t.Fatal(err)
				}
				_, err := c.Collect(t.Context(), time.Second)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Collect: %v, want %q", err, tt.want)
				}
				p := c.Probes()[0]
				if want := map[bool]State{true: Degraded, false: Failed}[tt.want == ""]; p.State != want || !strings.Contains(p.Reason, tt.want) {
					t.Errorf("the probe: %+v", p)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestCPUProfileWaits: a stack that there was no time to look for comes with a later sample, and is not lost;
// it does not wait for ever, nor past a change of targets.
func TestCPUProfileWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLive{}
		live := newLiveProfile(fakeProc(t, ""), f, func(context.Context) ([]int, error) { return []int{0}, nil })
		over, cancel := context.WithCancel(t.Context())
		cancel() // no time for anything
		samples := func(ctx context.Context, wait bool) uint64 {
			t.Helper()
			s, err := live.collect(ctx, Span{0, time.Second}, wait)
			if err != nil {
				t.Fatal(err)
			}
			return s.Samples
		}
		mine := func() { f.holds(0, 0, sampleOf(7, "x", nil, []uint64{0x1000})) }
		mine()
		if n := samples(over, true); n != 0 {
			t.Errorf("%d samples at once, want none", n)
		}
		mine()
		if n := samples(t.Context(), true); n != 2 {
			t.Errorf("%d samples when there is time, want 2", n)
		}
		f.holds(0, 0, sampleOf(8, "y", nil, []uint64{0x1000}))
		for n := range maxHeldBack {
			if got := samples(over, true); got != 0 {
				t.Errorf("%d samples after %d, want none", got, n)
			}
		}
		if n := samples(over, true); n != 1 || live.tally.bytes != 0 {
			t.Errorf("%d samples in the end, want 1; %d bytes held", n, live.tally.bytes)
		}
		f.holds(0, 0, sampleOf(9, "z", nil, []uint64{0x1000}))
		if n := samples(over, false); n != 1 {
			t.Errorf("%d samples where none may wait, want 1", n)
		}
	})
}
