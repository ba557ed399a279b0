// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
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
		"reserved digit does nothing": {[]string{"9"}, []string{"[1 Over]"}, []string{"not built"}},
		"enter opens the line":        {[]string{"enter"}, []string{"[2 CPU]", "> all"}, nil},
		"enter selects the busiest":   {[]string{"j", "j", "j", "enter"}, []string{"[2 CPU]", ">   0"}, nil},
		"enter opens a CPU":           {[]string{"2", "j", "j", "enter"}, []string{"2 CPU › cpu1", "Esc back", "waits for this CPU"}, nil},
		"esc keeps the cursor":        {[]string{"2", "j", "j", "enter", "esc"}, []string{"[2 CPU]", ">   1"}, nil},
		"esc at the top":              {[]string{"esc"}, []string{"this is the top"}, nil},
		"enter on all":                {[]string{"2", "enter"}, []string{"select a CPU first"}, nil},
		"next CPU on its page":        {[]string{"2", "j", "enter", "j"}, []string{"› cpu1"}, nil},
		"v draws percentiles":         {[]string{"2", "v"}, []string{"◆ p99", "v heat map"}, nil},
		"v draws a heat map":          {[]string{"2", "v", "v"}, []string{"one column a sample", "v histogram"}, []string{"◆ p99"}},
		"v comes round":               {[]string{"2", "v", "v", "v"}, []string{"last interval", "usecs"}, nil},
		"i by cpu":                    {[]string{"2", "i"}, []string{"by cpu", "cpu0", "cpu1"}, nil},
		"i by cause attaches":         {[]string{"2", "i", "i"}, []string{"by cause", "attaching runqlat by cause …"}, nil},
		"i comes round":               {[]string{"2", "i", "i", "i"}, []string{"── all ──"}, []string{"by cause"}},
		"x marks":                     {[]string{"2", "x"}, []string{"start is now 09:27:30"}, nil},
		"G and gg":                    {[]string{"2", "G", "g", "g"}, []string{"> all"}, nil},
		"G":                           {[]string{"2", "G"}, []string{">   1"}, nil},
		"g alone is a prefix":         {[]string{"2", "G", "g", "j", "k"}, []string{">   0"}, nil},
		"several runes at once":       {[]string{"2jj"}, []string{"[2 CPU]", ">   1"}, nil},
		"runes across a drill-down":   {[]string{"2", "j", "enter", "jv"}, []string{"› cpu1", "◆ p99"}, nil},
		"left while live":             {[]string{"left"}, []string{"pause first"}, nil},
		"no snapshot without a place": {[]string{"S"}, []string{"nowhere to save"}, nil},
		"help":                        {[]string{"2", "?"}, []string{"help: CPU", "percentiles", "space p"}, nil},
		"help shows the page":         {[]string{"2", "?", "G"}, []string{"Overhead"}, nil},
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

func TestPause(t *testing.T) {
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
		c.Save = func(b []byte) (string, error) {
			body = b
			return "/home/me/bpf60-db-2.txt", answer
		}
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
	answer = fail
	press(r, "S")
	sees(t, r, "refused", "no space left on device")
	press(r, "j")
	if strings.Contains(r.View(), "no space left") {
		t.Errorf("the status line outlives the next key")
	}
}

func TestQuit(t *testing.T) {
	quits := func(cmd tea.Cmd) bool {
		if cmd == nil {
			return false
		}
		_, ok := cmd().(tea.QuitMsg)
		return ok
	}
	tests := map[string]struct {
		before []string
		key    string
		size   int
		want   bool
	}{
		"q":                          {nil, "q", 24, true},
		"ctrl+c":                     {nil, "ctrl+c", 24, true},
		"ctrl+c in help":             {[]string{"?"}, "ctrl+c", 24, true},
		"ctrl+c in search":           {[]string{"?", "/"}, "ctrl+c", 24, true},
		"q in help closes it":        {[]string{"?"}, "q", 24, false},
		"q in search is a letter":    {[]string{"?", "/"}, "q", 24, false},
		"q on a screen that is tiny": {nil, "q", 3, true},
		"another key":                {nil, "Q", 24, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(busyStory(61).frame()), 80, tt.size)
			press(r, tt.before...)
			_, cmd := r.Update(keyMsg(tt.key))
			if got := quits(cmd); got != tt.want {
				t.Errorf("quits = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestTerminalKeys(t *testing.T) {
	r := resize(root(busyStory(61).frame()), 80, 24)
	if _, cmd := r.Update(keyMsg("ctrl+z")); cmd == nil || cmd() != (tea.SuspendMsg{}) {
		t.Error("^Z does not suspend")
	}
	if _, cmd := r.Update(keyMsg("ctrl+l")); cmd == nil || reflect.TypeOf(cmd()) != reflect.TypeOf(tea.ClearScreen()) {
		t.Error("^L does not redraw")
	}
	before := r.View()
	r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q2"), Paste: true})
	if r.View() != before {
		t.Error("pasted text was taken for keys")
	}
	r.Update(tea.MouseMsg{X: 10, Y: 1, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
	sees(t, r, "a click on the tab", "[2 CPU]")
	r.Update(tea.MouseMsg{Button: tea.MouseButtonWheelDown})
	sees(t, r, "the wheel", ">   0")
}

func TestRebound(t *testing.T) {
	keys, errs := keymap.Rebind(map[string][]string{"pause": {"z"}, "cpu.draw": {"w"}, "go.cpu": {"u"}}, GlobalKeys(All()), NewCPU().Keys())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	r := resize(root(busyStory(91).frame(), func(c *Config) { c.Keys = keys }), 80, 24)
	press(r, "2")
	sees(t, r, "2 does nothing", "[1 Over]")
	press(r, "u", "v")
	sees(t, r, "v does nothing", "[2 CPU]", "w percentiles", "z pause")
	if _, errs := keymap.Rebind(map[string][]string{"pause": {"2"}}, GlobalKeys(All()), NewCPU().Keys()); len(errs) != 1 {
		t.Errorf("pause on the digit of a pane: %v, want one complaint", errs)
	}
	press(r, "w", "z")
	sees(t, r, "w and z do", "PAUSED", "◆ p99")
}

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

// Why a number is missing is said to who walks to it, only to him, and only while it is true.
func TestWhyIsOneKeyAway(t *testing.T) {
	const why = "runq -: needs CAP_BPF"
	r := resize(root(deniedFrame()), 80, 24)
	press(r, "2", "j")
	sees(t, r, "on the row", why)
	press(r, "v")
	sees(t, r, "another key", "v heat map")
	press(r, "k")
	sees(t, r, "back on it", why)
	for _, m := range busyStory(91).frame().Past {
		r.cfg.History.Append(m)
	}
	r.Update(NewMsg{})
	if strings.Contains(r.View(), why) {
		t.Errorf("the reason outlives what it explains:\n%s", r.View())
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
