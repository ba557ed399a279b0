// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"bpf60/triage"
)

// A tick that was late is told in the header for some seconds, at each size, and in the report.
func TestLate(t *testing.T) {
	for seconds, want := range map[int]bool{0: true, 9: true, 10: false} {
		s := newStory("busy", "db-2", 2, time.Hour)
		for i := range 30 + seconds {
			s.second(idleLoad(i))
		}
		s.moments[20].Late = 4200 * time.Millisecond
		s.moments[29].Late = 3200 * time.Millisecond
		f := s.frame()
		for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 50}} {
			r := resize(root(f), size[0], size[1])
			if head := look(r)[0]; strings.Contains(head, "late 3.2 s") != want {
				t.Errorf("%d s after a late tick the header of %v is %q", seconds, size, head)
			}
			fits(t, r.View(), size[0], size[1])
		}
		f.Span = time.Minute
		var b bytes.Buffer
		if err := Text(&b, Report{Frame: f, Brief: true}); err != nil {
			t.Fatal(err)
		}
		if says := "2 ticks late, 4.2 s at most: the host slept, or bpf60 was stopped or got no CPU"; !strings.Contains(b.String(), says) {
			t.Errorf("the report lacks %q:\n%s", says, b.String())
		}
	}
	if got := lateText(time.Hour); got != "late 1h" {
		t.Errorf("an hour is %q", got)
	}
}

// A clock that was set is told in the header for some seconds, on the line of marks and in the report, whose
// times are all by one clock.
func TestClockSet(t *testing.T) {
	s := newStory("busy", "db-2", 2, time.Hour)
	for i := range 35 {
		s.second(idleLoad(i))
	}
	for i := range s.moments {
		if i >= 30 {
			s.moments[i].Taken = s.moments[i].Taken.Add(time.Hour)
		}
	}
	s.moments[30].Step = time.Hour
	last := &s.moments[len(s.moments)-1]
	last.Findings = []triage.Finding{{ID: "cpu.saturated", Severity: triage.Warning, Title: "busy", Resource: "cpu", Since: 5 * time.Second, Line: "uptime", Pane: "cpu"}}
	f := s.frame()
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		r := resize(root(f), size[0], size[1])
		if head := look(r)[0]; !strings.Contains(head, "clock +1h00") {
			t.Errorf("the header of %v is %q", size, head)
		}
		fits(t, r.View(), size[0], size[1])
	}
	found := false
	for _, h := range happenings(f.Past) {
		found = found || h.what == clockSet && h.text == "clock +1h00" && h.at == s.moments[30].At
	}
	if !found {
		t.Error("the line of marks does not tell")
	}
	took := f.Now.At - s.moments[0].At
	f.Span = took + time.Second
	r := Report{Frame: f, Brief: true, Started: s.moments[0].Taken, Duration: took}
	var b bytes.Buffer
	if err := Text(&b, r); err != nil {
		t.Fatal(err)
	}
	if says := "clock +1h00: it was set 1 time, first at "; !strings.Contains(b.String(), says) {
		t.Errorf("the report lacks %q:\n%s", says, b.String())
	}
	b.Reset()
	if err := JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Started  time.Time
		Findings []struct{ Since time.Time }
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := s.moments[0].Taken.Add(5*time.Second - s.moments[0].At).Truncate(time.Second)
	if len(got.Findings) != 1 || !got.Findings[0].Since.Equal(want) || !got.Started.Equal(s.moments[0].Taken.Truncate(time.Second)) {
		t.Errorf("started %v, findings %v; want one since %v", got.Started, got.Findings, want)
	}
	for d, want := range map[time.Duration]string{
		3200 * time.Millisecond: "clock +3.2s", -90 * time.Second: "clock -1m30", -24 * time.Hour: "clock -24h00", 59900 * time.Millisecond: "clock +1m00",
	} {
		if got := stepText(d); got != want {
			t.Errorf("stepText(%v) = %q, want %q", d, got, want)
		}
	}
}

// Ticks that come less often than was asked for are told while they do, and in the report.
func TestEased(t *testing.T) {
	s := newStory("busy", "db-2", 2, time.Hour)
	for i := range 30 {
		s.second(idleLoad(i))
	}
	for i := 20; i < 30; i++ {
		s.moments[i].Eased, s.moments[i].EasedBy = 2*time.Second, "bpf60 took 7 % of a CPU"
	}
	f := s.frame()
	for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 50}} {
		r := resize(root(f), size[0], size[1])
		if head := look(r)[0]; !strings.Contains(head, "every 2 s") {
			t.Errorf("the header of %v is %q", size, head)
		}
		fits(t, r.View(), size[0], size[1])
	}
	f.Span = time.Minute
	var b bytes.Buffer
	if err := Text(&b, Report{Frame: f, Brief: true}); err != nil {
		t.Fatal(err)
	}
	if says := "samples only every 2 s, the first at "; !strings.Contains(b.String(), says) || !strings.Contains(b.String(), "bpf60 took 7 % of a CPU") {
		t.Errorf("the report lacks %q:\n%s", says, b.String())
	}
}
