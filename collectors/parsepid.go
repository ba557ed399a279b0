// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// commLen is the length of a task's name in the kernel, its NUL included (TASK_COMM_LEN).
const commLen = 16

// pfKthread marks a kernel thread in the flags of a task (include/linux/sched.h).
const pfKthread = 0x00200000

// pidStat is /proc/PID/stat: of a process, its times are the sums over its threads, the dead
// ones included.
type pidStat struct {
	PID, PPID  int32
	Comm       [commLen]byte // NUL-terminated
	State      byte
	Flags      uint64
	UTime      uint64 // ticks
	STime      uint64 // ticks
	MinFlt     uint64
	MajFlt     uint64
	Prio       int16
	Nice       int8
	Threads    uint32
	StartTicks uint64 // since boot
	VSize      uint64 // bytes
	RSS        uint64 // pages
	Policy     uint8
	BlockTicks uint64 // waited for block I/O, all threads; 0 with kernel.task_delayacct off
	GuestTicks uint64 // of UTime: as virtual CPUs of guests
	LastCPU    uint16 // that the leader ran on last, plus 1; 0: not known
}

// Columns of /proc/PID/stat after the name, which is the second; the first column is 1.
const (
	colState   = 3
	colPPID    = 4
	colFlags   = 9
	colMinFlt  = 10
	colMajFlt  = 12
	colUTime   = 14
	colSTime   = 15
	colPrio    = 18
	colNice    = 19
	colThreads = 20
	colStart   = 22
	colVSize   = 23
	colRSS     = 24
	colCPU     = 39
	colPolicy  = 41
	colBlock   = 42
	colGuest   = 43
)

// parsePIDStat reads /proc/PID/stat. The name stands in parentheses, unescaped, and may itself
// hold parentheses, blanks and newlines: it ends at the last ')' of the file.
func parsePIDStat(b []byte, s *pidStat) error {
	*s = pidStat{}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return fmt.Errorf("no name in parentheses: %w", errFormat)
	}
	pid, _ := cutField(b[:open])
	var ok bool
	if s.PID, ok = parseInt(pid); !ok || s.PID <= 0 {
		return fmt.Errorf("column 1: %w", errFormat)
	}
	rest, _ := cutLine(b[end+1:])
	for col := colState; col <= colGuest; col++ {
		var f []byte
		f, rest = cutField(rest)
		if len(f) == 0 && col > colRSS { // an old kernel's, or a fixture's
			break
		}
		if ok := s.column(col, f); !ok {
			return fmt.Errorf("column %d: %w", col, errFormat)
		}
	}
	copy(s.Comm[:commLen-1], taskName(b[open+1:end], s.Flags&pfKthread != 0))
	return nil
}

func (s *pidStat) column(col int, f []byte) (ok bool) {
	if len(f) == 0 {
		return false
	}
	var n uint64
	switch col {
	case colState:
		if len(f) != 1 {
			return false
		}
		s.State = f[0]
		return f[0] >= 'A' && f[0] <= 'z'
	case colPPID:
		s.PPID, ok = parseInt(f)
		return ok && s.PPID >= 0
	case colFlags:
		s.Flags, ok = parseUint(f)
	case colMinFlt:
		s.MinFlt, ok = parseUint(f)
	case colMajFlt:
		s.MajFlt, ok = parseUint(f)
	case colUTime:
		s.UTime, ok = parseUint(f)
	case colSTime:
		s.STime, ok = parseUint(f)
	case colPrio:
		var v int32
		v, ok = parseInt(f)
		s.Prio = int16(v)
		return ok && v >= -200 && v < 200
	case colNice:
		var v int32
		v, ok = parseInt(f)
		s.Nice = int8(v)
		return ok && v >= -20 && v <= 19
	case colThreads:
		n, ok = parseUint(f)
		s.Threads = uint32(n)
		return ok && n < 1<<31
	case colStart:
		s.StartTicks, ok = parseUint(f)
	case colVSize:
		s.VSize, ok = parseUint(f)
	case colRSS:
		if f[0] == '-' { // the kernel's sum of counters that lag
			return true
		}
		s.RSS, ok = parseUint(f)
	case colCPU:
		n, ok = parseUint(f)
		if ok && n < maxCPU-1 {
			s.LastCPU = uint16(n) + 1
		}
	case colPolicy:
		n, ok = parseUint(f)
		s.Policy = uint8(n)
		return ok && n < 256
	case colBlock:
		s.BlockTicks, ok = parseUint(f)
	case colGuest:
		s.GuestTicks, ok = parseUint(f)
	default:
		return len(f) > 0
	}
	return ok
}

// taskName is the task's own name. To a worker's the kernel appends what it works on
// ("kworker/u8:1-events_unbound"), which would make it another process at every tick.
func taskName(name []byte, kernel bool) []byte {
	name, _, _ = bytes.Cut(name, []byte{0}) // as a string of C ends
	const worker = "kworker/"
	if kernel && bytes.HasPrefix(name, []byte(worker)) && !bytes.HasPrefix(name, []byte(worker+"R")) {
		if i := bytes.IndexAny(name, "-+"); i > 0 {
			return name[:i]
		}
	}
	return name
}

// schedStat is /proc/PID/schedstat, since the start of the task (of a process: of its leader).
type schedStat struct {
	Run, Wait uint64 // ns on a CPU, and runnable without one
	Slices    uint64 // times it was given a CPU
}

func parseSchedstat(b []byte) (s schedStat, err error) {
	b, _ = cutLine(b)
	for _, to := range [...]*uint64{&s.Run, &s.Wait, &s.Slices} {
		var f []byte
		f, b = cutField(b)
		n, ok := parseUint(f)
		if !ok {
			return schedStat{}, errFormat
		}
		*to = n
	}
	return s, nil
}

// parseStatusUID reads the real user of /proc/PID/status. The name's line comes first, and there
// the kernel escapes newlines, so the first line that begins with "Uid:" is the kernel's own.
func parseStatusUID(b []byte) (uint32, error) {
	for key, rest := range keyLines(b) {
		if string(key) != "Uid:" {
			continue
		}
		f, _ := cutField(rest)
		n, ok := parseUint(f)
		if !ok || n > 1<<32-1 {
			return 0, fmt.Errorf("line \"Uid:\": %w", errFormat)
		}
		return uint32(n), nil
	}
	return 0, fmt.Errorf("no line \"Uid:\": %w", errFormat)
}
