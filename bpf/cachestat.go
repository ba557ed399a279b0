// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"
)

// CostCache is what an access or a page brought in costs, in ns: with the 55 ns that an empty program
// has; measured in a 6.18 guest.
const CostCache = 190

// CacheCounts is what cachestat.bpf.c counts of the host or of a process, in pages, cumulative since
// load.
type CacheCounts struct {
	Asked   uint64 // that reads and faults asked for
	Added   uint64 // brought in
	Written uint64 // of Added: to be written
	Dirtied uint64
	Faults  uint64 // of Asked: by page faults
	Lost    uint64 // of the host: times that a process did not fit
}

// Keys and values.
type (
	// CacheRow is one process's counts and its name.
	CacheRow = cachestatCacheCounts
	// CacheKey is a process. The zero key is of all that did not fit.
	CacheKey = cachestatProcess
)

// Cachestat is the facade of cachestat.bpf.c.
type Cachestat struct {
	obj      *object
	hook     string
	askedErr error
	mapErr   error
	dirtyErr error
	raw      []cachestatCacheCounts
	rows     idleKeys[CacheKey]
}

// OpenCachestat loads and attaches what this kernel has. It fails if pages brought in cannot be
// counted. The caller owns the result and closes it.
func OpenCachestat(k *Kernel) (*Cachestat, error) {
	obj, err := newObject(k, loadCachestat)
	if err != nil {
		return nil, err
	}
	c := &Cachestat{obj: obj}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	return c, nil
}

func (c *Cachestat) open() error {
	if err := c.obj.kernel.needBTF(); err != nil {
		return err
	}
	if err := c.obj.set("page_shift", uint32(bits.TrailingZeros(uint(os.Getpagesize())))); err != nil {
		return err
	}
	m, err := c.obj.createMap("cached")
	if err != nil {
		return err
	}
	if err := m.Put(&CacheKey{}, &CacheRow{}); err != nil {
		return fmt.Errorf("writing map cached: %w", err)
	}
	// Who dirties first: a page that is brought in and dirtied between the two would be a miss.
	if c.dirtyErr = c.obj.attachTracing("folio_dirtied"); c.dirtyErr != nil {
		if c.obj.attachTracing("page_dirtied") == nil {
			c.dirtyErr = nil
		}
	}
	c.openAsked()
	return c.obj.attachTracing("pages_added")
}

// openAsked attaches the best hook on accesses.
func (c *Cachestat) openAsked() {
	c.askedErr = c.obj.attachTracing("pages_read")
	if c.askedErr == nil {
		c.hook = "tp_btf mm_filemap_get_pages"
		for _, name := range []string{"pages_mapped", "page_faulted"} {
			if err := c.obj.attachTracing(name); err != nil && c.mapErr == nil {
				c.mapErr = err
			}
		}
		return
	}
	for _, x := range []struct{ program, hook string }{
		{"folio_accessed", "fentry folio_mark_accessed"},
		{"page_accessed", "fentry mark_page_accessed"},
	} {
		if err := c.obj.attachTracing(x.program); err == nil {
			c.hook, c.askedErr = x.hook, nil
			c.mapErr = fmt.Errorf("attaching page_faulted: faults are not told from reads before 6.12: %w", ErrUnsupported)
			return
		}
	}
}

// Hook is what accesses are seen by; empty if by nothing.
func (c *Cachestat) Hook() string { return c.hook }

// AskedErr says why accesses are not seen.
func (c *Cachestat) AskedErr() error { return c.askedErr }

// MapErr says why accesses by page faults are not seen.
func (c *Cachestat) MapErr() error { return c.mapErr }

// DirtyErr says why pages made dirty are not seen, so that those to be written are taken for misses.
func (c *Cachestat) DirtyErr() error { return c.dirtyErr }

// Pause detaches the programs and keeps the counts, or attaches them again.
func (c *Cachestat) Pause(on bool) error { return c.obj.pause(on) }

// Read sums the host's counts over CPUs.
func (c *Cachestat) Read() (CacheCounts, error) {
	var sum CacheCounts
	m, err := c.obj.createMap("cache")
	if err != nil {
		return sum, err
	}
	if err := m.Lookup(uint32(0), &c.raw); err != nil {
		return sum, fmt.Errorf("reading map cache: %w", err)
	}
	for i := range c.raw {
		x := &c.raw[i]
		sum.Asked += x.Asked
		sum.Added += x.Added
		sum.Written += x.Written
		sum.Dirtied += x.Dirtied
		sum.Faults += x.Faults
		sum.Lost += x.Lost
	}
	return sum, nil
}

// Rows calls each with every process that used the page cache, and forgets those that have not for a
// minute: now is any clock that goes on. Both pointers are valid during the call only.
func (c *Cachestat) Rows(now time.Duration, each func(*CacheKey, *CacheRow)) error {
	m, err := c.obj.createMap("cached")
	if err != nil {
		return err
	}
	c.rows.begin(now)
	if err := readHash(m, func(k *CacheKey, v *CacheRow) {
		each(k, v)
		if *k != (CacheKey{}) {
			c.rows.see(*k, v.Asked+v.Added+v.Dirtied)
		}
	}); err != nil {
		return err
	}
	return c.rows.forget(m)
}

// Close detaches the programs and frees the maps.
func (c *Cachestat) Close() error { return c.obj.Close() }
