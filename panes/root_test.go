// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// look returns the lines of the screen.
func look(r *Root) []string { return strings.Split(r.View(), "\n") }

// sees fails unless the screen shows each of the texts.
func sees(t *testing.T, r *Root, what string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if !strings.Contains(r.View(), s) {
			t.Errorf("%s: the screen lacks %q:\n%s", what, s, r.View())
		}
	}
}

// tabs is the tab key once for each pane of the bar.
func tabs() (keys []string) {
	for _, p := range All() {
		if p.Info().Digit != "" {
			keys = append(keys, "tab")
		}
	}
	return keys
}

func TestFlows(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want []string
		lack []string
	}{
		"start":                       {nil, []string{"[1 Over]", "60 seconds", "not judged yet: no rules"}, nil},
		"tab":                         {[]string{"tab"}, []string{"[2 CPU]"}, nil},
		"tab wraps":                   {tabs(), []string{"[1 Over]"}, nil},
		"digit":                       {[]string{"2"}, []string{"[2 CPU]", "run-queue latency"}, nil},
		"the last digits":             {[]string{"9", "0"}, []string{"[0 Probes]"}, nil},
		"enter opens the line":        {[]string{"enter"}, []string{"[2 CPU]", "> all"}, nil},
		"enter selects the busiest":   {[]string{"j", "j", "j", "enter"}, []string{"[2 CPU]", ">   0"}, nil},
		"enter opens a CPU":           {[]string{"2", "j", "j", "enter"}, []string{"2 CPU › cpu1", "Esc back", "waits for this CPU"}, nil},
		"esc keeps the cursor":        {[]string{"2", "j", "j", "enter", "esc"}, []string{"[2 CPU]", ">   1"}, nil},
		"esc at the top":              {[]string{"esc"}, []string{"this is the top"}, nil},
		"enter on all":                {[]string{"2", "enter"}, []string{"select a CPU first"}, nil},
		"next CPU on its page":        {[]string{"2", "j", "enter", "n"}, []string{"› cpu1"}, nil},
		"v draws percentiles":         {[]string{"2", "v"}, []string{"◆ p99", "v heat map"}, nil},
		"v draws a heat map":          {[]string{"2", "v", "v"}, []string{"one column a sample", "v histogram"}, []string{"◆ p99"}},
		"v comes round":               {[]string{"2", "v", "v", "v"}, []string{"last interval", "usecs"}, nil},
		"i by cpu":                    {[]string{"2", "i"}, []string{"by cpu", "cpu0", "cpu1"}, nil},
		"i by cause attaches":         {[]string{"2", "i", "i"}, []string{"by cause", "attaching runqlat by cause …"}, nil},
		"i by process":                {[]string{"2", "i", "i", "i"}, []string{"by process", "php-fpm[812]", "gzip[4121]"}, nil},
		"i by cgroup attaches":        {[]string{"2", "i", "i", "i", "i"}, []string{"by cgroup", "backup"}, nil},
		"i comes round":               {[]string{"2", "i", "i", "i", "i", "i"}, []string{"── all ──"}, []string{"by cause", "by process", "by cgroup"}},
		"off-cpu":                     {[]string{"2", "t", "t", "t"}, []string{"off-cpu", "preempted", "ep_poll"}, nil},
		"off-cpu one reason":          {[]string{"2", "t", "t", "t", "i"}, []string{"── sleep ──", "mean"}, nil},
		"off-cpu comes round":         {[]string{"2", "t", "t", "t", "t"}, []string{"run-queue latency"}, []string{"off-cpu ──"}},
		"x marks":                     {[]string{"2", "x"}, []string{"start is now 09:27:30"}, nil},
		"G and gg":                    {[]string{"2", "G", "g", "g"}, []string{"> all"}, nil},
		"G":                           {[]string{"2", "G"}, []string{">   1"}, nil},
		"g alone is a prefix":         {[]string{"2", "G", "g", "j", "k"}, []string{">   0"}, nil},
		"several runes at once":       {[]string{"2jj"}, []string{"[2 CPU]", ">   1"}, nil},
		"runes across a drill-down":   {[]string{"2", "j", "enter", "nv"}, []string{"› cpu1", "v heat map"}, nil},
		"left while live":             {[]string{"left"}, []string{"pause first"}, nil},
		"no snapshot without a place": {[]string{"S"}, []string{"nowhere to save"}, nil},
		"help":                        {[]string{"2", "?"}, []string{"help: CPU", "percentiles", "space p"}, nil},
		"help shows the page":         {[]string{"2", "?", "G"}, []string{"through the last 50 views"}, nil},
		"help closes":                 {[]string{"?", "q"}, []string{"[1 Over]", "60 seconds"}, []string{"help:"}},
		"help searches":               {[]string{"?", "/", "p", "a", "u", "s"}, []string{"/paus", "pause"}, []string{"next pane"}},
		"help runs the choice":        {[]string{"?", "/", "p", "a", "u", "s", "enter"}, []string{"PAUSED"}, []string{"help:"}},
		"help search is dropped":      {[]string{"?", "/", "z", "z", "esc"}, []string{"Enter does it"}, []string{"nothing matches"}},
		"nothing matches":             {[]string{"?", "/", "z", "z", "z"}, []string{"nothing matches"}, nil},
	}
	f := busyStory(91).frame()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(f), 80, 24)
			press(r, tt.keys...)
			sees(t, r, name, tt.want...)
			for _, s := range tt.lack {
				if strings.Contains(r.View(), s) {
					t.Errorf("the screen shows %q:\n%s", s, r.View())
				}
			}
		})
	}
}

