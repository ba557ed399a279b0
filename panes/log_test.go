// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/theme"
	"github.com/charmbracelet/colorprofile"

	"bpf60/collectors"
	"bpf60/triage"
)

// logFrame is a moment with n lines in the log, a second apart and from the third day before on: of seven
// lines one is an error, one a warning.
func logFrame(n int) Frame {
	log := &collectors.Log{Tail: &collectors.LogTail{}}
	for i := range n {
		log.Tail.Records = append(log.Tail.Records, &collectors.LogRecord{
			Seq: uint64(i + 1), At: began.Add(time.Duration(i)*time.Second - 72*time.Hour), Old: i%2 == 0,
			Level: map[int]uint8{3: collectors.LevelErr, 5: collectors.LevelWarn}[i%7] + map[bool]uint8{true: 6}[i%7 != 3 && i%7 != 5],
			Text:  collectors.RawString(fmt.Sprintf("line %03d", i+1)),
		})
	}
	f := Frame{At: began}
	f.Now = triage.Moment{Snapshot: &collectors.Snapshot{Log: log}}
	f.Past = []triage.Moment{f.Now}
	return f
}

// logKeys presses keys in the pane and returns the row under its cursor and those of the table.
func logKeys(p *Log, f Frame, keys ...string) (row string, rows []string) {
	for _, k := range keys {
		p.Update(Press{ID: k, Frame: f})
	}
	t := p.table(f)
	r, _ := p.list.row(t)
	for _, r := range t.Rows {
		rows = append(rows, r.ID)
	}
	return r.ID, rows
}

// The cursor follows the newest line in the log's own order, and stays with the first line in any other.
func TestLogFollows(t *testing.T) {
	for name, tt := range map[string]struct {
		keys   []string
		before string // the row under the cursor of ten lines
		after  string // and when twelve more have come
	}{
		"at first":              {nil, "10", "22"},
		"moved":                 {[]string{"up", "up"}, "8", "8"},
		"back at the end":       {[]string{"up", "up", "down", "down"}, "10", "22"},
		"the first":             {[]string{"top"}, "1", "1"},
		"G":                     {[]string{"top", "bottom"}, "10", "22"},
		"newest first":          {[]string{keyReverse}, "10", "22"},
		"newest first, moved":   {[]string{keyReverse, "down"}, "9", "9"},
		"worst first":           {[]string{keyChoose + "10", "later", "later", keySort, "top"}, "4", "4"},
		"worst first, then G":   {[]string{"later", "later", keySort, "bottom"}, "10", "22"},
		"by time":               {[]string{keySortRight}, "10", "22"},
		"by time, newest first": {[]string{keySortRight, keyReverse}, "10", "22"},
		"chosen":                {[]string{keyChoose + "7"}, "7", "7"},
	} {
		p := NewLog()
		if got, _ := logKeys(p, logFrame(10), tt.keys...); got != tt.before {
			t.Errorf("%s: the cursor is on %s, want %s", name, got, tt.before)
		}
		if got, _ := logKeys(p, logFrame(22)); got != tt.after {
			t.Errorf("%s: when more have come the cursor is on %s, want %s", name, got, tt.after)
		}
	}
}

// Every column sorts: times by the order in which the lines came, levels by how bad they are.
func TestLogSorts(t *testing.T) {
	for name, tt := range map[string]struct {
		column string
		up     bool
		most   string // the first rows
	}{
		"time":         {column: "time", most: "1 2 3"},
		"newest first": {column: "time", up: true, most: "22 21 20"},
		"level":        {column: "level", most: "4 11 18 6 13 20 1"},
		"least level":  {column: "level", up: true, most: "1 2 3"},
		"seconds":      {column: "seconds", most: "1 2 3"}, // none is known: the log's own order
		"new":          {column: "new", up: true, most: "2 4 6"},
		"message":      {column: "message", up: true, most: "22 21 20"},
		"facility":     {column: "facility", most: "1 2 3"},
		"about":        {column: "about", most: "1 2 3"},
	} {
		p := NewLog()
		p.list.sort, p.list.up = tt.column, tt.up
		f := logFrame(22)
		for _, r := range f.Now.Log.Tail.Records {
			r.Since = -1
		}
		_, rows := logKeys(p, f)
		if got := strings.Join(rows, " "); !strings.HasPrefix(got, tt.most) || len(rows) != 22 {
			t.Errorf("%s: the rows are %s, want %s … first", name, got, tt.most)
		}
	}
	for _, c := range logColumns() {
		if got, _ := explain("log", "log", c); len(got) == 0 {
			t.Errorf("help says nothing of the column %s", c.ID)
		}
	}
}

// A report has the end of the log, in whatever order; one by level the worst.
func TestLogReport(t *testing.T) {
	f := logFrame(100)
	f.Span = time.Hour
	p := NewLog()
	ids := func() (out []string) {
		for _, r := range p.Table(f).Rows {
			out = append(out, r.ID)
		}
		return out
	}
	if got := ids(); len(got) != logReport || got[0] != "61" || got[logReport-1] != "100" {
		t.Errorf("the report has %q, want 61 to 100", got)
	}
	p.list.sort = "level"
	if got := ids(); len(got) != logReport || got[0] != "4" || !slices.Contains(got, "95") {
		t.Errorf("the report by level has %q, want the errors from 4 to 95 first", got)
	}
	p.list.sort, p.level = "", collectors.LevelErr
	if got := ids(); len(got) != 14 || got[0] != "4" {
		t.Errorf("the report of errors has %q, want the 14 from 4 on", got)
	}
}

// Lines of errors and warnings have their colours.
func TestLogColours(t *testing.T) {
	dark := theme.New("dark", colorprofile.ANSI256)
	for level := range uint8(8) {
		want := theme.Style{}
		switch {
		case level <= 3:
			want = dark.Crit
		case level == 4:
			want = dark.Warn
		}
		row := logRowOf(frames()["busy"], &collectors.LogRecord{Level: level})
		if got := logStyle(dark, row); got != want {
			t.Errorf("a line of level %d has the style %q, want %q", level, got.On(), want.On())
		}
	}
}

// The screen draws how many warnings each sample brought, and sorts by keys, by :sort and by the mouse.
func TestLogScreen(t *testing.T) {
	r := resize(fixture("busy"), 80, 24)
	press(r, ":", "l", "o", "g", "enter")
	sees(t, r, "the pane", "warnings and worse ▁", "following", "TIME            LEVEL  NEW MESSAGE")
	press(r, "right", "right", "s")
	sees(t, r, "sorted by level", "↓LEVEL", ">06:26:00        err ")
	if strings.Contains(r.View(), "following") {
		t.Errorf("sorted by level the pane says that it follows:\n%s", r.View())
	}
	press(r, "G")
	sees(t, r, "G", "following")
	press(r, ":", "s", "o", "r", "t", " ", "m", "e", "s", "enter")
	sees(t, r, ":sort", "↓MESSAGE")
	press(r, "C")
	sees(t, r, "C", "columns: Log", "[ ] ABOUT", "[x] MESSAGE ↓")

	c := resize(root(frames()["busy"], func(cfg *Config) {
		cfg.Columns = map[string]Columns{"log": {Show: []string{"level", "about", "message"}, Sort: "level"}}
	}), 80, 24)
	press(c, ":", "l", "o", "g", "enter")
	sees(t, c, "[columns.log]", "↓LEVEL  ABOUT")
}
