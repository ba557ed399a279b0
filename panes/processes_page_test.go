// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/exp/golden"

	"bpf60/collectors"
	"bpf60/triage"
)

// pageOf is the page of a process of a frame.
func pageOf(t *testing.T, f Frame, pid int32) *processPage {
	t.Helper()
	set := processesOver(f)
	for i := range set.list {
		if set.list[i].PID == pid {
			return newProcessPage(set.list[i].ProcInfo)
		}
	}
	t.Fatalf("no process %d", pid)
	return nil
}

// TestProcessEnded holds that the page of a process that ended says when and how, and keeps what was seen.
func TestProcessEnded(t *testing.T) {
	s := busyStory(60)
	p := pageOf(t, s.frame(), 4121)
	alive := p.View(s.frame(), Canvas{Width: 80, Height: 21, Theme: plain()})
	at := s.moments[len(s.moments)-1].At
	for i := range 20 { // it is gone from the next second on
		l := calmLoad(60 + i)
		snap := s.second(l)
		if i == 0 {
			snap.Tasks.Gone = []collectors.Process{p.info.Process}
			e := collectors.ExitRow{At: at + 400*time.Millisecond, Process: p.info.Process, Comm: p.info.Comm, Age: 250 * time.Second, Code: 3, Reaped: true}
			snap.Exec = &collectors.Exec{Span: snap.Tasks.Span, Exits: []collectors.ExitRow{e}}
		}
	}
	out := p.View(s.frame(), Canvas{Width: 80, Height: 21, Theme: plain()})
	for _, want := range []string{"ended at " + began.Add(at+400*time.Millisecond).Format(time.TimeOnly), " with 3, 4m old", "gzip -9 -c", "waits for a CPU"} {
		if !strings.Contains(out, want) {
			t.Errorf("the page lacks %q:\n%s", want, out)
		}
	}
	golden.RequireEqual(t, out)
	was := strings.Split(alive, "\n")
	for _, l := range was[4:12] { // its numbers and distributions
		if !strings.Contains(out, l) {
			t.Errorf("the page has lost the line %q:\n%s", l, out)
		}
	}
	f := s.frame()
	if f.Past = f.Past[:50]; f.Past[49].Snapshot != nil {
		f.Now, f.At = f.Past[49], f.Past[49].Taken
		if out := p.View(f, Canvas{Width: 80, Height: 21, Theme: plain()}); strings.Contains(out, "ended") {
			t.Errorf("stepped back to before its end, the page says that it has ended:\n%s", out)
		}
	}
	if tb := p.Table(s.frame()); tb.Facts[0].ID != "ended" || len(tb.Rows) == 0 {
		t.Errorf("the table has facts %+v and %d rows, want when it ended and its threads", tb.Facts[0], len(tb.Rows))
	}
}

// TestProcessNotRecorded holds what the page says of a moment before somebody looked, of a moment in a
// recording, and of a probe that does not work.
func TestProcessNotRecorded(t *testing.T) {
	s := busyStory(60)
	const since = 42 * time.Second
	for i := range s.moments { // nobody looked before
		m := s.moments[i].Snapshot
		if m.At < since {
			m.Latency, m.Syscalls, m.Limits = nil, nil, nil
			continue
		}
		for k := range m.Latency.Narrowed {
			m.Latency.Narrowed[k].Since = since
		}
		for k := range m.Syscalls.Narrowed {
			m.Syscalls.Narrowed[k].Since = since
		}
	}
	whole := s.frame()
	p := pageOf(t, whole, 4121)
	p.parts.choose("calls")
	back := whole
	back.Past = whole.Past[:30]
	back.Now, back.At = back.Past[29], back.Past[29].Taken
	tests := map[string]struct {
		live  []triage.Moment
		want  string
		times int
	}{
		"before": {whole.Past[57:], "not recorded: nobody was looking until " + began.Add(since).Format(time.TimeOnly), 2},
		"replay": {whole.Past[33:36], "not recorded: nobody was looking", 2},
		"fresh":  {back.Past[27:], "waiting for", 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := back
			f.Live = tt.live
			out := p.View(f, Canvas{Width: 80, Height: 21, Theme: plain()})
			if n := strings.Count(out, tt.want); n != tt.times {
				t.Errorf("%q is there %d times, want %d:\n%s", tt.want, n, tt.times, out)
			}
		})
	}
	live := whole
	live.Live = whole.Past[57:]
	if out := p.View(live, Canvas{Width: 80, Height: 21, Theme: plain()}); strings.Contains(out, "not recorded") {
		t.Errorf("the newest moment is not recorded:\n%s", out)
	}
	back.Now.Probes[collectors.LatencyID][0].State = collectors.Off
	back.Now.Probes[collectors.LatencyID][0].Reason = "needs CAP_BPF"
	back.Live = tests["replay"].live
	if out := p.View(back, Canvas{Width: 80, Height: 21, Theme: plain()}); !strings.Contains(out, "runqlat-pid: needs CAP_BPF") {
		t.Errorf("a probe that is off does not say why:\n%s", out)
	}
}

