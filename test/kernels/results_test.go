// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"bpf60/test/kernels/wire"
	"github.com/google/go-cmp/cmp"
)

func newColumn() *column {
	return &column{
		kernel: kernel{name: "6.1"}, pkg: pkg{name: "linux-image-6.1.0-56-cloud-amd64"},
		probes: map[at]probe{}, skipped: map[string]bool{}, ran: true,
	}
}

func TestTakeStep(t *testing.T) {
	const probes = `{"probes":[{"name":"runqlat","state":"on","hook":"tp_btf sched_switch","events":7}]}`
	tests := map[string]struct {
		result wire.Result
		want   string // in the one failure; "" is none
	}{
		"tests pass":         {wire.Result{Name: "test bpf", Stdout: []byte("=== RUN   TestA\n--- PASS: TestA (0.01s)\nPASS\n")}, ""},
		"test fails":         {wire.Result{Name: "test bpf", Code: 1, Stdout: []byte("--- PASS: TestA (0.01s)\n--- FAIL: TestB (0.01s)\n    b.go:3: got 1\n")}, "bpf.TestB: exit code 1\n"},
		"subtest fails":      {wire.Result{Name: "test bpf", Code: 1, Stdout: []byte("--- FAIL: TestB (0.01s)\n    --- FAIL: TestB/x (0.01s)\n")}, "bpf.TestB/x"},
		"fail, exit code 0":  {wire.Result{Name: "test bpf", Stdout: []byte("--- PASS: TestA (0.01s)\n--- FAIL: TestB (0.01s)\n")}, "exit code is 0"},
		"no test":            {wire.Result{Name: "test bpf", Stdout: []byte("testing: warning: no tests to run\nPASS\n")}, "no test passed"},
		"all skipped":        {wire.Result{Name: "test bpf", Stdout: []byte("--- SKIP: TestA (0.00s)\nPASS\n")}, "no test passed"},
		"test panics":        {wire.Result{Name: "test bpf", Code: 2, Stdout: []byte("--- PASS: TestA (0.01s)\n"), Stderr: []byte("panic: boom\n")}, "panic: boom"},
		"report":             {wire.Result{Name: "report default", Stdout: []byte(probes)}, ""},
		"report fails":       {wire.Result{Name: "report default", Code: 1, Stdout: []byte(probes), Stderr: []byte("no such pane")}, "exit code 1\nno such pane"},
		"report crashes":     {wire.Result{Name: "report default", Code: -1, Signal: "segmentation fault"}, "segmentation fault"},
		"report hangs":       {wire.Result{Name: "report default", Code: 2, TimedOut: true, Seconds: 60, Stderr: []byte("goroutine 1")}, "not done within 60 s\ngoroutine 1"},
		"report not started": {wire.Result{Name: "report default", Code: -1, Error: "starting /bin/bpf60: no such file"}, "starting /bin/bpf60"},
		"report is text":     {wire.Result{Name: "report default", Stdout: []byte("bpf60 report")}, "reading its JSON"},
		"report is cut":      {wire.Result{Name: "report default", Stdout: []byte(probes[:20])}, "reading its JSON"},
		"report of nothing":  {wire.Result{Name: "report default", Stdout: []byte(`{"schema":"bpf60.report/1"}`)}, "names no probe"},
		"probe twice":        {wire.Result{Name: "doctor default", Stdout: []byte(`{"probes":[{"name":"a"},{"name":"a"}]}`)}, `probe "a" twice`},
		"leaves a link":      {wire.Result{Name: "report default", Stdout: []byte(probes), Left: []string{"link 3 "}}, "left in the kernel: link 3"},
		"killed":             {wire.Result{Name: "kill", Code: -1, Signal: "killed", Peak: wire.Objects{Programs: 3, Maps: 2, Links: 3, Events: 2}}, ""},
		"killed, held none":  {wire.Result{Name: "kill", Code: -1, Signal: "killed"}, "nothing was checked"},
		"killed, no events":  {wire.Result{Name: "kill", Code: -1, Signal: "killed", Peak: wire.Objects{Programs: 3, Links: 3}}, "0 perf events before its end"},
		"killed, left":       {wire.Result{Name: "kill", Code: -1, Signal: "killed", Peak: wire.Objects{Programs: 3, Links: 3, Events: 1}, Left: []string{"program 7 x"}}, "left in the kernel: program 7 x"},
		"ended before":       {wire.Result{Name: "kill", Code: 1, Stderr: []byte("no"), Peak: wire.Objects{Programs: 3, Links: 3, Events: 1}}, "ended by itself: exit code 1\nno"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newColumn()
			c.takeStep(tt.result)
			got := strings.Join(c.failures, "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || len(c.failures) > 1 {
				t.Errorf("failures = %q, want one with %q", c.failures, tt.want)
			}
		})
	}
}

