// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// TestBrakeStorms measures how long it takes until programs are detached that a storm makes dear: of execs,
// connections, packets, files and signals, all at once. The ticks are far apart, so that a sample that ends
// amid two of them is one that the brake took when it detached. The limit is low, as is what a busy host can
// make of any of them.
func TestBrakeStorms(t *testing.T) {
	const tick = 5 * time.Second
	k, fs := bpf.Inspect(), NewFS("")
	events := newFeed(k)
	all := []Collector{
		NewExec(k, fs, nil, events, &scanBell{}), NewFlow(k, fs, events, nil), NewDNS(k, fs, events, nil),
		NewFiles(k, events), NewSignals(k, nil, events),
	}
	for _, c := range all {
		if err := c.Start(t.Context()); err != nil {
			lacking(t, "%s: %v", c.Meta().ID, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stormOfAll(t)
	r := NewRunner(RunnerConfig{Collectors: all, Interval: tick, brake: brakeTimes{soft: 0.0001, triage: time.Nanosecond, rest: time.Hour}})
	r.Want("test", []Want{{ID: FilesID}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	last := map[ID]Span{} // samples that end amid two ticks: of whom, and when
	var ticks int
	done := make(chan error, 1)
	go func() {
		done <- r.Run(ctx, func(s *Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			took := map[ID]Span{}
			if s.Exec != nil {
				took[ExecID] = s.Exec.Span
			}
			if s.Flow != nil {
				took[FlowID] = s.Flow.Span
			}
			if s.DNS != nil {
				took[DNSID] = s.DNS.Span
			}
			if s.Files != nil {
				took[FilesID] = s.Files.Span
			}
			if s.Signals != nil {
				took[SignalsID] = s.Signals.Span
			}
			for id, span := range took {
				if _, ok := last[id]; !ok && s.At-span.To > tick/10 {
					last[id] = span
				}
			}
			// A tick tells what is dear, and the looks after it, whose samples the next one brings.
			if ticks++; len(last) == len(all) || ticks > 5 {
				cancel()
			}
		})
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, c := range all {
		id := c.Meta().ID
		span, ok := last[id]
		if !ok {
			t.Errorf("%s: not detached between two ticks", id)
			continue
		}
		from := span.From
		if !c.Meta().OnDemand {
			from = span.To.Truncate(tick)
		}
		t.Logf("%s: detached %v after it was first looked at", id, (span.To - from).Round(time.Millisecond))
	}
}

// stormOfAll does a little of everything as fast as it can until the test ends.
func stormOfAll(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(stop); wg.Wait() })
	loop := func(do func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	loop(func() { _ = exec.Command("/bin/true").Run() })
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	wg.Go(func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	loop(func() {
		if c, err := net.Dial("tcp", server.Addr().String()); err == nil {
			_ = c.Close()
		}
	})
	out, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	loop(func() { _, _ = out.Write([]byte("bpf60")) })
	path := filepath.Join(t.TempDir(), "bpf60-storm")
	loop(func() {
		if f, err := os.Create(path); err == nil {
			_ = f.Close()
			_ = os.Remove(path)
		}
	})
	loop(func() { _ = unix.Kill(os.Getpid(), unix.SIGURG) })
}
