// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// Parent and age of a culprit are those that the tasks tell; what they do not tell is not guessed.
func TestOrigin(t *testing.T) {
	info := func(pid, ppid int32, comm string, began time.Duration) *collectors.ProcInfo {
		return &collectors.ProcInfo{Process: collectors.Process{TGID: pid, Start: uint64(began)}, PID: pid, PPID: ppid, Comm: collectors.RawString(comm)}
	}
	cron, gzip, child, orphan := info(640, 1, "cron", time.Hour), info(4121, 640, "gzip", 2*time.Hour), info(4300, 4121, "sh", 3*time.Hour), info(9, 7, "lost", time.Hour)
	younger := info(4500, 4600, "odd", time.Hour)
	up := 5 * time.Hour
	host := &collectors.Host{Span: collectors.Span{From: 9 * time.Second, To: 10 * time.Second}, Uptime: up}
	f := Frame{Past: []triage.Moment{
		{Snapshot: &collectors.Snapshot{At: 9 * time.Second, Tasks: &collectors.Tasks{Key: []collectors.TaskState{
			{ProcInfo: orphan}, {ProcInfo: cron}, {ProcInfo: gzip}, {ProcInfo: child}, {ProcInfo: younger}, {ProcInfo: info(4600, 1, "new", 4*time.Hour)},
		}}}},
		{Snapshot: &collectors.Snapshot{At: 10 * time.Second, Host: host, Tasks: &collectors.Tasks{
			Rows: []collectors.TaskRow{{ProcInfo: gzip}}, Gone: []collectors.Process{child.Process},
		}}},
	}}
	f.Now = f.Past[1]
	at := func(pid int32, began time.Duration) collectors.Target {
		return collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: pid, Start: uint64(began)}}
	}
	tests := map[string]struct {
		target collectors.Target
		want   string
	}{
		"that moves":               {at(4121, 2*time.Hour), "parent cron[640], age 3h"},
		"that sleeps":              {at(640, time.Hour), "age 4h"},
		"its start is in ticks":    {at(4121, 2*time.Hour+time.Millisecond), "parent cron[640], age 3h"},
		"another of its number":    {at(4121, 4*time.Hour), ""},
		"its start is not known":   {at(4121, 0), ""},
		"nobody has seen it":       {at(77, time.Hour), ""},
		"it has ended":             {at(4300, 3*time.Hour), "parent gzip[4121]"},
		"the parent has ended":     {at(9, time.Hour), "age 4h"},
		"the parent's number anew": {at(4500, time.Hour), "age 4h"},
		"a cgroup":                 {collectors.Target{Kind: collectors.CgroupTarget, Cgroup: 7}, ""},
		"the host":                 {collectors.Target{}, ""},
	}
	for name, tt := range tests {
		if got := originOf(f, tt.target).String(); got != tt.want {
			t.Errorf("%s: origin = %q, want %q", name, got, tt.want)
		}
	}
	who := []triage.Culprit{{Kind: "process", Name: safe("gzip[4121]"), Cgroup: safe("backup.service"), Share: 0.7, Target: at(4121, 2*time.Hour)}}
	if got, want := people(f, who), "gzip[4121] 70 % in backup.service (parent cron[640], age 3h)"; got != want {
		t.Errorf("people = %q, want %q", got, want)
	}
	data, err := json.Marshal(culpritsJSON(f, who)[0])
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(`"parent":{"name":"cron","pid":640},"age_seconds":10800}`, string(data[strings.Index(string(data), `"parent"`):])); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
}

// The last minute of the first cause is that of the line it names, whatever its pane.
func TestCauseOverTime(t *testing.T) {
	for line, want := range map[string]string{
		"uptime":  "  runnable, 60 samples, 0 to ",
		"runqlat": "  p99, 60 samples, 0-1µs to >1s: ",
		"iostat":  " aqu-sz, 60 samples, 0 to ",
		"free":    "  available, 60 samples, 0 to ",
		"sar TCP": "  retrseg/s, 60 samples, 0 to ",
		"stalls":  "  tasks in D, 60 samples, 0 to ",
		"dmesg":   "  warn and err, 60 samples, 0 to ",
	} {
		r := judgedReport()
		x := r.Frame.Now.Findings[0]
		l, _ := checked(r.Frame, line)
		x.Line, x.Pane = line, string(l.pane)
		r.Frame.Now.Findings, r.Frame.Verdict = []triage.Finding{x}, nil
		w := &writer{}
		textCause(w, r, 30)
		last := w.lines[len(w.lines)-1]
		if !strings.Contains(last, want) || strings.HasSuffix(last, "…") {
			t.Errorf("%s: the cause ends with %q, want %q", line, last, want)
		}
	}
}
