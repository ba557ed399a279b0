// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
)

// tabled is a pane of one table.
type tabled struct {
	info  Info
	table Table
}

func (p tabled) Info() Info                    { return p.info }
func (p tabled) Wants(Scope) []collectors.Want { return nil }
func (p tabled) Keys() []keymap.Key            { return nil }
func (p tabled) Update(tea.Msg) Answer         { return nil }
func (p tabled) View(Frame, Canvas) string     { return "" }
func (p tabled) Table(Frame) Table             { return p.table }

// printed is a pane in full, as lines.
func printed(p Pane) []string {
	w := &writer{}
	textPane(w, p, Frame{})
	return w.lines
}

func TestTextPane(t *testing.T) {
	disks := func(columns ...Column) Table {
		table := Table{Columns: append([]Column{{ID: "Device", Title: "Device", Width: 6, Left: true}}, columns...)}
		for _, name := range []string{"vda", "a-very-long-name"} {
			r := Row{ID: name, Cells: []Cell{Say(name)}}
			for i := range columns {
				r.Cells = append(r.Cells, Number(float64(i+1)))
			}
			table.Rows = append(table.Rows, r)
		}
		return table
	}
	number := func(id string, width, rank int) Column {
		return Column{ID: id, Title: id, Width: width, Rank: rank}
	}
	iostat := Info{ID: "disk", Title: "Disk", Command: "iostat -xz 1"}
	rule := func(title string) string { return title + strings.Repeat("─", reportWidth-ansi.StringWidth(title)) }

	short := disks(number("r/s", 5, 0))
	short.Rows[1].Cells = short.Rows[1].Cells[:1]
	named := disks(number("r/s", 40, 0), number("w/s", 40, 1), number("%util", 5, 0))
	named.Columns = append(named.Columns, Column{ID: "model", Title: "model", Width: 8, Left: true})
	for i := range named.Rows {
		named.Rows[i].Cells = append(named.Rows[i].Cells, Say("virtio"))
	}
	two := disks()
	two.Notes = []string{"a note"}
	two.More = []Table{{Title: "df", Columns: []Column{number("Use%", 5, 0)}, Rows: []Row{{ID: "/", Cells: []Cell{Number(97)}}}}}

	tests := map[string]struct {
		info  Info
		table Table
		want  []string
	}{
		"the command is the title": {iostat, Table{}, []string{"", rule("── iostat -xz 1 ── disk ──")}},
		"a pane without a command": {Info{Title: "Overview"}, Table{}, []string{"", rule("── overview ──")}},
		"names are not cut": {iostat, disks(number("r/s", 5, 0)), []string{
			"", rule("── iostat -xz 1 ── disk ──"),
			"  Device             r/s",
			"  vda                  1",
			"  a-very-long-name     1",
		}},
		"a row without all cells": {iostat, short, []string{
			"", rule("── iostat -xz 1 ── disk ──"),
			"  Device             r/s",
			"  vda                  1",
			"  a-very-long-name     -",
		}},
		"what does not fit goes below, the last first": {iostat, disks(number("r/s", 40, 0), number("w/s", 40, 0), number("d/s", 40, 0)), []string{
			"", rule("── iostat -xz 1 ── disk ──"),
			"  Device           " + fmt.Sprintf("%40s %40s", "r/s", "w/s"),
			"  vda              " + fmt.Sprintf("%40s %40s", "1", "2"),
			"  a-very-long-name " + fmt.Sprintf("%40s %40s", "1", "2"),
			"",
			"  Device           " + fmt.Sprintf("%40s", "d/s"),
			"  vda              " + fmt.Sprintf("%40s", "3"),
			"  a-very-long-name " + fmt.Sprintf("%40s", "3"),
		}},
		"the least important goes first, the name at the end stays": {iostat, named, []string{
			"", rule("── iostat -xz 1 ── disk ──"),
			"  Device           " + fmt.Sprintf("%40s %5s model", "r/s", "%util"),
			"  vda              " + fmt.Sprintf("%40s %5s virtio", "1", "3"),
			"  a-very-long-name " + fmt.Sprintf("%40s %5s virtio", "1", "3"),
			"",
			"  Device           " + fmt.Sprintf("%40s", "w/s"),
			"  vda              " + fmt.Sprintf("%40s", "2"),
			"  a-very-long-name " + fmt.Sprintf("%40s", "2"),
		}},
		"a second table": {iostat, two, []string{
			"", rule("── iostat -xz 1 ── disk ──"),
			"  Device", "  vda", "  a-very-long-name", "", "  a note", "", "df", "   Use%", "     97",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, printed(tabled{tt.info, tt.table})); diff != "" {
				t.Errorf("textPane (-want +got):\n%s", diff)
			}
		})
	}
}

