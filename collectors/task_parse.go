// SPDX-License-Identifier: Apache-2.0

package collectors

import "bytes"

// parsePasswd reads the names of /etc/passwd by user ID. Of two names for one ID the first holds, as
// for getpwuid(3). Lines that are no entry are left out.
func parsePasswd(b []byte) map[uint32]Raw {
	names := make(map[uint32]Raw)
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		name, rest, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || name[0] == '#' || name[0] == '+' || name[0] == '-' {
			continue
		}
		_, rest, _ = bytes.Cut(rest, []byte{':'})
		id, _, _ := bytes.Cut(rest, []byte{':'})
		uid, ok := parseUint(id)
		if !ok || uid > 1<<32-1 {
			continue
		}
		if _, taken := names[uint32(uid)]; !taken {
			names[uint32(uid)] = RawString(string(name))
		}
	}
	return names
}

// parseCgroups picks from /proc/PID/cgroup the path that tells most, and names its hierarchy: that of
// the memory controller where it is a v1 one, else the unified one; should both be the root, the
// path of any other. shown says that it is not of such another: the cgroup's ID goes with it. Paths may hold
// colons, but no newline.
func parseCgroups(b []byte) (path []byte, controller string, shown bool) {
	best, memory := 0, false
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		_, rest, ok := bytes.Cut(line, []byte{':'})
		list, p, ok2 := bytes.Cut(rest, []byte{':'})
		if !ok || !ok2 || len(p) == 0 || p[0] != '/' {
			continue
		}
		rank, name := 2, string(list)
		switch {
		case hasController(list, "memory"):
			rank, name, memory = 6, "memory", true
		case len(list) == 0:
			rank, name = 5, "unified"
		case hasController(list, "cpu"):
			rank, name = 4, "cpu"
		case bytes.HasPrefix(list, []byte("name=")):
			rank = 3
		}
		if len(p) > 1 {
			rank += 10
		}
		if rank > best {
			best, path, controller = rank, p, name
		}
	}
	return path, controller, controller == "memory" || controller == "unified" && !memory
}

func hasController(list []byte, name string) bool {
	for len(list) > 0 {
		var one []byte
		one, list, _ = bytes.Cut(list, []byte{','})
		if string(one) == name {
			return true
		}
	}
	return false
}

// taskIO is /proc/PID/io: of a process, the sums over its threads, the dead ones included.
type taskIO struct{ Read, Write, Cancelled uint64 } // bytes

// parseTaskIO reads the lines we need; the file has no others than "name: number".
func parseTaskIO(b []byte) (io taskIO, ok bool) {
	seen := 0
	for key, rest := range keyLines(b) {
		var to *uint64
		switch string(key) {
		case "read_bytes:":
			to = &io.Read
		case "write_bytes:":
			to = &io.Write
		case "cancelled_write_bytes:":
			to = &io.Cancelled
		default:
			continue
		}
		f, _ := cutField(rest)
		n, isNumber := parseUint(f)
		if !isNumber {
			return taskIO{}, false
		}
		*to = n
		seen++
	}
	return io, seen >= 2 // what was cancelled came later
}
