// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filterTable is a table of what filters meet: sizes, times, rates, texts and missing cells.
func filterTable() Table {
	t := Table{Columns: []Column{
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "USER", Title: "USER", Width: 8, Left: true},
		{ID: "%CPU", Title: "%CPU", Unit: "%", Width: 5, Decimals: 1},
		{ID: "RSS", Title: "RSS", Unit: "KiB", Width: 5, Form: KiB},
		{ID: "kB_rd/s", Title: "kB_rd/s", Unit: "KiB/s", Width: 7, Decimals: 1},
		{ID: "r_await", Title: "r_await", Unit: "ms", Width: 7, Decimals: 2},
		{ID: "w_await", Title: "w_await", Unit: "ms", Width: 7, Decimals: 2},
		{ID: "cswch/s", Title: "cswch/s", Unit: "/s", Width: 7, Decimals: 1},
		{ID: "COMMAND", Title: "COMMAND", Width: 20, Left: true},
	}}
	n, none := Number, Missing("it is not known")
	for _, x := range []struct {
		id    string
		cells []Cell
	}{
		{"fio", []Cell{n(4121), Say("root"), n(91.96), n(31 * 1024), n(2048), n(12), none, n(8100), Say("fio --name=x --rw=randwrite")}},
		{"nginx", []Cell{n(812), Say("www"), n(5.0), n(210 * 1024), n(0), n(1), n(3), n(40), Say("nginx: worker process")}},
		{"php", []Cell{n(77), Say("www"), n(30.2), n(98 * 1024), none, none, n(25), n(900), Say("php-fpm: pool www")}},
		{"idle", []Cell{n(9), Say("root"), n(0), none, none, none, none, none, Say("[kworker/0:1]")}},
		{"Xorg", []Cell{n(5), Say("Ana"), none, n(4), n(1), none, none, n(3), Say("Xorg :0")}},
	} {
		t.Rows = append(t.Rows, Row{ID: x.id, Cells: x.cells})
	}
	return t
}

