// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"time"
)

// diskLine is one line of /proc/diskstats. The name aliases the bytes that were parsed.
type diskLine struct {
	Dev  DevID
	Name []byte
	DiskCounts
	InFlight uint32
	Columns  uint8 // numbers behind the name: 11, 15 since 4.18 (discards), 17 since 5.5 (flushes)
}

// Numbers behind the name of a line of /proc/diskstats.
const (
	diskColumns    = 11 // every kernel since 2.6.25
	discardColumns = 15 // since 4.18
	flushColumns   = 17 // since 5.5
)

// parseDiskstats appends the devices of /proc/diskstats to lines, in its order. Columns beyond
// those we know are left alone. A line with fewer than 11 numbers, as kernels before 2.6.25 print
// of partitions, is left out.
func parseDiskstats(b []byte, lines []diskLine) ([]diskLine, error) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		f, rest := cutField(line)
		if len(f) == 0 {
			continue
		}
		major, ok1 := parseUint(f)
		f, rest = cutField(rest)
		minor, ok2 := parseUint(f)
		if !ok1 || !ok2 || major >= 1<<12 || minor >= 1<<20 {
			return nil, fmt.Errorf("device %.12q: %w", line, errFormat)
		}
		d := diskLine{Dev: MakeDev(uint32(major), uint32(minor))}
		d.Name, rest = cutField(rest)
		if len(d.Name) == 0 {
			return nil, fmt.Errorf("device %s: %w", d.Dev, errFormat)
		}
		if err := d.columns(rest); err != nil {
			return nil, fmt.Errorf("device %.32q: %w", d.Name, err)
		}
		if d.Columns >= diskColumns {
			lines = append(lines, d)
		}
	}
	return lines, nil
}

// columns reads the numbers behind the name.
func (d *diskLine) columns(b []byte) error {
	var inFlight uint64
	for _, to := range [...]*uint64{
		&d.Read.IOs, &d.Read.Merged, &d.Read.Sectors, &d.Read.Ms,
		&d.Write.IOs, &d.Write.Merged, &d.Write.Sectors, &d.Write.Ms,
		&inFlight, &d.BusyMs, &d.QueueMs,
		&d.Discard.IOs, &d.Discard.Merged, &d.Discard.Sectors, &d.Discard.Ms,
		&d.Flushes, &d.FlushMs,
	} {
		var f []byte
		f, b = cutField(b)
		if len(f) == 0 {
			break
		}
		n, ok := parseUint(f)
		if !ok && len(f) > 1 && f[0] == '-' { // in flight is printed signed before 5.10, and may dip below zero
			_, ok = parseUint(f[1:])
		}
		if !ok {
			return errFormat
		}
		*to = n
		d.Columns++
	}
	d.InFlight = uint32(min(inFlight, 1<<32-1))
	return nil
}

// mountLine is one line of mountinfo: proc_pid_mountinfo(5). Paths are as the kernel writes them,
// with octal escapes; the slices alias the bytes that were parsed.
type mountLine struct {
	Dev                  DevID
	Root, Point, Options []byte
	Type, Source, Super  []byte
}

// parseMount reads one line. False if it is not one.
func parseMount(line []byte) (m mountLine, ok bool) {
	var f [6][]byte // mount ID, parent ID, major:minor, root, mount point, options
	for i := range f {
		f[i], line = cutField(line)
	}
	major, minor, _ := bytes.Cut(f[2], []byte{':'})
	hi, ok1 := parseUint(major)
	lo, ok2 := parseUint(minor)
	if !ok1 || !ok2 || hi >= 1<<12 || lo >= 1<<20 || len(f[4]) == 0 {
		return mountLine{}, false
	}
	m = mountLine{Dev: MakeDev(uint32(hi), uint32(lo)), Root: f[3], Point: f[4], Options: f[5]}
	for { // optional fields, none or more, end at a lone dash
		var opt []byte
		opt, line = cutField(line)
		if len(opt) == 0 {
			return mountLine{}, false
		}
		if len(opt) == 1 && opt[0] == '-' {
			break
		}
	}
	m.Type, line = cutField(line)
	// An empty source is printed as nothing between two blanks, so only one blank divides here.
	if len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	m.Source, line, _ = bytes.Cut(line, []byte{' '})
	m.Super, _ = cutField(line)
	return m, len(m.Type) > 0
}

