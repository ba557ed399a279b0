// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func openCachestat(t testing.TB, k *Kernel) *Cachestat {
	t.Helper()
	c, err := OpenCachestat(k)
	if err != nil {
		t.Fatalf("OpenCachestat: %v", err)
	}
	closing(t, c)
	if err := c.AskedErr(); err != nil {
		lacksHere(t, "no hook on accesses to the page cache: %v", err)
	}
	return c
}

func TestEveryCachestatProgramAttaches(t *testing.T) {
	c := openCachestat(t, need(t))
	if err := c.DirtyErr(); err != nil {
		t.Errorf("pages made dirty: %v", err)
	}
	if err := c.MapErr(); err != nil && c.Hook() == "tp_btf mm_filemap_get_pages" {
		t.Errorf("faults: %v", err)
	}
}

// myPages reads this process's counts.
func myPages(t testing.TB, c *Cachestat) CacheRow {
	t.Helper()
	var row CacheRow
	if err := c.Rows(0, func(k *CacheKey, v *CacheRow) {
		if int(k.Tgid) == os.Getpid() {
			row = *v
		}
	}); err != nil {
		t.Fatal(err)
	}
	return row
}

// cachedDir is a directory on a file system that uses the page cache: not tmpfs.
func cachedDir(t *testing.T) string {
	t.Helper()
	var st unix.Statfs_t
	dir := t.TempDir()
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.TMPFS_MAGIC {
		return dir
	}
	if err := unix.Mount("none", dir, "ramfs", 0, ""); err != nil {
		lacksHere(t, "no file system with a page cache: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestKnownPages reads a file of 10 MiB that is not in memory, and again when it is.
func TestKnownPages(t *testing.T) {
	const size = 10 << 20
	pages := uint64(size / os.Getpagesize())
	c := openCachestat(t, need(t))
	path := filepath.Join(cachedDir(t), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil { // a hole: nobody has written it, so nothing is in memory
		t.Fatal(err)
	}
	read := func(bufSize int) (got, host CacheCounts) {
		buf := make([]byte, bufSize)
		before, all := myPages(t, c), readCachestat(t, c)
		for off := int64(0); off < size; off += int64(bufSize) {
			if n, err := unix.Pread(int(f.Fd()), buf, off); err != nil || n == 0 {
				t.Fatalf("Pread = %d, %v", n, err)
			}
		}
		after, allAfter := myPages(t, c), readCachestat(t, c)
		asked := after.Asked - after.Faults - (before.Asked - before.Faults) // our own code is paged in, too
		return CacheCounts{Asked: asked, Added: after.Added - before.Added, Written: after.Written - before.Written},
			CacheCounts{Asked: allAfter.Asked - all.Asked, Added: allAfter.Added - all.Added}
	}
	exact := c.Hook() == "tp_btf mm_filemap_get_pages"
	asked := func(what string, n uint64) {
		if exact && n != pages || n < pages*9/10 || n > pages*11/10 {
			t.Errorf("%s: %d pages asked for, want %d", what, n, pages)
		}
	}
	cold, host := read(64 << 10)
	// A file system without readahead makes the page where the tracepoint is not passed.
	if !exact || cold.Asked != 0 || os.Getenv("BPF60_TEST_GUEST") == "" {
		asked("cold", cold.Asked)
	}
	if cold.Added != pages || cold.Written != 0 {
		t.Errorf("cold: %d pages brought in, %d to be written, want %d and none", cold.Added, cold.Written, pages)
	}
	if host.Asked < cold.Asked || host.Added < cold.Added {
		t.Errorf("cold: the host counts %+v, less than one process: %+v", host, cold)
	}
	for what, bufSize := range map[string]int{"hot, by pages": os.Getpagesize(), "hot, by 256 KiB": 256 << 10, "hot, beyond the end": 3 << 20} {
		hot, _ := read(bufSize)
		asked(what, hot.Asked)
		// 5.10 makes a page for what lies beyond the end, and drops it.
		if beyond := uint64(1); hot.Added > beyond || hot.Added != 0 && (exact || bufSize <= 256<<10) {
			t.Errorf("%s: %d pages brought in, want none", what, hot.Added)
		}
	}
	t.Run("mapped", func(t *testing.T) {
		if c.MapErr() != nil {
			lacksHere(t, "%v", c.MapErr())
		}
		b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(b)
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
		before := myPages(t, c)
		var sum byte
		const around = 1 << 20 // each fault maps at most this around it
		for i := 0; i < size; i += around {
			sum += b[i]
		}
		after := myPages(t, c)
		if got := after.Faults - before.Faults; got != size/around || sum != 0 {
			t.Errorf("%d pages asked for by faults, want %d", got, size/around)
		}
	})
	t.Run("written", func(t *testing.T) {
		if err := c.DirtyErr(); err != nil {
			lacksHere(t, "%v", err)
		}
		g, err := os.Create(filepath.Join(filepath.Dir(path), "written"))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		before := myPages(t, c)
		buf := make([]byte, 64<<10)
		for range size / len(buf) {
			if _, err := g.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
		after := myPages(t, c)
		added, written, dirtied := after.Added-before.Added, after.Written-before.Written, after.Dirtied-before.Dirtied
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(g.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if added != pages {
			t.Errorf("%d pages brought in, want %d", added, pages)
		}
		// ramfs, which is never written back, does not say what is dirty.
		if st.Type != unix.RAMFS_MAGIC && (written != added || dirtied != pages) {
			t.Errorf("%d of them to be written, %d made dirty, want %d", written, dirtied, pages)
		}
	})
}

func readCachestat(t testing.TB, c *Cachestat) CacheCounts {
	t.Helper()
	n, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
