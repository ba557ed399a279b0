// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileOf(t *testing.T) {
	boot := tarOf(t, "./boot/System.map-6.1", "map", "./boot/vmlinuz-6.1.0-56-cloud-amd64", "kernel", "./lib/modules/x.ko", strings.Repeat("module", 1<<18))
	usr := tarOf(t, "./usr/share/doc/vmlinuz", "text", "./usr/lib/modules/7.3.4/vmlinuz", "kernel")
	tests := map[string]struct {
		deb     []byte
		want    string
		wantErr string
	}{
		"in boot":           {arOf("debian-binary", []byte("2.0\n"), "control.tar.xz", []byte("odd"), "data.tar", boot), "kernel", ""},
		"in modules":        {arOf("data.tar", usr), "kernel", ""},
		"gzip":              {arOf("data.tar.gz", gzipped(t, boot)), "kernel", ""},
		"xz":                {arOf("data.tar.xz", xzipped(t, boot)), "kernel", ""},
		"slash behind name": {arOf("data.tar/", boot), "kernel", ""},
		"damaged xz":        {arOf("data.tar.xz", append([]byte("x"), xzipped(t, boot)...)), "", "xz"},
		"only a link":       {arOf("data.tar", tarOf(t, "./usr/share/doc/x", "text")), "", "not there"},
		"zstd":              {arOf("data.tar.zst", boot), "", "no way to decompress data.tar.zst"},
		"no data":           {arOf("control.tar.xz", boot), "", "no member data.tar"},
		"no ar":             {boot, "", "not an ar archive"},
		"cut off":           {arOf("data.tar", boot)[:300], "", "unexpected EOF"},
		"bad size":          {bytes.Replace(arOf("data.tar", boot), []byte("`\n"), []byte("xx"), 1), "", "damaged ar header"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.deb")
			if err := os.WriteFile(path, tt.deb, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := fileOf(t.Context(), path, isVmlinuz)
			if string(got) != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("fileOf = %q, %v, want %q, error %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

// TestIsModule: a module lies where its kernel puts it, packed or not.
func TestIsModule(t *testing.T) {
	const body = "\x7fELF loop"
	for name, members := range map[string][]string{
		"plain":  {"./lib/modules/6.1.0-56-cloud-amd64/kernel/drivers/block/loop.ko", body},
		"packed": {"./usr/lib/modules/7.3.4+deb13-cloud-amd64/kernel/drivers/block/loop.ko.xz", string(xzipped(t, []byte(body)))},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.deb")
			members = append([]string{"./usr/share/doc/loop.ko", "text", "./lib/modules/x/kernel/drivers/block/loop.ko.gz", "odd"}, members...)
			if err := os.WriteFile(path, arOf("data.tar", tarOf(t, members...)), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := fileOf(t.Context(), path, isModule("loop")); string(got) != body || err != nil {
				t.Errorf("fileOf = %q, %v, want %q", got, err, body)
			}
		})
	}
}

// arOf makes an archive of names and bodies in turn.
func arOf(members ...any) []byte {
	b := bytes.NewBufferString("!<arch>\n")
	for i := 0; i < len(members); i += 2 {
		body := members[i+1].([]byte)
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", members[i], 0, 0, 0, "100644", len(body))
		b.Write(body)
		if len(body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func tarOf(t *testing.T, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: members[i], Size: int64(len(members[i+1])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(members[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// xzipped needs xz-utils, as the matrix itself does.
func xzipped(t *testing.T, body []byte) []byte {
	t.Helper()
	cmd := exec.Command("xz", "-0c")
	cmd.Stdin = bytes.NewReader(body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz: %v (apt-get install xz-utils)", err)
	}
	return out
}
