// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"
	"time"

	"bpf60/collectors"
)

// cgroupFixture is one cgroup of a story.
type cgroupFixture struct {
	path, name string
	tasks      []string // names of the story's tasks in it
	own        collectors.CgroupLimits
	memory     uint64
	pids       uint64
	high       uint64 // memory.high events a second
}

// limits are limits of a cgroup: CPUs, memory.high, memory.max; 0 is none.
func limits(cpus float64, high, most uint64) collectors.CgroupLimits {
	l := collectors.CgroupLimits{CPUs: cpus, High: collectors.NoLimit, Max: collectors.NoLimit, Swap: collectors.NoLimit, Pids: collectors.NoLimit}
	if high > 0 {
		l.High = high
	}
	if most > 0 {
		l.Max = most
	}
	return l
}

// cgroupsOfStory are the cgroups of a story, parents first.
func cgroupsOfStory(s *story) []cgroupFixture {
	const pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0e2a1b3c_9d8e_4f70_8123_456789abcdef.slice"
	service := func(name string, own collectors.CgroupLimits, memory, pids uint64, tasks ...string) cgroupFixture {
		return cgroupFixture{"/system.slice/" + name, name, tasks, own, memory, pids, 0}
	}
	none := limits(0, 0, 0)
	if s.kind == "extreme" {
		return extremeCgroups()
	}
	list := []cgroupFixture{
		{"/", "/", nil, none, 0, 0, 0},
		{"/init.scope", "init.scope", []string{"systemd"}, none, 9 << 20, 1, 0},
		{"/system.slice", "system.slice", nil, none, 0, 0, 0},
		service("backup.service", limits(1.5, 0, 0), 61<<20, 3, "gzip"),
		service("mariadb.service", limits(0, 0, 2<<30), 1500<<20, 41, "mariadbd"),
		service("nginx.service", none, 47<<20, 5, "nginx"),
		service("php8.2-fpm.service", limits(0, 512<<20, 640<<20), 510<<20, 23, "php-fpm"),
		service("rsyslog.service", none, 6<<20, 4, "rsyslogd"),
		service("ssh.service", none, 11<<20, 3, "sshd"),
		{"/user.slice", "user.slice", nil, none, 0, 0, 0},
		{"/user.slice/user-1000.slice", "uid:1000", nil, none, 0, 0, 0},
		{"/user.slice/user-1000.slice/session-3.scope", "uid:1000/session-3", nil, none, 14 << 20, 4, 0},
	}
	if s.kind == "idle" {
		list[6].memory = 310 << 20
	}
	if s.kind == "busy" {
		list = append(list,
			cgroupFixture{"/kubepods.slice", "kubepods", nil, none, 0, 0, 0},
			cgroupFixture{pod, "pod:0e2a1b3c burstable", nil, limits(0.5, 0, 256<<20), 0, 0, 0},
			cgroupFixture{pod + "/cri-containerd-" + strings.Repeat("0123456789abcdef", 4) + ".scope", "pod:0e2a1b3c/0123456789ab", nil, limits(0.5, 0, 256<<20), 44 << 20, 12, 0})
		for i := range list {
			if list[i].name == "php8.2-fpm.service" {
				list[i].high = 118
			}
		}
	}
	return list
}

// extremeCgroups are names that mean harm, numbers at the end of their range, and many of both.
func extremeCgroups() []cgroupFixture {
	all := limits(256, 1<<50, 1<<60)
	all.Pids = 1 << 62
	list := []cgroupFixture{
		{"/", "/", nil, limits(0, 0, 0), 0, 0, 0},
		{"/\x1b]0;owned\x07", "\x1b]0;owned\x07", []string{"\x1b[31mroot\x1b[0m", "\u202egnp.exe"}, all, 1 << 50, 1 << 40, 1 << 40},
		{"/\u202egnp.exe", "\u202egnp.exe", nil, limits(0.001, 1<<56, 1<<56), 1 << 63, 1 << 63, 0},
		{"/caf\xc3", "caf\xc3", []string{"caf\xc3"}, all, 1 << 40, 7, 0},
		{"/日本語日本語日本語日本語日本語", "日本語日本語日本語日本語日本語", []string{"日本語日本語日本語"}, all, 24 << 40, 65_000, 0},
	}
	for i := range 120 {
		path := fmt.Sprintf("/a%s/%d", strings.Repeat("/deeper", i%9), i)
		list = append(list, cgroupFixture{path, path[1:], nil, limits(0, 0, 0), uint64(i) << 20, uint64(i), 0})
	}
	return list
}

