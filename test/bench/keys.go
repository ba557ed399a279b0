// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// keyRows: from a digit to the last byte of the pane it opens, on the host as it is and under a storm
// of switches that never ends.
func keyRows(o options) ([]row, error) {
	begun := pressureNow()
	const presses = 200
	quiet, err := keys(o.path, false, presses, "2", "1")
	if err != nil {
		return nil, err
	}
	stop, err := switching()
	if err != nil {
		return nil, err
	}
	echoed, err := echoes()
	if err != nil {
		stop()
		return nil, err
	}
	storm, err := keys(o.path, true, presses, "2", "1")
	stop()
	if err != nil {
		return nil, err
	}
	show := func(what string, took []float64) row {
		return row{
			what: what, ours: fmt.Sprintf("%.1f ms", quantile(took, 0.99)),
			note: fmt.Sprintf("p50 %.1f ms, max %.1f ms, %d digits", median(took), quantile(took, 1), len(took)),
		}.below(quantile(took, 0.99), 50, "50 ms")
	}
	// Under a storm the kernel's own workers, which carry what is written to a terminal, wait too.
	stormy := show("  under a storm of switches", storm)
	stormy.peer = fmt.Sprintf("%.1f ms", quantile(echoed, 0.99))
	stormy.note = "beside a bare echo, both ends real time; " + stormy.note
	return []row{show("key to screen, p99", quiet).busySince(begun), stormy}, nil
}

// ahead makes every thread of this program a real-time one, and returns what undoes it.
func ahead() (back func(), err error) {
	set := func(attr unix.SchedAttr) error {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("setting a real-time priority: %w", err)
			}
		}
		return nil
	}
	if err := set(unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 2}); err != nil {
		return nil, err
	}
	return func() { _ = set(unix.SchedAttr{Policy: unix.SCHED_NORMAL}) }, nil
}

// switching keeps every CPU switching between eight tasks of another session until it is told to stop.
func switching() (stop func(), err error) {
	path, err := find("stress-ng")
	if err != nil {
		return nil, err
	}
	return inBackground(exec.Command(path, "--quiet", "--switch", "4"))
}

// keys presses digits in turn and returns how many milliseconds each took. Aside puts this program
// above the load, as if it ran on another machine.
func keys(path string, aside bool, presses int, digits ...string) ([]float64, error) {
	p, err := play(80, 24, path)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.settle(); err != nil {
		return nil, err
	}
	if aside {
		back, err := ahead()
		if err != nil {
			return nil, err
		}
		defer back()
	}
	var took []float64
	for i := range presses {
		// At no fixed phase of the program's own ticks.
		time.Sleep(60*time.Millisecond + rand.N(90*time.Millisecond))
		digit := digits[i%len(digits)]
		pressed := time.Now()
		if err := p.press(digit); err != nil {
			return nil, err
		}
		at, err := p.until("the pane of key "+digit, func(rows []string) bool {
			open := "[" + digit // the tab bar marks it
			return strings.Contains(rows[1], open) || strings.Contains(rows[0], open)
		})
		if err != nil {
			return nil, err
		}
		took = append(took, ms(at.Sub(pressed)))
	}
	return took, nil
}

// echoArg makes this program answer every byte with itself, at once.
const echoArg = "-echo"

// echoMain is the process that echoes starts.
func echoMain([]string) error {
	if _, err := ahead(); err != nil {
		return err
	}
	var b [1]byte
	for {
		if _, err := os.Stdin.Read(b[:]); err != nil {
			return nil // the terminal has gone
		}
		if _, err := os.Stdout.Write(b[:]); err != nil {
			return err
		}
	}
}

// echoes is how many milliseconds a byte takes through a terminal and back when nobody computes
// anything: what is left is the kernel's.
func echoes() ([]float64, error) {
	const bytes = 200
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo terminal: %w", err)
	}
	defer master.Close()
	defer slave.Close()
	if _, err := term.MakeRaw(slave.Fd()); err != nil {
		return nil, fmt.Errorf("making the terminal raw: %w", err)
	}
	cmd := exec.Command(self, echoArg)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = slave, slave, os.Stderr, mortal()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting an echo: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	back, err := ahead()
	if err != nil {
		return nil, err
	}
	defer back()
	var took []float64
	var b [1]byte
	for range bytes {
		time.Sleep(30 * time.Millisecond)
		sent := time.Now()
		if _, err := master.Write(b[:]); err != nil {
			return nil, err
		}
		if _, err := master.Read(b[:]); err != nil {
			return nil, err
		}
		took = append(took, ms(time.Since(sent)))
	}
	return took, nil
}
