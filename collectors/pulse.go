// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// A probe that counts nothing for pulseQuiet while the kernel counts pulseLeast and more is dead: its
// link is there and its program does not run.
const (
	pulseQuiet   = 3 * time.Second
	pulseLeast   = 100
	pulseRetries = 2
)

// pulse holds a probe against a total of the kernel's in /proc/stat. Where that cannot be read, it
// judges nothing.
type pulse struct {
	file *procFile
	line string // how the line begins: ctxt, intr, softirq

	begun bool
	at    time.Duration // when the probe last counted
	total uint64        // of the kernel, then
	now   uint64        // of the kernel, at the last beat
	first uint64        // of the kernel, at the first beat
	again int           // times attached again
}

func newPulse(fs FS, line string) pulse { return pulse{file: fs.file("stat"), line: line} }

func (p *pulse) reset() { p.begun, p.again, p.first, p.now = false, 0, 0, 0 }

// beat says whether the probe is dead; moved: it has counted since the last beat.
func (p *pulse) beat(ctx context.Context, now time.Duration, moved bool) bool {
	total, ok := p.read(ctx)
	if !ok {
		return false
	}
	if !p.begun {
		p.first = total - p.kernel() // goes on where it was when the probe is attached again
	}
	p.now = total
	if !p.begun || moved {
		p.begun, p.at, p.total = true, now, total
		return false
	}
	return now-p.at >= pulseQuiet && total-p.total >= pulseLeast
}

// kernel is what the kernel has counted since the first beat.
func (p *pulse) kernel() uint64 { return p.now - p.first }

// retry says whether a dead probe is to be attached again.
func (p *pulse) retry(name string) error {
	if p.again == pulseRetries {
		return fmt.Errorf("the kernel counts and %s does not see it, though attached %d times", name, p.again+1)
	}
	p.again++
	p.begun = false
	return nil
}

func (p *pulse) read(ctx context.Context) (uint64, bool) {
	b, err := p.file.read(ctx)
	if err != nil {
		return 0, false
	}
	return statTotal(b, p.line)
}

// statTotal is the first number of a line of /proc/stat.
func statTotal(b []byte, name string) (uint64, bool) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		rest, ok := bytes.CutPrefix(line, []byte(name+" "))
		if !ok {
			continue
		}
		f, _ := cutField(rest)
		return parseUint(f)
	}
	return 0, false
}

func (p *pulse) close() error { return p.file.close() }
