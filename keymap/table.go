// SPDX-License-Identifier: Apache-2.0

package keymap

import (
	"fmt"
	"strings"
)

// Section is one part of the key table: the keys of one pane, or the global ones.
type Section struct {
	Title string
	Keys  []Key
}

// Markdown is the key table of the README.
func Markdown(sections ...Section) string {
	var b strings.Builder
	b.WriteString("| where | key | does | name in `[keys]` |\n|---|---|---|---|\n")
	for _, s := range sections {
		for _, k := range s.Keys {
			names := make([]string, 0, len(k.Keys()))
			for _, n := range k.Keys() {
				names = append(names, "`"+pretty(n)+"`")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", s.Title, strings.Join(names, " "), k.Does(), k.ID)
		}
	}
	return b.String()
}

// Text is the same table for a terminal.
func Text(sections ...Section) string {
	var b strings.Builder
	for i, s := range sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n", s.Title)
		for _, k := range s.Keys {
			names := make([]string, 0, len(k.Keys()))
			for _, n := range k.Keys() {
				names = append(names, pretty(n))
			}
			fmt.Fprintf(&b, "  %-20s %-58s %s\n", strings.Join(names, ", "), k.Does(), k.ID)
		}
	}
	return b.String()
}

// Label is how the footer names a binding: its first key.
func Label(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return pretty(names[0])
}

// pretty names a key as its cap does.
func pretty(name string) string {
	switch name {
	case " ":
		return "space"
	case "enter":
		return "Enter"
	case "esc":
		return "Esc"
	case "tab":
		return "Tab"
	case "shift+tab":
		return "S-Tab"
	case "backspace":
		return "Backspace"
	case "up":
		return "↑"
	case "down":
		return "↓"
	case "left":
		return "←"
	case "right":
		return "→"
	case "pgup":
		return "PgUp"
	case "pgdown":
		return "PgDn"
	case "home":
		return "Home"
	case "end":
		return "End"
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return "^" + strings.ToUpper(rest)
	}
	if len(name) > 1 && name[0] == 'f' && name[1] >= '0' && name[1] <= '9' {
		return "F" + name[1:]
	}
	if first, second, ok := strings.Cut(name, " "); ok && first != "" {
		return pretty(first) + pretty(second)
	}
	return name
}
