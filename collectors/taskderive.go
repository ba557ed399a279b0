// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"sort"
	"time"
)

// procDelta is what the threads of one process did over the span. It stands at the index of the
// process's leader.
type procDelta struct {
	// Signed: what a thread had counted leaves with it and comes back in the dead share.
	run, vol, invol int64

	wait, lead uint64
	threads    uint32
	blocked    uint32
}

// deriveTasks subtracts two scans, both ascending by PID; prev is nil for the first. A thread is
// the same when its PID and its process's start are. What a process counted before it was first
// seen is its delta only if it started after the previous scan, at prevBoot nanoseconds since boot:
// an old one that a scan missed must not seem to do its life's work at once.
//
// A process's run time and switches are exact over the death of threads where the scanner gives
// what the dead had counted, as the kernel keeps it. Nobody keeps their wait: what a thread waited
// between the last scan and its death is lost. Nothing is ever negative.
//
// Leaders in cur that have a row, or had one, are given their ProcInfo for the next call.
func deriveTasks(prev, cur []taskRec, prevBoot uint64, span Span) *Tasks {
	t := &Tasks{Span: span}
	deltas := make([]procDelta, len(cur))
	j := 0
	for i := range cur {
		r := &cur[i]
		for ; j < len(prev) && prev[j].PID < r.PID; j++ {
			gone(cur, deltas, &prev[j])
		}
		var was *taskRec
		if j < len(prev) && prev[j].PID == r.PID {
			if prev[j].TGID == r.TGID && prev[j].Start == r.Start {
				was = &prev[j]
			} else {
				gone(cur, deltas, &prev[j])
			}
			j++
		}
		l := i
		if r.PID != r.TGID {
			l = leader(cur, r.TGID, r.Start)
		}
		if l < 0 {
			continue // its leader went while we looked: the process ends
		}
		switch {
		case was != nil:
			deltas[l].add(was, r)
		case prev != nil && (r.Start+tickNs >= prevBoot || leader(prev, r.TGID, r.Start) >= 0):
			// New: the process (whose start may be known to a tick only), or the thread in it.
			deltas[l].add(&taskRec{}, r)
		}
		deltas[l].threads += r.Threads
		t.count(r, &deltas[l])
		if was != nil && l == i {
			r.info = was.info
		}
	}
	for ; j < len(prev); j++ {
		gone(cur, deltas, &prev[j])
	}
	for i := range cur {
		if r := &cur[i]; r.PID == r.TGID {
			t.process(r, &deltas[i])
		}
	}
	return t
}

// leader is the index of the leader of a process, -1 if it is not there.
func leader(recs []taskRec, tgid int32, start uint64) int {
	i := sort.Search(len(recs), func(i int) bool { return recs[i].PID >= tgid })
	if i == len(recs) || recs[i].PID != tgid || recs[i].TGID != tgid || recs[i].Start != start {
		return -1
	}
	return i
}

// add counts what one thread did since was.
func (d *procDelta) add(was, r *taskRec) {
	d.run += int64(r.Run-was.Run) + int64(r.DeadRun-was.DeadRun)
	d.vol += int64(r.Vol-was.Vol) + int64(r.DeadVol-was.DeadVol)
	d.invol += int64(r.Invol-was.Invol) + int64(r.DeadInvol-was.DeadInvol)
	wait := since(was.Wait, r.Wait)
	d.wait += wait
	if r.PID == r.TGID {
		d.lead = wait
	}
}

// gone takes back what a thread that is no longer there had counted: it is in the dead share now,
// if its process is still there and the scanner gives one.
func gone(cur []taskRec, deltas []procDelta, was *taskRec) {
	l := leader(cur, was.TGID, was.Start)
	if l < 0 || cur[l].DeadRun == 0 {
		return
	}
	deltas[l].run -= int64(was.Run)
	deltas[l].vol -= int64(was.Vol)
	deltas[l].invol -= int64(was.Invol)
}

// count adds a thread to the totals.
func (t *Tasks) count(r *taskRec, d *procDelta) {
	t.Threads += int(r.Threads)
	switch r.State {
	case 'R':
		t.Running++
	case 'D':
		t.Uninterruptible++
		d.blocked++
	}
}

// process adds a process to the totals, and a row if it ran, waited or is in D.
func (t *Tasks) process(r *taskRec, d *procDelta) {
	t.Processes++
	if r.State == 'Z' && d.threads <= 1 { // else the leader is dead and other threads live on
		t.Zombies++
	}
	if d.run <= 0 && d.wait == 0 && d.blocked == 0 {
		return
	}
	if !r.sameInfo() {
		r.info = &ProcInfo{
			Process: Process{TGID: r.TGID, Start: r.Start},
			PID:     r.TGID, PPID: r.PPID, UID: r.UID, Comm: RawString(string(r.name())), Kernel: r.Kernel, Nice: r.Nice,
		}
	}
	t.Rows = append(t.Rows, TaskRow{
		ProcInfo: r.info,
		Run:      time.Duration(max(d.run, 0)),
		Wait:     time.Duration(min(d.wait, math.MaxInt64)), LeadWait: time.Duration(min(d.lead, math.MaxInt64)),
		Voluntary: uint64(max(d.vol, 0)), Involuntary: uint64(max(d.invol, 0)),
		Threads: d.threads, State: r.State, Blocked: uint16(min(d.blocked, math.MaxUint16)),
	})
}

// sameInfo says whether the leader's interned ProcInfo still tells the truth: an exec changes the
// name, the death of the parent PPID, setuid UID, renice Nice.
func (r *taskRec) sameInfo() bool {
	i := r.info
	return i != nil && i.PPID == r.PPID && i.UID == r.UID && i.Nice == r.Nice && i.Comm.s == string(r.name())
}
