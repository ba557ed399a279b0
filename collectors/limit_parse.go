// SPDX-License-Identifier: Apache-2.0

package collectors

import "bytes"

// limitNames are the limits as /proc/PID/limits prints them (fs/proc/base.c, lnames), with the names of
// prlimit(1) and what they count where the kernel's unit does not say it.
func limitNames() []struct{ prints, name, unit string } {
	return []struct{ prints, name, unit string }{
		{"Max cpu time", "cpu", "seconds"},
		{"Max file size", "fsize", "bytes"},
		{"Max data size", "data", "bytes"},
		{"Max stack size", "stack", "bytes"},
		{"Max core file size", "core", "bytes"},
		{"Max resident set", "rss", "bytes"},
		{"Max processes", "nproc", "threads"},
		{"Max open files", "nofile", "files"},
		{"Max locked memory", "memlock", "bytes"},
		{"Max address space", "as", "bytes"},
		{"Max file locks", "locks", "locks"},
		{"Max pending signals", "sigpending", "signals"},
		{"Max msgqueue size", "msgqueue", "bytes"},
		{"Max nice priority", "nice", ""},
		{"Max realtime priority", "rtprio", ""},
		{"Max realtime timeout", "rttime", "us"},
	}
}

// parseLimits reads /proc/PID/limits. Lines that are not known, and those that are not whole, are left
// out.
func parseLimits(b []byte) []ResourceLimit {
	var out []ResourceLimit
	names := limitNames()
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		for _, n := range names {
			rest, ok := bytes.CutPrefix(line, []byte(n.prints+" "))
			if !ok {
				continue
			}
			soft, rest := cutField(rest)
			hard, _ := cutField(rest)
			l := ResourceLimit{Name: n.name, Unit: n.unit}
			var known [2]bool
			l.Soft, known[0] = parseRlimit(soft)
			l.Hard, known[1] = parseRlimit(hard)
			if known == [2]bool{true, true} {
				out = append(out, l)
			}
		}
	}
	return out
}

func parseRlimit(b []byte) (uint64, bool) {
	if string(b) == "unlimited" {
		return NoLimit, true
	}
	return parseUint(b)
}

// anonUse names what is no limit's: the anonymous memory of a process (since Linux 4.5).
const anonUse = "anon"

// parseLimitUse reads what /proc/PID/status tells of the use of limits, by the limit's name.
func parseLimitUse(b []byte) map[string]uint64 {
	used := make(map[string]uint64)
	of := map[string]string{"VmSize:": "as", "VmLck:": "memlock", "VmRSS:": "rss", "VmData:": "data", "VmStk:": "stack", "RssAnon:": anonUse}
	for key, rest := range keyLines(b) {
		value, _ := cutField(rest)
		if name, ok := of[string(key)]; ok {
			if n, ok := parseUint(value); ok && n <= NoLimit>>10 {
				used[name] = n << 10
			}
		}
		if string(key) == "SigQ:" {
			queued, _, _ := bytes.Cut(value, []byte{'/'})
			if n, ok := parseUint(queued); ok {
				used["sigpending"] = n
			}
		}
	}
	return used
}
