// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LogID is the collector of the kernel's log.
const LogID ID = "log"

// Bounds of the log.
const (
	maxLogNew    = 200 // records of one sample; more are counted
	maxLogRecent = 500 // records that are kept
	logWindow    = time.Hour
)

// LogLevels is how many levels there are: emerg alert crit err warn notice info debug.
const LogLevels = 8

// The levels that matter here.
const (
	LevelErr  = 3 // and below: errors
	LevelWarn = 4
)

// LogRecord is one message of the kernel's log. It is shared by all samples that hold it, and
// never written.
type LogRecord struct {
	Seq      uint64        // in /dev/kmsg; of our own counting elsewhere
	Since    time.Duration // since boot, on the kernel's clock; negative: not stamped
	At       time.Time     // wall clock: computed, see Unsure; zero if unknown
	Unsure   bool          // the host has slept since, or its clocks drift apart: At may be early
	Old      bool          // it was there before the run began
	Level    uint8         // 0 emerg … 7 debug
	Facility uint8         // 0 kern, 1 user, 3 daemon, …
	Text     Raw
	Fields   []Raw   // KEY=VALUE, as drivers attach it
	Trouble  Trouble // what it is about, for messages of the kernel itself; "" for none of the known
}

// LogTail is the end of the log as it was at some moment, oldest first. It is not written.
type LogTail struct{ Records []*LogRecord }

// Log is the kernel's log over the span.
type Log struct {
	Span
	New    []*LogRecord      // of the span, oldest first, at most 200
	Levels [LogLevels]uint64 // how many of the span, by level
	// Unlisted is how many records of the span New lacks; they are in Levels. Lost is how many the
	// kernel overwrote before they were read.
	Unlisted, Lost uint64

	// Tail is the newest 500 records, those from before the run among them. Samples share it until
	// a record comes.
	Tail *LogTail `record:"must"`
	// Warnings and Errors count records of the last hour by Since: of level warn, and of err and
	// worse. Those that have left Tail are not counted; Partial says that there are some.
	Warnings, Errors int
	Partial          bool
	Behind           bool // more is to be read: the log was long, or is written faster than read

	LostTotal uint64 // since the run began
	Source    string // "/dev/kmsg" or "syslog(2)"
}

func (l *Log) put(s *Snapshot) { s.Log = l }

// rare: a record is new in one sample only, be it the first.
func (l *Log) rare() bool { return len(l.New) > 0 || l.Unlisted > 0 || l.Lost > 0 }

func (l *Log) size() int {
	n := allocSize(unsafe.Sizeof(*l)) + sliceSize(l.New)
	for _, r := range l.New {
		n += allocSize(unsafe.Sizeof(*r)) + allocSize(uintptr(len(r.Text.s))) + sliceSize(r.Fields)
		for _, f := range r.Fields {
			n += allocSize(uintptr(len(f.s)))
		}
	}
	return n
}

// logSource gives records in their order.
type logSource interface {
	open() error
	// next calls each with every record that has come, at most n, and returns how many were
	// overwritten unread and whether there are more.
	next(ctx context.Context, n int, each func(kmsgRecord)) (lost uint64, more bool, err error)
	name() string
	close() error
}

type logCollector struct {
	sources []logSource // best first
	use     int
	refused error // why the better one is not in use

	rules  []troubleRule
	clock  func() (wall time.Time, mono, asleep time.Duration)
	recent []*LogRecord
	tail   *LogTail // what samples share
	grown  bool     // recent has more than tail
	cut    bool     // records have left recent
	cont   bool     // the last record may go on

	began  time.Duration // monotonic, when the run began
	read   time.Duration // monotonic, of the last read
	skew   time.Duration // how far the kernel's local clock is ahead of the monotonic one
	caught bool          // everything that was there at the start has been read
	seen   uint64
	lost   uint64
	last   time.Duration
	begun  bool
	err    error
}

// NewLog returns the collector of Log: /dev/kmsg, or syslog(2) where that cannot be opened.
func NewLog(fs FS) Collector {
	return newLog(&kmsgSource{path: fs.devPath("kmsg")}, &syslogSource{})
}

func newLog(sources ...logSource) *logCollector {
	return &logCollector{sources: sources, use: len(sources), rules: troubleRules(), clock: logClock}
}

// logClock reads the wall clock, the monotonic one, and for how long the host has been suspended.
func logClock() (wall time.Time, mono, slept time.Duration) {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		mono = time.Duration(ts.Nano())
	}
	return time.Now().Round(0), mono, asleep()
}

func (c *logCollector) Meta() Meta { return Meta{ID: LogID} }

func (c *logCollector) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.begun, c.caught, c.cut, c.cont, c.err, c.refused = false, false, false, false, nil, nil
	c.recent, c.tail, c.grown, c.seen, c.lost, c.skew = nil, nil, false, 0, 0, 0
	_, c.began, _ = c.clock()
	c.read = c.began
	for c.use = range c.sources {
		err := c.sources[c.use].open()
		if err == nil {
			return nil
		}
		if c.refused == nil {
			c.refused = err
		}
	}
	c.use = len(c.sources)
	return c.refused
}

