// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"bpf60/bpf"
)

// execReader is what the collector needs of bpf.Exec.
type execReader interface {
	Errs() bpf.ExecErrs
	Scanned(boot uint64) error
	Totals() (bpf.ExecTotals, error)
	Read(dst *bpf.ExecCounts, now time.Duration) error
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

const (
	// execQuiet is for how many readings in a row the kernel's own count of forks may move while the
	// probe counts none.
	execQuiet = 3
	// execRetries is how often a silent probe is attached again.
	execRetries = 2
	// reapWait is how long an exit is kept from the list until it is waited for.
	reapWait = 200 * time.Millisecond
)

type execCollector struct {
	open  func(bpf.ExecParts) (execReader, error)
	forks func(context.Context) (uint64, error) // the kernel's count of processes and threads made
	feed  feed
	bell  *scanBell
	boot  func() int64
	users userBook
	off   map[string]bool

	r      execReader
	begun  bool
	err    error
	last   time.Duration
	cur    bpf.ExecCounts
	prev   execTables
	base   bpf.ExecTotals
	totals [bpf.FilterSlots]bpf.ExecTotals
	slots  narrowing
	events [3]bpf.EventCounts // of execKinds
	exits  execExits
	blend  blend

	kernel uint64 // its count of forks when last looked at; 0: not since the probe counted one
	silent int
	again  int
	use    error // what is doubtful
}

// execKinds are the events of the collector.
func execKinds() []bpf.EventKind {
	return []bpf.EventKind{bpf.EventExec, bpf.EventExit, bpf.EventReap}
}

// NewExec returns the collector of Exec. bell tells it of scans of the tasks. Probes named in off are
// not attached.
func NewExec(k *bpf.Kernel, fs FS, off map[string]bool, events feed, bell *scanBell) Collector {
	stat := fs.file("stat")
	return &execCollector{
		open: func(parts bpf.ExecParts) (execReader, error) {
			e, err := bpf.OpenExec(k, parts)
			if err != nil {
				return nil, err
			}
			return e, nil
		},
		forks: func(ctx context.Context) (uint64, error) {
			b, err := stat.read(ctx)
			if err != nil {
				return 0, fmt.Errorf("reading the kernel's count of forks: %w", err)
			}
			return parseForks(b)
		},
		feed: events, bell: bell, boot: bootTime, users: newUserBook(fs), off: off,
	}
}

// parseForks finds the line "processes" of /proc/stat.
func parseForks(b []byte) (uint64, error) {
	const name = "\nprocesses "
	i := bytes.Index(b, []byte(name))
	if i < 0 {
		return 0, errors.New("/proc/stat does not count processes")
	}
	line, _, _ := bytes.Cut(b[i+len(name):], []byte{'\n'})
	n, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/stat: processes: %w", err)
	}
	return n, nil
}

func (c *execCollector) Meta() Meta { return Meta{ID: ExecID, Slow: true, Switched: true} }

func (c *execCollector) parts() bpf.ExecParts {
	return bpf.ExecParts{Exec: !c.off["execsnoop"], Fork: !c.off["forksnoop"], Exit: !c.off["exitsnoop"]}
}

func (c *execCollector) Start(context.Context) error {
	c.again, c.use, c.slots = 0, nil, narrowing{}
	if c.parts() == (bpf.ExecParts{}) {
		return errSwitchedOff
	}
	if err := c.attach(); err != nil {
		return err
	}
	if err := c.feed.open(execKinds()...); err != nil {
		c.bell.listen(nil)
		err = errors.Join(err, c.r.Close())
		c.r = nil
		return err
	}
	return nil
}

// attach opens the programs, which count from 0.
func (c *execCollector) attach() error {
	c.begun, c.err, c.kernel, c.silent = false, nil, 0, 0
	c.prev, c.base, c.totals, c.exits = execTables{}, bpf.ExecTotals{}, [bpf.FilterSlots]bpf.ExecTotals{}, execExits{}
	r, err := c.open(c.parts())
	if err != nil {
		return fmt.Errorf("opening the probes of execs and exits: %w", err)
	}
	c.r = r
	c.bell.listen(func(boot uint64) { _ = r.Scanned(boot) }) // then it counts as before
	return nil
}

// Narrow implements Narrower.
func (c *execCollector) Narrow(targets []Target) error {
	if c.r == nil {
		return nil
	}
	filters, err := c.slots.filters(targets)
	slots, more := c.r.Narrow(filters)
	c.slots.assign(slots)
	return errors.Join(err, more)
}

// Pause implements Pauser.
func (c *execCollector) Pause(on bool) error {
	c.kernel, c.silent = 0, 0
	if c.r == nil {
		return nil
	}
	return c.r.Pause(on)
}

