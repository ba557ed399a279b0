// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// parseMountID finds the mount in /proc/PID/fdinfo/FD (since 3.15).
func parseMountID(b []byte) (uint64, bool) {
	for key, rest := range keyLines(b) {
		if string(key) == "mnt_id:" {
			id, _ := cutField(rest)
			return parseUint(id)
		}
	}
	return 0, false
}

// parseSyscallFiles reads /proc/PID/syscall: the number, six arguments, stack pointer and program
// counter. It returns the file descriptors that the call is about; none for calls that are about
// no open file, and for page faults.
func parseSyscallFiles(b []byte) (fds [2]uint32, n int) {
	var field [9][]byte
	for i := range field {
		field[i], b = cutField(b)
	}
	nr, ok := parseUint(field[0])
	if !ok { // "running", and -1 out of any call
		return fds, 0
	}
	// A program of 32 bits has other numbers, and its stack below 4 GiB.
	if sp, ok := parseAddress(field[7]); !ok || sp <= 1<<32-1 {
		return fds, 0
	}
	at, n := fileArguments(nr)
	for i := range n {
		v, ok := parseAddress(field[1+at[i]])
		if !ok || int32(v) < 0 {
			return fds, 0
		}
		fds[i] = uint32(v)
	}
	return fds, n
}

func parseAddress(b []byte) (uint64, bool) {
	hex, ok := bytes.CutPrefix(b, []byte("0x"))
	if !ok {
		return 0, false
	}
	return parseHex(hex)
}

// fileArguments says which arguments of a system call are the open files that it is about, by its
// number on this architecture. Calls with a path are left out: where that lies only looking it up
// would tell. So is close, whose descriptor is free again while it waits.
func fileArguments(nr uint64) (at [2]int, n int) {
	switch nr {
	case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
		unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
		unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_GETDENTS64,
		unix.SYS_IOCTL, unix.SYS_FLOCK, unix.SYS_FCNTL, unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FCHDIR, unix.SYS_FSTAT,
		unix.SYS_FSTATFS, unix.SYS_FADVISE64, unix.SYS_READAHEAD, unix.SYS_LSEEK, unix.SYS_FSETXATTR,
		unix.SYS_FGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR:
		return at, 1
	case unix.SYS_SENDFILE:
		return [2]int{0, 1}, 2
	case unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE:
		return [2]int{0, 2}, 2
	}
	return at, 0
}
