// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// userHZ is the unit of the time columns of /proc/stat and /proc/PID/stat: ticks a second. The
// kernel fixes it for user space at 100 on amd64 and arm64, whatever CONFIG_HZ is.
const userHZ = 100

// tickNs is one such tick in nanoseconds.
const tickNs = 1_000_000_000 / userHZ

// FS is a tree of kernel files: /proc, or a copy of it in a test.
type FS struct {
	root  string
	names *symbols // of the kernel's functions, for all who read this tree
	pids  *pidBook // of what it calls threads, for all of them
}

// NewFS returns the tree whose /proc is at root. An empty root is /proc.
func NewFS(root string) FS {
	if root == "" {
		root = "/proc"
	}
	return FS{root, &symbols{path: filepath.Join(root, "kallsyms")}, &pidBook{}}
}

// path names a file of the tree.
func (fs FS) path(name string) string { return filepath.Join(fs.root, name) }

// beside names a file by its absolute path in the file system that the tree's /proc is mounted in.
func (fs FS) beside(path string) string { return filepath.Join(filepath.Dir(fs.root), path) }

// readSome returns the first n bytes of a file that is read once, or less if it is shorter.
func (fs FS) readSome(name string, n int) ([]byte, error) {
	f, err := os.Open(fs.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	got, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:got], nil
}

// text returns a one-line file that is read once, without its end of line.
func (fs FS) text(name string) (string, error) {
	b, err := fs.readSome(name, 4096)
	return strings.TrimRight(string(b), "\n\x00"), err
}

// file returns a reader of one file of the tree. It opens at the first read.
func (fs FS) file(name string) *procFile { return &procFile{path: fs.path(name)} }

// sysPath names a file of the /sys that stands beside the tree's /proc.
func (fs FS) sysPath(name string) string { return filepath.Join(filepath.Dir(fs.root), "sys", name) }

// sysFile returns a reader of one file of that /sys.
func (fs FS) sysFile(name string) *procFile { return &procFile{path: fs.sysPath(name)} }

// procFile is a file that is read again and again. It stays open, since a read from offset 0
// makes the kernel print the file anew, and it reuses one buffer, which grows to the file's size.
// It belongs to one goroutine.
type procFile struct {
	path string
	f    *os.File
	buf  []byte
}

// sharedFile is a procFile that several collectors read at the same ticks: the first of them reads it,
// the others see the same bytes.
type sharedFile struct {
	mu    sync.Mutex
	file  *procFile
	at    time.Duration // the tick of b and err
	known bool          // they are set
	b     []byte
	err   error
}

// shared returns a reader of one file of the tree for several collectors.
func (fs FS) shared(name string) *sharedFile { return &sharedFile{file: fs.file(name)} }

// parse calls each with the file as it is at a tick. The bytes are valid during the call. The others
// wait meanwhile.
func (f *sharedFile) parse(ctx context.Context, now time.Duration, each func([]byte) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known || f.at != now {
		f.b, f.err = f.file.read(ctx)
		f.at, f.known = now, f.err == nil
	}
	if f.err != nil {
		return f.err
	}
	return each(f.b)
}

// close may be called by each of the collectors: the file opens again when it is read again.
func (f *sharedFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
	return f.file.close()
}

// maxProcFile bounds what one file may make us hold; /proc/stat of 4,096 CPUs is 500 KiB.
const maxProcFile = 16 << 20

// read returns the whole file as it is now. The bytes are valid until the next read. A file that
// cannot be read again is opened anew once: some kernels refuse to rewind some files.
func (p *procFile) read(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.f != nil {
		if b, err := p.readOpen(); err == nil {
			return b, nil
		}
		p.close()
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	p.f = f
	return p.readOpen()
}

func (p *procFile) readOpen() ([]byte, error) {
	if p.buf == nil {
		p.buf = make([]byte, 4096)
	}
	// A short read is not the end: the kernel prints such files in pieces.
	for n := 0; ; {
		if n == len(p.buf) {
			if n >= maxProcFile {
				return nil, fmt.Errorf("reading %s: more than %d MiB", p.path, maxProcFile>>20)
			}
			p.buf = append(p.buf, make([]byte, len(p.buf))...)
		}
		m, err := p.f.ReadAt(p.buf[n:], int64(n))
		n += m
		switch {
		case err == io.EOF:
			return p.buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
}

// close is safe on a file that was never opened.
func (p *procFile) close() error {
	if p.f == nil {
		return nil
	}
	err := p.f.Close()
	p.f = nil
	return err
}
