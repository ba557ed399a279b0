// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// soon bounds an end that nothing holds up; forced one that waits for quitGrace first. Both leave
// room for a busy machine.
const (
	soon   = 30 * time.Second
	forced = quitGrace + soon
)

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle"})
			p.see("ready 80x24 ticked")
			p.signal(sig)
			if got, want := p.exit(soon), 128+int(sig); got != want {
				t.Errorf("exit code = %d, want %d", got, want)
			}
			p.restored()
		})
		t.Run(sig.String()+" while the output is stalled", func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle"})
			p.see("ready")
			p.stall()
			p.signal(sig)
			if got, want := p.exit(forced), 128+int(sig); got != want {
				t.Errorf("exit code = %d, want %d", got, want)
			}
			p.restored()
			if raw := strings.TrimSuffix(p.output(), "\x1b]end\x07"); !strings.HasSuffix(raw, reset) {
				_, after, _ := strings.Cut(raw, reset)
				t.Errorf("behind the reset came %q", after)
			}
		})
	}
}

func TestKeysThatEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		keys  string
		stall bool
	}{
		"q":                       {keys: "q"},
		"ctrl+c":                  {keys: "\x03"},
		"ctrl+c on a stalled tty": {keys: "\x03", stall: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle"})
			p.see("ready")
			if tt.stall {
				p.stall()
			}
			p.send(tt.keys)
			if got := p.exit(forced); got != exitDone {
				t.Errorf("exit code = %d, want %d", got, exitDone)
			}
			p.restored()
		})
	}
}

func TestPanics(t *testing.T) {
	for key, where := range map[string]string{
		"U": "boom in Update", "V": "boom in View", "C": "boom in a command",
		"B": "boom in a command", "G": "boom in the source",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle"})
			p.see("ready")
			p.send(key)
			if got := p.exit(soon); got != exitInternal {
				t.Errorf("exit code = %d, want %d", got, exitInternal)
			}
			p.restored()
			if got := p.afterScreen(); !strings.Contains(got, "bpf60: internal error: "+where) || !strings.Contains(got, "main_test.go") {
				t.Errorf("after the screen came %q, want the error and its stack", got)
			}
		})
	}
}

// A panic with a terminal that takes nothing: both the reset and the message come at once when it
// takes something again.
func TestPanicWhileStalled(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready")
	p.stall()
	p.send("G")
	if got := p.exit(forced); got != exitInternal {
		t.Errorf("exit code = %d, want %d", got, exitInternal)
	}
	p.restored()
	if raw := p.output(); !strings.Contains(raw, reset+"bpf60: internal error: boom in the source") {
		t.Errorf("the output ends with %q, want the reset and the error", strings.ReplaceAll(raw, "\x00", ""))
	}
}

// A terminal that takes nothing for long is one whose connection was lost.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "clock impatient"})
	p.see("ready")
	p.stall()
	if got, want := p.exit(forced), 128+int(syscall.SIGHUP); got != want {
		t.Errorf("exit code = %d, want %d", got, want)
	}
	p.restored()
}

// A terminal that is read in the end is not lost, however often it stalls.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rang := time.Time{}
		a := alarm{10 * time.Minute, func() { rang = time.Now() }}
		for range 100 {
			disarm := a.arm()
			time.Sleep(9 * time.Minute)
			disarm()
		}
		synctest.Wait()
		if !rang.IsZero() {
			t.Error("it rang for 9 minutes")
		}
		began := time.Now()
		defer a.arm()()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if got := rang.Sub(began); got != 10*time.Minute {
			t.Errorf("it rang after %v, want 10m", got)
		}
	})
}

func TestLoopThatNeverReturns(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready")
	p.send("L")
	p.signal(syscall.SIGTERM)
	if got := p.exit(forced); got != 143 {
		t.Errorf("exit code = %d, want 143", got)
	}
	p.restored()
}