// unescapeMount undoes the kernel's escapes of blanks, ends of line, backslashes and #: a backslash
// and three octal digits. What is no such escape stays.
func unescapeMount(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && b[i+1] <= '3' && octal(b[i+1]) && octal(b[i+2]) && octal(b[i+3]) {
			out = append(out, (b[i+1]-'0')<<6|(b[i+2]-'0')<<3|(b[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, b[i])
	}
	return string(out)
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// hasOption looks for one option in a list that commas divide.
func hasOption(list []byte, option string) bool {
	for o := range bytes.SplitSeq(list, []byte{','}) {
		if string(o) == option {
			return true
		}
	}
	return false
}

// parseMdstat reads the arrays of /proc/mdstat. What it does not know it leaves out: the file has
// no fixed form, and grows with each personality.
func parseMdstat(b []byte) []Array {
	var out []Array
	for len(b) > 0 && len(out) < maxArrays {
		var line []byte
		line, b = cutLine(b)
		name, rest := cutField(line)
		colon, rest := cutField(rest)
		if string(colon) == ":" && len(name) > 0 && string(name) != "Personalities" && line[0] != ' ' {
			out = append(out, Array{Name: RawString(string(name))})
			out[len(out)-1].members(rest)
			continue
		}
		if len(out) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			out[len(out)-1].details(line)
		}
	}
	return out
}

// members reads "active (auto-read-only) raid1 sdb1[1] sda1[0](F)".
func (a *Array) members(b []byte) {
	for {
		var f []byte
		if f, b = cutField(b); len(f) == 0 {
			return
		}
		switch {
		case string(f) == "active":
			a.Active = true
		case string(f) == "inactive":
			a.Active = false
		case f[0] == '(':
			a.ReadOnly = a.ReadOnly || bytes.Contains(f, []byte("read-only"))
		case bytes.IndexByte(f, '[') > 0:
			a.Members++
			if bytes.HasSuffix(f, []byte("(F)")) {
				a.Failed++
			}
			if bytes.HasSuffix(f, []byte("(S)")) {
				a.Spares++
			}
		default:
			a.Level = RawString(string(f[:min(len(f), 16)]))
		}
	}
}

// details reads "1046528 blocks super 1.2 [2/1] [U_]" and
// "[=>....]  recovery = 12.6% (37043392/292945152) finish=127.5min speed=33440K/sec".
func (a *Array) details(b []byte) {
	var action []byte // the word before "=", or with it in one
	for {
		var f []byte
		if f, b = cutField(b); len(f) == 0 {
			return
		}
		switch {
		case f[0] == '[' && bytes.IndexByte(f, '/') > 0 && f[len(f)-1] == ']':
			want, have, _ := bytes.Cut(f[1:len(f)-1], []byte{'/'})
			w, ok1 := parseInt(want)
			h, ok2 := parseInt(have)
			if ok1 && ok2 && w >= 0 && h >= 0 {
				a.Want, a.Have = int(w), int(h)
			}
		case f[0] == '(' || f[0] == '[':
		case f[0] == '=': // "= 12.6%", and "=100.0%" without the blank
			a.sync(action, b)
			return
		case bytes.IndexByte(f, '=') > 0:
			name, value, _ := bytes.Cut(f, []byte{'='})
			if syncAction(name) { // resync=DELAYED, resync=PENDING, reshape=100%
				a.Action = RawString(string(name))
				a.Waits = string(value) == "DELAYED" || string(value) == "PENDING" || string(value) == "REMOTE"
			}
		default:
			action = f
		}
	}
}

func syncAction(b []byte) bool {
	switch string(b) {
	case "resync", "recovery", "reshape", "check", "repair":
		return true
	}
	return false
}

// sync reads what follows "recovery =".
func (a *Array) sync(action, b []byte) {
	if !syncAction(action) {
		return
	}
	a.Action = RawString(string(action))
	for {
		var f []byte
		if f, b = cutField(b); len(f) == 0 {
			return
		}
		name, value, _ := bytes.Cut(f, []byte{'='})
		switch {
		case f[0] == '(':
			done, all, _ := bytes.Cut(bytes.Trim(f, "()"), []byte{'/'})
			d, ok1 := parseUint(done)
			n, ok2 := parseUint(all)
			if ok1 && ok2 && d <= n {
				a.Done, a.All = d, n
			}
		case string(name) == "finish":
			minutes, frac, _ := bytes.Cut(bytes.TrimSuffix(value, []byte("min")), []byte{'.'})
			m, ok1 := parseUint(minutes)
			d, ok2 := parseUint(frac)
			if ok1 && ok2 && len(frac) == 1 && m < 1<<32 {
				a.Finish = time.Duration(m)*time.Minute + time.Duration(d)*6*time.Second
			}
		case string(name) == "speed":
			if n, ok := parseUint(bytes.TrimSuffix(value, []byte("K/sec"))); ok && n < 1<<53 {
				a.Speed = n << 10
			}
		}
	}
}
