// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// stanza is a paragraph of a Debian control file: fields by lower-case name. The lines of a
// folded field are joined by newlines, each without the space before it.
type stanza map[string]string

// eachStanza calls f with every paragraph of r in which some line begins with prefix. Package
// indexes hold 60,000 paragraphs of which we read a handful; "" takes all.
func eachStanza(r io.Reader, prefix string, f func(stanza)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 4<<20)
	var lines []string
	wanted := false
	flush := func() {
		if wanted && len(lines) > 0 {
			f(parseStanza(lines))
		}
		lines, wanted = lines[:0], false
	}
	for sc.Scan() {
		b := sc.Bytes()
		if len(strings.TrimSpace(string(b))) == 0 {
			flush()
			continue
		}
		if b[0] == '#' {
			continue
		}
		wanted = wanted || strings.HasPrefix(string(b), prefix)
		lines = append(lines, string(b))
	}
	flush()
	if err := sc.Err(); err != nil {
		return fmt.Errorf("reading a control file: %w", err)
	}
	return nil
}

func parseStanza(lines []string) stanza {
	s := stanza{}
	var last string
	for _, l := range lines {
		if l[0] == ' ' || l[0] == '\t' {
			if last != "" {
				s[last] += "\n" + strings.TrimSpace(l)
			}
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			last = ""
			continue
		}
		last = strings.ToLower(name)
		s[last] = strings.TrimSpace(value)
	}
	return s
}
