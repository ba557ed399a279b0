// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strconv"
	"time"
)

// procStalls reads the processes in D from /proc, where BPF is missing. A thread other than the
// leader is not seen. A look costs as much as a scan of every process, so there are few.
type procStalls struct {
	fs       FS
	scan     *procScanner
	stuck    aside[[]byte] // the read that hangs, if one does
	classify classifier

	recs   []taskRec
	next   time.Duration // no look before
	denied bool          // stacks and wait functions may not be read
	seen   uint64
}

const (
	// stallEvery is the least time between two looks at /proc, stallShare how much longer than the
	// look itself the rest is.
	stallEvery = 5 * time.Second
	stallShare = 200
	// maxProcStacks bounds how many stacks are read in one look.
	maxProcStacks = 64
)

func newProcStalls(fs FS) *procStalls {
	return &procStalls{fs: fs, scan: newProcScanner(fs), classify: newClassifier()}
}

func (p *procStalls) Open(ctx context.Context) error {
	p.next = 0
	return p.scan.Open(ctx)
}

func (p *procStalls) Scan(ctx context.Context, now time.Duration, recs []stallRec) ([]stallRec, bool, error) {
	if now < p.next {
		return recs, false, nil
	}
	began := bootNs()
	all, err := p.scan.Scan(ctx, p.recs[:0])
	p.recs = all
	if err != nil {
		return recs, false, err
	}
	p.denied = false
	for i := range all {
		r := &all[i]
		if r.State != 'D' {
			continue
		}
		p.seen++
		x := stallRec{
			TID: p.fs.pids.here(r.PID), Task: Process{p.fs.pids.here(r.TGID), r.Start}, AtMost: NoBound, Switches: r.Run,
			Comm: RawString(string(r.name())), Kernel: r.Kernel,
		}
		var frames []string
		if len(recs) < maxProcStacks {
			var slept uint64
			frames, slept = p.stack(ctx, r.PID)
			x.Switches += slept
		}
		x.Stack = newStack(p.classify, frames, false, false)
		recs = append(recs, x)
	}
	cost := time.Duration(bootNs() - began)
	p.next = now + max(stallEvery-time.Second/2, cost*stallShare)
	return recs, true, nil
}

// stack reads where a process waits: its whole stack where that is allowed, else the wait
// function alone; and how often it had a CPU.
func (p *procStalls) stack(ctx context.Context, pid int32) (frames []string, runs uint64) {
	dir := strconv.Itoa(int(pid))
	// The kernel takes a lock for the stack that a process holds all through execve.
	b, err := p.read(ctx, dir+"/stack", 4096)
	frames = parseStack(b)
	if len(frames) == 0 {
		p.denied = p.denied || errors.Is(err, fs.ErrPermission)
		if b, err = p.read(ctx, dir+"/wchan", 128); err == nil && len(b) > 0 && string(b) != "0" {
			frames, p.denied = []string{clean(string(b))}, false
		}
	}
	if b, err := p.read(ctx, dir+"/schedstat", 128); err == nil {
		for range 2 {
			_, b = cutField(b)
		}
		f, _ := cutField(bytes.TrimSpace(b))
		if n, ok := parseUint(f); ok {
			runs = n
		}
	}
	return frames, runs
}

// readPatience is how long one file of a process in D is waited for.
const readPatience = 100 * time.Millisecond

var errStuck = errors.New("the read hangs")

// read is FS.readSome with a deadline. While one read hangs none is begun.
func (p *procStalls) read(ctx context.Context, name string, n int) ([]byte, error) {
	if p.stuck.open() {
		_, _ = p.stuck.take(ctx, 0) // what comes late is nobody's answer
		if p.stuck.open() {
			return nil, errStuck
		}
	}
	p.stuck.ask(0, func() ([]byte, error) { return p.fs.readSome(name, n) })
	b, err := p.stuck.take(ctx, readPatience)
	if errors.Is(err, errNoAnswer) {
		return nil, errStuck
	}
	return b, err
}

// parseStack reads /proc/PID/stack: lines like "[<0>] folio_wait_bit_common+0x13d/0x350". Older
// kernels print addresses in the brackets, and end with an address that has no name.
func parseStack(b []byte) []string {
	var out []string
	for len(b) > 0 && len(out) < 64 {
		var line []byte
		line, b = cutLine(b)
		_, name, ok := bytes.Cut(line, []byte("] "))
		if !ok {
			continue
		}
		name, _ = cutField(name)
		name, _, _ = bytes.Cut(name, []byte{'+'})
		if len(name) == 0 || bytes.HasPrefix(name, []byte("0x")) {
			continue
		}
		out = append(out, clean(string(name)))
	}
	return out
}

func (p *procStalls) Probe() Probe {
	pr := Probe{State: Degraded, Hook: "/proc/PID/stat, stack, wchan", Events: p.seen, Reason: "processes only, no other threads, every 5 s"}
	switch {
	case p.stuck.open():
		pr.Reason, pr.Remedy = "reads of /proc/PID/stack hang: a process holds its lock", "find it with: ps -eo state,pid,comm"
	case p.denied:
		pr.Reason, pr.Remedy = "wait functions may not be read", "run as root"
	}
	return pr
}

func (p *procStalls) Source() string { return "/proc" }

func (p *procStalls) Close() error { return p.scan.Close() }
