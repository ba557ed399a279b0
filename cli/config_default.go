// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"bpf60/panes"
	"bpf60/theme"
	"bpf60/triage"
)

// printDefault is a configuration file that changes nothing and explains every key.
func printDefault(p *parts) string {
	d := defaults()
	var b strings.Builder
	fmt.Fprintf(&b, `# Configuration of bpf60. Every key is shown with its default; leave out what you do not change.
#
# Read from ~/.config/bpf60/config.toml (under sudo: of the user who ran sudo), over
# /etc/bpf60/config.toml. Flags come first, then the variable named at each key, then files.
# A file counts only if it belongs to you or root and nobody else may write to it.
# What cannot be followed is left out, with one warning that names its line.

# Time between two measurements: %v to %v. BPF60_INTERVAL
interval = "%v"

# Tabs and their order; the first is the one that opens. Empty: all that have a digit. The others can
# be reached as before, by digit or by name. Panes: %s. BPF60_PANES (a,b)
panes = []

# Colours by meaning: %s. BPF60_THEME
theme = %q

# When to colour: %s.
# auto obeys NO_COLOR, CLICOLOR_FORCE, CLICOLOR, COLORTERM and TERM, in that order. BPF60_COLOR
color = %q

# Draw with ASCII characters only. Without a UTF-8 locale that happens by itself. BPF60_ASCII
ascii = %t

# Let clicks and the wheel work. Hold shift to select text with the mouse. BPF60_MOUSE
mouse = %t

# Probes to switch off, as in ["-runqlat"], or on before somebody looks. BPF60_PROBES (+a,-b). Names:
# %s
probes = []
`, minInterval, maxInterval, d.Interval, strings.Join(p.panes, ", "), quoted(p.themes), d.Theme,
		quoted(colors()), d.Color, d.ASCII, d.Mouse, comment(p.probes))
	printColors(&b)
	printColumns(&b)
	printThresholds(&b)
	printKeys(&b, p)
	return b.String()
}

// comment breaks a list into lines of a comment that has begun.
func comment(list []string) string {
	const width = 100
	var b strings.Builder
	used := len("# ")
	for i, name := range list {
		if i < len(list)-1 {
			name += ","
		}
		if i > 0 && used+len(name) >= width {
			b.WriteString("\n# ")
			used = len("# ")
		} else if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name)
		used += len(name) + 1
	}
	return b.String()
}

func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

func printColors(b *strings.Builder) {
	fmt.Fprintf(b, `
# Styles of the theme that shall look otherwise: #rrggbb, 0 to 255, or black, red, green, yellow, blue,
# magenta, cyan, white, bright-red …; with bold, dim, italic, underline, reverse; or none. What the
# terminal cannot show it shows as near as it can. Styles: %s.
[colors]
# crit = "bold #ff5f57"
# accent = "cyan"
`, strings.Join(theme.Meanings(), ", "))
}

func printColumns(b *strings.Builder) {
	b.WriteString(`
# Columns of a table: which and in which order, by which the rows are sorted, and whether from small to
# large. C chooses them on the screen, until bpf60 ends. Columns that do not fit give way, the last
# one first. Case and signs of a name do not matter.
# [columns.processes]
# show = ["PID", "USER", "%CPU", "RSS", "cgroup", "COMMAND"]
# sort = "RSS"
# reverse = false
#
# Tables and their columns:
`)
	for _, name := range panes.Tables() {
		fmt.Fprintf(b, "#   %s: %s\n", name, strings.Join(panes.ColumnsOf(name), ", "))
	}
}

func printThresholds(b *strings.Builder) {
	b.WriteString(`
# What findings are judged by. A finding speaks when all of its limits are reached; what it is silent
# about besides stands in the README. Replays and reports are judged by these numbers, too.
[thresholds]
`)
	for _, r := range triage.All(nil) {
		fmt.Fprintf(b, "# %s: %s\n", r.ID, r.Says)
		for _, l := range r.Limits {
			fmt.Fprintf(b, "#     %s: %s\n# %s.%s = %s\n", l.Range(), l.Says, r.ID, l.Name, strconv.FormatFloat(l.Default, 'f', -1, 64))
		}
	}
}

func printKeys(b *strings.Builder, p *parts) {
	b.WriteString(`
# Keys by their name: the list replaces the default one, an empty list takes the key away. A key is a
# character, ctrl+x, alt+x, f5, enter, esc, tab, space, backspace, up, pgup, home, …, or two after each
# other, as in "g g". ctrl+c always quits. A key that would mean two things at once is left as it was.
[keys]
`)
	sections, _ := p.keys(nil)
	done := make(map[string]bool)
	for _, s := range sections {
		fmt.Fprintf(b, "# %s\n", s.Title)
		for _, k := range s.Keys {
			if done[k.ID] {
				continue // it has another meaning here, and one binding
			}
			done[k.ID] = true
			names, id := make([]string, len(k.Keys())), k.ID
			for i, n := range k.Keys() {
				names[i] = strconv.Quote(n)
			}
			if strings.Contains(id, ".") {
				id = strconv.Quote(id)
			}
			fmt.Fprintf(b, "# %s = [%s]\n", id, strings.Join(names, ", "))
		}
	}
}
