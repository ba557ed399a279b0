// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// patience is how long to wait for what must happen.
const patience = 20 * time.Second

// frameGap ends a burst of output: no more for so long. Programs draw 20 times a second at most.
const frameGap = 20 * time.Millisecond

// player is a program on a pseudo terminal that takes all it writes.
type player struct {
	cmd     *exec.Cmd
	master  *os.File
	started time.Time

	mu     sync.Mutex
	screen vt10x.Terminal
	last   time.Time   // of the newest output
	frames []int       // bytes of each burst; the last one may still grow
	begins []time.Time // of the bursts
	wake   *sync.Cond
	left   time.Time // when it gave the terminal back
	gone   bool

	line *line // between the terminal and the program; nil is none
}

// play starts a program on a terminal of its own.
func play(cols, rows int, argv ...string) (*player, error) {
	return start("", nil, cols, rows, argv...)
}

// start starts a program in a directory, behind a line; nil is none.
func start(dir string, l *line, cols, rows int, argv ...string) (*player, error) {
	blocking, tty, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo terminal: %w", err)
	}
	defer tty.Close()
	defer blocking.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}); err != nil {
		return nil, err
	}
	// Non-blocking, so that it can be closed while somebody reads.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	p := &player{
		cmd: exec.Command(argv[0], argv[1:]...), master: os.NewFile(uintptr(fd), "/dev/ptmx"),
		screen: vt10x.New(vt10x.WithSize(cols, rows)), line: l,
	}
	p.cmd.Dir = dir
	p.wake = sync.NewCond(&p.mu)
	// No settings of the user's: both sides show what they show by default.
	p.cmd.Env = []string{"TERM=xterm-256color", "LANG=C.UTF-8", "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = mortal()
	p.cmd.SysProcAttr.Setsid, p.cmd.SysProcAttr.Setctty = true, true
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		p.master.Close()
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	go p.read()
	return p, nil
}

func (p *player) pid() int { return p.cmd.Process.Pid }

func (p *player) read() {
	buf, show := make([]byte, 64<<10), p.show
	if p.line != nil {
		buf, show = make([]byte, lineRate/100), p.line.carry(p.show)
	}
	for {
		n, err := p.master.Read(buf)
		show(buf[:n], err)
		if err != nil {
			return
		}
	}
}

// show puts output on the screen.
func (p *player) show(b []byte, err error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) > 0 {
		if len(p.frames) == 0 || now.Sub(p.last) > frameGap {
			p.frames, p.begins = append(p.frames, 0), append(p.begins, now)
		}
		p.frames[len(p.frames)-1] += len(b)
		p.last = now
		_, _ = p.screen.Write(b)
		if bytes.Contains(b, []byte("\x1b[?1049l")) {
			p.left = now
		}
	}
	p.gone = err != nil
	p.wake.Broadcast()
}

// until waits for a screen and returns when the output that made it came. Rows is the whole screen
// as text.
func (p *player) until(what string, ok func(rows []string) bool) (time.Time, error) {
	late := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.gone = true
		p.wake.Broadcast()
	})
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if len(p.frames) > 0 && ok(p.rows()) {
			return p.last, nil
		}
		if p.gone {
			return time.Time{}, fmt.Errorf("waiting for %s of %s: not seen; the screen is\n%s", what, p.cmd.Path, p.screen)
		}
		p.wake.Wait()
	}
}

func (p *player) rows() []string {
	return strings.Split(strings.TrimSuffix(p.screen.String(), "\n"), "\n")
}

// complete says that a screen is drawn to its last row.
func complete(rows []string) bool { return strings.TrimSpace(rows[len(rows)-1]) != "" }

// settle waits until the program has attached all it will and shows a whole screen.
func (p *player) settle() error {
	if _, err := p.until("a frame", complete); err != nil {
		return err
	}
	const quiet = time.Second
	n, since := -1, time.Now()
	for time.Since(since) < quiet {
		if now := attached(p.pid()); now != n {
			n, since = now, time.Now()
		}
		time.Sleep(quiet / 20)
	}
	return nil
}

func (p *player) press(keys string) error {
	if p.line != nil {
		p.line.press(p.master, keys)
		return nil
	}
	_, err := p.master.WriteString(keys)
	return err
}

// counted takes the bytes of the bursts so far and begins anew.
func (p *player) counted() []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []float64
	for _, n := range p.frames {
		out = append(out, float64(n))
	}
	p.frames, p.begins, p.last = nil, nil, time.Time{}
	return out
}

// gaps are the seconds from one burst to the next, since counted was called.
func (p *player) gaps() []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []float64
	for i := 1; i < len(p.begins); i++ {
		out = append(out, p.begins[i].Sub(p.begins[i-1]).Seconds())
	}
	return out
}

// end ends the program and closes its terminal.
func (p *player) end() {
	_ = p.press("q")
	gone := make(chan struct{})
	go func() { defer close(gone); _ = p.cmd.Wait() }()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // its own session: nobody else is in it
		<-gone
	}
	p.master.Close()
}