// Collect reads the counts and the events.
func (c *execCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if c.r == nil {
		return nil, c.err // given up
	}
	s, err := c.collect(now)
	if err == nil {
		err = c.judge(ctx, s)
	}
	if c.err = err; errors.Is(err, ErrWarming) {
		c.err = nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *execCollector) collect(now time.Duration) (*Exec, error) {
	if err := c.r.Read(&c.cur, now); err != nil {
		return nil, err
	}
	s := &Exec{Span: Span{c.last, now}}
	if err := c.takeEvents(s, now); err != nil {
		return nil, err
	}
	first := !c.begun
	if first {
		c.base = c.cur.Totals[0]
	}
	s.ExecCounts = execDelta(&c.totals[0], &c.cur.Totals[0])
	s.Total = execDelta(&c.base, &c.cur.Totals[0])
	c.slots.each(now, func(slot int, t Target, since time.Duration, fresh bool) {
		if !fresh { // else this reading is its base
			s.Narrowed = append(s.Narrowed, Targeted[ExecCounts]{t, since, execDelta(&c.totals[slot], &c.cur.Totals[slot])})
		}
	})
	c.prev.derive(s, &c.cur)
	c.totals, c.last, c.begun = c.cur.Totals, now, true
	if first {
		return nil, ErrWarming
	}
	return s, nil
}

// takeEvents fills the lists.
func (c *execCollector) takeEvents(s *Exec, now time.Duration) error {
	boot := c.boot()
	var broken int
	var took [3]bpf.EventCounts
	for i, kind := range execKinds() {
		counts, err := c.feed.take(kind, func(rec []byte) {
			ok := false
			switch kind {
			case bpf.EventExec:
				var e bpf.ExecEvent
				if e, ok = bpf.ParseExec(rec); ok {
					s.Execs = append(s.Execs, c.execRow(&e, boot, now))
				}
			case bpf.EventExit:
				var e bpf.ExitEvent
				if e, ok = bpf.ParseExit(rec); ok {
					c.exits.add(exitRow(&e, boot, now))
				}
			default:
				var e bpf.ReapEvent
				if e, ok = bpf.ParseReap(rec); ok {
					c.exits.reap(&e)
				}
			}
			if !ok {
				broken++
			}
		})
		if err != nil {
			return err
		}
		took[i] = counts
	}
	if broken > 0 {
		return fmt.Errorf("%d events are not what the programs write", broken)
	}
	s.Exits = c.exits.done(now)
	left := func(i, cut int) uint64 {
		return grown(c.events[i].Unlisted, took[i].Unlisted) + grown(c.events[i].Lost, took[i].Lost) + uint64(cut)
	}
	s.ExecsUnlisted = left(0, max(len(s.Execs)-maxListed, 0))
	s.ExitsUnlisted = left(1, max(len(s.Exits)-maxListed, 0))
	s.Execs, s.Exits = newestOf(s.Execs, maxListed), newestOf(s.Exits, maxListed)
	c.events = took
	return nil
}

// judge attaches the programs again if the kernel makes processes and they see none. Threads that
// io_uring makes count in the kernel alone, so it is only doubt in the end.
func (c *execCollector) judge(ctx context.Context, s *Exec) error {
	if !c.parts().Fork || c.r.Errs().Fork != nil {
		return nil
	}
	if s.Forks+s.Threads > 0 {
		c.kernel, c.silent, c.use = 0, 0, nil
		return nil
	}
	n, err := c.forks(ctx)
	if err != nil {
		return nil //nolint:nilerr // without the kernel's count there is nothing to judge by
	}
	if c.kernel != 0 && n > c.kernel {
		c.silent++
	}
	c.kernel = n
	if c.silent < execQuiet {
		return nil
	}
	c.silent = 0
	c.use = errors.New("the kernel counts new tasks and the probe sees none, which threads of io_uring may be")
	if c.again == execRetries {
		return nil
	}
	c.again++
	c.bell.listen(nil)
	if err := c.r.Close(); err != nil {
		return fmt.Errorf("closing the probes of execs and exits: %w", err)
	}
	c.r = nil
	use := c.use
	if err := c.attach(); err != nil {
		return errors.Join(err, c.feed.close(execKinds()...))
	}
	c.use = use
	return ErrWarming
}

// Probes are execsnoop, forksnoop and exitsnoop.
func (c *execCollector) Probes() []Probe {
	rows := []Probe{
		{Name: "execsnoop", Hook: "tp_btf sched_process_exec", NsPerEvent: bpf.CostExec},
		{Name: "forksnoop", Hook: "tp_btf sched_process_fork", NsPerEvent: bpf.CostFork},
		{Name: "exitsnoop", Hook: "tp_btf sched_process_exit, _free", NsPerEvent: bpf.CostExit},
	}
	for i := range rows {
		p := &rows[i]
		switch {
		case c.off[p.Name]:
			*p = Probe{Name: p.Name, Hook: p.Hook, State: Off, Reason: switchedOff}
		case c.r == nil && c.err != nil:
			p.State, p.Reason = Failed, clean(c.err.Error())
		case c.r != nil:
			c.started(p, i)
		}
	}
	return rows
}

// started fills a row of an open facade.
func (c *execCollector) started(p *Probe, i int) {
	t, errs := &c.totals[0], c.r.Errs()
	p.State, p.Reason = stateOf(c.begun, c.err)
	var broken error
	switch i {
	case 0:
		p.Events, p.Lost, broken = t.Execs-c.base.Execs, c.events[0].Lost, errs.Exec
		if errs.Args != nil && p.State == On {
			p.State = Degraded
			p.explain(errs.Args)
			p.Reason = "no arguments and no paths: " + p.Reason
		}
	case 1:
		p.Events, broken = t.Forks+t.Threads-c.base.Forks-c.base.Threads, errs.Fork
		if c.use != nil && p.State == On {
			p.State = Degraded
			p.explain(c.use)
		}
	default:
		p.Events, p.Lost, broken = t.Exits-c.base.Exits, c.events[1].Lost+t.Late-c.base.Late, errs.Exit
		if errs.Reap != nil && broken == nil && p.State == On {
			p.State = Degraded
			p.explain(errs.Reap)
			p.Reason = "CPU times lack the last time slice: " + p.Reason
		}
	}
	if broken != nil {
		p.State = Off
		p.explain(broken)
	}
}

func (c *execCollector) Close() error {
	if c.r == nil {
		return nil
	}
	c.bell.listen(nil)
	err := errors.Join(c.feed.close(execKinds()...), c.r.Close())
	c.r = nil
	return err
}
