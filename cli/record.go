// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bpf60/collectors"
)

// tapeSlots is how many snapshots may wait for a slow disk before some are left out.
const tapeSlots = 120

func (c *commands) record() *cobra.Command {
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "measure without a screen and keep every sample",
		Long: `record measures without a screen and writes every sample to a new FILE, for replay and
report --from. It measures what a report of all panes does. It ends when the time is up or at a
signal; what was written can be read also if it was killed, or the disk got full, up to the last
ten seconds. It ends by itself before the file system is full: when less than a twentieth of it, or
less than 512 MiB, is free; of one smaller than 1 GiB it leaves half.`,
		Example: "  bpf60 record --for 10m /var/tmp/host.b60\n  bpf60 replay host.b60",
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			if span < o.Interval {
				return usagef("--for %v is shorter than the interval of %v", span, o.Interval)
			}
			o.Hold = c.everyPane()
			return c.tape(o, span, args[0])
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().DurationVar(&span, "for", 10*time.Minute, "`TIME` to record")
	return cmd
}

// oneFile asks for one argument.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one file, not %d: %[1]s /var/tmp/host.b60", cmd.CommandPath(), len(args))
	}
	return nil
}

// tape records a session to a new file.
func (c *commands) tape(o options, span time.Duration, path string) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	t := newTape(nil, c.version, o.Interval)
	ctx, cancel := context.WithTimeout(context.Background(), span+o.Interval)
	defer cancel()
	o.Each = t.add
	o.Each = whole(o, span, cancel)
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	defer c.tellCrashes(s)
	if err := roomIn(c.who, path); err != nil {
		return err
	}
	f, err := createNew(c.who, path) // when nothing else can be refused: an empty one would be in the way of the next try
	if err != nil {
		return err
	}
	defer f.Close()
	t.file, t.sync, t.room = f, f.Sync, func() error { return roomOf(int(f.Fd())) }
	signal.Ignore(syscall.SIGPIPE)
	stop, got := endBySignal(cancel)
	defer stop()
	defer restWhileStopped(s)()
	t.failed = cancel // a full disk ends the recording
	var writing sync.WaitGroup
	writing.Go(t.run)
	bar := c.progress(o, "recording", "ctrl+c ends it", time.Now(), span)
	err = s.Run(ctx, func() {})
	close(t.queue)
	writing.Wait()
	if e := f.Close(); t.err == nil {
		t.err = e
	}
	bar.stop()
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}
	if t.lost > 0 {
		c.complain("the disk was too slow for %d samples, which are not in %s", t.lost, path)
	}
	if t.err != nil {
		return t.ended(c.who, path)
	}
	if t.full != nil {
		return fmt.Errorf("the recording ended early: %w; the %d samples until then are in %s", t.full, t.kept, path)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		c.complain("%v", err) // something hung at the end; what was recorded stands
	}
	return nil
}

// tape writes snapshots to a file, at the disk's pace: nothing waits for it.
type tape struct {
	file     io.Writer
	sync     func() error // puts what was written on the disk
	version  string
	interval time.Duration
	queue    chan *collectors.Snapshot
	failed   func()

	room func() error // says that the file system has too little left; nil: nobody looks

	lost int // of add's goroutine
	kept int // snapshots that are on the disk, in whole blocks
	err  error
	full error // what room said: the recording is over, and whole
}

func newTape(file io.Writer, version string, interval time.Duration) *tape {
	return &tape{file: file, version: version, interval: interval, queue: make(chan *collectors.Snapshot, tapeSlots), sync: func() error { return nil }, failed: func() {}}
}

// add takes a snapshot, or counts it as lost. One goroutine calls it.
func (t *tape) add(s *collectors.Snapshot) {
	select {
	case t.queue <- s:
	default:
		t.lost++
	}
}

