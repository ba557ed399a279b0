// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/exp/golden"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// typing is a text as key presses, after and before others.
func typing(text string, before ...string) []string {
	return append(before, strings.Split(text, "")...)
}

func TestFilterFlows(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want []string
		lack []string
	}{
		"the line says what it takes":   {[]string{"3", "/"}, []string{"/▏ text  re/…/"}, nil},
		"filters as one types":          {typing("gz", "3", "/"), []string{"/gz  2 of 130 rows", "4122 backup", "/gz▏"}, []string{"nginx"}},
		"several keys in one read":      {[]string{"3", "/gzip"}, []string{"/gzip  2 of 130 rows"}, []string{"nginx"}},
		"Enter keeps it":                {[]string{"3", "/gz", "enter"}, []string{"/gz  2 of 130 rows", "Esc no filter"}, []string{"nginx", "▏"}},
		"Esc gives up":                  {[]string{"3", "/gz", "esc"}, []string{"nginx"}, []string{"of 130 rows"}},
		"Esc gives the old one back":    {[]string{"3", "/gz", "enter", "/nginx", "esc"}, []string{"/gz  2 of 130 rows"}, nil},
		"Esc takes a kept one away":     {[]string{"3", "/gz", "enter", "esc"}, []string{"nginx", "[3 Proc]"}, []string{"of 130 rows"}},
		"an empty one is none":          {[]string{"3", "/gz", "enter", "/", "x", "backspace", "enter"}, []string{"nginx"}, []string{"of 130 rows"}},
		"/ and Enter remove it":         {[]string{"3", "/gz", "enter", "/", "enter"}, []string{"nginx"}, []string{"of 130 rows"}},
		"up brings the old one":         {[]string{"3", "/gz", "enter", "/", "up", "i"}, []string{"/gzi▏", "2 of 130 rows"}, nil},
		"a column":                      {typing("cpu>50 and user=backup", "3", "/"), []string{"2 of 130 rows"}, []string{"nginx"}},
		"a fault leaves the last good":  {typing("cpu>50 user=", "3", "/"), []string{"at 13: compare with what?", "/cpu>50  2 of 130 rows"}, nil},
		"a column to come leaves it":    {typing("cpu>50 and us", "3", "/"), []string{"/cpu>50  2 of 130 rows", "and us▏ USER  %usr"}, nil},
		"Enter takes it as a text":      {append(typing("cpu>50 and us", "3", "/"), "enter"), []string{"/cpu>50 and us  "}, nil},
		"a fault names its place":       {typing("cpu>50 and cpi>3", "3", "/"), []string{"at 12: no column cpi here"}, nil},
		"Enter does not take a fault":   {append(typing("cpu>", "3", "/"), "enter"), []string{"/cpu>▏ at 5: compare with what?"}, nil},
		"Tab completes a column":        {[]string{"3", "/", "kb_", "tab"}, []string{"/kB_rd/s▏"}, nil},
		"Tab goes on":                   {[]string{"3", "/", "kb_", "tab", "tab"}, []string{"/kB_wr/s▏"}, nil},
		"Tab after and":                 {[]string{"3", "/", "cpu>5 and us", "tab"}, []string{"/cpu>5 and USER▏"}, nil},
		"what Tab would put":            {[]string{"3", "/", "kb"}, []string{"/kb▏ kB_rd/s  kB_wr/s"}, nil},
		"it survives a pane switch":     {[]string{"3", "/gz", "enter", "2", "3"}, []string{"/gz  2 of 130 rows"}, nil},
		"each pane has its own":         {[]string{"3", "/gz", "enter", "2"}, []string{"[2 CPU]"}, []string{"/gz"}},
		"it survives pause":             {[]string{"3", "/gz", "enter", " "}, []string{"PAUSED", "/gz  2 of 130 rows"}, nil},
		"it survives a step":            {[]string{"3", "/gz", "enter", " ", "left"}, []string{"PAUSED", "/gz  2 of"}, []string{"nginx"}},
		"typed while paused":            {[]string{"3", " ", "/gz"}, []string{"PAUSED", "/gz  2 of 130 rows"}, nil},
		"sort survives a pane switch":   {[]string{"3", "M", "2", "3"}, []string{"↓RSS"}, nil},
		"sort works on what is kept":    {[]string{"3", "/gz", "enter", "N"}, []string{">   4121", "↑PID", "2 of 130 rows"}, nil},
		"Enter opens what is left":      {[]string{"3", "/nginx", "enter", "enter"}, []string{"3 Proc › nginx[640]", "Esc back"}, nil},
		"what was found stays selected": {[]string{"3", "/nginx", "enter", "esc"}, []string{">    640", "gzip"}, nil},
		"Esc comes back to the filter":  {[]string{"3", "/gz", "enter", "j", "enter", "esc"}, []string{"/gz  2 of 130 rows", ">   4122"}, nil},
		"none is left":                  {[]string{"3", "/zzz", "enter"}, []string{"none of 130 rows passes: filter zzz", "0 of 130"}, []string{"waiting"}},
		"the line of all stays":         {[]string{"2", "/cpu=1", "enter"}, []string{"> all", "    1  59.8", "1 of 2 rows"}, []string{"    0  59.8"}},
		"the cursor walks what is left": {[]string{"2", "/cpu=1", "enter", "j", "j"}, []string{">   1"}, nil},
		"no table":                      {[]string{"1", "/"}, []string{"there is no table here to filter"}, []string{"/▏"}},
		"log":                           {[]string{":", "l", "o", "g", "enter", "/zzz", "enter"}, []string{"none of 25 rows passes: filter zzz"}, nil},
		"not for the other table":       {[]string{"5", "/util>50", "enter", "t"}, []string{"/util>50: not for this table"}, nil},
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

func TestScopeFlows(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want []string
		lack []string
	}{
		"a process":                        {[]string{"3", "j", "f"}, []string{"3 Proc › gzip[4122]", "Esc whole host", "in gzip[4122]  1 of 130 rows", "every pane is about gzip[4122]"}, []string{"nginx"}},
		"f again drops it":                 {[]string{"3", "j", "f", "f"}, []string{"[3 Proc]", "nginx", ">   4122"}, []string{"›"}},
		"Esc drops it":                     {[]string{"3", "j", "f", "esc"}, []string{"[3 Proc]", "nginx", ">   4122"}, []string{"›"}},
		"it survives a pane switch":        {[]string{"3", "j", "f", "5"}, []string{"5 Disk › gzip[4122]"}, nil},
		"what cannot be narrowed says so":  {[]string{"3", "j", "f", "6"}, []string{"6 Net › gzip[4122]", "whole host ─"}, nil},
		"who did nothing":                  {[]string{"3", "j", "f", "8"}, []string{"none of 200 rows passes: scope gzip[4122]"}, nil},
		"a page below":                     {[]string{"3", "j", "f", "enter"}, []string{"3 Proc › gzip[4122]  ", "Esc back"}, nil},
		"Esc takes one step":               {[]string{"3", "j", "f", "enter", "esc"}, []string{"3 Proc › gzip[4122]", "Esc whole host"}, nil},
		"Esc drops the filter first":       {[]string{"3", "j", "f", "/gz", "enter", "esc"}, []string{"3 Proc › gzip[4122]", "Esc whole host"}, []string{"/gz"}},
		"Enter's way back before it":       {[]string{"3", "j", "f", "1", "enter", "esc"}, []string{"1 Over › gzip[4122]"}, nil},
		"a row about the host":             {[]string{"2", "f"}, []string{"this row names no process"}, []string{"›"}},
		"a disk":                           {[]string{"5", "f"}, []string{"5 Disk › backup-daily", "in backup-daily  1 of 3 rows"}, []string{"nvme"}},
		"a disk has what lies on it":       {[]string{"5", "j", "f"}, []string{"5 Disk › sdb", "backup-daily"}, []string{"nvme"}},
		"a disk does not narrow processes": {[]string{"5", "f", "3"}, []string{"3 Proc › backup-daily", "whole host", "nginx"}, nil},
		"a cgroup has its processes":       {[]string{":", "c", "g", "r", "enter", "f", "3"}, []string{"3 Proc › backup.service", "gzip -9"}, []string{"nginx"}},
		"the process of a connection":      {[]string{"7", "f", "3"}, []string{"3 Proc › ", "1 of 130 rows"}, nil},
		"a peer":                           {[]string{"7", "v", "v", "f", "v", "v"}, []string{"7 TCP › ", " of 46 rows"}, nil},
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

// With a scope each pane asks for the same collectors as without, and for the scope counted apart.
func TestScopeWants(t *testing.T) {
	process := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 812, Start: 5}}
	cgroup := collectors.Target{Kind: collectors.CgroupTarget, Cgroup: 77}
	disk := collectors.Target{Kind: collectors.DiskTarget, Dev: 8 << 20}
	narrowed := map[ID][]collectors.ID{
		CPUPane: {collectors.LatencyID}, MemoryPane: {collectors.ReclaimID, collectors.KmemID}, DiskPane: {collectors.BlockID},
		TCPPane: {collectors.FlowID}, ExecPane: {collectors.ExecID, collectors.SignalsID}, DNSPane: {collectors.DNSID},
		SyscallsPane: {collectors.SyscallsID}, ProfilePane: {collectors.ProfileID},
	}
	peer := collectors.Target{Kind: collectors.PeerTarget, Addr: netip.MustParseAddrPort("10.0.0.9:443")}
	for _, target := range []collectors.Target{process, cgroup, disk, peer} {
		for _, p := range All() {
			var got []collectors.ID
			for _, w := range p.Wants(NewScope(target)) {
				if w.Target == target {
					got = append(got, w.ID)
				}
			}
			want := narrowed[p.Info().ID]
			if target == disk && p.Info().ID != DiskPane || target == peer && p.Info().ID != TCPPane && p.Info().ID != DNSPane {
				want = nil
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s narrows for %v (-want +got):\n%s", p.Info().ID, target.Kind, d)
			}
		}
	}
}

