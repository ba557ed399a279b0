// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// palette is the line of ":". It takes the name of a pane, of anything that a key does here, or a
// verb with what it is about.
type palette struct {
	text  string
	typed string // what the choices are about: text, but for what Tab made of it
	at    int    // the choice that Tab has come to
	tab   bool   // text is that choice
	back  int    // how far ↑ has gone into what was said before; 0: not at all
}

// choice is one thing that the palette can do.
type choice struct {
	name, does string
	open       bool // more has to follow: a verb
	do         func(r *Root) tea.Cmd
}

// Bounds of the palette.
const (
	mostTyped = 200
	mostSaid  = 50
	mostShown = 8 // choices above the line

	minPromptRest = 8 // cells of the prompt that what is typed leaves
)

// verb is a word that needs another one.
type verb struct {
	name, does string
	values     func(r *Root) []choice
	free       bool // any other value is taken too, as it is typed
	take       func(r *Root, value string) tea.Cmd
}

// choices are what a value can mean, the best first. Where any value is taken, that is the value itself;
// Tab offers what it begins.
func (v verb) choices(r *Root, value string) []choice {
	all := v.values(r)
	if !v.free || value == "" {
		return ranked(all, value)
	}
	begun := slices.DeleteFunc(all, func(c choice) bool { return !strings.HasPrefix(strings.ToLower(c.name), strings.ToLower(value)) })
	sortStably(begun, func(a, b choice) int { return cmp.Compare(len(a.name), len(b.name)) })
	if i := slices.IndexFunc(begun, func(c choice) bool { return strings.EqualFold(c.name, value) }); i >= 0 {
		exact := begun[i]
		return append([]choice{exact}, slices.Delete(begun, i, i+1)...)
	}
	own := choice{name: value, does: v.does, do: func(r *Root) tea.Cmd { return v.take(r, value) }}
	return append([]choice{own}, begun...)
}

// verbs are the words that need another one, as far as they do something here.
func verbs(r *Root) []verb {
	out := []verb{
		{name: "pane", does: "open a pane", values: paneChoices},
		{name: "sort", does: "sort by a column; again: the other way round", values: sortChoices},
	}
	if r.frame.Now.Snapshot != nil {
		out = append(out,
			verb{name: "at", does: "stop the time at a moment: 12:31, 12:31:05, -5m", values: timeChoices, free: true, take: takeTime},
			verb{name: "pid", does: "every pane about one process", values: pidChoices, free: true, take: takePID},
			verb{name: "cgroup", does: "every pane about one cgroup", values: cgroupChoices, free: true, take: takeCgroup})
	}
	if r.cfg.Themes != nil {
		out = append(out, verb{name: "theme", does: "change the colours", values: themeChoices})
	}
	if r.cfg.Interval != nil {
		out = append(out, verb{name: "interval", does: "change the time between two measurements", values: intervalChoices, free: true, take: takeInterval})
	}
	return out
}

func paneChoices(r *Root) []choice {
	var out []choice
	for _, pane := range r.cfg.Panes {
		i := pane.Info()
		out = append(out, choice{name: string(i.ID), does: "open " + i.Title, do: func(r *Root) tea.Cmd { r.answer(GoMsg{Pane: i.ID}); return nil }})
	}
	return out
}

// sortChoices are the columns of the table on the screen.
func sortChoices(r *Root) []choice {
	b, ok := r.hand.seen.heads() // as it was when the line was opened: it does not change
	if !ok {
		return nil
	}
	help := r.top().Info().Help
	var out []choice
	for _, c := range b.list.arranged(b.table) {
		out = append(out, choice{name: c.ID, does: brief(help, b.table.Title, c.Column), do: func(*Root) tea.Cmd { b.list.clickHead(c.ID); return nil }})
	}
	return out
}

func themeChoices(*Root) []choice {
	var out []choice
	for _, name := range theme.Names() {
		out = append(out, choice{name: name, does: "the colours " + name, do: func(r *Root) tea.Cmd {
			r.cfg.Theme = r.cfg.Themes(name)
			return nil
		}})
	}
	return out
}

