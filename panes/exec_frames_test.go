// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"
	"time"

	"bpf60/collectors"
)

// addExec makes what starts and ends in a second: a host's cron and monitoring, or a build's compilers.
func addExec(s *story, l load, snap *collectors.Snapshot) {
	probe := func(name, hook string, ns float64) collectors.Probe {
		return collectors.Probe{Name: name, State: collectors.On, Hook: hook, NsPerEvent: ns}
	}
	rows := []collectors.Probe{
		probe("execsnoop", "tp_btf sched_process_exec", 3000), probe("forksnoop", "tp_btf sched_process_fork", 400),
		probe("exitsnoop", "tp_btf sched_process_exit, _free", 3400),
	}
	kill := probe("killsnoop", "tp_btf signal_generate", 250)
	if s.kind == "denied" {
		for _, p := range append([]*collectors.Probe{&kill}, &rows[0], &rows[1], &rows[2]) {
			p.State, p.NsPerEvent, p.Reason, p.Remedy = collectors.Off, 0, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
	}
	if s.kind == "lossy" {
		rows[2].State = collectors.Degraded
		rows[2].Reason = "CPU times lack the last time slice: not supported by this kernel"
	}
	snap.Probes[collectors.ExecID], snap.Probes[collectors.SignalsID] = rows, []collectors.Probe{kill}
	i := len(s.moments)
	if s.kind == "denied" || i == 0 {
		return
	}
	x := &collectors.Exec{Span: snap.Host.Span}
	g := &collectors.Signals{Span: snap.Host.Span}
	switch {
	case s.kind == "extreme":
		extremeExec(x, g, snap.At)
	case l.usr > 0.5:
		s.starts(x, g, snap.At, i, 9)
	case i%10 == 3:
		s.starts(x, g, snap.At, i, 1)
	}
	if s.kind == "lossy" {
		x.Execs, x.ExecsUnlisted, x.ExitsUnlisted, x.Unkeyed = x.Execs[:min(2, len(x.Execs))], 40_000, 40_003, 7
		x.ExecCounts.Execs += 40_000
		x.ExecCounts.Exits += 40_000
		for k := range x.Exits {
			x.Exits[k].Reaped = false
		}
		x.ShortUnlisted, x.FilesUnlisted = 12, 3
	}
	g.Counts = append(g.Counts, collectors.SignalCount{Number: 17, Sent: x.ExecCounts.Exits}, collectors.SignalCount{Number: 23, Sent: 40, Ignored: 2})
	for _, c := range g.Counts {
		g.Signals += c.Sent + c.Ignored + c.Lost
	}
	if i > 1 {
		if was := s.moments[i-1].Exec; was != nil {
			x.Total = was.Total
		}
	}
	x.Total.Plus(&x.ExecCounts)
	snap.Exec, snap.Signals = x, g
}

// starts is a health check that is started n times a second by a shell of cron; each lives for some
// milliseconds, and one of a second fails.
func (s *story) starts(x *collectors.Exec, g *collectors.Signals, at time.Duration, i, n int) {
	raw := collectors.RawString
	cron := collectors.Process{TGID: 702, Start: 702e9}
	var used time.Duration
	for k := range n {
		pid := int32(20_000 + 16*i + k)
		p := collectors.Process{TGID: pid, Start: uint64(pid) * 1e9}
		when := at - time.Duration(n-k)*90*time.Millisecond
		age := time.Duration(6+k) * time.Millisecond
		cpu := time.Duration(3+k%3) * 1_100 * time.Microsecond
		used += cpu
		row := collectors.ExecRow{
			At: when, Process: p, Parent: cron, Comm: raw("curl"), ParentComm: raw("check.sh"), UID: 34, User: raw("backup"), Cgroup: 4121,
			File: raw("/usr/bin/curl"), Args: raw(fmt.Sprintf("curl -sf -u backup:*** https://10.0.3.%d/health?deep=1&from=db-2", k+1)),
		}
		row.ArgsKept = uint32(len(row.Args.Bytes()) + 1)
		row.ArgsWhole = row.ArgsKept
		if k == 3 {
			row.ArgsWhole, row.Thread = 100_203, pid+5
		}
		x.Execs = append(x.Execs, row)
		end := collectors.ExitRow{
			At: when + age, Process: p, Parent: cron, Comm: raw("curl"), ParentComm: raw("check.sh"), UID: 34, Cgroup: 4121, Age: age,
			CPU: cpu, Sys: collectors.Micros(cpu.Microseconds() / 3), Read: uint64(k) * 4096, Reaped: true,
		}
		switch k {
		case 1:
			end.Code = 22
			x.Failed++
		case 4:
			end.Signal, end.Core = 11, true
			x.Killed++
			x.Dumped++
			g.Rows = append(g.Rows, collectors.SignalRow{
				At: end.At, Number: 11, Code: 1, Target: p, TargetComm: raw("curl"), Cgroup: 4121, Thread: pid, Action: collectors.ActionDefault,
			})
		case 6:
			end.Signal, end.Reaped = 9, false
			x.Killed++
			g.Rows = append(g.Rows, collectors.SignalRow{
				At: end.At, Number: 9, Sender: collectors.Process{TGID: 812, Start: 812e9}, SenderComm: raw("php-fpm"), UID: 33, Target: p,
				TargetComm: raw("curl"), Cgroup: 4121, Action: collectors.ActionDefault,
			}, collectors.SignalRow{
				At: end.At, Number: 15, Sender: collectors.Process{TGID: 812, Start: 812e9}, SenderComm: raw("php-fpm"), UID: 33,
				Target: collectors.Process{TGID: 640, Start: 640e9}, TargetComm: raw("nginx"), Cgroup: 640, Action: collectors.ActionHandled,
			})
		}
		x.Exits = append(x.Exits, end)
	}
	count := uint64(n)
	x.ExecCounts.Execs, x.Forks, x.Threads, x.ExecCounts.Exits, x.CPU, x.Reaped = count, count, 2, count, used, count
	x.Unseen, x.UnseenCPU, x.UnseenAge = count, used, time.Duration(n)*10*time.Millisecond
	x.Short = []collectors.ShortLived{{
		Comm: raw("curl"), Parent: cron, ParentComm: raw("check.sh"), Exits: count, CPU: used, Age: x.UnseenAge, Unseen: count, UnseenCPU: used,
		UnseenAge: x.UnseenAge, Failed: x.Failed, Killed: x.Killed,
	}}
	x.Files = []collectors.ExecFile{{ParentComm: raw("check.sh"), File: raw("/usr/bin/curl"), Execs: count}}
	x.Forkers = []collectors.Forker{{Process: cron, Comm: raw("check.sh"), Forks: count}, {Process: collectors.Process{TGID: 901, Start: 901e9}, Comm: raw("mariadbd"), Threads: 2}}
	g.Counts = append(g.Counts, collectors.SignalCount{Number: 11, Sent: 1}, collectors.SignalCount{Number: 15, Sent: 1}, collectors.SignalCount{Number: 9, Sent: 1})
	g.Fatal = 3
}

// extremeExec has the largest numbers and the worst names.
func extremeExec(x *collectors.Exec, g *collectors.Signals, at time.Duration) {
	raw := collectors.RawString
	evil := raw("\x1b[31m\u202e日本語\n")
	parent := collectors.Process{TGID: math.MaxInt32, Start: 1}
	for k := range 200 {
		p := collectors.Process{TGID: 4_194_303 - int32(k), Start: uint64(k)}
		x.Execs = append(x.Execs, collectors.ExecRow{
			At: at - time.Millisecond, Process: p, Parent: parent, Comm: evil, ParentComm: evil, UID: math.MaxUint32, Cgroup: math.MaxUint64,
			File: raw("/\x1b[2J/" + strings.Repeat("日本語", 80)), Args: raw(strings.Repeat("-\u202e-日本語 \x07", 40)), ArgsWhole: math.MaxUint32, ArgsKept: 512,
			Thread: 4_194_000,
		})
		x.Exits = append(x.Exits, collectors.ExitRow{
			At: at, Process: p, Parent: parent, Comm: evil, ParentComm: evil, UID: math.MaxUint32, Age: 400 * 24 * time.Hour, CPU: 4000 * time.Hour,
			Sys: math.MaxUint32, Read: math.MaxUint64, Write: math.MaxUint64, Reaped: k%2 == 0, Code: 255, Signal: uint8(k % 65), Core: k%3 == 0,
		})
		g.Rows = append(g.Rows, collectors.SignalRow{
			At: at, Number: uint8(k % 65), Code: math.MinInt32, Sender: p, SenderComm: evil, UID: math.MaxUint32, Target: parent, TargetComm: evil,
			Thread: 4_194_000, Result: collectors.SignalResult(k % 5), Action: collectors.SignalAction(k % 4),
		})
	}
	for k := range 50 {
		x.Short = append(x.Short, collectors.ShortLived{
			Comm: evil, Parent: collectors.Process{TGID: int32(k) + 1, Start: 1}, ParentComm: evil, Exits: 1e9, CPU: 250 * time.Second, Age: 9000 * time.Hour,
			Unseen: 1e9, UnseenCPU: 250 * time.Second, UnseenAge: 9000 * time.Hour, Failed: 1e9, Killed: 1e9,
		})
		x.Files = append(x.Files, collectors.ExecFile{ParentComm: evil, File: raw(strings.Repeat("/日本語", 40) + fmt.Sprint(k)), Execs: 1e9})
		x.Forkers = append(x.Forkers, collectors.Forker{Process: collectors.Process{TGID: int32(k), Start: 1}, Comm: evil, Forks: 1e9, Threads: 1e9})
	}
	x.ExecCounts = collectors.ExecCounts{
		Execs: 1e10, Forks: 1e10, Threads: 1e10, Exits: 1e10, Failed: 1e9, Killed: 1e9, Dumped: 1e9, CPU: 250 * time.Second, Unseen: 1e10,
		UnseenCPU: 250 * time.Second, UnseenAge: 9000 * time.Hour, Reaped: 1e10, Late: 1e9, Unkeyed: 1e9,
	}
	x.ExecsUnlisted, x.ExitsUnlisted, x.ShortUnlisted, x.FilesUnlisted, x.ForkersMore, g.Unlisted = 1e10, 1e10, 1000, 1000, 1000, 1e10
	for k := range 64 {
		g.Counts = append(g.Counts, collectors.SignalCount{Number: uint8(k + 1), Sent: 1e9, Ignored: 1e9, Lost: 1e9})
	}
	g.Fatal = 1e10
}
