// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// openCalls attaches parts of the probes of system calls.
func openCalls(k *bpf.Kernel, parts bpf.SyscallParts) (io.Closer, error) {
	s, err := bpf.OpenSyscalls(k)
	if err != nil {
		return nil, err
	}
	if err := s.Want(parts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// getppids makes n of the cheapest system calls.
func getppids(n int) error {
	for range n {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	return nil
}

// opens opens and closes a file n times.
func opens(n int) error {
	path, err := unix.BytePtrFromString("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("naming a file: %w", err)
	}
	at := unix.AT_FDCWD
	for range n {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), unix.O_CLOEXEC, 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("opening /proc/self/exe: %w", errno)
		}
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
	return nil
}
