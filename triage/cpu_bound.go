// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

const (
	// looksFor is how old a look at threads may be: rules get theirs for ten seconds of a minute.
	looksFor = 70 * time.Second
	// leastLooks is how often threads must have been seen on the same CPUs.
	leastLooks = 5
	// waitingMin is how many tasks wait for a CPU at a time, in the mean, that has more to do than it can.
	waitingMin = 0.2
	// roomy is how idle the CPUs besides must be, in percent, for it to matter that tasks are not there.
	roomy = 50
)

// crowd are threads that were seen on full CPUs alone while others were idle.
type crowd struct {
	cpus    []int
	seconds float64
	looks   int
	group   int32 // that ran most
	list    []*task
	ran     time.Duration // outside the group, of who is not patient
	waited  time.Duration
	all     time.Duration // ran and waited, everybody's
}

func (c *crowd) share() float64 { return percent(c.waited.Seconds(), (c.ran + c.waited).Seconds()) }

// fullCPUs are those without time to spare in the window, and how idle the others are, in percent.
func (c *cpuSum) fullCPUs(spare float64) (full []int, rest float64) {
	var others collectors.Ticks
	for _, n := range slices.Sorted(maps.Keys(c.single)) {
		t := c.single[n]
		if percent(t.Idle+t.IOWait, t.Total()) <= spare && t.Total() > 0 {
			full = append(full, n)
			continue
		}
		others = plus(others, t)
	}
	return full, percent(others.Idle+others.IOWait, others.Total())
}

// looksAtThreads are the samples that list threads, of the last minute: the evidence that rules ask for.
func (r *recent) looksAtThreads(yield func(*collectors.Tasks) bool) {
	for _, m := range r.h.Since(r.now - looksFor) {
		if m.Tasks != nil && m.Tasks.BusyAll && m.Tasks.Seconds() > 0 && !yield(m.Tasks) {
			return
		}
	}
}

// threads asks for looks at threads while there are too few that will last until the next are given.
func (r *recent) threads() []collectors.Want {
	n := 0
	for s := range r.looksAtThreads {
		if s.To > r.now-50*time.Second {
			n++
		}
	}
	if n >= leastLooks {
		return nil
	}
	return threadsWanted()
}

func threadsWanted() []collectors.Want {
	return []collectors.Want{{ID: collectors.TasksID, Target: collectors.ThreadsTarget()}}
}

// crowd finds who shares the full CPUs; nil without enough looks at the threads.
func (r *recent) crowd(full []int) *crowd {
	type thread struct {
		p   collectors.Process
		tid int32
	}
	waits, free := map[int]time.Duration{}, map[thread]bool{}
	c := &crowd{}
	for s := range r.looksAtThreads {
		c.looks++
		c.seconds += s.Seconds()
		for i := range s.Busy {
			x := &s.Busy[i]
			cpu := int(x.LastCPU) - 1
			if !slices.Contains(full, cpu) {
				free[thread{x.Process, x.TID}] = true
			}
			waits[cpu] += x.Wait
		}
	}
	if c.looks < leastLooks {
		return nil
	}
	for _, cpu := range full {
		if waits[cpu].Seconds() >= waitingMin*c.seconds {
			c.cpus = append(c.cpus, cpu)
		}
	}
	at := map[collectors.Process]*task{}
	for s := range r.looksAtThreads {
		for i := range s.Busy {
			x := &s.Busy[i]
			if x.Kernel || r.ourselves(x.ProcInfo) || free[thread{x.Process, x.TID}] || !slices.Contains(c.cpus, int(x.LastCPU)-1) {
				continue
			}
			if at[x.Process] == nil {
				at[x.Process] = &task{ProcInfo: x.ProcInfo}
				c.list = append(c.list, at[x.Process])
			}
			at[x.Process].run += x.Run
			at[x.Process].wait += x.Wait
		}
	}
	who, runs := r.together(), map[int32]time.Duration{}
	for _, x := range c.list {
		x.group = who.of(x.ProcInfo)
		runs[x.group] += x.run
		c.all += x.run + x.wait
	}
	for g, d := range runs {
		if best := runs[c.group]; d > best || d == best && g < c.group {
			c.group = g
		}
	}
	for _, x := range c.list {
		if c.victim(r, x) {
			c.ran += x.run
			c.waited += x.wait
		}
	}
	return c
}

