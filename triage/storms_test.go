// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"testing"
	"time"

	"bpf60/collectors"
)

// storming is a process that switches so often a second, with so much of a second of CPU, so much of it
// in the kernel, beside a victim that waits or does not.
func storming(switches uint32, run, sys int, waits bool) fill {
	p, victim := app(8), &collectors.ProcInfo{Process: collectors.Process{TGID: 9, Start: 9}, PID: 9, PPID: 1, Comm: collectors.RawString("web")}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, Run: ms(run), Sys: collectors.Micros(sys * 1000), Voluntary: switches, Involuntary: 1, Threads: 1}}}
		if waits {
			s.Tasks.Rows = append(s.Tasks.Rows, collectors.TaskRow{ProcInfo: victim, Run: ms(300), Wait: ms(500), Threads: 1})
		}
		if i == 1 {
			s.Tasks.Key = []collectors.TaskState{{ProcInfo: p}, {ProcInfo: victim}}
		}
	}
}

func TestSwitching(t *testing.T) {
	cpus := ticksOf(2, busyCPU(), busyCPU())
	checkCases(t, "cpu.switch_storm", map[string]ruleCase{
		"others wait":         {h: ticking(10, cpus, storming(100000, 900, 600, true)), want: "warning 1e+05 a second by app[8] hits web[9]", in: "switches 100 k times"},
		"nobody waits":        {h: ticking(10, cpus, storming(100000, 900, 600, false)), want: "info 1e+05 a second by app[8]"},
		"its time is its own": {h: ticking(10, cpus, storming(100000, 900, 400, true)), want: "info 1e+05 a second by app[8]"},
		"a busy proxy":        {h: ticking(10, cpus, storming(60000, 900, 600, true))},
		"not for long":        {h: ticking(8, cpus, storming(100000, 900, 600, true))},
	})
}

func TestCalling(t *testing.T) {
	cpus := ticksOf(2, busyCPU(), busyCPU())
	calls := func(name string, n, errors uint64, partial bool) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			storming(1, 900, 600, true)(i, s, span)
			x := collectors.SyscallPair{Process: app(8).Process, Name: name}
			x.N, x.Errors = n, errors
			s.Syscalls = &collectors.Syscalls{Span: span, Partial: partial, Pairs: []collectors.SyscallPair{x}}
		}
	}
	found := "warning 1e+05 a second by app[8] hits web[9]"
	checkCases(t, "cpu.syscall_storm", map[string]ruleCase{
		"reads that fail":     {h: ticking(10, cpus, calls("read", 1e5, 6e4, false)), want: found, in: "calls read 100 k times"},
		"reads that do not":   {h: ticking(10, cpus, calls("read", 1e5, 4e4, false))},
		"yields":              {h: ticking(10, cpus, calls("sched_yield", 1e5, 0, false)), want: found},
		"a database":          {h: ticking(10, cpus, calls("futex", 9e4, 9e4, false))},
		"of a process's page": {h: ticking(10, cpus, calls("sched_yield", 1e5, 0, true))},
		"nobody looks":        {h: ticking(10, cpus, storming(1, 900, 600, true))},
	})
}

func TestForking(t *testing.T) {
	parent := collectors.Process{TGID: 11, Start: 11}
	forks := func(execs, forks, threads uint64, cpu time.Duration) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Exec = &collectors.Exec{
				Span: span, ExecCounts: collectors.ExecCounts{Execs: execs, Forks: forks, Threads: threads, Exits: forks, Unseen: forks, UnseenCPU: cpu},
				Short:   []collectors.ShortLived{{Comm: collectors.RawString("sh"), Parent: parent, ParentComm: collectors.RawString("bash"), Exits: forks, UnseenCPU: cpu}},
				Forkers: []collectors.Forker{{Process: parent, Comm: collectors.RawString("bash"), Forks: forks, Threads: threads}},
			}
		}
	}
	two := ticksOf(2, busyCPU(), busyCPU())
	people := tasks(proc{pid: 11, parent: 1, comm: "bash", run: ms(5)}, proc{pid: 30, parent: 1, comm: "victim", run: ms(400), wait: ms(600)})
	checkCases(t, "proc.fork_storm", map[string]ruleCase{
		"the dead took the CPUs": {h: ticking(10, two, forks(10, 400, 0, ms(600)), people), want: "warning 30 % of CPU by sh by bash[11] hits victim[30]"},
		"they run programs":      {h: ticking(10, two, forks(400, 400, 0, ms(600)), people)},
		"many, but cheap":        {h: ticking(10, two, forks(0, 1200, 0, ms(10)), people), want: "info 1200 a second by bash[11]", in: "1200 processes and 0 threads"},
		"many threads":           {h: ticking(10, two, forks(0, 0, 2000, 0), people), want: "info 2000 a second by bash[11]"},
		"a server":               {h: ticking(10, two, forks(0, 300, 300, ms(10)), people)},
		"a builder":              {h: ticking(10, two, forks(900, 1000, 0, ms(100)), people)},
	})
	checkCases(t, "proc.exec_storm", map[string]ruleCase{
		"forks are told apart": {h: ticking(10, two, forks(10, 400, 0, ms(600)), people)},
	})
	host := func(tasks int) *History {
		plate := hostWith(collectors.PSI{})
		return ticking(2, func(i int, s *collectors.Snapshot, span collectors.Span) {
			plate(i, s, span)
			s.Host.Threads = tasks
			s.Memory = &collectors.Memory{Span: span, Rare: &collectors.MemoryRare{PIDMax: collectors.TableGauge{N: 32768, Known: true}, ThreadsMax: collectors.TableGauge{N: 100000, Known: true}}}
		})
	}
	checkCases(t, "proc.limit", map[string]ruleCase{
		"the host's numbers": {h: host(30000), want: "critical 91.55 %", in: "30000 of 32768 tasks"},
		"half of them":       {h: host(16000)},
	})
}

