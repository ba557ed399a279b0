// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
)

const (
	progressWidth = 30
	progressTick  = 250 * time.Millisecond
	clearLine     = "\r\x1b[K"
)

// progress is the bar on stderr. It lives on a goroutine of its own, so that a terminal that takes
// nothing does not hold up the report.
type progress struct {
	quit, done chan struct{}
}

// progress starts a bar if stderr is a terminal that can move its cursor.
func (c *commands) progress(o options, start time.Time, span time.Duration) *progress {
	name := c.env("TERM")
	if !term.IsTerminal(c.stderr.Fd()) || name == "" || name == "dumb" {
		return nil
	}
	p := &progress{quit: make(chan struct{}), done: make(chan struct{})}
	utf8 := !o.ASCII && utf8Terminal(c.env)
	go func() {
		defer close(p.done)
		t := time.NewTicker(progressTick)
		defer t.Stop()
		for {
			_, _ = io.WriteString(c.stderr, clearLine+progressLine(time.Since(start), span, utf8))
			select {
			case <-p.quit:
				_, _ = io.WriteString(c.stderr, clearLine)
				return
			case <-t.C:
			}
		}
	}()
	return p
}

// stop removes the bar.
func (p *progress) stop() {
	if p == nil {
		return
	}
	close(p.quit)
	within(progressTick, func() { <-p.done })
}

// progressLine is the bar after some time of a span.
func progressLine(gone, span time.Duration, utf8 bool) string {
	gone = min(max(gone, 0), span)
	full, empty := "▓", "░"
	if !utf8 {
		full, empty = "#", "."
	}
	n := int(float64(progressWidth) * float64(gone) / float64(span))
	// Rounded up: the bar says 00:01 until there is nothing left.
	left := (span - gone + time.Second - 1) / time.Second
	return fmt.Sprintf("measuring %s%s %02d:%02d left, ctrl+c reports now",
		strings.Repeat(full, n), strings.Repeat(empty, progressWidth-n), left/60, left%60)
}
