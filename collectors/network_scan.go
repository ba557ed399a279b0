// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// nsScan finds network namespaces through the processes in them. It asks at most a buffer's worth
// of processes a tick, and each of them once: which namespace a process is in hardly ever changes,
// so a process that is known is only looked at again in one round of rescanRounds.
//
// A namespace is known by the inode of its /proc/PID/net/dev, of which there is one in each
// (net/core/net-procfs.c). Unlike that of /proc/PID/ns/net, anybody may ask for it.
type nsScan struct {
	fs     FS
	dir    int // descriptor of /proc; -1 when closed
	dirent []byte

	self   uint64 // our own namespace; 0 if it cannot be told
	procs  map[int32]nsProc
	fresh  []int32 // processes that were asked and not yet looked at by who reads namespaces
	round  uint32
	resume time.Duration     // when the next round may begin; in the middle of one it is past
	inside bool              // a round is under way
	hidden int               // processes that may not be asked, in this round
	shown  nsTotals          // of the last whole round
	named  map[uint64]string // those under /run/netns, by the inode of the namespace itself
	err    error
}

// nsProc is a process and its namespace.
type nsProc struct {
	ns    uint64
	round uint32
}

type nsTotals struct {
	complete bool // there was a whole round
	hidden   int
}

const (
	nsRoundEvery = 5 * time.Second // least time between the begins of two rounds
	rescanRounds = 16              // a process is asked again in one of so many rounds
	// nsDirents is a buffer of about 200 processes, 24 bytes each.
	nsDirents = 4800
	maxNamed  = 1024
)

func newNSScan(fs FS) *nsScan { return &nsScan{fs: fs, dir: -1} }

func (s *nsScan) open() {
	s.procs, s.fresh, s.named = make(map[int32]nsProc), s.fresh[:0], s.names()
	s.round, s.resume, s.inside, s.hidden, s.shown = 0, 0, false, 0, nsTotals{}
	s.dirent = make([]byte, nsDirents)
	s.dir, s.err = unix.Open(s.fs.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if s.err != nil {
		s.dir, s.self = -1, 0
		return
	}
	s.self, s.err = s.namespace("self")
}

func (s *nsScan) close() {
	if s.dir >= 0 {
		_ = unix.Close(s.dir) // nothing was written: nothing to lose
	}
	s.dir, s.procs = -1, nil
}

// step looks at the next processes of the round, or begins a new one when it is time.
func (s *nsScan) step(ctx context.Context, now time.Duration) {
	if s.self == 0 || ctx.Err() != nil || !s.inside && now < s.resume {
		return
	}
	if !s.inside {
		if _, s.err = unix.Seek(s.dir, 0, unix.SEEK_SET); s.err != nil {
			return
		}
		s.inside, s.hidden = true, 0
		s.round++
		s.resume = now + nsRoundEvery
	}
	n, err := unix.Getdents(s.dir, s.dirent)
	if s.err = err; err != nil || n <= 0 {
		s.inside = false
		if err == nil {
			s.finish()
		}
		return
	}
	for b := s.dirent[:n]; len(b) > 0; {
		var pid int32
		if pid, b = nextPID(b); pid > 0 {
			s.look(pid)
		}
	}
}

// look asks for a process's namespace, unless it is known.
func (s *nsScan) look(pid int32) {
	p, known := s.procs[pid]
	if !known || p.ns == 0 || (uint32(pid)+s.round)%rescanRounds == 0 {
		ns, err := s.namespace(strconv.Itoa(int(pid)))
		switch {
		case errors.Is(err, fs.ErrPermission):
			s.hidden++
		case err != nil: // it is gone, or a zombie
			delete(s.procs, pid)
			return
		}
		p.ns = ns
		s.fresh = append(s.fresh, pid)
	}
	p.round = s.round
	s.procs[pid] = p
}

// finish ends a round: processes that were not seen are gone, and names may have changed.
func (s *nsScan) finish() {
	for pid, p := range s.procs {
		if p.round != s.round {
			delete(s.procs, pid)
		}
	}
	s.shown = nsTotals{complete: true, hidden: s.hidden}
	s.named = s.names()
}

// namespace returns what a process's network namespace is known by.
func (s *nsScan) namespace(process string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(s.dir, process+"/net/dev", &st, 0); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// nsInode reads the inode of a namespace from its link in /proc: "net:[4026531833]". 0 if it may
// not be read.
func nsInode(dir int, link string) uint64 {
	var b [64]byte
	n, err := unix.Readlinkat(dir, link, b[:])
	if err != nil {
		return 0
	}
	id, _ := parseNSLink(b[:n])
	return id
}

// parseNSLink reads "net:[4026531833]".
func parseNSLink(b []byte) (uint64, bool) {
	b, ok := bytes.CutPrefix(b, []byte("net:["))
	if ok {
		b, ok = bytes.CutSuffix(b, []byte("]"))
	}
	n, isNumber := parseUint(b)
	return n, ok && isNumber
}

// names lists the namespaces that are mounted under /run/netns, as ip netns makes them. Docker's
// are not read: their names are identifiers that nobody knows.
func (s *nsScan) names() map[uint64]string {
	dir := filepath.Join(filepath.Dir(s.fs.root), "run", "netns")
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, err := f.Readdirnames(maxNamed)
	if err != nil {
		return nil
	}
	out := make(map[uint64]string, len(entries))
	for _, name := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, name), &st) == nil {
			out[st.Ino] = name
		}
	}
	return out
}

// processOf returns a process in a namespace other than skip, the one with the lowest number: a
// container's first lives longest. 0 if there is none.
func (s *nsScan) processOf(ns uint64, skip int32) int32 {
	var best int32
	for pid, p := range s.procs {
		if p.ns == ns && pid != skip && (best == 0 || pid < best) {
			best = pid
		}
	}
	return best
}

// forget drops a process that turned out to be gone.
func (s *nsScan) forget(pid int32) { delete(s.procs, pid) }