// Every column of a table is printed once, whatever their widths, and the first one in each block.
func TestTextBlocksHoldAll(t *testing.T) {
	for _, width := range []int{1, 9, 33, 60, 98, 200} {
		columns := make([]Column, 30)
		for i := range columns {
			columns[i] = Column{ID: fmt.Sprint(i), Title: fmt.Sprint(i), Width: width, Rank: i % 4, Left: i == 29}
		}
		seen := map[int]int{}
		for _, b := range textBlocks(columns, nil) {
			for _, c := range b[1:] {
				seen[c.index]++
			}
			if b[0].index != 0 {
				t.Errorf("width %d: a block begins with column %d", width, b[0].index)
			}
			if b.width() > reportWidth && len(b) > 2 {
				t.Errorf("width %d: a block of %d columns is %d wide", width, len(b), b.width())
			}
		}
		for i := 1; i < len(columns); i++ {
			if seen[i] != 1 {
				t.Errorf("width %d: column %d is printed %d times", width, i, seen[i])
			}
		}
	}
}

// However much there is to say, it fits on the ticket, the worst first.
func TestTicketIsBounded(t *testing.T) {
	for _, n := range []int{0, 1, 3, 10, 40} {
		for _, effects := range []bool{false, true} {
			r := judgedReport()
			r.Frame.Verdict, r.Healthy, r.Unchecked, r.Brief = nil, nil, nil, true
			one := r.Frame.Now.Findings[0]
			r.Frame.Now.Findings = nil
			probes := map[collectors.ID][]collectors.Probe{}
			for i := range n {
				f := one
				f.ID, f.Command = fmt.Sprintf("cpu.finding%d", i), fmt.Sprintf("vmstat -w %d", i)
				f.Evidence = []string{strings.Repeat("a measured fact ", 12)}
				if effects && i > 0 {
					f.CausedBy = "cpu.finding0"
				}
				r.Frame.Now.Findings = append(r.Frame.Now.Findings, f)
				r.Healthy = append(r.Healthy, Healthy{Resource: fmt.Sprint("resource ", i), Evidence: []string{"well"}})
				r.Unchecked = append(r.Unchecked, Unchecked{fmt.Sprint("thing ", i), strings.Repeat("a reason ", 15), "a remedy"})
				probes[collectors.ID(fmt.Sprint(i))] = []collectors.Probe{{Name: fmt.Sprint("probe", i), Reason: strings.Repeat("why ", 30) + fmt.Sprint(i)}}
			}
			snapshot := *r.Frame.Now.Snapshot
			snapshot.Probes = probes
			r.Frame.Now.Snapshot = &snapshot
			var b bytes.Buffer
			if err := Text(&b, r); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(b.String(), "\n"); lines > ticketLines {
				t.Errorf("%d findings: the part for a ticket has %d lines, want at most %d:\n%s", n, lines, ticketLines, b.String())
			}
			for _, want := range []string{"cpu.finding0", "60 seconds", "quality", "to verify"} {
				if n > 0 && !strings.Contains(b.String(), want) {
					t.Errorf("%d findings: no %q in\n%s", n, want, b.String())
				}
			}
			listed := 0
			for i := range n {
				if strings.Contains(b.String(), fmt.Sprintf("cpu.finding%d %s", i, one.Title)) {
					listed++
					if !strings.Contains(b.String(), fmt.Sprintf("\n  vmstat -w %d\n", i)) {
						t.Errorf("%d findings: finding %d is listed without its command:\n%s", n, i, b.String())
					}
				}
			}
			if listed < min(n, 1) || strings.Count(b.String(), "vmstat -w") != listed {
				t.Errorf("%d findings: %d are listed, with %d commands", n, listed, strings.Count(b.String(), "vmstat -w"))
			}
			if want := "more"; n >= 10 && strings.Count(b.String(), want) < 3 {
				t.Errorf("%d findings: what is left out is not counted:\n%s", n, b.String())
			}
		}
	}
}

// Reports count what they leave out.
func TestReportBoundsRows(t *testing.T) {
	table := Table{Columns: []Column{{ID: "PID", Title: "PID", Width: 7}}}
	for i := range 5000 {
		table.Rows = append(table.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{Number(float64(i))}})
	}
	p := tabled{Info{ID: "processes", Title: "Processes"}, table}
	got := printed(p)
	if want := 2 + 1 + textRowsMost + 1; len(got) != want {
		t.Errorf("the report has %d lines, want %d", len(got), want)
	}
	if want := fmt.Sprintf("  and %d more", 5000-textRowsMost); got[len(got)-1] != want {
		t.Errorf("the last line is %q, want %q", got[len(got)-1], want)
	}
	var b bytes.Buffer
	if err := JSON(&b, Report{Panes: []Pane{p}}); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Panes map[string]struct {
			Rows [][]float64
			More int `json:"more_rows"`
		}
	}
	if err := json.Unmarshal(b.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	rows := report.Panes["processes"]
	if len(rows.Rows) != jsonRowsMost || rows.More != 5000-jsonRowsMost {
		t.Errorf("the JSON report has %d rows and %d more, want %d and %d", len(rows.Rows), rows.More, jsonRowsMost, 5000-jsonRowsMost)
	}
}
