// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestListMounts(t *testing.T) {
	const info = `22 27 0:21 / /proc rw - proc proc rw
23 27 0:22 / /sys rw - sysfs sysfs rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
28 27 8:2 /data/sub /srv/bind rw - xfs /dev/sdb rw
29 27 8:2 / /srv/a\040long\040name rw - xfs /dev/sdb rw
30 27 8:2 / /mnt ro - xfs /dev/sdb rw
31 27 8:3 / /var rw - ext4 /dev/sdc ro
32 27 0:40 / /run rw - tmpfs tmpfs rw,size=4k
33 27 0:41 / /net/x rw - nfs4 10.0.3.9:/x rw
34 33 8:4 / /net/x/deep rw - ext4 /dev/sdd rw
35 27 0:42 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
36 27 0:43 / /auto rw - autofs systemd-1 rw
37 27 0:44 / /home/u/\033]0;x rw - fuse.sshfs u@h:/ rw
38 32 8:5 / /run/hidden rw - ext4 /dev/sde rw
39 32 8:6 / /run/hidden rw - ext4 /dev/sdf rw
40 27 0:45 / /snap/core rw,ro - squashfs /dev/loop1 ro
not a line
`
	got, beyond := listMounts([]byte(info))
	raw := RawString
	mount := func(dev DevID, point, source, kind, options string, f func(*Mount)) *Mount {
		m := &Mount{Dev: dev, Point: raw(point), Source: raw(source), Type: raw(kind), Options: raw(options), Mounts: 1, whole: true}
		if f != nil {
			f(m)
		}
		return m
	}
	want := []*Mount{
		mount(MakeDev(8, 1), "/", "/dev/sda1", "ext4", "rw,relatime rw,errors=remount-ro", nil),
		mount(MakeDev(8, 2), "/srv/a long name", "/dev/sdb", "xfs", "rw rw", func(m *Mount) { m.Mounts = 3 }),
		mount(MakeDev(8, 3), "/var", "/dev/sdc", "ext4", "rw ro", func(m *Mount) { m.Forced = true }),
		mount(MakeDev(0, 40), "/run", "tmpfs", "tmpfs", "rw rw,size=4k", func(m *Mount) { m.Virtual, m.Memory = true, true }),
		mount(MakeDev(0, 41), "/net/x", "10.0.3.9:/x", "nfs4", "rw rw", func(m *Mount) { m.Remote = true }),
		mount(MakeDev(8, 4), "/net/x/deep", "/dev/sdd", "ext4", "rw rw", func(m *Mount) { m.Remote = true }),
		mount(MakeDev(0, 44), "/home/u/\x1b]0;x", "u@h:/", "fuse.sshfs", "rw rw", func(m *Mount) { m.Remote = true }),
		mount(MakeDev(8, 6), "/run/hidden", "/dev/sdf", "ext4", "rw rw", nil),
		mount(MakeDev(0, 45), "/snap/core", "/dev/loop1", "squashfs", "rw,ro ro", func(m *Mount) { m.Virtual, m.ReadOnly = true, true }),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{}, Mount{})); diff != "" || beyond != 0 {
		t.Errorf("listMounts, %d beyond (-want +got):\n%s", beyond, diff)
	}
}

func TestListMountsBound(t *testing.T) {
	var b strings.Builder
	for i := range maxFileSystems + 5 {
		b.WriteString("1 1 " + MakeDev(9, uint32(i)).String() + " / /" + MakeDev(9, uint32(i)).String() + " rw - ext4 x rw\n")
	}
	if list, beyond := listMounts([]byte(b.String())); len(list) != maxFileSystems || beyond != 5 {
		t.Errorf("listMounts lists %d and %d beyond, want %d and 5", len(list), beyond, maxFileSystems)
	}
}

