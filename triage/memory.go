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

// memoryRules are the rules about memory.
func memoryRules(chosen Limits) []Rule {
	return []Rule{pressed(chosen), killed(chosen), swapping(chosen), thrashing(chosen), slabs(chosen), grows(chosen), compacting(chosen), oneNode(chosen)}
}

func memoryOf(s *collectors.Snapshot) *collectors.Memory { return s.Memory }

// reclaimed is what was done to find memory in the window.
type reclaimed struct {
	traced        bool          // by BPF; else direct is the kernel's count and memcg is not known
	direct, memcg uint64        // stalls of tasks
	waited        time.Duration // in them
	pages         uint64
	background    uint64 // pages that kswapd looked at
	refaults      uint64 // pages of files that came back
	waiters       []collectors.MemoryWaiter
}

func (r *recent) reclaim() reclaimed {
	var x reclaimed
	at := map[collectors.Process]int{}
	for _, m := range r.moments {
		if m.Memory != nil {
			n, _ := m.Memory.VM.Get(collectors.VMScanKswapd)
			x.background += n
			n, _ = m.Memory.VM.Get(collectors.VMRefaultFile)
			x.refaults += n
		}
		if m.Reclaim == nil {
			continue
		}
		x.traced = x.traced || m.Reclaim.Reclaims
		if c := m.Reclaim.Now; c != nil {
			x.direct += c.Direct.Count()
			x.memcg += c.Memcg.Count()
			x.waited += time.Duration(c.Direct.Sum + c.Memcg.Sum)
			x.pages += c.PagesDirect + c.PagesMemcg
		}
		for i := range m.Reclaim.Rows {
			w := m.Reclaim.Rows[i]
			k, ok := at[w.Process]
			if !ok {
				at[w.Process] = len(x.waiters)
				x.waiters = append(x.waiters, w)
				continue
			}
			for kind := range w.For {
				x.waiters[k].For[kind] += w.For[kind]
			}
		}
	}
	for _, m := range r.moments {
		if m.Memory != nil && !x.traced { // the kernel's own count is of the host's shortage alone
			n, _ := m.Memory.VM.Get(collectors.VMAllocStall)
			x.direct += n
		}
	}
	slices.SortStableFunc(x.waiters, func(a, b collectors.MemoryWaiter) int { return cmp.Compare(b.Waited(), a.Waited()) })
	return x
}

// victims are who waited for memory, the longest first, with the part of the window they did.
func (x *reclaimed) victims(r *recent) []Culprit {
	var out []Culprit
	for i := range x.waiters[:min(len(x.waiters), few)] {
		w := &x.waiters[i]
		out = append(out, r.stranger(w.Process, w.Comm, min(w.Waited().Seconds()/recentFor.Seconds(), 1)))
	}
	return out
}

// growers are the processes that grew most in the window and, where none did, those that hold most
// of those that moved. A share is of the host's memory.
func (r *recent) growers(total uint64) []Culprit {
	page := r.page()
	share := func(x *task) float64 { return percent(uint64(x.rss)*page, total) / 100 }
	list := r.processes().most(few, func(x *task) float64 { return float64(x.rss) - float64(x.before) - growthLeast/float64(page) })
	if len(list) == 0 {
		list = r.processes().most(few, func(x *task) float64 { return float64(x.rss) })
	}
	var out []Culprit
	for _, x := range list {
		out = append(out, process(x.ProcInfo, share(x)))
	}
	return out
}

// growthLeast is what a process must grow by in the window to count as one that grows, in bytes.
const growthLeast = 1 << 20

// pod is one cgroup's stall for memory over the window, in percent of its time.
type pod struct {
	*collectors.CgroupInfo
	seconds    float64 // that its pressure was read for; 0 on v1, which has none
	some, full float64
	hit        uint64 // times it was at a limit
	memory     uint64
}

