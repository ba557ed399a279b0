// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

const (
	// growthEvery is how far apart the points are of which so many must rise, growthPoints how many are
	// kept of a process, growthPause the time without a higher one after which it counts anew.
	growthEvery  = 5 * time.Second
	growthPoints = 64
	growthPause  = 60 * time.Second
	// growthHeld is what a process holds at least, in bytes, to be followed.
	growthHeld = 64 << 20
	// growthAge is how old a process must be, unless its limit is minutes away.
	growthAge = 5 * time.Minute
	// roomFor is how old what is known of a cgroup's limit and memory may be.
	roomFor = time.Minute
	// growthProof is how old the proof may be that what grows is anonymous memory.
	growthProof = 90 * time.Second
)

// point is how many pages a process held.
type point struct {
	at  time.Duration
	rss uint32
}

// growths follow the processes that hold much memory: of each, points that rise.
type growths struct {
	upTo time.Duration
	of   map[collectors.Process]*growth
}

type growth struct {
	*collectors.ProcInfo         // as it was last seen: it is made anew when its name or cgroup is another
	points               []point // rising, oldest first
	seen                 time.Duration
}

// growing brings the points up to this tick.
func (r *recent) growing() *growths {
	g := &r.upkeep.growth
	if g.of == nil {
		*g = growths{upTo: -growthEvery, of: map[collectors.Process]*growth{}}
	}
	least := uint32(min(growthHeld/r.page(), 1<<31))
	for _, m := range r.h.Since(g.upTo) {
		if m.Tasks == nil || m.At < g.upTo+growthEvery {
			continue
		}
		g.upTo = m.At
		for i := range m.Tasks.Rows {
			if row := &m.Tasks.Rows[i]; row.RSS >= least && row.ProcInfo != nil {
				g.add(row.ProcInfo, point{m.At, row.RSS})
			}
		}
		for p, x := range g.of {
			if m.At-x.seen >= growthPause {
				delete(g.of, p)
			}
		}
	}
	return g
}

// add takes one reading. One that is lower by more than a little begins anew.
func (g *growths) add(p *collectors.ProcInfo, now point) {
	x := g.of[p.Process]
	if x == nil {
		x = &growth{}
		g.of[p.Process] = x
	}
	x.ProcInfo = p
	if n := len(x.points); n > 0 {
		last := x.points[n-1]
		switch {
		case now.rss < last.rss-last.rss/100:
			x.points = x.points[:0]
		case now.rss <= last.rss:
			return
		}
	}
	if len(x.points) == growthPoints {
		x.points = append(x.points[:0], x.points[1:]...)
	}
	x.points, x.seen = append(x.points, now), now.at
}

// pace is how many pages a second a process grows by; 0 if it does not do so steadily: fewer points
// than it takes, or slower of late than before, as what nears its end.
func (x *growth) pace() float64 {
	n := len(x.points)
	if n <= risingPoints {
		return 0
	}
	between := func(a, b point) float64 { return float64(b.rss-a.rss) / (b.at - a.at).Seconds() }
	whole, late := between(x.points[0], x.points[n-1]), between(x.points[n/2], x.points[n-1])
	if late < whole/2 {
		return 0
	}
	return late
}

// room is what a process may still take, in bytes, and what bounds it.
func (r *recent) room(p *collectors.ProcInfo) (left uint64, name string) {
	if m := lastOf(r.moments, memoryOf); m != nil {
		left, name = m.Info.Available(), "the host's available memory"
	}
	path := p.CgroupPath.Bytes()
	if path == "" {
		return left, name
	}
	newest := map[uint64]*collectors.CgroupRow{} // who is not busy is not read at each tick
	for _, m := range r.h.Since(r.now - roomFor) {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			if x := &m.Cgroups.Rows[i]; x.CgroupInfo != nil && x.Has&collectors.HasMemory != 0 && below(x.Path.Bytes(), path) {
				newest[x.ID] = x
			}
		}
	}
	for _, x := range newest {
		if x.Own.Max == collectors.NoLimit || x.Own.Max == 0 {
			continue
		}
		if free := x.Own.Max - min(x.Memory, x.Own.Max); name == "" || free < left {
			left, name = free, "the limit of "+collectors.Clean(x.Path).String()
		}
	}
	return left, name
}

