// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// need skips a test for which the machine lacks something. In CI that is a failure: there it would
// never run at all.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

func me() identity { return identity{uid: os.Getuid(), gid: os.Getgid()} }

// content is the file's content, or the error of reading it.
func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// listing is what a directory holds.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.txt")
	if err := writeNew(me(), path, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if got := content(path); got != "text" {
		t.Errorf("content = %q, want text", got)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Mode(); got != 0o600 {
		t.Errorf("mode = %v, want 0600", got)
	}
	if got := listing(t, dir); got != "report.txt" {
		t.Errorf("directory holds %s, want only the report", got)
	}

	t.Chdir(dir)
	if err := writeNew(me(), "here.txt", []byte("text")); err != nil {
		t.Errorf("writeNew in the current directory: %v", err)
	}
}

func TestWriteNewRefuses(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string) // makes dir hostile
		name    string                         // "" is report.txt
		want    string                         // in the message
		left    string                         // what the directory holds afterwards
	}{
		"a file that exists": {
			prepare: func(t *testing.T, dir string) { put(t, dir, "report.txt") },
			want:    "it exists", left: "report.txt victim",
		},
		"a symbolic link": {
			prepare: func(t *testing.T, dir string) { link(t, "victim", dir, "report.txt") },
			want:    "it exists", left: "report.txt victim",
		},
		"a dangling link": {
			prepare: func(t *testing.T, dir string) { link(t, "nowhere", dir, "report.txt") },
			want:    "it exists", left: "report.txt victim",
		},
		"a FIFO": {
			prepare: func(t *testing.T, dir string) {
				if err := syscall.Mkfifo(filepath.Join(dir, "report.txt"), 0o666); err != nil {
					t.Fatal(err)
				}
			},
			want: "it exists", left: "report.txt victim",
		},
		"a linked directory": {
			prepare: func(t *testing.T, dir string) { link(t, ".", dir, "sub") },
			name:    "sub/report.txt", want: "a symbolic link is on the way: use ", left: "sub victim",
		},
		"a directory that all may write": {
			prepare: func(t *testing.T, dir string) {
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			},
			want: "anybody may write", left: "victim",
		},
		"no directory":      {name: "none/report.txt", want: "create it first", left: "victim"},
		"a file as one":     {name: "victim/report.txt", want: "its directory is none", left: "victim"},
		"a name too long":   {name: strings.Repeat("n", 300), want: "use a shorter one", left: "victim"},
		"only a directory":  {name: "sub/", want: "names no file", left: "victim"},
		"the parent itself": {name: "..", want: "names no file", left: "victim"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, dir, "victim")
			if tt.prepare != nil {
				tt.prepare(t, dir)
			}
			file := "report.txt"
			if tt.name != "" {
				file = tt.name
			}
			err := writeNew(me(), dir+"/"+file, []byte("new"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("writeNew = %v, want one line with %q", err, tt.want)
			}
			if ahead := canWrite(me(), dir+"/"+file); ahead == nil || err != nil && ahead.Error() != err.Error() {
				t.Errorf("canWrite = %v, want %v", ahead, err)
			}
			if got := content(filepath.Join(dir, "victim")); got != "old" {
				t.Errorf("the victim holds %q", got)
			}
			if got := listing(t, dir); got != tt.left {
				t.Errorf("the directory holds %q, want %q", got, tt.left)
			}
		})
	}
}

func TestWriteNewInStickyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(me(), filepath.Join(dir, "report.txt"), nil); err != nil {
		t.Errorf("writeNew in a directory like /tmp: %v", err)
	}
}

func put(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// mounted runs f on a thread with a mount namespace of its own, in which dir is a tmpfs.
func mounted(t *testing.T, dir, options string, flags uintptr, f func()) {
	t.Helper()
	refused := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread and its namespace end here
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("none", dir, "tmpfs", flags, options)
		}
		refused <- err
		if err == nil {
			f()
		}
	}()
	if err := <-refused; err != nil {
		need(t, false, "the right to mount a tmpfs: "+err.Error())
	}
	<-done
}

