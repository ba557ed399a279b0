// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// devLine is one line of /proc/net/dev.
type devLine struct {
	Name []byte // in the buffer that was parsed
	IfaceCounts
}

// maxLinks bounds the interfaces of one namespace.
const maxLinks = 1 << 16

// columns are the counters in the order of /proc/net/dev.
func (c *IfaceCounts) columns() [16]*uint64 {
	return [...]*uint64{
		&c.RxBytes, &c.RxPackets, &c.RxErrors, &c.RxDropped, &c.RxFIFO, &c.RxFrame, &c.RxCompressed, &c.Multicast,
		&c.TxBytes, &c.TxPackets, &c.TxErrors, &c.TxDropped, &c.TxFIFO, &c.Collisions, &c.TxCarrier, &c.TxCompressed,
	}
}

// parseNetDev appends the lines of /proc/net/dev to lines. A name may hold anything but blanks and
// a slash, and its colon may touch the first number: "eth0:123". Two lines of heads come first.
func parseNetDev(b []byte, lines []devLine) ([]devLine, error) {
	heads := 0
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if heads < 2 {
			if bytes.IndexByte(line, '|') < 0 {
				return lines, fmt.Errorf("no heads: %w", errFormat)
			}
			heads++
			continue
		}
		colon := bytes.LastIndexByte(line, ':') // no number holds one, an old kernel's alias may
		if colon < 0 || len(lines) >= maxLinks {
			return lines, fmt.Errorf("line %.20q: %w", line, errFormat)
		}
		name := bytes.TrimLeft(line[:colon], " ")
		if len(name) == 0 {
			return lines, fmt.Errorf("line %.20q: %w", line, errFormat)
		}
		lines = append(lines, devLine{Name: name})
		rest := line[colon+1:]
		for _, to := range lines[len(lines)-1].columns() {
			var f []byte
			var ok bool
			f, rest = cutField(rest)
			if *to, ok = parseUint(f); !ok {
				return lines, fmt.Errorf("line %.20q: %w", line, errFormat)
			}
		}
	}
	if heads < 2 {
		return lines, fmt.Errorf("no heads: %w", errFormat)
	}
	return lines, nil
}

// stackField is one counter of StackCounts and what the kernel calls it: a table and a column of
// /proc/net/snmp and netstat, and the names of /proc/net/snmp6, where there is one line each.
type stackField struct{ table, column, six string }

// stackFields are in the order of StackCounts.columns.
func stackFields() [numStack]stackField {
	return [...]stackField{
		{"Ip:", "InReceives", "Ip6InReceives"},
		{"Ip:", "ForwDatagrams", "Ip6OutForwDatagrams"},
		{"Ip:", "InHdrErrors", "Ip6InHdrErrors"},
		{"Ip:", "InDiscards", "Ip6InDiscards"},
		{"Ip:", "OutDiscards", "Ip6OutDiscards"},
		{"Ip:", "OutNoRoutes", "Ip6OutNoRoutes"},
		{"Ip:", "ReasmFails", "Ip6ReasmFails"},
		{"Ip:", "FragFails", "Ip6FragFails"},
		{"Udp:", "InDatagrams", "Udp6InDatagrams"},
		{"Udp:", "OutDatagrams", "Udp6OutDatagrams"},
		{"Udp:", "NoPorts", "Udp6NoPorts"},
		{"Udp:", "InErrors", "Udp6InErrors"},
		{"Udp:", "RcvbufErrors", "Udp6RcvbufErrors"},
		{"Udp:", "SndbufErrors", "Udp6SndbufErrors"},
		{"Udp:", "InCsumErrors", "Udp6InCsumErrors"},
		{"Udp:", "MemErrors", "Udp6MemErrors"},
		{"Tcp:", "ActiveOpens", ""},
		{"Tcp:", "PassiveOpens", ""},
		{"Tcp:", "AttemptFails", ""},
		{"Tcp:", "EstabResets", ""},
		{"Tcp:", "InSegs", ""},
		{"Tcp:", "OutSegs", ""},
		{"Tcp:", "RetransSegs", ""},
		{"Tcp:", "OutRsts", ""},
		{"TcpExt:", "ListenOverflows", ""},
		{"TcpExt:", "ListenDrops", ""},
		{"TcpExt:", "TCPRcvQDrop", ""},
		{"TcpExt:", "TCPBacklogDrop", ""},
	}
}

