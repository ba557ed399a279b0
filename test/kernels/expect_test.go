// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"bpf60/collectors"
	"github.com/google/go-cmp/cmp"
)

const sampleTable = `# a comment
default  runqlat  both    on!       tp_btf sched_switch      all
no-btf   runqlat  report  degraded  tracepoint sched_switch  5.10,6.1
no-btf   runqlat  doctor  off       -                        5.10
default  slabtop  report  on|off    *                        7.x
default  drsnoop  report  off       -                        7.x
default  drsnoop  doctor  on        tp_btf                   7.x
skip  bpf.TestX/new hook  5.10
`

func TestParseExpectation(t *testing.T) {
	e, err := parseExpectation(sampleTable)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(e.cells), 2*len(matrix())+2+1+1+2; got != want {
		t.Errorf("%d cells, want %d", got, want)
	}
	for a, w := range map[at]want{
		{"7.x", "default", "doctor", "runqlat"}:  {"on", "tp_btf sched_switch", true},
		{"6.1", "no-btf", "report", "runqlat"}:   {"degraded", "tracepoint sched_switch", false},
		{"5.10", "no-btf", "doctor", "runqlat"}:  {"off", "", false},
		{"6.12", "no-btf", "report", "runqlat"}:  {},
		{"5.10", "default", "report", "runqlat"}: {"on", "tp_btf sched_switch", true},
	} {
		if e.cells[a] != w {
			t.Errorf("cell %v = %v, want %v", a, e.cells[a], w)
		}
	}
	if !e.skips[at{kernel: "5.10", probe: "bpf.TestX/new hook"}] || len(e.skips) != 1 {
		t.Errorf("skips = %v", e.skips)
	}
	for name, text := range map[string]string{
		"a column short": "default  runqlat  both  on  all\n",
		"twice":          sampleTable + "default  runqlat  report  off  -  6.1\n",
	} {
		if _, err := parseExpectation(text); err == nil {
			t.Errorf("%s: parseExpectation gave no error", name)
		}
	}
}

func TestCheck(t *testing.T) {
	on := probe{Name: "runqlat", State: "on", Hook: "tp_btf sched_switch", Events: 7}
	report, doctor := at{"7.x", "default", "report", "runqlat"}, at{"7.x", "default", "doctor", "runqlat"}
	slab := at{"7.x", "default", "report", "slabtop"}
	lateReport, lateDoctor := at{"7.x", "default", "report", "drsnoop"}, at{"7.x", "default", "doctor", "drsnoop"}
	tests := map[string]struct {
		change func(*column)
		want   string
	}{
		"as foreseen":       {func(*column) {}, ""},
		"another state":     {func(c *column) { p := on; p.State, p.Reason = "off", "EPERM"; c.probes[report] = p }, `is off by "tp_btf sched_switch", want on by "tp_btf sched_switch": EPERM`},
		"another hook":      {func(c *column) { p := on; p.Hook = "raw_tp"; c.probes[doctor] = p }, `doctor default, probe runqlat: is on by "raw_tp"`},
		"counted nothing":   {func(c *column) { p := on; p.Events = 0; c.probes[report] = p }, "counted nothing"},
		"doctor need not":   {func(c *column) { p := on; p.Events = 0; c.probes[doctor] = p }, ""},
		"one of two states": {func(c *column) { c.probes[slab] = probe{State: "off", Reason: "slow", Hook: "x"} }, ""},
		"none of them":      {func(c *column) { c.probes[slab] = probe{State: "failed", Reason: "slow"} }, "is failed by"},
		"early":             {func(c *column) { c.probes[lateReport] = c.probes[lateDoctor] }, ""},
		"another early one": {func(c *column) { c.probes[lateReport] = on }, "report default, probe drsnoop: is on by"},
		"without an answer": {func(c *column) { c.probes[lateReport] = probe{State: "failed", Reason: "no answer for 8 s"} }, ""},
		"failed":            {func(c *column) { c.probes[lateReport] = probe{State: "failed", Reason: "EINVAL"} }, "is failed by"},
		"doctor waits":      {func(c *column) { c.probes[lateDoctor] = probe{State: "failed", Reason: "no answer for 8 s"} }, "is failed by"},
		"missing":           {func(c *column) { delete(c.probes, doctor) }, "doctor default, probe runqlat: is missing"},
		"not foreseen":      {func(c *column) { c.probes[at{"7.x", "default", "report", "new"}] = on }, "probe new: not in the table"},
		"skip":              {func(c *column) { c.skipped["bpf.TestX/new hook"] = true }, "TestX/new hook was skipped"},
		"skip as foreseen":  {func(c *column) { c.kernel.name = "5.10"; c.skipped["bpf.TestX/new hook"] = true; fill(c, on) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := parseExpectation(sampleTable)
			if err != nil {
				t.Fatal(err)
			}
			c := newColumn()
			c.kernel.name = "7.x"
			c.probes[report], c.probes[doctor], c.probes[slab] = on, on, probe{State: "on"}
			c.probes[lateReport], c.probes[lateDoctor] = probe{State: "off", Reason: "nobody looks"}, probe{State: "on", Hook: "tp_btf"}
			tt.change(c)
			e.check(c)
			got := strings.Join(c.failures, "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || len(c.failures) > 1 {
				t.Errorf("failures = %q, want one with %q", c.failures, tt.want)
			}
		})
	}
}

