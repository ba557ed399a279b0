// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
)

// mapping is a piece of a process's memory that may be run.
type mapping struct {
	from, to uint64
	off      uint64 // in the file
	dev      string // as the kernel prints it
	ino      uint64 // 0: of no file
	path     string // raw
}

// moduleName is what an unnamed function is said to be in.
func (m *mapping) moduleName() string {
	switch name := path.Base(strings.TrimSuffix(m.path, " (deleted)")); {
	case m.path == "", strings.HasPrefix(m.path, "//anon"), strings.HasPrefix(m.path, "[anon"):
		return "anon"
	case m.path[0] == '[':
		return strings.Trim(m.path, "[]")
	default:
		return name
	}
}

// parseMaps reads /proc/PID/maps: what may be run, ascending. Lines that are no such are skipped.
func parseMaps(b []byte) (out []mapping) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		m, run, ok := parseMapping(line)
		if ok && run && (len(out) == 0 || out[len(out)-1].to <= m.from) {
			out = append(out, m)
		}
	}
	return out
}

// parseMapping reads one line of it, and whether it may be run.
func parseMapping(line []byte) (m mapping, run, ok bool) {
	where, rest := cutField(line)
	perm, rest := cutField(rest)
	off, rest := cutField(rest)
	dev, rest := cutField(rest)
	ino, rest := cutField(rest)
	from, to, cut := bytes.Cut(where, []byte{'-'})
	if len(perm) != 4 || !cut {
		return m, false, false
	}
	var good [3]bool
	m.from, good[0] = parseHex(from)
	m.to, good[1] = parseHex(to)
	m.off, good[2] = parseHex(off)
	n, err := strconv.ParseUint(string(ino), 10, 64)
	if good != [3]bool{true, true, true} || err != nil || m.from >= m.to {
		return m, false, false
	}
	m.ino, m.dev, m.path = n, string(dev), string(bytes.TrimLeft(rest, " "))
	return m, perm[2] == 'x', true
}

// mappingAt is the mapping that holds an address, nil if none does.
func mappingAt(maps []mapping, addr uint64) *mapping {
	i := sort.Search(len(maps), func(i int) bool { return maps[i].to > addr })
	if i == len(maps) || maps[i].from > addr {
		return nil
	}
	return &maps[i]
}

// readMaps reads what a process may run, if it is the one that began at its start: the number may be
// another's by now.
func (fs FS) readMaps(ctx context.Context, p Process) ([]mapping, error) {
	dir := fs.dir(p.TGID)
	f := fs.file(dir + "/maps")
	b, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	text, err := fs.readSome(dir+"/stat", 4096) // after it: then all of maps was that process's
	if err != nil {
		return nil, err
	}
	var stat pidStat
	if err := parsePIDStat(text, &stat); err != nil {
		return nil, fmt.Errorf("reading process %d: %w", p.TGID, err)
	}
	if stat.StartTicks != p.Start/tickNs {
		return nil, fmt.Errorf("reading the maps of process %d: %w", p.TGID, os.ErrNotExist)
	}
	return parseMaps(b), nil
}