// pods are the cgroups whose pressure or limit events were read, those that all stall most first, the
// innermost of equals first.
func (r *recent) pods() []*pod {
	by := map[string]*pod{}
	var out []*pod
	for _, m := range r.moments {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			c := &m.Cgroups.Rows[i]
			stalls := c.PSI != nil && c.Has&collectors.HasPSI != 0
			if c.CgroupInfo == nil || c.Depth == 0 || !stalls && c.Has&collectors.HasEvents == 0 {
				continue
			}
			p := by[c.Path.Bytes()]
			if p == nil {
				p = &pod{}
				by[c.Path.Bytes()] = p
				out = append(out, p)
			}
			p.CgroupInfo = c.CgroupInfo
			if stalls {
				p.seconds += c.Seconds()
				p.some += c.PSI.Memory.Some.Seconds()
				p.full += c.PSI.Memory.Full.Seconds()
			}
			p.hit += c.Events.High + c.Events.Max
			if c.Has&collectors.HasMemory != 0 {
				p.memory = c.Memory
			}
		}
	}
	for _, p := range out {
		p.some, p.full = percent(p.some, p.seconds), percent(p.full, p.seconds)
	}
	slices.SortFunc(out, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(b.full, a.full), cmp.Compare(b.Depth, a.Depth), cmp.Compare(a.Path.Bytes(), b.Path.Bytes()))
	})
	return out
}

// atLimit is the cgroup whose limit tasks wait at, where that is what they wait for rather than the host's
// memory. The pressure of cgroups need not be known: v1 has none, and counts how often each was at its limit.
func (r *recent) atLimit(pods []*pod, x *reclaimed) (who Culprit, of *pod, ok bool) {
	hits := uint64(0)
	for _, p := range pods { // of equals the innermost: v2 counts its events for those above it too
		if hits += p.hit; p.hit > 0 && (of == nil || p.hit > of.hit || p.hit == of.hit && p.Depth > of.Depth) {
			of = p
		}
	}
	own := hits
	if x.traced && x.memcg+x.direct > 0 {
		own = x.memcg
	}
	switch {
	case own <= x.direct:
		return Culprit{}, nil, false
	case of != nil:
		return cgroupCulprit(of.CgroupInfo, 0), of, true
	}
	waited := map[uint64]time.Duration{}
	most := uint64(0)
	for i := range x.waiters {
		id := x.waiters[i].Memcg
		if waited[id] += x.waiters[i].For[collectors.MemcgStall]; id != 0 && (waited[id] > waited[most] || waited[id] == waited[most] && id < most) {
			most = id
		}
	}
	if waited[most] == 0 || most == 0 {
		return Culprit{}, nil, false
	}
	return r.cgroupNamed(most), nil, true
}

