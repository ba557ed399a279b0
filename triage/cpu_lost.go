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

// quota is one cgroup's quota over the window.
type quota struct {
	*collectors.CgroupInfo
	seconds            float64
	usage, stopped     time.Duration
	counted            bool // the usage was read: version 1 has it in a hierarchy of its own
	periods, throttled uint64
}

// title says how much was used of how much, as far as it is known.
func (q *quota) title() string {
	used := fmt.Sprintf("%.2f CPU allowed", q.Own.CPUs)
	if q.counted {
		used = fmt.Sprintf("%.2f of %.2f CPU used", q.usage.Seconds()/q.seconds, q.Own.CPUs)
	}
	return fmt.Sprintf("%s, stopped in %.0f %% of periods", used, q.part())
}

// part is the share of the periods in which the quota was used up, in percent.
func (q *quota) part() float64 { return percent(q.throttled, q.periods) }

// throttled: a cgroup uses up its CPU quota in many periods while threads of it want to run.
func throttled(chosen Limits) Rule {
	r := Rule{
		ID: "cpu.throttled", Says: "a cgroup is stopped by its CPU quota while it wants to run",
		Resource: "cpu quotas", Needs: []string{"cgroup cpu"}, Fallback: true,
	}
	periods := r.limit(chosen, Limit{"periods", 25, "%", 1, 100, "of a quota's periods in 10 s in which it was used up"})
	least := r.limit(chosen, Limit{"stopped", 0.05, "CPUs", 0.01, 100, "stopped at a time while threads wanted them, in the mean"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		var hit []*quota
		for _, q := range w.quotas() {
			// The kernel counts the time only while the cgroup has a thread that wants to run.
			if q.seconds >= covered && q.part() >= periods && q.stopped.Seconds() >= least*q.seconds {
				hit = append(hit, q)
			}
		}
		if len(hit) == 0 {
			return Finding{}, nil
		}
		slices.SortFunc(hit, func(a, b *quota) int {
			return cmp.Or(cmp.Compare(b.part(), a.part()), cmp.Compare(a.Path.Bytes(), b.Path.Bytes()))
		})
		q := hit[0]
		name := collectors.Clean(cmp.Or(q.Name, q.Path))
		f := Finding{
			ID: "cpu.throttled", Severity: Warning, Resource: name.String(), Line: "cgroup", Value: q.part(), Threshold: periods, Unit: "%",
			N: q.periods, Window: recentFor, Pane: "cgroups", Row: q.Path.Bytes(), Command: "grep throttled /sys/fs/cgroup" + collectors.Clean(q.Path).String() + "/cpu.stat",
			Title:    q.title(),
			Evidence: []string{"the quota is that of " + collectors.Clean(q.Path).String()},
			Explains: []string{"cpu.runq_latency", "net.listen_overflow"},
			Culprits: []Culprit{cgroupCulprit(q.CgroupInfo, 0)},
		}
		for _, x := range w.processes().most(few, func(x *task) float64 {
			if !below(q.Path.Bytes(), x.CgroupPath.Bytes()) {
				return 0
			}
			return x.run.Seconds()
		}) {
			share := 0.0
			if q.counted {
				share = min(x.run.Seconds()/max(q.usage.Seconds(), 1e-9), 1)
			}
			f.Culprits = append(f.Culprits, process(x.ProcInfo, share))
		}
		if len(hit) > 1 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%d more cgroups likewise", len(hit)-1))
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		all := recently(h).quotas()
		most := 0.0
		for _, q := range all {
			most = max(most, q.part())
		}
		return []string{fmt.Sprintf("%d cgroups have one, used up in at most %.0f %% of periods", len(all), most)}
	}
	return r
}

// cgroupTarget is a cgroup as target; none without a number of it.
func cgroupTarget(id uint64, path string) collectors.Target {
	if id == 0 {
		return collectors.Target{}
	}
	return collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id, Name: path}
}

func cgroupCulprit(c *collectors.CgroupInfo, share float64) Culprit {
	path := c.Path.Bytes()
	return Culprit{
		Kind: "cgroup", Name: collectors.Clean(cmp.Or(c.Name, c.Path)), Share: share,
		Target: collectors.Target{Kind: collectors.CgroupTarget, Cgroup: c.ID, Name: path},
	}
}