// addCgroups adds the second's cgroups: they use what their tasks ran, and wait what those waited.
func addCgroups(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	if s.probes[collectors.CgroupsID] == nil {
		s.probes[collectors.CgroupsID] = cgroupProbes(s.kind)
	}
	snap.Probes[collectors.CgroupsID] = s.probes[collectors.CgroupsID]
	if s.kind == "denied" || s.kind == "lossy" && i > 1 && i%11 == 0 {
		return
	}
	list := cgroupsOfStory(s)
	if s.kind == "extreme" && i < 100 && i > 0 { // so many are made for the last seconds only
		list = list[:0]
	}
	g := &collectors.Cgroups{Span: snap.Host.Span, Count: len(list) - 1, Version: "v2"}
	var waiting, running float64
	for slot, n := range l.waits {
		waiting += float64(n) * slotMean(slot)
	}
	running = (l.usr + l.sys + l.soft) * float64(l.cpus)
	for k, x := range list {
		info := &collectors.CgroupInfo{
			ID: uint64(1000 + k), V2: true, Path: collectors.RawString(x.path), Name: collectors.RawString(x.name),
			Depth: uint8(strings.Count(strings.TrimSuffix(x.path, "/"), "/")), Leaf: true, Weight: 100, Period: 100 * time.Millisecond,
			Own: x.own, Tight: x.own,
		}
		d := info.Depth
		info.Owner = collectors.CgroupOwners{CPU: d, High: d, Max: d, Swap: d, Pids: d}
		r := collectors.CgroupRow{CgroupInfo: info, Span: g.Span, Memory: x.memory, Pids: x.pids, Has: collectors.HasMemory | collectors.HasPids | collectors.HasSwap}
		if x.path == "/" {
			r.Has &^= collectors.HasMemory | collectors.HasPids | collectors.HasSwap // the root has no such files
		}
		for j := k; j < len(list); j++ {
			y := list[j]
			if y.path != x.path && !isAbove(x.path, y.path) {
				continue
			}
			if y.path != x.path {
				info.Leaf = false
				r.Memory += y.memory
				r.Pids += y.pids
			}
			for _, t := range l.tasks {
				for _, name := range y.tasks {
					if t.name == name {
						r.Usage += time.Duration(t.run * running * 1e9)
					}
				}
			}
		}
		for j := range k { // what is above limits it too
			if up := list[j]; isAbove(up.path, x.path) && up.path != x.path {
				if up.own.CPUs > 0 && (info.Tight.CPUs == 0 || up.own.CPUs < info.Tight.CPUs) {
					info.Tight.CPUs, info.Owner.CPU = up.own.CPUs, uint8(strings.Count(up.path, "/"))
				}
				if up.own.Max < info.Tight.Max {
					info.Tight.Max, info.Owner.Max = up.own.Max, uint8(strings.Count(up.path, "/"))
				}
			}
		}
		if limit, _ := memoryLimit(x.own); limit != collectors.NoLimit || x.own.CPUs > 0 {
			g.Limited++
		}
		if info.Leaf {
			g.Leaves++
		}
		if s.kind == "idle" && i > 0 && k%8 != i%8 { // at rest a cgroup is read every 8 s
			continue
		}
		if s.kind == "idle" && i > 8 {
			r.From = r.To - 8*time.Second
			r.Usage *= 8
		}
		if i > 0 {
			fillCgroup(s, &r, list, x, l, waiting, snap)
		}
		g.Rows = append(g.Rows, r)
	}
	if s.kind == "idle" {
		g.Oldest = 8 * time.Second
	}
	if s.kind == "extreme" {
		g.Omitted = 1234
	}
	if s.kind == "lossy" && i > 60 {
		g.Gone = []collectors.Raw{collectors.RawString("/system.slice/rsyslog.service")}
		g.Rows = g.Rows[:len(g.Rows)-5]
	}
	snap.Cgroups = g
}

// slotMean is about the mean of a bucket in seconds.
func slotMean(slot int) float64 {
	if slot == 0 {
		return 0.6e-6
	}
	return 1.44 * math.Exp2(float64(slot)) * 1e-6
}

