// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"bpf60/collectors"
)

// dashboard is the command without a name: the live screen, or plain lines where there is none.
func (c *commands) dashboard(cmd *cobra.Command) error {
	o, err := c.options(cmd)
	if err != nil {
		return err
	}
	return c.show(o)
}

// show opens the screen, or prints lines where there is none.
func (c *commands) show(o options) error {
	name := c.env("TERM")
	if !term.IsTerminal(c.stdout.Fd()) || name == "" || name == "dumb" {
		return c.lines(o)
	}
	return c.live(o)
}

// live runs the dashboard. Its goroutines are the source, the pump, the signals and Bubble Tea's
// own; it returns when the program has returned and the others have ended, or 2 s later.
func (c *commands) live(o options) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	tty, err := openTerminal(c.stdin, c.stdout, c.env)
	if err != nil {
		return err
	}
	defer tty.close()
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // without one snapshots are named after "host"
	if o.Replay != nil {
		host = collectors.Clean(o.Replay.Header().Host).String()
	}
	kept := newSnapshots(c.who, host, time.Now)
	start := time.Now()
	model := s.Model(screen{
		Version:  c.version,
		Theme:    o.Theme,
		Profile:  profile(o.Color, c.env),
		UTF8:     !o.ASCII && utf8Terminal(c.env),
		Keys:     o.Keys,
		Clock:    func() time.Duration { return time.Since(start) },
		Save:     kept.save,
		Copy:     tty.out.clipboard(c.env),
		Warnings: o.Warnings,
	})

	l := newLife()
	d := &suspender{life: l, mouse: o.Mouse, in: tty.in.File, rest: s.Rest}
	opts := []tea.ProgramOption{
		tea.WithAltScreen(), tea.WithFPS(framesPerSecond), tea.WithInput(tty.in), tea.WithOutput(tty.out),
		tea.WithoutBracketedPaste(), tea.WithoutSignalHandler(), tea.WithFilter(d.filter),
	}
	if o.Mouse {
		opts = append(opts, tea.WithMouseCellMotion())
	}
	idle, guarded := &looks{}, newGuard(model, l.end)
	defer idle.end()
	guarded.began, guarded.drawn = func() { idle.of(d.program) }, idle.drawn
	p := tea.NewProgram(guarded, opts...)
	d.program = p
	l.ask = p.Quit
	l.force = func(e ending) {
		tty.force(e.message + lines(kept.unwritten(0)))
		os.Exit(e.code)
	}
	tty.out.lost = func(error) { l.end(byHangup()) }
	tty.out.stuck = alarm{c.parts.unread, func() { l.end(byHangup()) }}
	tty.in.interrupt = func() { l.end(ending{}) } // so that it works while the loop is stalled

	stopSignals := c.watch(l, d)
	defer stopSignals()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	news := newBell()
	var group sync.WaitGroup
	var sourceErr error
	group.Go(func() {
		l.run(func() {
			if sourceErr = s.Run(ctx, news.ring); sourceErr != nil && ctx.Err() == nil {
				l.end(ending{code: exitError, message: "bpf60: " + sourceErr.Error() + "\n"})
			}
		})
	})
	group.Go(func() { l.run(func() { pump(ctx, news, c.parts.news, p.Send) }) })

	_, err = p.Run()
	e, asked := l.returned()
	cancel()
	hung := !within(stopGrace, group.Wait)
	var last strings.Builder
	last.WriteString(lines(kept.unwritten(stopGrace)))
	if hung {
		fmt.Fprintf(&last, "bpf60: measuring did not stop within %v; it ends with the process\n", stopGrace)
	} else if sourceErr != nil && !errors.Is(sourceErr, context.Canceled) && e.message == "" {
		fmt.Fprintf(&last, "bpf60: %v\n", sourceErr)
	}
	var over *tooMuchMemory
	if errors.As(sourceErr, &over) { // what it saw is not to be lost with it
		if err := s.Report(&last, reportRequest{Format: "text", Brief: true, Version: c.version}); err != nil {
			fmt.Fprintf(&last, "bpf60: %v\n", err)
		}
	}
	last.WriteString(byCrashes(s.Crashes()) + e.message)
	// The terminal is back, but it may still take nothing.
	if !writeWithin(c.stderr, last.String(), quitGrace) {
		tty.force(last.String())
	}
	switch {
	case asked:
		c.code = e.code
		return nil
	case errors.Is(err, errGone):
		c.code = byHangup().code
		return nil
	}
	return err
}

// within waits at most d for f and says whether it returned.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func lines(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString("bpf60: " + s + "\n")
	}
	return b.String()
}

// watch turns signals into endings and suspensions until the returned function is called. Hang-ups
// count also where whoever started us had them ignored: a dashboard without a terminal has nothing
// to live for.
func (c *commands) watch(l *life, d *suspender) (stop func()) {
	sigs := make(chan os.Signal, 4) // more than one can come before the first is read
	signal.Notify(sigs, append(endSignals(), syscall.SIGTSTP)...)
	done := make(chan struct{})
	go l.run(func() {
		for {
			select {
			case <-done:
				return
			case s := <-sigs:
				if s == syscall.SIGTSTP {
					go d.program.Send(tea.SuspendMsg{}) // blocks while output is stalled
					continue
				}
				l.end(bySignal(s))
			}
		}
	})
	return func() {
		signal.Stop(sigs)
		close(done)
	}
}

// endSignals are the signals that ask a program to end.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
}
