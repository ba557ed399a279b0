// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// Profile is what the CPUs ran over a while: stacks, sampled at Hz on each CPU.
type Profile struct {
	Started time.Time
	Took    time.Duration
	Hz      int
	CPUs    int

	Stacks []ProfileStack // most first
	Frames []ProfileFrame // that they are made of, each once

	Samples   uint64 // in Stacks
	Lost      uint64 // there was no room for them, in the kernel or here
	Passed    uint64 // of others than was asked for
	Idle      uint64 // nothing ran
	Processes int
	Gone      int    // of them: ended before it was known what they ran
	Named     uint64 // frames of Samples whose function is known
	Unnamed   uint64 // and those of which it is not
	Own       uint64 // samples of this process
	OwnCPU    time.Duration
	OwnBPF    time.Duration // an estimate, of samples and what one costs

	NoKernelNames *NeedError // nil: functions of the kernel have names
	Refused       error      // why some CPU was not sampled; nil: all were
	TooMany       error      // why some cgroups below the target counted as Passed; nil: none did
}

// ProfileStack is how often a thread of that name had that stack.
type ProfileStack struct {
	Process Process
	Comm    Safe
	Frames  []int32 // into Profile.Frames, the outermost first
	Count   uint64
}

// ProfileFrame is a function, or what is known of it: "[libc.so.6+0x1a2b]", "[unknown]". Module is the name
// of its file, empty where there is none; Kernel's is "kernel".
type ProfileFrame struct {
	Name   Safe
	Module Safe
	Kernel bool
	Known  bool // Name is the function's
}

// profileReader is what the profiler needs of bpf.Profile.
type profileReader interface {
	SampleCPUs(online []int) error
	Drain(each func(*bpf.ProfileSample)) error
	Counts() (bpf.ProfileCounts, error)
	Stop() error
	Close() error
}

// Profiler samples what the CPUs run. It belongs to one goroutine.
type Profiler struct {
	fs     FS
	open   func(cpus int) (reader profileReader, hz int, err error)
	follow func(ctx context.Context) error // keeps the kernel's filter true; nil: there is nothing to do
	done   func() error                    // ends it
	tasks  *iterScanner                    // tells what /proc calls processes; nil: BPF has the same numbers
	recs   []taskRec
	self   int32

	tally tally
	look  lookout
}

// profileTick is the time between two looks at what was sampled: processes that live longer are known before
// they end.
const profileTick = 250 * time.Millisecond

// NewProfiler returns a profiler of a target: a process, a cgroup or, zero, the whole host.
func NewProfiler(k *bpf.Kernel, fs FS, target Target) *Profiler {
	fs.names.ask = func(addrs []uint64, each func(bpf.Function)) error { return bpf.Functions(k, addrs, each) }
	p := &Profiler{fs: fs, tally: newTally(), look: newLookout(fs)}
	var targets []bpf.Filter
	if f, ok := filterOf(target); ok {
		targets = append(targets, f)
	}
	if target.Kind == CgroupTarget {
		tree := &profileCgroups{tree: cgroupTree{fs: fs, drop: func(*cgroupNode) {}}, tell: k.FollowCgroups}
		p.follow, p.done = tree.follow, tree.close
	}
	if k.OtherPIDs() {
		p.tasks = newIterScanner(k, fs.pids)
	}
	p.open = func(cpus int) (_ profileReader, _ int, err error) {
		if p.self, err = k.Self(); err != nil {
			return nil, 0, err
		}
		hz := bpf.ProfileHz(cpus)
		r, err := bpf.OpenProfile(k, hz, targets)
		if err != nil {
			return nil, 0, err
		}
		return r, hz, nil
	}
	return p
}

