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
	var players []*player
	defer func() {
		for _, p := range players {
			p.end()
		}
	}()
	for _, argv := range [][]string{{htop, "-d", "10"}, {o.path}, {htop, "-d", "10"}} {
		p, err := play(80, 24, nil, argv...)
		if err != nil {
			return nil, err
		}
		players = append(players, p)
	}
	time.Sleep(warmUp)
	begun := time.Now()
	var used []float64
	for _, p := range players {
		t, err := cpuTime(p.pid())
		if err != nil {
			return nil, err
		}
		used = append(used, -float64(t))
	}
	start := -used[1] / 1e6
	time.Sleep(o.span)
	took := float64(time.Since(begun))
	for i, p := range players {
		t, err := cpuTime(p.pid())
		if err != nil {
			return nil, err
		}
		used[i] = 100 * (used[i] + float64(t)) / took
	}
	var rss []float64
	for _, p := range players {
		b, err := peakRSS(p.pid())
		if err != nil {
			return nil, err
		}
		rss = append(rss, b/1e6)
	}
	peer, noise := (used[0]+used[2])/2, differ(used[0], used[2])
	percent := func(v float64) string { return fmt.Sprintf("%.2f %%", v) }
	r := row{
		what: name, ours: percent(used[1]), peer: percent(peer),
		note: fmt.Sprintf("of one CPU, beside htop; A/A %.0f %%; the first %v took %.0f ms", 100*noise, warmUp, start),
	}.against(used[1], peer, limit, noise).busySince(quiet)
	return []row{r, row{
		what: "  resident, peak", ours: fmt.Sprintf("%.1f MB", rss[1]), peer: fmt.Sprintf("%.1f MB", rss[0]),
		note: fmt.Sprintf("after %v", (warmUp + o.span).Round(time.Second)),
	}.below(rss[1], 40, "40 MB")}, nil
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
