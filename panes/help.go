// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"embed"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
	"bpf60/panes/widget"
)

//go:embed help/*.md
var pages embed.FS

// Help returns a pane's page: what it shows, units, formulas, caveats, overhead. Empty without one.
func Help(name string) string {
	b, err := pages.ReadFile("help/" + name + ".md")
	if err != nil {
		return ""
	}
	return string(b)
}

// overlay is what takes the keys until it closes itself, by setting the root's to nil. It may draw
// in place of the pane; an empty view leaves the pane on the screen.
type overlay interface {
	key(r *Root, msg tea.KeyMsg) (cmd tea.Cmd, routed bool)
	view(c Canvas) string
}

// help is the overlay of ?: the keys that work here, then the pane's page. It is a list to search
// and to choose from.
type help struct {
	title     string
	keys      []keymap.Key
	page      []string
	at        int // selected line, of those that match
	searching bool
	filter    string
}

func (r *Root) newHelp() *help {
	info := r.top().Info()
	return &help{
		title: info.Title,
		keys:  r.bindings(),
		page:  strings.Split(strings.TrimSpace(Help(info.Help)), "\n"),
	}
}

// helpKeys are the keys of the overlay itself.
func helpKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New("help.run", "Enter", "do it", "enter"),
		keymap.New("help.search", "/", "search", "/"),
		keymap.New("help.move", "j k", "move", "j", "k"),
		keymap.New("help.close", "Esc", "close", "esc"),
	}
}

// helpLine is one line of the overlay: a key, or text.
type helpLine struct {
	key  *keymap.Key
	text string
}

// lines returns what matches the search.
func (h *help) lines() []helpLine {
	var out []helpLine
	want := strings.ToLower(h.filter)
	for i := range h.keys {
		k := &h.keys[i]
		if strings.Contains(strings.ToLower(strings.Join([]string{k.Help().Key, k.Does(), k.ID}, " ")), want) {
			out = append(out, helpLine{key: k})
		}
	}
	for _, text := range h.page {
		if want == "" || strings.Contains(strings.ToLower(text), want) {
			out = append(out, helpLine{text: text})
		}
	}
	return out
}

// key implements overlay.
func (h *help) key(r *Root, msg tea.KeyMsg) (cmd tea.Cmd, routed bool) {
	lines := h.lines()
	if h.searching {
		switch msg.Type {
		case tea.KeyEsc:
			h.searching, h.filter, h.at = false, "", 0
			return nil, false
		case tea.KeyBackspace:
			if runes := []rune(h.filter); len(runes) > 0 {
				h.filter, h.at = string(runes[:len(runes)-1]), 0
			}
			return nil, false
		case tea.KeyRunes, tea.KeySpace:
			if c := clean2(msg.String()); len(h.filter) < 64 && c == msg.String() {
				h.filter, h.at = h.filter+c, 0
			}
			return nil, false
		default:
		}
	}
	k, ok, begins := keymap.Match(r.cfg.Keys.Apply(keymap.Global()), r.prefix, msg.String())
	r.prefix = ""
	if begins {
		r.prefix = msg.String()
		return nil, false
	}
	last := max(len(lines)-1, 0)
	const page = 10
	switch {
	case msg.String() == "/":
		h.searching = true
	case !ok:
	case k.ID == keymap.Quit || k.ID == keymap.Back || k.ID == keymap.Help:
		r.over = nil
	case k.ID == keymap.Up:
		h.at = max(h.at-1, 0)
	case k.ID == keymap.Down:
		h.at = min(h.at+1, last)
	case k.ID == keymap.PageUp:
		h.at = max(h.at-page, 0)
	case k.ID == keymap.PageDown:
		h.at = min(h.at+page, last)
	case k.ID == keymap.Top:
		h.at = 0
	case k.ID == keymap.Bottom:
		h.at = last
	case k.ID == keymap.Redraw:
		return tea.ClearScreen, false
	case k.ID == keymap.Suspend:
		return tea.Suspend, false
	case k.ID == keymap.Open && h.at < len(lines) && lines[h.at].key != nil:
		chosen := *lines[h.at].key
		r.over = nil
		if chosen.ID == keymap.Help {
			return nil, false
		}
		return r.act(chosen)
	}
	return nil, false
}

// view draws the overlay in place of the pane.
func (h *help) view(c Canvas) string {
	parts := []string{"help: " + h.title}
	if h.searching || h.filter != "" {
		parts = append(parts, "/"+h.filter)
	} else {
		parts = append(parts, "/ search", "Enter does it")
	}
	out := []string{widget.Title(c.Theme, c.Width, parts...)}
	lines := h.lines()
	if len(lines) == 0 {
		out = append(out, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "nothing matches; Esc clears the search").String())
	}
	room := c.Height - 1
	first := max(0, min(h.at-room/2, len(lines)-room))
	for i := first; i < len(lines) && len(out) <= room; i++ {
		out = append(out, h.row(c, lines[i], i == h.at))
	}
	return fit(out, c.Height)
}

func (h *help) row(c Canvas, x helpLine, selected bool) string {
	l := widget.NewLine(c.Width)
	style := c.Theme.Title
	if selected {
		l.Put(c.Theme.Accent, ">")
	}
	l.To(1)
	if x.key == nil {
		text, heading := strings.CutPrefix(x.text, "# ")
		if !heading {
			style = c.Theme.Dim
			if selected {
				style = c.Theme.Focus
			}
		}
		return l.Put(style, text).String()
	}
	k := *x.key
	name, style := c.Theme.Accent, c.Theme.Dim
	if selected {
		style = c.Theme.Focus
	}
	desc := k.Does()
	if !k.Enabled() {
		name, desc = c.Theme.Dim, desc+" ("+k.Why+")"
	}
	var names []string
	for _, n := range slices.Compact(slices.Clone(k.Keys())) {
		names = append(names, keymap.Label([]string{n}))
	}
	return l.Put(name, strings.Join(names, " ")).To(max(l.Width()+1, 18)).Put(style, desc).String()
}
