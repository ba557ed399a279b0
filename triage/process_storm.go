// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"bpf60/collectors"
)

// execs are what was started and what ended in the window.
func (r *recent) execs() (sum collectors.ExecCounts, seconds float64) {
	for _, m := range r.moments {
		if m.Exec != nil {
			sum.Plus(&m.Exec.ExecCounts)
			seconds += m.Exec.Seconds()
		}
	}
	return sum, seconds
}

// startedBy is short-lived processes of one name as culprit, with who starts them.
func startedBy(comm, parentComm collectors.Raw, parent collectors.Process, share float64) Culprit {
	return Culprit{
		Kind: "process", Name: collectors.Clean(collectors.RawString(fmt.Sprintf("%s by %s[%d]", comm.Bytes(), parentComm.Bytes(), parent.TGID))), Share: share,
		Target: collectors.Target{Kind: collectors.ProcessTarget, Process: parent},
	}
}

// taskNumbers is how many tasks the host has, and how many it may have; 0: not known.
func (r *recent) taskNumbers() (n, most uint64) {
	host := lastOf(r.moments, func(s *collectors.Snapshot) *collectors.Host { return s.Host })
	m := lastOf(r.moments, memoryOf)
	if host == nil || m == nil || m.Rare == nil || !m.Rare.PIDMax.Known || !m.Rare.ThreadsMax.Known {
		return 0, 0
	}
	return uint64(max(host.Threads, 0)), min(m.Rare.PIDMax.N, m.Rare.ThreadsMax.N)
}

// forking says that most of what begins does not run a program of its own.
func forking(sum *collectors.ExecCounts) bool { return sum.Forks > 2*sum.Execs }

// storm: processes too short-lived for any list take a part of the CPUs. Forks are those that run no
// program of their own, and threads.
func storm(chosen Limits, forks bool) Rule {
	r := Rule{
		ID: "proc.exec_storm", Says: "processes too short-lived for top take the CPUs; named with the process that starts them",
		Resource: "processes", Needs: []string{"exitsnoop", "execsnoop", "pidstat"},
	}
	if forks {
		r.ID, r.Says = "proc.fork_storm", "processes that run no program of their own, or threads, begin and end all the time; a warning if the dead took the CPUs from others"
	}
	share := r.limit(chosen, Limit{"share", 10, "%", 1, 100, "of the host's CPU time in 10 s taken by processes that began and ended between two looks"})
	rate := 0.0
	if forks {
		rate = r.limit(chosen, Limit{"rate", 1000, "a second", 1, 1e9, "processes and threads that begin, from which it is told"})
	}
	short := r.crowded(chosen)
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		sum, seconds := w.execs()
		cpus := len(w.cpu().single)
		part := percent(sum.UnseenCPU.Seconds(), seconds*float64(cpus))
		if !w.covers(execSpan) || cpus == 0 {
			return Finding{}, nil
		}
		if part < share || forking(&sum) != forks {
			if forks && float64(sum.Forks+sum.Threads-min(sum.Execs, sum.Forks)) >= rate*seconds {
				return w.forkers(&sum, seconds, rate), nil
			}
			return Finding{}, nil
		}
		return w.shortLived(r.ID, &sum, seconds, part, share, &short), nil
	})
	if forks {
		return r
	}
	r.Evidence = func(h *History) []string {
		sum, seconds := recently(h).execs()
		if seconds == 0 {
			return nil
		}
		return []string{fmt.Sprintf("%.0f execs/s", float64(sum.Execs)/seconds)}
	}
	return r
}

// shortLived tells who took the CPUs and is gone, and who waits for them.
func (r *recent) shortLived(id string, sum *collectors.ExecCounts, seconds, part, share float64, short *crowded) Finding {
	cpus := float64(len(r.cpu().single))
	dead := r.dead()
	slices.SortStableFunc(dead, func(a, b collectors.ShortLived) int { return cmp.Compare(b.UnseenCPU, a.UnseenCPU) })
	f := Finding{
		ID: id, Severity: Info, Resource: "cpu", Line: "top", Value: part, Threshold: share, Unit: "% of CPU", N: sum.Unseen, Window: recentFor,
		Title:    fmt.Sprintf("short-lived processes take %.0f %% of the CPUs: %.0f exits/s; nobody else waits", part, float64(sum.Exits)/seconds),
		Evidence: []string{fmt.Sprintf("%.0f execs/s, %.0f forks/s", float64(sum.Execs)/seconds, float64(sum.Forks)/seconds)},
		Explains: []string{"cpu.saturated", "cpu.runq_latency"}, Pane: "exec", Row: "short/", Command: "execsnoop; exitsnoop",
	}
	if sum.Unseen > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("they live %.1f ms", sum.UnseenAge.Seconds()*1e3/float64(sum.Unseen)))
	}
	group := int32(nobody)
	for _, d := range dead[:min(len(dead), few)] {
		if d.UnseenCPU == 0 {
			break
		}
		f.Culprits = append(f.Culprits, startedBy(d.Comm, d.ParentComm, d.Parent, percent(d.UnseenCPU.Seconds(), seconds*cpus)/100))
		if p := r.together().byPID[d.Parent.TGID]; p != nil && group == nobody {
			group = r.together().of(p)
		}
	}
	if group == nobody {
		return f // whose they are is not known, and so not who else would wait
	}
	if v := r.rivalsOf(group); short.by(v) {
		f.Severity, f.Victims = Warning, v.named()
		f.Title = fmt.Sprintf("short-lived processes take %.0f %% of the CPUs: %.0f exits/s", part, float64(sum.Exits)/seconds)
		f.Evidence = append(f.Evidence, fmt.Sprintf("others wait %.0f %% of their time", v.share()))
	}
	return f
}

// forkers tells who makes so many processes and threads, none of which takes much.
func (r *recent) forkers(sum *collectors.ExecCounts, seconds, rate float64) Finding {
	n := sum.Forks + sum.Threads
	f := Finding{
		ID: "proc.fork_storm", Severity: Info, Resource: "processes", Line: "top", Value: float64(n) / seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
		Title:    fmt.Sprintf("%.0f processes and %.0f threads a second begin", float64(sum.Forks)/seconds, float64(sum.Threads)/seconds),
		Evidence: []string{fmt.Sprintf("%.0f execs/s, %.0f exits/s", float64(sum.Execs)/seconds, float64(sum.Exits)/seconds)},
		Pane:     "exec", Row: "forks/", Command: "execsnoop; exitsnoop; perf trace -e clone*",
	}
	made, who := map[collectors.Process]uint64{}, map[collectors.Process]collectors.Raw{}
	for _, m := range r.moments {
		if m.Exec == nil {
			continue
		}
		for i := range m.Exec.Forkers {
			x := &m.Exec.Forkers[i]
			made[x.Process] += x.Forks + x.Threads
			who[x.Process] = x.Comm
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(made), func(a, b collectors.Process) int {
		return cmp.Or(cmp.Compare(made[b], made[a]), cmp.Compare(a.TGID, b.TGID))
	}) {
		if len(f.Culprits) < few {
			f.Culprits = append(f.Culprits, r.stranger(p, who[p], percent(min(made[p], n), n)/100))
		}
	}
	return f
}
