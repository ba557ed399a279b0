// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"bpf60/collectors"
)

const (
	// rhythmFor is how far back a rhythm is looked for, rhythmLeast the shortest that can be told from
	// samples of a second.
	rhythmFor   = 10 * time.Minute
	rhythmLeast = 4 * time.Second
	// near is how far from a spike what causes it may begin.
	near = time.Second
	// blank is how many spikes there must be to tell of a rhythm of which nobody knows who makes it.
	blank = 10
)

// spike is a time in which waits for a CPU were far longer than mostly.
type spike struct {
	span collectors.Span // of its first sample
	p99  time.Duration   // the lower edge of the worst
}

// rhythm is spikes that come back.
type rhythm struct {
	period  time.Duration
	spikes  []spike
	usually time.Duration // the median p99
}

// spikes are the times at which the p99 of waits is least or more, and factor times the median or more.
// Samples that follow one another are one. Fewer than fewest readings of least or more make nothing, at no
// cost in memory: this is asked at each tick.
func (r *recent) spikes(least, factor float64, fewest int) (out rhythm) {
	high := 0
	for _, m := range r.h.Since(r.now - rhythmFor) {
		if s := m.Sched; s != nil && edge(&s.Host.Wait, 0.99) >= time.Duration(least*float64(time.Millisecond)) {
			high++
		}
	}
	if high < fewest {
		return out
	}
	var all []spike // or not
	for _, m := range r.h.Since(r.now - rhythmFor) {
		if s := m.Sched; s != nil && s.Host.Wait.Count() >= enough {
			all = append(all, spike{s.Span, edge(&s.Host.Wait, 0.99)})
		}
	}
	if len(all) < int(4*rhythmLeast/time.Second) {
		return out
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b spike) int { return cmp.Compare(a.p99, b.p99) })
	out.usually = sorted[len(sorted)/2].p99
	limit := max(time.Duration(least*float64(time.Millisecond)), time.Duration(factor*float64(out.usually)))
	for i, x := range all {
		switch {
		case x.p99 < limit:
		case i > 0 && all[i-1].p99 >= limit && len(out.spikes) > 0:
			last := &out.spikes[len(out.spikes)-1]
			last.p99 = max(last.p99, x.p99)
		default:
			out.spikes = append(out.spikes, x)
		}
	}
	return out
}

// regular finds the period: the median of the times between spikes, to which four fifths of them are true
// within the second that a sample takes. One that is missed makes two of them.
func (x *rhythm) regular(least int) bool {
	var gaps []time.Duration
	for i := 1; i < len(x.spikes); i++ {
		gaps = append(gaps, x.spikes[i].span.To-x.spikes[i-1].span.To)
	}
	if len(gaps)+1 < least {
		return false
	}
	sorted := slices.Clone(gaps)
	slices.Sort(sorted)
	period, fits := sorted[len(sorted)/2], 0
	if period < rhythmLeast {
		return false
	}
	slack := min(1500*time.Millisecond, period/4)
	for _, g := range gaps {
		n := time.Duration(min(max(math.Round(g.Seconds()/period.Seconds()), 1), 2))
		if (g - n*period).Abs() <= slack {
			fits++
		}
	}
	span := x.spikes[len(x.spikes)-1].span.To - x.spikes[0].span.To
	x.period = (span / time.Duration(max(math.Round(span.Seconds()/period.Seconds()), 1))).Round(time.Second)
	return fits+1 >= least && 5*fits >= 4*len(gaps)
}

// deed is something that is done now and then: a program that is run, or a file that is opened.
type deed struct {
	what string // as a person would say it, of the last time
	who  collectors.Process
	by   collectors.Raw
	one  bool // the same process did it each time
	hits int  // spikes near which it was done
	n    int  // times
	near int  // of them, near a spike
	cpu  time.Duration

	last int // the spike that it was last seen near, from 1
}

// deeds counts what was done near spikes and apart from them.
type deeds struct {
	x       *rhythm
	of      map[string]*deed
	seen    int // spikes at which somebody looked
	covered map[int]bool
}

// at is the spike, from 1, near which a time is; 0 for none.
func (x *rhythm) at(t time.Duration) int {
	for i := range x.spikes {
		if s := x.spikes[i].span; t > s.From-near && t <= s.To+near {
			return i + 1
		}
	}
	return 0
}