func intervalChoices(*Root) []choice {
	var out []choice
	for _, d := range []string{"500ms", "1s", "2s", "5s", "10s"} {
		out = append(out, choice{name: d, does: "measure every " + d, do: func(r *Root) tea.Cmd { return takeInterval(r, d) }})
	}
	return out
}

// takeInterval changes the interval, and says so or why not. A number alone is of seconds.
func takeInterval(r *Root, text string) tea.Cmd {
	if strings.Trim(text, "0123456789.") == "" {
		text += "s"
	}
	if err := r.cfg.Interval(text); err != nil {
		r.status = status{text: err.Error(), alert: true}
		return nil
	}
	r.status = status{text: "measuring every " + text}
	return nil
}

// choices are what the text can mean, the best first. What a key does here depends on rows that come and
// go, so the choice that Tab has come to may have moved: Enter does what the text says, or nothing.
func (p *palette) choices(r *Root) []choice {
	out := p.meant(r)
	if !p.tab || p.at < len(out) && out[p.at].name == p.text {
		return out
	}
	p.at = slices.IndexFunc(out, func(c choice) bool { return c.name == p.text })
	if p.at < 0 {
		p.say(p.text)
		return p.meant(r)
	}
	return out
}

func (p *palette) meant(r *Root) []choice {
	text := strings.TrimLeft(p.typed, " ")
	if word, rest, ok := strings.Cut(text, " "); ok {
		for _, v := range verbs(r) {
			if v.name != word {
				continue
			}
			out := v.choices(r, strings.TrimSpace(rest))
			for i := range out {
				out[i].name = word + " " + out[i].name
			}
			return out
		}
	}
	all := paneChoices(r)
	for _, k := range r.bindings() {
		if k.Enabled() && k.ID != keymap.Command && !strings.HasPrefix(k.ID, goKey) {
			all = append(all, choice{name: k.ID, does: k.Does(), do: func(r *Root) tea.Cmd { return r.act(k) }})
			if k.ID == keymap.Snapshot { // the word of editors
				all = append(all, choice{name: "save", does: k.Does(), do: func(r *Root) tea.Cmd { return r.act(k) }})
			}
		}
	}
	for _, v := range verbs(r) {
		all = append(all, choice{name: v.name, does: v.does, open: true})
	}
	return ranked(all, strings.TrimSpace(text))
}

