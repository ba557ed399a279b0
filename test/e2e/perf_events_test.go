// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// perfEvents are the descriptors of a process that are perf events; none of a process that is gone.
func perfEvents(t *testing.T, pid int) (fds []int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		t.Fatal(err)
	}
	for _, f := range list {
		to, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err != nil || to != "anon_inode:[perf_event]" {
			continue // or closed since
		}
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

// takeEvents makes the perf events of a process ours as well. They have no ids: only who holds one can say
// who else does. They live on while we hold them.
func takeEvents(t *testing.T, pid int) (own []*os.File) {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	for _, fd := range perfEvents(t, pid) {
		mine, err := unix.PidfdGetfd(process, fd, 0)
		if err != nil {
			t.Fatalf("taking perf event %d of %d: %v", fd, pid, err)
		}
		own = append(own, os.NewFile(uintptr(mine), "perf event"))
	}
	return own
}

// holders names who holds one of these events, of all processes but this one.
func holders(t *testing.T, own []*os.File) (out []string) {
	t.Helper()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, fd := range perfEvents(t, pid) {
			for _, mine := range own {
				if sameFile(t, mine.Fd(), pid, fd) {
					out = append(out, fmt.Sprintf("perf event %d of process %d", fd, pid))
				}
			}
		}
	}
	return out
}

// sameFile says whether a descriptor of ours and one of another process are one open file.
func sameFile(t *testing.T, mine uintptr, pid, fd int) bool {
	t.Helper()
	const file = 0 // KCMP_FILE
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(pid), file, mine, uintptr(fd), 0)
	switch errno {
	case 0:
		return order == 0
	case unix.ESRCH, unix.EBADF: // gone, or closed since
		return false
	}
	t.Fatalf("comparing with descriptor %d of process %d: %v", fd, pid, errno)
	return false
}
