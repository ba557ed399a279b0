// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"

	"golang.org/x/sys/unix"
)

// cgroupSlot is a file of a cgroup's directory.
type cgroupSlot uint8

// The files: first those that are read again and again, then those that say what bounds a cgroup.
const (
	slotCPU cgroupSlot = iota
	slotSplit
	slotThrottle
	slotMemory
	slotSwap
	slotEvents
	slotFail
	slotStat
	slotIO
	slotIOs
	slotPids
	slotDenied
	slotPSICPU
	slotPSIMemory
	slotPSIIO
	slotQuota
	slotPeriod
	slotWeight
	slotHigh
	slotMax
	slotSwapMax
	slotPidsMax
	slotIOMax
	slotReadBytes // v1 has a file for each of the four
	slotWriteBytes
	slotReads
	slotWrites
	slotSoft
	slotState
	cgroupSlots
)

// slotName is where a slot's number stands in v2 and in v1; an empty name: nowhere.
type slotName struct {
	v2 string
	h  hierarchy
	v1 string
}

func slotNames() [cgroupSlots]slotName {
	return [cgroupSlots]slotName{
		slotCPU:        {"cpu.stat", v1CPUAcct, "cpuacct.usage"},
		slotSplit:      {"", v1CPUAcct, "cpuacct.stat"},
		slotThrottle:   {"", v1CPU, "cpu.stat"},
		slotMemory:     {"memory.current", v1Memory, "memory.usage_in_bytes"},
		slotSwap:       {"memory.swap.current", v1Memory, "memory.memsw.usage_in_bytes"},
		slotEvents:     {"memory.events", v1Memory, "memory.oom_control"},
		slotFail:       {"", v1Memory, "memory.failcnt"},
		slotStat:       {"memory.stat", v1Memory, "memory.stat"},
		slotIO:         {"io.stat", v1Blkio, "blkio.throttle.io_service_bytes_recursive"},
		slotIOs:        {"", v1Blkio, "blkio.throttle.io_serviced_recursive"},
		slotPids:       {"pids.current", v1Pids, "pids.current"},
		slotDenied:     {"pids.events", v1Pids, "pids.events"},
		slotPSICPU:     {"cpu.pressure", unified, ""},
		slotPSIMemory:  {"memory.pressure", unified, ""},
		slotPSIIO:      {"io.pressure", unified, ""},
		slotQuota:      {"cpu.max", v1CPU, "cpu.cfs_quota_us"},
		slotPeriod:     {"", v1CPU, "cpu.cfs_period_us"},
		slotWeight:     {"cpu.weight", v1CPU, "cpu.shares"},
		slotHigh:       {"memory.high", unified, ""},
		slotMax:        {"memory.max", v1Memory, "memory.limit_in_bytes"},
		slotSwapMax:    {"memory.swap.max", v1Memory, "memory.memsw.limit_in_bytes"},
		slotPidsMax:    {"pids.max", v1Pids, "pids.max"},
		slotIOMax:      {"io.max", unified, ""},
		slotReadBytes:  {"", v1Blkio, "blkio.throttle.read_bps_device"},
		slotWriteBytes: {"", v1Blkio, "blkio.throttle.write_bps_device"},
		slotReads:      {"", v1Blkio, "blkio.throttle.read_iops_device"},
		slotWrites:     {"", v1Blkio, "blkio.throttle.write_iops_device"},
		slotSoft:       {"", v1Memory, "memory.soft_limit_in_bytes"},
		slotState:      {"cgroup.events", v1Freezer, "freezer.state"},
	}
}

// cgroupFile is one of a cgroup's files: open, closed, or not there.
type cgroupFile struct {
	fd   int32 // 0: closed. Descriptors 0 to 2 are never ours
	v1   bool
	none bool // neither version has it here
}

// errNone says that a cgroup has no such file: its controller is not on.
var errNone = errors.New("no such file")

// errCgroupGone says that the cgroup was removed.
var errCgroupGone = errors.New("the cgroup is gone")

