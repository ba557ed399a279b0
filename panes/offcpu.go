// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

func offcpuOf(s *collectors.Snapshot) *collectors.OffCPU { return s.OffCPU }

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// offPart is which times off the CPU are drawn.
type offPart uint8

const (
	offAll offPart = iota
	offSleep
	offD
	offPreempted
	offQueue
	offParts
)

func (p offPart) String() string {
	switch p {
	case offSleep:
		return "sleep"
	case offD:
		return "D"
	case offPreempted:
		return "preempted"
	case offQueue:
		return "run queue"
	case offAll, offParts:
	}
	return "by reason"
}

// hist is the part's distribution; nil for all of them.
func (p offPart) hist(c *collectors.OffCounts) *collectors.Hist {
	switch p {
	case offSleep:
		return &c.Off[collectors.OffSlept]
	case offD:
		return &c.Off[collectors.OffBlocked]
	case offPreempted:
		return &c.Off[collectors.OffPreempted]
	case offQueue:
		return &c.Wait
	case offAll, offParts:
	}
	return nil
}

// offState is the part of the CPU pane that shows times off the CPU.
type offState struct {
	part   offPart
	draw   drawing
	stacks list
}

func newOffState() offState { return offState{stacks: newList("")} }

func (s *offState) wants() []collectors.Want { return []collectors.Want{{ID: collectors.OffCPUID}} }

const keyOffPart = "cpu.off-part"

func (s *offState) keys() []keymap.Key {
	next := (s.part + 1) % offParts
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "stack", "enter").In("open the kernel stack of the row"),
		drawKey(s.draw),
		cpuViewKey(offView),
		keymap.New(keyOffPart, "i", next.String(), "i").In("draw times off the CPU by reason, or one reason, or the wait for a CPU in them"),
		resetKey(),
	}, append(zoomKeys(), s.stacks.keys()...)...)
}

func (s *offState) press(msg Press) Answer {
	switch msg.ID {
	case keyDraw:
		s.draw = (s.draw + 1) % drawings
	case keyOffPart:
		s.part = (s.part + 1) % offParts
	case keyReset:
		return MarkMsg{}
	case keymap.Open:
		t := s.stackTable(msg.Frame)
		if r, ok := s.stacks.row(t); ok {
			return OpenMsg{newOffPage(r.ID)}
		}
	default:
		s.stacks.press(msg.ID, s.stackTable(msg.Frame))
	}
	return nil
}

// offSum is times off the CPU over a frame.
type offSum struct {
	collectors.Span
	host, total collectors.OffCounts
	stacks      []collectors.OffStack
	unlisted    int
}

func offcpuOver(f Frame) *offSum {
	samples := within(f, offcpuOf)
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	sum := &offSum{total: last.Total, unlisted: last.Unlisted}
	lists := make([][]collectors.OffStack, 0, len(samples))
	for _, x := range samples {
		sum.Span = join(sum.Span, x.Span)
		sum.host.Plus(&x.Host)
		lists = append(lists, x.Stacks)
	}
	sum.stacks = sumStacks(lists)
	return sum
}

// sumStacks sums the stacks of samples, oldest first: the most time of the span first.
func sumStacks(lists [][]collectors.OffStack) []collectors.OffStack {
	var out []collectors.OffStack
	at := make(map[string]int)
	for _, list := range lists {
		for _, r := range list {
			id := offStackID(&r)
			i, ok := at[id]
			if !ok {
				at[id] = len(out)
				out = append(out, r)
				continue
			}
			y := &out[i]
			y.Count, y.Ns = y.Count+r.Count, y.Ns+r.Ns
			y.TotalCount, y.TotalNs = max(y.TotalCount, r.TotalCount), max(y.TotalNs, r.TotalNs)
		}
	}
	sortStably(out, func(a, b collectors.OffStack) int {
		return cmp.Or(cmp.Compare(b.Ns, a.Ns), cmp.Compare(b.TotalNs, a.TotalNs))
	})
	return out
}

// offStackID names a row: the process, the reason and the stack.
func offStackID(r *collectors.OffStack) string {
	h := fnv.New64a()
	if r.Stack != nil {
		for _, fn := range r.Frames {
			_, _ = h.Write([]byte(fn))
			_, _ = h.Write([]byte{0})
		}
	}
	return fmt.Sprintf("%d %d %d %x", r.Task.TGID, r.Task.Start, r.Why, h.Sum64())
}

