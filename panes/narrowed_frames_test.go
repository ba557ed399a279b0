// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"net/netip"
	"time"

	"bpf60/collectors"
)

// addNarrowed makes what is counted of the second's first tasks alone, as part of what the host did.
func addNarrowed(s *story, l load, snap *collectors.Snapshot) {
	limits := collectors.Probe{Name: "prlimit", State: collectors.On, Hook: "/proc/PID/limits, status, fd"}
	snap.Probes[collectors.LimitsID] = []collectors.Probe{limits}
	if s.kind == "denied" || unwatched(s) || snap.Tasks == nil {
		return
	}
	lim := &collectors.Limits{Span: snap.Host.Span}
	for i := range min(len(snap.Tasks.Rows), 3) {
		r := &snap.Tasks.Rows[i]
		if r.ProcInfo == nil {
			continue
		}
		t := collectors.Target{Kind: collectors.ProcessTarget, Process: r.Process}
		const since = time.Second
		n := uint64(r.Run/time.Millisecond) + 1
		if b := snap.Block; b != nil {
			x := collectors.BlockTarget{Bytes: [4]uint64{0, n * 65536}}
			x.Device[1], x.Queued[1] = hist32(map[int]uint64{9: n - n/4, 12: n / 4}), hist32(map[int]uint64{3: n})
			b.Narrowed = append(b.Narrowed, collectors.Targeted[collectors.BlockTarget]{Target: t, Since: since, Sample: x})
		}
		if o := snap.Opens; o != nil {
			var c collectors.OpenCounts
			for _, p := range o.Paths {
				if p.Process == r.Process {
					c.N += p.N
					if p.Errno != 0 {
						c.Failed += p.N
					}
				}
			}
			o.Narrowed = append(o.Narrowed, collectors.Targeted[collectors.OpenCounts]{Target: t, Since: since, Sample: c})
		}
		if c := snap.Syscalls; c != nil {
			var x collectors.SyscallTarget
			for _, p := range c.Pairs {
				if p.Process == r.Process {
					x.Plus(&p.SyscallCounts)
					x.Calls = append(x.Calls, collectors.SyscallCall{Call: p.Call, Name: p.Name, SyscallCounts: p.SyscallCounts})
				}
			}
			c.Narrowed = append(c.Narrowed, collectors.Targeted[collectors.SyscallTarget]{Target: t, Since: since, Sample: x})
			addTargetTimes(snap, t, since, &x)
		}
		if k := snap.Kmem; k != nil {
			var x collectors.KmemCounts
			for _, c := range k.Caches {
				for _, w := range c.Who {
					if w.Process == r.Process && len(x.Caches) < 20 {
						x.Caches = append(x.Caches, collectors.KmemCount{Name: c.Name, Size: c.Size, Allocs: w.Allocs})
					}
				}
			}
			k.Narrowed = append(k.Narrowed, collectors.Targeted[collectors.KmemCounts]{Target: t, Since: since, Sample: x})
		}
		if m := snap.Reclaim; m != nil {
			m.Narrowed = append(m.Narrowed, collectors.Targeted[collectors.ReclaimCounts]{Target: t, Since: since, Sample: collectors.ReclaimCounts{Direct: spread(map[int]uint64{11: uint64(l.blocked)})}})
		}
		if w := snap.Flow; w != nil {
			var x collectors.FlowDelta
			x.Counts[collectors.FlowConnects], x.Counts[collectors.FlowRetransmits] = n, uint64(i)
			x.Hists[collectors.FlowLatency][collectors.FlowNetwork] = hist32(map[int]uint64{10: n})
			w.Narrowed = append(w.Narrowed, collectors.Targeted[collectors.FlowDelta]{Target: t, Since: since, Sample: x})
		}
		lim.Narrowed = append(lim.Narrowed, collectors.Targeted[collectors.ProcessLimits]{Target: t, Since: since, Sample: fixtureLimits(s.kind)})
		if k := snap.Sockets; k != nil && i == 0 && s.kind == "busy" && len(k.Rows) > 0 {
			id := *k.Rows[0].SocketID
			id.Cookie, id.Local, id.Owner = 77, netip.MustParseAddrPort("10.0.0.2:51000"), &collectors.SocketOwner{Process: r.Process, Comm: r.Comm}
			row := k.Rows[0]
			row.SocketID, row.Acked, row.Received, row.RecvQ, row.SendQ = &id, 0, 0, 0, 0
			k.Rows = append(k.Rows, row)
		}
	}
	snap.Limits = lim
}

func hist32(counts map[int]uint64) collectors.Hist32 {
	h := spread(counts)
	return h.Hist32()
}

// fixtureLimits are the limits of a usual service.
func fixtureLimits(kind string) collectors.ProcessLimits {
	const none = collectors.NoLimit
	out := collectors.ProcessLimits{Files: 871, FilesKnown: true, Rows: []collectors.ResourceLimit{
		{Name: "cpu", Unit: "seconds", Soft: none, Hard: none},
		{Name: "stack", Unit: "bytes", Soft: 8 << 20, Hard: none, Used: 132 << 10, Known: true},
		{Name: "nproc", Unit: "threads", Soft: 127_540, Hard: 127_540},
		{Name: "nofile", Unit: "files", Soft: 1024, Hard: 524_288, Used: 871, Known: true},
		{Name: "memlock", Unit: "bytes", Soft: 8 << 20, Hard: 8 << 20, Used: 0, Known: true},
		{Name: "as", Unit: "bytes", Soft: none, Hard: none, Used: 412 << 20, Known: true},
		{Name: "locks", Unit: "locks", Soft: none, Hard: none},
		{Name: "nice", Soft: 0, Hard: 0},
	}}
	if kind == "extreme" {
		for i := range out.Rows {
			out.Rows[i].Used, out.Rows[i].Soft, out.Rows[i].Hard, out.Rows[i].Known = math.MaxUint64, math.MaxUint64-1, math.MaxUint64-1, true
		}
	}
	return out
}

// processWants are the collectors of a process page.
func processWants() []collectors.ID {
	return []collectors.ID{
		collectors.TasksID, collectors.LatencyID, collectors.BlockID, collectors.OpensID, collectors.SlowFilesID, collectors.SocketsID,
		collectors.FlowID, collectors.ProfileID, collectors.SyscallsID, collectors.SyscallTimesID, collectors.KmemID, collectors.ReclaimID, collectors.LimitsID, collectors.CgroupsID,
	}
}

// addTargetTimes times a target's calls as the host's, those of them that were timed.
func addTargetTimes(snap *collectors.Snapshot, t collectors.Target, since time.Duration, x *collectors.SyscallTarget) {
	if snap.SyscallTimes == nil {
		return
	}
	var out collectors.TargetTimes
	for _, c := range x.Calls {
		for _, h := range snap.SyscallTimes.Calls {
			if h.Call != c.Call || c.Timed == 0 {
				continue
			}
			slot := collectors.Slot(uint64(c.Time) / c.Timed)
			one := hist32(map[int]uint64{slot: c.Timed})
			total := one.Hist()
			out.Calls = append(out.Calls, collectors.CallTimes{Call: c.Call, Name: c.Name, Hist: one, Total: total})
		}
	}
	snap.SyscallTimes.Narrowed = append(snap.SyscallTimes.Narrowed, collectors.Targeted[collectors.TargetTimes]{Target: t, Since: since, Sample: out})
}
