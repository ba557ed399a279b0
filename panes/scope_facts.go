// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// scopeLine is what the kernel counts of the scope alone, for the pane on the screen: of what the pane
// wants narrowed to it. Empty where it wants nothing so.
func scopeLine(f Frame, c Canvas, wants []collectors.Want) string {
	var parts []string
	since, asked, known := time.Duration(0), false, false
	counts := scopeCounts()
	for _, w := range wants {
		count := counts[w.ID]
		if w.Target != f.Scope.Target || count == nil {
			continue
		}
		asked = true
		if text, from, ok := count(f, w.Target); ok {
			known, since = true, max(since, from)
			parts = append(parts, text...)
		}
	}
	if !asked {
		return ""
	}
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Accent, f.Scope.Name).Skip(2)
	switch {
	case !known && f.Now.Snapshot == nil:
		return l.Put(c.Theme.Dim, "waiting for the filter in the kernel").String()
	case !known:
		return l.Put(c.Theme.Dim, widget.ClipWords("is not counted apart here: just asked for, or nobody looked", l.Left())).String()
	case len(parts) == 0:
		parts = []string{"nothing in the last interval"}
	}
	from := ""
	if f.Now.Snapshot != nil {
		from = "by the kernel since " + f.Now.Taken.Add(since-f.Now.At).Format("15:04:05")
	}
	if room := c.Width - l.Width() - widget.Width(from) - 3; widget.Width(strings.Join(parts, "  ")) > room {
		from = ""
	}
	for _, p := range parts {
		if widget.Width(p)+1 > l.Left() {
			break
		}
		name, value, _ := strings.Cut(p, " ")
		l.Put(c.Theme.Dim, name+" ").Plain(value).Skip(2)
	}
	return strings.TrimRight(l.Right(c.Theme.Dim, from, c.Width-1).String(), " ")
}

// scopeCount reads a collector's narrowed sample: names with values, and since when it is counted.
type scopeCount func(f Frame, t collectors.Target) (parts []string, since time.Duration, ok bool)

// scopeCounts are the collectors that tell something of one target.
func scopeCounts() map[collectors.ID]scopeCount {
	return map[collectors.ID]scopeCount{
		collectors.BlockID:    scopeBlock,
		collectors.LatencyID:  scopeLatency,
		collectors.FlowID:     scopeFlow,
		collectors.ExecID:     scopeExec,
		collectors.FilesID:    scopeFiles,
		collectors.OpensID:    scopeOpens,
		collectors.ReclaimID:  scopeReclaim,
		collectors.KmemID:     scopeKmem,
		collectors.DNSID:      scopeDNS,
		collectors.SignalsID:  scopeSignals,
		collectors.SyscallsID: scopeCalls,
	}
}

// scopeOf writes what a collector counts of one target, from the newest sample.
func scopeOf[S, N any, P apart[S, N]](s P, t collectors.Target, write func(p *perSpan, c *N)) ([]string, time.Duration, bool) {
	n, span := narrowedIn(s, t)
	if n == nil {
		return nil, 0, false
	}
	p := &perSpan{Span: span}
	write(p, &n.Sample)
	return p.parts, n.Since, true
}

// perSpan writes counts over a span as rates, those that are 0 left out.
type perSpan struct {
	collectors.Span
	parts []string
}

func (p *perSpan) add(name string, n uint64) {
	if n > 0 && p.Seconds() > 0 {
		p.parts = append(p.parts, name+" "+widget.Short(float64(n)/p.Seconds())+"/s")
	}
}

func (p *perSpan) bytes(name string, n uint64) {
	if n > 0 && p.Seconds() > 0 {
		p.parts = append(p.parts, name+" "+widget.Bytes(uint64(float64(n)/p.Seconds()))+"/s")
	}
}

