// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procScanner reads every process from /proc. It costs a hundred times what the BPF task
// iterator does, and a thread other than the leader is seen in the sums only.
//
// It opens files beneath a held descriptor of /proc, reads all of them into one buffer, and
// allocates nothing once its slices have grown.
type procScanner struct {
	fs     FS
	dir    int // descriptor of /proc; -1 when closed
	dirent []byte
	path   []byte
	buf    []byte
	users  map[int32]procUser // of the processes of the last scan
	round  uint32             // counts scans
	hidden bool               // mounted so that other users' processes do not show
	waits  bool               // schedstat can be read
}

// procUser is who runs a process. It takes a file of its own to read and hardly ever changes.
type procUser struct {
	start uint64
	uid   uint32
	round uint32 // of the last scan that saw the process
}

// userRounds is how many scans a process's user is believed. Every scan asks for a share of them.
const userRounds = 64

// newProcScanner returns the scanner of last resort.
func newProcScanner(fs FS) *procScanner { return &procScanner{fs: fs, dir: -1} }

func (p *procScanner) Source() string { return "/proc" }

func (p *procScanner) Open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := unix.Open(p.fs.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.fs.root, err)
	}
	p.dir = dir
	p.dirent = make([]byte, 32<<10)
	p.buf = make([]byte, 4096)
	p.users = make(map[int32]procUser)
	p.round = 0
	// PID 1 is always there: a mount with hidepid=2 hides it from others than root.
	_, err = p.read(1, "/stat")
	p.hidden = errors.Is(err, unix.ENOENT)
	return nil
}

func (p *procScanner) Close() error {
	if p.dir < 0 {
		return nil
	}
	err := unix.Close(p.dir)
	p.dir, p.users = -1, nil
	return err
}

func (p *procScanner) Probe() Probe {
	pr := Probe{Hook: "/proc/PID/stat, schedstat", State: Degraded}
	switch {
	case p.hidden:
		pr.Reason = "other users' processes are hidden (hidepid)"
		pr.Remedy = "run as root"
	case !p.waits:
		pr.Reason = "no wait: /proc/PID/schedstat cannot be read"
		pr.Remedy = "needs a kernel with CONFIG_SCHED_INFO"
	default:
		pr.Reason = "no switches; wait and state of the leader only"
	}
	return pr
}

// Scan reads every process. One that vanishes on the way is left out: its row needs one whole stat.
func (p *procScanner) Scan(ctx context.Context, recs []taskRec) ([]taskRec, error) {
	if _, err := unix.Seek(p.dir, 0, unix.SEEK_SET); err != nil {
		return recs, fmt.Errorf("rewinding %s: %w", p.fs.root, err)
	}
	p.round++
	p.waits = false
	from := len(recs)
	for {
		if err := ctx.Err(); err != nil {
			return recs, err
		}
		n, err := unix.Getdents(p.dir, p.dirent)
		if err != nil {
			return recs, fmt.Errorf("listing %s: %w", p.fs.root, err)
		}
		if n <= 0 {
			break
		}
		for b := p.dirent[:n]; len(b) > 0; {
			var pid int32
			if pid, b = nextPID(b); pid == 0 {
				continue
			}
			recs = slices.Grow(recs, 1)
			r := &recs[:len(recs)+1][len(recs)]
			ok, err := p.process(pid, r)
			if err != nil {
				return recs, err
			}
			if ok {
				recs = recs[:len(recs)+1]
			}
		}
	}
	for pid, u := range p.users {
		if u.round != p.round {
			delete(p.users, pid)
		}
	}
	byPID := func(a, b taskRec) int { return cmp.Compare(a.PID, b.PID) }
	if found := recs[from:]; !slices.IsSortedFunc(found, byPID) { // the kernel lists them in order
		slices.SortFunc(found, byPID)
	}
	return recs, nil
}

// process reads one process. False if it is gone, or may not be read.
func (p *procScanner) process(pid int32, r *taskRec) (bool, error) {
	b, err := p.read(pid, "/stat")
	if err != nil {
		return false, tolerate(err)
	}
	var s pidStat
	if parsePIDStat(b, &s) != nil || s.PID != pid {
		return false, nil // cut off by its end
	}
	*r = taskRec{
		PID: pid, TGID: pid, PPID: s.PPID, Start: ticksNs(s.StartTicks), Run: ticksNs(s.UTime) + ticksNs(s.STime),
		Threads: max(s.Threads, 1), Nice: s.Nice, State: s.State, Kernel: s.Flags&pfKthread != 0, Comm: s.Comm,
	}
	if b, err = p.read(pid, "/schedstat"); err != nil {
		if err = tolerate(err); err != nil {
			return false, err
		}
	} else if run, wait, err := parseSchedstat(b); err == nil {
		p.waits = true
		r.Wait = wait
		if r.Threads == 1 && s.State != 'Z' && run >= r.Run {
			r.Run = run
		}
	}
	r.UID, err = p.user(pid, r.Start)
	return true, err
}

// user is the real user of a process, from the last scans if that is recent.
func (p *procScanner) user(pid int32, start uint64) (uint32, error) {
	u, ok := p.users[pid]
	if !ok || u.start != start || uint32(pid)%userRounds == p.round%userRounds {
		u.start = start
		b, err := p.read(pid, "/status")
		if err != nil {
			return u.uid, tolerate(err)
		}
		if uid, err := parseStatusUID(b); err == nil {
			u.uid = uid
		}
	}
	u.round = p.round
	p.users[pid] = u
	return u.uid, nil
}

// tolerate makes nothing of an error that says that one process is gone or closed to us. What remains, such as
// having no descriptor left, would be the same for every other process.
func tolerate(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EBADF):
		return fmt.Errorf("opening files of processes: %w", err)
	}
	return nil
}

// read returns a file of a process, valid until the next read. All of those read here are printed
// by the kernel at once, and none is longer than the buffer (status: the lines we need are not).
func (p *procScanner) read(pid int32, name string) ([]byte, error) {
	p.path = strconv.AppendInt(p.path[:0], int64(pid), 10)
	p.path = append(p.path, name...)
	p.path = append(p.path, 0)
	// unix.Openat would copy the path twice, 10,000 times a second.
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(p.dir), uintptr(unsafe.Pointer(&p.path[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	n, err := unix.Read(int(fd), p.buf)
	_ = unix.Close(int(fd)) // nothing was written: nothing to lose
	if err != nil {
		return nil, err
	}
	return p.buf[:n], nil
}

// ticksNs turns USER_HZ ticks into nanoseconds, as far as they fit.
func ticksNs(t uint64) uint64 { return min(t, (1<<63-1)/tickNs) * tickNs }

// nextPID takes the first entry off a buffer of linux_dirent64 and returns its name if that is a
// PID, else 0. A record that does not fit the buffer ends it.
func nextPID(b []byte) (pid int32, rest []byte) {
	const reclen, name = 16, 19 // offsets: d_ino, d_off, d_reclen, d_type, d_name
	if len(b) < name {
		return 0, nil
	}
	n := int(binary.NativeEndian.Uint16(b[reclen:]))
	if n < name || n > len(b) {
		return 0, nil
	}
	entry := b[name:n]
	if i := slices.Index(entry, 0); i >= 0 {
		entry = entry[:i]
	}
	if pid, ok := parseInt(entry); ok && pid > 0 {
		return pid, b[n:]
	}
	return 0, b[n:]
}
