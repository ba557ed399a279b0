// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openFiles(t testing.TB) *Files {
	t.Helper()
	f, err := OpenFiles(need(t))
	if err != nil {
		t.Fatalf("OpenFiles: %v", err)
	}
	closing(t, f)
	return f
}

// fileDir is a directory that the method sees.
func fileDir(t testing.TB, f *Files) string {
	t.Helper()
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if f.Method() == FilesByExt4 && st.Type != unix.EXT4_SUPER_MAGIC {
		lacking(t, "an ext4 file system for temporary files, where fentry is refused")
	}
	return dir
}

// lacking skips a test for a feature that the host lacks, which a machine of CI may not.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s; CI must have it", what)
	}
	t.Skipf("no %s", what)
}

// churnIn sums a process's rows of one directory.
func churnIn(t testing.TB, f *Files, dir string) (sum FileChurn) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	err := f.ReadChurn(func(k *FileChurnKey, c *FileChurn) {
		if k.Dir.Ino != st.Ino || k.By.Tgid != int32(os.Getpid()) {
			return
		}
		sum.Comm, sum.Dir = c.Comm, c.Dir
		sum.Made += c.Made
		sum.Deleted += c.Deleted
		sum.Aged += c.Aged
		sum.Life += c.Life
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestFilesKnownCount makes 23 files and deletes them after 40 ms, beside what is not to be counted.
func TestFilesKnownCount(t *testing.T) {
	f := openFiles(t)
	dir := filepath.Join(fileDir(t, f), "of-its-own")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	events, err := OpenEvents(f.obj.kernel)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, events)
	if _, err := f.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}); err != nil {
		t.Fatal(err)
	}
	before, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("f%d\x1b[2J", i)) }
	for i := range 23 {
		if err := os.WriteFile(name(i), make([]byte, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // neither files, nor made, nor deleted, nor the last name of one
		sub, link := filepath.Join(dir, "d"), filepath.Join(dir, "l")
		err := errors.Join(os.Mkdir(sub, 0o700), os.Remove(sub), os.Symlink("x", link), os.Remove(link),
			os.WriteFile(name(0), nil, 0o600), os.Link(name(1), link), os.Remove(link))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Unlink(filepath.Join(dir, "none")); !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
	}
	nap(40 * time.Millisecond)
	for i := range 23 {
		if err := os.Remove(name(i)); err != nil {
			t.Fatal(err)
		}
	}
	got := churnIn(t, f, dir)
	if got.Made != 23 || got.Deleted != 23 || got.Aged != 23 {
		t.Errorf("made %d, deleted %d, of known age %d; want 23 each", got.Made, got.Deleted, got.Aged)
	}
	if got.Life < 23*40e6 {
		t.Errorf("lived %v in all, want at least 23 × 40 ms", time.Duration(got.Life))
	}
	if dir := text(got.Dir[:]); dir != "of-its-own" {
		t.Errorf("directory %q, want of-its-own", dir)
	}
	after, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	ours := after[1]
	if ours.Made != 23 || ours.Deleted != 23 || ours.Life.count() != 23 {
		t.Errorf("narrowed to this process: made %d, deleted %d, %d in the histogram; want 23 each", ours.Made, ours.Deleted, ours.Life.count())
	}
	if short := ours.Life.Slots[0] + ours.Life.Slots[10]; short != 0 {
		t.Errorf("%d files lived below 2 ms, want none: %v", short, &ours.Life)
	}
	if n := after[0].Made - before[0].Made; n < 23 {
		t.Errorf("the host made %d, want at least 23", n)
	}
	listed := map[string]uint64{}
	err = events.Drain(func(kind EventKind, rec []byte) {
		e, ok := FileLifeOf(rec)
		if kind == EventFileLife && ok && e.By.Tgid == int32(os.Getpid()) && text(e.Path[1][:]) == "of-its-own" {
			listed[text(e.Path[0][:])] = e.Size
			if e.Made != e.By || e.Life < 40e6 {
				t.Errorf("event of %q: made by %v, deleted by %v after %d ns", text(e.Path[0][:]), e.Made, e.By, e.Life)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 23 {
		if size, ok := listed[filepath.Base(name(i))]; !ok || size != uint64(i) && i != 0 {
			t.Errorf("file %d is listed: %v, with %d bytes; want it, with %d", i, ok, size, i)
		}
	}
}

// TestFilesOverlay: a file of an overlay is one of its upper file system, and counts once.
func TestFilesOverlay(t *testing.T) {
	f := openFiles(t)
	dir := fileDir(t, f)
	at := map[string]string{}
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		at[name] = filepath.Join(dir, name)
		if err := os.Mkdir(at[name], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at["lower"], at["upper"], at["work"])
	if err := unix.Mount("overlay", at["merged"], "overlay", 0, options); err != nil {
		lacking(t, fmt.Sprintf("overlayfs (%v)", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at["merged"], 0); err != nil {
			t.Error(err)
		}
	})
	if _, err := f.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}); err != nil {
		t.Fatal(err)
	}
	for i := range 23 {
		name := filepath.Join(at["merged"], fmt.Sprint("f", i))
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Remove(name)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	if c := all[1]; c.Made != 23 || c.Deleted != 23 || c.Life.count() != 23 {
		t.Errorf("made %d, deleted %d, %d in the histogram; want 23 each", c.Made, c.Deleted, c.Life.count())
	}
}

// text is what stands before the ending 0.
func text(b []int8) string {
	var out []byte
	for _, c := range b {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

// TestFilesStorm: counts are complete when lists cannot be, and births that find no room are counted.
func TestFilesStorm(t *testing.T) {
	f := openFiles(t)
	dir := fileDir(t, f)
	const n = 20_000
	for i := range n {
		name := filepath.Join(dir, "s")
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if err := unix.Unlink(name); err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	if got := churnIn(t, f, dir); got.Made != n || got.Deleted != n || got.Aged != n {
		t.Errorf("made %d, deleted %d, of known age %d; want %d each", got.Made, got.Deleted, got.Aged, n)
	}
	kept := FileBirths + 500
	for i := range kept {
		fd, err := unix.Open(filepath.Join(dir, fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	c, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	if c[0].Forgotten < 500 {
		t.Errorf("forgotten %d of %d files that stay, want at least 500", c[0].Forgotten, kept)
	}
	if left, err := f.Age(0); err != nil || left > 100 {
		t.Errorf("Age(0) leaves %d, %v; want next to none", left, err)
	}
	for i := range 23 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := churnIn(t, f, dir); got.Deleted != n+23 || got.Aged != n {
		t.Errorf("deleted %d, of known age %d; want %d, %d", got.Deleted, got.Aged, n+23, n)
	}
}