func TestFilter(t *testing.T) {
	tests := map[string][]string{
		"":                                      {"fio", "nginx", "php", "idle", "Xorg"},
		"fio":                                   {"fio"},
		"FIO":                                   nil, // a capital counts
		"xorg":                                  {"Xorg"},
		"Xorg":                                  {"Xorg"},
		"worker":                                {"nginx", "idle"},
		"worker process":                        {"nginx"},
		"nginx: worker":                         {"nginx"},
		"4121":                                  {"fio"},
		"31m":                                   {"fio"}, // as the screen writes it
		"!www":                                  {"fio", "idle", "Xorg"},
		"not www":                               {"fio", "idle", "Xorg"},
		"!!www":                                 {"nginx", "php"},
		"!(www or fio)":                         {"idle", "Xorg"},
		"re/^(fio|php)/":                        {"fio", "php"},
		"re/^fio":                               {"fio"}, // while it is typed
		"re/kworker\\/0/":                       {"idle"},
		`re/\S+: pool/`:                         {"php"}, // no capital, although \S is one
		"re/xorg/":                              {"Xorg"},
		"re/Fio/":                               nil,
		"re/^" + strings.Repeat(".?", 90) + "/": {"fio", "nginx", "php", "idle", "Xorg"}, // as long as one can type
		`"--rw=randwrite"`:                      {"fio"},
		`"and"`:                                 {"fio"}, // randwrite
		"fio or nginx":                          {"fio", "nginx"},
		"www and php":                           {"php"},
		"www !php":                              {"nginx"},
		"cpu>5":                                 {"fio", "php"},
		"cpu>5 and www":                         {"php"},
		"cpu>5 fio":                             {"fio"},
		"cpu>5 !www":                            {"fio"},
		"pid=77 or re/^fio/":                    {"fio", "php"},
		"cpu >= 5":                              {"fio", "nginx", "php"},
		"cpu<5":                                 {"idle"}, // what is missing is not less
		"cpu<=5":                                {"nginx", "idle"},
		"cpu=5":                                 {"nginx"},
		"cpu=92":                                {"fio"}, // as the screen writes it
		"cpu=92.0":                              {"fio"},
		"cpu!=5":                                {"fio", "php", "idle"},
		"not cpu=5":                             {"fio", "php", "idle", "Xorg"},
		"%CPU>5":                                {"fio", "php"},
		"cpu>5%":                                {"fio", "php"},
		"cpu=-":                                 {"Xorg"},
		"cpu!=-":                                {"fio", "nginx", "php", "idle"},
		"cpu>5 and user=www":                    {"php"},
		"cpu>5 user=www":                        {"php"},
		"cpu>5 or user=www":                     {"fio", "nginx", "php"},
		"(cpu>90 or user=www) and rss>50M":      {"nginx", "php"},
		"cpu>90 or user=www and rss>100M":       {"fio", "nginx"},
		"user=ana":                              {"Xorg"},
		"user=ANA":                              nil,
		"user=ww":                               nil,
		"user~w":                                {"nginx", "php"},
		"user!~w":                               {"fio", "idle", "Xorg"},
		"user~^r":                               {"fio", "idle"},
		"rss>100M":                              {"nginx"},
		"rss>100mib":                            {"nginx"},
		"rss>102400":                            {"nginx"}, // KiB, the unit of the column
		"rss=31M":                               {"fio"},
		"rss<5k":                                {"Xorg"},
		"kb_rd/s>=2M":                           {"fio"},
		"kb_rd>=2M/s":                           {"fio"},
		"r_await>10ms":                          {"fio"},
		"r_await>0.01s":                         {"fio"},
		"r_await<2000us":                        {"nginx"},
		"await>10ms":                            {"fio", "php"},
		"cswch/s>8k":                            {"fio"},
		"cswch>=8.1K":                           {"fio"},
		"command=fio":                           {"fio"},
		"cmd=nginx:":                            {"nginx"},
		"name~pool":                             {"php"},
		`command="fio --name=x --rw=randwrite"`: {"fio"},
		"command~re/^fio|xorg/":                 {"fio", "Xorg"},
		"pid=77":                                {"php"},
		"pid=sh":                                nil,
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			f, err := parseFilter(text)
			if err != nil {
				t.Fatalf("parseFilter(%q): %v", text, err)
			}
			got := filterTable()
			if _, _, err := f.bind(got.Columns); err != nil {
				t.Fatalf("bind(%q): %v", text, err)
			}
			l := newList("")
			l.arrange(Frame{Filter: f}, &got)
			if d := cmp.Diff(want, names(got)); d != "" {
				t.Errorf("%q keeps (-want +got):\n%s", text, d)
			}
			if d := cmp.Diff(want, namesByNeed(t, f)); d != "" {
				t.Errorf("%q keeps of cells that it reads alone (-want +got):\n%s", text, d)
			}
		})
	}
}

// namesByNeed are the rows that a filter keeps if it is given the cells that it says it reads, and no
// others, as the table of processes does.
func namesByNeed(t *testing.T, f *Filter) []string {
	t.Helper()
	table := filterTable()
	test, needs, err := f.bind(table.Columns)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range table.Rows {
		cells := make([]Cell, len(r.Cells))
		for i, need := range needs.needs {
			if need {
				cells[i] = r.Cells[i]
			}
		}
		if test == nil || test(cells) {
			out = append(out, r.ID)
		}
	}
	return out
}

