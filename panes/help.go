// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"embed"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

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

// help is the overlay of ?: the column that the cursor was put on, the keys that work here, the
// pane's page. It is a list to search and to choose from.
type help struct {
	title     string
	column    []string // its name as a heading, and what the page says of it; nil without one
	keys      []keymap.Key
	page      []string
	at        int // selected line, of those that match
	searching bool
	filter    string
}

func (r *Root) newHelp() *help {
	info := r.top().Info()
	width := max(r.size.Width, leastWidth) - 1
	h := &help{title: info.Title, keys: r.bindings()}
	for _, line := range r.helpText(info) {
		h.page = append(h.page, broken(line, width)...)
	}
	b, ok := r.look().heads()
	if !ok || b.list.column == "" {
		return h
	}
	for _, c := range b.table.Columns {
		if c.ID != b.list.column {
			continue
		}
		h.column = []string{"# column " + c.Title}
		if c.Unit != "" {
			h.column[0] += ", in " + c.Unit
		}
		if entry, ok := explain(info.Help, b.table.Title, c); ok {
			h.column = append(h.column, wrapAt(strings.Join(entry, " "), width)...)
		}
	}
	return h
}

// broken is a line of help in as many as it takes: what goes on is indented as the page does it.
func broken(line string, width int) []string {
	const indent = "         "
	var out []string
	for widget.Width(line) > width {
		cut := ansi.Truncate(line, width+1, "")
		i := strings.LastIndexByte(cut, ' ')
		if strings.TrimSpace(cut[:max(i, 0)]) == "" { // a word as wide as the screen
			break
		}
		out = append(out, strings.TrimRight(line[:i], " "))
		line = indent + strings.TrimLeft(line[i:], " ")
	}
	return append(out, line)
}

// helpKeys are the keys of the overlay itself.
func helpKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Open, "Enter", "do it", "enter"),
		keymap.New(keymap.Filter, "/", "search", "/", "\\", "f4").In("search the help"),
		keymap.New(keymap.Down, "j", "down", "j", "down"),
		keymap.New(keymap.Up, "k", "up", "k", "up"),
		keymap.New(keymap.Back, "Esc", "close", "esc", "backspace"),
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
	if want == "" {
		for _, text := range h.column {
			out = append(out, helpLine{text: text})
		}
	}
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
func (h *help) key(r *Root, msg tea.KeyMsg) tea.Cmd {
	lines := h.lines()
	if h.searching {
		switch msg.Type {
		case tea.KeyEsc:
			h.searching, h.filter, h.at = false, "", 0
			return nil
		case tea.KeyBackspace:
			if runes := []rune(h.filter); len(runes) > 0 {
				h.filter, h.at = string(runes[:len(runes)-1]), 0
			}
			return nil
		case tea.KeyRunes, tea.KeySpace:
			if c := clean2(msg.String()); len(h.filter) < 64 && c == msg.String() {
				h.filter, h.at = h.filter+c, 0
			}
			return nil
		default:
		}
	}
	k, ok := r.overlayKey(msg, helpKeys())
	switch {
	case !ok:
	case k.ID == keymap.Filter:
		h.searching = true
	case k.ID == keymap.Quit || k.ID == keymap.Back || k.ID == keymap.Help:
		r.over = nil
	case k.ID == keymap.Open && h.at < len(lines) && lines[h.at].key != nil:
		chosen := *lines[h.at].key
		r.over = nil
		if chosen.ID == keymap.Help {
			return nil
		}
		return r.act(chosen)
	default:
		h.at = moveTo(k.ID, h.at, len(lines))
		return terminalKey(k.ID)
	}
	return nil
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
