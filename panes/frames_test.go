// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"maps"
	"math"
	"sync"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// began is when every made-up run began.
var began = time.Date(2026, 3, 14, 9, 26, 0, 0, time.UTC)

// load is one second of a host, from which every sample of that second follows, so that what the
// screens of a golden say is possible on a real host.
type load struct {
	cpus       int
	usr, sys   float64 // shares of the time of all CPUs
	soft, wa   float64
	steal      float64
	blocked    int
	waits      map[int]uint64 // run-queue waits by slot, all CPUs
	runs       map[int]uint64 // times on a CPU by slot, all CPUs
	interrupts uint64
	tasks      []task
	psiMemory  float64
	psiIO      float64
}

type task struct {
	pid       int32
	name      string
	run, wait float64 // shares of all run time and all waiting
	state     byte
}

// spread makes a histogram whose events lie in the middle of their buckets.
func spread(counts map[int]uint64) collectors.Hist {
	var h collectors.Hist
	for slot, n := range counts {
		b := collectors.SlotBucket(slot)
		h.Slots[slot] = n
		h.Sum += n * (b.Lo + b.Hi + 1) * 500
	}
	return h
}

// divide gives each CPU its part of a histogram, the first ones the remainder.
func divide(h collectors.Hist, n, i int) collectors.Hist {
	var part collectors.Hist
	for slot, c := range h.Slots {
		part.Slots[slot] = c / uint64(n)
		if uint64(i) < c%uint64(n) {
			part.Slots[slot]++
		}
	}
	if c := h.Count(); c > 0 {
		part.Sum = uint64(float64(h.Sum) * float64(part.Count()) / float64(c))
	}
	return part
}

// fixtures add the sample of one subject each to a second of a story. What they make follows from
// the second, so that subjects agree with each other.
func fixtures() []func(*story, load, *collectors.Snapshot) {
	return []func(*story, load, *collectors.Snapshot){
		addProcesses,
		addMemory,
		addDisk,
		addNetwork,
		addTCP,
		addLog,
		addStalls,
		addInterrupts,
		addCgroups,
	}
}

// story is a run, a moment a second.
type story struct {
	kind    string // the state it is drawn for: idle, busy, extreme, lossy, denied
	uptime  time.Duration
	facts   collectors.Facts
	mem     collectors.Mem
	moments []triage.Moment

	oncpu     []collectors.SchedCPU
	loads     [3]float64
	psi       collectors.PSI
	selfCPU   time.Duration
	selfBPF   time.Duration
	waitTotal collectors.Hist
	runTotal  collectors.Hist
	probes    map[collectors.ID][]collectors.Probe
}

func newStory(kind, host string, cpus int, uptime time.Duration) *story {
	return &story{
		kind:   kind,
		uptime: uptime,
		facts: collectors.Facts{
			Hostname: collectors.RawString(host), Kernel: "6.1.0-28-amd64", Arch: "x86_64", CPUs: cpus,
			BootID: "5e0c6f3a-8a0e-4f3e-9a57-0d1f1a2b3c4d", Virtual: "kvm",
		},
		mem: collectors.Mem{Total: 31 << 30, Available: 13 << 30},
		probes: map[collectors.ID][]collectors.Probe{
			collectors.HostID:  {{Name: "uptime", State: collectors.On, Hook: "/proc/loadavg"}, {Name: "psi", State: collectors.On, Hook: "/proc/pressure"}},
			collectors.CPUID:   {{Name: "mpstat", State: collectors.On, Hook: "/proc/stat"}, {Name: "vmstat", State: collectors.On, Hook: "/proc/vmstat"}},
			collectors.TasksID: {{Name: "pidstat", State: collectors.On, Hook: "iter/task"}},
			collectors.SchedID: {
				{Name: "runqlat", State: collectors.On, Hook: "tp_btf sched_switch", NsPerEvent: 105},
				{Name: "cpudist", State: collectors.On, Hook: "tp_btf sched_switch"},
				{Name: "runqlen", State: collectors.On, Hook: "perf cpu-clock 99 Hz"},
			},
			collectors.WakeID: {{Name: "runqlat by cause", State: collectors.Idle, Hook: "tp_btf sched_wakeup"}},
		},
	}
}