// The root asks for what the scope needs as soon as there is one, and lets go of it.
func TestScopeIsWanted(t *testing.T) {
	var got []collectors.Want
	r := resize(root(busyStory(91).frame(), func(c *Config) {
		c.Want = func(_ string, w []collectors.Want) { got = w }
	}), 80, 24)
	press(r, "3", "j", "f", "5")
	want := []collectors.Want{{ID: collectors.BlockID, Target: r.frame.Scope.Target}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b collectors.Target) bool { return a == b })); d != "" || want[0].Target.Process.TGID != 4122 {
		t.Errorf("wants (-want +got):\n%s", d)
	}
	press(r, "f")
	if len(got) != 0 {
		t.Errorf("without a scope the disks want %v", got)
	}
}

// What the kernel counts of the scope alone stands below the title; of a moment when nobody looked that
// is said.
func TestScopeLine(t *testing.T) {
	target := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 4121, Start: 1}}
	s := &collectors.Snapshot{Taken: time.Date(2026, 3, 1, 9, 0, 30, 0, time.UTC)}
	s.At = 30 * time.Second
	s.Exec = &collectors.Exec{Span: collectors.Span{From: 29 * time.Second, To: 30 * time.Second}}
	s.Exec.Narrowed = []collectors.Targeted[collectors.ExecCounts]{{Target: target, Since: 20 * time.Second, Sample: collectors.ExecCounts{Execs: 23, Exits: 21}}}
	m := triage.Moment{Snapshot: s}
	f := Frame{Now: m, Past: []triage.Moment{m}, At: s.Taken, Scope: Scope{Target: target, Name: "make[4121]"}}
	c := Canvas{Width: 100, Height: 24, Theme: plain()}
	got := scopeLine(f, c, f.Scope.wants(collectors.ExecID))
	for _, want := range []string{"make[4121]  execs 23.0/s  exits 21.0/s", "by the kernel since 09:00:20"} {
		if !strings.Contains(got, want) {
			t.Errorf("scopeLine = %q, want %q in it", got, want)
		}
	}
	if got := scopeLine(f, c, f.Scope.wants(collectors.FlowID)); !strings.Contains(got, "is not counted apart here") {
		t.Errorf("without a sample scopeLine = %q", got)
	}
	if got := scopeLine(f, c, []collectors.Want{{ID: collectors.ExecID}}); got != "" {
		t.Errorf("of what is wanted of the host scopeLine = %q, want nothing", got)
	}
}

