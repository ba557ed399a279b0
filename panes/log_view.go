// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// View implements Pane: how much went wrong of late, and the lines.
func (p *Log) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	l := newest(f, logOf)
	if l == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "log")}
		return fit(append(lines, missingPart(f, c, collectors.LogID, "dmesg", "the kernel's log")...), c.Height)
	}
	t := p.table(f)
	lines := []string{p.title(f, c, l, len(t.Rows))}
	if c.Height >= smallHeight {
		lines = append(lines, logStrip(f, c))
	}
	style := func(r Row) theme.Style { return logStyle(c.Theme, r) }
	lines = append(lines, p.list.draw(c, t, c.Height-len(lines), listOptions{Style: style})...)
	if len(t.Rows) == 0 {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, p.nothing(l)).String())
	}
	return fit(lines, c.Height)
}

// nothing says why there is no line.
func (p *Log) nothing(l *collectors.Log) string {
	if p.level < collectors.LogLevels-1 && len(l.Tail.Records) > 0 {
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
	if p.level < collectors.LogLevels-1 {
		parts = append(parts, levelName(p.level)+" and worse: "+strconv.Itoa(n))
	}
	if l.LostTotal > 0 {
		parts = append(parts, "L"+widget.Count(l.LostTotal))
	}
	if p.list.selected == "" && p.list.follows() {
		parts = append(parts, "following")
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// logStrip draws how many warnings and errors each sample brought, and the most of those in sight.
func logStrip(f Frame, c Canvas) string {
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "warnings and worse ")
	const tail = 20 // for what the highest stands for
	values := logWarnings(f, max(l.Left()-tail, 0))
	top := most(values)
	l.Put(c.Theme.Accent, widget.Spark(values, len(values), 0, max(top, 1)))
	if top == 0 {
		return l.Put(c.Theme.Dim, fmt.Sprintf(" none in %d samples", len(values))).String()
	}
	return l.Put(c.Theme.Dim, " most "+widget.Count(uint64(top))+" a sample").String()
}

// logStyle is the style of a line's row.
func logStyle(t theme.Theme, r Row) theme.Style {
	return levelStyle(t, uint8(-r.Cells[logLevelAt].num))
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