// Collect reads what has come. A long log takes several calls: each reads a bounded part.
func (c *logCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if !c.begun {
		c.begun, c.last = true, now
	}
	l := &Log{Span: Span{c.last, now}, Source: c.sources[c.use].name()}
	wall, mono, slept := c.clock()
	part := maxLogNew * 5
	if !c.caught {
		part = 4096 // 5 ms
	}
	lost, more, err := c.sources[c.use].next(ctx, part, func(r kmsgRecord) { c.take(l, r, wall, mono, slept) })
	if c.err = err; err != nil {
		return nil, fmt.Errorf("reading %s: %w", l.Source, err)
	}
	if c.caught || !more { // what was overwritten before we came is nobody's loss
		if c.caught {
			l.Lost = lost
		}
		c.caught = true
	}
	c.lost += l.Lost
	l.Behind, l.LostTotal = more, c.lost
	c.shorten(l)
	c.countHour(l, mono)
	c.last, c.read = now, mono
	return l, nil
}

// take adds one record to the sample.
func (c *logCollector) take(l *Log, r kmsgRecord, wall time.Time, mono, slept time.Duration) {
	c.seen++
	x := &LogRecord{
		Seq: r.Seq, Since: r.Time, Level: uint8(r.Prio & 7), Facility: uint8(min(r.Prio>>3, 255)),
		Text: RawString(string(r.Text)), Old: !c.caught && (r.Time < 0 || r.Time-c.skew < c.began),
	}
	for _, f := range r.Fields {
		x.Fields = append(x.Fields, RawString(string(f)))
	}
	if goesOn := r.Flag == '+' && c.cont && len(c.recent) > 0; goesOn {
		// A new record in the place of the last: samples that have that one keep it.
		was := *c.recent[len(c.recent)-1]
		was.Text = RawString(was.Text.s + x.Text.s)
		if n := len(l.New); n > 0 && l.New[n-1] == c.recent[len(c.recent)-1] {
			l.New[n-1] = &was
		}
		c.grown = true
		c.recent = append(slices.Clone(c.recent[:len(c.recent)-1]), &was)
		return
	}
	c.cont = r.Flag == 'c' || r.Flag == '+'
	if x.Facility == 0 {
		x.Trouble = troubleOf(c.rules, x.Text.s)
	}
	c.stamp(x, wall, mono, slept)
	if !x.Old {
		l.Levels[x.Level]++
	}
	switch {
	case x.Old:
	case len(l.New) < maxLogNew:
		l.New = append(l.New, x)
	default:
		l.Unlisted++
	}
	c.grown = true
	c.recent = append(c.recent, x)
}

// stamp computes when a record was written. The kernel's local clock stands still in suspend, and
// drifts from the monotonic clock, which is corrected from the network: by a minute in a month. A
// record that comes while we read is at most as old as the last reading; that tells the drift.
func (c *logCollector) stamp(x *LogRecord, wall time.Time, mono, slept time.Duration) {
	if x.Since < 0 {
		if !x.Old {
			x.At, x.Unsure = wall, false
		}
		return
	}
	at := x.Since - c.skew
	if !x.Old {
		switch {
		case at > mono:
			c.skew += at - mono
		case at < c.read && c.caught:
			c.skew -= c.read - at
		}
		at = x.Since - c.skew
	}
	x.At = wall.Add(at - mono)
	x.Unsure = x.Old && slept > time.Second
}

// shorten bounds what is kept, and hands it to the sample. A slice that a sample has is not
// written again.
func (c *logCollector) shorten(l *Log) {
	if n := len(c.recent) - maxLogRecent; n > 0 {
		c.recent, c.cut = c.recent[n:], true
	}
	if c.grown || c.tail == nil {
		c.recent = slices.Clone(c.recent)
		c.tail = &LogTail{slices.Clip(c.recent)}
	}
	l.Tail, c.grown = c.tail, false
}

// countHour counts what is an hour old at most.
func (c *logCollector) countHour(l *Log, mono time.Duration) {
	l.Partial = c.cut
	for _, r := range slices.Backward(c.recent) {
		if r.Since >= 0 && mono-(r.Since-c.skew) > logWindow {
			l.Partial = false
			break
		}
		switch {
		case r.Since < 0 && r.Old: // of unknown age
		case r.Level <= LevelErr:
			l.Errors++
		case r.Level == LevelWarn:
			l.Warnings++
		}
	}
}

func (c *logCollector) Probes() []Probe {
	p := Probe{Name: "dmesg", State: Warming, Reason: "not read yet", Hook: "/dev/kmsg", Events: c.seen, Lost: c.lost}
	if c.use < len(c.sources) {
		p.Hook = c.sources[c.use].name()
		p.State, p.Reason = stateOf(c.begun, c.err)
		if p.State == On && c.use > 0 {
			p.State, p.Reason = Degraded, "no fields, every 5 s: "+plain(c.refused.Error())
			var need *NeedError
			if errors.As(c.refused, &need) {
				p.Remedy = need.Remedy
			}
		}
	}
	return []Probe{p}
}

func (c *logCollector) Close() error {
	c.begun = false
	if c.use >= len(c.sources) {
		return nil
	}
	err := c.sources[c.use].close()
	c.use = len(c.sources)
	return err
}
