// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// script is what a rule says at each second; a second that is not listed says nothing.
type script map[int]Finding

// span lists f at the seconds from to to.
func (s script) span(from, to int, f Finding) script {
	for i := from; i <= to; i++ {
		s[i] = f
	}
	return s
}

// scripted is a rule that follows a script.
func scripted(r Rule, s script) Rule {
	r.Check = func(h *History) (Finding, []collectors.Want) {
		last, _ := h.Last()
		f, ok := s[int(last.At/time.Second)]
		if ok && f.ID == "" {
			f.ID = r.ID
		}
		return f, nil
	}
	return r
}

// ticks runs an engine for seconds from to to.
func ticks(e *Engine, from, to int, probes ...collectors.Probe) []Moment {
	var out []Moment
	for i := from; i <= to; i++ {
		out = append(out, e.Tick(&collectors.Snapshot{
			At:     time.Duration(i) * time.Second,
			Probes: map[collectors.ID][]collectors.Probe{"x": probes},
		}))
	}
	return out
}

// brief is a finding in a few words: "a warning since 5s until 11s".
func brief(f Finding) string {
	s := fmt.Sprintf("%s %v since %v", f.ID, f.Severity, f.Since)
	if f.AtStart {
		s += " or before"
	}
	if f.Until > 0 {
		s += fmt.Sprintf(" until %v", f.Until)
	}
	return s
}

func TestEngineHysteresis(t *testing.T) {
	warn, crit := Finding{Severity: Warning}, Finding{Severity: Critical}
	fast := Rule{Hold: -1, Clear: -1}
	tests := map[string]struct {
		rule   Rule
		script script
		want   map[int]string // what is listed from this second on; the seconds before the first: nothing
	}{
		"fires after it has held": {
			script: script{}.span(5, 30, warn),
			want:   map[int]string{8: "a warning since 5s"},
		},
		"does not fire when it wavers": {
			script: script{}.span(5, 7, warn).span(9, 11, warn).span(13, 15, warn),
		},
		"clears later than it fires": {
			script: script{}.span(5, 10, warn),
			want:   map[int]string{8: "a warning since 5s", 21: "a warning since 5s until 11s"},
		},
		"a gap does not end it": {
			script: script{}.span(5, 10, warn).span(20, 20, warn),
			want:   map[int]string{8: "a warning since 5s", 31: "a warning since 5s until 21s"},
		},
		"comes back as a new one": {
			script: script{}.span(5, 8, warn).span(22, 30, warn),
			want:   map[int]string{8: "a warning since 5s", 19: "a warning since 5s until 9s", 25: "a warning since 22s"},
		},
		"gets worse after it has held, better after it is gone": {
			script: script{}.span(5, 9, warn).span(10, 15, crit).span(16, 30, warn),
			want:   map[int]string{8: "a warning since 5s", 13: "a critical since 5s", 26: "a warning since 5s"},
		},
		"a spike does not make it worse": {
			script: script{}.span(5, 30, warn).span(11, 13, crit),
			want:   map[int]string{8: "a warning since 5s"},
		},
		"durations of the rule": {
			rule:   fast,
			script: script{}.span(5, 6, warn),
			want:   map[int]string{5: "a warning since 5s", 7: "a warning since 5s until 7s"},
		},
		"longer durations of the rule": {
			rule:   Rule{Hold: 6 * time.Second, Clear: 2 * time.Second},
			script: script{}.span(5, 11, warn),
			want:   map[int]string{11: "a warning since 5s", 14: "a warning since 5s until 12s"},
		},
		"already so at the start": {
			script: script{}.span(1, 30, warn),
			want:   map[int]string{4: "a warning since 1s or before"},
		},
		"already so at the start, seen through a window": {
			script: script{}.span(11, 30, Finding{Severity: Warning, Window: 10 * time.Second}),
			want:   map[int]string{14: "a warning since 11s or before"},
		},
		"not so at the start": {
			script: script{}.span(13, 30, Finding{Severity: Warning, Window: 10 * time.Second}),
			want:   map[int]string{16: "a warning since 13s"},
		},
		"the rule knows when it began": {
			script: script{}.span(20, 30, Finding{Severity: Warning, Since: 12 * time.Second}),
			want:   map[int]string{23: "a warning since 12s"},
		},
		"an outlier at once, and it stays": {
			script: script{15: {Severity: Critical, Outlier: true}},
			want:   map[int]string{15: "a critical since 15s", 26: "a critical since 15s until 16s"},
		},
		"an outlier at the start was not before it": {
			script: script{1: {Severity: Info, Outlier: true}},
			want:   map[int]string{1: "a info since 1s", 12: "a info since 1s until 2s"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := tt.rule
			r.ID = "a"
			want := ""
			for _, m := range ticks(NewEngine([]Rule{scripted(r, tt.script)}, &History{}, nil), 0, 32) {
				if w, ok := tt.want[int(m.At/time.Second)]; ok {
					want = w
				}
				var got []string
				for _, f := range m.Findings {
					got = append(got, brief(f))
				}
				if strings.Join(got, "; ") != want {
					t.Fatalf("at %v: %q, want %q", m.At, got, want)
				}
			}
		})
	}
}

