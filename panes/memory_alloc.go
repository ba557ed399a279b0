// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// kmemOf is what the whole host allocated: nil where somebody looked at a part of it.
func kmemOf(s *collectors.Snapshot) *collectors.Kmem {
	if s.Kmem == nil || s.Kmem.Partial {
		return nil
	}
	return s.Kmem
}

// kmemAny is a sample of the whole host or of a part.
func kmemAny(s *collectors.Snapshot) *collectors.Kmem { return s.Kmem }

// kmemOver is what was allocated over the frame. Nil without a sample.
func kmemOver(f Frame) *collectors.Kmem { return sumKmem(within(f.rowed(), kmemOf)) }

// cacheOver is the same for one cache, of samples that hold all of it.
func cacheOver(f Frame, name string) *collectors.Kmem {
	return sumKmem(within(f.rowed(), func(s *collectors.Snapshot) *collectors.Kmem {
		if k := s.Kmem; k != nil && k.Partial && clean(k.Only) == name {
			return k
		}
		return kmemOf(s)
	}))
}

// sumKmem adds up samples. Nil of none.
func sumKmem(samples []*collectors.Kmem) *collectors.Kmem {
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := &collectors.Kmem{}
	for _, s := range samples {
		next := *s
		next.Span = join(sum.Span, s.Span)
		next.Allocs += sum.Allocs
		next.Frees += sum.Frees
		next.Bytes += sum.Bytes
		next.Samples += sum.Samples
		next.Unkeyed += sum.Unkeyed
		next.Unstacked += sum.Unstacked
		next.Caches, next.Narrowed = addCaches(sum.Caches, s.Caches), nil
		sum = &next
	}
	sortStably(sum.Caches, func(a, b collectors.KmemCache) int { return cmp.Compare(b.Allocs, a.Allocs) })
	return sum
}

// addCaches adds the caches of a sample to a sum that is the caller's alone.
func addCaches(sum, more []collectors.KmemCache) []collectors.KmemCache {
	at := make(map[collectors.Raw]int, len(sum))
	for i := range sum {
		at[sum[i].Name] = i
	}
	for i := range more {
		x := &more[i]
		k, ok := at[x.Name]
		if !ok {
			at[x.Name] = len(sum)
			one := *x
			one.Who, one.From = slices.Clone(x.Who), slices.Clone(x.From)
			sum = append(sum, one)
			continue
		}
		to := &sum[k]
		to.Allocs += x.Allocs
		to.Frees += x.Frees
		to.Others += x.Others
		to.Samples += x.Samples
		for _, o := range x.Who {
			if i := slices.IndexFunc(to.Who, func(y collectors.KmemOwner) bool { return y.Process == o.Process }); i >= 0 {
				to.Who[i].Allocs += o.Allocs
			} else {
				to.Who = append(to.Who, o)
			}
		}
		for _, s := range x.From {
			if i := slices.IndexFunc(to.From, func(y collectors.KmemSite) bool { return y.AllocStack == s.AllocStack }); i >= 0 {
				to.From[i].Samples += s.Samples
			} else {
				to.From = append(to.From, s)
			}
		}
		sortStably(to.Who, func(a, b collectors.KmemOwner) int { return cmp.Compare(b.Allocs, a.Allocs) })
		sortStably(to.From, func(a, b collectors.KmemSite) int { return cmp.Compare(b.Samples, a.Samples) })
	}
	return sum
}

// slabRates are the cells of one cache in slabtop's table: allocations and frees a second, what was
// allocated in KiB a second, and who allocates most.
func slabRates(f Frame, k *collectors.Kmem, name collectors.Raw) (allocs, frees, bytes, who Cell) {
	none := func(why string) (allocs, frees, bytes, who Cell) {
		return Missing(why), Missing(why), Missing(why), Missing(why)
	}
	if k == nil {
		why, _ := whyNot(f, collectors.KmemID, "slabratetop")
		return none(why)
	}
	x := k.Find(name)
	switch {
	case x == nil && strings.HasPrefix(name.Bytes(), "kmalloc-"):
		const why = "kmalloc's tracepoint does not name the cache"
		return none(why)
	case x == nil && k.BySite:
		const why = "this kernel does not name caches, and no function that allocates now is known to use this one"
		return none(why)
	case x == nil:
		return Number(0), Number(0), Number(0), Missing("nobody allocates")
	}
	allocs, frees, who = perSecond(x.Allocs, k.Span), perSecond(x.Frees, k.Span), Missing("nobody allocates")
	bytes = kibRate(x.Allocs*uint64(x.Size), k.Span)
	if k.BySite || !k.KnowsFrees {
		frees = Missing("frees are not counted by cache here")
	}
	if len(x.Who) > 0 {
		o := &x.Who[0]
		who = Say(fmt.Sprintf("%s[%d] %.0f%%", widget.Clip(ownerName(o), 12), o.TGID, 100*float64(o.Allocs)/float64(max(x.Allocs, 1))))
	}
	return allocs, frees, bytes, who
}

