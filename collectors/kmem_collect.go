// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bpf60/bpf"
)

const (
	// maxKmemOwners is how many pairs of a cache and a process a sample lists, beside the first of each
	// cache; maxKmemSites how many stacks.
	maxKmemOwners = 200
	maxKmemSites  = 100
)

// kmemReader is what the collector needs of bpf.Kmem.
type kmemReader interface {
	BySite() bool
	FreeErr() error
	Read() (bpf.KmemTotals, error)
	Allocs(now time.Duration, each func(*bpf.AllocKey, uint64)) error
	Frees(each func(cache, frees uint64)) error
	Caches(each func(cache uint64, c *bpf.SlabCache)) error
	Owners(now time.Duration, each func(bpf.AllocProcess, *bpf.AllocOwner)) error
	Sites(now time.Duration, each func(bpf.AllocSite, uint64)) error
	Stack(id uint32) ([]uint64, error)
	Narrowed(each func(bpf.AllocSlot, uint64)) error
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Focus(only bool, cache uint64) error
	Pause(on bool) error
	Close() error
}

// kmemReading is one reading of all maps, cumulative.
type kmemReading struct {
	totals bpf.KmemTotals
	allocs map[bpf.AllocKey]uint64
	frees  map[uint64]uint64
	sites  map[bpf.AllocSite]uint64
}

type kmemCollector struct {
	open    func() (kmemReader, error)
	symbols func(addr uint64) (string, bool) // false: not known yet
	find    func(now time.Duration) bool     // looks for those that were asked for
	lacks   func() *NeedError                // why there are no symbols

	r      kmemReader
	begun  bool
	last   time.Duration
	prev   kmemReading
	names  map[uint64]kmemName // of caches
	stacks map[uint32]*AllocStack
	known  map[string]string // siteCaches
	narrow slotBases[map[uint64]uint64]
	focus  kmemFocus
	events uint64
	lost   uint64
	err    error
}

type kmemName struct {
	name Raw
	size uint32
}

// NewKmem returns the collector of Kmem, with the BPF programs of package bpf.
func NewKmem(k *bpf.Kernel, fs FS) Collector {
	c := newKmem(func() (kmemReader, error) {
		m, err := bpf.OpenKmem(k)
		if err != nil {
			return nil, err
		}
		return m, nil
	})
	c.symbols, c.find, c.lacks = fs.names.at, fs.names.find, fs.names.need
	return c
}

func newKmem(open func() (kmemReader, error)) *kmemCollector {
	return &kmemCollector{open: open, known: siteCaches()}
}

func (c *kmemCollector) Meta() Meta { return Meta{ID: KmemID, OnDemand: true, Slow: true} }

func (c *kmemCollector) Start(context.Context) error {
	c.begun, c.err, c.events, c.lost = false, nil, 0, 0
	c.names, c.stacks = map[uint64]kmemName{}, map[uint32]*AllocStack{}
	c.focus = kmemFocus{}
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the slab probes: %w", err)
	}
	c.r = r
	return c.narrow.restore(c.r.Narrow, c.readSlot)
}

// readSlot is what a target took by cache.
func (c *kmemCollector) readSlot(slot int) (map[uint64]uint64, error) {
	out := map[uint64]uint64{}
	err := c.r.Narrowed(func(s bpf.AllocSlot, n uint64) {
		if int(s.Slot) == slot {
			out[s.Cache] = n
		}
	})
	return out, err
}

// Host implements HostNarrower.
func (c *kmemCollector) Host(wanted bool) { c.focus.host = wanted }

// Narrow implements Narrower: processes and cgroups are counted apart. While nobody looks at the host the
// rest of it is passed over; so are all caches but one while that is all somebody looks at.
func (c *kmemCollector) Narrow(targets []Target) error {
	c.focus.want(targets)
	if c.r == nil {
		c.narrow.want(targets)
		return nil
	}
	return errors.Join(c.narrow.to(targets, c.last, c.r.Narrow, c.readSlot), c.aim())
}

// Pause implements Pauser.
func (c *kmemCollector) Pause(on bool) error { return c.r.Pause(on) }