func TestEngineOutliersAddUp(t *testing.T) {
	at := func(v float64) Finding { return Finding{Outlier: true, Value: v, Evidence: []string{fmt.Sprint(v)}} }
	s := script{}.span(5, 7, at(600)).span(9, 9, at(900)).span(12, 12, at(700)).span(40, 40, at(500))
	e := NewEngine([]Rule{scripted(Rule{ID: "a"}, s)}, &History{}, nil)
	ms := ticks(e, 0, 60)
	sec := time.Second
	want := Finding{
		ID: "a", Outlier: true, Value: 900, Evidence: []string{"900"}, Since: 5 * sec, Until: 41 * sec,
		Times: []time.Duration{5 * sec, 9 * sec, 12 * sec, 40 * sec},
	}
	if diff := cmp.Diff([]Finding{want}, ms[60].Findings); diff != "" {
		t.Errorf("after four (-want +got):\n%s", diff)
	}
	want.Until, want.Times = 0, want.Times[:3]
	if diff := cmp.Diff([]Finding{want}, ms[15].Findings); diff != "" {
		t.Errorf("after three (-want +got):\n%s", diff)
	}
	many := script{}
	for i := range 50 {
		many[2*i] = at(1)
	}
	last := ticks(NewEngine([]Rule{scripted(Rule{ID: "a"}, many)}, &History{}, nil), 0, 98)[98]
	if times := last.Findings[0].Times; len(times) != maxTimes || times[maxTimes-1] != 98*sec {
		t.Errorf("times of 50 outliers = %v, want the last %d", times, maxTimes)
	}
}

