// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"bpf60/collectors"
)

// TestReportHasEveryView: what a pane shows in another of its views is in its reports, under a title of
// its own, with rows where the frame has them.
func TestReportHasEveryView(t *testing.T) {
	f := frames()["busy"]
	tests := map[ID]struct {
		pane   Pane
		tables []string // that have rows
		facts  []string
	}{
		CPUPane:     {NewCPU(), []string{"softirqs", "interrupts"}, nil},
		MemoryPane:  {NewMemory(), []string{"tables and limits"}, []string{"pgthrottle/s", "shrunk/s", "numa_miss/s", "%commit"}},
		NetworkPane: {NewNetwork(), []string{"softnet", "network namespaces"}, []string{"idisc/s", "ihdrerr/s"}},
		TCPPane:     {NewTCP(), []string{"listeners", "peers", "counters"}, nil},
	}
	for id, tt := range tests {
		table := tt.pane.Table(f)
		rows := map[string]int{}
		for _, more := range table.More {
			if _, twice := rows[more.Title]; twice {
				t.Errorf("%s: two tables are called %q", id, more.Title)
			}
			rows[more.Title] = len(more.Rows)
		}
		for _, title := range tt.tables {
			if n, ok := rows[title]; !ok || n == 0 {
				t.Errorf("%s: %q has %d rows, of %v", id, title, n, rows)
			}
		}
		for _, fact := range tt.facts {
			if !slices.ContainsFunc(table.Facts, func(x Fact) bool { return x.ID == fact }) {
				t.Errorf("%s: no fact %q", id, fact)
			}
		}
		var text writer
		textPane(&text, tt.pane, f)
		for _, title := range tt.tables {
			if !slices.Contains(text.lines, title) {
				t.Errorf("%s: the text report has no table %q", id, title)
			}
		}
		b, err := json.Marshal(paneJSON(table))
		if err != nil {
			t.Fatal(err)
		}
		for _, title := range tt.tables {
			if !strings.Contains(string(b), `"`+title+`"`) {
				t.Errorf("%s: the JSON report has no table %q", id, title)
			}
		}
	}
}

// TestReportWants: what a table of a report reads on demand is asked for, and handlers are not timed for it.
func TestReportWants(t *testing.T) {
	var r Reporter = NewCPU()
	if got := r.ReportWants(); !slices.Equal(got, []collectors.Want{{ID: collectors.IRQID}}) {
		t.Errorf("the CPU pane's report wants %v", got)
	}
}
