// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// measure is what kind of number a column holds.
type measure uint8

const (
	countMeasure measure = iota // anything else: 8k is 8000
	sizeMeasure                 // bytes: 8k is 8192
	timeMeasure                 // seconds
)

// String is what a message calls it.
func (m measure) String() string {
	switch m {
	case sizeMeasure:
		return "a size"
	case timeMeasure:
		return "a time"
	case countMeasure:
	}
	return "a count"
}

// measureOf is what a column measures, and how many bytes or seconds 1 in its cells is.
func measureOf(c Column) (measure, float64) {
	switch c.Form {
	case KiB:
		return sizeMeasure, 1 << 10
	case Bytes:
		return sizeMeasure, 1
	case CPUTime, Lasting:
		return timeMeasure, 1
	case Plain:
	}
	switch strings.TrimSuffix(c.Unit, "/s") {
	case "bytes", "B":
		return sizeMeasure, 1
	case "kB", "KiB":
		return sizeMeasure, 1 << 10
	case "MB", "MiB":
		return sizeMeasure, 1 << 20
	case "ns":
		return timeMeasure, 1e-9
	case "us":
		return timeMeasure, 1e-6
	case "ms":
		return timeMeasure, 1e-3
	case "s":
		return timeMeasure, 1
	}
	return countMeasure, 1
}

// numberIn reads a number as a filter has it, in the unit of a column's cells. Without a unit of its
// own it is in the column's.
func numberIn(c Column, s string) (float64, error) {
	end := strings.LastIndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }) + 1
	v, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || end == 0 {
		return 0, fmt.Errorf("%s is no number", s)
	}
	unit := strings.TrimSuffix(s[end:], "/s")
	if unit == "" || unit == "%" {
		return v, nil
	}
	is, per := measureOf(c)
	factor, ok := unitOf(is, unit)
	if !ok {
		return 0, fmt.Errorf("%s is %s, which %s is not", c.Title, is, s)
	}
	return v * factor / per, nil
}

// unitOf is how much a unit is: bytes of a size, seconds of a time, ones of a count.
func unitOf(m measure, unit string) (float64, bool) {
	switch m {
	case timeMeasure:
		v, ok := map[string]float64{
			"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400,
		}[unit]
		return v, ok
	case sizeMeasure:
		unit = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(unit), "b"), "i")
		return power(unit, 1<<10)
	case countMeasure:
	}
	return power(strings.ToLower(unit), 1000)
}

// secondsOf reads a time with its unit.
func secondsOf(s string) (float64, bool) {
	end := strings.LastIndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }) + 1
	v, err := strconv.ParseFloat(s[:end], 64)
	unit, ok := unitOf(timeMeasure, s[end:])
	return v * unit, ok && err == nil
}

// bucketOf reads the bounds of a bucket of times, 64-127µs or >67s, in seconds.
func bucketOf(s string) (lo, hi float64, ok bool) {
	if more, found := strings.CutPrefix(s, ">"); found {
		lo, ok = secondsOf(more)
		return lo, math.Inf(1), ok
	}
	from, to, found := strings.Cut(s, "-")
	hi, ok = secondsOf(to)
	unit := strings.TrimLeft(to, "0123456789.")
	lo, begins := secondsOf(from + unit)
	return lo, hi, found && ok && begins
}

// power is the base once for k, twice for m, and so on.
func power(prefix string, base float64) (float64, bool) {
	v := 1.0
	if prefix == "" {
		return v, true
	}
	for _, p := range []string{"k", "m", "g", "t", "p"} {
		if v *= base; p == prefix {
			return v, true
		}
	}
	return 0, false
}