func TestTakeTests(t *testing.T) {
	c := newColumn()
	c.takeStep(wire.Result{Name: "test bpf", Stdout: []byte(
		"--- PASS: TestA (0.01s)\n    --- PASS: TestA/one (0.00s)\n    --- SKIP: TestA/two (0.00s)\n--- SKIP: TestB (0.00s)\nlog: --- PASS: not a verdict\n")})
	if c.passed != 2 {
		t.Errorf("passed = %d, want 2", c.passed)
	}
	if d := cmp.Diff(map[string]bool{"bpf.TestA/two": true, "bpf.TestB": true}, c.skipped); d != "" {
		t.Errorf("skipped (-want +got):\n%s", d)
	}
}

func TestTakeTestsOnceMore(t *testing.T) {
	out := "--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/one (0.00s)\n--- PASS: TestB (0.00s)\n"
	tests := map[string]struct {
		code         int
		again        string
		passed       int
		flaked, fail []string
	}{
		"good then": {0, "--- PASS: TestA (0.01s)\n    --- PASS: TestA/one (0.00s)\n", 3, []string{"bpf.TestA passed at the second try", "bpf.TestA/one passed at the second try"}, nil},
		"bad again": {1, "--- FAIL: TestA (0.01s)\n    --- PASS: TestA/one (0.00s)\n", 2, []string{"bpf.TestA/one passed at the second try"}, []string{"test bpf: bpf.TestA: exit code 1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newColumn()
			c.takeStep(wire.Result{Name: "test bpf", Code: tt.code, Tries: 2, Stdout: []byte(out + tt.again)})
			var fail []string
			for _, f := range c.failures {
				line, _, _ := strings.Cut(f, "\n")
				fail = append(fail, line)
			}
			if d := cmp.Diff(tt.fail, fail); d != "" || c.passed != tt.passed {
				t.Errorf("%d passed, want %d; failures (-want +got):\n%s", c.passed, tt.passed, d)
			}
			if d := cmp.Diff(tt.flaked, c.flaked); d != "" {
				t.Errorf("flaked (-want +got):\n%s", d)
			}
		})
	}
}

func TestTake(t *testing.T) {
	steps := wire.Plan{Steps: []wire.Step{{Name: "doctor default"}}}
	good := outcome{
		boot: boot{name: "main"}, release: "6.1.0-56-cloud-amd64", log: []string{"Linux version"},
		results: []wire.Result{{Name: "doctor default", Stdout: []byte(`{"probes":[{"name":"psi","state":"on","hook":"/proc/pressure"}]}`)}},
	}
	tests := map[string]struct {
		change  func(*outcome)
		want    string
		wantRan bool
	}{
		"good":           {func(*outcome) {}, "", true},
		"another kernel": {func(o *outcome) { o.release = "6.18.44-fc" }, "not the kernel of linux-image-6.1.0-56", false},
		"never came up":  {func(o *outcome) { o.release = "" }, "not the kernel of", false},
		"panicked":       {func(o *outcome) { o.err, o.results, o.log = errFlake, nil, nil }, "the guest did not reach its end", false},
		"step missing":   {func(o *outcome) { o.results = nil }, "doctor default: no result", false},
		"splat":          {func(o *outcome) { o.log = append(o.log, "BUG: x") }, "kernel log: BUG: x", true},
		"no log":         {func(o *outcome) { o.log = nil }, "no kernel log", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, o := newColumn(), good
			tt.change(&o)
			c.take(o, steps)
			got := strings.Join(c.failures, "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || len(c.failures) > 1 || c.ran != tt.wantRan {
				t.Errorf("take: failures %q, ran %v, want %q, %v", got, c.ran, tt.want, tt.wantRan)
			}
		})
	}
}

func TestClip(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"short": {"a\nb\n", "a\nb"},
		"exact": {"a\nb\nc\nd", "a\nb\nc\nd"},
		"long":  {"a\nb\nc\nd\ne\nf", "a\nb\n… 2 lines …\ne\nf"},
		"empty": {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := clip(tt.text, 4); got != tt.want {
				t.Errorf("clip(%q, 4) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
