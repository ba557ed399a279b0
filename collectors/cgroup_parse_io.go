// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"slices"
)

// cgroupIO is I/O since the cgroup was made, its children's included.
type cgroupIO struct{ RBytes, WBytes, RIOs, WIOs uint64 }

// parseIOStat sums io.stat over devices, without those for which skip says that their I/O shows
// again at the devices below. The kernel prints a device without figures that it has none for, and
// before 5.19 two devices may share a line that only the second one's figures follow.
func parseIOStat(b []byte, skip func(major, minor uint32) bool) (sum cgroupIO, err error) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		use := false
		for f, rest := cutField(line); len(f) > 0; f, rest = cutField(rest) {
			if major, minor, ok := parseDevice(f); ok {
				use = skip == nil || !skip(major, minor)
				continue
			}
			key, value, _ := bytes.Cut(f, []byte{'='})
			var to *uint64
			switch string(key) {
			case "rbytes":
				to = &sum.RBytes
			case "wbytes":
				to = &sum.WBytes
			case "rios":
				to = &sum.RIOs
			case "wios":
				to = &sum.WIOs
			default:
				continue
			}
			n, ok := parseUint(value)
			if !ok {
				return cgroupIO{}, fmt.Errorf("key %.8q: %w", key, errFormat)
			}
			if use {
				*to += n // wraps as the kernel's own sum would
			}
		}
	}
	return sum, nil
}

// parseBlkio sums a file of v1's blkio.throttle over devices: "8:0 Read 4096". Counts says that there
// is a line of any device.
func parseBlkio(b []byte, skip func(major, minor uint32) bool) (read, written uint64, counts bool, err error) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		dev, rest := cutField(line)
		major, minor, ok := parseDevice(dev)
		if counts = counts || ok; !ok || skip != nil && skip(major, minor) {
			continue // the line of the sum, which counts stacked devices twice
		}
		op, rest := cutField(rest)
		var to *uint64
		switch string(op) {
		case "Read":
			to = &read
		case "Write":
			to = &written
		default:
			continue
		}
		var n uint64
		if !parseTimes(rest, 1, &n) {
			return 0, 0, false, fmt.Errorf("device %.12q: %w", dev, errFormat)
		}
		*to += n
	}
	return read, written, counts, nil
}

// parseDevice reads "253:0".
func parseDevice(b []byte) (major, minor uint32, ok bool) {
	first, second, ok := bytes.Cut(b, []byte{':'})
	if !ok {
		return 0, 0, false
	}
	m, ok1 := parseUint(first)
	n, ok2 := parseUint(second)
	if !ok1 || !ok2 || m >= 1<<12 || n >= 1<<20 {
		return 0, 0, false
	}
	return uint32(m), uint32(n), true
}

// CgroupIOLimit is a device's limit for a cgroup; NoLimit where there is none.
type CgroupIOLimit struct {
	Major, Minor             uint32
	RBytes, WBytes, RIO, WIO uint64 // a second
}

// parseIOMax reads io.max.
func parseIOMax(b []byte) (limits []CgroupIOLimit, err error) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		f, rest := cutField(line)
		major, minor, ok := parseDevice(f)
		if !ok {
			continue
		}
		l := CgroupIOLimit{major, minor, NoLimit, NoLimit, NoLimit, NoLimit}
		for f, rest = cutField(rest); len(f) > 0; f, rest = cutField(rest) {
			key, value, _ := bytes.Cut(f, []byte{'='})
			var to *uint64
			switch string(key) {
			case "rbps":
				to = &l.RBytes
			case "wbps":
				to = &l.WBytes
			case "riops":
				to = &l.RIO
			case "wiops":
				to = &l.WIO
			default:
				continue
			}
			if *to, err = parseLimit(value); err != nil {
				return nil, fmt.Errorf("key %.8q: %w", key, err)
			}
		}
		limits = append(limits, l)
	}
	return limits, nil
}

// parseThrottle adds the limits of one of v1's files of blkio.throttle, lines like "8:0 1048576", to
// those that are known; which is one of the four.
func parseThrottle(b []byte, which cgroupSlot, limits []CgroupIOLimit) ([]CgroupIOLimit, error) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		f, rest := cutField(line)
		major, minor, ok := parseDevice(f)
		if !ok {
			continue
		}
		limit, err := parseLimit(rest)
		if err != nil {
			return nil, fmt.Errorf("device %.12q: %w", f, err)
		}
		i := slices.IndexFunc(limits, func(l CgroupIOLimit) bool { return l.Major == major && l.Minor == minor })
		if i < 0 {
			i = len(limits)
			limits = append(limits, CgroupIOLimit{major, minor, NoLimit, NoLimit, NoLimit, NoLimit})
		}
		l := &limits[i]
		*map[cgroupSlot]*uint64{slotReadBytes: &l.RBytes, slotWriteBytes: &l.WBytes, slotReads: &l.RIO, slotWrites: &l.WIO}[which] = limit
	}
	return limits, nil
}