// ownerName is the process's name; that of PID 0 is what interrupts do on an idle CPU.
func ownerName(o *collectors.KmemOwner) string {
	if name := clean(o.Comm); name != "" {
		return name
	}
	return "?"
}

// allocTable is the processes that allocate from a cache.
func allocTable(f Frame, name string) Table {
	t := Table{Title: "who allocates", Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "allocs/s", Title: "allocs/s", Unit: "/s", Width: 9, Decimals: 1},
		{ID: "%", Title: "%", Unit: "%", Width: 5, Decimals: 1},
		{ID: "KiB/s", Title: "KiB/s", Unit: "KiB/s", Width: 9, Decimals: 1, Rank: 1},
		{ID: "COMM", Title: "COMM", Width: 10, Left: true},
	}}
	k, x := allocsOf(f, name)
	if k == nil {
		why, remedy := whyNot(f, collectors.KmemID, "slabratetop")
		t.Notes = append(t.Notes, note("slabratetop", why, remedy))
		return t
	}
	missedNote(f, &t, collectors.KmemID, "slabratetop")
	if x == nil {
		t.Notes = append(t.Notes, "nobody allocated just now")
		return t
	}
	rowsNote(f, &t)
	for i := range x.Who {
		o := &x.Who[i]
		t.Rows = append(t.Rows, Row{ID: "alloc " + strconv.Itoa(int(o.TGID)) + " " + strconv.FormatUint(o.Start, 10), Target: aboutProcess(o.Process, o.Comm), Cells: []Cell{
			Number(float64(o.TGID)), perSecond(o.Allocs, k.Span), Number(100 * float64(o.Allocs) / float64(max(x.Allocs, 1))),
			kibRate(o.Allocs*uint64(x.Size), k.Span), Say(ownerName(o)),
		}})
	}
	if x.Others > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s more by others", widget.Count(x.Others)))
	}
	return t
}

func kibRate(bytes uint64, span collectors.Span) Cell {
	c := perSecond(bytes, span)
	c.num /= 1024
	return c
}

// siteTable is where the allocations of a cache come from.
func siteTable(f Frame, name string) Table {
	t := Table{Title: "from where", Columns: []Column{
		{ID: "%", Title: "%", Unit: "%", Width: 5, Decimals: 1},
		{ID: "SAMPLES", Title: "SAMPLES", Width: 7, Rank: 1},
		{ID: "STACK", Title: "STACK, innermost first", Width: 34, Left: true},
	}}
	k, x := allocsOf(f, name)
	if k == nil || x == nil || len(x.From) == 0 {
		t.Notes = append(t.Notes, "no sample: about one allocation in 64 tells from where")
		return t
	}
	for i := range x.From {
		s := &x.From[i]
		text := strings.Join(s.Frames, " < ")
		if text == "" {
			text = "not named (yet): slabratetop says why"
		}
		share := Number(100 * float64(s.Samples) / float64(max(x.Samples, 1)))
		t.Rows = append(t.Rows, Row{ID: "site " + strconv.Itoa(i), Cells: []Cell{share, Number(float64(s.Samples)), Say(text)}})
	}
	return t
}

// allocsOf finds a cache by its cleaned name. Both are nil without a sample, the second where nothing
// moved.
func allocsOf(f Frame, name string) (*collectors.Kmem, *collectors.KmemCache) {
	k := cacheOver(f, name)
	if k == nil {
		return nil, nil
	}
	for i := range k.Caches {
		if clean(k.Caches[i].Name) == name {
			return k, &k.Caches[i]
		}
	}
	return k, nil
}
