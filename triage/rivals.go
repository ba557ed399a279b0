// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"strings"
	"time"

	"bpf60/collectors"
)

// side is a group of processes that belong together, and what it had of the CPUs in the window.
type side struct {
	group int32
	name  string // as people names it
	run   time.Duration
	tasks []*task // that ran most, at most few
	more  bool    // it has several that ran
	dead  time.Duration
	comm  collectors.Raw // of the dead that had most
	died  time.Duration  // of those
	by    collectors.Process
	from  collectors.Raw // the name of by
}

// rivals are the two sides of a shortage of CPU: who has most of it, and everybody else who asks for
// it without being patient.
type rivals struct {
	seconds float64
	culprit side
	victims []*task // outside the culprit, the longest wait first, at most few
	ran     time.Duration
	waited  time.Duration
}

// share is how much of the time that the victims wanted to run they waited, in percent.
func (v *rivals) share() float64 { return percent(v.waited.Seconds(), (v.ran + v.waited).Seconds()) }

// lost is how many of them waited at a time, in the mean.
func (v *rivals) lost() float64 { return v.waited.Seconds() / max(v.seconds, 1e-9) }

// rivals finds out who had most of the CPUs and who else waited, once a tick.
func (r *recent) rivals() *rivals {
	if r.fight == nil {
		r.fight = r.rivalsOf(nobody)
	}
	return r.fight
}

// rivalsOf takes a group as the culprit, or who had most.
func (r *recent) rivalsOf(choose int32) *rivals {
	t, who := r.processes(), r.together()
	run := make([]time.Duration, len(who.names), len(who.names)+len(who.names)/4+8)
	add := func(g int32, d time.Duration) {
		for int(g) >= len(run) {
			run = append(run, 0)
		}
		run[g] += d
	}
	for x := range t.each {
		if x.run > 0 && !r.ourselves(x.ProcInfo) {
			add(who.group(x), x.run)
		}
	}
	dead := r.dead()
	if more := r.unlooked(); more > 1 {
		for i := range dead {
			dead[i].UnseenCPU = time.Duration(float64(dead[i].UnseenCPU) * more)
		}
	}
	for _, d := range dead {
		if p := who.byPID[d.Parent.TGID]; p != nil && d.UnseenCPU > 0 {
			add(who.of(p), d.UnseenCPU)
		}
	}
	if choose == nobody {
		for g, d := range run {
			if d > run[choose] {
				choose = int32(g)
			}
		}
	}
	v := &rivals{seconds: t.seconds, culprit: side{group: choose, name: who.names[choose]}}
	s := &v.culprit
	if int(choose) < len(run) {
		s.run = run[choose]
	}
	for _, d := range dead {
		if p := who.byPID[d.Parent.TGID]; p != nil && d.UnseenCPU > 0 && who.of(p) == choose {
			s.dead += d.UnseenCPU
			if d.UnseenCPU > s.died {
				s.died, s.comm, s.by, s.from = d.UnseenCPU, d.Comm, d.Parent, d.ParentComm
			}
		}
	}
	ran := 0
	s.tasks = t.most(few, func(x *task) float64 {
		if who.group(x) != choose || r.ourselves(x.ProcInfo) {
			return 0
		}
		if x.run > 0 {
			ran++
		}
		return x.run.Seconds()
	})
	s.more = ran > 1
	other := func(x *task) bool {
		return who.group(x) != choose && !r.patient(x.ProcInfo) && !r.throttled(x.ProcInfo)
	}
	for x := range t.each {
		if other(x) {
			v.ran += x.run
			v.waited += x.wait
		}
	}
	if v.waited > 0 {
		v.victims = t.most(few, func(x *task) float64 {
			if x.wait == 0 || !other(x) {
				return 0
			}
			return x.wait.Seconds()
		})
	}
	return v
}

// unlooked is what the CPU time of the dead must be multiplied by to be compared with that of processes: a
// slowed probe sees a part of them.
func (r *recent) unlooked() float64 {
	if !r.covers(execSpan) {
		return 1
	}
	_, looked := r.execs()
	return max(r.processes().seconds/looked, 1)
}

// dead are the processes that ended in the window, by name and origin.
func (r *recent) dead() []collectors.ShortLived {
	var out []collectors.ShortLived
	type key struct {
		comm   string
		parent collectors.Process
	}
	at := map[key]int{}
	for _, m := range r.moments {
		if m.Exec == nil {
			continue
		}
		for _, s := range m.Exec.Short {
			k := key{s.Comm.Bytes(), s.Parent}
			i, ok := at[k]
			if !ok {
				at[k] = len(out)
				out = append(out, s)
				continue
			}
			out[i].Exits += s.Exits
			out[i].CPU += s.CPU
			out[i].Unseen += s.Unseen
			out[i].UnseenCPU += s.UnseenCPU
		}
	}
	return out
}

// few is how many culprits and victims are named.
const few = 3

// culprits names the side that had most: the group, if it is more than one process, then its
// processes. A share is of all CPUs.
func (v *rivals) culprits(cpus int) []Culprit {
	all := v.seconds * float64(max(cpus, 1))
	share := func(d time.Duration) float64 { return min(d.Seconds()/max(all, 1e-9), 1) }
	s := &v.culprit
	var out []Culprit
	if path, ok := strings.CutPrefix(s.name, inCgroup); ok && s.more {
		x := s.tasks[0]
		out = append(out, Culprit{
			Kind: "cgroup", Name: collectors.Clean(cmp.Or(x.CgroupName(), collectors.RawString(path))), Share: share(s.run),
			Target: cgroupTarget(x.NamedCgroup(), path),
		})
	}
	if s.died > 0 && (len(s.tasks) == 0 || s.died > s.tasks[0].run) {
		out = append(out, startedBy(s.comm, s.from, s.by, share(s.died)))
	}
	for _, x := range s.tasks {
		out = append(out, process(x.ProcInfo, share(x.run)))
	}
	return out[:min(len(out), few)]
}

// named are the victims by name, with the part of the window that each waited, in the mean.
func (v *rivals) named() []Culprit {
	var out []Culprit
	for _, x := range v.victims {
		out = append(out, process(x.ProcInfo, min(x.wait.Seconds()/max((x.run+x.wait).Seconds(), 1e-9), 1)))
	}
	return out
}