func TestPathStorms(t *testing.T) {
	young, old := app(8), app(8)
	young.Start = uint64(time.Hour)
	at := func(p *collectors.ProcInfo, run time.Duration, more fill) *History {
		plate := hostWith(collectors.PSI{})
		return ticking(10, plate, ticksOf(1, busyCPU(), idleCPU()), more, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, Run: run}}}
		})
	}
	opens := func(p *collectors.ProcInfo, errno uint32, partial bool, paths ...collectors.PathRow) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Opens = &collectors.Opens{Span: span, Partial: partial}
			for _, x := range paths {
				x.Process, x.Comm, x.Errno = p.Process, p.Comm, errno
				s.Opens.Paths = append(s.Opens.Paths, x)
			}
		}
	}
	row := func(path string, n uint64) collectors.PathRow {
		return collectors.PathRow{Path: collectors.RawString(path), N: n}
	}
	conf := row("/etc/app.conf", 120)
	dir := []collectors.PathRow{row("/lib/a", 50), row("/lib/b", 30), row("/lib/c", 30)}
	checkCases(t, "file.open_storm", map[string]ruleCase{
		"one path":      {h: at(old, ms(200), opens(old, 0, false, conf)), want: "warning 120 a second by app[8], /etc/app.conf", in: "/etc/app.conf"},
		"one directory": {h: at(old, ms(200), opens(old, 0, false, dir...)), want: "warning 110 a second by app[8], /lib/"},
		"young":         {h: at(young, ms(200), opens(young, 0, false, conf)), want: "info 120 a second by app[8], /etc/app.conf"},
		"cheap":         {h: at(old, ms(90), opens(old, 0, false, conf)), want: "info 120 a second by app[8], /etc/app.conf"},
		"they fail":     {h: at(old, ms(200), opens(old, 2, false, conf))},
		"fewer":         {h: at(old, ms(200), opens(old, 0, false, row("/etc/app.conf", 99)))},
		"of a page":     {h: at(old, ms(200), opens(old, 0, true, conf))},
		"nobody looks":  {h: at(old, ms(200), func(int, *collectors.Snapshot, collectors.Span) {})},
	})
	checkCases(t, "file.open_failures", map[string]ruleCase{
		"searches a path":  {h: at(old, ms(200), opens(old, 2, false, conf)), want: "warning 120 a second by app[8], /etc/app.conf", in: "cannot open"},
		"it is a compiler": {h: at(young, ms(200), opens(young, 2, false, conf)), want: "info 120 a second by app[8], /etc/app.conf"},
		"they do not fail": {h: at(old, ms(200), opens(old, 0, false, conf))},
	})
	churn := func(made uint64) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Files = &collectors.Files{Span: span, Churn: []collectors.FileChurn{{Process: old.Process, Comm: old.Comm, Directory: collectors.RawString("cache"), Made: made, Deleted: made}}}
		}
	}
	checkCases(t, "file.churn", map[string]ruleCase{
		"makes and deletes": {h: at(old, ms(200), churn(60)), want: "warning 120 a second by app[8], cache/"},
		"cheap":             {h: at(old, ms(50), churn(60)), want: "info 120 a second by app[8], cache/"},
		"few":               {h: at(old, ms(200), churn(40))},
	})
}

func TestSlowFS(t *testing.T) {
	calls := func(partial bool, list ...collectors.SlowFile) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.SlowFiles = &collectors.SlowFiles{Span: span, Partial: partial, N: uint64(len(list))}
			for _, e := range list {
				if e.At == 0 || int(e.At/time.Second) == i {
					e.Process, e.TID, e.Comm = collectors.Process{TGID: 8}, 8, collectors.RawString("db")
					e.FS, e.Path = "ext4", collectors.RawString("/db/wal")
					s.SlowFiles.Events = append(s.SlowFiles.Events, e)
				}
			}
		})
	}
	call := func(name string, took time.Duration) collectors.SlowFile {
		return collectors.SlowFile{Call: name, Took: took}
	}
	late := call("fsync", 2*time.Second)
	late.At = 10 * time.Second
	before, listing := late, late
	before.At, listing.Call = 5*time.Second, "getdents64"
	listing.Call = "stat"
	short := call("fsync", ms(15))
	checkCases(t, "fs.slow", map[string]ruleCase{
		"stands in fsync":        {h: calls(false, call("fsync", ms(200)), call("fsync", ms(150))), want: "warning 35 % by ext4 /db/wal hits db[8]", in: "stands in slow calls"},
		"a fifth of the time":    {h: calls(false, call("fsync", ms(200)))},
		"short ones":             {h: calls(false, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short, short)},
		"two seconds, just now":  {h: calls(false, late), want: "warning 2000 ms by ext4 /db/wal hits db[8] at once", in: "a fsync of /db/wal took 2.0 s"},
		"two seconds, before":    {h: calls(false, before)},
		"a path, for two second": {h: calls(false, listing)},
		"of a page":              {h: calls(true, call("fsync", ms(500)))},
	})
}
