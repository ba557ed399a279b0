// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"math/bits"
	"time"
)

// The parsers of this file are total, as those of parse.go, and allocate nothing for each field.
// Keys that they do not know are skipped: kernels add some with every release.

// NoLimit is a limit that is not set. The kernel prints "max"; v1 prints the largest number of
// whole pages, which is more than any host has.
const NoLimit = 1<<64 - 1

// noLimitV1 is the least that version 1 means by no limit: PAGE_COUNTER_MAX in bytes, less what
// pages of 64 KiB round away.
const noLimitV1 = 1<<63 - 1<<16

// parseLimit reads "max" or a number, as memory.max has it, and as v1's memory.limit_in_bytes.
func parseLimit(b []byte) (uint64, error) {
	f, _ := cutField(firstLine(b))
	if string(f) == "max" {
		return NoLimit, nil
	}
	n, ok := parseUint(f)
	if !ok {
		return 0, errFormat
	}
	if n >= noLimitV1 {
		return NoLimit, nil
	}
	return n, nil
}

// parseCount reads a file of one number.
func parseCount(b []byte) (uint64, error) {
	f, _ := cutField(firstLine(b))
	n, ok := parseUint(f)
	if !ok {
		return 0, errFormat
	}
	return n, nil
}

func firstLine(b []byte) []byte {
	line, _ := cutLine(b)
	return line
}

// maxPeriod bounds quota and period in µs; the kernel's own bound of a quota is about a day.
const maxPeriod = 1 << 42

// parseCPUMax reads cpu.max: quota and period in µs, the quota 0 where it is "max".
func parseCPUMax(b []byte) (quota, period uint64, err error) {
	first, rest := cutField(firstLine(b))
	second, _ := cutField(rest)
	period, ok := parseUint(second)
	if !ok || period == 0 || period > maxPeriod {
		return 0, 0, errFormat
	}
	if string(first) == "max" {
		return 0, period, nil
	}
	if quota, ok = parseUint(first); !ok || quota > maxPeriod {
		return 0, 0, errFormat
	}
	return quota, period, nil
}

// parseQuotaV1 reads cpu.cfs_quota_us, -1 for none, which is returned as 0.
func parseQuotaV1(b []byte) (uint64, error) {
	f, _ := cutField(firstLine(b))
	if string(f) == "-1" {
		return 0, nil
	}
	n, ok := parseUint(f)
	if !ok || n > maxPeriod {
		return 0, errFormat
	}
	return n, nil
}

// cgroupCPU is what cpu.stat of either version knows, cumulative. Times are in ns.
type cgroupCPU struct {
	Usage, User, System                   uint64 // v2, in steps of 1 µs
	Periods, Throttled                    uint64
	ThrottledNs                           uint64 // summed over CPUs
	hasUsage, hasPeriods, hasThrottledFor bool
}

// parseCgroupCPU reads cpu.stat. A v2 file without the cpu controller has no periods, a v1 file no
// usage; a file with neither is an error.
func parseCgroupCPU(b []byte) (c cgroupCPU, err error) {
	for key, rest := range keyLines(b) {
		var to *uint64
		unit := uint64(1)
		switch string(key) {
		case "usage_usec":
			to, unit, c.hasUsage = &c.Usage, 1000, true
		case "user_usec":
			to, unit = &c.User, 1000
		case "system_usec":
			to, unit = &c.System, 1000
		case "nr_periods":
			to, c.hasPeriods = &c.Periods, true
		case "nr_throttled":
			to = &c.Throttled
		case "throttled_usec":
			to, unit, c.hasThrottledFor = &c.ThrottledNs, 1000, true
		case "throttled_time":
			to, c.hasThrottledFor = &c.ThrottledNs, true
		default:
			continue
		}
		if !parseTimes(rest, unit, to) {
			return cgroupCPU{}, fmt.Errorf("line %q: %w", key, errFormat)
		}
	}
	if !c.hasUsage && !c.hasPeriods {
		return cgroupCPU{}, fmt.Errorf("no usage_usec and no nr_periods: %w", errFormat)
	}
	return c, nil
}

// parseTimes reads the first field of b times unit into to; false if it is no number or too large.
func parseTimes(b []byte, unit uint64, to *uint64) bool {
	f, _ := cutField(b)
	n, ok := parseUint(f)
	hi, lo := bits.Mul64(n, unit)
	*to = lo
	return ok && hi == 0
}

