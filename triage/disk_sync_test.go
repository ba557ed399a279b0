// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

func TestSyncing(t *testing.T) {
	flusher := func(comm string, kernel bool, n uint64, waited time.Duration) collectors.BlockOwner {
		return collectors.BlockOwner{Process: collectors.Process{TGID: 30, Start: 30}, Comm: collectors.RawString(comm), Kernel: kernel, Flushes: n, FlushTime: waited}
	}
	own := func(n uint64, waited time.Duration) fill {
		return disk(vda(), []collectors.BlockOwner{flusher("db", false, n, waited)}, ioOf{class: collectors.Flush, n: int(n), device: ms(20), mostly: ms(20)})
	}
	inJournal := func(each int) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Stalls = &collectors.Stalls{Span: span}
			if i%each == 0 {
				s.Stalls.Rows = []collectors.Stall{{Stack: &collectors.Stack{Class: collectors.WaitJournal, Function: "jbd2_log_wait_commit"}, Task: collectors.Process{TGID: 30, Start: 30}, Comm: collectors.RawString("db")}}
			}
		}
	}
	journal := func(device time.Duration) fill {
		return disk(vda(), []collectors.BlockOwner{flusher("jbd2/vda-8", true, 20, ms(500))}, ioOf{class: collectors.Flush, n: 20, device: device, mostly: device})
	}
	// seldom is a history of one tick in so many seconds, as of a long --interval.
	seldom := func(every, n int, fills ...fill) *History {
		h := &History{}
		for i := 1; i <= n; i++ {
			at := time.Duration(i*every) * time.Second
			s := &collectors.Snapshot{Seq: uint64(i), At: at}
			for _, f := range fills {
				f(i, s, collectors.Span{From: at - time.Duration(every)*time.Second, To: at})
			}
			h.Append(Moment{Snapshot: s})
		}
		return h
	}
	many := disk(vda(), []collectors.BlockOwner{flusher("jbd2/vda-8", true, 100, ms(500))}, ioOf{class: collectors.Flush, n: 100, device: ms(40), mostly: ms(40)})
	checkCases(t, "disk.sync_storm", map[string]ruleCase{
		"every 2 s":       {h: seldom(2, 6, many, inJournal(2)), want: "warning 60 % by db[30]"},
		"every 5 s":       {h: seldom(5, 4, many, inJournal(1)), want: "warning 100 % by db[30]"},
		"in one look":     {h: seldom(5, 4, many, inJournal(4))},
		"a look in 10 s":  {h: seldom(10, 4, many, inJournal(1))},
		"not seen at all": {h: seldom(5, 4, many)},
	})
	checkCases(t, "disk.sync_storm", map[string]ruleCase{
		"it flushes itself":          {h: ticking(10, own(20, ms(400))), want: "warning 40 % by db[30]", in: "db[30] waits for vda"},
		"a database at 1k fsync/s":   {h: ticking(10, own(1000, ms(900)))},
		"a fifth of its time":        {h: ticking(10, own(10, ms(200)))},
		"the journal flushes for it": {h: ticking(10, journal(ms(40)), inJournal(2)), want: "warning 50 % by db[30]", in: "vda"},
		"the journal is quick":       {h: ticking(10, journal(ms(10)), inJournal(2))},
		"seldom in the journal":      {h: ticking(10, journal(ms(40)), inJournal(5))},
		"the journal alone":          {h: ticking(10, journal(ms(40)))},
	})
}

func TestJournaling(t *testing.T) {
	waiters := func(n int, function string, from int) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Stalls = &collectors.Stalls{Span: span}
			for k := range n {
				if i >= from {
					s.Stalls.Rows = append(s.Stalls.Rows, collectors.Stall{
						Stack: &collectors.Stack{Class: collectors.WaitJournal, Function: function}, TID: int32(30 + k), Task: collectors.Process{TGID: 30}, Comm: collectors.RawString("db"),
						Device: collectors.StallDevice{Name: collectors.RawString("vda")},
					})
				}
			}
		})
	}
	scans := func(every, looks int) *History { // as of /proc
		return ticking(20, func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i%every == 0 && i > 20-every*looks {
				m, _ := waiters(3, "wait_transaction_locked", 1).Last()
				s.Stalls = m.Stalls
			} else if i%every == 0 {
				s.Stalls = &collectors.Stalls{Span: span}
			}
		})
	}
	checkCases(t, "fs.journal", map[string]ruleCase{
		"every 5 s":              {h: scans(5, 2), want: "warning 3 threads hits db[30], db[30], db[30]"},
		"every 10 s":             {h: scans(10, 2), want: "warning 3 threads hits db[30], db[30], db[30]"},
		"every 5 s, in one look": {h: scans(5, 1)},
		"they stand behind one":  {h: waiters(3, "wait_transaction_locked", 1), want: "warning 3 threads hits db[30], db[30], db[30]", in: "3 threads wait for the journal of vda"},
		"for two looks":          {h: waiters(3, "wait_transaction_locked", 9)},
		"two":                    {h: waiters(2, "wait_transaction_locked", 1)},
		"they wait for a commit": {h: waiters(9, "jbd2_log_wait_commit", 1)},
	})
}