func TestWriteNewDiskFull(t *testing.T) {
	dir := t.TempDir()
	mounted(t, dir, "size=64k", 0, func() {
		path := filepath.Join(dir, "report.txt")
		for range 3 { // what is left behind would add up
			err := writeNew(me(), path, make([]byte, 1<<20))
			if err == nil || !strings.Contains(err.Error(), "no space is left") {
				t.Errorf("writeNew = %v, want that no space is left", err)
			}
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := writeNamed(fd, "report.txt", make([]byte, 1<<20)); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("writeNamed = %v, want ENOSPC", err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("the directory holds %v, %v, want nothing", entries, err)
		}
		if err := writeNew(me(), path, []byte("small")); err != nil {
			t.Errorf("writeNew of what fits: %v", err)
		}
	})
}

func TestWriteNewReadOnly(t *testing.T) {
	dir := t.TempDir()
	mounted(t, dir, "", unix.MS_RDONLY, func() {
		err := writeNew(me(), filepath.Join(dir, "report.txt"), []byte("x"))
		if err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("writeNew = %v, want that it is read-only", err)
		}
		if ahead := canWrite(me(), filepath.Join(dir, "report.txt")); ahead == nil {
			t.Error("canWrite sees no problem")
		}
	})
}

// Where nameless files are refused the file has a random name first.
func TestWriteNamed(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := writeNamed(fd, "report.txt", []byte("text")); err != nil {
		t.Fatal(err)
	}
	if got := content(filepath.Join(dir, "report.txt")); got != "text" {
		t.Errorf("content = %q, want text", got)
	}
	link(t, "nowhere", dir, "link")
	for _, name := range []string{"report.txt", "link"} {
		if err := writeNamed(fd, name, []byte("more")); !errors.Is(err, unix.EEXIST) {
			t.Errorf("writeNamed over %s = %v, want EEXIST", name, err)
		}
	}
	if got := listing(t, dir); got != "link report.txt" {
		t.Errorf("the directory holds %q", got)
	}
}

// A sandbox without openat2 must refuse the same links.
func TestWalk(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "a", dir, "l")
	for path, ok := range map[string]bool{"a/b": true, "a/b/": true, "./a": true, "a/../a/b": true, "l/b": false, "l": false, "none": false} {
		fd, err := walk(dir + "/" + path)
		if (err == nil) != ok {
			t.Errorf("walk(%s) = %v, want success %t", path, err, ok)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

func TestWriteNewForAnotherUser(t *testing.T) {
	need(t, os.Geteuid() == 0, "root")
	const uid, gid = 65534, 65533
	lent := identity{uid: uid, gid: gid, lent: true}
	base := filepath.Dir(filepath.Dir(t.TempDir()))
	dir, err := os.MkdirTemp(base, "lent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}

	rooted := filepath.Join(dir, "rooted.txt")
	if err := writeNew(lent, rooted, []byte("x")); err == nil || !strings.Contains(err.Error(), "user 65534 may not write") {
		t.Errorf("writeNew into root's directory = %v, want a refusal", err)
	}
	if err := canWrite(lent, rooted); err == nil {
		t.Error("canWrite into root's directory sees no problem")
	}

	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, uid, gid); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(own, "report.txt")
	if err := canWrite(lent, path); err != nil {
		t.Errorf("canWrite = %v", err)
	}
	if err := writeNew(lent, path, []byte("text")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != uid || st.Gid != gid {
		t.Errorf("the file belongs to %d:%d, want %d:%d", st.Uid, st.Gid, uid, gid)
	}

	// The rest of the process keeps its rights.
	if err := writeNew(me(), filepath.Join(dir, "root.txt"), []byte("x")); err != nil {
		t.Errorf("writeNew as root afterwards: %v", err)
	}
	if got, _ := unix.SetfsuidRetUid(-1); got != 0 {
		t.Errorf("fsuid of this thread = %d, want 0", got)
	}
	if got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || got != dumpable {
		t.Errorf("dumpable = %d, %v, want %d as before", got, err, dumpable)
	}
}
