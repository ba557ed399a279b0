// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"bpf60/bpf"
)

// liveReader is what a profile that goes on needs of bpf.Profile.
type liveReader interface {
	profileReader
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Focus(only bool) error
}

// Bounds of a profile that goes on.
const (
	knownFor       = 30 * time.Second // stacks whose functions were looked for, at least
	maxKnownBytes  = 8 << 20
	forgetImages   = 2 * time.Minute // without a sample; longer than stacks are known
	maxCallFrames  = 32 << 10        // functions that are kept by name
	maxInternBytes = 8 << 20         // of stacks that are shared by samples
	maxHeldBack    = 8               // samples for which a stack waits until it was looked for its functions
)

// livePart is a target that is told apart: its slot in the kernel, and since when.
type livePart struct {
	target Target
	filter bpf.Filter
	since  time.Duration
}

// liveProfile takes in samples, names them, and makes a CPUProfile of what came since the last one. It
// belongs to one goroutine.
type liveProfile struct {
	fs     FS
	r      liveReader
	online func(ctx context.Context) ([]int, error)

	tally   tally
	look    lookout
	symbols *symbols
	namer   *namer
	stacks  map[string]*CallStack // by the numbers of their frames
	bytes   int                   // of stacks

	known, knew map[string]struct{} // stacks that were seen, and those of the period before
	held        int                 // bytes of known
	rotated     time.Time
	renewed     time.Time // when everything was let go of last

	parts   [bpf.FilterSlots]livePart
	targets []Target // that parts are of
	only    bool
	tooMany error // why some target is not told apart
	refused error // why some CPU is not sampled
	cpus    int
	prev    bpf.ProfileCounts
}

func newLiveProfile(fs FS, r liveReader, online func(context.Context) ([]int, error)) *liveProfile {
	l := &liveProfile{fs: fs, r: r, online: online, tally: newTally()}
	l.tally.most = maxKnownBytes
	l.symbols = &symbols{path: fs.path("kallsyms"), ask: fs.names.ask}
	l.anew()
	return l
}

// anew forgets all names.
func (l *liveProfile) anew() {
	l.look = newLookout(l.fs)
	l.known, l.knew, l.held = map[string]struct{}{}, nil, 0
	l.rename()
}

// rename forgets what samples share: frames and stacks. The names are known still.
func (l *liveProfile) rename() {
	l.namer = &namer{look: &l.look, known: make(map[ProfileFrame]int32), kernel: func(addr uint64) string {
		name, _ := l.symbols.at(addr)
		return name
	}}
	l.stacks, l.bytes = make(map[string]*CallStack), 0
}

// tick takes in what was sampled, and looks at who ran.
func (l *liveProfile) tick(ctx context.Context) error {
	if err := l.r.Drain(l.take); err != nil {
		return err
	}
	l.look.round(ctx, false)
	return l.sample(ctx)
}

// sample keeps the CPUs that are sampled those that there are.
func (l *liveProfile) sample(ctx context.Context) error {
	online, err := l.online(ctx)
	if err != nil {
		return nil // the context ended, or /sys is gone: the CPUs are those of before
	}
	l.cpus, l.refused = len(online), l.r.SampleCPUs(online)
	return nil
}

// take counts a sample. Of a stack that is not new the functions are not looked for again: an address that
// lies nowhere would have the maps of its process read each time.
func (l *liveProfile) take(s *bpf.ProfileSample) {
	image, first := l.tally.add(s)
	if !first {
		return
	}
	if _, ok := l.known[string(l.tally.buf)]; ok {
		return
	}
	if _, ok := l.knew[string(l.tally.buf)]; ok {
		return
	}
	l.known[string(l.tally.buf)] = struct{}{}
	l.held += len(l.tally.buf)
	l.look.see(image, s)
}

// forget lets go of what has not been sampled for a while, and of everything where there is too much.
func (l *liveProfile) forget(now time.Time) {
	if now.Sub(l.rotated) >= knownFor || l.held > maxKnownBytes {
		l.rotated, l.knew, l.known, l.held = now, l.known, map[string]struct{}{}, 0
		l.look.forget(now.Add(-forgetImages))
	}
	switch {
	case now.Sub(l.renewed) >= forgetImages && // else what is sampled all the time is read all the time
		(l.look.held > maxTableBytes/2 || len(l.look.modules) >= maxModules/2 || len(l.look.images) >= maxImages/2):
		l.renewed = now
		l.anew()
	case len(l.namer.frames) > maxCallFrames, l.bytes > maxInternBytes:
		l.rename()
	}
}

// forget lets go of programs of which no new stack was seen since then. Of the questions that were not
// answered it forgives one.
func (l *lookout) forget(since time.Time) {
	l.stuck = max(l.stuck-1, 0)
	for key, i := range l.images {
		if i.seenAt.Before(since) {
			l.held -= i.made.bytes()
			delete(l.images, key)
			if l.newest[key.process] == key.image {
				delete(l.newest, key.process)
			}
		}
	}
}

