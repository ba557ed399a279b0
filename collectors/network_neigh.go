// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// NeighTable is one of the kernel's two tables of neighbours, from /proc/net/stat. It is one for all network
// namespaces, and so is its limit (net/core/neighbour.c).
type NeighTable struct {
	Name    string // "arp" for IPv4, "ndisc" for IPv6
	Entries uint64 // gauge; permanent ones, which no limit counts, are among them
	Max     uint64 // gc_thresh3: no more are made; 0 if not known
	Full    uint64 // delta: neighbours that were not made, as there were Max and none could go
	Forced  uint64 // delta: times that old entries were looked for to make room

	Holders []NeighHolder // most first, at most 3; read of IPv4 while there was no room, else nil
}

// NeighHolder is an interface and how many entries of a table are its.
type NeighHolder struct {
	Space     Raw // of its network namespace; empty for our own
	Interface Raw
	Entries   uint64
}

const (
	// neighEvery is how often the tables are looked at.
	neighEvery = 5 * time.Second
	// neighHolders is how many holders are told.
	neighHolders = 3
	// neighText bounds what is read of one namespace's entries: 12,000 lines.
	neighText = 1 << 20
)

// neighReader reads the tables. They can be read in the network namespace that the kernel booted with.
type neighReader struct {
	fs     FS
	tables [2]neighTable
	due    time.Duration
}

type neighTable struct {
	name  string
	stat  *procFile
	max   string
	prev  NeighTable
	begun bool
}

func newNeighReader(fs FS) *neighReader {
	return &neighReader{fs: fs, tables: [2]neighTable{
		{name: "arp", stat: fs.file("net/stat/arp_cache"), max: "sys/net/ipv4/neigh/default/gc_thresh3"},
		{name: "ndisc", stat: fs.file("net/stat/ndisc_cache"), max: "sys/net/ipv6/neigh/default/gc_thresh3"},
	}}
}

func (r *neighReader) reset() {
	r.due = 0
	for i := range r.tables {
		r.tables[i].begun = false
	}
}

// collect returns the tables that can be read, nil where it is not their turn. The first reading is the
// baseline.
func (r *neighReader) collect(ctx context.Context, now time.Duration, places func() []*NetPlace) []NeighTable {
	if now < r.due {
		return nil
	}
	r.due = now + neighEvery
	var out []NeighTable
	for i := range r.tables {
		t := &r.tables[i]
		b, err := t.stat.read(ctx)
		var cur NeighTable
		if err == nil {
			cur, err = parseNeighStat(b)
		}
		if err != nil {
			t.begun = false // a gap: the next reading is a baseline
			continue
		}
		made := NeighTable{Name: t.name, Entries: cur.Entries}
		if b, err := r.fs.readSome(t.max, 64); err == nil {
			made.Max, _ = parseUint(bytes.TrimSpace(b))
		}
		if t.begun {
			made.Full, made.Forced = since(t.prev.Full, cur.Full), since(t.prev.Forced, cur.Forced)
		}
		t.prev, t.begun = cur, true
		if made.Full > 0 && i == 0 {
			made.Holders = r.holders(places())
		}
		out = append(out, made)
	}
	return out
}

// holders counts the entries of the interfaces of all namespaces that are read.
func (r *neighReader) holders(places []*NetPlace) []NeighHolder {
	var out []NeighHolder
	for _, p := range places {
		dir := "net/"
		if !p.Own {
			dir = strconv.Itoa(int(p.PID)) + "/net/"
		}
		b, err := r.fs.readSome(dir+"arp", neighText)
		if err != nil {
			continue // it is gone
		}
		for name, n := range countARP(b) {
			out = append(out, NeighHolder{p.Name, RawString(name), n})
		}
	}
	sortBy(out, func(a, b NeighHolder) int {
		return cmp.Or(cmp.Compare(b.Entries, a.Entries), cmp.Compare(a.Space.s, b.Space.s), cmp.Compare(a.Interface.s, b.Interface.s))
	})
	return out[:min(len(out), neighHolders):min(len(out), neighHolders)]
}

// countARP counts the lines of /proc/net/arp by their last column, the interface.
func countARP(b []byte) map[string]uint64 {
	out := map[string]uint64{}
	_, b = cutLine(b) // the heads
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if f := bytes.Fields(line); len(f) == 6 {
			out[string(f[5])]++
		}
	}
	return out
}

// parseNeighStat sums /proc/net/stat/arp_cache or ndisc_cache: a line of names, then a line a CPU, in
// hexadecimal. The number of entries is the table's and stands on every line.
func parseNeighStat(b []byte) (t NeighTable, err error) {
	head, b := cutLine(b)
	lines := 0
	for ; len(b) > 0; lines++ {
		var line []byte
		line, b = cutLine(b)
		names := head
		for rest := line; ; {
			var name, f []byte
			name, names = cutField(names)
			if f, rest = cutField(rest); len(f) == 0 || len(name) == 0 {
				break
			}
			v, ok := parseHexField(f)
			if !ok {
				return NeighTable{}, fmt.Errorf("line %d: %w", lines+2, errFormat)
			}
			switch string(name) {
			case "entries":
				t.Entries = v
			case "forced_gc_runs":
				t.Forced += v
			case "table_fulls":
				t.Full += v
			}
		}
	}
	if lines == 0 || !bytes.HasPrefix(head, []byte("entries")) || !bytes.Contains(head, []byte("table_fulls")) {
		return NeighTable{}, fmt.Errorf("no heads or no lines: %w", errFormat)
	}
	return t, nil
}

func (r *neighReader) close() error {
	return errors.Join(r.tables[0].stat.close(), r.tables[1].stat.close())
}
