// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// slabLine is one line of /proc/slabinfo. The name points into the bytes that were parsed.
type slabLine struct {
	name                    []byte
	active, objects         uint64
	objSize, perSlab, pages uint32
	activeSlabs, slabs      uint64
}

// bytes is what the slabs take.
func (l *slabLine) bytes(pageSize uint64) uint64 { return l.slabs * uint64(l.pages) * pageSize }

// Bounds of what a line may say, so that no product of it wraps: 2^32 slabs of 2^11 pages of 64 KiB
// are more than any address space.
const (
	maxSlabs   = 1 << 32
	maxObjects = 1 << 40
	maxObjSize = 1 << 22
	maxPages   = 1 << 11
)

// parseSlabinfo appends the lines of /proc/slabinfo (version 2.x) to out. A line is name, active
// and all objects, size, objects and pages a slab; then after " : slabdata" active and all slabs.
// The numbers are taken from the right of the name, since a module may call its cache anything.
func parseSlabinfo(b []byte, out []slabLine) ([]slabLine, error) {
	head, b := cutLine(b)
	if !bytes.HasPrefix(head, []byte("slabinfo - version: 2")) {
		return out, fmt.Errorf("not version 2: %w", errFormat)
	}
	for len(b) > 0 && len(out) < maxSlabCache {
		var line []byte
		line, b = cutLine(b)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		l, ok := parseSlabLine(line)
		if !ok {
			return out, fmt.Errorf("cache %.40q: %w", line, errFormat)
		}
		out = append(out, l)
	}
	return out, nil
}

func parseSlabLine(line []byte) (l slabLine, ok bool) {
	data := bytes.LastIndex(line, []byte(" : slabdata"))
	tunables := bytes.LastIndex(line, []byte(" : tunables"))
	if data < 0 || tunables < 0 || tunables > data {
		return l, false
	}
	f, rest := cutField(line[data+len(" : slabdata"):])
	l.activeSlabs, ok = parseUint(f)
	f, _ = cutField(rest)
	slabs, ok2 := parseUint(f)
	l.slabs = slabs
	if !ok || !ok2 || l.activeSlabs >= maxSlabs || l.slabs >= maxSlabs {
		return l, false
	}
	rest = line[:tunables]
	var n [5]uint64 // pages, objects a slab, size, objects, active
	for i := range n {
		f, rest = cutLastField(rest)
		if n[i], ok = parseUint(f); !ok {
			return l, false
		}
	}
	if n[0] > maxPages || n[1] > maxObjSize || n[2] > maxObjSize || n[3] >= maxObjects || n[4] >= maxObjects {
		return l, false
	}
	l.pages, l.perSlab, l.objSize, l.objects, l.active = uint32(n[0]), uint32(n[1]), uint32(n[2]), n[3], n[4]
	l.name = bytes.TrimSpace(rest)
	return l, len(l.name) > 0
}

// cutLastField returns the last field of b, fields being divided by blanks, and what is before it.
func cutLastField(b []byte) (field, rest []byte) {
	end := len(b)
	for end > 0 && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	i := end
	for i > 0 && b[i-1] != ' ' && b[i-1] != '\t' {
		i--
	}
	return b[i:end], b[:i]
}