// pressed: tasks stand still for want of memory, of the host or of a cgroup at its limit.
func pressed(chosen Limits) Rule {
	r := Rule{
		ID: "mem.pressure", Says: "tasks stand still for want of memory, of the host's or of a cgroup's",
		Resource: "memory", Needs: []string{"psi", "meminfo", "reclaim"},
	}
	full := r.limit(chosen, Limit{"full", 5, "%", 0.1, 100, "of 10 s in which all tasks that could run waited for memory"})
	part := r.limit(chosen, Limit{"some", 10, "%", 0.1, 100, "of 10 s in which some did, while tasks had to reclaim memory themselves"})
	critical := r.limit(chosen, Limit{"critical", 20, "%", 0.1, 100, "of 10 s in which all did, from which it is critical"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		f := Finding{
			ID: "mem.pressure", Severity: Warning, Line: "free", Unit: "%", Window: recentFor,
			Explains: []string{"disk.latency", "disk.saturated", "mem.swapping", "mem.cache_thrash"},
		}
		judge := func(some, all float64, reclaims bool) bool {
			switch {
			case all >= full:
				f.Value, f.Threshold = all, full
			case some >= part && reclaims:
				f.Value, f.Threshold = some, part
			default:
				return false
			}
			if all >= critical {
				f.Severity = Critical
			}
			return true
		}
		pods := w.pods()
		for _, p := range pods {
			if p.seconds < covered || p.hit == 0 || !judge(p.some, p.full, true) {
				continue
			}
			name := collectors.Clean(cmp.Or(p.Name, p.Path)).String()
			f.Resource, f.Line, f.Pane, f.Row = name, "cgroup", "cgroups", p.Path.Bytes()
			f.Title = fmt.Sprintf("%s at its memory limit, %.0f %% stalled", name, f.Value)
			f.Evidence = []string{fmt.Sprintf("at the limit %d times", p.hit), "in use " + bytesText(p.memory)}
			f.Culprits = []Culprit{cgroupCulprit(p.CgroupInfo, 0)}
			f.Command = "cat /sys/fs/cgroup" + collectors.Clean(p.Path).String() + "/memory.pressure"
			return f, nil
		}
		p := w.pressure(psiMemory)
		if p.seconds < covered {
			return Finding{}, nil
		}
		x := w.reclaim()
		who, at, limited := w.atLimit(pods, &x)
		if !judge(p.some, p.full, x.direct+x.memcg > 0 || limited) {
			return Finding{}, nil
		}
		if limited {
			f.Resource, f.Line, f.Pane, f.Row = who.Name.String(), "cgroup", "cgroups", who.Target.Name
			f.Title = fmt.Sprintf("%s at its memory limit: tasks wait for memory %.0f %% of the time", who.Name, p.some)
			f.Culprits, f.Victims = []Culprit{who}, x.victims(w)
			f.Command = "cat /proc/pressure/memory"
			if at != nil {
				f.Evidence = []string{fmt.Sprintf("at the limit %d times", at.hit), "in use " + bytesText(at.memory)}
				f.Command = "cat /sys/fs/cgroup" + collectors.Clean(at.Path).String() + "/memory.pressure"
				if !at.V2 {
					f.Command = "cat /sys/fs/cgroup/memory" + collectors.Clean(at.Path).String() + "/memory.failcnt"
				}
			}
			if x.memcg > 0 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f times a second a task had to reclaim memory of it", float64(x.memcg)/p.seconds))
			}
			return f, nil
		}
		f.Resource, f.Pane, f.Command = "memory", "memory", "cat /proc/pressure/memory; vmstat 1"
		f.Title = fmt.Sprintf("tasks wait for memory %.0f %% of the time, all of them %.0f %%", p.some, p.full)
		if x.direct+x.memcg > 0 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f times a second a task had to reclaim memory itself", float64(x.direct+x.memcg)/p.seconds))
		}
		total := uint64(0)
		if m := lastOf(w.moments, memoryOf); m != nil {
			total, _ = m.Info.Get(collectors.MemTotal)
			f.Evidence = append(f.Evidence, fmt.Sprintf("available %s of %s", bytesText(m.Info.Available()), bytesText(total)))
		}
		f.Culprits, f.Victims = w.growers(total), x.victims(w)
		f.Row = firstProcess(f.Culprits)
		if f.Row != "" {
			f.Pane = "processes"
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		var facts []string
		if m := lastOf(w.moments, memoryOf); m != nil {
			total, _ := m.Info.Get(collectors.MemTotal)
			facts = append(facts, fmt.Sprintf("available %.0f %%", percent(m.Info.Available(), total)))
		}
		if p := w.pressure(psiMemory); p.seconds > 0 {
			facts = append(facts, fmt.Sprintf("PSI some %.1f %%", p.some))
		}
		return facts
	}
	return r
}

