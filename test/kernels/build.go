// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// module is the import path of the repository's root.
const module = "bpf60"

// suite is a package whose tests run in the guests.
type suite struct {
	pkg     string // relative to the repository's root, with slashes
	pattern string // -test.run
}

func (s suite) binary() string { return "tests/" + s.pkg + ".test" }

// suites are the packages with tests that need a kernel of their own.
func suites() []suite {
	return []suite{
		{pkg: "bpf", pattern: "."},
		{pkg: "collectors", pattern: "^TestCgroupV2(Quota|Memory|Pids|Pressure|IO)$"},
	}
}

// build makes every file of the initramfs but the plan. Tests find their testdata where they
// would find it in the tree: in their working directory.
func build(ctx context.Context, suites []suite) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "bpf60-kernels-")
	if err != nil {
		return nil, fmt.Errorf("building for the guests: %w", err)
	}
	defer os.RemoveAll(dir)
	files := map[string][]byte{}
	add := func(name string, args ...string) error {
		out := filepath.Join(dir, filepath.Base(name))
		args = append(args, "-ldflags=-s -w", "-o", out) // what make check has compiled serves again
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, said)
		}
		b, err := os.ReadFile(out)
		if os.IsNotExist(err) { // go test -c without tests
			return fmt.Errorf("building %s: the package has no tests", name)
		}
		if err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
		files[name] = b
		return nil
	}
	if err := add("init", "build", "-C=test/kernels/init"); err != nil {
		return nil, err
	}
	if err := add("bin/bpf60", "build"); err != nil {
		return nil, err
	}
	for _, s := range suites {
		if err := add(s.binary(), "test", "-C="+s.pkg, "-c"); err != nil {
			return nil, err
		}
		if err := addTestdata(files, s.pkg); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func addTestdata(files map[string][]byte, pkg string) error {
	files[path.Join("src", pkg, "package")] = []byte(module + "/" + pkg + "\n") // makes the folder
	root := filepath.Join(pkg, "testdata")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		files["src/"+filepath.ToSlash(name)] = b
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the testdata of %s: %w", pkg, err)
	}
	return nil
}
