// SPDX-License-Identifier: Apache-2.0

package bpf

import "golang.org/x/sys/unix"

// olderCalls adds those that newer architectures do without.
func olderCalls(all map[int]uint8) {
	for call, class := range map[int]uint8{
		unix.SYS_OPEN:     classOpen0,
		unix.SYS_CREAT:    classOpen0,
		unix.SYS_STAT:     classPath0,
		unix.SYS_LSTAT:    classPath0,
		unix.SYS_ACCESS:   classPath0,
		unix.SYS_UNLINK:   classPath0,
		unix.SYS_RENAME:   classPath0,
		unix.SYS_MKDIR:    classPath0,
		unix.SYS_RMDIR:    classPath0,
		unix.SYS_GETDENTS: classFD0,
		unix.SYS_FORK:     classFork,
		unix.SYS_VFORK:    classFork,
	} {
		all[call] = class
	}
}