// second adds a moment.
func (s *story) second(l load) *collectors.Snapshot {
	i := len(s.moments)
	at := time.Duration(i) * time.Second
	span := collectors.Span{From: at - time.Second, To: at}
	if i == 0 {
		span = collectors.Span{}
	}
	wait, run := spread(l.waits), spread(l.runs)
	waiting := float64(wait.Sum) / 1e9 // tasks that wait, on average
	busy := l.usr + l.sys + l.soft
	running := busy * float64(l.cpus)
	want := waiting + running + float64(l.blocked)
	for k, minutes := range []float64{1, 5, 15} {
		decay := math.Exp(-1 / (60 * minutes))
		s.loads[k] = s.loads[k]*decay + want*(1-decay)
	}
	snap := &collectors.Snapshot{Seq: uint64(i + 1), Taken: began.Add(at), At: at}
	r := int(math.Round(waiting + running))

	psi := func(p *collectors.Pressure, share float64) {
		p.Known = true
		p.Some = 0
		if i > 0 {
			p.Some = time.Duration(share * 1e9)
			p.SomeTotal += p.Some
		}
	}
	psi(&s.psi.CPU, math.Min(waiting/float64(l.cpus), 1)*0.95)
	psi(&s.psi.Memory, l.psiMemory)
	psi(&s.psi.IO, l.psiIO)
	snap.Host = &collectors.Host{
		Span: span, Facts: &s.facts, Uptime: s.uptime + at, Load: s.loads, Runnable: max(r, 1), Threads: 412,
		Mem: s.mem, PSI: s.psi,
	}

	cpu := &collectors.CPU{Span: span, Running: max(r, 1), Blocked: l.blocked, TickLen: 10 * time.Millisecond}
	if i > 0 {
		for n := range l.cpus {
			// Neighbours differ a little, by an amount that adds to nothing over all.
			lean := 0.02 * float64(2*(n%2)-1)
			if l.cpus == 1 || busy < 0.1 || busy > 0.97 {
				lean = 0
			}
			t := collectors.Ticks{User: ticks(l.usr + lean), System: ticks(l.sys), SoftIRQ: ticks(l.soft), IOWait: ticks(l.wa), Steal: ticks(l.steal)}
			t.Idle = 1000 - min(t.User+t.System+t.SoftIRQ+t.IOWait+t.Steal, 1000)
			cpu.CPUs = append(cpu.CPUs, collectors.CPUTime{CPU: n, Ticks: t})
			cpu.All = addTicks(cpu.All, t)
		}
		cpu.Switches = run.Count() + uint64((1-busy)*float64(run.Count())*0.9)
		cpu.Interrupts = l.interrupts
		cpu.BlocksOut = uint64(l.wa * 80_000)
	}
	snap.CPU = cpu

	if i > 0 {
		sched := &collectors.Sched{Span: span, Method: "sched_info stamp"}
		s.waitTotal.Plus(&wait)
		s.runTotal.Plus(&run)
		sched.Host = collectors.SchedCounts{Wait: wait, OnCPU: run, Switches: run.Count()}
		sched.WaitTotal, sched.OnCPUTotal = s.waitTotal, s.runTotal
		if s.oncpu == nil {
			s.oncpu = make([]collectors.SchedCPU, l.cpus)
		}
		for n := range l.cpus {
			one := collectors.SchedCounts{Wait: divide(wait, l.cpus, n), OnCPU: divide(run, l.cpus, n)}
			one.Switches = one.OnCPU.Count()
			one.QueueSamples = 99
			one.QueueSum = uint64(math.Round(99 * float64(one.Wait.Sum) / 1e9))
			sched.Host.QueueSamples += one.QueueSamples
			sched.Host.QueueSum += one.QueueSum
			s.oncpu[n].WaitTotal.Plus(&one.Wait)
			s.oncpu[n].OnCPUTotal.Plus(&one.OnCPU)
			sched.CPUs = append(sched.CPUs, collectors.NewSchedCPU(n, &one, &s.oncpu[n].WaitTotal, &s.oncpu[n].OnCPUTotal))
		}
		snap.Sched = sched

		tasks := &collectors.Tasks{Span: span, Processes: 187, Threads: 412, Running: max(r, 1), Uninterruptible: l.blocked, Source: "iter/task"}
		for _, x := range l.tasks {
			tasks.Rows = append(tasks.Rows, collectors.TaskRow{
				ProcInfo: &collectors.ProcInfo{Process: collectors.Process{TGID: x.pid, Start: uint64(x.pid) * 1e9}, PID: x.pid, PPID: 1, Comm: collectors.RawString(x.name)},
				Run:      time.Duration(x.run * running * 1e9), Wait: time.Duration(x.wait * waiting * 1e9), Threads: 1, State: x.state,
			})
		}
		snap.Tasks = tasks
	}

	switches := s.waitTotal.Count()
	snap.Probes = make(map[collectors.ID][]collectors.Probe, len(s.probes))
	for id, list := range s.probes {
		list = append([]collectors.Probe(nil), list...)
		for k := range list {
			if list[k].NsPerEvent > 0 {
				list[k].Events = switches
			}
		}
		snap.Probes[id] = list
	}
	self := &collectors.Self{Span: span, RSS: 24 << 20, MaxRSS: 25 << 20, Nice: -5}
	if i > 0 {
		self.CPU, self.BPF = 4*time.Millisecond, time.Duration(105*wait.Count())
		s.selfCPU += self.CPU
		s.selfBPF += self.BPF
	}
	self.CPUTotal, self.BPFTotal = s.selfCPU, s.selfBPF
	snap.Self = self
	for _, add := range fixtures() {
		add(s, l, snap)
	}
	s.moments = append(s.moments, triage.Moment{Snapshot: snap})
	return snap
}

