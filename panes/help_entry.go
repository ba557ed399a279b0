// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"unicode"
)

// helpPage are the lines of a pane's page of help.
func helpPage(name string) []string { return strings.Split(strings.TrimSpace(Help(name)), "\n") }

// explain is what help says of a column: the pane's page, or that of the pane whose table it shows,
// or what is the same everywhere.
func explain(help, table string, c Column) (entry []string, ok bool) {
	pages := []string{help}
	switch help {
	case "cgroups", "process":
		pages = append(pages, ofSection(table), "processes", "disk", "exec", "syscalls", "memory", "tcp", "profile")
	case "network":
		pages = append(pages, "drops")
	}
	pages = append(pages, "common")
	for _, name := range pages {
		if entry, ok := helpEntry(helpPage(name), table, c); ok {
			return entry, true
		}
	}
	return nil, false
}

// ofSection is the page of help of the pane that shows the same table of the whole host as one of the
// tables of a page does of its process or cgroup.
func ofSection(table string) string {
	switch table {
	case "block I/O", "disks", "slowest I/O":
		return "disk"
	case "opens", "slow calls":
		return "exec"
	case "calls":
		return "syscalls"
	case "flame graph":
		return "profile"
	case "slab":
		return "memory"
	case "sockets", "tcp":
		return "tcp"
	case "latency", "sleeps":
		return "cpu"
	}
	return "processes"
}

// helpEntry is what a page says of a column: the line that begins with its name, or has it behind a
// gap, and the lines that continue it. Of several it is the one under the heading that names the
// table.
func helpEntry(page []string, table string, c Column) (entry []string, ok bool) {
	best, at := 0, -1
	here := false
	for i, line := range page {
		if heading, is := strings.CutPrefix(line, "# "); is {
			here = shareWord(heading, table)
			continue
		}
		score := max(termIn(line, c.Title), termIn(line, c.ID))
		if score > 0 && here {
			score += 10
		}
		if score > best {
			best, at = score, i
		}
	}
	if at < 0 {
		return nil, false
	}
	entry = []string{page[at]}
	for _, line := range page[at+1:] {
		if !strings.HasPrefix(line, "      ") {
			break
		}
		entry = append(entry, line)
	}
	return entry, true
}

// brief is an entry in one line of what it says of the column alone; empty where help has none.
func brief(help, table string, c Column) string {
	entry, ok := explain(help, table, c)
	if !ok {
		return ""
	}
	says := entry[0]
	for _, name := range []string{c.Title, c.ID} {
		if i := strings.Index(says, name); name != "" && i >= 0 && termIn(says, name) > 0 {
			says = strings.TrimLeft(behindNames(says[i+len(name):]), " ,;:")
			break
		}
	}
	if i := strings.Index(says, "   "); i > 0 && len(strings.Fields(says[:i])) > 1 { // another entry follows
		says = says[:i]
	}
	return strings.TrimRight(strings.Join(strings.Fields(says), " "), ",;:")
}

// behindNames skips further names that an entry explains together with the one before: " %MEM resident
// memory". What stands behind one blank and looks like no name already says something.
func behindNames(rest string) string {
	for strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "  ") {
		word, more, _ := strings.Cut(rest[1:], " ")
		if !strings.HasPrefix(word, "%") && !strings.HasSuffix(word, "/s") && !strings.Contains(word, "_") {
			break
		}
		rest = " " + more
	}
	return rest
}

// How well a line explains a name.
const (
	listedTerm = 1 // one of several names before what they mean
	gapTerm    = 2 // the name stands behind a gap, as at the beginning of a second entry of the line
	firstTerm  = 3 // the line begins with it
)

// termIn says how well a line of help explains a name; 0 if it does not.
func termIn(line, name string) int {
	if name == "" {
		return 0
	}
	best := 0
	for from := 0; ; {
		i := strings.Index(line[from:], name)
		if i < 0 {
			return best
		}
		i += from
		end := i + len(name)
		if isWord(line, i, end) {
			switch before := line[:i]; {
			case strings.TrimSpace(before) == "" && len(before) < 6:
				return firstTerm
			case strings.HasSuffix(before, "  "):
				best = max(best, gapTerm)
			case terms(before):
				best = max(best, listedTerm)
			}
		}
		from = end
	}
}

// isWord says whether line[i:end] is a word of its own.
func isWord(line string, i, end int) bool {
	return (i == 0 || line[i-1] == ' ') && (end == len(line) || strings.IndexByte(" ,;:.)", line[end]) >= 0)
}

// terms says whether what stands before a name is names only, since the beginning of the line or the
// last gap: "minflt/s majflt/s    page faults".
func terms(before string) bool {
	if i := strings.LastIndex(strings.TrimRight(before, " "), "  "); i >= 0 {
		before = before[i:]
	}
	words := strings.Fields(before)
	if len(words) == 0 || len(words) > 6 || strings.HasPrefix(before, "      ") {
		return false
	}
	for _, w := range words {
		if strings.HasSuffix(w, ".") || len(w) > 12 {
			return false
		}
	}
	return true
}

// shareWord says whether a heading and the title of a table have a word in common.
func shareWord(heading, table string) bool {
	split := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	for _, a := range split(heading) {
		for _, b := range split(table) {
			if len(a) > 2 && strings.TrimSuffix(a, "s") == strings.TrimSuffix(b, "s") {
				return true
			}
		}
	}
	return false
}
