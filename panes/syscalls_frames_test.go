// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/collectors"
)

// fixtureCall is how one call shares in a second.
type fixtureCall struct {
	number uint32
	name   string
	part   float64 // of all calls
	slot   int     // of its times
	errno  uint32
	fails  float64 // share of its calls
}

func fixtureCalls() []fixtureCall {
	return []fixtureCall{
		{unix.SYS_READ, "read", 0.41, 2, uint32(unix.EAGAIN), 0.2},
		{unix.SYS_FUTEX, "futex", 0.22, 7, uint32(unix.EAGAIN), 0.02},
		{unix.SYS_WRITE, "write", 0.16, 3, 0, 0},
		{unix.SYS_OPENAT, "openat", 0.09, 1, uint32(unix.ENOENT), 0.61},
		{unix.SYS_CLOSE, "close", 0.08, 0, 0, 0},
		{471, "rseq_slice_yield", 0.03, 0, 0, 0},
		{unix.SYS_CLOCK_NANOSLEEP, "clock_nanosleep", 0.0002, 16, uint32(unix.EINTR), 1},
	}
}

// unwatched says that nobody looks yet: the samples of a large host would fill the history.
func unwatched(s *story) bool {
	return len(s.moments) == 0 || s.kind == "extreme" && len(s.moments) < 118
}

// addSyscalls makes the calls that follow from the time that a second spends in the kernel.
func addSyscalls(s *story, l load, snap *collectors.Snapshot) {
	count := collectors.Probe{Name: "syscount", State: collectors.On, Hook: "tp_btf sys_exit", NsPerEvent: 145}
	times := collectors.Probe{Name: "syscount-time", State: collectors.Idle, Hook: "tp_btf sys_exit, sys_enter", Reason: "attaches while looked at"}
	if s.kind == "denied" {
		count.State, count.Reason, count.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
	}
	defer func() {
		snap.Probes[collectors.SyscallsID] = []collectors.Probe{count}
		snap.Probes[collectors.SyscallTimesID] = []collectors.Probe{times}
	}()
	if s.kind == "denied" || len(l.tasks) == 0 || unwatched(s) {
		return
	}
	all := uint64(l.sys*float64(l.cpus)*200_000) + 300
	timed := s.kind != "idle"
	x := &collectors.Syscalls{Span: snap.Host.Span}
	h := &collectors.SyscallTimes{Span: snap.Host.Span}
	for _, c := range fixtureCalls() {
		d := collectors.SyscallCounts{N: uint64(c.part * float64(all))}
		d.Errors = uint64(c.fails * float64(d.N))
		row := collectors.SyscallCall{Call: c.number, Name: c.name}
		if d.Errors > 0 {
			row.Errnos = []collectors.ErrnoCount{{Errno: c.errno, N: d.Errors}}
			if c.name == "openat" && d.Errors > 20 {
				row.Errnos = []collectors.ErrnoCount{{Errno: c.errno, N: d.Errors - d.Errors/10}, {Errno: uint32(unix.EACCES), N: d.Errors / 10}}
			}
		}
		if timed {
			hist := spread(map[int]uint64{c.slot: d.N - d.N/10, c.slot + 1: d.N/10 - d.N/200, c.slot + 4: d.N / 200})
			d.Timed, d.Time = hist.Count(), time.Duration(hist.Sum)
			total := collectors.Hist{}
			for range int(snap.At / time.Second) {
				total.Plus(&hist)
			}
			h.Calls = append(h.Calls, collectors.CallTimes{Call: c.number, Name: c.name, Hist: hist.Hist32(), Total: total})
		}
		row.SyscallCounts = d
		x.Plus(&d)
		x.Calls = append(x.Calls, row)
		shareCalls(x, l, row)
	}
	for i := range x.Processes {
		p := &x.Processes[i]
		p.Top, p.TopN, p.Longest = x.Calls[0].Name, uint64(float64(p.N)*0.41), ""
		if timed {
			p.Longest = "clock_nanosleep"
		}
	}
	if s.kind == "extreme" {
		x.Unlisted, x.Others = 4800, 1_234_567
	}
	if s.kind == "lossy" {
		x.Collided = 12
		count.State, count.Reason = collectors.Degraded, "slowed to 1 s in 3: 310k events a second took 2.2 % of the host's CPU time"
	}
	snap.Syscalls = x
	if timed {
		snap.SyscallTimes = h
	}
}

// shareCalls gives each process its part of a call.
func shareCalls(x *collectors.Syscalls, l load, c collectors.SyscallCall) {
	for i, t := range l.tasks {
		part := 0.9 / float64(len(l.tasks))
		if i == 0 {
			part += 0.1
		}
		cut := func(n uint64) uint64 { return uint64(part * float64(n)) }
		d := collectors.SyscallCounts{N: cut(c.N), Errors: cut(c.Errors), Timed: cut(c.Timed), Time: time.Duration(part * float64(c.Time))}
		by := collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}
		if i == len(x.Processes) {
			x.Processes = append(x.Processes, collectors.SyscallProcess{Process: by, Comm: collectors.RawString(t.name)})
		}
		x.Processes[i].Plus(&d)
		pair := collectors.SyscallPair{Process: by, Call: c.Call, Name: c.Name, SyscallCounts: d}
		if d.Timed > 0 {
			pair.Max = 40 * d.Time / time.Duration(d.Timed)
		}
		x.Pairs = append(x.Pairs, pair)
	}
}

