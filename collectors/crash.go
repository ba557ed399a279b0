// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// crashRecords bounds how many records are looked at, crashText what is read of the newest.
	crashRecords = 1000
	crashText    = 64 << 10
)

// readCrash finds what the last kernel wrote down before its end: the newest record of its log in the
// persistent store, where the firmware or some memory keeps one (Documentation/admin-guide/pstore-blk.rst,
// ramoops.rst). Empty without one, or where it may not be read; services move them away soon after a boot.
func readCrash(dir string) (says Raw, at time.Time) {
	d, err := os.Open(dir)
	if err != nil {
		return Raw{}, time.Time{}
	}
	defer d.Close()
	names, err := d.Readdirnames(crashRecords)
	if err != nil {
		return Raw{}, time.Time{}
	}
	newest := ""
	for _, name := range names {
		if !strings.HasPrefix(name, "dmesg-") {
			continue
		}
		if st, err := os.Lstat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() && st.ModTime().After(at) {
			newest, at = name, st.ModTime()
		}
	}
	if newest == "" {
		return Raw{}, time.Time{}
	}
	f, err := os.Open(filepath.Join(dir, newest))
	if err != nil {
		return Raw{}, time.Time{}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, crashText))
	if err != nil {
		return Raw{}, time.Time{}
	}
	return RawString(crashLine(b)), at
}

// crashLine is the line of a record that tells most: the panic, else what went before it, else the
// record's head ("Panic#1 Part1").
func crashLine(b []byte) string {
	for _, mark := range []string{"Kernel panic - not syncing", "BUG: ", "Oops: ", "watchdog: "} {
		if i := bytes.Index(b, []byte(mark)); i >= 0 {
			line, _ := cutLine(b[i:])
			return string(line[:min(len(line), 200)])
		}
	}
	line, _ := cutLine(b)
	return string(line[:min(len(line), 200)])
}
