// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"bpf60/collectors"
)

// How long things may take at the end before they are left behind.
const (
	quitGrace = time.Second // the program, from the first reason to end until it has returned

	// Everything else, after it. The source waits 2 s for its own parts and then names the one that
	// hung; this is for a source that does not.
	stopGrace = 2500 * time.Millisecond
)

// ending is why the dashboard ends.
type ending struct {
	code    int
	message string // for stderr, once the terminal is back; "" for none
}

func bySignal(s os.Signal) ending {
	n, _ := s.(syscall.Signal)
	return ending{code: exitSignal + int(n)}
}

// byHangup is the end of a terminal that went away without a signal that we saw.
func byHangup() ending { return bySignal(syscall.SIGHUP) }

func byPanic(r any, stack []byte) ending {
	return ending{
		code:    exitInternal,
		message: fmt.Sprintf("bpf60: internal error: %v\n\n%s", r, stack),
	}
}

// byCrashes tells of the panics of parts that the rest went on without; "" if there were none.
func byCrashes(list []collectors.Crash) string {
	var b strings.Builder
	for _, x := range list {
		fmt.Fprintf(&b, "bpf60: %s was stopped by a bug: %s\n\n%s", x.Name, collectors.Clean(collectors.RawString(x.Message)), x.Stack)
	}
	return b.String()
}

// tellCrashes says at the end of a run what of it a bug had stopped.
func (c *commands) tellCrashes(s session) { fmt.Fprint(c.stderr, byCrashes(s.Crashes())) }

// life ends the dashboard: for the first reason that comes up, by asking the program, and after
// quitGrace without it, because a terminal that takes no output holds Bubble Tea's loop for ever.
type life struct {
	ask   func()       // asks the program to end; may block
	force func(ending) // ends the process; returns only in tests

	mu     sync.Mutex
	first  *ending
	forced bool          // force has been called and owns the rest
	ending chan struct{} // closed with the first reason
	over   chan struct{} // closed when the program has returned
}

func newLife() *life {
	return &life{ending: make(chan struct{}), over: make(chan struct{})}
}

// end gives a reason to end. It does not block and may be called from anywhere, often.
func (l *life) end(e ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != nil {
		return
	}
	l.first = &e
	close(l.ending)
	go l.ask()
	go func() {
		t := time.NewTimer(quitGrace)
		defer t.Stop()
		select {
		case <-l.over:
		case <-t.C:
			l.mu.Lock()
			l.forced = !isClosed(l.over)
			forced := l.forced
			l.mu.Unlock()
			if forced {
				l.force(e)
			}
		}
	}()
}

// returned says that the program has returned and the terminal is back. It tells why. It does not
// return once force has begun: that frees the program from a stalled write, and two would end.
func (l *life) returned() (ending, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forced {
		l.mu.Unlock()
		select {}
	}
	close(l.over)
	if l.first == nil {
		return ending{}, false
	}
	return *l.first, true
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run calls f and ends the dashboard if it panics. Every goroutine of ours runs in it: a panic
// that nobody recovers would leave the terminal raw.
func (l *life) run(f func()) {
	defer func() {
		if r := recover(); r != nil {
			l.end(byPanic(r, debug.Stack()))
		}
	}()
	f()
}
