// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// fileOf takes one file out of a Debian package: the first whose name is wanted. A module that is
// compressed is unpacked.
func fileOf(ctx context.Context, deb string, wanted func(name string) bool) ([]byte, error) {
	f, err := os.Open(deb)
	if err != nil {
		return nil, fmt.Errorf("opening a package: %w", err)
	}
	defer f.Close()
	name, data, err := arMember(f, "data.tar")
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", deb, err)
	}
	ctx, cancel := context.WithCancel(ctx) // ends xz once the file is found: most of the package is behind it
	defer cancel()
	files, err := decompress(ctx, name, data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", deb, err)
	}
	name, body, err := tarMember(files, wanted)
	if err != nil {
		return nil, fmt.Errorf("looking in %s: %w", deb, err)
	}
	if path.Ext(name) != ".xz" {
		return body, nil
	}
	plain, err := xz(ctx, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", name, err)
	}
	if body, err = io.ReadAll(plain); err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", name, err)
	}
	return body, nil
}

// isVmlinuz knows /boot/vmlinuz-RELEASE and, since 7.x, /usr/lib/modules/RELEASE/vmlinuz.
func isVmlinuz(name string) bool {
	dir, base := path.Split(path.Clean("/" + name))
	return dir == "/boot/" && strings.HasPrefix(base, "vmlinuz-") ||
		strings.HasPrefix(dir, "/usr/lib/modules/") && base == "vmlinuz"
}

// isModule returns what knows the file of a kernel's module, packed since 6.12.
func isModule(module string) func(name string) bool {
	return func(name string) bool {
		return strings.Contains(name, "/kernel/") && path.Base(strings.TrimSuffix(name, ".xz")) == module+".ko"
	}
}

// arMember returns the first member of an ar archive whose name begins with prefix.
func arMember(r io.Reader, prefix string) (string, io.Reader, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", nil, errors.New("not an ar archive")
	}
	for {
		h := make([]byte, 60) // name 16, time 12, uid 6, gid 6, mode 8, size 10, "`\n"
		if _, err := io.ReadFull(r, h); err != nil {
			return "", nil, fmt.Errorf("no member %s: %w", prefix, err)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || size < 0 || string(h[58:]) != "`\n" {
			return "", nil, errors.New("damaged ar header")
		}
		name := strings.TrimRight(string(h[:16]), " /")
		if strings.HasPrefix(name, prefix) {
			return name, io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil { // members begin at even offsets
			return "", nil, fmt.Errorf("skipping %s: %w", name, err)
		}
	}
}

func tarMember(r io.Reader, wanted func(name string) bool) (string, []byte, error) {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return "", nil, errors.New("not there")
		}
		if err != nil {
			return "", nil, err
		}
		if h.Typeflag == tar.TypeReg && wanted(h.Name) {
			body, err := io.ReadAll(t)
			return h.Name, body, err
		}
	}
}

// decompress goes by the ending of name.
func decompress(ctx context.Context, name string, r io.Reader) (io.Reader, error) {
	switch path.Ext(name) {
	case ".tar":
		return r, nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		return xz(ctx, r)
	}
	return nil, fmt.Errorf("no way to decompress %s", name)
}

// xz reads through the tool of xz-utils: the standard library has no xz.
func xz(ctx context.Context, r io.Reader) (io.Reader, error) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		return nil, errors.New("there is no xz (apt-get install xz-utils)")
	}
	pr, pw := io.Pipe()
	cmd := exec.CommandContext(ctx, tool, "-dc")
	cmd.Stdin, cmd.Stdout = r, pw
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting xz: %w", err)
	}
	context.AfterFunc(ctx, func() { pr.Close() }) // a reader that has enough must not block the copy
	go func() {
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("xz: %w: %s", err, bytes.TrimSpace(said.Bytes()))
		}
		pw.CloseWithError(err) // nil is io.EOF
	}()
	return pr, nil
}
