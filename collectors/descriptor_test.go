// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// holder starts a program that does nothing and holds so many files of at most so many.
func holder(t *testing.T, files []*os.File, limit uint64) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = files
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func nulls(t *testing.T, n int) []*os.File {
	t.Helper()
	var out []*os.File
	for range n {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		out = append(out, f)
	}
	return out
}

// turns collects until every process has had two turns.
func turns(t *testing.T, c *descriptorCollector, now *time.Duration) *Descriptors {
	t.Helper()
	for {
		*now += time.Second
		s, err := c.Collect(t.Context(), *now)
		if err != nil {
			t.Fatal(err)
		}
		if c.round == 2 && len(c.pids) == 0 {
			return s.(*Descriptors)
		}
	}
}

func holderRow(d *Descriptors, pid int) *DescriptorRow {
	i := slices.IndexFunc(d.Rows, func(r DescriptorRow) bool { return int(r.TGID) == pid })
	if i < 0 {
		return nil
	}
	return &d.Rows[i]
}

// TestDescriptorsNearTheirLimit compares with the kernel's list of a process's files.
func TestDescriptorsNearTheirLimit(t *testing.T) {
	near, far := holder(t, nulls(t, 220), 256), holder(t, nulls(t, 70), 4096)
	sandbox := holder(t, nulls(t, 70), 16)
	c, now := NewDescriptors(NewFS("")).(*descriptorCollector), time.Duration(0)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := turns(t, c, &now)
	row := holderRow(s, near.Process.Pid)
	if row == nil {
		t.Fatalf("%d of 256 files is not listed: %+v", 223, s.Rows)
	}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", near.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if row.Used != uint64(len(list)) || row.Soft != 256 || row.Hard != 256 || row.Comm.Bytes() != "sleep" || row.Start == 0 {
		t.Errorf("%+v, want %d of 256 files of sleep", *row, len(list))
	}
	for name, cmd := range map[string]*exec.Cmd{"far from its limit": far, "a sandbox": sandbox} {
		if holderRow(s, cmd.Process.Pid) != nil {
			t.Errorf("%s is listed", name)
		}
	}
	if !s.Whole || s.Looked == 0 {
		t.Errorf("%+v, want a whole round", s)
	}
	if p := c.Probes()[0]; p.State != On {
		t.Errorf("the probe is %v: %s", p.State, p.Reason)
	}
	_ = near.Process.Kill()
	_ = near.Wait()
	now += time.Second
	after, err := c.Collect(t.Context(), now)
	if err != nil || holderRow(after.(*Descriptors), near.Process.Pid) != nil {
		t.Errorf("it has ended and is listed: %v", err)
	}
}

// fakeHolder is one process of a tree of kernel files, before the kernel said how many files there are.
type fakeHolder struct {
	root string
	n    int
}

func (f *fakeHolder) hold(t *testing.T, n int) {
	t.Helper()
	for ; f.n < n; f.n++ {
		if err := os.WriteFile(filepath.Join(f.root, "7/fd", strconv.Itoa(f.n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for ; f.n > n; f.n-- {
		if err := os.Remove(filepath.Join(f.root, "7/fd", strconv.Itoa(f.n-1))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDescriptorsFollowGrowth: who holds more at its second turn is followed, until it is calm.
func TestDescriptorsFollowGrowth(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "7/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	stat := func(start int) string {
		return "7 (app) S 1" + strings.Repeat(" 0", 17) + fmt.Sprintf(" %d", start) + strings.Repeat(" 0", 30) + "\n"
	}
	write("7/stat", stat(500))
	write("7/limits", limitFile([]ResourceLimit{{Name: "nofile", Soft: 1000, Hard: 2000}}))
	app := fakeHolder{root: root}
	c := NewDescriptors(NewFS(root)).(*descriptorCollector)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.sized = false // a directory of this file system has a size, but not that of the kernel
	at := time.Duration(0)
	used := func(n int, after time.Duration) []uint64 {
		t.Helper()
		app.hold(t, n)
		at += after
		s, err := c.Collect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		var out []uint64
		for _, r := range s.(*Descriptors).Rows {
			if r.Process != (Process{7, 500 * tickNs}) || r.Soft != 1000 || r.Hard != 2000 || r.Comm.Bytes() != "app" {
				t.Errorf("row %+v", r)
			}
			out = append(out, r.Used)
		}
		return out
	}
	for _, step := range []struct {
		name  string
		n     int
		after time.Duration
		want  []uint64
	}{
		{"at first sight", 100, time.Second, nil},
		{"as many", 100, time.Second, nil},
		{"more", 110, time.Second, []uint64{110}},
		{"more again", 120, time.Second, []uint64{120}},
		{"calm", 120, calmAfter - time.Second, []uint64{120}},
		{"calm for long", 120, time.Second, nil},
		{"half of its limit", 500, time.Second, []uint64{500}},
		{"it stays there", 500, 2 * calmAfter, []uint64{500}},
		{"few", 10, time.Second, nil},
		{"half of it again", 500, time.Second, []uint64{500}},
	} {
		if diff := cmp.Diff(step.want, used(step.n, step.after)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	write("7/stat", stat(600)) // another process has its number
	if got := used(500, limitAge); got != nil {
		t.Errorf("another process with the number is listed: %v", got)
	}
}

func BenchmarkDescriptors(b *testing.B) {
	c := NewDescriptors(NewFS("")).(*descriptorCollector)
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	at := time.Duration(0)
	for b.Loop() {
		at += time.Second
		if _, err := c.Collect(b.Context(), at); err != nil {
			b.Fatal(err)
		}
	}
}