func TestViewHistory(t *testing.T) {
	r := resize(root(busyStory(91).frame()), 80, 24)
	press(r, "[")
	sees(t, r, "at first", "this is the first view")
	press(r, "3", "j", "j", "enter", "5")
	press(r, "[")
	sees(t, r, "one back", "3 Proc › php-fpm[812]")
	press(r, "[")
	sees(t, r, "two back", "[3 Proc]", ">    812")
	press(r, "k", "[")
	sees(t, r, "three back", "[1 Over]")
	press(r, "]")
	sees(t, r, "forward, where it was left", "[3 Proc]", ">   4122")
	press(r, "]", "]", "]")
	sees(t, r, "to the end", "[5 Disk]", "this is the last view")
	press(r, "[", "[", "6")
	sees(t, r, "elsewhere", "[6 Net]")
	press(r, "]")
	sees(t, r, "what lay ahead is gone", "this is the last view")
	for range mostVisits {
		press(r, "2", "3")
	}
	if len(r.visits) != mostVisits {
		t.Errorf("%d views are remembered, want %d", len(r.visits), mostVisits)
	}
}

// The row of the same process is selected in the next pane; without one its own cursor stays.
func TestSelectionTravels(t *testing.T) {
	r := resize(root(busyStory(91).frame()), 80, 24)
	press(r, "3", "j", "j", "H")
	sees(t, r, "threads are a table of their own", "TGID")
	press(r, "H", "7")
	row := r.sightOf(r.top()).row
	press(r, "3")
	if got := r.sightOf(r.top()).row.Target; row.Target.Process.TGID == 0 || !sameTarget(got, row.Target) {
		t.Errorf("from the connection of %v the cursor went to %v", row.Target.Process, got.Process)
	}
	press(r, "g", "g", "j", "5", "3")
	sees(t, r, "disks know no process", ">   4122")

	hand := resize(root(busyStory(91).frame()), 80, 24)
	press(hand, "7")
	was := hand.sightOf(hand.top()).row.Target
	x, y := spot(t, hand, "3 Proc")
	click(hand, x, y)
	if got := hand.sightOf(hand.top()).row.Target; was.Process.TGID == 0 || !sameTarget(got, was) {
		t.Errorf("from the connection of %v a click on the tab went to %v", was.Process, got.Process)
	}

	wide := resize(root(busyStory(91).frame()), 200, 60)
	press(wide, "j", "j", "3", "1")
	sees(t, wide, "the pictures of the overview have no cursor", ">   vmstat")
}

