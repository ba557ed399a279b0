// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// filesFake is a facade whose maps a test fills.
type filesFake struct {
	counts  [bpf.FilterSlots]bpf.FileCounts
	churn   map[bpf.FileChurnKey]*bpf.FileChurn
	slots   bpf.Slots
	method  bpf.FileMethod
	passed  error
	err     error
	aged    int
	forgot  int
	records [][]byte
	lost    uint64
}

func (f *filesFake) Method() bpf.FileMethod { return f.method }
func (f *filesFake) Passed() error          { return f.passed }
func (f *filesFake) Read() ([bpf.FilterSlots]bpf.FileCounts, error) {
	return f.counts, f.err
}

func (f *filesFake) ReadChurn(each func(*bpf.FileChurnKey, *bpf.FileChurn)) error {
	for k, v := range f.churn {
		each(&k, v)
	}
	return nil
}

func (f *filesFake) Forget(keys []bpf.FileChurnKey) error {
	f.forgot += len(keys)
	for _, k := range keys {
		delete(f.churn, k)
	}
	return nil
}

func (f *filesFake) Age(time.Duration) (int, error) { f.aged++; return 0, nil }
func (f *filesFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	f.slots = bpf.Slots{}
	copy(f.slots[1:], want)
	return f.slots, nil
}
func (f *filesFake) Pause(bool) error { return nil }
func (f *filesFake) Close() error     { return nil }

// The fake is also the feed.
func (f *filesFake) open(...bpf.EventKind) error  { return nil }
func (f *filesFake) close(...bpf.EventKind) error { return nil }
func (f *filesFake) take(_ bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for _, r := range f.records {
		each(r)
	}
	f.records = nil
	return bpf.EventCounts{Lost: f.lost}, nil
}

func filesOf(f *filesFake) *fileCollector {
	return &fileCollector{open: func() (fileReader, error) { return f, nil }, feed: fakeFeed{f}, boot: func() int64 { return int64(1000 * time.Second) }}
}

// fakeFeed hides the facade's Close behind the feed's.
type fakeFeed struct{ f *filesFake }

func (f fakeFeed) open(k ...bpf.EventKind) error  { return f.f.open(k...) }
func (f fakeFeed) close(k ...bpf.EventKind) error { return f.f.close(k...) }
func (f fakeFeed) take(k bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	return f.f.take(k, each)
}

func filesAt(t *testing.T, c *fileCollector, now time.Duration) *Files {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if errors.Is(err, ErrWarming) {
		return nil
	}
	if err != nil {
		t.Fatalf("Collect: %v", err)
	}
	return s.(*Files)
}