func TestPause(t *testing.T) { synctest.Test(t, testPause) }

func testPause(t *testing.T) {
	s := busyStory(91)
	now := 90 * time.Second
	r := resize(root(s.frame(), func(c *Config) { c.Clock = func() time.Duration { return now } }), 80, 24)
	press(r, " ")
	sees(t, r, "paused", "PAUSED 0s ago", "space resume", "← back")
	shown := look(r)[5]
	for range 10 {
		s.second(calmLoad(3))
		r.cfg.History.Append(s.moments[len(s.moments)-1])
		now += time.Second
		run(r, send(NewMsg{}))
	}
	sees(t, r, "ten seconds later", "PAUSED 10s ago")
	if got := look(r)[5]; got != shown {
		t.Errorf("a paused screen moved:\n%s\n%s", shown, got)
	}
	press(r, "left", "left")
	sees(t, r, "two steps back", "PAUSED 12s ago")
	press(r, "right")
	sees(t, r, "a step on", "PAUSED 11s ago")
	press(r, "2", "j", "enter")
	sees(t, r, "paused, drilled", "PAUSED 11s ago", "› cpu0")
	press(r, "end")
	if strings.Contains(r.View(), "PAUSED") {
		t.Errorf("End did not return to live:\n%s", r.View())
	}
	if got := r.frame.Now.At; got != 100*time.Second {
		t.Errorf("live shows the moment at %v, want 1m40s", got)
	}
	press(r, " ")
	for range 200 {
		press(r, "left")
	}
	sees(t, r, "at the beginning", "this is the oldest sample")
	if got := r.frame.Now.At; got != 0 {
		t.Errorf("the oldest moment is at %v, want 0", got)
	}
	press(r, "2")
	sees(t, r, "the first moment", "[2 CPU]")
}

// x subtracts, it clears nothing: the totals since the mark are those of the samples after it.
func TestReset(t *testing.T) {
	s := busyStory(91)
	r := resize(root(s.frame()), 80, 24)
	press(r, "2", "x")
	const seconds = 7
	var want collectors.Hist
	for i := range seconds {
		snap := s.second(busyLoad(i))
		want.Plus(&snap.Sched.Host.Wait)
		r.cfg.History.Append(s.moments[len(s.moments)-1])
	}
	r.Update(NewMsg{})
	got := r.top().Table(r.frame).Histograms[0].Start
	if got == nil || *got != want {
		t.Errorf("since the mark there are %v waits, want %d", count(got), want.Count())
	}
	press(r, " ")
	for range seconds + 3 {
		press(r, "left")
	}
	before := r.top().Table(r.frame).Histograms[0].Start
	if total := r.frame.Now.Sched.WaitTotal; *before != total {
		t.Errorf("before the mark start counts %d, want all %d", before.Count(), total.Count())
	}
}

