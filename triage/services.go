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

// Services is the resource whose evidence is where the busiest services wait.
const Services = "services"

// services are the busiest processes that are not threads of the kernel, nor ourselves.
func (r *recent) services() []*task {
	return r.processes().most(few, func(x *task) float64 {
		if x.Kernel || r.ourselves(x.ProcInfo) {
			return 0
		}
		return x.run.Seconds()
	})
}

// sleeping is where the threads of one process were seen to wait.
type sleeping struct {
	who     collectors.Process
	comm    collectors.Raw
	looks   int
	threads int            // at all looks
	in      map[string]int // of them, by what they wait for; "" is what does not wait
}

// sleepsFor is how old a look may be: rules get theirs for ten seconds of a minute.
const sleepsFor = 70 * time.Second

// sleeps are what was seen of the processes that were looked at.
func (r *recent) sleeps() map[collectors.Process]*sleeping {
	out := map[collectors.Process]*sleeping{}
	for _, m := range r.h.Since(r.now - sleepsFor) {
		if m.Sleeps == nil {
			continue
		}
		for i := range m.Sleeps.Narrowed {
			x := &m.Sleeps.Narrowed[i]
			s := out[x.Target.Process]
			if s == nil {
				s = &sleeping{who: x.Target.Process, in: map[string]int{}}
				out[x.Target.Process] = s
			}
			s.comm = x.Sample.Comm
			s.looks++
			for k := range x.Sample.Rows {
				row := &x.Sample.Rows[k]
				s.threads += row.Threads
				s.in[row.Class] += row.Threads
			}
		}
	}
	return out
}

// most are what the threads wait for, the most of them first.
func (s *sleeping) most() []string {
	return slices.SortedFunc(maps.Keys(s.in), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.in[b], s.in[a]), cmp.Compare(a, b))
	})
}

// says is where a process waits, in a line: java[812]: 91 % futex, 6 % recv.
func (s *sleeping) says() string {
	var parts []string
	for _, class := range s.most() {
		if part := percent(uint64(s.in[class]), uint64(s.threads)); len(parts) < few && part >= 1 {
			parts = append(parts, fmt.Sprintf("%.0f %% %s", part, cmp.Or(class, "runs")))
		}
	}
	return fmt.Sprintf("%s: %s", named(s.comm, s.who.TGID), strings.Join(parts, ", "))
}

// short says that some resource is.
func (r *recent) short() bool {
	c := r.cpu()
	if c.seconds < covered || percent(c.all.Idle+c.all.IOWait, c.all.Total()) < 50 {
		return true
	}
	for _, of := range []func(*collectors.PSI) collectors.Pressure{psiCPU, psiMemory, psiIO} {
		if p := r.pressure(of); p.some >= 10 {
			return true
		}
	}
	return false
}

