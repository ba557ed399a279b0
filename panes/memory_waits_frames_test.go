// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"time"

	"bpf60/collectors"
)

// addReclaim makes the waits that the story's allocstall and pressure follow from: a wait is 2 ms long.
func addReclaim(s *story, l load, snap *collectors.Snapshot) {
	i := len(s.moments)
	s.probes[collectors.ReclaimID] = reclaimProbes(s.kind)
	snap.Probes[collectors.ReclaimID] = s.probes[collectors.ReclaimID]
	if s.kind == "denied" || i == 0 {
		return
	}
	var total collectors.ReclaimCounts
	var kills *collectors.OOMKills
	for k := i - 1; k > 0; k-- {
		if r := s.moments[k].Reclaim; r != nil {
			total, kills = *r.Total, r.Kills
			break
		}
	}
	r := &collectors.Reclaim{
		Span: collectors.Span{From: snap.At - time.Second, To: snap.At}, Kills: kills,
		Reclaims: true, Compacts: s.kind != "lossy", OOM: true,
	}
	now := reclaimNow(s, i, snap)
	if now != (collectors.ReclaimCounts{}) {
		r.Now = &now
		total.Plus(&now)
		r.Rows = reclaimRows(s.kind, &now)
		r.Stalls = reclaimStalls(snap.At, r.Rows)
		if n := now.Stalls(); n > uint64(len(r.Stalls)) {
			r.Unlisted = n - uint64(len(r.Stalls))
		}
	}
	if now.Kills > 0 {
		kill := collectors.OOMKill{
			At: snap.At - 400*time.Millisecond, Victim: collectors.Process{TGID: int32(7700 + i), Start: 77e9}, Comm: collectors.RawString("worker"),
			UID: 1000, Score: 500, Memcg: 5210, Trigger: collectors.Process{TGID: 812, Start: 812e9}, By: collectors.RawString("java"),
			For: collectors.OOMHost, Known: true, Anon: 412 << 20, File: 3 << 20, Swap: 96 << 20, Size: 2 << 30,
		}
		if s.kind == "extreme" {
			kill.Comm, kill.By, kill.UID, kill.Score, kill.Anon = collectors.RawString("\x1b[2J\u202evictim\xff"), collectors.RawString("日本語日本語日"), 1<<32-1, -1000, 20<<40
		}
		var list []collectors.OOMKill
		if kills != nil {
			list = kills.List
		}
		r.Kills, r.Fresh = &collectors.OOMKills{List: append(append([]collectors.OOMKill(nil), list...), kill)}, 1
	}
	r.Total = &total
	snap.Reclaim = r
}

func reclaimNow(s *story, i int, snap *collectors.Snapshot) (now collectors.ReclaimCounts) {
	direct := uint64(0)
	if snap.Memory != nil {
		direct = snap.Memory.VM.N[collectors.VMAllocStall]
		now.Kills = snap.Memory.VM.N[collectors.VMOOMKill]
		now.Kswapd = snap.Memory.VM.N[collectors.VMKswapdWakes]
	}
	switch s.kind {
	case "busy":
		if i%20 == 7 { // the backup's cgroup touches its limit now and then
			now.Memcg, now.PagesMemcg = spread(map[int]uint64{6: 3, 7: 4, 9: 1}), 8*32
		}
		return now
	case "lossy":
		now.Memcg, now.PagesMemcg, now.Missed = spread(map[int]uint64{10: 41, 12: 3}), 44*32, 12
		return now
	case "extreme":
		now.Direct, now.Memcg = spread(map[int]uint64{0: 99_000_000, 20: 9_000, 26: 70}), spread(map[int]uint64{5: 80_000_000})
		now.Compact, now.PagesDirect, now.Throttled, now.ThrottledFor = spread(map[int]uint64{3: 1_000_000}), 1<<40, 1<<30, 1e6*time.Second
		now.Kills, now.Background = 1, 1<<30
		return now
	}
	if direct == 0 {
		return now
	}
	now.Direct = spread(map[int]uint64{7: direct / 4, 9: direct / 4, 10: direct - direct/4 - direct/4 - 2, 14: 2})
	now.PagesDirect = uint64(math.Round(float64(direct) * 30))
	now.Compact = spread(map[int]uint64{5: direct / 30})
	return now
}

