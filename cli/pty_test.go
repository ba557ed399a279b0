// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen. Only failing tests wait that long.
const patience = time.Minute

// player is a program on a pseudo terminal whose other end the test holds.
type player struct {
	t        *testing.T
	cmd      *exec.Cmd
	master   *os.File
	tty      *os.File // held open, so that the settings outlive the program
	before   unix.Termios
	exited   chan struct{}
	mu       sync.Mutex
	unpaused *sync.Cond
	paused   bool
	parked   bool // paused and really not reading
	raw      bytes.Buffer
	screen   vt10x.Terminal
}

// play is how to start a player.
type play struct {
	scene string   // of the fake program; "" runs argv as it is
	args  []string // arguments of the fake program, or argv
	env   []string
	stdin *os.File // nil: the terminal
	stray bool     // no controlling terminal
	dir   string
	uid   uint32 // other than ours, if not 0
}

func start(t *testing.T, how play) *player {
	t.Helper()
	master, tty := openPty(t)
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, master: master, tty: tty, exited: make(chan struct{}), screen: vt10x.New(vt10x.WithSize(80, 24))}
	p.unpaused = sync.NewCond(&p.mu)
	p.before = p.termios()

	argv := how.args
	if how.scene != "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		argv = append([]string{self}, how.args...)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = how.dir
	p.cmd.Env = append([]string{
		"TERM=xterm-256color", "LANG=C.UTF-8", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"),
		sceneVariable + "=" + how.scene,
	}, how.env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	if how.stdin != nil {
		p.cmd.Stdin = how.stdin
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: !how.stray, Ctty: 1}
	if how.uid != 0 {
		// The directory of the test binary may be closed to others; an open file is not.
		bin, err := os.Open(argv[0])
		if err != nil {
			t.Fatal(err)
		}
		defer bin.Close()
		p.cmd.ExtraFiles = []*os.File{bin}
		p.cmd.Path = "/proc/self/fd/3"
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: how.uid, Gid: how.uid}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read()
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state is in ProcessState
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its own session: nobody else is in it
		<-p.exited
		p.resume()
		p.hangUp()
	})
	return p
}

// openPty opens a pseudo terminal whose master can be closed while somebody reads from it.
func openPty(t *testing.T) (master, tty *os.File) {
	t.Helper()
	blocking, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "/dev/ptmx"), tty
}

// read is the terminal: it takes output, unless paused, and keeps the screen.
func (p *player) read() {
	buf := make([]byte, 4096)
	for {
		p.mu.Lock()
		for p.paused {
			p.parked = true
			p.unpaused.Wait()
			p.parked = false
		}
		p.mu.Unlock()
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.raw.Write(buf[:n])
		_, _ = p.screen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *player) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	p.unpaused.Broadcast()
}

func (p *player) hangUp() {
	p.tty.Close()
	p.master.Close()
}

func (p *player) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw.String()
}

func (p *player) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

func (p *player) send(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatalf("typing %q: %v", keys, err)
	}
}

func (p *player) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// until polls for what cannot announce itself.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not happen within %v", what, patience)
		case <-tick.C:
		}
	}
}

// see waits until the screen shows the words.
func (p *player) see(words string) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("screen:\n%s", strings.TrimSpace(p.text()))
		}
	}()
	until(p.t, "showing "+words, func() bool { return strings.Contains(p.text(), words) })
}

// stall stops reading and fills the terminal's buffer: the next write blocks.
func (p *player) stall() {
	p.t.Helper()
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
	stuff(p.t, p.master, p.tty, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.parked
	})
}

// stuff fills a terminal's buffers until the kernel takes nothing more and stopped is true. What was written
// lies in one buffer until the kernel moves it to another, in its own time, and then the first has room
// again: both must be full.
func stuff(t *testing.T, master, tty *os.File, stopped func() bool) {
	t.Helper()
	fd, err := reopen(tty)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// Room comes a moment after what was in it has moved; and small writes are taken when large ones are
	// refused.
	const enough = 20
	fill, refused := make([]byte, 4096), 0
	until(t, "the stall", func() bool {
		if !stopped() || arrivedAt(t, master) < readBuffer {
			refused = 0
		}
		refused++
		for _, size := range []int{len(fill), 1} {
			for {
				if _, err := unix.Write(fd, fill[:size]); errors.Is(err, unix.EAGAIN) {
					break
				}
				refused = 0
			}
		}
		return refused > enough
	})
}

// readBuffer is what the kernel keeps for a reader of a terminal: N_TTY_BUF_SIZE less one.
const readBuffer = 4095

// arrivedAt is how many bytes wait to be read.
func arrivedAt(t *testing.T, master *os.File) (n int) {
	t.Helper()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var asked error
	err = raw.Control(func(fd uintptr) { n, asked = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err := errors.Join(err, asked); err != nil {
		t.Fatalf("asking how much there is to read: %v", err)
	}
	return n
}

// exit waits for the end and returns the code, 128+n if a signal killed it.
func (p *player) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(within):
		p.t.Fatalf("still running after %v; screen:\n%s", within, p.text())
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		p.t.Fatal("no wait status")
	}
	if status.Signaled() {
		p.t.Errorf("killed by %v instead of ending by itself", status.Signal())
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (p *player) termios() unix.Termios {
	p.t.Helper()
	t, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatalf("reading the terminal's settings: %v", err)
	}
	return *t
}

// modes are the private modes that are on after all output so far.
func modes(raw string) map[string]bool {
	on := make(map[string]bool)
	for i := 0; i < len(raw); i++ {
		rest, ok := strings.CutPrefix(raw[i:], "\x1b[?")
		if !ok {
			continue
		}
		end := strings.IndexAny(rest, "hl")
		if end < 0 || strings.Trim(rest[:end], "0123456789;") != "" {
			continue
		}
		for m := range strings.SplitSeq(rest[:end], ";") {
			on[m] = rest[end] == 'h'
		}
	}
	return on
}

// restored checks that the terminal is as it was before.
func (p *player) restored() {
	p.t.Helper()
	if got := p.termios(); got != p.before {
		p.t.Errorf("terminal settings are %+v, want %+v", got, p.before)
	}
	p.resume()
	p.drain()
	for mode, on := range modes(p.output()) {
		if want := mode == "25"; on != want { // the cursor is visible
			p.t.Errorf("mode ?%s is %t at the end, want %t", mode, on, want)
		}
	}
}

// drain waits until all output is read: the end mark comes through the same pipe behind it.
func (p *player) drain() {
	p.t.Helper()
	const mark = "\x1b]end\x07"
	if _, err := p.tty.WriteString(mark); err != nil {
		p.t.Fatal(err)
	}
	until(p.t, "reading all output", func() bool { return strings.HasSuffix(p.output(), mark) })
}

// afterScreen is what was printed once the alternate screen was left.
func (p *player) afterScreen() string {
	_, after, _ := strings.Cut(p.output(), "\x1b[?1049l")
	return after
}

// shipped builds the real program once.
var shipped = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(os.Getenv(binariesVariable), "bpf60")
	cmd := exec.Command("go", "build", "-o", bin, "bpf60")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return bin, nil
})

func resize(t *testing.T, p *player, w, h int) {
	t.Helper()
	if err := pty.Setsize(p.tty, &pty.Winsize{Rows: uint16(h), Cols: uint16(w)}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w > 0 && h > 0 {
		p.screen.Resize(w, h)
	}
}

// maxRSS is the most memory the program has held, in bytes.
func maxRSS(t *testing.T, p *player) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
