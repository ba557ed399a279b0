// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// CachestatID is the on-demand collector of hits and misses in the page cache.
const CachestatID ID = "cachestat"

// Cachestat is what reads and page faults found in the page cache over the span. Best effort: see
// PageCounts.
type Cachestat struct {
	Span
	Host   PageCounts
	Rows   []PageUser // the most pages first, at most 200
	Others PageUser   // processes that are not in Rows

	Hook         string // what accesses are seen by; empty: by nothing
	KnowsFaults  bool   // Faults, and what they asked for
	KnowsDirtied bool   // Dirtied and Written
}

// PageCounts are additive, in pages.
type PageCounts struct {
	Asked   uint64 // pages that reads and faults asked for
	Added   uint64 // pages brought into the cache, by readahead too
	Written uint64 // of Added: to be written, so nobody missed them
	Dirtied uint64
	Faults  uint64 // of Asked: by page faults
}

// Misses are the pages brought in for somebody who reads. bcc counts them so.
func (c *PageCounts) Misses() uint64 { return c.Added - min(c.Written, c.Added) }

// Hits are the pages asked for less the misses. Readahead brings in pages before they are asked for, so
// that a short span may have more misses than pages asked for: then there are no hits, and Ahead.
func (c *PageCounts) Hits() uint64 { return c.Asked - min(c.Misses(), c.Asked) }

// Ahead are the pages brought in that nobody has asked for yet.
func (c *PageCounts) Ahead() uint64 { return c.Misses() - min(c.Asked, c.Misses()) }

// HitRatio is the share of pages asked for that were there, 0 to 1; false where nothing was asked for.
func (c *PageCounts) HitRatio() (float64, bool) {
	if c.Asked == 0 {
		return 0, false
	}
	return float64(c.Hits()) / float64(c.Asked), true
}

// Plus adds another span's.
func (c *PageCounts) Plus(d *PageCounts) {
	c.Asked += d.Asked
	c.Added += d.Added
	c.Written += d.Written
	c.Dirtied += d.Dirtied
	c.Faults += d.Faults
}

func (c *PageCounts) since(p *PageCounts) PageCounts {
	return PageCounts{
		Asked: grown(p.Asked, c.Asked), Added: grown(p.Added, c.Added), Written: grown(p.Written, c.Written),
		Dirtied: grown(p.Dirtied, c.Dirtied), Faults: grown(p.Faults, c.Faults),
	}
}

// PageUser is one process. Kernel threads write back and read ahead for others.
type PageUser struct {
	Process
	Comm   Raw
	Cgroup uint64 // as ProcInfo.Cgroup, when it first used the cache
	PageCounts
}

func (c *Cachestat) put(s *Snapshot) { s.Cachestat = c }

func (c *Cachestat) size() int {
	n := allocSize(unsafe.Sizeof(*c)) + sliceSize(c.Rows)
	for i := range c.Rows {
		n += allocSize(uintptr(len(c.Rows[i].Comm.s)))
	}
	return n
}

// withoutRows returns a copy that keeps the sums.
func (c *Cachestat) withoutRows() *Cachestat {
	d := *c
	d.Rows = nil
	return &d
}

// cachestatReader is what the collector needs of bpf.Cachestat.
type cachestatReader interface {
	Hook() string
	AskedErr() error
	MapErr() error
	DirtyErr() error
	Read() (bpf.CacheCounts, error)
	Rows(now time.Duration, each func(*bpf.CacheKey, *bpf.CacheRow)) error
	Pause(on bool) error
	Close() error
}

type cachestatCollector struct {
	open func() (cachestatReader, error)

	r      cachestatReader
	begun  bool
	last   time.Duration
	prev   PageCounts
	rows   map[Process]PageUser
	events uint64
	err    error
}

// NewCachestat returns the collector of Cachestat, with the BPF programs of package bpf.
func NewCachestat(k *bpf.Kernel) Collector {
	return newCachestat(func() (cachestatReader, error) {
		c, err := bpf.OpenCachestat(k)
		if err != nil {
			return nil, err
		}
		return c, nil
	})
}

