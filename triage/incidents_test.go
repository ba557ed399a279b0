// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

// asIt runs all rules over a history as they run live, and returns what they find at the end.
func asIt(h *History) []Finding {
	e := NewEngine(All(nil), &History{}, nil)
	var last Moment
	for _, m := range h.Since(-1) {
		last = e.Tick(m.Snapshot)
	}
	var live []Finding
	for _, f := range last.Findings {
		if f.Until == 0 {
			live = append(live, f)
		}
	}
	return live
}

// several are fills of different subjects, one after the other.
func several(fills ...fill) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		for _, f := range fills {
			f(i, s, span)
		}
	}
}

// flows are connects and their failures in a second, by one process to one service.
func flows(comm string, pid int32, to string, counts map[collectors.FlowCounter]uint64) fill {
	var c collectors.FlowCounts
	for k, n := range counts {
		c[k] = n
	}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Flow = &collectors.Flow{Span: span}
		s.Flow.Host.Counts = c
		s.Flow.Peers = []collectors.FlowPeer{{Addr: netip.MustParseAddrPort(to), Role: collectors.FlowActive, Counts: c}}
		s.Flow.Processes = []collectors.FlowProcess{{Process: collectors.Process{TGID: pid, Start: uint64(pid)}, Comm: collectors.RawString(comm), Counts: c}}
	}
}

