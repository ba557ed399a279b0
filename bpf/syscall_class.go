// SPDX-License-Identifier: Apache-2.0

package bpf

import "golang.org/x/sys/unix"

// What a system call does: CLASS_* in syscall.bpf.c.
const (
	classFD0 = 1 + iota // works on the file of a descriptor, its first argument
	classFD1
	classPath0 // works on a path
	classPath1
	classOpen0
	classOpen1
	classExec0
	classExec1
	classFork
	classExit

	classOffset = 16 // the offset is the fourth argument
	classMoves  = 32 // the offset is the file's own
	classSize   = 64 // the size is the third argument

	classMask = 15
)

// callNumbers is the length of the kernel's table of classes: CALLS in syscall.bpf.c.
const callNumbers = 512

// callClasses tells the program what each call of this architecture does.
func callClasses() [callNumbers]uint8 {
	all := map[int]uint8{
		unix.SYS_READ:     classFD0 | classMoves | classSize,
		unix.SYS_WRITE:    classFD0 | classMoves | classSize,
		unix.SYS_READV:    classFD0 | classMoves,
		unix.SYS_WRITEV:   classFD0 | classMoves,
		unix.SYS_PREAD64:  classFD0 | classOffset | classSize,
		unix.SYS_PWRITE64: classFD0 | classOffset | classSize,
		unix.SYS_PREADV:   classFD0 | classOffset,
		unix.SYS_PWRITEV:  classFD0 | classOffset,
		unix.SYS_PREADV2:  classFD0 | classOffset,
		unix.SYS_PWRITEV2: classFD0 | classOffset,

		unix.SYS_FSYNC:           classFD0,
		unix.SYS_FDATASYNC:       classFD0,
		unix.SYS_SYNC_FILE_RANGE: classFD0,
		unix.SYS_SYNCFS:          classFD0,
		unix.SYS_FTRUNCATE:       classFD0,
		unix.SYS_FALLOCATE:       classFD0,
		unix.SYS_GETDENTS64:      classFD0,
		unix.SYS_FSTAT:           classFD0,
		unix.SYS_SENDFILE:        classFD1,
		unix.SYS_COPY_FILE_RANGE: classFD0,

		unix.SYS_TRUNCATE:   classPath0,
		unix.SYS_UNLINKAT:   classPath1,
		unix.SYS_RENAMEAT:   classPath1,
		unix.SYS_RENAMEAT2:  classPath1,
		unix.SYS_MKDIRAT:    classPath1,
		unix.SYS_STATX:      classPath1,
		unix.SYS_FACCESSAT:  classPath1,
		unix.SYS_NEWFSTATAT: classPath1,

		unix.SYS_OPENAT:  classOpen1,
		unix.SYS_OPENAT2: classOpen1,

		unix.SYS_EXECVE:   classExec0,
		unix.SYS_EXECVEAT: classExec1,

		unix.SYS_CLONE:      classFork,
		unix.SYS_CLONE3:     classFork,
		unix.SYS_EXIT:       classExit,
		unix.SYS_EXIT_GROUP: classExit,
	}
	olderCalls(all)
	var table [callNumbers]uint8
	for call, class := range all {
		table[call] = class
	}
	return table
}

// isClass says whether a call is of one of the classes.
func isClass(table *[callNumbers]uint8, call uint32, classes ...uint8) bool {
	if call >= callNumbers {
		return false
	}
	for _, c := range classes {
		if table[call]&classMask == c {
			return true
		}
	}
	return false
}

// OpenCalls returns a function that says whether a call opens files.
func OpenCalls() func(call uint32) bool {
	table := callClasses()
	return func(call uint32) bool { return isClass(&table, call, classOpen0, classOpen1) }
}

// ExecCalls returns a function that says whether a call runs a program.
func ExecCalls() func(call uint32) bool {
	table := callClasses()
	return func(call uint32) bool { return isClass(&table, call, classExec0, classExec1) }
}
