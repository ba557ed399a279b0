// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// fdScan looks at the open files of all processes through /proc/PID/fd, one process a call.
type fdScan struct {
	fs     FS
	pids   []int32
	buf    []byte
	link   [64]byte
	denied int // processes whose files we may not see
}

// newFDScan lists the processes. Those that start later are left to the next scan.
func newFDScan(fs FS) (*fdScan, error) {
	s := &fdScan{fs: fs, buf: make([]byte, 16<<10)}
	err := s.entries(fs.root, func(_ int, n int32) { s.pids = append(s.pids, n) })
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	return s, nil
}

// entries calls each with the entries of a directory whose name is a number above 0, and with the
// open directory.
func (s *fdScan) entries(path string, each func(dir int, n int32)) error {
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for {
		n, err := unix.Getdents(dir, s.buf)
		if err != nil || n <= 0 {
			return err
		}
		for b := s.buf[:n]; len(b) > 0; {
			var entry int32
			if entry, b = nextPID(b); entry > 0 {
				each(dir, entry)
			}
		}
	}
}

// process looks at the next process; more is false after the last.
func (s *fdScan) process(o *ownerCache) (more bool, err error) {
	if len(s.pids) == 0 {
		return false, nil
	}
	pid := s.pids[0]
	s.pids = s.pids[1:]
	var who Process
	var comm [commLen]byte
	look := func(dir int, fd int32) {
		o.files++
		n, err := unix.Readlinkat(dir, strconv.Itoa(int(fd)), s.link[:])
		if err != nil {
			return
		}
		inode, ok := parseSocketLink(s.link[:n])
		if _, want := o.wanted[inode]; !ok || !want {
			return
		}
		if who.TGID == 0 {
			who, comm = s.who(pid)
		}
		if who.TGID != 0 {
			o.found(inode, who, comm[:])
		}
	}
	first := true
	err = s.entries(s.fs.path(strconv.Itoa(int(pid))+"/fd"), func(dir int, fd int32) {
		if first { // the numbers that entries knows begin at 1
			first = false
			look(dir, 0)
		}
		look(dir, fd)
	})
	switch {
	case errors.Is(err, os.ErrPermission):
		s.denied++
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return true, fmt.Errorf("opening files of processes: %w", err)
	}
	return true, nil // any other: it has ended
}

// who is a process's identity and name; zero if it has ended.
func (s *fdScan) who(pid int32) (p Process, comm [commLen]byte) {
	b, err := s.fs.readSome(strconv.Itoa(int(pid))+"/stat", 4096)
	var stat pidStat
	if err != nil || parsePIDStat(b, &stat) != nil {
		return p, comm
	}
	return Process{s.fs.pids.here(pid), ticksNs(stat.StartTicks)}, stat.Comm
}

// parseSocketLink reads what a descriptor of a socket links to: "socket:[4711]".
func parseSocketLink(b []byte) (inode uint32, ok bool) {
	b, isSocket := bytes.CutPrefix(b, []byte("socket:["))
	b, closed := bytes.CutSuffix(b, []byte("]"))
	n, isNumber := parseUint(b)
	if !isSocket || !closed || !isNumber || n > 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

// mostHeld bounds how many descriptors of one process are looked at.
const mostHeld = 4096

// heldSockets are the inodes of the sockets that processes hold; nil of none. A process that is gone, or
// whose files we may not see, adds nothing.
func heldSockets(fs FS, pids []int32) map[uint32]bool {
	if len(pids) == 0 {
		return nil
	}
	out := make(map[uint32]bool)
	s := &fdScan{fs: fs, buf: make([]byte, 16<<10)}
	for _, pid := range pids {
		n := 0
		look := func(dir int, fd int32) {
			if n++; n > mostHeld {
				return
			}
			k, err := unix.Readlinkat(dir, strconv.Itoa(int(fd)), s.link[:])
			if inode, ok := parseSocketLink(s.link[:max(k, 0)]); err == nil && ok {
				out[inode] = true
			}
		}
		_ = s.entries(fs.path(fs.dir(pid)+"/fd"), look) // gone, or not ours to see
	}
	return out
}
