// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"
)

// terminal is the one the dashboard is on, with what it takes to put it right again.
type terminal struct {
	in    *input
	out   *output
	tty   *os.File // opened by us because stdin is no terminal; nil otherwise
	saved *term.State
}

// openTerminal takes stdout and a terminal for keys: stdin, or else the controlling terminal.
func openTerminal(stdin, stdout *os.File, env func(string) string) (*terminal, error) {
	t := &terminal{}
	keys := stdin
	if !term.IsTerminal(stdin.Fd()) {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, usagef("no terminal to read keys from: over ssh use ssh -t; without keys use bpf60 report")
		}
		t.tty, keys = tty, tty
	}
	saved, err := term.GetState(keys.Fd())
	if err != nil {
		t.close()
		return nil, fmt.Errorf("reading the terminal's settings: %w", err)
	}
	t.saved = saved
	t.in = &input{File: keys}
	t.out = newOutput(stdout, env("TERM"))
	return t, nil
}

func (t *terminal) close() {
	if t.out != nil {
		t.out.close()
	}
	if t.tty != nil {
		t.tty.Close()
	}
}

// reset switches off all that the dashboard, or an earlier version of it, can have switched on.
// ESC comes first and ends whatever sequence was cut off before it.
const reset = "\x1b[?2026l" + // synchronized output
	"\x1b[?1006l\x1b[?1003l\x1b[?1002l\x1b[?1000l" + // mouse
	"\x1b[?2004l\x1b[?1004l" + // bracketed paste, focus reports
	"\x1b[0m\x1b[?25h\x1b[?1049l" // colours, cursor, alternate screen

// force puts the terminal right without the program and without ever blocking: what it has not
// taken so far is thrown away, or the reset would queue up behind it.
func (t *terminal) force(message string) {
	t.out.abort()
	t.out.quiet()
	// In the background the terminal belongs to somebody else, and the kernel would stop us.
	if !foreground(t.in.Fd()) {
		return
	}
	fd := int(t.out.Fd())
	_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
	t.out.quiet() // a write that could not be given up has room now
	_ = term.Restore(t.in.Fd(), t.saved)
	writeNow(t.out.File, reset+strings.ReplaceAll(message, "\n", "\r\n"))
}

// foreground says whether the terminal is ours to change: its foreground process group is ours, or
// it is not our controlling terminal.
func foreground(fd uintptr) bool {
	group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// writeNow writes what fits and drops the rest. A write of ours that was blocked until now holds the
// kernel's lock on the terminal for a moment more; hence several tries.
func writeNow(f *os.File, s string) {
	const (
		tries = 20
		pause = 5 * time.Millisecond
	)
	fd, err := reopen(f)
	if err == nil {
		defer unix.Close(fd)
	} else {
		// It cannot be opened a second time (su leaves the terminal with its first owner). The flag is
		// shared with whoever started us, hence on for this one call.
		fd = int(f.Fd())
		if unix.SetNonblock(fd, true) != nil {
			return
		}
		defer func() { _ = unix.SetNonblock(fd, false) }()
	}
	for range tries {
		if _, err := unix.Write(fd, []byte(s)); !errors.Is(err, unix.EAGAIN) {
			return
		}
		time.Sleep(pause)
	}
}

// writeWithin writes s and says whether that was done within d. On a terminal or pipe it leaves no
// blocked write behind, which would lock out everybody else's. A file knows no deadline and is
// written to as it is open, or its offset would be lost.
func writeWithin(f *os.File, s string, d time.Duration) bool {
	if s == "" {
		return true
	}
	if fd, err := reopen(f); err == nil {
		again := os.NewFile(uintptr(fd), f.Name())
		defer again.Close()
		if again.SetWriteDeadline(time.Now().Add(d)) == nil {
			_, err := again.WriteString(s)
			return err == nil
		}
	}
	return within(d, func() { _, _ = f.WriteString(s) })
}

// reopen opens the terminal behind f once more, so that it can be non-blocking for us alone.
func reopen(f *os.File) (fd int, err error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}

// Frames from this size on are marked as one for terminals that can show them at once. Smaller
// ones arrive in one piece anyway, and the marks would be a good part of them.
const syncFrom = 1024

const (
	syncBegin = "\x1b[?2026h"
	syncEnd   = "\x1b[?2026l"
)

// output is stdout for Bubble Tea: the same file, so that sizes and terminal checks work, with
// writes of its own. They go to a second, non-blocking open file, so that a write to a terminal
// that takes nothing can be given up; where that cannot be had they block.
type output struct {
	*os.File
	async *os.File // nil: cannot be had
	sync  bool
	lost  func(error) // called once, at the first write error; set before the first write
	stuck alarm       // of a write that nobody takes; set before the first write

	mu      sync.Mutex
	frames  frames
	buf     []byte
	aborted chan struct{}
	abortMu sync.Once
}

func newOutput(stdout *os.File, termName string) *output {
	o := &output{File: stdout, aborted: make(chan struct{}), sync: termName != "linux"}
	if fd, err := reopen(stdout); err == nil {
		o.async = os.NewFile(uintptr(fd), stdout.Name())
	}
	return o
}

// Write writes one frame, in one call as long as the terminal takes it.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.aborted:
		return len(p), nil // nobody is there to see it, and the program has to go on ending
	default:
	}
	b := o.frames.shrink(p)
	if o.sync && len(b) >= syncFrom {
		o.buf = append(append(append(o.buf[:0], syncBegin...), b...), syncEnd...)
		b = o.buf
	}
	f := o.File
	if o.async != nil {
		f = o.async
	}
	taken := o.stuck.arm()
	_, err := f.Write(b)
	taken()
	if err != nil {
		select {
		case <-o.aborted:
			return len(p), nil
		default:
		}
		if o.lost != nil {
			o.lost(err)
			o.lost = nil
		}
		return 0, err
	}
	return len(p), nil
}

// alarm rings when something has taken too long. It looks a few times on the way: a process that was
// stopped meanwhile has not waited for all of the time that has passed.
type alarm struct {
	after time.Duration // 0: never
	ring  func()
}

// arm sets the alarm until the returned function is called.
func (a alarm) arm() (disarm func()) {
	if a.after == 0 || a.ring == nil {
		return func() {}
	}
	const looks = 10
	left := looks
	var mu sync.Mutex
	var t *time.Timer
	over := false
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(a.after/looks, func() {
		mu.Lock()
		defer mu.Unlock()
		switch left--; {
		case over:
		case left > 0:
			t.Reset(a.after / looks)
		default:
			a.ring()
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		t.Stop()
	}
}

// WriteString is Write. Without it the file's own would be called, past all of this.
func (o *output) WriteString(s string) (int, error) { return o.Write([]byte(s)) }

// abort gives up the write under way and all later ones. It does not wait for a lock.
func (o *output) abort() {
	o.abortMu.Do(func() {
		close(o.aborted)
		if o.async != nil {
			_ = o.async.SetWriteDeadline(time.Now())
		}
	})
}

// quiet waits a moment for the write under way to return.
func (o *output) quiet() {
	const (
		tries = 20
		pause = time.Millisecond
	)
	for range tries {
		if o.mu.TryLock() {
			o.mu.Unlock()
			return
		}
		time.Sleep(pause)
	}
}

func (o *output) close() {
	if o.async != nil {
		o.async.Close()
	}
}
