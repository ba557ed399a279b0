// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// fill puts one second's samples into a snapshot; i counts seconds from 1.
type fill func(i int, s *collectors.Snapshot, span collectors.Span)

// ticking is a history of n seconds that all of fills describe.
func ticking(n int, fills ...fill) *History {
	h := &History{}
	for _, s := range snapshotsOf(n, fills...) {
		h.Append(Moment{Snapshot: s})
	}
	return h
}

// snapshotsOf are the snapshots of n seconds that all of fills describe: a history gives up details of old ones.
func snapshotsOf(n int, fills ...fill) (out []*collectors.Snapshot) {
	for i := 1; i <= n; i++ {
		at := time.Duration(i) * time.Second
		s := &collectors.Snapshot{Seq: uint64(i), At: at}
		for _, f := range fills {
			f(i, s, collectors.Span{From: at - time.Second, To: at})
		}
		out = append(out, s)
	}
	return out
}

// judged runs one rule over a history, and finds it by its ID.
func judged(t *testing.T, id string, h *History) Finding {
	t.Helper()
	f, _ := judge(t, id, h)
	return f
}

func judge(t *testing.T, id string, h *History) (Finding, []collectors.Want) {
	t.Helper()
	rules := All(nil)
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("there is no rule %s", id)
	}
	f, wants := rules[i].Check(h)
	if f.ID != "" && f.ID != id {
		t.Errorf("rule %s finds %s", id, f.ID)
	}
	return f, wants
}

// says is a finding in a few words: "warning 60.0 % by a, b hits c"; empty without one.
func says(f Finding) string {
	if f.ID == "" {
		return ""
	}
	s := fmt.Sprintf("%v %.4g %s", f.Severity, f.Value, f.Unit)
	names := func(word string, list []Culprit) {
		var out []string
		for _, c := range list {
			out = append(out, c.Name.String())
		}
		if len(out) > 0 {
			s += " " + word + " " + strings.Join(out, ", ")
		}
	}
	names("by", f.Culprits)
	names("hits", f.Victims)
	if f.Outlier {
		s += " at once"
	}
	return s
}

// ruleCase is one history and what a rule says of it.
type ruleCase struct {
	h    *History
	want string // as says has it
	in   string // must be in the title
}

// tableOf is how the rows begin that findings lead to whose pane has several tables and opens with another.
func tableOf() map[string]string {
	return map[string]string{
		"file.churn": "churn/", "file.open_storm": "openers/", "file.open_failures": "openfails/", "fs.slow": "slowfiles/",
		"proc.crash_loop": "exits/", "proc.exec_storm": "short/", "mem.oom_kill": "kill ",
	}
}

func checkCases(t *testing.T, id string, cases map[string]ruleCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			f := judged(t, id, tt.h)
			if diff := cmp.Diff(tt.want, says(f)); diff != "" {
				t.Errorf("%s (-want +got):\n%s\n%s\n%v", id, diff, f.Title, f.Evidence)
			}
			if !strings.Contains(f.Title, tt.in) {
				t.Errorf("title %q lacks %q", f.Title, tt.in)
			}
			if f.ID == "" {
				return
			}
			if f.Title == "" || f.Unit == "" || f.Resource == "" || f.Pane == "" || f.Command == "" {
				t.Errorf("%s lacks a title, unit, resource, pane or command: %+v", id, f)
			}
			if row := tableOf()[id]; f.Pane != "log" && !strings.HasPrefix(f.Row, row) {
				t.Errorf("%s leads to the row %q, want one of %q", id, f.Row, row)
			}
		})
	}
}

// host is what does not change: CPUs, pages of 4 KiB, 1 GiB of memory, and PSI in percent.
func hostWith(psi collectors.PSI) fill {
	facts := &collectors.Facts{CPUs: 2, PageSize: 4096}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Host = &collectors.Host{Span: span, Facts: facts, PSI: psi, Uptime: time.Hour + span.To, Mem: collectors.Mem{Total: 1 << 30}}
	}
}

func some(percent float64) collectors.Pressure {
	return collectors.Pressure{Known: true, Some: time.Duration(percent * float64(10*time.Millisecond))}
}

// ticksOf are two CPUs of 100 ticks a second each, with so many runnable tasks beside ourselves.
func ticksOf(runnable int, cpus ...collectors.Ticks) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		c := &collectors.CPU{Span: span, Running: runnable + 1, VMKnown: true}
		for n, t := range cpus {
			c.CPUs = append(c.CPUs, collectors.CPUTime{CPU: n, Ticks: t})
			c.All = plus(c.All, t)
		}
		s.CPU = c
	}
}