// quotas sums what was read of the cgroups that have one, in the order of their paths.
func (r *recent) quotas() []*quota {
	by := map[string]*quota{}
	for _, m := range r.moments {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			c := &m.Cgroups.Rows[i]
			if c.CgroupInfo == nil || c.Has&collectors.HasThrottle == 0 || c.Own.CPUs == 0 {
				continue
			}
			q := by[c.Path.Bytes()]
			if q == nil {
				q = &quota{}
				by[c.Path.Bytes()] = q
			}
			q.CgroupInfo = c.CgroupInfo
			q.seconds += c.Seconds()
			q.usage += c.Usage
			q.counted = q.counted || c.Has&collectors.HasUsage != 0
			q.stopped += c.ThrottledFor
			q.periods += c.Periods
			q.throttled += c.Throttled
		}
	}
	var out []*quota
	for _, path := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[path])
	}
	return out
}

// stolen: the hypervisor runs something else while we want to run.
func stolen(chosen Limits) Rule {
	r := Rule{ID: "cpu.steal", Says: "the hypervisor runs others while this host wants to run", Resource: "steal", Needs: []string{"mpstat"}}
	most := r.limit(chosen, Limit{"share", 10, "%", 1, 100, "of all CPU time in 10 s that was stolen while something wanted to run"})
	critical := r.limit(chosen, Limit{"critical", 30, "%", 1, 100, "the same, from which it is critical"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		share := percent(c.all.Steal, c.all.Total())
		if c.seconds < covered || share < most || c.runnable <= 0 {
			return Finding{}, nil
		}
		f := Finding{
			ID: "cpu.steal", Severity: Warning, Resource: "cpu", Line: "mpstat", Value: share, Threshold: most, Unit: "%", Window: recentFor,
			Title:    fmt.Sprintf("the hypervisor takes %.0f %% of the CPU time", share),
			Evidence: []string{fmt.Sprintf("%.1f runnable", c.runnable), fmt.Sprintf("idle %.0f %%", percent(c.all.Idle, c.all.Total()))},
			Explains: []string{"cpu.runq_latency", "cpu.saturated"}, Pane: "cpu", Row: "all", Command: "mpstat -P ALL 1",
		}
		if share >= critical {
			f.Severity = Critical
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		c := recently(h).cpu()
		return []string{fmt.Sprintf("steal %.1f %%", percent(c.all.Steal, c.all.Total()))}
	}
	r.Blind = func(h *History) (string, string) {
		for _, m := range h.Since(-1) {
			if m.CPU != nil && m.CPU.All.Steal > 0 {
				return "", ""
			}
		}
		if recently(h).facts().Virtual == "" {
			return "", ""
		}
		return "not reported here: it has been 0 since the start, and this is a virtual machine", ""
	}
	return r
}

// oneVector: softirqs fill one CPU while the others have few, or packets wait or are lost for them.
func oneVector(chosen Limits) Rule {
	r := Rule{ID: "cpu.softirq", Says: "softirqs take one CPU while the others have few, or do not keep up", Needs: []string{"mpstat", "softnet"}}
	one := r.limit(chosen, Limit{"cpu", 80, "%", 1, 100, "of one CPU's time in softirqs over 10 s"})
	mean := r.limit(chosen, Limit{"mean", 30, "%", 1, 100, "of all CPUs' time, above which the load is not one CPU's"})
	lost := r.limit(chosen, Limit{"dropped", 0.01, "%", 0.0001, 100, "of packets dropped because the backlog of a CPU was full"})
	waits := r.limit(chosen, Limit{"wait", 10, "%", 1, 100, "of the window that ksoftirqd waited for a CPU, while the budget of softirqs ran out"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		f := Finding{
			ID: "cpu.softirq", Severity: Warning, Resource: "cpu", Line: "mpstat", Unit: "%", Window: recentFor,
			Pane: "cpu", Command: "mpstat -P ALL 1; cat /proc/softirqs",
		}
		if cpu, share, ok := lone(c, one, mean, func(t collectors.Ticks) uint64 { return t.SoftIRQ }); ok {
			f.Value, f.Threshold, f.Row = share, one, fmt.Sprint(cpu)
			f.Title = fmt.Sprintf("softirqs take %.0f %% of cpu%d, %.0f %% of all", share, cpu, percent(c.all.SoftIRQ, c.all.Total()))
			f.Culprits = w.vectors(cpu)
			return f, nil
		}
		var soft collectors.SoftnetCPU
		seconds := 0.0
		for _, m := range w.moments {
			if m.Network != nil && m.Network.SoftnetKnown {
				soft.Processed += m.Network.SoftnetAll.Processed
				soft.Dropped += m.Network.SoftnetAll.Dropped
				soft.Squeezed += m.Network.SoftnetAll.Squeezed
				seconds += m.Network.Seconds()
			}
		}
		if seconds < covered {
			return Finding{}, nil
		}
		if share := percent(uint64(soft.Dropped), uint64(soft.Processed)+uint64(soft.Dropped)); soft.Dropped > 0 && share >= lost && float64(soft.Dropped) >= seconds {
			f.Value, f.Threshold, f.N, f.Row, f.Line = share, lost, uint64(soft.Dropped), "all", "sar DEV"
			f.Title = fmt.Sprintf("the backlog of packets is full: %.0f dropped a second", float64(soft.Dropped)/seconds)
			f.Explains = []string{"net.drops"}
			f.Pane, f.Command = "network", "cat /proc/net/softnet_stat"
			return f, nil
		}
		if soft.Squeezed == 0 {
			return Finding{}, nil
		}
		late := w.processes().most(1, func(x *task) float64 {
			if !x.Kernel || !strings.HasPrefix(x.Comm.Bytes(), "ksoftirqd/") {
				return 0
			}
			return x.wait.Seconds()
		})
		if len(late) == 0 {
			return Finding{}, nil
		}
		share := percent(late[0].wait.Seconds(), w.processes().seconds)
		if share < waits {
			return Finding{}, nil
		}
		f.Value, f.Threshold, f.N, f.Row = share, waits, uint64(soft.Squeezed), "all"
		f.Title = fmt.Sprintf("%s waits for its CPU %.0f %% of the time with softirqs to do", collectors.Clean(late[0].Comm), share)
		f.Evidence = []string{fmt.Sprintf("the budget of softirqs ran out %.1f times a second", float64(soft.Squeezed)/seconds)}
		f.Culprits = w.rivals().culprits(len(c.single))
		return f, nil
	})
	return r
}

// oneLine: hardware interrupts fill one CPU while the others have few.
func oneLine(chosen Limits) Rule {
	r := Rule{ID: "cpu.interrupts", Says: "hardware interrupts take one CPU while the others have few; needs a kernel that accounts their time", Resource: "interrupts", Needs: []string{"mpstat"}}
	one := r.limit(chosen, Limit{"cpu", 80, "%", 1, 100, "of one CPU's time in hardware interrupts over 10 s"})
	mean := r.limit(chosen, Limit{"mean", 30, "%", 1, 100, "of all CPUs' time, above which the load is not one CPU's"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		cpu, share, ok := lone(c, one, mean, func(t collectors.Ticks) uint64 { return t.IRQ })
		if !ok {
			return Finding{}, nil
		}
		return Finding{
			ID: "cpu.interrupts", Severity: Warning, Resource: "cpu", Line: "mpstat", Value: share, Threshold: one, Unit: "%", Window: recentFor,
			Title:    fmt.Sprintf("interrupts take %.0f %% of cpu%d, %.0f %% of all", share, cpu, percent(c.all.IRQ, c.all.Total())),
			Culprits: []Culprit{{Kind: "cpu", Name: collectors.Clean(collectors.RawString(fmt.Sprintf("cpu%d", cpu))), Share: share / 100}},
			Pane:     "cpu", Row: fmt.Sprint(cpu), Command: "cat /proc/interrupts",
		}, nil
	})
	r.Blind = func(h *History) (string, string) {
		if !recently(h).cpu().noIRQ {
			return "", ""
		}
		return "the kernel does not account for their time: irq of /proc/stat has been 0 since boot", "hardirqs times them: interrupts of the CPU pane (t)"
	}
	return r
}

// lone finds a CPU that one kind of work fills while all CPUs together have little of it.
func lone(c *cpuSum, one, mean float64, of func(collectors.Ticks) uint64) (cpu int, share float64, ok bool) {
	if c.seconds < covered || percent(of(c.all), c.all.Total()) > mean {
		return 0, 0, false
	}
	for _, n := range slices.Sorted(maps.Keys(c.single)) {
		t := c.single[n]
		if s := percent(of(t), t.Total()); s >= one && s > share {
			cpu, share, ok = n, s, true
		}
	}
	return cpu, share, ok
}

// vectors are the softirqs that a CPU had most of.
func (r *recent) vectors(cpu int) []Culprit {
	counts, all := map[string]uint64{}, uint64(0)
	for _, m := range r.moments {
		if m.SoftIRQ == nil {
			continue
		}
		for _, row := range m.SoftIRQ.Rows {
			if row.Top == cpu {
				counts[row.Name.Bytes()] += row.TopN
				all += row.TopN
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	var out []Culprit
	for _, name := range names[:min(len(names), few)] {
		out = append(out, Culprit{Kind: "cpu", Name: collectors.Clean(collectors.RawString(name)), Share: percent(counts[name], all) / 100})
	}
	return out
}
