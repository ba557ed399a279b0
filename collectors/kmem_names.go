// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"time"

	"bpf60/bpf"
)

// askNames asks for the functions of all stacks and sites that are new, and looks for them in one pass.
func (c *kmemCollector) askNames(cur *kmemReading, now time.Duration) {
	for s := range cur.sites {
		if c.stacks[s.Stack] == nil && cur.sites[s] > c.prev.sites[s] {
			if addrs, err := c.r.Stack(s.Stack); err == nil {
				for _, a := range addrs {
					c.symbols(a)
				}
			}
		}
	}
	if c.r.BySite() {
		for k := range cur.allocs {
			if _, ok := c.names[k.Cache]; !ok {
				c.symbols(k.Cache)
			}
		}
	}
	c.find(now)
}

// nameCaches reads the names of caches if there are new ones.
func (c *kmemCollector) nameCaches(cur *kmemReading) error {
	missing := false
	for k := range cur.allocs {
		_, ok := c.names[k.Cache]
		missing = missing || !ok
	}
	for k := range cur.frees {
		_, ok := c.names[k]
		missing = missing || !ok
	}
	if !missing {
		return nil
	}
	return c.r.Caches(func(cache uint64, x *bpf.SlabCache) {
		if _, ok := c.names[cache]; ok {
			return
		}
		name := rawName(x.Name[:])
		if c.r.BySite() {
			var ok bool
			if name, ok = c.siteName(cache); !ok {
				return // in the next pass
			}
		}
		c.names[cache] = kmemName{name, x.Size}
	})
}

// siteName is what an address that calls the allocator stands for: a cache, or its function. False
// while that is looked for.
func (c *kmemCollector) siteName(addr uint64) (Raw, bool) {
	name, ok := c.symbols(addr)
	switch {
	case !ok && c.lacks() == nil:
		return Raw{}, false
	case name == "":
		return RawString(fmt.Sprintf("%#x", addr)), true
	}
	if cache, ok := c.known[name]; ok {
		return RawString(cache), true
	}
	return RawString(name + "()"), true
}

// stack names the frames of a stack, once all are known.
func (c *kmemCollector) stack(id uint32) *AllocStack {
	if s := c.stacks[id]; s != nil {
		return s
	}
	s := &AllocStack{}
	addrs, err := c.r.Stack(id)
	if err != nil {
		return s // tried again at the next reading
	}
	all := true
	for _, a := range addrs {
		name, ok := c.symbols(a)
		all = all && ok
		if name != "" && (len(s.Frames) > 0 || !isAllocator(name)) {
			s.Frames = append(s.Frames, clean(name))
		}
	}
	if !all { // the innermost of those with a name need not be the innermost
		return &AllocStack{}
	}
	c.stacks[id] = s
	return s
}
