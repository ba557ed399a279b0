// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
	"unsafe"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/sys/unix"
)

const (
	// stopWait is how long the kernel may take to stop us. It does not stop a process whose group
	// has no shell to continue it (ssh -t host bpf60), and then nobody would ever wake us.
	stopWait = 100 * time.Millisecond

	// restWait is how long the probes may take to be detached before we stop: detaching waits for the
	// kernel's grace periods, and the user waits for the shell.
	restWait = 100 * time.Millisecond

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
	rest    func(on bool) // lets go of the kernel
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

	d.rest(true)
	withDefault(syscall.SIGTSTP, func() {
		_ = syscall.Kill(0, syscall.SIGTSTP) // the whole group, as from the terminal's key
		t := time.NewTimer(stopWait)
		defer t.Stop()
		select {
		case <-cont:
		case <-t.C:
		}
	})
	d.rest(false) // also in the background, where the history grows

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

// restWhileStopped lets a session without a screen let go of the kernel before ctrl+z stops the process,
// and go on after it, until the returned function is called.
func restWhileStopped(s session) (end func()) {
	if signal.Ignored(syscall.SIGTSTP) {
		return func() {} // by who started us: it stays so
	}
	sigs, cont, done := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(sigs, syscall.SIGTSTP)
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-sigs:
			}
			signal.Notify(cont, syscall.SIGCONT)
			s.Rest(true)
			withDefault(syscall.SIGTSTP, func() {
				_ = unix.Kill(unix.Getpid(), unix.SIGTSTP)
				t := time.NewTimer(stopWait)
				defer t.Stop()
				select {
				case <-cont:
				case <-t.C:
				}
			})
			signal.Stop(cont)
			s.Rest(false)
		}
	})
	return sync.OnceFunc(func() {
		signal.Stop(sigs)
		close(done)
		watch.Wait()
	})
}

// sigaction is the kernel's struct for rt_sigaction, the same on amd64 and arm64.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// withDefault runs f while a signal has its default effect. Package os/signal cannot do that: the
// runtime keeps its handler after Stop and Reset, and then the signal has no effect at all.
func withDefault(s syscall.Signal, f func()) {
	const sigsetSize = 8
	set := func(act, old *sigaction) bool {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s),
			uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), sigsetSize, 0, 0)
		return errno == 0
	}
	var old sigaction
	if set(&sigaction{}, &old) {
		defer set(&old, nil)
	}
	f()
}
