// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"errors"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/panes/widget"
	"bpf60/theme"
)

// filterLine is the line of "/". The pane's table is filtered as one types; a filter that is wrong leaves
// the last one that was not.
type filterLine struct {
	text    string
	before  *Filter  // what Esc brings back
	columns []Column // of the table with the cursor
	wrong   *fault
	typed   string // the word that Tab completes; empty: none is being completed
	nth     int    // which of the names Tab has put
}

// mostFilter is how many characters a filter has at most.
const mostFilter = 200

// openFilter opens the line, where there is a table to filter.
func (r *Root) openFilter() {
	columns := r.sightOf(r.top()).columns
	if len(columns) == 0 {
		r.status = status{text: "there is no table here to filter"}
		return
	}
	r.over = &filterLine{before: r.frame.Filter, columns: columns}
}

// key implements overlay.
func (p *filterLine) key(r *Root, msg tea.KeyMsg) tea.Cmd {
	if msg.Type != tea.KeyTab {
		p.typed = ""
	}
	switch msg.Type {
	case tea.KeyEsc:
		r.setFilter(p.before)
		r.over = nil
		return nil
	case tea.KeyEnter:
		if p.apply(r, true); p.wrong == nil {
			r.over = nil
		}
		return nil
	case tea.KeyUp:
		if p.before != nil {
			p.text = p.before.String()
		}
	case tea.KeyCtrlU:
		p.text = ""
	case tea.KeyBackspace:
		if p.text == "" {
			r.over = nil
			return nil
		}
		runes := []rune(p.text)
		p.text = string(runes[:len(runes)-1])
	case tea.KeyTab:
		p.complete()
	case tea.KeyRunes, tea.KeySpace:
		if c := clean2(msg.String()); len(p.text) < mostFilter && c == msg.String() {
			p.text += c
		}
	default:
		return nil
	}
	p.apply(r, false)
	return nil
}

// apply makes what is typed the pane's filter, unless something is wrong with it or more is to come.
func (p *filterLine) apply(r *Root, whole bool) {
	if !whole && p.begun() {
		p.wrong = nil
		return
	}
	f, err := parseFilter(p.text)
	if err == nil {
		_, _, err = f.bind(p.columns)
	}
	if errors.As(err, &p.wrong) {
		return
	}
	p.wrong = nil
	r.setFilter(f)
}

// begun says whether the last word may become a column or an operator, after a comparison: as a text it
// would empty the table while it is typed.
func (p *filterLine) begun() bool {
	at := strings.LastIndexAny(p.text, " (!") + 1
	word := p.text[at:]
	if word == "" || !strings.ContainsAny(p.text[:at], "=<>~") || strings.ContainsAny(word, "=<>~") {
		return false
	}
	operator := slices.ContainsFunc([]string{"and", "or", "not"}, func(s string) bool { return strings.HasPrefix(s, word) })
	return operator || len(columnsLike(p.columns, word)) > 0
}

// complete puts the next column that begins with the last word in its place.
func (p *filterLine) complete() {
	at := strings.LastIndexAny(p.text, " (!") + 1
	if p.typed == "" {
		p.typed, p.nth = p.text[at:], -1
	}
	names := columnsLike(p.columns, p.typed)
	if len(names) == 0 {
		return
	}
	p.nth = (p.nth + 1) % len(names)
	p.text = p.text[:at] + names[p.nth]
}

// columnsLike are the columns whose id or title begins with a word, as a filter names them; all of them
// for an empty word.
func columnsLike(columns []Column, word string) []string {
	var out []string
	word = plainName(word)
	for _, c := range columns {
		name := c.ID
		if !strings.HasPrefix(plainName(name), word) && !strings.HasPrefix(plainName(c.Title), word) {
			continue
		}
		if strings.ContainsAny(name, ` ()"!=<>~`) {
			name = `"` + name + `"`
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// view implements overlay: the pane stays on the screen.
func (p *filterLine) view(Canvas) string { return "" }

// prompt is the footer while a filter is typed: the text, with the place where it is wrong, and what is
// wrong; else what can be named and what the keys do.
func (p *filterLine) prompt(r *Root, t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	text := []rune(p.text)
	if room := r.size.Width / 2; p.wrong == nil || len(text) < room {
		p.put(l, t, text, 0)
	} else { // the end, where one types, and room to say what is wrong
		p.put(l, t, text[len(text)-room:], len(text)-room)
	}
	l.Skip(1)
	switch {
	case p.wrong != nil:
		return l.Put(t.Warn, widget.ClipWords(p.wrong.Error(), l.Left())).String()
	case p.text == "":
		return l.Put(t.Dim, widget.ClipWords(`text  re/…/  !text  cpu>5 and user=www   Tab columns  ↑ last  Esc gives up`, l.Left())).String()
	}
	for _, name := range p.hints() {
		if l.Left() < widget.Width(name)+2 {
			break
		}
		l.Put(t.Dim, name).Skip(2)
	}
	return l.String()
}

// hints are the columns that Tab would put in place of the last word.
func (p *filterLine) hints() []string {
	word := p.text[strings.LastIndexAny(p.text, " (!")+1:]
	if p.typed != "" {
		word = p.typed
	}
	if word == "" {
		return nil
	}
	return columnsLike(p.columns, word)
}

// put draws text from its rune skipped on, and marks where it is wrong.
func (p *filterLine) put(l *widget.Line, t theme.Theme, text []rune, skipped int) {
	l.Put(t.Accent, "/")
	at := len(text)
	if p.wrong != nil {
		at = max(0, min(p.wrong.at-skipped, len(text)))
	}
	l.Plain(string(text[:at])).Put(t.Crit, string(text[at:])).Put(t.Accent, "▏")
}

// helpText is the page of the pane on the screen, and that of filters where it has a table.
func (r *Root) helpText(i Info) []string {
	page := helpPage(i.Help)
	if slices.ContainsFunc(r.top().Keys(), ofTable) {
		page = append(append(page, ""), helpPage("filter")...)
	}
	return page
}
