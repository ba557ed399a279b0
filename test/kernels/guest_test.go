// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"bpf60/test/kernels/wire"
	"github.com/google/go-cmp/cmp"
)

func records(t *testing.T, all ...wire.Record) string {
	t.Helper()
	var b bytes.Buffer
	for _, r := range all {
		if err := wire.Encode(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// A report that is tried again is twice as long: the last of four must fit into its limit.
func TestReportsFitTheirLimits(t *testing.T) {
	for _, b := range boots() {
		for _, s := range plan(b, suites()).Steps {
			if s.Longer == 0 {
				continue
			}
			d, err := time.ParseDuration(s.Args[s.Longer])
			if err != nil || d < shortReport {
				t.Errorf("%s lasts %v (%v), want at least %v", s.Name, d, err, shortReport)
			}
			if s.Limit < 8*d+time.Minute {
				t.Errorf("%s has %v, want time for a report of %v", s.Name, s.Limit, 8*d)
			}
		}
	}
}

func TestSteps(t *testing.T) {
	o := outcome{results: []wire.Result{{Name: "test bpf", Seconds: 151.26, Tries: 1}, {Name: "report default", Seconds: 24.4, Tries: 2}}}
	want := "test bpf              151.3 s, tries 1\nreport default         24.4 s, tries 2\n"
	if d := cmp.Diff(want, o.steps()); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
}

func TestFollow(t *testing.T) {
	boot := wire.Record{Boot: &wire.Boot{Release: "6.1.0-56-cloud-amd64"}}
	result := wire.Record{Result: &wire.Result{Name: "report default"}}
	begin := wire.Record{Begin: "report default"}
	log := wire.Record{Log: []string{"Linux version"}}
	done := wire.Record{Done: true}
	tests := map[string]struct {
		port      string
		wantErr   string
		wantFlake bool
	}{
		"whole":       {port: "\x00garbage\n" + records(t, boot, begin, result, log, done)},
		"panic":       {port: records(t, boot, begin), wantErr: `it ended in "report default"`, wantFlake: true},
		"never up":    {port: "", wantErr: `it ended in "boot"`, wantFlake: true},
		"cut off":     {port: strings.TrimSuffix(records(t, boot, done), "}\n"), wantErr: "checksum", wantFlake: true},
		"damaged":     {port: strings.Replace(records(t, boot, result, done), "default", "dEfault", 1), wantErr: "checksum", wantFlake: true},
		"init failed": {port: records(t, boot, wire.Record{Error: "mounting /proc"}, log, done), wantErr: "init: mounting /proc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var o outcome
			err := o.follow(strings.NewReader(tt.port), time.Now())
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("follow: %v, want %q", err, tt.wantErr)
			}
			if errors.Is(err, errFlake) != tt.wantFlake {
				t.Errorf("follow: %v: flake %v, want %v", err, !tt.wantFlake, tt.wantFlake)
			}
			if name == "whole" {
				if o.release != boot.Boot.Release || len(o.results) != 1 || len(o.log) != 1 {
					t.Errorf("follow kept %+v", o)
				}
			}
		})
	}
}

func TestSplats(t *testing.T) {
	tests := map[string]struct {
		line string
		want bool
	}{
		"bug":            {"BUG: kernel NULL pointer dereference, address: 0000000000000010", true},
		"warning":        {"WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:12 f+0x1/0x2", true},
		"oops":           {"Oops: 0002 [#1] PREEMPT SMP NOPTI", true},
		"ubsan":          {"UBSAN: array-index-out-of-bounds in x.c:1:2", true},
		"soft lockup":    {"watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [init:1]", true},
		"rcu":            {"rcu: INFO: rcu_preempt self-detected stall on CPU", true},
		"rcu from afar":  {"rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", true},
		"hung task":      {"INFO: task init:1 blocked for more than 120 seconds.", true},
		"panic":          {"Kernel panic - not syncing: Attempted to kill init!", true},
		"protection":     {"general protection fault, probably for non-canonical address", true},
		"debug":          {"DEBUG_INFO_BTF is on", false},
		"stall detector": {"rcu: RCU CPU stall detector disabled", false},
		"plain":          {"Linux version 6.1.0-56-cloud-amd64", false},
		"speculation":    {"Spectre V2 : Mitigation: Retpolines", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := outcome{console: "[    1.234567] " + tt.line + "\r\n", log: []string{tt.line, "init: done"}}
			var want []string
			if tt.want {
				want = []string{tt.line}
			}
			if d := cmp.Diff(want, o.splats()); d != "" {
				t.Errorf("splats (-want +got):\n%s", d)
			}
		})
	}
}
