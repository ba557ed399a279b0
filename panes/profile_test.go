// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pprof "github.com/google/pprof/profile"

	"bpf60/collectors"
)

// profileOf makes a profile of lines: PID, command, and frames, outermost first; those of the kernel end with
// _[k], and those in brackets have no name.
func profileOf(counts map[string]uint64) *collectors.Profile {
	p := &collectors.Profile{
		Started: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Took: 30 * time.Second, Hz: 99, CPUs: 2, Processes: 3, Gone: 1,
		OwnCPU: 300 * time.Millisecond, OwnBPF: 100 * time.Millisecond, Own: 1, Named: 9, Unnamed: 1,
	}
	known := make(map[string]int32)
	for line, n := range counts {
		words := strings.Split(line, "|")
		s := collectors.ProfileStack{Comm: collectors.Clean(collectors.RawString(words[1])), Count: n}
		fmt.Sscan(words[0], &s.Process.TGID)
		for _, name := range words[2:] {
			i, ok := known[name]
			if !ok {
				i = int32(len(p.Frames))
				known[name] = i
				text, kernel := strings.CutSuffix(name, "_[k]")
				p.Frames = append(p.Frames, collectors.ProfileFrame{
					Name: collectors.Clean(collectors.RawString(text)), Kernel: kernel, Known: !strings.HasPrefix(text, "["),
				})
			}
			s.Frames = append(s.Frames, i)
		}
		p.Stacks = append(p.Stacks, s)
		p.Samples += n
	}
	return p
}

