// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

// profile is what a command is, wherever it runs.
type profile struct {
	user, args, cgroup string
	uid                uint32
	threads            uint32
	rss                uint32 // MiB
	faults             uint32 // a second of its own run time
	writes             uint64 // KiB a second of its own run time
}

func profiles() map[string]profile {
	return map[string]profile{
		"systemd":  {user: "root", args: "/sbin/init splash", cgroup: "/init.scope", threads: 1, rss: 12, faults: 40},
		"sshd":     {user: "root", args: "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", cgroup: "/system.slice/ssh.service", threads: 1, rss: 9},
		"rsyslogd": {user: "syslog", uid: 104, args: "/usr/sbin/rsyslogd -n -iNONE", cgroup: "/system.slice/rsyslog.service", threads: 4, rss: 6, writes: 900},
		"gzip":     {user: "backup", uid: 34, args: "gzip -9 -c /srv/dump/orders.sql", cgroup: "/system.slice/backup.service", threads: 3, rss: 2, faults: 3},
		"php-fpm":  {user: "www-data", uid: 33, args: "php-fpm: pool www", cgroup: "/system.slice/php8.2-fpm.service", threads: 3, rss: 88, faults: 2600},
		"nginx":    {user: "www-data", uid: 33, args: "nginx: worker process", cgroup: "/system.slice/nginx.service", threads: 2, rss: 24, faults: 5, writes: 300},
		"mariadbd": {user: "mysql", uid: 110, args: "/usr/sbin/mariadbd --defaults-file=/etc/mysql/my.cnf --password=***", cgroup: "/system.slice/mariadb.service", threads: 38, rss: 4210, faults: 90, writes: 3200},
	}
}

// procInfo is the identity of a task of a story.
func (s *story) procInfo(pid int32, name string) (*collectors.ProcInfo, profile) {
	raw := collectors.RawString
	p, known := profiles()[name]
	if !known {
		p = profile{user: "root", threads: 1, rss: 3, faults: 10}
	}
	info := &collectors.ProcInfo{
		Process: collectors.Process{TGID: pid, Start: uint64(pid) * 1e9}, PID: pid, PPID: 1, UID: p.uid, User: raw(p.user),
		Comm: raw(name), Prio: 20, Args: raw(p.args), ArgsRead: collectors.ArgsRead, CgroupPath: raw(p.cgroup), NetNS: 4026531840, Cgroup: uint64(pid),
	}
	if pid == 1 {
		info.PPID = 0
	}
	if s.kind == "extreme" {
		info.UID, info.User = math.MaxUint32, raw("")
		info.Args = raw("/opt/\x1b[2J/" + name + " --\u202eflag\x07 " + strings.Repeat("x", 400))
		info.CgroupPath = raw("/kubepods\x1b]0;x\x07/pod\u200b日本語日本語日本語日本語")
		info.Prio, info.Nice, info.Policy = -100, -20, 1
	}
	return info, p
}

// idlers are the processes of a story that never move.
func (s *story) idlers() []collectors.TaskState {
	n := 187
	if s.kind == "extreme" {
		n = 600
	}
	var out []collectors.TaskState
	for i := range n {
		pid := int32(10 + 3*i)
		x := collectors.TaskState{State: 'S', Threads: 1, Lacks: s.lacks()}
		switch {
		case i%3 == 0:
			x.ProcInfo, _ = s.procInfo(pid, fmt.Sprintf("kworker/%d:%d", i%8, i/8))
			k := *x.ProcInfo
			k.PPID, k.Kernel, k.Args, k.CgroupPath, k.User = 2, true, collectors.Raw{}, collectors.RawString("/"), collectors.RawString("root")
			x.ProcInfo, x.State = &k, 'I'
		case i == 100:
			x.ProcInfo, _ = s.procInfo(pid, "defunct")
			x.State = 'Z'
		default:
			var p profile
			x.ProcInfo, p = s.procInfo(pid, []string{"agetty", "dbus-daemon", "systemd-logind", "cron"}[i%4])
			x.RSS, x.VSZ = p.rss<<8+uint32(i), uint64(p.rss)<<10
			x.Time = time.Duration(i) * 10 * time.Millisecond
		}
		out = append(out, x)
	}
	return out
}

// lacks is what the source of a story does not tell.
func (s *story) lacks() collectors.Lack {
	l := collectors.LackDelay
	if s.kind == "denied" {
		l |= collectors.LackSwitches | collectors.LackSwap | collectors.LackThreads | collectors.LackIO
	}
	return l
}

