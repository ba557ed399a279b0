// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// FuzzHTML puts a text wherever the host's texts stand in a page. A parser must find the tags and
// attributes that it finds with a harmless text, and read each text back as it was.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"x", " ", `"><script>alert(1)</script>`, "</td></tr>", "' onload='x", "&lt;", "{}", "<!--", "]]>", "&#60;b&#62;",
		"a\x00b\x1b[2J\u202e", "<![CDATA[", "`=${7*7}", "</style>", "\xff<", "日本語 <p>",
	} {
		f.Add(s)
	}
	now := judgedFrame().Now
	f.Fuzz(func(t *testing.T, raw string) {
		text := strings.TrimSpace(collectors.Clean(collectors.RawString(raw)).String())
		if text == "" {
			t.Skip("nothing is written for it")
		}
		shape, found := parsedPage(t, htmlReportText(t, reportOfText(now, text)), text)
		harmless, want := parsedPage(t, htmlReportText(t, reportOfText(now, "harmless")), "harmless")
		if diff := cmp.Diff(harmless, shape); diff != "" {
			t.Errorf("with %q the page has other tags (-want +got):\n%s", text, diff)
		}
		if len(text) <= 20 && found < want { // longer ones are cut in the verdict
			t.Errorf("%q stands %d times in the page, want %d", text, found, want)
		}
	})
}

// reportOfText is a report in which every text that a host may choose is the same.
func reportOfText(now triage.Moment, s string) Report {
	cell := hostileCell(s)
	cell.Why = s
	var h collectors.Hist
	h.Slots[3] = 25
	table := Table{
		Title: s, Notes: []string{s}, Facts: []Fact{{ID: s, Title: s, Unit: s, Cell: cell}},
		Columns:    []Column{{ID: "name", Title: s, Unit: s, Width: 9, Left: true}, {ID: "n", Title: s, Width: 9}},
		Rows:       []Row{{ID: s, Cells: []Cell{cell, Missing(s)}}},
		Histograms: []Histogram{{ID: "seen", Title: s, Now: &h}, {ID: "unseen", Title: s, Why: s}},
	}
	who := []triage.Culprit{{Kind: "process", Name: safe(s)}}
	now.Findings = []triage.Finding{{ID: "cpu.saturated", Title: s, Evidence: []string{s}, Culprits: who, Victims: who}}
	return Report{Frame: Frame{Now: now}, Panes: []Pane{fixed(table)}, Version: s}
}

// parsedPage lists the tags and attributes of a page, and counts the texts and attributes that hold text.
func parsedPage(t *testing.T, page, text string) (shape []string, found int) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return shape, found
		}
		if err != nil {
			t.Fatalf("reading the page with %q: %v", text, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			tag := "<" + token.Name.Local
			for _, a := range token.Attr {
				tag += " " + a.Name.Local
				found += strings.Count(a.Value, text)
			}
			shape = append(shape, tag)
		case xml.EndElement:
			shape = append(shape, "</"+token.Name.Local)
		case xml.Comment:
			shape = append(shape, "a comment")
		case xml.CharData:
			found += strings.Count(string(token), text)
		}
	}
}