// addOpens makes what the second's tasks open, run in vain, and wait for in calls on files.
func addOpens(s *story, l load, snap *collectors.Snapshot) {
	rows := map[collectors.ID]collectors.Probe{
		collectors.OpensID:     {Name: "opensnoop", State: collectors.On, Hook: "tp_btf sys_exit", NsPerEvent: 900},
		collectors.ExecFailsID: {Name: "execfail", State: collectors.On, Hook: "tp_btf sys_exit", NsPerEvent: 900},
		collectors.SlowFilesID: {Name: "fileslower", State: collectors.On, Hook: "tp_btf sys_exit, sys_enter", NsPerEvent: 2000},
	}
	for id, p := range rows {
		if s.kind == "denied" {
			p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
		snap.Probes[id] = []collectors.Probe{p}
	}
	if s.kind == "denied" || len(l.tasks) == 0 || unwatched(s) {
		return
	}
	span := snap.Host.Span
	o, x := &collectors.Opens{Span: span}, &collectors.ExecFails{Span: span}
	f := &collectors.SlowFiles{Span: span}
	n, path := 4, func(i int) string { return fmt.Sprintf("/etc/app/conf.d/%02d.yaml", i) }
	if s.kind == "extreme" {
		n = 150
		path = func(i int) string { return fmt.Sprintf("\x1b]0;x\a/\u202e%s/%d", strings.Repeat("日本", 150), i) }
	}
	for i := range n {
		t := l.tasks[i%len(l.tasks)]
		by, comm := collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}, collectors.RawString(t.name)
		at := snap.At - time.Duration(n-i)*3*time.Millisecond
		e := collectors.PathEvent{At: at, Process: by, TID: t.pid, Comm: comm, Ret: int32(3 + i), Call: "openat", Path: collectors.RawString(path(i)), Cut: n > 4}
		row := collectors.PathRow{Process: by, Comm: comm, Path: e.Path, Cut: e.Cut, N: uint64(10 * (n - i))}
		if i%2 == 1 {
			e.Ret, row.Errno = -int32(unix.ENOENT), uint32(unix.ENOENT)
			o.Failed += row.N
			o.Failures = append(o.Failures, collectors.PathFailure{PathRow: row, Processes: 1 + i%3})
		}
		o.N += row.N
		o.Events, o.Paths = append(o.Events, e), append(o.Paths, row)
		if k := i % len(l.tasks); k < len(o.Processes) {
			o.Processes[k].N += row.N
		} else {
			o.Processes = append(o.Processes, collectors.OpenProcess{Process: by, Comm: comm, N: row.N})
		}
	}
	o.Errnos = []collectors.ErrnoCount{{Errno: uint32(unix.ENOENT), N: o.Failed}}
	o.Unlisted = o.N - uint64(len(o.Events))
	t := l.tasks[0]
	by, comm := collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}, collectors.RawString(t.name)
	x.Failed, x.Errnos = 1, []collectors.ErrnoCount{{Errno: uint32(unix.ENOENT), N: 1}}
	x.Events = []collectors.PathEvent{{
		At: snap.At - 40*time.Millisecond, Process: by, TID: t.pid, Comm: comm, Ret: -int32(unix.ENOENT), Call: "execve",
		Path: collectors.RawString("/usr/local/bin/convert"), Args: collectors.RawString("convert\x00--token=***\x00in put.png\x00out.png"),
	}}
	if s.kind == "busy" || s.kind == "extreme" || s.kind == "lossy" {
		for i, call := range []string{"pread64", "fsync", "openat", "statx"} {
			e := collectors.SlowFile{
				At: snap.At - time.Duration(400-100*i)*time.Millisecond, Process: by, TID: t.pid, Comm: comm, Call: call, Took: time.Duration(12+40*i) * time.Millisecond,
				Offset: -1, Path: collectors.RawString("…/var/lib/db/base/16384"), FS: "ext4", Dev: collectors.MakeDev(254, 0), Inode: 77,
			}
			switch call {
			case "pread64":
				e.Ret, e.Asked, e.Offset = 8192, 8192, 3<<30
			case "statx":
				e.FS, e.Dev, e.Given, e.Ret = "", 0, true, -int64(unix.ETIMEDOUT)
				e.Path = collectors.RawString("/mnt/nas/report.pdf")
			}
			f.Events = append(f.Events, e)
		}
		f.N = uint64(len(f.Events))
	}
	if s.kind == "lossy" {
		o.N, o.Unlisted, o.Lost = o.N+90_000, o.Unlisted+90_000, 12
		o.PathsLeft = 90_000
		o.Processes[0].N += 80_000
		x.Failed, x.Unlisted = 3000, 2999
		f.N, f.Unlisted = f.N+40, 40
	}
	snap.Opens, snap.ExecFails, snap.SlowFiles = o, x, f
}