// age is how old a process is; 0 if that is not known.
func (r *recent) age(p collectors.Process) time.Duration {
	host := lastOf(r.moments, func(s *collectors.Snapshot) *collectors.Host { return s.Host })
	if host == nil {
		return 0
	}
	return max(host.Uptime-time.Duration(p.Start), 0)
}

// anonymous says that the memory a process gained of late is its own, not files that it maps: by two
// readings of what it holds.
func (r *recent) anonymous(target collectors.Target, pace float64) bool {
	type reading struct {
		at   time.Duration
		anon uint64
	}
	var first, last *reading
	for _, m := range r.h.Since(r.now - growthProof) {
		if m.Limits == nil {
			continue
		}
		for i := range m.Limits.Narrowed {
			if x := &m.Limits.Narrowed[i]; x.Target == target && x.Sample.AnonKnown {
				last = &reading{m.At, x.Sample.Anon}
				if first == nil {
					first = last
				}
			}
		}
	}
	if first == nil || last.at-first.at < growthEvery {
		return false
	}
	gained := float64(last.anon) - float64(first.anon)
	return gained >= pace/2*(last.at-first.at).Seconds()
}

// suspect is a process that grows, and how long that can go on.
type suspect struct {
	*growth
	pace    float64 // bytes a second
	minutes float64 // until there is no room
	limit   string  // what bounds it
}

// grows: a process takes ever more memory, and a limit is near.
func grows(chosen Limits) Rule {
	r := Rule{
		ID: "mem.growth", Says: "a process takes ever more memory of its own and reaches a limit: its cgroup's, or what the host has",
		Resource: "memory", Needs: []string{"pidstat", "meminfo"}, Fallback: true,
	}
	eta := r.limit(chosen, Limit{"minutes", 60, "min", 0, 1e5, "until the limit is reached, of a process that is older than 5 min, at the pace of more than ten points that each were higher"})
	soon := r.limit(chosen, Limit{"soon", 5, "min", 0, 1e5, "until the limit is reached, whatever the age of the process"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		page := w.page()
		var suspects []suspect
		for _, x := range w.growing().of {
			s := suspect{growth: x, pace: x.pace() * float64(page)}
			if s.pace <= 0 || x.Kernel || w.ourselves(x.ProcInfo) {
				continue
			}
			left, limit := w.room(x.ProcInfo)
			s.limit, s.minutes = limit, float64(left)/s.pace/60
			if limit != "" && (s.minutes <= soon || s.minutes <= eta && w.age(x.Process) >= growthAge) {
				suspects = append(suspects, s)
			}
		}
		slices.SortFunc(suspects, func(a, b suspect) int {
			return cmp.Or(cmp.Compare(a.minutes, b.minutes), cmp.Compare(a.PID, b.PID))
		})
		var wants []collectors.Want
		for _, s := range suspects[:min(len(suspects), few)] {
			wants = append(wants, collectors.Want{ID: collectors.LimitsID, Target: collectors.Target{Kind: collectors.ProcessTarget, Process: s.Process}})
		}
		for i, want := range wants {
			s := &suspects[i]
			if !w.anonymous(want.Target, s.pace) {
				continue
			}
			first, now := s.points[0], s.points[len(s.points)-1]
			who := process(s.ProcInfo, percent(uint64(now.rss)*page, lastTotal(w))/100)
			return Finding{
				ID: "mem.growth", Severity: Warning, Resource: "memory", Line: "free", Value: s.minutes, Threshold: max(soon, eta), Unit: "min", N: uint64(len(s.points)), Window: now.at - first.at,
				Title:    fmt.Sprintf("%s grows by %s/s: %s is gone in about %.0f min", who.Name, bytesText(uint64(s.pace)), s.limit, max(s.minutes, 1)),
				Evidence: []string{fmt.Sprintf("from %s to %s in %.0f s", bytesText(uint64(first.rss)*page), bytesText(uint64(now.rss)*page), (now.at - first.at).Seconds()), "anonymous memory"},
				Culprits: []Culprit{who}, Explains: []string{"mem.pressure", "mem.swapping", "mem.oom_kill"}, Pane: "processes", Row: processRow(who),
				Command: fmt.Sprintf("pidstat -r -p %d 1; grep RssAnon /proc/%d/status", s.PID, s.PID),
			}, wants
		}
		return Finding{}, wants
	})
	return r
}