// fillCgroup adds what takes two readings.
func fillCgroup(s *story, r *collectors.CgroupRow, list []cgroupFixture, x cgroupFixture, l load, waiting float64, snap *collectors.Snapshot) {
	r.Has |= collectors.HasUsage | collectors.HasSplit | collectors.HasThrottle | collectors.HasEvents | collectors.HasHigh | collectors.HasIO | collectors.HasDenied
	r.User = time.Duration(float64(r.Usage) * l.usr / (l.usr + l.sys + l.soft))
	r.System = r.Usage - r.User
	seconds := r.Seconds()
	if x.own.CPUs > 0 && r.Usage > 0 {
		r.Periods = uint64(10 * seconds)
		if r.Usage.Seconds() > 0.93*x.own.CPUs*seconds {
			r.Throttled = r.Periods * 6 / 10
			r.ThrottledFor = time.Duration(0.4 * seconds * 1e9)
		}
	}
	r.Events.High = uint64(float64(x.high) * seconds)
	r.IO = &collectors.CgroupIO{}
	for _, y := range list {
		if y.path == x.path || isAbove(x.path, y.path) {
			addDiskIO(r.IO, snap, y.name)
		}
	}
	if s.kind == "lossy" {
		return // PSI is off
	}
	r.Has |= collectors.HasPSI
	r.PSI = &collectors.CgroupPSI{}
	share := 0.0
	for _, y := range list {
		if y.path != x.path && !isAbove(x.path, y.path) {
			continue
		}
		for _, t := range l.tasks {
			for _, name := range y.tasks {
				if t.name == name {
					share += t.wait
				}
			}
		}
	}
	r.PSI.CPU.Some = time.Duration((1 - math.Exp(-share*waiting)) * seconds * 1e9)
	r.PSI.CPU.Full = r.PSI.CPU.Some / 3
	if x.high > 0 {
		r.PSI.Memory = collectors.CgroupStall{Some: time.Duration(0.31 * seconds * 1e9), Full: time.Duration(0.12 * seconds * 1e9)}
		r.Has |= collectors.HasDetail
		r.Detail = &collectors.CgroupDetail{Anon: 461 << 20, File: 42 << 20, InactiveFile: 20 << 20, Slab: 6 << 20, Sock: 1 << 20, Refaults: uint64(900 * seconds), MajorFaults: 41}
	}
}

// addDiskIO adds what a service does to the disks of the second: the backup reads one and writes the
// other, everything else is the database's.
func addDiskIO(io *collectors.CgroupIO, snap *collectors.Snapshot, service string) {
	if snap.Disk == nil || service != "backup.service" && service != "mariadb.service" {
		return
	}
	disks := 0
	for _, d := range snap.Disk.Rows {
		if d.Kind != collectors.WholeDisk {
			continue
		}
		disks++
		backup := service == "backup.service"
		busy := len(snap.Disk.Rows) > 2 // the backup runs
		if backup == busy {
			io.RBytes += d.Read.Sectors * 512
			io.RIOs += d.Read.IOs
		}
		if backup == (busy && disks > 1) {
			io.WBytes += d.Write.Sectors * 512
			io.WIOs += d.Write.IOs
		}
	}
}

func cgroupProbes(kind string) []collectors.Probe {
	hooks := [][2]string{
		{"cgroup", "cpu.stat"},
		{"cgroup cpu", "cpu.stat"},
		{"cgroup memory", "memory.current"},
		{"cgroup io", "io.stat"},
		{"cgroup pids", "pids.current"},
		{"cgroup psi", "memory.pressure"},
	}
	var out []collectors.Probe
	for _, h := range hooks {
		p := collectors.Probe{Name: h[0], Hook: h[1], State: collectors.On}
		switch {
		case kind == "denied":
			p.State, p.Reason, p.Remedy = collectors.Off, "needs cgroups: no hierarchy is mounted here", "mount -t cgroup2 none /sys/fs/cgroup"
		case kind == "lossy" && h[0] == "cgroup psi":
			p.State, p.Reason, p.Remedy = collectors.Off, "cgroups of v1 have no PSI, and PSI may be off", "boot with psi=1"
		case kind == "extreme" && h[0] == "cgroup":
			p.State, p.Reason = collectors.Degraded, "more than 8192 cgroups: some are not known"
		}
		out = append(out, p)
	}
	return out
}
