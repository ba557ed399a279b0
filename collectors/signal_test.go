// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// signalFake is a facade whose maps a test fills.
type signalFake struct {
	counts [bpf.Signals]bpf.SignalCounts
	slot   bpf.SignalTotals
}

func (f *signalFake) Read(dst *[bpf.Signals]bpf.SignalCounts) error { *dst = f.counts; return nil }
func (f *signalFake) ReadSlot(int) (bpf.SignalTotals, error)        { return f.slot, nil }
func (f *signalFake) Pause(bool) error                              { return nil }
func (f *signalFake) Close() error                                  { return nil }
func (f *signalFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	var slots bpf.Slots
	copy(slots[1:], want)
	return slots, nil
}

func signalRecord(at uint64, sender, target, sig uint32, code int32, result, action uint32) []byte {
	w := head(bpf.EventSignal, at).u32(sender, 0).u64(10).u32(target, 0).u64(20).u64(7)
	return w.u32(sig, uint32(code), result, action, 1000, 0, 0, 0).comm("bash").comm("nginx")
}

func signalsAt(t *testing.T, c *signalCollector, now time.Duration) *Signals {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if errors.Is(err, ErrWarming) {
		return nil
	}
	if err != nil {
		t.Fatalf("Collect: %v", err)
	}
	return s.(*Signals)
}

func TestSignalDeltas(t *testing.T) {
	f, feed := &signalFake{}, &eventFake{}
	c := &signalCollector{open: func() (signalReader, error) { return f, nil }, feed: feed, boot: func() int64 { return bootAt }}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.counts[15] = bpf.SignalCounts{3, 1}
	target := Target{Kind: CgroupTarget, Cgroup: 7}
	if err := c.Narrow([]Target{target}); err != nil {
		t.Fatal(err)
	}
	if s := signalsAt(t, c, time.Second); s != nil {
		t.Fatal("the baseline is a sample")
	}
	f.counts[15] = bpf.SignalCounts{4, 3, 1, 0, 1}
	f.counts[17] = bpf.SignalCounts{100}
	f.counts[34] = bpf.SignalCounts{0, 0, 0, 2}
	f.slot = bpf.SignalTotals{Signals: 9, Fatal: 2}
	feed.add(bpf.EventSignal, signalRecord(uint64(bootAt)-5e8, 55, 66, 15, 0, bpf.SignalIgnored, bpf.ActionIgnored))
	feed.counts[bpf.EventSignal] = bpf.EventCounts{Unlisted: 4, Lost: 1}
	got := signalsAt(t, c, 2*time.Second)
	want := &Signals{
		Span:         Span{time.Second, 2 * time.Second},
		SignalCounts: SignalCounts{Signals: 107, Fatal: 5},
		Total:        SignalCounts{Signals: 107, Fatal: 5},
		Counts:       []SignalCount{{15, 3, 2, 0}, {17, 100, 0, 0}, {34, 0, 0, 2}},
		Rows: []SignalRow{{
			At: 1500 * time.Millisecond, Number: 15, Sender: Process{55, 10}, SenderComm: RawString("bash"), UID: 1000,
			Target: Process{66, 20}, TargetComm: RawString("nginx"), Cgroup: 7, Result: SignalIgnored, Action: ActionIgnored,
		}},
		Unlisted: 5,
		Narrowed: []Targeted[SignalCounts]{{target, time.Second, SignalCounts{9, 2}}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	if p := c.Probes()[0]; p.Events != 107 || p.Lost != 1 || p.State != On {
		t.Errorf("probe %+v", p)
	}
	if err := c.Close(); err != nil || feed.users != 0 {
		t.Errorf("Close = %v with %d kinds of event open", err, feed.users)
	}
}

// TestSignalsLive kills 23 processes.
func TestSignalsLive(t *testing.T) {
	k := bpf.Inspect()
	c := NewSignals(k, nil, newFeed(k)).(*signalCollector)
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "opening the probe of signals: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	signalsAt(t, c, time.Second)
	const n = 23
	killed := make(map[int32]bool)
	for range n {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSleeper$")
		cmd.Env = append(os.Environ(), sleeperEnv+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		killed[int32(cmd.Process.Pid)] = true
	}
	s := signalsAt(t, c, 2*time.Second)
	listed := 0
	for _, r := range s.Rows {
		if killed[r.Target.TGID] {
			listed++
			if r.Number != 9 || r.Sender.TGID != int32(os.Getpid()) || r.Result != SignalDelivered || r.Action != ActionDefault || r.Code != 0 {
				t.Errorf("signal %+v", r)
			}
		}
	}
	if listed != n {
		t.Errorf("%d of our signals listed, want %d", listed, n)
	}
	for _, x := range s.Counts {
		if x.Number == 9 && x.Sent < n {
			t.Errorf("%d SIGKILL counted, want %d at least", x.Sent, n)
		}
	}
}

const sleeperEnv = "BPF60_TEST_SLEEPER"

// TestSleeper sleeps, as a child of another test.
func TestSleeper(t *testing.T) {
	if os.Getenv(sleeperEnv) == "" {
		t.Skip("it is the child of another test")
	}
	time.Sleep(time.Minute)
}
