// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// LogPane is the id of the pane of the kernel's log.
const LogPane ID = "log"

func logOf(s *collectors.Snapshot) *collectors.Log { return s.Log }

// Log is the pane of the kernel's log: dmesg -T, newest last.
type Log struct {
	list  list
	level uint8 // the least important level shown
}

// NewLog returns the pane, following the newest line.
func NewLog() *Log { return &Log{list: list{tail: logTime}, level: collectors.LogLevels - 1} }

// Info implements Pane.
func (p *Log) Info() Info {
	return Info{ID: LogPane, Title: "Log", Short: "Log", Help: "log", Command: "dmesg -T | tail"}
}

// Wants implements Pane: the log is read all the time.
func (p *Log) Wants(Scope) []collectors.Want { return nil }

const keyLevel = "log.level"

// Keys implements Pane.
func (p *Log) Keys() []keymap.Key {
	next := map[uint8]string{7: "warnings", collectors.LevelWarn: "errors", collectors.LevelErr: "all lines"}[p.level]
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "record", "enter").In("open the whole record with its fields"),
		keymap.New(keyLevel, "w", next, "w").In("show all lines, warnings and worse, errors and worse"),
		keymap.New(keymap.Filter, "/", "filter", "/", "\\", "f4").In("keep the lines that match, by their words or by column: level=err"),
		keymap.New(keyReset, "x", "mark", "x").In("mark as new what comes from now on; nothing is cleared"),
		keymap.New(keymap.Bottom, "G", "follow", "G").In("go to the newest line and follow it, in the order of the log"),
	}, p.list.keys()...)
}

// Update implements Pane.
func (p *Log) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.list.choose(msg.Row)
		p.level = collectors.LogLevels - 1 // the row must be among those shown
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Log) press(msg Press) Answer {
	switch msg.ID {
	case keyLevel:
		p.level = map[uint8]uint8{7: collectors.LevelWarn, collectors.LevelWarn: collectors.LevelErr, collectors.LevelErr: 7}[p.level]
	case keyReset:
		return MarkMsg{}
	case keymap.Bottom:
		p.list.restart("")
	case keymap.Open:
		row, _ := p.list.row(p.table(msg.Frame))
		for _, r := range p.leveled(msg.Frame) {
			if logRow(r) == row.ID {
				return OpenMsg{newLogPage(r)}
			}
		}
	default:
		p.list.press(msg.ID, p.table(msg.Frame))
	}
	return nil
}

func logRow(r *collectors.LogRecord) string { return strconv.FormatUint(r.Seq, 10) }

// leveled are the records of the level that is shown and worse, oldest first.
func (p *Log) leveled(f Frame) []*collectors.LogRecord {
	l := newest(f, logOf)
	if l == nil || l.Tail == nil {
		return nil
	}
	if p.level == collectors.LogLevels-1 {
		return l.Tail.Records
	}
	var out []*collectors.LogRecord
	for _, r := range l.Tail.Records {
		if r.Level <= p.level {
			out = append(out, r)
		}
	}
	return out
}

// levelName is the level as syslog(3) calls it.
func levelName(level uint8) string {
	return [...]string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}[level&7]
}

// facilityName is the facility as dmesg -x prints it.
func facilityName(n uint8) string {
	known := [...]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"}
	if int(n) < len(known) {
		return known[n]
	}
	return strconv.Itoa(int(n))
}

// logClock is when a record was written: the time alone if that was today.
func logClock(r *collectors.LogRecord, now time.Time) string {
	if r.At.IsZero() {
		return "-"
	}
	at := r.At.In(now.Location())
	s := at.Format("01-02 15:04:05")
	if y, m, d := at.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		s = at.Format("15:04:05")
	} else if y != now.Year() {
		s = at.Format("2006-01-02")
	}
	if r.Unsure {
		s += "~"
	}
	return s
}

// isNew says whether a record came since the mark, or since the run began.
func isNew(r *collectors.LogRecord, f Frame) bool {
	if f.Mark != nil && f.Mark.Snapshot != nil && f.Mark.At <= f.Now.At {
		return !r.Old && r.At.After(f.Mark.Taken)
	}
	return !r.Old
}

// logReport is how many lines of the log a report has.
const logReport = 40