func TestFolded(t *testing.T) {
	var b bytes.Buffer
	if err := Folded(&b, profileOf(map[string]uint64{
		"1|sh|main|read|vfs_read_[k]":        3,
		"2|sh|main|read|vfs_read_[k]":        4, // of another process
		"3|a;b|f[struct { A int; B int }]":   1,
		"4|evil\n1|main\x1b[31m|[libc+0x1f]": 2,
		"5|kworker|[unknown]_[k]":            1,
	})); err != nil {
		t.Fatal(err)
	}
	want := `a:b;f[struct { A int: B int }] 1
evil\x0a1;main\x1b[31m;[libc+0x1f] 2
kworker;[unknown]_[k] 1
sh;main;read;vfs_read_[k] 7
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Folded (-want +got):\n%s", diff)
	}
}

// TestPprof: the profile is read by the library, and by go tool pprof.
func TestPprof(t *testing.T) {
	p := profileOf(map[string]uint64{"7|sh|main|hot": 75, "7|sh|main|cold": 24, "8|sh|hot|deep_[k]": 1})
	var b bytes.Buffer
	if err := Pprof(&b, p); err != nil {
		t.Fatal(err)
	}
	got, err := pprof.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	pids := make(map[int64]int64)
	for _, s := range got.Sample {
		sum += s.Value[0]
		pids[s.NumLabel["pid"][0]] += s.Value[0]
		if s.Value[1] != s.Value[0]*10101010 || s.Label["comm"][0] != "sh" {
			t.Errorf("sample %v of %v, want 10.1 ms for each of sh", s.Value, s.Label)
		}
	}
	if diff := cmp.Diff(map[int64]int64{7: 99, 8: 1}, pids); diff != "" || sum != 100 || got.DurationNanos != 30e9 {
		t.Errorf("%d samples in %d ns (-want +got):\n%s", sum, got.DurationNanos, diff)
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go tool")
	}
	file := filepath.Join(t.TempDir(), "cpu.pb.gz")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "tool", "pprof", "-sample_index=samples", "-top", file)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go tool pprof: %v\n%s", err, out)
	}
	var top []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 6 && strings.HasSuffix(f[1], "%") {
			top = append(top, f[0]+" "+f[3]+" "+f[5])
		}
	}
	if diff := cmp.Diff([]string{"75 76 hot", "24 24 cold", "1 1 deep", "0 99 main"}, top); diff != "" {
		t.Errorf("go tool pprof -top (-want +got):\n%s\n%s", diff, out)
	}
}

func TestProfileSummary(t *testing.T) {
	p := profileOf(map[string]uint64{"1|sh|main": 2970})
	p.Lost = 7
	want := "2970 samples in 30.0 s at 99 Hz on 2 CPUs, 7 lost; 3 processes, 1 ended before their maps were read; 10% of frames unknown; own cost 1.0% of a CPU and 1 sample, sampling ~0.33%"
	if diff := cmp.Diff(want, ProfileSummary(p)); diff != "" {
		t.Errorf("ProfileSummary (-want +got):\n%s", diff)
	}
	p.TooMany = errors.New("no room")
	if got := ProfileSummary(p); !strings.Contains(got, "maps were read, some cgroups left out; 10%") {
		t.Errorf("ProfileSummary of a part of the cgroups = %q", got)
	}
	if got := ProfileSummary(&collectors.Profile{}); !strings.HasPrefix(got, "0 samples in 0.0 s") {
		t.Errorf("ProfileSummary of nothing = %q", got)
	}
}

// flameGraph draws a profile, and checks that it is well-formed.
func flameGraph(t *testing.T, p *collectors.Profile) string {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, p, collectors.Clean(collectors.RawString("h<o>st")), Scope{}); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatalf("the drawing is no XML: %v\n%.2000s", err, b.String())
		}
	}
}

func TestSVGBounds(t *testing.T) {
	many := make(map[string]uint64)
	for i := range 40_000 {
		many[fmt.Sprintf("1|sh|f%d|g%d", i%1000, i)] = 1
	}
	many["1|sh|hot"] = 100_000
	text := flameGraph(t, profileOf(many))
	if n := strings.Count(text, "<g class="); n > maxFlames || n < 1000 {
		t.Errorf("%d frames are drawn, want at most %d", n, maxFlames)
	}
	if !strings.Contains(text, " too narrow to draw") {
		t.Error("what is left out is not counted")
	}
	if text := flameGraph(t, profileOf(nil)); !strings.Contains(text, "nothing ran") {
		t.Errorf("a profile without samples:\n%s", text)
	}
}

// TestSVGInBrowser opens a flame graph of hostile names in a real browser, zooms into a frame, and searches.
func TestSVGInBrowser(t *testing.T) {
	hostile := `</title><script>document.title="owned"</script><b a="`
	text := flameGraph(t, profileOf(map[string]uint64{
		"1|sh|main|" + hostile + "|read_[k]": 60, "1|sh|main|cold": 20, "2|" + hostile + "|cold": 20,
	}))
	dir := t.TempDir()
	page := filepath.Join(dir, "flame.svg")
	// What a reader does, and what is seen then.
	probe := `<script>//<![CDATA[
	const seen = [], frame = name => Array.from(document.querySelectorAll("#f>g")).find(g => g.querySelector("title").textContent.startsWith(name));
	const note = what => seen.push(what + ":" + Array.from(document.querySelectorAll("#f>g")).filter(g => g.style.display !== "none").length +
		"," + Math.round(frame("main").querySelector("rect").getAttribute("width")) + "," + document.querySelectorAll(".hit").length + "," + document.getElementById("m").textContent);
	note("start");
	frame("main").dispatchEvent(new MouseEvent("click", {bubbles: true}));
	note("zoomed");
	document.getElementById("r").dispatchEvent(new MouseEvent("click", {bubbles: true}));
	note("out");
	window.prompt = () => "COLD";
	document.dispatchEvent(new KeyboardEvent("keydown", {key: "/"}));
	note("searched");
	document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
	note("escaped");
	document.documentElement.setAttribute("data-seen", seen.join(" ") + " " + document.querySelectorAll("b").length);
	//]]></script></svg>`
	if err := os.WriteFile(page, []byte(strings.Replace(text, "</svg>", probe, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := browser(t, page, "--dump-dom")
	_, seen, ok := strings.Cut(dom, `data-seen="`)
	seen, _, _ = strings.Cut(seen, `"`)
	// all, 2 commands, main, the hostile, read, cold twice
	want := "start:8,960,0, zoomed:6,1200,0, out:8,960,0, searched:8,960,2,COLD: 40.00% escaped:8,960,0, 0"
	if !ok || seen != want {
		t.Errorf("in the browser: %q, want %q", seen, want)
	}
	if strings.Contains(dom, `<title>owned`) || strings.Count(dom, "<script") != 2 {
		t.Errorf("a name became a script:\n%.3000s", dom)
	}
}