// Collect reads the maps. The first reading is the baseline.
func (c *kmemCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	cur, err := c.read(now)
	if c.err = err; err != nil {
		return nil, err
	}
	if !c.begun {
		c.prev, c.begun, c.last = cur, true, now
		return nil, ErrWarming
	}
	s := &Kmem{
		Span: Span{c.last, now}, BySite: c.r.BySite(), KnowsFrees: c.r.FreeErr() == nil,
		Allocs: grown(c.prev.totals.Allocs, cur.totals.Allocs), Frees: grown(c.prev.totals.Frees, cur.totals.Frees),
		Bytes: grown(c.prev.totals.Bytes, cur.totals.Bytes), Samples: grown(c.prev.totals.Samples, cur.totals.Samples),
		Unkeyed: grown(c.prev.totals.Unkeyed, cur.totals.Unkeyed), Unstacked: grown(c.prev.totals.Unstacked, cur.totals.Unstacked),
	}
	owners := map[bpf.AllocProcess]bpf.AllocOwner{}
	err = c.r.Owners(now, func(p bpf.AllocProcess, o *bpf.AllocOwner) { owners[p] = *o })
	if err == nil {
		c.askNames(&cur, now)
		err = c.nameCaches(&cur)
	}
	if err == nil {
		s.Narrowed, err = c.narrowed()
	}
	if c.err = err; err != nil {
		return nil, err
	}
	c.derive(s, &cur, owners)
	s.Partial, s.Only = c.focus.span(), c.names[c.focus.set.cache].name
	if c.err = c.aim(); c.err != nil {
		return nil, c.err
	}
	c.events += s.Allocs + s.Frees
	c.lost += s.Unkeyed
	c.prev, c.last = cur, now
	return s, nil
}

func (c *kmemCollector) read(now time.Duration) (kmemReading, error) {
	r := kmemReading{allocs: map[bpf.AllocKey]uint64{}, frees: map[uint64]uint64{}, sites: map[bpf.AllocSite]uint64{}}
	var err error
	if r.totals, err = c.r.Read(); err != nil {
		return r, err
	}
	if err := c.r.Allocs(now, func(k *bpf.AllocKey, n uint64) { r.allocs[*k] = n }); err != nil {
		return r, err
	}
	if err := c.r.Frees(func(cache, n uint64) { r.frees[cache] = n }); err != nil {
		return r, err
	}
	return r, c.r.Sites(now, func(s bpf.AllocSite, n uint64) { r.sites[s] = n })
}

// derive fills the caches of the sample: those of one name, as several sites may have, together.
func (c *kmemCollector) derive(s *Kmem, cur *kmemReading, owners map[bpf.AllocProcess]bpf.AllocOwner) {
	at := map[string]int{}
	cache := func(key uint64) *KmemCache {
		n, ok := c.names[key]
		if !ok { // its function has not been found yet
			n.name = RawString(fmt.Sprintf("%#x", key))
		}
		i, ok := at[n.name.s]
		if !ok {
			i = len(s.Caches)
			at[n.name.s] = i
			s.Caches = append(s.Caches, KmemCache{Name: n.name, Size: n.size})
		}
		return &s.Caches[i]
	}
	for key, n := range cur.frees {
		if d := grown(c.prev.frees[key], n); d > 0 {
			cache(key).Frees += d
		}
	}
	for key, n := range cur.allocs {
		d := grown(c.prev.allocs[key], n)
		if d == 0 {
			continue
		}
		x := cache(key.Cache)
		x.Allocs += d
		if key.Who == (bpf.AllocProcess{}) {
			x.Others += d
			continue
		}
		p := Process{key.Who.Tgid, key.Who.Start}
		if i := slices.IndexFunc(x.Who, func(o KmemOwner) bool { return o.Process == p }); i >= 0 {
			x.Who[i].Allocs += d
			continue
		}
		o := owners[key.Who]
		x.Who = append(x.Who, KmemOwner{Process: p, Comm: rawName(o.Comm[:]), Cgroup: o.Cgroup, Allocs: d})
	}
	for key, n := range cur.sites {
		d := grown(c.prev.sites[key], n)
		if d == 0 {
			continue
		}
		x := cache(key.Cache)
		x.Samples += d
		x.From = append(x.From, KmemSite{c.stack(key.Stack), d})
	}
	sortBy(s.Caches, func(a, b KmemCache) int {
		return cmp.Or(cmp.Compare(b.Allocs, a.Allocs), cmp.Compare(b.Frees, a.Frees), cmp.Compare(a.Name.s, b.Name.s))
	})
	bound(s)
}

