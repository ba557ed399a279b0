// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// LogPane is the id of the pane of the kernel's log.
const LogPane ID = "log"

func logOf(s *collectors.Snapshot) *collectors.Log { return s.Log }

// Log is the pane of the kernel's log: dmesg -T, newest last.
type Log struct {
	selected string // row ID; empty: it follows the newest
	level    uint8  // the least important level shown
}

// NewLog returns the pane, following the newest line.
func NewLog() *Log { return &Log{level: collectors.LogLevels - 1} }

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
	return []keymap.Key{
		keymap.New(keymap.Open, "Enter", "record", "enter").In("open the whole record with its fields"),
		keymap.New(keyLevel, "w", next, "w").In("show all lines, warnings and worse, errors and worse"),
		keymap.New(keyReset, "x", "mark", "x").In("mark as new what comes from now on; nothing is cleared"),
		keymap.New(keymap.Bottom, "G", "follow", "G").In("go to the newest line and follow it"),
	}
}

// Update implements Pane.
func (p *Log) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.selected = msg.Row
		p.level = collectors.LogLevels - 1 // the row must be among those shown
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Log) press(msg Press) tea.Cmd {
	rows := p.records(msg.Frame)
	switch msg.ID {
	case keyLevel:
		p.level = map[uint8]uint8{7: collectors.LevelWarn, collectors.LevelWarn: collectors.LevelErr, collectors.LevelErr: 7}[p.level]
	case keyReset:
		return send(MarkMsg{})
	case keymap.Open:
		if i := p.at(rows); i >= 0 {
			return send(OpenMsg{newLogPage(rows[i])})
		}
	default:
		ids := make([]string, len(rows))
		for i, r := range rows {
			ids[i] = logRow(r)
		}
		if i := p.at(rows); i >= 0 {
			p.selected = move(msg.ID, ids, ids[i])
			if p.selected == ids[len(ids)-1] {
				p.selected = ""
			}
		}
	}
	return nil
}

func logRow(r *collectors.LogRecord) string { return strconv.FormatUint(r.Seq, 10) }

// records are those the pane shows, oldest first.
func (p *Log) records(f Frame) []*collectors.LogRecord {
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

// at is the index of the line the cursor is on: the newest, unless one is chosen and still there.
func (p *Log) at(rows []*collectors.LogRecord) int {
	if p.selected != "" {
		if i := slices.IndexFunc(rows, func(r *collectors.LogRecord) bool { return logRow(r) == p.selected }); i >= 0 {
			return i
		}
	}
	return len(rows) - 1
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

// logTime is when a record was written: the time alone if that was today.
func logTime(r *collectors.LogRecord, now time.Time) string {
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

// Table implements Pane. Rows are oldest first, as dmesg prints them.
func (p *Log) Table(f Frame) Table {
	t := Table{Title: "log", Columns: []Column{
		{ID: "time", Title: "TIME", Width: 15, Left: true},
		{ID: "level", Title: "LEVEL", Width: 6, Left: true},
		{ID: "facility", Title: "FACILITY", Width: 8, Left: true, Rank: 2},
		{ID: "seconds", Title: "SECONDS", Unit: "s", Width: 12, Decimals: 6, Hidden: true},
		{ID: "new", Title: "NEW", Width: 3, Left: true, Hidden: true},
		{ID: "about", Title: "ABOUT", Width: 20, Left: true, Hidden: true},
		{ID: "message", Title: "MESSAGE", Width: 20, Left: true},
	}}
	l := newest(f, logOf)
	if l == nil {
		why, remedy := whyNot(f, collectors.LogID, "dmesg")
		t.Notes = append(t.Notes, note("dmesg", why, remedy))
		return t
	}
	rows := p.records(f)
	if f.Span > 0 && len(rows) > logReport {
		t.Notes = append(t.Notes, fmt.Sprintf("the last %d of %d lines that are kept", logReport, len(rows)))
		rows = rows[len(rows)-logReport:]
	}
	for _, r := range rows {
		fresh, at, seconds := "", Say(logTime(r, f.At)), Number(r.Since.Seconds())
		if isNew(r, f) {
			fresh = "new"
		}
		if r.At.IsZero() {
			at = Missing("the kernel's log has no times: boot with printk.time=1")
		}
		if r.Since < 0 {
			seconds = Missing("the kernel's log has no times: boot with printk.time=1")
		}
		t.Rows = append(t.Rows, Row{ID: logRow(r), Cells: []Cell{
			at, Say(levelName(r.Level)), Say(facilityName(r.Facility)), seconds, Say(fresh), Say(string(r.Trouble)), Name(collectors.Clean(r.Text)),
		}})
	}
	t.Facts, t.Notes = append(t.Facts, logFacts(f, l)...), append(t.Notes, logNotes(l)...)
	return t
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

// Describe implements Describer: what is not shown.
func (p *Log) Describe(f Frame) string {
	if l := newest(f, logOf); l != nil {
		return strings.Join(logNotes(l), "; ")
	}
	return ""
}

// View implements Pane.
func (p *Log) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	l := newest(f, logOf)
	if l == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "log")}
		return fit(append(lines, missingPart(f, c, collectors.LogID, "dmesg", "the kernel's log")...), c.Height)
	}
	rows := p.records(f)
	lines := []string{p.title(f, c, l, len(rows)), p.heads(c)}
	room := c.Height - len(lines)
	at := p.at(rows)
	first := max(len(rows)-room, 0)
	if at >= 0 && at < first {
		first = max(at-room/2, 0)
	}
	if len(rows) == 0 {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, p.nothing(l)).String())
	}
	for i := first; i < len(rows) && len(lines) < c.Height; i++ {
		lines = append(lines, p.line(f, c, rows[i], i == at))
	}
	return fit(lines, c.Height)
}

