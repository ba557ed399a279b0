// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
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
		addReclaim,
		addAllocations,
		addPageCache,
		addDisk,
		addBlock,
		addNetwork,
		addTCP,
		addFlow,
		addLog,
		addStalls,
		addInterrupts,
		addOffCPU,
		addProfile,
		addCgroups,
		addExec,
		addRuns,
		addDNS,
		addDrops,
		addFileLives,
		addSyscalls,
		addOpens,
		addNarrowed,
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
	block     blockStory
	stacks    map[string]map[*collectors.CallStack]float64 // what runs, by command
	waitTotal collectors.Hist
	runTotal  collectors.Hist
	probes    map[collectors.ID][]collectors.Probe

	irqTotals map[string]*collectors.Hist // of vectors and lines
	offTotal  collectors.OffCounts
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

	cpu := &collectors.CPU{Span: span, Running: max(r, 1), Blocked: l.blocked, VMKnown: true, TickLen: 10 * time.Millisecond}
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
			cpu.All = cpu.All.Plus(t)
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

// The goldens are only worth reading if what they show can happen.
func TestStoriesAreConsistent(t *testing.T) {
	for name, s := range map[string]*story{"idle": idleStory(), "busy": busyStory(91)} {
		t.Run(name, func(t *testing.T) {
			for _, m := range s.moments[1:] {
				var sum collectors.Ticks
				for _, c := range m.CPU.CPUs {
					sum = sum.Plus(c.Ticks)
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