// cgroupReader reads files of cgroups into one buffer. It keeps at most max of them open: the
// kernel prints a file anew at each read from its beginning, and opening costs as much as reading.
type cgroupReader struct {
	tree  *cgroupTree
	names [cgroupSlots]slotName
	buf   []byte
	open  int
	max   int

	seen, seenV1 [cgroupSlots]bool // some cgroup has the file
	failed       [cgroupSlots]error
	devices      map[uint64]bool // whether a device's I/O shows again below it
	skip         func(major, minor uint32) bool

	countsIO, idleIO bool // v1: I/O is counted; it was found not to be
}

func newCgroupReader(t *cgroupTree) *cgroupReader {
	r := &cgroupReader{tree: t, names: slotNames(), buf: make([]byte, 16<<10), max: 256}
	r.skip = r.stacked
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		r.max = int(min(max(lim.Cur/8, 16), 1024))
	}
	return r
}

// read returns a file of n. The bytes are valid until the next read. The file stays open if keep
// says so and there is room.
func (r *cgroupReader) read(n *cgroupNode, s cgroupSlot, keep bool) ([]byte, bool, error) {
	f := &n.slots[s]
	if f.none {
		return nil, false, errNone
	}
	fd := int(f.fd)
	if fd == 0 {
		var err error
		if fd, f.v1, err = r.openSlot(n, s); err != nil {
			f.none = errors.Is(err, errNone)
			return nil, false, err
		}
	}
	b, err := r.pread(fd)
	switch {
	case err != nil || !keep || f.fd == 0 && r.open >= r.max:
		unix.Close(fd)
		if f.fd != 0 {
			f.fd = 0
			r.open--
		}
	case f.fd == 0:
		f.fd = int32(fd)
		r.open++
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, false, errCgroupGone
	case err != nil:
		r.failed[s], f.none = err, true
		return nil, false, errNone
	}
	if f.v1 {
		r.seenV1[s] = true
	} else {
		r.seen[s] = true
	}
	return b, f.v1, nil
}

// openSlot opens the file of v2, or else that of v1.
func (r *cgroupReader) openSlot(n *cgroupNode, s cgroupSlot) (fd int, v1 bool, err error) {
	name := &r.names[s]
	for _, at := range [...]struct {
		h    hierarchy
		name string
	}{{unified, name.v2}, {name.h, name.v1}} {
		i := r.tree.at[at.h]
		if at.name == "" || i < 0 || n.in&(1<<i) == 0 {
			continue
		}
		fd, err := unix.Open(r.tree.dir(n, i)+"/"+at.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return fd, at.h != unified, nil
		case errors.Is(err, unix.ENODEV):
			return 0, false, errCgroupGone
		case !errors.Is(err, unix.ENOENT):
			r.failed[s] = err
		}
	}
	return 0, false, errNone
}

// maxCgroupFile bounds what one file may make us hold: io.stat has a line for each device.
const maxCgroupFile = 1 << 20

// pread reads the whole file. The kernel prints a cgroup's file in one piece, so a read that leaves
// room has all of it, and to ask for more would make the kernel print it once again.
func (r *cgroupReader) pread(fd int) ([]byte, error) {
	for n := 0; ; {
		if n == len(r.buf) {
			if n >= maxCgroupFile {
				return nil, errFormat
			}
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		m, err := unix.Pread(fd, r.buf[n:], int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		if n += m; n < len(r.buf) {
			return r.buf[:n], nil
		}
	}
}

// drop closes what is open of n. From keep on slots stay.
func (r *cgroupReader) drop(n *cgroupNode) { r.dropFrom(n, 0) }

func (r *cgroupReader) dropFrom(n *cgroupNode, from cgroupSlot) {
	for s := from; s < cgroupSlots; s++ {
		if f := &n.slots[s]; f.fd != 0 {
			unix.Close(int(f.fd))
			f.fd = 0
			r.open--
		}
	}
}
