// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fullArg makes this program a process that has all the files open that it may.
const fullArg = "-full"

// fullID is the finding that names such a process.
const fullID = "fd.exhaustion"

// full starts a process that a finding is about, until it is told to stop. It costs nothing once it is there.
func full() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return inBackground(exec.Command(self, fullArg))
}

// fullMain is the process that full starts.
func fullMain([]string) error {
	const files = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}); err != nil {
		return fmt.Errorf("limiting files: %w", err)
	}
	for {
		_, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			return unix.Pause() // a signal ends it; a sleep of Go's would open files
		}
		if err != nil {
			return fmt.Errorf("opening a file: %w", err)
		}
	}
}

// onFinding puts the cursor on the finding that full makes. False: it has not come.
func (p *player) onFinding() (bool, error) {
	if err := p.press("1gg"); err != nil {
		return false, err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		time.Sleep(lineTrip + 200*time.Millisecond) // until what was pressed is seen
		p.mu.Lock()
		rows := p.rows()
		p.mu.Unlock()
		at := slices.IndexFunc(rows, func(r string) bool { return findingOf(r) == fullID })
		if at < 0 {
			continue
		}
		key := "j"
		switch cursor := slices.IndexFunc(rows, underCursor); {
		case cursor == at:
			return true, nil
		case cursor > at:
			key = "k"
		}
		if err := p.press(key); err != nil {
			return false, err
		}
	}
	return false, nil
}

func underCursor(row string) bool { return strings.HasPrefix(row, ">") }

// onFull says that the cursor is on the finding that full makes.
func onFull(rows []string) bool {
	return slices.ContainsFunc(rows, func(r string) bool { return underCursor(r) && findingOf(r) == fullID })
}

// findingOf is the id of the finding in a row: its first word after the marks; empty: there is none.
func findingOf(row string) string {
	if f := strings.Fields(strings.TrimPrefix(row, ">")); len(f) > 1 {
		return f[1]
	}
	return ""
}
