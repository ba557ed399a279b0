// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// procDelta is what the threads of one process did over the span. It stands at the index of the
// process's leader.
type procDelta struct {
	// did may be negative for a while: what a thread had counted leaves with it and comes back in
	// the dead share.
	did   taskCounts
	total taskCounts // since the process began, as far as run time goes

	wait, lead uint64
	// Of what did has, the leader's share of the switches: pidstat's cswch/s and nvcswch/s.
	leadVol, leadInvol uint64
	delay              uint64
	threads            uint32
	blocked            uint32
	known              bool // there is something to subtract from
}

// scanOptions is what a derivation depends on besides the two scans.
type scanOptions struct {
	prevBoot uint64 // ns since boot when the previous scan was made
	span     Span
	key      bool      // list every process
	names    *nameBook // nil: users, cgroups and command lines stay empty
	threads  threadWant
	scratch  *procDeltas // nil: a new one
}

// derivation is one call of deriveTasks.
type derivation struct {
	scanOptions
	prev, cur []taskRec
	*procDeltas
	out *Tasks
}

// procDeltas is what the processes of a scan did. Most of them did nothing, and have no entry: of 5,000
// that is a megabyte.
type procDeltas struct {
	at   []int32 // by the leader's place in the scan: one more than that in did, or one of those below
	all  []procDelta
	none procDelta
}

// What procDeltas.at says of a leader without an entry.
const (
	deltaUnseen  = 0  // its record has not been looked at
	deltaNothing = -1 // it did nothing
	deltaFirst   = -2 // there is nothing to subtract from
)

// begin forgets the last scan's.
func (d *procDeltas) begin(n int) {
	d.at = slices.Grow(d.at[:0], n)[:n]
	clear(d.at)
	d.all = d.all[:0]
}

// of is the entry of a leader, valid until the next call.
func (d *procDeltas) of(cur []taskRec, leader int) *procDelta {
	k := d.at[leader]
	if k > 0 {
		return &d.all[k-1]
	}
	d.all = append(d.all, procDelta{})
	d.at[leader] = int32(len(d.all))
	p := &d.all[len(d.all)-1]
	if k != deltaUnseen {
		p.stands(&cur[leader], k == deltaNothing)
	}
	return p
}

// read is what a process did, valid until the next call.
func (d *procDeltas) read(cur []taskRec, leader int) *procDelta {
	if k := d.at[leader]; k <= 0 {
		d.none = procDelta{}
		d.none.stands(&cur[leader], k == deltaNothing)
		return &d.none
	}
	return d.of(cur, leader)
}

// stands adds the gauges of one thread.
func (p *procDelta) stands(r *taskRec, known bool) {
	dead := r.dead()
	p.known = p.known || known
	p.total.Run += r.Run + dead.Run
	p.total.User += r.User + dead.User
	p.total.Sys += r.Sys + dead.Sys
	p.threads += r.Threads
	if r.State == 'D' {
		p.blocked++
	}
}

// same says whether a thread did nothing and nobody in its process died.
func (r *taskRec) same(was *taskRec) bool {
	return r.taskCounts == was.taskCounts && r.Wait == was.Wait && r.Delay == was.Delay && r.Lacks == was.Lacks && r.dead() == was.dead()
}

// deriveTasks subtracts two scans, both ascending by PID; prev is nil for the first. A thread is
// the same when its PID and its process's start are. What a process counted before it was first
// seen is its delta only if it started after the previous scan, at prevBoot nanoseconds since boot:
// an old one that a scan missed must not seem to do its life's work at once.
//
// What a process counts, but for its waits, is exact over the death of threads where the scanner
// gives what the dead had counted, as the kernel keeps it. Nobody keeps their wait: what a thread
// waited between the last scan and its death is lost. Nothing is ever negative.
//
// Leaders in cur are given their ProcInfo, and what was told of them, for the next call.
func deriveTasks(prev, cur []taskRec, o scanOptions) *Tasks {
	d := derivation{scanOptions: o, prev: prev, cur: cur, out: &Tasks{Span: o.span}}
	d.procDeltas = o.scratch
	if d.procDeltas == nil {
		d.procDeltas = &procDeltas{}
	}
	d.begin(len(cur))
	j := 0
	for i := range cur {
		r := &cur[i]
		for ; j < len(prev) && prev[j].PID < r.PID; j++ {
			d.gone(&prev[j])
		}
		var was *taskRec
		if j < len(prev) && prev[j].PID == r.PID {
			if prev[j].TGID == r.TGID && prev[j].Start == r.Start {
				was = &prev[j]
			} else {
				d.gone(&prev[j])
			}
			j++
		}
		d.thread(i, was)
	}
	for ; j < len(prev); j++ {
		d.gone(&prev[j])
	}
	for i := range cur {
		if r := &cur[i]; r.PID == r.TGID {
			d.process(r, d.read(cur, i))
		}
	}
	d.busiest()
	return d.out
}