func TestSourceError(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready")
	p.send("E")
	if got := p.exit(soon); got != exitError {
		t.Errorf("exit code = %d, want %d", got, exitError)
	}
	p.restored()
	if got := p.afterScreen(); !strings.Contains(got, "bpf60: boom: the source broke") {
		t.Errorf("after the screen came %q, want the error", got)
	}
}

func TestSourceThatHangsAtTheEnd(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "hang"})
	p.see("ready")
	p.send("q")
	if got := p.exit(stopGrace + soon); got != exitDone {
		t.Errorf("exit code = %d, want %d", got, exitDone)
	}
	p.restored()
	if got := p.afterScreen(); !strings.Contains(got, "measuring did not stop") {
		t.Errorf("after the screen came %q, want what hung", got)
	}
}

func TestHangUp(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]play{
		"plain":   {scene: "idle"},
		"ignored": {args: []string{"sh", "-c", `trap "" HUP; exec "$0"`, self}, env: []string{sceneVariable + "=idle"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, how)
			p.see("ready")
			p.hangUp()
			if got := p.exit(soon); got != 129 {
				t.Errorf("exit code = %d, want 129", got)
			}
		})
	}
}

// A terminal that goes away without any signal: we are not in its session.
func TestTerminalGoneWithoutSignal(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle", stray: true})
	p.see("ready")
	p.hangUp()
	if got := p.exit(soon); got != 129 {
		t.Errorf("exit code = %d, want 129", got)
	}
}

// Keys from one terminal, the screen on another that goes away: only writing tells.
func TestScreenGone(t *testing.T) {
	t.Parallel()
	far, keys := openPty(t)
	defer far.Close()
	defer keys.Close()
	p := start(t, play{scene: "clock", stdin: keys, stray: true})
	p.see("ready")
	p.hangUp()
	if got := p.exit(soon); got != 129 {
		t.Errorf("exit code = %d, want 129", got)
	}
}

// After su the terminal is still the first user's and cannot be opened a second time: writes block
// in the kernel, and the end must come nevertheless.
func TestStallOnForeignTerminal(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, to become somebody else")
	t.Parallel()
	p := start(t, play{scene: "idle", uid: 65534})
	p.see("ready")
	p.stall()
	p.signal(syscall.SIGTERM)
	if got := p.exit(forced); got != 143 {
		t.Errorf("exit code = %d, want 143", got)
	}
	p.restored()
}

func TestStdinIsNoTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	scene := []string{sceneVariable + "=idle"}
	for name, how := range map[string]play{
		"/dev/null": {scene: "idle", stdin: null},
		"closed":    {args: []string{"sh", "-c", `exec "$0" <&-`, self}, env: scene},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, how)
			p.see("ready")
			p.send("q")
			if got := p.exit(soon); got != exitDone {
				t.Errorf("exit code = %d, want %d", got, exitDone)
			}
			p.restored()
		})
	}
	t.Run("no terminal at all", func(t *testing.T) {
		t.Parallel()
		p := start(t, play{scene: "idle", stdin: null, stray: true})
		if got := p.exit(soon); got != exitUsage {
			t.Errorf("exit code = %d, want %d", got, exitUsage)
		}
		p.drain()
		if !strings.Contains(p.output(), "ssh -t") {
			t.Errorf("output = %q, want the remedy ssh -t", p.output())
		}
	})
}

// shellPlay runs the fake program as a job of a shell with job control.
func shellPlay(t *testing.T) *player {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, play{args: []string{"bash", "--norc", "--noediting", "-i"}, env: []string{"PS1=shell> ", "SELF=" + self}})
	p.see("shell> ")
	p.send(sceneVariable + "=idle $SELF\n")
	p.see("ready")
	return p
}

