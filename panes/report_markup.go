// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"html"
	"strconv"
	"strings"
)

// markup is HTML that stands in this package: a constant becomes it by itself, and a text that was
// measured does not compile as one. "{}" is a slot for such a text, in an element or between double quotes.
type markup string

// htmlWriter makes a page. A template engine would do it too, but it calls methods by their names, for
// which the linker keeps every method of the program: a megabyte and a half.
type htmlWriter struct{ b strings.Builder }

// put writes markup with each text, escaped, in its slot.
func (w *htmlWriter) put(form markup, texts ...string) {
	rest := string(form)
	for _, text := range texts {
		before, after, _ := strings.Cut(rest, "{}")
		w.b.WriteString(before)
		w.b.WriteString(html.EscapeString(text))
		rest = after
	}
	w.b.WriteString(rest)
}

// with writes markup with one slot, where there is a text for it.
func (w *htmlWriter) with(text string, form markup) {
	if text != "" {
		w.put(form, text)
	}
}

// cell writes the start tag of a table's cell, with what is said when the pointer rests on it.
func (w *htmlWriter) cell(open markup, left bool, why string) {
	w.put(open)
	if left {
		w.put(` class="l"`)
	}
	w.with(why, ` title="{}"`)
	w.put(`>`)
}

// number writes markup with one slot for a number.
func (w *htmlWriter) number(form markup, n int) { w.put(form, strconv.Itoa(n)) }
