// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// cachestatFake is a bpf.Cachestat whose readings are given.
type cachestatFake struct {
	asked, mapped, dirty error
	host                 bpf.CacheCounts
	rows                 map[bpf.CacheKey]bpf.CacheRow
}

func (f *cachestatFake) Hook() string                   { return "the hook" }
func (f *cachestatFake) AskedErr() error                { return f.asked }
func (f *cachestatFake) MapErr() error                  { return f.mapped }
func (f *cachestatFake) DirtyErr() error                { return f.dirty }
func (f *cachestatFake) Read() (bpf.CacheCounts, error) { return f.host, nil }
func (f *cachestatFake) Pause(bool) error               { return nil }
func (f *cachestatFake) Close() error                   { return nil }
func (f *cachestatFake) Rows(_ time.Duration, each func(*bpf.CacheKey, *bpf.CacheRow)) error {
	for k, v := range f.rows {
		each(&k, &v)
	}
	return nil
}

func TestPageCounts(t *testing.T) {
	tests := map[string]struct {
		c                   PageCounts
		hits, misses, ahead uint64
		ratio               float64
	}{
		"hot":                   {c: PageCounts{Asked: 2560}, hits: 2560, ratio: 1},
		"cold":                  {c: PageCounts{Asked: 2560, Added: 2560}, misses: 2560},
		"read ahead":            {c: PageCounts{Asked: 10, Added: 40}, misses: 40, ahead: 30},
		"half":                  {c: PageCounts{Asked: 100, Added: 50}, hits: 50, misses: 50, ratio: 0.5},
		"written":               {c: PageCounts{Asked: 100, Added: 50, Written: 50}, hits: 100, ratio: 1},
		"written, late reading": {c: PageCounts{Added: 5, Written: 7}},
		"nothing":               {},
	}
	for name, tt := range tests {
		if h, m, a := tt.c.Hits(), tt.c.Misses(), tt.c.Ahead(); h != tt.hits || m != tt.misses || a != tt.ahead {
			t.Errorf("%s: %d hits, %d misses, %d ahead, want %d, %d, %d", name, h, m, a, tt.hits, tt.misses, tt.ahead)
		}
		if r, ok := tt.c.HitRatio(); ok != (tt.c.Asked > 0) || r != tt.ratio {
			t.Errorf("%s: ratio %v, %v, want %v", name, r, ok, tt.ratio)
		}
	}
}

func TestCachestatDeltas(t *testing.T) {
	f := &cachestatFake{rows: map[bpf.CacheKey]bpf.CacheRow{}}
	tar := bpf.CacheKey{Tgid: 7, Start: 1}
	f.rows[tar] = bpf.CacheRow{Asked: 100}
	f.host.Asked = 100
	c := newCachestat(func() (cachestatReader, error) { return f, nil })
	if p := c.Probes()[0]; p.State != Idle {
		t.Errorf("before Start the probe is %v, want idle", p.State)
	}
	start(t, c)
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	f.rows[tar] = bpf.CacheRow{Asked: 150, Added: 30, Written: 10, Dirtied: 10, Faults: 5, Cgroup: 3, Comm: [16]int8{'t', 'a', 'r'}}
	f.rows[bpf.CacheKey{}] = bpf.CacheRow{Asked: 4}
	f.host = bpf.CacheCounts{Asked: 154, Added: 30, Written: 10, Dirtied: 10, Faults: 5}
	s := collectAs[*Cachestat](t, c, time.Second)
	want := &Cachestat{
		Span: Span{0, time.Second}, Host: PageCounts{54, 30, 10, 10, 5}, Hook: "the hook", KnowsFaults: true, KnowsDirtied: true,
		Rows:   []PageUser{{Process: Process{7, 1}, Comm: RawString("tar"), Cgroup: 3, PageCounts: PageCounts{50, 30, 10, 10, 5}}},
		Others: PageUser{PageCounts: PageCounts{Asked: 4}},
	}
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	if again := collectAs[*Cachestat](t, c, 2*time.Second); again.Rows != nil || again.Host != (PageCounts{}) {
		t.Errorf("a quiet second is %+v", again)
	}
	if p := c.Probes()[0]; p.State != On || p.Events != 94 {
		t.Errorf("the probe is %+v, want on with 94 events", p)
	}
	for name, set := range map[string]*error{"accesses": &f.asked, "faults": &f.mapped, "dirty": &f.dirty} {
		*set = &NeedError{Need: "another kernel", Remedy: "boot it"}
		if p := c.Probes()[0]; p.State != Degraded || p.Remedy != "boot it" {
			t.Errorf("without %s the probe is %+v, want degraded with a remedy", name, p)
		}
		*set = nil
	}
}

// TestLivePages is all the way from the kernel: 10 MiB that nobody has read, and again.
func TestLivePages(t *testing.T) {
	const size = 10 << 20
	c := NewCachestat(bpf.Inspect())
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "%v", err)
	}
	defer c.Close()
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		lacking(t, "temporary files are not in the page cache here")
	}
	f, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Collect(t.Context(), 0)
	read := func(at time.Duration) PageUser {
		buf := make([]byte, 128<<10)
		for off := int64(0); off < size; off += int64(len(buf)) {
			if _, err := f.ReadAt(buf, off); err != nil {
				t.Fatal(err)
			}
		}
		s := collectAs[*Cachestat](t, c, at)
		if !s.KnowsFaults {
			lacking(t, "page faults are not told from reads before 6.12")
		}
		for _, u := range s.Rows {
			if int(u.TGID) == os.Getpid() {
				return u
			}
		}
		t.Fatalf("no row of this process: %+v", s.Rows)
		return PageUser{}
	}
	pages := uint64(size / os.Getpagesize())
	if u := read(time.Second); u.Asked-u.Faults != pages || u.Misses() < pages || u.Misses() > pages+64 {
		t.Errorf("cold: %d pages asked for, %d missed, want %d", u.Asked-u.Faults, u.Misses(), pages)
	}
	if u := read(2 * time.Second); u.Asked-u.Faults != pages || u.Hits() < pages {
		t.Errorf("hot: %d pages asked for, %d hits, want %d", u.Asked-u.Faults, u.Hits(), pages)
	}
}