// Run samples for the span, or until the context ends, which is no error. It is called once.
func (p *Profiler) Run(ctx context.Context, span time.Duration) (out *Profile, err error) {
	online, err := p.online(ctx)
	if err != nil {
		return nil, err
	}
	r, hz, err := p.open(len(online))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out = &Profile{Hz: hz, CPUs: len(online)}
	if p.follow != nil {
		defer func() { err = errors.Join(err, p.done()) }()
		if err := p.narrow(ctx, out); err != nil {
			return nil, err
		}
	}
	if p.tasks != nil {
		if err := p.tasks.Open(ctx); err != nil {
			p.tasks = nil // then no file of a process is read: nothing says whose it is
		} else {
			defer func() { err = errors.Join(err, p.tasks.Close()) }()
		}
	}
	before := ownCPU()
	out.Started = time.Now()
	if out.Refused = r.SampleCPUs(online); out.Refused != nil {
		return nil, out.Refused
	}
	tick, end := time.NewTicker(profileTick), time.NewTimer(span)
	defer tick.Stop()
	defer end.Stop()
	for sampling := true; sampling; {
		select {
		case <-ctx.Done():
			sampling = false
		case <-end.C:
			sampling = false
		case <-tick.C:
			if err := p.tick(ctx, r, out); err != nil {
				return nil, err
			}
		}
	}
	out.Took = time.Since(out.Started)
	if err := p.finish(r, out); err != nil {
		return nil, err
	}
	out.OwnCPU = ownCPU() - before
	return out, nil
}

// tick takes in what was sampled, and looks at who ran.
func (p *Profiler) tick(ctx context.Context, r profileReader, out *Profile) error {
	if err := r.Drain(p.take); err != nil {
		return err
	}
	if p.tasks != nil {
		var err error
		if p.recs, err = p.tasks.Scan(ctx, p.recs[:0]); err != nil {
			return err
		}
	}
	p.look.round(ctx, false)
	if p.follow != nil {
		if err := p.narrow(ctx, out); err != nil {
			return err
		}
	}
	online, err := p.online(ctx)
	if err != nil {
		return nil // the context ended, or /sys is gone: the CPUs are those of before
	}
	out.CPUs = max(out.CPUs, len(online))
	if err := r.SampleCPUs(online); err != nil {
		out.Refused = err
	}
	return nil
}

// narrow keeps the kernel's filter true, as far as it has room: what was left out once is missing for good.
func (p *Profiler) narrow(ctx context.Context, out *Profile) error {
	err := p.follow(ctx)
	if errors.Is(err, bpf.ErrSlots) {
		out.TooMany, err = err, nil
	}
	return err
}

func (p *Profiler) take(s *bpf.ProfileSample) {
	image, first := p.tally.add(s)
	if first {
		p.look.see(image, s)
	}
}

// finish takes in the rest and names everything. What took a signal to end is named still.
func (p *Profiler) finish(r profileReader, out *Profile) error {
	if err := errors.Join(r.Stop(), r.Drain(p.take)); err != nil {
		return err
	}
	p.look.round(context.Background(), true)
	c, err := r.Counts()
	if err != nil {
		return err
	}
	out.Lost, out.Passed, out.Idle = c.Lost+p.tally.full, c.Passed, c.Idle
	out.OwnBPF = time.Duration(c.Sampled+c.Lost)*bpf.CostProfileSample + time.Duration(c.Passed+c.Idle)*bpf.CostQueueSample
	out.name(&p.tally, &p.look, p.self)
	return nil
}

func (p *Profiler) online(ctx context.Context) ([]int, error) { return readOnline(ctx, p.fs) }

// readOnline returns the numbers of the CPUs that are online.
func readOnline(ctx context.Context, fs FS) ([]int, error) {
	f := fs.sysFile("devices/system/cpu/online")
	b, err := f.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which CPUs are online: %w", err)
	}
	defer f.close()
	return parseCPUList(b)
}

// ownCPU is the CPU time of this process so far.
func ownCPU() time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// profileCgroups tells the kernel's filter which cgroups lie below a target.
type profileCgroups struct {
	tree cgroupTree
	tell func(bpf.Cgroups) error
	told uint64
}

// follow tells what has changed since it was called last. bpf.ErrSlots says that some cgroups were left out.
func (c *profileCgroups) follow(ctx context.Context) error {
	if c.tree.root == nil {
		if err := c.tree.open(ctx); err != nil {
			return fmt.Errorf("looking for cgroups: %w", err)
		}
	} else if c.tree.refresh(looksPerTick); c.told == c.tree.changes {
		return nil
	}
	c.told = c.tree.changes
	if err := c.tell(c.tree.below()); err != nil {
		return fmt.Errorf("narrowing to a cgroup: %w", err)
	}
	return nil
}

func (c *profileCgroups) close() error { return c.tree.watch.close() }
