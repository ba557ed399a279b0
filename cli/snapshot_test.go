// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at() time.Time { return time.Date(2026, 11, 22, 13, 4, 5, 0, time.UTC) }

func TestSnapshotNames(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSnapshots(me(), "web-7", at)
	var got []string
	for range 3 {
		path, err := s.save([]byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, path)
	}
	want := []string{"bpf60-web-7-20261122-130405.txt", "bpf60-web-7-20261122-130405-2.txt", "bpf60-web-7-20261122-130405-3.txt"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	for _, path := range got {
		if c := content(path); c != "text" {
			t.Errorf("%s holds %q", path, c)
		}
	}
	if left := s.unwritten(time.Second); len(left) > 0 {
		t.Errorf("unwritten = %q, want none", left)
	}
}

func TestFileWord(t *testing.T) {
	for in, want := range map[string]string{
		"web-7":                  "web-7",
		"a.b_c":                  "a.b_c",
		"../../etc/cron.d/x":     "_.._etc_cron.d_x",
		".hidden":                "hidden",
		"\x1b]0;x\x07":           "__0_x_",
		"":                       "host",
		"...":                    "host",
		"ü":                      "_",
		strings.Repeat("x", 200): strings.Repeat("x", 64),
	} {
		if got := fileWord(in); got != want {
			t.Errorf("fileWord(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSnapshots(me(), "h", at)
		stuck := make(chan struct{})
		s.write = func(string, []byte) error { <-stuck; return nil }
		go func() { _, _ = s.save(nil) }()
		synctest.Wait()

		began := time.Now()
		want := []string{"writing bpf60-h-20261122-130405.txt: the disk has not answered: the snapshot is lost"}
		if d := cmp.Diff(want, s.unwritten(2*time.Second)); d != "" {
			t.Errorf("unwritten of a hung disk (-want +got):\n%s", d)
		}
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("waited %v, want 2s", d)
		}
		close(stuck)
		synctest.Wait()
		if left := s.unwritten(time.Hour); len(left) > 0 {
			t.Errorf("unwritten after the disk answered = %q, want none", left)
		}

		s.write = func(path string, _ []byte) error { return fmt.Errorf("writing %s: %w", path, errors.New("no")) }
		if _, err := s.save(nil); err == nil {
			t.Error("save succeeded")
		}
		if d := cmp.Diff([]string{"writing bpf60-h-20261122-130405.txt: no"}, s.unwritten(0)); d != "" {
			t.Errorf("unwritten after an error (-want +got):\n%s", d)
		}
	})
}