func TestFill(t *testing.T) {
	tests := map[string]struct {
		in   unix.Statfs_t
		want FileSystem
	}{
		"plain":            {unix.Statfs_t{Frsize: 4096, Bsize: 512, Blocks: 100, Bfree: 40, Bavail: 35, Files: 10, Ffree: 3}, FileSystem{Known: true, Size: 409600, Free: 40 * 4096, Avail: 35 * 4096, Inodes: 10, InodesFree: 3}},
		"no fragment size": {unix.Statfs_t{Bsize: 512, Blocks: 2, Bfree: 1, Bavail: 1}, FileSystem{Known: true, Size: 1024, Free: 512, Avail: 512}},
		"less than nothing": {
			unix.Statfs_t{Frsize: 1024, Blocks: 10, Bfree: 2, Bavail: ^uint64(4)},
			FileSystem{Known: true, Size: 10240, Free: 2048},
		},
		"lies":     {unix.Statfs_t{Frsize: 1, Blocks: 5, Bfree: 9, Bavail: 8, Files: 1, Ffree: 2}, FileSystem{Known: true, Size: 5, Free: 5, Avail: 5, Inodes: 1, InodesFree: 1}},
		"too much": {unix.Statfs_t{Frsize: 4096, Blocks: 1 << 60}, FileSystem{Err: "it says sizes beyond 8 EiB"}},
		"nothing":  {unix.Statfs_t{}, FileSystem{Known: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got FileSystem
			got.fill(&tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("fill (-want +got):\n%s", diff)
			}
			if u := got.Used(); u > got.Size {
				t.Errorf("used %d of %d", u, got.Size)
			}
		})
	}
}

const someMounts = `1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:41 / /net/a rw - nfs4 10.0.3.9:/a rw
3 1 0:42 / /net/b rw - nfs4 10.0.3.9:/b rw
4 1 0:43 / /net/c rw - nfs4 10.0.3.9:/c rw
5 1 0:44 / /net/d rw - nfs4 10.0.3.9:/d rw
6 1 8:2 / /var rw - xfs /dev/sdb rw
7 1 0:45 / /fuse rw - fuse.sshfs u@h: rw
`

// A server that is gone takes its own mounts away, for as long as it is gone, and holds nobody.
func TestDeadMount(t *testing.T) {
	tree := newDiskTree(t)
	tree.write("self/mountinfo", someMounts)
	procTree{t, tree.sys}.write("fs/fuse/connections/45/waiting", "3\n")
	procTree{t, tree.sys}.write("fs/ext4/sda1/errors_count", "2\n")
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan struct{})
		var mu sync.Mutex // the questions are asked from goroutines of their own
		asked := make(map[string]int)
		c := newFileSystems(NewFS(tree.root), func(path string, b *unix.Statfs_t) error {
			mu.Lock()
			asked[path]++
			mu.Unlock()
			if strings.HasPrefix(path, "/net") {
				<-dead
			}
			*b = unix.Statfs_t{Frsize: 1, Blocks: 100, Bfree: 30, Bavail: 25}
			return nil
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		state := func(now time.Duration) (map[string]FileSystem, *FileSystems) {
			began := time.Now()
			s := collectAs[*FileSystems](t, c, now)
			if took := time.Since(began); took > maxStuck*statPatience {
				t.Errorf("at %v the collector was held for %v", now, took)
			}
			out := make(map[string]FileSystem)
			for _, f := range s.Rows {
				out[f.Point.Bytes()] = f
			}
			return out, s
		}
		got, _ := state(0)
		if f := got["/"]; !f.Known || f.Used() != 70 || f.Free-f.Avail != 5 || f.Errors != 2 || !f.ErrorsKnown {
			t.Errorf("/ = %+v, want its sizes", f)
		}
		if f := got["/net/a"]; f.Known || f.Silent != statPatience || f.Err != "" {
			t.Errorf("/net/a = %+v, want silent", f)
		}
		if f := got["/net/d"]; f.Known || f.Silent != 0 || !strings.Contains(f.Err, "3 others") {
			t.Errorf("/net/d = %+v, want not asked", f)
		}
		if f := got["/var"]; !f.Known {
			t.Errorf("/var = %+v: a dead server took a disk with it", f)
		}
		if f := got["/fuse"]; f.Known || asked["/fuse"] != 0 || !strings.Contains(f.Err, "3 requests") && !strings.Contains(f.Err, "others") {
			t.Errorf("/fuse = %+v, asked %d times, want it left alone", f, asked["/fuse"])
		}
		if p := c.Probes(); p[0].State != Degraded || !strings.Contains(p[0].Reason, "3 mounts") {
			t.Errorf("Probes = %+v", p)
		}

		got, s := state(12 * time.Second)
		if f := got["/net/a"]; f.Silent != 12*time.Second || s.Stuck != maxStuck || asked["/net/a"] != 1 {
			t.Errorf("/net/a = %+v, asked %d times, %d stuck, want silent for 12 s and asked once", f, asked["/net/a"], s.Stuck)
		}
		close(dead)
		synctest.Wait()
		state(24 * time.Second)
		got, s = state(36 * time.Second)
		for _, p := range []string{"/net/a", "/net/b", "/net/c", "/net/d"} {
			if !got[p].Known || got[p].Silent != 0 {
				t.Errorf("%s = %+v, want it back", p, got[p])
			}
		}
		if s.Stuck != 0 || c.Probes()[0].State != On || got["/fuse"].Known {
			t.Errorf("%d stuck, probes %+v, /fuse %+v", s.Stuck, c.Probes(), got["/fuse"])
		}
	})
}

