// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// fakeSlowFiles is the facade of fentry.
type fakeSlowFiles struct {
	counts bpf.SlowFileCounts
	only   []bool
	paused []bool
	closed int
}

func (f *fakeSlowFiles) Hooks() string                     { return "fentry" }
func (f *fakeSlowFiles) Read() (bpf.SlowFileCounts, error) { return f.counts, nil }
func (f *fakeSlowFiles) Pause(on bool) error               { f.paused = append(f.paused, on); return nil }
func (f *fakeSlowFiles) Close() error                      { f.closed++; return nil }
func (f *fakeSlowFiles) Narrow(_ []bpf.Filter, only bool) (bpf.Slots, error) {
	f.only = append(f.only, only)
	return bpf.Slots{}, nil
}

// TestSlowFilesLadder: with fentry no system call is looked at; without it they are.
func TestSlowFilesLadder(t *testing.T) {
	record := func(at uint64) []byte {
		rec, err := binary.Append(nil, binary.NativeEndian, &bpf.SlowEvent{At: at, TGID: 5, Start: 1, Call: 0, Ns: 15e6})
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	tests := map[string]struct {
		refused error // fentry
		hook    string
	}{
		"fentry":       {hook: "fentry"},
		"system calls": {refused: unix.EPERM, hook: "tp_btf sys_exit, sys_enter"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			direct, calls := &fakeSlowFiles{}, &fakeCalls{}
			ring := &fakeEvents{records: map[bpf.EventKind][][]byte{}, counts: map[bpf.EventKind]bpf.EventCounts{}}
			c := NewSlowFiles(nil, sourceOf(calls), eventsFeed{ring}).(*slowFileCollector)
			c.boot = func() int64 { return int64(time.Hour) }
			c.open = func() (slowFileReader, error) {
				if tt.refused != nil {
					return nil, tt.refused
				}
				return direct, nil
			}
			if p := c.Probes()[0]; p.State != Idle || p.Hook != bpf.SlowFilesHooks || p.Reason == "" {
				t.Errorf("before the start: %+v", p)
			}
			ctx := context.Background()
			if err := c.Start(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Collect(ctx, time.Second); !errors.Is(err, ErrWarming) {
				t.Fatalf("first Collect: %v", err)
			}
			direct.counts = bpf.SlowFileCounts{Calls: 1000, Slow: 23}
			calls.totals.Calls, calls.totals.Slow = 1000, 23
			at := uint64(time.Hour - time.Second)
			ring.records[bpf.EventSlowFile] = [][]byte{record(at + 2), record(at), record(at + 1)}
			ring.counts[bpf.EventSlowFile] = bpf.EventCounts{Sent: 3, Lost: 4}
			s, err := c.Collect(ctx, 2*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got := s.(*SlowFiles)
			if got.Span != (Span{time.Second, 2 * time.Second}) || got.N != 23 || got.Unlisted != 20 || got.Lost != 4 {
				t.Errorf("%+v, want 23 calls in that second, 20 not listed, 4 lost", got)
			}
			var times []time.Duration
			for _, e := range got.Events {
				times = append(times, e.At)
			}
			if diff := cmp.Diff([]time.Duration{time.Second, time.Second + 1, time.Second + 2}, times); diff != "" {
				t.Errorf("times of the list (-want +got):\n%s", diff)
			}
			if p := c.Probes()[0]; p.State != On || p.Hook != tt.hook || p.Events != 23 || p.Lost != 4 || p.NsPerEvent <= bpf.CostSlowFile {
				t.Errorf("probe %+v, want on at %s, 23 events, 4 lost, a cost", p, tt.hook)
			}
			c.Host(false)
			err = errors.Join(c.Narrow([]Target{{Kind: ProcessTarget, Process: Process{5, 1}}}), c.Pause(true), c.Pause(false))
			if err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil || ring.openKinds() != 0 {
				t.Errorf("Close = %v, %d kinds left open", err, ring.openKinds())
			}
			wants := [2][]bool{{true}, nil} // narrowed: fentry's facade, that of system calls
			if tt.refused != nil {
				wants = [2][]bool{nil, {true}}
			}
			if diff := cmp.Diff(wants, [2][]bool{direct.only, calls.only}); diff != "" {
				t.Errorf("narrowed (-want +got):\n%s", diff)
			}
			if used := tt.refused == nil; (direct.closed == 1) != used || (len(direct.paused) == 2) != used || (calls.closed == 1) == used {
				t.Errorf("fentry closed %d times, paused %v; system calls closed %d times", direct.closed, direct.paused, calls.closed)
			}
		})
	}
}

// TestSlowFilePath joins the names of a path, and says where they begin in its middle.
func TestSlowFilePath(t *testing.T) {
	tests := map[string]struct {
		names []string
		given bool
		want  string
	}{
		"in the root": {names: []string{"a"}, want: "/a"},
		"three deep":  {names: []string{"c", "b", "a"}, want: "/a/b/c"},
		"deeper":      {names: []string{"d", "c", "b", "a"}, want: "…/a/b/c/d"},
		"as given":    {names: []string{"../x"}, given: true, want: "../x"},
		"the root":    {want: "/"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &bpf.SlowEvent{Dev: 8<<20 | 1}
			if tt.given {
				e.IsPath = 1
			}
			for i, n := range tt.names {
				copy(e.Names[i][:], n)
			}
			if got := slowFile(e, 0, 0, newCallNamer()); got.Path.Bytes() != tt.want || (got.Dev != 0) == tt.given {
				t.Errorf("path %q of device %v, want %q", got.Path.Bytes(), got.Dev, tt.want)
			}
		})
	}
}