func TestTriageClock(t *testing.T) {
	s := busyStory(91)
	tests := map[string]struct {
		now  time.Duration
		want string
	}{
		"begin":   {0, "00:00/60s ░░░░░░░░"},
		"running": {37 * time.Second, "00:37/60s ▓▓▓▓░░░░"},
		"almost":  {59 * time.Second, "00:59/60s ▓▓▓▓▓▓▓░"},
		"done":    {60 * time.Second, "60s done"},
		"after":   {312 * time.Second, "05:12  60s done"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(s.frame(), func(c *Config) { c.Clock = func() time.Duration { return tt.now } }), 80, 24)
			if got := look(r)[0]; !strings.HasSuffix(got, tt.want) {
				t.Errorf("header = %q, want it to end in %q", got, tt.want)
			}
		})
	}
}

// The verdict of the first minute stays, whatever is found later.
func TestVerdictIsFixed(t *testing.T) {
	s := busyStory(59)
	h := &triage.History{}
	for _, m := range s.moments {
		h.Append(m)
	}
	r := New(Config{Panes: All(), History: h, Theme: plain(), Rules: 1})
	resize(r, 80, 24)
	r.Update(NewMsg{})
	if r.frame.Verdict != nil {
		t.Fatalf("there is a verdict after %v", r.live)
	}
	add := func(findings ...triage.Finding) {
		s.second(busyLoad(1))
		m := s.moments[len(s.moments)-1]
		m.Findings = findings
		h.Append(m)
	}
	old := triage.Finding{ID: "cpu.saturated", Title: "13 runnable on 2 CPUs", Resource: "cpu", Severity: triage.Critical, Pane: "cpu"}
	add(old)
	add(old) // at 60 s
	r.Update(NewMsg{})
	if v := r.frame.Verdict; v == nil || len(v.Findings) != 1 {
		t.Fatalf("verdict = %+v, want the finding of 60 s", v)
	}
	add()
	r.Update(NewMsg{})
	sees(t, r, "after it went", "cpu.saturated", "1 over", "at 60 s: 1")
	press(r, "enter")
	sees(t, r, "enter on it", "[2 CPU]")
}

func TestSnapshot(t *testing.T) {
	var body []byte
	fail := errors.New("writing bpf60-db-2.txt: no space left on device; choose another directory")
	var answer error
	r := resize(root(busyStory(91).frame(), func(c *Config) {
		c.Save = saver(func(text, data []byte, _ error) (string, error) {
			body = text
			if !json.Valid(data) {
				t.Errorf("the JSON beside the text is none: %.100s", data)
			}
			return "/home/me/bpf60-db-2.txt", answer
		})
	}), 80, 24)
	press(r, "2", "j", "enter")
	_, cmd := r.Update(keyMsg("S"))
	sees(t, r, "while it is written", "saving …")
	if body != nil {
		t.Fatal("the screen wrote the file itself; a hung disk would hang it")
	}
	run(r, cmd)
	sees(t, r, "written", "saved /home/me/bpf60-db-2.txt")
	for _, want := range []string{"Nothing was judged on db-2", "── overview ─", "── cpu ─", "── cpu0 ─", "distribution"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the snapshot lacks %q", want)
		}
	}
	if screen, _, _ := strings.Cut(string(body), strings.Repeat("─", reportWidth)+"\n\n"); !strings.Contains(screen, "CPU › cpu0") || strings.Contains(screen, "\x1b") {
		t.Errorf("the snapshot does not begin with the screen:\n%.2000s", body)
	}
	answer = fail
	press(r, "S")
	sees(t, r, "refused", "no space left on device")
	press(r, "j")
	if strings.Contains(r.View(), "no space left") {
		t.Errorf("the status line outlives the next key")
	}
}

// saver is a Config.Save that notes nothing.
func saver(w Writer) func() Writer { return func() Writer { return w } }

// Bubble Tea asks for the screen after every message; it must be drawn only when something changed.
func TestViewIsKept(t *testing.T) {
	r := resize(root(busyStory(91).frame()), 80, 24)
	r.View()
	if n := testing.AllocsPerRun(10, func() { r.View() }); n > 0 {
		t.Errorf("View() of an unchanged screen allocates %v times", n)
	}
}