func (p *Log) nothing(l *collectors.Log) string {
	if p.level < 7 && len(l.Tail.Records) > 0 {
		return fmt.Sprintf("none of the last %d lines is %s or worse; w shows all", len(l.Tail.Records), levelName(p.level))
	}
	return "the kernel's log is empty"
}

func (p *Log) title(f Frame, c Canvas, l *collectors.Log, n int) string {
	parts := []string{"log", fmt.Sprintf("last hour: %d err, %d warn", l.Errors, l.Warnings)}
	if l.Partial {
		parts[1] = fmt.Sprintf("last hour: at least %d err, %d warn", l.Errors, l.Warnings)
	}
	fresh := 0
	for _, r := range l.Tail.Records {
		if isNew(r, f) {
			fresh++
		}
	}
	since := "start"
	if f.Mark != nil && f.Mark.Snapshot != nil {
		since = f.Mark.Taken.Format("15:04:05")
	}
	parts = append(parts, fmt.Sprintf("%d new since %s", fresh, since))
	if p.level < 7 {
		parts = append(parts, levelName(p.level)+" and worse: "+strconv.Itoa(n))
	}
	if l.LostTotal > 0 {
		parts = append(parts, "L"+widget.Count(l.LostTotal))
	}
	if p.selected == "" {
		parts = append(parts, "following")
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// Columns of the pane, by cell.
const (
	logLevelAt  = 18
	logSmall    = 60 // below this width level and facility are left out: the message is all
	logMessage  = 25
	logFacility = 25
)

func (p *Log) heads(c Canvas) string {
	l := widget.NewLine(c.Width).Skip(2)
	l.Put(c.Theme.Dim, "TIME")
	if c.Width < logSmall {
		return l.To(12).Put(c.Theme.Dim, "MESSAGE").String()
	}
	l.To(logLevelAt).Put(c.Theme.Dim, "LEVEL")
	if c.Width >= 100 {
		l.To(logFacility).Put(c.Theme.Dim, "FACILITY").To(logFacility + 9)
	}
	return l.To(max(l.Width(), logMessage)).Put(c.Theme.Dim, "MESSAGE").String()
}

// line draws one record: what it is about before its words, where it is a known trouble.
func (p *Log) line(f Frame, c Canvas, r *collectors.LogRecord, selected bool) string {
	l := widget.NewLine(c.Width)
	style := levelStyle(c.Theme, r.Level)
	if selected {
		style = c.Theme.Focus
		l.Put(c.Theme.Accent, ">")
	}
	if l.To(1); isNew(r, f) {
		l.Put(c.Theme.Accent, "*")
	}
	l.To(2)
	if c.Width < logSmall { // the time alone; the date is on the record's page
		at := logTime(r, f.At)
		if i := strings.IndexByte(at, ' '); i > 0 {
			at = at[:i]
		}
		l.Put(c.Theme.Dim, at).To(12)
	} else {
		l.Put(c.Theme.Dim, logTime(r, f.At)).To(logLevelAt).Put(style, levelName(r.Level))
		if c.Width >= 100 {
			l.To(logFacility).Put(c.Theme.Dim, widget.Clip(facilityName(r.Facility), 8)).To(logFacility + 9)
		}
		l.To(max(l.Width(), logMessage))
	}
	return l.Put(style, widget.ClipWords(clean(r.Text), l.Left())).String()
}

func levelStyle(t theme.Theme, level uint8) theme.Style {
	switch {
	case level <= collectors.LevelErr:
		return t.Crit
	case level == collectors.LevelWarn:
		return t.Warn
	}
	return theme.Style{}
}
