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
	progressWidth = 30 // of the bar, where there is room
	progressLeast = 5
	progressTick  = 250 * time.Millisecond
	clearLine     = "\r\x1b[K"
)

// progress is the bar on stderr. It lives on a goroutine of its own, so that a terminal that takes
// nothing does not hold up the report.
type progress struct {
	quit, done chan struct{}
}

// progress starts a bar if stderr is a terminal that can move its cursor.
// Doing and end say what is done, and how to end it early.
func (c *commands) progress(o options, doing, end string, start time.Time, span time.Duration) *progress {
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
		shown := ""
		for {
			width, _, err := term.GetSize(c.stderr.Fd())
			if err != nil || width <= 0 {
				width = 80
			}
			if line := progressLine(doing, end, time.Since(start), span, width, utf8); line != shown {
				_, _ = io.WriteString(c.stderr, clearLine+line)
				shown = line
			}
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

// progressLine is the bar after some time of a span, in less than width cells: a line that reaches the
// edge could not be cleared. Where it is narrow the hint goes first, then the bar, then what is done.
func progressLine(doing, end string, gone, span time.Duration, width int, utf8 bool) string {
	gone = min(max(gone, 0), span)
	full, empty := "▓", "░"
	if !utf8 {
		full, empty = "#", "."
	}
	// Rounded up: the bar says 00:01 until there is nothing left.
	left := (span - gone + time.Second - 1) / time.Second
	clock := fmt.Sprintf("%02d:%02d left", left/60, left%60)
	if left >= 3600 {
		clock = fmt.Sprintf("%d:%02d:%02d left", left/3600, left/60%60, left%60)
	}
	room := width - 1 - len(doing) - len(clock) - 2
	if room >= progressLeast+2+len(end) {
		clock += ", " + end
		room -= 2 + len(end)
	}
	if room < progressLeast {
		if len(doing)+1+len(clock) < width {
			clock = doing + " " + clock
		}
		return clock[:min(len(clock), max(width-1, 0))]
	}
	cells := min(room, progressWidth)
	n := int(float64(cells) * float64(gone) / float64(span))
	return doing + " " + strings.Repeat(full, n) + strings.Repeat(empty, cells-n) + " " + clock
}
