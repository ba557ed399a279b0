// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// SelfID is the collector of what bpf60 itself costs.
const SelfID ID = "self"

// Self is bpf60's own cost. In the first sample, whose span is empty, CPU and BPF are zero.
type Self struct {
	Span
	CPU      time.Duration // user and system over the span (getrusage)
	CPUTotal time.Duration // since start
	RSS      uint64        // bytes now
	MaxRSS   uint64        // bytes, the most so far
	BPF      time.Duration // over the span: events × a constant measured per attach type, an estimate
	BPFTotal time.Duration // since start
	Lost     uint64        // events lost since start, all probes
	Nice     int           // our own priority
	Process  Process       // who measures, its Start in whole clock ticks; zero: not known. See Process.Same
}

func (s *Self) put(snap *Snapshot) { snap.Self = s }

// selfCollector measures this process. It is an Auditor: the rows it is handed are those of the
// last answers, so the cost of BPF is that of the spans before its own.
type selfCollector struct {
	kernel *bpf.Kernel
	statm  *os.File
	buf    [128]byte

	own  Process
	rows map[string]audit // by probe, as last handed over
	bpf  time.Duration    // since start
	lost uint64           // since start

	prev    Self
	started bool // prev is a baseline
}

// audit is one probe's last reading.
type audit struct{ events, lost uint64 }

// NewSelf returns the collector of our own cost. K knows our number where programs have others than /proc; nil:
// /proc's is taken.
func NewSelf(k *bpf.Kernel) Collector { return &selfCollector{kernel: k} }

func (c *selfCollector) Meta() Meta { return Meta{ID: SelfID} }

func (c *selfCollector) Start(context.Context) error {
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("opening our own memory: %w", err)
	}
	*c = selfCollector{kernel: c.kernel, statm: f, own: c.ownProcess(), rows: map[string]audit{}}
	return nil
}

// Audit adds up what the probes did since the last call. A probe whose counters went back was
// attached anew; all it shows is new.
func (c *selfCollector) Audit(rows []Probe) {
	for _, p := range rows {
		prev := c.rows[p.Name]
		if p.Events < prev.events || p.Lost < prev.lost {
			prev = audit{}
		}
		c.bpf += time.Duration(float64(p.Events-prev.events) * p.NsPerEvent)
		c.lost += p.Lost - prev.lost
		c.rows[p.Name] = audit{p.Events, p.Lost}
	}
}

func (c *selfCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return nil, fmt.Errorf("reading our own CPU time: %w", err)
	}
	rss, err := c.rss()
	if err != nil {
		return nil, err
	}
	cur := Self{
		Span:     Span{now, now},
		CPUTotal: time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		RSS:      rss,
		MaxRSS:   uint64(ru.Maxrss) * 1024,
		BPFTotal: c.bpf,
		Lost:     c.lost,
		Process:  c.own,
	}
	// The system call returns 20 − nice, so that no priority looks like an error.
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		cur.Nice = 20 - p
	}
	if c.started {
		cur.From = c.prev.To
		cur.CPU = cur.CPUTotal - c.prev.CPUTotal
		cur.BPF = cur.BPFTotal - c.prev.BPFTotal
	}
	c.prev, c.started = cur, true
	return &cur, nil
}

// ownProcess is this process as samples name it; zero if that cannot be read. Nobody else says who we are.
func (c *selfCollector) ownProcess() Process {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return Process{}
	}
	var s pidStat
	if parsePIDStat(b, &s) != nil {
		return Process{}
	}
	if c.kernel != nil && c.kernel.OtherPIDs() {
		if s.PID, err = c.kernel.Self(); err != nil {
			return Process{}
		}
	}
	return Process{TGID: s.PID, Start: ticksNs(s.StartTicks)}
}

// rss is the second number of statm, in bytes.
func (c *selfCollector) rss() (uint64, error) {
	n, err := c.statm.ReadAt(c.buf[:], 0)
	if n == 0 {
		return 0, fmt.Errorf("reading /proc/self/statm: %w", err)
	}
	fields := bytes.Fields(c.buf[:n])
	if len(fields) < 2 {
		return 0, errors.New("reading /proc/self/statm: fewer than 2 numbers")
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading /proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

func (c *selfCollector) Probes() []Probe {
	return []Probe{{Name: "self", State: On, Hook: "getrusage, /proc/self/statm"}}
}

func (c *selfCollector) Close() error {
	if c.statm == nil {
		return nil
	}
	err := c.statm.Close()
	c.statm = nil
	return err
}
