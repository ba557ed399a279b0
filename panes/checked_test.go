// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
	"bpf60/triage"
)

func TestNothingFound(t *testing.T) {
	well := []triage.Healthy{{Resource: "cpu"}, {Resource: "memory"}}
	steal := []triage.Unchecked{{Resource: "steal", Reason: "not reported here"}}
	for name, tt := range map[string]struct {
		checks   *triage.Checks
		findings []triage.Finding
		want     []string
		not      string
	}{
		"all is well":     {&triage.Checks{Healthy: well}, nil, []string{"No resource is short: 28 rules", "ruled out: cpu, memory"}, "not checked"},
		"as far as":       {&triage.Checks{Healthy: well, Unchecked: steal}, nil, []string{"No resource is short, of those that were checked", "ruled out: cpu", "not checked: steal (not reported here)"}, ""},
		"where they wait": {&triage.Checks{Healthy: append(well[:2:2], triage.Healthy{Resource: triage.Services, Evidence: []string{"java[812]: 91 % futex, 6 % recv", "db[7]: 99 % poll"}})}, nil, []string{"No resource is short", "waits  java[812]: 91 % futex, 6 % recv", "waits  db[7]: 99 % poll", "ruled out: cpu"}, ""},
		"too early":       {&triage.Checks{Unchecked: []triage.Unchecked{{Resource: "cpu", Reason: "watched for 4 of 10 s"}}}, nil, []string{"nothing found by 28 rules so far", "watched for 4 of 10 s"}, "No resource"},
		"beside others":   {&triage.Checks{Healthy: well}, []triage.Finding{{ID: "fs.full", Title: "/data has nothing left", Pane: "disk", Row: "fs /data"}}, []string{"/data has nothing left", "ruled out: cpu, memory"}, "No resource"},
	} {
		t.Run(name, func(t *testing.T) {
			m := triage.Moment{Snapshot: &collectors.Snapshot{}, Checks: tt.checks, Findings: tt.findings}
			f := Frame{Now: m, Past: []triage.Moment{m}, Rules: 28}
			out := ansi.Strip(NewOverview().View(f, Canvas{Width: 80, Height: 21, Theme: plain()}))
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("the Overview lacks %q:\n%s", want, out)
				}
			}
			if tt.not != "" && strings.Contains(out, tt.not) {
				t.Errorf("the Overview says %q:\n%s", tt.not, out)
			}
		})
	}
}

// Before the first triage is complete, none of what it found is over.
func TestListedBeforeVerdict(t *testing.T) {
	f := judgedFrame()
	f.Verdict = &Verdict{After: time.Minute, Findings: []triage.Finding{{ID: "later"}}}
	f.Now.Findings = nil
	snap := *f.Now.Snapshot
	f.Now.Snapshot = &snap
	for at, want := range map[time.Duration]int{10 * time.Second: 0, time.Minute: 1} {
		snap.At = at
		list := listed(f)
		if len(list) != want {
			t.Errorf("at %v %d findings are listed, want %d", at, len(list), want)
		}
		if s := findingsSummary(f, []listedFinding{{}}); slices.Contains(s, "at 60 s: 1") != (want == 1) {
			t.Errorf("at %v the title says %q", at, s)
		}
	}
}