// A snapshot says what the screen had filtered, and has the tables whole.
func TestSnapshotOfAFilter(t *testing.T) {
	var saved string
	r := resize(root(busyStory(91).frame(), func(c *Config) {
		c.Save = saver(func(text, _ []byte, _ error) (string, error) { saved = string(text); return "/tmp/x", nil })
	}), 80, 24)
	press(r, "3", "/gz", "enter", "S")
	for _, want := range []string{"on the screen: Processes, filter gz: 2 of 130 rows", "nginx: worker"} {
		if !strings.Contains(saved, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	press(r, "esc", "j", "f", "S")
	if want := "scope: gzip[4122]."; !strings.Contains(saved, want) || strings.Contains(saved, "on the screen") {
		t.Errorf("the report lacks %q, or still has the filter", want)
	}
}

// Every table of every pane goes through the filter.
func TestEveryTableIsFiltered(t *testing.T) {
	filter, err := parseFilter("no cell holds this")
	if err != nil {
		t.Fatal(err)
	}
	f := busyStory(91).frame()
	h := root(f).cfg.History
	tables := 0
	for state, keys := range states() {
		r := resize(rootOver(h, f), 80, 24)
		press(r, keys...)
		if r.over != nil {
			continue
		}
		before := r.sightOf(r.top())
		r.setFilter(filter)
		after := r.sightOf(r.top())
		if len(before.columns) == 0 {
			continue
		}
		tables++
		if after.kept != 0 || after.of != before.of {
			t.Errorf("%s: the filter leaves %d of %d rows, want 0 of %d", state, after.kept, after.of, before.of)
		}
	}
	if tables < 20 {
		t.Errorf("%d states have a table, want most of them", tables)
	}
}

func TestFilterScreens(t *testing.T) {
	f := busyStory(91).frame()
	for name, keys := range map[string][]string{
		"line":   typing("us", "3", "/"),
		"empty":  {"3", "/"},
		"fault":  typing("cpu>5 and usr>x", "3", "/"),
		"active": {"3", "/cpu>5 and user=backup", "enter"},
		"none":   {"3", "/zzz", "enter"},
		"scope":  {"3", "j", "f"},
		"both":   {"3", "j", "f", "/gz", "enter"},
		"disk":   {"5", "j", "f"},
		"host":   {"3", "j", "f", "6"},
		"page":   {"3", "j", "f", "enter"},
	} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(t *testing.T) {
				r := resize(root(f), size[0], size[1])
				press(r, keys...)
				out := r.View()
				fits(t, out, size[0], size[1])
				golden.RequireEqual(t, out)
			})
		}
	}
}

