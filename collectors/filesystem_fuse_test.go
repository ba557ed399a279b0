// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadFUSE is set for the test's second process, whose mounts nobody else sees.
const deadFUSE = "BPF60_TEST_DEAD_FUSE"

// TestDeadFUSE mounts a file system whose process never answers, which is what a dead server looks
// like to the kernel, and holds that the collector goes on.
func TestDeadFUSE(t *testing.T) {
	if os.Getenv(deadFUSE) == "" {
		if os.Geteuid() != 0 {
			lacking(t, "needs root, to mount")
		}
		if _, err := os.Stat("/dev/fuse"); err != nil {
			t.Skip("needs FUSE in the kernel")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestDeadFUSE$", "-test.v")
		cmd.Env = append(os.Environ(), deadFUSE+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) {
			lacking(t, "needs CAP_SYS_ADMIN, for a mount namespace")
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	dir := os.Getenv(deadFUSE)
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd())
	if err := unix.Mount("dead", dir, "fuse", 0, data); err != nil {
		t.Fatal(err)
	}
	c := newFileSystems(NewFS(""), unix.Statfs)
	start(t, c)
	for _, now := range []time.Duration{0, 12 * time.Second} {
		began := time.Now()
		s := collectAs[*FileSystems](t, c, now)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a dead mount held the collector for %v", took)
		}
		i := slices.IndexFunc(s.Rows, func(f FileSystem) bool { return f.Point.Bytes() == dir })
		if i < 0 {
			t.Fatalf("the dead mount has no row at %v: %+v", now, s.Rows)
		}
		if f := s.Rows[i]; f.Known || f.Silent < max(now, statPatience) || !f.Remote || s.Stuck != 1 {
			t.Errorf("at %v the dead mount is %+v, %d stuck, want it silent", now, f, s.Stuck)
		}
		if !slices.ContainsFunc(s.Rows, func(f FileSystem) bool { return f.Known }) {
			t.Errorf("at %v no other file system is known", now)
		}
	}
	if err := server.Close(); err != nil { // the kernel lets go of who waits
		t.Fatal(err)
	}
	if _, err := c.open[0].take(t.Context(), 10*time.Second); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("when its process has gone, statfs says %v, want ENOTCONN", err)
	}
}
