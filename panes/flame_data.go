// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func cpuProfileOf(s *collectors.Snapshot) *collectors.CPUProfile { return s.Profile }

// profileWindow is how much of the past a profile on the screen is of: one interval holds too few samples.
const profileWindow = time.Minute

// maxFlameDepth bounds the frames of one stack: what is deeper was cut by the kernel, or is no recording of
// ours.
const maxFlameDepth = 300

// profileSum is what the stacks of a frame hold together.
type profileSum struct {
	collectors.Span
	stacks []flameStack
	n      uint64 // of all: samples, or ns
	left   uint64 // of n: not in stacks

	hz, cpus           int
	lost, passed, idle uint64
}

// profiled is the frame with the time that a profile is of: a report's is its own.
func profiled(f Frame, window time.Duration) Frame {
	if f.Span == 0 {
		f.Span = window
	}
	return f.rowed()
}

// sampledOver sums the samples of the CPUs over the frame: those of a target or, zero, of the host. Nil
// without any.
func sampledOver(f Frame, t collectors.Target) *profileSum {
	sum := &profileSum{}
	at := make(map[flameOf]int)
	for _, s := range within(f, cpuProfileOf) {
		counts, span := &s.ProfileCounts, s.Span
		if t != (collectors.Target{}) {
			one, _ := narrowedIn(s, t)
			if one == nil {
				continue
			}
			counts, span.From = &one.Sample, max(span.From, min(one.Since, span.To))
		} else if s.Partial {
			continue
		}
		sum.Span = join(sum.Span, span)
		sum.n, sum.left = sum.n+counts.Samples, sum.left+counts.Unlisted
		sum.lost, sum.passed, sum.idle = sum.lost+s.Lost, sum.passed+s.Passed, sum.idle+s.Idle
		sum.hz, sum.cpus = s.Hz, max(sum.cpus, s.CPUs)
		for i := range counts.Stacks {
			x := &counts.Stacks[i]
			key := flameOf{stack: x.CallStack, comm: x.Comm}
			one := place(at, &sum.stacks, key, flameStack{})
			if one.n == 0 && one.frames == nil { // it is new: names are cleaned once
				one.comm, one.frames = clean(x.Comm), x.Frames[:min(len(x.Frames), maxFlameDepth)]
			}
			one.n += x.Count
		}
	}
	if sum.Seconds() == 0 {
		return nil
	}
	return sum
}

// flameOf tells the stacks of a sum apart: samples share what is the same.
type flameOf struct {
	stack any
	comm  collectors.Raw
	why   collectors.OffWhy
}

// sleptOver sums the long sleeps that have a stack, of a process or, zero, of the host, in ns. Nil without
// any sample.
func sleptOver(f Frame, t collectors.Target) *profileSum {
	sum := &profileSum{}
	at := make(map[flameOf]int)
	add := func(span collectors.Span, stacks []collectors.OffStack, left uint64) {
		sum.Span, sum.left = join(sum.Span, span), sum.left+left
		sum.n += left
		for i := range stacks {
			x := &stacks[i]
			if x.Stack == nil || x.Ns == 0 {
				continue
			}
			sum.n += x.Ns
			place(at, &sum.stacks, flameOf{x.Stack, x.Comm, x.Why}, flameStack{comm: clean(x.Comm)}).n += x.Ns
		}
	}
	if t == (collectors.Target{}) {
		for _, s := range within(f, offcpuOf) {
			add(s.Span, s.Stacks, s.UnlistedNs)
		}
	} else {
		for _, s := range within(f, latencySample) {
			if one, span := narrowedIn(s, t); one != nil {
				add(span, one.Sample.Stacks, 0)
			}
		}
	}
	if sum.Seconds() == 0 {
		return nil
	}
	for key, i := range at {
		stack, ok := key.stack.(*collectors.Stack)
		if !ok {
			continue
		}
		frames := []collectors.CallFrame{{Name: "[" + key.why.String() + "]", Kernel: true, Known: true}}
		if len(stack.Frames) == 0 {
			frames = append(frames, collectors.CallFrame{Name: "[unknown]", Kernel: true})
		}
		for _, fn := range slices.Backward(stack.Frames[:min(len(stack.Frames), maxFlameDepth)]) {
			frames = append(frames, collectors.CallFrame{Name: clean2(fn), Module: "kernel", Kernel: true, Known: true})
		}
		sum.stacks[i].frames = frames
	}
	return sum
}

// amount writes a part of a sum.
func (k flameTime) amount(n uint64) string {
	if k == offTime {
		return widget.Short(float64(n)/1e6) + " ms"
	}
	return widget.Count(n) + " sample" + plural(int(min(n, 2)))
}

// flameTime is which time a flame graph divides.
type flameTime uint8

const (
	onTime flameTime = iota
	offTime
)

// over sums what the frame has of it.
func (k flameTime) over(f Frame, t collectors.Target) *profileSum {
	if k == offTime {
		return sleptOver(f, t)
	}
	return sampledOver(f, t)
}

