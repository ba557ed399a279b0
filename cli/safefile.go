// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// writeNew creates path with body, whole or not at all: mode 0600, never over something that is
// there, never through a symbolic link, with the rights that who has. It is the only place that
// writes files. An error is one line that says what to do.
func writeNew(who identity, path string, body []byte) error {
	return who.do(func() error {
		dir, name, err := openDir(who, path)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		err = writeNameless(dir, name, body)
		if errors.Is(err, errNoTmpfile) {
			err = writeNamed(dir, name, body)
		}
		return explain(who, path, err)
	})
}

// canWrite says in advance whether writeNew has a chance, so that nobody measures a minute for a
// file that cannot be written.
func canWrite(who identity, path string) error {
	return who.do(func() error {
		dir, name, err := openDir(who, path)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		var st unix.Stat_t
		err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err == nil:
			return explain(who, path, unix.EEXIST)
		case !errors.Is(err, unix.ENOENT):
			return explain(who, path, err)
		}
		// AT_EACCESS asks for the file system identity, the one that will write.
		return explain(who, path, unix.Faccessat(dir, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS))
	})
}

// openDir opens the directory of path without following a link anywhere on the way.
func openDir(who identity, path string) (dir int, name string, err error) {
	parent, name := filepath.Split(path)
	if name == "" || name == "." || name == ".." {
		return -1, "", fmt.Errorf("writing %s: it names no file: add a file name", path)
	}
	if parent == "" {
		parent = "."
	}
	dir, err = unix.Openat2(unix.AT_FDCWD, parent, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		// A sandbox that does not know openat2 refuses it.
		dir, err = walk(parent)
	}
	if err != nil {
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			if real, e := filepath.EvalSymlinks(parent); e == nil && filepath.Clean(parent) != real {
				return -1, "", fmt.Errorf("writing %s: a symbolic link is on the way: use %s",
					path, filepath.Join(real, name))
			}
		}
		return -1, "", explain(who, path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		unix.Close(dir)
		return -1, "", explain(who, path, err)
	}
	if st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX == 0 {
		unix.Close(dir)
		return -1, "", fmt.Errorf("writing %s: anybody may write to and delete from its directory: "+
			"use another one, or chmod +t it", path)
	}
	return dir, name, nil
}

// walk opens a directory one step at a time, refusing links.
func walk(path string) (int, error) {
	const how = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	start := "."
	if filepath.IsAbs(path) {
		start = "/"
	}
	dir, err := unix.Open(start, how, 0)
	if err != nil {
		return -1, err
	}
	for step := range strings.SplitSeq(path, "/") {
		if step == "" || step == "." {
			continue
		}
		next, err := unix.Openat(dir, step, how, 0)
		unix.Close(dir)
		if err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

var errNoTmpfile = errors.New("the file system makes no nameless files")

// writeNameless writes a file that has no name until it is complete and on the disk.
func writeNameless(dir int, name string, body []byte) error {
	fd, err := unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		return errNoTmpfile
	case err != nil:
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := fill(f, body); err != nil {
		return err
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), dir, name, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EXDEV) {
		return errNoTmpfile // no /proc, or an overlay that cannot link it
	}
	return err
}

// writeNamed writes under a random name and renames, where nameless files are refused.
func writeNamed(dir int, name string, body []byte) error {
	tmp := ".bpf60-" + rand.Text()
	fd, err := unix.Openat(dir, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), tmp)
	defer f.Close()
	err = fill(f, body)
	if err == nil {
		err = unix.Renameat2(dir, tmp, dir, name, unix.RENAME_NOREPLACE)
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			err = unix.Linkat(dir, tmp, dir, name, 0) // also never over an existing file
		}
	}
	if e := unix.Unlinkat(dir, tmp, 0); e != nil {
		return errors.Join(err, fmt.Errorf("removing %s: %w", tmp, e))
	}
	return err
}

func fill(f *os.File, body []byte) error {
	if _, err := f.Write(body); err != nil {
		return err
	}
	return f.Sync()
}

// explain turns what the kernel said into one line with a remedy.
func explain(who identity, path string, err error) error {
	if err == nil {
		return nil
	}
	say := func(what string) error { return fmt.Errorf("writing %s: %s", path, what) }
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("writing %s: it exists and is left as it is: use another name (%w)", path, unix.EEXIST)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return say(fmt.Sprintf("user %d may not write there: use a directory of that user", who.uid))
	case errors.Is(err, unix.EROFS):
		return say("the file system is read-only: use another directory")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return say("no space is left, and nothing was written: use another file system")
	case errors.Is(err, unix.ENOENT):
		return say("its directory does not exist: create it first")
	case errors.Is(err, unix.ENOTDIR):
		return say("its directory is none: use another one")
	case errors.Is(err, unix.ENAMETOOLONG):
		return say("the name is too long: use a shorter one")
	}
	return fmt.Errorf("writing %s: %w: use another file", path, cause(err))
}
