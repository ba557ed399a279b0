// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"bpf60/collectors"
)

// Count writes a whole number in at most seven cells: 18204, 601.2k, 1.2M.
func Count(n uint64) string {
	if n < 100_000 {
		return strconv.FormatUint(n, 10)
	}
	return Short(float64(n))
}

// Short writes a number in at most six cells: 0.4, 12.0, 999, 41.2k, 1.2M.
func Short(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	if v < 0 {
		return "-" + Short(-v)
	}
	switch {
	case v == 0:
		return "0"
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	for _, unit := range []string{"k", "M", "G", "T", "P"} {
		if v /= 1000; v < 999.95 {
			return strconv.FormatFloat(v, 'f', 1, 64) + unit
		}
	}
	return strconv.FormatFloat(v/1000, 'f', 1, 64) + "E"
}

// Bytes writes a size in at most five cells, in powers of 1024: 31M, 13.1G.
func Bytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	v := float64(n)
	unit := ""
	for _, u := range []string{"K", "M", "G", "T", "P", "E"} {
		if v < 1023.5 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "K" || unit == "M" || v >= 99.95 {
		return strconv.FormatFloat(v, 'f', 0, 64) + unit
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + unit
}

// Micros writes a duration in at most seven cells: 560µs, 41.1µs, 2.1ms, 1.8s.
func Micros(d time.Duration) string {
	us := float64(d) / 1e3
	switch {
	case us < 999.5:
		return short3(us) + "µs"
	case us < 999.5e3:
		return short3(us/1e3) + "ms"
	}
	return short3(us/1e6) + "s"
}

func short3(v float64) string {
	if v < 99.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// lastLo is the lower edge of the last bucket, which has no upper one.
const lastLo = 1 << (collectors.HistSlots - 1)

// Range writes a bucket in at most nine cells: 0-1µs, 128-255µs, 0.5-1ms, 16-33ms, >67s.
func Range(b collectors.Bucket) string {
	switch {
	case b.Lo >= lastLo:
		return ">67s"
	case b.Lo >= 524288:
		return edge(b.Lo, 1e6) + "-" + edge(b.Hi, 1e6) + "s"
	case b.Lo >= 512:
		return edge(b.Lo, 1e3) + "-" + edge(b.Hi, 1e3) + "ms"
	}
	return fmt.Sprintf("%d-%dµs", b.Lo, b.Hi)
}

func edge(us uint64, unit float64) string {
	v := float64(us) / unit
	if v < 0.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// Age writes how long something has been so, in at most four cells: 41d, 3h, 12m, 9s.
func Age(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d >= time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return strconv.Itoa(int(max(d, 0)/time.Second)) + "s"
}

// Lasting writes how long something lasts in at most six cells: 42s, 6m12s, 5h12m, 41d3h.
func Lasting(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	switch {
	case s < 100:
		return fmt.Sprintf("%ds", s)
	case s < 100*60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 100*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%dh", s/86400, s/3600%24)
}

// CPUTime writes a time on CPUs in at most eight cells, as top does: 12:34.56, 123h45m, 417d3h.
func CPUTime(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 100*time.Minute:
		return fmt.Sprintf("%d:%05.2f", int(d/time.Minute), (d % time.Minute).Truncate(10*time.Millisecond).Seconds())
	case d < 1000*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d/time.Hour), int(d/time.Minute)%60)
	}
	return fmt.Sprintf("%dd%dh", int(d/(24*time.Hour)), int(d/time.Hour)%24)
}

// Clock writes a time of a run as minutes and seconds: 00:37.
func Clock(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}
