// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// hooked lists what a process has attached to events: links, those of iterators left out, which run only
// when they are read.
func hooked(t *testing.T, pid int) (out []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		f, err := os.Open(filepath.Join(dir, fd.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed since
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind, id string
		for lines := bufio.NewScanner(f); lines.Scan(); {
			switch key, value, _ := strings.Cut(lines.Text(), ":"); key {
			case "link_type":
				kind = strings.TrimSpace(value)
			case "link_id":
				id = strings.TrimSpace(value)
			}
		}
		f.Close()
		if id != "" && kind != "iter" {
			out = append(out, kind+" "+id)
		}
	}
	return out
}

// A dashboard that is stopped holds no program on the events of the host: nobody would hold its cost down.
// It has numbers again when it goes on.
func TestSuspendDetaches(t *testing.T) {
	asRoot(t)
	for name, args := range map[string]string{"dashboard": "", "record": " record --for 1h " + filepath.Join(t.TempDir(), "r.b60")} {
		t.Run(name, func(t *testing.T) {
			p := play{}.start(t, tool(t, "bash"), "--norc", "--noediting", "-i")
			p.send("PS1='shell> '; clear; echo my shell $$\n")
			var shell int
			until(t, "the shell", func() bool { shell = number(p.text(), `my shell (\d+)`); return shell > 0 })
			p.send("clear; " + binary() + args + "\n")
			if args == "" {
				p.see("60 seconds", "runqlat  p50 ")
			}
			var pid int
			until(t, "the program with its probes attached", func() bool {
				pid = child(t, shell)
				return pid != 0 && len(hooked(t, pid)) > 3
			})
			p.send("\x1a")
			p.see("Stopped")
			var left []string
			until(t, "nothing being attached", func() bool { left = hooked(t, pid); return state(t, pid) == "T" })
			if len(left) > 0 {
				t.Errorf("while it is stopped it holds %v", left)
			}
			p.send("clear; fg\n")
			until(t, "the probes being attached again", func() bool { return len(hooked(t, pid)) > 3 })
			if args == "" {
				p.see("60 seconds", "runqlat  p50 ")
				p.send("q")
				p.see("shell> ")
				return
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.see("shell> ")
		})
	}
}

// child is the bpf60 that a process started; 0: none.
func child(t *testing.T, parent int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(b)) {
		if exe, err := os.Readlink("/proc/" + f + "/exe"); err == nil && exe == binary() {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// state is the letter of a process's state.
func state(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}