// The first finding of an incident names its cause, whatever else is to be seen of it.
func TestIncidents(t *testing.T) {
	full := ticksOf(6, busyCPU(), busyCPU())
	half := ticksOf(1, collectors.Ticks{User: 20, Idle: 80}, collectors.Ticks{User: 20, Idle: 80})
	slow := waits(map[time.Duration]int{20 * time.Microsecond: 500, 20 * time.Millisecond: 200})
	web := proc{pid: 30, parent: 1, comm: "web", cgroup: "/pod-web", run: ms(300), wait: ms(500)}
	idle := tasks(proc{pid: 30, parent: 1, comm: "web", run: ms(50)})
	tcp := func(counts map[collectors.TCPCounter]uint64, timeWait int) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.TCP = &collectors.TCP{Span: span, Stat: collectors.SockStat{TimeWait: timeWait}, Limits: collectors.TCPLimits{Ports: 28232}}
			for k, n := range counts {
				s.TCP.Delta[k] = n
			}
		}
	}
	dead := func(i int, s *collectors.Snapshot, span collectors.Span) {
		parent := collectors.Process{TGID: 11, Start: 11}
		s.Exec = &collectors.Exec{
			Span: span, ExecCounts: collectors.ExecCounts{Execs: 200, Forks: 200, Exits: 200, Unseen: 200, UnseenCPU: ms(900), UnseenAge: time.Second},
			Short: []collectors.ShortLived{{Comm: collectors.RawString("sh"), Parent: parent, ParentComm: collectors.RawString("crond"), Exits: 200, Unseen: 200, UnseenCPU: ms(900)}},
		}
	}
	crashes := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Exec = &collectors.Exec{Span: span}
		if i%5 == 0 {
			s.Exec.Exits = []collectors.ExitRow{{Comm: collectors.RawString("app"), Parent: collectors.Process{TGID: 1, Start: 1}, ParentComm: collectors.RawString("systemd"), Code: 139, Age: time.Second}}
		}
	}
	names := func(i int, s *collectors.Snapshot, span collectors.Span) {
		p := collectors.DNSPair{Process: collectors.Process{TGID: 30, Start: 30}, Comm: collectors.RawString("web"), Server: netip.MustParseAddr("10.0.0.2")}
		p.Queries, p.Answers = 50, 50
		p.Rcodes[collectors.RcodeOK], p.Rcodes[collectors.RcodeName] = 10, 40
		s.DNS = &collectors.DNS{Span: span, Pairs: []collectors.DNSPair{p}}
	}
	ghosts := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Memory.Info.Set(collectors.MemTotal, 8*gib)
		s.Memory.Info.Set(collectors.MemSReclaimable, 4*gib)
		s.Memory.Tables.Dentries = collectors.TableGauge{N: 41e6, Known: true}
		s.Memory.Tables.Negative = collectors.TableGauge{N: 40e6, Known: true}
		s.Slab = &collectors.Slab{Span: span, Caches: []collectors.SlabCache{{Name: collectors.RawString("dentry"), Bytes: 4 * gib}}}
		if i == 4 {
			stats := collectors.KmemOwner{Process: collectors.Process{TGID: 50, Start: 50}, Comm: collectors.RawString("php"), Allocs: 900}
			s.Kmem = &collectors.Kmem{Span: span, Caches: []collectors.KmemCache{{Name: collectors.RawString("dentry"), Allocs: 1000, Who: []collectors.KmemOwner{{Process: collectors.Process{TGID: 51}, Allocs: 100}, stats}}}}
		}
	}
	packets := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.SoftIRQ = &collectors.SoftIRQ{IRQs: collectors.IRQs{Span: span, Rows: []collectors.IRQRow{{Name: collectors.RawString("NET_RX"), Top: 3, TopN: 9000}}}}
	}
	listens := func(i int, s *collectors.Snapshot, span collectors.Span) {
		owner := &collectors.SocketOwner{Process: collectors.Process{TGID: 80, Start: 80}, Comm: collectors.RawString("nginx")}
		idle := collectors.ListenRow{SocketID: &collectors.SocketID{Local: netip.MustParseAddrPort("10.0.0.1:22")}}
		s.Sockets = &collectors.Sockets{Span: span, Listeners: []collectors.ListenRow{idle, {SocketID: &collectors.SocketID{Local: netip.MustParseAddrPort("10.0.0.1:443"), Owner: owner}, SynRecv: 128}}}
	}
	convoy := func(i int, s *collectors.Snapshot, span collectors.Span) {
		p := &collectors.ProcInfo{Process: collectors.Process{TGID: 812, Start: 812}, PID: 812, PPID: 1, Comm: collectors.RawString("java")}
		s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, Run: ms(60), Voluntary: 6000, Threads: 32}}}
		s.Sleeps = &collectors.Sleeps{Span: span, Narrowed: []collectors.Targeted[collectors.SleepCounts]{{
			Target: collectors.Target{Kind: collectors.ProcessTarget, Process: p.Process}, Sample: collectors.SleepCounts{Comm: p.Comm, Rows: []collectors.SleepRow{{Class: collectors.WaitFutex, Threads: 31}, {Threads: 1}}},
		}}}
	}
	base := hostWith(collectors.PSI{CPU: some(5), Memory: some(0), IO: some(0)})
	for name, tt := range map[string]struct {
		h           *History
		id, culprit string
	}{
		"an API is bad at 20 % CPU": {ticking(20, base, half, stops("/pod-web", 10, 6, ms(600)), slow, tasks(web)), "cpu.throttled", "/pod-web"},
		"a noisy neighbour": {
			ticking(20, base, full, slow, tasks(web, proc{pid: 40, parent: 1, comm: "batch", cgroup: "/pod-batch", run: ms(1700), wait: ms(900)})),
			"cpu.saturated", "batch[40]",
		},
		"softirqs on one CPU": {ticking(20, base, ticksOf(2, collectors.Ticks{Idle: 100}, collectors.Ticks{SoftIRQ: 5, Idle: 95}, collectors.Ticks{Idle: 100}, collectors.Ticks{SoftIRQ: 98, User: 2}), packets, idle), "cpu.softirq", "NET_RX"},
		"a SYN flood": {
			ticking(20, base, half, idle, listens, tcp(map[collectors.TCPCounter]uint64{
				collectors.TCPReqQFullDoCookies: 900, collectors.TCPSyncookiesSent: 900, collectors.TCPListenDrops: 900, collectors.TCPListenOverflows: 20,
			}, 0)),
			"net.syn_flood", "nginx[80]",
		},
		"no local port is left": {
			ticking(70, base, half, idle, tcp(nil, 27000), flows("curl", 8, "10.0.3.7:443", map[collectors.FlowCounter]uint64{collectors.FlowConnects: 500, collectors.FlowNoPort: 40})),
			"net.connection_churn", "curl[8]",
		},
		"ndots":             {ticking(20, base, half, idle, names), "net.dns_slow", "web[30]"},
		"files leak":        {ticking(40, base, half, idle, leaking), "fd.exhaustion", "app[8]"},
		"negative dentries": {ticking(20, base, half, idle, memory(nil, nil), ghosts), "mem.slab_growth", "php[50]"},
		"a crash loop":      {ticking(40, base, half, idle, crashes), "proc.crash_loop", "app by systemd[1]"},
		"a lock convoy":     {ticking(20, base, half, convoy), "proc.waiting", "java[812]"},
		"cron at :00": {
			ticking(20, base, full, slow, several(tasks(web, proc{pid: 11, parent: 1, comm: "crond", run: ms(20)}), dead)),
			"proc.exec_storm", "sh by crond[11]",
		},
		"a reader of slabinfo": {beat{every(15), 12 * time.Millisecond, 50 * time.Microsecond, does(every(15), "cat /proc/slabinfo"), nil, nil, true, 80}.history(), "latency.periodic", "java[901]"},
	} {
		t.Run(name, func(t *testing.T) { firstIs(t, tt.h, tt.id, tt.culprit) })
	}
}

// firstIs judges a history, and wants its first finding to be this one, with that culprit; none: "".
func firstIs(t *testing.T, h *History, id, by string) {
	t.Helper()
	found := asIt(h)
	if len(found) == 0 {
		t.Fatal("nothing is found")
	}
	first := found[0]
	blamed := slices.ContainsFunc(first.Culprits, func(c Culprit) bool { return c.Name.String() == by })
	if by == "" {
		blamed = len(first.Culprits) == 0
	}
	if first.ID != id || !blamed {
		var all []string
		for _, f := range found {
			all = append(all, f.ID+": "+says(f)+": "+f.Title)
		}
		t.Errorf("the first of %q is not %s by %q", all, id, by)
	}
}

// leaking is a process that opens three files a second and closes none.
func leaking(i int, s *collectors.Snapshot, span collectors.Span) {
	s.Descriptors = &collectors.Descriptors{Span: span, Whole: true, Rows: []collectors.DescriptorRow{
		{Process: collectors.Process{TGID: 8, Start: 8e7}, Comm: collectors.RawString("app"), Used: uint64(300 + 3*i), Soft: 1024, Hard: 1024},
	}}
}
