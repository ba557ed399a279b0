// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"time"
)

// The parsers of this file are total: any bytes give a value or an error, never a panic. They
// allocate nothing that does not outlive the call, except to say what is wrong.

// errFormat is what a parser says of bytes that are not what the kernel prints.
var errFormat = errors.New("not in the kernel's format")

// maxCPU bounds a CPU's number; the kernel's own bound (CONFIG_NR_CPUS) is 8,192.
const maxCPU = 1 << 16

// cutLine returns the first line of b without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// keyLines yields the lines of a file that has a pair on each: the first field, and what follows it.
func keyLines(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, rest []byte) bool) {
		for len(b) > 0 {
			var line []byte
			line, b = cutLine(b)
			if !yield(cutField(line)) {
				return
			}
		}
	}
}

// cutField returns the first field of b, fields being divided by blanks, and what follows.
func cutField(b []byte) (field, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	n := i
	for n < len(b) && b[n] != ' ' && b[n] != '\t' {
		n++
	}
	return b[i:n], b[n:]
}

// parseUint reads a whole field as a decimal number. False if it is none, or too large.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 {
			return 0, false
		}
		hi, lo := bits.Mul64(n, 10)
		sum, carry := bits.Add64(lo, d, 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		n = sum
	}
	return n, true
}

// parseInt is parseUint with a sign, for numbers that fit 32 bits.
func parseInt(b []byte) (int32, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	n, ok := parseUint(b)
	if !ok || n > 1<<31-1 {
		return 0, false
	}
	if neg {
		return -int32(n), true
	}
	return int32(n), true
}

// parseHundredths reads "12.34" as 1234. The kernel prints loads and uptimes with two decimals.
func parseHundredths(b []byte) (uint64, bool) {
	whole, frac, ok := bytes.Cut(b, []byte{'.'})
	if !ok || len(frac) != 2 {
		return 0, false
	}
	w, ok1 := parseUint(whole)
	f, ok2 := parseUint(frac)
	if !ok1 || !ok2 || w > (1<<63)/100 {
		return 0, false
	}
	return w*100 + f, true
}

// kernelStat is /proc/stat.
type kernelStat struct {
	All                         Ticks
	CPUs                        []CPUTime // the online ones, ascending
	Interrupts, Switches, Forks uint64
	BootTime                    uint64 // wall clock, seconds; moves when the clock is set
	Running, Blocked            uint64

	seen uint8 // one bit a line
}

// Lines of /proc/stat that must be there.
const (
	seenAll = 1 << iota
	seenIntr
	seenCtxt
	seenBtime
	seenForks
	seenRunning
	seenBlocked
	seenEvery = 1<<iota - 1
)

// parseStat reads /proc/stat into s, whose CPU slice it reuses. CPUs that are offline have no
// line, so numbers may be missing between others. All lines it needs are in every kernel since 2.6;
// a file without one of them is an error, not a zero.
func parseStat(b []byte, s *kernelStat) error {
	*s = kernelStat{CPUs: s.CPUs[:0]}
	for key, rest := range keyLines(b) {
		if bytes.HasPrefix(key, []byte("cpu")) {
			if err := s.cpuLine(key[3:], rest); err != nil {
				return err
			}
			continue
		}
		var to *uint64
		var bit uint8
		switch string(key) {
		case "intr":
			to, bit = &s.Interrupts, seenIntr
		case "ctxt":
			to, bit = &s.Switches, seenCtxt
		case "btime":
			to, bit = &s.BootTime, seenBtime
		case "processes":
			to, bit = &s.Forks, seenForks
		case "procs_running":
			to, bit = &s.Running, seenRunning
		case "procs_blocked":
			to, bit = &s.Blocked, seenBlocked
		default:
			continue
		}
		first, _ := cutField(rest)
		n, ok := parseUint(first)
		if !ok {
			return fmt.Errorf("line %q: %w", key, errFormat)
		}
		*to = n
		s.seen |= bit
	}
	if s.seen != seenEvery {
		return fmt.Errorf("a line is missing: %w", errFormat)
	}
	return nil
}

// cpuLine takes "cpu", whose number is empty, or "cpu12".
func (s *kernelStat) cpuLine(number, columns []byte) error {
	t, ok := parseTicks(columns)
	if !ok {
		return fmt.Errorf("line \"cpu%.8s\": %w", number, errFormat)
	}
	if len(number) == 0 {
		s.All = t
		s.seen |= seenAll
		return nil
	}
	n, ok := parseUint(number)
	if !ok || n >= maxCPU || len(s.CPUs) > 0 && s.CPUs[len(s.CPUs)-1].CPU >= int(n) {
		return fmt.Errorf("line \"cpu%.8s\": %w", number, errFormat)
	}
	s.CPUs = append(s.CPUs, CPUTime{CPU: int(n), Ticks: t})
	return nil
}

// parseTicks reads the columns of a cpu line: at least user to idle, at most those we know.
func parseTicks(b []byte) (t Ticks, ok bool) {
	for i, to := range [...]*uint64{
		&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal, &t.Guest, &t.GuestNice,
	} {
		var f []byte
		f, b = cutField(b)
		if len(f) == 0 {
			return t, i >= 4
		}
		if *to, ok = parseUint(f); !ok {
			return Ticks{}, false
		}
	}
	return t, true
}

// loadAvg is /proc/loadavg.
type loadAvg struct {
	Load              [3]float64
	Runnable, Threads int
}