// parseCPUAcctStat reads v1's cpuacct.stat, in USER_HZ ticks, as ns.
func parseCPUAcctStat(b []byte) (user, system uint64, err error) {
	var hasUser, hasSystem bool
	for key, rest := range keyLines(b) {
		var to *uint64
		switch string(key) {
		case "user":
			to, hasUser = &user, true
		case "system":
			to, hasSystem = &system, true
		default:
			continue
		}
		if !parseTimes(rest, tickNs, to) {
			return 0, 0, fmt.Errorf("line %q: %w", key, errFormat)
		}
	}
	if !hasUser || !hasSystem {
		return 0, 0, fmt.Errorf("no user or system: %w", errFormat)
	}
	return user, system, nil
}

// memEvents are the counters of memory.events, since the cgroup was made, its children's included.
type memEvents struct{ Low, High, Max, OOM, OOMKill uint64 }

// parseMemEvents reads memory.events, and v1's memory.oom_control, of which only oom_kill is one.
// Kernels without a key count it as 0.
func parseMemEvents(b []byte) (e memEvents, err error) {
	known := false
	for key, rest := range keyLines(b) {
		var to *uint64
		switch string(key) {
		case "low":
			to = &e.Low
		case "high":
			to = &e.High
		case "max":
			to = &e.Max
		case "oom":
			to = &e.OOM
		case "oom_kill":
			to = &e.OOMKill
		default:
			continue
		}
		if !parseTimes(rest, 1, to) {
			return memEvents{}, fmt.Errorf("line %q: %w", key, errFormat)
		}
		known = true
	}
	if !known {
		return memEvents{}, fmt.Errorf("no event: %w", errFormat)
	}
	return e, nil
}

// memStat is the part of memory.stat that is shown: sizes in bytes, the last two cumulative.
type memStat struct {
	Anon, File, InactiveFile, Shmem, Slab, Sock uint64
	Refaults, MajorFaults                       uint64
}

// parseMemStat reads memory.stat. Of v1, whose plain keys leave children out, it takes the total_
// ones; rss is anonymous there, and slab and sockets are not told.
func parseMemStat(b []byte, v1 bool) (m memStat, err error) {
	known := false
	for key, rest := range keyLines(b) {
		if v1 {
			var ok bool
			if key, ok = bytes.CutPrefix(key, []byte("total_")); !ok {
				continue
			}
		}
		var to *uint64
		switch string(key) {
		case "anon", "rss":
			to = &m.Anon
		case "file", "cache":
			to = &m.File
		case "inactive_file":
			to = &m.InactiveFile
		case "shmem":
			to = &m.Shmem
		case "slab":
			to = &m.Slab
		case "sock":
			to = &m.Sock
		case "workingset_refault", "workingset_refault_anon", "workingset_refault_file":
			to = &m.Refaults // one key until 5.8, since then two that sum to it
		case "pgmajfault":
			to = &m.MajorFaults
		default:
			continue
		}
		var n uint64
		if !parseTimes(rest, 1, &n) {
			return memStat{}, fmt.Errorf("line %q: %w", key, errFormat)
		}
		if to == &m.Refaults {
			n += *to
		}
		*to, known = n, true
	}
	if !known {
		return memStat{}, fmt.Errorf("no known key: %w", errFormat)
	}
	return m, nil
}

// parseCgroupState reads cgroup.events, and v1's freezer.state.
func parseCgroupState(b []byte) (empty, frozen bool) {
	for key, rest := range keyLines(b) {
		value, _ := cutField(rest)
		switch string(key) {
		case "populated":
			empty = string(value) == "0"
		case "frozen":
			frozen = string(value) == "1"
		case "FROZEN":
			frozen = true
		}
	}
	return empty, frozen
}

// parseStalls reads a pressure file as parsePressure does, with full as the kernel has it: of a
// cgroup it means something for CPU too.
func parseStalls(b []byte) (s CgroupStall, err error) {
	some, full, err := parsePressure(b)
	return CgroupStall{some, full}, err
}

// CgroupStall is a time in which some, and in which all, of the tasks that could have run waited.
type CgroupStall struct{ Some, Full time.Duration }
