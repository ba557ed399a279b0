// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// lookout knows what the processes that were sampled run: it looks while they live.
type lookout struct {
	fs      FS
	images  map[imageKey]*image
	newest  map[Process]uint32 // the last image of each
	modules map[moduleKey]*module
	held    int       // bytes of all functions: of modules, and of what images made
	stuck   int       // questions that were not answered
	began   time.Time // the last look
}

// image is one program that a process runs.
type image struct {
	maps    []mapping
	read    bool      // maps are known
	readAt  time.Time // when they were read
	former  []mapping // what was known before that
	fresh   []uint64  // addresses of new stacks, not yet looked for in maps
	again   bool      // the code that it made has new addresses
	made    *functionTable
	askedAt time.Time // when made was read
	thread  bool      // of the kernel: it has no maps
	seenAt  time.Time // when a new stack of it was last seen
	waited  int       // samples that went by with something fresh
}

// moduleKey is a file: the kernel's numbers of it. Deleted ones may share those with later ones, hence the
// path; what is no file has no number.
type moduleKey struct {
	dev  string
	ino  uint64
	path string
}

// What a profile takes in at most, and how long it waits: for one file, and for files that do not answer
// altogether.
const (
	maxImages      = 16 << 10
	maxModules     = 4 << 10
	maxFresh       = 64 << 10
	profileWait    = 2 * time.Second
	maxUnanswered  = 8
	perfMapPause   = 5 * time.Second
	lookShare      = 200 * time.Millisecond // of a tick; the end takes what it needs, up to
	lookShareAtEnd = 20 * time.Second
)

func newLookout(fs FS) lookout {
	return lookout{fs: fs, images: make(map[imageKey]*image), newest: make(map[Process]uint32), modules: make(map[moduleKey]*module)}
}

// see takes note of a stack that was not seen before.
func (l *lookout) see(key imageKey, s *bpf.ProfileSample) {
	i := l.images[key]
	if i == nil {
		if len(l.images) >= maxImages {
			return
		}
		i = &image{thread: s.Thread}
		l.images[key] = i
	}
	i.seenAt = time.Now()
	if before, ok := l.newest[key.process]; ok && before != key.image {
		l.doubt(l.images[imageKey{key.process, before}])
	}
	l.newest[key.process] = key.image
	if room := maxFresh - len(i.fresh); !i.thread {
		i.fresh = append(i.fresh, s.User[:min(room, len(s.User))]...)
	}
}

// doubt takes back what the last look read of an image, as its process runs another program now, and may have
// done so then: exec changes neither its number nor when it began.
func (l *lookout) doubt(i *image) {
	if i == nil {
		return
	}
	if i.read && !i.readAt.Before(l.began) {
		i.maps, i.read = i.former, i.former != nil
	}
	if i.made != nil && !i.askedAt.Before(l.began) {
		l.held -= i.made.bytes()
		i.made = nil
	}
}

// round looks at who was seen since the last one. What is not done when its time is over, or the context
// ended, comes next time; last says that there is none. A question that is open by then is waited for: who
// ends the profile wants its names.
func (l *lookout) round(ctx context.Context, last bool) {
	l.began = time.Now()
	until := l.began.Add(lookShare)
	if last {
		until = l.began.Add(lookShareAtEnd)
	}
	over := func() bool { return ctx.Err() != nil || time.Now().After(until) }
	for key, i := range l.images {
		if len(i.fresh) == 0 && (!last || !i.again) {
			continue
		}
		if over() {
			return
		}
		l.visit(context.WithoutCancel(ctx), key, i, last, over)
	}
}

// visit finds the files of the addresses that are new in an image, while it is what the process runs: of
// one at least, and of more until it is over. What is left stays new.
func (l *lookout) visit(ctx context.Context, key imageKey, i *image, last bool, over func() bool) {
	fresh := i.fresh
	i.fresh = nil
	slices.Sort(fresh)
	fresh = slices.Compact(fresh)
	unmapped := func(addr uint64) bool { return mappingAt(i.maps, addr) == nil }
	runs := l.newest[key.process] == key.image
	if runs && (!i.read || slices.ContainsFunc(fresh, unmapped)) {
		maps, err := asked(ctx, l, func() ([]mapping, error) { return l.fs.readMaps(ctx, key.process) })
		if err == nil {
			i.former, i.maps, i.read, i.readAt = i.maps, maps, true, time.Now()
		}
	}
	for n, addr := range fresh {
		if n > 0 && over() {
			i.fresh = fresh[n:]
			return
		}
		m := mappingAt(i.maps, addr)
		switch {
		case m == nil:
		case m.ino == 0 && m.path != "[vdso]":
			i.again = true
		default:
			i.again = l.load(ctx, key.process.TGID, m) == nil || i.again // a memfd, with code that it made
		}
	}
	if runs && i.again && (last || time.Since(i.askedAt) >= perfMapPause) {
		i.again, i.askedAt = false, time.Now()
		before := i.made.bytes() // it makes room for the new one
		room := maxTableBytes - l.held + before
		made, err := asked(ctx, l, func() (*functionTable, error) { return l.fs.readPerfMap(key.process.TGID, room) })
		if err == nil {
			i.made = made
			l.held += made.bytes() - before
		}
	}
}

func (m *mapping) key() moduleKey { return moduleKey{m.dev, m.ino, m.path} }

// load reads a file, once; nil stands for one that cannot be read.
func (l *lookout) load(ctx context.Context, pid int32, m *mapping) *module {
	key := m.key()
	if mod, ok := l.modules[key]; ok || len(l.modules) >= maxModules {
		return mod
	}
	what, room := *m, maxTableBytes-l.held
	mod, err := asked(ctx, l, func() (*module, error) { return l.fs.readMapped(pid, &what, room) })
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil // the process ended: another one may have it
	}
	l.modules[key] = mod
	if mod != nil {
		l.held += mod.functions.bytes()
	}
	return mod
}

// asked asks a question of a file that may never answer: a dead mount, a process that is stuck. After some
// of those nothing more is asked.
func asked[T any](ctx context.Context, l *lookout, question func() (T, error)) (T, error) {
	var q aside[T]
	if l.stuck >= maxUnanswered {
		return q.take(ctx, 0)
	}
	q.ask(0, question)
	v, err := q.take(ctx, profileWait)
	if errors.Is(err, errNoAnswer) {
		l.stuck++
	}
	return v, err
}