func parseLoadavg(b []byte) (l loadAvg, err error) {
	b, _ = cutLine(b)
	var f []byte
	for i := range l.Load {
		f, b = cutField(b)
		n, ok := parseHundredths(f)
		if !ok {
			return loadAvg{}, errFormat
		}
		l.Load[i] = float64(n) / 100
	}
	f, _ = cutField(b)
	running, total, _ := bytes.Cut(f, []byte{'/'})
	r, ok1 := parseInt(running)
	t, ok2 := parseInt(total)
	if !ok1 || !ok2 || r < 0 || t < 0 {
		return loadAvg{}, errFormat
	}
	l.Runnable, l.Threads = int(r), int(t)
	return l, nil
}

// parseUptime reads the first number of /proc/uptime, which is exact to 10 ms.
func parseUptime(b []byte) (time.Duration, error) {
	b, _ = cutLine(b)
	f, _ := cutField(b)
	n, ok := parseHundredths(f)
	if !ok || n > uint64(1<<63-1)/uint64(10*time.Millisecond) {
		return 0, errFormat
	}
	return time.Duration(n) * 10 * time.Millisecond, nil
}

// parseMeminfo reads /proc/meminfo in bytes. Available falls back to Free where the kernel has no
// MemAvailable, or where a container's view gives more than the total.
func parseMeminfo(b []byte) (m Mem, err error) {
	for key, rest := range keyLines(b) {
		var to *uint64
		switch string(key) {
		case "MemTotal:":
			to = &m.Total
		case "MemFree:":
			to = &m.Free
		case "MemAvailable:":
			to = &m.Available
		case "Buffers:":
			to = &m.Buffers
		case "Cached:":
			to = &m.Cached
		case "SReclaimable:":
			to = &m.SReclaimable
		case "Shmem:":
			to = &m.Shmem
		case "SwapTotal:":
			to = &m.SwapTotal
		case "SwapFree:":
			to = &m.SwapFree
		default:
			continue
		}
		f, _ := cutField(rest)
		kib, ok := parseUint(f)
		if !ok || kib >= 1<<54 {
			return Mem{}, fmt.Errorf("line %q: %w", key, errFormat)
		}
		*to = kib << 10
	}
	if m.Total == 0 {
		return Mem{}, fmt.Errorf("no MemTotal: %w", errFormat)
	}
	if m.Available == 0 || m.Available > m.Total {
		m.Available = m.Free
	}
	return m, nil
}

// vmStat is the part of /proc/vmstat that the checklist shows.
type vmStat struct {
	SwapIn, SwapOut uint64 // pages; 0 where the kernel is built without swap
	In, Out         uint64 // KiB
	hasIn, hasOut   bool
}

func parseVMStat(b []byte) (v vmStat, err error) {
	for key, rest := range keyLines(b) {
		if len(key) < 6 || key[0] != 'p' { // 4 of 190 lines are ours
			continue
		}
		var to *uint64
		switch string(key) {
		case "pswpin":
			to = &v.SwapIn
		case "pswpout":
			to = &v.SwapOut
		case "pgpgin":
			to, v.hasIn = &v.In, true
		case "pgpgout":
			to, v.hasOut = &v.Out, true
		default:
			continue
		}
		f, _ := cutField(rest)
		n, ok := parseUint(f)
		if !ok {
			return vmStat{}, fmt.Errorf("line %q: %w", key, errFormat)
		}
		*to = n
	}
	if !v.hasIn || !v.hasOut {
		return vmStat{}, fmt.Errorf("no pgpgin or pgpgout: %w", errFormat)
	}
	return v, nil
}

// parsePressure reads the totals of a pressure file, in microseconds since boot. Kernels before
// 5.13 print no "full" line for CPU; full is then 0.
func parsePressure(b []byte) (some, full time.Duration, err error) {
	hasSome := false
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		key, _ := cutField(line)
		i := bytes.LastIndex(line, []byte(" total="))
		if i < 0 {
			continue
		}
		f, _ := cutField(line[i+len(" total="):])
		us, ok := parseUint(f)
		if !ok || us > uint64(1<<63-1)/uint64(time.Microsecond) {
			return 0, 0, fmt.Errorf("line %.8q: %w", key, errFormat)
		}
		switch string(key) {
		case "some":
			some, hasSome = time.Duration(us)*time.Microsecond, true
		case "full":
			full = time.Duration(us) * time.Microsecond
		}
	}
	if !hasSome {
		return 0, 0, fmt.Errorf("no line \"some\": %w", errFormat)
	}
	return some, full, nil
}

// parseCPUList reads a list as in /sys/devices/system/cpu/online: "0-3,5".
func parseCPUList(b []byte) ([]int, error) {
	var cpus []int
	for part := range bytes.SplitSeq(bytes.TrimSpace(b), []byte(",")) {
		from, to, isRange := bytes.Cut(part, []byte("-"))
		lo, ok := parseUint(from)
		hi := lo
		if ok && isRange {
			hi, ok = parseUint(to)
		}
		if !ok || hi < lo || hi >= maxCPU || len(cpus) > 0 && lo <= uint64(cpus[len(cpus)-1]) {
			return nil, fmt.Errorf("a list of CPUs: %w", errFormat) // the kernel's ascend: no CPU comes twice
		}
		for cpu := lo; cpu <= hi; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	return cpus, nil
}
