// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// logPage is one record of the log, whole.
type logPage struct {
	record *collectors.LogRecord
	scroll int
}

func newLogPage(r *collectors.LogRecord) *logPage { return &logPage{record: r} }

// Info implements Pane.
func (p *logPage) Info() Info {
	name := fmt.Sprintf("record %d", p.record.Seq)
	return Info{ID: ID("log" + logRow(p.record)), Title: name, Short: name, Help: "log"}
}

// Wants implements Pane.
func (p *logPage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *logPage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("this is the whole record"),
	}
}

// Update implements Pane.
func (p *logPage) Update(msg tea.Msg) Answer {
	if press, ok := msg.(Press); ok {
		p.scroll = moveTo(press.ID, p.scroll, 1+len(p.record.Fields)+len(p.record.Text.Bytes())/20)
	}
	return nil
}

// facts are the record's parts by name.
func (p *logPage) facts(f Frame) [][2]string {
	r := p.record
	at, age := "-", "-"
	if !r.At.IsZero() {
		at = r.At.In(f.At.Location()).Format("2006-01-02 15:04:05.000 MST")
		age = widget.Age(f.At.Sub(r.At)) + " ago"
		if r.Unsure {
			at += "  ~ the host has slept since: it may be later"
		}
	}
	boot := "-"
	if r.Since >= 0 {
		boot = fmt.Sprintf("%.6f s after boot", r.Since.Seconds())
	}
	out := [][2]string{{"time", at}, {"", age + ", " + boot}, {"level", levelName(r.Level)}, {"facility", facilityName(r.Facility)}}
	if r.Trouble != "" {
		out = append(out, [2]string{"about", string(r.Trouble)})
	}
	out = append(out, [2]string{"message", clean(r.Text)})
	for _, field := range r.Fields {
		name, value, _ := strings.Cut(clean(field), "=")
		out = append(out, [2]string{strings.ToLower(name), value})
	}
	return out
}

// Table implements Pane.
func (p *logPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title, Columns: []Column{
		{ID: "field", Title: "field", Width: 12, Left: true}, {ID: "value", Title: "value", Width: 60, Left: true},
	}}
	for i, x := range p.facts(f) {
		t.Rows = append(t.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{Say(x[0]), Say(x[1])}})
	}
	return t
}

// View implements Pane.
func (p *logPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	var lines []string
	for _, x := range p.facts(f) {
		lines = append(lines, wrapWide(c, fmt.Sprintf("%-12s", widget.Clip(x[0], 11)), x[1])...)
	}
	room := c.Height - 1
	first := max(0, min(p.scroll, len(lines)-room))
	return fit(append([]string{widget.Title(c.Theme, c.Width, p.Info().Title)}, lines[first:]...), c.Height)
}

// wrapWide is wrap for text that may have words longer than the line.
func wrapWide(c Canvas, label, text string) []string {
	room := max(c.Width-widget.Width(label)-2, 10)
	var words []string
	for _, w := range strings.Fields(text) {
		for widget.Width(w) > room {
			cut := widget.Clip(w, room+1) // less the ellipsis
			cut = strings.TrimSuffix(cut, "…")
			if cut == "" {
				break
			}
			words, w = append(words, cut), w[len(cut):]
		}
		words = append(words, w)
	}
	return wrap(c, label, strings.Join(words, " "))
}
