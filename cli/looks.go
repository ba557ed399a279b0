// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"reflect"
	"sync"
	"time"
	"unsafe"

	tea "github.com/charmbracelet/bubbletea"
)

const (
	// framesPerSecond is how often Bubble Tea looks for something to draw while there may be something, and
	// a key waits for that, 20 ms at most.
	framesPerSecond = 50
	// frameRest is how long after the last view it goes on looking so often.
	frameRest = 50 * time.Millisecond
	// framePause is how often it looks else: for a view that took longer than frameRest to get there.
	framePause = 400 * time.Millisecond
)

// looks lets Bubble Tea look for something to draw only while there may be something. Of itself it looks
// at fixed times, whether there is or not, and each time wakes an idle process and three of its threads.
// The zero value is ready. Its methods may be called from any goroutine.
type looks struct {
	mu     sync.Mutex
	ticker resetter // nil: it looks as often as it will
	rest   *time.Timer
	last   time.Time
	often  bool
}

// resetter is a *time.Ticker.
type resetter interface{ Reset(d time.Duration) }

// drawn is called with each view that is made.
func (f *looks) drawn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ticker == nil {
		return
	}
	f.last = time.Now()
	if f.often { // a reset would put the next look off
		return
	}
	f.often = true
	f.ticker.Reset(time.Second / framesPerSecond)
	if f.rest == nil {
		f.rest = time.AfterFunc(frameRest, f.calm)
	} else {
		f.rest.Reset(frameRest)
	}
}

// calm looks seldom again, unless there was a view meanwhile.
func (f *looks) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ticker == nil {
		return
	}
	if left := frameRest - time.Since(f.last); left > 0 {
		f.rest.Reset(left)
		return
	}
	f.often = false
	f.ticker.Reset(framePause)
}

// of takes the ticker of a program that runs: on its own goroutine, from Init on.
func (f *looks) of(p *tea.Program) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := tickerOf(p); t != nil {
		f.ticker = t
	}
}

// end leaves the ticker alone: whoever stopped it wants it to be so.
func (f *looks) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ticker = nil
	if f.rest != nil {
		f.rest.Stop()
	}
}

// tickerOf is the ticker of Bubble Tea's renderer, which it keeps to itself; nil if it is not where it was
// in v1, which changes no more.
func tickerOf(p *tea.Program) *time.Ticker {
	field := reflect.ValueOf(p).Elem().FieldByName("renderer")
	if !field.IsValid() || field.Kind() != reflect.Interface {
		return nil
	}
	r := field.Elem()
	if r.Kind() != reflect.Pointer || r.Elem().Kind() != reflect.Struct {
		return nil
	}
	t := r.Elem().FieldByName("ticker")
	if !t.IsValid() || t.Type() != reflect.TypeFor[*time.Ticker]() {
		return nil
	}
	return *(**time.Ticker)(unsafe.Pointer(t.UnsafeAddr()))
}
