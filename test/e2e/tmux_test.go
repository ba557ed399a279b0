// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// window is the program in a tmux server of its own.
type window struct {
	t    *testing.T
	tmux string
	sock string
	dir  string // where the program runs
}

// afterExit tells the exit code, and whether the terminal's settings are those from before.
const afterExit = `before=$(stty -g); %s; echo "EXIT=$?"; test "$before" = "$(stty -g)" && echo STTY=same; exec cat`

// openWindow starts a shell command in a terminal of that size.
func openWindow(t *testing.T, w, h int, command string) *window {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") // not the test's own: a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	x := &window{t: t, tmux: tool(t, "tmux"), sock: filepath.Join(dir, "tmux"), dir: t.TempDir()}
	t.Cleanup(func() { os.RemoveAll(dir) })
	leash(t, `read _; exec "$@"`, x.tmux, "-S", x.sock, "kill-server")
	x.must("new-session", "-d", "-x", fmt.Sprint(w), "-y", fmt.Sprint(h), "-c", x.dir,
		fmt.Sprintf(afterExit, command))
	x.must("set-option", "-g", "status", "off")
	x.resize(w, h) // the status line took one
	return x
}

func (x *window) run(args ...string) (string, error) {
	cmd := exec.Command(x.tmux, append([]string{"-u", "-S", x.sock, "-f", "/dev/null"}, args...)...)
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "TMUX", "TMUX_PANE", "TERM", "CI", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LANG=C.UTF-8", "TERM=tmux-256color")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (x *window) must(args ...string) string {
	x.t.Helper()
	out, err := x.run(args...)
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return out
}

// screen is what the terminal shows, one line for each of its rows.
func (x *window) screen() []string {
	x.t.Helper()
	return strings.Split(strings.TrimSuffix(x.must("capture-pane", "-p"), "\n"), "\n")
}

// see waits until the screen matches every one of the patterns, and returns what the groups of
// the last one hold.
func (x *window) see(patterns ...string) []string {
	x.t.Helper()
	var shown []string
	var groups []string
	var all []*regexp.Regexp
	for _, p := range patterns {
		all = append(all, regexp.MustCompile("(?m)"+p))
	}
	x.report(func() []string { return shown }, func() {
		until(x.t, "seeing "+strings.Join(patterns, " and "), func() bool {
			shown = x.screen()
			for _, p := range all {
				if groups = p.FindStringSubmatch(strings.Join(shown, "\n")); groups == nil {
					return false
				}
			}
			return true
		})
	})
	return groups
}

// wait waits until the screen is as f wants it, and returns it.
func (x *window) wait(what string, f func(lines []string) bool) (shown []string) {
	x.t.Helper()
	x.report(func() []string { return shown }, func() {
		until(x.t, what, func() bool { shown = x.screen(); return f(shown) })
	})
	return shown
}

// report logs the screen if f ends the test.
func (x *window) report(shown func() []string, f func()) {
	x.t.Helper()
	done := false
	defer func() {
		if !done {
			x.t.Logf("the screen:\n%s", strings.Join(shown(), "\n"))
		}
	}()
	f()
	done = true
}

// press sends keys by their names.
func (x *window) press(names ...string) {
	x.t.Helper()
	x.must(append([]string{"send-keys"}, names...)...)
}

// typed sends letters in one write.
func (x *window) typed(letters string) {
	x.t.Helper()
	x.must("send-keys", "-l", letters)
}

func (x *window) resize(w, h int) {
	x.t.Helper()
	x.must("resize-window", "-x", fmt.Sprint(w), "-y", fmt.Sprint(h))
}

// body is a screen without the lines that hold a clock and the own cost, and without the line before
// those, which tells of time too while it stands.
func body(lines []string) string {
	if len(lines) < 4 {
		return ""
	}
	return strings.Join(lines[1:len(lines)-2], "\n")
}

// quit ends the program and checks that it leaves the terminal as it was.
func (x *window) quit() {
	x.t.Helper()
	x.press("q")
	x.see("^EXIT=0$", "^STTY=same$")
	const flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"
	if got := strings.TrimSpace(x.must("display-message", "-p", flags)); got != "0 1 0" {
		x.t.Errorf("%s = %s, want 0 1 0", flags, got)
	}
}

// logFirst says how long the first screen took to be seen, tmux and polling included.
func (x *window) logFirst(since time.Time) {
	x.t.Logf("first screen seen after %v", time.Since(since).Round(time.Millisecond))
}
