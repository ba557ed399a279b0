// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// mostSingles is how many processes or cgroups are counted apart at a time.
const mostSingles = 4

// single is a process or cgroup whose waits are counted apart.
type single struct {
	target collectors.Target
	name   string
}

// summed is what one process or cgroup waited and ran.
type summed struct {
	single
	waited, ran time.Duration
}

// singles are the processes or cgroups that waited most in the last samples. They are chosen once, when
// the split is: what is counted apart must not change with each second.
func singles(f Frame, by split) []single {
	if by != byProcess && by != byCgroup {
		return nil
	}
	var out []single
	for _, x := range summedBy(f, by) {
		if len(out) == mostSingles || x.waited == 0 {
			break
		}
		out = append(out, x.single)
	}
	return out
}

// recentSamples is how many samples of tasks the choice looks at.
const recentSamples = 10

// summedBy sums what processes waited, or those of each cgroup, the most first.
func summedBy(f Frame, by split) []summed {
	sums := make(map[collectors.Target]*summed)
	seen := 0
	for i := len(f.Past) - 1; i >= 0 && seen < recentSamples; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		seen++
		for k := range s.Tasks.Rows {
			r := &s.Tasks.Rows[k]
			if r.ProcInfo == nil || r.Wait == 0 && r.Run == 0 {
				continue
			}
			one, ok := singleOf(r.ProcInfo, by)
			if !ok {
				continue
			}
			x := sums[one.target]
			if x == nil {
				x = &summed{single: one}
				sums[one.target] = x
			}
			x.waited += r.Wait
			x.ran += r.Run
		}
	}
	out := make([]summed, 0, len(sums))
	for _, x := range sums {
		out = append(out, *x)
	}
	sortBy(out, func(a, b summed) int {
		return cmp.Or(cmp.Compare(b.waited, a.waited), cmp.Compare(a.name, b.name))
	})
	return out
}

func singleOf(p *collectors.ProcInfo, by split) (single, bool) {
	if by == byProcess {
		return single{
			collectors.Target{Kind: collectors.ProcessTarget, Process: p.Process},
			fmt.Sprintf("%s[%d]", widget.Clip(clean(p.Comm), 8), p.PID),
		}, true
	}
	name := cmp.Or(clean(p.CgroupName()), clean(p.CgroupPath), fmt.Sprintf("cgroup %d", p.Cgroup))
	if p.Cgroup == 1 { // of every hierarchy the root's
		name = "/"
	}
	return single{collectors.Target{Kind: collectors.CgroupTarget, Cgroup: p.Cgroup}, name}, p.Cgroup != 0
}

// cgroupCauses says which cgroups waited and which ran.
func cgroupCauses(f Frame, n int) (waits, runs string) {
	list := summedBy(f, byCgroup)
	var waited, ran time.Duration
	for _, x := range list {
		waited, ran = waited+x.waited, ran+x.ran
	}
	for i, x := range list {
		if v, ok := share(x.waited, waited); ok && i < n {
			waits += fmt.Sprintf("  %s %.0f %%", widget.Clip(x.name, 14), 100*v)
		}
	}
	sortStably(list, func(a, b summed) int { return cmp.Compare(b.ran, a.ran) })
	for i, x := range list {
		if v, ok := share(x.ran, ran); ok && i < n {
			runs += fmt.Sprintf("  %s %.0f %%", widget.Clip(x.name, 14), 100*v)
		}
	}
	return strings.TrimSpace(waits), strings.TrimSpace(runs)
}

// singleWants are what the split needs.
func singleWants(list []single) []collectors.Want {
	var out []collectors.Want
	for _, x := range list {
		out = append(out, latencyWant(x.target))
	}
	return out
}

// noSingles says why there is nothing to draw; nil when there is.
func (p *CPU) noSingles(f Frame) func(Canvas) []string {
	if len(p.single) == 0 {
		return func(c Canvas) []string {
			return wrap(c, "", "- nobody waited for a CPU when the split was chosen, or no task list says who; press i to choose again")
		}
	}
	for _, x := range p.single {
		if t, _ := latencyOf(f, x.target); t != nil {
			return nil
		}
	}
	return func(c Canvas) []string {
		return missingPart(f, c, collectors.LatencyID, "runqlat-pid", "the split "+p.split.String())
	}
}

// singleSeries are the waits of each.
func (p *CPU) singleSeries(f Frame) []widget.Series {
	var out []widget.Series
	for _, x := range p.single {
		s := widget.Series{Title: x.name}
		if t, _ := latencyOf(f, x.target); t != nil {
			s.Hist = &t.Sample.Wait
		}
		out = append(out, s)
	}
	return out
}

// singlePlots are the waits of each over time, at most n samples.
func (p *CPU) singlePlots(f Frame, n int) []plot {
	var out []plot
	for _, x := range p.single {
		get := func(l *collectors.Latency) *collectors.Hist {
			if t, _ := narrowedIn(l, x.target); t != nil {
				return &t.Sample.Wait
			}
			return nil
		}
		out = append(out, plot{x.name, columns(f, n, func(s *collectors.Snapshot) *collectors.Latency { return s.Latency },
			func(l *collectors.Latency) collectors.Span { return l.Span }, get)})
	}
	return out
}
