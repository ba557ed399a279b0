// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"maps"
	"slices"
	"sync"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

func idleLoad(i int) load {
	n := uint64(i*7%5) * 3
	return load{
		cpus: 8, usr: 0.003, sys: 0.002, interrupts: 610 + n,
		waits: map[int]uint64{0: 241 + n, 1: 120, 2: 38, 3: 9, 5: 1},
		runs:  map[int]uint64{3: 80, 4: 140 + n, 5: 110, 6: 60, 7: 14, 8: 3, 11: 1, 12: 1},
		tasks: []task{{1, "systemd", 0.2, 0.1, 'S'}, {641, "sshd", 0.5, 0.6, 'S'}, {702, "rsyslogd", 0.3, 0.3, 'S'}},
	}
}

// idleStory is a host with nothing to do.
func idleStory() *story {
	s := newStory("idle", "build-3", 8, 41*24*time.Hour)
	s.loads = [3]float64{0.05, 0.04, 0.05}
	for i := range 61 {
		s.second(idleLoad(i))
	}
	return s
}

// calm is db-2 before the incident, busy is during it: backups with gzip take both CPUs and
// php-fpm waits for them.
func calmLoad(i int) load {
	n := uint64(i * 13 % 7)
	return load{
		cpus: 2, usr: 0.21, sys: 0.08, soft: 0.01, interrupts: 4100 + 10*n,
		waits: map[int]uint64{0: 4100 + 30*n, 1: 1050, 2: 160, 3: 31, 4: 6, 6: 1},
		runs:  map[int]uint64{3: 600, 4: 1500, 5: 1700, 6: 1000, 7: 400 + 30*n, 8: 110, 9: 200, 10: 40, 11: 2},
		tasks: []task{{812, "php-fpm", 0.6, 0.7, 'S'}, {640, "nginx", 0.3, 0.2, 'S'}, {1, "systemd", 0.1, 0.1, 'S'}},
	}
}

func busyLoad(i int) load {
	n := uint64(i * 13 % 7)
	return load{
		cpus: 2, usr: 0.598, sys: 0.381, soft: 0.016, interrupts: 9000 + 20*n,
		waits: map[int]uint64{0: 12043 + 40*n, 1: 4127, 2: 902, 3: 311, 4: 88, 5: 15, 13: 510 + n, 14: 208 + n},
		runs:  map[int]uint64{1: 3000, 2: 4778 + 42*n, 3: 4000, 4: 3000, 5: 1600, 6: 900, 7: 400, 8: 180, 9: 80, 10: 20, 11: 16, 12: 230},
		tasks: []task{
			{4121, "gzip", 0.41, 0.2, 'R'},
			{4122, "gzip", 0.3, 0.17, 'R'},
			{812, "php-fpm", 0.12, 0.21, 'R'},
			{813, "php-fpm", 0.06, 0.2, 'R'},
			{640, "nginx", 0.065, 0.12, 'R'},
			{901, "mariadbd", 0.01, 0.1, 'R'},
		},
	}
}

func busyStory(n int) *story {
	s := newStory("busy", "db-2", 2, 3*24*time.Hour)
	s.loads = [3]float64{0.6, 0.6, 0.6}
	for i := range n {
		switch {
		case i < n/3:
			s.second(calmLoad(i))
		default:
			s.second(busyLoad(i))
		}
	}
	return s
}

