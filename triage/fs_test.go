// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

const gib = 1 << 30

// mounted is a file system that has avail(i) bytes free at its reading number i; it is read every 10 s.
func mounted(m collectors.Mount, size uint64, avail func(i int) uint64, inodes, free uint64) fill {
	m.Point, m.Type, m.Source, m.Dev = collectors.RawString("/data"), collectors.RawString("ext4"), collectors.RawString("/dev/vdb"), 7
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		if i%10 == 1 {
			s.FileSystems = &collectors.FileSystems{Span: span, Rows: []collectors.FileSystem{{Mount: &m, Known: true, Size: size, Avail: avail(i / 10), Inodes: inodes, InodesFree: free}}}
		}
	}
}

func TestFullFS(t *testing.T) {
	left := func(n uint64) func(int) uint64 { return func(int) uint64 { return n } }
	falling := func(from, step uint64) func(int) uint64 { return func(i int) uint64 { return from - uint64(i)*step } }
	plain, inMemory := collectors.Mount{}, collectors.Mount{Virtual: true, Memory: true}
	checkCases(t, "fs.full", map[string]ruleCase{
		"nearly nothing":           {h: ticking(3, mounted(plain, 100*gib, left(gib), 0, 0)), want: "warning 1 % left by /data", in: "1.0 GiB of 100 GiB left"},
		"nothing":                  {h: ticking(3, mounted(plain, 100*gib, left(0), 0, 0)), want: "critical 0 % left by /data"},
		"4 TB at 92 %":             {h: ticking(3, mounted(plain, 4000*gib, left(320*gib), 0, 0))},
		"4 TB at 99 %":             {h: ticking(3, mounted(plain, 4000*gib, left(40*gib), 0, 0))},
		"a small one":              {h: ticking(3, mounted(plain, gib/2, left(gib/50), 0, 0))},
		"a small one, really full": {h: ticking(3, mounted(plain, gib/2, left(1<<20), 0, 0)), want: "warning 0.1953 % left by /data"},
		"inodes":                   {h: ticking(3, mounted(plain, 100*gib, left(50*gib), 1000, 20)), want: "warning 2 % left by /data", in: "20 of 1000 inodes"},
		"a full tmpfs":             {h: ticking(3, mounted(inMemory, 64<<20, left(0), 0, 0)), want: "critical 0 % left by /data", in: "0 B of 64.0 MiB left"},
		"a tmpfs of half the host": {h: ticking(3, mounted(inMemory, 100*gib, left(3*gib), 0, 0))},
		"that one, really full":    {h: ticking(3, mounted(inMemory, 100*gib, left(gib/2), 0, 0)), want: "warning 0.5 % left by /data"},
		"a tmpfs without inodes":   {h: ticking(3, mounted(inMemory, gib, left(gib), 1000, 0)), want: "warning 0 % left by /data", in: "0 of 1000 inodes"},
		"a read-only tmpfs":        {h: ticking(3, mounted(collectors.Mount{Virtual: true, Memory: true, ReadOnly: true}, 1<<20, left(0), 0, 0))},
		"an image":                 {h: ticking(3, mounted(collectors.Mount{Virtual: true}, gib, left(0), 0, 0))},
		"read-only":                {h: ticking(3, mounted(collectors.Mount{ReadOnly: true}, 100*gib, left(0), 0, 0))},
		"fills up in half an hour": {h: ticking(100, mounted(plain, 1000*gib, falling(200*gib, gib), 0, 0)), want: "warning 31.83 min by /data", in: "in about 32 min"},
		"fills up within the day":  {h: ticking(100, mounted(plain, 1000*gib, falling(200*gib, gib/50), 0, 0))},
		"nine readings":            {h: ticking(90, mounted(plain, 1000*gib, falling(200*gib, gib), 0, 0))},
		"up and down":              {h: ticking(100, mounted(plain, 1000*gib, func(i int) uint64 { return 200*gib - uint64(i%3)*40*gib }, 0, 0))},
		"was not read for a minute": {h: ticking(70, func(i int, s *collectors.Snapshot, span collectors.Span) {
			mounted(plain, 100*gib, left(0), 0, 0)(min(i, 2), s, span)
			if i > 1 {
				s.FileSystems = nil
			}
		})},
	})
	checkCases(t, "fs.readonly", map[string]ruleCase{
		"turned read-only": {h: ticking(3, mounted(collectors.Mount{Forced: true}, 100*gib, left(gib), 0, 0)), want: "critical 1 file system by /data"},
		"mounted so":       {h: ticking(3, mounted(collectors.Mount{ReadOnly: true}, 100*gib, left(gib), 0, 0))},
	})
	if f := judged(t, "fs.full", ticking(3, mounted(plain, 100*gib, left(gib), 0, 0))); f.Row != "fs /data" || f.Window != time.Duration(0) {
		t.Errorf("leads to %q", f.Row)
	}
}