// numStack is how many counters StackCounts has.
const numStack = 28

// columns are the counters in the order of stackFields.
func (c *StackCounts) columns() [numStack]*uint64 {
	return [...]*uint64{
		&c.IPIn, &c.IPForwarded, &c.IPInHeader, &c.IPInDiscards, &c.IPOutDiscards, &c.IPNoRoutes, &c.IPReasmFails, &c.IPFragFails,
		&c.UDPIn, &c.UDPOut, &c.UDPNoPort, &c.UDPInErrors, &c.UDPReceiveFull, &c.UDPSendFull, &c.UDPChecksum, &c.UDPMemory,
		&c.TCPActive, &c.TCPPassive, &c.TCPAttemptFails, &c.TCPEstabResets, &c.TCPIn, &c.TCPOut, &c.TCPRetrans, &c.TCPOutResets,
		&c.TCPListenOverflows, &c.TCPListenDrops, &c.TCPReceiveDrops, &c.TCPBacklogDrops,
	}
}

// noField marks a column or line that is none of ours.
const noField = -1

// stackLayout remembers which column of a file is which counter. The kernel's heads differ between
// kernels, not between readings, so names are compared once: a second of a second, not a second's
// 200 names.
type stackLayout struct {
	heads  [][]byte // line by line, those of tables we want
	fields [][]int8 // column by column: index of stackFields, or noField
	six    []int8   // line by line of snmp6
}

// parse reads /proc/net/snmp or netstat: pairs of lines, names and values, each with its table in
// front. A value that is negative or too large counts as 0: only MaxConn, which is none of ours,
// is ever -1.
func (l *stackLayout) parse(b []byte, c *StackCounts) error {
	to := c.columns()
	known := 0
	for n := 0; len(b) > 0; n++ {
		var head, values []byte
		head, b = cutLine(b)
		values, b = cutLine(b)
		i := bytes.IndexByte(head, ':')
		if i < 0 || len(values) <= i || !bytes.Equal(head[:i+1], values[:i+1]) {
			return fmt.Errorf("line %.20q: %w", head, errFormat)
		}
		fields := l.line(n, head, i+1)
		for rest, k := values[i+1:], 0; k < len(fields); k++ {
			var f []byte
			if f, rest = cutField(rest); len(f) == 0 {
				return fmt.Errorf("%s has fewer values than names: %w", head[:i], errFormat)
			}
			if fields[k] == noField {
				continue
			}
			v, ok := parseUint(f)
			if !ok && f[0] != '-' {
				return fmt.Errorf("line %.20q: %w", values, errFormat)
			}
			*to[fields[k]] += v
			known++
		}
	}
	if known == 0 {
		return fmt.Errorf("no counter that we know: %w", errFormat)
	}
	return nil
}

// line returns what the columns of the n-th pair of lines are, up to the last one of ours.
func (l *stackLayout) line(n int, head []byte, table int) []int8 {
	const most = 256 // pairs; the kernel has 8
	if n < len(l.heads) && bytes.Equal(l.heads[n], head) {
		return l.fields[n]
	}
	var fields []int8
	last := 0
	for rest := head[table:]; ; {
		var f []byte
		if f, rest = cutField(rest); len(f) == 0 {
			break
		}
		at := int8(noField)
		for i, want := range stackFields() {
			if want.table == string(head[:table]) && want.column == string(f) {
				at = int8(i)
			}
		}
		if fields = append(fields, at); at != noField {
			last = len(fields)
		}
	}
	fields = fields[:last]
	for len(l.heads) <= n && n < most {
		l.heads, l.fields = append(l.heads, nil), append(l.fields, nil)
	}
	if n < most {
		l.heads[n], l.fields[n] = bytes.Clone(head), fields
	}
	return fields
}

