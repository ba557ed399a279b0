// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunnerStartErrors(t *testing.T) {
	need := &NeedError{Need: "kernel BTF", Remedy: "boot another kernel", Err: errors.New("no such file")}
	tests := map[string]struct {
		err        func(n int) error
		want       Probe // after 10 s
		wantStarts int
		wantFirst  State
	}{
		"needs something": {
			err:        func(int) error { return fmt.Errorf("loading: %w", need) },
			want:       Probe{Name: "cpu", State: Off, Hook: "fake", Reason: "needs kernel BTF: no such file", Remedy: "boot another kernel"},
			wantStarts: 1, wantFirst: Off,
		},
		"broken for good": {
			err:        func(int) error { return errors.New("bad \x1b[2J thing") },
			want:       Probe{Name: "cpu", State: Failed, Hook: "fake", Reason: `bad \x1b[2J thing`},
			wantStarts: 2, wantFirst: Failed,
		},
		"broken once": {
			err: func(n int) error {
				if n == 1 {
					return errors.New("busy")
				}
				return nil
			},
			want:       Probe{Name: "cpu", State: On, Hook: "fake"},
			wantStarts: 2, wantFirst: Failed,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := &fakeCollector{meta: Meta{ID: CPUID}, startErr: tt.err}
				x := runTrial(t, RunnerConfig{Collectors: []Collector{bad, &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}}})
				snaps := x.at(10 * time.Second)
				if got := snaps[0].Probes[CPUID][0].State; got != tt.wantFirst {
					t.Errorf("state at first = %v, want %v", got, tt.wantFirst)
				}
				if diff := cmp.Diff([]Probe{tt.want}, snaps[10].Probes[CPUID]); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				if got := bad.counts()[0]; got != tt.wantStarts {
					t.Errorf("started %d times, want %d", got, tt.wantStarts)
				}
				if snaps[10].Host == nil {
					t.Error("the other collector has stopped")
				}
				if err := x.stop(); err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
				if got := bad.counts(); got[2] != got[0] {
					t.Errorf("%d starts and %d closes, want a close for each", got[0], got[2])
				}
			})
		})
	}
}

func TestRunnerCollectErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &fakeCollector{meta: Meta{ID: CPUID}, err: func(n int) error {
			switch n {
			case 1:
				return ErrWarming
			case 3:
				return errors.New("reading: bad file")
			}
			return nil
		}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{bad}})
		var got []Probe
		for _, s := range x.at(3 * time.Second) {
			got = append(got, s.Probes[CPUID]...)
		}
		want := []Probe{
			{Name: "cpu", State: Warming, Hook: "fake", Reason: "waiting for a second reading"},
			{Name: "cpu", State: On, Hook: "fake"},
			{Name: "cpu", State: Failed, Hook: "fake", Reason: "reading: bad file"},
			{Name: "cpu", State: On, Hook: "fake"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunnerSurvivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &fakeCollector{meta: Meta{ID: CPUID}, err: func(n int) error {
			if n == 3 {
				panic(errors.New("assignment to entry in nil map"))
			}
			return nil
		}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{bad, &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample}}})
		snaps := x.at(5 * time.Second)
		for i, s := range snaps {
			if s.Host == nil || (s.CPU != nil) != (i < 2) {
				t.Errorf("snapshot %d: host %v, cpu %v, want the first always, the second twice", i, s.Host, s.CPU)
			}
		}
		row := snaps[5].Probes[CPUID][0]
		if row.State != Failed || row.Reason != "stopped by a bug: assignment to entry in nil map" || row.Remedy == "" {
			t.Errorf("row = %+v, want failed by a bug, with a remedy", row)
		}
		if got := bad.counts(); got != [3]int{1, 3, 1} {
			t.Errorf("starts, collects, closes = %v, want 1, 3, 1", got)
		}
		crashes := x.r.Crashes()
		if len(crashes) != 1 || crashes[0].Name != "cpu" || !strings.Contains(string(crashes[0].Stack), "TestRunnerSurvivesPanics") {
			t.Errorf("Crashes() = %+v, want one of cpu with its stack", crashes)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunnerClosesWhatPanickedInStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &fakeCollector{meta: Meta{ID: CPUID}, startErr: func(int) error { panic("half open") }}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{bad}})
		snaps := x.at(3 * time.Second)
		if got := snaps[0].Probes[CPUID][0].Reason; got != "stopped by a bug: half open" {
			t.Errorf("reason = %q, want the panic", got)
		}
		if got := bad.counts(); got != [3]int{1, 0, 1} {
			t.Errorf("starts, collects, closes = %v, want 1, 0, 1", got)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRunnerNamesTheStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &fakeCollector{meta: Meta{ID: CPUID}, cost: func(n int) time.Duration {
			if n == 2 {
				return time.Hour
			}
			return 0
		}}
		other := &fakeCollector{meta: Meta{ID: HostID}, sample: hostSample, closeErr: errors.New("bad descriptor")}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{stuck, other}})
		snaps := x.at(4600 * time.Millisecond)
		if got := snaps[2].Probes[CPUID][0]; got.State != On {
			t.Errorf("after one tick without answer the row is %+v, want on", got)
		}
		want := Probe{Name: "cpu", State: Failed, Hook: "fake", Reason: "no answer for 3 s"}
		if diff := cmp.Diff([]Probe{want}, snaps[4].Probes[CPUID]); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if late := snaps[4].Probes[CPUID][0]; !late.Silent() || snaps[2].Probes[CPUID][0].Silent() {
			t.Errorf("silent: %v after 3 s, %v before", late.Silent(), snaps[2].Probes[CPUID][0].Silent())
		}
		if got := stuck.counts()[1]; got != 2 {
			t.Errorf("asked %d times, want no more than 2", got)
		}
		ended := time.Now()
		err := x.stop()
		if took := time.Since(ended); took != 2*time.Second {
			t.Errorf("Run returned after %v, want 2s", took)
		}
		if want := "closing host: bad descriptor\nclosing cpu: no answer for 2s"; err == nil || err.Error() != want {
			t.Errorf("Run = %q, want %q", err, want)
		}
		time.Sleep(time.Hour)
	})
}

func TestRunnerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCollector{meta: Meta{ID: CPUID}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}, Off: map[ID]string{CPUID: "switched off by --no-bpf"}})
		x.r.Want("screen", []Want{{ID: CPUID}})
		snaps := x.at(2500 * time.Millisecond)
		want := Probe{Name: "cpu", State: Off, Hook: "fake", Reason: "switched off by --no-bpf"}
		if diff := cmp.Diff([]Probe{want}, snaps[2].Probes[CPUID]); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if err := x.stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got := c.counts(); got != [3]int{} {
			t.Errorf("starts, collects, closes = %v, want none", got)
		}
	})
}

func TestRunnerKeepsOwnReasons(t *testing.T) {
	off := Probe{Name: "b", State: Off, Reason: "no tracefs", Remedy: "mount it"}
	degraded := Probe{Name: "c", State: Degraded, Reason: "no BTF"}
	need := &NeedError{Need: "root", Remedy: "sudo"}
	tests := map[string]struct {
		startErr, err error
		off           string
		onDemand      bool
		want          []Probe
	}{
		"idle": {onDemand: true, want: []Probe{
			{Name: "a", State: Idle, Reason: "attaches while somebody looks"},
			off,
			{Name: "c", State: Idle, Reason: "attaches while somebody looks"},
			{Name: "d", State: Idle, Reason: "for the split"},
		}},
		"switched off": {off: "by --no-bpf", want: []Probe{
			{Name: "a", State: Off, Reason: "by --no-bpf"},
			{Name: "b", State: Off, Reason: "by --no-bpf"},
			{Name: "c", State: Off, Reason: "by --no-bpf"},
		}},
		"works":   {want: []Probe{{Name: "a", State: On}, off, degraded}},
		"warming": {err: ErrWarming, want: []Probe{{Name: "a", State: Warming, Reason: ErrWarming.Error()}, off, degraded}},
		"needs": {startErr: need, want: []Probe{
			{Name: "a", State: Off, Reason: "needs root", Remedy: "sudo"},
			off,
			{Name: "c", State: Off, Reason: "needs root", Remedy: "sudo"},
		}},
		"fails": {err: errors.New("bad file"), want: []Probe{
			{Name: "a", State: Failed, Reason: "bad file"}, off, {Name: "c", State: Failed, Reason: "bad file"},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rows := []Probe{{Name: "a", State: On}, off, degraded}
				if tt.onDemand {
					rows = append(rows, Probe{Name: "d", State: Idle, Reason: "for the split"})
				}
				x := runTrial(t, RunnerConfig{Off: map[ID]string{CPUID: tt.off}, Collectors: []Collector{&fakeCollector{
					meta:     Meta{ID: CPUID, OnDemand: tt.onDemand},
					rows:     rows,
					startErr: func(int) error { return tt.startErr },
					err:      func(int) error { return tt.err },
				}}})
				snaps := x.at(500 * time.Millisecond)
				if diff := cmp.Diff(tt.want, snaps[0].Probes[CPUID]); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				if err := x.stop(); err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
			})
		})
	}
}
