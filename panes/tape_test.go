// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/triage"
)

// varied is a story whose moments differ from each other in every subject.
func varied(n int) *story {
	s := newStory("busy", "db-2", 2, 3*24*time.Hour)
	for i := range n {
		if i%2 == 0 {
			s.second(busyLoad(i))
		} else {
			s.second(calmLoad(i))
		}
		snap := s.moments[i].Snapshot
		l := *snap.Log
		records := slices.Clone(l.Tail.Records)
		for k := range i {
			at := began.Add(time.Duration(k) * time.Second)
			records = append(records, &collectors.LogRecord{Seq: 1e6 + uint64(k), At: at, Level: 6, Text: collectors.RawString(fmt.Sprintf("message %d", k))})
		}
		l.Tail = &collectors.LogTail{Records: records}
		snap.Log = &l
	}
	return s
}

// bodyOf are the lines of the pane: without header, tabs, time line and footer.
func bodyOf(r *Root) string {
	lines := look(r)
	return strings.TrimRight(strings.Join(lines[2:len(lines)-2], "\n"), "\n")
}

// Twenty known moments: after a step back each pane shows what it showed then, and nothing of what
// came later.
func TestStepBackShowsThatMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := varied(20)
		full := s.frame()
		h := root(full).cfg.History
		differs := map[ID]bool{}
		for state, keys := range states() {
			if state == "help" || slices.Contains(keys, " ") { // pages of no moment, and such as stand still already
				continue
			}
			r := resize(rootOver(h, full), 100, 40)
			press(r, keys...)
			press(r, " ")
			newest := bodyOf(r)
			for k := 18; k >= 12; k-- {
				press(r, "left")
				then := Frame{Now: s.moments[k], Past: s.moments[:k+1], At: s.moments[k].Taken, Still: true, Live: r.frame.Live, Scope: r.frame.Scope, Filter: r.frame.Filter, zoom: r.frame.zoom}
				c := Canvas{Width: 100, Height: 40 - 4, Theme: plain(), Focused: true, zoom: r.frame.zoom}
				want := strings.TrimRight(r.top().View(then, c), "\n")
				got := bodyOf(r)
				if then.Scope.On() || then.Filter != nil { // the screen says so over the end of the title
					_, want, _ = strings.Cut(want, "\n")
					_, got, _ = strings.Cut(got, "\n")
				}
				if got != want {
					t.Fatalf("%s, moment %d of 20 (-then +stepped back):\n%s\n%s", state, k, want, got)
				}
				differs[r.top().Info().ID] = differs[r.top().Info().ID] || bodyOf(r) != newest
			}
		}
		for _, p := range All() {
			if id := p.Info().ID; !differs[id] {
				t.Errorf("%s shows the same at each of the moments: the test shows nothing", id)
			}
		}
	})
}

func TestFarSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resize(root(varied(60).frame()), 80, 24)
		press(r, "{")
		sees(t, r, "live", "pause first")
		tests := []struct {
			key  string
			want time.Duration
			says string
		}{
			{" ", 59 * time.Second, "-59s ├"},
			{"{", 49 * time.Second, "09:26:49"},
			{"left", 48 * time.Second, ""},
			{"{", 38 * time.Second, ""},
			{"}", 48 * time.Second, ""},
			{"}", 58 * time.Second, ""},
			{"}", 59 * time.Second, ""},
			{"}", 59 * time.Second, "this is the newest sample"},
			{"{{{{{", 9 * time.Second, "PAUSED 50s ago"},
			{"{", 0, ""},
			{"{", 0, "this is the oldest sample"},
			{"end", 59 * time.Second, "space pause"},
		}
		for i, tt := range tests {
			press(r, tt.key)
			if got := r.frame.Now.At; got != tt.want {
				t.Errorf("step %d, %s: at %v, want %v", i, tt.key, got, tt.want)
			}
			sees(t, r, tt.key, tt.says)
		}
	})
}

