// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procScanner reads every process from /proc. It costs a hundred times what the BPF task
// iterator does, and a thread other than the leader is seen in the sums only.
//
// It opens files beneath a held descriptor of /proc, reads all of them into one buffer, and
// allocates nothing once its slices have grown. To hold the files of every process open would
// save a third, and cost 5 KiB of kernel memory for each.
type procScanner struct {
	fs     FS
	dir    int // descriptor of /proc; -1 when closed
	dirent []byte
	path   []byte
	buf    []byte
	page   int
	known  map[int32]knownProc // the processes of the last scan
	round  uint32              // counts scans
	hidden bool                // mounted so that other users' processes do not show
	waits  bool                // schedstat can be read

	crowded bool // see crowd
}

// knownProc is what was last read of a process.
type knownProc struct {
	rec    taskRec
	sched  schedStat
	round  uint32 // of the last scan that saw it
	asleep uint8  // readings in a row that found nothing new, no more than longAsleep
}

// crowd is how many processes there have to be before the ones that have slept for longAsleep scans
// are read at every other scan only. What such a one does when it wakes is told a scan late, as if it had
// done it then: nothing is lost, but its first share of a CPU may be of two seconds. 5,000 processes
// would take 6 % of a CPU otherwise.
const (
	crowd      = 3000
	longAsleep = 16
)

// mayWait says that a process need not be read at this scan.
func (p *procScanner) mayWait(k *knownProc, pid int32) bool {
	return p.crowded && k.asleep >= longAsleep && (uint32(pid)+p.round)%2 == 1 // never when it is due
}

// knownRounds is how many scans may pass before everything about a process is read anew. Every
// scan asks for a share of them.
const knownRounds = 32

// unmoved says that there is nothing new about the process while its schedstat stays the same: it
// has one thread, and to change its state that one has to run. (A thread in D may be woken without.)
// What others change meanwhile, its priority or parent, is seen late.
func (k *knownProc) unmoved(now schedStat) bool {
	return k.rec.Threads == 1 && k.rec.State != 'D' && k.sched == now && now.Run > 0
}

// newProcScanner returns the scanner of last resort.
func newProcScanner(fs FS) *procScanner { return &procScanner{fs: fs, dir: -1} }

func (p *procScanner) Source() string { return SourceProc }

func (p *procScanner) Open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := unix.Open(p.fs.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", p.fs.root, err)
	}
	p.dir, p.page = dir, os.Getpagesize()
	p.dirent = make([]byte, 32<<10)
	p.buf = make([]byte, 4096)
	p.known = make(map[int32]knownProc)
	p.round = 0
	// PID 1 is always there: a mount with hidepid=2 hides it from others than root, one with hidepid=1 its files.
	_, err = p.read(1, "/stat")
	p.hidden = errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	return nil
}

func (p *procScanner) Close() error {
	if p.dir < 0 {
		return nil
	}
	err := unix.Close(p.dir)
	p.dir, p.known = -1, nil
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
	case p.crowded:
		pr.Reason = "no switches; wait and state of the leader only; a process that wakes may be seen a second late"
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
	p.waits, p.crowded = false, len(p.known) > crowd
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
	for pid, k := range p.known {
		if k.round != p.round {
			delete(p.known, pid)
		}
	}
	return recs, nil
}

// process reads one process. False if it is gone, or may not be read.
func (p *procScanner) process(pid int32, r *taskRec) (bool, error) {
	k, ok := p.known[pid]
	k.round = p.round
	if ok && p.mayWait(&k, pid) {
		p.known[pid] = k
		*r = k.rec
		return true, nil
	}
	due := !ok || (uint32(pid)+p.round)%knownRounds == 0
	sched, err := p.sched(pid)
	if err != nil {
		return false, err
	}
	if k.unmoved(sched) {
		k.asleep = min(k.asleep+1, longAsleep)
	} else {
		k.asleep = 0
	}
	if due || k.asleep == 0 {
		if ok, err = p.stat(pid, sched, due, &k.rec); !ok {
			return false, err
		}
		k.sched = sched
	}
	p.known[pid] = k
	*r = k.rec
	return true, nil
}

// stat reads what the process is and how long it ran. rec holds what was known of it; its user
// is read again when it is due, or another process.
func (p *procScanner) stat(pid int32, sched schedStat, due bool, rec *taskRec) (bool, error) {
	b, err := p.read(pid, "/stat")
	if err != nil {
		return false, tolerate(err)
	}
	var s pidStat
	if parsePIDStat(b, &s) != nil {
		return false, nil // cut off by its end
	}
	r := taskRec{
		PID: pid, TGID: pid, There: pid, PPID: s.PPID,
		Start: ticksNs(s.StartTicks), Wait: sched.Wait, Delay: ticksNs(s.BlockTicks),
		RSS: s.RSS, VSZ: s.VSize / uint64(p.page),
		UID: rec.UID, Threads: max(s.Threads, 1), Nice: s.Nice, Prio: s.Prio, Policy: s.Policy,
		State: s.State, Kernel: s.Flags&pfKthread != 0, Lacks: LackSwitches | LackSwap, Comm: s.Comm,
		LastCPU: s.LastCPU,
	}
	r.Run, r.User, r.Sys = ticksNs(s.UTime)+ticksNs(s.STime), ticksNs(s.UTime), ticksNs(s.STime)
	r.Guest = ticksNs(s.GuestTicks)
	r.MinFlt, r.MajFlt = s.MinFlt, s.MajFlt
	if r.Threads > 1 {
		r.Lacks |= LackThreads
	}
	if s.BlockTicks == 0 {
		r.Lacks |= LackDelay // as good as: 0 is what it says when it is off
	} else {
		var lacks Lack
		r.Delay, lacks = lived(r.Delay, r.Start, bootNs())
		r.Lacks |= lacks
	}
	// Of a process that has had one thread only, schedstat knows to the nanosecond what stat
	// gives in ticks, rounded down.
	if r.Threads == 1 && sched.Run >= r.Run {
		r.Run = sched.Run
	}
	if due || rec.Start != r.Start {
		if r.UID, err = p.user(pid); err != nil {
			return false, tolerate(err)
		}
	}
	if ok, err := p.io(pid, &r); !ok {
		return false, err
	}
	*rec = r
	return true, nil
}

// io reads what a process has read and written. Only a process that ran can have: others keep what was
// known. It is closed to who may not trace the process.
func (p *procScanner) io(pid int32, r *taskRec) (bool, error) {
	if r.Kernel {
		return true, nil // they work for others
	}
	b, err := p.read(pid, "/io")
	if err != nil {
		r.Lacks |= LackIO
		err = tolerate(err)
		return err == nil, err
	}
	io, ok := parseTaskIO(b)
	if !ok {
		r.Lacks |= LackIO
	}
	r.Read, r.Write, r.CancelledW = io.Read, io.Write, io.Cancelled
	return true, nil
}

// sched reads a process's schedstat; it is zero where it cannot be read.
func (p *procScanner) sched(pid int32) (schedStat, error) {
	b, err := p.read(pid, "/schedstat")
	if err != nil {
		return schedStat{}, tolerate(err)
	}
	s, err := parseSchedstat(b)
	if err != nil {
		return schedStat{}, nil //nolint:nilerr // as if it could not be read
	}
	p.waits = true
	return s, nil
}

// user reads the real user of a process.
func (p *procScanner) user(pid int32) (uint32, error) {
	b, err := p.read(pid, "/status")
	if err != nil {
		return 0, err
	}
	return parseStatusUID(b)
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