func TestBackground(t *testing.T) {
	by := func(comm string, kernel bool, bytes uint64) *History {
		o := owner(50, comm, 10, bytes, ms(10))
		o.Kernel = kernel
		return ticking(10, disk(vda(), []collectors.BlockOwner{o}))
	}
	checkCases(t, "disk.background", map[string]ruleCase{
		"a rebuild":               {h: by("md0_resync", true, 80<<20), want: "info 80 MiB a second by md0_resync[50]", in: "rebuilt"},
		"a trim":                  {h: by("fstrim", false, 2<<20), want: "info 2 MiB a second by fstrim[50]"},
		"a program of that name":  {h: by("md0_resync", false, 80<<20)},
		"hardly anything":         {h: by("md0_resync", true, 1<<19)},
		"the journal of the disk": {h: by("jbd2/vda-8", true, 80<<20)},
	})
}

// A full file system is looked through for what was deleted and is held open.
func TestHeldOpen(t *testing.T) {
	full := mounted(collectors.Mount{}, 100*gib, func(int) uint64 { return gib }, 0, 0)
	target := collectors.Target{Kind: collectors.DiskTarget, Dev: 7}
	held := func(at int, target collectors.Target, bytes uint64) *History {
		return ticking(3, full, func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i != at {
				return
			}
			row := collectors.DeletedFile{Process: collectors.Process{TGID: 8, Start: 8}, Comm: collectors.RawString("java"), Path: collectors.RawString("/data/gc.log"), Bytes: bytes}
			s.Deleted = &collectors.Deleted{Span: span, Narrowed: []collectors.Targeted[collectors.DeletedFiles]{{Target: target, Sample: collectors.DeletedFiles{Rows: []collectors.DeletedFile{row}, Files: 2, Bytes: bytes + gib}}}}
		})
	}
	checkCases(t, "fs.full", map[string]ruleCase{
		"held open":           {h: held(2, target, 3*gib), want: "warning 1 % left by java[8], /data"},
		"of another":          {h: held(2, collectors.Target{Kind: collectors.DiskTarget, Dev: 8}, 3*gib), want: "warning 1 % left by /data"},
		"nobody has looked":   {h: held(0, target, 3*gib), want: "warning 1 % left by /data"},
		"nothing is held yet": {h: ticking(3, full), want: "warning 1 % left by /data"},
	})
	f, wants := judge(t, "fs.full", held(2, target, 3*gib))
	if len(wants) != 1 || wants[0] != (collectors.Want{ID: collectors.DeletedID, Target: target}) {
		t.Errorf("asks for %+v, want the deleted files of the device", wants)
	}
	if f.Culprits[0].Share != 0.75 {
		t.Errorf("a share of %v, want three quarters of what is held", f.Culprits[0].Share)
	}
}

// TestJournalBlind: what /proc does not tell is not ruled out, nor what is looked at once in ten seconds.
func TestJournalBlind(t *testing.T) {
	looks := func(every int, source string, rows ...collectors.Stall) *History {
		return ticking(20, func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i%every == 0 {
				s.Stalls = &collectors.Stalls{Span: collectors.Span{From: span.To - time.Duration(every)*time.Second, To: span.To}, Rows: rows, Source: source}
			}
		})
	}
	unread := collectors.Stall{Task: collectors.Process{TGID: 30}, Comm: collectors.RawString("db")}
	read := unread
	read.Stack = &collectors.Stack{Class: collectors.WaitDisk, Function: "folio_wait_bit"}
	for name, tt := range map[string]struct {
		h             *History
		journal, sync bool
	}{
		"every second":         {looks(1, "iter/task", read), false, false},
		"every 5 s":            {looks(5, "/proc", read), false, false},
		"every 10 s":           {looks(10, "/proc", read), false, true},
		"may not be read":      {looks(5, "/proc", read, unread), true, true},
		"gone while it looked": {looks(1, "iter/task", unread), false, false},
	} {
		for id, want := range map[string]bool{"fs.journal": tt.journal, "disk.sync_storm": tt.sync} {
			rules := All(nil)
			i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
			if reason, _ := rules[i].Blind(tt.h); (reason != "") != want {
				t.Errorf("%s: %s is blind because %q, want %v", name, id, reason, want)
			}
		}
	}
}
