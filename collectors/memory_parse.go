// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// parseMemInfo reads /proc/meminfo. Only MemTotal must be there: containers and kernels leave out
// others. fields maps the names of lines to MemField.
func parseMemInfo(b []byte, fields map[string]uint8, m *MemInfo) error {
	*m = MemInfo{}
	for key, rest := range keyLines(b) {
		f, ok := fields[string(key)]
		if !ok {
			continue
		}
		field, rest := cutField(rest)
		n, ok := parseUint(field)
		unit, _ := cutField(rest)
		if kib := string(unit) == "kB"; ok && kib {
			ok = n < 1<<54
			n <<= 10
		}
		if !ok {
			return fmt.Errorf("line %q: %w", key, errFormat)
		}
		m.Set(MemField(f), n)
	}
	if m.N[MemTotal] == 0 {
		return fmt.Errorf("no MemTotal: %w", errFormat)
	}
	return nil
}

// parseVMEvents reads /proc/vmstat. An empty file, as over a masked one, is an error.
func parseVMEvents(b []byte, fields map[string]uint8, v *vmReading) error {
	*v = vmReading{}
	for key, rest := range keyLines(b) {
		f, ok := fields[string(key)]
		if !ok {
			continue
		}
		field, _ := cutField(rest)
		n, ok := parseUint(field)
		if !ok {
			return fmt.Errorf("line %q: %w", key, errFormat)
		}
		v.n[f] += n
		v.known |= 1 << f
	}
	if v.known == 0 {
		return fmt.Errorf("no counter: %w", errFormat)
	}
	return nil
}

// parseGauges reads the columns of a one-line file of /proc/sys; those whose place is nil are
// passed over, those that the kernel does not print stay unknown. The first must be there.
func parseGauges(b []byte, to *[5]*TableGauge) error {
	b, _ = cutLine(b)
	for i, g := range to {
		var f []byte
		f, b = cutField(b)
		if len(f) == 0 && i > 0 {
			return nil
		}
		if g == nil {
			continue
		}
		n, ok := parseUint(f)
		if !ok {
			return fmt.Errorf("column %d: %w", i+1, errFormat)
		}
		*g = TableGauge{n, true}
	}
	return nil
}

// maxSwaps bounds the areas we list; the kernel's own bound (MAX_SWAPFILES) is below 32.
const maxSwaps = 64

// parseSwaps reads /proc/swaps: a head, then name, type, size and use in KiB, priority.
func parseSwaps(b []byte) ([]SwapArea, error) {
	head, b := cutLine(b)
	if !bytes.HasPrefix(head, []byte("Filename")) {
		return nil, fmt.Errorf("no head: %w", errFormat)
	}
	var out []SwapArea
	for len(b) > 0 && len(out) < maxSwaps {
		var line []byte
		line, b = cutLine(b)
		name, line := cutField(line)
		if len(name) == 0 {
			continue
		}
		kind, line := cutField(line)
		size, line := cutField(line)
		used, line := cutField(line)
		priority, _ := cutField(line)
		s, ok1 := parseUint(size)
		u, ok2 := parseUint(used)
		p, ok3 := parseInt(priority)
		if !ok1 || !ok2 || !ok3 || s >= 1<<54 || u >= 1<<54 {
			return nil, fmt.Errorf("area %.40q: %w", name, errFormat)
		}
		out = append(out, SwapArea{Name: Raw{string(name)}, File: string(kind) == "file", Size: s << 10, Used: u << 10, Priority: p})
	}
	return out, nil
}

// parseNode reads a NUMA node's meminfo, whose lines begin with "Node 0 ".
func parseNode(b []byte, n *NUMANode) error {
	seen := 0
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		_, line = cutField(line)
		_, line = cutField(line)
		key, rest := cutField(line)
		var to *uint64
		switch string(key) {
		case "MemTotal:":
			to = &n.Total
		case "MemFree:":
			to = &n.Free
		case "FilePages:":
			to = &n.File
		case "AnonPages:":
			to = &n.Anon
		default:
			continue
		}
		f, _ := cutField(rest)
		kib, ok := parseUint(f)
		if !ok || kib >= 1<<54 {
			return fmt.Errorf("line %q: %w", key, errFormat)
		}
		*to = kib << 10
		seen++
	}
	if seen == 0 {
		return errFormat
	}
	return nil
}

// parseARC finds the size of ZFS's cache in its arcstats: lines of name, type, value.
func parseARC(b []byte) (uint64, bool) {
	for key, rest := range keyLines(b) {
		if string(key) != "size" {
			continue
		}
		_, rest = cutField(rest)
		f, _ := cutField(rest)
		return parseUint(f)
	}
	return 0, false
}

// parseOwnCgroup finds our path in /proc/self/cgroup: that of the memory controller where it has a
// hierarchy of its own (v1), else that of the unified one.
func parseOwnCgroup(b []byte) (path string, v1, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		_, rest, found := bytes.Cut(line, []byte(":"))
		if !found {
			continue
		}
		controllers, p, found := bytes.Cut(rest, []byte(":"))
		if !found || len(p) == 0 || p[0] != '/' {
			continue
		}
		if len(controllers) == 0 && !ok {
			path, ok = string(p), true
		}
		for c := range bytes.SplitSeq(controllers, []byte(",")) {
			if string(c) == "memory" {
				return string(p), true, true
			}
		}
	}
	return path, false, ok
}