// waiting: no resource is short, and a busy service's threads hand one lock from one to the other. What
// the busiest services wait for is told in any case, where nothing is short.
func waiting(chosen Limits) Rule {
	r := Rule{ID: "proc.waiting", Says: "no resource is short, and nearly all threads of a busy service wait for a lock that they hand on all the time", Resource: Services, Needs: []string{"pidstat"}, Fallback: true}
	share := r.limit(chosen, Limit{"share", 80, "%", 1, 100, "of the threads of a process seen to wait for a futex"})
	threads := r.limit(chosen, Limit{"threads", 8, "threads", 1, 1e6, "that the process has"})
	rate := r.limit(chosen, Limit{"rate", 2000, "a second", 1, 1e9, "switches of contexts of the process: what waits for work does not switch"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		if w.short() {
			return Finding{}, nil
		}
		busy, seen := w.services(), w.sleeps()
		var wants []collectors.Want
		for _, x := range busy {
			wants = append(wants, collectors.Want{ID: collectors.SleepsID, Target: collectors.Target{Kind: collectors.ProcessTarget, Process: x.Process}})
		}
		for _, x := range busy {
			s, each := seen[x.Process], float64(x.switches)/max(w.processes().seconds, 1e-9)
			if s == nil || s.looks < 3 || float64(x.threads) < threads || each < rate {
				continue
			}
			part := percent(uint64(s.in[collectors.WaitFutex]), uint64(s.threads))
			if part < share {
				continue
			}
			who := process(x.ProcInfo, 0)
			return Finding{
				ID: "proc.waiting", Severity: Info, Resource: Services, Line: "pidstat", Value: part, Threshold: share, Unit: "%", N: uint64(x.threads), Window: recentFor,
				Title:    fmt.Sprintf("%s: %.0f %% of %d threads wait for a futex, %.0f switches/s", who.Name, part, x.threads, each),
				Evidence: []string{s.says()}, Culprits: []Culprit{who}, Pane: "processes", Row: processRow(who), Command: fmt.Sprintf("offcputime -p %d; pidstat -wt -p %d 1", x.PID, x.PID),
			}, wants
		}
		return Finding{}, wants
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		seen := w.sleeps()
		var out []string
		for _, x := range w.services() {
			if s := seen[x.Process]; s != nil && s.threads > 0 {
				out = append(out, s.says())
			}
		}
		return out
	}
	return r
}

const (
	// before is how far back the round trips of a service are compared with.
	before = 5 * time.Minute
	// trips is how many of them there must be.
	trips = 10
)

// slowPeer: the way to a service takes far longer than it took before.
func slowPeer(chosen Limits) Rule {
	r := Rule{ID: "net.peer_slow", Says: "round trips to a service that this host connects to take far longer than a few minutes ago", Resource: "connections", Needs: []string{"tcprtt"}, Fallback: true}
	factor := r.limit(chosen, Limit{"factor", 8, "times", 2, 1000, "the lower edge of the p50 of the round trips of the five minutes before"})
	least := r.limit(chosen, Limit{"ms", 10, "ms", 0.1, 10000, "the lower edge of the p50 of the round trips in 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.flow()
		if !x.whole {
			return Finding{}, nil
		}
		slow := map[service]*collectors.Hist{}
		for s, p := range x.peers {
			if s.role == collectors.FlowActive && p.rtt.Count() >= trips && edge(&p.rtt, 0.5).Seconds()*1e3 >= least {
				slow[s] = &collectors.Hist{}
			}
		}
		if len(slow) == 0 {
			return Finding{}, nil
		}
		for _, m := range w.h.Window(w.now-before, w.moments[0].At-1) {
			if m.Flow == nil {
				continue
			}
			for i := range m.Flow.Peers {
				p := &m.Flow.Peers[i]
				if h := slow[service{p.Addr, p.Role}]; h != nil {
					rtt := p.RTT.Hist()
					h.Plus(&rtt)
				}
			}
		}
		for _, s := range slices.SortedFunc(maps.Keys(slow), func(a, b service) int {
			return cmp.Or(cmp.Compare(x.peers[b].rtt.Count(), x.peers[a].rtt.Count()), a.addr.Compare(b.addr))
		}) {
			was, is := slow[s], &x.peers[s].rtt
			if was.Count() < trips || edge(is, 0.5) < time.Duration(factor*float64(max(edge(was, 0.5), time.Microsecond))) {
				continue
			}
			f := Finding{
				ID: "net.peer_slow", Severity: Warning, Resource: "connections", Line: "sar TCP", Value: edge(is, 0.5).Seconds() * 1e3, Threshold: max(least, factor*edge(was, 0.5).Seconds()*1e3), Unit: "ms", N: is.Count(), Window: recentFor,
				Title:    fmt.Sprintf("%s answers late: round trips of %s, %s before", s.addr, between(is, 0.5), between(was, 0.5)),
				Evidence: []string{fmt.Sprintf("%d round trips in 10 s, %d before", is.Count(), was.Count())},
				Culprits: []Culprit{peer(s, 0)}, Pane: "tcp", Row: s.String(), Command: "ss -ti; tcprtt",
			}
			for _, p := range x.busiest(func(c *collectors.FlowCounts) uint64 { return c[collectors.FlowConnects] }) {
				f.Victims = append(f.Victims, w.stranger(p.Process, p.Comm, 0))
			}
			return f, nil
		}
		return Finding{}, nil
	})
	return r
}