// bytesText is a size with a unit: 13.1 GiB.
func bytesText(n uint64) string {
	v, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, next
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// swapping: pages come back from swap all the time, and tasks wait for them.
func swapping(chosen Limits) Rule {
	r := Rule{
		ID: "mem.swapping", Says: "pages come back from swap all the time and tasks wait for it",
		Resource: "memory", Needs: []string{"vmstat", "psi", "swaps"},
	}
	stalls := r.limit(chosen, Limit{"some", 1, "%", 0.1, 100, "of 10 s in which tasks waited for memory; below it swap traffic is info"})
	steady := r.limit(chosen, Limit{"samples", 50, "%", 1, 100, "of the samples of 10 s in which something was swapped"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c, p := w.cpu(), w.pressure(psiMemory)
		in, out := percent(uint64(c.ins), uint64(c.n)) >= steady, percent(uint64(c.outs), uint64(c.n)) >= steady
		if c.seconds < covered || !c.swap || !in && !out {
			return Finding{}, nil
		}
		page := w.page()
		where := w.swapAreas()
		f := Finding{
			ID: "mem.swapping", Severity: Info, Resource: "memory", Line: "vmstat", Value: p.some, Threshold: stalls, Unit: "% PSI", Window: recentFor, N: c.swapIn + c.swapOut,
			Title:    fmt.Sprintf("swap traffic: in %s/s, out %s/s, %s", bytesText(uint64(float64(c.swapIn*page)/c.seconds)), bytesText(uint64(float64(c.swapOut*page)/c.seconds)), where),
			Explains: []string{"disk.latency", "disk.saturated"}, Pane: "memory", Command: "vmstat 1",
			Evidence: []string{fmt.Sprintf("PSI memory some %.1f %%", p.some)},
		}
		for _, x := range w.processes().most(few, func(x *task) float64 { return float64(x.majflt) }) {
			f.Victims = append(f.Victims, process(x.ProcInfo, 0))
		}
		if m := lastOf(w.moments, memoryOf); m != nil {
			total, _ := m.Info.Get(collectors.MemTotal)
			f.Culprits = w.growers(total)
			f.Evidence = append(f.Evidence, "swap used "+bytesText(m.Info.SwapUsed()))
		}
		if f.Row = firstProcess(f.Culprits); f.Row != "" {
			f.Pane = "processes"
		}
		if in && p.seconds >= covered && p.some >= stalls {
			f.Severity = Warning
		}
		return f, nil
	})
	return r
}

// swapAreas says what is swapped to.
func (r *recent) swapAreas() string {
	m := lastOf(r.moments, memoryOf)
	if m == nil {
		return "swap areas not known"
	}
	zram, other := 0, 0
	for _, a := range m.Swaps {
		if strings.HasPrefix(a.Name.Bytes(), "/dev/zram") {
			zram++
		} else {
			other++
		}
	}
	n, _ := m.Info.Get(collectors.MemZswapped)
	var parts []string
	if zram > 0 {
		parts = append(parts, "zram")
	}
	if other > 0 {
		parts = append(parts, "disk")
	}
	if n > 0 {
		parts = append(parts, "zswap before it")
	}
	return "to " + cmp.Or(strings.Join(parts, " and "), "no area now")
}

// thrashing: what is read is what was thrown out a moment ago.
func thrashing(chosen Limits) Rule {
	r := Rule{
		ID: "mem.cache_thrash", Says: "what is read from disks is what the page cache threw out a moment ago",
		Resource: "memory", Needs: []string{"vmstat", "reclaim", "psi"},
	}
	share := r.limit(chosen, Limit{"refaults", 25, "%", 1, 100, "of the bytes read in 10 s that had been in the page cache"})
	stalls := r.limit(chosen, Limit{"some", 1, "%", 0.1, 100, "of 10 s in which tasks waited for memory"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c, p, x := w.cpu(), w.pressure(psiMemory), w.reclaim()
		back := x.refaults * w.page()
		part := percent(back, c.read)
		if c.seconds < covered || !c.swap || p.seconds < covered || part < share || p.some <= stalls {
			return Finding{}, nil
		}
		f := Finding{
			ID: "mem.cache_thrash", Severity: Warning, Resource: "memory", Line: "free", Value: min(part, 100), Threshold: share, Unit: "%", N: x.refaults, Window: recentFor,
			Title:    fmt.Sprintf("the working set does not fit: %.0f %% of %s/s read had been in the page cache", min(part, 100), bytesText(uint64(float64(c.read)/c.seconds))),
			Evidence: []string{fmt.Sprintf("PSI memory some %.1f %%", p.some)},
			Explains: []string{"disk.latency", "disk.saturated"}, Pane: "memory", Command: "grep workingset_refault /proc/vmstat",
		}
		for _, t := range w.processes().most(few, func(t *task) float64 { return float64(t.read) }) {
			f.Culprits = append(f.Culprits, process(t.ProcInfo, percent(min(t.read, c.read), c.read)/100))
		}
		if f.Row = firstProcess(f.Culprits); f.Row != "" {
			f.Pane = "processes"
		}
		return f, nil
	})
	return r
}