// looked notes that what was done in a span is known.
func (d *deeds) looked(span collectors.Span) {
	for i, s := range d.x.spikes {
		if !d.covered[i] && span.From <= s.span.To && s.span.From <= span.To {
			d.covered[i] = true
			d.seen++
		}
	}
}

func (d *deeds) add(key, what string, who collectors.Process, by collectors.Raw, at time.Duration) *deed {
	if at < d.x.spikes[0].span.From-near || at > d.x.spikes[len(d.x.spikes)-1].span.To+near {
		return nil
	}
	x := d.of[key]
	if x == nil {
		x = &deed{who: who, by: by, one: true}
		d.of[key] = x
	}
	x.what, x.one = what, x.one && x.who == who
	x.n++
	if i := d.x.at(at); i > 0 {
		x.near++
		if x.last != i {
			x.hits, x.last = x.hits+1, i
		}
	}
	return x
}

// best is what was done near share percent of the spikes or more and seldom apart from them: of several
// what took most CPU time.
func (d *deeds) best(share float64, least int) *deed {
	if d.seen < least {
		return nil
	}
	var best *deed
	for _, key := range slices.Sorted(maps.Keys(d.of)) {
		x := d.of[key]
		if percent(float64(x.hits), float64(d.seen)) < share || 5*x.near < 4*x.n {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(x.cpu, best.cpu), cmp.Compare(x.hits, best.hits)) > 0 {
			best = x
		}
	}
	return best
}

// started are the programs that were run.
func (r *recent) started(x *rhythm) *deeds {
	d := &deeds{x: x, of: map[string]*deed{}, covered: map[int]bool{}}
	running := map[collectors.Process]*deed{}
	for _, m := range r.h.Since(x.spikes[0].span.From - near) {
		if m.Exec == nil || m.At < r.h.RowsSince() {
			continue
		}
		d.looked(m.Exec.Span)
		for i := range m.Exec.Execs {
			e := &m.Exec.Execs[i]
			what := e.Args
			if what == (collectors.Raw{}) {
				what = e.File
			}
			if run := d.add(e.ParentComm.Bytes()+"\x00"+e.File.Bytes(), collectors.Clean(what).String(), e.Parent, e.ParentComm, e.At); run != nil {
				running[e.Process] = run
			}
		}
		for i := range m.Exec.Exits {
			if run := running[m.Exec.Exits[i].Process]; run != nil {
				run.cpu += m.Exec.Exits[i].CPU
			}
		}
	}
	return d
}

// opened are the files that were opened, while somebody looked.
func (r *recent) opened(x *rhythm) *deeds {
	d := &deeds{x: x, of: map[string]*deed{}, covered: map[int]bool{}}
	for _, m := range r.h.Since(x.spikes[0].span.From - near) {
		if m.Opens == nil || m.Opens.Partial || m.At < r.h.RowsSince() {
			continue
		}
		d.looked(m.Opens.Span)
		for i := range m.Opens.Events {
			if e := &m.Opens.Events[i]; e.Ret >= 0 {
				d.add(e.Comm.Bytes()+"\x00"+e.Path.Bytes(), "opening "+collectors.Clean(e.Path).String(), e.Process, e.Comm, e.At)
			}
		}
	}
	return d
}

// sufferers are the processes that wait more for a CPU in the seconds of spikes than in others, by least on
// average, and do not belong to a culprit.
func (r *recent) sufferers(x *rhythm, culprit collectors.Process, least time.Duration) []Culprit {
	type waited struct {
		info   *collectors.ProcInfo
		in     time.Duration
		beside time.Duration
	}
	by := map[collectors.Process]*waited{}
	in, beside := 0, 0
	for _, m := range r.h.Since(x.spikes[0].span.From) {
		if m.Tasks == nil || len(m.Tasks.Rows) == 0 {
			continue
		}
		spiky := slices.ContainsFunc(x.spikes, func(s spike) bool { return m.Tasks.From < s.span.To && s.span.From < m.Tasks.To })
		if spiky {
			in++
		} else {
			beside++
		}
		for i := range m.Tasks.Rows {
			row := &m.Tasks.Rows[i]
			if row.ProcInfo == nil || row.Wait == 0 || r.patient(row.ProcInfo) {
				continue
			}
			w := by[row.Process]
			if w == nil {
				w = &waited{}
				by[row.Process] = w
			}
			w.info = row.ProcInfo
			if spiky {
				w.in += row.Wait
			} else {
				w.beside += row.Wait
			}
		}
	}
	who := r.together()
	blamed := int32(nobody)
	if p := who.byPID[culprit.TGID]; p != nil {
		blamed = who.of(p)
	}
	more := func(w *waited) time.Duration {
		return w.in/time.Duration(max(in, 1)) - w.beside/time.Duration(max(beside, 1))
	}
	list := slices.SortedFunc(maps.Values(by), func(a, b *waited) int {
		return cmp.Or(cmp.Compare(more(b), more(a)), cmp.Compare(a.info.PID, b.info.PID))
	})
	var out []Culprit
	for _, w := range list {
		if len(out) < few && more(w) >= least && !r.throttled(w.info) && (blamed == nobody || who.of(w.info) != blamed) {
			out = append(out, process(w.info, 0))
		}
	}
	return out
}

