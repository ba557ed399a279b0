// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

type signalWatch struct {
	*Signal
	events *Events
	got    []SignalEvent
}

func watchSignal(t testing.TB) *signalWatch {
	t.Helper()
	k := need(t)
	ev, err := OpenEvents(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, ev)
	s, err := OpenSignal(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	if _, err := s.Narrow([]Filter{{ID: uint64(os.Getpid()), Kind: FilterProcess}}); err != nil {
		t.Fatal(err)
	}
	return &signalWatch{Signal: s, events: ev}
}

func (w *signalWatch) take(t testing.TB) {
	t.Helper()
	err := w.events.Drain(func(kind EventKind, rec []byte) {
		if e, ok := ParseSignal(rec); ok && kind == EventSignal {
			w.got = append(w.got, e)
		} else {
			t.Errorf("a record of kind %d and %d bytes", kind, len(rec))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *signalWatch) counts(t testing.TB) *[Signals]SignalCounts {
	t.Helper()
	var c [Signals]SignalCounts
	if err := w.Read(&c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// sent is what a signal looked like to its target.
type sent struct {
	Signal, Code   int32
	Result, Action uint32
	Sender         int32
}

// TestSignals sends 23 signals to processes that leave them at their default, handle or ignore them.
func TestSignals(t *testing.T) {
	w := watchSignal(t)
	self := int32(os.Getpid())
	handles, ignores := startReady(t, "handle 1 2 15 10"), startReady(t, "ignore 1 2 15")
	before := w.counts(t)
	totals, err := w.ReadSlot(1)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[int32][]sent)
	send := func(pid int, sig syscall.Signal, result, action uint32) {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		want[int32(pid)] = append(want[int32(pid)], sent{int32(sig), 0, result, action, self})
	}
	for _, sig := range []syscall.Signal{1, 2, 15} {
		send(handles, sig, SignalDelivered, ActionHandled)
		send(ignores, sig, SignalIgnored, ActionIgnored)
	}
	n := 6
	for ; n < 22; n++ {
		pid := startReady(t, "handle 10")
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[n%2]
		action := uint32(ActionHandled) // of Go's runtime
		if sig == syscall.SIGKILL {
			action = ActionDefault
		}
		send(pid, sig, SignalDelivered, action)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	// One by another process.
	pid := startReady(t, "handle 10")
	killer := startChild(t, "kill "+strconv.Itoa(pid)+" 9")
	reap(t, killer)
	want[int32(pid)] = []sent{{9, 0, SignalDelivered, ActionDefault, int32(killer)}}
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	// And some that are only counted.
	for range 5 {
		if err := syscall.Kill(handles, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	w.take(t)
	got := make(map[int32][]sent)
	for _, e := range w.got {
		if _, ours := want[e.TargetTGID]; !ours {
			continue
		}
		if e.SenderTGID == e.TargetTGID {
			continue // Go's runtime ends itself once it is told to
		}
		got[e.TargetTGID] = append(got[e.TargetTGID], sent{e.Signal, e.Code, e.Result, e.Action, e.SenderTGID})
		if e.TargetStart == 0 || e.SenderStart == 0 || e.At == 0 || e.TargetComm != "exe" || e.SenderComm == "" || e.Thread != 0 || e.UID != uint32(os.Getuid()) {
			t.Errorf("signal %+v", e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("signals by target (-want +got):\n%s", diff)
	}
	after := w.counts(t)
	if n := after[syscall.SIGUSR1][SignalDelivered] + after[syscall.SIGUSR1][SignalPending] - before[syscall.SIGUSR1][SignalDelivered] - before[syscall.SIGUSR1][SignalPending]; n < 5 {
		t.Errorf("%d SIGUSR1 counted, want 5 at least", n)
	}
	now, err := w.ReadSlot(1)
	if err != nil {
		t.Fatal(err)
	}
	if n := now.Fatal - totals.Fatal; n != 22 {
		t.Errorf("%d signals of this process may end another, want 22", n)
	}
	if all := now.Signals - totals.Signals; all < 27 {
		t.Errorf("%d signals to or by this process, want 27 at least", all)
	}
}

// TestSignalsOfTheKernel: a fault has no sender, nor has what a timer sends.
func TestSignalsOfTheKernel(t *testing.T) {
	w := watchSignal(t)
	path := filepath.Join(t.TempDir(), "bpf60-fault")
	tiny(t, path, 0, true)
	var pids []int32
	for range 5 {
		pid := spawn(t, path, []string{"x"})
		reap(t, pid)
		pids = append(pids, int32(pid))
	}
	w.take(t)
	for _, pid := range pids {
		var got []sent
		for _, e := range w.got {
			if e.TargetTGID == pid {
				got = append(got, sent{e.Signal, e.Code, e.Result, e.Action, e.SenderTGID})
				if e.SenderComm != "" || e.TargetComm != "bpf60-fault" {
					t.Errorf("signal %+v", e)
				}
			}
		}
		if len(got) != 1 || got[0].Signal != int32(unix.SIGILL) || got[0].Sender != 0 || got[0].Action != ActionDefault || got[0].Code <= 0 {
			t.Errorf("a fault made the signals %+v, want one SIGILL of the kernel", got)
		}
	}
	// The pipe that nobody reads: the kernel sends it to the writer, and it is only counted.
	before := w.counts(t)
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := wr.Write([]byte("x")); err == nil {
		t.Error("a write to a closed pipe went well")
	}
	wr.Close()
	after := w.counts(t)
	if n := sumOf(after[syscall.SIGPIPE]) - sumOf(before[syscall.SIGPIPE]); n == 0 {
		t.Error("no SIGPIPE counted")
	}
}

func sumOf(c SignalCounts) (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// TestSignalStorm: all of a storm are counted.
func TestSignalStorm(t *testing.T) {
	w := watchSignal(t)
	pid := startReady(t, "ignore 1")
	const n = 100_000
	before := w.counts(t)
	kinds, err := w.events.Counts(EventSignal)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	after := w.counts(t)
	counted, err := w.events.Counts(EventSignal)
	if err != nil {
		t.Fatal(err)
	}
	got := sumOf(after[syscall.SIGHUP]) - sumOf(before[syscall.SIGHUP])
	if got < n || got > n+20 {
		t.Errorf("%d SIGHUP counted, want %d", got, n)
	}
	all := counted.Sent + counted.Unlisted + counted.Lost - kinds.Sent - kinds.Unlisted - kinds.Lost
	// What else the host sends is counted, too: what of it is listed is no more than all of it.
	others := uint64(20)
	for i := range after {
		others += sumOf(after[i]) - sumOf(before[i])
	}
	if others -= got; all < n || all > got+others || counted.Unlisted == kinds.Unlisted {
		t.Errorf("%d signals sent, unlisted or lost of %d: %+v", all, n, counted)
	}
}