func pidOf(t *testing.T, p *player) int {
	t.Helper()
	var pid int
	found := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(p.text())
	if found == nil {
		t.Fatalf("no pid on the screen:\n%s", p.text())
	}
	if _, err := fmt.Sscan(found[1], &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestSuspend(t *testing.T) {
	for name, stop := range map[string]func(*player){
		"ctrl+z":  func(p *player) { p.send("\x1a") },
		"SIGTSTP": func(p *player) { _ = syscall.Kill(pidOf(p.t, p), syscall.SIGTSTP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shellPlay(t)
			for round := 1; round <= 2; round++ {
				stop(p)
				p.see("Stopped")
				for mode, on := range modes(p.output()) {
					if on != (mode == "25") { // the cursor
						t.Errorf("while stopped, mode ?%s is %t", mode, on)
					}
				}
				if got := p.termios(); got.Lflag != p.before.Lflag {
					t.Errorf("while stopped, lflag = %x, want %x", got.Lflag, p.before.Lflag)
				}
				p.send("clear; fg\n")
				p.see(fmt.Sprintf("resumed %d", round))
				p.see(fmt.Sprintf("rested %d", round))
				until(t, "mouse mode", func() bool { m := modes(p.output()); return m["1002"] && m["1049"] })
			}
			p.send("q")
			p.see("shell> ")
			p.send("clear; echo code $?; exit\n")
			p.see("code 0")
		})
	}
}

// kill %1 continues a stopped job in the background, where the terminal is not its own.
func TestKillWhileSuspended(t *testing.T) {
	t.Parallel()
	p := shellPlay(t)
	p.send("\x1a")
	p.see("Stopped")
	p.send("kill %1; while kill -0 %1 2>/dev/null; do sleep 0.05; done; jobs\n")
	p.see("Exit 143")
}

// ssh -t host bpf60 has no shell to come back to: nothing stops it, and it must come back itself.
func TestSuspendWithoutShell(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready")
	p.send("\x1a")
	p.see("resumed 1")
	p.send("q")
	if got := p.exit(soon); got != exitDone {
		t.Errorf("exit code = %d, want %d", got, exitDone)
	}
	p.restored()
}

func TestResize(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready 80x24")
	resize(t, p, 40, 10)
	p.see("ready 40x10")
	resize(t, p, 0, 0)
	resize(t, p, 80, 24)
	p.see("ready 80x24")
}

// query matches what makes a terminal answer: colours, device attributes, cursor and mode reports.
var query = regexp.MustCompile(`\x1b\][0-9]+;\?|\x1b\[[>=?]?[0-9;]*[cn]|\x1b\[[0-9;?]*\$p|\x1bP`)

// A terminal that never answers must neither be asked nor be waited for.
func TestSilentTerminal(t *testing.T) {
	const wait = 5 * time.Second // of the query in Bubble Tea's init
	t.Run("dashboard", func(t *testing.T) {
		t.Parallel()
		p := start(t, play{scene: "idle"})
		began := time.Now()
		p.see("ready")
		if d := time.Since(began); d >= wait {
			t.Errorf("the first frame took %v", d)
		}
		p.send("q")
		p.exit(soon)
		p.drain()
		if got := query.FindString(p.output()); got != "" {
			t.Errorf("the terminal was asked %q", got)
		}
		if strings.Contains(p.output(), "\x1b[?2004h") {
			t.Error("the terminal was told to mark pasted text")
		}
	})
	bin, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"version", "--help", "keys", "completion bash", "config --print-default"} {
		t.Run(args, func(t *testing.T) {
			p := start(t, play{args: append([]string{bin}, strings.Fields(args)...)})
			began := time.Now()
			if got := p.exit(wait); got != exitDone {
				t.Errorf("exit code = %d, want %d", got, exitDone)
			}
			if d := time.Since(began); d >= wait/2 {
				t.Errorf("it took %v", d)
			}
			p.drain()
			if got := strings.TrimSuffix(p.output(), "\x1b]end\x07"); strings.Contains(got, "\x1b") {
				t.Errorf("escape sequences in %q", got)
			}
			p.restored()
		})
	}
}
