// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

// killed: the kernel killed a process for want of memory.
func killed(chosen Limits) Rule {
	r := Rule{
		ID: "mem.oom_kill", Says: "the kernel killed a process for want of memory: critical if the host's ran out, a warning if a cgroup was at its limit, info when it is over",
		Resource: "memory", Needs: []string{"oomkill"}, Hold: -1,
	}
	fresh := r.limit(chosen, Limit{"fresh", 60, "s", 10, 3600, "since the kill; older ones are info"})
	old := r.limit(chosen, Limit{"old", 24, "h", 0, 720, "since the kill, after which it is not told any more"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		within := func(age time.Duration) bool { return age <= time.Duration(old*float64(time.Hour)) }
		x := lastOf(h.Since(-1), func(s *collectors.Snapshot) *collectors.OOMKills {
			if s.Reclaim == nil {
				return nil
			}
			return s.Reclaim.Kills
		})
		if x == nil || len(x.List) == 0 {
			f := w.killedBefore(within, fresh)
			if f.ID == "" {
				f = w.killsCounted(fresh)
			}
			return f, nil
		}
		k := x.List[len(x.List)-1]
		age := w.now - k.At
		if !within(age) {
			return Finding{}, nil
		}
		n := 0
		for i := range x.List {
			if w.now-x.List[i].At <= time.Duration(fresh*float64(time.Second)) {
				n++
			}
		}
		f := Finding{
			ID: "mem.oom_kill", Resource: "memory", Line: "free", Value: age.Seconds(), Threshold: fresh, Unit: "s ago", N: uint64(n), Window: time.Duration(fresh * float64(time.Second)),
			Pane: "memory", Row: fmt.Sprintf("kill %d %d", k.Victim.TGID, k.Victim.Start), Command: "dmesg -T | grep -i 'killed process'", Since: k.At,
			Victims: []Culprit{{Kind: "process", Name: named(k.Comm, k.Victim.TGID), Target: collectors.Target{Kind: collectors.ProcessTarget, Process: k.Victim}}},
		}
		where, severity := "the host's memory ran out", Critical
		if k.For == collectors.OOMCgroup {
			c := w.cgroupNamed(cmp.Or(k.Limit, k.Memcg))
			where, severity = "cgroup "+c.Name.String()+" was at its limit"+w.limitOf(cmp.Or(k.Limit, k.Memcg)), Warning
			f.Culprits = []Culprit{c}
		} else {
			f.Culprits = w.growers(lastTotal(w))
		}
		if k.For == collectors.OOMUnknown {
			where, severity = "whose memory ran out is not known", Warning
		}
		f.Title = fmt.Sprintf("%s killed: %s", named(k.Comm, k.Victim.TGID), where)
		if f.Severity = severity; n == 0 {
			f.Severity = Info
			f.Title += ", " + ago(age)
		}
		if k.Known {
			f.Evidence = append(f.Evidence, "it held "+bytesText(k.RSS()))
		}
		f.Evidence = append(f.Evidence, fmt.Sprintf("asked for by %s", named(k.By, k.Trigger.TGID)))
		if n > 1 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%d kills in %g s", n, fresh))
		}
		return f, nil
	}
	r.Evidence = func(*History) []string { return []string{"no kills"} }
	return r
}

func lastTotal(r *recent) uint64 {
	if m := lastOf(r.moments, memoryOf); m != nil {
		n, _ := m.Info.Get(collectors.MemTotal)
		return n
	}
	return 0
}

// ago is an age in words.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s ago", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min ago", d.Minutes())
	}
	return fmt.Sprintf("%.0f h ago", d.Hours())
}

// newestTrouble is the newest record of the kernel's log about one of the troubles, and its age.
func (r *recent) newestTrouble(of func(collectors.Trouble) bool) (rec *collectors.LogRecord, age time.Duration, ok bool) {
	records, ageOf := r.kernelLog()
	for _, x := range slices.Backward(records) {
		if of(x.Trouble) && x.Since >= 0 {
			return x, ageOf(x), true
		}
	}
	return nil, 0, false
}

// kernelLog is the end of the kernel's log, oldest first, and how old a record that has a time is. Nothing
// where log or clock were not read.
func (r *recent) kernelLog() (records []*collectors.LogRecord, age func(*collectors.LogRecord) time.Duration) {
	log := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Log { return s.Log })
	var host Moment
	for _, m := range slices.Backward(r.h.Since(-1)) {
		if m.Host != nil {
			host = m
			break
		}
	}
	if log == nil || log.Tail == nil || host.Snapshot == nil {
		return nil, nil
	}
	now := host.Host.Uptime + r.now - host.At
	return log.Tail.Records, func(x *collectors.LogRecord) time.Duration { return max(now-x.Since, 0) }
}

// cgroupNamed is a cgroup as culprit, by its ID, by name if a process or a row tells it.
func (r *recent) cgroupNamed(id uint64) Culprit {
	c := Culprit{Kind: "cgroup", Name: collectors.Clean(collectors.RawString(fmt.Sprint(id))), Target: collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id}}
	for _, m := range slices.Backward(r.h.Since(-1)) {
		if m.Cgroups != nil {
			for i := range m.Cgroups.Rows {
				if x := m.Cgroups.Rows[i].CgroupInfo; x != nil && x.ID == id {
					return cgroupCulprit(x, 0)
				}
			}
		}
		if m.Tasks == nil {
			continue
		}
		for i := range m.Tasks.Rows {
			if x := m.Tasks.Rows[i].ProcInfo; x != nil && x.NamedCgroup() == id && len(x.CgroupPath.Bytes()) > 0 {
				c.Name, c.Target.Name = collectors.Clean(cmp.Or(x.CgroupName(), x.CgroupPath)), x.CgroupPath.Bytes()
				return c
			}
		}
	}
	return c
}