func ticks(share float64) uint64 { return uint64(math.Round(share * 1000)) }

// frame is the window on the story that the screen shows.
func (s *story) frame() Frame {
	now := s.moments[len(s.moments)-1]
	return Frame{Now: now, Past: s.moments, At: now.Taken}
}

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
			{640, "nginx", 0.08, 0.12, 'R'},
			{901, "mariadbd", 0.03, 0.1, 'R'},
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

// The goldens are only worth reading if what they show can happen.
func TestStoriesAreConsistent(t *testing.T) {
	for name, s := range map[string]*story{"idle": idleStory(), "busy": busyStory(91)} {
		t.Run(name, func(t *testing.T) {
			for _, m := range s.moments[1:] {
				var sum collectors.Ticks
				for _, c := range m.CPU.CPUs {
					sum = addTicks(sum, c.Ticks)
					if c.Total() != 1000 {
						t.Fatalf("at %v cpu %d spent %d ticks, want 1000", m.At, c.CPU, c.Total())
					}
				}
				if sum != m.CPU.All {
					t.Fatalf("at %v the CPUs sum to %+v, want %+v", m.At, sum, m.CPU.All)
				}
				var wait, run collectors.Hist
				for i := range m.Sched.CPUs {
					w, r := m.Sched.CPUs[i].Wait.Hist(), m.Sched.CPUs[i].OnCPU.Hist()
					wait.Plus(&w)
					run.Plus(&r)
				}
				if wait.Slots != m.Sched.Host.Wait.Slots || run.Slots != m.Sched.Host.OnCPU.Slots {
					t.Fatalf("at %v the CPUs' histograms do not sum to the host's", m.At)
				}
				busy := float64(m.CPU.All.User+m.CPU.All.System+m.CPU.All.SoftIRQ) / 1000
				if ran := float64(run.Sum) / 1e9; math.Abs(ran-busy) > 0.12*busy+0.01 {
					t.Fatalf("at %v tasks ran %.3f s by the histogram and %.3f s by the CPUs", m.At, ran, busy)
				}
				q, _ := m.Sched.Host.Queue()
				if waiting := float64(wait.Sum) / 1e9; math.Abs(q*float64(len(m.CPU.CPUs))-waiting) > 0.05*waiting+0.05 {
					t.Fatalf("at %v %.2f tasks waited by the queue and %.2f by the histogram", m.At, q*float64(len(m.CPU.CPUs)), waiting)
				}
			}
		})
	}
}