// judgedFrame is the busy host with findings, as rules will make them.
func judgedFrame() Frame {
	s := busyStory(91)
	last := &s.moments[len(s.moments)-1]
	gzip := triage.Culprit{
		Kind: "process", Name: safe("gzip[4121]"), Cgroup: safe("backup.service"), Share: 0.71,
		Target: collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 4121, Start: 4121e9}},
	}
	php := triage.Culprit{Kind: "process", Name: safe("php-fpm[812]"), Cgroup: safe("php.service"), Share: 0.41}
	last.Findings = []triage.Finding{
		{
			ID: "cpu.saturated", Severity: triage.Critical, Title: "12.7 runnable on 2 CPUs, some task waits 95 % of the time", Resource: "cpu",
			Line: "uptime", Value: 12.7, Threshold: 2, Unit: "tasks", Window: 10 * time.Second,
			Evidence: []string{"psi cpu some 95 %", "idle 0.4 %", "gzip ran 71 % of all run time", "2 processes of backup.service"},
			Culprits: []triage.Culprit{gzip}, Victims: []triage.Culprit{php}, Pane: "cpu", Row: "all", Command: "vmstat 1", Since: 33 * time.Second,
		},
		{
			ID: "cpu.runq_latency", Severity: triage.Warning, Title: "waits p99 16-33 ms", Resource: "cpu", Line: "runqlat", Value: 16.4, Threshold: 10,
			Unit: "ms", N: 182_040, Window: 10 * time.Second, Evidence: []string{"n 18204/s", "max 16-33 ms"}, Victims: []triage.Culprit{php},
			Culprits: []triage.Culprit{gzip}, CausedBy: "cpu.saturated", Pane: "cpu", Row: "all", Command: "runqlat 1", Since: 34 * time.Second, Quality: "~",
		},
		{
			ID: "cpu.steal", Severity: triage.Info, Title: "stolen 2 %", Resource: "cpu", Line: "mpstat", Value: 2, Threshold: 1, Unit: "%",
			Window: 10 * time.Second, Pane: "cpu", Row: "all", Command: "mpstat -P ALL 1", Until: 41 * time.Second, AtStart: true, Since: 5 * time.Second,
		},
	}
	f := s.frame()
	f.Rules = 3
	gone := triage.Finding{
		ID: "cpu.switch_storm", Severity: triage.Warning, Title: "41k switches/s", Resource: "cpu", Pane: "cpu",
		Value: 41e3, Threshold: 40e3, Unit: "/s", Window: 10 * time.Second, Since: 50 * time.Second,
	}
	f.Verdict = &Verdict{After: time.Minute, Findings: append([]triage.Finding{gone}, last.Findings...)}
	return f
}

// extremeFrame is a host of 256 CPUs with numbers at the end of their range and names that mean
// harm.
func extremeFrame() Frame {
	host := "\x1b]0;owned\x07\u202egnp.exe\xff" + "node-with-a-name-that-goes-on-and-on"
	s := newStory("extreme", host, 256, 4000*24*time.Hour)
	s.facts.Kernel = "6.12.0\x1b[2J"
	s.mem = collectors.Mem{Total: 24 << 40, Available: 1 << 20}
	s.loads = [3]float64{98765.4, 54321, 12345}
	for i := range 120 {
		l := load{
			cpus: 256, usr: 0.47, sys: 0.46, soft: 0.01, wa: 0.01, steal: 0.02, blocked: 65_000, interrupts: 98_765_432, psiMemory: 1, psiIO: 1,
			waits: map[int]uint64{0: 900_000_000, 1: 400_000_000, 5: 80_000_000, 10: 12_000_000, 20: 9_000, 26: 700},
			runs:  map[int]uint64{0: 900_000_000, 1: 120_000_000, 2: 9_000_000, 22: 24},
			tasks: []task{
				{1, "\x1b[31mroot\x1b[0m", 0.3, 0.3, 'R'},
				{2, "\u202egnp.exe", 0.2, 0.2, 'R'},
				{3, "caf\xc3", 0.2, 0.1, 'R'},
				{4, "日本語日本語日本語", 0.2, 0.3, 'R'},
				{5, "a-name-that-is-much-longer-than-a-comm-may-be", 0.1, 0.1, 'R'},
			},
		}
		snap := s.second(l)
		if i > 0 { // guests run inside user time, so those columns appear
			for n := range snap.CPU.CPUs {
				snap.CPU.CPUs[n].Guest = 200
				snap.CPU.CPUs[n].IRQ, snap.CPU.CPUs[n].Idle = snap.CPU.CPUs[n].Idle, 0
			}
			snap.CPU.All.Guest = 200 * 256
			snap.CPU.All.IRQ, snap.CPU.All.Idle = snap.CPU.All.Idle, 0
		}
	}
	return s.frame()
}