func busyCPU() collectors.Ticks { return collectors.Ticks{User: 100} }
func idleCPU() collectors.Ticks { return collectors.Ticks{Idle: 100} }

// proc is a process with what it does each second.
type proc struct {
	pid, parent int32
	comm        string
	cgroup      string
	nice        int8
	policy      uint8
	kernel      bool
	run, wait   time.Duration
	more        *collectors.TaskMore
	rss         func(i int) uint32 // pages in second i
	threads     uint32
}

// tasks are processes that do the same every second, all listed from the start.
func tasks(procs ...proc) fill {
	infos := make([]*collectors.ProcInfo, len(procs))
	for i, p := range procs {
		infos[i] = &collectors.ProcInfo{
			Process: collectors.Process{TGID: p.pid, Start: uint64(p.pid)}, PID: p.pid, PPID: p.parent, Comm: collectors.RawString(p.comm),
			CgroupPath: collectors.RawString(p.cgroup), Nice: p.nice, Policy: p.policy, Kernel: p.kernel,
		}
	}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		t := &collectors.Tasks{Span: span, Source: "iter/task"}
		for k, p := range procs {
			row := collectors.TaskRow{ProcInfo: infos[k], Run: p.run, Wait: p.wait, More: p.more, Threads: max(p.threads, 1)}
			if p.rss != nil {
				row.RSS = p.rss(i)
			}
			if row.Run > 0 || row.Wait > 0 || row.More != nil || p.rss != nil {
				t.Rows = append(t.Rows, row)
			}
			if i == 1 {
				t.Key = append(t.Key, collectors.TaskState{ProcInfo: infos[k]})
			}
		}
		s.Tasks = t
	}
}

// ms is so many milliseconds.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestRulesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range All(nil) {
		if seen[r.ID] {
			t.Errorf("there are two rules %s", r.ID)
		}
		seen[r.ID] = true
		if r.Says == "" || r.Check == nil {
			t.Errorf("%s says nothing, or checks nothing", r.ID)
		}
		names := map[string]bool{}
		for _, l := range r.Limits {
			if names[l.Name] || l.Says == "" || l.Unit == "" || l.Least >= l.Most || l.Default < l.Least || l.Default > l.Most {
				t.Errorf("%s: limit %+v is there twice, or its default is out of range, or it says nothing", r.ID, l)
			}
			names[l.Name] = true
		}
		if f, wants := r.Check(&History{}); f.ID != "" || wants != nil {
			t.Errorf("%s finds %v in nothing", r.ID, f)
		}
		empty := ticking(12, func(int, *collectors.Snapshot, collectors.Span) {})
		if f, _ := r.Check(empty); f.ID != "" {
			t.Errorf("%s finds %v where nothing is measured", r.ID, f)
		}
		if r.Evidence != nil {
			r.Evidence(empty)
		}
		if r.Blind != nil {
			r.Blind(empty)
		}
	}
}

// A rule speaks of ten seconds only when it has seen them.
func TestLimitsAreObeyed(t *testing.T) {
	steal := ticksOf(1, collectors.Ticks{User: 85, Steal: 15})
	for name, tt := range map[string]struct {
		limits Limits
		n      int
		want   bool
	}{
		"default":   {nil, 10, true},
		"too early": {nil, 8, false},
		"higher":    {Limits{"cpu.steal.share": 16}, 10, false},
		"another's": {Limits{"cpu.saturated.wait": 100}, 10, true},
	} {
		rules := All(tt.limits)
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == "cpu.steal" })
		if f, _ := rules[i].Check(ticking(tt.n, steal)); (f.ID != "") != tt.want {
			t.Errorf("%s: %v, want %v", name, f.ID != "", tt.want)
		}
	}
}

func TestCheckLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		name  string
		value float64
		want  string
	}{
		"good":       {"cpu.steal.share", 1, ""},
		"too little": {"cpu.steal.share", 0.9, "0.9 is out of range: use 1 to 100 %"},
		"no limit":   {"cpu.steal.shares", 1, "cpu.steal has no such limit: use share, critical"},
		"no finding": {"cpu.steel.share", 1, "there is no such finding: use cpu."},
		"half":       {"cpu.steal", 1, "there is no such finding"},
	} {
		err := CheckLimit(tt.name, tt.value)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: CheckLimit = %v, want %q", name, err, tt.want)
		}
	}
}
