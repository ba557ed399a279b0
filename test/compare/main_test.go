// SPDX-License-Identifier: Apache-2.0

// Package compare puts a steady load on the machine, lets the classic tools and the program
// measure it over the same seconds, and compares every column that both have.
//
// Each tool runs twice, the second a moment after the first: what the two differ by is what the
// shift of a window explains on this host in these seconds, and no more is allowed to us, but for
// the rounding of what they print and the smallest step of the counter behind it.
package compare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryVariable names the program under test, built once.
const binaryVariable = "BPF60_COMPARE_BINARY"

func TestMain(m *testing.M) {
	if kind, ok := os.LookupEnv(loadVariable); ok {
		fmt.Fprintln(os.Stderr, load(kind))
		os.Exit(1)
	}
	code, err := withBinary(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withBinary builds the program as it is shipped.
func withBinary(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "bpf60-compare-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bpf60")
	build := exec.Command("go", "build", "-o", bin, "bpf60")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building bpf60: %w\n%s", err, out)
	}
	if err := os.Setenv(binaryVariable, bin); err != nil {
		return 0, err
	}
	return run(), nil
}

// lacking skips, and fails in CI, where every machine can have everything.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s; CI must have it", what)
	}
	t.Skip(what)
}

// tool returns the path of a program that the comparison needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, name := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	lacking(t, name+" is not installed: make test-deps")
	return ""
}
