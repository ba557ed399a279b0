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

// processRules are the rules about processes.
func processRules(chosen Limits) []Rule {
	return []Rule{storm(chosen, false), storm(chosen, true), blocked(chosen), journaling(chosen), fullPids(chosen), crashing(chosen), unreaped(chosen), waiting(chosen)}
}

// blocked: threads of programs stand in one and the same uninterruptible sleep.
func blocked(chosen Limits) Rule {
	r := Rule{ID: "proc.blocked", Says: "threads stand still in one and the same uninterruptible sleep", Resource: "stalls", Needs: []string{"stalls"}, Fallback: true}
	least := r.limit(chosen, Limit{"seconds", 10, "s", 1, 3600, "the least that the same sleep has lasted; children in vfork and threads of the kernel are left out"})
	critical := r.limit(chosen, Limit{"critical", 120, "s", 1, 86400, "the same, from which it is critical: what the kernel calls a hung task"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		s := lastOf(w.moments, func(s *collectors.Snapshot) *collectors.Stalls { return s.Stalls })
		if s == nil {
			return Finding{}, nil
		}
		type place struct {
			class, function, device string
		}
		groups := map[place][]*collectors.Stall{}
		for i := range s.Rows {
			x := &s.Rows[i]
			if x.Kernel || x.Seen.Seconds() < least || w.own(x.Task, x.Comm) { // ours asks what does not answer, to tell of it
				continue
			}
			p := place{device: x.Device.Name.Bytes()}
			if x.Stack != nil {
				p.class, p.function = x.Class, x.Function
			}
			if p.class == collectors.WaitVfork {
				continue
			}
			groups[p] = append(groups[p], x)
		}
		places := slices.SortedFunc(maps.Keys(groups), func(a, b place) int {
			return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a.function, b.function), cmp.Compare(a.device, b.device))
		})
		if len(places) == 0 {
			return Finding{}, nil
		}
		worst := places[0]
		list := groups[worst]
		slices.SortStableFunc(list, func(a, b *collectors.Stall) int { return cmp.Compare(b.Seen, a.Seen) })
		on := ""
		if worst.device != "" {
			on = " on " + collectors.Clean(collectors.RawString(worst.device)).String()
		}
		f := Finding{
			ID: "proc.blocked", Severity: Warning, Resource: cmp.Or(worst.class, "stalls"), Line: "stalls", Value: list[0].Seen.Seconds(), Threshold: least, Unit: "s", N: uint64(len(list)),
			Title:    fmt.Sprintf("%d thread%s stuck in %s%s for %.0f s", len(list), plural(len(list)), cmp.Or(worst.function, "the kernel"), on, list[0].Seen.Seconds()),
			Evidence: []string{fmt.Sprintf("%d threads in D in all", s.Tasks)}, Pane: "stalls", Command: "ps -eo state,pid,wchan:30,comm | grep ^D",
			Row: strings.TrimRight(worst.class+" "+worst.function+" "+worst.device, " "),
		}
		if worst.class == collectors.WaitNetworkFS {
			f.Explains = w.inLog(collectors.TroubleNFS, collectors.TroubleHung)
		}
		if worst.device != "" {
			f.Culprits = []Culprit{{Kind: "disk", Name: collectors.Clean(collectors.RawString(worst.device))}}
		}
		for _, x := range list[:min(len(list), few)] {
			f.Victims = append(f.Victims, w.stranger(x.Task, x.Comm, 0))
		}
		if list[0].Seen.Seconds() >= critical {
			f.Severity = Critical
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		s := lastOf(recently(h).moments, func(s *collectors.Snapshot) *collectors.Stalls { return s.Stalls })
		if s == nil {
			return nil
		}
		return []string{fmt.Sprintf("%d threads in D, none for long", s.Tasks)}
	}
	return r
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// fullPids: a cgroup has nearly as many tasks as it may have.
func fullPids(chosen Limits) Rule {
	r := Rule{ID: "proc.limit", Says: "a cgroup, or the host, has nearly as many tasks as it may have, or is refused more", Resource: "task limits", Needs: []string{"cgroup pids"}, Fallback: true}
	share := r.limit(chosen, Limit{"share", 80, "%", 1, 100, "of pids.max, or of what kernel.pid_max and threads-max allow, in use"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		newest, denied := map[string]*collectors.CgroupRow{}, map[string]uint64{}
		for _, m := range w.moments {
			if m.Cgroups == nil {
				continue
			}
			for i := range m.Cgroups.Rows {
				if c := &m.Cgroups.Rows[i]; c.CgroupInfo != nil && c.Has&collectors.HasPids != 0 && c.Own.Pids > 0 && c.Own.Pids != collectors.NoLimit {
					newest[c.Path.Bytes()] = c
					denied[c.Path.Bytes()] += c.PidsDenied
				}
			}
		}
		var worst *collectors.CgroupRow
		used, refused := 0.0, uint64(0)
		for _, path := range slices.Sorted(maps.Keys(newest)) {
			c := newest[path]
			if n := percent(c.Pids, c.Own.Pids); (n >= share || denied[path] > 0) && (worst == nil || n > used) {
				worst, used, refused = c, n, denied[path]
			}
		}
		if n, most := w.taskNumbers(); worst == nil && most > 0 && percent(n, most) >= share {
			return Finding{
				ID: "proc.limit", Severity: Critical, Resource: "host", Line: "top", Value: percent(n, most), Threshold: share, Unit: "%", N: n,
				Title: fmt.Sprintf("the host has %d of %d tasks", n, most), Pane: "processes", Command: "sysctl kernel.pid_max kernel.threads-max",
			}, nil
		}
		if worst == nil {
			return Finding{}, nil
		}
		name := collectors.Clean(cmp.Or(worst.Name, worst.Path)).String()
		f := Finding{
			ID: "proc.limit", Severity: Warning, Resource: name, Line: "cgroup", Value: used, Threshold: share, Unit: "%", Window: recentFor, N: refused,
			Title:    fmt.Sprintf("%s has %d of %d tasks", name, worst.Pids, worst.Own.Pids),
			Culprits: []Culprit{cgroupCulprit(worst.CgroupInfo, used/100)}, Pane: "cgroups", Row: worst.Path.Bytes(),
			Command: "cat /sys/fs/cgroup" + collectors.Clean(worst.Path).String() + "/pids.current",
		}
		if refused > 0 {
			f.Severity = Critical
			f.Evidence = []string{fmt.Sprintf("%d forks refused", refused)}
		}
		return f, nil
	})
	return r
}

// crashFor is the window of crashes.
const crashFor = 60 * time.Second

// crashing: one parent starts the same command again and again, and it dies of a fault.
func crashing(chosen Limits) Rule {
	r := Rule{
		ID: "proc.crash_loop", Says: "a command that one parent starts dies of a fault again and again, or fails at once where a service manager starts it",
		Resource: "processes", Needs: []string{"exitsnoop"},
	}
	least := r.limit(chosen, Limit{"exits", 3, "exits", 2, 1000, "in 60 s of one command and parent, by a signal of a fault or, below init and container runtimes, with a code that is not 0; a runtime that starts anew with each container is one parent"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		loops := map[loop]*count{}
		where := w.parentCgroups()
		for _, m := range h.Since(w.now - crashFor) {
			if m.Exec == nil {
				continue
			}
			for _, x := range m.Exec.Exits {
				fault := faulty(x.Signal) || x.Code > 128 && faulty(x.Code-128)
				perContainer := startsOne(x.ParentComm.Bytes())
				if failed := (x.Parent.TGID == 1 || perContainer) && x.Code != 0 && x.Signal == 0; !fault && !failed {
					continue
				}
				k := loop{comm: x.Comm.Bytes(), parent: fmt.Sprint(x.Parent)}
				if perContainer {
					k.parent, k.cgroup = x.ParentComm.Bytes(), where(x.Cgroup)
				}
				if loops[k] == nil {
					loops[k] = &count{}
				}
				loops[k].n++
				loops[k].last = x
			}
		}
		for k, c := range loops { // a container that was gone before its cgroup was read may be of any
			if some := loops[loop{comm: k.comm, parent: k.parent}]; k.cgroup != "" && some != nil {
				c.n += some.n
			}
		}
		keys := slices.SortedFunc(maps.Keys(loops), func(a, b loop) int {
			return cmp.Or(cmp.Compare(loops[b].n, loops[a].n), cmp.Compare(a.comm, b.comm), cmp.Compare(a.parent, b.parent), cmp.Compare(b.cgroup, a.cgroup))
		})
		if len(keys) == 0 || float64(loops[keys[0]].n) < least {
			return Finding{}, nil
		}
		c := loops[keys[0]]
		how := fmt.Sprintf("code %d", c.last.Code)
		if c.last.Signal != 0 {
			how = fmt.Sprintf("signal %d", c.last.Signal)
		}
		name := collectors.Clean(c.last.Comm)
		return Finding{
			ID: "proc.crash_loop", Severity: Warning, Resource: name.String(), Line: "top", Value: float64(c.n), Threshold: least, Unit: "exits", N: uint64(c.n), Window: crashFor,
			Title:    fmt.Sprintf("%s fails again and again: %d times in 60 s, last with %s after %.1f s", name, c.n, how, c.last.Age.Seconds()),
			Culprits: []Culprit{startedBy(c.last.Comm, c.last.ParentComm, c.last.Parent, 0)},
			Pane:     "exec", Row: "exits/", Command: "exitsnoop",
		}, nil
	}
	return r
}

// loop is what starts again and again. A parent is a process, or the name of what each container has one of.
type loop struct{ comm, parent, cgroup string }

// count are its exits.
type count struct {
	n    int
	last collectors.ExitRow
}

// startsOne says that a parent of that name is there for one container, and is another at its next start.
func startsOne(comm string) bool {
	return strings.HasPrefix(comm, "containerd-shim") || strings.HasPrefix(comm, "conmon")
}

// parentCgroups returns a lookup of the cgroup above one that was there within the window of crashes, by ID:
// a container's may be another at each start, that of its pod is not. Empty: not known.
func (r *recent) parentCgroups() func(id uint64) string {
	var paths map[uint64]string
	return func(id uint64) string {
		if paths == nil {
			paths = map[uint64]string{}
			for _, m := range r.h.Since(r.now - crashFor) {
				if m.Cgroups != nil {
					for i := range m.Cgroups.Rows {
						if x := m.Cgroups.Rows[i].CgroupInfo; x != nil {
							paths[x.ID] = x.Path.Bytes()
						}
					}
				}
				if m.Tasks != nil {
					for i := range m.Tasks.Rows {
						if x := m.Tasks.Rows[i].ProcInfo; x != nil && x.NamedCgroup() != 0 {
							paths[x.NamedCgroup()] = x.CgroupPath.Bytes()
						}
					}
				}
			}
		}
		path := paths[id]
		return path[:max(strings.LastIndexByte(path, '/'), 0)]
	}
}

// faulty says that a signal means a bug or a fault: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV,
// SIGSYS (signal(7)).
func faulty(signal uint8) bool {
	switch signal {
	case 4, 5, 6, 7, 8, 11, 31:
		return true
	}
	return false
}

// unreaped: children that ended and that their parent does not wait for.
func unreaped(chosen Limits) Rule {
	r := Rule{ID: "proc.zombies", Says: "a parent does not wait for its children that ended; a warning if they become ever more", Resource: "processes", Needs: []string{"pidstat"}, Fallback: true}
	some := r.limit(chosen, Limit{"zombies", 100, "processes", 1, 1e6, "that ended and that nobody has waited for"})
	many := r.limit(chosen, Limit{"parent", 200, "processes", 1, 1e6, "of them of one parent, growing over a minute: a warning"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		t := lastOf(w.moments, func(s *collectors.Snapshot) *collectors.Tasks { return s.Tasks })
		if t == nil || float64(t.Zombies) < some {
			return Finding{}, nil
		}
		f := Finding{
			ID: "proc.zombies", Severity: Info, Resource: "processes", Line: "top", Value: float64(t.Zombies), Threshold: some, Unit: "processes", N: uint64(t.Zombies),
			Title: fmt.Sprintf("%d processes ended and nobody waits for them", t.Zombies), Pane: "processes", Command: "ps -eo state,ppid,pid,comm | grep ^Z",
		}
		var keys []*collectors.Tasks
		for _, m := range slices.Backward(h.Since(-1)) {
			if m.Tasks != nil && m.Tasks.Key != nil && len(keys) < 2 {
				keys = append(keys, m.Tasks)
			}
		}
		if len(keys) == 0 {
			return f, nil
		}
		count := func(t *collectors.Tasks) map[int32]int {
			out := map[int32]int{}
			for i := range t.Key {
				if t.Key[i].ProcInfo != nil && t.Key[i].State == 'Z' {
					out[t.Key[i].PPID]++
				}
			}
			return out
		}
		now, parent := count(keys[0]), int32(0)
		for pid, n := range now {
			if n > now[parent] || n == now[parent] && pid < parent {
				parent = pid
			}
		}
		if now[parent] == 0 {
			return f, nil
		}
		if p := w.together().byPID[parent]; p != nil {
			f.Culprits = []Culprit{process(p, float64(now[parent])/float64(t.Zombies))}
			f.Row = firstProcess(f.Culprits)
		}
		if len(keys) == 2 && float64(now[parent]) >= many && now[parent] > count(keys[1])[parent] {
			f.Severity = Warning
			f.Evidence = []string{fmt.Sprintf("%d of them of one parent, %d a minute ago", now[parent], count(keys[1])[parent])}
		}
		return f, nil
	}
	return r
}