// hist writes a distribution, if it holds anything.
func (p *perSpan) hist(name string, h *collectors.Hist) {
	if h.Count() > 0 {
		p.parts = append(p.parts, fmt.Sprintf("%s n %s p50 %s p99 %s max %s", name, widget.Count(h.Count()), quantile(h, 0.5), quantile(h, 0.99), quantile(h, 1)))
	}
}

func scopeBlock(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, blockOf), t, func(p *perSpan, c *collectors.BlockTarget) {
		for op, name := range []string{"reads", "writes", "flushes", "others"} {
			h := c.Device[op].Hist()
			p.hist(name, &h)
		}
	})
}

func scopeLatency(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	x, _ := latencyOf(f, t)
	if x == nil {
		return nil, 0, false
	}
	p := perSpan{}
	p.hist("waits", &x.Sample.Wait)
	p.hist("runs", &x.Sample.OnCPU)
	return p.parts, x.Since, true
}

func scopeFlow(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, flowOf), t, func(p *perSpan, c *collectors.FlowDelta) {
		n := &c.Counts
		p.add("connects", n[collectors.FlowConnects])
		p.add("failed", n.Failures())
		p.add("accepts", n[collectors.FlowAccepts])
		p.add("retransmits", n[collectors.FlowRetransmits])
		p.add("broken", n.Broken())
		p.bytes("sent", n[collectors.FlowSent])
		p.bytes("received", n[collectors.FlowReceived])
		set := c.Set()
		both := set.Hists[collectors.FlowLatency][collectors.FlowNetwork]
		both.Plus(&set.Hists[collectors.FlowLatency][collectors.FlowLoopback])
		p.hist("connecting", &both)
	})
}

func scopeExec(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, execOf), t, func(p *perSpan, c *collectors.ExecCounts) {
		p.add("execs", c.Execs)
		p.add("forks", c.Forks)
		p.add("threads", c.Threads)
		p.add("exits", c.Exits)
		p.add("failed", c.Failed)
		p.add("killed", c.Killed)
	})
}

func scopeFiles(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, madeFilesOf), t, func(p *perSpan, c *collectors.FileCounts) {
		p.add("made", c.Made)
		p.add("deleted", c.Deleted)
		p.hist("age", &c.Life)
	})
}

func scopeOpens(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, opensOf), t, func(p *perSpan, c *collectors.OpenCounts) {
		p.add("opens", c.N)
		p.add("failed", c.Failed)
	})
}

func scopeReclaim(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, reclaimOf), t, func(p *perSpan, c *collectors.ReclaimCounts) {
		p.hist("reclaim", &c.Direct)
		p.hist("limit", &c.Memcg)
		p.hist("compaction", &c.Compact)
		p.add("throttled", c.Throttled)
		p.add("kills", c.Kills)
	})
}

func scopeKmem(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, kmemOf), t, func(p *perSpan, c *collectors.KmemCounts) {
		caches := slices.Clone(c.Caches)
		sortBy(caches, func(a, b collectors.KmemCount) int { return cmp.Compare(b.Allocs, a.Allocs) })
		for _, k := range caches[:min(len(caches), 4)] {
			p.add(clean(k.Name), k.Allocs)
		}
	})
}

func scopeDNS(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, dnsOf), t, func(p *perSpan, c *collectors.DNSNarrowed) {
		p.add("questions", c.Delta.Queries)
		p.add("answers", c.Delta.Answers)
		p.add("unanswered", c.Delta.Unanswered)
	})
}

func scopeSignals(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, signalsOf), t, func(p *perSpan, c *collectors.SignalCounts) {
		p.add("signals", c.Signals)
		p.add("fatal", c.Fatal)
	})
}

func scopeCalls(f Frame, t collectors.Target) ([]string, time.Duration, bool) {
	return scopeOf(newest(f, syscallsOf), t, func(p *perSpan, c *collectors.SyscallTarget) {
		p.add("calls", c.N)
		p.add("errors", c.Errors)
	})
}