// ranked are the choices that the text can mean, the best first: those it begins, those that hold it
// as a word, anywhere, in what they do, and those that have its letters in their order.
func ranked(all []choice, text string) []choice {
	text = strings.ToLower(text)
	type scored struct {
		choice
		score int
	}
	var out []scored
	for _, c := range all {
		name := strings.ToLower(c.name)
		score := 0
		switch i := strings.Index(name, text); {
		case i == 0:
		case bare(text) != "" && strings.HasPrefix(bare(name), bare(text)):
			score = 1
		case i > 0 && strings.IndexByte(".-/_%", name[i-1]) >= 0:
			score = 2
		case i > 0:
			score = 3
		case strings.Contains(strings.ToLower(c.does), text):
			score = 4
		case scattered(name, text):
			score = 5
		default:
			continue
		}
		out = append(out, scored{c, score})
	}
	sortStably(out, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	plain := make([]choice, len(out))
	for i, c := range out {
		plain[i] = c.choice
	}
	return plain
}

// scattered says whether name has all letters of text in their order.
func scattered(name, text string) bool {
	for _, r := range text {
		i := strings.IndexRune(name, r)
		if i < 0 {
			return false
		}
		name = name[i+utf8.RuneLen(r):]
	}
	return true
}

// key implements overlay.
func (p *palette) key(r *Root, msg tea.KeyMsg) tea.Cmd {
	switch msg.Type {
	case tea.KeyEsc:
		r.over = nil
	case tea.KeyBackspace:
		if p.text == "" {
			r.over = nil
		} else {
			runes := []rune(p.text)
			p.say(string(runes[:len(runes)-1]))
		}
	case tea.KeyTab:
		p.complete(r, 1)
	case tea.KeyShiftTab:
		p.complete(r, -1)
	case tea.KeyUp:
		p.recall(r, 1)
	case tea.KeyDown:
		p.recall(r, -1)
	case tea.KeyEnter:
		return p.enter(r)
	case tea.KeyRunes, tea.KeySpace:
		if c := clean2(msg.String()); len(p.text) < mostTyped && c == msg.String() {
			p.say(p.text + c)
		}
	default:
	}
	return nil
}

// say changes what is typed.
func (p *palette) say(text string) { *p = palette{text: text, typed: text} }

// complete puts the best choice in place of what is typed, and the next ones when it is asked again.
// A verb that is alone waits for what it is about.
func (p *palette) complete(r *Root, step int) {
	list := p.choices(r)
	switch {
	case len(list) == 0:
		return
	case p.tab:
		p.at = (p.at + step + len(list)) % len(list)
	default:
		p.tab, p.at = true, 0
		if len(list) > 1 && list[0].name == p.text && !list[0].open && strings.HasPrefix(list[1].name, p.text) { // it says that already
			p.at = 1
		}
	}
	p.text = list[p.at].name
	if list[p.at].open && (len(list) == 1 || p.typed == p.text) {
		p.say(p.text + " ")
	}
}

// recall goes through what was said before.
func (p *palette) recall(r *Root, step int) {
	at := max(0, min(p.back+step, len(r.hand.said)))
	if at == p.back {
		return
	}
	text := ""
	if at > 0 {
		text = r.hand.said[len(r.hand.said)-at]
	}
	p.say(text)
	p.back = at
}

// enter does the choice.
func (p *palette) enter(r *Root) tea.Cmd {
	list := p.choices(r)
	switch {
	case strings.TrimSpace(p.text) == "":
		r.over = nil
		return nil
	case len(list) == 0:
		r.over = nil
		r.status = status{text: "there is no " + p.text + " here; : and Tab show what there is", alert: true}
		return nil
	}
	c := list[p.at]
	if c.open {
		p.say(c.name + " ")
		return nil
	}
	r.over = nil
	r.remind(c.name)
	return c.do(r)
}

// remind keeps what was said for ↑, the newest last.
func (r *Root) remind(text string) {
	said := slices.DeleteFunc(r.hand.said, func(s string) bool { return s == text })
	said = append(said, text)
	r.hand.said = said[max(len(said)-mostSaid, 0):]
}

// view implements overlay: the pane stays on the screen.
func (p *palette) view(Canvas) string { return "" }

// above are the lines over the prompt: the choices and what they do, the best one next to it.
func (p *palette) above(r *Root, room int) []string {
	list := p.choices(r)
	n := min(len(list), mostShown, room-1)
	if n < 2 { // the prompt names the only one
		return nil
	}
	first := max(0, min(p.at-n+1, len(list)-n))
	t := r.cfg.Theme
	out := []string{widget.Title(t, r.size.Width, "Tab completes", "Enter does it", "↑ before")}
	for i := first; i < first+n; i++ {
		l, style := widget.NewLine(r.size.Width), t.Accent
		if i == p.at {
			l.Put(t.Accent, ">")
			style = t.Focus
		}
		name := list[i].name
		if list[i].open {
			name += " …"
		}
		l.To(1).Put(style, name).To(max(l.Width()+2, 24))
		out = append(out, l.Put(t.Dim, widget.ClipWords(list[i].does, l.Left())).String())
	}
	return out
}

// prompt is the footer while the palette is open: what is typed, what Enter would do, what else
// there is.
func (p *palette) prompt(r *Root, t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	text := []rune(p.text)
	if room := max(r.size.Width-minPromptRest, 1); len(text) > room { // the end, where one types
		text = append([]rune("…"), text[len(text)-room:]...)
	}
	l.Put(t.Accent, ":").Plain(string(text)).Put(t.Accent, "▏").Skip(1)
	list := p.choices(r)
	if len(list) == 0 {
		return l.Put(t.Warn, "nothing is called so").String()
	}
	for i, c := range list[p.at:] {
		style := t.Dim
		if i == 0 {
			style = t.Focus
		}
		if l.Left() < widget.Width(c.name)+2 {
			break
		}
		l.Put(style, c.name).Skip(2)
	}
	return l.String()
}
