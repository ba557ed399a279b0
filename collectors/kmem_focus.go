// SPDX-License-Identifier: Apache-2.0

package collectors

import "slices"

// kmemFocus is what of the host's allocations is looked at.
type kmemFocus struct {
	host  bool    // all of them
	only  bool    // what targets take
	cache string  // one cache; empty: none
	set   kmemAim // what the kernel was told last
	was   kmemAim // what it was told before in this span, if that was not the whole host
}

// kmemAim is a focus as the kernel takes it; the zero one is the whole host.
type kmemAim struct {
	only  bool
	cache uint64 // its address; 0: any
}

// want takes over the targets.
func (f *kmemFocus) want(targets []Target) {
	caches := slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != NamedTarget })
	f.only, f.cache = false, ""
	switch {
	case f.host:
	case len(caches) == 0:
		f.only = len(targets) > 0
	case len(caches) == len(targets) && len(caches) == 1:
		f.cache = caches[0].Name
	}
}

// span says whether less than the host was counted in the span that ends now, and begins the next.
func (f *kmemFocus) span() bool {
	partial := f.set != kmemAim{} || f.was != kmemAim{}
	f.was = kmemAim{}
	return partial
}

// aim tells the kernel what is looked at. The address of a cache is known after a reading that has it; of
// two of one name none is chosen.
func (c *kmemCollector) aim() error {
	f := &c.focus
	now := kmemAim{only: f.only}
	if f.cache != "" && !c.r.BySite() {
		n := 0
		for at, name := range c.names {
			if clean(name.name.s) == f.cache {
				now.cache = at
				n++
			}
		}
		if n != 1 {
			now.cache = 0
		}
	}
	if now == f.set {
		return nil
	}
	if f.set != (kmemAim{}) {
		f.was = f.set
	}
	f.set = now
	return c.r.Focus(now.only, now.cache)
}