// reasonTable is times off the CPU by reason, and the wait for a CPU that is in them.
func reasonTable(c *collectors.OffCounts, span collectors.Span) Table {
	t := Table{Title: "off-cpu by reason", Columns: []Column{
		{ID: "reason", Title: "REASON", Width: 10, Left: true},
		{ID: "rate", Title: "/s", Unit: "/s", Width: 8, Decimals: 1},
		{ID: "seconds", Title: "SEC/s", Unit: "s/s", Width: 7, Decimals: 2},
		{ID: "queued", Title: "%QUEUED", Unit: "%", Width: 7, Decimals: 1, Rank: 1},
		{ID: "mean", Title: "MEAN", Width: 8, Left: true},
		{ID: "p50", Title: "P50", Width: 10, Left: true},
		{ID: "p99", Title: "P99", Width: 10, Left: true},
		{ID: "max", Title: "MAX", Width: 10, Left: true},
	}}
	for part := offSleep; part < offParts; part++ {
		h := part.hist(c)
		seconds, queued := Missing("waiting for a second reading"), Missing("none in the last interval")
		if span.Seconds() > 0 {
			seconds = Number(float64(h.Sum) / 1e9 / span.Seconds())
		}
		switch {
		case part == offQueue:
			queued = Missing("all of it")
		case h.Sum > 0:
			queued = Number(min(100, 100*float64(c.Queued[part-offSleep])/float64(h.Sum)))
		}
		t.Rows = append(t.Rows, Row{ID: part.String(), Cells: []Cell{
			Say(part.String()), perSecond(h.Count(), span), seconds, queued,
			sayOr(mean(h)), sayOr(quantile(h, 0.5)), sayOr(quantile(h, 0.99)), sayOr(quantile(h, 1)),
		}})
	}
	return t
}

// sayOr is a text of our own, or missing for "-".
func sayOr(s string) Cell {
	if s == "-" {
		return Missing("too few in the last interval")
	}
	return Say(s)
}

// stackTable is where tasks slept for LongSleep and more.
func (s *offState) stackTable(f Frame) Table {
	t := Table{Title: "long sleeps by stack", Columns: []Column{
		{ID: "seconds", Title: "SEC/s", Unit: "s/s", Width: 7, Decimals: 2},
		{ID: "rate", Title: "/s", Unit: "/s", Width: 7, Decimals: 1, Rank: 1},
		{ID: "mean_ms", Title: "MEANms", Unit: "ms", Width: 8, Decimals: 1},
		{ID: "total", Title: "TOTALs", Unit: "s", Width: 8, Decimals: 1, Rank: 4},
		{ID: "why", Title: "WHY", Width: 5, Left: true},
		{ID: "class", Title: "CLASS", Width: 10, Left: true, Rank: 2},
		{ID: "function", Title: "FUNCTION", Width: 20, Left: true},
		{ID: "pid", Title: "PID", Width: 7, Rank: 3},
		{ID: "comm", Title: "COMM", Width: 12, Left: true},
	}}
	sum := offcpuOver(f)
	if sum == nil {
		why, remedy := whyNot(f, collectors.OffCPUID, "offcputime")
		t.Notes = append(t.Notes, note("offcputime", why, remedy))
		return t
	}
	for i := range sum.stacks {
		r := &sum.stacks[i]
		t.Rows = append(t.Rows, offStackRow(offStackID(r), r, sum.Span))
	}
	if n := sum.host.Unlisted[collectors.OffSlept] + sum.host.Unlisted[collectors.OffBlocked]; n > 0 {
		t.Notes = append(t.Notes, widget.Count(n)+" long sleeps have no stack: there were more than a CPU has time for, or no room")
	}
	if sum.unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d stacks are not listed", sum.unlisted))
	}
	s.stacks.arrange(f, &t)
	return t
}

func offStackRow(id string, r *collectors.OffStack, span collectors.Span) Row {
	seconds, meanMs := Missing("waiting for a second reading"), Missing("none ended in the last interval")
	if span.Seconds() > 0 {
		seconds = Number(float64(r.Ns) / 1e9 / span.Seconds())
	}
	if r.Count > 0 {
		meanMs = Number(float64(r.Ns) / 1e6 / float64(r.Count))
	}
	class, function := Missing("no stack"), Missing("no names of functions")
	if r.Stack != nil {
		class = Say(r.Class)
		if r.Function != "" {
			function = Say(clean2(r.Function))
		}
	}
	return Row{ID: id, Target: aboutProcess(r.Task, r.Comm), Cells: []Cell{
		seconds, perSecond(r.Count, span), meanMs, Number(float64(r.TotalNs) / 1e9),
		Say(r.Why.String()), class, function, Number(float64(r.Task.TGID)), Name(collectors.Clean(r.Comm)),
	}}
}

// offHistograms are the parts as distributions; nil without a sample.
func offHistograms(f Frame) (out []Histogram) {
	sum := offcpuOver(f)
	if sum == nil {
		return nil
	}
	total := sum.total
	mark := marked(f, offcpuOf)
	badge := lossBadge(sum.host.Collided + sum.host.Unknown + missedOver(f, collectors.OffCPUID, "offcputime"))
	for part := offSleep; part < offParts; part++ {
		h := Histogram{ID: "offcpu." + part.String(), Title: "off a CPU: " + part.String(), Now: part.hist(&sum.host), Start: part.hist(&total), Badge: badge}
		if mark != nil {
			h.Start = since(h.Start, part.hist(&mark.Total))
		}
		out = append(out, h)
	}
	return out
}
