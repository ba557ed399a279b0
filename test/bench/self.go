// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"time"
)

// selfRows compares what bpf60 and htop use themselves, at the same time and the same interval, on
// the host as it is and with a thousand more processes.
func selfRows(o options) ([]row, error) {
	htop, err := find("htop")
	if err != nil {
		return nil, err
	}
	var out []row
	for _, c := range []struct {
		more  int
		name  string
		limit float64
	}{{0, "own CPU at 1 s", 1.5}, {1000, "  1,000 more processes", 0.2}} {
		end, err := sleepers(c.more)
		if err != nil {
			return nil, err
		}
		got, err := beside(o, htop, c.name, c.limit)
		end()
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// warmUp is left out: attaching happens once.
const warmUp = 4 * time.Second

func beside(o options, htop, name string, limit float64) ([]row, error) {
	quiet := pressureNow()
	// Two htops: what they differ by is the noise.
	got, err := race([]contender{{argv: []string{htop, "-d", "10"}}, {argv: []string{o.path}}, {argv: []string{htop, "-d", "10"}}}, o.span)
	if err != nil {
		return nil, err
	}
	first, ours, again := got[0], got[1], got[2]
	peer, noise := (first.cpu+again.cpu)/2, differ(first.cpu, again.cpu)
	percent := func(v float64) string { return fmt.Sprintf("%.2f %%", v) }
	r := row{
		what: name, ours: percent(ours.cpu), peer: percent(peer),
		note: fmt.Sprintf("of one CPU, beside htop; A/A %.0f %%; the first %v took %.0f ms", 100*noise, warmUp, ours.start),
	}.against(ours.cpu, peer, limit, noise).busySince(quiet)
	return []row{r, row{
		what: "  resident, peak", ours: fmt.Sprintf("%.1f MB", ours.rss), peer: fmt.Sprintf("%.1f MB", first.rss),
		note: fmt.Sprintf("after %v", (warmUp + o.span).Round(time.Second)),
	}.below(ours.rss, 40, "40 MB")}, nil
}

// contender is a program on a terminal of its own, with the keys pressed at first.
type contender struct {
	argv []string
	keys string
}

// cost is what a contender used.
type cost struct {
	start float64 // CPU time of the warm-up, ms
	cpu   float64 // % of one CPU over the span after it
	rss   float64 // peak, MB
}

// race runs all contenders at the same time.
func race(list []contender, span time.Duration) ([]cost, error) {
	var players []*player
	defer func() {
		for _, p := range players {
			p.end()
		}
	}()
	for _, c := range list {
		p, err := play(80, 24, c.argv...)
		if err != nil {
			return nil, err
		}
		players = append(players, p)
		if c.keys == "" {
			continue
		}
		if _, err := p.until("a frame", complete); err != nil {
			return nil, err
		}
		if err := p.press(c.keys); err != nil {
			return nil, err
		}
	}
	time.Sleep(warmUp)
	out := make([]cost, len(players))
	begun := time.Now()
	var before []time.Duration
	for i, p := range players {
		t, err := cpuTime(p.pid())
		if err != nil {
			return nil, err
		}
		before = append(before, t)
		out[i].start = ms(t)
	}
	time.Sleep(span)
	took := float64(time.Since(begun))
	for i, p := range players {
		t, err := cpuTime(p.pid())
		if err != nil {
			return nil, err
		}
		out[i].cpu = 100 * float64(t-before[i]) / took
		b, err := peakRSS(p.pid())
		if err != nil {
			return nil, err
		}
		out[i].rss = b / 1e6
	}
	return out, nil
}

// sleepers starts n processes that do nothing.
func sleepers(n int) (end func(), err error) {
	var all []*exec.Cmd
	end = func() {
		for _, c := range all {
			_ = c.Process.Kill()
		}
		for _, c := range all {
			_ = c.Wait()
		}
	}
	for range n {
		c := exec.Command("sleep", "3600")
		c.SysProcAttr = mortal()
		if err := c.Start(); err != nil {
			end()
			return nil, fmt.Errorf("starting sleepers: %w", err)
		}
		all = append(all, c)
	}
	return end, nil
}