func TestFirstFrame(t *testing.T) {
	r := New(Config{Panes: All(), History: &triage.History{}, Theme: plain(), Version: "0.1.0"})
	if got := r.View(); got != "" {
		t.Errorf("View() before the size is known = %q, want nothing", got)
	}
	resize(r, 80, 24)
	sees(t, r, "before any sample", "bpf60 0.1.0", "waiting for the first sample …", "[1 Over] 2 CPU", "00:00/60s")
	press(r, "S")
	press(r, " ", "left", "2", "v", "i", "x", "j", "enter", "esc")
	sees(t, r, "keys before any sample", "[2 CPU]")
}

// Whoever is faster than the first sample finds keys that do nothing yet.
func TestKeysBeforeTheFirstSample(t *testing.T) {
	for _, recorded := range []string{"", "web-7"} {
		for _, k := range append(GlobalKeys(All()), TableKeys()...) {
			for _, name := range k.Keys() {
				synctest.Test(t, func(t *testing.T) {
					r := resize(New(Config{Panes: All(), History: &triage.History{}, Theme: plain(), Recorded: recorded}), 80, 24)
					if recorded == "" {
						press(r, "p")
					}
					press(r, name)
					press(r, " ")
					if n := len(look(r)); n != 24 {
						t.Errorf("%q leaves %d lines, want 24", name, n)
					}
				})
			}
		}
	}
}

func TestRootIsSmall(t *testing.T) {
	if n := reflect.TypeOf(Root{}).NumField(); n > 12 {
		t.Errorf("Root has %d fields, want at most 12: panes own their state", n)
	}
}

// BenchmarkView draws the screen of ten minutes of the busy host; the last one is of 256 CPUs.
func BenchmarkView(b *testing.B) {
	full := busyStory(601).frame()
	b.Run("cpu-of-256", func(b *testing.B) {
		r := resize(root(extremeFrame()), 200, 50)
		press(r, "2")
		b.ReportAllocs()
		for b.Loop() {
			r.Update(NewMsg{})
			r.View()
		}
	})
	for name, keys := range states() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			r := resize(root(full), 200, 50)
			press(r, keys...)
			b.ReportAllocs()
			for b.Loop() {
				r.Update(NewMsg{})
				r.View()
			}
		})
	}
}

// The end of an error is its remedy: it must be on the screen, however narrow that is.
func TestErrorIsSeenWhole(t *testing.T) {
	r := resize(root(busyStory(5).frame()), 80, 24)
	const why = "writing bpf60-db-2-20260314T092604Z.txt: the file system is mounted read-only; start bpf60 in a directory that can be written, or give report --output"
	r.Update(SavedMsg{Err: errors.New(why)})
	lines := strings.Split(r.View(), "\n")
	fits(t, r.View(), 80, 24)
	shown := strings.Join(strings.Fields(strings.Join(lines[len(lines)-3:], " ")), " ")
	if shown != why {
		t.Errorf("the screen says %q, want %q", shown, why)
	}
}

// A line is found by the id that it gives itself.
func TestChecksAreNamed(t *testing.T) {
	for _, f := range frames() {
		for _, c := range checks() {
			if got := c.line(f).id; got != c.id {
				t.Errorf("the line listed as %q calls itself %q", c.id, got)
			}
		}
	}
}

// The CPUs are sorted by the column that is asked for; the line of all stays on top.
func TestCPUsAreSorted(t *testing.T) {
	r := resize(root(Frame{Past: busyStory(91).moments[:25]}), 80, 24)
	order := func() (out []string) {
		for _, l := range strings.Split(r.View(), "\n")[4:7] {
			out = append(out, strings.Fields(strings.TrimPrefix(l, ">"))[0])
		}
		return out
	}
	press(r, "2", "right", "right", "s")
	sees(t, r, "sorted by %usr", "↓%usr")
	if got := strings.Join(order(), " "); got != "all 1 0" { // cpu1 has more of it
		t.Errorf("sorted by %%usr the lines are %q, want all 1 0", got)
	}
	press(r, "j")
	sees(t, r, "the cursor walks in that order", ">   1")
	press(r, "r")
	if got := strings.Join(order(), " "); got != "all 0 1" {
		t.Errorf("the other way round the lines are %q, want all 0 1", got)
	}
}
