// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// Of several who ask at one tick the first reads the file, and at the next tick it is read anew.
func TestSharedFile(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "x"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := NewFS(dir).shared("x")
	read := func(now time.Duration) (got string) {
		if err := f.parse(t.Context(), now, func(b []byte) error { got = string(b); return nil }); err != nil {
			t.Error(err)
		}
		return got
	}
	if f.parse(t.Context(), 0, func([]byte) error { return nil }) == nil {
		t.Error("no error without the file")
	}
	write("one")
	if got := read(0); got != "one" { // an error is not kept
		t.Errorf("read %q, want one", got)
	}
	write("two")
	if first, again, next := read(0), read(0), read(time.Second); first != "one" || again != "one" || next != "two" {
		t.Errorf("at the same tick %q and %q, at the next %q; want one, one, two", first, again, next)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
	write("three")
	if got := read(time.Second); got != "three" {
		t.Errorf("after it was closed %q, want three", got)
	}
	if err := errors.Join(f.close(), f.close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}