// bound sorts what each cache lists and cuts it: of the host's pairs those with the most allocations,
// and at least one a cache.
func bound(s *Kmem) {
	var pairs, sites []uint64
	for i := range s.Caches {
		x := &s.Caches[i]
		sortBy(x.Who, func(a, b KmemOwner) int {
			return cmp.Or(cmp.Compare(b.Allocs, a.Allocs), cmp.Compare(a.TGID, b.TGID))
		})
		sortBy(x.From, func(a, b KmemSite) int {
			return cmp.Or(cmp.Compare(b.Samples, a.Samples), slices.Compare(a.Frames, b.Frames))
		})
		for _, o := range x.Who[min(1, len(x.Who)):] {
			pairs = append(pairs, o.Allocs)
		}
		for _, f := range x.From[min(1, len(x.From)):] {
			sites = append(sites, f.Samples)
		}
	}
	leastPair, leastSite := leastOf(pairs, maxKmemOwners), leastOf(sites, maxKmemSites)
	for i := range s.Caches {
		x := &s.Caches[i]
		keep := 0
		for keep < len(x.Who) && (keep == 0 || x.Who[keep].Allocs >= leastPair) {
			keep++
		}
		for _, o := range x.Who[keep:] {
			x.Others += o.Allocs
		}
		x.Who = slices.Clip(x.Who[:keep])
		keep = 0
		for keep < len(x.From) && (keep == 0 || x.From[keep].Samples >= leastSite) {
			keep++
		}
		x.From = slices.Clip(x.From[:keep])
	}
}

// leastOf is the least that is kept where only n are: all larger than the n-th, and it if it stands
// alone.
func leastOf(v []uint64, n int) uint64 {
	if len(v) <= n {
		return 0
	}
	sortBy(v, func(a, b uint64) int { return cmp.Compare(b, a) })
	if v[n] == v[n-1] {
		return v[n] + 1
	}
	return v[n-1]
}

func (c *kmemCollector) narrowed() ([]Targeted[KmemCounts], error) {
	deltas, err := c.narrow.read(c.readSlot, func(cur, prev *map[uint64]uint64) map[uint64]uint64 {
		d := map[uint64]uint64{}
		for cache, n := range *cur {
			if g := grown((*prev)[cache], n); g > 0 {
				d[cache] = g
			}
		}
		return d
	})
	if err != nil {
		return nil, err
	}
	var out []Targeted[KmemCounts]
	for _, t := range deltas {
		x := Targeted[KmemCounts]{Target: t.Target, Since: t.Since}
		for cache, n := range t.Sample {
			x.Sample.Caches = append(x.Sample.Caches, KmemCount{Name: c.names[cache].name, Size: c.names[cache].size, Allocs: n})
		}
		sortBy(x.Sample.Caches, func(a, b KmemCount) int {
			return cmp.Or(cmp.Compare(b.Allocs, a.Allocs), cmp.Compare(a.Name.s, b.Name.s))
		})
		out = append(out, x)
	}
	return out, nil
}

// Probes is slabratetop.
func (c *kmemCollector) Probes() []Probe {
	p := Probe{Name: "slabratetop", State: Idle, Hook: "tp_btf kmem_cache_alloc, kmem_cache_free", Reason: "attaches while somebody looks"}
	if c.r == nil {
		return []Probe{p}
	}
	p.State, p.Reason = stateOf(c.begun, c.err)
	p.Events, p.Lost, p.NsPerEvent = c.events, c.lost, bpf.CostAlloc
	if p.State != On {
		return []Probe{p}
	}
	switch need := c.lacks(); {
	case c.r.BySite():
		p.State, p.Reason = Degraded, "caches are named after the functions that allocate, and frees only as a whole: before 5.19 the tracepoint does not name them"
	case c.r.FreeErr() != nil:
		p.State = Degraded
		p.explain(c.r.FreeErr())
	case need != nil:
		p.State, p.Reason, p.Remedy = Degraded, "does not say from where: needs "+need.Need, need.Remedy
	}
	return []Probe{p}
}

func (c *kmemCollector) Close() error {
	c.prev, c.names, c.stacks = kmemReading{}, nil, nil
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}
