// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bpf60/collectors"
)

func callTimesSpan(s *collectors.SyscallTimes) collectors.Span { return s.Span }

// targetTimesOver are the times of a target's calls over the frame, by name; nil if nobody timed them. The
// sum since the target was chosen is that of the newest sample that has the call.
func targetTimesOver(f Frame, t collectors.Target) map[string]*callTimesSum {
	list, _ := narrowedOver(within(f, callTimesOf), t)
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]*callTimesSum)
	for _, x := range list {
		for i := range x.Sample.Calls {
			c := &x.Sample.Calls[i]
			if out[c.Name] == nil {
				out[c.Name] = &callTimesSum{}
			}
			d := c.Hist.Hist()
			out[c.Name].now.Plus(&d)
			out[c.Name].total = c.Total
		}
	}
	return out
}

// targetTimeColumns are the columns of the times of a target's calls.
func targetTimeColumns() []Column {
	return append(timeColumns(), Column{ID: "p99", Title: "p99", Width: 9, Rank: 2}, Column{ID: "max", Title: "max", Width: 9, Rank: 1})
}

// targetTimeCells are the cells of targetTimeColumns: of a call, and what is known of its times.
func targetTimeCells(c *collectors.SyscallCounts, h *callTimesSum, span collectors.Span, untimed string) []Cell {
	cells := timeCells(c, span)
	for i := range cells {
		if !cells[i].Known() {
			cells[i] = Missing(untimed)
		}
	}
	if h == nil {
		why := Missing(untimed)
		return append(cells, why, why)
	}
	return append(cells, quantileCells(h)...)
}

// untimed says why a target's calls have no times.
func untimed(f Frame, t collectors.Target) string {
	if list, _ := narrowedOver(within(f, callTimesOf), t); len(list) > 0 {
		return "none of these calls was timed: they began before the probe"
	}
	return unrecorded(f, collectors.SyscallTimesID, "syscount-time", t)
}

// unkeptTimes are the times over the frame that are in no histogram of a target.
func unkeptTimes(f Frame) (n uint64) {
	for _, s := range within(f, callTimesOf) {
		n += s.Unkept
	}
	return n
}

// callHistogramOf is the histogram of the times of one call of a target.
func callHistogramOf(f Frame, name string, x *callTimesSum) Histogram {
	h := Histogram{ID: callHistogram + name, Title: "times of " + name, Now: &x.now, Start: &x.total}
	h.Badge = lossBadge(unkeptTimes(f) + missedOver(f, collectors.SyscallTimesID, "syscount-time"))
	return h
}

// callDistribution is how long the named call of a target takes, or that in which most time goes if none is
// named.
func callDistribution(f Frame, t collectors.Target, name string) distribution {
	times := targetTimesOver(f, t)
	if name == "" {
		for call, x := range times {
			if best := times[name]; best == nil || x.now.Sum > best.now.Sum || x.now.Sum == best.now.Sum && call < name {
				name = call
			}
		}
	}
	h := Histogram{ID: callHistogram + name, Title: "times of " + name}
	switch x := times[name]; {
	case x != nil:
		h = callHistogramOf(f, name, x)
	case name == "":
		h.Title, h.Why = "times of calls", untimed(f, t)
	default:
		h.Why = untimed(f, t)
		if times != nil {
			h.Why = "no such call returned in the last interval"
		}
	}
	return distribution{h, func(n int) []*collectors.Hist {
		return columns(f, n, callTimesOf, callTimesSpan, func(s *collectors.SyscallTimes) *collectors.Hist {
			one := narrowedOf(s.Narrowed, t)
			if one == nil {
				return nil
			}
			for i := range one.Sample.Calls {
				if c := &one.Sample.Calls[i]; c.Name == name {
					h := c.Hist.Hist()
					return &h
				}
			}
			return &collectors.Hist{}
		})
	}}
}