// A character of a filter over 5,000 processes is on the screen within 50 ms, ten times that by hand.
func BenchmarkFilter5000(b *testing.B) {
	for _, text := range []string{"zsh", "rss>100M and user=root", "re/^worker/", "4"} {
		b.Run(text, func(b *testing.B) {
			r := resize(root(manyFrame(5000)), 200, 60)
			press(r, "3")
			r.View()
			press(r, "/")
			line := r.over.(*filterLine)
			b.ResetTimer()
			for range b.N {
				line.text = text[:len(text)-1]
				r.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text[len(text)-1:])})
				r.View()
			}
		})
	}
}

// What a pane says is under its cursor is the same where nobody looks at what it draws.
func TestUnseen(t *testing.T) {
	eachStateOf("busy", func(state string, r *Root) {
		var got [2]sight
		for i, unseen := range []bool{false, true} {
			f := r.frame
			f.sight = &got[i]
			r.top().View(f, Canvas{Width: 80, Height: 21, Theme: plain(), Focused: true, unseen: unseen})
		}
		if a, b := got[0], got[1]; a.row.ID != b.row.ID || a.row.Target != b.row.Target || len(a.columns) != len(b.columns) || a.of != b.of || a.kept != b.kept {
			t.Errorf("%s: the row is %q of %d unseen, want %q of %d", state, b.row.ID, b.of, a.row.ID, a.of)
		}
	})
}

// TestTravelStaysInTheView: [ comes back to a view as it was left. A row that has gone, or is of another table of
// the pane, changes nothing; one that is there is selected again.
func TestTravelStaysInTheView(t *testing.T) {
	f := busyStory(91).frame()
	h := root(f).cfg.History
	moved := 0
	for state, keys := range states() {
		r := resize(rootOver(h, f), 80, 24)
		press(r, keys...)
		if r.over != nil || r.tape.paused {
			continue
		}
		away := "5"
		if r.top().Info().ID == DiskPane {
			away = "6"
		}
		first := r.sightOf(r.top())
		view := r.View()
		for _, row := range []string{"no such row", "opens/7 3", "io nvme0n1", first.row.ID} {
			press(r, away)
			r.visits[r.at-1].row = row
			press(r, "[")
			got := r.sightOf(r.top())
			if len(got.columns) != len(first.columns) || got.row.ID != first.row.ID {
				t.Errorf("%s: back to row %q shows row %q of %d columns, want %q of %d:\n%s\n%s", state, row, got.row.ID, len(got.columns), first.row.ID, len(first.columns), view, r.View())
			}
		}
		press(r, "j")
		next := r.sightOf(r.top()).row.ID
		if first.row.ID == "" || next == first.row.ID {
			continue
		}
		press(r, away)
		r.visits[r.at-1].row = first.row.ID
		press(r, "[")
		if got := r.sightOf(r.top()).row.ID; got != first.row.ID {
			t.Errorf("%s: back where the cursor was on %q it is on %q", state, first.row.ID, got)
		}
		moved++
	}
	if moved < 20 {
		t.Errorf("%d states have rows to go back to, want most of them", moved)
	}
}

// TestWantedIsWhatIsShown: whatever part of a pane a row leads to, the collectors of that part run, and no other.
func TestWantedIsWhatIsShown(t *testing.T) {
	rows := map[ID][]string{
		CPUPane:       {"all", "0"},
		ProcessesPane: {"4122 1"},
		MemoryPane:    {"dentry", "part x", "limit x", "wait 1 1", "waitcg 1", "stall 1 1", "kill 1 1", "pages 1 1"},
		DiskPane:      {"nvme0n1", "fs /", "io x", "own 1 1 8:0"},
		NetworkPane:   {"eth0", "drops", "drops/NO_SOCKET"},
		TCPPane:       {"1", "processes/"},
		DNSPane:       {"servers/10.0.0.2", "processes/1", "questions/1"},
		ProbesPane:    {"runqlat"},
		StallsPane:    {"fs x"},
		SyscallsPane:  {"read"},
		LogPane:       {"1"},
		ProfilePane:   {"x`y"},
		CgroupsPane:   {"/"},
		FindingsPane:  {"x 1"},
		OverviewPane:  {"vmstat"},
	}
	for _, s := range NewExec().sections {
		rows[ExecPane] = append(rows[ExecPane], s.id+"/")
	}
	for _, s := range NewTCP().sections {
		rows[TCPPane] = append(rows[TCPPane], s.id+"/1")
	}
	same := cmp.Comparer(func(a, b collectors.Target) bool { return a == b })
	f := busyStory(91).frame()
	h := root(f).cfg.History
	for state, keys := range states() {
		var got []collectors.Want
		r := resize(rootOver(h, f, func(c *Config) { c.Want = func(_ string, w []collectors.Want) { got = w } }), 80, 24)
		press(r, keys...)
		pane := r.stacks[r.tab][0].Info().ID
		if len(rows[pane]) == 0 {
			t.Errorf("no row of %s is tried", pane)
		}
		for _, row := range rows[pane] {
			for _, from := range []string{"1", "5"} {
				press(r, "esc", "esc", from)
				r.Update(GoMsg{pane, row})
				if d := cmp.Diff(r.top().Wants(r.frame.Scope), got, same); d != "" {
					t.Errorf("%s: %s leads to row %q and wants (-want +got):\n%s", state, from, row, d)
				}
			}
			r = resize(rootOver(h, f, func(c *Config) { c.Want = func(_ string, w []collectors.Want) { got = w } }), 80, 24)
			press(r, keys...)
		}
	}
}

