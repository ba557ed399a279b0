// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"sync"
	"time"
)

// A line of 9,600 bytes a second whose round trip takes 300 ms.
const (
	lineRate = 9600 // bytes a second
	lineTrip = 300 * time.Millisecond
)

// line carries a terminal's bytes slowly. What it has not taken yet stays in the kernel's buffer, and the
// program feels that.
type line struct {
	keys chan keyed

	mu   sync.Mutex
	sent []sent
}

// keyed are keys on their way.
type keyed struct {
	at   time.Time
	keys string
	to   io.Writer
}

// sent is a piece that the line had taken at a time.
type sent struct {
	at time.Time
	n  int
}

// line is the line to the terminal while a host is in trouble; nil if it is none worth naming.
func (t trouble) line() *line {
	if !t.slow {
		return nil
	}
	l := &line{keys: make(chan keyed, 64)}
	go func() {
		for k := range l.keys { // as long as this program lives
			time.Sleep(time.Until(k.at))
			_, _ = io.WriteString(k.to, k.keys)
		}
	}()
	return l
}

// carry returns what takes the bytes of a program, as fast as the line does, and shows them half a trip later.
func (l *line) carry(show func([]byte, error)) func([]byte, error) {
	type piece struct {
		at  time.Time
		b   []byte
		err error
	}
	under := make(chan piece, lineRate)
	go func() {
		for p := range under {
			time.Sleep(time.Until(p.at))
			show(p.b, p.err)
		}
	}()
	return func(b []byte, err error) {
		time.Sleep(time.Duration(len(b)) * time.Second / lineRate)
		now := time.Now()
		l.mu.Lock()
		l.sent = append(l.sent, sent{now, len(b)})
		l.mu.Unlock()
		under <- piece{now.Add(lineTrip / 2), append([]byte(nil), b...), err}
		if err != nil {
			close(under)
		}
	}
}

// press sends keys, which arrive half a trip later.
func (l *line) press(to io.Writer, keys string) {
	l.keys <- keyed{time.Now().Add(lineTrip / 2), keys, to}
}

// busy is how long the line needed for what it took between two times.
func (l *line) busy(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.sent {
		if s.at.After(from) && !s.at.After(to) {
			n += s.n
		}
	}
	return time.Duration(n) * time.Second / lineRate
}

// moment is when somebody began to wait at a terminal.
type moment struct {
	at time.Time
	l  *line
}

func (p *player) mark() moment { return moment{time.Now(), p.line} }

// begun is when the program began, as if a key had been sent for it.
func (p *player) begun() moment {
	if p.line == nil {
		return moment{p.started, nil}
	}
	return moment{p.started.Add(-lineTrip / 2), p.line}
}

// took is how many milliseconds the program took until its answer was seen: without the trip, and without
// what the line needed meanwhile for the bytes, the answer's and those before it.
func (m moment) took(seen time.Time) float64 {
	d := seen.Sub(m.at)
	if m.l != nil {
		d -= lineTrip
		d -= m.l.busy(m.at.Add(lineTrip/2), seen.Add(-lineTrip/2))
	}
	return ms(max(d, 0))
}