func (c *crowd) victim(r *recent, x *task) bool {
	return x.group != c.group && !r.patient(x.ProcInfo) && !r.throttled(x.ProcInfo)
}

// named are processes that a test takes, those with most first, with the share that it gives them.
func (c *crowd) named(take func(*task) bool, most func(*task) time.Duration, share func(*task) float64) []Culprit {
	list := slices.DeleteFunc(slices.Clone(c.list), func(x *task) bool { return !take(x) || most(x) == 0 })
	slices.SortFunc(list, func(a, b *task) int { return cmp.Or(cmp.Compare(most(b), most(a)), cmp.Compare(a.PID, b.PID)) })
	var out []Culprit
	for _, x := range list[:min(len(list), few)] {
		out = append(out, process(x.ProcInfo, share(x)))
	}
	return out
}

// confined: tasks crowd on some CPUs while others are idle. They are bound to those, by a cpuset or an
// affinity, or nobody moves them: either way it is these CPUs that are short.
func (r *recent) confined(perCPU, spare, wait, least float64) (Finding, []collectors.Want) {
	full, rest := r.cpu().fullCPUs(spare)
	seconds := r.processes().seconds
	// Cheap to see first: where CPUs are idle nobody waits for one, as a rule.
	if len(full) == 0 || rest < roomy || seconds < covered || r.eager(seconds) < waitingMin {
		return Finding{}, nil
	}
	c := r.crowd(full)
	if c == nil {
		return Finding{}, r.threads()
	}
	runnable := c.all.Seconds() / c.seconds
	if len(c.cpus) == 0 || runnable <= perCPU*float64(len(c.cpus)) {
		return Finding{}, r.threads()
	}
	where := cpuNames(c.cpus)
	f := Finding{
		ID: "cpu.saturated", Severity: Info, Resource: "cpu", Line: "mpstat", Value: c.share(), Threshold: wait, Unit: "%", Window: recentFor,
		Title: fmt.Sprintf("busy: %.1f runnable on %s, nobody else waits; other CPUs are idle %.0f %%", runnable, where, rest),
		Evidence: []string{
			fmt.Sprintf("seen on no other CPU in %d looks: they are bound to %s, or nobody moves them", c.looks, where),
		},
		Culprits: c.named(func(x *task) bool { return x.group == c.group }, func(x *task) time.Duration { return x.run }, func(x *task) float64 {
			return min(x.run.Seconds()/(c.seconds*float64(len(c.cpus))), 1)
		}),
		Explains: []string{"cpu.runq_latency", "net.listen_overflow"}, Pane: "processes",
	}
	if len(f.Culprits) == 0 {
		return Finding{}, nil
	}
	f.Row = firstProcess(f.Culprits)
	f.Command = fmt.Sprintf("taskset -cap %s; cat /proc/%[1]s/cpuset; cat /sys/devices/system/cpu/isolated", f.Row)
	if c.share() >= wait && c.waited.Seconds() >= least*c.seconds {
		f.Severity = Warning
		f.Title = fmt.Sprintf("%.1f runnable on %s, others wait %.0f %% of their time; other CPUs are idle %.0f %%", runnable, where, c.share(), rest)
		f.Victims = c.named(func(x *task) bool { return c.victim(r, x) }, func(x *task) time.Duration { return x.wait }, func(x *task) float64 {
			return min(x.wait.Seconds()/max((x.run+x.wait).Seconds(), 1e-9), 1)
		})
	}
	return f, r.threads()
}

// cpuNames are a few CPUs by name, or how many they are.
func cpuNames(cpus []int) string {
	if len(cpus) > few {
		return fmt.Sprintf("%d CPUs", len(cpus))
	}
	var names []string
	for _, c := range cpus {
		names = append(names, fmt.Sprintf("cpu%d", c))
	}
	return strings.Join(names, ", ")
}