// While one stands still the history goes on, and what is oldest goes: the cursor then finds the
// oldest that there is.
func TestStepAfterTheMomentIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := varied(5)
		h := triage.NewHistory(1)
		h.Append(s.moments[0])
		h.Append(s.moments[1])
		r := New(Config{Panes: All(), History: h, Theme: plain()})
		resize(r, 80, 24)
		r.Update(NewMsg{})
		press(r, " ")
		for _, m := range s.moments[2:] {
			h.Append(m)
		}
		r.Update(NewMsg{})
		press(r, "left")
		sees(t, r, "nothing older is kept", "this is the oldest sample")
		press(r, "right")
		if got := r.frame.Now.At; got != 4*time.Second {
			t.Errorf("a step on leads to %v, want the only moment that is kept, 4s", got)
		}
	})
}

// happened is a story in which something happens.
func happened(n int) *story {
	s := newStory("busy", "db-2", 2, time.Hour)
	for i := range n {
		snap := s.second(idleLoad(i))
		if snap.Exec != nil {
			e := *snap.Exec
			e.ExecCounts.Execs = 1
			snap.Exec = &e
		}
		snap.Log, snap.Reclaim = nil, nil
	}
	return s
}

func TestMarks(t *testing.T) {
	found := func(sev triage.Severity) triage.Finding {
		return triage.Finding{ID: "disk.latency", Severity: sev, Title: "slow", Since: 27 * time.Second}
	}
	tests := map[string]struct {
		change func(ms []triage.Moment)
		want   string // glyph, when, what
	}{
		"an OOM kill": {func(ms []triage.Moment) {
			ms[20].Reclaim = &collectors.Reclaim{Fresh: 2, Kills: &collectors.OOMKills{List: make([]collectors.OOMKill, 2)}}
		}, "K 20s 2 OOM kills"},
		"kernel errors": {func(ms []triage.Moment) {
			l := &collectors.Log{Tail: &collectors.LogTail{}}
			l.Levels[2], l.Levels[3], l.Levels[4] = 1, 2, 40
			ms[21].Log = l
		}, "E 21s 3 kernel errors"},
		"only warnings": {func(ms []triage.Moment) {
			l := &collectors.Log{Tail: &collectors.LogTail{}}
			l.Levels[4] = 40
			ms[21].Log = l
		}, ""},
		"a late tick":          {func(ms []triage.Moment) { ms[22].Late = 3200 * time.Millisecond }, "L 22s late 3.2 s"},
		"a burst of execs":     {func(ms []triage.Moment) { ms[22].Exec.ExecCounts.Execs = 23 }, "x 22s 23 execs"},
		"a few execs":          {func(ms []triage.Moment) { ms[22].Exec.ExecCounts.Execs = 9 }, ""},
		"many execs, as usual": {func(ms []triage.Moment) { many(ms, 30); ms[22].Exec.ExecCounts.Execs = 100 }, ""},
		"a finding, listed when it has held": {func(ms []triage.Moment) {
			for i := 30; i < 35; i++ {
				ms[i].Findings = []triage.Finding{found(triage.Warning)}
			}
		}, "! 27s disk.latency"},
		"a finding of the start": {func(ms []triage.Moment) {
			x := found(triage.Critical)
			x.AtStart = true
			ms[30].Findings = []triage.Finding{x}
		}, ""},
		"the most urgent of one place": {func(ms []triage.Moment) {
			ms[27].Exec.ExecCounts.Execs = 50
			ms[30].Findings = []triage.Finding{found(triage.Info)}
		}, "i 27s disk.latency, 50 execs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := happened(40)
				tt.change(s.moments)
				f := s.frame()
				var all []string
				var glyph string
				var worst incident
				at := time.Duration(-1)
				for _, h := range happenings(f.Past) {
					all = append([]string{h.text}, all...)
					if at < 0 || h.what > worst {
						_, glyph = h.what.glyph(plain())
						worst = h.what
					}
					at = h.at
				}
				got := ""
				if at >= 0 {
					got = fmt.Sprintf("%s %.0fs %s", glyph, at.Seconds(), strings.Join(all, ", "))
				}
				if got != tt.want {
					t.Fatalf("happenings = %q, want %q", got, tt.want)
				}
				r := resize(root(f), 80, 24)
				press(r, " ", "(")
				if tt.want == "" {
					sees(t, r, "no mark", "nothing is marked before this")
					return
				}
				if r.frame.Now.At != at {
					t.Errorf("( leads to %v, want %v", r.frame.Now.At, at)
				}
				line := look(r)[22]
				if !strings.Contains(line, "●") || !strings.Contains(line, all[0]) {
					t.Errorf("the time line %q lacks the cursor or what happened", line)
				}
				press(r, "(")
				sees(t, r, "before the first", "nothing is marked before this")
				press(r, "right")
				if line = look(r)[22]; !strings.Contains(line, glyph) || !strings.Contains(line, "mark") {
					t.Errorf("the time line %q lacks the mark %q", line, glyph)
				}
				press(r, "left", "left", ")")
				if r.frame.Now.At != at {
					t.Errorf(") leads to %v, want %v", r.frame.Now.At, at)
				}
			})
		})
	}
}