// TestTargetBlockFacts holds the facts of a target's I/O against their units.
func TestTargetBlockFacts(t *testing.T) {
	target := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 7}}
	block := &collectors.Block{Span: collectors.Span{From: 0, To: 2 * time.Second}}
	one := collectors.BlockTarget{Bytes: [4]uint64{0, 8192}}
	one.Device[1] = hist32(map[int]uint64{9: 4})
	block.Narrowed = []collectors.Targeted[collectors.BlockTarget]{{Target: target, Sample: one}}
	snap := &collectors.Snapshot{At: 2 * time.Second, Block: block}
	f := Frame{Past: []triage.Moment{{Snapshot: snap}}, Now: triage.Moment{Snapshot: snap}}
	want := map[string]string{"io": "2.0 /s", "moved": "4.0 KiB/s"}
	for _, x := range targetBlockTable(f, target).Facts {
		if got := x.Cell.Format(x.Decimals) + " " + x.Unit; got != want[x.ID] {
			t.Errorf("%s = %s, want %s", x.ID, got, want[x.ID])
		}
		delete(want, x.ID)
	}
	if len(want) > 0 {
		t.Errorf("no facts %v", want)
	}
}

// TestTimeParts holds that the shares of a process's time are those of what was counted, and add up.
func TestTimeParts(t *testing.T) {
	x := &collectors.Targeted[collectors.LatencyCounts]{}
	c := &x.Sample.OffCounts
	c.OnCPU.Sum, c.Wait.Sum = 200e6, 100e6
	c.Off[collectors.OffSlept].Sum, c.Queued[collectors.OffSlept] = 750e6, 50e6
	x.Sample.Stacks = []collectors.OffStack{{Stack: &collectors.Stack{Class: "disk"}, Ns: 600e6}}
	got := timeParts(x)
	want := []string{"sleeps for disk 0.60", "runs 0.20", "short sleeps 0.10", "waits for a cpu 0.10"}
	if len(got) != len(want) {
		t.Fatalf("parts %+v, want %v", got, want)
	}
	for i, p := range got {
		if text := fmt.Sprintf("%s %.2f", p.name.String(), p.share); text != want[i] {
			t.Errorf("part %d is %s, want %s", i, text, want[i])
		}
	}
}

// TestShare3 holds that lines go to those that need them, and never more than there are.
func TestShare3(t *testing.T) {
	tests := map[string]struct {
		need   []int
		height int
		want   []int
	}{
		"all fit":    {[]int{2, 5, 9}, 20, []int{2, 5, 9}},
		"one by one": {[]int{2, 9, 9}, 12, []int{2, 5, 5}},
		"too few":    {[]int{9, 9, 9}, 7, []int{3, 3, 1}},
		"none":       {[]int{9, 9}, 0, []int{0, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := share3(tt.need, tt.height)
			for i := range got {
				if got[i] != tt.want[i] {
					t.Fatalf("share3(%v, %d) = %v, want %v", tt.need, tt.height, got, tt.want)
				}
			}
		})
	}
}
