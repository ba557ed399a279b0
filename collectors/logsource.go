// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devPath names a file of the /dev that stands beside the tree's /proc.
func (fs FS) devPath(name string) string {
	return filepath.Join(filepath.Dir(fs.root), "dev", name)
}

// kmsgSource reads /dev/kmsg, a record a call. The kernel keeps a place for each descriptor.
type kmsgSource struct {
	path  string
	fd    int
	ready bool
	seq   uint64 // of the next record; 0: not known yet
	buf   []byte
}

// kmsgMax is the longest record: CONSOLE_EXT_LOG_MAX is 8 KiB (kernel/printk/internal.h).
const kmsgMax = 16 << 10

func (k *kmsgSource) name() string { return "/dev/kmsg" }

// open begins at the oldest record: there is no way to begin some records before the newest.
func (k *kmsgSource) open() error {
	fd, err := unix.Open(k.path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return whyNoLog(k.path, err)
	}
	// A file that somebody put in its place could block us, or never end.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 11) {
		return errors.Join(whyNoLog(k.path, errNoKmsg), unix.Close(fd))
	}
	k.fd, k.ready, k.seq = fd, true, 0
	if k.buf == nil {
		k.buf = make([]byte, kmsgMax)
	}
	return nil
}

// errNoKmsg says that something else has the device's name.
var errNoKmsg = errors.New("is not the kernel's log")

// whyNoLog says what is missing where the log cannot be opened.
func whyNoLog(path string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &NeedError{Need: "the right to read the kernel's log", Remedy: "run as root or with CAP_SYSLOG, or set kernel.dmesg_restrict=0", Err: err}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, errNoKmsg):
		return &NeedError{Need: "the kernel's log (" + path + ")", Remedy: "run on the host, or give the container /dev/kmsg and CAP_SYSLOG", Err: err}
	case errors.Is(err, unix.ENOSYS):
		return &NeedError{Need: "the kernel's log", Remedy: "needs a kernel with CONFIG_PRINTK", Err: err}
	}
	return fmt.Errorf("opening %s: %w", path, err)
}

func (k *kmsgSource) next(ctx context.Context, n int, each func(kmsgRecord)) (lost uint64, more bool, err error) {
	for range n {
		if err := ctx.Err(); err != nil {
			return lost, true, err
		}
		m, err := unix.Read(k.fd, k.buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // overwritten: the next read is the oldest there is
			continue
		case errors.Is(err, unix.EAGAIN):
			return lost, false, nil
		case err != nil:
			return lost, false, err
		}
		r, ok := parseKmsg(k.buf[:m])
		if !ok {
			return lost, true, fmt.Errorf("a record: %w", errFormat)
		}
		if k.seq != 0 && r.Seq > k.seq {
			lost += r.Seq - k.seq
		}
		k.seq = r.Seq + 1
		each(r)
	}
	return lost, true, nil
}

func (k *kmsgSource) close() error {
	if !k.ready {
		return nil
	}
	k.ready = false
	return unix.Close(k.fd)
}

// syslogSource reads the end of the log with syslog(2), which has neither places nor fields: what
// is new follows the last line that was there.
type syslogSource struct {
	buf  []byte
	last []byte // the last line seen
	seq  uint64
	wait int // calls until the next look
	read func(buf []byte) (int, error)
}

const (
	syslogReadAll = 3 // SYSLOG_ACTION_READ_ALL: the newest that fit
	syslogBuf     = 64 << 10
	syslogEvery   = 5 // calls
)

func (s *syslogSource) name() string { return "syslog(2)" }

func (s *syslogSource) open() error {
	if s.read == nil {
		s.read = func(b []byte) (int, error) { return unix.Klogctl(syslogReadAll, b) }
	}
	if s.buf == nil {
		s.buf = make([]byte, syslogBuf)
	}
	s.last, s.seq, s.wait = nil, 0, 0
	if _, err := s.read(s.buf[:1024]); err != nil {
		return whyNoLog("syslog(2)", err)
	}
	return nil
}

func (s *syslogSource) next(_ context.Context, _ int, each func(kmsgRecord)) (lost uint64, more bool, err error) {
	if s.wait--; s.wait > 0 {
		return 0, false, nil
	}
	s.wait = syslogEvery
	n, err := s.read(s.buf)
	if err != nil {
		return 0, false, err
	}
	b := bytes.TrimRight(s.buf[:n], "\n")
	if s.last != nil {
		// Two equal lines at the end are one too few. A stamp of microseconds makes that rare.
		i := bytes.LastIndex(b, s.last)
		switch {
		case i >= 0 && (i == 0 || b[i-1] == '\n') && (i+len(s.last) == len(b) || b[i+len(s.last)] == '\n'):
			b = bytes.TrimLeft(b[i+len(s.last):], "\n")
		default:
			lost = 1 // at least
		}
	} else if n == len(s.buf) { // it begins in the middle of a line
		_, b = cutLine(b)
	}
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		prio, at, text, ok := parseSyslog(line)
		s.last = append(s.last[:0], line...)
		if !ok {
			prio, at, text = 6, -1, line
		}
		s.seq++
		each(kmsgRecord{Prio: prio, Seq: s.seq, Time: at, Flag: '-', Text: bytes.Clone(text)})
	}
	return lost, false, nil
}

func (s *syslogSource) close() error { return nil }
