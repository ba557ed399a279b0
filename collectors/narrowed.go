// SPDX-License-Identifier: Apache-2.0

package collectors

// Apart is what b counts of single targets, and over which span.
func (b *Block) Apart() ([]Targeted[BlockTarget], Span) { return b.Narrowed, b.Span }

// Apart is what d counts of single targets, and over which span.
func (d *DNS) Apart() ([]Targeted[DNSNarrowed], Span) { return d.Narrowed, d.Span }

// Apart is what e counts of single targets, and over which span.
func (e *Exec) Apart() ([]Targeted[ExecCounts], Span) { return e.Narrowed, e.Span }

// Apart is what f counts of single targets, and over which span.
func (f *Files) Apart() ([]Targeted[FileCounts], Span) { return f.Narrowed, f.Span }

// Apart is what f counts of single targets, and over which span.
func (f *Flow) Apart() ([]Targeted[FlowDelta], Span) { return f.Narrowed, f.Span }

// Apart is what k counts of single targets, and over which span.
func (k *Kmem) Apart() ([]Targeted[KmemCounts], Span) { return k.Narrowed, k.Span }

// Apart is what l counts of single targets, and over which span.
func (l *Latency) Apart() ([]Targeted[LatencyCounts], Span) { return l.Narrowed, l.Span }

// Apart is what l counts of single targets, and over which span.
func (l *Limits) Apart() ([]Targeted[ProcessLimits], Span) { return l.Narrowed, l.Span }

// Apart is what s counts of single targets, and over which span.
func (s *Opens) Apart() ([]Targeted[OpenCounts], Span) { return s.Narrowed, s.Span }

// Apart is what r counts of single targets, and over which span.
func (r *Reclaim) Apart() ([]Targeted[ReclaimCounts], Span) { return r.Narrowed, r.Span }

// Apart is what s counts of single targets, and over which span.
func (s *Signals) Apart() ([]Targeted[SignalCounts], Span) { return s.Narrowed, s.Span }

// Apart is what s counts of single targets, and over which span.
func (s *Syscalls) Apart() ([]Targeted[SyscallTarget], Span) { return s.Narrowed, s.Span }

// Apart is what s counts of single targets, and over which span.
func (s *SyscallTimes) Apart() ([]Targeted[TargetTimes], Span) { return s.Narrowed, s.Span }