// addProcesses makes the scan of the tasks of one second: what the tasks of the load did is their share
// of what the CPUs did.
func addProcesses(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	t := &collectors.Tasks{Processes: 187 + len(l.tasks), Threads: 412, KernelThreads: 63, Zombies: 1, Source: "iter/task", Span: snap.CPU.Span}
	t.Running, t.Uninterruptible = snap.CPU.Running, l.blocked
	if s.kind == "extreme" {
		t.Processes, t.KernelThreads, t.Threads = 600+len(l.tasks), 200, 65_536
	}
	if s.kind == "denied" {
		t.Source = "/proc"
	}
	waits, runs := spread(l.waits), spread(l.runs)
	waiting := float64(waits.Sum) / 1e9
	busy := l.usr + l.sys
	for _, x := range l.tasks {
		if i == 0 {
			break
		}
		info, p := s.procInfo(x.pid, x.name)
		run := x.run * busy * float64(l.cpus)
		wait := x.wait * waiting
		r := collectors.TaskRow{
			ProcInfo: info, State: x.state, Threads: p.threads, RSS: p.rss << 8, Lacks: s.lacks(),
			Run: time.Duration(run * 1e9), Wait: time.Duration(wait * 1e9), MinFlt: uint32(run * float64(p.faults)),
			Sys: collectors.Micros(run * 1e6 * l.sys / busy), LeadWait: collectors.Micros(min(wait/float64(p.threads), 1) * 1e6),
			Voluntary: uint32(x.run * float64(runs.Count()) * 0.7), Involuntary: uint32(x.run * float64(runs.Count()) * 0.3),
		}
		if w := uint64(run * float64(p.writes) * 1024); w > 0 {
			r.More = &collectors.TaskMore{Write: w, VSZ: uint64(p.rss) << 9}
		}
		if s.kind == "extreme" {
			r.RSS, r.Threads, r.MinFlt, r.Voluntary = math.MaxUint32, 65_535, math.MaxUint32, math.MaxUint32
			r.More = &collectors.TaskMore{MajFlt: math.MaxUint32, Read: math.MaxUint64, Write: 1 << 50, Swap: math.MaxUint32, VSZ: 1 << 40, Cancelled: 1 << 40}
		}
		t.Rows = append(t.Rows, r)
		if s.kind != "denied" {
			t.Busy = append(t.Busy, threadsOf(&r)...)
		}
	}
	if i%60 == 0 {
		t.Key = s.key(l)
	}
	snap.Tasks = t
}

// threadsOf divides what a process did: its main thread did the half, and two others the rest.
func threadsOf(r *collectors.TaskRow) []collectors.ThreadRow {
	name := r.Comm.Bytes()
	x := collectors.ThreadRow{
		ProcInfo: r.ProcInfo, TID: r.PID, State: r.State, Prio: r.Prio, Comm: r.Comm, Run: r.Run, Wait: r.LeadWait.Duration(), Sys: r.Sys,
		Voluntary: r.Voluntary, Involuntary: r.Involuntary, MinFlt: r.MinFlt,
	}
	if r.More != nil {
		x.Read, x.Write, x.MajFlt = r.More.Read, r.More.Write, r.More.MajFlt
	}
	if r.Threads < 3 {
		return []collectors.ThreadRow{x}
	}
	half := x
	half.Run, half.Sys, half.Voluntary, half.Involuntary, half.MinFlt, half.Write = x.Run/4, x.Sys/4, x.Voluntary/4, x.Involuntary/4, x.MinFlt/4, x.Write/4
	out := []collectors.ThreadRow{x, half, half}
	out[0].Run, out[0].Sys, out[0].Voluntary, out[0].Involuntary, out[0].MinFlt, out[0].Write = x.Run/2, x.Sys/2, x.Voluntary/2, x.Involuntary/2, x.MinFlt/2, x.Write/2
	for i := range out[1:] {
		out[i+1].TID += int32(i + 1)
		out[i+1].Comm = collectors.RawString(fmt.Sprintf("%.10s/%d", name, i+1))
		out[i+1].State = 'S'
	}
	return out
}

// key lists all processes as they were when the moment began, that of the load's tasks included.
func (s *story) key(l load) []collectors.TaskState {
	out := s.idlers()
	ran := make(map[int32]time.Duration)
	for _, m := range s.moments {
		if m.Tasks == nil {
			continue
		}
		for _, r := range m.Tasks.Rows {
			ran[r.PID] += r.Run
		}
	}
	for _, x := range l.tasks {
		info, p := s.procInfo(x.pid, x.name)
		out = append(out, collectors.TaskState{
			ProcInfo: info, State: x.state, Threads: p.threads, RSS: p.rss << 8, VSZ: uint64(p.rss) << 9, Lacks: s.lacks(),
			Time: 90*time.Second + ran[x.pid],
		})
	}
	slices.SortFunc(out, func(a, b collectors.TaskState) int { return int(a.TGID - b.TGID) })
	return out
}