func reclaimRows(kind string, now *collectors.ReclaimCounts) []collectors.MemoryWaiter {
	who := []struct {
		pid   int32
		name  string
		memcg uint64
		of    int // hundredths
	}{{812, "java", 5210, 61}, {640, "nginx", 5300, 24}, {4121, "gzip", 0, 15}}
	if kind == "extreme" {
		who[0].name, who[1].name = "\x1b[31mroot\x1b[0m\u202e", "日本語日本語日本語"
		for i := range 197 {
			who = append(who, struct {
				pid   int32
				name  string
				memcg uint64
				of    int
			}{int32(4_000_000 + i), fmt.Sprintf("a-name-of-15-%d", i), uint64(i), 0})
		}
	}
	part := func(h *collectors.Hist, of int, first bool) (out collectors.Hist) {
		for i, n := range h.Slots {
			out.Slots[i] = n * uint64(of) / 100
			if first { // takes what rounding leaves
				out.Slots[i] = n - n*24/100 - n*15/100
			}
			b := collectors.SlotBucket(i)
			out.Sum += out.Slots[i] * (b.Lo + b.Hi + 1) * 500
		}
		return out
	}
	var rows []collectors.MemoryWaiter
	for i, x := range who {
		direct, memcg, compact := part(&now.Direct, x.of, i == 0), part(&now.Memcg, x.of, i == 0), part(&now.Compact, x.of, i == 0)
		w := collectors.MemoryWaiter{
			Process: collectors.Process{TGID: x.pid, Start: uint64(x.pid) * 1e9}, Comm: collectors.RawString(x.name), Memcg: x.memcg,
			Count: [collectors.StallKinds]uint64{direct.Count(), memcg.Count(), compact.Count()},
			For:   [collectors.StallKinds]time.Duration{time.Duration(direct.Sum), time.Duration(memcg.Sum), time.Duration(compact.Sum)},
			Pages: (now.PagesDirect + now.PagesMemcg) * uint64(x.of) / 100, Throttled: now.ThrottledFor * time.Duration(x.of) / 100,
		}
		both := direct
		both.Plus(&memcg)
		w.Reclaim = both.Hist32()
		if w.Stalls() > 0 || kind == "extreme" {
			rows = append(rows, w)
		}
	}
	return rows
}

// reclaimStalls are the longest of each process.
func reclaimStalls(at time.Duration, rows []collectors.MemoryWaiter) []collectors.MemoryStall {
	var out []collectors.MemoryStall
	for i, w := range rows[:min(len(rows), 3)] {
		h := w.Reclaim.Hist()
		b, ok := h.Max()
		if !ok {
			continue
		}
		kind := collectors.DirectStall
		if w.Count[collectors.MemcgStall] > 0 {
			kind = collectors.MemcgStall
		}
		out = append(out, collectors.MemoryStall{
			At: at - time.Duration(i+1)*200*time.Millisecond, Process: w.Process, TID: w.TGID + int32(i), Comm: w.Comm, Kind: kind,
			Took: time.Duration(b.Lo+b.Hi+1) * 500, Pages: 32, Memcg: w.Memcg,
		})
	}
	return out
}

func reclaimProbes(kind string) []collectors.Probe {
	rows := []collectors.Probe{
		{Name: "drsnoop", State: collectors.On, Hook: "tp_btf mm_vmscan_*_reclaim_begin/end"},
		{Name: "compactsnoop", State: collectors.On, Hook: "tp_btf mm_compaction_begin/end"},
		{Name: "oomkill", State: collectors.On, Hook: "tp_btf mark_victim"},
	}
	switch kind {
	case "lossy":
		rows[1].State, rows[1].Reason = collectors.Off, "finding tracepoint mm_compaction_begin in BTF: not found"
	case "denied":
		for i := range rows {
			rows[i].State, rows[i].Reason, rows[i].Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
		}
	}
	return rows
}

