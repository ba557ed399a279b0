// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
)

// tablePane is a pane that shows one table.
type tablePane struct{ table func(Frame) Table }

func (tablePane) Info() Info                    { return Info{ID: "some", Title: "Some", Command: "some 1"} }
func (tablePane) Wants(Scope) []collectors.Want { return nil }
func (tablePane) Keys() []keymap.Key            { return nil }
func (tablePane) Update(tea.Msg) Answer         { return nil }
func (tablePane) View(Frame, Canvas) string     { return "" }
func (p tablePane) Table(f Frame) Table         { return p.table(f) }
func fixed(t Table) tablePane                   { return tablePane{func(Frame) Table { return t }} }

func hostileCell(name string) Cell { return Name(collectors.Clean(collectors.RawString(name))) }

func htmlReportText(t *testing.T, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever was measured, the page is bounded, names every pane, and has nothing that loads or runs.
func TestHTMLReport(t *testing.T) {
	t.Parallel()
	const most = 2 << 20
	for _, name := range everyFixture("extreme") {
		f := frames()[name]
		t.Run(name, func(t *testing.T) {
			page := htmlReportText(t, reportOf(f))
			if len(page) > most {
				t.Errorf("the page has %d bytes, want at most %d", len(page), most)
			}
			for _, p := range All() {
				if id := `id="` + string(p.Info().ID) + `"`; strings.Count(page, id) != 1 {
					t.Errorf("the page has %d parts with %s, want one", strings.Count(page, id), id)
				}
			}
			for _, bad := range []string{"<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "javascript:", "ZgotmplZ"} {
				if strings.Contains(page, bad) {
					t.Errorf("the page holds %q", bad)
				}
			}
			for _, c := range page {
				if c < 0x20 && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' {
					t.Fatalf("the page holds the character %#x", c)
				}
			}
		})
	}
}

// What a report says as text it says as HTML: findings with their evidence, the ticket's lists.
func TestHTMLSaysAll(t *testing.T) {
	r := judgedReport()
	page := html.UnescapeString(htmlReportText(t, r))
	for _, want := range []string{verdict(r), "depth1", "available 42 %", "file system latency", "run-queue latency", "each column"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, l := range listed(r.Frame) {
		for _, want := range append([]string{l.finding.ID, measured(l.finding)}, l.finding.Evidence...) {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q of %s", want, l.finding.ID)
			}
		}
	}
}

func TestHTMLBounds(t *testing.T) {
	long := Table{Title: "long", Columns: []Column{{ID: "name", Title: "NAME", Width: 9, Left: true}}}
	for i := range 5000 {
		long.Rows = append(long.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{hostileCell(strings.Repeat("x", 5000))}})
	}
	r := Report{Panes: []Pane{fixed(long)}}
	page := htmlReportText(t, r)
	if len(page) > 200_000 || !strings.Contains(page, "and 4800 more rows") {
		t.Errorf("a table of 25 MB makes a page of %d bytes", len(page))
	}
}

// The parts that the heat map is made of hold each sample of the run once.
func TestHeatMapHoldsTheRun(t *testing.T) {
	for _, seconds := range []int{2, 31, 60, 61, 91, 200} {
		f := busyStory(seconds).frame()
		f.Span = f.Now.At
		parts := slices60(f)
		if len(parts) < 2 || len(parts) > heatColumns {
			t.Errorf("%d s: %d columns, want 2 to %d", seconds, len(parts), heatColumns)
		}
		var sum collectors.Hist
		for _, part := range parts {
			if h := NewCPU().Table(part).Histograms[0].Now; h != nil {
				sum.Plus(h)
			}
		}
		if want := *NewCPU().Table(f).Histograms[0].Now; sum != want {
			t.Errorf("%d s: the columns hold %d waits, want %d", seconds, sum.Count(), want.Count())
		}
	}
}

func TestHeatMap(t *testing.T) {
	var low, high collectors.Hist
	low.Slots[2], low.Slots[4], high.Slots[4] = 1, 1000, 30
	m := heatMap([]*collectors.Hist{&low, nil, &high})
	got := make(map[string]string)
	for _, row := range m.Rows {
		for _, s := range row.Shades {
			got[fmt.Sprintf("%s n%s h%d", row.Range, row.Count, s.Shade)] = s.Path
		}
	}
	want := map[string]string{
		"16-31µs n1030 h5": "M0 0h1v1h-1z", "16-31µs n1030 h0": "M1 0h1v1h-1z", "16-31µs n1030 h3": "M2 0h1v1h-1z",
		"8-15µs n0 h0": "M1 0h1v1h-1z", "4-7µs n1 h0": "M1 0h1v1h-1z", "4-7µs n1 h1": "M0 0h1v1h-1z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("heatMap (-want +got):\n%s", diff)
	}
	if heatMap([]*collectors.Hist{nil, {}}) != nil {
		t.Error("a heat map of nothing")
	}
	for shade, n := range []uint64{1, 16, 63, 251, 1000} {
		if got := heatShade(n, 1000); got != shade+1 && heatMost(got, 1000) < n {
			t.Errorf("%d of 1000 has shade %d, which holds at most %d", n, got, heatMost(got, 1000))
		}
	}
}