func newCachestat(open func() (cachestatReader, error)) *cachestatCollector {
	return &cachestatCollector{open: open}
}

func (c *cachestatCollector) Meta() Meta { return Meta{ID: CachestatID, OnDemand: true, Slow: true} }

func (c *cachestatCollector) Start(context.Context) error {
	c.begun, c.err, c.events = false, nil, 0
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the page-cache probes: %w", err)
	}
	c.r = r
	return nil
}

// Pause implements Pauser.
func (c *cachestatCollector) Pause(on bool) error { return c.r.Pause(on) }

// Collect reads the maps. The first reading is the baseline.
func (c *cachestatCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	n, err := c.r.Read()
	rows := make(map[Process]PageUser, len(c.rows))
	if err == nil {
		err = c.r.Rows(now, func(k *bpf.CacheKey, v *bpf.CacheRow) {
			p := Process{k.Tgid, k.Start}
			rows[p] = PageUser{Process: p, Comm: rawName(v.Comm[:]), Cgroup: v.Cgroup, PageCounts: PageCounts{v.Asked, v.Added, v.Written, v.Dirtied, v.Faults}}
		})
	}
	if c.err = err; err != nil {
		return nil, err
	}
	cur := PageCounts{n.Asked, n.Added, n.Written, n.Dirtied, n.Faults}
	if !c.begun {
		c.prev, c.rows, c.begun, c.last = cur, rows, true, now
		return nil, ErrWarming
	}
	s := &Cachestat{
		Span: Span{c.last, now}, Host: cur.since(&c.prev), Hook: c.r.Hook(),
		KnowsFaults: c.r.MapErr() == nil, KnowsDirtied: c.r.DirtyErr() == nil,
	}
	s.Rows, s.Others = pageUsers(c.rows, rows)
	c.events += s.Host.Asked + s.Host.Added + s.Host.Dirtied
	c.prev, c.rows, c.last = cur, rows, now
	return s, nil
}

// pageUsers subtracts two readings, process by process, and keeps those with the most pages.
func pageUsers(prev, cur map[Process]PageUser) (rows []PageUser, others PageUser) {
	for p, u := range cur {
		was := prev[p]
		u.PageCounts = u.since(&was.PageCounts)
		switch {
		case u.PageCounts == PageCounts{}:
		case p == Process{}:
			others.Plus(&u.PageCounts)
		default:
			rows = append(rows, u)
		}
	}
	sortBy(rows, func(a, b PageUser) int {
		return cmp.Or(cmp.Compare(b.Asked+b.Added, a.Asked+a.Added), cmp.Compare(b.Dirtied, a.Dirtied), cmp.Compare(a.TGID, b.TGID))
	})
	if len(rows) > maxListed {
		for i := range rows[maxListed:] {
			others.Plus(&rows[maxListed+i].PageCounts)
		}
		rows = slices.Clone(rows[:maxListed])
	}
	return rows, others
}

// Probes is cachestat. Events are pages, and so the cost of one is at the most what it says.
func (c *cachestatCollector) Probes() []Probe {
	p := Probe{Name: "cachestat", State: Idle, Hook: "tp_btf mm_filemap_*, writeback_dirty_folio", Reason: "attaches while somebody looks"}
	if c.r == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Events, p.NsPerEvent = c.events, bpf.CostCache
	if p.State != On {
		return []Probe{p}
	}
	switch {
	case c.r.AskedErr() != nil:
		p.State = Degraded
		p.explain(c.r.AskedErr())
		p.Reason = "pages brought in only: " + p.Reason
	case c.r.MapErr() != nil:
		p.State, p.Hook = Degraded, c.r.Hook()+", tp_btf mm_filemap_add_to_page_cache"
		p.explain(c.r.MapErr())
	case c.r.DirtyErr() != nil:
		p.State = Degraded
		p.explain(c.r.DirtyErr())
		p.Reason = "pages to be written are taken for misses: " + p.Reason
	}
	return []Probe{p}
}

func (c *cachestatCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}
