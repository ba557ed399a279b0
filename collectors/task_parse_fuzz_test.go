// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"testing"
)

// FuzzTaskFiles holds that the parsers of a process's files are total, and that masking twice is masking
// once.
func FuzzTaskFiles(f *testing.F) {
	for _, s := range []string{
		"root:x:0:0:root:/root:/bin/sh\n", "0::/a\n5:memory:/b\n", "read_bytes: 1\nwrite_bytes: 2\n",
		"curl\x00-u\x00a:b\x00--token\x00x\x00http://u:p@h/", "sh\x00-c\x00PASSWORD=x AKIAIOSFODNN7EXAMPLE",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsePasswd(b)
		parseTaskIO(b)
		if path, _, _ := parseCgroups(b); len(path) > 0 && (path[0] != '/' || bytes.ContainsAny(path, "\n")) {
			t.Errorf("parseCgroups(%q) = %q", b, path)
		}
		once := MaskSecrets(bytes.Clone(b))
		if twice := MaskSecrets(bytes.Clone(once)); !bytes.Equal(once, twice) {
			t.Errorf("MaskSecrets(%q) = %q, and again %q", b, once, twice)
		}
		if line := joinArgs(bytes.Clone(b)); len(line) > MaxArgs || bytes.IndexByte(line, 0) >= 0 {
			t.Errorf("joinArgs(%q) = %q", b, line)
		}
	})
}