// lossyFrame is the busy host seen badly: events lost, samples late, a CPU that came online, no
// PSI and no scan of the tasks.
func lossyFrame() Frame {
	s := newStory("lossy", "db-2", 2, 3*24*time.Hour)
	s.loads = [3]float64{11, 9, 8}
	const noPSI = "PSI is off: boot with psi=1"
	s.probes[collectors.TasksID] = []collectors.Probe{{Name: "pidstat", State: collectors.Failed, Hook: "iter/task", Reason: "no answer for 3 s"}}
	s.probes[collectors.HostID][1] = collectors.Probe{Name: "psi", State: collectors.Off, Hook: "/proc/pressure", Reason: "PSI is off", Remedy: "boot with psi=1"}
	s.probes[collectors.SchedID] = []collectors.Probe{
		{Name: "runqlat", State: collectors.Degraded, Hook: "tracepoint sched_switch", Reason: "no kernel BTF: wake-up to switch", Remedy: "boot a kernel built with CONFIG_DEBUG_INFO_BTF", Lost: 412, NsPerEvent: 667},
		{Name: "cpudist", State: collectors.Degraded, Hook: "tracepoint sched_switch", Reason: "no kernel BTF"},
		{Name: "runqlen", State: collectors.Off, Reason: "needs kernel BTF", Remedy: "boot a kernel built with CONFIG_DEBUG_INFO_BTF"},
	}
	for i := range 70 {
		snap := s.second(busyLoad(i))
		snap.Host.PSI = collectors.PSI{Err: noPSI}
		snap.Tasks = nil
		snap.Self.Lost = 412
		if snap.Sched == nil {
			continue
		}
		for n := range snap.Sched.CPUs {
			snap.Sched.CPUs[n].QueueSamples, snap.Sched.CPUs[n].QueueSum = 0, 0
		}
		snap.Sched.Host.QueueSamples, snap.Sched.Host.QueueSum = 0, 0
		snap.Sched.Host.Unstamped = 6
		snap.Sched.Method = "wake-up to switch"
		if i%9 == 4 || i > 40 && i < 46 || i == 69 { // late, or stuck for a while
			snap.Sched = nil
		}
		if i == 69 {
			snap.CPU.CPUs[1].New = true
		}
	}
	return s.frame()
}

// deniedFrame is the busy host seen by a user who may not load BPF.
func deniedFrame() Frame {
	s := newStory("denied", "db-2", 2, 3*24*time.Hour)
	s.loads = [3]float64{0.6, 0.6, 0.6}
	off := collectors.Probe{
		State: collectors.Off, Hook: "tp_btf sched_switch", Reason: "needs CAP_BPF and CAP_PERFMON: operation not permitted",
		Remedy: "run as root, or: setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep bpf60",
	}
	var list []collectors.Probe
	for _, name := range []string{"runqlat", "cpudist", "runqlen"} {
		p := off
		p.Name = name
		list = append(list, p)
	}
	s.probes[collectors.SchedID] = list
	s.probes[collectors.TasksID][0].Hook = "/proc"
	wake := off
	wake.Name = "runqlat by cause"
	s.probes[collectors.WakeID] = []collectors.Probe{wake}
	for i := range 60 {
		snap := s.second(busyLoad(i))
		snap.Sched = nil
		snap.Self.BPF, snap.Self.BPFTotal = 0, 0
	}
	return s.frame()
}

// histories are the moments of each fixture. They are made once and shared, as the samples are: a screen
// only reads them.
var histories = sync.OnceValue(func() map[string]*triage.History {
	out := make(map[string]*triage.History)
	for name, f := range allFrames() {
		out[name] = root(f).cfg.History
	}
	return out
})

// fixture returns the screen over a fixture.
func fixture(name string, change ...func(*Config)) *Root {
	return rootOver(histories()[name], allFrames()[name], change...)
}

// everyFixture are the names of frames, for a test that draws much over each of them. With the race
// detector it is one, or those that are named: a screen is drawn by one goroutine, in which there is
// nothing to find, and it takes five times as long. Without it make test draws them all.
func everyFixture(raced ...string) []string {
	if raceDetector {
		return append([]string{"busy"}, raced...)
	}
	return slices.Sorted(maps.Keys(allFrames()))
}

// frames are the states that every pane is drawn in.
func frames() map[string]Frame { return maps.Clone(allFrames()) }

// allFrames makes them once: the samples are immutable, and the large ones take a second.
var allFrames = sync.OnceValue(func() map[string]Frame {
	return map[string]Frame{
		"empty":   {},
		"idle":    idleStory().frame(),
		"busy":    busyStory(91).frame(),
		"extreme": extremeFrame(),
		"lossy":   lossyFrame(),
		"denied":  deniedFrame(),
		"judged":  judgedFrame(),
	}
})
