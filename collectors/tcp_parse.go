// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// mibGroup is one group of /proc/net/snmp or netstat: two lines that begin with its name, one of
// column names, one of values. Which columns there are differs from kernel to kernel and never
// while one runs, so the names are matched once.
type mibGroup struct {
	name   string // with its colon: "TcpExt:"
	header []byte // the line of names that columns was made of
	column []int8 // by place: a TCPCounter, estabColumn, or otherColumn
}

// Columns that are no counter of ours.
const (
	otherColumn = -1
	estabColumn = -2
)

// tcpReading is one reading of the counters.
type tcpReading struct {
	Counts   TCPCounts
	Has      TCPSet
	estab    uint64 // CurrEstab, a gauge
	hasEstab bool
}

// parseMIB adds a group's counters to r. A value that is no number of 64 bits is a counter that we
// do not have; lines that do not match each other are an error, since then no column is certain.
func parseMIB(b []byte, g *mibGroup, r *tcpReading) error {
	for len(b) > 0 {
		var names, values []byte
		names, b = cutLine(b)
		if !bytes.HasPrefix(names, []byte(g.name)) {
			continue
		}
		values, _ = cutLine(b)
		if !bytes.HasPrefix(values, []byte(g.name)) {
			return fmt.Errorf("%s has no values: %w", g.name, errFormat)
		}
		if g.column == nil || !bytes.Equal(names, g.header) {
			g.learn(names)
		}
		return g.values(values[len(g.name):], r)
	}
	return fmt.Errorf("no line %q: %w", g.name, errFormat)
}

// learn matches a line of names. A name that comes twice counts where it comes first.
func (g *mibGroup) learn(names []byte) {
	g.header = append(g.header[:0], names...)
	g.column = make([]int8, 0, 128)
	keys := tcpKeys()
	var seen TCPSet
	b := names[len(g.name):]
	for {
		var f []byte
		if f, b = cutField(b); len(f) == 0 {
			return
		}
		col := int8(otherColumn)
		if g.name == "Tcp:" && string(f) == "CurrEstab" {
			col = estabColumn
		}
		for i, k := range keys {
			if c := TCPCounter(i); k.group == g.name && k.name == string(f) && !seen.Has(c) {
				col = int8(i)
				seen.add(c)
			}
		}
		g.column = append(g.column, col)
	}
}

// values reads a line of values, which must have a value for every name and no more.
func (g *mibGroup) values(b []byte, r *tcpReading) error {
	for _, col := range g.column {
		var f []byte
		if f, b = cutField(b); len(f) == 0 {
			return fmt.Errorf("%s has fewer values than names: %w", g.name, errFormat)
		}
		if col == otherColumn {
			continue
		}
		n, ok := parseUint(f)
		switch {
		case !ok:
		case col == estabColumn:
			r.estab, r.hasEstab = n, true
		default:
			r.Counts[col] = n
			r.Has.add(TCPCounter(col))
		}
	}
	if f, _ := cutField(b); len(f) != 0 {
		return fmt.Errorf("%s has more values than names: %w", g.name, errFormat)
	}
	return nil
}

// parseSockStat adds /proc/net/sockstat or sockstat6 to s; page is what one unit of mem holds.
// Lines and words that are not known are passed over.
func parseSockStat(b []byte, page uint64, s *SockStat) error {
	found := false
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		proto, rest := cutField(line)
		for {
			var word, value []byte
			word, rest = cutField(rest)
			value, rest = cutField(rest)
			if len(value) == 0 {
				break
			}
			count, bytes := s.field(proto, word)
			if count == nil && bytes == nil {
				continue
			}
			n, ok := parseUint(value)
			if !ok || n > 1<<40 {
				return fmt.Errorf("line %.8q: %w", proto, errFormat)
			}
			found = true
			if count != nil {
				*count = int(n)
			} else {
				*bytes = n * page
			}
		}
	}
	if !found {
		return fmt.Errorf("nothing known in it: %w", errFormat)
	}
	return nil
}

// field returns where a word of a line belongs: a count, or pages that become bytes.
func (s *SockStat) field(proto, word []byte) (count *int, bytes *uint64) {
	switch string(proto) {
	case "sockets:":
		if string(word) == "used" {
			return &s.Used, nil
		}
	case "TCP:":
		switch string(word) {
		case "inuse":
			return &s.TCP, nil
		case "orphan":
			return &s.Orphans, nil
		case "tw":
			return &s.TimeWait, nil
		case "alloc":
			return &s.Allocated, nil
		case "mem":
			return nil, &s.TCPMem
		}
	case "UDP:":
		switch string(word) {
		case "inuse":
			return &s.UDP, nil
		case "mem":
			return nil, &s.UDPMem
		}
	case "TCP6:":
		if string(word) == "inuse" {
			return &s.TCP6, nil
		}
	case "UDP6:":
		if string(word) == "inuse" {
			return &s.UDP6, nil
		}
	}
	return nil, nil
}

// parsePages3 reads a sysctl of three numbers of pages in bytes; all 0 if it is not that.
func parsePages3(b []byte, page uint64) (out [3]uint64) {
	b, _ = cutLine(b)
	for i := range out {
		var f []byte
		f, b = cutField(b)
		n, ok := parseUint(f)
		if !ok {
			return [3]uint64{}
		}
		out[i] = min(n, 1<<40) * page
	}
	return out
}
