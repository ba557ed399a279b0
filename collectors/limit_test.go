// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// limitFile prints limits as the kernel does.
func limitFile(rows []ResourceLimit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	word := func(n uint64) string {
		if n == NoLimit {
			return "unlimited"
		}
		return fmt.Sprint(n)
	}
	for _, r := range rows {
		for _, n := range limitNames() {
			if n.name == r.Name {
				fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", n.prints, word(r.Soft), word(r.Hard), r.Unit)
			}
		}
	}
	return b.String()
}

func TestParseLimits(t *testing.T) {
	nofile := ResourceLimit{Name: "nofile", Unit: "files", Soft: 1024, Hard: 524288}
	as := ResourceLimit{Name: "as", Unit: "bytes", Soft: NoLimit, Hard: NoLimit}
	tests := map[string]struct {
		file string
		want []ResourceLimit
	}{
		"two":       {limitFile([]ResourceLimit{nofile, as}), []ResourceLimit{nofile, as}},
		"no unit":   {"Max nice priority         0                    20                   \n", []ResourceLimit{{Name: "nice", Hard: 20}}},
		"unknown":   {"Max happiness             1                    2                    smiles\n" + limitFile([]ResourceLimit{as}), []ResourceLimit{as}},
		"cut":       {"Max open files            1024", nil},
		"too large": {"Max open files            18446744073709551616 1                    files\n", nil},
		"empty":     {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseLimits([]byte(tt.file))); diff != "" {
				t.Errorf("parseLimits(%q) (-want +got):\n%s", tt.file, diff)
			}
		})
	}
}

func FuzzLimits(f *testing.F) {
	for _, s := range []string{"", "Max open files            1024                 4096                 files     \n", "Max cpu time unlimited unlimited seconds", "VmLck:\t64 kB\nSigQ:\t1/2\n", "SigQ:\t/\nVmSize:\t99999999999999999999 kB"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows := parseLimits(b)
		if diff := cmp.Diff(rows, parseLimits([]byte(limitFile(rows)))); diff != "" {
			t.Errorf("printed and parsed again (-want +got):\n%s", diff)
		}
		parseLimitUse(b)
	})
}

// TestLimitsOfUs reads our own limits: what the kernel says through getrlimit, and files that we open.
func TestLimitsOfUs(t *testing.T) {
	var want unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		t.Fatal(err)
	}
	c := NewLimits(NewFS("")).(*limitCollector)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	us := Target{Kind: ProcessTarget, Process: Process{TGID: int32(os.Getpid())}}
	other := Target{Kind: ProcessTarget, Process: Process{TGID: int32(os.Getpid()), Start: 1}}
	if err := c.Narrow([]Target{us, {Kind: CgroupTarget, Cgroup: 1}, other}); err != nil {
		t.Fatal(err)
	}
	read := func(at time.Duration) *Limits {
		t.Helper()
		s, err := c.Collect(t.Context(), at)
		if err != nil || s == nil {
			t.Fatalf("Collect = %v, %v", s, err)
		}
		return s.(*Limits)
	}
	before := read(time.Second)
	if len(before.Narrowed) != 2 {
		t.Fatalf("%d targets, want the two processes", len(before.Narrowed))
	}
	if got := before.Narrowed[1].Sample; got.Why != "it has ended" || got.Rows != nil {
		t.Errorf("of a process with our number: %+v, want that it has ended", got)
	}
	var keep []*os.File
	for range 23 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		keep = append(keep, f)
	}
	after := read(3 * time.Second)
	for _, f := range keep {
		f.Close()
	}
	a, b := before.Narrowed[0], after.Narrowed[0]
	if n := b.Sample.Files - a.Sample.Files; n != 23 {
		t.Errorf("%d more open files, want 23", n)
	}
	if b.Since != time.Second {
		t.Errorf("Since = %v, want the first reading", b.Since)
	}
	for _, r := range b.Sample.Rows {
		if r.Name == "nofile" && (r.Soft != want.Cur || r.Hard != want.Max || r.Used != b.Sample.Files || !r.Known) {
			t.Errorf("nofile is %+v, want %d of %d", r, b.Sample.Files, want.Cur)
		}
		if r.Name == "as" && (!r.Known || r.Used == 0) {
			t.Errorf("address space is %+v", r)
		}
	}
	if len(b.Sample.Rows) != 16 {
		t.Errorf("%d limits, want 16", len(b.Sample.Rows))
	}
}

// TestLimitsBlock holds that a read that hangs costs a tick its patience, and says so.
func TestLimitsBlock(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(root, "7/stat"), 0o600); err != nil { // opening it waits for a writer
		t.Fatal(err)
	}
	c := NewLimits(NewFS(root)).(*limitCollector)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Narrow([]Target{{Kind: ProcessTarget, Process: Process{TGID: 7}}}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, tt := range []struct {
		at   time.Duration
		fail bool
	}{{time.Second, false}, {2 * time.Second, true}} {
		s, err := c.Collect(context.Background(), tt.at)
		if s != nil || (err != nil) != tt.fail {
			t.Errorf("at %v: %v, %v, want failure %t", tt.at, s, err, tt.fail)
		}
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("two ticks took %v", d)
	}
	if p := c.Probes()[0]; p.State != Failed {
		t.Errorf("the probe is %v, want failed", p.State)
	}
	w, err := os.OpenFile(filepath.Join(root, "7/stat"), os.O_WRONLY, 0) // lets the reader go
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}