// Table implements Pane. Rows are oldest first, as dmesg prints them, unless another order is chosen.
func (p *Log) Table(f Frame) Table {
	t := p.table(f)
	l := newest(f, logOf)
	if l == nil {
		why, remedy := whyNot(f, collectors.LogID, "dmesg")
		t.Notes = append(t.Notes, note("dmesg", why, remedy))
		return t
	}
	if n := len(t.Rows) - logReport; f.Span > 0 && n > 0 {
		which := "first"
		if p.list.follows() {
			which, t.Rows = "last", t.Rows[n:]
		}
		t.Notes = append(t.Notes, fmt.Sprintf("the %s %d of %d lines that are kept", which, logReport, n+logReport))
		t.Rows = t.Rows[:logReport]
	}
	t.Facts, t.Notes = append(t.Facts, logFacts(f, l)...), append(t.Notes, logNotes(l)...)
	return t
}

// table is every line of the level that is shown, in the list's order.
func (p *Log) table(f Frame) Table {
	t := Table{Title: "log", Columns: logColumns()}
	for _, r := range p.leveled(f) {
		t.Rows = append(t.Rows, logRowOf(f, r))
	}
	p.list.arrange(f, &t)
	return t
}

// Columns that the order and the colours go by.
const (
	logTime    = "time"
	logLevelAt = 1
)

func logColumns() []Column {
	return []Column{
		{ID: logTime, Title: "TIME", Width: 15, Left: true},
		{ID: "level", Title: "LEVEL", Width: 6, Left: true, Rank: 1},
		{ID: "facility", Title: "FACILITY", Width: 8, Left: true, Rank: 3},
		{ID: "seconds", Title: "SECONDS", Unit: "s", Width: 12, Decimals: 6, Hidden: true},
		{ID: "new", Title: "NEW", Width: 3, Left: true, Rank: 2},
		{ID: "about", Title: "ABOUT", Width: 20, Left: true, Hidden: true},
		{ID: "message", Title: "MESSAGE", Width: 48, Left: true},
	}
}

func logRowOf(f Frame, r *collectors.LogRecord) Row {
	fresh, at, seconds := "", Ranked(logClock(r, f.At), -float64(r.Seq)), Number(r.Since.Seconds())
	if isNew(r, f) {
		fresh = "new"
	}
	if r.At.IsZero() {
		at = Missing("the kernel's log has no times: boot with printk.time=1")
	}
	if r.Since < 0 {
		seconds = Missing("the kernel's log has no times: boot with printk.time=1")
	}
	return Row{ID: logRow(r), Cells: []Cell{
		at, Ranked(levelName(r.Level), -float64(r.Level)), Say(facilityName(r.Facility)), seconds, Say(fresh), Say(string(r.Trouble)), Name(collectors.Clean(r.Text)),
	}}
}

func logFacts(f Frame, l *collectors.Log) []Fact {
	var lines, lost uint64
	for _, x := range within(f, logOf) {
		for _, n := range x.Levels {
			lines += n
		}
		lost += x.Lost
	}
	return []Fact{
		{ID: "errors_hour", Title: "errors in the last hour", Cell: Number(float64(l.Errors))},
		{ID: "warnings_hour", Title: "warnings in the last hour", Cell: Number(float64(l.Warnings))},
		{ID: "lines", Title: "lines", Unit: "lines", Cell: Number(float64(lines))},
		{ID: "lost", Title: "overwritten before they were read", Unit: "lines", Cell: Number(float64(lost))},
	}
}

func logNotes(l *collectors.Log) []string {
	var out []string
	if l.Partial {
		out = append(out, "of the last hour only the newest lines are kept: errors and warnings are at least these")
	}
	if l.Behind {
		out = append(out, "more of the log is being read")
	}
	if l.LostTotal > 0 {
		out = append(out, fmt.Sprintf("%d lines were overwritten before they were read: boot with a larger log_buf_len", l.LostTotal))
	}
	return out
}

// Describe implements Describer: why a cell is missing, else what is not shown.
func (p *Log) Describe(f Frame) string {
	if l := newest(f, logOf); l != nil {
		return cmp.Or(p.list.why(p.table(f)), strings.Join(logNotes(l), "; "))
	}
	return ""
}
