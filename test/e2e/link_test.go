// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A line of 9,600 bytes a second whose round trip takes 300 ms.
const (
	linkRate = 9600 // bytes a second
	linkTrip = 300 * time.Millisecond
)

// slowLine hands the bytes of a terminal on as a slow line does. What the program has written and the line
// has not taken stays in the kernel's buffer, which is small: the program feels it.
type slowLine struct {
	arrive chan parcel
}

type parcel struct {
	at time.Time
	b  []byte
}

// newSlowLine starts a line that delivers to deliver, until close.
func newSlowLine(deliver func([]byte)) *slowLine {
	l := &slowLine{arrive: make(chan parcel, linkRate)}
	go func() {
		for p := range l.arrive {
			time.Sleep(time.Until(p.at))
			deliver(p.b)
		}
	}()
	return l
}

// send takes as long as the line needs for b.
func (l *slowLine) send(b []byte) {
	time.Sleep(time.Duration(len(b)) * time.Second / linkRate)
	l.arrive <- parcel{time.Now().Add(linkTrip / 2), append([]byte(nil), b...)}
}

func (l *slowLine) close() { close(l.arrive) }

// clock is the triage clock of the header, in seconds since the start.
var clock = regexp.MustCompile(`(\d\d):(\d\d)(/60s|  60s done)`)

// behind is how many seconds the clock on the screen is behind the program's.
func (p *player) behind() (time.Duration, bool) {
	m := clock.FindStringSubmatch(p.text())
	if m == nil {
		return 0, false
	}
	minutes, _ := strconv.Atoi(m[1])
	seconds, _ := strconv.Atoi(m[2])
	return time.Since(p.started) - time.Duration(60*minutes+seconds)*time.Second, true
}

// TestSlowLine types over a line of 9.6 kB/s and 300 ms: every key counts, the screen answers, and what
// it shows is never old, because frames that the line has no room for are left out.
func TestSlowLine(t *testing.T) {
	const slack = 2 * time.Second // of a busy machine
	p := play{slow: true}.start(t, binary())
	p.see("60 seconds", wholeScreen)
	t.Logf("first screen after %v", p.firstScreen().Round(time.Millisecond))

	worst := time.Duration(0)
	look := func() {
		if d, ok := p.behind(); ok {
			worst = max(worst, d)
		}
	}
	type1 := func(keys string, every time.Duration) {
		for _, k := range strings.Split(keys, "") {
			time.Sleep(every)
			p.send(k)
			look()
		}
	}
	answer := func(what string, words ...string) {
		began := time.Now()
		p.see(words...)
		took := time.Since(began)
		t.Logf("%s: seen %v after the last key", what, took.Round(time.Millisecond))
		// Two screens may be under way when the key comes, of 2 kB each.
		if most := linkTrip + time.Second + slack; took > most {
			t.Errorf("%s: seen after %v, want at most %v", what, took, most)
		}
	}
	type1("234567654323", 150*time.Millisecond)
	answer("a dozen panes", "[3 Proc]")
	type1("2", 0)
	answer("one pane", "[2 CPU]")
	type1(":network", 40*time.Millisecond)
	answer("a word", ":network")
	type1("\r", 0)
	answer("Enter", "[6 Net]")
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		look()
	}
	t.Logf("the clock was at most %v behind; %d bytes in %v", worst.Round(100*time.Millisecond), len(p.bytes()), time.Since(p.started).Round(time.Second))
	// A second is the clock's own step, another the interval.
	if most := 2*time.Second + linkTrip + time.Second + slack; worst > most {
		t.Errorf("the screen was %v behind, want at most %v", worst, most)
	}
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}
