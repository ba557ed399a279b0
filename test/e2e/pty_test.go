// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// player is a program on a pseudo terminal that answers nothing: it keeps the bytes and draws
// the screen.
type player struct {
	t       *testing.T
	cmd     *exec.Cmd
	master  *os.File
	started time.Time
	up      *slowLine // what is typed goes this way; nil: at once
	exited  chan struct{}

	mu     sync.Mutex
	raw    bytes.Buffer
	screen vt10x.Terminal
	first  time.Duration // when the first complete screen was there; 0: not yet
}

// wholeScreen is the last thing that the first screen shows: when it is there the rest is.
const wholeScreen = "runqlat"

// play is how to start a player.
type play struct {
	term   string // TERM; empty: xterm-256color
	w, h   int    // 0: 80×24
	dir    string
	nobody bool // without privileges
	slow   bool // over a slow line: see slowLine
}

const nobodyID = 65534

func (how play) start(t *testing.T, argv ...string) *player {
	t.Helper()
	if how.w == 0 {
		how.w, how.h = 80, 24
	}
	if how.term == "" {
		how.term = "xterm-256color"
	}
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: uint16(how.h), Cols: uint16(how.w)}); err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, master: master, exited: make(chan struct{}), screen: vt10x.New(vt10x.WithSize(how.w, how.h))}
	if how.slow {
		p.up = newSlowLine(func(b []byte) { _, _ = master.Write(b) })
		t.Cleanup(p.up.close)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = how.dir
	p.cmd.Env = []string{"TERM=" + how.term, "LANG=C.UTF-8", "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if how.nobody {
		asRoot(t)
		if err := tty.Chown(nobodyID, nobodyID); err != nil {
			t.Fatal(err)
		}
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { defer close(read); p.read() }()
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		<-read // ends with the last process on the terminal
		master.Close()
	})
	return p
}

// read is the terminal.
func (p *player) read() {
	buf, show := make([]byte, 4096), p.show
	if p.up != nil {
		down := newSlowLine(p.show)
		defer down.close()
		buf, show = buf[:linkRate/50], down.send
	}
	for {
		n, err := p.master.Read(buf)
		if n > 0 {
			show(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// show is what the terminal does with what arrives.
func (p *player) show(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw.Write(b)
	_, _ = p.screen.Write(b)
	if p.first == 0 && strings.Contains(p.screen.String(), wholeScreen) {
		p.first = time.Since(p.started)
	}
}

// bytes are all that the program has written.
func (p *player) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.raw.Bytes())
}

func (p *player) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

func (p *player) firstScreen() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

func (p *player) send(keys string) {
	p.t.Helper()
	if p.up != nil {
		p.up.send([]byte(keys))
		return
	}
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatalf("typing %q: %v", keys, err)
	}
}

// see waits until the screen shows all of the words.
func (p *player) see(words ...string) {
	p.t.Helper()
	done := false
	defer func() {
		if !done {
			p.t.Logf("the screen:\n%s", strings.TrimSpace(p.text()))
		}
	}()
	until(p.t, "seeing "+strings.Join(words, " and "), func() bool {
		shown := p.text()
		for _, w := range words {
			if !strings.Contains(shown, w) {
				return false
			}
		}
		return true
	})
	done = true
}

// exit waits for the end and returns the exit code.
func (p *player) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("still running after %v; the screen:\n%s", patience, p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}
