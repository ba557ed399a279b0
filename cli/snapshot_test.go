// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func at() time.Time { return time.Date(2026, 11, 22, 13, 4, 5, 0, time.UTC) }

func TestSnapshotNames(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSnapshots(me(), "web-7", at)
	var got []string
	for range 3 {
		path, err := s.save()([]byte("text"), []byte("{}"), nil)
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
		if c := content(strings.TrimSuffix(path, ".txt") + ".json"); c != "{}" {
			t.Errorf("the JSON beside %s holds %q", path, c)
		}
	}
	if left := s.unwritten(time.Second); len(left) > 0 {
		t.Errorf("unwritten = %q, want none", left)
	}
}

// TestSnapshotRefused: a snapshot that has no place says so in one line and leaves nothing half-written.
func TestSnapshotRefused(t *testing.T) {
	const base = "bpf60-web-7-20261122-130405"
	big, small := bytes.Repeat([]byte("x"), 80<<10), []byte("text")
	tests := map[string]struct {
		flags      uintptr // of the mount; 64 KiB in size
		plant      func(dir string) error
		text, data []byte
		path, says string
		left       string
	}{
		"room": {text: small, data: small, path: base + ".txt", left: base + ".json " + base + ".txt"},
		"full": {text: big, data: small, says: "no space is left, and nothing was written"},
		"full after the text": {
			text: small, data: big, says: "saved " + base + ".txt alone: writing " + base + ".json: no space is left", left: base + ".txt",
		},
		"read-only": {flags: unix.MS_RDONLY, text: small, data: small, says: "the file system is read-only"},
		"a link": {
			plant: func(dir string) error { return os.Symlink("/etc/bpf60-planted", filepath.Join(dir, base+".txt")) },
			text:  small, data: small, path: base + "-2.txt", left: base + "-2.json " + base + "-2.txt " + base + ".txt",
		},
		"a pipe": {
			plant: func(dir string) error { return unix.Mkfifo(filepath.Join(dir, base+".txt"), 0o666) },
			text:  small, data: small, path: base + "-2.txt", left: base + "-2.json " + base + "-2.txt " + base + ".txt",
		},
		"a pipe for the JSON": {
			plant: func(dir string) error { return unix.Mkfifo(filepath.Join(dir, base+".json"), 0o666) },
			text:  small, data: small, says: "saved " + base + ".txt alone: writing " + base + ".json: it exists", left: base + ".json " + base + ".txt",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mounted(t, dir, "size=64k", tt.flags, func() {
				if tt.plant != nil {
					if err := tt.plant(dir); err != nil {
						t.Error(err)
						return
					}
				}
				s := newSnapshots(me(), "web-7", at)
				// The mount is this thread's alone, and so is the current directory.
				if err := unix.Chdir(dir); err != nil {
					t.Error(err)
					return
				}
				path, err := s.save()(tt.text, tt.data, nil)
				switch {
				case tt.says == "" && err != nil, tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
					t.Errorf("error %v, want %q", err, tt.says)
				case err != nil && strings.Contains(err.Error(), "\n"):
					t.Errorf("the error has several lines: %v", err)
				}
				if got := listing(t, dir); path != tt.path || got != tt.left {
					t.Errorf("path %q, the directory holds %q; want %q and %q", path, got, tt.path, tt.left)
				}
			})
		})
	}
}

// TestSnapshotNotMade: one that could not be rendered writes nothing, and nobody waits for it.
func TestSnapshotNotMade(t *testing.T) {
	s := newSnapshots(me(), "h", at)
	s.write = func(string, []byte) error { t.Error("it is written"); return nil }
	broken := errors.New("no such number")
	if _, err := s.save()(nil, nil, broken); !errors.Is(err, broken) || len(s.pending) != 0 {
		t.Errorf("save: %v, %d pending, want the error and none", err, len(s.pending))
	}
}

// TestSnapshotsWait: a disk that hangs gets a few snapshots, not all that are asked for.
func TestSnapshotsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSnapshots(me(), "h", at)
		stuck := make(chan struct{})
		s.write = func(string, []byte) error { <-stuck; return nil }
		for range mostPending {
			go func() { _, _ = s.save()(nil, nil, nil) }()
		}
		synctest.Wait()
		if _, err := s.save()(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "4 snapshots are on their way already") {
			t.Errorf("one more: %v", err)
		}
		close(stuck)
		synctest.Wait()
		if _, err := s.save()(nil, nil, nil); err != nil {
			t.Errorf("after the disk answered: %v", err)
		}
	})
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
		go func() { _, _ = s.save()(nil, nil, nil) }()
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
		made := s.save() // the key was pressed, and then ctrl+c
		want = []string{"writing bpf60-h-20261122-130405.txt: bpf60 ended before it was made: the snapshot is lost"}
		if d := cmp.Diff(want, s.unwritten(0)); d != "" {
			t.Errorf("unwritten of one that is not made yet (-want +got):\n%s", d)
		}
		if _, err := made(nil, nil, nil); err != nil {
			t.Error(err)
		}
		if left := s.unwritten(time.Hour); len(left) > 0 {
			t.Errorf("unwritten after the disk answered = %q, want none", left)
		}

		s.write = func(path string, _ []byte) error { return fmt.Errorf("writing %s: %w", path, errors.New("no")) }
		if _, err := s.save()(nil, nil, nil); err == nil {
			t.Error("save succeeded")
		}
		if d := cmp.Diff([]string{"writing bpf60-h-20261122-130405.txt: no"}, s.unwritten(0)); d != "" {
			t.Errorf("unwritten after an error (-want +got):\n%s", d)
		}
	})
}