func many(ms []triage.Moment, n uint64) {
	for _, m := range ms {
		if m.Exec != nil {
			m.Exec.ExecCounts.Execs = n
		}
	}
}

// Keys that come faster than the screen is drawn move the cursor and wait for no drawing.
func TestStepsDoNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resize(root(varied(100).frame()), 80, 24)
		press(r, " ")
		_, rest := r.Update(keyMsg("left"))
		first := r.View()
		if !strings.Contains(first, "PAUSED 1s ago") {
			t.Fatalf("the first step is not drawn at once:\n%s", first)
		}
		for range 50 {
			if _, cmd := r.Update(keyMsg("left")); cmd != nil {
				t.Fatal("each key asks for a drawing of its own")
			}
			if r.View() != first {
				t.Fatal("a key that came at once was drawn at once")
			}
		}
		if got := r.frame.Now.At; got != 48*time.Second {
			t.Errorf("51 keys lead to %v, want 48s", got)
		}
		if n := testing.AllocsPerRun(20, func() { r.Update(keyMsg("{")) }); n > 200 {
			t.Errorf("a key that is not drawn allocates %v times", n)
		}
		r.step(-100)
		r.step(48)
		_, rest = r.Update(rest())
		sees(t, r, "after the rest", "PAUSED 51s ago")
		if rest == nil {
			t.Fatal("no rest follows the second drawing")
		}
		shown := r.View()
		if _, cmd := r.Update(rest()); cmd != nil || r.View() != shown {
			t.Error("a rest without a key draws again")
		}
		r.Update(keyMsg("2"))
		sees(t, r, "another key", "[2 CPU]")
	})
}

// Detail that was given up is named, with since when there is some.
func TestRowsSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := varied(90)
		var h *triage.History
		for budget := 1 << 19; h == nil || h.RowsSince() >= s.moments[80].At; budget += 1 << 18 {
			h = triage.NewHistory(budget)
			for _, m := range s.moments {
				h.Append(m)
			}
		}
		if h.RowsSince() == 0 || h.CPUsSince() == 0 {
			t.Fatalf("the history keeps rows since %v and CPUs since %v, want some of them given up", h.RowsSince(), h.CPUsSince())
		}
		r := New(Config{Panes: All(), History: h, Theme: plain()})
		resize(r, 120, 24)
		r.Update(NewMsg{})
		press(r, "3", " ")
		since := began.Add(h.RowsSince()).Format("rows since 15:04:05")
		if strings.Contains(r.View(), "rows since") {
			t.Errorf("the newest moment is said to lack rows:\n%s", r.View())
		}
		for r.frame.Now.At >= h.RowsSince() {
			press(r, "left")
		}
		sees(t, r, "before the oldest rows", since, "the history has "+since+" only")
		press(r, "right")
		if strings.Contains(r.View(), "rows since") {
			t.Errorf("the oldest moment with rows is said to lack them:\n%s", r.View())
		}
		press(r, "2", "{{{{{{{{{")
		sees(t, r, "the first", began.Add(h.CPUsSince()).Format("CPUs since 15:04:05"))
	})
}

