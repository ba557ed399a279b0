// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"bpf60/collectors"
)

const (
	// clockedFor is how old a reading of a CPU's frequency may be: rules get theirs for ten seconds of a
	// minute. clockedLeast is how many readings there must be.
	clockedFor   = 70 * time.Second
	clockedLeast = 5
)

// clocked is what was read of a CPU while it was busy.
type clocked struct {
	n       int
	fastest uint64 // kHz
	last    collectors.CPUClock
	seconds float64
	hot     time.Duration
	times   uint64
}

// part is the highest frequency that it was seen to run at, in percent of what it can.
func (c *clocked) part() float64 { return percent(c.fastest, c.last.Max) }

// clocks are the readings of the CPUs' frequencies, each while the CPU was busy; of the other CPUs they tell
// only that they idle.
func (r *recent) clocks(busy float64) map[int]*clocked {
	out := map[int]*clocked{}
	for _, m := range r.h.Since(r.now - clockedFor) {
		if m.CPUClocks == nil || m.CPU == nil {
			continue
		}
		for i := range m.CPUClocks.Narrowed {
			x := &m.CPUClocks.Narrowed[i]
			cpu := int(x.Target.CPU)
			at := slices.IndexFunc(m.CPU.CPUs, func(c collectors.CPUTime) bool { return c.CPU == cpu })
			if at < 0 || used(m.CPU.CPUs[at].Ticks) < busy || x.Sample.Now == 0 || x.Sample.Max == 0 {
				continue
			}
			c := out[cpu]
			if c == nil {
				c = &clocked{}
				out[cpu] = c
			}
			c.n++
			c.fastest, c.last = max(c.fastest, x.Sample.Now), x.Sample
			c.seconds += m.CPUClocks.Seconds()
			c.hot += x.Sample.Hot
			c.times += x.Sample.HotTimes
		}
	}
	return out
}

// used is the share of a CPU's time in which it was not idle, in percent.
func used(t collectors.Ticks) float64 { return 100 - percent(t.Idle+t.IOWait, max(t.Total(), 1)) }

// noClocks is why frequencies cannot be told here; empty if they can, or nobody has asked.
func (r *recent) noClocks() string {
	x := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.CPUClocks { return s.CPUClocks })
	if x == nil || len(x.Narrowed) == 0 {
		return ""
	}
	return x.Narrowed[0].Sample.Why
}

// capped: a CPU that has much to do runs at a fraction of the frequency that it can have.
func capped(chosen Limits) Rule {
	r := Rule{
		ID: "cpu.capped", Says: "a busy CPU runs at a fraction of the frequency it can have: a limit or its governor holds it back, or it is too hot",
		Resource: "CPU frequency", Needs: []string{"mpstat"},
	}
	busy := r.limit(chosen, Limit{"busy", 80, "%", 1, 100, "of a CPU's time, from which its frequency is looked at"})
	share := r.limit(chosen, Limit{"share", 50, "%", 1, 100, "of the highest frequency, which a busy CPU did not reach at any of five readings or more"})
	hot := r.limit(chosen, Limit{"hot", 10, "%", 0.1, 100, "of the time of those readings in which it ran slower because it was too hot"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		if c.seconds < covered || w.noClocks() != "" {
			return Finding{}, nil
		}
		cpus := slices.SortedFunc(maps.Keys(c.single), func(a, b int) int {
			return cmp.Or(cmp.Compare(used(c.single[b]), used(c.single[a])), cmp.Compare(a, b))
		})
		cpus = cpus[:min(len(cpus), few)]
		cpus = slices.DeleteFunc(cpus, func(cpu int) bool { return used(c.single[cpu]) < busy })
		var wants []collectors.Want
		for _, cpu := range cpus {
			wants = append(wants, collectors.Want{ID: collectors.CPUClocksID, Target: collectors.Target{Kind: collectors.CPUTarget, CPU: int32(cpu)}})
		}
		all := w.clocks(busy)
		for _, cpu := range cpus {
			x := all[cpu]
			if x == nil || x.n < clockedLeast {
				continue
			}
			warm := percent(x.hot.Seconds(), x.seconds)
			f := Finding{
				ID: "cpu.capped", Severity: Warning, Resource: "cpu", Line: "mpstat", N: uint64(x.n), Window: recentFor,
				Title:    fmt.Sprintf("cpu%d runs at %s of %s while it is busy", cpu, gigahertz(x.fastest), gigahertz(x.last.Max)),
				Evidence: []string{fmt.Sprintf("limit %s, governor %s", gigahertz(x.last.Limit), cmp.Or(collectors.Clean(x.last.Governor).String(), "unknown"))},
				Culprits: []Culprit{{Kind: "cpu", Name: collectors.Clean(collectors.RawString(fmt.Sprintf("cpu%d", cpu))), Share: used(c.single[cpu]) / 100}},
				Explains: []string{"cpu.saturated", "cpu.runq_latency"}, Pane: "cpu", Row: fmt.Sprint(cpu),
				Command: fmt.Sprintf("cd /sys/devices/system/cpu/cpu%d; grep . cpufreq/scaling_*_freq cpufreq/cpuinfo_max_freq thermal_throttle/*", cpu),
			}
			if x.times > 0 || x.hot > 0 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("too hot %.0f %% of the time, %d times", warm, x.times))
			}
			switch {
			case x.part() <= share:
				f.Value, f.Threshold, f.Unit = x.part(), share, "%"
			case warm >= hot:
				f.Value, f.Threshold, f.Unit = warm, hot, "%"
				f.Title = fmt.Sprintf("cpu%d is too hot and runs slower %.0f %% of the time", cpu, warm)
			default:
				continue
			}
			return f, wants
		}
		return Finding{}, wants
	})
	r.Blind = func(h *History) (string, string) {
		w := recently(h)
		if why := w.noClocks(); why != "" {
			return why, ""
		}
		if len(w.clocks(busy)) == 0 {
			return "no CPU was busy enough to tell", ""
		}
		return "", ""
	}
	r.Evidence = func(h *History) []string {
		all := recently(h).clocks(busy)
		for _, cpu := range slices.Sorted(maps.Keys(all)) {
			return []string{fmt.Sprintf("cpu%d ran at up to %s of %s", cpu, gigahertz(all[cpu].fastest), gigahertz(all[cpu].last.Max))}
		}
		return nil
	}
	return r
}

// gigahertz is a frequency in kHz as people say it.
func gigahertz(khz uint64) string { return fmt.Sprintf("%.1f GHz", float64(khz)/1e6) }
