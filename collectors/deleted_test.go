// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMountDevices: the mount of an open file tells its device, which on most file systems is the file's own; a
// file on btrfs has another one.
func TestMountDevices(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if major := unix.Major(st.Dev); major != 0 { // else the directory may be on one that numbers its own
		got := new(mountDevices).of(NewFS(""), int32(os.Getpid()), strconv.Itoa(int(f.Fd())))
		if want := MakeDev(major, unix.Minor(st.Dev)); got != want {
			t.Errorf("the mount of a file of %v has %v", want, got)
		}
	}

	_, tree := cpuTree(t)
	tree.write("proc/7/fdinfo/3", "pos:\t0\nflags:\t02\nmnt_id:\t28\nino:\t257\n")
	tree.write("proc/7/fdinfo/4", "pos:\t0\nflags:\t02\nmnt_id:\t2\n")
	tree.write("proc/7/mountinfo", "22 1 254:0 / / rw - ext4 /dev/vda rw\n28 22 0:33 /sub /data rw - btrfs /dev/vdb rw\n")
	fs := NewFS(tree.root + "/proc")
	var mounts mountDevices
	for fd, want := range map[string]DevID{"3": MakeDev(0, 33), "4": 0, "5": 0} {
		if got := mounts.of(fs, 7, fd); got != want {
			t.Errorf("descriptor %s: %v, want %v", fd, got, want)
		}
	}
}

// Started without a file system it waits for one, and nobody for it.
func TestDeletedFilesOfNothing(t *testing.T) {
	c := NewDeleted(NewFS(""))
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.Probes()[0]; p.State != Idle || p.Reason == "" {
		t.Errorf("%+v, want it idle with a reason", p)
	}
	if err := c.(Narrower).Narrow([]Target{{Kind: DiskTarget, Dev: 1}}); err != nil {
		t.Fatal(err)
	}
	if p := c.Probes()[0]; p.State != Warming {
		t.Errorf("%+v, want it on its way", p)
	}
}

// TestDeletedFilesHeldOpen: a file that was deleted and is held twice is found once, with its bytes; one
// that was not deleted is not.
func TestDeletedFilesHeldOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "old.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // blocks are given out when they are written
		t.Fatal(err)
	}
	again, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	stays, err := os.Create(filepath.Join(dir, "new.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	target := Target{Kind: DiskTarget, Dev: uint32(MakeDev(unix.Major(st.Dev), unix.Minor(st.Dev)))}
	c := NewDeleted(NewFS("")).(*deletedCollector)
	c.work = time.Minute // the machine may be busy
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Narrow([]Target{target, {Kind: DiskTarget, Dev: 1}, {Kind: NamedTarget, Name: "x"}}); err != nil {
		t.Fatal(err)
	}
	var s *Deleted
	for at := time.Second; s == nil; at += time.Second / 100 {
		x, err := c.Collect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		s, _ = x.(*Deleted)
	}
	if len(s.Narrowed) != 2 || s.Narrowed[0].Target != target {
		t.Fatalf("%+v, want two file systems", s.Narrowed)
	}
	if other := s.Narrowed[1].Sample; other.Files != 0 {
		t.Errorf("of another device: %+v", other)
	}
	d := s.Narrowed[0].Sample
	find := func(path string) int {
		return slices.IndexFunc(d.Rows, func(r DeletedFile) bool { return r.Path.Bytes() == path })
	}
	i := find(path)
	if i < 0 {
		t.Fatalf("%s is not among %+v", path, d.Rows)
	}
	r := d.Rows[i]
	if int(r.TGID) != os.Getpid() || r.Holders != 2 || r.Bytes != uint64(st.Blocks)*512 || r.Bytes < 3<<20 || r.Comm.Bytes() == "" {
		t.Errorf("%+v, want %d bytes held twice by %d", r, st.Blocks*512, os.Getpid())
	}
	if d.Bytes < r.Bytes || d.Files < 1 {
		t.Errorf("in all %d files of %d bytes", d.Files, d.Bytes)
	}
	if find(stays.Name()) >= 0 {
		t.Error("a file that is there is listed")
	}
	if x, err := c.Collect(t.Context(), 2*time.Second); x != nil || err != nil {
		t.Errorf("a look at the next tick: %v, %v", x, err)
	}
}
