// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"strings"
	"testing"
)

// The comparison itself: it must see what is wrong.
func TestCompareCell(t *testing.T) {
	ours := report{Seconds: span + 1, Panes: map[string]pane{
		"cpu": {
			Facts: []struct {
				ID, Unit string
				Value    any
			}{{"cs", "/s", 1000.0}, {"in", "/s", nil}},
			Columns: []struct{ ID, Unit string }{{"CPU", ""}, {"%usr", "%"}, {"%irq", "%"}},
			Rows:    [][]any{{"all", 30.0, 0.0}, {"0", 40.0, 0.0}, {"1", 20.0, nil}},
		},
		"disk": {
			Columns: []struct{ ID, Unit string }{{"Device", ""}, {"wkB/s", "bytes/s"}},
			Rows:    [][]any{{"vda", 2048.0}},
		},
		"memory": {Facts: []struct {
			ID, Unit string
			Value    any
		}{
			{"free", "MiB", 10.0},
			{"buffers", "MiB", 2.0},
			{"cache", "MiB", 3.0},
			{"swap_total", "MiB", 30.0},
			{"swpd", "MiB", 4.0},
			{"swap_free", "MiB", nil},
		}},
		"processes": {
			Columns: []struct{ ID, Unit string }{{"PID", ""}, {"iodelay", "ms"}},
			Rows:    [][]any{{"7", 1200.0}, {"8", nil}},
		},
		"tcp": {
			Columns: []struct{ ID, Unit string }{{"local_address", ""}, {"rttvar", "ms"}, {"minrtt", "ms"}, {"retrans", "segments"}},
			Rows:    [][]any{{"127.0.0.1:80", 0.25, 0.04, 5.0}},
		},
	}}
	tests := map[string]struct {
		column, row string
		tool        string
		theirs      []string // as printed
		state       found
		ok, absent  bool
	}{
		"equal":                     {column: "cs", tool: "vmstat", theirs: []string{"1000"}, state: here, ok: true},
		"between two":               {column: "cs", tool: "vmstat", theirs: []string{"900", "1100"}, state: here, ok: true},
		"within the shift":          {column: "cs", tool: "vmstat", theirs: []string{"985"}, state: here, ok: true},
		"beyond it":                 {column: "cs", tool: "vmstat", theirs: []string{"970"}, state: here},
		"beyond two":                {column: "cs", tool: "vmstat", theirs: []string{"940", "970"}, state: here},
		"a column of a row":         {column: "%usr", row: "0", tool: "mpstat", theirs: []string{"40.00"}, state: here, ok: true},
		"of another row":            {column: "%usr", row: "1", tool: "mpstat", theirs: []string{"40.00"}, state: here},
		"no such row":               {column: "%usr", row: "7", tool: "mpstat", theirs: []string{"40.00"}, state: noRow},
		"no row for nothing":        {column: "%usr", row: "7", tool: "mpstat", theirs: []string{"0.00"}, absent: true},
		"no such column":            {column: "%sys", row: "0", tool: "mpstat", theirs: []string{"40.00"}, state: noColumn},
		"missing":                   {column: "in", tool: "vmstat", theirs: []string{"12"}, state: noNumber},
		"missing where theirs is 0": {column: "in", tool: "vmstat", theirs: []string{"0"}, state: noNumber},
		"nothing is -":              {column: "%irq", row: "1", tool: "mpstat", theirs: []string{"0.00"}, state: here, ok: true},
		"the tool has none":         {column: "gu", tool: "vmstat", absent: true},
		"in other units":            {column: "wkB/s", row: "vda", tool: "iostat", theirs: []string{"2.00"}, state: here, ok: true},
		"in other units, wrong":     {column: "wkB/s", row: "vda", tool: "iostat", theirs: []string{"2048.00"}, state: here},
		"a gauge between readings":  {column: "free", tool: "free", theirs: []string{"10000000", "11000000"}, state: here, ok: true},
		"a gauge has no shift":      {column: "free", tool: "free", theirs: []string{"10400000"}, state: here},
		"a sum of two":              {column: "buff/cache", tool: "free", theirs: []string{"5242880"}, state: here, ok: true},
		"a sum of two, wrong":       {column: "buff/cache", tool: "free", theirs: []string{"3145728"}, state: here},
		"swap":                      {column: "used", tool: "free Swap", theirs: []string{"4194304"}, state: here, ok: true},
		"swap, wrong":               {column: "total", tool: "free Swap", theirs: []string{"32505856"}, state: here},
		"swap, missing":             {column: "free", tool: "free Swap", theirs: []string{"27262976"}, state: noNumber},
		"a total of six seconds":    {column: "iodelay", row: "7", tool: "pidstat", theirs: []string{"100", "102"}, state: here, ok: true},
		"in other units, too much":  {column: "iodelay", row: "7", tool: "pidstat", theirs: []string{"1000"}, state: here},
		"a total, wrong":            {column: "iodelay", row: "7", tool: "pidstat", theirs: []string{"115"}, state: here},
		"may be missing":            {column: "iodelay", row: "8", tool: "pidstat", theirs: []string{"99"}, absent: true},
		"rttvar":                    {column: "rttvar", row: "127.0.0.1:80", tool: "ss", theirs: []string{"0.3"}, state: here, ok: true},
		"rttvar, wrong":             {column: "rttvar", row: "127.0.0.1:80", tool: "ss", theirs: []string{"250"}, state: here},
		"minrtt":                    {column: "minrtt", row: "127.0.0.1:80", tool: "ss", theirs: []string{"0.042"}, state: here, ok: true},
		"minrtt, wrong":             {column: "minrtt", row: "127.0.0.1:80", tool: "ss", theirs: []string{"0.060"}, state: here},
		"sent again":                {column: "retrans", row: "127.0.0.1:80", tool: "ss", theirs: []string{"4"}, state: here, ok: true},
		"sent again, wrong":         {column: "retrans", row: "127.0.0.1:80", tool: "ss", theirs: []string{"3"}, state: here},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			col := column{name: tt.column, tool: tt.tool, ids: []string{tt.column}, pane: map[string]string{
				"vmstat": "cpu", "mpstat": "cpu", "iostat": "disk",
			}[tt.tool]}
			for _, c := range columns() {
				if c.tool == tt.tool && c.name == tt.column {
					col = c
				}
			}
			var theirs []record
			for _, text := range tt.theirs {
				v, _ := number(text)
				theirs = append(theirs, record{cells: map[string]cell{tt.column: v}})
			}
			got, there := compareCell(col, tt.row, theirs, ours)
			if there == tt.absent {
				t.Fatalf("compared: %t, want %t", there, !tt.absent)
			}
			if there && (got.state != tt.state || got.ok() != tt.ok) {
				t.Errorf("state %d ok %t, want %d %t: %+v", got.state, got.ok(), tt.state, tt.ok, got)
			}
		})
	}
}

// What is not built yet is told by name; what must be there is an error without it.
func TestCompareAllTellsWhatIsNotBuilt(t *testing.T) {
	one := func(names string) map[string][]record {
		r := record{cells: map[string]cell{}}
		for _, name := range strings.Fields(names) {
			r.cells[name] = cell{1, 1}
		}
		return map[string][]record{"": {r}}
	}
	seen := map[string]map[string][]record{"free": one("total used"), "vmstat": one("cs in")}
	all, untold := compareAll(seen, report{}, nil, []string{"cpu"})
	if len(all) != 2 || all[0].state != noPane || all[1].state != noPane {
		t.Errorf("without a CPU pane: %+v, want two cells without a pane", all)
	}
	if list := strings.Join(untold["memory"], ", "); !strings.Contains(list, "free total") {
		t.Errorf("not built yet: %s; want free's total among it", list)
	}
}