func TestEngineListsTheLatestEndFirst(t *testing.T) {
	rules := []Rule{
		scripted(Rule{ID: "a"}, script{}.span(1, 5, Finding{})),
		scripted(Rule{ID: "b"}, script{}.span(1, 9, Finding{})),
		scripted(Rule{ID: "c"}, script{}.span(1, 7, Finding{})),
		scripted(Rule{ID: "d"}, script{}.span(9, 30, Finding{})),
	}
	var got []string
	for _, f := range ticks(NewEngine(rules, &History{}, nil), 0, 30)[30].Findings {
		got = append(got, f.ID)
	}
	if diff := cmp.Diff([]string{"d", "b", "c", "a"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestEngineMomentsDoNotChange compares what was published with what it is much later.
func TestEngineMomentsDoNotChange(t *testing.T) {
	s := script{}
	for i := range 30 {
		s[2*i] = Finding{Outlier: true, Value: float64(i), Severity: Severity(i % 3)}
	}
	e := NewEngine([]Rule{scripted(Rule{ID: "a"}, s)}, &History{}, nil)
	var texts []string
	ms := []Moment{}
	for i := range 60 {
		ms = append(ms, ticks(e, i, i)...)
		texts = append(texts, fmt.Sprintf("%+v", ms[i].Findings))
	}
	for i, m := range ms {
		if got := fmt.Sprintf("%+v", m.Findings); got != texts[i] {
			t.Errorf("the findings of %v were %s, now %s", m.At, texts[i], got)
		}
	}
}

func TestEngineSeesTheNewSnapshot(t *testing.T) {
	h := &History{}
	var seen []string
	r := Rule{ID: "a", Check: func(view *History) (Finding, []collectors.Want) {
		last, _ := view.Last()
		seen = append(seen, fmt.Sprintf("%d of %d, %d published", last.Seq, view.Len(), h.Len()))
		return Finding{}, nil
	}}
	e := NewEngine([]Rule{r}, h, nil)
	for i := range 3 {
		m := e.Tick(&collectors.Snapshot{Seq: uint64(i), At: time.Duration(i) * time.Second})
		if last, ok := h.Last(); !ok || last.Snapshot != m.Snapshot {
			t.Errorf("tick %d is not the newest moment of the history", i)
		}
	}
	want := []string{"0 of 1, 0 published", "1 of 2, 1 published", "2 of 3, 2 published"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("rules saw (-want +got):\n%s", diff)
	}
}

func TestEngineWithoutRules(t *testing.T) {
	h := &History{}
	m := ticks(NewEngine(nil, h, nil), 0, 20)[20]
	if m.Findings != nil || m.Checks != nil || h.Len() != 21 {
		t.Errorf("without rules: findings %v, checks %v, %d moments, want none, none, 21", m.Findings, m.Checks, h.Len())
	}
}

func TestEngineSurvivesPanics(t *testing.T) {
	ok := scripted(Rule{ID: "b.ok"}, script{}.span(0, 30, Finding{Severity: Warning}))
	calls := 0
	bad := Rule{ID: "a.bad", Hold: -1, Check: func(h *History) (Finding, []collectors.Want) {
		if calls++; calls == 5 {
			panic("bad \x1b[2J")
		}
		return Finding{ID: "a.bad"}, []collectors.Want{{ID: "x"}}
	}}
	bare := Rule{
		ID:       "c.bare",
		Check:    func(*History) (Finding, []collectors.Want) { return Finding{}, nil },
		Evidence: func(*History) []string { panic("no facts") },
	}
	var wants [][]collectors.Want
	e := NewEngine([]Rule{bad, ok, bare}, &History{}, func(_ string, w []collectors.Want) { wants = append(wants, w) })
	ms := ticks(e, 0, 20)
	m := ms[4]
	if f := m.Findings[1]; f.ID != "a.bad" || f.Until != 4*time.Second {
		t.Errorf("when its rule broke the finding was %q, want it ended", brief(f))
	}
	m = ms[20]
	var got []string
	for _, f := range m.Findings {
		got = append(got, brief(f))
	}
	if diff := cmp.Diff([]string{"b.ok warning since 0s or before", "a.bad info since 0s or before until 4s"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if calls != 5 {
		t.Errorf("the broken rule was called %d times, want 5", calls)
	}
	if len(wants) != 2 || len(wants[1]) != 0 {
		t.Errorf("wants = %v, want the rule's, then none", wants)
	}
	if len(m.Checks.Healthy) != 0 || len(m.Checks.Unchecked) != 2 ||
		m.Checks.Unchecked[0].Resource != "a" || m.Checks.Unchecked[0].Reason != `rule a.bad was stopped by a bug: bad \x1b[2J` ||
		m.Checks.Unchecked[1].Resource != "c" || m.Checks.Unchecked[1].Remedy == "" {
		t.Errorf("checks = %+v, want a and c unchecked by bugs", m.Checks)
	}
	crashes := e.Crashes()
	if len(crashes) != 2 || crashes[0].Name != "a.bad" || !strings.Contains(string(crashes[0].Stack), "TestEngineSurvivesPanics") {
		t.Errorf("Crashes() = %+v, want two, the first of a.bad with its stack", crashes)
	}
}

func TestEngineWants(t *testing.T) {
	wake, tasks := collectors.Want{ID: collectors.WakeID}, collectors.Want{ID: collectors.TasksID}
	asks := func(id string, w collectors.Want, from, to int) Rule {
		return Rule{ID: id, Check: func(h *History) (Finding, []collectors.Want) {
			last, _ := h.Last()
			if s := int(last.At / time.Second); s >= from && s <= to {
				return Finding{}, []collectors.Want{w}
			}
			return Finding{}, nil
		}}
	}
	tests := map[string]struct {
		rules []Rule
		want  []string
	}{
		"as long as it suspects": {[]Rule{asks("a", wake, 3, 6)}, []string{"3s [wake]", "7s []"}},
		"10 s of a minute":       {[]Rule{asks("a", wake, 3, 200)}, []string{"3s [wake]", "13s []", "1m3s [wake]", "1m13s []", "2m3s [wake]", "2m13s []", "3m3s [wake]", "3m13s []"}},
		"one probe for all who ask, ten seconds of a minute": {
			[]Rule{asks("a", wake, 3, 200), asks("b", wake, 20, 200), asks("c", wake, 25, 199)},
			[]string{"3s [wake]", "13s []", "20s [wake]", "35s []", "1m25s [wake]", "1m35s []", "2m25s [wake]", "2m35s []"},
		},
		"another probe does not wait": {
			[]Rule{asks("a", wake, 3, 100), asks("b", tasks, 20, 100)},
			[]string{"3s [wake]", "13s []", "20s [tasks]", "30s []", "1m3s [wake]", "1m13s []", "1m20s [tasks]", "1m30s []"},
		},
		"again, not at once": {
			[]Rule{{ID: "a", Check: func(h *History) (Finding, []collectors.Want) {
				last, _ := h.Last()
				if last.At%(20*time.Second) < 15*time.Second {
					return Finding{}, []collectors.Want{wake}
				}
				return Finding{}, nil
			}}},
			[]string{"0s [wake]", "10s []", "1m0s [wake]", "1m10s []", "2m0s [wake]", "2m10s []", "3m0s [wake]", "3m10s []"},
		},
		"of all rules": {
			[]Rule{asks("a", wake, 3, 6), asks("b", wake, 5, 9), asks("c", tasks, 8, 8)},
			[]string{"3s [wake]", "8s [wake tasks]", "9s [wake]", "10s []"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			var now time.Duration
			e := NewEngine(tt.rules, &History{}, func(holder string, wants []collectors.Want) {
				if holder != "rules" {
					t.Errorf("holder = %q, want rules", holder)
				}
				ids := []collectors.ID{}
				for _, w := range wants {
					ids = append(ids, w.ID)
				}
				got = append(got, fmt.Sprint(now, " ", ids))
			})
			for i := range 200 {
				now = time.Duration(i) * time.Second
				ticks(e, i, i)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("wants (-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkEngineTick(b *testing.B) {
	x := host{cpus: 8, processes: 600, moving: 60}
	var rules []Rule
	for i := range 40 {
		rules = append(rules, Rule{
			ID:    fmt.Sprintf("r%d.x", i%12),
			Needs: []string{"p0", "p1"},
			Check: func(h *History) (Finding, []collectors.Want) {
				last, _ := h.Last()
				if ms := h.Since(last.At - 10*time.Second); i%4 == 0 && len(ms) > 0 {
					return Finding{ID: "r", Severity: Severity(i % 3), Explains: []string{"r"}}, nil
				}
				return Finding{}, nil
			},
		})
	}
	e := NewEngine(rules, &History{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := x.next()
		b.StartTimer()
		e.Tick(s)
	}
}