// A snapshot holds the moment that is shown, and the status line says which.
func TestSnapshotOfTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := varied(40)
		last := &s.moments[39]
		last.Findings = []triage.Finding{{ID: "cpu.saturated", Severity: triage.Critical, Title: "of the newest moment", Resource: "cpu"}}
		s.moments[20].Checks = &triage.Checks{Healthy: []triage.Healthy{{Resource: "memory", Evidence: []string{"fine at 20 s"}}}}
		last.Checks = &triage.Checks{Healthy: []triage.Healthy{{Resource: "memory", Evidence: []string{"fine at 39 s"}}}}
		var body string
		r := resize(root(s.frame(), func(c *Config) {
			c.Save = saver(func(b, _ []byte, _ error) (string, error) { body = string(b); return "bpf60-db-2.txt", nil })
			c.Clock = func() time.Duration { return 45 * time.Second }
		}), 80, 24)
		press(r, " ")
		for r.frame.Now.At > 20*time.Second {
			press(r, "left")
		}
		press(r, "S")
		sees(t, r, "saved", "saved bpf60-db-2.txt of 09:26:20, 25s ago")
		if strings.Contains(body, "of the newest moment") || strings.Contains(body, "fine at 39 s") {
			t.Error("the snapshot tells of what came after the moment that was shown")
		}
		if !strings.Contains(body, "fine at 20 s") {
			t.Error("the snapshot lacks what was ruled out then")
		}
		press(r, "end", "S")
		if strings.Contains(r.View(), "txt of") {
			t.Errorf("a live snapshot speaks of another moment:\n%s", look(r)[23])
		}
	})
}

// What was measured only while somebody looked is not waited for at a moment of the past.
func TestNothingIsAwaitedInThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resize(root(varied(30).frame()), 80, 24)
		press(r, "2", "i", "i")
		sees(t, r, "live", "attaching runqlat by cause …")
		press(r, " ", "left")
		sees(t, r, "paused", "was not recorded at this moment", "not attached then")
	})
}

// manyProcesses is some seconds of a host of 5,000 processes, every row of it kept, which is more
// than is kept otherwise.
func manyProcesses(seconds int) *triage.History {
	s := newStory("busy", "db-2", 2, time.Hour)
	h := triage.NewHistory(1 << 30)
	infos := make([]*collectors.ProcInfo, 5000)
	for i := range infos {
		id := collectors.Process{TGID: int32(i + 10), Start: uint64(i)}
		infos[i] = &collectors.ProcInfo{Process: id, PID: id.TGID, PPID: 1, Comm: collectors.RawString(fmt.Sprintf("worker-%d", i))}
	}
	for i := range seconds {
		snap := s.second(busyLoad(i))
		tasks := &collectors.Tasks{Span: collectors.Span{From: snap.At - time.Second, To: snap.At}, Processes: len(infos), Threads: len(infos), Source: "iter/task"}
		for k, info := range infos {
			if i%10 == 0 {
				tasks.Key = append(tasks.Key, collectors.TaskState{ProcInfo: info, State: 'S', Threads: 1, RSS: uint32(k)})
			}
			if k%10 == i%10 {
				tasks.Rows = append(tasks.Rows, collectors.TaskRow{ProcInfo: info, Run: time.Duration(k) * time.Microsecond, Threads: 1, State: 'S'})
			}
		}
		snap.Tasks = tasks
		h.Append(s.moments[len(s.moments)-1])
	}
	return h
}

// BenchmarkStep steps through ten minutes of a host of 5,000 processes: 50 ms are the budget.
func BenchmarkStep(b *testing.B) {
	h := manyProcesses(601)
	for _, keys := range [][]string{{"1"}, {"2"}, {"3"}, {"7"}, {"8"}} {
		b.Run(keys[0], func(b *testing.B) {
			r := New(Config{Panes: All(), History: h, Theme: plain()})
			resize(r, 200, 50)
			r.Update(NewMsg{})
			press(r, keys...)
			press(r, " ")
			b.ReportAllocs()
			for b.Loop() {
				if r.frame.Now.At < time.Minute {
					r.show(r.live)
				}
				r.Update(tea.KeyMsg{Type: tea.KeyLeft})
				r.Update(restedMsg{})
			}
		})
	}
}
