// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
)

// Modes of a cpio entry, as in stat(2).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

// cpioWriter writes an archive in the format newc, which is all that the kernel reads as an
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w     io.Writer
	inode int
}

// entry writes one header, name and body. Both are padded to 4 bytes.
func (c *cpioWriter) entry(name string, mode, major, minor int, body []byte) error {
	c.inode++
	h := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(body), 0, 0, major, minor, len(name)+1, 0, name)
	for _, b := range [][]byte{[]byte(h), body} {
		if _, err := c.w.Write(append(b, make([]byte, -len(b)&3)...)); err != nil {
			return fmt.Errorf("writing the initramfs: %w", err)
		}
	}
	return nil
}

func (c *cpioWriter) close() error { return c.entry("TRAILER!!!", 0, 0, 0, nil) }

// writeInitramfs writes files, all of them executable, with the folders above them, and the two
// devices that process 1 needs before it can mount /dev. The same files give the same bytes.
func writeInitramfs(w io.Writer, files map[string][]byte) error {
	// Speed, not size: the guest's slow CPU unpacks it.
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("writing the initramfs: %w", err)
	}
	c := cpioWriter{w: z}
	made := map[string]bool{".": true}
	var mkdir func(dir string) error
	mkdir = func(dir string) error {
		if made[dir] {
			return nil
		}
		if err := mkdir(path.Dir(dir)); err != nil {
			return err
		}
		made[dir] = true
		return c.entry(dir, modeDir|0o755, 0, 0, nil)
	}
	if err := mkdir("dev"); err != nil {
		return err
	}
	if err := c.entry("dev/console", modeChar|0o600, 5, 1, nil); err != nil {
		return err
	}
	if err := c.entry("dev/null", modeChar|0o666, 1, 3, nil); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := mkdir(path.Dir(name)); err != nil {
			return err
		}
		if err := c.entry(name, modeFile|0o755, 0, 0, files[name]); err != nil {
			return err
		}
	}
	if err := c.close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("writing the initramfs: %w", err)
	}
	return nil
}
