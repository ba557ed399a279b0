// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bpf60/collectors"
)

// dear is a probe that takes a twentieth of the host's CPU time while it is attached, so that it is slowed.
// What it sees is what a fill puts into a snapshot.
type dear struct {
	meta   collectors.Meta
	sees   func(collectors.Span) collectors.Sample
	mu     sync.Mutex
	paused bool
	last   time.Duration // of a reading, or since when it is attached; -1: neither
	at     time.Duration // counted up to
	events float64
}

func (d *dear) Meta() collectors.Meta { return d.meta }

// now is the time of the bubble that the test runs in, which begins with the year 2000.
func (d *dear) now() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) //nolint:forbidigo // a probe has a clock
}

// count brings the events up to now.
func (d *dear) count() {
	now := d.now()
	if !d.paused {
		d.events += 0.05 * 1e9 / 100 * float64(runtime.NumCPU()) * (now - d.at).Seconds()
	}
	d.at = now
}

func (d *dear) Start(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.last = d.now(), -1
	return nil
}

func (d *dear) Collect(_ context.Context, now time.Duration) (collectors.Sample, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count()
	from := d.last
	d.last = now
	if from < 0 {
		return nil, collectors.ErrWarming
	}
	return d.sees(collectors.Span{From: from, To: now}), nil
}

func (d *dear) Pause(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count()
	d.paused = on
	return nil
}

func (d *dear) Probes() []collectors.Probe {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []collectors.Probe{{Name: "dear", State: collectors.On, Hook: "fake", Events: uint64(d.events), NsPerEvent: 100}}
}

func (d *dear) Close() error { return nil }

