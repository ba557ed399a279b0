// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestEngineChecks(t *testing.T) {
	on := func(name string) collectors.Probe { return collectors.Probe{Name: name, State: collectors.On} }
	is := func(name string, s collectors.State, reason, remedy string) collectors.Probe {
		return collectors.Probe{Name: name, State: s, Reason: reason, Remedy: remedy}
	}
	// phase is what the probes are until a second.
	type phase struct {
		to     int
		probes []collectors.Probe
	}
	quiet := scripted(Rule{ID: "cpu.a", Needs: []string{"runqlat"}}, nil)
	tests := map[string]struct {
		rules  []Rule
		phases []phase
		want   Checks
	}{
		"all on": {
			rules:  []Rule{quiet},
			phases: []phase{{60, []collectors.Probe{on("runqlat")}}},
			want:   Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"attached after the start": {
			rules:  []Rule{quiet},
			phases: []phase{{1, []collectors.Probe{is("runqlat", collectors.Warming, "starting", "")}}, {60, []collectors.Probe{on("runqlat")}}},
			want:   Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"too early": {
			rules:  []Rule{quiet},
			phases: []phase{{9, []collectors.Probe{on("runqlat")}}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "watched for 9 of 10 s"}}},
		},
		"just in time": {
			rules:  []Rule{quiet},
			phases: []phase{{10, []collectors.Probe{on("runqlat")}}},
			want:   Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"off": {
			rules:  []Rule{quiet},
			phases: []phase{{60, []collectors.Probe{is("runqlat", collectors.Off, "needs kernel BTF", "boot another kernel")}}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat is off: needs kernel BTF", Remedy: "boot another kernel"}}},
		},
		"not there": {
			rules:  []Rule{quiet},
			phases: []phase{{60, nil}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat is not there"}}},
		},
		"no longer there": {
			rules:  []Rule{quiet},
			phases: []phase{{30, []collectors.Probe{on("runqlat")}}, {60, nil}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat is off"}}},
		},
		"a gap in the window": {
			rules: []Rule{quiet},
			phases: []phase{
				{30, []collectors.Probe{on("runqlat")}},
				{31, []collectors.Probe{is("runqlat", collectors.Failed, "no answer for 3 s", "")}},
				{60, []collectors.Probe{on("runqlat")}},
			},
			want: Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat works since 32s"}}},
		},
		"a gap before the window": {
			rules: []Rule{quiet},
			phases: []phase{
				{30, []collectors.Probe{is("runqlat", collectors.Failed, "no answer for 3 s", "")}},
				{91, []collectors.Probe{on("runqlat")}},
			},
			want: Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"degraded": {
			rules:  []Rule{quiet},
			phases: []phase{{60, []collectors.Probe{is("runqlat", collectors.Degraded, "no BTF", "boot another kernel")}}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat is degraded: no BTF", Remedy: "boot another kernel"}}},
		},
		"degraded is good enough": {
			rules:  []Rule{scripted(Rule{ID: "cpu.a", Needs: []string{"runqlat"}, Fallback: true}, nil)},
			phases: []phase{{60, []collectors.Probe{is("runqlat", collectors.Degraded, "no BTF", "")}}},
			want:   Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"one rule of two cannot": {
			rules:  []Rule{quiet, scripted(Rule{ID: "cpu.b", Needs: []string{"softirqs", "runqlat"}}, nil)},
			phases: []phase{{60, []collectors.Probe{on("runqlat"), is("softirqs", collectors.Idle, "attaches while somebody looks", "")}}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "softirqs is idle: attaches while somebody looks", Remedy: "bpf60 --probes +softirqs"}}},
		},
		"the same reason once": {
			rules:  []Rule{quiet, scripted(Rule{ID: "cpu.b", Needs: []string{"runqlat"}}, nil)},
			phases: []phase{{60, nil}},
			want:   Checks{Unchecked: []Unchecked{{Resource: "cpu", Reason: "runqlat is not there"}}},
		},
		"found, and so not ruled out": {
			rules: []Rule{quiet, scripted(Rule{ID: "cpu.b"}, script{}.span(30, 60, Finding{}))},
			phases: []phase{
				{60, []collectors.Probe{on("runqlat")}},
			},
		},
		"suspected, and so not ruled out": {
			rules:  []Rule{scripted(Rule{ID: "cpu.b"}, script{60: {}})},
			phases: []phase{{60, nil}},
		},
		"ended within the window": {
			rules:  []Rule{scripted(Rule{ID: "cpu.b"}, script{}.span(30, 40, Finding{}))},
			phases: []phase{{100, nil}},
		},
		"ended before the window": {
			rules:  []Rule{scripted(Rule{ID: "cpu.b"}, script{}.span(30, 40, Finding{}))},
			phases: []phase{{101, nil}},
			want:   Checks{Healthy: []Healthy{{Resource: "cpu"}}},
		},
		"resources in the order of the rules, with evidence": {
			rules: []Rule{
				scripted(Rule{ID: "mem.a", Resource: "memory", Evidence: func(h *History) []string {
					last, _ := h.Last()
					return []string{last.At.String()}
				}}, nil),
				scripted(Rule{ID: "cpu.a"}, nil),
				scripted(Rule{ID: "mem.b", Resource: "memory", Evidence: func(*History) []string { return []string{"no swapping"} }}, nil),
			},
			phases: []phase{{60, nil}},
			want:   Checks{Healthy: []Healthy{{"memory", []string{"1m0s", "no swapping"}}, {Resource: "cpu"}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := NewEngine(tt.rules, &History{}, nil)
			var last Moment
			from := 0
			for _, p := range tt.phases {
				ms := ticks(e, from, p.to, p.probes...)
				last, from = ms[len(ms)-1], p.to+1
			}
			if diff := cmp.Diff(&tt.want, last.Checks); diff != "" {
				t.Errorf("checks at %v (-want +got):\n%s", last.At, diff)
			}
		})
	}
}

func TestEngineSharesChecks(t *testing.T) {
	e := NewEngine([]Rule{scripted(Rule{ID: "cpu.a"}, nil)}, &History{}, nil)
	ms := ticks(e, 0, 30)
	if ms[20].Checks != ms[30].Checks {
		t.Error("checks that did not change take room at every tick")
	}
	if ms[9].Checks == ms[20].Checks {
		t.Errorf("checks at 9 s are those at 20 s: %+v", ms[9].Checks)
	}
	bare, with := ms[30], ms[30]
	bare.Checks = nil
	if got := momentSize(with) - momentSize(bare); got < len("cpu") {
		t.Errorf("checks add %d bytes to the budget, want some", got)
	}
}
