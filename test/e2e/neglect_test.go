// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallFS mounts a new ext4 of a loop device.
func smallFS(t *testing.T) (mount string) {
	t.Helper()
	mount, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	made := exec.Command("/bin/sh", "-c", `truncate -s 64M "$1" && "$3" -q "$1" && mount -o loop "$1" "$2"`, "sh", image, mount, tool(t, "mkfs.ext4"))
	if out, err := made.CombinedOutput(); err != nil {
		lacking(t, "cannot mount a file system of a loop device: "+err.Error()+": "+string(out))
	}
	t.Cleanup(func() {
		until(t, "unmounting "+mount, func() bool { return exec.Command("umount", mount).Run() == nil })
	})
	return mount
}

// unread is a connection that one end of fills and the other does not read, until nothing has come for so
// long as the kernel says it.
func unread(t *testing.T, quiet time.Duration) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	r, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	for full := false; !full; {
		if err := w.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := w.Write(make([]byte, 64<<10))
		full = err != nil
	}
	raw, err := r.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "nothing came for "+quiet.String(), func() bool {
		var info *unix.TCPInfo
		var failed error
		if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		return time.Duration(info.Last_data_recv)*time.Millisecond >= quiet
	})
}

// What processes neglect is found with their names: files that they do not close, data that they do not
// read, space that they do not give back.
func TestFindingsOfNeglect(t *testing.T) {
	asRoot(t)
	mount := smallFS(t)
	held, err := os.Create(filepath.Join(mount, "old.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	for err == nil {
		_, err = held.Write(make([]byte, 1<<20))
	}
	if err := held.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}

	hoard := exec.Command(tool(t, "sleep"), "600")
	for range 240 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		hoard.ExtraFiles = append(hoard.ExtraFiles, f)
	}
	if err := hoard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hoard.Process.Kill()
		_ = hoard.Wait()
	})
	if err := unix.Prlimit(hoard.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: 256}, nil); err != nil {
		t.Fatal(err)
	}
	unread(t, 11*time.Second)

	m := measure(t, 24*time.Second)
	us := filepath.Base(os.Args[0]) + "["
	if f := m.find(t, "fd.exhaustion"); f.Severity != "warning" || !strings.Contains(f.Title, "sleep[") || !strings.Contains(f.Title, " of 256 files open") {
		t.Errorf("fd.exhaustion: %+v, want sleep with 243 of 256", f)
	}
	if f := m.find(t, "net.receive_stalled"); f.Severity != "warning" || len(f.Culprits) == 0 || !strings.HasPrefix(f.Culprits[0].Name, us) {
		t.Errorf("net.receive_stalled: %+v, want this test", f)
	}
	if f := m.find(t, "fs.full"); !strings.Contains(f.Title, mount) || !slices.ContainsFunc(f.Culprits, func(c named) bool { return strings.HasPrefix(c.Name, us) }) {
		t.Errorf("fs.full: %+v, want %s, held by this test", f, mount)
	}
}