// A probe that is slowed for what it costs looks for one second of three: what it sees is found all the same,
// and stays found while it lasts.
func TestSlowedProbes(t *testing.T) {
	hog := proc{pid: 20, parent: 1, comm: "hog", run: ms(1500), wait: ms(100)}
	victim := proc{pid: 30, parent: 1, comm: "victim", run: ms(400), wait: ms(600)}
	full := ticksOf(4, busyCPU(), busyCPU())
	// What a fill puts into a snapshot as seen in a span.
	sees := func(f fill, span collectors.Span) *collectors.Snapshot {
		s := &collectors.Snapshot{}
		f(1, s, span)
		return s
	}
	lost := flows("curl", 8, "10.0.3.7:443", map[collectors.FlowCounter]uint64{collectors.FlowRetransmits: 30, collectors.FlowRetransmitsTimeout: 30})
	refused := flows("app", 8, "10.0.3.7:5432", map[collectors.FlowCounter]uint64{collectors.FlowConnects: 20, collectors.FlowRefused: 20})
	owners := []collectors.BlockOwner{owner(20, "fio", 900, 9e6, ms(900)), owner(30, "db", 10, 1e5, ms(110))}
	disks := tasks(proc{pid: 20, parent: 1, comm: "fio", run: 1}, proc{pid: 30, parent: 1, comm: "db", run: 1})
	flushes := owner(30, "db", 0, 0, 0)
	flushes.Flushes, flushes.FlushTime = 10, ms(400)
	block := func(owners []collectors.BlockOwner, x ioOf) func(collectors.Span) collectors.Sample {
		return func(span collectors.Span) collectors.Sample { return sees(disk(vda(), owners, x), span).Block }
	}
	for name, tt := range map[string]struct {
		sees   func(collectors.Span) collectors.Sample
		beside fill
		want   string
	}{
		"cpu.runq_latency": {
			func(span collectors.Span) collectors.Sample {
				return sees(waits(map[time.Duration]int{time.Millisecond: 40, 9 * time.Millisecond: 60}), span).Sched
			},
			several(ticksOf(1, busyCPU(), busyCPU()), tasks(hog, victim)), "warning 8.192 ms by hog[20] hits victim[30]",
		},
		"disk.latency": {
			block(owners, ioOf{class: collectors.ReadSync, n: 50, device: ms(70), mostly: ms(1)}),
			several(psiDisk(20), disks, disk(vda(), nil)), "warning 65.54 ms by fio[20] hits db[30]",
		},
		"disk.saturated": {
			block(owners, ioOf{class: collectors.WriteSync, n: 50, device: ms(1), queue: ms(20), mostly: ms(1)}),
			several(psiDisk(20), disks, disk(vda(), nil)), "warning 16.38 ms by fio[20] hits db[30]",
		},
		"disk.sync_storm": {
			block([]collectors.BlockOwner{flushes}, ioOf{class: collectors.Flush, n: 10, device: ms(40), mostly: ms(1)}),
			several(psiDisk(20), disks, disk(vda(), nil)), "warning 40 % by db[30]",
		},
		"proc.exec_storm": {
			func(span collectors.Span) collectors.Sample {
				parent := collectors.Process{TGID: 11, Start: 11}
				return &collectors.Exec{
					Span: span, ExecCounts: collectors.ExecCounts{Execs: 200, Forks: 200, Exits: 200, Unseen: 200, UnseenCPU: ms(900)},
					Short: []collectors.ShortLived{{Comm: collectors.RawString("sh"), Parent: parent, ParentComm: collectors.RawString("crond"), Exits: 200, Unseen: 200, UnseenCPU: ms(900)}},
				}
			},
			several(full, tasks(victim, proc{pid: 11, parent: 1, comm: "crond", run: ms(20)})), "warning 45 % of CPU by sh by crond[11] hits victim[30]",
		},
		"net.retransmits": {
			func(span collectors.Span) collectors.Sample { return sees(lost, span).Flow },
			func(i int, s *collectors.Snapshot, span collectors.Span) {
				s.TCP = &collectors.TCP{Span: span}
				s.TCP.Delta[collectors.TCPOutSegs] = 1000
			},
			"warning 3 % by 10.0.3.7:443 hits curl[8]",
		},
		"net.connect_failures": {
			func(span collectors.Span) collectors.Sample {
				x := sees(refused, span).Flow
				for range 20 {
					x.Failures.Rows = append(x.Failures.Rows, collectors.FlowEvent{Kind: collectors.FlowRefused, Process: collectors.Process{TGID: 8, Start: 8}, Comm: collectors.RawString("app"), Remote: netip.MustParseAddrPort("10.0.3.7:5432")})
				}
				return x
			},
			full, "warning 100 % by 10.0.3.7:5432 hits app[8]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dear{meta: collectors.Meta{ID: collectors.SchedID}, sees: tt.sees}
				r := collectors.NewRunner(collectors.RunnerConfig{Collectors: []collectors.Collector{d}, Asleep: func() time.Duration { return 0 }})
				ctx, end := context.WithCancel(t.Context())
				defer end()
				e := NewEngine(All(nil), &History{}, nil)
				done, slowed, before := make(chan error, 1), 0, time.Duration(0)
				go func() {
					done <- r.Run(ctx, func(s *collectors.Snapshot) {
						seen := *s
						if s.At > 0 {
							tt.beside(int(s.At/time.Second), s, collectors.Span{From: before, To: s.At})
							s.Block = seen.Block // beside it is the table of disks
						}
						before = s.At
						m := e.Tick(s)
						if s.Probes[collectors.SchedID][0].State == collectors.Degraded {
							slowed++
						}
						if s.At < 25*time.Second {
							return
						}
						got := ""
						for _, f := range m.Findings {
							if f.ID == name && f.Until == 0 {
								got = says(f)
							}
						}
						if got != tt.want {
							t.Errorf("at %v: %q, want %q", s.At, got, tt.want)
						}
					})
				}()
				time.Sleep(56 * time.Second)
				synctest.Wait()
				end()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if slowed < 40 {
					t.Errorf("slowed for %d s, want nearly all of them", slowed)
				}
			})
		})
	}
}