func TestFilterFaults(t *testing.T) {
	tests := map[string]string{
		"cpu>":                   "at 5: compare with what?",
		"cpu>abc":                "at 5: abc is no number",
		"cpu>5 and":              "at 10: something is missing here",
		"and cpu":                "at 1: what comes before and?",
		"cpu>5 or or x":          "at 10: what comes before or?",
		"(cpu>5":                 "at 1: a ( without its )",
		"cpu>5)":                 "at 6: a ) without its (",
		"()":                     "at 2: something is missing before )",
		">5":                     "at 1: which column?",
		"!":                      "at 2: something is missing here",
		`"fio`:                   `at 1: a " without the second`,
		"cpi>5":                  "at 1: no column cpi here",
		"fio and cpi>5":          "at 9: no column cpi here",
		"rss>10ms":               "at 5: RSS is a size, which 10ms is not",
		"r_await>3M":             "at 9: r_await is a time, which 3M is not",
		"cpu>5x":                 "at 5: %CPU is a count, which 5x is not",
		"re/(/":                  "at 1: no pattern: missing closing ): `(`",
		"user~[":                 "at 6: no pattern: missing closing ]: `[`",
		"re/(x*){999}y/":         "at 1: this pattern repeats too much",
		"cmd~re/(.{0,30}){30}/":  "at 5: this pattern repeats too much",
		"user=re/x/":             "at 6: a pattern needs ~ before it",
		strings.Repeat("(", 200): "too many brackets",
	}
	for text, want := range tests {
		f, err := parseFilter(text)
		if err == nil {
			_, _, err = f.bind(filterTable().Columns)
		}
		var wrong *fault
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// A quantile is its bucket: it is more than a time if all of the bucket is.
func TestFilterOfBuckets(t *testing.T) {
	tab := Table{Columns: []Column{{ID: "p99", Title: "p99", Width: 9}}}
	for _, s := range []string{"2-3µs", "64-127µs", "0.5-1ms", "16-33ms", "1-2s", ">67s"} {
		tab.Rows = append(tab.Rows, Row{ID: s, Cells: []Cell{Say(s)}})
	}
	tab.Rows = append(tab.Rows, Row{ID: "-", Cells: []Cell{Missing("none")}}, Row{ID: "none", Cells: []Cell{Say("-")}})
	for text, want := range map[string][]string{
		"p99>10ms":   {"16-33ms", "1-2s", ">67s"},
		"p99>20ms":   {"1-2s", ">67s"},
		"p99>=0.5ms": {"0.5-1ms", "16-33ms", "1-2s", ">67s"},
		"p99<100us":  {"2-3µs"},
		"p99<=3us":   {"2-3µs"},
		"p99>2m":     nil,
		"p99=2-3µs":  {"2-3µs"},
	} {
		f, err := parseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		got := tab
		got.Rows = slices.Clone(tab.Rows)
		l := newList("")
		l.arrange(Frame{Filter: f}, &got)
		if d := cmp.Diff(want, names(got)); d != "" {
			t.Errorf("%s keeps (-want +got):\n%s", text, d)
		}
	}
}

// A filter on a column that another table of the pane lacks leaves that table whole, and says so.
func TestFilterOfAnotherTable(t *testing.T) {
	f, err := parseFilter("cpu>5")
	if err != nil {
		t.Fatal(err)
	}
	got, s := table(), &sight{}
	l := newList("a")
	l.arrange(Frame{Filter: f, sight: s}, &got)
	if len(got.Rows) != 5 || !strings.Contains(s.badge(Frame{Filter: f}, 40), "not for this table") {
		t.Errorf("%d rows and the badge %q, want all 5 and that the filter is not for this table", len(got.Rows), s.badge(Frame{Filter: f}, 40))
	}
}

// Where nothing is left the table says what keeps the rows away, and the cursor is on none of them.
func TestFilterLeavesNothing(t *testing.T) {
	f, err := parseFilter("zzz")
	if err != nil {
		t.Fatal(err)
	}
	got, s := table(), &sight{}
	l := newList("a")
	l.arrange(Frame{Filter: f, sight: s}, &got)
	if len(got.Rows) != 1 || !strings.Contains(got.Rows[0].None, "none of 5 rows passes: filter zzz") {
		t.Errorf("rows %+v, want one that says why there is none", got.Rows)
	}
	if r, ok := l.row(got); ok {
		t.Errorf("the cursor is on %+v", r)
	}
}

// Sums stay, first, whatever is filtered and however it is sorted.
func TestFilterKeepsSums(t *testing.T) {
	f, err := parseFilter("name=ten")
	if err != nil {
		t.Fatal(err)
	}
	got := table()
	got.Rows[4].Sum = true
	l := list{sort: "a", up: true}
	l.arrange(Frame{Filter: f}, &got)
	if d := cmp.Diff([]string{"one", "ten"}, names(got)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"cpu>5 and user=www", "re/a/ or !(b)", `"x" ~ y`, "await>10ms", "not not x", "a=-", "((", "re/\\", "µ>1µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseFilter(text)
		n := len([]rune(text))
		var wrong *fault
		if errors.As(err, &wrong) && (wrong.at < 0 || wrong.at > n) {
			t.Errorf("%q is wrong at %d of %d", text, wrong.at, n)
		}
		if err != nil {
			return
		}
		tab := filterTable()
		keep, _, err := x.bind(tab.Columns)
		if errors.As(err, &wrong) && (wrong.at < 0 || wrong.at > n) {
			t.Errorf("%q is wrong at %d of %d", text, wrong.at, n)
		}
		if err != nil || keep == nil {
			return
		}
		for _, r := range tab.Rows {
			keep(r.Cells)
		}
		keep(nil)
	})
}
