// SPDX-License-Identifier: Apache-2.0

package collectors

import "time"

// SelfID is the collector of what bpf60 itself costs.
const SelfID ID = "self"

// Self is bpf60's own cost.
type Self struct {
	Span
	CPU      time.Duration // user and system over the span (getrusage)
	CPUTotal time.Duration // since start
	RSS      uint64        // bytes now
	MaxRSS   uint64        // bytes, the most so far
	BPF      time.Duration // over the span: events × a constant measured per attach type, an estimate
	BPFTotal time.Duration // since start
	Lost     uint64        // events lost since start, all probes
	Nice     int           // our own priority
}

func (s *Self) put(snap *Snapshot) { snap.Self = s }
