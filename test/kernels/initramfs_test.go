// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWriteInitramfs reads the archive back by the format's own description.
func TestWriteInitramfs(t *testing.T) {
	files := map[string][]byte{
		"init":             []byte("#!"),
		"src/bpf/testdata": []byte("12345"),
		"src/bpf/empty":    nil,
		"bin/bpf60":        bytes.Repeat([]byte{0xff, 0}, 3000),
	}
	got := entries(t, initramfs(t, files))
	want := []string{
		"dev 40755 0:0 ", "dev/console 20600 5:1 ", "dev/null 20666 1:3 ",
		"bin 40755 0:0 ", "bin/bpf60 100755 0:0 " + string(files["bin/bpf60"]),
		"init 100755 0:0 #!",
		"src 40755 0:0 ", "src/bpf 40755 0:0 ", "src/bpf/empty 100755 0:0 ", "src/bpf/testdata 100755 0:0 12345",
		"TRAILER!!! 0 0:0 ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if !bytes.Equal(initramfs(t, files), initramfs(t, files)) {
		t.Error("the same files gave different bytes")
	}
}

// TestInitramfsByCpio asks an implementation that is not ours.
func TestInitramfsByCpio(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no cpio: make test-deps")
		}
		t.Skip("there is no cpio; TestWriteInitramfs reads the archive itself")
	}
	cmd := exec.Command(cpio, "--list", "--quiet")
	cmd.Stdin = bytes.NewReader(initramfs(t, map[string][]byte{"init": []byte("x"), "a/b": []byte("yz")}))
	out, err := cmd.CombinedOutput()
	if want := "dev\ndev/console\ndev/null\na\na/b\ninit\n"; err != nil || string(out) != want {
		t.Errorf("cpio --list = %q, %v, want %q", out, err, want)
	}
}

func initramfs(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeInitramfs(&b, files); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func entries(t *testing.T, b []byte) []string {
	t.Helper()
	var all []string
	for at := 0; at < len(b); {
		if at+110 > len(b) || string(b[at:at+6]) != "070701" {
			t.Fatalf("offset %d: no newc header", at)
		}
		var f [13]int
		for i := range f {
			n, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatalf("offset %d: field %d: %v", at, i, err)
			}
			f[i] = int(n)
		}
		name, size := string(b[at+110:at+110+f[11]]), f[6]
		if !strings.HasSuffix(name, "\x00") {
			t.Fatalf("offset %d: the name %q is not terminated", at, name)
		}
		body := (at + 110 + f[11] + 3) &^ 3
		all = append(all, fmt.Sprintf("%s %o %d:%d %s", name[:len(name)-1], f[1], f[9], f[10], b[body:body+size]))
		at = (body + size + 3) &^ 3
	}
	return all
}
