// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// errReaderLeft says that whoever read our output has seen enough (bpf60 | head).
var errReaderLeft = errors.New("nobody reads the output any more")

// readerLeft makes errReaderLeft of a broken pipe.
func readerLeft(err error) error {
	if errors.Is(err, unix.EPIPE) {
		return errReaderLeft
	}
	return err
}

// lines prints one plain line a tick until a signal comes or nobody reads any more.
func (c *commands) lines(o options) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	defer c.tellCrashes(s)
	// A broken pipe is an error to see, not a signal to die of.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop, got := endBySignal(cancel)
	defer stop()
	defer restWhileStopped(s)()

	var writeErr error
	err = s.Run(ctx, func() {
		line := s.Line()
		if line == "" || writeErr != nil {
			return
		}
		if writeErr = writeUntil(ctx, c.stdout, line+"\n"); writeErr != nil {
			cancel()
		}
	})
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
		return nil
	}
	if writeErr != nil {
		return readerLeft(writeErr)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// writeUntil writes s and waits for that, but not past the end of ctx: a reader that reads no more must not
// keep us from ending. The write then ends with the process.
func writeUntil(ctx context.Context, w io.Writer, s string) error {
	written := make(chan error, 1) // room, if nobody waits any more
	go func() {
		_, err := io.WriteString(w, s)
		written <- err
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return nil
	}
}

// endBySignal calls f at the first signal that asks us to end. The second one has its default
// effect: whoever sends it does not want to wait. A hang-up that whoever started us had ignored
// (nohup) stays ignored.
func endBySignal(f func()) (stop func(), got func() os.Signal) {
	list := endSignals()
	if signal.Ignored(syscall.SIGHUP) {
		list = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	}
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, list...)
	first := make(chan os.Signal, 1)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-sigs:
			signal.Stop(sigs)
			first <- s
			f()
		case <-done:
		}
	}()
	stop = sync.OnceFunc(func() {
		signal.Stop(sigs)
		close(done)
	})
	got = func() os.Signal {
		select {
		case s := <-first:
			first <- s
			return s
		default:
			return nil
		}
	}
	return stop, got
}