// run writes until the queue is closed or the disk refuses.
func (t *tape) run() {
	var rec *collectors.Recorder
	for s := range t.queue {
		if t.err != nil || t.full != nil {
			continue
		}
		if rec == nil {
			rec, t.err = collectors.NewRecorder(t.file, headerOf(s, t.version, t.interval))
		}
		before := t.kept
		if t.err == nil {
			t.err = t.keep(rec, rec.Add(s))
		}
		if t.err == nil && t.kept > before && t.room != nil {
			t.full = t.room()
		}
		if t.err != nil || t.full != nil {
			t.failed()
		}
	}
	if rec == nil {
		return
	}
	if t.err == nil {
		t.err = t.keep(rec, rec.Close())
	}
}

// keep waits until a block that was written meanwhile is on the disk: a full or failing one may say so only then.
func (t *tape) keep(rec *collectors.Recorder, err error) error {
	n := rec.Written()
	if n == t.kept {
		return err
	}
	if e := t.sync(); e != nil && !errors.Is(e, unix.EINVAL) { // EINVAL: there is no such thing here
		return errors.Join(err, fmt.Errorf("recording: %w", cause(e)))
	}
	t.kept = n
	return err
}

// What a recording leaves of a file system: others on a sick host need it more. A small one, such as a tmpfs
// of 64 MiB, would never have that much: there it may have half.
const (
	leastFree = 512 << 20
	freePart  = 20 // one of so many
)

// errRoom is a file system with too little room left for a recording.
var errRoom = errors.New("too little room is left")

// enoughRoom judges a file system of that many bytes, of which some are free for us.
func enoughRoom(size, free uint64) error {
	least := max(size/freePart, min(leastFree, size/2))
	if free >= least {
		return nil
	}
	return fmt.Errorf("%w: %d of %d MiB are free on the file system, and a recording leaves %d: use another one", errRoom, free>>20, size>>20, least>>20)
}

// roomOf looks at the file system of an open file; what cannot be known is no reason to end.
func roomOf(fd int) error {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || st.Blocks == 0 {
		return nil
	}
	return enoughRoom(st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize))
}

// roomIn looks at the file system that a new file would be on.
func roomIn(who identity, path string) error {
	return who.do(func() error {
		dir, _, err := openDir(who, path)
		if err != nil {
			return nil //nolint:nilerr // creating the file says it
		}
		defer unix.Close(dir)
		if err := roomOf(dir); err != nil {
			return fmt.Errorf("recording to %s: %w", path, err)
		}
		return nil
	})
}

// ended says why the disk ended the recording, and what is left of it.
func (t *tape) ended(who identity, path string) error {
	err := explain(who, path, t.err)
	if errors.Is(t.err, unix.ENOSPC) || errors.Is(t.err, unix.EDQUOT) {
		err = fmt.Errorf("writing %s: no space is left: use another file system", path)
	}
	if t.kept == 0 {
		return fmt.Errorf("%w; no sample had been written yet", err)
	}
	return fmt.Errorf("%w; the %d samples before that are in it", err, t.kept)
}

// headerOf is what a recording says of its host, from the first snapshot.
func headerOf(s *collectors.Snapshot, version string, interval time.Duration) collectors.RecordHeader {
	h := collectors.RecordHeader{Version: version, Started: s.Taken.Add(-s.At), Interval: interval}
	if s.Host != nil && s.Host.Facts != nil {
		f := s.Host.Facts
		h.Host, h.Kernel, h.Arch, h.CPUs, h.BootID = f.Hostname, f.Kernel, f.Arch, f.CPUs, f.BootID
		return h
	}
	h.CPUs = runtime.NumCPU() // the first snapshot does not wait for long on a busy host
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Host = collectors.RawString(unix.ByteSliceToString(u.Nodename[:]))
		h.Kernel, h.Arch = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
	}
	return h
}

// createNew opens a new file for writing as it grows: mode 0600, never over something that is there,
// never through a symbolic link, with the rights that who has.
func createNew(who identity, path string) (f *os.File, err error) {
	err = who.do(func() error {
		dir, name, err := openDir(who, path)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return explain(who, path, err)
		}
		f = os.NewFile(uintptr(fd), path)
		return nil
	})
	return f, err
}