func TestHungFS(t *testing.T) {
	silent := func(list ...time.Duration) *History {
		return ticking(3, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.FileSystems = &collectors.FileSystems{Span: span}
			for k, d := range list {
				m := &collectors.Mount{Point: collectors.RawString("/net/" + string(rune('a'+k))), Type: collectors.RawString("nfs4"), Source: collectors.RawString("10.0.3.9:/export"), Remote: true}
				s.FileSystems.Rows = append(s.FileSystems.Rows, collectors.FileSystem{Mount: m, Silent: d})
			}
		})
	}
	checkCases(t, "fs.hung", map[string]ruleCase{
		"it is dead":       {h: silent(10 * time.Second), want: "warning 10 s by 10.0.3.9:/export", in: "/net/a does not answer for 10 s: nfs4 on 10.0.3.9:/export"},
		"for minutes":      {h: silent(20*time.Second, 150*time.Second), want: "critical 150 s by 10.0.3.9:/export", in: "/net/b"},
		"a slow answer":    {h: silent(100 * time.Millisecond)},
		"all of them do":   {h: silent(0, 0)},
		"nothing is there": {h: silent()},
	})
	if f := judged(t, "fs.hung", silent(10*time.Second)); f.Row != "fs /net/a" || !slices.Contains(f.Explains, "proc.blocked") {
		t.Errorf("leads to %q and explains %v", f.Row, f.Explains)
	}
}

// TestFileSystemsUnchecked: what does not answer may be full.
func TestFileSystemsUnchecked(t *testing.T) {
	for state, healthy := range map[collectors.State]bool{collectors.On: true, collectors.Degraded: false} {
		e := NewEngine(fileRules(nil)[:3], &History{}, nil)
		var last Moment
		quiet := mounted(collectors.Mount{}, 100*gib, func(int) uint64 { return 50 * gib }, 0, 0)
		for _, m := range ticking(20, quiet, func(_ int, s *collectors.Snapshot, _ collectors.Span) {
			s.Probes = map[collectors.ID][]collectors.Probe{collectors.FileSystemID: {{Name: "df", State: state, Reason: "a mount does not answer"}}}
		}).Since(-1) {
			last = e.Tick(m.Snapshot)
		}
		if last.Checks == nil || (len(last.Checks.Healthy) > 0) != healthy || (len(last.Checks.Unchecked) > 0) == healthy {
			t.Errorf("df %v: %+v, want healthy %v", state, last.Checks, healthy)
		}
	}
}

// TestOpenFilesUnchecked: files of others that cannot be counted may be too many.
func TestOpenFilesUnchecked(t *testing.T) {
	for state, healthy := range map[collectors.State]bool{collectors.On: true, collectors.Degraded: false} {
		e := NewEngine([]Rule{exhausted(nil)}, &History{}, nil)
		var last Moment
		for _, m := range ticking(20, func(_ int, s *collectors.Snapshot, span collectors.Span) {
			s.Descriptors = &collectors.Descriptors{Span: span, Whole: true}
			s.Probes = map[collectors.ID][]collectors.Probe{collectors.DescriptorsID: {{Name: "nofile", State: state}}}
		}).Since(-1) {
			last = e.Tick(m.Snapshot)
		}
		if last.Checks == nil || (len(last.Checks.Healthy) > 0) != healthy {
			t.Errorf("nofile %v: %+v, want healthy %v", state, last.Checks, healthy)
		}
	}
}