// browser runs a headless Chromium over a page, as a reader would open it from a mail.
func browser(t *testing.T, page string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no chromium; CI must have it")
		}
		t.Skip("no chromium: make test-deps")
	}
	args = append([]string{
		"--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-default-apps", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // what the browser asks for itself goes nowhere
		"--user-data-dir=" + t.TempDir(),
	}, args...)
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "file://"+page)...)
	cmd.WaitDelay = time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return string(out)
}

// TestHTMLInBrowser opens a page full of hostile names in a real browser: names stay text, nothing is
// asked of any server, and the bars are as long as their counts say.
func TestHTMLInBrowser(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	hostile := []string{
		`<script>document.title="owned"</script>`,
		`<img src="` + server.URL + `/i" onerror="document.title='owned'">`,
		`"><style>@import url(` + server.URL + `/s)</style>`,
		`</td></table><iframe src=` + server.URL + `></iframe>`,
		`{{.Style}} ${7*7} javascript:alert(1)`,
	}
	h := collectors.Hist{}
	h.Slots[3], h.Slots[4], h.Slots[5] = 25, 100, 50
	table := Table{
		Title: "names", Columns: []Column{{ID: "name", Title: "NAME", Width: 9, Left: true}},
		Histograms: []Histogram{{ID: "lat", Title: "latency", Now: &h}},
	}
	for i, name := range hostile {
		table.Rows = append(table.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{hostileCell(name)}})
	}
	dir := t.TempDir()
	page, shot, log := filepath.Join(dir, "report.html"), filepath.Join(dir, "shot.png"), filepath.Join(dir, "net.json")
	text := htmlReportText(t, Report{Panes: []Pane{fixed(table)}, Version: hostile[0]})
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	dom := browser(t, page, "--dump-dom", "--log-net-log="+log)
	if strings.Contains(dom, "<script") || strings.Contains(dom, "<img") || strings.Contains(dom, "<iframe") || strings.Contains(dom, "<title>owned") {
		t.Errorf("a name became a part of the page:\n%.3000s", dom)
	}
	for _, name := range hostile {
		if !strings.Contains(html.UnescapeString(dom), name) {
			t.Errorf("the page lacks the text %q", name)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the page asked the server %d times", n)
	}
	if urls := netLog(t, log); len(urls) > 0 {
		t.Errorf("the page asked for %s", urls)
	}
	// A page that asks is seen.
	asks := filepath.Join(dir, "asks.html")
	if err := os.WriteFile(asks, []byte("<p>"+hostile[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	browser(t, asks, "--dump-dom", "--log-net-log="+log)
	if n, urls := asked.Load(), netLog(t, log); n == 0 || len(urls) == 0 {
		t.Errorf("a page with a picture asked the server %d times, and the log has %q", n, urls)
	}

	browser(t, page, "--screenshot="+shot, "--window-size=800,1200")
	// The colour comes from the style sheet: without it, as when the page's policy refused it, there is none.
	bars := barsIn(t, shot, color.RGBA{0x00, 0x72, 0xb2, 0xff})
	if len(bars) != 3 {
		t.Fatalf("%d bars, want 3: %v", len(bars), bars)
	}
	for i, want := range []float64{0.25, 1, 0.5} {
		if got := float64(bars[i]) / float64(bars[1]); got < want-0.01 || got > want+0.01 {
			t.Errorf("bar %d is %.3f of the longest, want %.2f", i, got, want)
		}
	}
}

// netLog lists the addresses that a page asked for.
func netLog(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Events []struct {
			Params struct {
				URL       string `json:"url"`
				Initiator string `json:"initiator"`
			} `json:"params"`
		} `json:"events"`
	}
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatalf("reading the browser's log: %v", err)
	}
	var out []string
	for _, e := range log.Events {
		// What the browser asks for itself has no origin.
		if e.Params.URL != "" && e.Params.Initiator != "" && e.Params.Initiator != "not an origin" {
			out = append(out, e.Params.URL)
		}
	}
	if len(log.Events) == 0 {
		t.Error("the browser's log is empty")
	}
	return out
}

// barsIn lists the lengths of the bars of a colour in a picture, from the top.
func barsIn(t *testing.T, path string, c color.RGBA) []int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	before := 0
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		n := 0
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			if color.RGBAModel.Convert(img.At(x, y)) == c {
				n++
			}
		}
		switch {
		case n > 0 && before == 0:
			out = append(out, n)
		case n > 0:
			out[len(out)-1] = max(out[len(out)-1], n)
		}
		before = n
	}
	return out
}
