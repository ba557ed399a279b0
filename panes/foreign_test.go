// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/collectors"
	"bpf60/triage"
)

// TestForeignRecording: a recording of 256 CPUs and another kernel goes through every pane and report, and
// what they say of the host is the recording's.
func TestForeignRecording(t *testing.T) {
	f := frames()["extreme"]
	facts := *newest(f, hostOf).Facts
	facts.Kernel, facts.Arch, facts.Hostname = "9.8.7-of-the-tape", "riscv64", collectors.RawString("far-away")
	var base []*collectors.Snapshot
	for _, m := range f.Past[len(f.Past)-20:] {
		s := *m.Snapshot
		if s.Host != nil {
			h := *s.Host
			h.Facts, s.Host = &facts, &h
		}
		base = append(base, &s)
	}
	f.Past = nil
	for _, s := range taped(t, base) {
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now, f.Live, f.Still, f.Span = f.Past[len(f.Past)-1], f.Past, true, time.Minute

	var here unix.Utsname
	if err := unix.Uname(&here); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(here.Release[:])
	told := func(what, text string) {
		t.Helper()
		if strings.Contains(text, release) {
			t.Errorf("%s names the kernel of this host, %s", what, release)
		}
	}
	for _, size := range sizes {
		screen := f
		screen.Span = 0
		r := resize(root(screen), size[0], size[1])
		for _, p := range r.cfg.Panes {
			id := p.Info().ID
			r.goTo(GoMsg{Pane: id})
			out := r.View()
			if !strings.Contains(out, "256 cpu") && size[0] > 100 {
				t.Errorf("%s at %v does not tell the recording's CPUs:\n%.300s", id, size, out)
			}
			told(string(id), out)
		}
	}

	cpu := NewCPU().Table(f)
	for _, id := range []string{"0", "255"} {
		if !slices.ContainsFunc(cpu.Rows, func(r Row) bool { return r.ID == id }) {
			t.Errorf("the table of CPUs has no row %s", id)
		}
	}
	rep := Report{Frame: f, Panes: All(), Version: "0.1.0", Started: began, Duration: 20 * time.Second, Interval: time.Second}
	rep.Healthy, rep.Unchecked = Checked(f.Now)
	for name, write := range map[string]func(io.Writer, Report) error{"text": Text, "JSON": JSON, "HTML": HTML} {
		var b bytes.Buffer
		if err := write(&b, rep); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		told(name, b.String())
		for _, want := range []string{"9.8.7-of-the-tape", "riscv64", "far-away"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("the %s report lacks %s", name, want)
			}
		}
		if name != "JSON" {
			continue
		}
		var got struct {
			Host struct {
				CPUs int
			}
			Panes map[string]struct{ Rows [][]any }
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Host.CPUs != facts.CPUs || len(got.Panes["cpu"].Rows) != 257 || len(got.Panes) != len(All()) {
			t.Errorf("the JSON report has %d CPUs, %d rows of them and %d panes; want 256, 257 and %d", got.Host.CPUs, len(got.Panes["cpu"].Rows), len(got.Panes), len(All()))
		}
	}
	if facts.CPUs != 256 {
		t.Fatalf("the fixture has %d CPUs", facts.CPUs)
	}
}