// periodic: waits for a CPU are long at regular times, and something is done at each of them.
func periodic(chosen Limits) Rule {
	r := Rule{
		ID: "latency.periodic", Says: "waits for a CPU are long again and again, at regular times at which some program is run or file is opened; info if nobody else waits then",
		Resource: "periodic latency", Needs: []string{"runqlat", "execsnoop"}, Fallback: true,
	}
	least := r.limit(chosen, Limit{"ms", 4, "ms", 0.1, 10000, "the lower edge of the p99 of a sample's waits for a CPU"})
	factor := r.limit(chosen, Limit{"factor", 4, "times", 1, 1000, "the median p99 of the last ten minutes"})
	times := r.limit(chosen, Limit{"spikes", 5, "spikes", 3, 100, "of which four fifths are a period apart, at least 4 s"})
	share := r.limit(chosen, Limit{"share", 80, "%", 1, 100, "of the spikes within a second of which the same was done"})
	wait := r.limit(chosen, Limit{"wait", 20, "ms", 0.1, 10000, "that another process waits more in the second of a spike than else, below which it is info"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		x := w.spikes(least, factor, int(times))
		if len(x.spikes) < int(times) || !x.regular(int(times)) || w.now-x.spikes[len(x.spikes)-1].span.To > 5*x.period/2 {
			return Finding{}, nil
		}
		wants := []collectors.Want{{ID: collectors.OpensID}}
		worst := time.Duration(0)
		for _, s := range x.spikes {
			worst = max(worst, s.p99)
		}
		cause := w.started(&x).best(share, int(times))
		if cause != nil {
			wants = nil
		} else if cause = w.opened(&x).best(share, 3); cause == nil && len(x.spikes) < blank {
			return Finding{}, wants
		}
		f := Finding{
			ID: "latency.periodic", Severity: Info, Resource: "cpu", Line: "runqlat", Value: worst.Seconds() * 1e3, Threshold: max(least, factor*x.usually.Seconds()*1e3), Unit: "ms",
			N: uint64(len(x.spikes)), Window: w.now - x.spikes[0].span.From, Since: max(x.spikes[0].span.From, 1),
			Title:    fmt.Sprintf("every %.0f s waits for a CPU are long", x.period.Seconds()),
			Evidence: []string{fmt.Sprintf("%d spikes of the p99 up to %.0f ms, %.1f ms mostly", len(x.spikes), worst.Seconds()*1e3, x.usually.Seconds()*1e3)},
			Explains: []string{"cpu.runq_latency"}, Pane: "cpu", Row: "all", Command: "runqlat 1; execsnoop -t; opensnoop -T",
		}
		var culprit collectors.Process
		if cause != nil {
			who := Culprit{Kind: "process", Name: collectors.Clean(cause.by)}
			if cause.one {
				culprit, who = cause.who, w.stranger(cause.who, cause.by, 0)
			}
			f.Title = fmt.Sprintf("every %.0f s: %s by %s", x.period.Seconds(), cause.what, who.Name)
			f.Evidence = append(f.Evidence, fmt.Sprintf("done near %d of the spikes, %d times in all", cause.hits, cause.n))
			f.Culprits = []Culprit{who}
		}
		if f.Victims = w.sufferers(&x, culprit, time.Duration(wait*float64(time.Millisecond))); len(f.Victims) > 0 {
			f.Severity = Warning
		}
		return f, wants
	})
	r.Evidence = func(h *History) []string {
		x := recently(h).spikes(least, factor, 1)
		return []string{fmt.Sprintf("%d spikes of the run-queue p99, at no regular times", len(x.spikes))}
	}
	return r
}