func TestFilesDeltas(t *testing.T) {
	key := bpf.FileChurnKey{}
	key.By.Tgid, key.By.Start, key.Dir.Ino, key.Dir.Dev = 7, 70, 12, 8<<20|1
	f := &filesFake{churn: map[bpf.FileChurnKey]*bpf.FileChurn{key: {Made: 100, Deleted: 90}}}
	f.counts[0] = bpf.FileCounts{Made: 1000, Deleted: 900, Forgotten: 3}
	c := filesOf(f)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := filesAt(t, c, time.Second); s != nil {
		t.Fatalf("the baseline is a sample: %+v", s)
	}
	if err := c.Narrow([]Target{{Kind: ProcessTarget, Process: Process{TGID: 7}}}); err != nil {
		t.Fatal(err)
	}
	f.counts[1] = bpf.FileCounts{Made: 50} // an earlier target's
	if s := filesAt(t, c, 2*time.Second); len(s.Narrowed) != 0 || s.Made != 0 || len(s.Churn) != 0 {
		t.Errorf("nothing happened: %+v", s)
	}
	f.counts[0].Made, f.counts[0].Deleted, f.counts[0].Aged = 1023, 905, 5
	f.counts[0].Forgotten = 4
	f.counts[0].Life.Slots[3] = 5
	f.counts[1].Made = 73
	f.churn[key] = &bpf.FileChurn{Made: 123, Deleted: 95, Aged: 5, Life: 5e9, Comm: [16]int8{'c', 'c'}, Dir: [40]int8{'t', 'm', 'p'}}
	s := filesAt(t, c, 4*time.Second)
	want := &Files{
		Span: Span{2 * time.Second, 4 * time.Second}, EveryFS: true,
		FileCounts: FileCounts{Made: 23, Deleted: 5}, Forgotten: 1, LivesUnlisted: 5,
		Churn: []FileChurn{{
			Process: Process{7, 70}, Comm: RawString("cc"), Directory: RawString("tmp"), Dev: 8<<20 | 1, Ino: 12,
			Made: 23, Deleted: 5, Aged: 5, Life: 5 * time.Second,
		}},
		Narrowed: []Targeted[FileCounts]{{Target{Kind: ProcessTarget, Process: Process{TGID: 7}}, 2 * time.Second, FileCounts{Made: 23}}},
	}
	want.Life.Slots[3], want.LifeTotal.Slots[3] = 5, 5
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	if f.aged != 1 {
		t.Errorf("births were gone through %d times after one was forgotten, want once", f.aged)
	}
	filesAt(t, c, 4*time.Second+churnIdle)
	if f.forgot != 1 {
		t.Errorf("%d rows given up after %v without a move, want 1", f.forgot, churnIdle)
	}
	if err := c.Narrow([]Target{{Kind: PeerTarget}}); err == nil {
		t.Error("narrowing to a peer: no error")
	}
}

func TestFilePath(t *testing.T) {
	name := func(s string) (out [40]int8) {
		for i := range len(s) {
			out[i] = int8(s[i])
		}
		return out
	}
	tests := map[string]struct {
		names []string
		want  string
	}{
		"none":    {nil, "/"},
		"in root": {[]string{"a"}, "/a"},
		"deep":    {[]string{"c", "b", "a"}, "/a/b/c"},
		"deeper":  {[]string{"f", "e", "d", "c", "b", "a"}, "…/a/b/c/d/e/f"},
		"hostile": {[]string{"\x1b[2J\xff"}, "/\x1b[2J\xff"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			var e bpf.FileLife
			for i, n := range tt.names {
				e.Path[i] = name(n)
			}
			if got := filePath(&e).Bytes(); got != tt.want {
				t.Errorf("filePath(%q) = %q, want %q", tt.names, got, tt.want)
			}
		})
	}
}

// TestFilesLive makes and deletes 23 files under the real programs.
func TestFilesLive(t *testing.T) {
	k := bpf.Inspect()
	c := NewFiles(k, newFeed(k)).(*fileCollector)
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "opening the probes of files: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	dir := filepath.Join(t.TempDir(), "lives")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if c.r.Method() == bpf.FilesByExt4 && st.Type != unix.EXT4_SUPER_MAGIC {
		lacking(t, "no ext4 file system for temporary files, where fentry is refused")
	}
	if s := filesAt(t, c, time.Second); s != nil {
		t.Fatal("the baseline is a sample")
	}
	for i := range 23 {
		name := filepath.Join(dir, fmt.Sprint("f", i))
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	s := filesAt(t, c, 2*time.Second)
	var made, deleted uint64
	for _, r := range s.Churn {
		if r.Process.TGID == int32(os.Getpid()) && r.Directory.Bytes() == "lives" {
			made, deleted = made+r.Made, deleted+r.Deleted
		}
	}
	if made != 23 || deleted != 23 {
		t.Errorf("made %d, deleted %d by us; want 23 each", made, deleted)
	}
	listed := 0
	for _, l := range s.Lives {
		if l.By.TGID == int32(os.Getpid()) && filepath.Base(filepath.Dir(l.Path.Bytes())) == "lives" {
			listed++
			if l.Size != 1 || l.Life <= 0 || l.At > 2*time.Second || l.FS == "" {
				t.Errorf("listed %+v", l)
			}
		}
	}
	if listed != 23 {
		t.Errorf("%d of them listed, want 23", listed)
	}
}