// collect makes the sample of what came since the last call. With wait a stack whose functions there was no
// time to look for comes with a later one: else it would stand among those that have no name.
func (l *liveProfile) collect(ctx context.Context, span Span, wait bool) (*CPUProfile, error) {
	if err := l.tick(ctx); err != nil {
		return nil, err
	}
	c, err := l.r.Counts()
	if err != nil {
		return nil, err
	}
	s := &CPUProfile{
		Span: span, Hz: profileLiveHz, CPUs: l.cpus, Partial: l.only, Lost: grown(l.prev.Lost, c.Lost) + l.tally.full,
		Passed: grown(l.prev.Passed, c.Passed), Idle: grown(l.prev.Idle, c.Idle),
	}
	l.prev = c
	l.askKernelNames()
	l.symbols.find(span.To)
	had := l.bytes
	host, parts := stackTally{}, [bpf.FilterSlots]stackTally{}
	for raw, n := range l.tally.count {
		r := decodeStack(raw)
		if wait && l.waits(&r) {
			continue
		}
		delete(l.tally.count, raw)
		l.tally.bytes -= len(raw) + besideStack
		who := stackWho{l.stack(&r), r.image.process, r.comm}
		if !l.only {
			host[who] += n
		}
		for i := range parts {
			if l.parts[i].target == (Target{}) || r.slots>>i&1 == 0 {
				continue
			}
			if parts[i] == nil {
				parts[i] = stackTally{}
			}
			parts[i][who] += n
		}
	}
	s.ProfileCounts = host.counts(maxSampledStacks)
	for i, p := range l.parts {
		if p.target != (Target{}) {
			s.Narrowed = append(s.Narrowed, Targeted[ProfileCounts]{Target: p.target, Since: p.since, Sample: parts[i].counts(maxSampledStacks)})
		}
	}
	s.fresh = l.bytes - had
	for _, i := range l.look.images {
		if i.waited++; len(i.fresh) == 0 {
			i.waited = 0
		}
	}
	l.tally.full = 0
	l.forget(time.Now())
	return s, nil
}

// waits says whether the functions of a stack are still to be looked for.
func (l *liveProfile) waits(r *rawStack) bool {
	i := l.look.images[r.image]
	return i != nil && len(r.user) > 0 && len(i.fresh) > 0 && i.waited < maxHeldBack
}

// askKernelNames asks for the functions of the kernel that were sampled.
func (l *liveProfile) askKernelNames() {
	for raw := range l.tally.count {
		r := decodeStack(raw)
		for i, addr := range r.kernel {
			_, _ = l.symbols.at(called(addr, i))
		}
	}
}

// stack is the interned stack of a sample.
func (l *liveProfile) stack(r *rawStack) *CallStack {
	frames := l.namer.stack(r)
	key := make([]byte, 0, 4*len(frames))
	for _, f := range frames {
		key = binary.NativeEndian.AppendUint32(key, uint32(f))
	}
	s := l.stacks[string(key)]
	if s == nil {
		s = &CallStack{Frames: make([]CallFrame, 0, len(frames))}
		for _, f := range frames {
			p := &l.namer.frames[f]
			s.Frames = append(s.Frames, CallFrame{Name: p.Name.text, Module: p.Module.text, Kernel: p.Kernel, Known: p.Known})
		}
		l.stacks[string(key)] = s
		l.bytes += len(key) + sliceSize(s.Frames)
	}
	return s
}

// steady says whether the targets are those of before.
func (l *liveProfile) steady(targets []Target, host bool) bool {
	return slices.Equal(targets, l.targets) && l.only == (len(targets) > 0 && !host)
}

// narrow tells other targets apart from now on; what came before has been collected.
func (l *liveProfile) narrow(targets []Target, host bool, now time.Duration) error {
	by := map[bpf.Filter]Target{}
	var want []bpf.Filter
	for _, t := range targets {
		if f, ok := filterOf(t); ok && f.ID != 0 && f.Kind != bpf.FilterDisk && by[f] == (Target{}) { // a disk runs nothing
			by[f], want = t, append(want, f)
		}
	}
	slots, err := l.r.Narrow(want)
	l.targets, l.tooMany = targets, nil
	if errors.Is(err, bpf.ErrSlots) || errors.Is(err, bpf.ErrHierarchy) {
		l.tooMany, err = err, nil
	}
	if err != nil {
		return fmt.Errorf("narrowing the profile: %w", err)
	}
	for i, f := range slots {
		if l.parts[i].filter != f || l.parts[i].target != by[f] {
			l.parts[i] = livePart{target: by[f], filter: f, since: now}
		}
	}
	if only := len(want) > 0 && !host; only != l.only {
		if err := l.r.Focus(only); err != nil {
			return err
		}
		l.only = only
	}
	return nil
}