// limitOf is the memory limit of a cgroup in words, empty where it is not known.
func (r *recent) limitOf(id uint64) string {
	for _, m := range slices.Backward(r.h.Since(-1)) {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			if x := m.Cgroups.Rows[i].CgroupInfo; x != nil && x.ID == id && x.Tight.Max > 0 && x.Tight.Max != collectors.NoLimit {
				return " of " + bytesText(x.Tight.Max)
			}
		}
	}
	return ""
}

// slabs: caches of the kernel hold so much of memory that others go without.
func slabs(chosen Limits) Rule {
	r := Rule{
		ID: "mem.slab_growth", Says: "caches of the kernel hold much of the memory and do not give it back",
		Resource: "kernel memory", Needs: []string{"meminfo", "reclaim", "sar -v"},
	}
	fixed := r.limit(chosen, Limit{"fixed", 15, "%", 1, 100, "of memory in caches that cannot be reclaimed"})
	loose := r.limit(chosen, Limit{"reclaimable", 30, "%", 1, 100, "of memory in caches that can be, while memory is being reclaimed or most names are of files that do not exist"})
	negative := r.limit(chosen, Limit{"negative", 50, "%", 1, 100, "of the names in the cache of names that are of files that do not exist"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		m := lastOf(w.moments, memoryOf)
		if m == nil {
			return Finding{}, nil
		}
		total, _ := m.Info.Get(collectors.MemTotal)
		un, _ := m.Info.Get(collectors.MemSUnreclaim)
		re, _ := m.Info.Get(collectors.MemSReclaimable)
		f := Finding{ID: "mem.slab_growth", Severity: Warning, Resource: "kernel memory", Line: "free", Unit: "%", Pane: "memory", Command: "slabtop -sc"}
		x := w.reclaim()
		ghosts := m.Tables.Negative.Known && m.Tables.Dentries.Known && percent(m.Tables.Negative.N, m.Tables.Dentries.N) > negative
		switch {
		case total == 0:
			return Finding{}, nil
		case percent(un, total) > fixed:
			f.Value, f.Threshold = percent(un, total), fixed
			f.Title = fmt.Sprintf("caches of the kernel that cannot be reclaimed hold %s, %.0f %% of memory", bytesText(un), f.Value)
		case percent(re, total) > loose && (x.background > 0 || x.direct > 0 || ghosts):
			f.Value, f.Threshold = percent(re, total), loose
			f.Title = fmt.Sprintf("caches of the kernel hold %s, %.0f %% of memory, while it is being reclaimed", bytesText(re), f.Value)
			if ghosts {
				f.Title = fmt.Sprintf("caches of the kernel hold %s, %.0f %% of memory; %d names are of files that do not exist", bytesText(re), f.Value, m.Tables.Negative.N)
			}
		default:
			return Finding{}, nil
		}
		if s := lastOf(w.h.Since(w.now-sleepsFor), func(s *collectors.Snapshot) *collectors.Slab { return s.Slab }); s != nil {
			big := slices.SortedFunc(slices.Values(s.Caches), func(a, b collectors.SlabCache) int {
				return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Name.Bytes(), b.Name.Bytes()))
			})
			for _, c := range big[:min(len(big), few)] {
				f.Culprits = append(f.Culprits, Culprit{Kind: "slab", Name: collectors.Clean(c.Name), Share: percent(c.Bytes, total) / 100, Target: collectors.Target{Kind: collectors.NamedTarget, Name: c.Name.Bytes()}})
			}
			if len(f.Culprits) > 0 {
				f.Row = f.Culprits[0].Name.String()
				if who, ok := w.allocates(big[0].Name); ok {
					f.Culprits = slices.Insert(f.Culprits, 1, who)
				}
			}
		}
		return f, []collectors.Want{{ID: collectors.SlabID}, {ID: collectors.KmemID}}
	})
	return r
}

// allocates is who took most of a cache of late, while somebody looked: rules get that for ten seconds of a
// minute.
func (r *recent) allocates(cache collectors.Raw) (Culprit, bool) {
	var all uint64
	by, names := map[collectors.Process]uint64{}, map[collectors.Process]collectors.Raw{}
	for _, m := range r.h.Since(r.now - sleepsFor) {
		if m.Kmem == nil || m.Kmem.Partial {
			continue
		}
		if c := m.Kmem.Find(cache); c != nil {
			all += c.Allocs
			for i := range c.Who {
				by[c.Who[i].Process] += c.Who[i].Allocs
				names[c.Who[i].Process] = c.Who[i].Comm
			}
		}
	}
	var most collectors.Process
	for p, n := range by {
		if n > by[most] || n == by[most] && p.TGID < most.TGID {
			most = p
		}
	}
	if by[most] == 0 {
		return Culprit{}, false
	}
	return r.stranger(most, names[most], percent(min(by[most], all), all)/100), true
}