// thread adds what one thread did since was to its process. A thread whose leader was missed is left
// out: the process ends.
func (d *derivation) thread(i int, was *taskRec) {
	r, l := &d.cur[i], i
	if r.PID != r.TGID {
		l = leader(d.cur, r.TGID, r.Start)
	}
	if l < 0 {
		return
	}
	if was == nil && d.prev != nil && (r.Start+tickNs >= d.prevBoot || leader(d.prev, r.TGID, r.Start) >= 0) {
		was = &taskRec{PID: r.PID, TGID: r.TGID} // new: the process (whose start may be known to a tick only), or the thread in it
	}
	switch {
	case l == i && d.at[l] == deltaUnseen && was == nil:
		d.at[l] = deltaFirst
	case l == i && d.at[l] == deltaUnseen && r.same(was):
		d.at[l] = deltaNothing
	default:
		p := d.of(d.cur, l)
		if was != nil {
			p.add(was, r)
		}
		p.stands(r, was != nil && l == i)
	}
	if was != nil {
		if l == i {
			r.info, r.told, r.sys = was.info, was.told, was.sys
		}
		d.wanted(was, r)
	}
	d.out.Threads += int(r.Threads)
	switch r.State {
	case 'R':
		d.out.Running++
	case 'D':
		d.out.Uninterruptible++
	}
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
func (p *procDelta) add(was, r *taskRec) {
	p.did.plus(&r.taskCounts)
	p.did.minus(&was.taskCounts)
	if r.Dead != nil || was.Dead != nil {
		now, before := r.dead(), was.dead()
		p.did.plus(&now)
		p.did.minus(&before)
	}
	if (was.Lacks|r.Lacks)&LackIO != 0 { // closed to us before, or now: a life's bytes are not of this second
		p.did.Read, p.did.Write, p.did.CancelledW = 0, 0, 0
	}
	p.delay += since(was.Delay, r.Delay)
	wait := since(was.Wait, r.Wait)
	p.wait += wait
	if r.PID == r.TGID {
		p.lead = wait
		p.leadVol, p.leadInvol = since(was.Vol, r.Vol), since(was.Invol, r.Invol)
	}
}

// gone takes back what a thread that is no longer there had counted: it is in the dead share now,
// if its process is still there and the scanner gives one.
func (d *derivation) gone(was *taskRec) {
	l := leader(d.cur, was.TGID, was.Start)
	if l >= 0 && d.cur[l].dead().Run > 0 {
		d.of(d.cur, l).did.minus(&was.taskCounts)
	}
	if l < 0 && was.PID == was.TGID {
		d.out.Gone = append(d.out.Gone, Process{was.TGID, was.Start})
	}
}

// process adds a process to the totals, and a row if there is something new about it.
func (d *derivation) process(r *taskRec, p *procDelta) {
	t := d.out
	t.Processes++
	if r.Kernel {
		t.KernelThreads++
	}
	if r.State == 'Z' && p.threads <= 1 { // else the leader is dead and other threads live on
		t.Zombies++
	}
	sys := p.total.inKernel()
	run := gained(p.did.Run)
	inKernel := min(since(r.sys, sys), run)
	if !p.known {
		inKernel = 0
	}
	r.sys = max(r.sys, sys)

	first := r.info == nil
	info := d.names.describe(r)
	changed := info != r.info && !first || first && d.prev != nil
	r.info = info
	now := TaskState{
		ProcInfo: info, Time: time.Duration(min(p.total.Run, math.MaxInt64)),
		RSS: pages32(r.RSS), Swap: pages32(r.Swap), VSZ: r.VSZ,
		Threads: p.threads, Blocked: uint16(min(p.blocked, math.MaxUint16)), State: r.State, Lacks: r.Lacks,
	}
	moved := run > 0 || p.wait > 0 || p.blocked > 0 || gained(p.did.Read) > 0 || gained(p.did.Write) > 0
	if d.key {
		t.Key = append(t.Key, now)
	}
	if moved || changed || d.prev != nil && !d.key && differs(&r.told, &now) {
		row := TaskRow{
			ProcInfo: info, Run: time.Duration(run), Wait: time.Duration(min(p.wait, math.MaxInt64)),
			Sys: micros(inKernel), LeadWait: micros(p.lead),
			Voluntary: gained32(p.did.Vol), Involuntary: gained32(p.did.Invol), MinFlt: gained32(p.did.MinFlt),
			RSS: now.RSS, Threads: now.Threads, Blocked: now.Blocked, State: now.State, Lacks: now.Lacks,
		}
		row.More = more(r, p, now, run-inKernel)
		t.Rows = append(t.Rows, row)
		r.told = tell(&now)
	} else if d.key {
		r.told = tell(&now)
	}
}

// others is what of a process's count is not its leader's.
func others(all, lead uint64) uint32 {
	return gained32(all) - min(gained32(lead), gained32(all))
}

// more is what few processes have; nil for the rest. User is what of the run time was not the kernel's:
// the ticks of a guest are coarser than it.
func more(r *taskRec, p *procDelta, now TaskState, user uint64) *TaskMore {
	m := TaskMore{
		MajFlt: gained32(p.did.MajFlt), Swap: now.Swap, Read: gained(p.did.Read), Write: gained(p.did.Write), Cancelled: gained(p.did.CancelledW),
		BlockDelay: time.Duration(min(p.delay, math.MaxInt64)),
		Guest:      micros(min(gained(p.did.Guest), user)),
	}
	m.OthersVoluntary = others(p.did.Vol, p.leadVol)
	m.OthersInvoluntary = others(p.did.Invol, p.leadInvol)
	if now.VSZ != r.told.vsz {
		m.VSZ = now.VSZ
	}
	if m == (TaskMore{}) {
		return nil
	}
	return &m
}

// toldGauges are the gauges that a row or Key has told of a process.
type toldGauges struct {
	vsz     uint64
	rss     uint32
	threads uint32
	blocked uint16
	state   byte
}

func tell(s *TaskState) toldGauges { return toldGauges{s.VSZ, s.RSS, s.Threads, s.Blocked, s.State} }

// differs says whether a process that did nothing changed nevertheless: a signal stopped it, or its
// memory was taken.
func differs(told *toldGauges, now *TaskState) bool {
	const least = 256 // pages
	return now.State != told.state || now.Threads != told.threads || now.Blocked != told.blocked ||
		max(now.RSS, told.rss)-min(now.RSS, told.rss) >= least
}

func pages32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// threadWant is which threads a sample lists.
type threadWant struct {
	all       bool
	processes []Process
}

// wanted lists a thread if somebody looks at it.
func (d *derivation) wanted(was, r *taskRec) {
	if !d.threads.all && len(d.threads.processes) == 0 {
		return
	}
	id := Process{r.TGID, r.Start}
	of := slices.Contains(d.threads.processes, id)
	did := r.taskCounts
	did.minus(&was.taskCounts)
	wait := since(was.Wait, r.Wait)
	if !of && (!d.threads.all || gained(did.Run) == 0 && wait == 0 && r.State != 'D') {
		return
	}
	run := gained(did.Run)
	d.out.Busy = append(d.out.Busy, ThreadRow{
		ProcInfo: &ProcInfo{Process: id}, // until the leader's is known
		TID:      r.PID, State: r.State, Prio: r.Prio, Comm: RawString(string(r.name())),
		Run: time.Duration(run), Wait: time.Duration(min(wait, math.MaxInt64)),
		Sys:       micros(min(since(was.inKernel(), r.inKernel()), run)),
		Voluntary: gained32(did.Vol), Involuntary: gained32(did.Invol), MinFlt: gained32(did.MinFlt), MajFlt: gained32(did.MajFlt),
		Read: gained(did.Read), Write: gained(did.Write), LastCPU: r.LastCPU,
	})
}

// busiest keeps the threads to list, and gives them the ProcInfo of their processes.
func (d *derivation) busiest() {
	rows := d.out.Busy
	d.out.BusyAll = d.threads.all
	if len(rows) == 0 {
		return
	}
	sortBy(rows, func(a, b ThreadRow) int {
		return cmp.Or(cmp.Compare(b.Run+b.Wait, a.Run+a.Wait), cmp.Compare(a.TID, b.TID))
	})
	d.out.BusyUnlisted = max(len(rows)-MaxThreads, 0)
	rows = slices.Clone(rows[:min(len(rows), MaxThreads)])
	for i := range rows {
		if l := leader(d.cur, rows[i].TGID, rows[i].Start); l >= 0 {
			rows[i].ProcInfo = d.cur[l].info
		}
	}
	d.out.Busy = rows
}