// addAllocations makes the dentry cache grow as slabSample has it: names that backups look up stay.
func addAllocations(s *story, l load, snap *collectors.Snapshot) {
	p := collectors.Probe{Name: "slabratetop", State: collectors.On, Hook: "tp_btf kmem_cache_alloc, kmem_cache_free"}
	switch s.kind {
	case "denied":
		p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
	case "lossy":
		p.State, p.Reason = collectors.Degraded, "caches are named after the functions that allocate, and frees only as a whole: before 5.19 the tracepoint does not name them"
	}
	s.probes[collectors.KmemID] = []collectors.Probe{p}
	snap.Probes[collectors.KmemID] = s.probes[collectors.KmemID]
	i := len(s.moments)
	if s.kind == "denied" || i == 0 {
		return
	}
	k := &collectors.Kmem{Span: collectors.Span{From: snap.At - time.Second, To: snap.At}, KnowsFrees: true, BySite: s.kind == "lossy"}
	lookup := &collectors.AllocStack{Frames: []string{"__d_alloc", "d_alloc", "d_alloc_parallel", "__lookup_slow", "walk_component", "path_lookupat"}}
	create := &collectors.AllocStack{Frames: []string{"__d_alloc", "d_alloc_pseudo", "alloc_file_pseudo", "sock_alloc_file"}}
	scale := uint64(100 * (l.usr + l.sys + 0.05))
	if s.kind == "extreme" {
		scale = 1 << 30
	}
	for n, x := range slabFixtures(s.kind) {
		if n > 120 {
			break
		}
		allocs := scale * uint64(200/(n+1)) / 10
		c := collectors.KmemCache{Name: collectors.RawString(x.name), Size: x.objSize, Allocs: allocs, Frees: allocs}
		if x.name == "kmalloc-512" || allocs == 0 {
			continue
		}
		if x.name == "dentry" && s.kind == "busy" {
			c.Frees -= min(c.Frees, 150*21)
			c.Allocs = c.Frees + 150*21
			allocs = c.Allocs
		}
		if len(l.tasks) > 1 {
			first := allocs * 8 / 10
			c.Who = []collectors.KmemOwner{owner(l.tasks[0], first), owner(l.tasks[1], (allocs-first)/2)}
			c.Others = allocs - first - (allocs-first)/2
		}
		if c.Samples = allocs / 64; c.Samples > 4 {
			c.From = []collectors.KmemSite{{AllocStack: lookup, Samples: c.Samples - c.Samples/5}, {AllocStack: create, Samples: c.Samples / 5}}
		}
		k.Caches = append(k.Caches, c)
		k.Allocs += c.Allocs
		k.Frees += c.Frees
		k.Bytes += c.Allocs * uint64(c.Size)
		k.Samples += c.Samples
	}
	snap.Kmem = k
}

func owner(t task, n uint64) collectors.KmemOwner {
	return collectors.KmemOwner{Process: collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}, Comm: collectors.RawString(t.name), Allocs: n}
}

// addPageCache makes processes read: most of it is there, unless the story is busy with backups.
func addPageCache(s *story, l load, snap *collectors.Snapshot) {
	p := collectors.Probe{Name: "cachestat", State: collectors.On, Hook: "tp_btf mm_filemap_*, writeback_dirty_folio"}
	switch s.kind {
	case "denied":
		p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
	case "lossy":
		p.State, p.Reason = collectors.Degraded, "pages brought in only: finding tracepoint mm_filemap_get_pages in BTF: not found"
	}
	s.probes[collectors.CachestatID] = []collectors.Probe{p}
	snap.Probes[collectors.CachestatID] = s.probes[collectors.CachestatID]
	i := len(s.moments)
	if s.kind == "denied" || i == 0 {
		return
	}
	c := &collectors.Cachestat{
		Span: collectors.Span{From: snap.At - time.Second, To: snap.At}, Hook: "tp_btf mm_filemap_get_pages", KnowsFaults: true, KnowsDirtied: true,
	}
	asked := uint64(20_000 * (l.usr + l.sys + 0.01))
	for n, t := range l.tasks {
		u := collectors.PageUser{Process: collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}, Comm: collectors.RawString(t.name)}
		u.Asked = uint64(float64(asked) * t.run)
		u.Faults = u.Asked / 50
		switch {
		case s.kind == "extreme":
			u.Asked, u.Added, u.Dirtied = 1<<40, 1<<39, 1<<30
		case s.kind == "busy" && n < 2 && l.usr > 0.5:
			u.Added = u.Asked * 96 / 100
			if i%10 == 3 {
				u.Added += u.Asked // readahead runs ahead
			}
			u.Written, u.Dirtied = u.Added/20, u.Added/18
		default:
			u.Added, u.Dirtied = u.Asked/200, u.Asked/90
			u.Written = u.Added / 2
		}
		if s.kind == "lossy" {
			u.Asked, u.Faults = 0, 0
		}
		c.Rows = append(c.Rows, u)
		c.Host.Plus(&u.PageCounts)
	}
	if s.kind == "lossy" {
		c.Hook, c.KnowsFaults = "", false
	}
	snap.Cachestat = c
}