// TestSelectionTravelsLate: what a pane measures on demand has no row at first. The cursor goes to the one it is about
// when it comes, unless a key was pressed since or it took long.
func TestSelectionTravelsLate(t *testing.T) {
	f := busyStory(91).frame()
	whole := resize(root(f), 80, 24)
	press(whole, "7")
	busiest := whole.sightOf(whole.top()).row.Target
	var about collectors.Target
	for range 40 {
		press(whole, "j")
		at := whole.sightOf(whole.top()).row.Target
		if !sameTarget(at, busiest) && whole.lookFor(whole.stacks[2][0], seek{about: at}).found != "" {
			about = at
			break
		}
	}
	if about.Kind != collectors.ProcessTarget {
		t.Fatal("all connections are of one process")
	}
	tests := map[string]struct {
		keys  []string
		after time.Duration
		want  bool
	}{
		"at once":       {nil, time.Second, true},
		"late":          {nil, 3 * time.Second, true},
		"too late":      {nil, 4 * time.Second, false},
		"after a key":   {[]string{"x"}, time.Second, false},
		"another pane":  {[]string{"6", "7"}, time.Second, false},
		"the way back":  {[]string{"["}, time.Second, false},
		"after a click": {[]string{"click"}, time.Second, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := &triage.History{}
			last := f.Past[len(f.Past)-1]
			for _, m := range f.Past[len(f.Past)-20:] {
				s := *m.Snapshot
				s.Sockets = nil
				m.Snapshot = &s
				h.Append(m)
			}
			now := last.At
			r := New(Config{Panes: All(), History: h, Theme: plain(), Clock: func() time.Duration { return now }})
			resize(r, 80, 24).Update(NewMsg{})
			press(r, "3")
			if r.carry(about); !sameTarget(r.sightOf(r.top()).row.Target, about) {
				t.Fatalf("no process is %v", about)
			}
			press(r, "7")
			for _, k := range tt.keys {
				if k == "click" {
					click(r, 1, 20)
					continue
				}
				press(r, k)
			}
			for i := time.Second; i <= tt.after; i += time.Second {
				s := *last.Snapshot
				s.At, s.Taken = last.At+i, last.Taken.Add(i)
				if i < tt.after {
					s.Sockets = nil
				}
				now = s.At
				m := last
				m.Snapshot = &s
				h.Append(m)
				r.Update(NewMsg{})
			}
			if name == "the way back" {
				press(r, "]")
			}
			if got := sameTarget(r.sightOf(r.top()).row.Target, about); got != tt.want {
				t.Errorf("the cursor is on the row of the process: %t, want %t:\n%s", got, tt.want, r.View())
			}
		})
	}
}

// TestFindingIsAbout: f and the digits take the process that a finding of the Overview blames along.
func TestFindingIsAbout(t *testing.T) {
	r := resize(root(frames()["judged"]), 80, 24)
	press(r, "f")
	sees(t, r, "the process that is blamed", "1 Over › gzip[4121]", "every pane is about gzip[4121]")
	press(r, "f", "3")
	if got := r.sightOf(r.top()).row.Target.Process.TGID; got != 4121 {
		t.Errorf("3 leads to process %d, want 4121:\n%s", got, r.View())
	}
	press(r, "1", "row vmstat", "f")
	sees(t, r, "a line of the checklist", "this row names no process")
	press(r, "/")
	sees(t, r, "no table", "there is no table here to filter")
}
