// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

const (
	// stopWait is how long the kernel may take to stop us. It does not stop a process whose group
	// has no shell to continue it (ssh -t host bpf60), and then nobody would ever wake us.
	stopWait = 100 * time.Millisecond

	// foregroundPoll is how often a process that was continued in the background looks whether it
	// has the terminal again. No signal tells.
	foregroundPoll = 100 * time.Millisecond
)

// suspender handles ctrl+z in place of Bubble Tea, which would wait for ever where nothing stops
// it, be stopped once more by the kernel when it is continued in the background (also by kill %1,
// and then never end), and come back without the mouse.
type suspender struct {
	life    *life
	program *tea.Program
	mouse   bool
	in      *os.File
	stops   chan os.Signal // where SIGTSTP is delivered
}

// filter sees every message before the model does, on the goroutine of Bubble Tea's loop.
func (d *suspender) filter(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(tea.SuspendMsg); !ok {
		return msg
	}
	if !d.suspend() {
		return nil
	}
	if d.mouse {
		go d.program.Send(tea.EnableMouseCellMotion())
	}
	return tea.ResumeMsg{}
}

// suspend leaves the terminal to the shell until the terminal is ours again. It is false if that
// did not come to pass.
func (d *suspender) suspend() bool {
	if err := d.program.ReleaseTerminal(); err != nil {
		return false
	}
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)

	// Our handler would swallow the signal; the whole group gets it, as from the terminal's key.
	signal.Reset(syscall.SIGTSTP)
	_ = syscall.Kill(0, syscall.SIGTSTP)
	t := time.NewTimer(stopWait)
	defer t.Stop()
	select {
	case <-cont:
	case <-t.C:
	}
	signal.Notify(d.stops, syscall.SIGTSTP)

	poll := time.NewTicker(foregroundPoll)
	defer poll.Stop()
	for !foreground(d.in.Fd()) {
		select {
		case <-d.life.ending:
			// The terminal is put right already and belongs to the shell. Bubble Tea would write to it
			// on its way out and be stopped for that; life ends the process instead.
			select {}
		case <-poll.C:
		}
	}
	return d.program.RestoreTerminal() == nil
}
