// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// found is a finding as a moment has it: times in seconds, until 0 while it lasts.
func found(id string, sev triage.Severity, since, until int) triage.Finding {
	return triage.Finding{
		ID: id, Severity: sev, Title: id + " at " + sev.String(), Pane: "cpu", Row: "all", Command: "vmstat 1",
		Since: time.Duration(since) * time.Second, Until: time.Duration(until) * time.Second,
	}
}

// judgedAt is a frame whose moments, one a second from 0 on, have these findings.
func judgedAt(moments ...[]triage.Finding) Frame {
	var f Frame
	for i, list := range moments {
		at := time.Duration(i) * time.Second
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Taken: began.Add(at)}, Findings: list})
	}
	f.Now, f.Rules = f.Past[len(f.Past)-1], 1
	f.At = f.Now.Taken
	return f
}

func TestEpisodes(t *testing.T) {
	const i, w, c = triage.Info, triage.Warning, triage.Critical
	a := func(sev triage.Severity, since, until int) triage.Finding { return found("a", sev, since, until) }
	b := func(sev triage.Severity, since, until int) triage.Finding { return found("b", sev, since, until) }
	type all = []triage.Finding
	verdict := func(f Frame, list ...triage.Finding) Frame {
		f.Verdict = &Verdict{After: time.Second, Findings: list}
		return f
	}
	tests := map[string]struct {
		f    Frame
		want []string
	}{
		"nothing":                {judgedAt(nil, nil), nil},
		"it lasts":               {judgedAt(nil, all{a(w, 1, 0)}, all{a(w, 1, 0)}), []string{"a warning 1-now"}},
		"it is over":             {judgedAt(all{a(w, 0, 0)}, all{a(w, 0, 1)}, all{a(w, 0, 1)}), []string{"a warning 0-1"}},
		"it comes again":         {judgedAt(all{a(w, 0, 0)}, all{a(w, 0, 1)}, all{a(i, 2, 0)}, all{a(i, 2, 3)}), []string{"a info 2-3", "a warning 0-1"}},
		"what lasts is first":    {judgedAt(all{a(w, 0, 0), b(i, 0, 0)}, all{b(i, 0, 0), a(w, 0, 1)}), []string{"b info 0-now", "a warning 0-1"}},
		"two change places":      {judgedAt(all{a(w, 0, 0), b(w, 0, 0)}, all{b(w, 0, 0), a(w, 0, 0)}), []string{"b warning 0-now", "a warning 0-now"}},
		"the worst it was":       {judgedAt(all{a(w, 0, 0)}, all{a(c, 0, 0)}, all{a(i, 0, 0)}, all{a(i, 0, 3)}), []string{"a critical 0-3"}},
		"over before it is kept": {judgedAt(all{a(w, 0, 1), b(w, 0, 0)}, all{b(w, 0, 0)}), []string{"b warning 0-now", "a warning 0-1"}},
		"it goes without a word": {judgedAt(all{a(w, 0, 0)}, nil, nil), []string{"a warning 0-1"}},
		"an outlier again":       {judgedAt(all{a(w, 0, 0)}, all{a(w, 0, 1)}, all{a(w, 0, 0)}), []string{"a warning 0-now"}},
		"found at 60 s":          {verdict(judgedAt(nil, nil, all{b(w, 2, 0)}), a(w, 0, 0)), []string{"b warning 2-now", "a warning 0-lost"}},
		"found then and now":     {verdict(judgedAt(nil, all{a(w, 0, 0)}), a(w, 0, 0)), []string{"a warning 0-now"}},
		"found at 60 s, again":   {verdict(judgedAt(all{a(w, 0, 0)}, all{a(w, 0, 1)}, nil, all{a(i, 3, 0)}), a(w, 0, 0)), []string{"a info 3-now", "a warning 0-1"}},
		"the verdict is to come": {verdict(judgedAt(nil), a(w, 0, 0)), nil},
	}
	for name, tt := range tests {
		var got []string
		for _, e := range episodes(tt.f) {
			x := e.shown()
			until := "now"
			if e.lost {
				until = "lost"
			} else if e.until != 0 {
				until = fmt.Sprintf("%.0f", e.until.Seconds())
			}
			got = append(got, fmt.Sprintf("%s %s %.0f-%s", x.ID, e.severity(), x.Since.Seconds(), until))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Of what the history keeps all counts, also what is older than the screen steps; of what comes later
// than the moment shown nothing.
func TestEpisodesOfAllThatIsKept(t *testing.T) {
	f := judgedAt([]triage.Finding{found("a", triage.Warning, 0, 0)}, []triage.Finding{found("a", triage.Warning, 0, 1)}, nil, nil, []triage.Finding{found("b", triage.Warning, 4, 0)})
	f.Kept = f.Past
	f.Past = f.Past[3:4]
	f.Now = f.Past[0]
	if got := episodes(f); len(got) != 1 || got[0].now.ID != "a" || got[0].until != time.Second {
		t.Errorf("episodes = %+v, want a alone, over at 1 s", got)
	}
}

// The table says when by the wall clock and how long, and sorts by each column.
func TestFindingsTable(t *testing.T) {
	x := found("cpu.saturated", triage.Critical, 0, 0)
	x.AtStart, x.Culprits = true, []triage.Culprit{{Kind: "process", Name: safe("gzip[7]"), Share: 0.5}}
	over := found("mem.swapping", triage.Warning, 1, 2)
	f := judgedAt([]triage.Finding{x}, []triage.Finding{x, found("mem.swapping", triage.Warning, 1, 0)}, []triage.Finding{x, over}, []triage.Finding{x, over})
	cells := func(t Table) (out []string) {
		for _, r := range t.Rows {
			var row []string
			for i, c := range t.Columns[:6] {
				row = append(row, r.Cells[i].fit(c))
			}
			out = append(out, strings.Join(row, " "))
		}
		return out
	}
	cpu, mem := "cpu.saturated critical 09:26:00 now 3s+ gzip[7] 50 %", "mem.swapping warning 09:26:01 09:26:02 1s -"
	p := NewFindings()
	if d := cmp.Diff([]string{cpu, mem}, cells(p.Table(f))); d != "" {
		t.Errorf("its own order (-want +got):\n%s", d)
	}
	for column, want := range map[string][]string{"severity": {cpu, mem}, "since": {mem, cpu}, "until": {cpu, mem}, "lasted": {cpu, mem}, "finding": {cpu, mem}, "who": {cpu, mem}, "what": {cpu, mem}} {
		p.list = newList(column)
		if d := cmp.Diff(want, cells(p.Table(f))); d != "" {
			t.Errorf("by %s (-want +got):\n%s", column, d)
		}
	}
	f.Span = time.Minute
	if got := p.Table(f).Rows[0].Cells[2].Format(0); got != "2026-03-14T09:26:00Z" && got != "2026-03-14T09:26:01Z" {
		t.Errorf("a report says %q, want the day and the zone too", got)
	}
}

func TestFindingsFlows(t *testing.T) {
	open := []string{":", "f", "i", "n", "d", "enter"}
	tests := map[string]struct {
		keys []string
		want []string
		lack []string
	}{
		"the list":                {open, []string{"cpu.saturated", "cpu.steal", "09:26:33", "verify  "}, nil},
		"the selected one":        {append(open, "j"), []string{">cpu.runq_latency", "cpu.runq_latency ── warning ── caused by cpu.saturated", "runqlat 1"}, nil},
		"Enter leads to its pane": {append(open, "enter"), []string{"[2 CPU]", "> all"}, nil},
		"Esc comes back":          {append(open, "j", "enter", "esc"), []string{">cpu.runq_latency"}, nil},
		"a filter":                {append(open, "/lasted>56", "enter"), []string{"1 of 4 rows", "cpu.saturated"}, []string{"cpu.steal"}},
		"sorted by length":        {append(open, "right", "right", "right", "right", "right", "s"), []string{"↓LASTED"}, nil},
		"the commands":            {append(open, "e"), []string{"vmstat 1", "for cpu.saturated", "mpstat -P ALL 1"}, nil},
		"a scope":                 {append(open, "f"), []string{"in gzip[4121]"}, []string{"cpu.steal"}},
		"more columns":            {append(open, "C"), []string{"THRESHOLD"}, nil},
	}
	f := judgedFrame()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(f), 80, 24)
			for _, k := range tt.keys {
				press(r, k)
				r.View()
			}
			sees(t, r, name, tt.want...)
			for _, s := range tt.lack {
				if strings.Contains(r.View(), s) {
					t.Errorf("the screen shows %q:\n%s", s, r.View())
				}
			}
		})
	}
}

// A finding that leads nowhere says so.
func TestFindingWithoutPane(t *testing.T) {
	x := found("a", triage.Warning, 0, 0)
	x.Pane = ""
	p := NewFindings()
	got := p.Update(Press{ID: "open", Frame: judgedAt([]triage.Finding{x})})
	if d := cmp.Diff(Answer(SayMsg{"a has no pane of its own"}), got); d != "" {
		t.Errorf("Enter (-want +got):\n%s", d)
	}
}

// The history of a quiet host is hours: a frame takes little of a tick to list it.
func BenchmarkEpisodes(b *testing.B) {
	var moments [][]triage.Finding
	for i := range 7200 {
		var list []triage.Finding
		for k := range 20 {
			until := 0
			if k > 4 && i > k {
				until = k
			}
			list = append(list, found(fmt.Sprint("finding", k), triage.Warning, 0, until))
		}
		moments = append(moments, list)
	}
	f := judgedAt(moments...)
	for b.Loop() {
		if len(episodes(f)) != 20 {
			b.Fatal("the episodes are not all listed")
		}
	}
}