// What is unmounted while it hangs gives its place back when the kernel lets go.
func TestForgetsUnmounted(t *testing.T) {
	tree := newDiskTree(t)
	tree.write("self/mountinfo", someMounts)
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan struct{})
		c := newFileSystems(NewFS(tree.root), func(path string, b *unix.Statfs_t) error {
			if path != "/" {
				<-dead
			}
			*b = unix.Statfs_t{Frsize: 1, Blocks: 100}
			return unix.ESTALE
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := collectAs[*FileSystems](t, c, 0); s.Rows[0].Known || !strings.Contains(s.Rows[0].Err, "stale") {
			t.Errorf("an error = %+v", s.Rows[0])
		}
		tree.write("self/mountinfo", strings.SplitAfter(someMounts, "\n")[0])
		if s := collectAs[*FileSystems](t, c, 10*time.Second); len(s.Rows) != 1 || s.Stuck == 0 {
			t.Errorf("unmounted: %d rows, %d stuck", len(s.Rows), s.Stuck)
		}
		close(dead)
		synctest.Wait()
		if s := collectAs[*FileSystems](t, c, 20*time.Second); s.Stuck != 0 {
			t.Errorf("%d are stuck after the kernel has let go", s.Stuck)
		}
	})
}

func TestFileSystemsNoMountinfo(t *testing.T) {
	tree := newDiskTree(t)
	c := NewFileSystems(NewFS(tree.root))
	start(t, c)
	if _, err := c.Collect(context.Background(), 0); err == nil || c.Probes()[0].State != Failed {
		t.Errorf("without mountinfo: %v, %+v", err, c.Probes())
	}
}

// TestFileSystemsHost holds the numbers against statfs itself.
func TestFileSystemsHost(t *testing.T) {
	c := NewFileSystems(NewFS(""))
	start(t, c)
	s := collectAs[*FileSystems](t, c, 0)
	checked := 0
	for _, f := range s.Rows {
		var b unix.Statfs_t
		if f.Remote || !f.Known || unix.Statfs(f.Point.Bytes(), &b) != nil {
			continue
		}
		checked++
		if f.Size != b.Blocks*uint64(b.Frsize) || f.Avail > f.Free || f.Free > f.Size {
			t.Errorf("%s = %+v, statfs says %d blocks of %d", f.Point.Bytes(), f, b.Blocks, b.Frsize)
		}
	}
	if checked == 0 {
		t.Errorf("no local file system among %d", len(s.Rows))
	}
}

func BenchmarkCollectFileSystems(b *testing.B) { benchmarkCollect(b, NewFileSystems(NewFS(""))) }

// TestTmpfsHost fills a tmpfs.
func TestTmpfsHost(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		lacking(t, "mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	c := NewFileSystems(NewFS(""))
	start(t, c)
	read := func(now time.Duration) FileSystem {
		t.Helper()
		s := collectAs[*FileSystems](t, c, now)
		for _, f := range s.Rows {
			if f.Point.Bytes() == dir {
				return f
			}
		}
		t.Fatalf("%s is not among %d file systems", dir, len(s.Rows))
		return FileSystem{}
	}
	if f := read(0); !f.Known || !f.Memory || !f.Virtual || f.ReadOnly || f.Size != 1<<20 || f.Avail != 1<<20 {
		t.Errorf("empty = %+v, %+v; want 1 MiB in memory", f, f.Mount)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 2<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("writing 2 MiB: %v, want no space left", err)
	}
	if f := read(10 * time.Second); f.Avail != 0 || f.Used() != 1<<20 {
		t.Errorf("full = %+v, want nothing left", f)
	}
}
