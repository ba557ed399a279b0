// SPDX-License-Identifier: Apache-2.0

package triage

import (
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
	plain := collectors.Mount{}
	checkCases(t, "fs.full", map[string]ruleCase{
		"nearly nothing":           {h: ticking(3, mounted(plain, 100*gib, left(gib), 0, 0)), want: "warning 1 % left by /data", in: "1.0 GiB of 100 GiB left"},
		"nothing":                  {h: ticking(3, mounted(plain, 100*gib, left(0), 0, 0)), want: "critical 0 % left by /data"},
		"4 TB at 92 %":             {h: ticking(3, mounted(plain, 4000*gib, left(320*gib), 0, 0))},
		"4 TB at 99 %":             {h: ticking(3, mounted(plain, 4000*gib, left(40*gib), 0, 0))},
		"a small one":              {h: ticking(3, mounted(plain, gib/2, left(gib/50), 0, 0))},
		"a small one, really full": {h: ticking(3, mounted(plain, gib/2, left(1<<20), 0, 0)), want: "warning 0.1953 % left by /data"},
		"inodes":                   {h: ticking(3, mounted(plain, 100*gib, left(50*gib), 1000, 20)), want: "warning 2 % left by /data", in: "20 of 1000 inodes"},
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
