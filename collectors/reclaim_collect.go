// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"bpf60/bpf"
)

const (
	// reclaimJudge is how often the probes are compared with the kernel's own counters.
	reclaimJudge = 10 * time.Second
	// reclaimRetries is how often silent probes are attached again before they are given up.
	reclaimRetries = 2
	// maxKills is how many OOM kills of a run are kept.
	maxKills = 100
)

// reclaimReader is what the collector needs of bpf.Reclaim.
type reclaimReader interface {
	Err(p bpf.ReclaimPart) error
	Read(slot int) (bpf.ReclaimCounts, error)
	Rows(now time.Duration, each func(*bpf.StallKey, *bpf.StallRow)) error
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

type reclaimCollector struct {
	open   func(off map[bpf.ReclaimPart]bool) (reclaimReader, error)
	events feed
	off    map[string]bool
	vmstat *procFile
	fields map[string]uint8
	boot   func() uint64 // ns since boot
	comm   func(pid int32) Raw
	page   uint64

	r       reclaimReader
	begun   bool
	paused  bool
	last    time.Duration
	prev    ReclaimCounts
	total   *ReclaimCounts
	rows    map[Process]MemoryWaiter // the last reading
	kills   *OOMKills
	counts  [3]bpf.EventCounts // of the kinds, at the last reading
	narrow  slotBases[ReclaimCounts]
	err     error
	use     error // why it was attached again
	again   int
	judged  time.Duration
	kernel  [2]uint64 // allocstall and oom_kill when last judged
	ours    [2]uint64
	silent  [2]bool // the kernel counted and we did not, since the last but one
	dropped uint64
}

// reclaimKinds are the events of its programs.
func reclaimKinds() [3]bpf.EventKind {
	return [3]bpf.EventKind{bpf.EventReclaim, bpf.EventCompact, bpf.EventOOM}
}

// NewReclaim returns the collector of Reclaim. Probes named in off are not attached.
func NewReclaim(k *bpf.Kernel, fs FS, events feed, off map[string]bool) Collector {
	c := newReclaim(func(off map[bpf.ReclaimPart]bool) (reclaimReader, error) {
		r, err := bpf.OpenReclaim(k, off)
		if err != nil {
			return nil, err
		}
		return r, nil
	}, events, fs)
	c.off = off
	return c
}

func newReclaim(open func(map[bpf.ReclaimPart]bool) (reclaimReader, error), events feed, fs FS) *reclaimCollector {
	return &reclaimCollector{
		open: open, events: events, vmstat: fs.file("vmstat"), fields: vmEventNames(), boot: bootNs, page: uint64(os.Getpagesize()),
		comm: func(pid int32) Raw {
			s, err := fs.text(fs.dir(pid) + "/comm")
			if err != nil {
				return Raw{}
			}
			return RawString(s)
		},
	}
}

func (c *reclaimCollector) Meta() Meta { return Meta{ID: ReclaimID, Slow: true, Switched: true} }

func (c *reclaimCollector) Start(context.Context) error {
	c.begun, c.paused, c.err, c.use, c.again = false, false, nil, nil, 0
	c.kills, c.total = nil, &ReclaimCounts{}
	if c.off["drsnoop"] && c.off["compactsnoop"] && c.off["oomkill"] {
		return errSwitchedOff
	}
	return c.attach()
}

func (c *reclaimCollector) attach() error {
	kinds := reclaimKinds()
	if err := c.events.open(kinds[:]...); err != nil {
		return fmt.Errorf("opening the events of reclaim: %w", err)
	}
	r, err := c.open(map[bpf.ReclaimPart]bool{
		bpf.ReclaimStalls: c.off["drsnoop"], bpf.ReclaimThrottled: c.off["drsnoop"], bpf.ReclaimKswapd: c.off["drsnoop"],
		bpf.ReclaimCompact: c.off["compactsnoop"], bpf.ReclaimOOM: c.off["oomkill"],
	})
	if err != nil {
		return errors.Join(fmt.Errorf("opening the reclaim probes: %w", err), c.events.close(kinds[:]...))
	}
	c.r, c.begun = r, false
	c.counts = [3]bpf.EventCounts{}
	return c.narrow.restore(c.r.Narrow, c.readSlot)
}

func (c *reclaimCollector) readSlot(slot int) (ReclaimCounts, error) {
	n, err := c.r.Read(slot)
	return reclaimCounts(&n), err
}

// Narrow implements Narrower: processes and cgroups are counted apart.
func (c *reclaimCollector) Narrow(targets []Target) error {
	if c.r == nil {
		c.narrow.want(targets)
		return nil
	}
	return c.narrow.to(targets, c.last, c.r.Narrow, c.readSlot)
}

// Pause implements Pauser.
func (c *reclaimCollector) Pause(on bool) error {
	c.paused = on
	c.judged = 0 // what the kernel counts meanwhile says nothing
	if c.r == nil {
		return nil // given up
	}
	return c.r.Pause(on)
}

// Collect reads the maps and the ring. The first reading is the baseline.
func (c *reclaimCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	cur, err := c.readSlot(0)
	if c.err = err; err != nil {
		return nil, err
	}
	rows := make(map[Process]MemoryWaiter, len(c.rows))
	if err := c.r.Rows(now, func(k *bpf.StallKey, v *bpf.StallRow) {
		w := waiterOf(k, v)
		rows[w.Process] = w
	}); err != nil {
		c.err = err
		return nil, err
	}
	if !c.begun {
		c.prev, c.rows = cur, rows
		c.begun, c.last, c.judged = true, now, 0
		s := &Reclaim{}
		if err := c.take(s, now); err != nil {
			return nil, err
		}
		return nil, ErrWarming
	}
	s := &Reclaim{Span: Span{c.last, now}, Reclaims: c.measured("drsnoop"), Compacts: c.measured("compactsnoop"), OOM: c.measured("oomkill")}
	d := cur.since(&c.prev)
	if d != (ReclaimCounts{}) {
		total := *c.total
		total.Plus(&d)
		s.Now, c.total = &d, &total
	}
	s.Total = c.total
	s.Rows, s.Others = waiters(c.rows, rows)
	if err := c.take(s, now); err != nil {
		c.err = err
		return nil, err
	}
	if s.Narrowed, err = c.narrow.read(c.readSlot, func(cur, prev *ReclaimCounts) ReclaimCounts { return cur.since(prev) }); err != nil {
		c.err = err
		return nil, err
	}
	c.prev, c.rows, c.last = cur, rows, now
	if err := c.judge(ctx, now); err != nil {
		return nil, err
	}
	return s, nil
}

// measured says whether a probe is attached.
func (c *reclaimCollector) measured(name string) bool {
	part := map[string]bpf.ReclaimPart{"drsnoop": bpf.ReclaimStalls, "compactsnoop": bpf.ReclaimCompact, "oomkill": bpf.ReclaimOOM}[name]
	return !c.off[name] && c.r.Err(part) == nil
}

// waiters subtracts two readings, process by process, and keeps those that waited the longest.
func waiters(prev, cur map[Process]MemoryWaiter) (rows []MemoryWaiter, others MemoryWaiter) {
	for p, w := range cur {
		was := prev[p]
		d := w.since(&was)
		switch {
		case d.Stalls() == 0 && d.Throttled == 0:
		case p == (Process{}):
			others.plus(&d)
		default:
			rows = append(rows, d)
		}
	}
	sortBy(rows, func(a, b MemoryWaiter) int {
		return cmp.Or(cmp.Compare(b.Waited(), a.Waited()), cmp.Compare(b.Throttled, a.Throttled), cmp.Compare(a.TGID, b.TGID))
	})
	if len(rows) > maxListed {
		for i := range rows[maxListed:] {
			others.plus(&rows[maxListed+i])
		}
		rows = slices.Clone(rows[:maxListed])
	}
	return rows, others
}

// take empties the ring of our events.
func (c *reclaimCollector) take(s *Reclaim, now time.Duration) error {
	boot := c.boot()
	at := func(ns uint64) time.Duration { return now - time.Duration(boot-min(ns, boot)) }
	for i, kind := range reclaimKinds() {
		counts, err := c.events.take(kind, func(rec []byte) {
			if kind == bpf.EventOOM {
				if e, ok := bpf.OOMEventOf(rec); ok {
					c.kill(&e, at(e.Head.At))
					s.Fresh++
				}
				return
			}
			if e, ok := bpf.ReclaimEventOf(rec); ok {
				s.Stalls = append(s.Stalls, stallOf(&e, at(e.Head.At)))
			}
		})
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		s.Unlisted += grown(c.counts[i].Unlisted, counts.Unlisted)
		s.StallsLost += grown(c.counts[i].Lost, counts.Lost)
		c.counts[i] = counts
	}
	sortStably(s.Stalls, func(a, b MemoryStall) int { return cmp.Compare(b.Took, a.Took) })
	if len(s.Stalls) > maxListed {
		s.Unlisted += uint64(len(s.Stalls) - maxListed)
		s.Stalls = slices.Clone(s.Stalls[:maxListed])
	}
	c.dropped += s.StallsLost
	s.Kills = c.kills
	return nil
}

func stallOf(e *bpf.ReclaimEvent, at time.Duration) MemoryStall {
	return MemoryStall{
		At: at, Process: Process{e.Who.Tgid, e.Who.Start}, TID: int32(e.Tid), Comm: rawName(e.Comm[:]), Kind: StallKind(min(e.Kind, uint32(StallKinds))),
		Took: time.Duration(e.Ns), Pages: e.Pages, Order: e.Order, Cgroup: e.Cgroup, Memcg: e.Memcg, Limit: e.Limit,
	}
}

// kill keeps an OOM kill for the rest of the run, in a new list: samples share the old one.
func (c *reclaimCollector) kill(e *bpf.OOMEvent, at time.Duration) {
	k := OOMKill{
		At: at, Victim: Process{e.Victim.Tgid, e.Victim.Start}, Comm: rawName(e.Comm[:]), UID: e.Uid, Score: e.Adj, Cgroup: e.Cgroup, Memcg: e.Memcg,
		Trigger: Process{e.Trigger.Tgid, e.Trigger.Start}, By: rawName(e.TriggerComm[:]), ByCgroup: e.TriggerCgroup, ByMemcg: e.TriggerMemcg,
		Limit: e.Limit, For: OOMCause(min(e.Constraint, uint32(OOMCgroup))), Order: e.Order, Known: e.Known != 0,
		Anon: e.Pages[0] * c.page, File: e.Pages[1] * c.page, Shmem: e.Pages[2] * c.page, Swap: e.Pages[3] * c.page, Size: e.Vsz * c.page,
	}
	if k.Comm == (Raw{}) || k.Comm == RawString("") { // before 6.9 the kernel names no more than the ID
		k.Comm = c.comm(k.Victim.TGID)
	}
	var list []OOMKill
	if c.kills != nil {
		list = c.kills.List[max(len(c.kills.List)+1-maxKills, 0):]
	}
	c.kills = &OOMKills{append(slices.Clone(list), k)}
}

// judge compares with the kernel's own counters. allocstall counts each retry, so that only silence
// tells; and a count may fall into the next window, so that it takes two of them.
func (c *reclaimCollector) judge(ctx context.Context, now time.Duration) error {
	if c.paused || c.judged != 0 && now-c.judged < reclaimJudge {
		return nil
	}
	b, err := c.vmstat.read(ctx)
	var vm vmReading
	if err != nil || parseVMEvents(b, c.fields, &vm) != nil {
		return nil // the memory collector says so
	}
	kernel := [2]uint64{vm.n[VMAllocStall], vm.n[VMOOMKill]}
	ours := [2]uint64{c.total.Direct.Count(), c.total.Kills}
	first := c.judged == 0
	prevKernel, prevOurs := c.kernel, c.ours
	c.judged, c.kernel, c.ours = now, kernel, ours
	if first {
		c.silent = [2]bool{}
		return nil
	}
	for i, name := range []string{"drsnoop", "oomkill"} {
		moved := ours[i] > prevOurs[i]
		switch {
		case moved || !c.measured(name):
			c.silent[i] = false
		case c.silent[i]:
			return c.reopen(name)
		default:
			c.silent[i] = kernel[i] > prevKernel[i]
		}
	}
	return nil
}

// reopen attaches everything again: a link may be there and dead.
func (c *reclaimCollector) reopen(name string) error {
	c.silent = [2]bool{}
	if err := c.close(); err != nil {
		return err
	}
	if c.again == reclaimRetries {
		c.err = fmt.Errorf("the kernel counts what %s does not see, though attached %d times", name, c.again+1)
		return c.err
	}
	if err := c.attach(); err != nil {
		c.err = fmt.Errorf("opening the reclaim probes again: %w", err)
		return c.err
	}
	c.again++
	c.use = fmt.Errorf("attached again: %s was silent while the kernel counted", name)
	return ErrWarming
}

// Probes are drsnoop, compactsnoop and oomkill.
func (c *reclaimCollector) Probes() []Probe {
	rows := []Probe{
		{Name: "drsnoop", Hook: "tp_btf mm_vmscan_*_reclaim_begin/end"},
		{Name: "compactsnoop", Hook: "tp_btf mm_compaction_begin/end"},
		{Name: "oomkill", Hook: "tp_btf mark_victim"},
	}
	parts := []bpf.ReclaimPart{bpf.ReclaimStalls, bpf.ReclaimCompact, bpf.ReclaimOOM}
	for i := range rows {
		p := &rows[i]
		switch {
		case c.off[p.Name]:
			p.Reason = switchedOff
		case c.r != nil:
			p.State, p.Reason = stateOf(c.begun, c.err)
			if c.use != nil && p.State == On {
				p.State, p.Reason = Degraded, clean(c.use.Error())
			}
			if err := c.r.Err(parts[i]); err != nil {
				p.State = Off
				p.explain(err)
			}
		case c.err != nil:
			p.State, p.Reason = Failed, clean(c.err.Error())
		}
	}
	if c.total != nil {
		rows[0].Events, rows[0].NsPerEvent = c.total.Direct.Count()+c.total.Memcg.Count(), bpf.CostMemoryStall
		rows[1].Events, rows[1].NsPerEvent = c.total.Compact.Count()+c.total.Background, bpf.CostMemoryStall
		rows[2].Events, rows[2].NsPerEvent = c.total.Kills, bpf.CostKill
		rows[0].Lost = c.total.Missed + c.dropped
	}
	return rows
}

func (c *reclaimCollector) close() error {
	kinds := reclaimKinds()
	err := errors.Join(c.r.Close(), c.events.close(kinds[:]...))
	c.r = nil
	return err
}

func (c *reclaimCollector) Close() error {
	err := c.vmstat.close()
	if c.r == nil {
		return err
	}
	return errors.Join(err, c.close())
}
