// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProcFileRead(t *testing.T) {
	ctx := context.Background()
	tree := procTree{t, t.TempDir()}
	f := NewFS(tree.root).file("x")
	defer f.close()
	if _, err := f.read(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read of no file = %v, want ErrNotExist", err)
	}
	for name, n := range map[string]int{"empty": 0, "short": 10, "one buffer": 4096, "longer": 4097, "long": 100_000} {
		want := strings.Repeat("x", n)
		tree.write("x", want)
		if got, err := f.read(ctx); err != nil || string(got) != want {
			t.Errorf("%s: read = %d bytes, %v, want %d", name, len(got), err, n)
		}
	}
	tree.write("x", strings.Repeat("x", maxProcFile+1))
	if _, err := f.read(ctx); err == nil {
		t.Error("read of a file without end succeeds")
	}
	tree.write("x", "back")
	if got, err := f.read(ctx); err != nil || string(got) != "back" {
		t.Errorf("after an error read = %q, %v", got, err)
	}
	f.f.Close() // as if the kernel refused to read on
	if got, err := f.read(ctx); err != nil || string(got) != "back" {
		t.Errorf("reopened, read = %q, %v", got, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.read(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("read after the end = %v, want Canceled", err)
	}
}

// TestProcFileStaysOpen holds that the real kernel prints a file anew for the same descriptor.
func TestProcFileStaysOpen(t *testing.T) {
	for _, name := range []string{"stat", "uptime", "loadavg", "meminfo", "vmstat", "self/schedstat"} {
		f := NewFS("").file(name)
		first, err := f.read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		size, file := len(first), f.f
		again, err := f.read(context.Background())
		if err != nil || f.f != file || len(again) < size*9/10 {
			t.Errorf("%s: read again = %d bytes of %d, %v, reopened: %v", name, len(again), size, err, f.f != file)
		}
		f.close()
	}
}

func TestFSText(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.write("a/b", "one\n")
	fs := NewFS(tree.root)
	if got, err := fs.text("a/b"); got != "one" || err != nil {
		t.Errorf("text = %q, %v, want one", got, err)
	}
	if _, err := fs.text("none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("text of no file = %v, want ErrNotExist", err)
	}
	if got, want := NewFS("").path("stat"), filepath.FromSlash("/proc/stat"); got != want {
		t.Errorf("path = %q, want %q", got, want)
	}
}