func TestSound(t *testing.T) {
	tests := map[string]struct {
		p    probe
		want string
	}{
		"on":              {probe{State: "on"}, ""},
		"off with reason": {probe{State: "off", Reason: "PSI is off"}, ""},
		"no reason":       {probe{State: "degraded"}, "is degraded and does not say why"},
		"not started":     {probe{State: "off", Reason: "not started"}, "still on its way"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newColumn()
			c.probes[at{"6.1", "default", "doctor", "psi"}] = tt.p
			c.sound()
			got := strings.Join(c.failures, "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("failures = %q, want one with %q", c.failures, tt.want)
			}
		})
	}
}

// TestUnsettled: the runner needs no package of the program it runs, so it has the words twice.
func TestUnsettled(t *testing.T) {
	if want := collectors.ErrWarming.Error(); !slices.Contains(unsettled(), want) {
		t.Errorf("unsettled() lacks %q", want)
	}
}

// fill gives a 5.10 column all cells of the sample table.
func fill(c *column, on probe) {
	clear(c.probes)
	c.probes[at{"5.10", "default", "report", "runqlat"}] = on
	c.probes[at{"5.10", "default", "doctor", "runqlat"}] = on
	c.probes[at{"5.10", "no-btf", "report", "runqlat"}] = probe{State: "degraded", Hook: "tracepoint sched_switch", Reason: "needs BTF"}
	c.probes[at{"5.10", "no-btf", "doctor", "runqlat"}] = probe{State: "off", Reason: "needs BTF"}
}

// TestUpdate: what update writes is what check accepts, and a "!" is kept.
func TestUpdate(t *testing.T) {
	e, err := parseExpectation(sampleTable)
	if err != nil {
		t.Fatal(err)
	}
	var columns []*column
	for _, k := range matrix() {
		c := newColumn()
		c.kernel = k
		for _, command := range []string{"report", "doctor"} {
			c.probes[at{k.name, "default", command, "runqlat"}] = probe{State: "on", Hook: "tp_btf sched_switch", Events: 1}
			hook := "wake-up hooks"
			if k.name == "5.10" {
				hook = ""
			}
			c.probes[at{k.name, "bare", command, "runqlat"}] = probe{State: "off", Hook: hook, Reason: "needs BTF"}
		}
		c.probes[at{k.name, "user", "doctor", "psi"}] = probe{State: "on", Hook: "/proc/pressure"}
		columns = append(columns, c)
	}
	columns[1].skipped["bpf.TestY"] = true
	want := expectHeader + `# variant  probe    command  state  hook                 kernels
default    runqlat  both     on!    tp_btf sched_switch  all
bare       runqlat  both     off    -                    5.10
bare       runqlat  both     off    wake-up hooks        6.1,6.12,7.x
user       psi      doctor   on     /proc/pressure       all
skip  bpf.TestY  6.1
`
	got := e.update(columns)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("update (-want +got):\n%s", d)
	}
	e, err = parseExpectation(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		if e.check(c); len(c.failures) > 0 {
			t.Errorf("check of what update wrote: %q", c.failures)
		}
	}
}

// TestCheckedInTable: the file must parse, and name only variants that are run.
func TestCheckedInTable(t *testing.T) {
	b, err := os.ReadFile("expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	e, err := parseExpectation(string(b))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, v := range variants() {
		known[v.name] = true
	}
	for a := range e.cells {
		if !known[a.variant] || !strings.Contains("5.10 6.1 6.12 7.x", a.kernel) {
			t.Errorf("expected.txt speaks of %s on %s, which nobody runs", a.variant, a.kernel)
		}
	}
}

func TestPlan(t *testing.T) {
	names := map[string]bool{}
	for _, b := range boots() {
		for _, s := range plan(b, suites()).Steps {
			if names[s.Name] {
				t.Errorf("step %q is there twice", s.Name)
			}
			names[s.Name] = true
			if s.Limit <= 0 || s.KillAfter >= s.Limit {
				t.Errorf("step %q has the limit %v and is killed after %v", s.Name, s.Limit, s.KillAfter)
			}
		}
	}
	for _, want := range []string{"test bpf", "report default", "doctor no-btf", "report bare", "report psi=0", "report user", "kill"} {
		if !names[want] {
			t.Errorf("no step %q", want)
		}
	}
}
