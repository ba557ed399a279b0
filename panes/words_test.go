// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// says types a text into the palette and presses Enter.
func says(r *Root, text string) {
	press(r, ":")
	for _, c := range text {
		press(r, string(c))
	}
	press(r, "enter")
}

// :pid and :cgroup make a process and a cgroup what all panes are about, as f does of a row.
func TestScopeByName(t *testing.T) {
	f := busyStory(20).frame()
	set := processesOver(f)
	info := set.list[0].ProcInfo
	pid := strconv.Itoa(int(info.PID))
	var path string
	var cgroup collectors.Target
	for _, p := range sortedKeys(cgroupPlaces(f)) {
		path, cgroup = p, cgroupPlaces(f)[p]
	}
	if path == "" || cgroup.Cgroup == 0 {
		t.Fatal("the story has no cgroup")
	}
	process := collectors.Target{Kind: collectors.ProcessTarget, Process: info.Process}
	in := collectors.Target{Kind: collectors.CgroupTarget, Cgroup: cgroup.Cgroup}
	tests := map[string]struct {
		text string
		want collectors.Target
		says string
	}{
		"pid":               {"pid " + pid, process, "every pane is about " + clean(info.Comm) + "[" + pid + "] now"},
		"no such pid":       {"pid 4194303", collectors.Target{}, "there is no process 4194303 here"},
		"no number":         {"pid fio", collectors.Target{}, "fio is no process: a number is needed"},
		"zero":              {"pid 0", collectors.Target{}, "0 is no process"},
		"cgroup":            {"cgroup " + path, in, "every pane is about " + cgroup.Name + " now"},
		"where it is found": {"cgroup /sys/fs/cgroup" + path + "/", in, "every pane is about"},
		"without the /":     {"cgroup " + strings.TrimPrefix(path, "/"), in, "every pane is about"},
		"no such cgroup":    {"cgroup /zzz", collectors.Target{}, "there is no cgroup /zzz here"},
		"nowhere to save":   {"save", collectors.Target{}, "there is no save here"},
	}
	for name, tt := range tests {
		r := resize(root(f), 100, 30)
		says(r, tt.text)
		if got := r.frame.Scope.Target; got != tt.want {
			t.Errorf("%s: the scope is %+v, want %+v", name, got, tt.want)
		}
		sees(t, r, name, tt.says)
		fits(t, r.View(), 100, 30)
	}
	r := resize(root(f), 80, 24)
	press(r, ":")
	for _, c := range "pid " + pid[:1] {
		press(r, string(c))
	}
	sees(t, r, "the list of processes", ":pid "+pid[:1]+"▏ pid "+pid[:1]+"  pid ")
	press(r, "esc", " ")
	if says(r, "pid 4194303"); !strings.Contains(r.View(), "there is no process 4194303 at "+r.frame.At.Format(time.TimeOnly)) {
		t.Errorf("paused, the answer does not name the moment:\n%s", r.View())
	}
}

// J, or :at, stops the time at a moment that is kept.
func TestJumpToATime(t *testing.T) {
	f := varied(20).frame()
	at := func(i int) string { return f.Past[i].Taken.Format(time.TimeOnly) }
	tests := map[string]struct {
		text string
		want int // moment; -1: it stays live
		says string
	}{
		"a second":      {at(7), 7, "PAUSED"},
		"ago":           {"-5s", 14, "PAUSED"},
		"the first":     {at(0), 0, "PAUSED"},
		"the last":      {at(19), 19, "PAUSED"},
		"a minute":      {f.Past[0].Taken.Format("15:04"), 0, "PAUSED"},
		"before":        {"-1h", -1, "-1h is not kept: " + at(0) + " to " + at(19) + " are"},
		"no time":       {"noon", -1, "noon is no time: write 12:31, 12:31:05 or -5m"},
		"no such time":  {"25:00", -1, "25:00 is no time"},
		"no such span":  {"-5", -1, "-5 is no time"},
		"still to come": {f.Past[19].Taken.Add(2 * time.Minute).Format(time.TimeOnly), -1, "is not kept"},
	}
	for name, tt := range tests {
		r := resize(root(f), 80, 24)
		press(r, "J")
		for _, c := range tt.text {
			press(r, string(c))
		}
		press(r, "enter")
		want := tt.want
		if want < 0 {
			want = 19
		}
		if got := r.frame.Now.At; got != f.Past[want].At || r.tape.paused != (tt.want >= 0) {
			t.Errorf("%s: %v is shown, paused %v, want %v", name, got, r.tape.paused, f.Past[want].At)
		}
		sees(t, r, name, tt.says)
		fits(t, r.View(), 80, 24)
		press(r, "end")
		if r.tape.paused {
			t.Errorf("%s: End does not lead back", name)
		}
	}
	r := resize(root(f, func(c *Config) { c.Recorded = "db-2" }), 80, 24)
	says(r, "at "+at(3))
	if r.frame.Now.At != f.Past[3].At {
		t.Errorf("in a recording %v is shown, want %v", r.frame.Now.At, f.Past[3].At)
	}
	r.Update(NewMsg{})
	if r.frame.Now.At != f.Past[3].At {
		t.Error("what is read of the recording meanwhile moves the cursor")
	}
	nothing := New(Config{Panes: All(), History: &triage.History{}, Theme: plain()})
	if press(nothing, "J"); nothing.over != nil {
		t.Error("J begins where nothing is kept")
	}
}

// What happened is offered as a time to jump to, the newest first.
func TestJumpOffersWhatHappened(t *testing.T) {
	f := varied(20).frame()
	for _, i := range []int{6, 13} {
		f.Past[i].Late = time.Minute
	}
	r := resize(root(f), 100, 30)
	list := timeChoices(r)
	if len(list) < 2 {
		t.Fatalf("%d times are offered, want those of two late ticks", len(list))
	}
	for i := 1; i < len(list); i++ {
		if list[i].name >= list[i-1].name {
			t.Errorf("%s stands behind %s", list[i].name, list[i-1].name)
		}
	}
	press(r, "J", "tab", "enter")
	if got := r.frame.Now.Taken.Format(time.TimeOnly); got != list[0].name {
		t.Errorf("Tab and Enter lead to %s, want %s: %s", got, list[0].name, list[0].does)
	}
}

// u begins a filter of users where a table has a column of them, and ! opens the probes.
func TestKeysOfPeers(t *testing.T) {
	for name, tt := range map[string]struct {
		keys []string
		says []string
	}{
		"Processes": {[]string{"3", "u"}, []string{"/user=▏"}},
		"threads":   {[]string{"3", "H", "u"}, []string{"/user=▏"}},
		"who":       {[]string{"3", "u", "r", "o", "o", "t", "enter"}, []string{"/user=root", " rows"}},
		"nobody":    {[]string{"3", "u", "enter"}, []string{"/user=▏"}},
		"given up":  {[]string{"3", "u", "esc"}, []string{"[3 Proc]"}},
		"execs":     {[]string{"8", "u"}, []string{"/user=▏"}},
		"no users":  {[]string{"2", "u"}, []string{"[2 CPU]"}},
		"probes":    {[]string{"!"}, []string{"[0 Probes]"}},
	} {
		r := resize(root(busyStory(20).frame()), 80, 24)
		press(r, tt.keys...)
		sees(t, r, name, tt.says...)
		fits(t, r.View(), 80, 24)
	}
}