// target is the scope, where it is told apart; else the host.
func (k flameTime) target(t collectors.Target) collectors.Target {
	switch {
	case t.Kind == collectors.ProcessTarget, t.Kind == collectors.CgroupTarget && k == onTime:
		return t
	}
	return collectors.Target{}
}

// wants are the probes that it needs.
func (k flameTime) wants(t collectors.Target) collectors.Want {
	want := collectors.Want{ID: collectors.ProfileID, Target: k.target(t)}
	if k == offTime {
		want.ID = collectors.OffCPUID
		if want.Target != (collectors.Target{}) {
			want.ID = collectors.LatencyID
		}
	}
	return want
}

// probe is the name of what measures it.
func (k flameTime) probe(t collectors.Target) (collectors.ID, string) {
	id := k.wants(t).ID
	return id, map[collectors.ID]string{collectors.ProfileID: "profile", collectors.OffCPUID: "offcputime", collectors.LatencyID: "runqlat-pid"}[id]
}

// functionColumns are the columns of the table of functions.
func (k flameTime) columns() []Column {
	amount := Column{ID: "samples", Title: "samples", Unit: "samples", Width: 8, Rank: 1}
	all := Column{ID: "all", Title: "all", Unit: "samples", Width: 8, Hidden: true}
	if k == offTime {
		amount = Column{ID: "ms", Title: "ms", Unit: "ms", Width: 9, Decimals: 1, Rank: 1}
		all.Unit, all.Decimals = "ms", 1
	}
	return []Column{
		{ID: "self%", Title: "self%", Unit: "%", Width: 6, Decimals: 1},
		{ID: "total%", Title: "total%", Unit: "%", Width: 6, Decimals: 1},
		amount, all,
		{ID: "MODULE", Title: "MODULE", Width: 16, Left: true, Rank: 2},
		{ID: "FUNCTION", Title: "FUNCTION", Width: 20, Left: true},
	}
}

// table is the functions of a sum, every row; nil has none. The rows are of what is listed by stack.
func (k flameTime) table(sum *profileSum) (Table, []functionSum) {
	t := Table{Title: "functions", Columns: k.columns()}
	if sum == nil {
		return t, nil
	}
	unit := 1.0
	if k == offTime {
		unit = 1e6
	}
	list := functionsOf(sum.stacks)
	for i := range list {
		x := &list[i]
		module := Say(x.module)
		if x.module == "" {
			module = Missing("the address lies in no file")
			if k == offTime && x.fn != "[unknown]" {
				module = Missing("why they slept, no function")
			}
		}
		t.Rows = append(t.Rows, Row{ID: functionRow(x.function), Cells: []Cell{
			Number(100 * portion(x.self, sum.n)), Number(100 * portion(x.total, sum.n)),
			Number(float64(x.self) / unit), Number(float64(x.total) / unit), module, Say(x.fn),
		}})
	}
	t.Notes = k.notes(sum)
	return t, list
}

// notes say what is not in the rows.
func (k flameTime) notes(sum *profileSum) (out []string) {
	if sum.left > 0 {
		out = append(out, fmt.Sprintf("%s are of stacks that are not listed: there were too many", k.amount(sum.left)))
	}
	if sum.lost > 0 {
		out = append(out, lossBadge(sum.lost)+": there was no room for so many samples")
	}
	return out
}

// facts are the numbers of a sum.
func (k flameTime) facts(sum *profileSum) []Fact {
	if sum == nil {
		return nil
	}
	var named, unnamed uint64
	for i := range sum.stacks {
		frames := sum.stacks[i].frames
		if k == offTime { // the outermost is why they slept
			frames = frames[min(1, len(frames)):]
		}
		for _, f := range frames {
			if f.Known {
				named += sum.stacks[i].n
			} else {
				unnamed += sum.stacks[i].n
			}
		}
	}
	unknown := Fact{ID: "unknown%", Title: "frames without a name", Unit: "%", Decimals: 1, Cell: Number(100 * portion(unnamed, named+unnamed))}
	seconds := Fact{ID: "seconds", Title: "time sampled", Unit: "s", Decimals: 1, Cell: Number(sum.Seconds())}
	if k == offTime {
		return []Fact{{ID: "ms", Title: "asleep, of sleeps of 1 ms and more", Unit: "ms", Decimals: 1, Cell: Number(float64(sum.n) / 1e6)}, seconds, unknown}
	}
	return []Fact{
		{ID: "samples", Title: "samples of what ran", Unit: "samples", Cell: Number(float64(sum.n))},
		{ID: "hz", Title: "samples a second of each CPU", Unit: "Hz", Cell: Number(float64(sum.hz))},
		{ID: "cpus", Title: "CPUs sampled", Unit: "CPUs", Cell: Number(float64(sum.cpus))},
		seconds,
		{ID: "idle", Title: "samples in which nothing ran", Unit: "samples", Cell: Number(float64(sum.idle))},
		{ID: "lost", Title: "samples lost", Unit: "samples", Cell: Number(float64(sum.lost))},
		unknown,
	}
}
