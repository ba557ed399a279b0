// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

// asked runs all rules over snapshots in which what of hides tells of is to be seen only while the rules have
// it, from the tick after they were given it; and returns for how many seconds they had each.
func asked(t *testing.T, list []*collectors.Snapshot, hides map[collectors.ID]func(*collectors.Snapshot)) (out []Moment, had map[collectors.ID]int) {
	t.Helper()
	given := map[collectors.ID]bool{}
	had = map[collectors.ID]int{}
	e := NewEngine(All(nil), &History{}, func(_ string, wants []collectors.Want) {
		clear(given)
		for _, w := range wants {
			given[w.ID] = true
		}
	})
	for _, s := range list {
		for id, hide := range hides {
			if !given[id] {
				hide(s)
			} else {
				had[id]++
			}
		}
		out = append(out, e.Tick(s))
	}
	for _, c := range e.Crashes() {
		t.Errorf("%s: %s\n%s", c.Name, c.Message, c.Stack)
	}
	return out, had
}

// foundIn is a live finding of a moment in a few words: how bad it is, and its first culprit. Empty without one.
func foundIn(m Moment, id string) string {
	i := slices.IndexFunc(m.Findings, func(f Finding) bool { return f.ID == id && f.Until == 0 })
	if i < 0 {
		return ""
	}
	f := &m.Findings[i]
	if len(f.Culprits) == 0 {
		return f.Severity.String()
	}
	return fmt.Sprint(f.Severity, " ", f.Culprits[0].Name)
}