// parseSix adds /proc/net/snmp6, a name and a value a line. Lines of multicast's details, which
// some kernels add, are none of ours.
func (l *stackLayout) parseSix(b []byte, c *StackCounts) error {
	to := c.columns()
	names := stackFields()
	for n := 0; len(b) > 0; n++ {
		var line []byte
		line, b = cutLine(b)
		if n < len(l.six) && l.six[n] == noField {
			continue
		}
		key, rest := cutField(line)
		if n >= len(l.six) {
			at := int8(noField)
			for i := range names {
				if names[i].six != "" && names[i].six == string(key) {
					at = int8(i)
				}
			}
			if l.six = append(l.six, at); at == noField {
				continue
			}
		}
		if string(key) != names[l.six[n]].six { // lines have moved: learn them anew
			l.six = nil
			return fmt.Errorf("line %.20q: %w", line, errFormat)
		}
		f, _ := cutField(rest)
		v, ok := parseUint(f)
		if !ok {
			return fmt.Errorf("line %.20q: %w", line, errFormat)
		}
		*to[l.six[n]] += v
	}
	return nil
}

// parseHexField reads a whole field as a hexadecimal number of at most 64 bits.
func parseHexField(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, true
}

// Columns of /proc/net/softnet_stat (net/core/net-procfs.c). Kernels before 2.6.35 have 9, those
// with receive flow steering 10, since 3.11 with the flow limit 11, since 5.10 with backlog and
// number of the CPU 13, since 6.1 15. Before 13 the n-th line is that of the n-th CPU online.
const (
	softProcessed = 0
	softDropped   = 1
	softSqueezed  = 2
	softRPS       = 9
	softFlowLimit = 10
	softBacklog   = 11
	softCPU       = 12
	softLeast     = 9
	softMost      = 64
)

// parseSoftnet appends the lines of /proc/net/softnet_stat to cpus, as cumulative counters.
func parseSoftnet(b []byte, cpus []SoftnetCPU) ([]SoftnetCPU, error) {
	for n := 0; len(b) > 0; n++ {
		var line []byte
		line, b = cutLine(b)
		var col [softMost]uint32
		count := 0
		for rest := line; ; count++ {
			var f []byte
			if f, rest = cutField(rest); len(f) == 0 {
				break
			}
			v, ok := parseHexField(f)
			if !ok || v > 1<<32-1 || count >= softMost {
				return cpus, fmt.Errorf("line %d: %w", n+1, errFormat)
			}
			col[count] = uint32(v)
		}
		if count < softLeast {
			return cpus, fmt.Errorf("line %d has %d columns: %w", n+1, count, errFormat)
		}
		cpu := int64(n)
		if count > softCPU {
			cpu = int64(col[softCPU])
		}
		if cpu >= maxCPU || len(cpus) > 0 && int64(cpus[len(cpus)-1].CPU) >= cpu {
			return cpus, fmt.Errorf("line %d: %w", n+1, errFormat)
		}
		cpus = append(cpus, SoftnetCPU{
			CPU: int32(cpu), Processed: col[softProcessed], Dropped: col[softDropped], Squeezed: col[softSqueezed],
			RPS: col[softRPS], FlowLimit: col[softFlowLimit], Backlog: col[softBacklog],
		})
	}
	if len(cpus) == 0 {
		return cpus, fmt.Errorf("no line: %w", errFormat)
	}
	return cpus, nil
}

// parseConntrack sums /proc/net/stat/nf_conntrack: a line of names, then a line a CPU, in
// hexadecimal. The number of entries is the table's and stands on every line. The kernel counts in
// 32 bits, so a column is summed as that.
func parseConntrack(b []byte) (Conntrack, error) {
	c := Conntrack{Known: true}
	head, b := cutLine(b)
	var drop, early, failed uint32
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
				return Conntrack{}, fmt.Errorf("line %d: %w", lines+2, errFormat)
			}
			switch string(name) {
			case "entries":
				c.Entries = v
			case "drop":
				drop += uint32(v)
			case "early_drop":
				early += uint32(v)
			case "insert_failed":
				failed += uint32(v)
			}
		}
	}
	if lines == 0 || !bytes.HasPrefix(head, []byte("entries")) {
		return Conntrack{}, fmt.Errorf("no heads or no lines: %w", errFormat)
	}
	c.Drop, c.EarlyDrop, c.InsertFailed = uint64(drop), uint64(early), uint64(failed)
	return c, nil
}
