// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// addOffCPU makes where the tasks were that the second ran and had wait: most slept, those that are in
// D were blocked, and what was preempted is a fifth of the waits.
func addOffCPU(s *story, l load, snap *collectors.Snapshot) {
	off := collectors.Probe{Name: "offcputime", State: collectors.On, Hook: "tp_btf sched_switch, sched_wakeup", NsPerEvent: 370}
	one := collectors.Probe{Name: "runqlat-pid", State: collectors.On, Hook: off.Hook, NsPerEvent: 170}
	defer func() {
		snap.Probes[collectors.OffCPUID] = []collectors.Probe{off}
		snap.Probes[collectors.LatencyID] = []collectors.Probe{one}
	}()
	switch s.kind {
	case "denied":
		for _, p := range []*collectors.Probe{&off, &one} {
			p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
		return
	case "lossy":
		off.State, off.Reason = collectors.Degraded, "no stacks: needs addresses in /proc/kallsyms"
	}
	if len(s.moments) == 0 {
		return
	}
	span := snap.Sched.Span
	host := offShare(&snap.Sched.Host, l, 1)
	if s.kind == "lossy" {
		host.Collided, host.Unknown, host.Unlisted[collectors.OffSlept] = 5, 7, 31
	}
	s.offTotal.Plus(&host)
	x := &collectors.OffCPU{Span: span, Host: host, Total: s.offTotal}
	if s.kind != "lossy" {
		x.Stacks = offStacks(s, l, snap.At)
	}
	snap.OffCPU = x
	lat := &collectors.Latency{Span: span}
	for i := range min(len(snap.Tasks.Rows), 7) {
		r := &snap.Tasks.Rows[i]
		if r.ProcInfo == nil {
			continue
		}
		c := offShare(&snap.Sched.Host, l, uint64(i+2))
		t := collectors.LatencyCounts{OffCounts: c, Total: c}
		for _, st := range offStacks(s, l, snap.At) {
			if st.Task == r.Process {
				t.Stacks = append(t.Stacks, st)
			}
		}
		lat.Narrowed = append(lat.Narrowed, collectors.Targeted[collectors.LatencyCounts]{
			Target: collectors.Target{Kind: collectors.ProcessTarget, Process: r.Process}, Since: time.Second, Sample: t,
		})
	}
	snap.Latency = lat
}

// offShare is one n-th of a second's switches.
func offShare(sched *collectors.SchedCounts, l load, n uint64) collectors.OffCounts {
	part := func(h collectors.Hist, of uint64) collectors.Hist {
		counts := map[int]uint64{}
		for slot, c := range h.Slots {
			if v := c / of; v > 0 {
				counts[slot] = v
			}
		}
		return spread(counts)
	}
	c := collectors.OffCounts{Wait: part(sched.Wait, n), OnCPU: part(sched.OnCPU, n)}
	c.Arrivals = c.Wait.Count()
	pre := part(sched.Wait, 5*n)
	c.Off[collectors.OffPreempted], c.Queued[collectors.OffPreempted] = pre, pre.Sum
	blocked := uint64(0)
	if l.blocked > 0 {
		blocked = uint64(l.blocked) * 20 / n
		c.Off[collectors.OffBlocked] = spread(map[int]uint64{12: blocked * 3 / 4, 15: blocked - blocked*3/4})
	}
	rest := c.Arrivals - min(pre.Count()+blocked, c.Arrivals)
	c.Off[collectors.OffSlept] = spread(map[int]uint64{6: rest / 4, 9: rest / 2, 13: rest - rest/4 - rest/2 - rest/50, 19: rest / 50})
	c.Queued[collectors.OffSlept] = (c.Wait.Sum - pre.Sum) * 9 / 10
	return c
}

// offStacks are where the tasks of the second slept long.
func offStacks(s *story, l load, at time.Duration) (out []collectors.OffStack) {
	poll := stack(collectors.WaitPoll, "ep_poll", "do_epoll_wait", "__x64_sys_epoll_wait", "do_syscall_64", "entry_SYSCALL_64_after_hwframe")
	futex := stack(collectors.WaitFutex, "futex_wait_queue", "futex_wait", "do_futex", "__x64_sys_futex", "do_syscall_64")
	page := stack(collectors.WaitDisk, "folio_wait_bit_common", "filemap_read", "ext4_file_read_iter", "vfs_read", "ksys_read", "do_syscall_64")
	seconds := uint64(at / time.Second)
	for i, x := range l.tasks {
		r := collectors.OffStack{
			Stack: []*collectors.Stack{poll, futex}[i%2], Task: collectors.Process{TGID: x.pid, Start: uint64(x.pid) * 1e9}, Comm: collectors.RawString(x.name),
			Why: collectors.OffSlept, Count: uint64(40 - 7*i), Ns: uint64(40-7*i) * 21e6,
		}
		if l.blocked > i && i > 1 {
			r.Stack, r.Why = page, collectors.OffBlocked
		}
		if i > 4 {
			r.Count, r.Ns = 0, 0
		}
		r.TotalCount, r.TotalNs = r.Count*seconds+3, r.Ns*seconds+9e9
		out = append(out, r)
	}
	if s.kind == "extreme" {
		out = append(out, collectors.OffStack{Stack: &collectors.Stack{Class: collectors.WaitOther}, Comm: collectors.RawString("\x1b[31mroot\u202e日本語"), TotalCount: 1, TotalNs: 1e18})
	}
	return out
}

// TestOffStackIDs holds that rows of one function keep apart when their stacks, reasons or processes
// differ, and that a row is found again by its ID.
func TestOffStackIDs(t *testing.T) {
	base := collectors.OffStack{Stack: stack(collectors.WaitPoll, "ep_poll", "do_epoll_wait"), Task: collectors.Process{TGID: 1, Start: 2}}
	ids := map[string]string{offStackID(&base): "base"}
	for name, change := range map[string]func(*collectors.OffStack){
		"caller":   func(r *collectors.OffStack) { r.Stack = stack(collectors.WaitPoll, "ep_poll", "io_uring") },
		"no stack": func(r *collectors.OffStack) { r.Stack = nil },
		"process":  func(r *collectors.OffStack) { r.Task.Start = 3 },
		"reason":   func(r *collectors.OffStack) { r.Why = collectors.OffBlocked },
		"joined":   func(r *collectors.OffStack) { r.Stack = stack(collectors.WaitPoll, "ep_polldo_epoll_wait") },
	} {
		r := base
		change(&r)
		if other, twice := ids[offStackID(&r)]; twice {
			t.Errorf("%s has the ID of %s", name, other)
		}
		ids[offStackID(&r)] = name
	}
	again := base
	again.Count, again.Stack = 9, stack(collectors.WaitPoll, "ep_poll", "do_epoll_wait")
	if offStackID(&again) != offStackID(&base) {
		t.Error("a row has another ID a second later")
	}
}

// TestCoarseHistogram holds that no event is left out when there are more buckets than lines.
func TestCoarseHistogram(t *testing.T) {
	h := spread(map[int]uint64{0: 1, 3: 5, 10: 400, 11: 300, 12: 20, 20: 3})
	tests := map[string]struct {
		height int
		want   []string
	}{
		"all":   {30, []string{"0-1us 1", "2-3us 0", "4-7us 0", "8-15us 5"}},
		"three": {3, []string{"0-127us 6", "128us-16ms 720", "16ms-2s 3"}},
		"one":   {1, []string{"0us-2s 729"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lines := coarseHistogram(Canvas{Theme: plain()}, []widget.Series{{Hist: &h}}, 30, tt.height)
			if len(lines) > tt.height {
				t.Errorf("%d lines of %d", len(lines), tt.height)
			}
			for i, want := range tt.want {
				f := strings.Fields(lines[i])
				if got := strings.ReplaceAll(f[0]+" "+f[1], "µ", "u"); got != want {
					t.Errorf("line %d is %q, want %q", i, got, want)
				}
			}
		})
	}
	if lines := coarseHistogram(Canvas{Theme: plain()}, []widget.Series{{Hist: &collectors.Hist{}}}, 30, 9); lines != nil {
		t.Errorf("an empty histogram draws %q", lines)
	}
}

// TestSingles holds that the splits choose who waited most, each once, and that their wants follow.
func TestSingles(t *testing.T) {
	f := busyStory(60).frame()
	p := NewCPU()
	for p.split != byProcess {
		p.Update(Press{ID: keySplit, Frame: f})
	}
	if len(p.single) != mostSingles || p.single[0].name != "php-fpm[812]" {
		t.Fatalf("chosen: %+v", p.single)
	}
	wants := p.Wants(Scope{})
	if len(wants) != mostSingles {
		t.Fatalf("wants %v, want %d", wants, mostSingles)
	}
	for i, w := range wants {
		if w.ID != collectors.LatencyID || w.Target != p.single[i].target {
			t.Errorf("want %d is %v", i, w)
		}
	}
	if n := len(p.singleSeries(f)); n != mostSingles || p.singleSeries(f)[0].Hist == nil {
		t.Errorf("%d series", n)
	}
	p.Update(Press{ID: keySplit, Frame: Frame{}})
	if len(p.single) != 0 || p.noSingles(Frame{}) == nil {
		t.Errorf("without tasks: %+v", p.single)
	}
}

// TestLatencySpan holds that what is counted of a target over a span is divided by the time that somebody
// looked at it, and that its stacks are summed as its counts are.
func TestLatencySpan(t *testing.T) {
	me := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 7}}
	other := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 8}}
	var f Frame
	for i := range 20 {
		span := collectors.Span{From: time.Duration(i) * time.Second, To: time.Duration(i+1) * time.Second}
		one := collectors.Targeted[collectors.LatencyCounts]{Target: other}
		if i >= 10 {
			one = collectors.Targeted[collectors.LatencyCounts]{Target: me, Since: 10 * time.Second}
			one.Sample.Wait = spread(map[int]uint64{9: 3})
		}
		one.Sample.Stacks = []collectors.OffStack{{Stack: stack(collectors.WaitPoll, "ep_poll"), Count: 4, Ns: 5e8}}
		snap := &collectors.Snapshot{At: span.To, Latency: &collectors.Latency{Span: span, Narrowed: []collectors.Targeted[collectors.LatencyCounts]{one}}}
		f.Past = append(f.Past, triage.Moment{Snapshot: snap})
	}
	f.Now, f.Span = f.Past[19], 20*time.Second
	rows := targetSleepTable(f, me).Rows
	if len(rows) != 1 || rows[0].Cells[0].Format(2) != "0.50" || rows[0].Cells[1].Format(1) != "4.0" {
		t.Errorf("the sleeps are %+v, want one row of 0.50 s/s, 4.0 a second", rows)
	}
	for i, c := range targetLatencyTable(f, me).Columns {
		if c.ID == "/s" {
			if got := targetLatencyTable(f, me).Rows[0].Cells[i].Format(1); got != "3.0" {
				t.Errorf("it waited %s times a second for a CPU, want 3.0", got)
			}
		}
	}
	if r, span := (&offPage{row: rows[0].ID, target: me}).find(f); r == nil || r.Count != 40 || span.Seconds() != 10 {
		t.Errorf("the page of the stack has %+v over %v, want 40 sleeps in 10 s", r, span)
	}
	if f.Past[10].Latency.Narrowed[0].Sample.Stacks[0].Count != 4 {
		t.Error("the sum is written into a sample")
	}
}