// What lasts for minutes stays found, with its culprit, although its evidence is given for ten seconds of each.
func TestWhatLastsStaysFound(t *testing.T) {
	const n = 330
	hideTasks := func(s *collectors.Snapshot) { s.Tasks.BusyAll, s.Tasks.Busy = false, nil }
	convoy := app(8)
	pegged := app(8)
	two := ticksOf(1, busyCPU(), idleCPU())
	var growing []*collectors.Snapshot
	for _, m := range (grower{func(i int) int { return 100 + 10*i }, 20, time.Hour, true, 0, false}).history(n).Since(-1) {
		growing = append(growing, m.Snapshot)
	}
	cases := map[string]struct {
		list  []*collectors.Snapshot
		hides map[collectors.ID]func(*collectors.Snapshot)
		by    int // the second by which it is found
		want  string
	}{
		"mem.growth": {
			list:  growing,
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.LimitsID: func(s *collectors.Snapshot) { s.Limits = nil }},
			by:    75, want: "warning app[8]",
		},
		"mem.slab_growth": {
			list: snapshotsOf(n, memory(map[collectors.MemField]uint64{collectors.MemSUnreclaim: 30 << 30 / 100}, nil), func(i int, s *collectors.Snapshot, span collectors.Span) {
				s.Slab = &collectors.Slab{Span: span, Caches: []collectors.SlabCache{{Name: collectors.RawString("kmalloc-64"), Bytes: 1 << 28}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.SlabID: func(s *collectors.Snapshot) { s.Slab = nil }},
			by:    5, want: "warning kmalloc-64",
		},
		"net.receive_stalled": {
			list: snapshotsOf(n, func(i int, s *collectors.Snapshot, span collectors.Span) {
				s.TCP = &collectors.TCP{Span: span}
				s.TCP.Delta[collectors.TCPToZeroWindowAdv] = 1
				owner := &collectors.SocketOwner{Process: app(8).Process, Comm: app(8).Comm}
				s.Sockets = &collectors.Sockets{Span: span, Rows: []collectors.SocketRow{{
					SocketID: &collectors.SocketID{Remote: netip.MustParseAddrPort("10.0.3.7:5432"), Owner: owner}, RecvQ: 90000, RcvBuf: 100000,
				}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.SocketsID: func(s *collectors.Snapshot) { s.Sockets = nil }},
			by:    10, want: "warning app[8]",
		},
		"fs.full": {
			list: snapshotsOf(n, mounted(collectors.Mount{}, 100*gib, func(int) uint64 { return gib }, 0, 0), func(i int, s *collectors.Snapshot, span collectors.Span) {
				row := collectors.DeletedFile{Process: app(8).Process, Comm: app(8).Comm, Path: collectors.RawString("/data/gc.log"), Bytes: 60 * gib}
				s.Deleted = &collectors.Deleted{Span: span, Narrowed: []collectors.Targeted[collectors.DeletedFiles]{{
					Target: collectors.Target{Kind: collectors.DiskTarget, Dev: 7}, Sample: collectors.DeletedFiles{Rows: []collectors.DeletedFile{row}, Files: 1, Bytes: 60 * gib},
				}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.DeletedID: func(s *collectors.Snapshot) { s.Deleted = nil }},
			by:    10, want: "warning app[8]",
		},
		"proc.waiting": {
			list: snapshotsOf(n, hostWith(collectors.PSI{}), ticksOf(1, idleCPU(), idleCPU()), func(i int, s *collectors.Snapshot, span collectors.Span) {
				s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: convoy, Run: ms(50), Voluntary: 5000, Threads: 32}}}
				s.Sleeps = &collectors.Sleeps{Span: span, Narrowed: []collectors.Targeted[collectors.SleepCounts]{{
					Target: collectors.Target{Kind: collectors.ProcessTarget, Process: convoy.Process},
					Sample: collectors.SleepCounts{Comm: convoy.Comm, Rows: []collectors.SleepRow{{Class: collectors.WaitFutex, Threads: 31}, {Threads: 1}}},
				}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.SleepsID: func(s *collectors.Snapshot) { s.Sleeps = nil }},
			by:    25, want: "info app[8]",
		},
		"cpu.single_thread": {
			list: snapshotsOf(n, hostWith(collectors.PSI{}), two, func(i int, s *collectors.Snapshot, span collectors.Span) {
				s.Tasks = &collectors.Tasks{Span: span, Source: "iter/task", Rows: []collectors.TaskRow{{ProcInfo: pegged, Run: ms(995), Threads: 12}}}
				s.Tasks.BusyAll = true
				s.Tasks.Busy = []collectors.ThreadRow{{ProcInfo: pegged, TID: 9, Run: ms(985), Comm: collectors.RawString("io"), LastCPU: 1}}
				s.Sockets = &collectors.Sockets{Span: span, Listeners: []collectors.ListenRow{{
					SocketID: &collectors.SocketID{Owner: &collectors.SocketOwner{Process: pegged.Process}}, Queue: 5, Backlog: 128,
				}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){
				collectors.TasksID: hideTasks, collectors.SocketsID: func(s *collectors.Snapshot) { s.Sockets = nil },
			},
			by: 25, want: "warning app[8]",
		},
		"cpu.syscall_storm": {
			list: snapshotsOf(n, ticksOf(2, busyCPU(), busyCPU()), func(i int, s *collectors.Snapshot, span collectors.Span) {
				storming(1, 900, 600, true)(i, s, span)
				x := collectors.SyscallPair{Process: app(8).Process, Name: "sched_yield"}
				x.N = 2e5
				s.Syscalls = &collectors.Syscalls{Span: span, Pairs: []collectors.SyscallPair{x}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.SyscallsID: func(s *collectors.Snapshot) { s.Syscalls = nil }},
			by:    25, want: "warning app[8]",
		},
		"file.open_failures": {
			list: snapshotsOf(n, hostWith(collectors.PSI{}), two, func(i int, s *collectors.Snapshot, span collectors.Span) {
				storming(1, 500, 400, false)(i, s, span)
				s.Opens = &collectors.Opens{Span: span, Paths: []collectors.PathRow{{Process: app(8).Process, Comm: app(8).Comm, Path: collectors.RawString("/etc/none"), Errno: 2, N: 5000}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.OpensID: func(s *collectors.Snapshot) { s.Opens = nil }},
			by:    25, want: "warning app[8]",
		},
		"file.churn": {
			list: snapshotsOf(n, hostWith(collectors.PSI{}), two, func(i int, s *collectors.Snapshot, span collectors.Span) {
				storming(1, 500, 400, false)(i, s, span)
				s.Files = &collectors.Files{Span: span, Churn: []collectors.FileChurn{{Process: app(8).Process, Comm: app(8).Comm, Directory: collectors.RawString("cache"), Made: 500, Deleted: 500}}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.FilesID: func(s *collectors.Snapshot) { s.Files = nil }},
			by:    25, want: "warning app[8]",
		},
		"fs.slow": {
			list: snapshotsOf(n, psiDisk(40), two, func(i int, s *collectors.Snapshot, span collectors.Span) {
				e := collectors.SlowFile{Process: app(8).Process, TID: 8, Comm: app(8).Comm, Call: "fsync", FS: "ext4", Path: collectors.RawString("/wal"), Took: ms(400)}
				s.SlowFiles = &collectors.SlowFiles{Span: span, N: 1, Events: []collectors.SlowFile{e}}
			}),
			hides: map[collectors.ID]func(*collectors.Snapshot){collectors.SlowFilesID: func(s *collectors.Snapshot) { s.SlowFiles = nil }},
			by:    25, want: "warning ext4 /wal",
		},
	}
	for id, tt := range cases {
		t.Run(id, func(t *testing.T) {
			moments, had := asked(t, tt.list, tt.hides)
			for _, m := range moments[tt.by:] {
				if got := foundIn(m, id); got != tt.want {
					t.Fatalf("at %v: %q, want %q", m.At, got, tt.want)
				}
			}
			for probe := range tt.hides {
				if k := had[probe]; k == 0 || k > n/6+10 {
					t.Errorf("%s was there for %d of %d s", probe, k, n)
				}
			}
		})
	}
}

// Probes that attach on demand are asked for where something suggests that they will see something.
func TestWhatSuspects(t *testing.T) {
	p := app(8)
	row := func(run, sys int, blocked func(i int) uint16) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, Run: ms(run), Sys: collectors.Micros(sys * 1000), Threads: 1, Blocked: blocked(i)}}}
		}
	}
	none := func(int) uint16 { return 0 }
	in := func(seconds ...int) func(int) uint16 {
		return func(i int) uint16 {
			if slices.Contains(seconds, i) {
				return 1
			}
			return 0
		}
	}
	kernel := func(i int, s *collectors.Snapshot, span collectors.Span) {
		k := *p
		k.Kernel = true
		s.Tasks.Rows[0].ProcInfo = &k
	}
	names := func(dentries, inodes uint64) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Memory = &collectors.Memory{Span: span}
			s.Memory.Tables.Dentries = collectors.TableGauge{N: 1e5 + dentries*uint64(i), Known: true}
			s.Memory.Tables.Inodes = collectors.TableGauge{N: 1e6 - 10*uint64(i) + inodes*uint64(i), Known: true}
		}
	}
	calls := []collectors.ID{collectors.SyscallsID}
	files := []collectors.ID{collectors.FilesID, collectors.OpensID}
	slow := []collectors.ID{collectors.SlowFilesID}
	for name, tt := range map[string]struct {
		h    *History
		want []collectors.ID
	}{
		"a quiet host":                {ticking(20, psiDisk(1), row(20, 15, none), names(20, 20)), nil},
		"a busy process of its own":   {ticking(20, psiDisk(1), row(900, 300, none), names(0, 0)), nil},
		"a busy one in the kernel":    {ticking(20, psiDisk(1), row(900, 500, none), names(0, 0)), slices.Concat(files, calls)},
		"a thread of the kernel":      {ticking(20, psiDisk(1), row(900, 900, func(int) uint16 { return 1 }), names(0, 0), kernel), nil},
		"names":                       {ticking(20, psiDisk(1), row(20, 5, none), names(120, 0)), files},
		"inodes":                      {ticking(20, psiDisk(1), row(20, 5, none), names(0, 120)), files},
		"pressure":                    {ticking(20, psiDisk(12), row(20, 5, none), names(0, 0)), slow},
		"one that stands in D":        {ticking(20, psiDisk(1), row(20, 5, in(14, 15)), names(0, 0)), slow},
		"one that was seen in D once": {ticking(20, psiDisk(1), row(20, 5, in(3, 15)), names(0, 0)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []collectors.ID
			for _, id := range []string{"file.churn", "file.open_failures", "file.open_storm", "cpu.syscall_storm", "fs.slow"} {
				_, wants := judge(t, id, tt.h)
				for _, w := range wants {
					if !slices.Contains(got, w.ID) {
						got = append(got, w.ID)
					}
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("asks for %v, want %v", got, tt.want)
			}
		})
	}
}

// What a look has shown is told while it is suspected or seen, and not for longer than it may last.
func TestLooks(t *testing.T) {
	at := func(from, to int) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i >= from && i <= to {
				s.Syscalls = &collectors.Syscalls{Span: span}
			}
		}
	}
	for name, tt := range map[string]struct {
		h     *History
		n     int
		fresh bool
	}{
		"goes on":            {ticking(30, at(10, 30)), 10, true},
		"begins":             {ticking(13, at(10, 13)), 0, false},
		"long enough":        {ticking(14, at(10, 14)), 5, true},
		"a moment ago":       {ticking(30, at(12, 21)), 10, false},
		"a minute ago":       {ticking(89, at(12, 21)), 10, false},
		"too old":            {ticking(92, at(12, 21)), 0, false},
		"nobody looked":      {ticking(30, at(0, 0)), 0, false},
		"for three s of ten": {ticking(30, at(28, 30)), 0, false},
	} {
		moments, fresh := recently(tt.h).look(syscallSpan)
		if len(moments) != tt.n || fresh != tt.fresh {
			t.Errorf("%s: %d samples, fresh %v; want %d, %v", name, len(moments), fresh, tt.n, tt.fresh)
		}
	}
}
